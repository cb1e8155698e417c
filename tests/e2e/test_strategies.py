"""Strategies through the real command line, on real MLX."""

import json
from pathlib import Path

import pytest

from swapbench.store import read, resolve
from tests.e2e.conftest import UNPROVEN, Cli
from tests.frames import frame


@pytest.mark.slow
def test_several_strategies_swap_side_by_side_and_answer_as_fresh_processes_do(
    undisturbed_cli: Cli, tmp_path: Path
) -> None:
    # One of each kind: what loads, what is kept, what is read ahead. tests/loaders has every loader.
    chosen = ("stock", "reuse", "slab-keep", "direct-ahead", "map-keep")
    once = ("--rounds", "1", "--warmup", "0")
    settings = ("first_token=true", "steady_tokens=0", "verify.tokens=4")
    named = [word for name in chosen for word in ("--strategy", name)]
    named += [word for setting in settings for word in ("--set", setting)]
    done = undisturbed_cli("run", "exp013-strategies", "--models", "mini", *once, *named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Strategies, large-to-large" in done.stdout
    run = read(resolve(tmp_path / "results", None))
    strategies = set(frame(run.swaps).strategy)
    assert strategies == set(chosen)
    assert set(frame(run.swaps).status) == {"ok"}
    for name in chosen:
        assert set(frame(run.swaps)[frame(run.swaps).strategy == name].loader) == {name.partition("-")[0]}
    # As many tokens as were asked for were the same as a process's that never swapped.
    assert (frame(run.swaps).verified_tokens > 0).all()
    assert set(frame(run.memory).strategy[frame(run.memory).scenario != ""]) <= strategies


@pytest.mark.slow
def test_what_was_read_while_the_old_model_drained_is_counted(undisturbed_cli: Cli, tmp_path: Path) -> None:
    done = undisturbed_cli(
        *("run", "exp013-strategies", "--models", "mini", "--rounds", "1", "--strategy", "direct-ahead"),
        *UNPROVEN,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = read(resolve(tmp_path / "results", None))
    drained = frame(run.swaps)[frame(run.swaps).scenario == "drained-cold"].iloc[0]
    assert drained.ahead_bytes > 0
    assert drained.kept_bytes > 0


def test_one_strategy_of_a_run_can_be_reported_phase_by_phase(cli: Cli) -> None:
    chosen = ("--strategy", "stock", "--strategy", "slab")
    assert cli("run", "quick", "--rounds", "1", *chosen, *UNPROVEN).returncode == 0
    whole = json.loads(cli("report", "--format", "json").stdout)
    assert len(whole["ladders"]) == len(whole["scenarios"]) / 2
    alone = json.loads(cli("report", "--format", "json", "--strategy", "slab").stdout)
    assert alone["ladders"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "quick", "--strategy", "slap"), 'no strategy "slap"; did you mean "slab"'),
        (("run", "quick", "--set", "strategy=slap"), 'no strategy "slap"; did you mean "slab"'),
        (("run", "quick", "--set", "strategy.mine.loader=mapp"), '"mapp" is not allowed; did you mean "map"'),
        (("run", "quick", "--set", "strategy=[]"), "at least one strategy"),
    ],
)
def test_a_wrong_strategy_is_one_line_and_exit_code_2(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
