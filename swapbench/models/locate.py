"""From the names in an experiment to checkpoints on this machine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from swapbench.base.errors import ModelError, did_you_mean
from swapbench.base.files import expanded
from swapbench.models import hub
from swapbench.models.catalogue import CATALOGUE, lookup
from swapbench.models.checkpoint import Fault, weight_bytes
from swapbench.models.stand_ins import order, store
from swapbench.models.stand_ins.order import Order
from swapbench.models.validation import examined, fault
from swapbench.spec.experiment import Source
from swapbench.wire.plan import Checkpoint

# Those in which models have names; what is local has paths.
NAMED_SOURCES: Final = (Source.HUB, *store.MADE_SOURCES)


@dataclass(frozen=True)
class Located:
    """Where a model, by the experiment's name for it, is or is not.

    `source` is what its checkpoint is, or would be, whatever was asked for; `weight_bytes` what its files
    take, or would, 0 if nobody knows. `hint`: why there is none, or none that can be loaded, and what to do.
    """

    name: str
    reference: str
    source: Source
    path: Path | None = None
    weight_bytes: int = 0
    hint: str = ""
    fault: Fault | None = None

    @property
    def to_come(self) -> bool:
        """Whether a command gets it."""
        return self.path is None and self.source is not Source.LOCAL

    def _at(self, folder: Path) -> "Located":
        """What swapbench made is what it was made as, whatever name or path has led to it."""
        source = store.made_as(folder) or self.source
        return replace(self, source=source, path=folder, weight_bytes=weight_bytes(folder))

    def _unfit(self, folder: Path, found: Fault) -> "Located":
        found = store.advised(found, self.source, folder, self.reference)
        state = "is no whole checkpoint" if found.incomplete else "can't be loaded"
        return replace(self, hint=f"{folder} {state}: {found}", fault=found)


def locate(name: str, reference: str, source: Source) -> Located:
    """Look for a model's checkpoint; nothing is made and nothing downloaded.

    A reference that begins with ./ ../ / or ~ is a checkpoint's folder, whatever the source.

    Raises:
        ModelError: the reference names no model that this source could have; or what is there is swapbench's,
            and doesn't say what it is.
    """
    wanted = Located(name, reference, Source.LOCAL if is_path(reference) else source)
    if is_path(reference):
        folder = expanded(reference)
        if not folder.is_dir():
            return replace(wanted, hint=f"{folder} is no whole checkpoint: there is no such folder")
        found = fault(folder)
        return wanted._unfit(folder, found) if found else wanted._at(folder.absolute())
    if source is Source.LOCAL:
        said = f'source local takes folders, and "{reference}" is no path'
        return replace(wanted, hint=f"{said}; give one by --set models.{name}=PATH")
    return _located_on_hub(wanted) if source is Source.HUB else _located_here(wanted)


def _located_on_hub(wanted: Located) -> Located:
    entry = lookup(wanted.reference)
    repo = entry.repo if entry else wanted.reference
    if not hub.is_repo(repo):
        hint = did_you_mean(repo, [entry.name for entry in CATALOGUE])
        raise ModelError(f'"{repo}" names no Hugging Face repository; {hint}')
    path, found = hub.find(repo)
    if path is not None:
        return wanted._at(path)
    name = entry.name if entry else repo
    hint = f"not in the Hugging Face cache; `swapbench models fetch {name}`"
    if found:
        found = store.advised(found, Source.HUB, Path(), name)
        hint = f"incomplete in the Hugging Face cache ({found.what}); {found.remedy}"
    return replace(wanted, weight_bytes=entry.hub_bytes if entry else 0, hint=hint, fault=found)


def _located_here(wanted: Located) -> Located:
    made_by = order_for(wanted.reference, wanted.source)
    made_name = made_by.name if made_by else wanted.reference
    folder = store.folder_of(made_name, wanted.source)
    state = store.state(folder, made_by)
    if not state:
        return wanted._at(folder)
    found = "made by another version of swapbench" if state == "stale" else "not made yet"
    hint = f"{found}; `swapbench models synth {made_name}`"
    entry = lookup(wanted.reference)
    size_bytes = entry.synthetic_bytes if entry else 0
    if wanted.source is Source.MINI:
        hint = "made on first use, in seconds"
        size_bytes = entry.mini_bytes if entry else 0
    return replace(wanted, weight_bytes=size_bytes, hint=hint)


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
    return model._unfit(model.path, found)


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


def _made_mini(model: Located, on_progress: Callable[[str], None]) -> Located:
    missing = model.path is None and model.source is Source.MINI
    wanted = order_for(model.reference, Source.MINI) if missing else None
    if wanted is None:
        return model
    on_progress(f"making the mini model {wanted.name}")
    store.make(wanted, lambda *_: None)
    return locate(model.name, model.reference, model.source)


def _certain(model: Located, source: Source, on_progress: Callable[[str], None], elsewhere: bool) -> Located:
    if model.path is None or store.is_own(model.path, model.source):
        return model
    looked = looked_at(model, on_progress, elsewhere=elsewhere)
    if looked.fault is None:
        return model
    # As whoever asks the next time is told: the hub's cache may have another snapshot.
    again = locate(model.name, model.reference, source)
    return looked if again.path == model.path else _certain(again, source, on_progress, elsewhere)


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
        verb, state = "synth", "made yet, or made by another version of swapbench"
        if named[0].source is Source.HUB:
            verb, state = "fetch", "in the Hugging Face cache"
        sizes = [f" ({model.weight_bytes / 1e9:.2f} GB)" if model.weight_bytes else "" for model in named]
        parts = ", ".join(f"{model.name}{size}" for model, size in zip(named, sizes, strict=True))
        entries = [(lookup(model.reference), model.reference) for model in named]
        names = " ".join(entry.name if entry else reference for entry, reference in entries)
        lines.insert(0, f"not {state}: {parts}; run `swapbench models {verb} {names}`")
    return "; ".join(lines)


def find(reference: str, sources: Sequence[Source]) -> Path:
    """The one checkpoint that there is of a model among `sources`; a path is that folder.

    Raises:
        ModelError: there is none, or more than one, or mlx-lm can't load it.
    """
    located: dict[Source, Located] = {}
    if is_path(reference):
        located[Source.LOCAL] = locate(reference, reference, Source.LOCAL)
    else:
        for source in sources:
            with suppress(ModelError):
                located[source] = locate(reference, reference, source)
    there = [source for source, model in located.items() if model.path is not None]
    if len(there) > 1:
        options = " or ".join(f"--source {source}" for source in there)
        raise ModelError(f'"{reference}" is there as {" and ".join(there)}; say which by {options}')
    if there or len(located) == 1:
        model = looked_at(located[there[0]] if there else next(iter(located.values())))
        if model.path is not None and model.fault is None:
            return model.path
        raise ModelError(f"{reference}: {model.hint}")
    if located and not Path(reference).is_dir():
        raise ModelError(
            f'no checkpoint of "{reference}" is here; `swapbench models list` shows what gets it'
        )
    raise ModelError(f'no model "{reference}"; {_hint(reference)}')


def is_path(reference: str) -> bool:
    """Whether a reference is a folder's path, by its first characters."""
    return reference.startswith(("./", "../", "/", "~")) or reference in (".", "..")


def order_for(reference: str, source: Source) -> Order | None:
    """The order that makes what `reference` names; None for a mini whose full configuration is not kept.

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
    raise ModelError(f'no model "{reference}" for source {source}; {_hint(reference)}')


def _hint(reference: str) -> str:
    """What may be meant by a name of no model."""
    if Path(reference).is_dir():
        return f"the folder of that name is ./{reference}"
    made = (name for source in store.MADE_SOURCES for name in store.made(source))
    return did_you_mean(reference, {*(entry.name for entry in CATALOGUE), *made})
