"""A study's part of the page, chapter by chapter, as HTML: its answer, its plots with a few words each, its table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from sweeper.analysis import axes, causes, curves, diagnosed, importance
from sweeper.analysis.accounts import KINDS, Ledger
from sweeper.analysis.digest import JUDGED, Digest
from sweeper.analysis.stages import collect as collect_stages
from sweeper.analysis.stages import words as move_words
from sweeper.report import accounts, answer
from sweeper.report.html import parallel, plots, timeline, trialtable
from sweeper.search.space import Categorical, Parameter, as_text
from sweeper.store.address import options
from sweeper.store.connection import Store
from sweeper.words.numbers import counted, duration, line, number, place, plain, reason
from sweeper.words.records import TrialState

MOST_CAUSES = 30
AXIS_PIXELS = 84
"""Of an axis of parallel coordinates: on a phone they are pushed sideways."""
MOST_PLOTS = 40
"""Parameters that are drawn, those that matter most."""


class Parts:
    """What is put together for the page's script: figures and tables, each under its name."""

    def __init__(self) -> None:
        self.figures: dict[str, plots.Figure] = {}
        self.tables: dict[str, Any] = {}

    def figure(self, name: str, made: plots.Figure | None, caption: str = "", least_width: int = 0) -> str:
        """A place for a figure, at least so many pixels wide; `caption` is HTML."""
        if made is None:
            return ""
        self.figures[name] = made
        height = made["layout"].get("height", 280)
        below = f"<figcaption>{caption}</figcaption>" if caption else ""
        size = f"min-height:{height}px" + (f";--least:{least_width}px" if least_width else "")
        return f'<figure><div class="plot" data-figure="{name}" style="{size}"></div>{below}</figure>'


def text(value: Any) -> str:
    """What others wrote, as HTML."""
    return escape(plain(str(value)))


def study(made: Parts, store: Store, found: Digest, index: int, studies: int) -> str:
    key = f"s{index}"
    matters = importance.importance(store, found)
    order = [name for name, _ in matters.shares]
    parameters = _drawn(found, order)
    told = [axes.collect(found, parameter, _most(len(parameters) * studies)) for parameter in parameters]
    sections = [
        ("diagnosis", "What the curves say", _diagnosis(store, found, matters)),
        ("time", "Over time", _history(made, found, key)),
        ("axes", "One parameter at a time", _axes(made, found, told, key)),
        ("isolation", "The best at each value", _isolation(made, found, told, key)),
        ("parallel", "All parameters together", _parallel(made, found, order, key)),
        ("importance", "What matters", _importance(made, found, matters, key)),
        ("curves", "Learning curves", _curves(made, store, found, key)),
        ("workers", "Workers", _workers(made, found, key)),
        ("failures", "Failures", _failures(store, found)),
        ("trials", "Trials", _trials(made, found, key, studies)),
        ("config", "Space, plan and config", _config(store, found)),
    ]
    shown = [(f"{key}-{name}", title, body) for name, title, body in sections if body]
    nav = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    way = "lower" if found.study.direction.sign > 0 else "higher"
    asked = f"{text(found.progress.search or 'own')} search for the best {text(found.study.metric)} ({way} is better)"
    parts = "".join(f'<h2 id="{name}">{title}</h2>{body}' for name, title, body in shown)
    begun = datetime.fromtimestamp(found.study.created, UTC).strftime("%Y-%m-%d %H:%M")
    return (
        f'<section class="study" id="{key}" data-study="{key}"><h1>{text(found.study.name)}</h1>'
        f'<p class="quiet">{asked}, begun on {begun} UTC</p>{_answer(store, found)}<nav>{nav}</nav>{parts}</section>'
    )


def _answer(store: Store, found: Digest) -> str:
    told = answer.collect(store, found)
    points = "".join(
        f'<dt>{word}</dt><dd class="word-{word.partition(" ")[0]}">{_paragraphs(said)}</dd>'
        for word, said in told.points
    )
    rows = "".join(f"<tr><td>{text(name)}</td><td>{text(value)}</td></tr>" for name, value in told.setting)
    setting = f'<table class="setting"><caption>trial {told.number}</caption>{rows}</table>' if rows else ""
    command = (
        f'<div class="again"><p class="quiet">Trains trial {told.number} again, from where the sweep was started:</p>'
        f'<div class="command"><pre><code>{text(told.command)}</code></pre><button type="button">copy</button></div>'
        "</div>"
        if told.command
        else ""
    )
    return f'<div class="answer"><dl class="points">{points}</dl>{setting}{command}</div>'


def _paragraphs(said: Iterable[str]) -> str:
    return "".join(f"<p>{text(each)}</p>" for each in said)


