import json

import pytest
import torch
from torch import nn

from experiments import final
from sweeper.training.data import Data, Examples
from sweeper.training.goals import CLASSIFICATION
from sweeper.trial import checkpoint
from sweeper.words.errors import CheckpointError, ConfigError

EXAMPLES = Examples(torch.eye(3), torch.arange(3))


def trial_folder(tmp_path, *names: str, direction: str = "minimize"):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(json.dumps({"direction": direction}))
    (tmp_path / "checkpoints").mkdir()
    for name in names:
        (tmp_path / "checkpoints" / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("direction", "best"), [("minimize", "epoch=0001-m=0.2.pt"), ("maximize", "epoch=0003-m=1e+01.pt")]
)
def test_the_best_by_its_name(tmp_path, direction, best):
    names = ("epoch=0000-m=3.pt", "epoch=0001-m=0.2.pt", "epoch=0003-m=1e+01.pt", "epoch=0009-m=0.1.pt.tmp-7-ab")
    assert final.best_checkpoint(trial_folder(tmp_path, *names), direction).name == best


def test_the_best_of_a_trial_that_was_taken_up_again(tmp_path):
    folder = trial_folder(tmp_path, "epoch=0001-m=0.2.pt", "epoch=0002-m=-1e-07-attempt=2.pt", "epoch=0003-m=3.pt")
    assert final.best_checkpoint(folder, "minimize").name == "epoch=0002-m=-1e-07-attempt=2.pt"


def test_the_newest_where_the_names_hold_no_metric(tmp_path):
    folder = trial_folder(tmp_path, "epoch=0002.pt", "epoch=0010-attempt=12.pt", "epoch=0009.pt")
    assert final.best_checkpoint(folder, "minimize").name == "epoch=0010-attempt=12.pt"


def test_no_checkpoint_and_no_config_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"evaluate=FOLDER needs .*\.hydra/config\.yaml"):
        final.test(tmp_path, lambda c: nn.Linear(3, 3), lambda c: None)
    with pytest.raises(CheckpointError, match="checkpoints holds none"):
        final.best_checkpoint(trial_folder(tmp_path), "minimize")


@pytest.mark.parametrize("averaged", [0, 7])
def test_scores_of_the_best_checkpoint_on_the_test_set(tmp_path, capsys, averaged):
    folder = trial_folder(tmp_path)
    good, bad = ({"weight": torch.eye(3) * size, "bias": torch.zeros(3)} for size in (50, -50))
    average = {"n_averaged": torch.tensor(averaged), **{f"module.{name}": each for name, each in good.items()}}
    state = {"model": bad, "average": average} if averaged else {"model": good}
    checkpoint.save(folder / "checkpoints", 1, state, metric="m", value=0.2)
    scores = final.test(
        folder,
        build=lambda config: nn.Linear(3, 3),
        data=lambda config: Data(EXAMPLES, EXAMPLES, CLASSIFICATION, lambda: EXAMPLES),
    )
    assert scores == {"test_loss": pytest.approx(0, abs=1e-6), "test_accuracy": 1.0}
    printed = capsys.readouterr().out
    assert "epoch=0001-m=0.2.pt" in printed
    assert "test_accuracy: 1.0000" in printed
