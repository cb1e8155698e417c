"""Claims are tried in processes of their own: whatever one of those does, the others are tried."""

import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.base.errors import UsageError, WorkerError
from swapbench.machine import selfcheck
from swapbench.machine.selfcheck import CLAIMS, Claim, Found

CLAIM = Claim("footprint", "what is to be seen", "ledgers.py")
PACKAGE = Path(selfcheck.__file__).parents[1]


def says(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have every child run this instead."""
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda _command, **options: run([sys.executable, "-c", code], **options)
    )


def test_every_claim_names_a_module_that_is_there() -> None:
    assert all((PACKAGE / claim.where).exists() for claim in CLAIMS)


def test_what_a_child_has_found_is_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, f"print('''{Found(result='not here', finding='none').model_dump_json()}''')")
    row = selfcheck._row(CLAIM, tmp_path)
    assert (row.claim, row.what, row.result, row.finding) == (
        "footprint",
        "what is to be seen",
        "not here",
        "none",
    )


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("import os; os.kill(os.getpid(), 11)", "the process was killed by SIGSEGV"),
        ("raise RuntimeError('no kernel of that name')", "RuntimeError: no kernel of that name"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import signal; signal.pause()", "did not end within 2 s"),
    ],
)
def test_a_child_that_does_not_answer_is_wrong(
    code: str, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "_LONGEST_S", 2.0)
    says(monkeypatch, code)
    row = selfcheck._row(CLAIM, tmp_path)
    assert (row.result, row.finding) == ("wrong", finding)


def test_without_anything_to_try_things_on_it_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "raise ImportError('no mlx')")
    with pytest.raises(WorkerError, match="nothing can be tried: ImportError: no mlx"):
        selfcheck._prepared(tmp_path)


def test_a_disk_on_which_nothing_gets_done_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "_LONGEST_S", 0.1)
    says(monkeypatch, "import signal; signal.pause()")
    with pytest.raises(WorkerError) as raised:
        selfcheck._prepared(tmp_path / "scratch")
    assert str(raised.value) == (
        f"nothing can be tried: making checkpoints in {tmp_path} did not end within 0.1 s; "
        "--folder chooses another place"
    )


def test_where_mlx_lm_may_not_have_its_files_that_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "want_of_files", lambda: "have `ulimit -Hn 4096` allowed")
    with pytest.raises(WorkerError, match=r"^nothing can be tried: have `ulimit -Hn 4096` allowed$"):
        selfcheck._prepared(tmp_path)


def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: .*; --folder chooses another place"):  # noqa: SIM117
        with selfcheck._scratch(tmp_path / "file"):
            pass


def test_nothing_stays_in_the_folder(tmp_path: Path) -> None:
    with selfcheck._scratch(tmp_path) as scratch:
        (scratch / "file").touch()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_one_left_is_swept_and_what_another_holds_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".selfcheck-left"
    left.mkdir()
    (left / "lock").touch()
    with selfcheck._scratch(tmp_path) as one, selfcheck._scratch(tmp_path) as another:
        assert set(tmp_path.iterdir()) == {one, another}
    assert not list(tmp_path.iterdir())
