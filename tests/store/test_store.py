"""The run folder: what is written is read back, and what is not as it should be is said in one line."""

import csv
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swapbench.base.errors import ResultsError
from swapbench.spec.experiment import Source
from swapbench.store import (
    RESULTS_VERSION,
    RunInfo,
    RunWriter,
    claim_folder,
    drop_unfinished,
    find_runs,
    finished_swaps,
    list_runs,
    read,
    read_info,
    read_outline,
    resolve,
)
from swapbench.store.tables import medians, read_table
from swapbench.wire.measures import RunTable
from swapbench.wire.swap import MEMORY, PHASES, SWAPS, TABLES, ClientRequest
from tests.findings.recording import Recording, reading
from tests.frames import frame
from tests.measured import planned

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
DOCUMENTED = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def recorded(folder: Path) -> Recording:
    recording = Recording(folder)
    recording.swap(0, "up", {"load": 3.0}, spans={"load/read": 2.0}, settled=reading(100), probe_s=0.001)
    recording.sample(0, "up", 1.5, active=100)
    recording.run()
    return recording


def change_json(folder: Path, **fields: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    run = read(recorded(tmp_path).folder)
    assert run.info.status == "complete"
    assert run.info.worker is not None
    assert list(frame(run.phases)["phase"][:3]) == ["drain", "evict", "shutdown"]
    load = frame(run.phases)[
        (frame(run.phases)["phase"] == "load") & (frame(run.phases)["span"] == "read")
    ].iloc[0]
    assert (load["seconds"], load["rank"]) == (2.0, 0)
    swap = frame(run.swaps).iloc[0]
    assert (swap["total_s"], swap["valid"], swap["warmup"], swap["error"]) == (3.0, True, False, "")
    assert swap["settled_mlx_active_bytes"] == 100
    assert frame(run.memory).iloc[0]["t_s"] == 1.5


def test_an_empty_field_is_not_a_number_and_never_zero(tmp_path: Path) -> None:
    run = read(recorded(tmp_path).folder)
    assert frame(run.swaps)["first_token_s"].isna().all()
    assert frame(run.phases)["footprint_after_bytes"].isna().all()


def test_the_headers_are_golden(tmp_path: Path) -> None:
    folder = recorded(tmp_path).folder
    headers = [(folder / name).read_text().splitlines()[0] for name in ("phases.csv", "swaps.csv")]
    key = "round,warmup,scenario,strategy,from_model,to_model"
    assert headers[0].startswith(
        f"run_id,arm,{key},phase,span,rank,start_s,seconds,mlx_active_before_bytes,mlx_cache_before_bytes,"
        "footprint_before_bytes,system_available_before_bytes,"
    )
    assert headers[1].startswith(
        f"run_id,turn,arm,{key},position,status,error,failed_phase,fault,rollback_s,recovery,valid,"
        "invalid_reason,total_s,unattributed_s,first_token_s,to_first_token_s,"
    )
    assert (
        (folder / "memory.csv")
        .read_text()
        .splitlines()[0]
        .startswith(
            "run_id,arm,round,scenario,strategy,t_s,mlx_active_bytes,mlx_cache_bytes,footprint_bytes,"
        )
    )


@pytest.mark.parametrize("columns", [PHASES, SWAPS, MEMORY], ids=lambda columns: columns.file)
def test_a_run_from_before_a_column_was_added_is_read_as_not_having_recorded_it(
    tmp_path: Path, columns: RunTable
) -> None:
    folder = recorded(tmp_path).folder
    path = folder / columns.file
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns.required.split(","), extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    run = read(folder)
    found = {"phases.csv": run.phases, "swaps.csv": run.swaps, "memory.csv": run.memory}[columns.file]
    assert len(found) == len(rows)
    assert all(set(row) == set(columns.names) for row in found)


@pytest.mark.parametrize("field", sorted(RunInfo.model_fields))
def test_every_field_of_run_json_is_documented(field: str) -> None:
    assert f"`{field}`" in DOCUMENTED


def test_the_format_has_its_history() -> None:
    history = DOCUMENTED[DOCUMENTED.index("## History of the format") :]
    for version in range(1, RESULTS_VERSION + 1):
        assert f"| {version} |" in history


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    recording.swap(0, "down")
    recording.writer.sync()
    path = recording.folder / "swaps.csv"
    path.write_bytes(path.read_bytes()[:-20])
    assert list(frame(read(recording.folder).swaps)["scenario"]) == ["up"]


def test_a_line_torn_within_a_message_of_two_lines_is_left_out(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    recording.failed_swap(0, "down", error="one\nmore")
    recording.writer.sync()
    path = recording.folder / "swaps.csv"
    text = path.read_text()
    path.write_text(text[: text.index("more") + 2])
    assert list(frame(read(recording.folder).swaps)["scenario"]) == ["up"]


def test_a_short_line_elsewhere_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    recording.swap(0, "down")
    recording.writer.sync()
    path = recording.folder / "swaps.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "run-1,0,false", lines[2]]) + "\n")
    with pytest.raises(ResultsError, match=r"swaps\.csv: line 2 has 3 fields, not \d+"):
        read(recording.folder)


def test_columns_that_a_later_version_adds_do_no_harm(tmp_path: Path) -> None:
    folder = recorded(tmp_path).folder
    path = folder / "swaps.csv"
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},joules\n{row},12.5\n")
    assert frame(read(folder).swaps).iloc[0]["joules"] == 12.5
    path.write_text(f"{header},mood\n{row},calm\n")
    assert frame(read(folder).swaps).iloc[0]["mood"] == "calm"
    path.write_text(f"{header},joules\n{row},1e999\n")
    with pytest.raises(ResultsError, match="column joules: no finite number: '1e999'"):
        read(folder)


def test_what_is_finished_is_known_of_runs_without_arms(tmp_path: Path) -> None:
    folder = recorded(tmp_path).folder
    rows = list(csv.reader((folder / "swaps.csv").read_text().splitlines()))
    whole, at = finished_swaps(folder), rows[0].index("arm")
    (folder / "swaps.csv").write_text("".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in rows))
    assert finished_swaps(folder) == whole


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("total_s", "soon", "column total_s"),
        ("total_s", "-1e999", "column total_s: no finite number: '-1e999'"),
        ("round", "", "column round"),
        ("round", "1.5", "column round"),
    ],
)
def test_a_field_that_is_no_number_is_an_error_that_names_the_column(
    tmp_path: Path, column: str, value: str, complaint: str
) -> None:
    folder = recorded(tmp_path).folder
    path = folder / "swaps.csv"
    header, row = (line.split(",") for line in path.read_text().splitlines())
    row[header.index(column)] = value
    path.write_text(",".join(header) + "\n" + ",".join(row) + "\n")
    with pytest.raises(ResultsError, match=complaint):
        read(folder)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file)
