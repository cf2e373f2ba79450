"""`python -m sweeper.cli`: the command `sweeper`, where no such program lies beside the interpreter."""

from sweeper.cli import main

if __name__ == "__main__":
    main()
