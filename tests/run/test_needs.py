"""What a run takes of the machine."""

from typing import Any

from swapbench.run.needs import ModelSize, Needs, needs
from swapbench.spec.experiment import validate

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
