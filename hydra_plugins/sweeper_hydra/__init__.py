"""Hydra plugins of `sweeper`: the sweeper and the local launcher."""
