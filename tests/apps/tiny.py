"""A training script without torch: a quadratic whose epochs take a moment, for tests of whole sweeps."""

import os
import signal
import time

import bowl
import hydra

import sweeper


@hydra.main(version_base="1.3", config_path="tiny_conf", config_name="config")
def train(cfg):
    trial = sweeper.current_trial()
    for epoch in trial.epochs(cfg.epochs, state={}):
        time.sleep(cfg.seconds)
        if cfg.fail == "error":
            raise ValueError(f"broken on purpose at lr {cfg.optimizer.lr}")
        if cfg.fail == "hang" and trial.number == 1:
            time.sleep(600)
        if cfg.fail == "deadlock" and trial.number == 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # deaf, as in a C library's lock
            time.sleep(600)
        if cfg.fail == "diverge":
            trial.report(val_loss=float("nan"))
        if cfg.fail == "exit" and trial.number == 1 and not (marker := trial.folder / "died").exists():
            marker.touch()
            os._exit(3)
        trial.report(val_loss=bowl.loss(cfg.optimizer.lr, cfg.depth, epoch))
    return cfg.optimizer.lr


if __name__ == "__main__":
    train()
