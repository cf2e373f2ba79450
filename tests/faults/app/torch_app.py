"""A training script for kills: a tiny network with dropout and Adam, checkpointed, whose epochs take a moment."""

import functools
import os
import random
import time

import hydra
import numpy
import torch

import sweeper
from sweeper import multirun

torch.set_num_threads(1)
if "FAULTS_LEASE" in os.environ:  # so short that a stopped worker outlives it
    multirun.worker_settings = functools.partial(
        multirun.worker_settings, lease_seconds=float(os.environ["FAULTS_LEASE"])
    )


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg):
    trial = sweeper.current_trial()
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(trial.seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Dropout(0.3), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    x = torch.linspace(-1, 1, 96).reshape(16, 6)
    for _ in trial.epochs(cfg.epochs, state={"model": model, "optimizer": optimizer}):
        until = time.monotonic() + cfg.seconds
        for rows in torch.randperm(16).split(4):
            optimizer.zero_grad()
            loss = (model(x[rows]) - x[rows].sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
        trial.report(val_loss=loss)
        time.sleep(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    train()
