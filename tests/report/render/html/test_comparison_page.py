"""The page of runs side by side."""

import json
from pathlib import Path

import pytest

from swapbench.compare.comparison import compare_arms
from swapbench.findings import analyse
from swapbench.findings.chart_data import pictures_of
from swapbench.report.forms import comparison_to_html
from swapbench.report.sections import RunView
from swapbench.store import Run
from tests.findings.recording import Recording
from tests.played import pairs
from tests.report.render.html.pages import Parsed, compared, parse, unpacked, view
from tests.scripted import scripted

NBSP = "\N{NO-BREAK SPACE}"


def run(folder: Path, name: str, load_s: float, *, first_token_s: float | None = None) -> Run:
    recording = Recording(folder, run_id=name, rounds=6)
    recording.swap(0, "up", {"load": 9.0}, warmup=True, first_token_s=first_token_s)
    for number in range(1, 7):
        recording.swap(number, "up", {"load": load_s + number / 1000}, first_token_s=first_token_s)
    recording.swap(
        7, "up", {"load": 7.0}, valid=False, invalid_reason="not cold", first_token_s=first_token_s
    )
    return recording.run()


def page(*runs: Run) -> Parsed:
    return parse(compared(runs))


def test_of_three_sides_the_verdict_names_the_one_that_is_slower(tmp_path: Path) -> None:
    shown = page(*(run(tmp_path, name, load_s) for name, load_s in (("a", 3.0), ("b", 3.0), ("c", 6.0))))
    assert "C is slower than A" in shown.text
    assert [heading for heading in shown.headings if "against A" in heading] == ["B against A", "C against A"]
    assert "C/A" in shown.text


def test_what_is_in_no_figure_is_in_no_chart_and_no_table_of_it(tmp_path: Path) -> None:
    html = compared([run(tmp_path, "a", 3.0), run(tmp_path, "b", 3.0)])
    beginning = html[: html.index("Each side by itself</h2>")]
    assert "9.000" not in beginning
    assert "7.000" not in beginning
    assert "3.001" in beginning


def test_both_sides_are_drawn_by_the_figure_that_decides(tmp_path: Path) -> None:
    runs = [run(tmp_path, "a", 3.0, first_token_s=0.5), run(tmp_path, "b", 3.0)]
    by = {"up": "total"}
    views = [RunView(f := analyse(r), pictures_of(r, f, by), {}) for r in runs]  # type: ignore[arg-type]
    assert {dots.figure for v in views for dots in v.pictures.dots if dots.name == "up"} == {"total"}


def test_the_same_thing_twice_is_called_so_and_says_how_much_is_noise(tmp_path: Path) -> None:
    twice = pairs(tmp_path, scripted(rounds=6), scripted(rounds=6))
    html = comparison_to_html([compare_arms(twice)], [view(twice), view(twice)], "swapbench compare x")
    shown = parse(html)
    assert "the same thing twice: " in shown.text
    assert "noise floor of up: " in shown.text


def test_every_figure_of_the_page_can_be_had(tmp_path: Path) -> None:
    shown = page(run(tmp_path, "a", 3.0), run(tmp_path, "b", 6.0))
    had = {name: unpacked(href) for name, href in shown.downloads.items()}
    assert {"A-findings.json", "B-findings.json", "A-swaps.csv", "B-swaps.csv"} <= set(had)
    found = json.loads(had["comparison.json"])["comparisons"][0]["scenarios"][0]["headline"]
    assert found["b"]["point"] == pytest.approx(6.0035)


def test_a_card_says_that_its_change_is_not_that_of_the_medians(tmp_path: Path) -> None:
    text = page(run(tmp_path, "a", 3.0), run(tmp_path, "b", 6.0)).text
    assert "estimated over all pairs of swaps" in text
    assert f"medians: 3.00{NBSP}s against 6.00{NBSP}s" in text
