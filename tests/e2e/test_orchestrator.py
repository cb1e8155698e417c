"""An orchestrator in a package of its own: the example, and what `swapbench init target` writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import succeeded

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "asyncio-server"

pytestmark = pytest.mark.e2e


def installed(package: Path, into: Path) -> None:
    """As `pip install` does, into a folder of its own, from nowhere but here."""
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *command, "--target", str(into), str(package)], check=True)


def _run(site: Path, folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "swapbench", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(site)])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_is_under_60_lines() -> None:
    assert len((EXAMPLE / "asyncio_server.py").read_text(encoding="utf-8").splitlines()) < 60


def test_the_example_is_installed_as_a_package_of_its_own_and_measured(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    installed(EXAMPLE, tmp_path / "site")
    listed = json.loads(_run(tmp_path / "site", tmp_path, environment, "targets", "--json"))
    assert "asyncio-server" in [target["name"] for target in listed]
    arguments = ("run", "quick", "--target", "asyncio-server", "--rounds", "2", "--json")
    found = json.loads(_run(tmp_path / "site", tmp_path, environment, *arguments))
    assert succeeded(found) == 4
    measured = {p["phase"] for s in found["scenarios"] for p in s["phases"] if p["seconds"] is not None}
    assert measured == {"drain", "unload", "load"}
    assert all(s["to_first_token"] is not None for s in found["scenarios"])
    assert all(s["proof"]["verified_tokens"] is not None for s in found["scenarios"])


@pytest.mark.slow
def test_what_init_target_writes_can_be_run_as_it_is(tmp_path: Path, environment: dict[str, str]) -> None:
    _run(tmp_path, tmp_path, environment, "init", "target", "my-server")
    installed(tmp_path / "my-server", tmp_path / "site")
    arguments = ("run", "quick", "--target", "my-server", "--rounds", "1", "--json")
    found = json.loads(_run(tmp_path / "site", tmp_path, environment, *arguments))
    assert succeeded(found) == 2
