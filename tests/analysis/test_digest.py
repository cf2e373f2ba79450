"""The numbers that the page's plots are made from."""

from __future__ import annotations

import doctest
import itertools

import pytest

import sweeps
from sweeper.analysis import axes, curves, digest, importance, timeline
from sweeper.report import answer
from sweeper.report.html import parallel, plots
from sweeper.store import attempts, columns, reads, schema


@pytest.mark.parametrize("module", [curves, digest, parallel, plots, timeline])
def test_examples(module) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.fixture
def found(store):
    """150 trials in three stages, every seventh failed."""
    sweeps.fill(store, sweeps.study(store, trials=150), 150)
    return digest.collect(store, reads.study(store))


def update(store, table, where, **values) -> None:
    with store.write() as connection:
        connection.execute(table.update().where(where).values(**values))


def axis(found, name: str) -> axes.Axis:
    return axes.collect(found, found.space[name])


def test_trials_that_got_further_come_first(found) -> None:
    states = [found.columns["state"][i] for i in found.ranked]
    assert states == sorted(states)  # COMPLETE, then PAUSED
    assert found.ranked[: len(found.complete)] == found.complete
    assert found.complete[0] == min(found.complete, key=lambda i: found.columns["value"][i])


def test_hidden_trials_and_repeats_are_in_no_plot(store, found) -> None:
    best, second = (found.columns["number"][i] for i in found.complete[:2])
    update(store, schema.trials, schema.trials.c.number == best, hidden="noisy")
    update(store, schema.trials, schema.trials.c.number == second, repeats=best)
    again = digest.collect(store, reads.study(store))
    shown = {again.columns["number"][i] for i in again.searched}
    assert {best, second} & shown == set()
    assert len(shown) == 148


def test_an_axis_has_every_trial_and_every_failure_where_it_was_tried(found) -> None:
    told = axis(found, "optimizer.lr")
    assert len(told.marks) + len(told.failed) == 150
    assert {mark.number for mark in told.failed} == {number for number in range(150) if number % 7 == 3}
    assert all(mark.x == found.params("optimizer.lr")[mark.number] for mark in told.marks)
    assert told.ranges == ((1e-5, 0.1),)


def test_a_conditional_parameter_has_the_trials_in_which_it_was_active(found) -> None:
    told = axis(found, "optimizer.momentum")
    sgd = [i for i in found.ranked if found.params("optimizer")[i] == "sgd"]
    assert len(told.marks) == len(sgd)


def test_choices_stand_at_their_places(found) -> None:
    told = axis(found, "model.activation")
    assert told.choices == ("relu", "tanh", "elu")
    assert {mark.x for mark in told.marks} == {0.0, 1.0, 2.0}
    assert (told.span, told.ranges) == ((-0.5, 2.5), ())


def test_the_moves_of_a_range_are_kept_in_order(store, found) -> None:
    sweeps.move(store, found.study.id, 1, 1e-6, 0.1, 30)
    sweeps.move(store, found.study.id, 2, 1e-6, 0.1, 40)
    sweeps.move(store, found.study.id, 3, 1e-6, 0.5, 80)
    again = digest.collect(store, reads.study(store))
    assert axis(again, "optimizer.lr").ranges == ((1e-5, 0.1), (1e-6, 0.1), (1e-6, 0.5))
    assert axis(again, "optimizer.lr").span == (1e-6, 0.5)
    assert axis(again, "model.depth").ranges == ((1, 4),)
    arrows = plots.axis(again, axis(again, "optimizer.lr"))["layout"]["annotations"]
    assert [(arrow["ax"], arrow["x"]) for arrow in arrows] == [
        (pytest.approx(-5), pytest.approx(-6)),
        (pytest.approx(-1), pytest.approx(-0.30103)),
    ]


def test_isolation_keeps_the_best_of_each_part(found) -> None:
    told = axis(found, "model.depth")
    assert [(part.low, part.high) for part in told.bins] == [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5), (3.5, 4.5)]
    for part in told.bins:
        here = [i for i in found.complete if part.low < found.params("model.depth")[i] < part.high]
        assert part.best.y == min(found.columns["value"][i] for i in here)
    assert sum(part.trials for part in told.bins) == len(found.ranked)


def test_isolation_of_a_range_has_ten_parts_on_its_scale(found) -> None:
    parts = axis(found, "optimizer.lr").bins
    assert len(parts) == axes.BINS
    assert all(part.low <= part.best.x <= part.high for part in parts)
    assert parts[0].high / parts[0].low == pytest.approx(parts[5].high / parts[5].low)


