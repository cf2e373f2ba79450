"""The trial handle: epochs, reports and checkpoints in their order, exact resume after a cut anywhere, clear errors."""

from __future__ import annotations

import logging
import math
import random
from decimal import Decimal

import numpy as np
import pytest
import torch

from sweeper.trial import handle
from sweeper.trial.handle import FolderJournal, Trial, as_current, current_trial
from sweeper.words.errors import CheckpointError, Diverged, LeaseLost, MetricError, TrialInterrupted
from sweeper.words.records import Direction

EPOCHS = 4


class Killed(BaseException):
    """The process dies here."""


class RecordingJournal:
    """Keeps what a store would keep, and every step in its order; `die_at=("report", 2)` dies before that step."""

    def __init__(self):
        self.steps, self.reports, self.values, self.known = [], {}, [], []
        self.last = self.value = None
        self.die_at = self.ask_after = None
        self.targets = {}  # where a stage ends → where the next one does

    def checkpoints(self):
        return self.known

    def report(self, report, value):
        self._step("report", report.epoch)
        self.reports[report.epoch] = report
        self.last, self.value = report, value
        self.values.append((report.epoch, value))

    def point_to(self, new, forget_epochs):
        assert new.path.exists(), "the pointer comes before the file"
        self._step("pointer", new.epoch)
        assert all(old.path.exists() for old in self.known if old.epoch != new.epoch), "a file went before its pointer"
        self.known = [old for old in self.known if old.epoch not in {new.epoch, *forget_epochs}] + [new]

    def go_on(self, epochs_done):
        return self.targets.get(epochs_done)

    def leave_if_asked(self):
        self.steps.append(("leave?", max(self.reports)))
        if self.ask_after is not None and max(self.reports) >= self.ask_after:
            raise TrialInterrupted("asked to leave")

    def _step(self, name, epoch):
        if self.die_at == (name, epoch):
            self.die_at = None
            raise Killed
        self.steps.append((name, epoch))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def journal():
    return RecordingJournal()


@pytest.fixture
def start(tmp_path, journal):
    """`start()`: the handle of a new attempt of the same trial."""

    def make(**more):
        values = {"number": 3, "params": {"x": 0.5}, "folder": tmp_path, "device": "cpu", "seed": 7}
        return Trial(**{**values, "journal": journal, "metric": "val_loss", **more})

    return make


def counter():
    """The smallest state: anything with state_dict and load_state_dict."""
    return {"model": torch.nn.Linear(1, 1)}


# ---- which epochs ----------------------------------------------------------------------------------------------------


def run(trial, n=EPOCHS, state=None, loss=lambda epoch: 1.0 / (epoch + 1)):
    done = []
    for epoch in trial.epochs(n, state=state):
        done.append(epoch)
        trial.report(val_loss=loss(epoch))
    return done


def interrupt(start, journal, after, **how):
    journal.ask_after = after
    with pytest.raises(TrialInterrupted):
        run(start(), **how)
    journal.ask_after = None


def test_epochs_count_from_zero(start):
    assert run(start()) == [0, 1, 2, 3]


@pytest.mark.parametrize("after", range(EPOCHS - 1))
def test_with_state_the_epochs_that_are_left_come(start, journal, after):
    interrupt(start, journal, after, state=counter())
    assert run(start(), state=counter()) == list(range(after + 1, EPOCHS))


@pytest.mark.parametrize("after", range(EPOCHS - 1))
def test_with_empty_state_they_go_on_after_the_last_report(start, journal, after):
    interrupt(start, journal, after, state={})
    assert run(start(), state={}) == list(range(after + 1, EPOCHS))


def test_without_state_they_begin_again(start, journal):
    interrupt(start, journal, 1)
    assert run(start()) == [0, 1, 2, 3]


def test_with_empty_state_nothing_is_saved(start, journal, tmp_path):
    run(start(), state={})
    assert list(tmp_path.rglob("*.pt")) == []
    assert {name for name, _ in journal.steps} == {"report", "leave?"}


