"""`swapbench models`: which models there are, and where; making, fetching and removing them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swapbench.base.errors import ModelError, UsageError, did_you_mean
from swapbench.cli import completion
from swapbench.cli.options import Command, Json, argument, group, option

if TYPE_CHECKING:
    from swapbench.spec.experiment import Source

app = group(
    "models",
    "List models, make stand-ins, fetch, repack, and remove them.",
    "swapbench models list",
    "swapbench models synth exp012",
    codes="0 fine, 2 usage, 7 a download failed",
)

Wanted = Annotated[
    list[str] | None,
    argument("EXPERIMENT|MODEL", "Experiments or models, by name.", completion.models_and_experiments),
]


@app.command("list", cls=Command)
def list_(as_json: Json = False) -> None:
    """List models, and where each checkpoint is.

    \b
    Examples:
      swapbench models list
      swapbench models list --json

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.models.cache import cache_root
    from swapbench.models.catalogue import CATALOGUE
    from swapbench.models.locate import NAMED_SOURCES
    from swapbench.models.stand_ins import store
    from swapbench.report.console import list_console
    from swapbench.report.lists import print_models

    rows: list[dict[str, Any]] = []
    for entry in CATALOGUE:
        sources = [_row(entry.name, source) for source in NAMED_SOURCES]
        rows.append({"name": entry.name, "title": entry.title, "repo": entry.repo, "sources": sources})
    known = {name for entry in CATALOGUE for name in (entry.name, entry.mini_name)}
    for name in sorted({name for source in store.MADE_SOURCES for name in store.made(source)} - known):
        there = [source for source in store.MADE_SOURCES if name in store.made(source)]
        sources = [_row(name, source) for source in there]
        rows.append({"name": name, "title": "made from a config.json", "repo": None, "sources": sources})
    if as_json:
        print(json.dumps({"cache": str(cache_root()), "models": rows}, indent=2))
    else:
        print_models(rows, list_console())


@app.command(cls=Command)
def synth(
    wanted: Wanted = None,
    config: Annotated[Path | None, option("FILE", "Hugging Face config.json of the model to make.")] = None,
    name: Annotated[str, option("NAME", "Name of the model made from --config.")] = "",
    mini: Annotated[bool, typer.Option("--mini", help="Make the scaled-down model.")] = False,
) -> None:
    """Make synthetic checkpoints: real shapes, random weights.

    Names and sizes are real, too. Nothing is downloaded.

    \b
    Examples:
      swapbench models synth exp012
      swapbench models synth --config config.json --name my-model

    Exit codes: 0 fine, 2 usage, 130 interrupted: incomplete checkpoints are made again.
    """
    from swapbench.models.catalogue import lookup
    from swapbench.models.locate import order_for
    from swapbench.models.stand_ins import store
    from swapbench.models.stand_ins.order import of_config_file
    from swapbench.report.lists import progress_of
    from swapbench.spec.experiment import Source

    source = Source.MINI if mini else Source.SYNTHETIC
    if (config is None) != (not name) or (config is None) != bool(wanted):
        raise UsageError("give experiments or models, or else --config FILE and --name NAME together")
    if config is not None:
        if entry := lookup(name):
            raise UsageError(f"--name {name}: that is {entry.title} of the catalogue; choose another name")
        store.folder_of(name, source)  # refuses what is no name
        orders = [of_config_file(name, source, config)]
    else:
        instead = "name experiments or models, or give --config FOLDER/config.json and --name NAME"
        found = [order_for(reference, source) for reference in _references(wanted or [], instead)]
        orders = list({order.name: order for order in found if order is not None}.values())
    for order in orders:
        folder = store.folder_of(order.name, source)
        if not store.state(folder, order):
            print(f"{order.name}: there already, {folder}")
            continue
        with progress_of(order.name) as show:
            store.make(order, show)
        print(f"{order.name}: made, {folder}")


@app.command(cls=Command)
def fetch(
    wanted: Annotated[
        list[str],
        argument(
            "EXPERIMENT|MODEL|REPO",
            "Experiments, models or repositories (org/name).",
            completion.models_and_experiments,
        ),
    ],
) -> None:
    """Fetch models from the Hugging Face hub into its cache.

    An interrupted download can be resumed.

    \b
    Examples:
      swapbench models fetch exp012

    Exit codes: 0 fine, 2 usage, 7 the download failed, 130 interrupted: it can be resumed.
    """
    from swapbench.models import hub
    from swapbench.models.catalogue import CATALOGUE, lookup
    from swapbench.report.lists import progress_of
    from swapbench.spec.experiment import discover

    references = _references(wanted, "name experiments, models or repositories (org/name)")
    repos = dict.fromkeys(entry.repo if (entry := lookup(word)) else word for word in references)
    for repo in repos:
        if not hub.is_repo(repo):
            hint = did_you_mean(repo, [*(entry.name for entry in CATALOGUE), *discover()])
            raise ModelError(f'"{repo}" is no experiment, model or repository (org/name); {hint}')
    for repo in repos:
        found, _ = hub.find(repo)
        if found is not None:
            print(f"{repo}: there already, {found}")
            continue
        with progress_of(repo) as show:
            found = hub.fetch(repo, show)
        print(f"{repo}: fetched, {found}")


