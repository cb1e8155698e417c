"""A model shared among several processes, here or on several machines, by mlx-lm's sharded_load."""

from collections.abc import Sequence

from swapbench.base.phases import FIRST_TOKEN, Phase
from swapbench.instruments.ledgers import SwapSpace, system
from swapbench.spec.experiment import PageCache
from swapbench.wire.plan import Checkpoint, Plan, Reply
from swapbench.wire.swap import PhaseMeasured, PlannedSwap, Reading, Recovery, Steady
from swapbench.worker.meter import Counters, Meter, Settled
from swapbench.worker.preparation import touch_free_memory
from swapbench.worker.probe import SwapProbe
from swapbench.worker.sharding import RankOrder, Report, Work, sum_up
from swapbench.worker.sharding.crew import Crew
from swapbench.worker.targets import NONE_SEEN, RefusedError, Target

_HELLO_TOKENS = 8


class ShardedMeter(Meter):
    """The coordinator's clock, and what all ranks hold together by their latest signs of life.

    No rank is asked, so `read_inside` reads all; ranks count faults and peaks for themselves.
    """

    def __init__(self) -> None:
        self._system = system()
        self.crew: Crew | None = None
        super().__init__()

    def read(self, *, exact: bool = False) -> Reading:
        return self.crew.reading() if self.crew is not None else Reading()

    def read_inside(self) -> Reading:
        return self.read()

    def counters(self) -> Counters:
        return Counters(0, 0, None)

    def swap(self) -> SwapSpace:
        return self._system.swap()