def test_failures_are_crosses_at_the_bad_end(found) -> None:
    traces = plots.axis(found, axis(found, "optimizer.lr"))["data"]
    crosses = next(trace for trace in traces if trace["name"] == "failed")
    assert set(crosses["y"]) == {found.scale.worst}
    assert crosses["marker"]["symbol"] == "x-thin"
    assert [trace["name"] for trace in traces][:3] == ["coarse", "middle", "fine"]


def test_one_exploded_loss_does_not_flatten_the_rest(store, found) -> None:
    update(store, schema.trials, schema.trials.c.number == 0, value=1e12)
    again = digest.collect(store, reads.study(store))
    assert again.scale.worst < 10
    assert again.scale.shown(1e12) == again.scale.worst


def test_where_more_is_better_the_bad_end_is_below() -> None:
    scale = digest.scale_of([0.5, 0.9, 0.8], -1)
    assert (scale.best, scale.worst, scale.log) == (0.9, 0.5, False)


def test_the_best_so_far_falls_in_the_order_of_the_ends(found) -> None:
    values = [found.columns["value"][i] for i in found.records]
    ends = [found.timeline.ends[found.columns["number"][i]] for i in found.records]
    assert values == sorted(values, reverse=True)
    assert ends == sorted(ends)
    assert found.records[-1] == found.complete[0]
    assert found.spent[-1] == (pytest.approx(sum(found.columns["epochs_done"]) / 18), values[-1])


def test_lanes_hold_every_trial_without_overlap(found) -> None:
    lanes = found.timeline
    assert lanes.lanes == ("gpu 0 of node<1>", "gpu 1 of node<1>")
    assert sum(stretch.trials for stretch in lanes.stretches) == 150
    for lane in (0, 1):
        here = [stretch for stretch in lanes.stretches if stretch.lane == lane]
        assert all(one.end <= other.begin + 1e-3 for one, other in itertools.pairwise(here))
    lived = sum(end - begin for _, begin, end in lanes.lives)
    assert found.ledger.seconds.total == pytest.approx(lived, rel=0.01)
    assert 0.85 < found.ledger.utilisation < 1.0


def test_the_clock_stands_still_between_two_runs(store, found) -> None:
    row = reads.worker_rows(store, found.study.id)[0]
    later = {**{name: row[name] for name in ("study_id", "host", "slot", "pid", "device", "engine")}, "ending": "done"}
    began = row["ended"] + 86_400
    with store.write() as connection:
        connection.execute(schema.workers.insert().values(**later, started=began, beat=began + 10, ended=began + 10))
    again = digest.collect(store, reads.study(store))
    assert again.clock.seconds == pytest.approx(found.clock.seconds + 10)
    assert again.timeline.cuts == (pytest.approx(found.clock.seconds),)
    assert again.timeline.lanes == found.timeline.lanes  # the slot's next worker comes to the same lane


def test_a_promoted_trial_is_two_stretches(store, found) -> None:
    number = next(found.columns["number"][i] for i in found.complete)
    at = (schema.epochs.c.number == number) & (schema.epochs.c.epoch >= 6)
    update(store, schema.epochs, at, attempt=2, reported=schema.epochs.c.reported + 50)
    here = schema.trials.c.number == number
    update(store, schema.trials, here, attempt=2, finished=schema.trials.c.finished + 50)
    reported = [row[0] for row in columns.epoch_table(store, found.study.id, ["reported"], number)]
    holder = reads.trial(store, found.study.id, number)["worker_id"]
    told = {"study_id": found.study.id, "kind": attempts.PROMOTED, "number": number, "message": "it goes on"}
    with store.write() as connection:
        connection.execute(schema.events.insert().values(**told, worker_id=holder, time=reported[5] + 50))
    turns = next(each for each in attempts.turns(store, found.study.id) if each.number == number)
    first, second = turns.attempts
    assert (first.number, second.number, first.worker, second.worker) == (number, number, holder, holder)
    assert second.begin == pytest.approx(first.end + 50)


def test_neighbours_become_one_where_there_are_too_many(monkeypatch, found) -> None:
    monkeypatch.setattr(timeline, "MAX_STRETCHES", 20)
    merged = timeline._bounded(found.timeline.stretches, found.clock.seconds)
    assert len(merged) <= 45
    assert sum(stretch.trials for stretch in merged) == 150


def test_curves_show_training_and_validation_of_the_best(store, found) -> None:
    loss, accuracy = curves.collect(store, found)
    assert (loss.what, loss.train_name, loss.val_name) == ("loss", "train_loss", "val_loss")
    assert (accuracy.what, accuracy.train_name, accuracy.val_name) == ("accuracy", None, "val_accuracy")
    numbers = [found.columns["number"][i] for i in found.complete[: curves.BEST]]
    assert [curve.number for curve in loss.best] == numbers
    best = loss.best[0]
    assert [epoch for epoch, _ in best.val] == list(range(1, 19))
    assert best.val[-1][1] == found.columns["value"][found.complete[0]]
    assert best.train[-1][1] == pytest.approx(0.8 * best.val[-1][1])
    assert len(loss.others) <= curves.OTHERS


