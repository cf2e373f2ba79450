"""Checkpoints: exact resume, no torn file after any kill, damage noticed, mismatch harmless, the disk kept small."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import random
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as schedules
from torch.utils.data import DataLoader, TensorDataset

from sweeper.trial import checkpoint as checkpoints
from sweeper.trial.checkpoint import (
    Checkpoint,
    delete,
    found,
    kept,
    load,
    load_newest,
    read,
    save,
    sweep_orphans,
    verify,
)
from sweeper.words.errors import CheckpointError, ConfigError

EPOCHS = 6


pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------------ exact resume


def build():
    """Fresh objects with the same start each time; the entries of `state` and the loader."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = schedules.OneCycleLR(optimizer, max_lr=0.1, epochs=EPOCHS, steps_per_epoch=4)
    shuffle = torch.Generator().manual_seed(1)
    inputs = torch.linspace(-1, 1, 32 * 5).reshape(32, 5)
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True).sin())
    loader = DataLoader(data, batch_size=8, shuffle=True, generator=shuffle)
    return {"model": model, "optimizer": optimizer, "schedule": schedule, "loader": shuffle}, loader


def train_epoch(state, loader):
    model, optimizer = state["model"], state["optimizer"]
    losses = []
    for inputs, targets in loader:
        noise = np.random.normal() * 0.01 + random.random() * 0.01
        loss = torch.nn.functional.mse_loss(model(inputs + noise), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state["schedule"].step()
        losses.append(loss.item())
    return losses


def spoil_random_generators():
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)


def test_a_resumed_run_equals_the_undisturbed_one_to_the_last_bit(tmp_path):
    state, loader = build()
    straight = [train_epoch(state, loader) for _ in range(EPOCHS)]
    undisturbed = {name: tensor.clone() for name, tensor in state["model"].state_dict().items()}

    state, loader = build()
    resumed = [train_epoch(state, loader) for _ in range(3)]
    saved = save(tmp_path, 2, state, metric="val_loss", value=resumed[-1][-1], extra={"seed": 7, "best": [1, None]})
    state, loader = build()
    spoil_random_generators()
    assert load(saved, state) == {"seed": 7, "best": [1, None]}
    resumed += [train_epoch(state, loader) for _ in range(3)]

    assert resumed == straight
    for name, tensor in state["model"].state_dict().items():
        assert torch.equal(tensor, undisturbed[name]), name


def test_saving_draws_no_random_number(tmp_path):
    state, loader = build()
    train_epoch(state, loader)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    save(tmp_path, 0, state)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_importing_it_does_not_import_torch():
    code = "import sys, sweeper.trial.checkpoint; sys.exit('torch' in sys.modules)"
    root = Path(checkpoints.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# -------------------------------------------------------------------------------------------------------- what is saved


def plateau(optimizer):
    return schedules.ReduceLROnPlateau(optimizer, patience=1)


def warm_up(optimizer):
    first = schedules.LinearLR(optimizer, start_factor=0.1, total_iters=3)
    return schedules.SequentialLR(optimizer, [first, schedules.CosineAnnealingLR(optimizer, T_max=9)], milestones=[3])


SCHEDULES = {
    "step": lambda o: schedules.StepLR(o, step_size=2),
    "multi_step": lambda o: schedules.MultiStepLR(o, milestones=[2, 5]),
    "exponential": lambda o: schedules.ExponentialLR(o, gamma=0.9),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, T_max=10),
    "warm_restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, T_0=3),
    "plateau": plateau,
    "one_cycle": lambda o: schedules.OneCycleLR(o, max_lr=0.5, total_steps=12),
    "cyclic": lambda o: schedules.CyclicLR(o, base_lr=0.1, max_lr=0.5, step_size_up=3),
    "lambda": lambda o: schedules.LambdaLR(o, lambda epoch: 0.95**epoch),
    "warm_up": warm_up,
}


