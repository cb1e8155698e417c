"""What each model said when it was first served in a run, and what it is asked."""

import json
from pathlib import Path
from typing import Final

from swapbench.files import write_atomically
from swapbench.worker.verification import MismatchError

_PROSE: Final = "the old port lay quiet while small boats came home one by one and every lamp was lit again"


def words(count: int) -> str:
    """So many plain words, always the same."""
    prose = _PROSE.split()
    return " ".join(prose[n % len(prose)] for n in range(count))


class Remembered:
    """First answers by model, in a file: another worker of the run goes on with them."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "replies.json"

    def knows(self, model: str) -> bool:
        """Whether it has been served before."""
        return model in self._read()

    def compare(self, model: str, texts: tuple[str, ...]) -> None:
        """Remember, or compare.

        Raises:
            MismatchError: it is another answer than before, or another model's.
        """
        known = self._read()
        for other, said in known.items():
            if other != model and said == texts and known.get(model) != texts:
                raise MismatchError(
                    f"{model} answers word for word as {other} does: the server answers with the wrong model"
                )
        if model not in known:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({**known, model: texts}))
        elif known[model] != texts:
            raise MismatchError(f"{model} answers otherwise than when it was first served in this run")

    def _read(self) -> dict[str, tuple[str, ...]]:
        try:
            known = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return {model: tuple(texts) for model, texts in known.items()}
