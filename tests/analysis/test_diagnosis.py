"""What the curves say: each rule on curves drawn for it, silence where all is well, networks broken for real."""

from __future__ import annotations

import math
import random

import pytest
import torch

from experiments.benchmarks.diseases import CASES, WELL, blinded, table, train
from sweeper.analysis.diagnosis import MOST, Run, Severity, of_study, of_trial, well
from sweeper.search.space import Categorical, Float, SearchSpace
from sweeper.trial.divergence import EXPLODED, lost
from sweeper.words.records import Direction, Failure, TrialRecord, TrialState

EPOCHS = 25


def falling(start=2.3, end=0.1, epochs=EPOCHS, speed=8.0, noise=0.01, seed=0):
    draw = random.Random(seed)
    return [
        (end + (start - end) * math.exp(-speed * epoch / epochs)) * (1 + noise * draw.uniform(-1, 1))
        for epoch in range(epochs)
    ]


def run(train_loss=None, val_loss=None, val_accuracy=None, *, monitors=None, params=None, **more):
    """A trial of these curves; `monitors` are numbers, or lists of them, by name."""
    curves = {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
    curves = {name: line for name, line in curves.items() if line is not None}
    count = max(map(len, curves.values()))
    for name, value in (monitors or {}).items():
        curves[name] = value if isinstance(value, list) else [value] * count
    reports = [{name: line[epoch] for name, line in curves.items()} for epoch in range(count)]
    values = {"number": 7, "params": params or {}, "reports": reports, "metric": "val_loss"}
    return Run(**{**values, "direction": Direction.MINIMIZE, "classes": 10, **more})


def healthy(**more):
    given = {"train_loss": falling(end=0.05), "val_loss": falling(end=0.15, seed=1)}
    return run(**{**given, "val_accuracy": [1 - loss / 3 for loss in falling(end=0.1, seed=2)], **more})


PACE = {f"update_ratio/{layer}": 1e-3 for layer in "abc"}
NORMS = {f"grad_norm/{layer}": 0.3 for layer in "abc"}


def kinds(one):
    return [finding.kind.value for finding in of_trial(one)]


def first(one):
    found = of_trial(one)
    assert found, "nothing was found"
    return found[0]


# ---- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("monitors", [{}, {**PACE, **NORMS, "dead/relu": 0.1, "monitor/carried": 0.0}])
@pytest.mark.parametrize("classes", [10, None])
def test_of_a_training_that_goes_well_nothing_is_said(monitors, classes):
    one = healthy(monitors=monitors, classes=classes)
    assert kinds(one) == []
    assert well(one).startswith("Nothing to mend: the loss is 0.05")


def test_that_all_is_well_is_said_with_the_pace():
    assert "updates are 0.001 of the weights (about 0.001 is wanted)" in well(healthy(monitors=PACE))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_epochs_are_too_few(count):
    one = Run(0, {}, [{"val_loss": 1.0}] * count, "val_loss", Direction.MINIMIZE)
    assert kinds(one) == []
    assert "too few" in well(one)


def test_metrics_that_were_not_finite_disturb_no_rule():
    one = healthy()
    reports = [{**each, "val_loss": None} if epoch % 5 == 1 else each for epoch, each in enumerate(one.reports)]
    assert kinds(Run(0, {}, reports, "val_loss", Direction.MINIMIZE, classes=10)) == []
    nothing = Run(0, {}, [{"val_loss": None}] * 9, "val_loss", Direction.MINIMIZE, failure=Failure.ERROR)
    assert kinds(nothing) == []


# ---- which metric is what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "metric", "train", "val", "accuracy"),
    [
        (["train_loss", "val_loss", "val_accuracy"], "val_loss", "train_loss", "val_loss", "val_accuracy"),
        (["loss", "val_loss", "val_acc"], "val_acc", "loss", "val_loss", "val_acc"),
        (["training/nll", "valid/nll"], "valid/nll", "training/nll", "valid/nll", None),
        (["train_mse", "test_mse"], "test_mse", "train_mse", "test_mse", None),
        (["loss"], "loss", None, "loss", None),
        (["score"], "score", None, None, None),
        (["train_acc", "dev_accuracy", "dev_loss"], "dev_accuracy", None, "dev_loss", "dev_accuracy"),
    ],
)
def test_metrics_are_recognised_by_their_names(names, metric, train, val, accuracy):
    one = Run(0, {}, [dict.fromkeys(names, 1.0)], metric, Direction.MINIMIZE)
    assert (one.train_loss_name, one.val_loss_name, one.accuracy_name) == (train, val, accuracy)