def _diagnosis(store: Store, found: Digest, matters: importance.Importance) -> str:
    if len(found.columns["number"]) > JUDGED or not found.valued + found.failed:
        return ""
    shares = matters.shares if matters.trials >= importance.UNSURE else ()
    told = diagnosed.study(store, found.study, shares, matters.trials)
    if not told:
        return ""
    rows = "".join(
        f"<dt>{text(each.severity)}</dt><dd><p>{text(each.sentence)}</p><p>Try: {text(each.cure)}.</p>"
        f'<p class="quiet">After {text(each.source)}.</p></dd>'
        for each in told
    )
    return f'<dl class="points">{rows}</dl>'


def _history(made: Parts, found: Digest, key: str) -> str:
    if not found.ranked and not found.failed:
        return _quiet("No trial has ended yet.")
    cut = " Dotted: the sweep was ended there, and went on later." if found.timeline.cuts else ""
    beyond = _beyond(found)
    so_far = _key("best", "best complete so far", "line") if found.records else ""
    return _legend(found, so_far) + made.figure(f"{key}-time", plots.history(found), f"{cut}{beyond}".strip())


def _beyond(found: Digest) -> str:
    worst, sign = found.scale.worst, found.study.direction.sign
    count = sum(sign * found.columns["value"][i] > sign * worst for i in found.valued)
    if not count:
        return ""
    those = "1 trial" if count == 1 else f"{count} trials"
    return f" {those} beyond {text(number(float(worst)))} stand{'s' if count == 1 else ''} at the edge."


def _legend(found: Digest, more: str = "") -> str:
    """What the marks mean, in words, once for all plots of trials; `more` is HTML."""
    crosses = '<span class="k"><span class="cross">×</span>failed, at the bad end of the axis</span>'
    best = _key("best", "the best") if found.ranked else ""
    stages = _stage_keys(found, {found.columns["stage"][i] for i in found.valued})
    return f'<p class="quiet">Each point is a trial.{stages}{best}{more}{crosses if found.failed else ""}</p>'


def _stage_keys(found: Digest, used: Iterable[int]) -> str:
    stages = len(found.stages)
    places = sorted({min(stage, stages - 1) for stage in used}) if stages > 1 else []
    return "".join(_key(plots.stage_colour(place, stages)[1:], found.stages[place]) for place in places)


def _key(colour: str, words: str, kind: str = "") -> str:
    """A colour of the page, as a dot or a `line`, and what it means."""
    return f'<span class="k"><span class="key {kind}" style="--key:var(--{colour})"></span>{text(words)}</span>'


def _drawn(found: Digest, order: Sequence[str]) -> list[Parameter]:
    """The parameters, those that matter most first."""
    ranks = {name: index for index, name in enumerate(order)}
    return sorted(found.parameters, key=lambda each: ranks.get(each.name, len(ranks)))[:MOST_PLOTS]


def _axes(made: Parts, found: Digest, told: Sequence[axes.Axis], key: str) -> str:
    if not found.ranked and not found.failed:
        return ""
    verdicts = {verdict.parameter: text(verdict.headline) for verdict in found.verdicts}
    cells = [
        made.figure(f"{key}-axis-{index}", plots.axis(found, each), verdicts.get(each.name, "&nbsp;"))
        for index, each in enumerate(told)
    ]
    moved = " Dotted edges are earlier ones; an arrow leads to where they were moved." if found.moves else ""
    said = f"The metric against each parameter on its own scale. The band is the range that is searched.{moved}"
    return f'<p class="quiet lead">{said}</p>{_legend(found)}<div class="grid">{"".join(cells)}</div>'


