"""The election: every candidate answers on the validation set, and the average that answers best is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeper.retraining import looks, trust
from sweeper.retraining.ensemble import folder as folders
from sweeper.retraining.ensemble.candidates import Candidate, candidates
from sweeper.retraining.parts import Parts
from sweeper.store.connection import Store
from sweeper.training import ensembles
from sweeper.training.ensembles import Choice, Ensemble, Votes
from sweeper.training.loop import predict
from sweeper.words.errors import ConfigError, SweeperError
from sweeper.words.records import StudyRecord

TOP = 10


@dataclass(frozen=True)
class Member:
    """A model that was evaluated, and its weight in the ensemble."""

    trial: int
    kind: str
    seed: int
    epochs: tuple[int, ...]
    weight: float
    scores: dict[str, float]
    """On the validation set."""

    def as_row(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in ("trial", "kind", "seed", "weight")}
        return {**row, "epochs": list(self.epochs), **self.scores}


@dataclass(frozen=True)
class Built:
    """An ensemble as it was chosen, evaluated and written to `folder`.

    Attributes:
        members: those with a weight, the heaviest first.
        single: the best of all candidates alone.
        val: loss and score of the ensemble on the validation set.
        gain, error, gain_elsewhere: see `sweeper.training.ensembles.Choice`.
        test, single_test: loss and score on the test set; None: it was not looked at.
        left_out: what could be no candidate, and why.
    """

    study: str
    folder: str
    averages: str
    members: tuple[Member, ...]
    single: Member
    candidates: int
    examples: int
    val: dict[str, float]
    gain: float
    error: float
    gain_elsewhere: float | None
    test: dict[str, float] | None = None
    single_test: dict[str, float] | None = None
    warning: str | None = None
    left_out: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "members": [member.as_row() for member in self.members],
            "single": self.single.as_row(),
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class Polled:
    """Candidates and what each says of the validation examples, (M, N, K)."""

    candidates: list[Candidate]
    answers: Tensor
    sets: Any
    kind: str

    def scores(self, shares: Tensor) -> dict[str, float]:
        """Loss and score of an average with these weights (M,)."""
        return _scores(torch.tensordot(shares, self.answers, dims=1), self.sets.val.targets, self.sets.goal, "val")

    def member(self, index: int, weight: float) -> Member:
        one, alone = self.candidates[index], torch.eye(len(self.candidates), dtype=self.answers.dtype)[index]
        return Member(one.trial, str(one.kind), one.seed, one.epochs, weight, self.scores(alone))


def _scores(answers: Tensor, targets: Tensor, goal: Any, name: str) -> dict[str, float]:
    outputs = ensembles.as_outputs(answers, ensembles.averaged(goal))
    targets = targets.cpu().to(outputs) if targets.is_floating_point() else targets.cpu()
    loss, score = goal.loss(outputs, targets), goal.score(outputs, targets)
    return {f"{name}_loss": float(loss), f"{name}_{goal.score_name}": float(score)}


def poll(found: Sequence[Candidate], script: Parts, device: str) -> tuple[Polled, list[str]]:
    """Ask every candidate; those whose config gives other validation examples are left out."""
    answered: list[tuple[Candidate, Tensor]] = []
    left_out: list[str] = []
    first = sets = script.sets(found[0].config)
    kind, config = ensembles.averaged(first.goal), found[0].config
    for each in found:
        if each.config != config:  # the checkpoints and seeds of one setting share their data
            sets, config = script.sets(each.config), each.config
        if not _same(first.val, sets.val):
            left_out.append(f"trial {each.trial} has other validation examples than trial {found[0].trial}")
            continue
        outputs = predict(each.model(script.build).to(device), first.val.inputs.to(device)).cpu()
        if not outputs.isfinite().all():
            left_out.append(f"trial {each.trial} answers with NaN or infinity at epoch {each.epochs[-1]}")
            continue
        answered.append((each, ensembles.answers(outputs, kind)))
    if not answered:
        raise SweeperError(f"An ensemble needs a candidate whose answers are finite, but: {'; '.join(left_out)}.")
    return Polled([each for each, _ in answered], torch.stack([told for _, told in answered]), first, kind), left_out


def _same(one: Any, other: Any) -> bool:
    return one is other or (torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets))


def script_of(study: StudyRecord, named: Path | None = None) -> Path:
    """The script whose `build` and `data` are used; see `rerun.own_script`. Raises ConfigError."""
    if "variants" not in study.config:
        raise ConfigError(
            f"The study {study.name} was begun by sweeper.run in Python, so how its models are built is said in Python "
            f"too: sweeper.load_study({study.name!r}).ensemble(build=…, data=…), where build(params) gives the model "
            "and data(params) a sweeper.training.data.Data."
        )
    return trust.own_script(study, named)


def make(
    store: Store,
    study: StudyRecord,
    script: Parts,
    *,
    top: int = TOP,
    checkpoints: bool = False,
    averages: bool = False,
    more: tuple[Sequence[Candidate], Sequence[str]] = ((), ()),
    folder: Path | None = None,
    test: bool | None = None,
    device: str | None = None,
) -> Built:
    """Choose an ensemble, evaluate it and write it to `folder` (None: `ensemble` beside the trials).

    `checkpoints`: other epochs of these trials stand for election too; `averages`: averages of their weights; `more`:
    candidates from `with_seeds`. `test`: look at the test set; None: only if nobody has before. Raises
    SweeperError.
    """
    place = Path(folder or Path(study.folder) / "ensemble").absolute()
    folders.check_place(place)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found, missing = candidates(store, study, script.build, top, checkpoints=checkpoints, averages=averages)
    if not found:
        raise SweeperError(
            f"An ensemble is made of the checkpoints of complete trials, but {study.name} has none"
            f"{': ' if missing else ''}{', '.join(missing)}. Trials write them where the script calls "
            'trial.epochs(n, state={"model": model, …}).'
        )
    polled, other = poll([*found, *more[0]], script, device)
    choice = ensembles.choose(Votes.of(polled.answers, polled.sets.val.targets.cpu(), polled.sets.goal))
    built = _built(study, place, polled, choice, (*missing, *more[1], *other))
    made, single = _models(polled, choice, script, device)
    earlier = looks.before(store, study)
    if test or (test is None and not earlier):
        built = _tested(store, study, built, polled, made, single)
    built = replace(built, warning=looks.warning(earlier, looked=built.test is not None) if test is not False else None)
    facts = {name: value for name, value in built.as_json().items() if name != "folder"}
    folders.write(place, facts, [polled.candidates[index] for index in _chosen(choice)], made, script)
    return built


def _chosen(choice: Choice) -> list[int]:
    """The models with a weight, the heaviest first."""
    taken = [index for index, weight in enumerate(choice.weights) if weight > 0]
    return sorted(taken, key=lambda index: -choice.weights[index])


def _built(study: StudyRecord, place: Path, polled: Polled, choice: Choice, left_out: tuple[str, ...]) -> Built:
    return Built(
        study=study.name,
        folder=str(place),
        averages=polled.kind,
        members=tuple(polled.member(index, choice.weights[index]) for index in _chosen(choice)),
        single=polled.member(choice.single, choice.weights[choice.single]),
        candidates=len(polled.candidates),
        examples=polled.answers.shape[1],
        val=polled.scores(torch.tensor(choice.weights, dtype=polled.answers.dtype)),
        gain=choice.gain,
        error=choice.error,
        gain_elsewhere=choice.gain_elsewhere,
        left_out=left_out,
    )


def _models(polled: Polled, choice: Choice, script: Parts, device: str) -> tuple[Ensemble, Ensemble]:
    """The ensemble and the best single model."""
    taken = _chosen(choice)
    members = [polled.candidates[index].model(script.build) for index in taken]
    made = Ensemble(members, [choice.weights[index] for index in taken], polled.kind).to(device)
    known = dict(zip(taken, members, strict=True))
    single = known.get(choice.single) or polled.candidates[choice.single].model(script.build)
    return made, Ensemble([single], [1.0], polled.kind).to(device)


def _tested(store: Store, study: StudyRecord, built: Built, polled: Polled, made: Ensemble, single: Ensemble) -> Built:
    examples, goal = polled.sets.open_test(), polled.sets.goal
    scores, alone = (
        _scores(model(examples.inputs).cpu().double(), examples.targets, goal, "test") for model in (made, single)
    )
    looks.note(store, study, f"an ensemble of {len(built.members)}", scores)
    return replace(built, test=scores, single_test=alone)
