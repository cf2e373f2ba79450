"""Opening a study: begun once, resumed unless it was changed, its budget set, its dead workers' trials freed."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from sweeper.engine import opening
from sweeper.engine.opening import as_begun, direction_of, open_study, study_changes
from sweeper.search.completion import is_complete
from sweeper.search.plan import Plan
from sweeper.search.plans import make_plan
from sweeper.search.space import Categorical, Float, SearchSpace
from sweeper.store import claims, fenced, process, reads, writes
from sweeper.words.errors import ConfigError, StudyChanged, SweeperError
from sweeper.words.records import Direction, StudyState, TrialState

CONFIG = {
    "variants": [
        {"choices": {"optimizer": "sgd"}, "yaml": "epochs: 5\nlr: 0.1\n"},
        {"choices": {"optimizer": "adam"}, "yaml": "epochs: 5\nlr: 0.01\n"},
    ],
    "fixed": ["epochs=5"],
    "added": [],
    "script": {"path": "train.py", "text": "def train(cfg):\n    return cfg.lr\n"},
}


def changed(**parts):
    return {**CONFIG, **parts}


def settings_with(settings, space, plan):
    return replace(settings(space=space), plan=plan)


def keeping(settings):
    return replace(settings, asked=replace(settings.asked, on_change="keep"))


@pytest.fixture
def begun(store, settings, hire, take):
    """`begun(budget=4, …)`: a study with one complete trial, so that something rests on its definition."""

    def make(asked=None, **more):
        study = open_study(store, asked or settings(**more))
        worker = hire(store, study)
        fenced.finish(store, take(store, study, worker), TrialState.COMPLETE, value=0.5)
        claims.end_worker(store, worker, "finished")
        return reads.study(store, study.name)

    return make


@pytest.fixture
def dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def sleeper():
    """Another live process of this host."""
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield made
    made.kill()
    made.wait()
    made.stdin.close()


# ---- the name --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "mlp-2.b_C", "x" * 128, "0", "-", "CON"])
def test_names(settings, name):
    assert settings(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a b", "a\\b", "ü", "a\n", "x" * 129, "²", "a:b", "~"]
)
def test_a_name_that_could_be_a_path_or_more_is_refused(settings, name):
    with pytest.raises(ConfigError, match=r"1 to 128 of the characters.*but got") as caught:
        settings(name=name)
    assert repr(name) in str(caught.value)


def test_a_study_searches_something(settings):
    with pytest.raises(ConfigError, match=r"at least one parameter.*hydra\.sweeper\.params"):
        settings(space=SearchSpace(()))


@pytest.mark.parametrize("name", ["minimize", "maximize"])
def test_directions(name):
    assert direction_of(name) is Direction(name)


@pytest.mark.parametrize("name", ["min", "", "MINIMIZE", None])
def test_other_directions_are_refused(name):
    with pytest.raises(ConfigError, match=f"minimize or maximize, but got {name!r}"):
        direction_of(name)


# ---- begun -----------------------------------------------------------------------------------------------------------


def test_a_study_begins_with_everything_that_was_asked_for(store, settings, tmp_path):
    study = open_study(store, settings(epochs=5, budget=2, config=CONFIG))
    assert (study.name, study.state, study.next_number, study.granted_epochs) == ("demo", StudyState.OPEN, 0, 0)
    assert (study.budget, study.full_epochs, study.budget_epochs) == (2, 5, 10)
    assert study.folder == str(tmp_path / "runs" / "demo")
    assert study.config == CONFIG
    assert [row["sampler"] for row in reads.stage_rows(store, study.id)] == ["random"]


def test_a_relative_folder_is_kept_whole(store, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = open_study(store, settings(folder="runs"))
    assert study.folder == str(tmp_path / "runs" / "demo")


def test_trials_of_a_lost_store_are_not_written_over(store, settings, tmp_path):
    (tmp_path / "runs" / "demo" / "0000").mkdir(parents=True)
    with pytest.raises(
        ConfigError, match=r"runs/demo holds trials.*no study 'demo'.*move the folder.*study="
    ) as caught:
        open_study(store, settings())
    assert "\n" not in str(caught.value)
    assert reads.study_names(store) == []


def test_a_folder_without_trials_is_no_hindrance(store, settings, tmp_path):
    (tmp_path / "runs" / "demo" / "workers").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "notes.txt").write_text("mine")
    assert open_study(store, settings()).name == "demo"


def test_two_that_begin_the_same_study_at_once_both_have_it(store, settings, monkeypatch):
    """Each looks, finds nothing and begins; the second one must find the first one's."""
    first = open_study(store, settings())
    real, looked = reads.find_study, []

    def too_early(store, name):
        looked.append(name)
        return None if len(looked) == 1 else real(store, name)

    monkeypatch.setattr(reads, "find_study", too_early)
    assert open_study(store, settings()).id == first.id


