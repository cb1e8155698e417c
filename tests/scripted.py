"""Scripted experiments: whole runs in milliseconds, for whoever tests what comes after the measuring."""

import json
from pathlib import Path
from typing import Any

from swapbench.spec.experiment import Experiment, validate
from swapbench.wire.events import Event
from swapbench.wire.plan import Arm, Plan, make_plan, scripted_checkpoints, turns
from swapbench.worker.session import run_session
from swapbench.worker.targets.scripted import ScriptedTarget

SMALL_BYTES = 100_000_000
LARGE_BYTES = 8_000_000_000


def raw_experiment(**changes: Any) -> dict[str, Any]:
    """Two models, up and down; a load takes 3 s, 2 s of it reading."""
    return {
        "target": "scripted",
        "rounds": 3,
        "models": {"small": "s", "large": "l"},
        "scenario": [
            {"name": "up", "from": "small", "to": "large"},
            {"name": "down", "from": "large", "to": "small"},
        ],
        "script": {
            "seconds": {"drain": 0.1, "load": 3.0, "reinit": 0.2},
            "spans": {"load/read": 2.0},
            "model_bytes": {"small": SMALL_BYTES, "large": LARGE_BYTES},
        },
    } | changes


def toml(raw: dict[str, Any] | None = None) -> str:
    """A scripted experiment as the file that a user would write."""
    raw = raw_experiment() if raw is None else raw
    tables = {"models", "scenario", "script"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in raw.items() if key not in tables]
    lines += ["[models]", *(f'{name} = "{reference}"' for name, reference in raw["models"].items())]
    for scenario in raw["scenario"]:
        lines += ["[[scenario]]", *(f'{key} = "{value}"' for key, value in scenario.items())]
    script = dict(raw["script"])
    swaps = script.pop("swap", [])
    lines.append("[script]")
    for key, value in script.items():
        if isinstance(value, dict):
            inner = ", ".join(f'"{name}" = {number}' for name, number in value.items())
            lines.append(f"{key} = {{ {inner} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    for swap in swaps:
        lines += ["[[script.swap]]", *(f"{key} = {json.dumps(value)}" for key, value in swap.items())]
    return "\n".join(lines) + "\n"


def scripted(swaps: list[dict[str, Any]] | None = None, **changes: Any) -> Experiment:
    """A scripted experiment; `swaps` are [[script.swap]] entries."""
    raw = raw_experiment(**changes)
    raw["script"] = raw["script"] | {"swap": swaps or []}
    return validate(raw, "scripted")


def plan_of(experiment: Experiment, **options: Any) -> Plan:
    """Its plan, with nothing on disk."""
    arm = Arm("", experiment, scripted_checkpoints(experiment), "python")
    return make_plan(arm, turns(experiment)[0], Path("unused"), **options)


def play(experiment: Experiment, **options: Any) -> list[Event]:
    """Every event of a run, in this process."""
    events: list[Event] = []
    plan = plan_of(experiment, **options)
    run_session(plan, ScriptedTarget(plan), events.append, pid=1)
    return events
