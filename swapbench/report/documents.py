"""JSON documents, for programs: what was found, whatever a report shows of it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from swapbench.compare.comparison import Comparison
    from swapbench.findings import Findings

# 1: first published form, each.
FINDINGS_VERSION: Final = 1
COMPARISON_VERSION: Final = 1


def to_json(findings: "Findings") -> str:
    """Every finding under the names of docs/results.md; null where there is no figure, or no bound."""
    return as_document({"findings_version": FINDINGS_VERSION, **asdict(findings)})


def comparisons_to_json(comparisons: "Sequence[Comparison]") -> str:
    """Everything, for programs."""
    facts = {"comparison_version": COMPARISON_VERSION, "comparisons": [asdict(c) for c in comparisons]}
    return as_document(facts)


def as_document(facts: Mapping[str, Any]) -> str:
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
