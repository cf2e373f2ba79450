"""The lesson as a script for Hydra, whose epochs take a moment."""

import functools
import os
import sys
from pathlib import Path

import hydra

import sweeper
from sweeper.sweep import multirun

sys.path.insert(0, str(Path(__file__).parents[1]))
import lesson

if "FAULTS_LEASE" in os.environ:  # so short that a stopped worker outlives it
    multirun.worker_settings = functools.partial(
        multirun.worker_settings, lease_seconds=float(os.environ["FAULTS_LEASE"])
    )


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg):
    lesson.learn(sweeper.current_trial(), cfg.lr, cfg.epochs, cfg.seconds)


if __name__ == "__main__":
    train()
