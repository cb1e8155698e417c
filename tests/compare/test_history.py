"""Past runs, from real run folders: what counts, what stands in one series, what is left out and why."""

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import Exit, IncomparableError, UsageError
from swapbench.compare.history import (
    History,
    Past,
    analyse_history,
    baseline_folder,
    baselines,
    experiments_in,
    keep,
    only,
    read_history,
)
from swapbench.findings import analyse
from swapbench.findings.runs import outline
from swapbench.spec.experiment import Source
from swapbench.store import Run, read
from swapbench.wire.swap import PHASES, SWAPS
from tests.findings.recording import MACHINE, Recording, arm
from tests.frames import frame

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
EXPERIMENT = "up-and-down"


def past_run(
    results: Path,
    day: int,
    loads: Iterable[float] = (3.0, 3.1, 3.5),
    *,
    source: Source = Source.HUB,
    versions: dict[str, str] | None = None,
    settings: dict[str, Any] | None = None,
    **swap: Any,
) -> Recording:
    """A run of that day whose swaps up loaded for so long; `settings` are the experiment's."""
    recording = Recording(
        results, run_id=f"day-{day}", started_at=BEGUN + timedelta(days=day), source=source, **settings or {}
    )
    for number, load_s in enumerate(loads):
        recording.swap(number, "up", {"load": load_s}, **{"first_token_s": 0.5} | swap)
    worker = recording.writer.info.worker
    assert worker is not None
    changed = worker.model_copy(update={"versions": versions or {"mlx": "0.32.4"}})
    recording.writer.update(status="complete", worker=changed)
    recording.writer.sync()
    return recording


def seconds(history: History) -> list[float]:
    return [point.seconds for point in history.points]


def why(history: History) -> list[str]:
    return [entry.why for entry in history.left_out]


