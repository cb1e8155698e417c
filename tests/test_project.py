"""The project around the code: what a newcomer is told, what users read, what the wheel carries."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from swapbench import __version__
from swapbench.base.phases import MEANING
from swapbench.spec.experiment import (
    Criterion,
    EngineSettings,
    Experiment,
    GateSettings,
    Scenario,
    Script,
    ScriptedSwap,
    Sharded,
    Workload,
)
from swapbench.spec.preset import (
    Ask,
    Call,
    Health,
    Models,
    Preset,
    Readiness,
    Reported,
    Start,
    SwapTrigger,
    read_preset,
    shipped,
)
from swapbench.spec.strategy import Strategy
from tests.environments import NEWEST, OLDEST

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS_PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_a_newcomer_is_given_exactly_two_commands() -> None:
    _, marker, after = README.partition("<!-- newcomer -->\n")
    assert marker
    block = re.match(r"```\w*\n(.*?)```", after, re.DOTALL)
    assert block is not None
    commands = [line.partition("#")[0].strip() for line in block[1].splitlines()]
    assert list(filter(None, commands)) == ["make run", "make test"]


def test_the_readme_gives_the_phases_their_meaning() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| ([^|]+) \|$", README, re.MULTILINE))
    assert {phase: rows[phase] for phase in MEANING} == dict(MEANING)


def test_the_readme_lists_every_experiment() -> None:
    for path in (ROOT / "experiments").glob("*.toml"):
        assert f"| `{path.stem}` |" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    "table",
    [
        Experiment,
        Scenario,
        Strategy,
        Workload,
        EngineSettings,
        GateSettings,
        Criterion,
        Script,
        ScriptedSwap,
        Sharded,
    ],
)
def test_every_key_of_an_experiment_file_is_documented_with_its_default(table: type[Experiment]) -> None:
    for name, field in table.model_fields.items():
        key = field.alias or name
        if isinstance(field.default, str | int | float):
            default = str(field.default).lower() if isinstance(field.default, bool) else field.default
            spelled = f'"{default}"' if isinstance(field.default, str) else str(default)
            assert f"| `{key}` | `{spelled}` |" in EXPERIMENTS_PAGE
        else:
            assert re.search(rf"\| `{key}` \||`\[+{key}\]+`", EXPERIMENTS_PAGE), key


@pytest.mark.parametrize(
    "table", [Preset, Start, Readiness, Health, Models, Ask, SwapTrigger, Call, Reported]
)
def test_every_key_of_a_preset_is_documented(table: type[Preset]) -> None:
    page = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    for name, field in table.model_fields.items():
        key = field.alias or name
        assert re.search(rf"`(\w+\.)?{key}`|`\[+(swap\.)?{key}\]+`|`{key} = ", page), key


def test_every_preset_is_documented_with_what_it_was_tested_with() -> None:
    page = (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \|.*\| ([^|]+) \|$", page, re.MULTILINE))
    for name, path in shipped().items():
        real = read_preset(path).tested == "real"
        assert rows[name].startswith("yes" if real else "no: a stand-in"), name


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_licence_is_the_one_that_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert declared == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_whatever_reads_text_of_another_program_says_in_which_encoding() -> None:
    calls = [
        (f"{path.relative_to(ROOT)}:{call.lineno}", {keyword.arg: keyword.value for keyword in call.keywords})
        for folder in ("swapbench", "docgen", "scripts", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
    ]
    assert calls
    as_text = [where for where, given in calls if getattr(given.get("text"), "value", None) is True]
    assert as_text == []  # `encoding` says so, too


def test_a_class_name_is_unique_in_the_package() -> None:
    modules: dict[str, set[Path]] = {}
    for path in (ROOT / "swapbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                modules.setdefault(node.name, set()).add(path)
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}


def test_the_wheel_carries_package_experiments_and_licence(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith(f"swapbench-{__version__}-")
    for path in (ROOT / "experiments").glob("*.toml"):
        assert f"swapbench/_experiments/{path.name}" in names
    for path in (ROOT / "swapbench").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    templates = [
        ROOT / "swapbench" / "report" / "render" / "html" / "template",
        ROOT / "swapbench" / "base" / "_templates" / "target",
    ]
    for path in (*shipped().values(), *(path for folder in templates for path in folder.iterdir())):
        assert path.relative_to(ROOT).as_posix() in names
    assert {"swapbench/py.typed", "swapbench/models/catalogue.json"} <= names
    assert f"swapbench-{__version__}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if name.startswith(("tests/", "results/"))]


@pytest.mark.parametrize("target", ["help", "run", "test", "lint", "format", "docs", "screenshots", "clean"])
def test_make_knows_every_target_that_is_documented(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def required() -> dict[str, Requirement]:
    """What the package asks for on this platform, by name."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = map(Requirement, asked)
    return {one.name: one for one in found if one.marker is None or one.marker.evaluate()}


def test_the_oldest_and_the_newest_that_are_allowed_are_those_that_are_tested() -> None:
    asked = required()
    for name in ("mlx", "mlx-lm", "transformers"):
        bounds = {bound.operator: Version(bound.version) for bound in asked[name].specifier}
        tested = [Version(getattr(each, name.replace("-", "_"))) for each in (OLDEST, NEWEST)]
        assert [bounds.pop(">="), bounds.pop("<=")] == tested, name
        assert not bounds


def test_nothing_is_asked_for_that_no_module_imports() -> None:
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "swapbench").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
    }
    provided = packages_distributions()
    used = {canonicalize_name(name) for module in imported for name in provided.get(module, ())}
    assert {canonicalize_name(name) for name in required()} <= used
