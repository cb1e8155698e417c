"""The keys of experiment files, of the schema's own models."""

import json
import re
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docgen.cells import table
from swapbench.spec import experiment
from swapbench.spec.strategy import Strategy


def key_table(of: str, page: str) -> str:
    """Key, default and meaning of a model's keys; of a file's own, less those that have a chapter."""
    model: type[BaseModel] = Strategy if of == "Strategy" else getattr(experiment, of)
    named = ((field.alias or name, field) for name, field in model.model_fields.items())
    rows = [
        (f"`{key}`", _default(field), field.description or "")
        for key, field in named
        if model is not experiment.Experiment or not re.search(rf"^## `\[+{key}\]+`$", page, re.MULTILINE)
    ]
    return table(("Key", "Default", "Meaning"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    return "" if default in (None, {}, ()) else f"`{_spelled(default)}`"


def _spelled(value: Any) -> str:
    """As TOML has it; strategies by their name."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        (value,) = value
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spelled, value))}]"
    return json.dumps(value, ensure_ascii=False)
