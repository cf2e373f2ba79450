"""The `local` launcher keeps the contract of every Hydra launcher: Hydra's own test suites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from hydra.test_utils import test_utils
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase

import forks
from hydra_plugins.sweeper_hydra.local import LocalLauncher

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def hydra_as_at_its_start() -> Iterator[None]:
    """Without the `version_base` that another test of this process has set: by it jobs change their folder or not."""
    state = Singleton.get_state()
    Singleton._instances.pop(VersionBase, None)
    yield
    Singleton.set_state(state)


def test_hydra_discovers_it():
    assert LocalLauncher.__name__ in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("local", [])])
class TestLocalLauncher(LauncherTestSuite):
    """Jobs in processes of their own, through Hydra's basic sweeper."""


@pytest.fixture
def forked_scripts(forked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_utils, "subprocess", forks)


@pytest.mark.usefixtures("forked_scripts")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=local", "hydra.launcher.workers=1"])]
)
class TestLocalLauncherIntegration(IntegrationTestSuite):
    """Scripts started as a person starts them: job names, folders, working directories."""
