"""What swapbench takes for granted of a platform, and where that was last seen to hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docgen.cells import table
from swapbench.machine.selfcheck import CLAIMS, Row, Selfcheck

# What `swapbench selfcheck --json` printed, a file for each machine.
SELFCHECKS: Final = Path(__file__).parent.parent / "docs" / "selfchecks"


def claim_table() -> str:
    """Each claim, who relies on it, and what the machines said whose files are kept."""
    checked = sorted(_checked(), key=lambda found: found.checked_at, reverse=True)
    heads = ("Claim", "Where", "Last seen right", "Last seen wrong")
    rows = []
    for claim in CLAIMS:
        seen = (_seen(result, claim.key, checked) for result in ("right", "wrong"))
        rows.append((claim.what, f"`{claim.where}`", *seen))
    return table(heads, rows)


def _checked() -> Iterator[Selfcheck]:
    for path in SELFCHECKS.glob("*.json"):
        yield Selfcheck.model_validate_json(path.read_bytes())


def _seen(result: str, claim: str, checked: list[Selfcheck]) -> str:
    """Of each system and device the last time."""
    last: dict[str, str] = {}
    for found in checked:
        for row in found.rows:
            if (row.claim, row.result) == (claim, result):
                last.setdefault(f"{found.machine.system}, {found.device}", _told(found, row))
    return "; ".join(last.values())


def _told(found: Selfcheck, row: Row) -> str:
    system = f"{found.machine.system} {found.machine.release.partition('-')[0]}"
    mlx = f"mlx {found.versions.get('mlx')} on {found.device.partition(' ')[0]}"
    return f"{system}, {mlx}, {found.checked_at:%Y-%m-%d}: {row.finding}"
