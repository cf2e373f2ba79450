"""Where `Task` was: `sweeper.Task` is its name now."""
