"""Commands in a control group, as containers, services and CI jobs have them.

The kernel's files are laid out for it; and where one may be, a group is made for real.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapbench.store import Run, list_runs, read
from tests.e2e.conftest import UNPROVEN
from tests.environment.circumstances import error_of, run_command, with_kernels_files, with_models
from tests.frames import frame
from tests.scripted import toml

MIB = 1 << 20
LIMIT_BYTES = 600 * MIB
MOUNTS = Path("/sys/fs/cgroup")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A group of version 2 with 600 MiB, 100 of them in use and 50 of these cache; half a processor."""
    tree = tmp_path / "tree"
    job = tree / "sys/fs/cgroup/user.slice/job"
    job.mkdir(parents=True)
    (tree / "proc/self").mkdir(parents=True)
    (tree / "proc/self/cgroup").write_text("0::/user.slice/job\n")
    (tree / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    (job / "memory.max").write_text(f"{LIMIT_BYTES}\n")
    (job / "memory.current").write_text(f"{100 * MIB}\n")
    (job / "memory.stat").write_text(f"anon 1\ninactive_file {50 * MIB}\nactive_file 0\n")
    (job / "memory.swap.max").write_text("0\n")
    (job.parent / "cpu.max").write_text("50000 100000\n")
    return tree


@pytest.fixture
def inside(tree: Path, model_cache: Path) -> dict[str, str]:
    """The environment of a process in that group."""
    return with_kernels_files(tree, with_models(model_cache))


def _the_folder(results: Path) -> Path:
    ((folder, _),) = list_runs(results)
    return folder


def _the_run(results: Path) -> Run:
    return read(_the_folder(results))


@pytest.mark.slow
def test_the_doctor_tells_of_the_group_and_not_of_the_machine(inside: dict[str, str], tmp_path: Path) -> None:
    document = json.loads(run_command(["doctor", "--json"], tmp_path, inside).stdout)
    machine = document["machine"]
    assert (machine["memory_limit_bytes"], machine["memory_limited_by"]) == (LIMIT_BYTES, "a control group")
    assert (machine["cores_limit"], machine["cores_limited_by"]) == (0.5, "a control group")
    found = {check["name"]: check["finding"] for check in document["checks"]}
    assert found["memory"] == "0.5 of 0.6 GiB of memory available, limited by a control group"
    assert "of which 0.5 may be used here, limited by a control group" in found["load"]


def test_what_a_run_takes_is_set_against_the_groups_memory(inside: dict[str, str], tmp_path: Path) -> None:
    shown = run_command(["show", "quick"], tmp_path, inside).stdout
    assert "550.0 MiB available, limited by a control group: too little" in shown
    told = json.loads(run_command(["show", "quick", "--json"], tmp_path, inside).stdout)["machine"]
    assert told["memory_available_bytes"] == 550 * MIB
    assert told["memory_limited_by"] == "a control group"


def test_runs_in_a_group_and_outside_are_not_compared(
    inside: dict[str, str], model_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    outside = with_models(model_cache)
    for out, environment in (("in", inside), ("out", outside)):
        words = ["run", "scripted.toml", "--rounds", "1", "--quiet", "--out", out]
        assert run_command(words, tmp_path, environment).returncode == 0
    limited, free = (_the_run(tmp_path / out) for out in ("in", "out"))
    assert limited.info.machine.memory_limit_bytes == LIMIT_BYTES
    assert limited.info.machine.memory_bytes == free.info.machine.memory_bytes
    refused = run_command(
        ["compare", str(_the_folder(tmp_path / "in")), str(_the_folder(tmp_path / "out"))], tmp_path, outside
    )
    assert "(limited to 0.6 GiB by a control group)" in error_of(refused)
    reported = run_command(["report", str(_the_folder(tmp_path / "in"))], tmp_path, outside).stdout
    assert "limited to 0.6 GiB by a control group" in " ".join(reported.split())


def test_a_run_is_not_resumed_under_other_limits(
    inside: dict[str, str], model_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    words = ["run", "scripted.toml", "--rounds", "1", "--quiet"]
    assert run_command(words, tmp_path, inside).returncode == 0
    folder = _the_folder(tmp_path / "results")
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(told | {"status": "interrupted"}))
    refused = run_command(["run", "--resume", str(folder)], tmp_path, with_models(model_cache))
    assert "begun on another machine, or under other limits (" in error_of(refused)


@pytest.mark.slow
def test_a_model_that_the_group_has_no_room_for_is_refused(
    tree: Path, inside: dict[str, str], model_cache: Path, tmp_path: Path
) -> None:
    sizes = {
        name: sum(file.stat().st_size for file in (model_cache / "mini" / name).glob("*.safetensors"))
        for name in ("smollm2-135m", "gemma-3-12b-text")
    }
    small, large = sorted(sizes, key=lambda name: sizes[name])
    room = (sizes[small] + sizes[large]) // 2
    job = tree / "sys/fs/cgroup/user.slice/job"
    # Once the small one has gone, what it took is available again.
    (job / "memory.current").write_text(str(LIMIT_BYTES - max(sizes[small], room - sizes[small])))
    (job / "memory.stat").write_text("")
    (tmp_path / "tight.toml").write_text(
        f'source = "local"\nrounds = 1\n[models]\nsmall = "{model_cache}/mini/{small}"\n'
        f'large = "{model_cache}/mini/{large}"\n[[scenario]]\nname = "up"\nfrom = "small"\nto = "large"\n'
    )
    done = run_command(["run", "tight.toml", "--quiet"], tmp_path, inside)
    assert done.returncode == 7, done.stderr
    (swap,) = frame(_the_run(tmp_path / "results").swaps).itertuples()
    error = str(swap.error)
    assert swap.status == "refused"
    assert "large does not fit: " in error
    assert "of memory to be had, limited by a control group; choose a smaller model" in error


def test_the_probe_takes_no_more_than_the_group_has(inside: dict[str, str], tmp_path: Path) -> None:
    done = run_command(["probe", "--json", "--folder", "."], tmp_path, inside)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["machine"]["memory_limit_bytes"] == LIMIT_BYTES
    (copies,) = {rate["how"] for rate in measured["rates"] if rate["kind"] == "copy"}
    assert copies == "one thread"


def test_a_probe_without_room_says_whose_memory_is_short(
    tree: Path, inside: dict[str, str], tmp_path: Path
) -> None:
    (tree / "sys/fs/cgroup/user.slice/job/memory.max").write_text(str(300 * MIB))
    said = run_command(["probe", "--folder", "."], tmp_path, inside).stderr.splitlines()[-1]
    assert re.search(r"0\.3 GB of memory are free, limited by a control group; --folder", said)


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A group of the kernel's own, with 600 MiB."""
    for mount, limit in ((MOUNTS / "memory", "memory.limit_in_bytes"), (MOUNTS, "memory.max")):
        group = mount / f"swapbench-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            why = f"no control group can be made here: {error}"
            continue
        try:
            (group / limit).write_text(str(LIMIT_BYTES))
            yield group
            return
        except OSError as error:
            why = f"no control group limits memory here: {error}"
        finally:
            group.rmdir()
    pytest.skip(why)


def _in_group(group: Path) -> list[str]:
    return ["bash", "-c", f'echo $$ > {group}/cgroup.procs; exec "$0" "$@"']


def test_a_real_group_is_found(real_group: Path, model_cache: Path, tmp_path: Path) -> None:
    words = ["show", "quick", "--json"]
    shown = run_command(words, tmp_path, with_models(model_cache), prefix=_in_group(real_group))
    told = json.loads(shown.stdout)["machine"]
    assert told["memory_limited_by"] == "a control group"
    assert LIMIT_BYTES // 2 < told["memory_available_bytes"] < LIMIT_BYTES


@pytest.mark.slow
def test_a_run_in_a_real_group_goes_well_and_says_so(
    real_group: Path, model_cache: Path, tmp_path: Path
) -> None:
    words = ["run", "quick", "--rounds", "1", "--warmup", "0", "--quiet", *UNPROVEN, "--strategy", "auto"]
    done = run_command(words, tmp_path, with_models(model_cache), prefix=_in_group(real_group))
    assert done.returncode == 0, done.stderr
    run = _the_run(tmp_path / "results")
    assert set(frame(run.swaps).status) == {"ok"}
    assert run.info.machine.memory_limit_bytes == LIMIT_BYTES
