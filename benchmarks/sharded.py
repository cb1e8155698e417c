"""How long a load takes on one rank and on two that share a machine, and what a model of it says.

swapbench models synth qwen2.5-7b
python benchmarks/sharded.py --model qwen2.5-7b --rounds 5
"""

import argparse
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from swapbench.base.phases import BARRIER
from swapbench.models.locate import find
from swapbench.spec.experiment import EngineSettings, PageCache, Sharded, Source
from swapbench.wire.swap import PhaseMeasured
from swapbench.worker.sharding import RankOrder, Report, Work, own_work_s
from swapbench.worker.sharding.crew import Crew

_READING = "read"
# Other crews' ranks read a little now and then; who loads reads more than this.
_A_LOAD_BYTES = 100_000_000


@dataclass(frozen=True)
class Way:
    """How the model is shared, and what the page cache holds of it."""

    ranks: int
    mode: str
    cache: PageCache

    @property
    def kind(self) -> tuple[int, str]:
        """What ranks are started for."""
        return self.ranks, self.mode

    def __str__(self) -> str:
        return f"{self.ranks} x {self.mode:<8} {self.cache:<4}"


@dataclass(frozen=True)
class Load:
    """One load: the slowest rank's own work, the longest reading and waiting, and bytes by rank."""

    work_s: float
    reading_s: float
    waiting_s: float
    asked_bytes: tuple[int, ...]
    held_bytes: tuple[int, ...]
    disk_bytes: int

    @property
    def rest_s(self) -> float:
        """What is not reading: looking, building, the tokenizer."""
        return self.work_s - self.reading_s


def main() -> None:
    """Load in every way once a round, in another order each time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-7b", help="as `swapbench models list` has it, or a path")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    path = find(arguments.model, (Source.SYNTHETIC, Source.HUB))
    caches = (PageCache.WARM, PageCache.COLD)
    ways = [Way(n, mode, c) for n, mode in ((1, "tensor"), (2, "tensor"), (2, "pipeline")) for c in caches]
    loads: dict[Way, list[Load]] = {way: [] for way in ways}
    order = random.Random(0)
    crews = {way.kind: crew_of(way) for way in ways}
    try:
        for _ in range(arguments.rounds):
            for way in order.sample(ways, len(ways)):
                loads[way].append(load_once(crews[way.kind], way, path))
                print(way, describe(loads[way][-1:]), file=sys.stderr, flush=True)
    finally:
        for crew in crews.values():
            crew.kill()
    print(f"{path.name}, {arguments.rounds} rounds; median (min-max), GB and seconds")
    for way in ways:
        print(way, describe(loads[way]))
        if way.ranks > 1:
            low_s, high_s = predicted_s(loads, way)
            print(
                f"    from one rank: {low_s:.2f} where each has a machine, {high_s:.2f} where they share one"
            )


def crew_of(way: Way) -> Crew:
    """Ranks that hold nothing yet. A busy machine may not let them show that they live for a while."""
    settings = {"mode": way.mode, "ranks": way.ranks, "stall_s": 300.0}
    return Crew(Sharded.model_validate(settings), EngineSettings(), pulse_s=0.25)


def load_once(crew: Crew, way: Way, path: Path) -> Load:
    """Bring the page cache about, load, unload again."""
    crew.ask(RankOrder(work=Work.PAGE_CACHE, path=path, label=way.cache))
    before = asked_bytes()
    reports = crew.ask(RankOrder(work=Work.LOAD, path=path, name=path.name))
    after = asked_bytes()
    crew.ask(RankOrder(work=Work.UNLOAD, path=path))
    asked = (after[pid] - before[pid] for pid in after)
    return load_of(reports, tuple(count for count in asked if count > _A_LOAD_BYTES))


def asked_bytes() -> dict[int, int]:
    """What every rank of every crew has asked the system to read so far, from page cache or disk."""
    ranks = psutil.Process(os.getpid()).children(recursive=True)
    return {rank.pid: rank.io_counters().read_chars for rank in ranks}


def load_of(reports: tuple[Report, ...], asked: tuple[int, ...]) -> Load:
    """The figures of one load, from what its ranks measured."""
    rows = [report.measured for report in reports]
    return Load(
        work_s=max(own_work_s(of_rank) for of_rank in rows),
        reading_s=max(span_s(of_rank, _READING) for of_rank in rows),
        waiting_s=max(span_s(of_rank, BARRIER) for of_rank in rows),
        asked_bytes=asked,
        held_bytes=tuple(report.weight_bytes for report in reports),
        disk_bytes=sum(row.disk_read_bytes or 0 for of_rank in rows for row in of_rank if not row.span),
    )


def predicted_s(loads: dict[Way, list[Load]], way: Way) -> tuple[float, float]:
    """What the model of docs/distributed.md makes of one rank's rates and of what each rank asks for: with a
    machine to itself for each rank, and with one for all."""
    warm, cold = (loads[Way(1, "tensor", cache)] for cache in (PageCache.WARM, PageCache.COLD))
    rest_s = median(load.rest_s for load in warm)
    asked = loads[way][-1].asked_bytes
    whole = warm[-1].asked_bytes[0]
    reading_s = median(load.reading_s for load in warm)
    low_s, high_s = (reading_s * bytes_ / whole for bytes_ in (max(asked), sum(asked)))
    if way.cache is PageCache.COLD:
        disk_s = median(load.reading_s for load in cold)
        # One machine reads every page once, whoever asks for it first; at worst nothing overlaps with that.
        low_s, high_s = max(low_s, disk_s * max(asked) / whole), high_s + disk_s
    return rest_s + low_s, rest_s * way.ranks + high_s


def span_s(rows: tuple[PhaseMeasured, ...], name: str) -> float:
    """How long a span took; 0 where there was none."""
    return sum(row.seconds for row in rows if row.span == name)


def describe(loads: list[Load]) -> str:
    """A line of figures."""

    def of(values: list[float]) -> str:
        return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"

    asked = "+".join(f"{count / 1e9:.2f}" for count in loads[-1].asked_bytes)
    held = "+".join(f"{count / 1e9:.2f}" for count in loads[-1].held_bytes)
    return (
        f"load {of([load.work_s for load in loads])}  reading {of([load.reading_s for load in loads])}  "
        f"rest {of([load.rest_s for load in loads])}  waiting {of([load.waiting_s for load in loads])}  "
        f"asked {asked}  held {held}  from disk {median(load.disk_bytes for load in loads) / 1e9:.2f}"
    )


if __name__ == "__main__":
    main()
