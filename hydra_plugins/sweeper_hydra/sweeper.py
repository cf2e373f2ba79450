"""Hydra's Sweeper plugin `sweeper`: launches workers, once, through any Hydra launcher; they take the trials.

Imported at every Hydra start, so nothing heavy is imported before a sweep begins; and no
`from __future__ import annotations`, which together with `@dataclass` breaks Hydra's plugin scan.
"""

import sys
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class SweeperConf:
    """`hydra.sweeper`: see conf/config.yaml for each key."""

    _target_: str = "hydra_plugins.sweeper_hydra.sweeper.StudySweeper"
    _recursive_: bool = False
    study: str = "${hydra.job.name}"
    store: Optional[str] = None
    folder: str = "runs"
    params: Dict[str, Any] = field(default_factory=dict)
    search: Any = "coarse_to_fine"
    sampler: Any = None
    borders: Any = None
    confirm: Any = None
    from_study: Any = None
    budget: float = 20
    epochs: Optional[int] = None
    metric: str = "objective"
    direction: str = "minimize"
    workers: Optional[int] = None
    seed: int = 0
    max_failures: Optional[int] = 5
    keep: int = 2
    timeout: Optional[float] = None
    epoch_timeout: Optional[float] = None
    loggers: Any = None
    tensorboard: bool = False
    check: Any = False
    on_change: str = "stop"


ConfigStore.instance().store(group="hydra/sweeper", name="sweeper", node=SweeperConf, provider="sweeper")


class StudySweeper(Sweeper):
    """Opens the study, launches its workers, shows the store while they train, and says how it ended."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.hydra_context: Optional[HydraContext] = None
        self.task_function: Optional[TaskFunction] = None
        self.config: Optional[DictConfig] = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: List[str]) -> Any:
        from sweeper.sweep.multirun import Multirun
        from sweeper.words.errors import SweeperError

        assert self.hydra_context is not None
        assert self.config is not None
        settings = {key: _plain(value) for key, value in self.settings.items()}
        try:
            return Multirun(self.hydra_context, self.task_function, self.config, settings).run(arguments)
        except (SweeperError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
