"""What makes runs comparable, and what is told of those that are not."""

from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import ResultsError
from swapbench.compare.fingerprint import Difference, differences, fingerprint, of_cell
from swapbench.spec.experiment import Experiment
from swapbench.store import Run, experiment_of
from swapbench.wire.events import WHEEL
from tests.findings.recording import MACHINE, Recording, checkpoints, worker


def run(folder: Path, info: dict[str, Any] | None = None, **changes: Any) -> Run:
    """A run without swaps: `info` changes run.json, `changes` the experiment."""
    return Recording(folder, **changes).run(**info or {})


def aspects(of: Run) -> dict[str, str]:
    return fingerprint(of.info, experiment_of(of))


def found(folder: Path, info: dict[str, Any] | None = None, **changes: Any) -> tuple[Difference, ...]:
    return differences(run(folder / "a"), run(folder / "b", info, **changes))


def test_a_run_can_be_compared_with_itself(tmp_path: Path) -> None:
    assert found(tmp_path) == ()
    assert aspects(run(tmp_path / "c")) == aspects(run(tmp_path / "d"))


def test_a_fingerprint_says_in_words_what_was_measured(tmp_path: Path) -> None:
    said = aspects(run(tmp_path, page_cache="cold", workload={"requests": 4}))
    assert said["machine"] == "Apple M4 Pro, 12 cores, 24 GiB, macOS"
    assert said["device"] == "gpu"
    assert said["models"] == (
        "large = org/large (hub, 7000000000 bytes); small = org/small (hub, 270000000 bytes)"
    )
    assert said["page cache"] == "cold (down), cold (up)"
    assert said["experiment"] == "up-and-down"
    assert said["workload.requests"] == "4"
    assert said["scenario.up.from"] == "small"
    assert said["settle_after_unload"] == "false"


LIMITED = MACHINE.model_copy(update={"memory_limit_bytes": 600 << 20, "memory_limited_by": "a control group"})
UP = {"name": "up", "from": "small", "to": "large"}
DOWN = {"name": "down", "from": "large", "to": "small"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"page_cache": "cold"}, "page cache: warm (down), warm (up) against cold (down), cold (up)"),
        (
            {"scenario": [UP, DOWN | {"page_cache": "cold"}]},
            "page cache: warm (down), warm (up) against cold (down), warm (up)",
        ),
        ({"workload": {"requests": 4}}, "workload.requests: 0 against 4"),
        ({"engine": {"max_batch": 2}}, "engine.max_batch: 16 against 2"),
        ({"verify": {"tokens": 0}}, "verify.tokens: 8 against 0"),
        ({"first_token": False}, "first_token: true against false"),
        ({"scenario": [UP | {"first_token": False}, DOWN]}, "scenario.up.first_token: unknown against false"),
        ({"sample_every_s": 0.5}, "sample_every_s: 0.05 against 0.5"),
    ],
)
def test_other_settings_can_not_be_compared(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    (difference,) = found(tmp_path, **changes)
    assert difference.decisive
    assert difference.describe() == said
    a, b = run(tmp_path / "c"), run(tmp_path / "d", **changes)
    assert aspects(a) != aspects(b)


def test_another_pair_of_models_under_the_same_name_can_not_be_compared(tmp_path: Path) -> None:
    turned = [UP | {"from": "large", "to": "small"}, DOWN | {"from": "small", "to": "large"}]
    assert {d.what for d in found(tmp_path, scenario=turned) if d.decisive} == {
        "scenario.up.from",
        "scenario.up.to",
        "scenario.down.from",
        "scenario.down.to",
    }


def test_a_scenario_that_only_one_has_is_told(tmp_path: Path) -> None:
    told = {d.what: (d.a, d.b) for d in found(tmp_path, scenario=[UP])}
    assert told["scenario.down.from"] == ("large", "")
    assert "scenario.up.from" not in told


@pytest.mark.parametrize(
    ("info", "what"),
    [
        ({"machine": MACHINE.model_copy(update={"processor": "Apple M2"})}, "machine"),
        ({"machine": MACHINE.model_copy(update={"cores": 8})}, "machine"),
        ({"machine": MACHINE.model_copy(update={"memory_bytes": 16 << 30})}, "machine"),
        ({"machine": LIMITED}, "machine"),
        (
            {"machine": MACHINE.model_copy(update={"cores_limit": 2, "cores_limited_by": "CPU affinity"})},
            "machine",
        ),
        ({"worker": worker(device="cpu")}, "device"),
        ({"worker": None}, "device"),
        ({"models": checkpoints()[:1]}, "models"),
        ({"models": tuple(m.model_copy(update={"reference": "org/other"}) for m in checkpoints())}, "models"),
        ({"models": tuple(m.model_copy(update={"weight_bytes": 1}) for m in checkpoints())}, "models"),
        ({"experiment_name": "another"}, "experiment"),
    ],
)
def test_another_machine_device_model_or_experiment_can_not_be_compared(
    info: dict[str, Any], what: str, tmp_path: Path
) -> None:
    assert [d.what for d in found(tmp_path, info) if d.decisive] == [what]


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"machine": MACHINE.model_copy(update={"release": "26.1"})}, "macOS release: 15.2 against 26.1"),
        ({"worker": worker(versions={"mlx": "0.33.0"})}, "mlx: 0.32.4 against 0.33.0"),
        ({"worker": worker(python="CPython 3.14.0")}, "Python: CPython 3.12.1 against CPython 3.14.0"),
        ({"swapbench_version": "0.2.0"}, "swapbench: 0.1.0 against 0.2.0"),
        (
            {"variables": {"MLX_RESIDENCY_SET_MAX_PCT": "50", "MALLOC_ARENA_MAX": "1"}},
            "MLX_RESIDENCY_SET_MAX_PCT: unknown against 50",
        ),
    ],
)
def test_other_versions_are_told_and_compared(info: dict[str, Any], said: str, tmp_path: Path) -> None:
    (difference,) = found(tmp_path, info)
    assert not difference.decisive
    assert difference.describe() == said