def step(optimizer, schedule, times, start=0):
    rates = []
    for number in range(start, start + times):
        optimizer.step()
        # np.float64, as a mean of NumPy losses is: weights_only would refuse it inside the schedule's state.
        schedule.step(np.float64(1.0)) if isinstance(schedule, schedules.ReduceLROnPlateau) else schedule.step()
        rates.append((number, optimizer.param_groups[0]["lr"]))
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_where_it_was(tmp_path, name):
    def fresh():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
        return optimizer, SCHEDULES[name](optimizer)

    straight = step(*fresh(), 10)
    optimizer, schedule = fresh()
    resumed = step(optimizer, schedule, 4)
    saved = save(tmp_path, 3, {"optimizer": optimizer, "schedule": schedule})
    optimizer, schedule = fresh()
    load(saved, {"optimizer": optimizer, "schedule": schedule})
    assert resumed + step(optimizer, schedule, 6, start=4) == straight


class Holder:
    """Anything with state_dict and load_state_dict."""

    def __init__(self, value=None):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.mark.parametrize("bit_generator", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_a_numpy_generator_goes_on_where_it_was(tmp_path, bit_generator):
    generator = np.random.Generator(bit_generator(3))
    generator.random(5)
    saved = save(tmp_path, 0, {"noise": generator})
    expected = generator.random(4).tolist()
    fresh = np.random.Generator(bit_generator(8))
    load(saved, {"noise": fresh})
    assert fresh.random(4).tolist() == expected


def test_a_dict_is_filled_in_place(tmp_path):
    saved = save(tmp_path, 0, {"stopping": {"best": 0.5, "waited": 3, "seen": [1, 2]}})
    stopping = {"stale": True}
    load(saved, {"stopping": stopping})
    assert stopping == {"best": 0.5, "waited": 3, "seen": [1, 2]}


def test_what_weights_only_refuses_comes_back_as_it_was(tmp_path):
    counts = defaultdict(list, a=[1])
    values = {
        "scalar": np.float64(0.1),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
        "empty": np.zeros((0, 3)),
        "zero_d": np.array(2.5),
        "strings": np.array(["a", "bcd"]),
        "times": np.array(["2026-01-01"], dtype="datetime64[s]"),
        "big_endian": np.array([1.5], dtype=">f8"),
        "counts": counts,
        "counter": Counter("aab"),
        "ordered": OrderedDict(b=np.int64(1), a=2),
        "nested": [(1, {"x": np.bool_(True)}), {3, 4}, 2**127, 1 + 2j, b"\x00", torch.float16, torch.Size([2])],
    }
    back = Holder()
    load(save(tmp_path, 0, {"holder": Holder(values)}), {"holder": back})
    assert list(back.value) == list(values)
    for name, value in values.items():
        assert type(back.value[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert back.value[name].dtype == value.dtype, name
            np.testing.assert_array_equal(back.value[name], value)
            back.value[name][...] = value  # writable
        else:
            assert back.value[name] == value, name
    assert type(back.value["nested"][0][1]["x"]) is np.bool_
    assert back.value["counts"]["new"] == []


def test_a_models_layer_versions_are_kept(tmp_path):
    saved = save(tmp_path, 0, {"model": torch.nn.BatchNorm1d(2)})
    assert read(saved.path)["state"]["model"]._metadata == torch.nn.BatchNorm1d(2).state_dict()._metadata


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [0, Path("x")]}, r"state\['holder'\]\['value'\]\['a'\]\[1\] holds a pathlib"),
        (np.array([None]), r"\['value'\] holds a numpy.ndarray"),
        ({Path("x"): 1}, r"the keys of state\['holder'\]\['value'\] holds a pathlib"),
        (logging.WARNING.__class__, "holds a builtins.type"),
        (defaultdict(lambda: 1), "holds a collections.defaultdict"),
    ],
)
def test_what_cannot_be_saved_is_named_at_once(tmp_path, value, where):
    with pytest.raises(CheckpointError, match=where):
        save(tmp_path, 0, {"holder": Holder(value)})
    assert list(tmp_path.iterdir()) == []


