"""A figure is declared once, beside its field: columns, types and documentation of tables come from it."""

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property, reduce
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from swapbench.base.phases import ALL_LEDGERS, LEDGERS

Kind = Literal["text", "flag", "number"]

_KINDS: Final[dict[object, Kind]] = {bool: "flag", int: "number", float: "number"}


@dataclass(frozen=True)
class Measure:
    """What a field means, its unit, and what an empty cell means; its `column` where not named as the field.

    Written into the field's `Annotated`. A table may lack the column of a field that has a default.
    """

    meaning: str
    unit: str = ""
    empty: str = "never"
    column: str = ""


@dataclass(frozen=True)
class Ledgers:
    """As `Measure`, of a field of ledgers: their columns, as `{}_before_bytes`, and what each of them is."""

    column: str
    measure: Measure | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table; `path` is where a message has its value, empty for the run's id."""

    name: str
    measure: Measure
    kind: Kind
    required: bool
    path: tuple[str, ...]

    def value(self, message: object) -> Any:
        """The cell of a message's row."""
        return reduce(getattr, self.path, message)


_RUN: Final = Column("run_id", Measure("the run"), "text", True, ())


@dataclass(frozen=True)
class RunTable:
    """A table of a run's folder: a row for each message of a kind, flattened; `without` some columns."""

    file: str
    message: type[BaseModel]
    without: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """In the order in which they are written."""
        found = _columns(self.message)
        return (_RUN, *(column for column in found if column.name not in self.without))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The header."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What each column holds."""
        return {column.name: column.kind for column in self.columns}

    def row(self, run_id: str, message: BaseModel) -> dict[str, Any]:
        """A message's row."""
        return {c.name: c.value(message) if c.path else run_id for c in self.columns}


def _columns(model: type, path: tuple[str, ...] = ()) -> list[Column]:
    """Those of a model and of what it holds, in the order of the fields."""
    found = []
    hints = get_type_hints(model, include_extras=True)
    for name, required in _needed(model).items():
        kind, *notes = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        there = (*path, name)
        for note in notes:
            if isinstance(note, Measure):
                found.append(Column(note.column or name, note, _kind(kind), required, there))
            elif isinstance(note, Ledgers):
                found += _of_ledgers(note, kind, there, required)
        if not notes and isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, BaseModel)):
            found += _columns(kind, there)
    return found


def _of_ledgers(note: Ledgers, reading: type, path: tuple[str, ...], required: bool) -> list[Column]:
    own = {column.path[-1]: column for column in _columns(reading, path)}
    columns = ((ledger, own[f"{ledger}_bytes"]) for ledger in ALL_LEDGERS)
    return [
        # What is beside the ledgers is not on every system.
        Column(
            note.column.format(ledger),
            note.measure or one.measure,
            one.kind,
            required and ledger in LEDGERS,
            one.path,
        )
        for ledger, one in columns
    ]


def _needed(model: type) -> dict[str, bool]:
    """The fields of a model, in order, and whether they have no default."""
    if issubclass(model, BaseModel):
        return {name: field.is_required() for name, field in model.model_fields.items()}
    assert is_dataclass(model)
    return {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(model)}


def _kind(hint: Any) -> Kind:
    parts = [part for part in get_args(hint) if part is not type(None)] if _is_union(hint) else [hint]
    return _KINDS.get(parts[0], "text")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) is Union or type(hint).__name__ == "UnionType"
