"""Commands under `ulimit`."""

import json
import math
import sys
from pathlib import Path

import pytest

from swapbench.store import list_runs, read
from tests.environment.circumstances import as_stranger, error_of, limited, run_command, with_models
from tests.frames import frame
from tests.scripted import toml

FEW = 1024
LITTLE_KIB = 6 << 20

WANT = (
    "mlx-lm can't be imported: it sets the limit of open files to 4096, and no more than 1024 are allowed "
    "here; have `ulimit -Hn 4096` allowed: "
)


@pytest.fixture
def few_files() -> list[str]:
    """As somebody who may not raise the limit."""
    return [*as_stranger(), *limited(f"-n {FEW}")]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "quick"],
        ["run", "quick", "--target", "mlx_lm"],
        ["run", "exp012-sharded", "--models", "mini"],
        ["ab", "quick", "--aa", "--pairs", "6"],
        ["models", "synth", "smollm2-135m", "--mini"],
    ],
    ids=" ".join,
)
def test_what_wants_mlx_lm_says_at_once_that_files_are_too_few(
    words: list[str], few_files: list[str], tmp_path: Path
) -> None:
    done = run_command(words, tmp_path, with_models(tmp_path / "cache"), prefix=few_files)
    assert error_of(done).startswith(WANT)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


def test_the_doctor_says_so_too(few_files: list[str], model_cache: Path, tmp_path: Path) -> None:
    done = run_command(["doctor", "--json"], tmp_path, with_models(model_cache), prefix=few_files)
    (check,) = (c for c in json.loads(done.stdout)["checks"] if c["name"] == "open files")
    assert check["status"] == "advice"
    assert f"{check['finding']}; {check['advice']}".startswith(WANT)


def test_what_has_no_model_runs_with_few_files(few_files: list[str], tmp_path: Path) -> None:
    (tmp_path / "scripted.toml").write_text(toml())
    words = ["run", "scripted.toml", "--rounds", "1", "--quiet"]
    done = run_command(words, tmp_path, with_models(tmp_path / "cache"), prefix=few_files)
    assert done.returncode == 0, done.stderr


def _sparse_model(folder: Path, like: Path, size: int) -> None:
    """A model like another, with an embedding of more than so many bytes that take no room on disk."""
    folder.mkdir()
    for file in like.iterdir():
        if file.suffix == ".json" and "index" not in file.name and file.name != "swapbench.json":
            (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((like / "config.json").read_text())
    words = size // (config["hidden_size"] * 2) + 1
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": words}))
    raw = (like / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    header["model.embed_tokens.weight"]["shape"][0] = words
    end = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = end, end + 2 * math.prod(tensor["shape"])
            tensor["data_offsets"] = [begin, end]
    raw = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as weights:
        weights.write(len(raw).to_bytes(8, "little") + raw)
        weights.truncate(8 + len(raw) + end)


linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS holds nobody to ulimit -v")


@linux
def test_a_model_that_does_not_fit_below_the_ulimit_is_refused_before_the_swap(
    model_cache: Path, tmp_path: Path
) -> None:
    small = model_cache / "mini/smollm2-135m"
    _sparse_model(tmp_path / "huge", small, 2 * LITTLE_KIB * 1024)
    (tmp_path / "tight.toml").write_text(
        f'source = "local"\nrounds = 1\n[models]\nsmall = "{small}"\nhuge = "./huge"\n'
        '[[scenario]]\nname = "up"\nfrom = "small"\nto = "huge"\n'
    )
    words = ["run", "tight.toml", "--quiet"]
    done = run_command(words, tmp_path, with_models(model_cache), prefix=limited(f"-v {LITTLE_KIB}"))
    assert done.returncode == 7, done.stderr
    ((folder, _),) = list_runs(tmp_path / "results")
    run = read(folder)
    (swap,) = frame(run.swaps).itertuples()
    error = str(swap.error)
    assert swap.status == "refused"
    assert "huge does not fit: 12,885.9 MB of weights, and only " in error
    assert "limited by ulimit -v; choose a smaller model" in error
    assert (run.info.machine.memory_limit_bytes, run.info.machine.memory_limited_by) == (
        LITTLE_KIB * 1024,
        "ulimit -v",
    )


@linux
def test_what_is_available_below_the_ulimit_is_said_with_its_name(model_cache: Path, tmp_path: Path) -> None:
    prefix = limited(f"-v {LITTLE_KIB}")
    shown = run_command(["show", "quick"], tmp_path, with_models(model_cache), prefix=prefix).stdout
    assert " GiB available, limited by ulimit -v" in shown
