"""Strategies side by side: how much faster than stock, how near the limit, at what price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from swapbench.findings.cells import cell_name
from swapbench.findings.roofline import limit_for
from swapbench.findings.summary import headline
from swapbench.findings.swaps import Swap
from swapbench.machine.limits import Limits
from swapbench.spec.experiment import Experiment, Scenario
from swapbench.spec.strategy import MANUALS, Strategy
from swapbench.stats.estimate import Estimate, estimate
from swapbench.stats.paired import largest, times_as_fast

STOCK: Final = "stock"


@dataclass(frozen=True)
class Rung:
    """One strategy in one scenario. Ratios to stock are of the same rounds.

    `weights` is the load phase without the tokenizer; `limit_share` its rate over the machine's limit for the
    scenario's page cache; `peak_share` the most of process memory over the larger model's bytes; `kept_bytes`
    the memory that stayed with the process when no model was loaded.
    """

    strategy: str
    does: str
    total: Estimate | None
    total_times: Estimate | None
    weights: Estimate | None
    weights_times: Estimate | None
    to_first_token: Estimate | None
    limit_share: float | None
    peak_bytes: float | None
    peak_share: float | None
    kept_bytes: float | None
    loaders: tuple[str, ...]
    reasons: tuple[str, ...]
    left_out: int
    cost: str
    avoid: str

    @property
    def told_apart(self) -> bool:
        """Whether every ratio to stock that is to be reckoned with lies on one side of 1."""
        times = self.total_times
        return self.strategy != STOCK and times is not None and not times.low <= 1.0 <= times.high


@dataclass(frozen=True)
class Ladder:
    """One scenario's strategies, the fastest first; `limit` says against what shares are."""

    scenario: str
    from_model: str
    to_model: str
    page_cache: str
    limit: str
    rungs: tuple[Rung, ...]

    def rung(self, strategy: str) -> Rung | None:
        """A strategy's."""
        return next((rung for rung in self.rungs if rung.strategy == strategy), None)


def ladders(
    experiment: Experiment, swaps: Sequence[Swap], weights: Mapping[str, int], limits: Limits | None
) -> tuple[Ladder, ...]:
    """A ladder for each scenario; none where there is only one strategy.

    Args:
        swaps: of cells, as `by_cell` names them.
        weights: bytes of each model.
    """
    if len(experiment.strategy) == 1:
        return ()
    return tuple(_ladder(experiment, scenario, swaps, weights, limits) for scenario in experiment.scenario)


def _ladder(
    experiment: Experiment,
    scenario: Scenario,
    swaps: Sequence[Swap],
    weights: Mapping[str, int],
    limits: Limits | None,
) -> Ladder:
    label = experiment.page_cache_of(scenario)
    limit = limit_for(limits, label)
    of = {
        strategy: [swap for swap in swaps if swap.scenario == cell_name(scenario.name, strategy)]
        for strategy in experiment.strategy
    }
    larger = max(weights.get(scenario.from_model, 0), weights.get(scenario.to_model, 0))
    rungs = [
        _rung(
            name,
            experiment.strategy[name],
            of[name],
            of.get(STOCK, []),
            limit.median if limit else None,
            larger,
        )
        for name in experiment.strategy
    ]
    rungs.sort(key=lambda rung: rung.total.point if rung.total else float("inf"))
    return Ladder(
        scenario=scenario.name,
        from_model=scenario.from_model,
        to_model=scenario.to_model,
        page_cache=str(label),
        limit=limit.describe() if limit else "",
        rungs=tuple(rungs),
    )


def _rung(
    name: str,
    strategy: Strategy,
    swaps: Sequence[Swap],
    stock: Sequence[Swap],
    limit_gb_per_s: float | None,
    larger_bytes: int,
) -> Rung:
    counted = [swap for swap in swaps if swap.counted]
    found, figure = headline(counted)
    rates = estimate(_rate(swap) for swap in counted)
    peak = largest([swap.extremes.get("footprint") for swap in counted])
    manual = MANUALS[strategy.loader]
    return Rung(
        strategy=name,
        does=strategy.describe(),
        total=estimate(swap.total_s for swap in counted),
        total_times=times_as_fast(_totals(swaps), _totals(stock)),
        weights=estimate(weights_s(swap) for swap in counted),
        weights_times=times_as_fast(_weights(swaps), _weights(stock)),
        to_first_token=found if figure == "to_first_token" else None,
        limit_share=rates.point / limit_gb_per_s if rates and limit_gb_per_s else None,
        peak_bytes=peak,
        peak_share=peak / larger_bytes if peak and larger_bytes else None,
        kept_bytes=largest([swap.figures.get("kept_bytes") for swap in counted]),
        loaders=tuple(dict.fromkeys(swap.loader for swap in counted if swap.loader)),
        reasons=tuple(dict.fromkeys(swap.loader_why for swap in counted if swap.loader_why)),
        left_out=sum(not swap.counted and not swap.warmup for swap in swaps),
        cost=manual.cost,
        avoid=manual.avoid,
    )


def weights_s(swap: Swap) -> float | None:
    """Seconds until every weight was there, the tokenizer left out."""
    span = swap.spans.get("load/weights")
    return span.seconds if span else None


def _rate(swap: Swap) -> float | None:
    seconds, loaded = weights_s(swap), swap.figures.get("loaded_bytes")
    return loaded / seconds / 1e9 if seconds and loaded else None


def _totals(swaps: Sequence[Swap]) -> dict[int, float]:
    return {swap.round: swap.total_s for swap in swaps if swap.counted and swap.total_s is not None}


def _weights(swaps: Sequence[Swap]) -> dict[int, float]:
    return {
        swap.round: seconds for swap in swaps if swap.counted and (seconds := weights_s(swap)) is not None
    }
