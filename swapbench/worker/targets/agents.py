"""The agents of a workload and their KV caches: filled, brought back after a swap, and asked to go on."""

from contextlib import suppress
from dataclasses import dataclass, field

from swapbench.loaders import Loaded
from swapbench.spec.experiment import CacheFill
from swapbench.wire.plan import Plan
from swapbench.wire.swap import Audit, Restored
from swapbench.worker.engine.caches import CacheStore, continuation, fill_cache
from swapbench.worker.meter import Meter
from swapbench.worker.targets import NONE_RESTORED


@dataclass
class Agents:
    """All agents of a plan's workload, over the store that holds and evicts their caches."""

    plan: Plan
    store: CacheStore
    meter: Meter
    # What each agent's cache went on with when it was filled, by the model that filled it.
    _continuations: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"agent-{n}" for n in range(1, self.plan.experiment.workload.agents + 1))

    def fill(self, loaded: Loaded, model: str, round_: int) -> tuple[int, float | None]:
        """Give each agent a cache of its own, other than before; tokens computed, and seconds."""
        work = self.plan.experiment.workload
        begun_s = self.meter.now_s()
        for n, agent in enumerate(self.names):
            # Other contents in each round: a store that writes only what changed has something to write.
            seed = round_ * work.agents + n
            cache = fill_cache(loaded.model, loaded.tokenizer, work.cache_tokens, work.cache_fill, seed)
            self.store.hold(agent, cache, work.cache_tokens)
        seconds = self.meter.now_s() - begun_s
        if model in self.plan.expected:
            for agent in self._witnesses():
                self._continuations[agent, model] = self._continuation(agent, loaded)
        if not self.names or work.cache_fill is not CacheFill.PREFILL:
            return 0, None
        return work.agents * work.cache_tokens, seconds

    def restore(self, loaded: Loaded, model: str) -> Restored:
        """Read the model's files, compare what the caches go on with, and free them again.

        Raises:
            ValueError: a file can't be read.
        """
        files = self.store.saved()
        if not files:
            return NONE_RESTORED
        begun_s = self.meter.now_s()
        for agent in files:
            self.store.restore(agent)
        seconds = self.meter.now_s() - begun_s
        held = self.store.held()
        restored = Restored(
            caches=len(files),
            tokens=sum(held[agent] for agent in files),
            bytes=sum(path.stat().st_size for path in files.values()),
            seconds=seconds,
            changed=tuple(
                agent for agent in self._witnesses() if self._goes_on_otherwise(agent, loaded, model)
            ),
        )
        for agent in files:
            self.store.forget(agent)
        return restored

    def bring_back(self) -> None:
        """After a failed swap: every cache of the old model that had been evicted.

        Raises:
            ValueError: a file can't be read.
        """
        for agent in self.names:
            self.store.restore(agent)

    def audit(self) -> Audit:
        """Each agent's cache, in memory or read back; and all files of all models."""
        readable = 0
        for agent in self.names:
            with suppress(ValueError):  # a broken file is counted as that
                readable += self.store.restore(agent)
        return Audit(readable, self.store.broken())

    def _witnesses(self) -> tuple[str, ...]:
        """The agents whose caches are asked to go on: the first and the last speak for all."""
        return tuple(dict.fromkeys((*self.names[:1], *self.names[-1:])))

    def _continuation(self, agent: str, loaded: Loaded) -> tuple[int, ...]:
        cache = self.store.get(agent)
        assert cache is not None
        return continuation(loaded.model, cache, self.plan.experiment.verify.tokens)

    def _goes_on_otherwise(self, agent: str, loaded: Loaded, model: str) -> bool:
        before = self._continuations.get((agent, model))
        return before is not None and self._continuation(agent, loaded) != before
