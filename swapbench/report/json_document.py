"""The findings as one JSON document, for programs."""

import json
import math
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from swapbench.analysis import Findings

# 1: first published form.
FINDINGS_VERSION: Final = 1


def to_json(findings: Findings) -> str:
    """Every finding under the names of docs/results.md; null where there is no figure, or no bound."""
    document = {"findings_version": FINDINGS_VERSION, **asdict(findings)}
    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value