@app.command(cls=Command)
def repack(
    model: Annotated[
        str,
        argument("MODEL|PATH", "A model that is on this machine, or a folder.", completion.models),
    ],
    out: Annotated[Path, option("DIR", "Folder of the copy; must not exist yet.")],
    align: Annotated[int, option("BYTES", "Alignment of tensors' data.")] = 16384,
    source: Annotated[
        str,
        option(
            "SOURCE",
            "Where the checkpoint is from: hub, synthetic or mini.",
            completion.named_sources,
        ),
    ] = "",
) -> None:
    """Copy a checkpoint so that its weights can be memory-mapped.

    The tensors are the same; each begins at a page boundary.

    \b
    Examples:
      swapbench models repack gemma-3-12b --out ~/models/gemma-3-12b-aligned

    Exit codes: 0 fine, 2 usage, 130 interrupted.
    """
    from swapbench.base.files import expanded
    from swapbench.models.locate import NAMED_SOURCES, find
    from swapbench.models.repack import Outcome
    from swapbench.models.repack import repack as copy
    from swapbench.report.lists import progress_of

    sources = [known for known in NAMED_SOURCES if source in ("", known)]
    if not sources:
        raise UsageError(f"--source {source}: must be hub, synthetic or mini")
    folder = find(model, sources)
    target = expanded(out).resolve()
    with progress_of(model) as show:
        outcome = copy(folder, target, align, show)
    if outcome is Outcome.ALIGNED:
        print(f"{model}: aligned already, {folder}; nothing was written")
    elif outcome is Outcome.THERE:
        print(f"{model}: repacked already, {target}; every byte was compared")
    else:
        print(f"{model}: repacked, {target}; experiments take that path for a model")


@app.command(cls=Command)
def rm(
    names: Annotated[
        list[str] | None,
        argument("NAME", "Models to remove.", completion.made_models),
    ] = None,
    source: Annotated[str, option("SOURCE", "Only synthetic or only mini.", completion.made_sources)] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every model that was made.")] = False,
) -> None:
    """Remove checkpoints that swapbench made.

    The Hugging Face cache is left alone.

    \b
    Examples:
      swapbench models rm gemma-3-12b --source synthetic

    Exit codes: 0 fine, 2 usage, or no such model.
    """
    from swapbench.base.figures import size
    from swapbench.models.catalogue import lookup
    from swapbench.models.stand_ins import store

    chosen = [known for known in store.MADE_SOURCES if source in ("", known)]
    if not chosen:
        raise UsageError(f"--source {source}: must be {' or '.join(store.MADE_SOURCES)}")
    if everything == bool(names):
        raise UsageError("give the names of models, or --all; `swapbench models list` shows them")
    # A catalogue model may be given by its repository, too.
    wanted = [entry.name if (entry := lookup(name)) else name for name in names or ()]
    for name in wanted:
        store.folder_of(name, chosen[0])  # refuses what is no name
    made = {kind: store.made(kind) for kind in chosen}
    for name in wanted:
        if not any(name in there for there in made.values()):
            known = {other for kind in store.MADE_SOURCES for other in store.made(kind)}
            raise ModelError(f'no checkpoint of "{name}" was made; {did_you_mean(name, known)}')
    for kind, there in made.items():
        for name in there if everything else [name for name in wanted if name in there]:
            print(f"{name} ({kind}): removed, {size(store.remove(name, kind))} freed")


def _references(wanted: list[str], instead: str) -> list[str]:
    """Models by reference, each once; the name of an experiment stands for its models, less its folders.

    Raises:
        UsageError: a folder was typed: it is there or not, and nothing gets it; `instead` says what to type.
    """
    from swapbench.models.catalogue import lookup
    from swapbench.models.locate import is_path
    from swapbench.spec import experiment

    references: list[str] = []
    known = experiment.discover()
    for word in wanted:
        if lookup(word) is None and (word in known or word.endswith(".toml")):
            chosen = experiment.load(experiment.find(word))
            named = (chosen.models[name] for name in chosen.model_names())
            references += [reference for reference in named if not is_path(reference)]
        elif is_path(word):
            raise UsageError(f"{word}: a folder is used as it is; {instead}")
        else:
            references.append(word)
    return list(dict.fromkeys(references))


def _row(name: str, source: "Source") -> dict[str, Any]:
    """Where a model is; one that is damaged has its fault for a hint, and does not hide the others."""
    from swapbench.models.locate import locate

    row: dict[str, Any] = {"source": str(source), "path": None, "weight_bytes": 0}
    try:
        located = locate(name, name, source)
    except ModelError as error:
        return row | {"hint": str(error)}
    path = str(located.path) if located.path else None
    return row | {"path": path, "weight_bytes": located.weight_bytes, "hint": located.hint}
