"""What shows a report: a terminal, Markdown, HTML; here JSON, for programs."""

import json
import math
from datetime import datetime
from typing import Any


def as_document(facts: Any) -> str:
    """A JSON document of what `asdict` gives; null where there is no figure, or no bound."""
    return json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value