def test_percents_are_fractions():
    assert run(val_accuracy=[10.0, 95.0]).accuracy == (0.1, 0.95)


def test_monitors_are_no_metrics():
    assert healthy(monitors={"grad_norm/loss": 1.0}).names == ("train_loss", "val_loss", "val_accuracy")


# ---- why it does not learn -------------------------------------------------------------------------------------------


def test_a_rate_too_low_by_the_updates_and_by_the_curve():
    slow = {"train_loss": falling(2.31, 2.29, speed=1, noise=0), "val_loss": falling(2.3, 2.28, speed=1, noise=0)}
    told = first(run(**slow, params={"optimizer.lr": 1e-6}, monitors=dict.fromkeys(PACE, 9e-06)))
    assert told.kind == "lr_too_low"
    assert "optimizer.lr = 1e-06" in told.sentence
    assert "9e-06 of the weights" in told.sentence
    assert told.severity is Severity.BROKEN
    assert kinds(run(**slow)) == ["lr_too_low"]
    assert kinds(run(**slow, classes=None)) == ["lr_too_low"]


def test_a_rate_too_high_by_an_explosion_and_by_the_updates():
    loud = {"train_loss": [126.0] + [2.4] * 24, "val_loss": [2.5] + [2.35] * 24}
    told = first(run(**loud, params={"lr": 0.5}))
    assert told.kind == "lr_too_high"
    assert "went up to 126, 50.4 times where it began" in told.sentence
    stuck = {"train_loss": [2.4] * 25, "val_loss": [2.4] * 25}
    assert kinds(run(**stuck, monitors={name: [0.4] + [0.1] * 24 for name in PACE})) == ["lr_too_high"]


def test_units_that_died_of_a_high_rate_are_its_doing():
    one = run([126.0] + [2.31] * 24, [2.4] * 25, monitors={"dead/relu": [0.0] + [1.0] * 24, "grad_norm/a": 0.0} | PACE)
    told = first(run([126.0] + [2.31] * 24, [2.4] * 25, monitors={"dead/relu": [0.0] + [1.0] * 24}))
    assert told.sentence.endswith("All units of relu died of it.")
    assert one.layers("dead") == {"relu": (0.0, *[1.0] * 24)}


def test_a_trial_that_diverged_says_at_which_rate():
    one = run([2.1, 1.9], [2.0, 1.9], failure=Failure.DIVERGED, message="Diverged: val_loss is nan", params={"lr": 3.0})
    told = first(one)
    assert told.kind == "diverged"
    assert told.sentence == "It diverged after 2 epochs at lr = 3: val_loss is nan."
    nothing = Run(0, {}, [], "val_loss", Direction.MINIMIZE, Failure.DIVERGED, "val_loss is nan")
    assert kinds(nothing) == ["diverged"]


def test_a_loss_that_rises_smoothly_is_a_mistake():
    one = run([2.3 + 0.3 * epoch for epoch in range(25)], [2.3 + 0.3 * epoch for epoch in range(25)], monitors=PACE)
    assert first(one).kind == "loss_rising"
    assert "from 2.3 to 9.5" in first(one).sentence


def test_no_gradient_from_the_first_step():
    flat = {"train_loss": [2.3] * 25, "val_loss": [2.3] * 25}
    told = first(run(**flat, monitors={**dict.fromkeys(NORMS, 0.0), "activation_std/relu": 0.0}))
    assert told.kind == "no_gradient"
    assert "relu gives the same for every example" in told.sentence


