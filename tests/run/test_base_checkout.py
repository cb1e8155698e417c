"""The merge base, found in real repositories, checked out, and gone again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swapbench.base.errors import Exit, IncomparableError, UsageError
from swapbench.run import base_checkout as checkouts
from swapbench.run.base_checkout import (
    Base,
    base_checkout,
    merge_base,
    refuse_other_code,
    refuse_shared_code,
    working_tree,
)
from tests.repository import BUILD, commit, environment, git, repository


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """One commit on main; a second there, and another on the branch that is checked out."""
    folder = repository(tmp_path / "repo")
    commit(folder, "code.py", "VALUE = 1\n")
    git(folder, "checkout", "--quiet", "-b", "topic")
    commit(folder, "code.py", "VALUE = 2\n")
    git(folder, "checkout", "--quiet", "main")
    commit(folder, "other.py", "")
    git(folder, "checkout", "--quiet", "topic")
    return folder


def silent(_: str) -> None:
    pass


def left_over(repo: Path) -> list[str]:
    """Worktrees that git knows beside the repository itself."""
    listed = git(repo, "worktree", "list", "--porcelain").splitlines()
    return [line for line in listed if line.startswith("worktree ")][1:]


def test_a_working_tree_is_found_from_a_folder_within(repo: Path) -> None:
    (repo / "deep" / "down").mkdir(parents=True)
    tree = working_tree(repo / "deep" / "down")
    assert tree.root.resolve() == repo.resolve()
    assert tree.commit == git(repo, "rev-parse", "HEAD")
    assert tree.describe() == f"working tree at {tree.commit[:8]}"


def test_changes_that_no_commit_has_are_in_the_label(repo: Path) -> None:
    (repo / "code.py").write_text("VALUE = 3\n")
    assert working_tree(repo).describe().endswith(", with uncommitted changes")
    git(repo, "add", "code.py")
    assert working_tree(repo).changed


def test_what_git_does_not_track_is_no_change(repo: Path) -> None:
    (repo / "notes.txt").write_text("")
    assert not working_tree(repo).changed


def test_a_folder_in_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not in a git repository with a commit"):
        working_tree(tmp_path)


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not in a git repository with a commit"):
        working_tree(repository(tmp_path / "empty"))


def test_without_git_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not installed"):
        working_tree(tmp_path)


def test_the_merge_base_is_where_two_branches_parted(repo: Path) -> None:
    parted = git(repo, "rev-parse", "main~1")
    assert merge_base(working_tree(repo), "main") == parted
    assert merge_base(working_tree(repo), parted[:10]) == parted
    assert merge_base(working_tree(repo), "HEAD") == git(repo, "rev-parse", "HEAD")


@pytest.mark.parametrize("ref", ["mian", "main:code.py", "", "--all", "-h", "--upload-pack=touch x"])
def test_what_names_no_commit_is_refused_and_never_taken_for_an_option(repo: Path, ref: str) -> None:
    with pytest.raises(UsageError) as told:
        merge_base(working_tree(repo), ref)
    assert str(told.value).startswith(f"--base {ref}: no such commit; ")


def test_an_unrelated_history_has_no_base(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "--orphan", "stranger")
    commit(repo, "code.py", "VALUE = 9\n")
    with pytest.raises(UsageError, match="no commit in common"):
        merge_base(working_tree(repo), "main")


def test_a_shallow_clone_is_told_to_fetch_the_rest(repo: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    for branch in ("topic", "main"):
        git(repo, "branch", "--force", f"ci-{branch}", branch)
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-single-branch", repo.as_uri(), str(shallow))
    with pytest.raises(UsageError, match=r"fetch the rest of its history \(git fetch --unshallow\)"):
        merge_base(working_tree(shallow), "origin/main")


def test_the_base_is_checked_out_beside_and_has_its_own_interpreter(repo: Path) -> None:
    tree = working_tree(repo)
    said: list[str] = []
    with base_checkout(tree, merge_base(tree, "main"), sys.executable, BUILD, said.append) as base:
        asked = subprocess.run(
            [base.python, "-P", "-c", "import code; print(code.__file__)"],
            cwd=repo,
            capture_output=True,
            text=True,
            check=True,
        )
        assert not Path(asked.stdout.strip()).is_relative_to(repo)
        assert (Path(base.python).parents[2] / "code.py").read_text() == "VALUE = 1\n"
        assert not Path(base.python).is_relative_to(repo)
    assert said == [f"checking out the merge base {base.commit[:8]}", "building its environment"]
    assert not Path(base.python).parents[3].exists()
    assert left_over(repo) == []
    assert (repo / "code.py").read_text() == "VALUE = 2\n"
    assert git(repo, "status", "--porcelain") == ""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_it_is_gone_whatever_happened_meanwhile(repo: Path, error: type[BaseException]) -> None:
    tree = working_tree(repo)
    seen: list[Base] = []

    def measure() -> None:
        with base_checkout(tree, tree.commit, "", BUILD, silent) as base:
            seen.append(base)
            raise error

    with pytest.raises(error):
        measure()
    assert not Path(seen[0].python).parents[3].exists()
    assert left_over(repo) == []


def test_a_second_ctrl_c_does_not_leave_the_checkout_behind(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = checkouts._git

    def pressed(folder: Path, *arguments: str) -> str:
        if arguments[:2] == ("worktree", "remove"):
            os.kill(os.getpid(), signal.SIGINT)
        return asked(folder, *arguments)

    tree = working_tree(repo)
    with base_checkout(tree, tree.commit, sys.executable, BUILD, silent):
        monkeypatch.setattr(checkouts, "_git", pressed)
    assert left_over(repo) == []


def test_a_gate_in_a_hook_is_of_the_folder_and_not_of_what_git_tells_the_hook(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository(tmp_path / "other") / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    tree = working_tree(repo)
    monkeypatch.delenv("GIT_DIR")
    assert tree.commit == git(repo, "rev-parse", "HEAD")


def test_a_build_that_fails_says_the_last_that_it_said(repo: Path) -> None:
    tree = working_tree(repo)
    failing = "echo first; echo 'no wheel for this' >&2; exit 3"
    with pytest.raises(IncomparableError) as told, base_checkout(tree, tree.commit, "", failing, silent):
        raise AssertionError("it can't be measured")
    assert told.value.exit_code is Exit.INCONCLUSIVE
    assert str(told.value).startswith("the base can't be built: ")
    assert str(told.value).endswith(": no wheel for this")
    assert left_over(repo) == []


def test_a_build_that_makes_no_environment_is_told_what_is_missing(repo: Path) -> None:
    tree = working_tree(repo)
    with (
        pytest.raises(IncomparableError, match=r"there is no \.venv/bin/python afterwards"),
        base_checkout(tree, tree.commit, "", "true", silent),
    ):
        raise AssertionError("it can't be measured")
    assert left_over(repo) == []


def test_any_step_of_a_build_may_fail_it(repo: Path) -> None:
    tree = working_tree(repo)
    with (
        pytest.raises(IncomparableError),
        base_checkout(tree, tree.commit, "", f"false | cat; {BUILD}", silent),
    ):
        raise AssertionError("it can't be measured")


def _commands(monkeypatch: pytest.MonkeyPatch, checkout: Path, *, uv: bool) -> list[list[str]]:
    """What the builder would run, on a machine with uv or without."""
    ran: list[list[str]] = []
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv" if uv else None)
    monkeypatch.setattr(checkouts, "_run", lambda command, folder, aloud=True: ran.append([*command]))
    monkeypatch.setattr(
        checkouts,
        "_installed",
        lambda python: {"mlx": ("0.32.4", "", False), "own": ("1", "file:///x", True)},
    )
    monkeypatch.setattr(checkouts, "_imports_swapbench", lambda python: False)
    checkout.mkdir()
    assert checkouts._build(checkout, "/some/python") == ()
    assert (checkout.parent / "constraints.txt").read_text() == "mlx==0.32.4\n"
    return ran


@pytest.mark.parametrize("uv", [True, False])
def test_the_project_is_installed_at_the_change_s_versions_and_then_swapbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: bool
) -> None:
    checkout = tmp_path / "checkout"
    own = str(checkout / ".venv" / "bin" / "python")
    pins = ["--constraint", str(tmp_path / "constraints.txt")]
    make, project, swapbench = _commands(monkeypatch, checkout, uv=uv)
    install = (
        ["uv", "pip", "install", "--quiet", "--python", own]
        if uv
        else [own, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    )
    assert make[:2] == (["uv", "venv"] if uv else ["/some/python", "-P"])
    assert "/some/python" in make
    assert project == [*install, "--editable", ".", *pins]
    assert swapbench == [*install, "--editable", ".", str(Path(checkouts.__file__).parents[2]), *pins]


def test_a_base_that_wants_other_versions_has_its_own_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The installer is a script that refuses constraints."""
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\ncase "$*" in *--constraint*) echo conflict >&2; exit 1;; esac\n')
    pip.chmod(0o755)
    monkeypatch.setattr(checkouts, "_installer", lambda checkout, python: [str(pip)])
    monkeypatch.setattr(checkouts, "_imports_swapbench", lambda python: True)
    (tmp_path / "checkout").mkdir()
    (note,) = checkouts._build(tmp_path / "checkout", sys.executable)
    assert note.startswith("the base does not take the working tree's versions")
    # What was tried in vain is nobody's business.
    assert capfd.readouterr().err == ""


