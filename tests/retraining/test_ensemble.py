"""Ensembles out of stored checkpoints: who takes part, what is kept, what predicts, and what is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from torch import nn

import sweeper
from sweeper.retraining import looks
from sweeper.retraining import parts as scripts
from sweeper.retraining.ensemble import election
from sweeper.retraining.ensemble.candidates import Candidate, Kind, candidates
from sweeper.store import reads
from sweeper.training.data import Data, Examples
from sweeper.training.goals import CLASSIFICATION
from sweeper.trial import checkpoint
from sweeper.words.errors import CheckpointError, ConfigError, SweeperError

EXAMPLES = 90


def build(params):
    return nn.Sequential(nn.Linear(2, int(params["width"])), nn.Tanh(), nn.Linear(int(params["width"]), 3))


def data(params):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (3 * EXAMPLES,), generator=generator)
    centres = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    inputs = centres[targets] + 0.8 * torch.randn(3 * EXAMPLES, 2, generator=generator)
    train, val, test = (Examples(inputs[i::3], targets[i::3]) for i in range(3))
    return Data(train, val, CLASSIFICATION, lambda: test)


def train(trial):
    torch.manual_seed(trial.seed)
    model, sets = build(trial.params), data(trial.params)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["lr"])
    for _ in trial.epochs(3, state={"model": model}):
        for index in torch.randperm(EXAMPLES).split(10):
            optimizer.zero_grad()
            CLASSIFICATION.loss(model(sets.train.inputs[index]), sets.train.targets[index]).backward()
            optimizer.step()
        with torch.no_grad():
            trial.report(val_loss=CLASSIFICATION.loss(model(sets.val.inputs), sets.val.targets).item())


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """A folder with a study whose best were confirmed with other seeds."""
    folder = tmp_path_factory.mktemp("swept")
    sweeper.run(
        train,
        study="demo",
        space={"lr": "tag(log, interval(0.05, 1))", "width": "range(3, 9)"},
        search="random",
        epochs=3,
        budget=8,
        metric="val_loss",
        confirm={"top": 1, "seeds": 2},
        folder=folder,
    )
    return folder


@pytest.fixture
def study(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sweeper.Study:
    """A copy of it to change at will; its folder is known by its absolute path."""
    there = tmp_path / "runs"
    shutil.copytree(swept, there)
    with contextlib.closing(sqlite3.connect(there / "sweeper.db")) as raw, raw:
        raw.execute("UPDATE studies SET folder = replace(folder, ?, ?)", (str(swept), str(there)))
    monkeypatch.chdir(tmp_path)
    return sweeper.load_study("demo", store=f"sqlite:///{there / 'sweeper.db'}")


def built(study: sweeper.Study, **more):
    return study.ensemble(build=build, data=data, device="cpu", **more)


def test_an_ensemble_is_chosen_evaluated_and_kept(study):
    found = built(study)
    assert found.candidates == 8  # six of the search, and two repeats of the best
    assert sum(member.weight for member in found.members) == pytest.approx(1)
    assert found.val["val_loss"] <= found.single.scores["val_loss"]
    assert found.gain == pytest.approx(found.single.scores["val_loss"] - found.val["val_loss"])
    assert found.examples == EXAMPLES
    assert found.test is not None
    assert set(found.test) == {"test_loss", "test_accuracy"}
    assert {member.kind for member in found.members} <= {"trial", "seed"}
    manifest = json.loads((Path(found.folder) / "ensemble.json").read_text())
    assert manifest["test"] == found.test
    assert [row["weight"] for row in manifest["members"]] == [member.weight for member in found.members]


def test_a_kept_ensemble_predicts_what_was_evaluated(study):
    found = built(study)
    ensemble = sweeper.load_ensemble(found.folder, build=build)
    test = data({}).open_test()
    told = ensemble(test.inputs)
    assert told.shape == (EXAMPLES, 3)
    assert torch.allclose(told.sum(dim=1), torch.ones(EXAMPLES))
    assert found.test is not None
    assert (told.argmax(dim=1) == test.targets).double().mean().item() == found.test["test_accuracy"]
    assert CLASSIFICATION.loss(told.log(), test.targets).item() == pytest.approx(found.test["test_loss"], rel=1e-5)
    assert not list(Path(found.folder).rglob("*.pt"))


def test_the_test_set_is_looked_at_once(study):
    assert built(study, test=False).test is None
    first = built(study)
    assert first.test is not None
    assert first.warning is None
    second = built(study)
    assert second.test is None
    assert second.warning is not None
    assert "looked at once before" in second.warning
    third = built(study, test=True)
    assert third.test is not None
    assert len(looks.before(study._store, study.record)) == 2


def test_other_epochs_and_averages_stand_for_election_too(study):
    found, left_out = candidates(study._store, study.record, build, 2, checkpoints=True, averages=True)
    kinds = [each.kind for each in found]
    assert kinds.count(Kind.TRIAL) == kinds.count(Kind.SEED) == 2
    assert kinds.count(Kind.CHECKPOINT) >= 4
    assert kinds.count(Kind.AVERAGE) == 4
    assert left_out == []
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    average = next(each for each in found if each.kind is Kind.AVERAGE)
    parts = [torch.load(each.path, weights_only=True)["state"]["model"]["0.bias"] for each in average.checkpoints]
    assert torch.allclose(average.model(build)[0].bias, torch.stack(parts).mean(dim=0))
    everything = built(study, top=2, checkpoints=True, averages=True)
    assert everything.candidates == len(found)
    sweeper.load_ensemble(everything.folder, build=build)


def test_one_setting_with_its_seeds(study):
    found = built(study, top=1)
    assert found.candidates == 3
    assert {member.trial for member in found.members} == {int(study.best()["number"].item())}


def test_a_trial_without_a_checkpoint_is_left_out_and_told(study):
    number = int(study.best()["number"].item())
    shutil.rmtree(Path(study.record.folder) / f"{number:04d}" / "checkpoints")
    found = built(study)
    assert found.left_out == (f"trial {number} has no checkpoint left",)
    for folder in Path(study.record.folder).glob("0*"):
        shutil.rmtree(folder)
    with pytest.raises(SweeperError, match=r"of the checkpoints of complete trials, but demo has none"):
        built(study)


def test_a_changed_checkpoint_is_refused(study):
    number = int(study.best()["number"].item())
    for path in (Path(study.record.folder) / f"{number:04d}" / "checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="has changed on the disk"):
        built(study)


def test_trials_with_other_validation_examples_are_left_out(study):
    best = study.best(3)
    odd = int(best["number"].iloc[1])
    rate = reads.trial(study._store, study.record.id, odd)["params"]["lr"]

    def other(params):
        sets = data(params)
        return Data(sets.train, sets.train, sets.goal, sets.open_test) if params["lr"] == rate else sets

    found = study.ensemble(build=build, data=other, device="cpu")
    number = int(best["number"].iloc[0])
    assert found.left_out == (f"trial {odd} has other validation examples than trial {number}",)


def test_a_model_whose_answers_are_not_finite_is_left_out(study):
    width = reads.trial(study._store, study.record.id, int(study.best()["number"].item()))["params"]["width"]

    def broken(params):
        model = build(params)
        if params["width"] == width:
            model.register_forward_hook(lambda module, inputs, outputs: outputs * float("nan"))
        return model

    found = study.ensemble(build=broken, data=data, device="cpu", test=False)
    assert "answers with NaN or infinity" in found.left_out[0]
    assert found.val["val_loss"] > 0


def test_weights_of_another_model_are_told(study):
    with pytest.raises(CheckpointError, match=r"`build\(cfg\)` must give the model that was trained"):
        study.ensemble(build=lambda params: nn.Linear(2, 3), data=data)


def test_a_checkpoint_without_weights_is_told(study, tmp_path):
    one = candidates(study._store, study.record, build, 1)[0][0]
    saved = checkpoint.save(tmp_path / "there", 0, {"net": {"a": 1}})
    with pytest.raises(CheckpointError, match=r'holds net: give trial.epochs\(\) the state=\{"model": model'):
        Candidate(one.trial, one.kind, one.seed, one.config, (saved,)).model(build)


def test_only_an_older_ensemble_is_replaced(study, tmp_path):
    first, second = built(study, top=1), built(study)
    assert first.folder == second.folder
    assert len(json.loads((Path(second.folder) / "ensemble.json").read_text())["members"]) == len(second.members)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds other files"):
        built(study, folder=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert not list(Path(first.folder).parent.glob(".ensemble*"))


def test_without_build_and_data_it_is_told_how(study):
    with pytest.raises(ConfigError, match=r"load_study\('demo'\)\.ensemble\(build=…, data=…\)"):
        study.ensemble()


# ---- what loads ------------------------------------------------------------------------------------------------------


def kept(study, tmp_path: Path, where: Path) -> Path:
    """An ensemble whose manifest names the script at `where`."""
    parts = scripts.Parts(build, data, str(where))
    return Path(election.make(study._store, study.record, parts, folder=tmp_path / "kept", device="cpu").folder)


SCRIPT = """
from torch import nn

