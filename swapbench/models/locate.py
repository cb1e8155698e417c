"""From the names in an experiment to checkpoints on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swapbench.base.errors import ModelError, did_you_mean
from swapbench.base.files import expanded
from swapbench.models import hub
from swapbench.models.catalogue import CATALOGUE, Entry, lookup
from swapbench.models.checkpoint import weight_bytes
from swapbench.models.stand_ins import order, store
from swapbench.models.stand_ins.order import Order
from swapbench.models.validation import Fault, examined, fault
from swapbench.spec.experiment import Source
from swapbench.wire.plan import Checkpoint

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
        fault: what is wrong with one that can't be loaded, and what to do.
    """

    name: str
    reference: str
    source: Source
    path: Path | None
    weight_bytes: int
    hint: str
    fault: Fault | None = None

    @property
    def to_come(self) -> bool:
        """Whether a command gets it."""
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


def looked_at(
    model: Located, on_progress: Callable[[str], None] = lambda _: None, *, elsewhere: bool = False
) -> Located:
    """With what keeps mlx-lm from loading its checkpoint, asked for certain once for each state of the files.

    Args:
        elsewhere: whoever loads it has another mlx-lm, which may know more: what is damaged counts alone.
    """
    if model.path is None:
        return model
    found = examined(model.path, lambda: on_progress(f"looking at {model.name}"))
    if found is None or (elsewhere and not found.incomplete):
        return model
    return _unfit(model, model.path, found)


def provide(
    models: Mapping[str, str],
    source: Source,
    on_progress: Callable[[str], None],
    *,
    elsewhere: bool = False,
) -> dict[str, Checkpoint]:
    """A checkpoint for each model. Minis are made where they are missing; nothing big ever is.

    Args:
        elsewhere: as for `looked_at`.

    Raises:
        ModelError: some are missing, or can't be loaded: all of them, with what to do.
    """
    located = [locate(name, reference, source) for name, reference in models.items()]
    located = [_made_mini(model, on_progress) for model in located]
    located = [_certain(model, source, on_progress, elsewhere) for model in located]
    missing = [model for model in located if model.path is None or model.fault]
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
        ModelError: there is none, or more than one, or mlx-lm can't load it.
    """
    if is_path(reference):
        located = {Source.LOCAL: locate(reference, reference, Source.LOCAL)}
    else:
        located = {source: model for source in sources if (model := _if_known(reference, source))}
    there = {source: model for source, model in located.items() if model.path is not None}
    if len(there) > 1:
        options = " or ".join(f"--source {source}" for source in there)
        raise ModelError(f'"{reference}" is there as {" and ".join(there)}; say which by {options}')
    for model in map(looked_at, there.values()):
        if model.path is not None and model.fault is None:
            return model.path
        raise ModelError(f"{reference}: {model.hint}")
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
    hint = f"{folder} is no whole checkpoint: there is no such folder"
    nothing = Located(name, reference, Source.LOCAL, None, 0, hint)
    if not folder.is_dir():
        return nothing
    if found := fault(folder):
        return _unfit(nothing, folder, found)
    return _there(name, reference, folder.absolute(), Source.LOCAL)


def _unfit(model: Located, folder: Path, found: Fault) -> Located:
    found = store.advised(found, model.source, folder, model.reference)
    state = "is no whole checkpoint" if found.incomplete else "can't be loaded"
    return replace(model, hint=f"{folder} {state}: {found}", fault=found)


def _certain(model: Located, source: Source, on_progress: Callable[[str], None], elsewhere: bool) -> Located:
    if model.path is None or store.is_own(model.path, model.source):
        return model
    looked = looked_at(model, on_progress, elsewhere=elsewhere)
    if looked.fault is None:
        return model
    # As whoever asks the next time is told: the hub's cache may have another snapshot.
    again = locate(model.name, model.reference, source)
    if again.path == model.path:
        return looked
    return _certain(again, source, on_progress, elsewhere)


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
    path, found = hub.find(repo)
    if path is not None:
        return _there(name, reference, path, Source.HUB)
    wanted = entry.name if entry else repo
    hint = f"not in the Hugging Face cache; `swapbench models fetch {wanted}`"
    if found:
        found = store.advised(found, Source.HUB, Path(), wanted)
        hint = f"incomplete in the Hugging Face cache ({found.what}); {found.remedy}"
    return Located(name, reference, Source.HUB, None, entry.hub_bytes if entry else 0, hint, found)


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
    store.make(wanted, lambda _: None)
    return locate(model.name, model.reference, model.source)


def _wanted(missing: list[Located]) -> str:
    """Everything that is missing, in one line, with one command that gets it all."""
    broken = [(model.name, model.fault) for model in missing if model.fault]
    named = [model for model in missing if not (model.fault or model.source is Source.LOCAL)]
    told = [model for model in missing if model not in named and not (model.fault and len(broken) > 1)]
    lines = [f"{model.name}: {model.hint}" for model in told]
    if len(broken) > 1:  # their names first: of a long line the middle is left out
        names = ", ".join(name for name, _ in broken)
        faults = "; ".join(f"{name}: {found.what:.100}; {found.remedy}" for name, found in broken)
        lines.append(f"{names} can't be loaded: {faults}")
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
