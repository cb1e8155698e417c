"""How fast a load could be: against the machine's limits, and strategies side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from swapbench.findings.runs import cell_name
from swapbench.findings.summary import ScenarioSummary, headline
from swapbench.findings.swaps import Swap, estimated
from swapbench.machine.environment import Limits, Rate
from swapbench.spec.experiment import Experiment, PageCache, Scenario
from swapbench.spec.strategy import LOADERS, Strategy
from swapbench.stats.estimate import Estimate, estimate, times_as_fast


@dataclass(frozen=True)
class AgainstLimit:
    """One scenario's load against the limit that holds for it.

    `share` is the load phase's rate over the limit; `floor_s` the seconds in which the checkpoint's bytes
    could be moved at the limit: no swap that moves them all can be faster.
    """

    scenario: str
    limit: str
    limit_gb_per_s: float
    load_gb_per_s: Estimate | None
    share: float | None
    floor_s: float | None
    target_s: float


def against_limits(
    scenarios: Sequence[ScenarioSummary],
    limits: Limits | None,
    page_cache: Callable[[str], PageCache],
    target_s: float,
) -> tuple[AgainstLimit, ...]:
    """Each scenario against the disk (cold) or memory (warm); empty without limits, or where neither holds.

    A checkpoint in the page cache has to be copied once to where computing wants it, and no faster than
    memory can be copied. A loader that computes on the mapped file itself copies nothing, and may beat it.
    """
    return tuple(
        _against(scenario, limit, target_s)
        for scenario in scenarios
        if (limit := limit_for(limits, page_cache(scenario.name))) is not None
    )


def limit_for(limits: Limits | None, page_cache: PageCache) -> Rate | None:
    """The machine's limit for loads that find the page cache so; None where none is known or holds."""
    if limits is None or page_cache is PageCache.AS_IS:
        return None
    return limits.best("disk", "disk_buffered") if page_cache is PageCache.COLD else limits.best("copy")


def _against(scenario: ScenarioSummary, limit: Rate, target_s: float) -> AgainstLimit:
    rate, loaded = scenario.load_gb_per_s, scenario.loaded_bytes
    return AgainstLimit(
        scenario=scenario.name,
        limit=limit.describe(),
        limit_gb_per_s=limit.median,
        load_gb_per_s=rate,
        share=rate.point / limit.median if rate else None,
        floor_s=loaded.point / limit.median / 1e9 if loaded else None,
        target_s=target_s,
    )


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
    per_s = limit.median if limit else None
    rungs = [
        _rung(name, how, of[name], of.get(STOCK, []), per_s, larger)
        for name, how in experiment.strategy.items()
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
    loads = [(weights_s(swap), swap.figures.get("loaded_bytes")) for swap in counted]
    rates = estimate(loaded / seconds / 1e9 for seconds, loaded in loads if seconds and loaded)
    peak = _largest(swap.extremes.get("footprint") for swap in counted)
    manual = LOADERS[strategy.loader]
    return Rung(
        strategy=name,
        does=strategy.describe(),
        total=estimated(counted, "total_s"),
        total_times=times_as_fast(*(_by_round(side, attrgetter("total_s")) for side in (swaps, stock))),
        weights=estimate(weights_s(swap) for swap in counted),
        weights_times=times_as_fast(*(_by_round(side, weights_s) for side in (swaps, stock))),
        to_first_token=found if figure == "to_first_token" else None,
        limit_share=rates.point / limit_gb_per_s if rates and limit_gb_per_s else None,
        peak_bytes=peak,
        peak_share=peak / larger_bytes if peak and larger_bytes else None,
        kept_bytes=_largest(swap.figures.get("kept_bytes") for swap in counted),
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


def _by_round(swaps: Sequence[Swap], figure: Callable[[Swap], float | None]) -> dict[int, float]:
    values = ((swap.round, figure(swap)) for swap in swaps if swap.counted)
    return {number: value for number, value in values if value is not None}


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