# ---- resumed ---------------------------------------------------------------------------------------------------------


def test_the_same_settings_open_the_same_study(store, settings, begun):
    first = begun(config=CONFIG)
    again = open_study(store, settings(config=CONFIG))
    assert again == first
    assert study_changes(again, settings(config=CONFIG)) == ""


def test_a_rich_space_and_plan_are_the_same_after_the_store(store, settings, begun):
    space = SearchSpace(
        (
            Float("lr", 1e-5, 0.1, log=True, limits=(1e-7, 10.0)),
            Categorical("optimizer", ("sgd", "adam"), group=True),
            Categorical("act", (None, 1, 1.5, "a", True, [1, {"b": None}])),
        )
    )
    plan = make_plan("random", sampler={"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 3})
    begun(settings_with(settings, space, plan))
    study = open_study(store, settings_with(settings, space, plan))
    assert SearchSpace.from_json(study.space) == space
    assert Plan.from_json(study.plan) == plan


CHANGES = {
    "metric": ({"metric": "accuracy"}, ["-metric: val_loss", "+metric: accuracy"]),
    "direction": ({"direction": Direction.MAXIMIZE}, ["-direction: minimize", "+direction: maximize"]),
    "seed": ({"seed": 1}, ["-seed: 0", "+seed: 1"]),
    "scale": ({"space": SearchSpace((Float("x", 0.1, 1.0, log=True),))}, ["-  low: 0.0", "+  log: true"]),
    "parameter": ({"space": SearchSpace((Float("x", 0.0, 1.0), Float("y", 0.0, 1.0)))}, ["+  name: y"]),
    "search": ({"search": "sobol"}, ["-  search: random", "+  search: sobol"]),
    "epochs": ({"epochs": 7}, ["epochs: 7"]),
    "overrides": ({"config": changed(fixed=["epochs=6"])}, ["-- epochs=5", "+- epochs=6"]),
    "config": (
        {"config": changed(variants=[CONFIG["variants"][0], {"choices": {"optimizer": "adam"}, "yaml": "lr: 0.2\n"}])},
        ["config optimizer=adam", "-lr: 0.01", "+lr: 0.2"],
    ),
    "script": (
        {"config": changed(script={"path": "train.py", "text": "def train(cfg):\n    return 1 - cfg.lr\n"})},
        ["train.py", "-    return cfg.lr", "+    return 1 - cfg.lr"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_stops_with_a_diff_and_both_ways_on(store, settings, begun, change):
    before = begun(config=CONFIG, budget=4)
    more, lines = CHANGES[change]
    with pytest.raises(StudyChanged) as caught:
        open_study(store, settings(**{"config": CONFIG, "budget": 9, **more}))
    text = str(caught.value)
    assert [line for line in [*lines, "'demo'", "on_change=keep", "study=NEW_NAME"] if line not in text] == []
    assert reads.study(store, "demo") == before, "a refused change still changed the study"


def test_a_range_alone_is_a_move_and_kept_where_the_person_keeps(store, settings, begun):
    first = begun(config=CONFIG)
    wider = settings(config=CONFIG, space=SearchSpace((Float("x", 0.0, 2.0),)))
    assert open_study(store, keeping(wider)).space == first.space
    assert reads.move_rows(store, first.id) == []
    assert SearchSpace.from_json(open_study(store, wider).space) == wider.space
    assert [row["kind"] for row in reads.move_rows(store, first.id)] == ["set"]
    assert reads.current_space(store, first) == (wider.space.to_json(), 1)


@pytest.mark.parametrize("change", CHANGES)
def test_keep_goes_on_as_it_was_begun_and_says_so(store, settings, begun, change, caplog):
    first = begun(config=CONFIG)
    more, lines = CHANGES[change]
    asked = keeping(settings(**{"config": CONFIG, "budget": 9, **more}))
    kept = open_study(store, asked)
    assert lines[-1] in caplog.text
    assert (kept.space, kept.plan, kept.config, kept.seed) == (first.space, first.plan, first.config, first.seed)
    assert (kept.metric, kept.direction, kept.budget) == (first.metric, first.direction, 9)
    used = as_begun(kept, asked)
    assert used.space == settings().space
    assert used.plan == settings().plan


def test_a_study_without_a_trial_is_defined_anew(store, settings):
    """Nothing rests on it: a mistake of the first command is mended by the second."""
    first = open_study(store, settings(config=CONFIG))
    writes.set_state(store, first.id, StudyState.STOPPED, "no data")
    again = open_study(store, settings(search="sobol", epochs=5, budget=2, metric="accuracy"))
    assert (again.id, again.metric, again.config, again.budget_epochs) == (first.id, "accuracy", {}, 10)
    assert (again.state, again.message) == (StudyState.OPEN, None)
    assert [row["sampler"] for row in reads.stage_rows(store, again.id)] == ["sobol"]


def test_a_study_that_got_a_trial_meanwhile_is_not_defined_anew(store, settings, begun, monkeypatch):
    empty = open_study(store, settings())
    begun()
    monkeypatch.setattr(reads, "find_study", lambda store, name: empty)
    with pytest.raises(StudyChanged, match="-metric: val_loss"):
        open_study(store, settings(metric="accuracy"))
    assert reads.study(store, "demo").metric == "val_loss"


def test_a_script_that_only_moved_is_no_change(store, settings, begun):
    begun(config=CONFIG)
    script = {**CONFIG["script"], "path": "elsewhere/train.py"}
    assert open_study(store, settings(config=changed(script=script))).name == "demo"


def test_a_variant_more_or_less_is_a_change(settings, begun):
    study = begun(config=CONFIG)
    assert study_changes(study, settings(config=changed(variants=CONFIG["variants"][:1]))) != ""


def test_on_change_has_two_words(store, settings):
    with pytest.raises(ConfigError, match="stop or keep, but got 'ignore'"):
        open_study(store, settings(on_change="ignore"))
    assert reads.study_names(store) == []


def test_a_class_is_never_taken_from_a_store(store, settings):
    own = make_plan("random", sampler={"_target_": "optuna.samplers.TPESampler"})
    study = open_study(store, settings_with(settings, settings().space, own))
    with pytest.raises(ConfigError, match="never taken from a store"):
        as_begun(study, settings())
    assert as_begun(study, settings_with(settings, settings().space, own)).plan == own


# ---- the budget ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [2, 9])
def test_a_budget_may_rise_and_fall(store, settings, begun, budget):
    begun(epochs=5, budget=4)
    study = open_study(store, settings(epochs=5, budget=budget))
    assert (study.budget, study.budget_epochs) == (budget, 5 * budget)
    assert [each["kind"] for each in reads.event_rows(store, study.id)] == ["created", "budget"]


def test_the_same_budget_is_no_event(store, settings, begun):
    begun()
    study = open_study(store, settings())
    assert [each["kind"] for each in reads.event_rows(store, study.id)] == ["created"]


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused_before_anything_is_written(store, settings, budget):
    with pytest.raises(ConfigError, match="`budget`"):
        open_study(store, settings(budget=budget))
    assert reads.study_names(store) == []


@pytest.mark.parametrize("epochs", [None, 5])
def test_a_study_is_complete_when_its_budget_is_spent_and_its_trials_are_over(store, settings, hire, take, epochs):
    study = open_study(store, settings(epochs=epochs, budget=2))
    plan, worker = Plan.from_json(study.plan), hire(store, study)

    def complete():
        return is_complete(store, reads.study(store, "demo"), plan)

    assert not complete()
    leases = [take(store, study, worker) for _ in range(2)]
    assert not complete()
    fenced.finish(store, leases[0], TrialState.COMPLETE, value=0.5)
    fenced.release(store, leases[1])
    assert not complete()
    fenced.finish(store, take(store, study, worker), TrialState.FAIL, value=0.5)
    assert complete()
    open_study(store, settings(epochs=epochs, budget=2.5))
    assert complete(), "half a training more is no trial more"
    open_study(store, settings(epochs=epochs, budget=3))
    assert not complete()
    open_study(store, settings(epochs=epochs, budget=1))
    assert complete()


# ---- stopped, paused, killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [StudyState.STOPPED, StudyState.PAUSED])
def test_a_study_that_was_stopped_opens_again(store, settings, begun, state):
    study = begun()
    writes.set_state(store, study.id, state, "5 trials in a row failed")
    again = open_study(store, settings())
    assert (again.state, again.message) == (StudyState.OPEN, None)


def test_the_trials_of_dead_workers_are_free_at_once(store, settings, hire, take, dead_pid):
    study = open_study(store, settings())
    take(store, study, hire(store, study, pid=dead_pid))
    open_study(store, settings())
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.WAITING]
    assert [row["ending"] for row in reads.worker_rows(store, study.id)] == ["died"]


def test_a_process_that_got_a_dead_workers_number_is_not_that_worker(store, settings, hire, take, sleeper):
    study = open_study(store, settings())
    started = process.start_time(sleeper.pid)
    if started is None:
        pytest.skip("this system does not tell when a process began")
    take(store, study, hire(store, study, pid=sleeper.pid, process_started=started - 1.0))
    open_study(store, settings())
    assert [row["ending"] for row in reads.worker_rows(store, study.id)] == ["died"]


def test_a_worker_of_this_process_that_could_not_say_that_it_ended_holds_nothing(store, settings, hire, take):
    study = open_study(store, settings())
    take(store, study, hire(store, study))
    open_study(store, settings())
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.WAITING]
    assert [row["ending"] for row in reads.worker_rows(store, study.id)] == ["left"]


def test_a_worker_that_is_at_work_in_this_process_is_left_alone(store, settings, hire, take, monkeypatch):
    study = open_study(store, settings())
    take(store, study, hire(store, study))
    monkeypatch.setattr(opening, "at_work", [(store.address, study.name)])
    open_study(store, settings())
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.RUNNING]


def test_workers_of_another_host_are_left_alone(store, settings, hire, take, dead_pid):
    study = open_study(store, settings())
    take(store, study, hire(store, study, pid=dead_pid, host="elsewhere"))
    open_study(store, settings())
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.RUNNING]


def test_workers_whose_driver_lives_are_left_alone(store, settings, hire, take, sleeper):
    study = open_study(store, settings())
    driver = {"driver_pid": sleeper.pid, "driver_started": process.start_time(sleeper.pid)}
    take(store, study, hire(store, study, pid=sleeper.pid, **driver))
    open_study(store, settings())
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.RUNNING]


