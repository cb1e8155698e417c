"""Swaps for simulations: only what headlines need, many of them, without a run around them."""

from collections.abc import Mapping, Sequence

from swapbench.findings.swaps import Measured, Swap


def swap(
    index: int, round_: int, scenario: str, total_s: float, worker: int = 0, warmup: bool = False
) -> Swap:
    """A swap that went well, all of it load."""
    return Swap(
        index=index,
        worker=worker,
        round=round_,
        warmup=warmup,
        scenario=scenario,
        strategy="stock",
        from_model="small",
        to_model="large",
        status="ok",
        valid=True,
        invalid_reason="",
        error="",
        failed_phase="",
        fault="",
        recovery="",
        loader="stock",
        loader_why="",
        figures={"total_s": total_s},
        settled={},
        released={},
        phases={"load": measured(total_s)},
        spans={},
        ranks={},
        extremes={},
        swap_used_growth_bytes=None,
    )


def measured(seconds: float) -> Measured:
    """A phase of which only its time is known."""
    return Measured(seconds, {}, {}, None, None, None)


def rounds(times: Mapping[str, Sequence[float]], warm: bool = True, worker: int = 0) -> list[Swap]:
    """Round by round, each scenario once; `warm` puts a warm-up round before them."""
    numbers = range(len(next(iter(times.values()))))
    before = [(0, scenario, 1.0, True) for scenario in times] if warm else []
    counted = [
        (number + warm, scenario, times[scenario][number], False) for number in numbers for scenario in times
    ]
    return [
        swap(index, round_, scenario, seconds, worker, warmup)
        for index, (round_, scenario, seconds, warmup) in enumerate([*before, *counted])
    ]
