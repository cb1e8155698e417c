"""What programs and pull requests read: golden, so that a change is a decision."""

import json
from pathlib import Path
from typing import Any

import pytest

from swapbench.findings import Findings, analyse
from swapbench.report.forms import FINDINGS_VERSION, to_json, to_markdown
from swapbench.store import read
from swapbench.wire.swap import ClientRequest
from tests.findings.recording import LARGE_BYTES, MACHINE, Recording, reading
from tests.machine.test_environment import limits
from tests.measured import planned

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REFERENCE = ROOT / "results" / "reference" / "exp012-m4pro-24gb"


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Findings:
    monkeypatch.chdir(ROOT)
    return analyse(read(REFERENCE.relative_to(ROOT)))


def full(folder: Path) -> Findings:
    """A run in which every figure is there."""
    recording = Recording(folder, rounds=6)
    for number in range(6):
        recording.swap(
            number,
            "up",
            {"evict": 0.5, "load": 9.0 if number == 4 else 3.0},
            spans={"evict/write": 0.4, "evict/write/a": 0.4, "load/read": 2.0},
            first_token_s=0.5,
            active=[100] * 4 + [10] + [LARGE_BYTES] * 4,
            settled=reading(LARGE_BYTES),
            loaded_bytes=LARGE_BYTES,
            load_gb_per_s=2.0,
            resident_before=1.0,
            settle_s=0.1,
            energy_j=92.5,
            idle_w=9.25,
            evicted_caches=1,
            evicted_bytes=10**9,
            second_first_token_s=0.05,
            steady_tokens_per_s=40.0,
            verified_tokens=16,
            # As long as the whole swap: a symptom.
            longest_stall_s=3.2,
            kv_capacity_bytes=2 << 30,
            prefilled_tokens=256,
            prefill_s=2.0,
            restored_caches=1,
            restored_tokens=256,
            restored_bytes=10**8,
            restore_s=0.1,
            release_settle_s=0.02,
            released=reading(0),
        )
    recording.swap(0, "down")
    recording.ranks(0, "down", (1.0, 2.05), (3.0, 0.1))
    recording.writer.add(
        ClientRequest(
            swap=planned(round=0, scenario="up"),
            client=1,
            request="r",
            sent_s=0.1,
            first_token_s=3.6,
            answered_s=3.9,
            model="large",
            outcome="answered",
        )
    )
    recording.failed_swap(6, "up")
    return analyse(recording.run(), limits(machine=MACHINE))


def keys(value: Any, path: str = "") -> set[str]:
    """Every key of a document by its dotted path; items of a list count as one."""
    if isinstance(value, dict):
        return {f"{path}{key}" for key in value}.union(
            *(keys(item, f"{path}{key}.") for key, item in value.items())
        )
    if isinstance(value, list):
        return set().union(*(keys(item, path) for item in value))
    return set()


def test_the_reference_in_markdown(reference: Findings) -> None:
    assert to_markdown(reference) == (HERE / "exp012-m4pro-24gb.md").read_text(encoding="utf-8")


def test_the_keys_of_the_json_document(tmp_path: Path) -> None:
    document = json.loads(to_json(full(tmp_path)))
    document["facts"]["versions"] = {}
    assert document["findings_version"] == FINDINGS_VERSION == 1
    expected = (HERE / "json-keys.txt").read_text(encoding="utf-8").split()
    assert sorted(keys(document)) == expected


def test_figures_that_are_unknown_and_bounds_that_are_not_there_are_null(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.swap(number, "up", settled=reading(100))
        recording.swap(number, "down", settled=reading(100))
    document = json.loads(to_json(analyse(recording.run())))
    slope = document["leaks"][0]["slope"]
    assert (slope["point"], slope["low"], slope["high"]) == (0, None, None)
    assert document["scenarios"][0]["first_token"] is None
