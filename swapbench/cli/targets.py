"""`swapbench targets`."""

import json
from typing import TYPE_CHECKING, Any

from swapbench.cli.options import Json

if TYPE_CHECKING:
    from swapbench.run.targets import BuiltIn
    from swapbench.spec.preset import Preset


def targets(as_json: Json = False) -> None:
    """List what can be measured: the worker's engine, and servers.

    A server of yours: one TOML file, by its path. docs/targets.md has every field.

    \b
    Examples:
      swapbench targets
      swapbench targets --json
      swapbench run exp012 --target mlx_lm
      swapbench run exp012 --target http://127.0.0.1:8080
      swapbench run exp012 --target ./my-server.toml

    Exit codes: 0 fine, 2 usage.
    """
    from swapbench.report.listing import list_console
    from swapbench.report.targets import print_targets
    from swapbench.run.targets import BUILT_IN, orchestrators
    from swapbench.spec.preset import read_preset, shipped

    rows = [_built_in(name, target) for name, target in BUILT_IN.items()]
    rows += [_row(name, read_preset(path)) for name, path in shipped().items()]
    rows += [_orchestrator(name, where) for name, where in orchestrators().items()]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_targets(rows, list_console())


def _built_in(name: str, target: "BuiltIn") -> dict[str, Any]:
    return {
        "name": name,
        "title": target.title,
        "start": "in the worker",
        "swap": target.swap,
        "reports": target.reports,
        "tested": "real",
        "tested_on": target.tested_on,
    }


def _row(name: str, preset: "Preset") -> dict[str, Any]:
    calls = [f"{call.method} {call.path}" for call in preset.swap.call]
    return {
        "name": name,
        "title": preset.title,
        "start": " ".join(preset.start.command) if preset.start is not None else "",
        "url": preset.url,
        "swap": ", ".join(calls) if calls else "asking for the other model",
        "reports": ", ".join(figure.where for figure in preset.reported),
        "tested": preset.tested,
        "tested_on": preset.tested_on,
        "documentation": preset.documentation,
    }


def _orchestrator(name: str, where: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": f"an orchestrator of your own: {where}",
        "start": "in the worker",
        "swap": "its own swap",
        "reports": "the phases that it tells",
        "tested": "own",
        "tested_on": "",
    }
