"""A script that writes a long log and saves nothing."""

import logging

import hydra

import sweeper

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg):
    trial = sweeper.current_trial()
    for epoch in trial.epochs(cfg.epochs, state={}):
        for line in range(1000):
            log.info("line %d: %s", line, "." * 200)
        trial.report(val_loss=cfg.lr / (epoch + 1))


if __name__ == "__main__":
    train()
