"""Two arms: what is asked for, what is refused before anything is measured."""

import sys
from pathlib import Path

import pydantic
import pytest

from swapbench.base.errors import Exit, IncomparableError, ModelError, UsageError
from swapbench.run.arms import Asked, checkpoints_of, make_arms, refuse_too_few_pairs, refuse_unfit
from swapbench.spec.experiment import find, load, validate
from swapbench.spec.overrides import sets
from swapbench.store import ArmInfo
from swapbench.wire.plan import WIRE_VERSION, Checkpoint
from tests.environments import thin
from tests.scripted import raw_experiment, toml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scripted.toml"
    path.write_text(toml())
    return path


def arms(
    file: Path,
    a: tuple[str, ...] = (),
    b: tuple[str, ...] = (),
    common: tuple[str, ...] = (),
    pairs: int | None = None,
) -> tuple[ArmInfo, ArmInfo]:
    asked = (Asked(sys.executable, tuple(sets(a)), "old"), Asked(sys.executable, tuple(sets(b))))
    first, second = make_arms(file, sets(common), asked, pairs, lambda _: None)
    return first, second


def test_each_arm_has_what_is_common_and_what_is_its_own(file: Path) -> None:
    a, b = arms(file, b=("script.seconds.load=4.0",), common=("target_s=9",))
    assert (a.name, a.label, b.name, b.label) == ("A", "old", "B", "B")
    one, other = validate(a.experiment, ""), validate(b.experiment, "")
    assert one.target_s == other.target_s == 9
    assert one.script is not None
    assert other.script is not None
    assert (one.script.seconds["load"], other.script.seconds["load"]) == (3.0, 4.0)  # type: ignore[index]
    assert (a.settings, b.settings) == ((), ("script.seconds.load=4.0",))
    assert [model.name for model in a.models] == ["small", "large"]


def test_pairs_are_the_gate_s_own_unless_a_number_is_given(file: Path) -> None:
    assert arms(file)[0].experiment["rounds"] == 10
    assert arms(file, common=("gate.pairs=12",))[1].experiment["rounds"] == 12
    assert arms(file, pairs=7)[0].experiment["rounds"] == 7


def test_there_is_always_a_warm_up_round(file: Path) -> None:
    assert arms(file)[0].experiment["warmup"] == 1
    assert arms(file, common=("warmup=3",))[0].experiment["warmup"] == 3


def test_criteria_are_left_out_since_they_judge_a_run_by_itself(file: Path) -> None:
    # Of a strategy that only one arm has, as `ab` makes it of a file that has both.
    of_one = 'criterion=[{kind="times-faster", scenario="up", strategy="slab"}]'
    assert [arm.experiment["criterion"] for arm in arms(file, common=(of_one,))] == [[], []]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("warmup=2", "warmup is 0 in A and 2 in B"),
        ("seed=5", "seed is 0 in A and 5 in B"),
        ("order=balanced", "order is listed in A and balanced in B"),
        ("gate.pairs=20", "gate is "),
        ('scenario.up.name="upwards"', "A and B have unlike scenarios"),
        ('scenario.up.to="small"', "A and B have unlike scenarios"),
    ],
)
def test_arms_that_would_not_have_the_same_turns_are_refused(file: Path, setting: str, said: str) -> None:
    with pytest.raises(UsageError) as told:
        arms(file, b=(setting,))
    assert str(told.value).startswith(said)
    assert "set with --set" in str(told.value)


def test_several_strategies_are_told_how_to_compare_two(file: Path) -> None:
    with pytest.raises(UsageError, match=r"has 2 strategies.*--a-set strategy=NAME --b-set strategy=OTHER"):
        arms(file, common=('strategy=["stock", "slab"]',))


def test_a_missing_model_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "real.toml"
    path.write_text(
        '[models]\na = "./no-such-model"\nb = "./nor-this"\n[[scenario]]\nname = "up"\nfrom = "a"\nto = "b"\n'
    )
    with pytest.raises(ModelError, match="no-such-model"):
        arms(path)


def script(folder: Path, body: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_this_interpreter_fits_and_one_that_has_our_swapbench_does(tmp_path: Path) -> None:
    refuse_unfit(sys.executable)
    refuse_unfit(script(tmp_path, f"echo {WIRE_VERSION}"))


def test_an_interpreter_without_swapbench_runs_ours_if_it_has_what_the_worker_takes(tmp_path: Path) -> None:
    refuse_unfit(str(thin(tmp_path / "theirs", Path(pydantic.__file__).parents[1])))
    bare = str(thin(tmp_path / "bare"))
    lacks = f"^{bare}: can't run swapbench's worker: it lacks pydantic>=2.8 and psutil>=6 and numpy>=1; "
    with pytest.raises(UsageError, match=lacks):
        refuse_unfit(bare, "their-own")
    with pytest.raises(UsageError, match=r"and mlx-lm>=0\.30; "):
        refuse_unfit(bare, "inprocess")
    with pytest.raises(UsageError, match=r"and mlx>=0\.32; "):
        refuse_unfit(bare, "sharded")


def test_code_that_lies_in_the_working_directory_is_not_what_an_interpreter_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "swapbench"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "wire.py").write_text("WIRE_VERSION = 0\n")
    monkeypatch.chdir(tmp_path)
    refuse_unfit(script(tmp_path, f'exec {sys.executable} "$@"'))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo boom >&2; exit 1", "boom"),
        ("exit 0", "it printed nothing"),
        ("echo hello", "it printed nothing"),
    ],
)
def test_whatever_else_runs_is_no_worker(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"can't run swapbench's worker: {said}"):
        refuse_unfit(script(tmp_path, body))


def test_what_is_no_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a Python interpreter"):
        refuse_unfit(str(tmp_path / "none"))


def test_a_swapbench_that_speaks_otherwise_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match=f"speaks wire version 999, this one {WIRE_VERSION}") as told:
        refuse_unfit(script(tmp_path, "echo 999"))
    assert told.value.exit_code is Exit.INCONCLUSIVE


def test_so_few_pairs_that_nothing_could_be_found_are_refused(file: Path) -> None:
    a, b = arms(file, b=("target_s=3",), pairs=6)
    refuse_too_few_pairs((a, b))
    many = [{"name": f"s{n}", "from": "small", "to": "large"} for n in range(5)]
    crowded = a.model_copy(update={"experiment": a.experiment | {"scenario": many}})
    with pytest.raises(UsageError, match="6 pairs are too few for 5 scenarios"):
        refuse_too_few_pairs((crowded, b))


def test_what_an_arms_target_can_not_do_is_noted_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swapbench.run.arms.refuse_silent", lambda server: None)
    raw = raw_experiment()
    del raw["script"]
    path = tmp_path / "served.toml"
    path.write_text(toml(raw | {"script": {}}).replace("[script]\n", "") + "[workload]\nagents = 2\n")
    first, second = arms(
        path, ("target=http://127.0.0.1:1",), ("target=http://127.0.0.1:2", "verify.tokens=0")
    )
    assert any("always wrong" in note for note in first.notes)
    assert not any("always wrong" in note for note in second.notes)


def test_another_interpreters_mlx_lm_may_know_more_than_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def provide(*_: object, elsewhere: bool) -> dict[str, Checkpoint]:
        asked.append(elsewhere)
        return {}

    monkeypatch.setattr("swapbench.run.arms.provide", provide)
    for python in (sys.executable, "/elsewhere/bin/python"):
        checkpoints_of(load(find("quick")), print, python)
    assert asked == [False, True]
