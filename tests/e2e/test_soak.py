"""The soak catches what it is there to catch, and lets a clean engine be."""

import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.base.errors import Exit
from swapbench.findings import analyse, exit_code
from swapbench.store import list_runs, read

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _soaked(leak: str, folder: Path, environment: dict[str, str]) -> tuple[Exit, dict[str, str]]:
    """The exit code of a soak with that leak, and the verdict on each ledger."""
    command = [sys.executable, "-m", "tests.e2e.soak", leak, str(folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ((path, _),) = list_runs(folder)
    findings = analyse(read(path))
    return exit_code(findings), {leak.ledger: leak.outcome for leak in findings.leaks}


def test_a_clean_engine_comes_out_clean(tmp_path: Path, environment: dict[str, str]) -> None:
    code, ledgers = _soaked("none", tmp_path, environment)
    assert code is Exit.OK
    assert {ledgers[name] for name in ("mlx_active", "mlx_cache", "footprint")} == {"clean"}


@pytest.mark.parametrize(
    ("leak", "ledger"),
    [("model", "mlx_active"), ("python", "footprint"), ("mapping", "file_backed"), ("pool", "mlx_cache")],
)
def test_an_injected_leak_is_caught_by_the_ledger_that_sees_it(
    leak: str, ledger: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    code, ledgers = _soaked(leak, tmp_path, environment)
    assert code is Exit.LEAK
    assert ledgers[ledger] == "leak"