def build(params):
    return nn.Sequential(nn.Linear(2, int(params["width"])), nn.Tanh(), nn.Linear(int(params["width"]), 3))
"""


def test_the_script_of_the_current_folder_builds_the_models(study, tmp_path, monkeypatch):
    own = tmp_path / "code" / "mine.py"
    own.parent.mkdir()
    own.write_text(SCRIPT)
    folder = kept(study, tmp_path, own)
    inputs = torch.randn(4, 2)
    told = sweeper.load_ensemble(folder)(inputs)
    assert torch.equal(told, sweeper.load_ensemble(folder, build=build)(inputs))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="may come from somebody else"):
        sweeper.load_ensemble(folder)
    assert torch.equal(told, sweeper.load_ensemble(folder, script=own)(inputs))
    own.unlink()
    with pytest.raises(ConfigError, match="must be there"):
        sweeper.load_ensemble(folder)


def test_a_script_that_came_with_the_ensemble_is_not_run(study, tmp_path):
    folder = kept(study, tmp_path, tmp_path / "none.py")
    with pytest.raises(ConfigError, match="give it, as in"):
        sweeper.load_ensemble(folder)
    (folder / "evil.py").write_text("raise AssertionError('run')")
    manifest = json.loads((folder / "ensemble.json").read_text())
    (folder / "ensemble.json").write_text(json.dumps({**manifest, "script": "evil.py"}))
    with pytest.raises(ConfigError, match="may come from somebody else"):
        sweeper.load_ensemble(folder)


def test_changed_weights_and_paths_out_of_the_folder_are_refused(study, tmp_path):
    folder = kept(study, tmp_path, tmp_path / "none.py")
    manifest = json.loads((folder / "ensemble.json").read_text())
    path = folder / manifest["members"][0]["weights"]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="have changed on the disk"):
        sweeper.load_ensemble(folder, build=build)
    shutil.copy(path, tmp_path / "outside.safetensors")
    manifest["members"][0]["weights"] = "../outside.safetensors"
    (folder / "ensemble.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="lie in its folder"):
        sweeper.load_ensemble(folder, build=build)


def test_what_is_no_ensemble_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"a folder with an ensemble\.json"):
        sweeper.load_ensemble(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"format": 99}')
    with pytest.raises(CheckpointError, match="of format 99"):
        sweeper.load_ensemble(tmp_path)
