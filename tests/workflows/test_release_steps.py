"""What becomes of a tag."""

from typing import Final

import pytest

from swapbench import __version__
from tests.workflows.reading import ROOT, Step
from tests.workflows.running import Machine, calls_in, runs

TAG: Final = "v1.2.3"
WHEEL: Final = "swapbench-1.2.3-py3-none-any.whl"
RUN: Final = ["run", "quick", "--models", "mini"]
CHANGELOG: Final = """# Changelog

## [Unreleased]

- soon

## [1.2.3] - 2026-12-01

### Added

- now

## [1.2.30] - 2026-11-01

- before
"""

UV: Final = """#!{python}
import os, pathlib, sys
assert sys.argv[1:] == ["build"], sys.argv
pathlib.Path("dist").mkdir()
pathlib.Path("dist", os.environ["BUILT"]).touch()
"""

# Writes down where its home is, and what lies in there; fails as often as MISSES says.
UVX: Final = """#!{python}
import json, os, pathlib, sys
home, file = os.environ["HOME"], pathlib.Path({calls!r})
before = len(file.read_text().splitlines()) if file.exists() else 0
with open(file, "a") as calls:
    print(json.dumps([home, os.listdir(home), sys.argv[1:]]), file=calls)
sys.exit(before < int(os.environ.get("MISSES", "0")))
"""


@pytest.fixture
def programs(machine: Machine) -> Machine:
    """A machine on which pip installs nothing, and uv builds and runs what the test says."""
    folder = machine.root / "programs"
    for name, source in (("uv", UV), ("uvx", UVX)):
        machine.stand_in(folder / name, source)
    machine.stand_in(folder / "python")
    machine.stand_in(folder / "gh")
    machine.env["PATH"] = f"{folder}:{machine.env['PATH']}"
    return machine


changes = runs("release.yml", "Take what has changed from the changelog")


@changes
def test_a_release_has_its_own_section_of_the_changelog(machine: Machine, step: Step) -> None:
    (machine.workspace / "CHANGELOG.md").write_text(CHANGELOG)
    assert machine.run(step, TAG=TAG).code == 0
    assert (machine.workspace / "changes.md").read_text().split() == ["###", "Added", "-", "now"]


@changes
@pytest.mark.parametrize("date", ["Unreleased", "2026-12-01"])
def test_no_version_is_released_without_a_date(machine: Machine, step: Step, date: str) -> None:
    heading = f"## [{__version__}] - "
    before, _, after = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition(heading)
    (machine.workspace / "CHANGELOG.md").write_text(before + heading + date + "\n" + after.partition("\n")[2])
    done = machine.run(step, TAG=f"v{__version__}")
    assert done.code == (date == "Unreleased")
    assert ("::error::CHANGELOG.md has no section with a date" in done.said) == (date == "Unreleased")


@runs("release.yml", "Build")
@pytest.mark.parametrize(
    ("built", "code"), [(WHEEL, 0), ("swapbench-1.2.30-py3-none-any.whl", 1), ("swapbench-1.2.3.tar.gz", 1)]
)
def test_what_is_tagged_must_be_the_version_that_is_built(
    programs: Machine, step: Step, built: str, code: int
) -> None:
    done = programs.run(step, TAG=TAG, BUILT=built)
    assert done.code == code
    assert ("::error::what is tagged v1.2.3 has another version" in done.said) == bool(code)


@runs("release.yml", "Run the wheel in an empty home")
@pytest.mark.parametrize("misses", [0, 1])
def test_the_wheel_is_run_where_there_is_nothing_else(programs: Machine, step: Step, misses: int) -> None:
    assert programs.run(step, TAG=TAG, MISSES=str(misses)).code == misses
    ((home, inside, words),) = calls_in(programs.root / "uvx.calls")
    assert (home, inside) == (str(programs.temp / "home"), [])
    assert words == ["--from", str(programs.temp / "dist" / WHEEL), "swapbench", *RUN]


@runs("release.yml", "Run it from the index in an empty home")
@pytest.mark.parametrize("misses", [0, 2, 3])
def test_the_index_is_waited_for(programs: Machine, step: Step, misses: int) -> None:
    done = programs.run(step, TAG=TAG, TRIES="3", WAIT_S="0", MISSES=str(misses))
    asked = [words for _, _, words in calls_in(programs.root / "uvx.calls")]
    looked = ["--refresh-package", "swapbench", "swapbench@1.2.3", "--version"]
    if misses == 3:
        assert (done.code, asked) == (1, [looked] * 3)
    else:
        assert (done.code, asked) == (0, [looked] * (misses + 1) + [["swapbench@1.2.3", *RUN]])


@runs("release.yml", "Make it")
def test_the_release_has_what_was_built_and_what_has_changed(programs: Machine, step: Step) -> None:
    (programs.workspace / "dist").mkdir()
    (programs.workspace / "dist" / WHEEL).touch()
    assert programs.run(step, TAG=TAG, GH_TOKEN="none").code == 0
    (call,) = calls_in(programs.root / "gh.calls")
    assert call[:6] == ["release", "create", TAG, f"dist/{WHEEL}", "--repo", "someone/project"]
    assert call[6:] == ["--verify-tag", "--title", "swapbench 1.2.3", "--notes-file", "changes.md"]
