"""How fast a load could be: against the machine's limits, and strategies side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from swapbench.findings.runs import cell_name
from swapbench.findings.summary import ScenarioSummary, headline
from swapbench.findings.swaps import Swap, estimated
from swapbench.machine.environment import Limits, Rate
from swapbench.spec.experiment import Experiment, PageCache
from swapbench.spec.strategy import LOADERS, Strategy
from swapbench.stats.estimate import Estimate, estimate, times_as_fast


@dataclass(frozen=True)
class AgainstLimit:
    """One scenario's load against the limit that holds for it. `share` is the load phase's rate over the
    limit; `floor_s` the seconds in which the checkpoint's bytes could be moved at the limit: no swap that
    moves them all can be faster."""

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
    """Each scenario against the disk (cold) or memory (warm); empty without limits, or where neither holds. A
    checkpoint in the page cache has to be copied once to where computing wants it, and no faster than memory
    can be copied. A loader that computes on the mapped file itself copies nothing, and may beat it."""
    found = []
    for scenario in scenarios:
        rate, loaded = scenario.load_gb_per_s, scenario.loaded_bytes
        if limit := limit_for(limits, page_cache(scenario.name)):
            share = rate.point / limit.median if rate else None
            floor_s = loaded.point / limit.median / 1e9 if loaded else None
            against = (limit.describe(), limit.median, rate, share, floor_s, target_s)
            found.append(AgainstLimit(scenario.name, *against))
    return tuple(found)


def limit_for(limits: Limits | None, page_cache: PageCache) -> Rate | None:
    """The machine's limit for loads that find the page cache so; None where none is known or holds."""
    if limits is None or page_cache is PageCache.AS_IS:
        return None
    return limits.best("disk", "disk_buffered") if page_cache is PageCache.COLD else limits.best("copy")


STOCK: Final = "stock"


@dataclass(frozen=True)
class Rung:
    """One strategy in one scenario. Ratios to stock are of the same rounds. `weights` is the load phase
    without the tokenizer; `limit_share` its rate over the machine's limit for the scenario's page cache;
    `peak_share` the most of process memory over the larger model's bytes; `kept_bytes` the memory that stayed
    with the process when no model was loaded."""

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
    """A ladder for each scenario; none where there is only one strategy. `swaps` are of cells, as `by_cell`
    names them; `weights` the bytes of each model."""
    if len(experiment.strategy) == 1:
        return ()
    found = []
    for scenario in experiment.scenario:
        label = experiment.page_cache_of(scenario)
        limit = limit_for(limits, label)
        larger = max(weights.get(scenario.from_model, 0), weights.get(scenario.to_model, 0))
        of: dict[str, list[Swap]] = {
            strategy: [swap for swap in swaps if swap.scenario == cell_name(scenario.name, strategy)]
            for strategy in experiment.strategy
        }
        rungs = [
            _rung(name, how, of[name], of.get(STOCK, []), limit.median if limit else None, larger)
            for name, how in experiment.strategy.items()
        ]
        rungs.sort(key=lambda rung: rung.total.point if rung.total else float("inf"))
        about = (scenario.name, scenario.from_model, scenario.to_model, str(label))
        found.append(Ladder(*about, limit.describe() if limit else "", tuple(rungs)))
    return tuple(found)


def _rung(
    name: str,
    strategy: Strategy,
    swaps: Sequence[Swap],
    stock: Sequence[Swap],
    limit_gb_per_s: float | None,
    larger_bytes: int,
) -> Rung:
    def times(figure: Callable[[Swap], float | None]) -> Estimate | None:
        sides = (
            {swap.round: value for swap in side if swap.counted and (value := figure(swap)) is not None}
            for side in (swaps, stock)
        )
        return times_as_fast(*sides)

    counted = [swap for swap in swaps if swap.counted]
    found, figure = headline(counted)
    loads = [(weights_s(swap), swap.figures.get("loaded_bytes")) for swap in counted]
    rates = estimate(loaded / seconds / 1e9 for seconds, loaded in loads if seconds and loaded)
    peak = max((s.extremes["footprint"] for s in counted if "footprint" in s.extremes), default=None)
    return Rung(
        strategy=name,
        does=strategy.describe(),
        total=estimated(counted, "total_s"),
        total_times=times(lambda swap: swap.total_s),
        weights=estimate(map(weights_s, counted)),
        weights_times=times(weights_s),
        to_first_token=found if figure == "to_first_token" else None,
        limit_share=rates.point / limit_gb_per_s if rates and limit_gb_per_s else None,
        peak_bytes=peak,
        peak_share=peak / larger_bytes if peak and larger_bytes else None,
        kept_bytes=max((s.figures["kept_bytes"] for s in counted if "kept_bytes" in s.figures), default=None),
        loaders=_different(swap.loader for swap in counted),
        reasons=_different(swap.loader_why for swap in counted),
        left_out=sum(not swap.counted and not swap.warmup for swap in swaps),
        cost=LOADERS[strategy.loader].cost,
        avoid=LOADERS[strategy.loader].avoid,
    )


def _different(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, words)))


def weights_s(swap: Swap) -> float | None:
    """Seconds until every weight was there, the tokenizer left out."""
    span = swap.spans.get("load/weights")
    return span.seconds if span else None