@pytest.mark.parametrize(
    ("dead", "words"), [(1.0, "from the first epoch on"), ([0.2] * 9 + [1.0] * 16, "since epoch 10")]
)
def test_a_layer_that_is_all_dead(dead, words):
    told = first(run([2.3] * 25, [2.3] * 25, monitors={"dead/relu": dead, "grad_norm/a": 0.0, "grad_norm/b": 0.1}))
    assert told.kind == "dead_units"
    assert words in told.sentence


def test_vanishing_and_exploding_gradients():
    flat = {"train_loss": [2.31] * 25, "val_loss": [2.3] * 25}
    vanishing = {"grad_norm/a": 1e-12, "grad_norm/b": 1e-6, "grad_norm/c": 0.4}
    assert "0.4 in c and 1e-12 in a" in first(run(**flat, monitors=vanishing)).sentence
    exploding = {"grad_norm/a": 1e6, "grad_norm/b": 1e3, "grad_norm/c": 0.4}
    assert kinds(run(**flat, monitors=exploding)) == ["exploding_gradients"]
    signals = {"activation_std/a": 4.0, "activation_std/b": 4e3, "activation_std/c": 4e6}
    assert kinds(run([1e9] * 25, [1e9] * 25, monitors=signals)) == ["exploding_gradients"]


def test_vanishing_gradients_of_a_network_that_learns_are_nobodys_business():
    assert kinds(healthy(monitors={"grad_norm/a": 1e-12, "grad_norm/b": 1e-6, "grad_norm/c": 0.4})) == []


def test_gradients_that_are_never_set_to_zero():
    assert kinds(healthy(monitors={"monitor/carried": [0.0] + [1.0] * 24})) == ["gradients_carried"]
    assert kinds(healthy(monitors={"monitor/carried": 0.0})) == []


def test_a_softmax_over_a_softmax():
    floor = math.log(math.e + 9) - 1
    one = run(falling(2.3, floor + 0.01), falling(2.3, floor + 0.05), [0.2] * 5 + [0.95] * 20)
    assert kinds(one) == ["softmax_twice"]
    assert "95 % of the answers are right, and yet the loss stays at 1.48" in first(one).sentence
    on_its_way = run(falling(2.3, 1.4, epochs=3, speed=3), falling(2.3, 1.4, epochs=3, speed=3), [0.5, 0.7, 0.85])
    assert "softmax_twice" not in kinds(on_its_way)


@pytest.mark.parametrize("classes", [10, None])
def test_labels_that_do_not_belong_to_their_inputs(classes):
    guesses = [0.08 + 0.01 * (epoch % 5) for epoch in range(25)]
    one = run(falling(2.31, 1.7, speed=3), [2.31 + 0.015 * epoch for epoch in range(25)], guesses, classes=classes)
    told = first(one)
    assert told.kind == "stuck_at_chance"
    assert "it learns by heart" in told.sentence or classes is None


def test_regularisation_that_leaves_nothing_to_learn():
    flat = {"train_loss": [2.3] * 25, "val_loss": [2.3] * 25}
    strong = {"model.dropout": 0.9, "optimizer.weight_decay": 1.0}
    assert "model.dropout = 0.9 and optimizer.weight_decay = 1" in first(run(**flat, params=strong)).sentence
    shrunk = {f"weight_norm/{layer}": [10.0] + [0.1] * 24 for layer in "abc"}
    assert kinds(run(**flat, monitors=shrunk))[0] == "regularised_too_much"
    assert kinds(healthy(params=strong)) == []


# ---- how well it learns ----------------------------------------------------------------------------------------------


def test_overfitting_by_the_gap_and_by_the_climb():
    assert kinds(run(falling(end=0.01), falling(end=1.0, seed=1))) == ["overfitting"]
    climbing = [*falling(end=0.3, epochs=8), *(0.3 + 0.02 * epoch for epoch in range(17))]
    told = first(run(falling(end=0.1), climbing))
    assert told.kind == "overfitting"
    assert "after epoch 9 of 25" in told.sentence
    assert "9 epochs" in told.cure
    assert kinds(Run(0, {}, [{"loss": each} for each in climbing], "loss", Direction.MINIMIZE)) == ["overfitting"]