def test_an_interpreter_that_runs_other_code_is_refused(repo: Path) -> None:
    with pytest.raises(UsageError, match=r"does not run the code of .* \(pip install -e \.\), or name an"):
        refuse_other_code(str(environment(repo)), working_tree(repo))


def test_an_interpreter_that_has_the_working_tree_installed_is_not(repo: Path, tmp_path: Path) -> None:
    python = environment(repo)
    (packages,) = (repo / ".venv" / "lib").glob("python*/site-packages")
    info = packages / "project-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: project\nVersion: 1.0\n")
    # Installed through another name of the same folder, as /tmp is one of /private/tmp.
    (tmp_path / "a link").symlink_to(repo)
    where = (tmp_path / "a link").as_uri()
    (info / "direct_url.json").write_text(f'{{"url": "{where}", "dir_info": {{"editable": true}}}}')
    refuse_other_code(str(python), working_tree(repo))


def test_what_is_no_interpreter_is_told(repo: Path) -> None:
    with pytest.raises(UsageError, match="/nowhere/python: No such file or directory; name a Python"):
        refuse_other_code("/nowhere/python", working_tree(repo))


def test_a_pythonpath_into_the_working_tree_would_measure_it_twice(repo: Path, tmp_path: Path) -> None:
    tree = working_tree(repo)
    refuse_shared_code(tree, "")
    refuse_shared_code(tree, os.pathsep.join([str(tmp_path), ""]))
    with pytest.raises(UsageError, match="the base would run the working tree's code"):
        refuse_shared_code(tree, os.pathsep.join([str(tmp_path), str(repo / "src")]))
