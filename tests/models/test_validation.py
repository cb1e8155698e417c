"""Odd checkpoints are whole to everybody, and broken ones are broken to everybody, for one reason."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swapbench.base.errors import ModelError
from swapbench.cli.experiments import show
from swapbench.loaders import load
from swapbench.models import repack, validation
from swapbench.models.locate import NAMED_SOURCES, find, provide
from swapbench.models.validation import examined, fault
from swapbench.spec.experiment import Source
from swapbench.wire.plan import Checkpoint
from swapbench.worker.checking import fault_of, refuse_broken
from swapbench.worker.targets import RefusedError
from tests.loaders.conftest import bits
from tests.loaders.test_load import PROMPT
from tests.models.spoiling import AGREEING, BROKEN, TWO, UNFIT, WHOLE, sharded, vocabulary_of_another_class
from tests.programs import FALSE

asked_here = pytest.mark.usefixtures("asked_here")


@pytest.fixture
def folder(cache: Path, minis: dict[str, Path], tmp_path: Path) -> Path:
    """A mini of two files, tied and tokenised as Qwen is."""
    return sharded(minis["qwen2.5-0.5b"], tmp_path / "copy", TWO)


def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(name="odd", reference="org/odd", source=Source.LOCAL, path=folder, weight_bytes=0)


def certain(folder: Path) -> str:
    found = examined(folder)
    assert found is not None
    return found.what


def refused_by(
    call: Callable[..., object], *arguments: Any, error: type[Exception] = ModelError, **more: Any
) -> str:
    with pytest.raises(error) as refusal:
        call(*arguments, **more)
    said = str(refusal.value)
    assert "\n" not in said
    return said


def refused_before_a_run(folder: Path, *, elsewhere: bool = False) -> str:
    return refused_by(provide, {"odd": str(folder)}, Source.LOCAL, print, elsewhere=elsewhere)


def refused_in_the_worker(folder: Path) -> str:
    return refused_by(refuse_broken, checkpoint(folder), error=RefusedError).replace(f" ({folder})", "")


def why_not_copied(folder: Path, tmp_path: Path) -> str:
    return refused_by(repack.repack, folder, tmp_path / "aligned", 4096, lambda *_: None)


@asked_here
@pytest.mark.parametrize("name", WHOLE)
def test_what_mlx_lm_loads_is_whole_to_everybody(
    name: str, folder: Path, minis: dict[str, Path], tmp_path: Path
) -> None:
    WHOLE[name](folder)
    assert fault(folder) is None
    assert provide({"odd": str(folder)}, Source.HUB, print)["odd"].path == folder
    refuse_broken(checkpoint(folder))
    assert repack.repack(folder, tmp_path / "aligned", 4096, lambda *_: None) is repack.Outcome.WRITTEN
    expected = bits(load(minis["qwen2.5-0.5b"], "stock")[0](PROMPT))
    aligned = tmp_path / "aligned"
    ways = [(folder, loader) for loader in ("stock", "fill", "slab", "direct", "map")]
    for path, strategy in (*ways, (aligned, "stock"), (aligned, "map")):
        model, tokenizer, _ = load(path, strategy)
        assert bits(model(PROMPT)) == expected
        assert tokenizer.encode("one")
        del model


@asked_here
@pytest.mark.parametrize("name", BROKEN)
def test_what_it_can_not_load_is_broken_to_everybody_for_the_same_reason(
    name: str, folder: Path, tmp_path: Path
) -> None:
    spoil, says = BROKEN[name]
    spoil(folder)
    _is_broken_to_everybody(folder, says, tmp_path)


@asked_here
def test_a_vocabulary_that_its_class_does_not_read_is_none_and_the_classes_that_would_are_named(
    cache: Path, minis: dict[str, Path], tmp_path: Path
) -> None:
    folder = sharded(minis["smollm2-135m"], tmp_path / "copy", TWO)
    vocabulary_of_another_class(folder)
    says = "it knows no tokens, as without its files; set tokenizer_class in tokenizer_config.json to GPT2Tok"
    _is_broken_to_everybody(folder, says, tmp_path)


def _is_broken_to_everybody(folder: Path, says: str, tmp_path: Path) -> None:
    before = refused_before_a_run(folder)
    assert says in before
    assert refused_before_a_run(folder) == refused_before_a_run(folder, elsewhere=True) == before
    in_the_worker = refused_in_the_worker(folder)
    assert says in in_the_worker
    assert in_the_worker.split("; ")[-1] == before.split("; ")[-1]
    assert says in str(examined(folder))
    assert says in why_not_copied(folder, tmp_path)
    _is_not_loaded(folder, says)


@asked_here
@pytest.mark.parametrize("name", UNFIT)
def test_what_another_mlx_lm_may_load_is_refused_by_this_one_alone_and_before_anything_runs(
    name: str, folder: Path
) -> None:
    spoil, says = UNFIT[name]
    spoil(folder)
    before = refused_before_a_run(folder)
    assert says in before
    assert refused_before_a_run(folder) == before
    assert provide({"odd": str(folder)}, Source.LOCAL, print, elsewhere=True)["odd"].path == folder
    assert says in refused_by(find, str(folder), NAMED_SOURCES)  # what is repacked
    assert says in refused_in_the_worker(folder)
    _is_not_loaded(folder, says)


def _is_not_loaded(folder: Path, says: str) -> None:
    for strategy in ("stock", "auto"):
        said = refused_by(load, folder, strategy, error=ValueError)
        assert said.startswith(f"{folder}: ")
        assert says in said


def test_a_folder_that_is_not_there_is_no_file_that_is_missing(tmp_path: Path) -> None:
    for strategy in ("stock", "reuse", "auto"):
        said = refused_by(load, tmp_path / "no", strategy, error=FileNotFoundError)
        assert said.startswith(f"{tmp_path / 'no'}: there is no such folder; ")


def test_what_is_looked_at_is_said_once_and_all_that_is_broken_is_named_first(
    folder: Path, minis: dict[str, Path]
) -> None:
    BROKEN["broken tokenizer"][0](folder)
    models = {"whole": str(minis["qwen2.5-0.5b"]), "one": str(folder), "two": str(folder)}
    said: list[str] = []
    first = refused_by(provide, models, Source.LOCAL, said.append)
    assert said == ["looking at whole", "looking at one"]
    assert first.startswith("one, two can't be loaded: one: the tokenizer can't be loaded")
    assert refused_by(provide, models, Source.LOCAL, said.append) == first
    assert len(said) == 2


def test_mlx_lm_is_asked_once_for_each_state_of_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WHOLE["stale index"](folder)
    asked: list[Path] = []

    def ask(path: Path) -> dict[str, str]:
        asked.append(path)
        return {}

    monkeypatch.setattr(validation, "ask", ask)
    assert [fault(folder) for _ in range(3)] == [None] * 3
    assert asked == [folder]
    (folder / "generation_config.json").write_text("{}")
    fault(folder)
    assert len(asked) == 2


@asked_here
@pytest.mark.parametrize("name", AGREEING)
def test_a_broken_folder_that_agrees_with_itself_is_believed_until_mlx_lm_is_asked(
    name: str, folder: Path, tmp_path: Path
) -> None:
    spoil, says = BROKEN[name]
    spoil(folder)
    assert fault(folder) is None
    assert says in certain(folder)
    assert says in str(fault(folder))
    assert says in why_not_copied(folder, tmp_path)
    (folder / "generation_config.json").write_text("{}")  # another state: nothing is known of it
    assert fault(folder) is None


def test_a_tokenizer_that_could_not_be_looked_at_is_not_remembered_as_broken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", FALSE)
    with pytest.raises(RefusedError, match="could not be looked at: exit code 1"):
        refuse_broken(checkpoint(folder))
    monkeypatch.undo()
    assert (fault(folder), examined(folder)) == (None, None)
    refuse_broken(checkpoint(folder))


def test_what_mlx_lm_could_not_be_asked_is_asked_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WHOLE["stale index"](folder)
    monkeypatch.setattr(sys, "executable", FALSE)
    assert str(fault(folder)) == "mlx-lm could not be asked about it: exit code 1, it said nothing; try again"
    monkeypatch.undo()
    assert fault(folder) is None


def test_a_folder_that_agrees_with_itself_is_looked_at_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "ask", lambda path: pytest.fail(f"mlx-lm was asked about {path}"))
    assert fault(folder) is None


@asked_here
def test_what_whole_files_would_not_mend_is_not_called_incomplete(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"qwen2"', '"no-such-model"'))
    WHOLE["stale index"](folder)
    found = fault_of(folder)
    assert found is not None
    assert not found.incomplete
    assert examined(folder) == found
    assert fault(folder) is None


@pytest.mark.parametrize("strategy", ["stock", "auto", "fill", "slab", "map"])
@pytest.mark.parametrize("name", ["cut short", "pointer of Git LFS"])
def test_load_says_which_file_is_broken(name: str, strategy: str, folder: Path) -> None:
    spoil, says = BROKEN[name]
    spoil(folder)
    with pytest.raises(ValueError, match=re.escape(f"{folder}: {says}")):
        load(folder, strategy)


def test_load_runs_no_code_and_does_not_ask_to_be_trusted(folder: Path) -> None:
    _told_of_code(folder)
    with pytest.raises(
        ValueError, match=r"asks for code of the checkpoint's \(evil.py\), and none is run; choose a model"
    ):
        load(folder, "stock")


def _told_of_code(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_file": "evil.py"}))
    (folder / "evil.py").write_text("raise SystemExit('it ran')")


def _of_an_unknown_architecture(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "no-such-model"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_told_of_code, "asks for code of the checkpoint's (evil.py), and none is run; choose a model"),
        (_of_an_unknown_architecture, 'knows no architecture "no-such-model"; a newer mlx-lm may'),
        (BROKEN["broken tokenizer"][0], "the tokenizer can't be loaded"),
        (BROKEN["missing shard"][0], "in none of its files"),
    ],
)
def test_show_says_what_can_not_be_loaded(
    spoil: Callable[[Path], None], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder)
    show("quick", settings=[f"models.smollm2={folder}"], as_json=True)
    model = json.loads(capsys.readouterr().out)["models"][0]
    assert says in model["hint"]
