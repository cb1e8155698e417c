"""The workflows and the composite action as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parent.parent.parent
ACTION: Final = ROOT / "action.yml"
WORKFLOWS: Final = tuple(sorted((ROOT / ".github" / "workflows").iterdir()))


@dataclass(frozen=True)
class Step:
    """One step; `env` is what workflow, job and step say together, expressions not yet evaluated."""

    file: str
    job: str
    keys: Mapping[str, Any]
    env: Mapping[str, str]
    shell: str

    @property
    def name(self) -> str:
        return str(self.keys["name"])

    @property
    def script(self) -> str:
        return str(self.keys["run"])

    @property
    def uses(self) -> str:
        return str(self.keys.get("uses", ""))


def document(path: Path) -> dict[str, Any]:
    """A file's content; what YAML 1.1 takes for true in `on:` is called "on" again."""
    read: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else str(key): value for key, value in read.items()}


def steps_of(path: Path) -> list[Step]:
    """Every step of a workflow or an action, in order."""
    whole = document(path)
    jobs = whole.get("jobs", {"": whole.get("runs")})
    shell = whole.get("defaults", {}).get("run", {}).get("shell", "")
    return [
        Step(
            path.name,
            name,
            keys,
            {k: str(v) for part in (whole, job, keys) for k, v in part.get("env", {}).items()},
            keys.get("shell", shell),
        )
        for name, job in jobs.items()
        for keys in job["steps"]
    ]


STEPS: Final = [step for path in (*WORKFLOWS, ACTION) for step in steps_of(path)]
SHELL_STEPS: Final = [step for step in STEPS if "run" in step.keys]


def step_called(file: str, name: str) -> Step:
    """The one shell step of that name."""
    (found,) = (step for step in SHELL_STEPS if (step.file, step.name) == (file, name))
    return found
