"""docs/ci.md says what the action and the workflows really are."""

import re
from typing import Any, Final

import yaml

from swapbench.base.errors import Exit
from tests.workflows.reading import ACTION, ROOT, STEPS, WORKFLOWS, document
from tests.workflows.test_action_steps import VERDICTS

PAGE: Final = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
INPUTS: Final[dict[str, Any]] = document(ACTION)["inputs"]


def example() -> str:
    block = re.search(r"<!-- example -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    return block[1]


def test_the_example_has_ten_lines_and_inputs_that_there_are() -> None:
    assert len(example().splitlines()) == 10
    steps = yaml.safe_load(example())["jobs"]["gate"]["steps"]
    given = steps[-1]["with"]
    assert set(given) <= set(INPUTS)
    assert {name for name, declared in INPUTS.items() if declared.get("required")} <= set(given)


def test_the_example_is_pinned_as_the_workflows_are() -> None:
    pins = {step.uses for step in STEPS}
    checkout = yaml.safe_load(example())["jobs"]["gate"]["steps"][0]
    assert checkout["uses"] in pins
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}


def default_of(declared: dict[str, Any]) -> str:
    if declared.get("required"):
        return "required"
    return f"`{declared['default']}`" if declared["default"] else ""


def test_every_input_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \|([^|]*)\|", PAGE, re.MULTILINE))
    documented = {name: rows[name].strip() for name in INPUTS}
    assert documented == {name: default_of(declared) for name, declared in INPUTS.items()}


def test_every_exit_code_and_verdict_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `([\w-]+)` \|", PAGE, re.MULTILINE))
    assert rows == {str(int(code)): VERDICTS[code] for code in Exit}


def test_every_workflow_is_documented() -> None:
    assert all(f"(../.github/workflows/{path.name})" in PAGE for path in WORKFLOWS)
