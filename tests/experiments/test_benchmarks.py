"""The benchmark of searches: its regrets, ranks, tables and clock, on tasks small enough to know by hand."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest

import sweeper
from experiments.benchmarks import clock, ensembles, pruners, results, search_quality, tables
from experiments.benchmarks.clock import Clock
from experiments.benchmarks.tables import Table, TableTask


@dataclass(frozen=True)
class Bowl:
    """The loss falls to (x - 0.3)² over nine epochs; a training with a greater x takes longer."""

    name = "bowl"
    epochs = 9
    space = {"x": {"interval": [0.0, 1.0]}}  # noqa: RUF012
    mean_seconds = 9.0

    def seconds(self, params):
        return 18.0 * params["x"]

    def curve(self, trial, params):
        true = (params["x"] - 0.3) ** 2
        return true + np.linspace(1.0, 0.0, self.epochs), true

    def normalised_regret(self, loss):
        return loss / 0.1


def table():
    """Losses are 0, 1, 2 by the number and 10 more with `b`; `b`'s last repeats were not done."""
    means = np.add.outer([0.0, 10.0], [0.0, 1.0, 2.0])
    losses = means[..., None] + np.array([-0.5, 0.5, 0.0])
    losses[1, :, 2] = np.nan
    return Table("made:up", {"kind": ["a", "b"], "width": [16, 32, 64]}, losses, np.full((2, 3, 3), 7.0))


def rows(optimiser, regrets, **more):
    """Regrets by (task, seed) at the cut of 10."""
    base = {"optimiser": optimiser, "start_range": "full", "noise": "0.0", "planned_budget": "50", "budget": "10"}
    return [
        {**base, **more, "task": task, "seed": str(seed), "normalised_regret": str(regret)}
        for (task, seed), regret in regrets
    ]


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_is_scored_by_the_means_of_its_repeats():
    task = TableTask(table())
    assert task.curve(0, {"kind": "b", "width": 1}) == (np.array([11.0]), 11.0)
    assert (task.normalised_regret(0.0), task.normalised_regret(5.5 + 0.5)) == (0.0, 1.0)
    assert task.seconds({"kind": "a", "width": 0}) == task.mean_seconds == 7.0


def test_with_noise_a_trial_observes_one_of_the_repeats_that_were_done():
    task = TableTask(table(), noise=1.0)
    observed = {float(task.curve(trial, {"kind": "b", "width": 0})[0][0]) for trial in range(30)}
    assert observed == {9.5, 10.5}


def test_numbers_of_a_table_are_searched_by_their_place_and_names_are_choices():
    assert table().space == {"kind": {"choices": ["a", "b"]}, "width": {"interval": [0, 2], "int": True}}


def test_a_packaged_table_becomes_an_array_whatever_the_order_of_its_settings():
    class Packaged:
        search_space = {"a": [1, 2], "b": ["x", "y"]}  # noqa: RUF012
        _dataset = {"11": {"loss": [4.0]}, "00": {"loss": [1.0, 2.0]}, "10": {"loss": [3.0]}, "01": {"loss": [2.0]}}  # noqa: RUF012

    cells = tables._cells(Packaged, "loss")
    np.testing.assert_array_equal(cells, [[[1, 2], [2, np.nan]], [[3, np.nan], [4, np.nan]]])


# ---- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["random", "sobol", "coarse_to_fine"])
def test_a_study_is_scored_along_its_way_by_the_true_loss_of_what_it_would_recommend(search, tmp_path):
    found = dict(search_quality.regrets(Bowl(), search, seed=0, workers=1, budget=20))
    assert list(found) == [10, 20]
    study = search_quality.run(Bowl(), search, 0, 1, 20, str(tmp_path))
    best = study.best().iloc[0]
    assert found[20] <= found[10] < 1.0
    if search != "coarse_to_fine":  # whose model recommends
        assert found[20] == pytest.approx(best.value / 0.1)


def test_what_was_reported_later_does_not_count(tmp_path):
    study = search_quality.run(Bowl(), "random", 0, 1, 20, str(tmp_path))
    reports = study.epochs().sort_values("reported", kind="stable")
    seen = search_quality.as_it_stood(study, reports.head(13))
    assert {number: record.epochs_done for number, record in seen.items()} == {0: 9, 1: 4}
    assert search_quality.best_by(study, reports.head(13)).number == 0


def test_a_search_without_epochs_is_scored_by_trials(tmp_path):
    found = dict(search_quality.regrets(TableTask(table()), "random", seed=0, workers=1, budget=10))
    assert found == {10: 0.0}  # ten trials of six settings


@pytest.mark.parametrize("name", ["random+halving", "tpe+hyperband", "random+median"])
def test_an_optuna_pruner_pays_for_every_epoch_and_stops_trials(name):
    task = Bowl()
    reports = [report for _, report in zip(range(180), pruners.reports(task, name, seed=0), strict=False)]
    starts = [index for index, report in enumerate(reports) if report.epochs_done == 1]
    assert len(starts) > 20, "more trials than full trainings"
    assert all(report.loss >= report.true for report in reports)
    assert dict(search_quality.regrets(task, name, seed=0, workers=1, budget=20))[20] < 0.1