def test_underfitting_where_guessing_is_known():
    settled = run(falling(end=1.2, speed=25), falling(end=1.25, speed=25, seed=1), [0.5] * 25)
    assert kinds(settled) == ["underfitting"]
    assert kinds(run(falling(1.0, 0.5, speed=25), falling(1.0, 0.52, speed=25, seed=1), classes=None)) == []


def test_a_loss_that_stays_high_beside_right_answers_is_no_underfitting():
    smoothed = {"train_loss": falling(end=0.9, speed=25), "val_loss": falling(end=0.92, speed=25, seed=1)}
    assert kinds(run(**smoothed, val_accuracy=[0.96] * 25)) == []


def test_underfitting_beside_dropout_says_to_drop_less():
    held = {"train_loss": falling(end=1.3, speed=25), "val_loss": falling(end=1.1, speed=25, seed=1)}
    told = first(run(**held, val_accuracy=[0.6] * 25, params={"model.dropout": 0.5}))
    assert told.cure.startswith("less dropout (model.dropout = 0.5)")


def test_a_gap_of_a_training_set_that_is_not_learned_is_no_overfitting():
    assert kinds(run(falling(1.0, 0.42), falling(1.0, 0.74, seed=1), classes=None)) == []


def test_a_single_layer_that_begins_at_zero_moves_fast_and_soundly():
    hard = {"train_loss": falling(2.3, 1.6, speed=25), "val_loss": falling(2.3, 1.65, speed=25, seed=1)}
    assert kinds(run(**hard, classes=None, monitors={"update_ratio/a": [1.0] + [1e-3] * 24})) == []


def test_a_noisy_curve_names_the_batch():
    noisy = [loss * (1.5 if epoch % 2 else 0.7) for epoch, loss in enumerate(falling(end=0.3))]
    told = first(run(falling(end=0.2), noisy, params={"data.batch_size": 1}))
    assert told.kind == "noisy"
    assert "data.batch_size = 1" in told.sentence
    assert told.cure.startswith("a larger batch")


def test_still_improving_at_the_end():
    short = falling(end=0.1, speed=2, noise=0, epochs=5)
    assert kinds(run(short, short)) == ["still_improving"]
    assert kinds(run(short, short, epochs=20)) == [], "the plan stopped it, so nobody tells it to train longer"
    rising = [1 - loss / 3 for loss in short]
    up = Run(0, {}, [{"score": each} for each in rising], "score", Direction.MAXIMIZE)
    assert "score went from 0.233 to" in first(up).sentence


def test_settled_long_before_the_end():
    flat = [*falling(end=0.1, epochs=8), *[0.12] * 32]
    assert kinds(run([0.1] * 40, flat)) == ["settled_early"]
    assert "after 8 epochs" in first(run([0.1] * 40, flat)).sentence


@pytest.mark.parametrize(
    ("monitors", "kind", "words"),
    [
        ({"dead/relu": 0.8}, "dead_units", "80 % of the ReLUs of relu are dead"),
        ({"dead/relu": [0.1] * 5 + [0.7] * 20}, "dead_units", "in the first epoch it was 10 %"),
        ({"saturated/tanh": 0.9}, "saturated_units", "90 % of the outputs of tanh are saturated"),
        (
            {**PACE, "update_ratio/a": 0.0, "grad_norm/b": 1.0},
            "frozen_layer",
            "a never changed in 25 epochs: it gets no",
        ),
        ({**PACE, **NORMS, "update_ratio/a": 0.0}, "frozen_layer", "the optimizer does not have it"),
    ],
)
def test_layers_that_do_not_take_part(monitors, kind, words):
    told = first(healthy(monitors=monitors))
    assert told.kind == kind
    assert words in told.sentence


