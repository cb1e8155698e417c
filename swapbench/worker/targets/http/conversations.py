"""Agents' long conversations with models of a server, and what is left of them when a model comes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swapbench.spec.experiment import Workload
from swapbench.wire.events import Checkpoint
from swapbench.worker.targets import Restored
from swapbench.worker.targets.http.asking import Answer
from swapbench.worker.targets.http.references import Prompt

# A conversation that is answered in less than that share of what it took at first was not computed again.
_KEPT_SHARE: Final = 0.5
# Of a short question's time: below that, computing the long one can't be told from answering at all.
_TELLS_FROM: Final = 2.0


@dataclass
class Conversations:
    """What each agent has said to each model, and how long its first token took when that was new.

    `ask` sends a prompt of a session, and has at most so many tokens answered.
    """

    workload: Workload
    ask: Callable[[Checkpoint, str, str], Answer]
    serial: int
    _new_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def hold(self, model: Checkpoint) -> tuple[int, float | None]:
        """Have every agent's conversation computed by the model that serves, where it has not been yet.

        Returns:
            Tokens, as far as words are tokens, and seconds.
        """
        new = [n for n in range(self.workload.agents) if (model.name, n) not in self._new_s]
        begun_s = time.perf_counter()
        for number in new:
            self._new_s[model.name, number] = self._first_token_s(model, number)
        if not new:
            return 0, None
        return len(new) * self.workload.cache_tokens, time.perf_counter() - begun_s

    def come_back(self, model: Checkpoint, short_s: float | None) -> Restored:
        """Go on with those that the model knew: which of them it did not have to compute again.

        Args:
            short_s: its first token of a short question.
        """
        known = [number for name, number in self._new_s if name == model.name]
        if not known or short_s is None:
            return Restored(0, 0, None) if not known else Restored(None, None, None)
        begun_s = time.perf_counter()
        kept, told = 0, False
        for number in known:
            new_s, again_s = self._new_s[model.name, number], self._first_token_s(model, number)
            told = told or new_s >= _TELLS_FROM * short_s
            kept += again_s < _KEPT_SHARE * new_s
        seconds = time.perf_counter() - begun_s
        if not told:
            return Restored(None, None, None, seconds)
        return Restored(kept, kept * self.workload.cache_tokens, None, seconds)

    def _first_token_s(self, model: Checkpoint, number: int) -> float:
        agent = f"agent-{number + 1}"
        said = f"{self.serial:06d} {agent}, {model.name}: {Prompt(self.workload.cache_tokens).text()}"
        answer = self.ask(model, said, agent)
        assert answer.first_text_s is not None
        return answer.first_text_s - answer.sent_s
