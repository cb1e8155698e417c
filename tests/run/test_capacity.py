"""What a run takes of the machine, and the machine's limits as a child measures them."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from swapbench.base.errors import Stopped
from swapbench.machine.environment import Rate, Volume, save_limits, this_machine
from swapbench.run import capacity
from swapbench.run.capacity import ModelSize, Needs, needs
from swapbench.spec.experiment import Source, validate
from swapbench.wire.plan import Checkpoint
from tests.machine.test_environment import limits

GIB = 2**30
SIZES = {
    "small": ModelSize(1 * GIB, on_disk=True),
    "big": ModelSize(7 * GIB, on_disk=True),
    "bigger": ModelSize(8 * GIB, on_disk=False),
}


def taken(**changes: Any) -> Needs:
    raw: dict[str, Any] = {
        "models": {name: f"org/{name}" for name in SIZES},
        "scenario": [
            {"name": "up", "from": "small", "to": "big"},
            {"name": "across", "from": "big", "to": "bigger"},
            {"name": "down", "from": "bigger", "to": "small"},
        ],
    }
    return needs(validate(raw | changes, "mine.toml"), SIZES)


def test_an_idle_run_takes_the_memory_of_its_largest_model() -> None:
    assert taken().largest_model == "bigger"
    assert taken().memory_bytes == 8 * GIB


def test_a_workload_takes_the_kv_budget_besides() -> None:
    loaded = taken(workload={"requests": 1}, engine={"kv_budget_bytes": GIB})
    assert loaded.memory_bytes == 9 * GIB
    assert loaded.eviction_bytes == 0


def test_agents_may_leave_caches_of_every_model_on_disk() -> None:
    assert taken(workload={"agents": 1}, engine={"kv_budget_bytes": GIB}).eviction_bytes == 3 * GIB


def test_only_checkpoints_that_are_not_there_take_disk() -> None:
    assert taken().missing_bytes == 8 * GIB


def test_a_warm_run_wants_the_new_file_beside_whichever_model_is_bigger() -> None:
    assert taken().page_cache_bytes == 8 * GIB + 8 * GIB


def test_a_cold_run_wants_nothing_in_the_page_cache() -> None:
    assert taken(page_cache="cold").page_cache_bytes == 0


def test_a_model_that_no_scenario_uses_takes_nothing() -> None:
    there_and_back = [
        {"name": "up", "from": "small", "to": "big"},
        {"name": "down", "from": "big", "to": "small"},
    ]
    assert taken(scenario=there_and_back).missing_bytes == 0


def test_models_of_unknown_size_are_named_and_those_apart_that_are_to_come() -> None:
    unknown = {"small": ModelSize(0, on_disk=True), "bigger": ModelSize(0, on_disk=False)}
    raw = {
        "models": {name: f"org/{name}" for name in unknown},
        "scenario": [{"name": "up", "from": "small", "to": "bigger"}],
    }
    found = needs(validate(raw, "mine.toml"), unknown)
    assert (found.unweighed, found.missing_unweighed) == (("small", "bigger"), ("bigger",))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def checkpoint(path: Path) -> Checkpoint:
    return Checkpoint(name="m", reference="m", source=Source.HUB, path=path, weight_bytes=1)


def test_the_hub_is_measured_where_there_are_no_stand_ins(cache: Path, hub: Path) -> None:
    assert capacity.models_folder() == cache
    hub.mkdir()
    assert capacity.models_folder() == hub
    (cache / "synthetic").mkdir(parents=True)
    assert capacity.models_folder() == cache


def test_every_checkpoint_that_is_here_is_told_by_its_name_and_weights(cache: Path, hub: Path) -> None:
    for folder, sizes in (
        (cache / "synthetic" / "ham", (3, 4)),
        (cache / "synthetic" / ".half-made", (9,)),
        (cache / "mini" / "egg", (1,)),
        (hub / "models--org--spam" / "snapshots" / "old", (5,)),
        (hub / "models--org--spam" / "snapshots" / "new", (6,)),
    ):
        folder.mkdir(parents=True)
        for number, size in enumerate(sizes):
            (folder / f"model-{number}.safetensors").write_bytes(b"x" * size)
    assert capacity.weights_here() == {"ham (synthetic)": 7, "egg (mini)": 1, "org/spam": 6}


def test_a_run_gets_the_limits_of_the_volume_that_all_its_models_lie_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Volume.of(tmp_path)
    there = here.model_copy(update={"mount": "/Volumes/other"})
    save_limits(limits(machine=this_machine(), volume=here, measured_at=datetime.now(UTC)), cache)
    both = [checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")]
    kept = capacity.limits_of(both, this_machine())
    assert kept is not None
    assert kept.volume == here
    monkeypatch.setattr(Volume, "of", lambda path: there if path.name == "b" else here)
    assert capacity.limits_of(both, this_machine()) is None
    assert capacity.limits_of([], this_machine()) is None


def test_an_end_from_outside_does_not_wait_for_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = Rate(kind="disk", how="queue depth 1", n=1, low=2.0, median=2.0, high=2.0)
    code = f"import signal; print({rate.model_dump_json()!r}, flush=True); signal.pause()"
    monkeypatch.setattr(capacity, "LENT", ("-c", code))

    def say(text: str) -> None:
        if text.startswith("  "):
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        capacity.measure(tmp_path, say)