def rewritten(path: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """The table with changed rows, and what columns these have."""
    with path.open(newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def only_columns(names: Iterable[str], row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in names}


def test_a_point_is_the_median_of_a_runs_counted_swaps(tmp_path: Path) -> None:
    recording = past_run(tmp_path, 1)
    recording.swap(3, "up", {"load": 90.0}, warmup=True, first_token_s=0.5)
    recording.swap(4, "up", {"load": 90.0}, valid=False, invalid_reason="cold", first_token_s=0.5)
    recording.failed_swap(5, "up")
    recording.swap(6, "down", {"load": 1.0}, first_token_s=0.5)
    recording.writer.sync()
    history = read_history([tmp_path], EXPERIMENT)
    found = {point.scenario: (point.seconds, point.setting.figure, point.swaps) for point in history.points}
    assert found == {"up": (3.6, "to_first_token", 3), "down": (1.5, "to_first_token", 1)}
    assert history.points[0].run_id == "day-1"
    assert history.left_out == ()


def test_it_says_what_a_report_of_each_run_says(tmp_path: Path) -> None:
    for day in range(3):
        past_run(tmp_path, day, [2.0 + day, 2.5, 7.25 + day])
    runs: list[Run] = [read(folder) for folder in sorted((tmp_path / EXPERIMENT).iterdir())]
    for figure, column in (("total", "total_s"), ("first_token", "first_token_s")):
        expected = [frame(run.swaps)[column].median() for run in runs]
        assert seconds(read_history([tmp_path], EXPERIMENT, figure)) == pytest.approx(expected)
    loads = [frame(run.phases).query("phase == 'load' and span == ''")["seconds"].median() for run in runs]
    assert seconds(read_history([tmp_path], EXPERIMENT, "load")) == pytest.approx(loads)


def test_the_headline_is_the_total_where_a_swap_has_no_first_token(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    past_run(tmp_path, 2, first_token_s=None)
    recording = past_run(tmp_path, 3)
    recording.swap(3, "up", {"load": 3.1})
    recording.writer.sync()
    history = read_history([tmp_path], EXPERIMENT)
    assert [point.setting.figure for point in history.points] == ["to_first_token", "total", "total"]
    assert seconds(history) == pytest.approx([3.6, 3.1, 3.1])


def test_a_phase_is_taken_without_its_spans_and_without_swaps_that_do_not_count(tmp_path: Path) -> None:
    recording = past_run(tmp_path, 1, spans={"load/read": 0.1})
    recording.swap(3, "up", {"load": 90.0}, warmup=True)
    recording.swap(4, "up", {"load": 90.0}, valid=False)
    recording.writer.sync()
    (point,) = read_history([tmp_path], EXPERIMENT, "load").points
    assert (point.swaps, point.setting.figure) == (3, "load")
    assert point.seconds == pytest.approx(3.1)


def test_a_phase_that_was_entered_again_is_the_sum_of_its_rows(tmp_path: Path) -> None:
    recording = past_run(tmp_path, 1, [50.0])
    path = recording.folder / "phases.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, *(row.replace(",50,", ",3,") for row in rows[1:])]) + "\n")
    assert seconds(read_history([tmp_path], EXPERIMENT, "load")) == [53.0]


def test_of_several_ranks_the_phase_is_that_of_all_together(tmp_path: Path) -> None:
    recording = past_run(tmp_path, 1, [3.0])
    path = recording.folder / "phases.csv"
    tables = []
    for rank, seconds_of_rank in (("0", "2"), ("1", "4"), ("", "3")):
        figures = {"rank": rank, "seconds": seconds_of_rank}
        rewritten(path, lambda row, figures=figures: row | figures)  # type: ignore[misc]
        tables.append(path.read_text().splitlines())
    path.write_text("\n".join([tables[0][0], *(row for table in tables for row in table[1:])]) + "\n")
    assert seconds(read_history([tmp_path], EXPERIMENT, "load")) == [3.0]


def test_history_list_and_report_tell_one_figure_of_a_run(tmp_path: Path) -> None:
    """Of swaps that a server makes when asked, the fastest are those without a total."""
    recording = past_run(tmp_path, 1, [])
    for number, (total_s, token_s) in enumerate([(None, 1.0), (None, 1.12), (2.27, 2.95)]):
        recording.swap(number, "up", total_s=total_s, to_first_token_s=token_s)
    recording.writer.sync()
    (point,) = read_history([tmp_path], EXPERIMENT).points
    run = read(recording.folder)
    (up, _) = analyse(run).scenarios
    assert (point.setting.figure, point.seconds, point.swaps) == ("to_first_token", 1.12, 3)
    assert outline(run).headline_s == {"up": 1.12}
    assert up.headline is not None
    assert up.headline.point == 1.12
    # The total of the slower ones alone would be longer than the whole.
    assert up.total is None
    assert read_history([tmp_path], EXPERIMENT, "total").points == ()


def test_a_list_of_runs_keeps_strategies_apart(tmp_path: Path) -> None:
    strategies = {"strategy": {"stock": {"loader": "stock"}, "map": {"loader": "map"}}}
    recording = past_run(tmp_path, 1, [], settings=strategies)
    for strategy, load_s in (("stock", 3.0), ("map", 1.0)):
        recording.swap(0, "up", {"load": load_s}, strategy=strategy)
    recording.writer.sync()
    found = {point.strategy: point.seconds for point in read_history([tmp_path], EXPERIMENT).points}
    assert found == {"stock": 3.0, "map": 1.0}
    assert outline(read(recording.folder)).headline_s == {"up (stock)": 3.0, "up (map)": 1.0}


def test_runs_come_in_the_order_in_which_they_began_whatever_folder_they_lie_in(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for day in (2, 3):
        past_run(here, day, [day])
    for day in (1, 4):
        past_run(there, day, [day])
    assert seconds(read_history([here, there], EXPERIMENT, "total")) == [1, 2, 3, 4]


def test_a_copy_of_a_run_counts_once(tmp_path: Path) -> None:
    past_run(tmp_path / "here", 1)
    past_run(tmp_path / "there", 1)
    history = read_history([tmp_path / "here", tmp_path / "there"], EXPERIMENT)
    assert len(history.points) == 1
    assert why(history) == ["a copy of a run that is there already"]


def test_runs_that_are_kept_to_compare_with_are_no_history(tmp_path: Path) -> None:
    recording = past_run(tmp_path, 1)
    (tmp_path / EXPERIMENT).rename(tmp_path / "baselines")
    past_run(tmp_path, 2)
    assert [point.run_id for point in read_history([tmp_path], EXPERIMENT).points] == ["day-2"]
    with pytest.raises(UsageError, match='did you mean "up-and-down"'):
        read_history([tmp_path], "up-and-dawn")
    with pytest.raises(UsageError, match="no run of"):
        read_history([tmp_path], "baselines")
    assert recording.folder.name == "day-1"


def test_a_transcribed_run_is_left_out(tmp_path: Path) -> None:
    past_run(tmp_path, 1).writer.update(transcribed_from="a talk")
    assert why(read_history([tmp_path], EXPERIMENT)) == ["transcribed, not measured"]


def test_swaps_of_ab_comparisons_are_left_out(tmp_path: Path) -> None:
    rewritten(past_run(tmp_path, 1).folder / "swaps.csv", lambda row: row | {"arm": "A", "turn": "1"})
    rewritten(past_run(tmp_path, 2).folder / "swaps.csv", lambda row: row | {"arm": "", "turn": ""})
    past_run(tmp_path, 3)
    history = read_history([tmp_path], EXPERIMENT)
    assert [point.run_id for point in history.points] == ["day-2", "day-3"]
    assert [entry.folder.name for entry in history.left_out] == ["day-1"]
    assert "A/B" in history.left_out[0].why


@pytest.mark.parametrize("figure", ["headline", "load"])
def test_older_and_newer_tables_are_read_side_by_side(tmp_path: Path, figure: str) -> None:
    past_run(tmp_path, 1)
    older, newer = past_run(tmp_path, 2).folder, past_run(tmp_path, 3).folder
    for columns in (SWAPS, PHASES):
        rewritten(older / columns.file, partial(only_columns, columns.required.split(",")))
        rewritten(newer / columns.file, lambda row: row | {"of tomorrow": "x"})
    history = read_history([tmp_path], EXPERIMENT, figure)
    assert len(set(seconds(history))) == 1
    assert len(history.points) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "../results", "reference"])
def test_what_is_no_experiments_name_has_no_history(name: str, tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    with pytest.raises(UsageError, match=re.escape(f'no run of "{name}" under')):
        read_history([tmp_path], name)


@pytest.mark.parametrize("figure", ["total", "load"])
def test_a_run_that_goes_on_or_was_killed_counts_with_what_it_has(tmp_path: Path, figure: str) -> None:
    past_run(tmp_path, 1)
    killed = past_run(tmp_path, 2, [3.0, 4.0, 5.0])
    killed.writer.update(status="running")
    path = killed.folder / "swaps.csv"
    path.write_bytes(path.read_bytes()[:-30])
    phases = killed.folder / "phases.csv"
    phases.write_bytes(phases.read_bytes()[:-5])
    past_run(tmp_path, 3)
    history = read_history([tmp_path], EXPERIMENT, figure)
    assert [point.swaps for point in history.points] == [3, 2, 3]
    assert seconds(history) == pytest.approx([3.1, 3.5, 3.1])
    assert history.left_out == ()


def test_messages_with_quotes_commas_and_line_breaks_spoil_no_row(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    recording = past_run(tmp_path, 2)
    recording.failed_swap(3, "up", error='said "no",\nand\r\nno more')
    recording.swap(4, "up", {"load": 3.1}, first_token_s=0.5, loader_why="auto: slab, as it is warm")
    recording.writer.sync()
    torn = past_run(tmp_path, 3)
    torn.failed_swap(3, "up", error="one\nmore")
    torn.writer.sync()
    path = torn.folder / "swaps.csv"
    path.write_text(path.read_text()[: path.read_text().index("more") + 2])
    past_run(tmp_path, 4)
    history = read_history([tmp_path], EXPERIMENT)
    assert [point.swaps for point in history.points] == [3, 4, 3, 3]
    assert history.left_out == ()


def _not_json(folder: Path) -> None:
    (folder / "run.json").write_text("{")


def _of_tomorrow(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))


def _no_swaps(folder: Path) -> None:
    (folder / "swaps.csv").unlink()


def _no_number(folder: Path) -> None:
    rewritten(folder / "swaps.csv", lambda row: row | {"total_s": "soon"})


def _no_end(folder: Path) -> None:
    rewritten(folder / "swaps.csv", lambda row: row | {"total_s": "-1e999"})


def _short_line(folder: Path) -> None:
    path = folder / "swaps.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:40], *lines[3:]]) + "\n")


def _no_text(folder: Path) -> None:
    path = folder / "swaps.csv"
    path.write_bytes(path.read_bytes().replace(b",up,", b",\xff\xfe,"))


def _no_total(folder: Path) -> None:
    rewritten(folder / "swaps.csv", lambda row: {k: v for k, v in row.items() if k != "total_s"})


def _no_experiment(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"experiment": {"title": "?"}}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_not_json, "not valid JSON"),
        (_of_tomorrow, "schema_version 99 is newer"),
        (_no_swaps, "swaps.csv is missing"),
        (_no_number, "swaps.csv: column total_s: could not convert"),
        (_no_end, "swaps.csv: column total_s: no finite number"),
        (_short_line, "swaps.csv: line 3 has"),
        (_no_text, "swaps.csv: can't be read as CSV: 'utf-8'"),
        (_no_total, "swaps.csv: column total_s is missing"),
        (_no_experiment, "experiment.models"),
    ],
)
def test_a_run_that_can_not_be_read_is_named_and_hides_no_other(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    for day in (1, 2, 3):
        past_run(tmp_path, day)
    spoil(tmp_path / EXPERIMENT / "day-2")
    history = read_history([tmp_path], EXPERIMENT, "total")
    assert [point.run_id for point in history.points] == ["day-1", "day-3"]
    (left_out,) = history.left_out
    assert left_out.folder == tmp_path / EXPERIMENT / "day-2"
    assert says in left_out.why
    assert history.runs == 3


def test_a_run_without_a_swap_that_counts_is_named(tmp_path: Path) -> None:
    past_run(tmp_path, 1, [])
    history = read_history([tmp_path], EXPERIMENT)
    assert history.points == ()
    assert "no swap that counts" in why(history)[0]


@pytest.mark.parametrize("figure", ["loads", "to-first-token"])
def test_an_unknown_figure_is_a_usage_error_that_names_the_nearest(tmp_path: Path, figure: str) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        read_history([tmp_path], EXPERIMENT, figure)


def test_of_several_folders_each_must_be_there(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    with pytest.raises(UsageError, match="elsewhere: no such folder"):
        read_history([tmp_path, tmp_path / "elsewhere"], EXPERIMENT)


def analysed(*folders: Path, last: int | None = None) -> Past:
    return analyse_history(read_history(folders, EXPERIMENT), last)


def test_only_what_is_comparable_stands_in_one_series(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    past_run(tmp_path, 2)
    past_run(tmp_path, 3, source=Source.MINI)
    past_run(tmp_path, 4, settings={"page_cache": "cold"})
    past_run(tmp_path, 5).writer.update(machine=MACHINE.model_copy(update={"processor": "Apple M9"}))
    past_run(tmp_path, 6, strategy="slab", settings={"strategy": "slab"})
    past_run(tmp_path, 7, settings={"workload": {"agents": 4}})
    past_run(tmp_path, 8, first_token_s=None)
    past_run(tmp_path, 9, settings={"target": "mlx_lm"})
    runs = {tuple(point.run_id for point in series.points) for series in analysed(tmp_path).series}
    assert runs == {("day-1", "day-2"), *((f"day-{day}",) for day in range(3, 10))}


def test_settings_are_named_where_series_differ_in_nothing_else(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    past_run(tmp_path, 2, settings={"workload": {"agents": 4}})
    differs = {series.points[0].run_id: series.differs for series in analysed(tmp_path).series}
    assert differs == {"day-1": ("workload.agents 0",), "day-2": ("workload.agents 4",)}


def test_what_bears_on_no_swap_parts_no_series(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    past_run(tmp_path, 2, settings={"rounds": 9, "title": "Anew", "target_s": 5.0})
    past_run(tmp_path, 3).writer.update(machine=MACHINE.model_copy(update={"release": "15.3"}))
    (series,) = analysed(tmp_path).series
    assert len(series.points) == 3
    assert [change.versions for change in series.versions] == [("macOS release 15.2 → 15.3",)]


def test_another_release_of_macos_begins_another_series_and_is_named(tmp_path: Path) -> None:
    past_run(tmp_path, 1)
    past_run(tmp_path, 2).writer.update(machine=MACHINE.model_copy(update={"release": "26.0"}))
    assert [series.differs for series in analysed(tmp_path).series] == [
        ("macOS release 15",),
        ("macOS release 26",),
    ]


def test_a_key_that_an_older_run_did_not_know_has_its_default(tmp_path: Path) -> None:
    path = past_run(tmp_path, 1).folder / "run.json"
    raw = json.loads(path.read_text())
    del raw["experiment"]["touch_free_memory"], raw["experiment"]["engine"]
    path.write_text(json.dumps(raw))
    past_run(tmp_path, 2)
    (series,) = analysed(tmp_path).series
    assert len(series.points) == 2


def test_a_change_of_level_names_run_ratio_and_what_changed_with_it(tmp_path: Path) -> None:
    for day in range(24):
        load_s = (3.0 if day < 14 else 3.6) + (day * 7 % 11) / 100
        past_run(tmp_path, day, [load_s], versions={"mlx": "0.32.4" if day < 13 else "0.33.0"})
    (series,) = analysed(tmp_path).series
    (change,) = series.changes
    assert change.run_id == "day-14"
    assert change.ratio.low < 4.15 / 3.55 < change.ratio.high
    assert change.versions == ("mlx 0.32.4 → 0.33.0",)
    assert [(c.run_id, c.versions) for c in series.versions] == [("day-13", ("mlx 0.32.4 → 0.33.0",))]
    assert series.latest == pytest.approx(1, abs=0.03)


def test_the_latest_run_is_held_against_those_before_it(tmp_path: Path) -> None:
    for day, load_s in enumerate([3.5, 3.5, 3.5, 5.5]):
        past_run(tmp_path, day, [load_s])
    (series,) = analysed(tmp_path).series
    assert series.latest == pytest.approx(1.5)
    (alone,) = analysed(tmp_path, last=1).series
    assert (alone.latest, len(alone.points)) == (None, 1)


def test_one_scenario_or_strategy_can_be_had_alone(tmp_path: Path) -> None:
    past_run(tmp_path, 1).swap(9, "down", {"load": 1.0}, first_token_s=0.5)
    history = read_history([tmp_path], EXPERIMENT)
    assert {point.scenario for point in only(history, scenario="down").points} == {"down"}
    with pytest.raises(UsageError, match='no scenario "dawn" in this history; did you mean "down"'):
        only(history, scenario="dawn")
    with pytest.raises(UsageError, match='no strategy "stack" in this history; did you mean "stock"'):
        only(history, strategy="stack")


def test_a_kept_run_is_a_run_that_says_what_it_said(tmp_path: Path) -> None:
    runs = [read(past_run(tmp_path, day).folder) for day in (1, 2)]
    (runs[0].folder / "worker.log").write_text("what MLX printed")
    assert keep(tmp_path, "nightly", runs) == (2, 2)
    kept = tmp_path / "baselines" / "nightly" / EXPERIMENT / "day-1"
    assert sorted(path.name for path in kept.iterdir()) == sorted(
        path.name for path in runs[0].folder.iterdir() if path.name != "worker.log"
    )
    assert analyse(replace(read(kept), folder=runs[0].folder)) == analyse(runs[0])
    there, here = (
        read_history([baseline_folder(tmp_path, "nightly")], EXPERIMENT),
        read_history([tmp_path], EXPERIMENT),
    )
    assert seconds(there) == seconds(here)
    assert {point.fingerprint for point in there.points} == {point.fingerprint for point in here.points}
    assert (baselines(tmp_path), experiments_in(kept.parents[1])) == (["nightly"], [EXPERIMENT])


def test_a_run_is_kept_once_however_often_it_is_saved(tmp_path: Path) -> None:
    run = read(past_run(tmp_path, 1).folder)
    assert keep(tmp_path, "nightly", [run, run]) == (1, 1)
    kept = tmp_path / "baselines" / "nightly" / EXPERIMENT / "day-1" / "run.json"
    before = kept.stat().st_mtime_ns
    assert keep(tmp_path, "nightly", [run, read(past_run(tmp_path, 2).folder)]) == (1, 2)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../up", "with blank", "naïve", "a\n"])
def test_a_name_that_is_no_folder_s_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a baseline is named by letters"):
        keep(tmp_path, name, [read(past_run(tmp_path, 1).folder)])
    assert not (tmp_path / "baselines").exists()


def test_a_baseline_that_is_missing_exits_with_6_and_names_the_nearest(tmp_path: Path) -> None:
    keep(tmp_path, "nightly", [read(past_run(tmp_path, 1).folder)])
    with pytest.raises(IncomparableError) as told:
        baseline_folder(tmp_path, "nightyl")
    assert told.value.exit_code is Exit.INCONCLUSIVE
    assert 'no baseline "nightyl"' in str(told.value)
    assert 'did you mean "nightly"?' in str(told.value)
    assert "`swapbench baseline save nightyl` makes one" in str(told.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "incomplete"}, "is incomplete; a baseline keeps complete runs that were measured"),
        ({"status": "interrupted"}, "is interrupted; a baseline keeps complete runs"),
        ({"status": "running"}, "is running; a baseline keeps complete runs"),
        ({"transcribed_from": "a page"}, "is transcribed; a baseline keeps complete runs"),
        ({"part_of": "gate"}, "is part of a gate; a baseline keeps whole runs"),
        ({"arms": (arm("A"), arm("B"))}, "has two arms; a baseline keeps runs of one thing"),
    ],
)
def test_what_is_no_whole_run_of_one_thing_is_not_kept_nor_what_stands_beside_it(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    whole, run = (read(past_run(tmp_path, day).folder) for day in (1, 2))
    with pytest.raises(UsageError, match=why):
        keep(tmp_path, "nightly", [whole, replace(run, info=run.info.model_copy(update=changes))])
    assert not (tmp_path / "baselines").exists()
