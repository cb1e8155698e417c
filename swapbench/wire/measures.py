"""A figure is declared once, beside its field: columns, types and documentation of tables come from it."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property, reduce
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field

Kind = Literal["text", "flag", "number"]

_KINDS: Final[dict[type, Kind]] = {bool: "flag", int: "number", float: "number"}
# By what a column's name ends in.
_UNITS: Final = {"s": "s", "seconds": "s", "bytes": "B", "j": "J", "w": "W"}


@dataclass(frozen=True)
class Measure:
    """What a field means, and what an empty cell does: by `figure` or `measured`, or in its `Annotated`.

    `unit` is said where the column's name doesn't tell it, `column` where that is not the field's name. Of a
    field of ledgers, `column` is as `{}_before_bytes`, and without a meaning each ledger has its own.
    """

    meaning: str = ""
    empty: str = "never"
    unit: str = ""
    column: str = ""


def figure(meaning: str, empty: str, unit: str = "", column: str = "", default: Any = None) -> Any:
    """A field of a dataclass with its `Measure`."""
    return field(default=default, metadata={"measure": Measure(meaning, empty, unit, column)})


def measured(meaning: str = "", empty: str = "never", column: str = "", default: Any = None) -> Any:
    """As `figure`, of a message."""
    extra: Any = {"measure": Measure(meaning, empty, column=column)}
    return Field(default, json_schema_extra=extra)


@dataclass(frozen=True)
class Column:
    """A column of a table; `path` is where a message has its value, empty for the run's id."""

    name: str
    measure: Measure
    kind: Kind
    path: tuple[str, ...]

    @property
    def unit(self) -> str:
        """As documented; empty for text, flags and counts."""
        return self.measure.unit or _UNITS.get(self.name.rpartition("_")[2], "")


_RUN: Final = Column("run_id", Measure("the run"), "text", ())


@dataclass(frozen=True)
class RunTable:
    """A table of a run's folder: a row for each message of a kind, flattened; `without` some columns.

    `required` is the header of a transcribed run: no table may lack one of those. Runs from before another
    was added are read as not having recorded it.
    """

    file: str
    message: type[BaseModel]
    required: str
    without: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """In the order in which they are written."""
        return (_RUN, *(column for column in _columns(self.message) if column.name not in self.without))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The header."""
        return tuple(column.name for column in self.columns)

    def lacking(self, header: Container[str]) -> str:
        """The first column that is required, and not in a header; empty where all are."""
        return next((name for name in self.required.split(",") if name not in header), "")

    def row(self, run_id: str, message: BaseModel) -> dict[str, Any]:
        """A message's row."""
        return {c.name: reduce(getattr, c.path, message) if c.path else run_id for c in self.columns}


def _columns(model: type, path: tuple[str, ...] = ()) -> Iterator[Column]:
    """Those of a model and of what it holds, in the order of the fields."""
    told: dict[str, Any]
    if issubclass(model, BaseModel):
        told = {name: one.json_schema_extra or {} for name, one in model.model_fields.items()}
    else:
        assert is_dataclass(model)
        told = {one.name: one.metadata for one in fields(model)}
    for name, hint in get_type_hints(model, include_extras=True).items():
        kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        measures = [note for note in (*notes, told.get(name, {}).get("measure")) if isinstance(note, Measure)]
        measure = measures[0] if measures else None
        if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, BaseModel)):
            for own in _columns(kind, (*path, name)):
                if measure is None:
                    yield own
                    continue
                column = measure.column.format(own.name.removesuffix("_bytes"))
                yield replace(own, name=column, measure=measure if measure.meaning else own.measure)
        elif measure is not None:
            parts = (kind, *get_args(kind))
            kinds: list[Kind] = [said for of, said in _KINDS.items() if of in parts]
            yield Column(measure.column or name, measure, (*kinds, "text")[0], (*path, name))