def test_a_required_column_that_is_missing_is_an_error_that_names_it(tmp_path: Path, table: RunTable) -> None:
    path = tmp_path / table.file
    lines = list(csv.reader((GOLDEN / table.file).read_text(encoding="utf-8").splitlines()))
    for column in table.required.split(","):
        cut = lines[0].index(column)
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(line[:cut] + line[cut + 1 :] for line in lines)
        with pytest.raises(ResultsError) as refused:
            read_table(tmp_path, table, may_lack=False)
        assert str(refused.value) == f"{path}: column {column} is missing"
        figure = {"swaps.csv": "total", "phases.csv": "load"}.get(table.file)
        if figure:
            if table is PHASES:
                shutil.copy(GOLDEN / SWAPS.file, tmp_path)
            with pytest.raises(ResultsError, match=f"column {column} is missing"):
                medians(tmp_path, figure)


@pytest.mark.parametrize("table", [PHASES, SWAPS, MEMORY], ids=lambda table: table.file)
def test_what_a_transcribed_run_has_is_required(table: RunTable) -> None:
    (transcribed,) = (ROOT / "results" / "reference").glob(f"*/{table.file}")
    assert transcribed.read_text(encoding="utf-8").splitlines()[0] == table.required
    read_table(transcribed.parent, table, may_lack=False)


def test_a_complete_run_without_a_table_is_an_error(tmp_path: Path) -> None:
    folder = recorded(tmp_path).folder
    (folder / "phases.csv").unlink()
    with pytest.raises(ResultsError, match=r"phases\.csv"):
        read(folder)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "file"),
        ("\xff", "not valid JSON"),
        ('{"schema_version": 1}', "run_id: Field required"),
        (f'{{"schema_version": {RESULTS_VERSION + 1}}}', "newer than this swapbench reads"),
    ],
)
def test_a_run_json_that_can_not_be_read_is_said_in_one_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultsError, match=complaint) as caught:
        read_info(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="`swapbench runs`"):
        read(tmp_path / "nowhere")


def test_an_outline_has_the_swaps_only(tmp_path: Path) -> None:
    outline = read_outline(recorded(tmp_path).folder)
    assert (len(outline.swaps), len(outline.phases), len(outline.memory)) == (1, 0, 0)


