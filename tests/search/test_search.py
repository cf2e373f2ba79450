"""A study in stages, through the real plan, sampler and store: promotion, budget, moves of ranges, resume."""

from __future__ import annotations

import math

import pytest

import sweeper
from sweeper.analysis.stages import collect as collect_stages
from sweeper.store import reads
from sweeper.words.errors import StudyChanged
from sweeper.words.records import StudyState

SPACE = {"lr": {"interval": [1e-5, 1e-1], "log": True, "limits": [1e-7, 10]}, "dropout": "interval(0, 0.7)"}


class Killed(BaseException):
    """The process is gone: nothing is written any more."""


def training(best_lr=3e-3, die_at=None, log=None):
    """A curve that falls as 1 / epoch towards what the parameters are worth; `die_at`: after so many epochs in all."""
    told = {"epochs": 0}

    def train(trial):
        worth = (math.log10(trial.params["lr"] / best_lr)) ** 2 / 4 + (trial.params["dropout"] - 0.3) ** 2
        for epoch in trial.epochs(27, state={}):
            told["epochs"] += 1
            if told["epochs"] == die_at:
                raise Killed
            if log is not None:
                log.append((trial.number, epoch))
            trial.report(val_loss=worth + 1 / (epoch + 1))

    return train


@pytest.fixture
def sweep(tmp_path):
    def run(train=None, **more):
        settings = {"study": "s", "space": SPACE, "search": "coarse_to_fine", "epochs": 27, "budget": 6, "seed": 1}
        settings = {**settings, "metric": "val_loss", "folder": tmp_path, **more}
        return sweeper.run(train or training(), **settings)

    return run


def history(study):
    return [
        (trial.number, trial.state, trial.stage, trial.params, trial.value, trial.epochs_done, trial.target_epochs)
        for trial in reads.all_trials(study._store, study.record.id)
    ]


def epochs_trained(study):
    return sum(len(curve) for _, curve in study.epochs().groupby("number"))


# ---- stages ----------------------------------------------------------------------------------------------------------


def test_a_trial_goes_on_from_one_stage_to_the_next_and_no_epoch_is_trained_twice(sweep):
    log = []
    study = sweep(training(log=log))
    trials = study.trials()
    assert set(trials.epochs_done) <= {3, 9, 27}
    assert {"PAUSED", "COMPLETE"} == set(trials.state)
    assert (trials.state == "COMPLETE").eq(trials.epochs_done == 27).all()
    assert len(log) == len(set(log)) == epochs_trained(study) == trials.epochs_done.sum()


def test_the_budget_is_spent_and_never_overspent(sweep):
    for budget in (1, 2, 5.5):
        study = sweep(study=f"s{budget}".replace(".", "-"), budget=budget)
        assert study.trials().target_epochs.sum() == study.record.granted_epochs <= budget * 27
        assert study.record.granted_epochs > (budget - 1) * 27
        assert (study.trials().state == "COMPLETE").any()


def test_several_workers_overspend_nothing_either(sweep):
    study = sweep(workers=3)
    assert study.trials().target_epochs.sum() == study.record.granted_epochs <= 6 * 27
    assert set(study.trials().state) <= {"PAUSED", "COMPLETE"}


def test_a_complete_study_is_complete_and_a_larger_budget_goes_on(sweep):
    before = history(sweep())
    log = []
    assert history(sweep(training(log=log), on_change="keep")) == before
    assert not log
    study = sweep(training(log=log), budget=8, on_change="keep")
    assert [row for row in history(study) if row in before and row[1] == "COMPLETE"]
    assert 0 < len(log) <= 8 * 27 - sum(row[6] for row in before)


@pytest.mark.parametrize("search", ["coarse_to_fine", "cs231n"])
def test_a_kill_in_any_stage_changes_nothing(sweep, search):
    """One worker: what is proposed and promoted follows from the history alone."""
    undisturbed = sweep(study="whole", search=search)
    total = epochs_trained(undisturbed)
    for kill in range(1, total, 11):
        with pytest.raises(Killed):
            sweep(training(die_at=kill), study=f"killed-{kill}", search=search)
    for kill in range(1, total, 11):
        again = sweep(study=f"killed-{kill}", search=search, on_change="keep")
        assert history(again) == history(undisturbed), f"killed in epoch {kill} of {total}"
        assert again.ranges().equals(undisturbed.ranges())


def test_a_share_promotes_the_best_of_those_that_got_there(sweep):
    stages = [{"name": "wide", "epochs": 3, "sampler": "random"}, {"name": "long", "promote": "1/3"}]
    study = sweep(search={"name": "halving", "stages": stages}, budget=5)
    trials, epochs = study.trials(), study.epochs()
    at_rung = epochs[epochs.epoch == 2].set_index("number").value
    promoted = trials[trials.epochs_done == 27].number
    assert 1 <= len(promoted) <= len(trials) / 3 + 2, "one more with what the budget has left at the end"
    assert at_rung[promoted].mean() < at_rung.mean()


