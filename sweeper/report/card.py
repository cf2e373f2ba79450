"""The model card of a model that was trained for keeps: in Markdown, with the story of the study that chose it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.analysis import digest, stages
from sweeper.report import answer
from sweeper.report.formats import as_csv, as_json
from sweeper.store.connection import Store
from sweeper.words.metrics import is_monitor
from sweeper.words.numbers import duration, number, place, plain
from sweeper.words.records import StudyRecord

if TYPE_CHECKING:
    from sweeper.retraining.handover import Kept

STORY = ("Best", "How sure", "Cost", "Ranges", "Failures")
"""Of the study's answer; what to do next is nobody's business any more."""


def write(
    store: Store,
    study: StudyRecord,
    trial: Mapping[str, Any],
    kept: Kept,
    epochs: Sequence[Mapping[str, Any]],
    config: Any,
) -> None:
    """Config, metrics, curves and the card, beside the weights."""
    from omegaconf import OmegaConf

    place = Path(kept.folder)
    names = list(dict.fromkeys(name for row in epochs for name in row))
    files = {
        "config.yaml": OmegaConf.to_yaml(config),
        "metrics.json": as_json({name: value for name, value in kept.as_json().items() if name != "folder"}),
        "curves.csv": as_csv(epochs, names),
        "README.md": text(store, study, trial, kept, config),
    }
    for name, content in files.items():
        (place / name).write_text(content, encoding="utf-8")


def text(store: Store, study: StudyRecord, trial: Mapping[str, Any], kept: Kept, config: Any) -> str:
    """`config`: the one that it was trained with; pass a fresh `study`."""
    sections = {
        f"{study.name}, trial {kept.trial}": _head(study, kept),
        "Results": _results(study, kept),
        "How it was found": _story(store, study),
        "The setting": _setting(store, study, trial),
        "Data": _data(kept, config),
        "Seeds and versions": _surroundings(study, trial, kept),
        "Use": _use(kept),
        "Train it again": _again(kept),
    }
    parts = [
        f"{'#' if index == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for index, (title, lines) in enumerate((title, list(lines)) for title, lines in sections.items())
        if lines
    ]
    return "\n\n".join(parts) + "\n"


def _head(study: StudyRecord, kept: Kept) -> Iterator[str]:
    on = "the training and the validation set together" if kept.full else "the training set"
    yield (
        f"The setting that a hyperparameter search ({study.plan.get('search', 'a search')}, for the "
        f"{'lowest' if study.direction.sign > 0 else 'highest'} {study.metric}) has chosen, trained once more on {on} "
        f"for {kept.epochs} epochs."
    )


def _results(study: StudyRecord, kept: Kept) -> Iterator[str]:
    yield from table(("metric", "value"), [*_rows(kept.test or {}), *_rows(kept.metrics)])
    yield ""
    if kept.test is not None:
        yield "The test set took no part in training or in the choice of the setting."
    if kept.full:
        yield "Whatever is named after the validation set is of examples that this model has trained on."
    yield f"Each epoch stands in curves.csv; the values above are of the last one. It trained {duration(kept.seconds)}."
    if kept.warning:
        yield plain(kept.warning)


def _rows(metrics: Mapping[str, float | None]) -> list[tuple[str, str]]:
    return [(name, number(value, pad=True)) for name, value in metrics.items() if not is_monitor(name)]


def _story(store: Store, study: StudyRecord) -> Iterator[str]:
    found = answer.collect(store, digest.collect(store, study))
    for word, said in found.points:
        if word in STORY:
            yield f"- **{word}.** {' '.join(said)}"
    for move in stages.collect(store, study)["moves"]:
        yield f"- **Range moved.** {plain(stages.words(move))}: {plain(move['reason'])}"


def _setting(store: Store, study: StudyRecord, trial: Mapping[str, Any]) -> Iterator[str]:
    ranges = {row["parameter"]: row for row in stages.collect(store, study)["ranges"]}
    rows = [(name, number(value), _range(ranges.get(name))) for name, value in (trial["params"] or {}).items()]
    yield from table(("parameter", "value", "searched in"), rows)


def _range(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["scale"] == "choices":
        return ", ".join(map(number, row["began"]))
    began, now = (f"{number(ends[0])} … {number(ends[1])}" for ends in (row["began"], row["now"]))
    return f"{began}{', log' if row['scale'] == 'log' else ''}{'' if began == now else f', then {now}'}"


def _data(kept: Kept, config: Any) -> Iterator[str]:
    from omegaconf import OmegaConf

    for name, count in kept.sizes.items():
        also = ", the validation examples among them" if kept.full and name == "train" else ""
        yield f"- {name}: {count:,} examples{also}"
    node = OmegaConf.select(config, "data")
    if node is not None:
        told = OmegaConf.to_yaml(node) if OmegaConf.is_config(node) else str(node)
        yield from ("", "```yaml", told.rstrip(), "```")


def _surroundings(study: StudyRecord, trial: Mapping[str, Any], kept: Kept) -> Iterator[str]:
    same = " (the trial's own)" if kept.seed == trial["seed"] else f" (the trial's was {trial['seed']})"
    yield f"- seed: {kept.seed}{same}; the study's: {study.seed}"
    for name, value in kept.environment.items():
        if value is not None:
            yield f"- {name}: {plain(str(value))}"
    for change in kept.changes:
        yield f"- {plain(change.splitlines()[0]).rstrip(':')}"


def _use(kept: Kept) -> Iterator[str]:
    yield from (
        f"`{kept.weights}` holds the weights; the script's `build(cfg)` makes the model from `config.yaml`.",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "from omegaconf import OmegaConf",
        "from sweeper.training.weights import load",
        "",
        'model = build(OmegaConf.load("config.yaml"))',
        f'model.load_state_dict(load(Path("{kept.weights}")))',
        "model.eval()",
        "```",
    )


def _again(kept: Kept) -> Iterator[str]:
    yield from ("```sh", kept.command, "```")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of Markdown; what others wrote cannot leave its cell."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in row)} |"


def told(kept: Kept) -> list[str]:
    """What `sweeper train-best` says in the terminal."""
    on = "training and validation set together" if kept.full else "the training set"
    shown = {**{name: value for name, value in kept.metrics.items() if not is_monitor(name)}, **(kept.test or {})}
    scores = "  ".join(f"{name} {number(value, pad=True)}" for name, value in shown.items())
    lines = [f"trial {kept.trial} of {kept.study}, trained on {on}: {kept.epochs} epochs, seed {kept.seed}", scores]
    if kept.full:
        lines.append("What is named after the validation set is of examples that it has trained on.")
    if kept.test is not None:
        lines.append("The study remembers this look at the test set.")
    lines += [plain(line) for line in (kept.warning, *(change for change in kept.changes)) if line]
    if kept.missing:
        lines.append(f"On the training set alone. {kept.missing}")
    return [*lines, f"{place(kept.folder)}: {kept.weights}, config.yaml, metrics.json, curves.csv, README.md"]
