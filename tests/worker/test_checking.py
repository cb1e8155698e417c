"""What is refused before the old model is given up, and what of a checkpoint is never run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapbench.experiment import Source
from swapbench.loaders import load
from swapbench.models.locate import provide
from swapbench.wire import Checkpoint
from swapbench.worker.checking import refuse_broken
from swapbench.worker.targets import RefusedError

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


def _other_architecture(folder: Path) -> None:
    change(folder / "config.json", model_type="no-such-model")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_lose_the_weights, "model.safetensors is missing"),
        (_spoil_the_header, "model.safetensors has a corrupt header: it is not JSON"),
        (_other_sizes, "Expected shape"),
        (_other_architecture, "no-such-model not supported"),
    ],
)
def test_what_is_known_to_fail_is_refused_with_what_to_do(
    damage: Callable[[Path], None], says: str, checkpoint: Checkpoint
) -> None:
    damage(checkpoint.path)
    with pytest.raises(RefusedError) as refused:
        refuse_broken(checkpoint)
    assert says in str(refused.value)
    assert "`swapbench models fetch org/small` completes it" in str(refused.value)


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
    with pytest.raises(RefusedError, match="names code to run"):
        refuse_broken(checkpoint)
    with pytest.raises(ValueError, match="names code to run"):
        load(checkpoint.path, "stock")
    assert not (checkpoint.path / "canary").exists()


def test_code_that_a_tokenizer_names_is_never_run(checkpoint: Checkpoint) -> None:
    (checkpoint.path / "tokenization.py").write_text(CANARY)
    change(
        checkpoint.path / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization.Tokenizer", "tokenization.Tokenizer"]},
        tokenizer_class="Tokenizer",
    )
    try:
        load(checkpoint.path, "stock")
    except ValueError as error:
        refusal = str(error)
        assert "trust_remote_code" in refusal
    assert not (checkpoint.path / "canary").exists()


def test_pickles_beside_the_weights_are_not_looked_at(checkpoint: Checkpoint) -> None:
    for name in ("pytorch_model.bin", "model.pt", "weights.pkl"):
        (checkpoint.path / name).write_bytes(b"cposix\nsystem\n(S'touch canary'\ntR.")
    refuse_broken(checkpoint)
    load(checkpoint.path, "stock")
    assert not (checkpoint.path / "canary").exists()