def test_an_entry_of_another_kind_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="'epoch' is a int"):
        save(tmp_path, 0, {"epoch": 3})


@pytest.mark.parametrize(
    ("metric", "value", "name"),
    [
        ("val_loss", 0.123449, "epoch=0005-val_loss=0.1234.pt"),
        ("val/loss ü", 1e-9, "epoch=0005-val_loss__=1e-09.pt"),
        ("loss", float("nan"), "epoch=0005-loss=nan.pt"),
        ("loss", float("-inf"), "epoch=0005-loss=-inf.pt"),
        (None, 0.5, "epoch=0005.pt"),
        ("loss", None, "epoch=0005.pt"),
    ],
)
def test_the_name_of_a_file(tmp_path, metric, value, name):
    saved = save(tmp_path / "checkpoints", 5, {}, metric=metric, value=value)
    assert saved.path == (tmp_path / "checkpoints" / name).absolute()
    assert saved.size_bytes == saved.path.stat().st_size
    verify(saved)


def test_a_long_metric_name_fits_the_file_system(tmp_path):
    assert save(tmp_path, 5, {}, metric="m" * 400, value=1).path.exists()


# ------------------------------------------------------------------------------------------------------------ damage


def three(folder):
    """Epochs 0, 1, 2, holding their number."""
    return [save(folder, epoch, {"holder": Holder(epoch)}) for epoch in range(3)]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "reason"), [(flip_a_bit, "has changed"), (truncate, "must have the"), (Path.unlink, "cannot be read")]
)
def test_damage_is_noticed_and_the_checkpoint_before_is_used(tmp_path, caplog, damage, reason):
    saved = three(tmp_path)
    damage(saved[2].path)
    with pytest.raises(CheckpointError, match=reason):
        verify(saved[2])
    with pytest.raises(CheckpointError, match=reason):
        load(saved[2], {"holder": Holder()})
    holder = Holder()
    found = load_newest(saved, {"holder": holder})
    assert found is not None
    assert found[0] == saved[1]
    assert holder.value == 1
    assert reason in caplog.text
    assert str(saved[2].path) in caplog.text


def test_without_a_good_checkpoint_nothing_is_loaded(tmp_path):
    saved = three(tmp_path)
    for checkpoint in saved:
        checkpoint.path.unlink()
    holder = Holder("untouched")
    assert load_newest(saved, {"holder": holder}) is None
    assert load_newest([], {"holder": holder}) is None
    assert holder.value == "untouched"


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_bomb_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "epoch=0000.pt"
    for write in (torch.save, lambda bomb, file: file.write(pickle.dumps(bomb, protocol=2))):
        with open(path, "wb") as file:
            write({"format": 1, "state": Bomb()}, file)
        with pytest.raises(CheckpointError, match="without running code"):
            read(path)
        assert not (tmp_path / "exploded").exists()


def test_read_says_what_is_no_checkpoint(tmp_path):
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of sweeper"):
        read(tmp_path / "other.pt")
    torch.save({"format": 99}, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="is of format 99"):
        read(tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="must be readable"):
        read(tmp_path / "missing.pt")


# ---------------------------------------------------------------------------------------------------------- mismatch


def wide(width):
    torch.manual_seed(width)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, width))
    return {"seen": {"n": width}, "model": model, "optimizer": torch.optim.Adam(model.parameters())}


def frozen(state):
    model = {name: tensor.tolist() for name, tensor in state["model"].state_dict().items()}
    return (
        dict(state["seen"]),
        model,
        state["optimizer"].state_dict(),
        random.getstate(),
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: wide(5), r"'model' cannot take what was saved.*size mismatch for 1.weight"),
        (lambda: {**wide(4), "ema": Holder()}, r"`state` has 'ema' \(Holder\)"),
        (
            lambda: {k: v for k, v in wide(4).items() if k != "seen"} | {"seen": Holder()},
            "'seen' was a dict and is a Holder",
        ),
        (lambda: wide(4) | {"optimizer": torch.optim.SGD(wide(4)["model"].parameters())}, "'optimizer' was a Adam"),
    ],
)
def test_a_changed_script_is_told_and_nothing_is_half_restored(tmp_path, change, message):
    saved = save(tmp_path, 0, wide(4))
    older = save(tmp_path, 0, wide(4), metric="loss", value=1.0)
    state = change()
    before = frozen(state) if "ema" not in state and isinstance(state["seen"], dict) else None
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_newest([older, saved], state)
    assert before is None or frozen(state) == before


