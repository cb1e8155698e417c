"""What each model says where nothing can be wrong: on a server that has never swapped, if one can be had."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from swapbench.base.files import write_atomically
from swapbench.worker.reference import MismatchError

_PROSE: Final = "the old port lay quiet while small boats came home one by one and every lamp was lit again"


@dataclass(frozen=True)
class Prompt:
    """So many plain words; the `spare` ones of a length say the same otherwise."""

    words: int
    spare: bool = False

    def text(self) -> str:
        """Always the same."""
        # In no order: what repeats itself, every model goes on with alike.
        return " ".join(random.Random(self.key()).choices(_PROSE.split(), k=self.words))

    def key(self) -> str:
        """Its name in a file."""
        return f"{self.words}{'+' if self.spare else ''}"


def prompts(lengths: Iterable[int]) -> list[Prompt]:
    """What a model is asked to be known by, the shortest first."""
    return [Prompt(length, spare) for length in sorted(lengths) for spare in (False, True)]


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
        self._known = self._read()

    def of(self, model: str) -> Reference | None:
        """What is known of a model."""
        return self._known.get(model)

    def keep(self, model: str, reference: Reference) -> str:
        """Remember; says of which lengths the answers are another model's, too, as may be right.

        Raises:
            MismatchError: it says in all lengths what another model says.
        """
        said, note = reference.answers, ""
        for name, other in self._known.items():
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
        self._known[model] = reference
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, json.dumps({name: asdict(each) for name, each in self._known.items()}))
        return note

    def mismatch(self, model: str, prompt: Prompt, said: str) -> MismatchError | None:
        """What is wrong with an answer; None where nothing is."""
        reference = self._known[model]
        if said == reference.answers[prompt.key()]:
            return None
        asked = f"a prompt of {prompt.words} words"
        for name, other in self._known.items():
            if name != model and said and said == other.answers.get(prompt.key()):
                return MismatchError(
                    f"{model} answers {asked} word for word as {name} does: the server answers with the "
                    "wrong model"
                )
        right = "from a server freshly started on it" if reference.fresh else "when it was first served"
        return MismatchError(f"{model} answers {asked} otherwise than {right}")

    def _read(self) -> dict[str, Reference]:
        try:
            known = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return {model: Reference(**each) for model, each in known.items()}
