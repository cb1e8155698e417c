"""`swapbench probe` where it can't measure; what it measures is tested with a small file."""

from pathlib import Path

from typer.testing import CliRunner

from swapbench.base.errors import UsageError
from swapbench.cli import app


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["probe", "--folder", str(tmp_path / "typo")])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"{tmp_path}/typo: no such folder; --folder chooses another place"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = CliRunner().invoke(app, ["probe", "--folder", str(file / "below")])
    assert isinstance(result.exception, UsageError)
    assert "below" in str(result.exception)
    assert "--folder chooses another place" in str(result.exception)
