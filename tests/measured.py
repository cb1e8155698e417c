"""Events of a swap from its figures by column, as tables name them."""

from dataclasses import asdict
from typing import Any

from swapbench.wire.swap import SWAPS, PlannedSwap, SwapFinished
from swapbench.worker.targets import NONE_RESTORED, NONE_SEEN


def planned(scenario: str = "", round_: int = 0, **others: Any) -> PlannedSwap:
    """A swap by its key."""
    return PlannedSwap(**({"scenario": scenario, "round": round_, "warmup": False} | others))


def finished(**figures: Any) -> SwapFinished:
    """A swap of the engine that went well, where nothing else is said; its key as `swap`, or by column."""
    paths = {column.name: column.path for column in SWAPS.columns} | {"released": ("outcome", "released")}
    nested: dict[str, Any] = {
        "status": "ok",
        "valid": True,
        "swap": {"round": 0, "warmup": False, "scenario": "up"},
        "timing": dict.fromkeys(("total_s", "unattributed_s", "first_token_s", "to_first_token_s")),
        "outcome": asdict(NONE_SEEN),
        "restored": asdict(NONE_RESTORED),
        "clients": {"sent": 0, "refused": 0, "lost": 0},
        "answered_requests": 0,
    }
    for name, value in figures.items():
        *parts, last = paths.get(name, (name,))
        at = nested
        for part in parts:
            at = at.setdefault(part, {})
        at[last] = value
    return SwapFinished.model_validate(nested)
