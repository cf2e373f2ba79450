"""Studies in the hands of other tools: live through Optuna's storage interface, as a database of Optuna's, and back."""

from sweeper.search.optuna.storage import LiveStorage, optuna_storage

__all__ = ["LiveStorage", "optuna_storage"]
