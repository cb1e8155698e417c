"""The models of the experiments: what their published MLX checkpoints are, as facts.

They stand in catalogue.json. Configurations are those of the published config.json files, without what
concerns training or vision only. Those of Qwen2.5 say bfloat16, but the mlx-lm of September 2024 cast to
float16 before it quantised. SmolLM2's vocabulary has a token for each merge, the published one a few less.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swapbench.models.stand_ins.dimensions import is_part_of_more
from swapbench.models.stand_ins.tokenizer import Vocabulary


@dataclass(frozen=True)
class Entry:
    """A model that swapbench knows by name; `repo` is the Hugging Face repository of its MLX version.

    `dtype` is of weights that are not quantised, and of the scales of those that are. Fetching takes about
    `hub_bytes`; the weight files that swapbench writes, `synthetic_bytes` and `mini_bytes` exactly.
    """

    name: str
    repo: str
    title: str
    config: Mapping[str, Any] = field(hash=False)
    dtype: str
    vocabulary: Vocabulary
    hub_bytes: int
    synthetic_bytes: int
    mini_bytes: int
    note: str = ""  # where the synthetic checkpoint differs from the published one

    @property
    def mini_name(self) -> str:
        """What its mini is called: where text is one of several things that it takes, the text part alone."""
        return f"{self.name}-text" if is_part_of_more(self.config) else self.name


def _entry(said: dict[str, Any]) -> Entry:
    vocabulary = said.pop("vocabulary")
    specials = tuple((token, number) for token, number in vocabulary.pop("specials"))
    return Entry(**said, vocabulary=Vocabulary(**vocabulary, specials=specials))


CATALOGUE: Final = tuple(
    _entry(said) for said in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
)


def lookup(reference: str) -> Entry | None:
    """The entry called `reference`, by short name or repository, in any case."""
    wanted = reference.casefold()
    return next((e for e in CATALOGUE if wanted in (e.name.casefold(), e.repo.casefold())), None)
