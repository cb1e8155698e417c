"""What the checks are tried with, made once; the file is smaller than a user's."""

from pathlib import Path

import pytest

from swapbench.machine.selfcheck import Prepared
from swapbench.worker import roofline, selfcheck


@pytest.fixture(scope="package")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    folder = tmp_path_factory.mktemp("selfcheck")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(roofline, "FILE_BYTES", 64 << 20)
        told = selfcheck.prepare(folder)
        selfcheck.large_file(folder)
    assert isinstance(told, Prepared)
    assert {"mlx", "mlx-lm"} <= told.versions.keys()
    return folder
