"""Environments as users have them: real ones with an older MLX, from PyPI, and thin ones laid over others."""

import platform
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from swapbench.models.cache import cache_root

# pip's words where it reaches nobody; whatever else it complains of is a failure.
_UNREACHED = ("connection broken by", "Read timed out")


@dataclass(frozen=True)
class Versions:
    """What an environment has; of what that asks for, pip's choice."""

    mlx: str
    mlx_lm: str
    transformers: str = ""

    def __str__(self) -> str:
        chosen = f"-transformers-{self.transformers}" if self.transformers else ""
        return f"mlx-{self.mlx}-mlx-lm-{self.mlx_lm}{chosen}"

    def packages(self) -> tuple[str, ...]:
        """What is asked of pip: no swapbench, and of what that asks for only what the worker takes."""
        backend = "" if sys.platform == "darwin" else "[cpu]"
        own = [f"mlx{backend}=={self.mlx}", f"mlx-lm=={self.mlx_lm}"]
        own += [f"transformers=={self.transformers}"] if self.transformers else []
        return (*own, "pydantic", "psutil", "numpy")


# Those that pyproject.toml allows; tests/test_project.py holds both together.
OLDEST = Versions("0.32.2", "0.32.0", "5.7.0")
NEWEST = Versions("0.32.4", "0.32.2", "5.24.0")


def built(versions: Versions) -> Path:
    """The packages' folder of an environment that is kept in the cache folder, built where it is missing.

    Skips the test where PyPI can't be reached.
    """
    python = f"py{platform.python_version()}"
    folder = cache_root() / "test-environments" / f"{versions}-{python}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True, symlinks=True)
            command = ["-m", "pip", "install", "--quiet", "--no-compile", *versions.packages()]
            done = subprocess.run(
                [folder / "bin" / "python", *command], capture_output=True, text=True, check=False
            )
            unreached = [line for line in done.stderr.splitlines() if any(map(line.__contains__, _UNREACHED))]
            if done.returncode and unreached:
                pytest.skip(f"{versions} can't be had from PyPI: {unreached[-1]}")
            assert done.returncode == 0, done.stderr
            complete.touch()
    return packages_of(folder)


def thin(folder: Path, *places: Path) -> Path:
    """The interpreter of an environment that has what lies in `places`, and no pip; made there."""
    venv.create(folder, symlinks=True)
    (packages_of(folder) / "places.pth").write_text("".join(f"{place}\n" for place in places))
    return folder / "bin" / "python"


def packages_of(folder: Path) -> Path:
    """Where an environment keeps what is installed."""
    (packages,) = (folder / "lib").glob("python*/site-packages")
    return packages
