"""What is refused before the old model is given up, and what of a checkpoint is never run."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapbench.loaders import load
from swapbench.models.locate import provide
from swapbench.spec.experiment import Source
from swapbench.spec.strategy import NAMED
from swapbench.wire.plan import Checkpoint
from swapbench.worker.checking import refuse_broken
from swapbench.worker.targets import RefusedError

FETCH = "`swapbench models fetch org/small` completes it"
CANARY = "from pathlib import Path\nPath(__file__).with_name('canary').write_text('was run')\n"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real mini checkpoint."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SWAPBENCH_CACHE", str(cache))
        reference = "mlx-community/SmolLM2-135M-Instruct"
        return provide({"small": reference}, Source.MINI, lambda _: None)["small"].path


@pytest.fixture
def checkpoint(mini: Path, tmp_path: Path) -> Checkpoint:
    """A copy of it, to be spoilt."""
    shutil.copytree(mini, tmp_path / "copy")
    return Checkpoint(
        name="small", reference="org/small", source=Source.HUB, path=tmp_path / "copy", weight_bytes=0
    )


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_whole_checkpoint_is_let_pass(checkpoint: Checkpoint) -> None:
    refuse_broken(checkpoint)


def _lose_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _spoil_the_header(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(8)
        file.write(b"not JSON")


def _other_sizes(folder: Path) -> None:
    change(folder / "config.json", intermediate_size=512)


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def _spoil_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {}}')


def _other_architecture(folder: Path) -> None:
    change(folder / "config.json", model_type="no-such-model")


@pytest.mark.parametrize(
    ("damage", "says", "advice"),
    [
        (_lose_the_weights, "model.safetensors is missing", FETCH),
        (_spoil_the_header, "model.safetensors has a corrupt header: it is not JSON", FETCH),
        (_other_sizes, "Expected shape", "config.json and weights have to be of one model"),
        (_other_architecture, 'no architecture "no-such-model"', "a newer mlx-lm may: `pip install"),
        (_no_json, "config.json is a list, not an object", "get it again"),
        (_spoil_the_tokenizer, "the tokenizer can't be loaded", "get its files and config.json again"),
    ],
)
def test_what_is_known_to_fail_is_refused_with_advice_that_fits(
    damage: Callable[[Path], None], says: str, advice: str, checkpoint: Checkpoint
) -> None:
    damage(checkpoint.path)
    with pytest.raises(RefusedError) as refused:
        refuse_broken(checkpoint)
    assert says in str(refused.value)
    assert str(refused.value).split("; ")[-1].startswith(advice)


@pytest.mark.parametrize("source", [Source.LOCAL, Source.MINI, Source.SYNTHETIC])
def test_a_folder_that_was_given_by_path_is_to_be_mended_where_it_is(
    source: Source, checkpoint: Checkpoint
) -> None:
    _lose_the_weights(checkpoint.path)
    with pytest.raises(RefusedError, match=r"put a whole checkpoint there$"):
        refuse_broken(checkpoint.model_copy(update={"source": source}))


@pytest.mark.parametrize("source", [Source.MINI, Source.SYNTHETIC])
def test_what_swapbench_made_for_itself_is_made_again(
    source: Source, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path))
    (tmp_path / source).mkdir()
    folder = checkpoint.path.rename(tmp_path / source / "smollm2-135m")
    _lose_the_weights(folder)
    with pytest.raises(RefusedError) as refused:
        refuse_broken(checkpoint.model_copy(update={"source": source, "path": folder}))
    assert f"remove it by `swapbench models rm smollm2-135m --source {source}`" in str(refused.value)


def test_code_that_a_config_names_is_never_run(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "model.py").write_text(CANARY)
    change(checkpoint.path / "config.json", model_file="model.py")
    with pytest.raises(RefusedError, match=r"code of the checkpoint's \(model.py\), and none is run"):
        refuse_broken(checkpoint)
    for strategy in NAMED:
        with pytest.raises(ValueError, match="and none is run"):
            load(checkpoint.path, strategy)
    assert not (checkpoint.path / "canary").exists()


def test_code_that_a_tokenizer_names_is_never_run(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "tokenization.py").write_text(CANARY)
    change(
        checkpoint.path / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization.Tokenizer", "tokenization.Tokenizer"]},
        tokenizer_class="Tokenizer",
    )
    with pytest.raises(RefusedError, match="wants to run code of the checkpoint's"):
        refuse_broken(checkpoint)
    # As with a terminal, where transformers would ask, and somebody who says yes to everything.
    asks = f"""
from swapbench.loaders import load
for name in {tuple(NAMED)!r}:
    try:
        load({str(checkpoint.path)!r}, name)
    except ValueError as error:
        print("refused:", error)
"""
    command = [sys.executable, "-P", "-c", asks]
    asked = subprocess.run(command, input="y\n" * 99, capture_output=True, text=True, check=True)
    refused = [line for line in asked.stdout.splitlines() if line.startswith("refused: ")]
    says = f"refused: {checkpoint.path}: the tokenizer wants to run code of the checkpoint's"
    assert len(refused) == len(NAMED)
    assert all(line.startswith(says) for line in refused), asked
    assert "[y/N]" not in asked.stdout + asked.stderr
    assert not (checkpoint.path / "canary").exists()


def test_pickles_beside_the_weights_are_not_looked_at(checkpoint: Checkpoint) -> None:
    for name in ("pytorch_model.bin", "model.pt", "weights.pkl"):
        (checkpoint.path / name).write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    refuse_broken(checkpoint)
    load(checkpoint.path, "stock")
    assert not (checkpoint.path / "canary").exists()