@pytest.mark.parametrize(("target", "asked", "done"), [(2, 4, 2), (4, 2, 2), (None, 3, 3), (4, 0, 0)])
def test_the_plan_may_grant_fewer_epochs_than_the_script_asks_for(start, target, asked, done):
    assert run(start(target_epochs=target), n=asked) == list(range(done))


def test_a_larger_target_goes_on_where_the_smaller_one_ended(start):
    assert run(start(target_epochs=2), state=counter()) == [0, 1]
    assert run(start(target_epochs=4), state=counter()) == [2, 3]


def test_a_trial_that_is_worth_it_goes_on_at_once(start, journal):
    journal.targets = {2: 3, 3: 4}
    trial = start(target_epochs=2)
    assert run(trial, state=counter()) == [0, 1, 2, 3]
    assert not trial.paused


def test_a_trial_that_is_not_pauses_at_the_end_of_its_stage(start, journal):
    journal.targets = {2: 3}
    trial = start(target_epochs=2)
    assert run(trial, state=counter()) == [0, 1, 2]
    assert trial.paused
    assert trial.finish(None) == journal.value


def test_a_trial_whose_script_wants_no_more_epochs_is_not_paused(start):
    trial = start(target_epochs=4)
    assert run(trial, n=4) == [0, 1, 2, 3]
    assert not trial.paused


def test_a_trial_is_asked_to_leave_before_it_is_judged(start, journal):
    journal.ask_after, journal.targets = 1, {2: 4}
    with pytest.raises(TrialInterrupted):
        run(start(target_epochs=2), state=counter())
    journal.ask_after = None
    assert run(start(target_epochs=2), state=counter()) == [2, 3]


def test_a_trial_with_nothing_left_still_has_its_value(start):
    run(start(), state=counter())
    again = start()
    assert run(again, state=counter()) == []
    assert again.finish(None) == 0.25


def test_leaving_is_asked_after_each_epoch_but_the_last(start, journal):
    run(start(), state=counter())
    assert [epoch for name, epoch in journal.steps if name == "leave?"] == [0, 1, 2]


# ---- the order, and what a cut at any point leaves -------------------------------------------------------------------


def test_an_epoch_is_reported_then_saved_then_pointed_to(start, journal, monkeypatch):
    real = handle.checkpoint.save

    def save(folder, epoch, *args, **more):
        journal.steps.append(("file", epoch))
        return real(folder, epoch, *args, **more)

    monkeypatch.setattr(handle.checkpoint, "save", save)
    run(start(), n=2, state=counter())
    assert journal.steps == [
        *[("report", 0), ("file", 0), ("pointer", 0), ("leave?", 0)],
        *[("report", 1), ("file", 1), ("pointer", 1)],
    ]


