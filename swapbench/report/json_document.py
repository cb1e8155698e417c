"""The findings as one JSON document, for programs."""

import json
import math
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from swapbench.analysis import Findings

# 1: first published form.
FINDINGS_VERSION: Final = 1


def to_json(findings: Findings) -> str:
    """Every finding under the names of docs/results.md; null where there is no figure, or no bound."""
    document = {"findings_version": FINDINGS_VERSION, **asdict(findings)}
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """What JSON has a form for: no bound is null, a time is ISO 8601, a path is text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value
