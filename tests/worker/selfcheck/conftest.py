"""What the checks are tried with, made once; the file is smaller than a user's."""

from pathlib import Path

import pytest

from swapbench.machine.doctor.claims import Prepared
from swapbench.worker.selfcheck import prepared


@pytest.fixture(scope="package")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    folder = tmp_path_factory.mktemp("selfcheck")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prepared, "_FILE_BYTES", 64 << 20)
        told = prepared.prepare(folder)
        prepared.large_file(folder)
    assert isinstance(told, Prepared)
    assert {"mlx", "mlx-lm"} <= told.versions.keys()
    return folder