class Training:
    """A small training that draws from every generator; `losses` are what it reported."""

    def __init__(self):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.shuffle = torch.Generator().manual_seed(1)
        self.numbers = np.random.default_rng(2)
        self.plain = {"best": math.inf, "patience": 0}
        self.inputs = torch.linspace(-1, 1, 24).reshape(8, 3)

    @property
    def state(self):
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loader": self.shuffle,
            "numbers": self.numbers,
            "plain": self.plain,
        }

    def epoch(self):
        order = torch.randperm(8, generator=self.shuffle)
        noise = random.random() + np.random.rand() + self.numbers.random() + torch.rand(1).item()
        loss = ((self.model(self.inputs[order]) - 0.1 * noise) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.plain["best"] = min(self.plain["best"], loss.item())
        self.plain["patience"] += 1
        return loss.item()

    def run(self, trial):
        for _ in trial.epochs(EPOCHS, state=self.state):
            trial.report(val_loss=self.epoch())
        return trial.finish(None)


def ending(training, journal, value):
    weights = [tensor.tolist() for tensor in training.model.state_dict().values()]
    losses = {epoch: report.metrics["val_loss"] for epoch, report in journal.reports.items()}
    return losses, weights, training.plain, value


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    journal, training = RecordingJournal(), Training()
    folder = tmp_path_factory.mktemp("undisturbed")
    trial = Trial(number=0, params={}, folder=folder, device="cpu", seed=0, journal=journal, metric="val_loss")
    value = training.run(trial)
    return ending(training, journal, value)


def test_the_training_of_these_tests_depends_on_every_generator(undisturbed):
    losses, *_ = undisturbed
    assert len(set(losses.values())) == EPOCHS


@pytest.mark.parametrize("epoch", range(EPOCHS))
@pytest.mark.parametrize("step", ["report", "file", "pointer", "deleting", "leaving"])
def test_a_cut_at_any_point_of_any_epoch_ends_in_the_same_numbers(
    start, journal, undisturbed, monkeypatch, step, epoch
):
    if step == "leaving":
        if epoch == EPOCHS - 1:
            pytest.skip("nobody leaves after the last epoch")
        journal.ask_after = epoch
    elif step == "file":
        monkeypatch.setattr(handle.checkpoint, "save", dying(handle.checkpoint.save, epoch))
    elif step == "deleting":
        monkeypatch.setattr(handle.checkpoint, "delete", dying(handle.checkpoint.delete, epoch, position=None))
    else:
        journal.die_at = (step, epoch)
    with pytest.raises((Killed, TrialInterrupted)):
        Training().run(start())
    monkeypatch.undo()
    journal.ask_after = None
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    training = Training()
    value = training.run(start())
    assert ending(training, journal, value) == undisturbed


def dying(real, epoch, position=1):
    """`real`, but it dies instead at its call for that epoch (or, without a position, at that call)."""
    calls = []

    def wrapped(*args, **more):
        calls.append(args)
        if (args[position] if position is not None else len(calls) - 1) == epoch:
            raise Killed
        return real(*args, **more)

    return wrapped


def test_two_cuts_in_a_row_end_in_the_same_numbers(start, journal, undisturbed):
    for epoch in range(1, EPOCHS):
        journal.die_at = ("pointer", epoch)
        with pytest.raises(Killed):
            Training().run(start())
    training = Training()
    value = training.run(start())
    assert ending(training, journal, value) == undisturbed


def test_a_damaged_checkpoint_costs_an_epoch_and_changes_no_number(start, journal, undisturbed):
    journal.die_at = ("report", 3)
    with pytest.raises(Killed):
        Training().run(start())
    newest = max(journal.known, key=lambda each: each.epoch)
    newest.path.write_bytes(newest.path.read_bytes()[:-100])
    training = Training()
    value = training.run(start())
    assert ending(training, journal, value) == undisturbed


def test_what_is_newer_than_the_checkpoint_that_was_good_is_forgotten(start, journal):
    """Else a damaged file counts among the newest that stay, and each new one would be deleted at once."""
    run(start(keep=3), n=6, state=counter(), loss=lambda epoch: float(epoch))  # kept: 3, 4, 5 and the best, 0
    for each in journal.known:
        if each.epoch > 3:
            each.path.write_bytes(b"torn")
    journal.die_at = ("report", 5)
    with pytest.raises(Killed):
        run(start(keep=1), n=6, state=counter(), loss=lambda epoch: float(epoch))  # goes on with 4
    assert run(start(keep=1), n=6, state=counter(), loss=lambda epoch: float(epoch)) == [5]


def test_a_checkpoint_that_does_not_fit_the_state_is_an_error(start, journal):
    interrupt(start, journal, 0, state=counter())
    with pytest.raises(CheckpointError, match="model"):
        run(start(), state={"model": torch.nn.Linear(2, 2)})


# ---- what stays on the disk ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "keep", "kept"),
    [("minimize", 2, [1, 4, 5]), ("maximize", 2, [2, 4, 5]), ("minimize", 1, [1, 5]), ("minimize", 9, range(6))],
)
def test_the_newest_and_the_best_stay_as_files_and_as_pointers(start, journal, tmp_path, direction, keep, kept):
    losses = [0.5, 0.1, 0.9, 0.4, 0.3, 0.2]
    trial = start(direction=Direction(direction), keep=keep)
    run(trial, n=6, state=counter(), loss=losses.__getitem__)
    assert sorted(each.epoch for each in journal.known) == list(kept)
    assert sorted(tmp_path.rglob("*.pt")) == sorted(each.path for each in journal.known)


