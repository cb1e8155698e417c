"""Experiments, for people and for programs: those there are, and what one of them would do and take."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swapbench.base.figures import memory, size
from swapbench.report.console import readable
from swapbench.spec.experiment import Experiment

if TYPE_CHECKING:
    from swapbench.models.locate import Located
    from swapbench.run.capacity import Available, Needs

# What the other tables of `show` have.
_SHOWN_APART: Final = {"scenario", "models", "title", "description"}


def print_experiments(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each is called, and of what it is made."""
    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    # Names are to be copied, so they are never folded.
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    entries = []
    for row in rows:
        made_of = f"models: {', '.join(row['models'])}\nscenarios: {', '.join(row['scenarios'])}"
        said = (Text(row["title"]), Text(made_of, style="dim"), Text(row["file"], style="dim"))
        name = Text(row["name"], style="bold")
        entries.append((name, *said))
        table.add_row(name, Text("\n").join(said))
    room = console.width - max((len(row["name"]) for row in rows), default=0) - 2
    if all(len(row["file"]) <= room for row in rows):
        console.print(readable(table, console))
        return
    # Files are to be copied as well: a terminal breaks its lines itself, and knows that they are one.
    for name, *texts, file in entries:
        console.print(name)
        console.print(Padding(Text("\n").join(texts), (0, 0, 0, 2)))
        console.print(Text("  ").append(file), soft_wrap=True)


def print_experiment(
    path: Path,
    chosen: Experiment,
    located: "Sequence[Located]",
    taken: "Needs",
    there: "Available",
    console: Console,
) -> None:
    """Print what a run would do, where its models are, and what it takes of what there is."""
    console.print(Text(chosen.title or path.stem, style="bold"))
    console.print(Text(str(path), style="dim"), soft_wrap=True)
    if chosen.description:
        console.print(Text(chosen.description.strip()))
    scenarios = _table("scenario", "from", "to")
    again = chosen.reloads({model.name: str(model.path or model.reference) for model in located})
    for scenario in chosen.scenario:
        to = scenario.to_model + (" (the same: a reload)" if scenario.name in again else "")
        scenarios.add_row(Text(scenario.name), Text(scenario.from_model), Text(to))
    console.print(readable(scenarios, console))
    console.print(readable(_models(located), console))
    for line in _needs(taken, there):
        console.print(Text(line))


def print_settings(chosen: Experiment, written: Experiment | None, console: Console) -> None:
    """Print every setting, and what the file says where an override changes that.

    Args:
        written: the file without overrides; None where it is none without them.
    """
    before = {} if written is None else _settings(written)
    table = _table("setting", "in effect", "in the file")
    for key, value in _settings(chosen).items():
        changed = before.get(key, "") if before.get(key) != value else ""
        table.add_row(Text(key), Text(value), Text(changed))
    console.print(readable(table, console))


def to_json(
    path: Path, chosen: Experiment, located: "Sequence[Located]", taken: "Needs", there: "Available"
) -> str:
    """One object: the experiment, where its models are, what it needs, and what the machine has."""
    document = {
        "name": path.stem,
        "file": str(path),
        "experiment": chosen.model_dump(mode="json", by_alias=True),
        "models": [
            {
                "name": model.name,
                "reference": model.reference,
                "source": str(model.source),
                "weight_bytes": model.weight_bytes or None,
                "path": str(model.path) if model.path else None,
                "hint": model.hint,
            }
            for model in located
        ],
        "needs": asdict(taken) | {"memory_bytes": taken.memory_bytes},
        "machine": asdict(there),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _models(located: "Sequence[Located]") -> Table:
    table = _table("model", "source", "size", "checkpoint")
    for model in located:
        where = Text(model.hint or str(model.path), style="dim")
        told = where if where.plain == model.reference else Text("\n").join((Text(model.reference), where))
        weight = size(model.weight_bytes) if model.weight_bytes else "unknown"
        table.add_row(Text(model.name), Text(model.source), Text(weight), told)
    return table


def _needs(taken: "Needs", there: "Available") -> Iterator[str]:
    least = "at least " if taken.unweighed else ""
    limited = f", limited by {there.memory_limited_by}" if there.memory_limited_by else ""
    yield (
        f"memory: {least}{memory(taken.memory_bytes)}{_made_of(taken)}; "
        f"{memory(there.memory_available_bytes)} available{limited}"
        + _too_little(taken.memory_bytes, there.memory_available_bytes)
    )
    if taken.page_cache_bytes:
        yield (
            "page cache: a warm swap needs room for the new model's file beside the old model, then beside "
            f"its own copy: {_least(memory(taken.page_cache_bytes), taken.unweighed)}; "
            "with less, swaps are invalid"
        )
    yield (
        f"disk for checkpoints: {_least(size(taken.missing_bytes), taken.missing_unweighed)} to get; "
        f"{size(there.checkpoints_free_bytes)} free"
        + _too_little(taken.missing_bytes, there.checkpoints_free_bytes)
    )
    if taken.eviction_bytes:
        yield (
            f"disk for results: evicted KV caches up to {size(taken.eviction_bytes)}; "
            f"{size(there.results_free_bytes)} free"
            + _too_little(taken.eviction_bytes, there.results_free_bytes)
        )


def _made_of(taken: "Needs") -> str:
    model = f"{taken.largest_model} {memory(taken.largest_model_bytes)}" if taken.largest_model_bytes else ""
    caches = f"KV caches up to {memory(taken.kv_bytes)}" if taken.kv_bytes else ""
    parts = ", ".join(filter(None, (model, caches, _unknown(taken.unweighed))))
    return f" ({parts})" if parts else ""


def _least(known: str, unweighed: Sequence[str]) -> str:
    """What is known to be needed, where there are models of unknown size, too."""
    return f"at least {known} ({_unknown(unweighed)})" if unweighed else known


def _unknown(unweighed: Sequence[str]) -> str:
    return ", ".join(f"{name} unknown" for name in unweighed)


def _too_little(needed: int, there: int) -> str:
    return "" if needed <= there else ": too little"


def _settings(chosen: Experiment) -> dict[str, str]:
    """Every value of the file by its dotted key, but for what stands in the other tables."""
    document = chosen.model_dump(mode="json", by_alias=True, exclude=_SHOWN_APART)
    document["fault"] = ", ".join(f"{f.kind} {f.when} {f.scenario}" for f in chosen.fault) or "none"
    document["strategy"] = "; ".join(f"{name}: {how.describe()}" for name, how in chosen.strategy.items())
    document["criterion"] = ", ".join(criterion.kind for criterion in chosen.criterion) or "none"
    flat: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": _spelled(v) for inner, v in value.items()}
        elif value is not None:
            flat[key] = _spelled(value)
    return flat


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(name: str, *columns: str) -> Table:
    """Its first column has names, which are never folded."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    table.add_column(name, no_wrap=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