def _most(plots_of_points: int) -> int:
    """Points of one plot, so that all of them together stay within the page's size."""
    return max(200, min(axes.MOST_POINTS, 40_000 // max(1, plots_of_points)))


def _isolation(made: Parts, found: Digest, told: Sequence[axes.Axis], key: str) -> str:
    if len(found.ranked) < 2:
        return ""
    cells = [made.figure(f"{key}-isolation-{index}", plots.isolation(found, each)) for index, each in enumerate(told)]
    said = (
        "Isolation plots: the best trial in each part of a range, whatever the others were. A flat row of lines says "
        "that the parameter matters little once the others are right."
    )
    return f'<p class="quiet lead">{said}</p><div class="grid">{"".join(cells)}</div>'


def _parallel(made: Parts, found: Digest, order: Sequence[str], key: str) -> str:
    dimensions = parallel.collect(found, order)
    if not dimensions:
        return ""
    figure = made.figure(
        f"{key}-parallel", parallel.figure(found, dimensions), least_width=AXIS_PIXELS * len(dimensions)
    )
    left = len(found.parameters) - (len(dimensions) - 1)
    more = f" Left out: the {left} that matter least." if left else ""
    said = f"Drag along an axis to keep those trials alone, here and in the table below; click it to let go.{more}"
    return f'<p class="quiet lead">{said}</p><div class="wide">{figure}</div>'


def _importance(made: Parts, found: Digest, matters: importance.Importance, key: str) -> str:
    trials = counted(matters.trials, "complete trial")
    if not matters.shares:
        few = matters.trials < importance.FEWEST
        why = f"{importance.FEWEST} are needed" if few else "they tell no parameter from another"
        return _quiet(f"Nothing can be said of what matters by {trials}: {why}.") if found.parameters else ""
    caution = (
        f", which is little: take it as a hint below {importance.UNSURE}" if matters.trials < importance.UNSURE else ""
    )
    left = f" Not told of conditional ones: {', '.join(matters.left_out)}." if matters.left_out else ""
    names = [name for name, _ in matters.shares]
    surface = importance.contour(found, names)
    said = f"How much each parameter tells the best tenth from the rest (PED-ANOVA), by {trials}{caution}.{left}"
    pictures = [
        made.figure(f"{key}-importance", plots.importance(matters)),
        made.figure(
            f"{key}-contour",
            plots.contour(found, surface),
            "A local mean of the complete trials, over the two that matter most; empty where none was near.",
        )
        if surface
        else "",
    ]
    return f'{_quiet(said)}<div class="pair">{"".join(pictures)}</div>'


def _curves(made: Parts, store: Store, found: Digest, key: str) -> str:
    panels = [panel for panel in curves.collect(store, found) if panel.is_curved]
    if not panels:
        return ""
    figures = [made.figure(f"{key}-curves-{index}", plots.curves(panel)) for index, panel in enumerate(panels)]
    trained = any(curve.train for panel in panels for curve in panel.best)
    dashed = ", training dashed" if trained else ""
    said = f"The best trials, by number: validation solid{dashed}. Thin: others of the study."
    return f'{_quiet(said)}<div class="grid curves">{"".join(figures)}</div>'


def _workers(made: Parts, found: Digest, key: str) -> str:
    lanes = found.timeline
    if not lanes.lives or not lanes.seconds:
        return ""
    said = f"Workers held a trial for {found.ledger.utilisation or 0:.0%} of their time."
    columns = found.columns
    stages = {
        stage for stage, state in zip(columns["stage"], columns["state"], strict=True) if state != TrialState.FAIL
    }
    keys = [
        _key("idle", "idle"),
        _stage_keys(found, stages),
        _key("series-3", "repeats") if any(each is not None for each in columns["repeats"]) else "",
        _key("fail", "failed") if TrialState.FAIL in columns["state"] else "",
    ]
    legend = f'<p class="quiet">A stretch is a trial.{"".join(keys)}</p>'
    return _quiet(said) + legend + made.figure(f"{key}-workers", timeline.timeline(found)) + _spent(found.ledger)


def _spent(found: Ledger) -> str:
    """Where the workers' time went, and the epochs that came of it."""
    seconds, epochs, shares = found.seconds.parts, found.epochs.parts, found.seconds.shares
    rows = "".join(
        f'<tr><td>{kind}</td><td>{shares[kind]:.1%}</td><td class="share" style="--share:{shares[kind]:.4f}"></td>'
        f"<td>{duration(seconds[kind])}</td><td>{epochs[kind]:.0f}</td><td>{accounts.MEANINGS[kind]}</td></tr>"
        for kind in KINDS
        if seconds[kind] or epochs[kind]
    )
    head = '<tr><th>time</th><th colspan="2">share</th><th>worker time</th><th>epochs</th><th></th></tr>'
    return f'<div class="wide"><table class="plain spent">{head}{rows}</table></div>' if rows else ""


def _failures(store: Store, found: Digest) -> str:
    grouped = causes.collect(store, found.study) if found.progress.failures else []
    if not grouped:
        return ""
    counts = "".join(
        f"<tr><td>{text(kind)}</td><td>{count}</td></tr>" for kind, count in found.progress.failures.items()
    )
    blocks = "".join(map(_cause, grouped[:MOST_CAUSES]))
    more = len(grouped) - MOST_CAUSES
    rest = _quiet(f"… and {more} more causes: sweeper failures {options(store, found.study.name)}") if more > 0 else ""
    return f'<table class="plain"><tr><th>reason</th><th>trials</th></tr>{counts}</table>{blocks}{rest}'


def _cause(cause: Mapping[str, Any]) -> str:
    numbers = cause["numbers"]
    listed = ", ".join(map(str, numbers[:20])) + (f", … and {len(numbers) - 20} more" if len(numbers) > 20 else "")
    trace = (
        f"<details><summary>the traceback of trial {cause['told_by']}</summary>"
        f"<pre>{text(cause['traceback'].rstrip())}</pre></details>"
        if cause["traceback"]
        else ""
    )
    log = f'<p class="quiet">log: {text(place(cause["log"]))}</p>' if cause["log"] else ""
    said = text(reason(cause["failure"], cause["message"]))
    return (
        f'<div class="cause"><p><strong>{cause["count"]} × {said}</strong></p>'
        f'<p class="quiet">trial{"" if len(numbers) == 1 else "s"} {listed}</p>{trace}{log}</div>'
    )


def _trials(made: Parts, found: Digest, key: str, studies: int) -> str:
    if not found.columns["number"]:
        return ""
    table = trialtable.collect(found, trialtable.MOST_ROWS // studies)
    made.tables[key] = {"names": table.names, "rows": table.rows, "best": table.best, "text": table.words}
    heads = "".join(
        f'<th scope="col" tabindex="0"{" class=text" if index in table.words else ""} title="{text(name)}">'
        f"{text(label)}</th>"
        for index, (name, label) in enumerate(zip(table.names, table.labels, strict=True))
    )
    states = "".join(
        f'<button type="button" data-filter="state={text(state)}">{text(str(state).lower())} {count}</button>'
        for state, count in found.progress.counts.items()
    )
    total = len(found.columns["number"])
    left = (
        f" Shown are {len(table.rows)} of {total}: the best, and of the others some of all times."
        if len(table.rows) < total
        else ""
    )
    return (
        f'<div data-table="{key}"><div class="tools"><input type="search" aria-label="filter the trials" '
        f'placeholder="filter: state=fail  {text(_example(found))}" spellcheck="false">'
        f'<button type="button" data-filter="">all {total}</button>{states}</div>'
        f'<p class="quiet"><span class="count"></span>.{left} Click a header to sort.</p>'
        f'<div class="rows" tabindex="0"><table class="trials"><thead><tr>{heads}</tr></thead><tbody></tbody></table>'
        "</div></div>"
    )


def _example(found: Digest) -> str:
    numeric = next((each for each in found.parameters if not isinstance(each, Categorical)), None)
    return f"{numeric.name.rpartition('.')[2]}<{number(numeric.from_unit(0.5))}" if numeric else "trial<10"


def _config(store: Store, found: Digest) -> str:
    config = found.study.config
    rows = "".join(_range(found, parameter) for parameter in found.space)
    space = (
        '<div class="wide"><table class="plain"><tr><th>parameter</th><th>scale</th><th>began</th><th>now</th>'
        f"<th>limits</th><th>when</th></tr>{rows}</table></div>"
        if rows
        else ""
    )
    moves = _moves(store, found)
    script = (config.get("script") or {}).get("path")
    fixed = " ".join(map(str, config.get("fixed", [])))
    facts = [
        *([f"script: {place(script)}"] if script else []),
        *([f"command line: {fixed}"] if fixed else []),
        f"seed {found.study.seed}",
        f"folder: {place(found.study.folder)}",
    ]
    plan = f"<details><summary>plan</summary><pre>{text(json.dumps(found.study.plan, indent=2))}</pre></details>"
    variants = [
        f"<details><summary>config{_choices(variant)}</summary><pre>{text(variant.get('yaml', ''))}</pre></details>"
        for variant in config.get("variants", [])
    ]
    return f"{space}{moves}{_quiet(' · '.join(facts))}{plan}{''.join(variants)}"


def _choices(variant: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{group}={option}" for group, option in (variant.get("choices") or {}).items())
    return f" with {text(line(chosen))}" if chosen else ""


def _range(found: Digest, parameter: Parameter) -> str:
    began = found.spaces[0][parameter.name]
    when = " and ".join(map(str, parameter.when))
    if isinstance(parameter, Categorical) or isinstance(began, Categorical):
        choices = ", ".join(map(as_text, getattr(parameter, "choices", ())))
        cells = ["choices", choices, "", ""]
    else:
        now = "" if (began.low, began.high) == (parameter.low, parameter.high) else _span(parameter.low, parameter.high)
        limits = _span(*parameter.limits) if parameter.limits else ""
        cells = ["log" if parameter.log else "linear", _span(began.low, began.high), now, limits]
    return "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in (parameter.name, *cells, when)) + "</tr>"


def _span(low: float, high: float) -> str:
    return f"{number(low)}\N{NO-BREAK SPACE}…\N{NO-BREAK SPACE}{number(high)}"


def _moves(store: Store, found: Digest) -> str:
    if not found.moves:
        return ""
    told = collect_stages(store, found.study)["moves"]
    lines = "".join(
        f"<p>{text(move_words(move))}<br><span class=quiet>{text(move['reason'])}</span></p>" for move in told
    )
    return f"<details open><summary>moves of the ranges</summary>{lines}</details>"


def _quiet(said: str) -> str:
    return f'<p class="quiet lead">{text(said)}</p>'
