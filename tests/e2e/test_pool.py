"""A pool of buffers as large as Metal's comes back to the system when a model is unloaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.e2e.pooled import POOL_BYTES
from tests.frames import frame

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


def test_what_mlx_had_pooled_is_the_systems_again_after_unload(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.pooled", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(before >= POOL_BYTES, after) for before, after in seen} == {(True, 0)}
    ((path, _),) = list_runs(tmp_path)
    run = read(path)
    assert frame(run.swaps)["released_mlx_cache_bytes"].tolist() == [0, 0]
    unload = frame(run.phases)[(frame(run.phases)["phase"] == "unload") & (frame(run.phases)["span"] == "")]
    freed = unload["footprint_before_bytes"] - unload["footprint_after_bytes"]
    assert len(unload) == 2
    assert (freed > 0.9 * POOL_BYTES).all()