def test_what_is_broken_is_told_alone_and_all_else_in_a_handful():
    sick = {"dead/relu": 0.8, "saturated/tanh": 0.9, **PACE, "update_ratio/a": 0.0}
    over = run(falling(end=0.01), falling(end=1.0, seed=1, noise=0.9), monitors=sick)
    assert 3 <= len(of_trial(over)) <= MOST
    assert kinds(run(falling(end=0.01), falling(end=1.0), monitors={**sick, "monitor/carried": 1.0})) == [
        "gradients_carried"
    ]


def test_every_finding_says_what_to_do_and_whose_rule_it_is():
    for one in (run([126.0] + [2.4] * 24, [2.4] * 25), run(falling(end=0.01), falling(end=1.0, seed=1))):
        told = first(one).as_json()
        assert set(told) == {"kind", "severity", "sentence", "cure", "source", "evidence"}
        assert all(told.values())


# ---- a study ---------------------------------------------------------------------------------------------------------

SPACE = SearchSpace((Float("lr", 1e-4, 10.0, log=True), Float("drop", 0.0, 0.5), Categorical("bend", ("relu", "tanh"))))


def trial(number, lr, bend="relu", value=0.5, diverged=False):
    state = TrialState.FAIL if diverged else TrialState.COMPLETE
    params = {"lr": lr, "drop": 0.1 + 0.01 * number, "bend": bend}
    more = {"failure": Failure.DIVERGED} if diverged else {"value": value}
    return TrialRecord(1, number, state, 0, params=params, **more)


def test_the_region_that_diverges_is_named():
    sound = [trial(n, 10 ** (-4 + 0.1 * n)) for n in range(30)]
    bad = [trial(30 + n, 0.5 + n, diverged=True) for n in range(6)]
    told = of_study(SPACE, [*sound, *bad], Direction.MINIMIZE)[0]
    assert told.kind == "diverging_region"
    assert told.sentence == "All 6 trials with lr from 0.5 on diverged; none of the other 30 did."
    choice = [trial(n, 0.01, "tanh", diverged=True) for n in range(30, 36)]
    assert "bend = tanh" in of_study(SPACE, [*sound, *choice], Direction.MINIMIZE)[0].sentence


def test_that_all_have_diverged_is_said_of_the_whole_space():
    trials = [trial(n, 10 ** (-4 + n), diverged=True) for n in range(4)]
    told = of_study(SPACE, trials, Direction.MINIMIZE)[0]
    assert told.severity == "broken"
    assert told.sentence == "All 4 trials diverged, wherever they lie in the space."


def test_trials_that_diverge_here_and_there_are_no_region():
    draw = random.Random(3)
    trials = [
        trial(n, 10 ** draw.uniform(-4, 1), draw.choice(["relu", "tanh"]), diverged=n % 5 == 0) for n in range(40)
    ]
    assert [each for each in of_study(SPACE, trials, Direction.MINIMIZE) if each.kind == "diverging_region"] == []


def test_a_best_trial_that_stands_alone():
    trials = [trial(n, 10 ** (-4 + 0.05 * n), value=1.0) for n in range(25)] + [trial(90, 5.0, value=0.1)]
    told = of_study(SPACE, trials, Direction.MINIMIZE, shares=[("lr", 0.2)])
    assert [each.kind for each in told] == ["thinly_sampled"]
    assert "None of the other 25 complete trials lies near the best, trial 90" in told[0].sentence
    near = [trial(91 + n, 4.0 + n, value=0.2) for n in range(3)]
    assert of_study(SPACE, [*trials, *near], Direction.MINIMIZE, shares=[("lr", 0.2)]) == []


def test_what_matters_is_said_with_its_share():
    told = of_study(SPACE, [], Direction.MINIMIZE, shares=[("lr", 0.8), ("drop", 0.17), ("bend", 0.03)], counted=80)
    assert told[0].sentence.startswith(
        "lr matters most: 80 % of what tells the best trials from the rest, by 80 trials"
    )
    assert told[0].cure == "search lr finely, and fix bend"