def test_runs_are_named_by_when_and_what(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    assert claim_folder(tmp_path / "new", [Source.MINI], now).name == "20260301T101500Z-mini"
    assert claim_folder(tmp_path, [Source.HUB, Source.MINI], now).name == "20260301T101500Z-hub-mini"


def test_no_two_runs_get_one_folder(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    with ThreadPoolExecutor(8) as threads:
        claimed = list(threads.map(lambda _: claim_folder(tmp_path, [Source.MINI], now), range(40)))
    assert len(set(claimed)) == 40
    assert sorted(claimed)[:2] == [
        tmp_path / "20260301T101500Z-mini",
        tmp_path / "20260301T101500Z-mini-10",
    ]


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "quick").touch()
    with pytest.raises(ResultsError, match=r"no run can be kept there: .*; choose another place by --out"):
        claim_folder(tmp_path / "quick", [Source.MINI], datetime.now(UTC))


REQUEST = ClientRequest(
    swap=planned(round=0, scenario="down"),
    client=0,
    request="hello",
    sent_s=0.0,
    model="small",
    outcome="lost",
)


def ended(folder: Path) -> Path:
    """A run of two swaps and a request, that has ended."""
    recording = recorded(folder)
    recording.swap(0, "down")
    recording.writer.add(REQUEST)
    recording.writer.close("complete", "")
    return recording.folder


def test_all_that_belongs_to_a_finished_swap_is_on_disk(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    recording.writer.add(REQUEST)
    recording.sample(0, "down", 9.0, active=100)
    recording.swap(0, "down")
    run = read(recording.folder)
    assert (len(run.swaps), len(run.phases), len(run.memory), len(run.requests)) == (2, 17, 2, 1)


def test_a_run_knows_how_many_rows_its_tables_have(tmp_path: Path) -> None:
    info = read(ended(tmp_path)).info
    assert info.status == "complete"
    assert info.rows == {"phases.csv": 17, "swaps.csv": 2, "memory.csv": 1, "requests.csv": 1}


@pytest.mark.parametrize("name", ["phases.csv", "swaps.csv", "memory.csv", "requests.csv"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.9], ids=lambda share: f"{share:.0%}")
def test_a_table_that_was_cut_is_told_of(tmp_path: Path, name: str, left: float) -> None:
    folder = ended(tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(left * len(content))])
    info = read(folder).info
    assert info.status == "incomplete"
    assert re.match(rf"{name} has \d+ of its \d+ rows: changed since the run ended", info.failure)


@pytest.mark.parametrize("name", ["phases.csv", "swaps.csv", "memory.csv", "requests.csv"])
def test_a_table_that_is_gone_is_told_of_as_one_that_was_cut(tmp_path: Path, name: str) -> None:
    folder = ended(tmp_path)
    (folder / name).unlink()
    assert read(folder).damage.startswith(f"{name} is missing: changed since the run ended")


@pytest.mark.parametrize("sizes", [{}, {"sizes": None}], ids=["of another size", "of no size"])
def test_what_has_all_its_rows_is_whole(tmp_path: Path, sizes: dict[str, None]) -> None:
    recording = recorded(tmp_path)
    recording.failed_swap(0, "down", error="one\nmore")
    recording.writer.close("complete", "")
    for name in ("phases.csv", "swaps.csv"):
        path = recording.folder / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    change_json(recording.folder, **sizes)
    assert read(recording.folder).damage == ""


@pytest.mark.parametrize("torn", ["phases.csv", "memory.csv"])
def test_a_swap_with_a_torn_row_has_not_finished(tmp_path: Path, torn: str) -> None:
    recording = recorded(tmp_path)
    recording.swap(0, "down")
    recording.sample(0, "down", 9.0, active=100)
    recording.sample(0, "down", 9.1, active=100)
    recording.writer.sync()
    path = recording.folder / torn
    path.write_bytes(path.read_bytes()[:-20])
    done = finished_swaps(recording.folder)
    assert {key[3] for key in done} == {"up"}
    drop_unfinished(recording.folder, done)
    assert set(frame(read(recording.folder).phases)["scenario"]) == {"up"}


def test_a_table_that_has_grown_is_told_of(tmp_path: Path) -> None:
    folder = ended(tmp_path)
    row = (folder / "swaps.csv").read_text().splitlines()[-1]
    with (folder / "swaps.csv").open("a") as file:
        file.write(f"{row}\n")
    assert read_outline(folder).info.failure.startswith("swaps.csv has rows added: changed since")


def test_a_run_that_has_done_nothing_yet_has_headers(tmp_path: Path) -> None:
    folder = Recording(tmp_path).folder
    for columns in (PHASES, SWAPS, MEMORY):
        assert (folder / columns.file).read_text() == ",".join(columns.names) + "\n"


def test_what_a_newer_swapbench_has_written_is_carried(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    folder = recording.folder
    change_json(folder, weather="mild")
    header, row = (folder / "swaps.csv").read_text().splitlines()
    (folder / "swaps.csv").write_text(f"{header},mood\n{row},calm\n")
    assert frame(read(folder).swaps).iloc[0]["mood"] == "calm"
    drop_unfinished(folder, finished_swaps(folder))
    writer = RunWriter(folder, read_info(folder))
    recording.writer = writer
    recording.swap(0, "down")
    writer.close("complete", "")
    run = read(folder)
    assert list(frame(run.swaps)["mood"]) == ["calm", ""]
    assert list(frame(run.swaps)["scenario"]) == ["up", "down"]
    assert json.loads((folder / "run.json").read_text())["weather"] == "mild"


class Shelf:
    """A results folder with two runs, of which the later one stands first in the alphabet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        first = self._add("exp-b", "early", datetime(2026, 3, 1, tzinfo=UTC))
        self.early, self.late = (
            first,
            self._add("exp-a", "late", datetime(2026, 3, 1, tzinfo=UTC) + timedelta(1)),
        )
        self.kept = self._add("reference", "published", datetime(2026, 3, 9, tzinfo=UTC))

    def _add(self, experiment: str, run_id: str, when: datetime) -> Path:
        recording = Recording(self.root / "made" / run_id)
        recording.run(run_id=run_id, started_at=when, experiment_name=experiment)
        target = self.root / experiment / run_id
        target.parent.mkdir(parents=True, exist_ok=True)
        return recording.folder.rename(target)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_runs_are_listed_oldest_first_without_those_kept_to_compare_with(shelf: Shelf) -> None:
    assert [folder for folder, _ in list_runs(shelf.root)] == [shelf.early, shelf.late]
    assert set(find_runs(shelf.root)) == {shelf.early, shelf.late}


def test_a_run_is_found_by_path_by_id_by_experiment_or_as_the_latest(shelf: Shelf) -> None:
    assert resolve(shelf.root, None) == shelf.late
    assert resolve(shelf.root, "early") == shelf.early
    assert resolve(shelf.root, "exp-b") == shelf.early
    assert resolve(shelf.root, "exp-b/early") == shelf.early
    assert resolve(shelf.root, str(shelf.early)) == shelf.early
    assert resolve(shelf.root, "published") == shelf.kept


@pytest.mark.parametrize("name", ["erly", "x" * 5000, "early\x00"])
def test_a_run_that_is_not_there_is_said_with_the_nearest(shelf: Shelf, name: str) -> None:
    with pytest.raises(ResultsError, match="no run"):
        resolve(shelf.root, name)
    with pytest.raises(ResultsError, match='did you mean "early"'):
        resolve(shelf.root, "erly")


def test_no_name_is_the_name_of_no_run_not_even_of_the_one_in_this_folder(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.early)
    with pytest.raises(ResultsError) as refused:
        resolve(shelf.root, "")
    assert str(refused.value) == f'no run "" under {shelf.root}; `swapbench runs` lists them'


def test_no_run_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="`swapbench run quick` makes one"):
        resolve(tmp_path, None)


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = recorded(tmp_path).folder / "swaps.csv"
    header, _, rows = path.read_text().partition("\n")
    path.write_text(f"{header.replace('total_s', 'round')}\n{rows}")
    with pytest.raises(ResultsError, match="column 'round' is there twice"):
        read(path.parent)


def test_what_is_part_of_something_else_is_the_latest_of_nothing_and_found_by_its_id(tmp_path: Path) -> None:
    first = Recording(tmp_path)
    first.swap(0, "up")
    first.run()
    soak = tmp_path / "up-and-down" / "run-2"
    shutil.copytree(first.folder, soak)
    text = (
        (soak / "run.json")
        .read_text()
        .replace('"run-1"', '"run-2"')
        .replace('"part_of": ""', '"part_of": "gate"')
    )
    (soak / "run.json").write_text(text)
    assert resolve(tmp_path, None) == first.folder
    assert resolve(tmp_path, "up-and-down") == first.folder
    assert resolve(tmp_path, "run-2") == soak
