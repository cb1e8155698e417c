"""How near a load comes to what the machine could do, and what that would make of each swap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swapbench.findings.summary import ScenarioSummary
from swapbench.machine.limits import Limits, Rate
from swapbench.spec.experiment import PageCache
from swapbench.stats.estimate import Estimate


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