def test_what_most_of_the_best_share():
    over = run(falling(end=0.01), falling(end=1.0, seed=1))
    told = of_study(SPACE, [], Direction.MINIMIZE, best=[over, over, healthy()])
    assert told[0].sentence.startswith("2 of the 3 best trials, as trial 7: it overfits")
    assert of_study(SPACE, [], Direction.MINIMIZE, best=[over, healthy(), healthy()]) == []


def test_one_cause_that_kept_many_from_learning():
    slow = {"train_loss": falling(2.31, 2.29, speed=1, noise=0), "val_loss": falling(2.3, 2.28, speed=1, noise=0)}
    low = [run(**slow, params={"lr": rate}, number=9) for rate in (1e-6, 2e-6, 5e-6)]
    told = of_study(SPACE, [], Direction.MINIMIZE, runs=[*low, *[healthy()] * 7])
    assert told[0].sentence.startswith(
        "3 of 10 trials did not learn, for one cause: learning rate too low (lr from 1e-06 to 5e-06)."
    )


def test_an_empty_study_says_nothing():
    assert of_study(SPACE, [], Direction.MINIMIZE) == []


# ---- a training that is lost is stopped ------------------------------------------------------------------------------


def test_a_loss_in_training_past_all_bounds_is_lost():
    assert lost({"train_loss": 2.3}, {"train_loss": 2.3 * EXPLODED}) is None
    assert "more than 10000 times" in lost({"train_loss": 2.3}, {"train_loss": 2.4 * EXPLODED})
    assert "loss is" in lost({"loss": 0.001}, {"loss": 2 * EXPLODED})
    for name in ("val_loss", "grad_norm/train_loss", "test/loss", "trained"):
        assert lost({name: 1.0}, {name: 1e9}) is None


def test_a_loss_that_begins_large_or_small_may_go_where_it_likes():
    assert lost({"train_loss": 4e6}, {"train_loss": 9e6}) is None
    assert lost({"train_loss": 1e-6}, {"train_loss": 3.0}) is None
    assert lost({"train_loss": None}, {"train_loss": 3e9}) is None
    assert lost({}, {"train_loss": 3e9}) is None


def test_without_gradient_and_signal_nothing_can_be_learned():
    dead = {"grad_norm/a": 0.0, "grad_norm/b": 0.0, "activation_std/relu": 0.0}
    assert "relu gives the same for every example" in lost({}, dead)
    assert lost({}, {**dead, "grad_norm/b": 1e-9}) is None
    assert lost({}, {**dead, "grad_norm/b": None}) is None
    assert lost({}, {**dead, "activation_std/relu": 0.1}) is None, "as of a hinge loss that has learned everything"


# ---- for real --------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", ["first weights zero", "lr 1e-6, Adam", "zero_grad forgotten, Adam", "3 epochs", "first layer frozen"]
)
def test_a_network_that_is_broken_for_real(one_thread, name):
    case = CASES[name]
    assert first(train(case, seed=11, epochs=min(case.epochs, 8))).kind in case.expected


def test_a_network_without_a_gradient_is_stopped_in_its_first_epoch(one_thread):
    one = train(CASES["first weights zero"], seed=0)
    assert (one.failure, len(one.reports)) == (Failure.DIVERGED, 1)
    assert "nothing can be learned any more: no layer has a gradient" in one.message


@pytest.mark.parametrize("name", ["digits, SGD", "breast cancer"])
def test_a_healthy_network_is_left_in_peace_with_monitors_and_without(one_thread, name):
    one = train(WELL[name], seed=12)
    assert of_trial(one) == of_trial(blinded(one)) == []
    assert one.failure is None


def test_the_table_says_how_often_the_first_finding_was_right():
    found = {"sick": [["noisy"], ["noisy", "overfitting"], []]}
    assert table(found, {"sick": ("noisy",)}).splitlines()[-1] == (
        "| sick | noisy 2, healthy 1 | 2 of 3 | overfitting 1 |"
    )
