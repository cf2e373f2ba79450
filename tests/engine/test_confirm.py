"""A search that confirms its best: repeats as trials of their own, within the budget, after any kill."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

import forks
import sweeper
from sweeper.analysis import confirmed, sheet, stages
from sweeper.analysis.confirmation import Repeated, verdicts
from sweeper.analysis.progress import snapshot
from sweeper.report.terminal import confirmed as drawn
from sweeper.search.plan import Plan
from sweeper.search.search import Search
from sweeper.store import claims, corrections, reads, writes
from sweeper.words.errors import ConfigError
from sweeper.words.records import TrialState
from sweeper.words.seeds import derive

APP = Path(__file__).parent.parent / "apps" / "tiny.py"
SPACE = {"lr": {"interval": [1e-5, 1e-1], "log": True}, "dropout": "interval(0, 0.7)"}
CONFIRM = {"top": 2, "seeds": 3}


class Killed(BaseException):
    """The process is gone: nothing is written any more."""


def training(die_at=None, noise=0.05):
    """A noisy curve towards what the parameters are worth; `die_at`: after so many epochs in all."""
    told = {"epochs": 0}

    def train(trial):
        worth = math.log10(trial.params["lr"] / 3e-3) ** 2 / 4 + (trial.params["dropout"] - 0.3) ** 2
        luck = noise * random.Random(trial.seed).gauss(0, 1)
        for epoch in trial.epochs(9, state={}):
            told["epochs"] += 1
            if told["epochs"] == die_at:
                raise Killed
            trial.report(val_loss=worth + 1 / (epoch + 1) + luck)

    return train


@pytest.fixture
def sweep(tmp_path):
    def run(train=None, **more):
        settings = {"study": "s", "space": SPACE, "search": "random", "epochs": 9, "budget": 12, "seed": 1}
        settings |= {"metric": "val_loss", "folder": tmp_path, "confirm": CONFIRM, **more}
        return sweeper.run(train or training(), **settings)

    return run


def history(study):
    names = ["number", "state", "value", "epochs_done", "target_epochs", "seed", "repeats", "params.lr"]
    return study.trials()[names].astype(object).where(lambda frame: frame.notna(), None).to_numpy().tolist()


def split(study):
    """The trials of the search, and the repeats."""
    trials = study.trials()
    return trials[trials.repeats.isna()], trials[trials.repeats.notna()]


@pytest.mark.parametrize("search", ["random", "bayesian", "coarse_to_fine"])
def test_the_best_are_trained_again_within_the_budget(sweep, search):
    study = sweep(search=search)
    searched, repeats = split(study)
    assert repeats.repeats.value_counts().tolist() == [3, 3]
    assert (repeats.epochs_done == 9).all()
    assert study.record.granted_epochs == study.trials().target_epochs.sum() <= 12 * 9
    assert searched.target_epochs.sum() <= 6 * 9
    assert repeats.number.min() > searched.number.max()
    assert repeats.seed.tolist() == [derive(1, "trial", number) for number in repeats.number]
    params = study.trials().set_index("number")[["params.lr", "params.dropout"]]
    assert params.loc[repeats.number].to_numpy().tolist() == params.loc[repeats.repeats].to_numpy().tolist()
    if search != "coarse_to_fine":  # there the model says which are the best
        best = searched[searched.state == "COMPLETE"].sort_values("value").number[:2]
        assert set(repeats.repeats) == set(best)


def test_repeats_are_no_best_ones_and_no_sampler_is_told_of_them(sweep):
    study = sweep(training(noise=1.0))
    searched, _ = split(study)
    assert study.best(20).number.isin(searched.number).all()
    told, _ = reads.changed_trials(study._store, study.record.id, 0)
    assert {trial.number for trial in told} == set(searched.number)
    with study._store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM v_best").scalar() == len(searched)
        assert connection.exec_driver_sql("SELECT count(*) FROM v_trials WHERE repeats IS NOT NULL").scalar() == 6


def test_confirmed_says_mean_spread_and_probability(sweep):
    study = sweep()
    frame = study.confirmed()
    _, repeats = split(study)
    assert frame.seeds.tolist() == [3, 3]
    assert frame["mean"].is_monotonic_increasing
    for row in frame.itertuples():
        values = repeats[repeats.repeats == row.number].value
        assert (row.mean, row.deviation) == pytest.approx((values.mean(), values.std()))
    assert frame.probability.sum() == pytest.approx(1)
    assert set(frame.standing) <= {"wins", "ties", "loses"}
    assert study.trials().set_index("number").loc[frame.number, "value"].tolist() == frame["first"].tolist()


@pytest.mark.parametrize("search", ["random", "coarse_to_fine"])
def test_a_kill_at_any_moment_changes_nothing(sweep, search):
    undisturbed = sweep(study="whole", search=search)
    searched, _ = split(undisturbed)
    total, first = int(undisturbed.trials().epochs_done.sum()), int(searched.epochs_done.sum())
    for kill in [first, first + 1, first + 9, first + 9 + 4, total]:  # in its last trial, and in repeats
        with pytest.raises(Killed):
            sweep(training(die_at=kill), study=f"killed-{kill}", search=search)
        again = sweep(study=f"killed-{kill}", search=search, on_change="keep")
        assert history(again) == history(undisturbed), f"killed in epoch {kill} of {total}"


def test_several_workers_repeat_nothing_twice(sweep, forked):
    study = sweep(workers=3)
    _, repeats = split(study)
    assert repeats.repeats.value_counts().tolist() == [3, 3]
    assert study.record.granted_epochs == study.trials().target_epochs.sum() == 12 * 9
    assert set(study.trials().state) == {"COMPLETE"}


def test_only_one_of_two_workers_chooses(sweep):
    study = sweep(confirm=None, budget=6)
    store, record = study._store, study.record
    writes.set_budget(store, record.id, 20, 20 * 9)
    choice = {"seeds": 2, "stage": 0, "epochs": 9}
    seen = reads.newest_revision(store, record.id)
    assert not claims.confirm(store, record.id, [0, 1], **choice, seen=seen - 1), "a trial has changed since"
    assert claims.confirm(store, record.id, [0, 1], **choice, seen=seen)
    assert not claims.confirm(store, record.id, [2, 3], **choice, seen=seen), "somebody else was first"
    waiting = reads.all_trials(store, record.id, [TrialState.WAITING])
    assert [trial.repeats for trial in waiting] == [0, 1, 0, 1]


def test_a_choice_is_paid_for_as_far_as_the_budget_goes(sweep):
    study = sweep(confirm=None, budget=6)
    store, record = study._store, study.record
    writes.set_budget(store, record.id, 9.5, int(9.5 * 9))
    seen = reads.newest_revision(store, record.id)
    assert claims.confirm(store, record.id, [4, 1], seeds=5, stage=0, epochs=9, seen=seen)
    assert [t.repeats for t in reads.all_trials(store, record.id, [TrialState.WAITING])] == [4, 1, 4]
    assert reads.study(store, "s").granted_epochs == 9 * 9


def test_no_repeat_begins_while_a_trial_of_the_search_is_open(sweep):
    log = []

    def train(trial):
        log.append(trial.number)
        assert len(log) <= 6 or len(set(log)) >= 6
        training()(trial)

    sweep(train)
    assert log == list(range(12))


def test_a_budget_that_is_too_small_is_told_with_numbers(sweep):
    with pytest.raises(ConfigError, match=r"got 6 full trainings, and confirm takes 6 of them"):
        sweep(budget=6)
    assert split(sweep(budget=7))[0].number.tolist() == [0]


def test_a_complete_study_is_confirmed_later_for_more_budget(sweep):
    searched = sweep(confirm=None, budget=6)
    before = history(searched)
    with pytest.raises(ConfigError, match=r"6 are granted already, and confirm takes 6: budget=12 or more"):
        sweep(budget=8)
    study = sweep(budget=12)
    assert history(study)[: len(before)] == before
    assert len(split(study)[1]) == 6
    assert history(sweep(budget=12)) == history(study), "complete, it stays as it is"


def test_a_larger_budget_searches_on_and_confirms_those_that_are_the_best_then(sweep):
    sweep()
    study = sweep(budget=20, on_change="keep")
    searched, repeats = split(study)
    best = searched.sort_values("value").number[:2]
    assert len(searched) == 8
    assert all((repeats.repeats == number).sum() == 3 for number in best)
    assert study.record.granted_epochs <= 20 * 9


def test_a_trial_that_is_hidden_makes_room_for_another(sweep):
    study = sweep()
    gone = int(study.confirmed().number.iloc[0])
    corrections.hide(study._store, study.record.id, [gone], "a bug")
    study = sweep(budget=15, on_change="keep")
    assert gone not in study.confirmed().number.tolist()
    assert len(study.confirmed()) == 2


def test_no_complete_trial_is_nothing_to_confirm(sweep):
    def broken(trial):
        raise ValueError("no")

    study = sweep(broken, max_failures=None)
    assert len(study.trials()) == 6
    assert study.confirmed().empty
    assert snapshot(study._store, study.record).complete


def test_a_repeat_that_fails_is_counted_and_not_tried_again(sweep):
    def train(trial):
        if trial.number == 7:
            raise ValueError("an unlucky seed")
        training()(trial)

    frame = sweep(train).confirmed()
    assert sorted(zip(frame.seeds, frame.failed, strict=True)) == [(2, 1), (3, 0)]


def test_without_epochs_a_trial_costs_one(sweep):
    def train(trial):
        return trial.params["dropout"] + trial.seed % 100 / 1000

    study = sweep(train, epochs=None, metric="objective")
    assert len(split(study)[0]) == len(split(study)[1]) == 6


# ---- what people see -------------------------------------------------------------------------------------------------


def told(study):
    return " ".join(drawn.lines(study._store, study.record, confirmed.collect(study._store, study.record)))


def test_the_sentence_says_who_wins_or_ties_and_how_optimistic_its_value_was(sweep):
    text = told(sweep(training(noise=0.3)))
    assert "over 3 other seeds" in text
    assert " wins: " in text or " ties with trial " in text
    clear = told(sweep(training(noise=1e-6), study="clear"))
    assert "wins: with probability above 0.99 it is truly the best of the 2, val_loss 0." in clear


def test_a_value_that_luck_has_made_is_called_optimistic_and_failures_are_told(sweep):
    study = sweep(confirm=None, budget=1).record
    values = {1: (0.30, 0.31, 0.32), 2: (0.33, 0.31, 0.32), 3: (0.9, 0.91, 0.92)}
    trials = [Repeated(number, 0.2, found, failed=number % 2, open=number - 1) for number, found in values.items()]
    assert drawn.sentences(verdicts(trials, study.direction), study, 40) == [
        "So far 11 of 14 repeats are trained.",
        "Trial 1 ties with trial 2: with probability 0.80 it is truly the best of the 3, val_loss 0.310 ± 0.010 over 3 "
        "other seeds.",
        "Its own value, 0.200, was chosen among 40: optimistic by 0.11.",
        "With 1 of its 4 seeds it failed.",
    ]


def test_a_noisy_multi_fidelity_search_names_what_its_model_recommends(sweep):
    study = sweep(training(noise=2.0), search="coarse_to_fine", confirm=None)
    store, record = study._store, study.record
    (best,) = reads.best(store, record)
    chosen = Search(store, record, Plan.from_json(record.plan)).best(1)[0]
    said = drawn.recommended(store, record, best)
    assert said is None if chosen == best.number else f"recommends trial {chosen} (val_loss" in said
    assert drawn.recommended(store, record, reads.all_trials(store, record.id)[chosen]) is None
    assert drawn.recommended(store, sweep(study="plain", confirm=None, budget=3).record, best) is None


def test_without_confirm_the_best_value_is_called_optimistic(sweep):
    text = told(sweep(confirm=None, budget=6))
    assert text.startswith("The best of 6 values is optimistic")
    assert 'confirm={"top": 3, "seeds": 5} budget=21' in text


def test_the_sheet_the_stages_and_the_progress_know_repeats(sweep):
    study = sweep()
    store, record = study._store, study.record
    assert sheet.collect(store, record, 7)["repeats"] in study.confirmed().number.tolist()
    *_, row = stages.collect(store, record)["stages"]
    assert (row["name"], row["trials"], row["complete"]) == ("confirm", 6, 6)
    progress = snapshot(store, record)
    assert (progress.complete, progress.done, progress.budget) == (True, 12, 12)


def test_a_sweep_by_hydra_is_confirmed_as_its_last_lines_have_proposed(tmp_path):
    def sweep(*overrides):
        return forks.script(APP, "--multirun", "hydra/launcher=basic", *overrides, folder=tmp_path)

    said = sweep("budget=3").stdout
    assert "The best of 3 values is optimistic" in said
    assert 'hydra.sweeper.confirm="{top: 3, seeds: 5}" budget=18' in said
    done = sweep("budget=5", "hydra.sweeper.confirm={top: 1, seeds: 2}")
    assert done.returncode == 0, done.stderr
    assert "over 2 other seeds" in done.stdout
    asked = [sys.executable, "-c", "from sweeper.cli import main; main()", "best"]
    answer = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    assert " ".join(answer.split()).count("(optimistic)") == 1  # a heading, on two lines where it is narrow
    assert "over 2 other seeds" in answer
