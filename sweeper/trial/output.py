"""The running Hydra job: which one it is, and its output folder."""

from __future__ import annotations

from pathlib import Path


def job_number() -> int:
    """The number of the running Hydra job: which of the workers this one is."""
    from hydra.core.hydra_config import HydraConfig

    return int(HydraConfig.get().job.num)


def output_folder() -> Path:
    """Hydra's output folder of the running job; without Hydra the current folder."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) if HydraConfig.initialized() else Path.cwd()
