"""Experiments as they are printed."""

import io
from collections.abc import Collection
from pathlib import Path

import pytest
from rich.console import Console

from swapbench.models.locate import Located
from swapbench.report.experiments import print_experiment, print_experiments, print_settings
from swapbench.run.capacity import Available, ModelSize, needs
from swapbench.spec.experiment import Experiment, Source, find, load, validate

ROWS = [
    {
        "name": "exp013-strategies",
        "title": "EXP-013: strategies, side by side, on models that are far too large to be held twice",
        "models": ["smollm2-135m", "gemma-3-12b", "qwen2.5-14b"],
        "scenarios": ["drained-cold", "large-to-large-cold", "large-to-small", "large-to-large"],
        "file": "experiments/exp013-strategies.toml",
    },
    {
        "name": "mine-by-a-name-of-some-length",
        "title": "Mine",
        "models": ["a"],
        "scenarios": ["up"],
        "file": "mine.toml",
    },
]
THERE = Available(24 << 30, 77 * 10**9, 77 * 10**9)
every_width = pytest.mark.parametrize("width", [60, 80, 120])


def console(width: int) -> tuple[Console, io.StringIO]:
    """As `make_console` makes one, on paper."""
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def shown(
    chosen: Experiment, width: int, path: Path = Path("mine.toml"), unweighed: Collection[str] = ()
) -> str:
    """What `show` prints, of models that lie nowhere."""
    located = [
        Located(
            name,
            chosen.models[name],
            Source.HUB,
            None,
            0 if name in unweighed else 273_000_000,
            f"`swapbench models fetch {name}`",
        )
        for name in chosen.model_names()
    ]
    sizes = {model.name: ModelSize(model.weight_bytes, on_disk=False) for model in located}
    paper, out = console(width)
    print_experiment(path, chosen, located, needs(chosen, sizes), THERE, paper)
    print_settings(chosen, None, paper)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_file_is_never_broken(width: int) -> None:
    paper, out = console(width)
    file = "somewhere/else/experiments/of/mine/ci-gate.toml"
    print_experiments([row | {"file": file} for row in ROWS], paper)
    assert [line.strip() for line in out.getvalue().splitlines()].count(file) == len(ROWS)


@every_width
def test_names_and_scenarios_stand_whole_in_a_list(width: int) -> None:
    paper, out = console(width)
    print_experiments(ROWS, paper)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line[:1].strip()] == [row["name"] for row in ROWS]
    words = out.getvalue().replace(",", " ").split()
    assert {"gemma-3-12b", "large-to-large-cold"} <= set(words)


def test_what_a_model_of_unknown_size_takes_is_not_nothing() -> None:
    text = shown(load(find("exp012")), 200, unweighed=["qwen2.5-14b"])
    (row,) = [line for line in text.splitlines() if line.split()[:2] == ["qwen2.5-14b", "hub"]]
    assert row.split()[2] == "unknown"
    assert "memory: at least 260.4 MiB (" in text
    assert "qwen2.5-14b unknown); 24.00 GiB available" in text
    assert "disk for checkpoints: at least 546.0 MB (qwen2.5-14b unknown) to get" in text
    assert "MiB (qwen2.5-14b unknown); with less" in text
    assert "at least" not in shown(load(find("exp012")), 200)


@every_width
def test_names_and_settings_stand_whole_where_one_is_shown(width: int) -> None:
    text = shown(load(find("exp012")), width)
    assert max(map(len, text.splitlines())) <= width
    for name in ("large-to-small", "qwen2.5-14b", "workload.drain_deadline_s", "273.0 MB", "24.00 GiB"):
        assert name in text


def test_a_path_that_is_longer_than_a_line_can_still_be_copied() -> None:
    path = Path("experiments", "of-" + "mine-" * 20 + "all.toml")
    assert str(path) in shown(load(find("exp012")), 60, path).splitlines()


ODD = "[bold]a:smile:[/bold]"


def test_what_a_user_wrote_is_printed_as_it_is() -> None:
    paper, out = console(200)
    row = {"name": ODD, "title": ODD, "models": [ODD], "scenarios": [ODD], "file": ODD}
    print_experiments([row], paper)
    assert out.getvalue().count(ODD) == len(row)


def test_what_a_user_wrote_is_shown_as_it_is() -> None:
    raw = {
        "title": ODD,
        "description": ODD,
        "models": {"small": f"{ODD}/small", "large": f"{ODD}/large"},
        "scenario": [{"name": "up", "from": "small", "to": "large"}],
    }
    text = shown(validate(raw, "mine.toml"), 200, Path(ODD, "mine.toml"))
    assert text.count(ODD) == 5
