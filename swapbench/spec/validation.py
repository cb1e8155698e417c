"""What users write, checked by pydantic: types, and mistakes in one line with key and nearest valid word."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args

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
    loc = tuple(part for part in details["loc"] if part != "[key]")
    if isinstance(cause, LocatedError):
        loc, fault = cause.loc, str(cause)
    elif loc[:1] == ("expected_s",) and details["type"] in ("missing", "too_long", "tuple_type"):
        loc, fault = loc[:2], "must be two numbers, [least, most] seconds"
    else:
        fault = _fault(details, loc, root)
    return Complaint(loc, _spell(loc, raw), fault)


def _fault(details: Any, loc: Location, root: type[BaseModel]) -> str:
    kind, given, ctx = details["type"], details["input"], details.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return f"unknown key; {_where_to(str(loc[-1]), loc[:-1], root)}"
        case "missing" | "too_short" if loc in _NEEDED:
            return _NEEDED[loc]
        case "missing":
            return "missing"
        case "tuple_type" if _keys_at(loc, root):
            return f"must be a list of tables, each under [[{loc[-1]}]]"
        case "tuple_type" if isinstance(given, str):
            items = (item.strip() for item in given.split(","))
            written = (item if _NUMBER.fullmatch(item) else json.dumps(item) for item in items)
            return f"must be a list, written [{', '.join(written)}]"
        case "string_type" if loc[:1] == ("models",) and loc[-1] in root.model_fields:
            return f'must be text, a model\'s reference; the key "{loc[-1]}" belongs above the first [table]'
        case "string_pattern_mismatch":
            return f'"{given}" is no name; use letters, digits, ".", "_" and "-"'
        case "enum" | "literal_error":
            expected = str(ctx.get("expected", ""))
            allowed = re.findall(r"'([^']*)'", expected) or [expected]
            if isinstance(given, str):
                return f'"{given}" is not allowed; {did_you_mean(given, allowed)}'
            return f"must be {' or '.join(allowed)}{_shown(given)}"
    if kind in _DEMANDS:
        bounds = {name: _number(bound) for name, bound in ctx.items() if name in ("ge", "gt", "le")}
        return _DEMANDS[kind].format(**bounds) + _shown(given)
    return str(details["msg"]).replace("Value error, ", "") + _shown(given)


_NEEDED: Final[dict[Location, str]] = {
    ("models",): "an experiment needs at least one model under [models]",
    ("scenario",): "an experiment needs at least one [[scenario]]",
}

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")

_DEMANDS: Final = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "string_unicode": "must be Unicode text",
    "tuple_type": "must be a list, in [brackets]",
}


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _shown(given: Any) -> str:
    """What was given, where it is short enough to help."""
    try:
        shown = json.dumps(given, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # an integer of more than 4300 digits, a nest without end
        return ""
    return f" (it is {shown})" if len(shown) <= _SHOWN_CHARACTERS else ""


def _where_to(key: str, table: Location, root: type[BaseModel]) -> str:
    """For a key that is valid, only not here: where it belongs. For any other: the nearest valid one."""
    here = _keys_at(table, root)
    places = {"above the first [table]": _keys(root)}
    for name, field in root.model_fields.items():
        if inner := _model_in(field.annotation):
            repeated = str(field.annotation).startswith("tuple")
            places[f"under [[{name}]]" if repeated else f"under [{name}]"] = _keys(inner)
    # A slip of one letter is likelier than another table.
    slip = get_close_matches(key, here, n=1, cutoff=0.85)
    heading = next((heading for heading, keys in places.items() if key in keys and not slip), None)
    return f"it belongs {heading}" if heading else did_you_mean(key, here)


def _keys_at(loc: Location, root: type[BaseModel]) -> list[str]:
    """The valid keys of the table at `loc`."""
    model = root
    for part in (part for part in loc if not isinstance(part, int)):
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


def read_toml(path: Path, failure: type[UsageError] = UsageError) -> dict[str, Any]:
    """What a file says that the user wrote; a `failure` where it can't be read, or is not TOML."""
    return cast("dict[str, Any]", _read(path, tomllib.loads, "TOML", failure))


def read_json(path: Path, failure: type[UsageError] = UsageError, hint: str = "") -> Any:
    """As `read_toml`, of JSON; `hint` is for a file that can't be read."""
    return _read(path, json.loads, "JSON", failure, hint)


def _read(
    path: Path, parse: Callable[[str], Any], form: str, failure: type[UsageError], hint: str = ""
) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise failure(f"{path}: {error.strerror or error}{hint}") from None
    except UnicodeDecodeError:
        raise failure(f"{path}: not UTF-8 text, so not {form}") from None
    except (ValueError, RecursionError) as error:
        # ValueError also covers what tomllib lets through: an integer of more than 4300 digits.
        raise failure(f"{path}: not valid {form}: {' '.join(str(error).split())}") from None