def test_the_best_of_an_earlier_attempt_stays(start, journal):
    losses = [0.1, 0.5, 0.5, 0.5, 0.5, 0.5]
    journal.ask_after = 2
    with pytest.raises(TrialInterrupted):
        run(start(), n=6, state=counter(), loss=losses.__getitem__)
    journal.ask_after = None
    run(start(), n=6, state=counter(), loss=losses.__getitem__)
    assert sorted(each.epoch for each in journal.known) == [0, 4, 5]


def test_who_lost_the_lease_takes_its_own_file_away_and_no_other(start, journal, tmp_path, monkeypatch):
    run(start(attempt=2), n=1, state=counter())
    (heirs,) = journal.known

    def lost(new, forget_epochs):
        raise LeaseLost("another worker holds it")

    monkeypatch.setattr(journal, "point_to", lost)
    journal.known = []
    with pytest.raises(LeaseLost):
        run(start(attempt=1), n=1, state=counter())
    assert list(tmp_path.rglob("*.pt*")) == [heirs.path]
    handle.checkpoint.verify(heirs)


# ---- reports ---------------------------------------------------------------------------------------------------------


def test_several_reports_in_one_epoch_add_up(start, journal):
    trial = start()
    for _ in trial.epochs(2):
        trial.report(train_loss=0.9)
        trial.report(val_loss=0.5)
        trial.report(val_loss=0.4, accuracy=0.8)
    assert journal.reports[0].metrics == {"train_loss": 0.9, "val_loss": 0.4, "accuracy": 0.8}
    assert journal.reports[1].metrics == journal.reports[0].metrics
    assert (journal.reports[0].number, journal.value) == (3, 0.4)


def test_a_metric_of_the_epoch_before_is_not_carried_along(start, journal):
    trial = start()
    for epoch in trial.epochs(2):
        trial.report(val_loss=0.5, **({"extra": 1.0} if epoch == 0 else {}))
    assert journal.reports[1].metrics == {"val_loss": 0.5}


def test_an_epoch_has_no_value_before_its_metric_is_reported(start, journal):
    trial = start()
    for _ in trial.epochs(2):
        trial.report(train_loss=0.9)
        trial.report(val_loss=0.5)
    assert journal.values == [(0, None), (0, 0.5), (1, None), (1, 0.5)]


def test_outside_of_epochs_every_report_is_an_epoch(start, journal):
    trial = start()
    for loss in (0.5, 0.4, 0.3):
        trial.report(val_loss=loss)
    assert {epoch: report.metrics for epoch, report in journal.reports.items()} == {
        0: {"val_loss": 0.5},
        1: {"val_loss": 0.4},
        2: {"val_loss": 0.3},
    }
    assert trial.finish(None) == 0.3


