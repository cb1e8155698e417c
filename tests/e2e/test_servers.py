"""mlx_lm.server for real, with mini models."""

import csv
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

pytestmark = pytest.mark.e2e


def test_mlx_lm_server_is_started_swapped_and_stopped_and_every_form_of_report_shows_it(
    cli: Cli, tmp_path: Path
) -> None:
    options = ("--rounds", "2", "--out", str(tmp_path), "--json", "--set", "steady_tokens=8")
    done = cli("run", "quick", "--models", "mini", "--target", "mlx_lm", *options)
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
    for form in ("rich", "md"):
        shown = cli("report", str(folder), "--format", form)
        assert shown.returncode == 0, shown.stderr
        assert "Traceback" not in shown.stderr
        assert "not to be seen from outside" in shown.stdout
