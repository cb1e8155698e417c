"""Who imports what: a room those below it, the parent never MLX, the worker no interface, `--help` little."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "swapbench"
# From the roof to the ground: a room imports from rooms below it, and from none above.
ROOMS = (
    *(
        "cli",
        "report",
        "run",
        "compare",
        "findings",
        "stats",
        "store",
        "worker",
        "loaders",
        "models",
        "compat",
    ),
    *("instruments", "machine", "wire", "orchestrator", "spec", "base"),
)
MLX = {"mlx", "mlx_lm", "transformers"}
INTERFACE = {"typer", "rich", "vl_convert"}
HEAVY = MLX | {
    "numpy",
    "pydantic",
    "rich",
    "huggingface_hub",
    "psutil",
    "scipy",
    "vl_convert",
}


def modules_imported(path: Path) -> set[str]:
    """The modules of ours that a module's import statements name, wherever in it they stand."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module_of(name) for name in found if name.startswith("swapbench.")} - {dotted(path)}


def module_of(name: str) -> str:
    """Where what is imported stands: a module, or the package that hands a name out."""
    path = PACKAGE.parent / name.replace(".", "/")
    there = path.with_suffix(".py").exists() or (path / "__init__.py").exists()
    return name if there else name.rpartition(".")[0]


def test_every_module_is_in_a_room() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_below_it_alone(room: str) -> None:
    above = set(ROOMS[: ROOMS.index(room)])
    for path in modules_under(room):
        assert not {name.split(".")[1] for name in modules_imported(path) if "." in name} & above, path


def modules_under(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (PACKAGE / room).rglob("*.py"))


WORKER = modules_under("worker", "loaders", "compat")
# models/ has both: the catalogue for the parent, and what is done in a child because it needs MLX.
PARENT = [path for path in modules_under(".") if path not in (*WORKER, *modules_under("models"))]


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The packages that import statements among `nodes` name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def loaded_by(code: str) -> set[str]:
    """The packages in memory after `code`, in a fresh interpreter."""
    script = f"{code}\nimport sys, json\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", PARENT, ids=dotted)
def test_the_parent_never_imports_mlx_not_even_inside_a_function(path: Path) -> None:
    assert not imported(ast.walk(parse(path))) & MLX


def test_the_whole_parent_can_be_imported_without_mlx() -> None:
    names = [dotted(path) for path in PARENT if path.name != "__main__.py"]
    loaded = loaded_by(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert {"numpy", "pydantic", "rich", "typer"} <= loaded
    assert not loaded & MLX


@pytest.mark.parametrize("path", WORKER, ids=dotted)
def test_the_worker_never_imports_a_user_interface_not_even_inside_a_function(path: Path) -> None:
    assert not imported(ast.walk(parse(path))) & INTERFACE


def test_the_whole_worker_can_be_imported_without_what_draws_charts() -> None:
    names = [dotted(path) for path in WORKER if path.name != "__main__.py"]
    loaded = loaded_by(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert "mlx" in loaded
    assert "vl_convert" not in loaded


def test_a_server_is_measured_without_mlx_in_the_worker() -> None:
    loaded = loaded_by("import swapbench.worker.targets.http.target, swapbench.worker.session")
    assert not loaded & (MLX | INTERFACE | {"numpy"})


def loaded_by_command(*arguments: str) -> set[str]:
    return loaded_by(
        "import sys\n"
        "from swapbench.cli import main\n"
        f"sys.argv = {['swapbench', *arguments]!r}\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code"
    )


def test_help_loads_no_library_but_typer() -> None:
    loaded = loaded_by_command("--help")
    assert "typer" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "command", ["run", "show", "list", "schema", "models", "runs", "report", "history", "targets"]
)
def test_the_help_of_a_command_loads_none_either(command: str) -> None:
    # typer itself brings pydantic in as soon as there are parameters.
    assert not loaded_by_command(command, "--help") & (HEAVY - {"pydantic"})


# Nobody waits for what a list does not need: half a second of computing, and more.
SLOW = MLX | {"numpy", "pandas", "scipy", "vl_convert", "huggingface_hub", "httpx"}


@pytest.mark.parametrize(
    "command",
    [("list",), ("show", "exp012"), ("schema",), ("targets",), ("models", "list"), ("baseline", "list")],
    ids=" ".join,
)
def test_what_lists_and_shows_loads_nothing_slow(command: tuple[str, ...]) -> None:
    assert not loaded_by_command(*command) & SLOW


def test_what_people_write_is_read_by_pydantic_alone() -> None:
    loaded = loaded_by("import swapbench.spec.experiment, swapbench.spec.preset")
    assert not loaded & (HEAVY - {"pydantic"})


def test_no_module_is_needed_by_what_it_needs() -> None:
    needs = {dotted(path): modules_imported(path) for path in modules_under(".")}
    settled: set[str] = set()
    while free := {name for name in needs.keys() - settled if needs[name] <= settled}:
        settled |= free
    assert not needs.keys() - settled
