"""From the names in an experiment to checkpoints on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapbench.errors import ModelError, did_you_mean
from swapbench.experiment import Source
from swapbench.home import expanded
from swapbench.models import hub, making, order, store
from swapbench.models.catalogue import CATALOGUE, Entry, lookup
from swapbench.models.checkpoint import weight_bytes
from swapbench.models.order import Order
from swapbench.models.soundness import fault
from swapbench.wire import Checkpoint

# Those in which models have names; what is local has paths.
NAMED_SOURCES: Final = (Source.HUB, *store.MADE_SOURCES)


@dataclass(frozen=True)
class Located:
    """Where a model is, or is not.

    Args:
        name: the experiment's name for it.
        source: what its checkpoint is, whatever was asked for; where there is none, what it would be.
        path: its checkpoint; None when there is none.
        weight_bytes: bytes of its weight files, or what they would take; 0 if nobody knows.
        hint: where there is no checkpoint, or one that can't be loaded: why, and what to do.
    """

    name: str
    reference: str
    source: Source
    path: Path | None
    weight_bytes: int
    hint: str

    @property
    def to_come(self) -> bool:
        """Whether it can be had by a command."""
        return self.path is None and self.source is not Source.LOCAL


def locate(name: str, reference: str, source: Source) -> Located:
    """Look for a model's checkpoint; nothing is made and nothing downloaded.

    A reference that begins with ./ ../ / or ~ is a checkpoint's folder, whatever the source.

    Raises:
        ModelError: the reference names no model that this source could have; or what is there is swapbench's,
            and doesn't say what it is.
    """
    if is_path(reference):
        return _located_folder(name, reference)
    if source is Source.LOCAL:
        return Located(name, reference, Source.LOCAL, None, 0, _no_path(name, reference))
    if source is Source.HUB:
        return _located_on_hub(name, reference)
    return _located_here(name, reference, source)


def provide(
    models: Mapping[str, str], source: Source, on_progress: Callable[[str], None]
) -> dict[str, Checkpoint]:
    """A checkpoint for each model. Minis are made where they are missing; nothing big ever is.

    Raises:
        ModelError: some are missing: all of them, with their sizes and the command that gets them.
    """
    located = [locate(name, reference, source) for name, reference in models.items()]
    located = [_made_mini(model, on_progress) for model in located]
    missing = [model for model in located if model.path is None]
    if missing:
        raise ModelError(_wanted(missing))
    for model in located:
        str(model.path).encode()  # it is told to the worker, and kept in results, as text
    return {
        model.name: Checkpoint(
            name=model.name,
            reference=model.reference,
            source=model.source,
            path=model.path,
            weight_bytes=model.weight_bytes,
        )
        for model in located
        if model.path is not None
    }


def find(reference: str, sources: Sequence[Source]) -> Path:
    """The one checkpoint that there is of a model among `sources`; a path is that folder.

    Raises:
        ModelError: there is none, or more than one.
    """
    if is_path(reference):
        located = {Source.LOCAL: locate(reference, reference, Source.LOCAL)}
    else:
        located = {source: model for source in sources if (model := _if_known(reference, source))}
    there = {source: model.path for source, model in located.items() if model.path is not None}
    if len(there) > 1:
        options = " or ".join(f"--source {source}" for source in there)
        raise ModelError(f'"{reference}" is there as {" and ".join(there)}; say which by {options}')
    for path in there.values():
        return path
    if len(located) == 1:
        (model,) = located.values()
        raise ModelError(f"{reference}: {model.hint}")
    raise ModelError(_nowhere(reference, known=bool(located)))


def is_path(reference: str) -> bool:
    """Whether a reference is a folder's path, by its first characters."""
    return reference.startswith(("./", "../", "/", "~")) or reference in (".", "..")


def order_for(reference: str, source: Source) -> Order | None:
    """The order that makes what `reference` names; None for a mini whose full configuration is not kept.

    Raises:
        ModelError: it names no model that could be made.
    """
    entry = lookup(reference)
    if entry is not None:
        return order.of_entry(entry, source)
    if reference in store.made(Source.SYNTHETIC):
        config = store.folder_of(reference, Source.SYNTHETIC) / "config.json"
        return order.of_config_file(reference, source, config)
    if reference in store.made(source):
        return None
    raise ModelError(f'no model "{reference}" for source {source}; {did_you_mean(reference, _known())}')


