"""Printed commands work as they stand."""

import io
import subprocess
from pathlib import Path

import pytest

from swapbench.base.shell import quoted


@pytest.mark.parametrize(
    ("path", "encoding", "shown"),
    [
        ("results/quick", "ascii", "results/quick"),
        ("else where", "ascii", "'else where'"),
        ("-x/quick", "utf-8", "./-x/quick"),
        ("é ü", "utf-8", "'é ü'"),
        ("é ü", "ascii", r"$'\303\251 \303\274'"),
        ("two\nlines", "utf-8", r"$'two\012lines'"),
        ("-it's\n\\", "utf-8", r"$'./-it\047s\012\134'"),
    ],
)
def test_a_path_is_named_so_that_a_shell_finds_it(
    path: str, encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert quoted(path) == shown
    said = subprocess.run(
        ["bash", "-c", f"printf %s {quoted(path)}"], capture_output=True, check=True
    ).stdout.decode()
    assert Path(said) == Path(path)