def test_an_entry_that_went_away_is_told(tmp_path):
    saved = save(tmp_path, 0, {"a": {}, "b": {}})
    with pytest.raises(CheckpointError, match=r"has 'b' \(dict\), `state` has only \['a'\]"):
        load(saved, {"a": {}})


# -------------------------------------------------------------------------------------------- kills and failing disks


@pytest.mark.parametrize("failing", ["_write", "_sync_folder"])
def test_whatever_fails_leaves_no_temporary_file(tmp_path, monkeypatch, failing):
    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(checkpoints, failing, fail)
    with pytest.raises(RuntimeError, match="broken"):
        save(tmp_path, 0, {"holder": Holder(1)})
    assert list(tmp_path.glob("*.tmp-*")) == []


def test_nothing_is_visible_before_the_rename(tmp_path, monkeypatch):
    seen = []

    def fail(temporary, path):
        seen.extend(Path(path).parent.iterdir())
        read(temporary)  # whole already
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        save(tmp_path, 0, {"holder": Holder(1)})
    assert [".pt.tmp-" in path.name for path in seen] == [True]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raised", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
@pytest.mark.parametrize("after_writes", [0, 3])
def test_the_true_cause_gets_through_torch(tmp_path, monkeypatch, raised, after_writes):
    written = []

    class FailingFile:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            written.append(data)
            if len(written) > after_writes:
                raise raised

    class Writer(checkpoints._HashingWriter):
        def __init__(self, file):
            super().__init__(FailingFile(file))

    monkeypatch.setattr(checkpoints, "_HashingWriter", Writer)
    with pytest.raises(type(raised)):
        save(tmp_path, 0, {"holder": Holder(torch.ones(1000))})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_how_much_is_missing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    state = {"holder": Holder(torch.ones(1000))}
    size_bytes = save(tmp_path, 0, state).size_bytes
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=f"needs {size_bytes:,} bytes and [0-9,]+ are free") as caught:
        save(tmp_path, 1, state)
    assert "Free some space" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch=0000.pt"]


