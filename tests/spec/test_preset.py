"""Preset files: strict, and every mistake one line with file, key and what is wrong."""

from pathlib import Path

import pytest

from swapbench.base.errors import UsageError
from swapbench.spec.preset import Preset, fill_secrets, read_preset, shipped

LEAST = """
title = "mine"
[start]
command = ["mine", "--port", "{port}"]
[ask]
body = { model = "{model}", prompt = "{prompt}" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    preset = read_preset(written(tmp_path, LEAST))
    assert (preset.name, preset.tested, preset.swap.by) == ("mine", "untested", "request")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("tittle = 1", 'tittle: unknown key; did you mean "title"?'),
        ("[ready]\npth = '/x'", 'ready.pth: unknown key; did you mean "path"?'),
        ("[ready]\npath = 'health'", "ready.path: "),
        ("[ready]\ntimeout_s = 0", "ready.timeout_s: must be more than 0"),
        ("[swap]\nby = 'call'", 'swap.by: by = "call" and at least one [[swap.call]] belong together'),
        ("[swap]\nby = 'calling'", 'swap.by: "calling" is not allowed; did you mean "call"?'),
        ("url = 'http://{env:KEY}.test'", "url: {env:NAME} is filled in headers"),
        ("[[unload]]\npath = '/{old}'\nbody = '{env:KEY}'", "unload: {env:NAME} is filled in headers"),
        (
            "[[reported]]\nwhat = 'load'\nwhere = 'a'\nunit = 'bytes'\nmeans = 'm'",
            '"bytes" is no unit of load',
        ),
        (
            "[[reported]]\nwhat = 'load'\nfrom = 'get'\nwhere = 'a'\nunit = 's'\nmeans = 'm'",
            "belong together",
        ),
    ],
)
def test_a_mistake_is_told_with_file_and_key(change: str, complaint: str, tmp_path: Path) -> None:
    top, table = (change, "") if not change.startswith("[") else ("", change)
    path = written(tmp_path, f"{top}\n{LEAST}\n{table}\n")
    with pytest.raises(UsageError) as caught:
        read_preset(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('prompt = "{prompt}", max = "{maxtokens}"', "ask.body: {maxtokens} stands for nothing; there are {"),
        ('model = "{model}"', "ask.body: {prompt} must be in it"),
    ],
)
def test_a_question_that_asks_nothing_is_refused(body: str, complaint: str, tmp_path: Path) -> None:
    asks = f'title = "mine"\n[ask]\nbody = {{ {body} }}\n'
    with pytest.raises(UsageError) as caught:
        read_preset(written(tmp_path, asks))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ('["mine"]', "{port} must be in it"),
        ('["mine", "{port}", "--key", "{env:KEY}"]', "no secrets on a command line"),
    ],
)
def test_a_command_that_could_not_work_is_refused(command: str, complaint: str, tmp_path: Path) -> None:
    text = LEAST.replace('["mine", "--port", "{port}"]', command)
    with pytest.raises(UsageError, match=complaint):
        read_preset(written(tmp_path, text))


@pytest.mark.parametrize("text", ["=", "\x00", "a = [" * 1000])
def test_what_is_no_toml_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid TOML"):
        read_preset(written(tmp_path, text))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_preset_that_comes_with_it_says_what_it_was_tested_with(name: str) -> None:
    preset = read_preset(shipped()[name])
    assert preset.name == name
    assert preset.tested in ("real", "stand-in")
    assert preset.tested_on
    assert preset.documentation.startswith("https://")


def test_keys_are_taken_from_the_environment_and_only_there() -> None:
    assert fill_secrets("Bearer {env:A}", {"A": "x"}) == "Bearer x"
    assert fill_secrets("Bearer {env:A?}", {}) is None
    with pytest.raises(UsageError, match="the environment variable A is not set"):
        fill_secrets("Bearer {env:A}", {})


def test_a_preset_knows_which_keys_it_takes() -> None:
    preset = Preset.model_validate(
        {
            "title": "t",
            "headers": {"a": "{env:ONE?}", "b": "{env:TWO}"},
            "ask": {"body": {"prompt": "{prompt}"}},
            "unload": [{"path": "/{old}", "headers": {"c": "{env:THREE}"}}],
        }
    )
    assert preset.secrets() == {"ONE": True, "TWO": False, "THREE": False}