class ShardedTarget(Target):
    """Serves one model by all ranks together, one request at a time.

    Nothing is in flight when it is swapped, and no agent holds a cache: drain, evict and shutdown have
    nothing to do, and are not measured.
    """

    _nothing = NONE_SEEN

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.meter: ShardedMeter = ShardedMeter()
        self._label = PageCache.AS_IS

    def identity(self) -> tuple[dict[str, str], str]:
        """As rank 0 says; ranks are started for it."""
        crew, sharded = self._crew(), self._plan.experiment.sharding()
        assert sharded is not None
        self._tell(note=crew.ready.note)
        device = f"{crew.ready.device}; {crew.size} ranks, {sharded.mode}, {sharded.backend}"
        return crew.ready.versions, device

    def serve(self, checkpoint: Checkpoint) -> None:
        """Load `checkpoint` on every rank unless it is served already; ranks that were lost are started."""
        self._outcome = NONE_SEEN
        if self._served != checkpoint:
            self._refuse_broken(checkpoint)
            self._start(checkpoint)

    def prepare(self, to: Checkpoint, planned: PlannedSwap) -> None:
        """Set the page cache on every rank's machine."""
        if self._plan.experiment.touch_free_memory:
            touch_free_memory(to.weight_bytes)
        self._label = self._plan.page_cache_of(planned.scenario)
        self._ask(RankOrder(work=Work.PAGE_CACHE, path=to.path, label=self._label))

    def check(self, to: Checkpoint, planned: PlannedSwap) -> None:
        self._refuse_broken(to)

    def swap(self, to: Checkpoint, probe: SwapProbe) -> None:
        """Replace the model on all ranks; no rank begins a phase before all have ended the one before."""
        self._served = None
        probe.begin()
        self._phase(Phase.UNLOAD, to, probe)
        with probe.observing():
            if self._plan.experiment.settle_after_unload:
                settled = self.settle()
                self._tell(release_settle_s=settled.seconds, released=settled.ledgers)
            resident = [report.resident for report in self._work(Work.RESIDENCY, to)]
            self._tell(resident_before=worst(resident, self._label))
        loaded = self._phase(Phase.LOAD, to, probe)
        self._tell(loaded_bytes=sum(report.weight_bytes for report in loaded))
        fitted = self._phase(Phase.RECONFIGURE, to, probe)
        self._tell(kv_capacity_bytes=sum(report.kv_capacity_bytes for report in fitted))
        self._phase(Phase.UPDATE_TAG, to, probe)
        self._phase(Phase.REINIT, to, probe)
        self._served = to

    def first_token(self, probe: SwapProbe) -> None:
        with probe.ranked(FIRST_TOKEN) as measured:
            reports = self._generate(_HELLO_TOKENS, 1)
            measured([report.measured for report in reports])

    def steady(self) -> Steady:
        """One more request; the slowest rank's figures."""
        if self._plan.experiment.steady_tokens == 0:
            return Steady()
        reports = self._generate(_HELLO_TOKENS, self._plan.experiment.steady_tokens)
        rates = [report.tokens_per_s for report in reports if report.tokens_per_s is not None]
        return Steady(max(report.measured[0].seconds for report in reports), min(rates, default=None))

    def replies(self) -> tuple[Reply, ...]:
        verify = self._plan.experiment.verify
        return tuple(
            Reply(prompt_tokens=length, tokens=self._generate(length, verify.tokens)[0].tokens)
            for length in verify.prompt_tokens
        )

    def roll_back(self, old: Checkpoint) -> Recovery:
        """Serve the old model again, by ranks started anew where the last were ended."""
        self._start(old)
        return "restart"

    def answer(self) -> None:
        self._generate(_HELLO_TOKENS, 1)

    def settle(self) -> Settled:
        """Every rank by itself; the longest, and what all hold together."""
        reports = self._ask(RankOrder(work=Work.SETTLE))
        return Settled(max(r.settle_s for r in reports), sum_up([r.settled for r in reports]))

    def close(self) -> None:
        """End all ranks; whoever asks for one next starts them anew."""
        if self.meter.crew is not None:
            self.meter.crew.kill()
        self.meter.crew = self._served = None

    def _crew(self) -> Crew:
        if self.meter.crew is None:
            experiment = self._plan.experiment
            sharded = experiment.sharding()
            assert sharded is not None
            self.meter.crew = Crew(sharded, experiment.engine, experiment.sample_every_s)
        return self.meter.crew

    def _ask(self, order: RankOrder) -> tuple[Report, ...]:
        try:
            return self._crew().ask(order)
        except BaseException:
            # Whatever broke off, ranks that were told something nobody waits for are of no more use.
            self.close()
            raise

    def _work(self, work: Work, checkpoint: Checkpoint) -> tuple[Report, ...]:
        reports = self._ask(RankOrder(work=work, name=checkpoint.name, path=checkpoint.path))
        if len({report.tag for report in reports}) > 1:
            raise RuntimeError(f"{checkpoint.name}: ranks have unlike checkpoints")
        return reports

    def _generate(self, prompt_tokens: int, tokens: int) -> tuple[Report, ...]:
        reports = self._ask(RankOrder(work=Work.GENERATE, prompt_tokens=prompt_tokens, tokens=tokens))
        if len({report.tokens for report in reports}) > 1:
            raise RuntimeError("ranks say unlike tokens")
        return reports

    def _refuse_broken(self, to: Checkpoint) -> None:
        """That every rank has the checkpoint, whole, and mlx-lm can share it out."""
        for rank, report in enumerate(self._work(Work.CHECK, to)):
            if report.refused:
                raise RefusedError(f"{to.name}, on rank {rank}: {report.refused} ({to.path})")

    def _start(self, checkpoint: Checkpoint) -> None:
        self._served = None
        for work in (Work.UNLOAD, Work.LOAD, Work.RECONFIGURE, Work.UPDATE_TAG, Work.REINIT):
            self._work(work, checkpoint)
        self._served = checkpoint

    def _phase(self, phase: Phase, to: Checkpoint, probe: SwapProbe) -> tuple[Report, ...]:
        with probe.ranked(phase) as measured:
            reports = self._work(Work(phase.value), to)
            measured([_with_bytes(report) for report in reports])
        return reports


def _with_bytes(report: Report) -> tuple[PhaseMeasured, ...]:
    if not report.weight_bytes:
        return report.measured
    whole, *spans = report.measured
    return (whole.model_copy(update={"weight_bytes": report.weight_bytes}), *spans)


def worst(shares: Sequence[float], label: PageCache) -> float:
    """Of every rank's share the one that contradicts the label most: one rank's disk holds all of them up."""
    return max(shares) if label is PageCache.COLD else min(shares)
