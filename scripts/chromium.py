"""A Chromium that is there: for the tests of the HTML report, and for pictures of it."""

import os
import shutil
from pathlib import Path
from typing import Final

# Whatever of these there is; SWAPBENCH_CHROMIUM names another.
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_ON_A_MAC: Final = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
ADVICE: Final = "no Chromium here: install chromium or Chrome, or name one in SWAPBENCH_CHROMIUM"


def chromium() -> str | None:
    """Where it is; None where there is none."""
    asked = os.environ.get("SWAPBENCH_CHROMIUM")
    found = (shutil.which(name) for name in _NAMES)
    on_a_mac = str(_ON_A_MAC) if _ON_A_MAC.exists() else None
    return asked or next((path for path in found if path), on_a_mac)
