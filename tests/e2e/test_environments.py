"""An orchestrator in an environment of its own, with its own MLX, and nothing of swapbench."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cli, succeeded
from tests.e2e.test_orchestrator import installed
from tests.environments import Versions, built, thin

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.parametrize(
        "versions", [Versions("0.30.3", "0.30.4"), Versions("0.31.2", "0.31.3")], ids=str
    ),
]


def _worker(folder: Path) -> dict[str, Any]:
    (document,) = folder.glob("results/quick/*/run.json")
    worker: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))["worker"]
    return worker


def test_an_orchestrator_is_measured_with_the_mlx_of_its_own_environment(
    versions: Versions, cli: Cli, tmp_path: Path
) -> None:
    packages = built(versions)
    made = cli("init", "target", "my-server")
    assert made.returncode == 0, made.stderr
    installed(tmp_path / "my-server", tmp_path / "site")
    theirs = str(thin(tmp_path / "theirs", packages, tmp_path / "site"))
    asked = ("run", "quick", "--target", "my-server", "--rounds", "1", "--json")
    refused = cli(*asked)
    assert refused.returncode == 2
    assert 'no target "my-server"' in refused.stderr
    done = cli(*asked, "--python", theirs)
    assert done.returncode == 0, done.stderr
    assert succeeded(json.loads(done.stdout)) == 2
    worker = _worker(tmp_path)
    assert (worker["versions"]["mlx"], worker["versions"]["mlx-lm"]) == (versions.mlx, versions.mlx_lm)
    taken = cli("init", "target", "my-server", "--folder", "new", "--python", theirs)
    assert taken.returncode == 2
    assert taken.stderr == (
        f'swapbench: "my-server": {theirs} has a package of that name; choose another name\n'
    )


def test_the_reference_engine_runs_under_it_too(versions: Versions, cli: Cli, tmp_path: Path) -> None:
    theirs = str(thin(tmp_path / "theirs", built(versions)))
    done = cli("run", "quick", "--rounds", "1", "--json", "--python", theirs)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert succeeded(found) == 2
    assert all(scenario["proof"]["verified_tokens"] for scenario in found["scenarios"])
    assert _worker(tmp_path)["versions"]["mlx"] == versions.mlx