def test_importance_finds_what_matters_and_says_by_how_many(store, found) -> None:
    told = importance.importance(store, found)
    assert told.trials == len(found.complete)
    assert told.shares[0][0] == "optimizer.lr"
    assert sum(share for _, share in told.shares) == pytest.approx(1.0)


def test_importance_of_too_few_trials_is_not_told(store) -> None:
    sweeps.fill(store, sweeps.study(store, trials=30), 30)
    few = digest.collect(store, reads.study(store))
    told = importance.importance(store, few)
    assert told == importance.Importance((), len(few.complete))
    assert importance.contour(few, ["optimizer.lr", "model.depth"]) is None


def test_a_contour_is_low_where_the_best_are_and_empty_where_nobody_was(found) -> None:
    told = importance.contour(found, ["optimizer.lr", "model.depth"])
    assert told is not None
    assert told.y == (1.0, 2.0, 3.0, 4.0)  # whole numbers are rows of their own
    known = [height for row in told.heights for height in row if height is not None]
    assert len(known) < importance.GRID * 4
    assert min(known) >= found.scale.best
    assert told.points[0][3] == found.columns["number"][found.complete[0]]


def test_parallel_lines_end_with_the_best(found) -> None:
    told = parallel.collect(found, ["model.depth"])
    assert told[0].name == "model.depth"
    assert told[-1].name == "val_loss"
    assert told[-1].values[-1] == found.columns["value"][found.complete[0]]
    momentum = next(each for each in told if each.name == "optimizer.momentum")
    assert momentum.missing is not None
    assert momentum.missing < min(value for value in momentum.values if value != momentum.missing)
    assert momentum.ticks[0] == (momentum.missing, "–")
    rates = next(each for each in told if each.name == "optimizer.lr")
    assert rates.log
    assert all(-5 <= value <= -1 for value in rates.values)


def test_the_answer_names_the_best_its_setting_and_the_command(store, found) -> None:
    told = answer.collect(store, found)
    best = found.columns["number"][found.complete[0]]
    assert told.number == best
    assert dict(told.setting)["model.depth"] == str(found.params("model.depth")[found.complete[0]])
    points = dict(told.points)
    assert points["Best"][0].startswith(f"Trial {best} has val_loss ")
    useful = found.ledger.seconds.shares["useful"]
    said = f"which held a trial {found.ledger.utilisation:.0%} of it; {useful:.0%} went into epochs of complete trials."
    assert points["Cost"][1].endswith(f"with 2 workers, {said}")
    assert points["Failures"][0].startswith("5 diverged, 4 error, 4 killed")
    assert told.command is not None
    assert told.command.startswith(f"SWEEPER_SEED={best} python train.py data=digits optimizer.lr=")


def test_an_unfinished_study_says_that_the_same_command_goes_on(store) -> None:
    sweeps.fill(store, sweeps.study(store, trials=10, budget_epochs=18 * 40, budget=40), 10)
    with store.write() as connection:
        connection.execute(schema.studies.update().values(granted_epochs=100))
    told = dict(answer.collect(store, digest.collect(store, reads.study(store))).points)
    assert told["Next"][0] == "The same command goes on where it was."


def test_a_metric_that_is_the_same_for_all_tells_nothing_of_what_matters(store, found) -> None:
    update(store, schema.trials, schema.trials.c.state == "COMPLETE", value=1.0)
    same = digest.collect(store, reads.study(store))
    assert importance.importance(store, same).shares == ()


def test_a_choice_that_is_null_has_its_place(store) -> None:
    space = [
        {"type": "categorical", "name": "clip", "choices": [None, 1.0]},
        {"type": "float", "name": "momentum", "low": 0, "high": 1, "when": [{"parameter": "clip", "values": [1.0]}]},
    ]
    study_id = sweeps.study(store, trials=3, space=space)
    sweeps.fill(store, study_id, 3, failing=False)
    for number, params in enumerate([{"clip": None}, {"clip": 1.0, "momentum": 0.5}, None]):
        update(store, schema.trials, schema.trials.c.number == number, params=params)
    update(store, schema.trials, schema.trials.c.number == 2, value=None, epochs_done=0, state="FAIL", failure="error")
    told = digest.collect(store, reads.study(store))
    clip, momentum = told.space
    assert [told.place(clip, row) for row in range(3)] == [0.0, 1.0, None]
    assert [told.place(momentum, row) for row in range(3)] == [None, 0.5, None]
