"""Every command of the command line: what it says of itself, its examples, arguments and options."""

import re
from collections.abc import Iterator
from typing import Any, Final

import typer

from docgen.cells import linked, table
from swapbench.base.errors import Exit
from swapbench.cli import app

_EXAMPLE: Final = re.compile(r"^Examples?: *")
_ASIDE: Final = re.compile(r" {2,}\((.+)\)$")


def command_reference() -> str:
    """A chapter for each command, in the order in which `swapbench --help` has them."""
    return "\n\n".join(_chapter(path, command) for path, command in _walk("swapbench", _root()))


def exit_codes() -> str:
    """Every exit code, and what it means."""
    return table(("Code", "Meaning"), [(str(int(code)), code.meaning) for code in Exit])


def _root() -> Any:
    # Newer typers bring a click of their own, so that there is no one type for commands.
    return typer.main.get_command(app)


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            yield from _walk(f"{path} {name}", child)
        elif not child.hidden:
            yield f"{path} {name}", child


def _chapter(path: str, command: Any) -> str:
    prose, examples = _told(command.help or "")
    usage = " ".join([path, *(_argument(p) for p in command.params if _is_argument(p)), "[OPTIONS]"])
    parts = [f"## `{path}`", "\n\n".join(prose[:1]), f"```text\n{usage}\n```"]
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    parts += prose[1:]
    rows = [(_name(p), _meaning(p)) for p in command.params if not p.hidden and "--help" not in p.opts]
    if rows:
        parts.append(table(("Argument or option", "Meaning"), rows))
    return "\n\n".join(filter(None, parts))


def _told(text: str) -> tuple[list[str], list[str]]:
    """A docstring's paragraphs, and its examples: what is indented, or follows "Example:"."""
    prose, examples = [], []
    for paragraph in text.replace("\b", "").split("\n\n"):
        found = _EXAMPLE.sub("", paragraph.strip("\n"))
        if found != paragraph.strip("\n") or paragraph.startswith("  "):
            examples += [_ASIDE.sub(r"  # \1", line.strip()) for line in found.splitlines() if line.strip()]
        else:
            prose.append(linked(" ".join(paragraph.split())))
    return prose, examples


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _argument(parameter: Any) -> str:
    # With an ellipsis of its own where typer has not put one there already.
    name = (parameter.metavar or parameter.name.upper()).rstrip(".").strip("[]")
    name = name if parameter.required else f"[{name}]"
    return name + ("..." if parameter.nargs == -1 else "")


def _name(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{_argument(parameter)}`"
    spelled = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    said = "repeatable" in (parameter.help or "")
    return spelled + (" (repeatable)" if parameter.multiple and not said else "")


def _meaning(parameter: Any) -> str:
    default = parameter.default
    said = [parameter.help or ""]
    choices = _choices(parameter)
    if not all(re.search(rf"\b{re.escape(choice)}\b", said[0]) for choice in choices):
        said.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if default not in (None, False, "", (), []) and not _is_argument(parameter):
        said.append(f"Default: `{default}`.")
    return " ".join(filter(None, said))


def _choices(parameter: Any) -> tuple[str, ...]:
    """The values that an option is kept to; none where it takes others, too."""
    # Where they stand has moved with typer's releases.
    kind = getattr(parameter, "type_descriptor", None) or parameter.type
    return tuple(map(str, getattr(kind, "choices", None) or ()))