def test_stages_of_their_own_share_of_the_budget_come_one_after_the_other(sweep):
    study = sweep(search="cs231n", budget=8)
    by_stage = study.trials().groupby("stage")
    assert by_stage.epochs_done.agg(["min", "max"]).to_numpy().tolist() == [[3, 3], [9, 9], [27, 27]]
    assert study.trials().stage.is_monotonic_increasing
    assert [len(trials) for _, trials in by_stage] == [9, 3, 6]


COUNTED = {
    "name": "counted",
    "stages": [
        {"name": "coarse", "epochs": 3, "sampler": "random", "trials": 7},
        {"name": "finer", "epochs": 9, "sampler": "random", "trials": 3, "promote": "1/3"},
        {"name": "fine", "sampler": "tpe", "promote": "1/3"},
    ],
}


def test_so_many_trials_begin_at_a_stage_also_after_a_kill(sweep):
    whole = sweep(search=COUNTED, budget=4, study="whole")
    trained = whole.epochs().groupby("number").epoch.max() + 1
    assert (trained.loc[:6] >= 3).all()
    assert (trained.loc[7:9] >= 9).all()
    assert (trained.loc[10:] == 27).all()
    assert {3, 9, 27} == set(trained)
    with pytest.raises(Killed):
        sweep(training(die_at=40), search=COUNTED, budget=4, study="killed")
    assert history(sweep(search=COUNTED, budget=4, study="killed", on_change="keep")) == history(whole)


# ---- ranges ----------------------------------------------------------------------------------------------------------


def moves(study):
    return reads.move_rows(study._store, study.record.id)


def test_a_range_that_was_set_wrong_is_widened_and_the_best_lies_outside_the_first_one(sweep):
    wrong = {**SPACE, "lr": {"interval": [1e-6, 1e-4], "log": True, "limits": [1e-7, 10]}}
    study = sweep(training(best_lr=1e-2), space=wrong, budget=15)
    assert "widened" in {move["kind"] for move in moves(study)}
    assert "lr crowds the upper edge" in moves(study)[0]["reason"]
    best = study.best().iloc[0]
    assert best["params.lr"] > 3e-4
    assert best.value < 0.5 * study.trials().query("`params.lr` <= 1e-4").value.min()
    told = {event["kind"] for event in reads.event_rows(study._store, study.record.id)}
    assert "widened" in told


def test_ranges_are_left_alone_where_a_study_only_warns(sweep):
    wrong = {**SPACE, "lr": {"interval": [1e-6, 1e-4], "log": True, "limits": [1e-7, 10]}}
    study = sweep(training(best_lr=1e-2), space=wrong, budget=8, borders="warn")
    assert not moves(study)
    assert study.trials()["params.lr"].max() <= 1e-4


def test_no_range_is_widened_past_its_limits(sweep):
    wrong = {**SPACE, "lr": {"interval": [1e-6, 1e-4], "log": True, "limits": [1e-7, 2e-4]}}
    study = sweep(training(best_lr=1e-2), space=wrong, budget=8)
    assert study.trials()["params.lr"].max() <= 2e-4


def test_cs231n_narrows_as_a_stage_begins_and_trials_lie_in_the_narrowed_ranges(sweep):
    study = sweep(search="cs231n", budget=8, borders="warn")
    narrowed = moves(study)
    assert [(move["kind"], move["stage"]) for move in narrowed] == [("narrowed", 1), ("narrowed", 2)]
    for move in narrowed:
        lr = next(parameter for parameter in move["space"] if parameter["name"] == "lr")
        inside = study.trials().query(f"stage == {move['stage']}")["params.lr"].between(lr["low"], lr["high"])
        assert inside.all()


def test_a_range_that_the_person_changes_between_two_runs_is_one_more_move(sweep):
    sweep(budget=2)
    wider = {**SPACE, "dropout": "interval(0, 0.9)"}
    study = sweep(budget=4, space=wider)
    assert moves(study)[0]["kind"] == "set"
    assert study.ranges().set_index("name").loc["dropout", "high"] == 0.9
    assert len(moves(sweep(budget=4, space=wider))) == len(moves(study)), "asked for once more, it is no move"


def test_a_change_of_more_than_ranges_is_another_study(sweep):
    sweep(budget=2)
    with pytest.raises(StudyChanged):
        sweep(budget=4, space={**SPACE, "dropout": {"interval": [1e-3, 0.7], "log": True}})


def test_the_lineage_tells_stages_and_moves(sweep):
    study = sweep(search="cs231n", budget=8, borders="warn")
    found = collect_stages(study._store, study.record)
    assert [stage["name"] for stage in found["stages"]] == ["coarse", "finer", "fine"]
    assert [stage["trials"] for stage in found["stages"]] == [9, 3, 6]
    assert [move["stage"] for move in found["moves"]] == ["finer", "fine"]
    (first,) = [row for row in found["ranges"] if row["parameter"] == "lr"]
    assert first["began"] == [1e-5, 1e-1]
    assert first["now"] != first["began"]


def test_the_study_is_open_at_its_end(sweep):
    assert sweep(budget=2).state is StudyState.OPEN
