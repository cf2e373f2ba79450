"""Trainings with a planted fault each: the right check names it, and a sound training is left in peace."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.check.finding import Finding, Verdict
from sweeper.check.ramp import watched
from sweeper.check.training import examination
from sweeper.check.training.hooks import surveyed
from sweeper.check.training.survey import Survey, SurveyDone
from sweeper.training.task import Task, rehearse
from sweeper.words.errors import ConfigError

CLASSES, FEATURES, COUNT = 3, 6, 240


class WrongTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        outputs = inputs.tanh()
        ctx.save_for_backward(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (outputs,) = ctx.saved_tensors
        return gradient * (1 - outputs)  # 1 - outputs² would be right


class Wrong(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return WrongTanh.apply(inputs)


class Lesson:
    """A sound classification by a small network; a fault is an attribute or a method that is another."""

    rate = 0.05
    epochs = 3
    zeroes = evaluates = True
    switches = True

    def __init__(self) -> None:
        torch.manual_seed(0)
        centres = 3 * torch.randn(CLASSES, FEATURES)
        labels = torch.arange(2 * COUNT) % CLASSES
        inputs = centres[labels] + torch.randn(2 * COUNT, FEATURES)
        inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
        self.inputs, self.labels = inputs[:COUNT], labels[:COUNT]
        self.val_inputs, self.val_labels = inputs[COUNT:], labels[COUNT:]
        self.model = self.network()
        self.optimizer = torch.optim.SGD(self.trained(), lr=self.rate)

    def network(self) -> nn.Module:
        layers = [nn.Linear(FEATURES, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 16), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(16, CLASSES))

    def trained(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def penalty(self) -> Tensor | float:
        return 0.0

    def train(self) -> None:
        for _ in range(self.epochs):
            if self.switches:
                self.model.train()
            for index in torch.randperm(len(self.inputs)).split(24):
                if self.zeroes:
                    self.optimizer.zero_grad()
                loss = self.loss(self.model(self.inputs[index]), self.labels[index])
                (loss + self.penalty()).backward()
                self.optimizer.step()
            if self.evaluates:
                self.evaluate()

    def evaluate(self) -> None:
        if self.switches:
            self.model.eval()
        with torch.no_grad():
            self.loss(self.model(self.val_inputs), self.val_labels)


def examined(train: Callable[[], None], again: bool = False, seconds: float = 60.0) -> dict[str, Finding]:
    survey = Survey(seconds)
    with watched(survey), surveyed(survey), contextlib.suppress(SurveyDone):
        train()
    survey.script_ended()
    found = examination.seen(survey) + (examination.tried(survey) if again else [])
    return {each.name: each for each in found}


def failed(found: dict[str, Finding]) -> set[str]:
    return {name for name, each in found.items() if each.verdict is Verdict.FAILS}


def test_a_sound_training_passes_every_check() -> None:
    found = examined(Lesson().train, again=True)
    assert {name for name, each in found.items() if each.verdict is not Verdict.PASSES} == set()
    assert len(found) == 14


def test_nothing_is_left_behind() -> None:
    lesson = Lesson()
    before = [each.detach().clone() for each in lesson.model.parameters()]
    examined(lesson.train, again=True)
    assert all(map(torch.equal, before, lesson.model.parameters()))


# ---- faults that watching shows --------------------------------------------------------------------------------------


class ForgottenZeroGrad(Lesson):
    zeroes = False
    rate = 0.001


class RateOf100(Lesson):
    rate = 100.0


class Softmax(Lesson):
    def network(self) -> nn.Module:
        return nn.Sequential(super().network(), nn.Softmax(dim=1))


class Zeros(Lesson):
    def network(self) -> nn.Module:
        model = super().network()
        for each in model.parameters():
            nn.init.zeros_(each)
        return model


class Constants(Lesson):
    def network(self) -> nn.Module:
        model = super().network()
        for each in model.parameters():
            nn.init.constant_(each, 0.1)
        return model


class Frozen(Lesson):
    def network(self) -> nn.Module:
        model = super().network()
        model.get_submodule("3").requires_grad_(False)
        return model

    def trained(self) -> list[nn.Parameter]:
        return [each for each in self.model.parameters() if each.requires_grad]


class Missed(Lesson):
    def trained(self) -> list[nn.Parameter]:
        return list(self.model.get_submodule("5").parameters())


class Detached(Lesson):
    def network(self) -> nn.Module:
        class Detach(nn.Module):
            def forward(self, inputs: Tensor) -> Tensor:
                return inputs.detach()

        return nn.Sequential(nn.Linear(FEATURES, 16), Detach(), nn.Linear(16, CLASSES))


class Unscaled(Lesson):
    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.val_inputs = 255 * self.inputs.abs(), 255 * self.val_inputs.abs()


class OneWideFeature(Lesson):
    def __init__(self) -> None:
        super().__init__()
        for each in (self.inputs, self.val_inputs):
            each[:, 2] *= 200
            each /= 100


class Missing(Lesson):
    def __init__(self) -> None:
        super().__init__()
        self.inputs[3, 1] = float("nan")


class FromOne(Lesson):
    def __init__(self) -> None:
        super().__init__()
        self.labels = self.labels + 1


class TooManyClasses(Lesson):
    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES + 2))


class OutOfBalance(Lesson):
    def __init__(self) -> None:
        super().__init__()
        kept = (self.labels != 0) | (torch.arange(COUNT) % 48 == 0)
        self.inputs, self.labels = self.inputs[kept], self.labels[kept]
        kept = (self.val_labels != 0) | (torch.arange(COUNT) % 48 == 0)
        self.val_inputs, self.val_labels = self.val_inputs[kept], self.val_labels[kept]


class ShiftedMix(Lesson):
    def __init__(self) -> None:
        super().__init__()
        self.val_labels = self.val_labels.clamp(max=1)


class Overlap(Lesson):
    def __init__(self) -> None:
        super().__init__()
        self.val_inputs = torch.cat([self.val_inputs[10:], self.inputs[:10]])


class NeverSwitched(Lesson):
    switches = False


class TrainsInEvaluation(Lesson):
    switches = False

    def __init__(self) -> None:
        super().__init__()
        self.model.eval()


class LargeLastLayer(Lesson):
    def network(self) -> nn.Module:
        model = super().network()
        model.get_submodule("5").weight.data.mul_(30)  # type: ignore[union-attr,operator]
        return model


class Drowned(Lesson):
    def penalty(self) -> Tensor:
        return torch.stack([each.square().sum() for each in self.model.parameters()]).sum()


class NegativePenalty(Lesson):
    def penalty(self) -> Tensor:
        return -0.01 * torch.stack([each.square().sum() for each in self.model.parameters()]).sum()


FAULTS = [
    (ForgottenZeroGrad, "zero_grad", "Gradients of earlier steps are still there"),
    (RateOf100, "first epoch", "lost at step"),
    (Softmax, "outputs", "Softmax twice"),
    (Zeros, "movement", "no gradient arrives at"),
    (Constants, "symmetry", "All units are alike in 3.weight"),
    (Frozen, "movement", "frozen (requires_grad=False): 3.weight, 3.bias"),
    (Missed, "movement", "the optimizer does not have: 0.weight, 0.bias"),
    (Detached, "movement", "no gradient arrives at: 0.weight, 0.bias"),
    (Unscaled, "inputs", "Inputs are not scaled"),
    (OneWideFeature, "inputs", "feature 2: spread"),
    (Missing, "inputs", "NaN or infinite"),
    (FromOne, "labels", "must lie in 0 … 2 for 3 outputs, but there are 3"),
    (TooManyClasses, "labels", "2 of 5 classes never occur in training: 3, 4"),
    (OutOfBalance, "balance", "weight=torch.tensor([11, 0.688, 0.688])"),
    (ShiftedMix, "labels", "would have to change for the training set's mix"),
    (Overlap, "split", "10 of 240 validation examples are in the training set"),
    (NeverSwitched, "modes", "validated in training mode"),
    (TrainsInEvaluation, "modes", "trains in evaluation mode"),
    (LargeLastLayer, "chance", "above chance, 1.1 (3 classes)"),
    (Drowned, "regularisation", "drowns the data's loss"),
    (NegativePenalty, "regularisation", "lowers it"),
]
ALSO = {
    Zeros: {"symmetry"},
    Constants: {"movement"},
    Frozen: set(),
    RateOf100: {"movement"},
    Missing: {"first epoch", "chance", "outputs", "movement", "regularisation"},
    Unscaled: {"chance", "first epoch"},
    LargeLastLayer: {"first epoch"},
    Drowned: {"first epoch"},
}
"""What a fault may well be named by besides."""


@pytest.mark.parametrize(("lesson", "check", "words"), FAULTS, ids=[each[0].__name__ for each in FAULTS])
def test_a_fault_is_named_by_the_right_check(lesson: type[Lesson], check: str, words: str) -> None:
    def train() -> None:
        with contextlib.suppress(IndexError):  # a label out of range, after it was seen
            lesson().train()

    found = examined(train)
    assert check in failed(found) <= {check} | ALSO.get(lesson, set()), failed(found)
    told = found[check]
    assert words in " ".join([told.sentence, *told.problems, str(told.cure)])
    assert told.cure


# ---- faults that training again shows --------------------------------------------------------------------------------


class WrongBackward(Lesson):
    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 16), Wrong(), nn.Linear(16, CLASSES))


class BlindToInputs(Lesson):
    def network(self) -> nn.Module:
        class Blind(nn.Module):
            def forward(self, inputs: Tensor) -> Tensor:
                return inputs * 0

        return nn.Sequential(Blind(), nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, CLASSES))


def test_a_wrong_backward_fails_the_gradient_check() -> None:
    found = examined(WrongBackward().train, again=True)
    assert failed(found) == {"gradients"}
    assert "0.weight" in found["gradients"].problems[0]


def test_a_network_that_cannot_learn_by_heart_is_named() -> None:
    found = examined(BlindToInputs().train, again=True)
    assert "overfit" in failed(found)


def test_shuffled_labels_can_be_learned_by_heart() -> None:
    lesson = Lesson()
    lesson.labels = lesson.labels[torch.randperm(COUNT)]
    assert failed(examined(lesson.train, again=True)) == set()


# ---- other trainings -------------------------------------------------------------------------------------------------


def test_a_regression_is_compared_with_the_variance() -> None:
    class Regression(Lesson):
        def network(self) -> nn.Module:
            return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 1))

        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return functional.mse_loss(outputs, (labels.float().unsqueeze(1) - 1) + self.off)

        off = 0.0

    assert failed(examined(Regression().train, again=True)) == set()
    far = Regression()
    far.off = 20.0
    assert "Scale the targets" in str(examined(far.train)["chance"].cure)


def test_targets_of_another_shape_are_noticed() -> None:
    class Broadcast(Lesson):
        def network(self) -> nn.Module:
            return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 1))

        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return functional.mse_loss(outputs, labels.float() - 1)

    with pytest.warns(UserWarning, match="broadcasting"):
        found = examined(Broadcast().train)
    assert "(24, 1) and (24,)" in found["outputs"].sentence


def test_a_loss_of_ones_own_is_trained_again_where_it_is_a_module() -> None:
    class Margin(nn.Module):
        def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
            right = outputs.gather(1, labels.unsqueeze(1))
            return (outputs - right + 1).clamp(min=0).mean() - 1 / CLASSES

    class Own(Lesson):
        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return self.margin(outputs, labels)

        margin = Margin()

    found = examined(Own().train, again=True)
    assert failed(found) == set()
    assert found["overfit"].verdict is Verdict.PASSES
    assert found["chance"].verdict is Verdict.UNKNOWN


def test_a_loss_that_is_not_seen_cannot_be_told_and_what_to_add_is_said() -> None:
    class Hidden(Lesson):
        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return -outputs.log_softmax(1).gather(1, labels.unsqueeze(1)).mean()

    found = examined(Hidden().train, again=True)
    assert failed(found) == set()
    for name in ("chance", "overfit", "gradients"):
        assert found[name].verdict is Verdict.UNKNOWN
        assert "FILE:FUNCTION" in str(found[name].cure)
    assert found["movement"].verdict is Verdict.PASSES


def test_log_softmax_and_nll_are_replayed() -> None:
    class Nll(Lesson):
        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return functional.nll_loss(outputs.log_softmax(1), labels)

    found = examined(Nll().train, again=True)
    assert {name for name, each in found.items() if each.verdict is not Verdict.PASSES} == set()


def test_accumulated_gradients_are_no_penalty_and_no_forgotten_zero_grad() -> None:
    class Accumulated(Lesson):
        def train(self) -> None:
            for _ in range(2):
                self.optimizer.zero_grad()
                for number, index in enumerate(torch.randperm(COUNT).split(24)):
                    (self.loss(self.model(self.inputs[index]), self.labels[index]) / 2).backward()
                    if number % 2:
                        self.optimizer.step()
                        self.optimizer.zero_grad()

    assert failed(examined(Accumulated().train)) == set()


def test_frozen_weights_beside_loaded_ones_are_meant() -> None:
    class FineTuned(Frozen):
        def train(self) -> None:
            self.model.load_state_dict(self.model.state_dict())
            super().train()

    found = examined(FineTuned().train)
    assert failed(found) == set()
    assert "frozen beside weights that were loaded" in found["movement"].sentence


def test_an_optimizer_that_calls_the_loss_itself_is_watched() -> None:
    class Closure(Lesson):
        def train(self) -> None:
            optimizer = torch.optim.LBFGS(self.model.parameters(), max_iter=3)

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = self.loss(self.model(self.inputs), self.labels)
                loss.backward()
                return loss

            for _ in range(3):
                self.model.train()
                optimizer.step(closure)
                self.evaluate()

    found = examined(Closure().train, again=True)
    assert failed(found) == set()
    assert found["overfit"].verdict is Verdict.PASSES


@pytest.mark.parametrize("average_of", [copy.deepcopy, torch.optim.swa_utils.AveragedModel])
def test_an_average_of_the_weights_is_validated_in_their_place(average_of: Any) -> None:
    class Averaged(Lesson):
        def evaluate(self) -> None:
            average = average_of(self.model).eval()
            with torch.no_grad():
                self.loss(average(self.val_inputs), self.val_labels)

    found = examined(Averaged().train)
    assert failed(found) == set()
    assert found["split"].numbers["val"] == COUNT


def test_an_evaluated_training_set_is_no_overlap() -> None:
    class Both(Lesson):
        def evaluate(self) -> None:
            super().evaluate()
            with torch.no_grad():
                self.model(self.inputs)

    found = examined(Both().train)
    assert found["split"].verdict is Verdict.UNKNOWN
    assert failed(found) == set()


def test_an_evaluation_with_gradients_is_one() -> None:
    class Careless(Lesson):
        def evaluate(self) -> None:
            self.model.eval()
            self.loss(self.model(self.val_inputs), self.val_labels)

    found = examined(Careless().train)
    assert failed(found) == set()
    assert found["split"].numbers["val"] == COUNT


def test_a_first_layer_that_normalises_needs_no_scaled_inputs() -> None:
    class Normalised(Unscaled):
        def network(self) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(FEATURES), super().network())

    assert failed(examined(Normalised().train, again=True)) == set()


def test_a_survey_ends_with_the_time_it_has() -> None:
    found = examined(Lesson().train, seconds=0.0)
    assert found["first epoch"].numbers["steps"] == 1
    assert found["split"].verdict is Verdict.UNKNOWN
    assert failed(found) == set()


def test_a_prediction_at_each_place_of_a_sequence_is_replayed() -> None:
    class Sequences(Lesson):
        def __init__(self) -> None:
            super().__init__()
            words = torch.randint(0, 8, (480, 5))
            self.inputs, self.val_inputs = words[:COUNT], words[COUNT:]
            self.labels, self.val_labels = (each * 3 % 8 for each in (self.inputs, self.val_inputs))

        def network(self) -> nn.Module:
            return nn.Sequential(nn.Embedding(8, 16), nn.GELU(), nn.Linear(16, 8))

        def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(outputs.reshape(-1, 8), labels.reshape(-1))

    found = examined(Sequences().train, again=True)
    assert {name for name, each in found.items() if each.verdict is not Verdict.PASSES} == set()
    assert found["inputs"].sentence == "Whole numbers: nothing to scale."


def test_images_through_batch_normalisation_are_sound() -> None:
    class Images(Lesson):
        def __init__(self) -> None:
            super().__init__()
            self.inputs, self.val_inputs = (
                each.reshape(-1, 1, 2, 3).repeat(1, 2, 3, 2) for each in (self.inputs, self.val_inputs)
            )

        def network(self) -> nn.Module:
            body = [nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
            return nn.Sequential(*body, nn.Dropout(0.2), nn.Linear(72, CLASSES))

    found = examined(Images().train, again=True)
    assert {name for name, each in found.items() if each.verdict is not Verdict.PASSES} == set()
    assert found["inputs"].numbers["features"] == 2


def test_a_watch_that_breaks_harms_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise TypeError("an input of another world")

    monkeypatch.setattr("sweeper.check.training.forwards.digests", broken)
    found = examined(Lesson().train)
    assert found["watch"].sentence == "The watch gave up: TypeError: an input of another world"
    assert failed(found) == set()


def test_a_task_needs_examples_that_belong_together() -> None:
    with pytest.raises(ConfigError, match=r"inputs \[\(3, 2\)\] and targets \(4,\)"):
        Task(nn.Linear(2, 1), functional.mse_loss, torch.zeros(3, 2), torch.zeros(4))


def test_a_task_is_enough() -> None:
    lesson = Lesson()
    task = Task(
        lesson.model, lesson.loss, lesson.inputs, lesson.labels, lesson.val_inputs, lesson.val_labels, batch_size=24
    )
    found = examined(lambda: rehearse(task), again=True)
    assert {name for name, each in found.items() if each.verdict is not Verdict.PASSES} == set()
