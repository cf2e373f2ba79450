"""The page as a file: whole, safe whatever stands in it, and of a bounded size. The numbers: test_page_numbers.py."""

from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sweeps
from sweeper.analysis.diagnosis import Diagnosis, Kind, Severity
from sweeper.cli import app
from sweeper.report import pictures
from sweeper.report.html import closing, page, trialtable
from sweeper.store import reads
from sweeper.words.errors import ConfigError, StoreError
from sweeper.words.records import TrialState


class Read(HTMLParser):
    """What a browser makes of it: its tags, its texts, and what its scripts hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "input", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def data(self) -> dict:
        return json.loads(next(text for text in self.texts if text.startswith('{"figures"')))


@pytest.fixture
def written(store):
    """`written(trials=…)`: the page of a study of so many trials, without Plotly's script."""

    def make(trials: int = 0, *, failing: bool = True, words: dict | None = None, **more) -> Read:
        study_id = sweeps.study(store, trials=trials, **more)
        if trials:
            sweeps.fill(store, study_id, trials, failing=failing, words=words)
        read = Read(page.page(store, [reads.study(store)], "<script>/* plotly */</script>"))
        assert not read.open
        return read

    return make


def headings(read: Read) -> list[str]:
    return [attributes["id"] for tag, attributes in read.tags if tag == "h2"]


def test_an_empty_study_has_a_page(written) -> None:
    read = written(0)
    assert "No trial has a value yet." in read.texts
    assert read.data == {"figures": {}, "tables": {}}
    assert headings(read) == ["s0-time", "s0-importance", "s0-config"]


def test_one_trial_has_a_page(written) -> None:
    read = written(1, failing=False)
    assert len(read.data["tables"]["s0"]["rows"]) == 1
    assert {"s0-time", "s0-axis-0", "s0-curves-0", "s0-workers"} <= read.data["figures"].keys()
    assert "s0-parallel" not in read.data["figures"]


def test_every_chapter_of_a_full_study_is_there(written) -> None:
    read = written(150)
    chapters = "time axes isolation parallel importance curves workers failures trials config".split()
    assert headings(read) == [f"s0-{name}" for name in chapters]
    places = {attributes["data-figure"] for tag, attributes in read.tags if "data-figure" in attributes}
    assert places == read.data["figures"].keys()
    linked = {attributes["href"] for tag, attributes in read.tags if tag == "a"}
    assert linked == {f"#s0-{name}" for name in chapters}


def test_what_the_curves_say_stands_first_and_is_no_markup(store, monkeypatch) -> None:
    said = Diagnosis(Kind.LR_TOO_HIGH, Severity.BROKEN, "a <b>sentence</b>", "a cure", "a source")
    monkeypatch.setattr(page.chapters.diagnosed, "study", lambda *given: [said])
    sweeps.fill(store, sweeps.study(store, trials=3), 3)
    read = Read(page.page(store, [reads.study(store)], ""))
    text = "".join(read.texts)
    assert "a <b>sentence</b>Try: a cure.After a source." in text
    assert text.index("What the curves say") < text.index("Over time")


def test_a_study_whose_trials_all_failed_has_a_page(written, store) -> None:
    study_id = sweeps.study(store, "other", trials=4)
    sweeps.fill(store, study_id, 4, failing=False)
    with store.write() as connection:
        trials = sweeps.schema.trials
        failed = {"state": "FAIL", "failure": "error", "value": None, "message": "x"}
        connection.execute(trials.update().where(trials.c.study_id == study_id).values(**failed))
    read = Read(page.page(store, [reads.study(store, "other")], ""))
    assert "No trial has a value yet." in read.texts
    assert read.data["figures"]["s0-time"]["data"][0]["name"] == "failed"
    assert "4 × error: x" in read.texts


def test_nothing_that_people_wrote_is_markup_or_script(written) -> None:
    words = {"model.activation": 'a</script>&"学', "tanh": sweeps.ODD}
    space = sweeps.space(activation=words["model.activation"], choice=sweeps.ODD)
    config = {"variants": [{"choices": {}, "yaml": sweeps.ODD}], "fixed": [sweeps.ODD], "added": []}
    read = written(150, words=words, space=space, config=config)
    assert "img" not in {tag for tag, _ in read.tags}
    assert [tag for tag, _ in read.tags].count("script") == 3
    assert not any("\x1b" in text for text in read.texts)
    assert any("<img src=x onerror=alert(1)>" in text for text in read.texts)  # as text
    assert words["model.activation"] in read.data["tables"]["s0"]["names"]
    drawn = json.dumps([figure for name, figure in read.data["figures"].items() if "axis" in name])
    assert "<img" not in drawn  # Plotly has a markup of its own
    assert "%{x} " not in drawn


def test_json_in_a_script_cannot_end_it() -> None:
    told = page.as_script({"</script>": ["<!--", float("inf"), True, 1, 0.123456789]})
    assert "<" not in told
    assert json.loads(told) == {"</script>": ["<!--", None, True, 1, 0.123457]}


def test_a_text_that_is_no_unicode_can_be_written(store, tmp_path: Path, monkeypatch) -> None:
    study_id = sweeps.study(store, trials=8, config={"variants": [{"yaml": "half a letter: \ud800"}]})
    sweeps.fill(store, study_id, 8)
    monkeypatch.setattr(page, "plotly", lambda: "")
    assert page.write(store, [reads.study(store)], tmp_path / "a.html") > 10_000
    assert list(tmp_path.glob(".a.html*")) == []