# ---- results ---------------------------------------------------------------------------------------------------------


def test_ranks_are_over_the_studies_that_all_methods_have():
    ranks, count = results.mean_ranks(
        {
            "one": {("t", "0"): 0.1, ("t", "1"): 0.2, ("u", "0"): 0.0},
            "two": {("t", "0"): 0.3, ("t", "1"): 0.2},
            "three": {("t", "0"): 0.2, ("t", "1"): 0.4, ("v", "0"): 0.0},
        }
    )
    assert (ranks, count) == ({"one": 1.25, "two": 2.25, "three": 2.5}, 2)


def test_only_methods_with_all_tasks_are_compared_and_no_prototypes():
    whole = rows("whole", [(("t", 0), 0.1), (("u", 0), 0.2)])
    half = rows("half", [(("t", 0), 0.1)])
    prototype = rows("prototype: climb", [(("t", 0), 0.1), (("u", 0), 0.2)])
    assert results.by_method([*whole, *half, *prototype], {"t", "u"}) == {
        "whole": {10: {("t", "0"): 0.1, ("u", "0"): 0.2}}
    }


def test_of_studies_with_several_planned_budgets_the_nearest_counts():
    studies = ((1, 50), (2, 20), (3, 100))
    found = [row for regret, budget in studies for row in rows("one", [(("t", 0), regret)], planned_budget=budget)]
    assert results.by_method(found, {"t"}) == {"one": {10: {("t", "0"): 1.0}}}


def test_a_table_of_results_has_the_best_first_and_says_what_the_ranks_are_over(tmp_path):
    file = tmp_path / "new" / "results.csv"
    mine = rows("mine", [(("t", 0), 0.2), (("t", 1), 0.2)], workers=1)
    results.write(file, mine[:1])
    results.write(file, mine[1:])
    peers = rows("peer", [(("t", 0), 0.1)])
    told = results.table(results.like([*results.kept(file), *peers], "full", 0.0, 1), {"t"}).splitlines()
    assert told[2] == "| peer | 0.100 (0.100–0.100) | – | – | 1.0 · – · – | 1 |"
    assert told[3] == "| **mine** | 0.200 (0.200–0.200) | – | – | 2.0 · – · – | 2 |"
    assert told[-1].startswith("Ranks over what all have: 1 studies of 2 methods")
    assert not results.like(results.kept(file), "full", 0.0, workers=4)


# ---- the clock -------------------------------------------------------------------------------------------------------


def race(durations):
    """Workers as threads, each with the durations of its epochs: (time, worker) in the order in which these ended."""
    ended = []

    def work(worker, hand):
        for seconds in durations[worker]:
            ended.append((hand.after(seconds), worker))

    made = Clock(len(durations))
    threads = [threading.Thread(target=work, args=(worker, made.hand())) for worker in range(len(durations))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ended


def test_epochs_end_in_the_order_of_their_simulated_durations(monkeypatch):
    monkeypatch.setattr(clock, "PATIENCE_SECONDS", 0.1)  # one that has nothing left to train is not waited for
    assert race([[3.0, 3.0, 3.0], [2.0, 2.0, 0.5], [10.0]]) == [
        (2.0, 1), (3.0, 0), (4.0, 1), (4.5, 1), (6.0, 0), (9.0, 0), (10.0, 2)
    ]  # fmt: skip


def test_a_worker_that_dies_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(clock, "PATIENCE_SECONDS", 3600.0)
    made = Clock(2)
    dead, alive = made.hand(), made.hand()

    def die():
        dead.after(1.0)
        dead._connection.close()

    threading.Thread(target=die).start()
    assert alive.after(2.0) == 2.0
    assert alive.after(2.0) == 4.0


def test_several_workers_are_scored_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "PATIENCE_SECONDS", 1.0)
    study = search_quality.run(Bowl(), "random", 0, 2, 10, str(tmp_path))
    assert isinstance(study, sweeper.Study)
    trials, reports = study.trials(), study.epochs()
    assert (trials.state == "COMPLETE").all()
    ends = reports.groupby("number")["metrics.clock"].max()
    starts = reports.groupby("number")["metrics.clock"].min() - 2.0 * trials["params.x"]
    seconds = 18.0 * trials["params.x"]
    np.testing.assert_allclose(ends - starts, seconds, rtol=1e-9)  # however long it took really
    assert sorted(starts)[:2] == pytest.approx([0.0, 0.0])
    np.testing.assert_allclose(sorted(starts)[2:], sorted(ends)[: len(ends) - 2])  # a worker is never idle


# ---- ensembles -------------------------------------------------------------------------------------------------------


def test_the_gain_of_ensembles_is_a_mean_with_its_error():
    found = [
        {"test_loss": (0.3, 0.2), "test_accuracy": (0.9, 0.9)},
        {"test_loss": (0.5, 0.2), "test_accuracy": (0.8, 0.9)},
    ]
    assert ensembles.table(found).splitlines()[2:] == [
        "| test_loss | 0.4000 | 0.2000 | -0.2000 ± 0.1000 | 2 of 2 |",
        "| test_accuracy | 0.8500 | 0.9000 | +0.0500 ± 0.0500 | 1 of 2 |",
    ]
