"""The old way to `sweeper.Task`, until 0.2."""

import importlib

Task = importlib.import_module("sweeper.check.training.task").Task
