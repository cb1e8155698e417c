"""mlx_lm.server for real, with mini models."""

import csv
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

pytestmark = pytest.mark.e2e


def test_mlx_lm_server_is_started_swapped_and_stopped(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "run",
        "quick",
        "--models",
        "mini",
        "--target",
        "mlx_lm",
        "--rounds",
        "2",
        "--out",
        str(tmp_path),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)
    assert findings["facts"]["target"] == "mlx_lm"
    assert findings["counts"]["failed"] == 0
    for scenario in findings["scenarios"]:
        assert scenario["headline_is"] == "to_first_token"
        assert scenario["bottleneck"] is None
        assert {phase["seconds"] for phase in scenario["phases"]} == {None}
    (folder,) = tmp_path.glob("quick/*")
    with (folder / "swaps.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert {row["answered_requests"] for row in rows} == {"1"}
    assert {row["drained_requests"] for row in rows} == {""}
    assert "POST /v1/completions" in (folder / "server.log").read_text(encoding="utf-8")


def test_every_form_of_report_shows_what_a_server_showed(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "run",
        "quick",
        "--models",
        "mini",
        "--target",
        "mlx_lm",
        "--rounds",
        "1",
        "--out",
        str(tmp_path),
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert "not to be seen from outside a server" in done.stdout
    for form in ("md", "csv", "json"):
        shown = cli("report", str(next(tmp_path.glob("quick/*"))), "--format", form)
        assert shown.returncode == 0, shown.stderr
        assert "Traceback" not in shown.stderr