@pytest.mark.parametrize(
    "info",
    [
        {"machine": MACHINE.model_copy(update={"release": "26.1"})},
        {"variables": {"MLX_METAL_FAST_SYNCH": "1"}},
        {"worker": worker(versions={"mlx": "0.32.4", WHEEL: "macosx_26_0_arm64"})},
    ],
    ids=["release", "variable", "wheel"],
)
def test_what_mlx_is_on_a_mac_parts_histories(info: dict[str, Any], tmp_path: Path) -> None:
    assert aspects(run(tmp_path / "a")) != aspects(run(tmp_path / "b", info))
    assert [d.decisive for d in found(tmp_path / "told", info)] == [False]


@pytest.mark.parametrize(
    "info",
    [
        {"machine": MACHINE.model_copy(update={"release": "15.3"})},
        {"machine": MACHINE.model_copy(update={"system": "Linux", "release": "7.1"})},
        {"swapbench_version": "0.2.0", "worker": worker(versions={"mlx": "0.33.0"}, python="CPython 3.14.0")},
    ],
    ids=["release", "Linux", "versions"],
)
def test_versions_part_no_histories(info: dict[str, Any], tmp_path: Path) -> None:
    system = {"machine": MACHINE.model_copy(update={"system": info.get("machine", MACHINE).system})}
    assert aspects(run(tmp_path / "a", system)) == aspects(run(tmp_path / "b", info))


def test_a_scenarios_history_knows_nothing_of_the_other_scenarios_and_strategies(tmp_path: Path) -> None:
    fault = [{"kind": "kill", "scenario": "down"}]
    one = run(tmp_path / "a", scenario=[UP], models={"small": "org/small", "large": "org/large"})
    scenarios = [UP, DOWN | {"page_cache": "cold"}]
    other = run(tmp_path / "b", scenario=scenarios, fault=fault, strategy=["stock", "slab"])

    def up(of: Run) -> dict[str, str]:
        return fingerprint(of.info, of_cell(experiment_of(of), "up", "stock"))

    assert up(one) == up(other)
    assert up(one) != fingerprint(other.info, of_cell(experiment_of(other), "up", "slab"))


def test_how_the_engine_is_wired_is_part_of_what_was_measured(tmp_path: Path) -> None:
    assert aspects(run(tmp_path))["engine.wired"] == "server"


def test_another_strategy_is_told_and_compared(tmp_path: Path) -> None:
    (difference,) = found(tmp_path, strategy="slab")
    assert (difference.what, difference.a, difference.decisive) == ("strategy", "stock", False)
    assert difference.b.startswith("slab")
    # The name is not all: what it does may have been changed.
    (difference,) = found(tmp_path / "again", strategy={"stock": {"fsync": "off"}})
    assert (difference.a, difference.decisive) == ("stock", False)
    assert difference.b.startswith("stock (")


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Other words", "description": "and more of them"},
        {"rounds": 20, "warmup": 2, "seed": 7, "order": "balanced"},
        {"target_s": 5.0, "expected_s": {"load": [1.0, 2.0]}, "criterion": [{"kind": "no-leak"}]},
        {"gate": {"margin": 0.5, "pairs": 30}, "leak_tolerance_bytes": 1, "swap_timeout_s": 10.0},
        {"scenario": [DOWN, UP]},
        {"models": {"small": "org/small", "large": "org/large", "unused": "org/unused"}},
    ],
)
def test_what_does_not_change_what_is_measured_is_no_difference(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    assert found(tmp_path, **changes) == ()


def test_when_by_what_command_and_where_models_lie_is_no_difference(tmp_path: Path) -> None:
    elsewhere = tuple(m.model_copy(update={"path": Path("elsewhere") / m.name}) for m in checkpoints())
    info = {"run_id": "run-2", "command": ("other",), "notes": ("busy",), "models": elsewhere[::-1]}
    assert found(tmp_path, info) == ()


def test_the_decisive_come_first(tmp_path: Path) -> None:
    told = found(tmp_path, {"swapbench_version": "0.2.0", "worker": worker(device="cpu")}, strategy="slab")
    assert [(d.what, d.decisive) for d in told] == [
        ("device", True),
        ("strategy", False),
        ("swapbench", False),
    ]


def test_every_key_of_an_experiment_is_compared_or_known_not_to_matter(tmp_path: Path) -> None:
    """A key that is new in experiment.py is compared; whoever wants it left out says so here too."""
    aside = {
        *("schema_version", "title", "description", "rounds", "warmup", "order", "seed"),
        *("target_s", "expected_s", "criterion", "gate", "leak_tolerance_bytes", "swap_timeout_s"),
        *("source", "models", "page_cache"),
        # Without a default there is nothing to show.
        *("fault", "script", "sharded"),
    }
    compared = {what.partition(".")[0] for what in aspects(run(tmp_path))}
    assert set(Experiment.model_fields) - aside <= compared
    assert not compared & aside - {"models"}


def test_an_experiment_that_is_not_understood_is_one_line(tmp_path: Path) -> None:
    broken = run(tmp_path, {"experiment": {"rounds": 3}})
    with pytest.raises(ResultsError, match=r"run\.json: experiment\.models"):
        differences(broken, broken)
