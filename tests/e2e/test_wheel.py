"""What is in the wheel, and what it asks for, is all that swapbench needs."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Collection
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.e2e.conftest import UNPROVEN
from tests.environments import thin

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def lay(what: Distribution, extras: Collection[str], site: Path) -> None:
    """Put what a distribution asks for, and what that asks for, into a folder, as links to where it is."""
    for asked in map(Requirement, what.requires or ()):
        if asked.marker and not any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        found = distribution(asked.name)
        for name in {file.parts[0] for file in found.files or ()} - {".."}:
            if not (site / name).exists():
                (site / name).symlink_to(str(found.locate_file(name)))
        seen = site / f".{asked.name}[{','.join(sorted(asked.extras))}]"
        if not seen.exists():
            seen.touch()
            lay(found, asked.extras, site)


def test_the_wheel_runs_with_nothing_but_what_it_asks_for(model_cache: Path, tmp_path: Path) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(building, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (metadata,) = site.glob("*.dist-info")
    lay(Distribution.at(metadata), (), site)
    assert not (site / "pytest").exists()
    alone = thin(tmp_path / "alone", site)
    done = subprocess.run(
        [alone, "-m", "swapbench", "run", "quick", "--models", "mini", "--rounds", "1", *UNPROVEN],
        cwd=home,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "SWAPBENCH_CACHE": str(model_cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (document,) = home.glob("results/quick/*/run.json")
    assert json.loads(document.read_text())["status"] == "complete"