def test_workers_that_lost_their_driver_are_waited_for(store, settings, hire, take, sleeper, dead_pid, caplog):
    study = open_study(store, settings())
    take(store, study, hire(store, study, pid=sleeper.pid, driver_pid=dead_pid))
    threading.Timer(0.3, lambda: (sleeper.kill(), sleeper.wait())).start()
    open_study(store, settings())
    assert "waiting for 1 worker" in caplog.text
    assert [record.state for record in reads.all_trials(store, study.id)] == [TrialState.WAITING]


def test_a_worker_that_does_not_leave_is_named(store, settings, hire, take, sleeper, dead_pid, monkeypatch):
    monkeypatch.setattr(opening, "WAIT_SECONDS", 0.0)
    study = open_study(store, settings())
    take(store, study, hire(store, study, pid=sleeper.pid, driver_pid=dead_pid))
    with pytest.raises(SweeperError, match=rf"kill -9 {sleeper.pid}\)"):
        open_study(store, settings())


def test_a_stopped_study_is_not_opened_before_its_workers_have_left(
    store, settings, hire, begun, sleeper, dead_pid, monkeypatch
):
    monkeypatch.setattr(opening, "WAIT_SECONDS", 0.0)
    study = begun()
    hire(store, study, pid=sleeper.pid, driver_pid=dead_pid)
    writes.set_state(store, study.id, StudyState.STOPPED, "enough")
    with pytest.raises(SweeperError):
        open_study(store, settings())
    assert reads.study(store, "demo").state == StudyState.STOPPED