def test_of_many_trials_the_best_are_in_the_table(store, monkeypatch) -> None:
    study_id = sweeps.study(store, trials=400)
    sweeps.fill(store, study_id, 400)
    found = page.digest.collect(store, reads.study(store))
    table = trialtable.collect(found, 100)
    assert len(table.rows) == 100
    numbers = [row[0] for row in table.rows]
    assert numbers == sorted(numbers)
    best = [found.columns["number"][i] for i in found.ranked[:50]]
    assert set(best) <= set(numbers)
    assert table.best == best[0]


def test_the_page_stays_small_beside_its_trials(written) -> None:
    def size(read: Read) -> int:
        return len(json.dumps(read.data["figures"]))

    few, many = size(written(1_000, failing=False)), size(written(6_000, failing=False, name="more"))
    assert many < 2.5 * few


def test_two_studies_stand_side_by_side(store) -> None:
    for name in ("one", "other"):
        sweeps.fill(store, sweeps.study(store, name, trials=40), 40)
    read = Read(page.page(store, page.checked(store, ["one", "other"]), ""))
    assert [attributes["id"] for tag, attributes in read.tags if tag == "section"] == ["s0", "s1"]
    assert {"together", "s0-time", "s1-time"} <= read.data["figures"].keys()
    assert [trace["name"] for trace in read.data["figures"]["together"]["data"]] == ["one", "other"]


def test_a_study_is_not_shown_twice(store) -> None:
    sweeps.study(store, "one")
    with pytest.raises(StoreError, match="each study once, but got one, one"):
        page.checked(store, ["one", "one"])


# ---- the command, and the end of a sweep -----------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch, store):
    """A finished study in a folder to be in; its URL."""
    monkeypatch.chdir(tmp_path)
    sweeps.fill(store, sweeps.study(store, trials=20), 20)
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


def test_the_command_writes_beside_the_trials(here: str) -> None:
    pytest.importorskip("plotly")
    done = CliRunner().invoke(app, ["report", "--store", here])
    assert re.fullmatch(r"runs/digits/report\.html \(\d\.\d+ MB\)\n", done.output), done.output
    html = Path("runs/digits/report.html").read_text()
    assert "Plotly" in html
    assert not re.search(r'(?:src|href)="(?!#|data:)', html[: html.index("<script>")])  # nothing is fetched


def test_the_command_takes_names_and_a_file(here: str) -> None:
    pytest.importorskip("plotly")
    done = CliRunner().invoke(app, ["report", "digits", "-o", "sub/a.html", "--store", here])
    assert done.exit_code == 0, done.output
    assert Path("sub/a.html").exists()
    done = CliRunner().invoke(app, ["report", "digits", "--study", "nosuch", "--store", here])
    assert done.exit_code == 1
    assert "There is no study nosuch" in done.output


def test_without_plotly_the_command_says_how_to_get_it(here: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    done = CliRunner().invoke(app, ["report", "--store", here])
    assert done.exit_code == 1
    assert "pip install 'sweeper-hpo[report]'" in done.output


def test_a_file_that_cannot_be_written_is_said_in_one_line(store, tmp_path: Path, monkeypatch) -> None:
    sweeps.study(store)
    monkeypatch.setattr(page, "plotly", lambda: "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written: .* -o FILE"):
        page.write(store, [reads.study(store)], tmp_path / "file" / "a.html")


def left(store) -> str:
    stream = io.StringIO()
    closing.leave_report(store, reads.study(store), stream)
    return stream.getvalue()


def test_a_sweep_leaves_its_report(here: str, store, monkeypatch) -> None:
    monkeypatch.setattr(page, "plotly", lambda: "")
    monkeypatch.setattr(page, "has_plotly", lambda: True)
    assert left(store) == "Report: runs/digits/report.html\n"
    assert Path("runs/digits/report.html").exists()


def test_a_sweep_without_plotly_says_how_to_get_the_report(here: str, store, monkeypatch) -> None:
    monkeypatch.setattr(page, "has_plotly", lambda: False)
    assert left(store).startswith("Report: pip install 'sweeper-hpo[report]', then sweeper report --study digits")


def test_a_report_that_fails_harms_no_sweep(here: str, store, monkeypatch) -> None:
    monkeypatch.setattr(page, "has_plotly", lambda: True)
    monkeypatch.setattr(page, "write", lambda *_: 1 / 0)
    assert left(store).startswith("Report: not written, for ZeroDivisionError: division by zero; again: sweeper report")


def test_the_main_plots_are_files_too(store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from sweeper.report import pictures

    sweeps.fill(store, sweeps.study(store, trials=150), 150)
    made = pictures.write(store, reads.study(store), tmp_path / "plots")
    names = {"history", "axes", "isolation", "importance", "contour", "curves", "workers"}
    assert {file.name for file in made} == {f"{name}{ending}" for name in names for ending in (".png", ".svg")}
    assert all(file.stat().st_size > 1_000 for file in made)


def test_pictures_need_matplotlib(here: str, store, tmp_path: Path, monkeypatch) -> None:

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'sweeper-hpo\[plots\]'"):
        pictures.write(store, reads.study(store), tmp_path / "plots")


def test_states_are_counted_on_the_buttons(written) -> None:
    read = written(40)
    asked = [attributes["data-filter"] for tag, attributes in read.tags if "data-filter" in attributes]
    assert asked == ["", *(f"state={state}" for state in (TrialState.COMPLETE, TrialState.FAIL, TrialState.PAUSED))]
