"""Steps carried out as GitHub's runner does, with stand-ins for what isn't here: its service, and a Mac."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.workflows.reading import Step, step_called

# What `shell:` stands for: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
SHELLS: Final = {
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
    "python": (sys.executable,),
}

HERE: Final = Path(sys.prefix)
SHA: Final = "0123456789abcdef0123456789abcdef01234567"
MARKER: Final = "<!-- swapbench-gate -->"

STAND_IN: Final = """#!{python}
import json, os, pathlib, sys
with open({calls!r}, "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
reports = sys.argv[sys.argv.index("--reports") + 1] if "--reports" in sys.argv else None
if reports:
    pathlib.Path(reports).mkdir(parents=True, exist_ok=True)
    pathlib.Path(reports, "gate.md").write_text("<!-- swapbench-gate -->\\nfine\\n")
sys.exit(int(os.environ.get("STAND_IN_EXIT", "0")))
"""

# A self-check of two claims, one of which is wrong where it is asked to fail.
SELFCHECK: Final = """#!{python}
import json, os, sys
assert sys.argv[1:] == ["selfcheck", "--json"], sys.argv
code = int(os.environ.get("STAND_IN_EXIT", "0"))
rows = [("mincore", "right", "0 of 4 pages"), ("msync", "wrong" if code else "right", "4 of 4 pages")]
if code != 1:
    print(json.dumps({{"rows": [dict(zip(("claim", "result", "finding"), row)) for row in rows]}}))
sys.exit(code)
"""

GH: Final = """#!{python}
import json, os, pathlib, subprocess, sys
said, valued = sys.argv[1:], ("--jq", "--method", "-F", "-f")
assert said.pop(0) == "api", said
path = [word for n, word in enumerate(said) if word[0] != "-" and said[n - 1] not in valued]
fields = dict(said[n + 1].split("=", 1) for n, word in enumerate(said) if word in ("-F", "-f"))
method = said[said.index("--method") + 1] if "--method" in said else "GET"
body = {{k: pathlib.Path(v[1:]).read_text() if v[0] == "@" else v for k, v in fields.items()}}
with open({calls!r}, "a") as calls:
    print(json.dumps([method, *path, body]), file=calls)
if method == "GET":
    answer = json.dumps(json.loads(os.environ["GH_ANSWERS"])[path[0]])
    sys.exit(subprocess.run(["jq", "-r", said[said.index("--jq") + 1]], input=answer, text=True).returncode)
"""


@dataclass(frozen=True)
class Done:
    """What a step said and left behind."""

    code: int
    said: str
    outputs: Mapping[str, str]
    summary: str


@dataclass
class Machine:
    """A runner's folders, and the variables that it gives every step."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def temp(self) -> Path:
        return self.root / "temp"

    def stand_in(self, path: Path, source: str = STAND_IN) -> Path:
        """Put a program there that writes down how it is called; returns where it does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        calls = self.root / f"{path.name}.calls"
        path.write_text(source.format(python=sys.executable, calls=str(calls)))
        path.chmod(0o755)
        return calls

    def run(self, step: Step, **values: str) -> Done:
        """Carry a step out; `values` are what its environment's expressions yield, and more variables."""
        unknown = [key for key, text in step.env.items() if "${{" in text and key not in values]
        assert not unknown, f"{step.file}, {step.name}: what are {unknown}?"
        files = {"GITHUB_OUTPUT": self.root / "output", "GITHUB_STEP_SUMMARY": self.root / "summary"}
        for file in files.values():
            file.write_text("")
        script = self.root / "script"
        script.write_text(step.script)
        done = subprocess.run(
            [*SHELLS[step.shell], script],
            cwd=self.workspace,
            env=os.environ | self.env | {k: str(v) for k, v in files.items()} | dict(step.env) | values,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        return Done(
            done.returncode,
            done.stdout + done.stderr,
            dict(line.split("=", 1) for line in lines),
            files["GITHUB_STEP_SUMMARY"].read_text(),
        )


def calls_in(file: Path) -> list[Any]:
    """How a stand-in was called, call after call."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


run_here: set[tuple[str, str]] = set()


def runs(file: str, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test the step that it runs, and take down that it is run."""
    run_here.add((file, name))
    return pytest.mark.parametrize("step", [step_called(file, name)], ids=[f"{file}: {name}"])
