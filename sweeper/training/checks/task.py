"""The old way to `sweeper.Task`, until 0.2."""

from sweeper.training.task import Task as Task
