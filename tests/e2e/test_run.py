"""Runs of the mini models from the command line to the files on disk."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from swapbench.base.phases import LEDGERS, PHASES
from swapbench.store import Run, list_runs, read
from tests.e2e.conftest import UNPROVEN, Cli, swapbench_of
from tests.frames import frame

pytestmark = pytest.mark.e2e

MULTIPLICATION_SIGN = "\N{MULTIPLICATION SIGN}"

# The experiment as it is, only shorter: minis prefill some 80 tokens a second on a CPU.
LOADED = (
    *("run", "exp012-loaded", "--models", "mini", "--rounds", "1", "--warmup", "0"),
    *("--set", "workload.cache_tokens=64", "--set", "workload.prompt_tokens=16"),
    *("--set", "workload.agents=2", "--set", "workload.requests=2"),
)


def _only_run(folder: Path) -> Run:
    ((path, _),) = list_runs(folder / "results")
    return read(path)


@pytest.fixture(scope="module")
def quick(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of `quick`, whose JSON is all that was printed."""
    folder = tmp_path_factory.mktemp("quick")
    done = swapbench_of(model_cache, folder)("run", "quick", "--rounds", "2", "--json", *UNPROVEN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert done.stderr == ""
    return _only_run(folder)


def _whole_phases(run: Run) -> pd.DataFrame:
    return frame(run.phases)[(frame(run.phases).span == "") & frame(run.phases).phase.isin(list(PHASES))]


def test_exp012_runs_on_mini_models_and_claims_nothing_about_the_real_ones(cli: Cli, tmp_path: Path) -> None:
    once = ("--rounds", "1", "--warmup", "0", "--set", "steady_tokens=8")
    done = cli("run", "exp012", "--models", "mini", *once)
    assert done.returncode == 0, done.stderr
    assert "mini" in done.stdout
    for scenario in ("small-to-large", "large-to-large", "large-to-small"):
        assert scenario in done.stdout
    run = _only_run(tmp_path)
    assert list(frame(run.swaps).status) == ["ok"] * 3
    assert frame(run.swaps).valid.all()
    assert (frame(run.swaps).resident_before >= 0.99).all()
    assert (frame(run.swaps).first_token_s > 0).all()
    assert (frame(run.swaps).verified_tokens == 16).all()
    assert (frame(run.swaps).steady_tokens_per_s > 0).all()


@pytest.mark.slow
def test_minis_given_by_path_are_minis_whatever_the_source(
    cli: Cli, model_cache: Path, tmp_path: Path
) -> None:
    minis = model_cache / "mini"
    shutil.copytree(minis / "smollm2-135m", tmp_path / "SmolLM2-135M-Instruct")
    (tmp_path / "link").symlink_to(minis / "gemma-3-12b-text")
    assert cli("models", "repack", "qwen2.5-14b", "--source", "mini", "--out", "repacked").returncode == 0
    paths = {
        "smollm2-135m": "./SmolLM2-135M-Instruct",
        "gemma-3-12b": "./link",
        "qwen2.5-14b": "./repacked",
    }
    named = [word for name, path in paths.items() for word in ("--set", f"models.{name}={path}")]
    done = cli("run", "exp012", *named, "--rounds", "1", "--warmup", "0", *UNPROVEN)
    assert done.returncode == 0, done.stderr
    run = _only_run(tmp_path)
    assert run.info.run_id.endswith("Z-mini")
    assert [(model.reference, model.source) for model in run.info.models] == [
        (path, "mini") for path in paths.values()
    ]
    assert "mini models   scaled down; their times say nothing about the real models" in done.stdout
    for words in ("published", "under 30 s  ", f"{MULTIPLICATION_SIGN} under"):
        assert words not in done.stdout.replace("swaps in under 30 s", "")


def test_every_swaps_phases_sum_to_its_wall_time(quick: Run) -> None:
    sums = _whole_phases(quick).groupby(["round", "scenario"]).seconds.sum()
    swaps = frame(quick.swaps).set_index(["round", "scenario"])
    assert (sums + swaps.unattributed_s).sort_index().tolist() == pytest.approx(
        swaps.total_s.sort_index().tolist()
    )
    # What no phase accounts for is under 1 % of the swap, or is the observer's own measured cost.
    assert (swaps.unattributed_s - swaps.probe_s <= 0.01 * swaps.total_s).all()


def test_every_phase_has_all_ledgers_before_and_after(quick: Run) -> None:
    whole = _whole_phases(quick)
    assert set(whole.phase) == set(PHASES)
    for ledger in LEDGERS:
        assert whole[f"{ledger}_before_bytes"].notna().all()
        assert whole[f"{ledger}_after_bytes"].notna().all()
    load = whole[whole.phase == "load"]
    assert (load.mlx_active_after_bytes > load.mlx_active_before_bytes).all()
    assert not frame(quick.memory).empty


def test_under_load_drain_and_evict_do_real_work_and_everybody_is_answered(cli: Cli, tmp_path: Path) -> None:
    done = cli(*LOADED, *UNPROVEN)
    assert done.returncode == 0, done.stderr
    run = _only_run(tmp_path)
    phases = _whole_phases(run)
    assert (phases[phases.phase == "drain"].seconds > 0.001).all()
    assert (phases[phases.phase == "evict"].seconds > 0.001).all()
    assert (frame(run.swaps).answered_requests == 2).all()
    assert (frame(run.swaps).drained_requests + frame(run.swaps).carried_requests == 2).all()
    assert (frame(run.swaps).evicted_caches == 2).all()
    assert (frame(run.swaps).evicted_bytes > 0).all()
    assert {"write", "write/agent-1"} <= set(frame(run.phases)[frame(run.phases).phase == "evict"].span)


@pytest.mark.slow
def test_without_patience_every_request_is_carried_over_and_answered_by_the_new_model(
    cli: Cli, tmp_path: Path
) -> None:
    done = cli(*LOADED, *UNPROVEN, "--set", "workload.drain_deadline_s=0")
    assert done.returncode == 0, done.stderr
    swaps = frame(_only_run(tmp_path).swaps)
    assert (swaps.carried_requests > 0).all()
    assert (swaps.answered_requests == 2).all()


def test_a_cold_run_proves_that_it_was_cold(undisturbed_cli: Cli, tmp_path: Path) -> None:
    assert undisturbed_cli("run", "quick", "--rounds", "1", "--page-cache", "cold", *UNPROVEN).returncode == 0
    run = _only_run(tmp_path)
    assert (frame(run.swaps).resident_before == 0).all()
    assert frame(run.swaps).valid.all()
    load = _whole_phases(run).query("phase == 'load'").set_index("scenario").disk_read_bytes
    swaps = frame(run.swaps).set_index("scenario")
    assert (load >= 0.9 * swaps.loaded_bytes).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "exp13"), 'no experiment "exp13"'),
        (("run", "quick", "--set", "round=3"), 'did you mean "rounds"?'),
        (("run", "quick", "--models", "huub"), 'did you mean "hub"?'),
        (("run", "quick", "--rounds", "0"), "rounds"),
        (("run",), "which experiment?"),
        (("run", "--resume", "nowhere"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
        (("run", "exp012", "--models", "hub"), "swapbench models fetch"),
        (("run", "exp012", "--models", "synthetic"), "swapbench models synth"),
        (("run", "exp012", "--models", "local"), "--set models.gemma-3-12b=PATH"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