KILL = """
import os, random, signal, sys, time
import torch
from pathlib import Path
from sweeper.trial.checkpoint import save

torch.set_num_threads(1)
folder, ready = Path(sys.argv[1]), Path(sys.argv[2])
state = {"model": torch.nn.Linear(500, 500)}
save(ready, 0, state)
delays = random.Random(0)
for kill in range(12):
    child = os.fork()  # one import of torch for all kills
    if child == 0:
        for epoch in range(10_000):
            save(folder, kill * 100 + epoch % 3, state)
    time.sleep(0.02 + 0.08 * delays.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_kill_9_while_saving_never_leaves_an_unreadable_checkpoint(tmp_path):
    folder = tmp_path / "checkpoints"
    root = Path(checkpoints.__file__).parents[2]
    subprocess.run([sys.executable, "-c", KILL, folder, tmp_path / "ready"], cwd=root, check=True, timeout=120)
    files = list(folder.glob("*.pt"))
    assert files
    for path in files:
        assert read(path)["state"]["model"]["weight"].shape == (500, 500)
    sweep_orphans(folder, files, attempt=1)
    assert sorted(folder.iterdir()) == sorted(files)


# -------------------------------------------------------------------------------------------------------- what is kept


def pointers(folder, *values):
    return [Checkpoint(epoch, folder / f"epoch={epoch:04d}.pt", "", 0, value) for epoch, value in enumerate(values)]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "sign", "keep", "expected"),
    [
        ((0.1, 0.5, 0.3, 0.4), 1, 2, {0, 2, 3}),
        ((0.1, 0.5, 0.3, 0.4), -1, 2, {1, 2, 3}),
        ((0.1, 0.5, 0.3, 0.4), 1, 1, {0, 3}),
        ((0.2, 0.2, 0.3, 0.4), 1, 1, {0, 3}),
        ((NAN, None, -INF, 0.4, NAN, None), 1, 2, {3, 4, 5}),
        ((None, None, None), 1, 2, {1, 2}),
        ((0.3,), 1, 2, {0}),
        ((), 1, 2, set()),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, values, sign, keep, expected):
    assert kept(pointers(tmp_path, *values), sign, keep) == expected


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got keep=0"):
        kept(pointers(tmp_path, 0.1), 1, 0)


def test_what_is_not_kept_is_deleted(tmp_path, caplog):
    saved = [save(tmp_path, epoch, {}, value=value, metric="loss") for epoch, value in enumerate([3, 1, 2, 4, 5])]
    elsewhere = save(tmp_path / "elsewhere", 0, {})
    kept_epochs = kept([*saved, elsewhere], 1)
    rest = [each for each in [*saved, elsewhere] if each.epoch not in kept_epochs]
    assert delete(tmp_path, rest) == [saved[0], saved[2]]
    assert sorted(tmp_path.glob("*.pt")) == [saved[1].path, saved[3].path, saved[4].path]
    assert elsewhere.path.exists()
    assert "is not in" in caplog.text
    assert delete(tmp_path, rest[:2]) == [saved[0], saved[2]], "a pointer to a file that is gone may go too"


def test_orphans_are_swept_and_nothing_else(tmp_path):
    known = save(tmp_path, 1, {}, metric="loss", value=0.5)
    unknown = save(tmp_path, 1, {}, metric="loss", value=0.6)
    leftover = tmp_path / "epoch=0002.pt.tmp-123-abcd"
    own = tmp_path / "my_best_weights.pt"
    for path in (leftover, own):
        path.touch()
    assert sweep_orphans(tmp_path, [known.path], attempt=1) == [unknown.path, leftover]
    assert sorted(tmp_path.iterdir()) == [known.path, own]
    assert sweep_orphans(tmp_path / "missing", [], attempt=1) == []


def test_what_a_later_attempt_wrote_is_no_orphan(tmp_path):
    saved = [save(tmp_path, 0, {}, metric="loss", value=0.5, attempt=attempt) for attempt in (1, 2, 3)]
    writing = tmp_path / "epoch=0001-loss=0.4-attempt=3.pt.tmp-123-abcd"
    writing.touch()
    assert sorted(sweep_orphans(tmp_path, [], attempt=2)) == sorted(each.path for each in saved[:2])
    assert sorted(tmp_path.iterdir()) == [saved[2].path, writing]


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("metric", "value", "attempt", "name"),
    [
        ("val_loss", 0.1234, 1, "epoch=0005-val_loss=0.1234.pt"),
        ("val_loss", 0.1234, 2, "epoch=0005-val_loss=0.1234-attempt=2.pt"),
        ("a-b", -1e-7, 12, "epoch=0005-a-b=-1e-07-attempt=12.pt"),
        (None, None, 1, "epoch=0005.pt"),
        (None, None, 3, "epoch=0005-attempt=3.pt"),
    ],
)
def test_a_name_tells_epoch_value_and_later_attempts(tmp_path, metric, value, attempt, name):
    saved = save(tmp_path, 5, {}, metric=metric, value=value, attempt=attempt)
    assert saved.path.name == name
    assert found(saved.path) == saved


def test_no_attempt_replaces_the_file_of_another(tmp_path):
    state = {"plain": {"of": 2}}
    heir = save(tmp_path, 0, state, metric="loss", value=0.5, attempt=2)
    state["plain"]["of"] = 1
    save(tmp_path, 0, state, metric="loss", value=0.5)
    verify(heir)
