"""What users write, checked by pydantic: types, and mistakes in one line with key and nearest valid word."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swapbench.base.errors import UsageError, did_you_mean, one_line

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Reference = Annotated[str, Field(min_length=1)]
# Strict: pydantic would otherwise take true for 1, and "5" for 5.
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# The upper bounds keep a slip of the finger from reaching a timer or an allocation.
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1_000_000)]
PositiveSeconds = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=1_000_000)]
Bytes = Annotated[int, Field(strict=True, ge=0, le=1 << 50)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=1 << 20)]


class Strict(BaseModel):
    """A table of a file that the user writes: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


Location = tuple[str | int, ...]

_SHOWN_CHARACTERS: Final = 40


class LocatedError(ValueError):
    """A mistake that only the whole file shows, with the key it belongs to."""

    def __init__(self, loc: Location, message: str) -> None:
        super().__init__(message)
        self.loc = loc


@dataclass(frozen=True)
class Complaint:
    """A mistake: at which key, also as a user writes it, and what is wrong there."""

    loc: Location
    key: str
    fault: str

    def __str__(self) -> str:
        return one_line(f"{self.key}: {self.fault}")


def complain(error: ValidationError, raw: Mapping[str, Any], root: type[BaseModel]) -> Complaint:
    """The first mistake that pydantic found in `raw`, in a user's words.

    Unknown keys come first: a misspelt key also makes a required one missing, and is the cause of it.
    """
    details = sorted(error.errors(), key=lambda d: d["type"] != "extra_forbidden")[0]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, LocatedError):
        return Complaint(cause.loc, _spell(cause.loc, raw), str(cause))
    loc = tuple(part for part in details["loc"] if part != "[key]")
    if loc[:1] == ("expected_s",) and details["type"] in _NOT_A_RANGE:
        return Complaint(loc[:2], _spell(loc[:2], raw), "must be two numbers, [least, most] seconds")
    return Complaint(loc, _spell(loc, raw), _fault(details, loc, root))


def _fault(details: Any, loc: Location, root: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        return f"unknown key; {_where_to(str(loc[-1]), loc[:-1], root)}"
    if details["type"] in ("missing", "too_short") and loc in _NEEDED:
        return _NEEDED[loc]
    if details["type"] == "tuple_type":
        tables = bool(_keys_at(loc, root))
        return f"must be a list of tables, each under [[{loc[-1]}]]" if tables else _listed(details["input"])
    if loc[:1] == ("models",) and details["type"] == "string_type" and loc[-1] in root.model_fields:
        return f'must be text, a model\'s reference; the key "{loc[-1]}" belongs above the first [table]'
    return _plain_fault(details)


def _listed(given: Any) -> str:
    """A list is wanted: how what was given is written as one."""
    if not isinstance(given, str):
        return f"must be a list, in [brackets]{_shown(given)}"
    items = (item.strip() for item in given.split(","))
    return (
        f"must be a list, written [{', '.join(i if _NUMBER.fullmatch(i) else json.dumps(i) for i in items)}]"
    )


_NEEDED: Final[dict[Location, str]] = {
    ("models",): "an experiment needs at least one model under [models]",
    ("scenario",): "an experiment needs at least one [[scenario]]",
}
_NOT_A_RANGE: Final = frozenset(("missing", "too_long", "tuple_type"))

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")


def _plain_fault(details: Any) -> str:
    given = details["input"]
    match details["type"]:
        case "missing":
            return "missing"
        case "string_pattern_mismatch":
            return f'"{given}" is no name; use letters, digits, ".", "_" and "-"'
        case "enum" | "literal_error" if isinstance(given, str):
            return f'"{given}" is not allowed; {did_you_mean(given, _allowed(details))}'
        case "enum" | "literal_error":
            return f"must be {' or '.join(_allowed(details))}{_shown(given)}"
    return _demand(details) + _shown(given)


def _demand(details: Any) -> str:
    ctx = details.get("ctx", {})
    match details["type"]:
        case "greater_than_equal":
            return f"must be at least {_number(ctx['ge'])}"
        case "greater_than":
            return f"must be more than {_number(ctx['gt'])}"
        case "less_than_equal":
            return f"must be at most {_number(ctx['le'])}"
        case "string_too_short":
            return "must not be empty"
    known = _DEMANDS.get(details["type"])
    return known or str(details["msg"]).replace("Value error, ", "")


_DEMANDS: Final = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "string_type": "must be text, in quotes",
    "string_unicode": "must be Unicode text",
}


def _where_to(key: str, table: Location, root: type[BaseModel]) -> str:
    """For a key that is valid, only not here: where it belongs. For any other: the nearest valid one."""
    here = _keys_at(table, root)
    # A slip of one letter is likelier than another table.
    if not get_close_matches(key, here, n=1, cutoff=0.85):
        for heading, keys in _tables(root):
            if key in keys:
                return f"it belongs {heading}"
    return did_you_mean(key, here)


def _tables(root: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    """Every table of the first level, as a user would find it, with its keys."""
    yield "above the first [table]", _keys(root)
    for name, field in root.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            repeated = str(field.annotation).startswith("tuple")
            yield f"under [[{name}]]" if repeated else f"under [{name}]", _keys(inner)


def _keys_at(loc: Location, root: type[BaseModel]) -> list[str]:
    """The valid keys of the table at `loc`."""
    model = root
    for part in loc:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return _keys(model)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _spell(loc: Location, raw: Mapping[str, Any]) -> str:
    """A key path as a user writes it; items of arrays by their name where they have one."""
    words: list[str] = []
    node: Any = raw
    for part in loc:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
        name = node.get("name") if isinstance(part, int) and isinstance(node, dict) else None
        words.append(str(name) if isinstance(name, str) else str(part))
    return ".".join(words) or "file"


def _allowed(details: Any) -> list[str]:
    expected = str(details.get("ctx", {}).get("expected", ""))
    return re.findall(r"'([^']*)'", expected) or [expected]


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _shown(given: Any) -> str:
    """What was given, where it is short enough to help."""
    try:
        shown = json.dumps(given, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # an integer of more than 4300 digits, a nest without end
        return ""
    return f" (it is {shown})" if len(shown) <= _SHOWN_CHARACTERS else ""


def read_toml(path: Path, failure: type[UsageError] = UsageError) -> dict[str, Any]:
    """What a file says that the user wrote.

    Raises:
        UsageError: of the kind `failure`: the file can't be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise failure(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise failure(f"{path}: not UTF-8 text, so not TOML") from None
    except (ValueError, RecursionError) as error:
        # ValueError also covers what tomllib lets through: an integer of more than 4300 digits.
        raise failure(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None
