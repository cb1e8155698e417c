"""Spoilt results folders end in a report or in one line, and nothing is written anywhere."""

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from swapbench.base.errors import ResultsError
from swapbench.findings import analyse
from swapbench.report.forms import show
from swapbench.store import read
from tests.findings.recording import LARGE_BYTES, Recording, reading
from tests.fuzz.mutations import spoilt

pytestmark = pytest.mark.fuzz
FILES = ("run.json", "swaps.csv", "phases.csv", "memory.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four swaps, one of them failed."""
    recording = Recording(tmp_path_factory.mktemp("whole"))
    for number in range(3):
        recording.swap(
            number, "up", settled=reading(LARGE_BYTES), first_token_s=0.2, loaded_bytes=LARGE_BYTES
        )
    recording.failed_swap(3, "up")
    recording.sample(0, "up", 1.5, LARGE_BYTES)
    return recording.run().folder


@given(data=st.data(), name=st.sampled_from(FILES), form=st.sampled_from(["rich", "md", "json"]))
def test_a_spoilt_run_ends_in_a_report_or_in_one_line(
    data: st.DataObject, name: str, form: str, whole: Path
) -> None:
    folder = whole.parent / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    (folder / name).write_bytes(data.draw(spoilt((whole / name).read_bytes())))
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    try:
        show(analyse(read(folder)), form, Console(file=io.StringIO(), width=100))
    except ResultsError as error:
        refusal = str(error)
        assert "\n" not in refusal
        assert len(refusal) < 3000
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before
