"""Reference answers: what each model says on a server that has never swapped, if one can be started."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from swapbench.base.files import write_atomically
from swapbench.wire.plan import Checkpoint, Plan
from swapbench.worker.engine.requests import text
from swapbench.worker.meter import settle
from swapbench.worker.reference import MismatchError
from swapbench.worker.targets.http import HungError, StatusError
from swapbench.worker.targets.http.servers import Servers

# A prompt that takes longer than that is too long for this machine to verify by.
_VERIFIES_WITHIN_S: Final = 5.0


def prompts(lengths: Iterable[int]) -> dict[str, str]:
    """What a model is asked to be known by, the shortest first; by the number of words, with a `+` after it
    for the spare one, which says the same otherwise."""
    return {f"{n}{spare}": text(n, seed=2 * n + len(spare)) for n in sorted(lengths) for spare in ("", "+")}


@dataclass(frozen=True)
class Reference:
    """Answers by prompt, and what the server's processes took; `fresh` where they had no other model."""

    answers: Mapping[str, str]
    fresh: bool = False
    footprint_bytes: int | None = None


class References:
    """By model, in a file: another worker of the run goes on with them."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "references.json"
        kept = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        self.known = {model: Reference(**each) for model, each in kept.items()}

    def keep(self, model: str, reference: Reference) -> str:
        """Remember; says of which lengths the answers are another model's, too, as may be right. A
        MismatchError if all of them are."""
        said, note = reference.answers, ""
        for name, other in self.known.items():
            if name == model or not said:
                continue
            if said == other.answers:
                raise MismatchError(
                    f"{model} answers word for word as {name} does: the server answers with the wrong model"
                )
            unlike = {key.rstrip("+") for key, text in said.items() if text != other.answers.get(key)}
            if alike := {key.rstrip("+") for key in said} - unlike:
                words = " and ".join(sorted(alike, key=int))
                note = (
                    f"{model} answers prompts of {words} words word for word as {name} does, and others "
                    "otherwise: look whether the server answers these with one model"
                )
        self.known[model] = reference
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps({name: asdict(each) for name, each in self.known.items()}))
        return note

    def mismatch(self, model: str, prompt: str, said: str) -> MismatchError | None:
        """What is wrong with an answer to the prompt of that key; None where nothing is."""
        reference = self.known[model]
        if said == reference.answers[prompt]:
            return None
        asked = f"a prompt of {prompt.rstrip('+')} words"
        for name, other in self.known.items():
            if name != model and said and said == other.answers.get(prompt):
                return MismatchError(
                    f"{model} answers {asked} word for word as {name} does: the server answers with the "
                    "wrong model"
                )
        right = "from a server freshly started on it" if reference.fresh else "when it was first served"
        return MismatchError(f"{model} answers {asked} otherwise than {right}")


class Verifier:
    """Has the models that answer recognised by what they say; `note` is told what a user should know."""

    def __init__(self, plan: Plan, servers: Servers, note: Callable[[str], None]) -> None:
        self._plan = plan
        self._tokens = plan.experiment.verify.tokens
        self._prompts = prompts(plan.experiment.verify.prompt_tokens)
        self._servers = servers
        self._note = note
        self._references = References(plan.scratch_dir)
        # The prompt of the request that swaps, what it was answered, and what the old model answers to it.
        self.question = self.said = ""
        self._old = self._said_before = ""

    def footprint_bytes(self, model: str) -> int | None:
        """What a server took that had no model but this one."""
        reference = self._references.known.get(model)
        return reference.footprint_bytes if reference else None

    def missing(self) -> list[Checkpoint]:
        """Models of which a server that never swapped has yet to say what each says."""
        if not self._servers.startable or self._servers.per_model or not self._tokens:
            return []
        asked = [model for model in self._plan.checkpoints.values() if self._plan.asks_of(model.name)]
        return [model for model in asked if model.name not in self._references.known]

    def refer(self, model: Checkpoint) -> None:
        """Have a fresh server, in place of the one that runs, say what a model says; see what it weighs."""
        with self._servers.fresh(model.name):
            self._servers.greet(model)
            answers = self._answers_of(model)
            footprint_bytes = settle(self._servers.meter).ledgers.footprint_bytes
        self._remember(model, Reference(answers, True, footprint_bytes))

    def recognise(self, model: Checkpoint) -> None:
        """Whether what was asked for answers, by the shortest prompt; a new one is remembered. A
        MismatchError if another model does: a half-loaded one answers, too."""
        if not (self._servers.asks and self._tokens):
            return
        reference = self._references.known.get(model.name)
        if reference is None:
            self._remember(model, Reference(self._answers_of(model)))
        elif any(reference.answers.values()):
            self._verified(model, next(iter(self._prompts)))

    def before_swap(self, old: Checkpoint) -> None:
        """Choose the request that is to swap, and what the old model answers to that very request."""
        self._old, self.said = old.name, ""
        self.question = self._servers.prompt()
        asked = self._servers.asks and self._tokens and self._plan.asks_of(old.name)
        self._said_before = self._servers.whole(old, self.question).text if asked else ""

    def verify(self, to: Checkpoint) -> int | None:
        """How many pieces of greedy replies are those of a server that has never swapped, or the first ones;
        None where nothing is known. A MismatchError if it says something else, or what another model
        says."""
        # A first token of the old model's, while the new one was being loaded, is no swap's.
        alike = self._said_before and self.said == self._said_before
        if alike and self._servers.whole(to, self.question).text != self.said:
            raise MismatchError(
                f"the request that swapped to {to.name} was answered word for word as {self._old} answers "
                "it: by the wrong model"
            )
        reference = self._references.known.get(to.name)
        if reference is None or not any(reference.answers.values()):
            return None
        asked = [prompt for prompt in self._prompts if not prompt.endswith("+")]
        return sum(self._verified(to, prompt) for prompt in asked if prompt in reference.answers)

    def _verified(self, to: Checkpoint, prompt: str) -> int:
        """One that differs may come of what the server keeps of that prompt: of another it keeps nothing."""
        answer = self._servers.whole(to, self._prompts[prompt], self._tokens)
        wrong = self._references.mismatch(to.name, prompt, answer.text)
        if wrong is not None:
            other = f"{prompt}+"
            answer = self._servers.whole(to, self._prompts[other], self._tokens)
            if self._references.mismatch(to.name, other, answer.text) is not None:
                raise wrong
            self._note(f"{wrong}, and another one of that length rightly: what it keeps of prompts answers")
        return len(answer.pieces)

    def _answers_of(self, model: Checkpoint) -> dict[str, str]:
        """By prompt, as far as computing is fast enough."""
        answers: dict[str, str] = {}
        for key, prompt in self._prompts.items():
            timeout_s = _VERIFIES_WITHIN_S if answers else None
            try:
                answer = self._servers.whole(model, prompt, self._tokens, timeout_s)
            except (HungError, StatusError) as error:
                if not answers:
                    raise
                if isinstance(error, StatusError):
                    words = key.rstrip("+")
                    self._note(f"{model.name} is not verified by prompts of {words} words: {error}")
                break
            answers[key] = answer.text
        return answers

    def _remember(self, model: Checkpoint, reference: Reference) -> None:
        if note := self._references.keep(model.name, reference):
            self._note(note)