def _if_known(reference: str, source: Source) -> Located | None:
    try:
        return locate(reference, reference, source)
    except ModelError:
        return None


def _nowhere(reference: str, known: bool) -> str:
    if Path(reference).is_dir():
        return f'no model "{reference}"; the folder of that name is ./{reference}'
    if known:
        return f'no checkpoint of "{reference}" is here; `swapbench models list` shows what gets it'
    return f'no model "{reference}"; {did_you_mean(reference, _known())}'


def _no_path(name: str, reference: str) -> str:
    return f'source local takes folders, and "{reference}" is no path; give one by --set models.{name}=PATH'


def _located_folder(name: str, reference: str) -> Located:
    folder = expanded(reference)
    lack = fault(folder) if folder.is_dir() else "there is no such folder"
    if lack:
        return Located(name, reference, Source.LOCAL, None, 0, f"{folder} is no whole checkpoint: {lack}")
    return _there(name, reference, folder.absolute(), Source.LOCAL)


def _there(name: str, reference: str, folder: Path, source: Source) -> Located:
    """What swapbench made is what it was made as, whatever name or path has led to it."""
    return Located(name, reference, store.made_as(folder) or source, folder, weight_bytes(folder), "")


def _located_on_hub(name: str, reference: str) -> Located:
    entry = lookup(reference)
    repo = entry.repo if entry else reference
    if not hub.is_repo(repo):
        raise ModelError(
            f'"{reference}" names no Hugging Face repository; {did_you_mean(reference, _catalogue())}'
        )
    path, lack = hub.find(repo)
    if path is not None:
        return _there(name, reference, path, Source.HUB)
    state = f"incomplete in the Hugging Face cache ({lack})" if lack else "not in the Hugging Face cache"
    hint = f"{state}; `swapbench models fetch {entry.name if entry else repo}`"
    return Located(name, reference, Source.HUB, None, entry.hub_bytes if entry else 0, hint)


def _located_here(name: str, reference: str, source: Source) -> Located:
    entry = lookup(reference)
    wanted = order_for(reference, source)
    made_name = wanted.name if wanted else reference
    folder = store.folder_of(made_name, source)
    state = store.state(folder, wanted)
    if not state:
        return _there(name, reference, folder, source)
    return Located(name, reference, source, None, _size_to_be(entry, source), _hint(state, made_name, source))


def _hint(state: str, made_name: str, source: Source) -> str:
    if source is Source.MINI:
        return "made on first use, in seconds"
    found = "made by another version of swapbench" if state == "stale" else "not made yet"
    return f"{found}; `swapbench models synth {made_name}`"


def _size_to_be(entry: Entry | None, source: Source) -> int:
    if entry is None:
        return 0
    return entry.mini_bytes if source is Source.MINI else entry.synthetic_bytes


def _made_mini(model: Located, on_progress: Callable[[str], None]) -> Located:
    if model.path is not None or model.source is not Source.MINI:
        return model
    wanted = order_for(model.reference, Source.MINI)
    if wanted is None:
        return model
    on_progress(f"making the mini model {wanted.name}")
    making.make(wanted, lambda _: None)
    return locate(model.name, model.reference, model.source)


def _wanted(missing: list[Located]) -> str:
    """Everything that is missing, in one line, with one command that gets it all."""
    named = [model for model in missing if model.source is not Source.LOCAL]
    lines = [f"{model.name}: {model.hint}" for model in missing if model.source is Source.LOCAL]
    if named:
        verb, state = ("fetch", "in the Hugging Face cache") if named[0].source is Source.HUB else _MADE
        parts = ", ".join(f"{model.name}{_sized(model.weight_bytes)}" for model in named)
        names = " ".join(_short(model.reference) for model in named)
        lines.insert(0, f"not {state}: {parts}; run `swapbench models {verb} {names}`")
    return "; ".join(lines)


_MADE: Final = ("synth", "made yet, or made by another version of swapbench")


def _sized(size_bytes: int) -> str:
    return f" ({size_bytes / 1e9:.2f} GB)" if size_bytes else ""


def _short(reference: str) -> str:
    entry = lookup(reference)
    return entry.name if entry else reference


def _catalogue() -> list[str]:
    return [entry.name for entry in CATALOGUE]


def _known() -> set[str]:
    return {*_catalogue(), *(name for source in store.MADE_SOURCES for name in store.made(source))}