@pytest.mark.parametrize(
    "number",
    [
        0.25,
        torch.tensor(0.25),
        torch.tensor([0.25]),
        torch.tensor(0.25, requires_grad=True),
        torch.tensor(0.25, dtype=torch.bfloat16),
        np.float32(0.25),
        np.float64(0.25),
        np.array(0.25),
        Decimal("0.25"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_a_number_is_taken_and_kept_as_a_float(start, journal, number):
    trial = start()
    trial.report(val_loss=number)
    assert journal.reports[0].metrics == {"val_loss": 0.25}
    assert type(journal.reports[0].metrics["val_loss"]) is float
    assert trial.finish(None) == 0.25


@pytest.mark.parametrize("number", [3, np.int64(3), torch.tensor(3)], ids=lambda value: type(value).__name__)
def test_whole_numbers_are_numbers(start, journal, number):
    start().report(val_loss=number)
    assert journal.reports[0].metrics == {"val_loss": 3.0}


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        torch.tensor(True),
        None,
        "0.5",
        b"1",
        [0.5],
        {},
        1j,
        torch.tensor([0.1, 0.2]),
        torch.tensor(1j),
        np.array([0.1, 0.2]),
        np.array([]),
        10**400,
        object(),
    ],
    ids=lambda value: repr(value)[:20].replace("\n", " "),
)
def test_what_is_no_number_is_refused_with_name_and_value(start, journal, value):
    with pytest.raises(MetricError, match=r"A metric is a number, but got accuracy=") as caught:
        start().report(val_loss=0.5, accuracy=value)
    assert repr(value)[:20] in str(caught.value)
    assert journal.reports == {}


def test_an_epoch_without_any_report_is_an_error_in_words(start):
    with pytest.raises(MetricError, match=r"'val_loss'.* epoch 0 reported nothing: call trial.report\(val_loss=…\)"):
        list(start().epochs(2))


def test_a_misspelt_metric_is_told_with_what_was_reported(start):
    trial = start()

    def misspell():
        for epoch in trial.epochs(2):
            trial.report(**{"val_loss" if epoch == 0 else "val_los": 0.5})

    with pytest.raises(MetricError, match=r"'val_loss'.* epoch 1 reported val_los: .*`metric`"):
        misspell()


def test_a_trial_without_the_metric_is_an_error_in_words(start):
    with pytest.raises(MetricError, match=r"'val_loss'.*reported nothing and returned 0.5.*'objective'"):
        start().finish(0.5)


def test_a_note_after_the_last_epoch_does_not_take_the_value_away(start, journal):
    trial = start()
    run(trial)
    trial.report(test_accuracy=0.9)
    assert trial.finish(None) == 0.25


# ---- no number -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, torch.tensor(math.nan), np.float32(math.inf)], ids=repr)
@pytest.mark.parametrize("name", ["val_loss", "train_loss"])
def test_a_loss_that_is_no_number_ends_the_trial_after_it_is_reported(start, journal, name, bad):
    trial = start()
    metrics = {"val_loss": 0.5, "train_loss": 0.5, name: bad}

    def diverge():
        for epoch in trial.epochs(4, state=counter()):
            trial.report(**({"val_loss": 0.5} if epoch == 0 else metrics))

    with pytest.raises(Diverged, match=rf"{name} is (nan|-?inf) at epoch 1"):
        diverge()
    assert journal.reports[1].metrics == {**metrics, name: None}
    assert [each.epoch for each in journal.known] == [0]
    assert trial.value == (None if name == "val_loss" else 0.5)


def test_another_metric_may_be_no_number(start, journal):
    trial = start()
    trial.report(val_loss=0.5, ratio=math.inf)
    assert journal.reports[0].metrics == {"val_loss": 0.5, "ratio": None}


def test_a_metric_that_is_no_loss_ends_the_trial_too(start):
    with pytest.raises(Diverged, match="val_accuracy is nan"):
        start(metric="val_accuracy").report(val_accuracy=math.nan)


# ---- a returned float ------------------------------------------------------------------------------------------------


def test_a_returned_float_is_the_objective(start, journal):
    assert start(metric="objective").finish(0.5) == 0.5
    assert journal.reports[0].metrics == {"objective": 0.5}


def test_a_returned_float_joins_the_last_epoch(start, journal):
    trial = start(metric="objective")
    for _ in trial.epochs(2):
        trial.report(val_loss=0.4)
    assert trial.finish(0.5) == 0.5
    assert journal.reports[1].metrics == {"val_loss": 0.4, "objective": 0.5}
    assert set(journal.reports) == {0, 1}


def test_a_returned_float_is_ignored_where_the_metric_has_a_name(start, journal):
    trial = start()
    trial.report(val_loss=0.4)
    assert trial.finish(0.9) == 0.4
    assert journal.reports[0].metrics == {"val_loss": 0.4}


@pytest.mark.parametrize("state", [counter, dict], ids=["checkpoints", "empty"])
def test_a_returned_float_joins_the_last_epoch_of_a_trial_that_had_nothing_left_to_train(start, journal, state):
    """Killed between the last checkpoint and the result: the earlier epochs and their metrics stay."""

    def train(trial):
        for epoch in trial.epochs(3, state=state()):
            trial.report(accuracy=epoch / 10)
        return 0.5

    train(start(metric="objective"))
    again = start(metric="objective")
    assert again.finish(train(again)) == 0.5
    assert {epoch: report.metrics.get("objective") for epoch, report in journal.reports.items()} == {
        0: None,
        1: None,
        2: 0.5,
    }
    assert journal.last.epoch == 2
    assert journal.reports[0].metrics == {"accuracy": 0.0}


@pytest.mark.parametrize("returned", [True, "0.5", {"loss": 0.5}, (0.5, 0.6)])
def test_a_returned_value_that_is_no_number_is_told(start, returned):
    with pytest.raises(MetricError, match="objective="):
        start(metric="objective").finish(returned)


def test_a_returned_nan_is_diverged(start):
    with pytest.raises(Diverged, match="objective is nan"):
        start(metric="objective").finish(math.nan)


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: `clock.now += 2`."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(handle, "time", made)
    return made


def test_the_seconds_of_an_epoch_are_those_since_its_start(start, journal, clock):
    trial = start()
    for _ in trial.epochs(2):
        clock.now += 2.0
        trial.report(val_loss=0.5)
        clock.now += 1.0
        trial.report(val_loss=0.4)
    assert [journal.reports[epoch].seconds for epoch in (0, 1)] == [3.0, 3.0]


def test_the_seconds_of_a_script_that_only_returns_a_float_are_its_own(start, journal, clock):
    trial = start(metric="objective")
    clock.now += 5.0
    trial.finish(0.5)
    assert journal.reports[0].seconds == 5.0


def test_the_seconds_outside_of_epochs_are_those_since_the_report_before(start, journal, clock):
    trial = start()
    for seconds in (2.0, 3.0):
        clock.now += seconds
        trial.report(val_loss=0.5)
    assert [journal.reports[epoch].seconds for epoch in (0, 1)] == [2.0, 3.0]


def test_a_returned_float_does_not_take_the_last_epochs_seconds(start, journal, clock):
    trial = start(metric="objective")
    for _ in trial.epochs(1):
        clock.now += 2.0
        trial.report(accuracy=0.5)
    trial.finish(0.5)
    assert journal.reports[0].seconds == 2.0


# ---- leaving the loop ------------------------------------------------------------------------------------------------


def test_a_break_ends_the_trial_at_its_last_report(start, journal):
    trial = start()
    for epoch in trial.epochs(9, state=counter()):
        trial.report(val_loss=1.0 - epoch / 10)
        if epoch == 2:
            break
    assert trial.finish(None) == 0.8
    assert set(journal.reports) == {0, 1, 2}


def test_a_break_and_a_returned_float_join_the_same_epoch(start, journal):
    trial = start(metric="objective")
    for epoch in trial.epochs(9):
        trial.report(accuracy=0.5)
        if epoch == 1:
            break
    trial.finish(0.3)
    assert journal.reports[1].metrics == {"accuracy": 0.5, "objective": 0.3}
    assert set(journal.reports) == {0, 1}


def test_an_exception_in_the_loop_goes_through_and_saves_nothing_more(start, journal):
    with pytest.raises(ZeroDivisionError):
        run(start(), state=counter(), loss=lambda epoch: 1 / (1 - epoch))
    assert [each.epoch for each in journal.known] == [0]
    assert set(journal.reports) == {0}


def test_an_except_in_the_script_cannot_swallow_the_leaving(start, journal):
    journal.ask_after = 0

    def careless():
        try:
            run(start())
        except Exception:
            pytest.fail("a training script caught it")

    with pytest.raises(TrialInterrupted):
        careless()


# ---- the current trial -----------------------------------------------------------------------------------------------


def test_the_current_trial_is_the_one_that_is_trained(start):
    outer, inner = start(), start(number=4)
    with as_current(outer):
        assert current_trial() is outer
        with as_current(inner):
            assert current_trial() is inner
        assert current_trial() is outer


def test_the_current_trial_is_put_back_after_an_error(start):
    outer = start()
    with as_current(outer):
        with pytest.raises(ValueError, match="no"), as_current(start(number=4)):
            raise ValueError("no")
        assert current_trial() is outer


def test_alone_a_stand_in_trains_in_the_current_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    trial = current_trial()
    assert (trial.number, dict(trial.params), trial.seed, trial.folder) == (0, {}, None, tmp_path)
    with caplog.at_level(logging.INFO, "sweeper.trial"):
        assert run(trial, state=counter()) == [0, 1, 2, 3]
    assert "epoch 3  val_loss 0.25" in caplog.text
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 2


def test_alone_the_same_folder_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(current_trial(), n=2, state=counter()) == [0, 1]
    assert run(current_trial(), n=4, state=counter()) == [2, 3]


def test_alone_any_metric_may_be_reported_and_none_must(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = current_trial()
    for _ in trial.epochs(1, state={}):
        trial.report(accuracy=0.5)
    for _ in trial.epochs(1, state={}):
        pass


def test_alone_a_file_of_another_name_does_not_disturb(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.pt").write_bytes(b"")
    assert FolderJournal(tmp_path).checkpoints() == []


def test_a_trial_shows_its_number_and_parameters(start):
    assert repr(start()) == "Trial(number=3, params={'x': 0.5})"


def test_a_training_that_is_lost_ends_with_its_reason_and_its_last_report(start, journal):
    trial = start()

    def explode():
        for epoch in trial.epochs(3):
            trial.report(train_loss=2.3 if epoch == 0 else 1e8, val_loss=2.0)

    with pytest.raises(Diverged, match=r"train_loss is 1e\+08, more than 10000 times the 2.3 .* at epoch 1"):
        explode()
    assert journal.reports[1].metrics["train_loss"] == 1e8


def test_a_training_without_gradient_and_signal_ends(start, journal):
    with pytest.raises(Diverged, match="nothing can be learned any more: no layer has a gradient"):
        start().report(val_loss=2.3, **{"grad_norm/0": 0.0, "activation_std/1": 0.0})
    assert journal.reports[0].metrics["val_loss"] == 2.3


def test_a_loss_that_fell_before_the_trial_was_taken_up_again_may_jump(start, journal):
    interrupt(start, journal, after=1, state=counter(), loss=lambda epoch: 1e-6)
    assert run(start(), state=counter(), loss=lambda epoch: 5.0) == [2, 3]


def test_monitors_that_are_not_finite_are_no_divergence_and_no_line_of_the_log(start, journal, caplog):
    with caplog.at_level("INFO", logger="sweeper.trial"):
        for _ in (trial := start()).epochs(1):
            trial.report(val_loss=1.0, **{"grad_norm/loss": math.inf, "monitor/lr": 0.1})
    assert journal.reports[0].metrics == {"val_loss": 1.0, "grad_norm/loss": None, "monitor/lr": 0.1}
    assert "monitor" not in caplog.text


def test_every_epoch_is_a_line_in_the_log(start, caplog):
    with caplog.at_level("INFO", logger="sweeper.trial"):
        run(start(), n=2)
    assert [record.message.split("  ")[:2] for record in caplog.records if record.message.startswith("epoch")] == [
        ["epoch 0", "val_loss 1"],
        ["epoch 1", "val_loss 0.5"],
    ]
