"""Repacked checkpoints: the same tensors to the bit, readable by everybody, where a mapping can have them."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import deserialize, safe_open

from swapbench.base.errors import ModelError
from swapbench.models.checkpoint import looks_whole, read_layout
from swapbench.models.locate import locate
from swapbench.models.repack import Outcome, repack
from swapbench.spec.experiment import Source

PAGE = 16384
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
# What mx.load reads; it has no 8-bit floats of its own.
MLX_DTYPES = sorted(set(ITEM_BYTES) - {"F8_E4M3", "F64"})


@dataclass(frozen=True)
class Made:
    """A tensor of a test: its bytes are drawn from a seed, and are no number's in particular."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def data(self) -> bytes:
        count = ITEM_BYTES[self.dtype]
        for size in self.shape:
            count *= size
        # Booleans have to be 0 or 1 for a reader to keep them.
        top = 2 if self.dtype == "BOOL" else 251
        return bytes((7 * at + len(self.name)) % top for at in range(count))


def shard(path: Path, tensors: list[Made], spaces: int = 0, metadata: Any = None) -> None:
    """A file with tensors in the order given and a header that ends anywhere."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    at = 0
    for tensor in tensors:
        end = at + len(tensor.data)
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode() + b" " * spaces
    data = b"".join(tensor.data for tensor in tensors)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def checkpoint(folder: Path, shards: list[list[Made]], spaces: int = 0, metadata: Any = None) -> Path:
    """A checkpoint of these shards, as far as files go."""
    folder.mkdir(parents=True)
    names = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    weight_map: dict[str, str] = {}
    for name, tensors in zip(names, shards, strict=True):
        shard(folder / name, tensors, spaces, metadata)
        weight_map |= dict.fromkeys((tensor.name for tensor in tensors), name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text('{"model_type": "llama"}')
    return folder


ODD = [Made("a", "U8", (3,)), Made("b", "F32", (5,)), Made("c", "F16", (3, 1)), Made("d", "I64", (2,))]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Two shards; in the first, no order but another has every tensor at a multiple of its item size."""
    return checkpoint(tmp_path / "odd", [ODD, [Made("e", "BF16", (4, 4))]], metadata={"format": "mlx"})


def ignore(done_bytes: int, total_bytes: int) -> None:
    pass


def refusal(*arguments: Any) -> str:
    with pytest.raises(ModelError) as caught:
        repack(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tensors_of(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Names, types, shapes and bytes, as Hugging Face's own parser has them."""
    return {
        name: (str(tensor["dtype"]), list(tensor["shape"]), bytes(tensor["data"]))
        for name, tensor in deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    }


def metadata_of(path: Path) -> Any:
    with safe_open(path, "numpy") as file:
        return file.metadata()


def weights_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_mappable(path: Path, align_bytes: int) -> None:
    layout = read_layout(path)
    assert layout.data_start % align_bytes == 0
    assert [e.name for e in layout.entries if (layout.data_start + e.start) % ITEM_BYTES[e.dtype]] == []


def layouts(dtypes: list[str]) -> st.SearchStrategy[list[list[Made]]]:
    """Shards of tensors of any type and shape, the sizes of some of them 0."""
    form = st.tuples(st.sampled_from(dtypes), st.lists(st.integers(0, 7), max_size=3))
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    tensors = st.dictionaries(names.filter(lambda name: name != "__metadata__"), form, max_size=8)
    return st.lists(tensors, min_size=1, max_size=3).map(
        lambda shards: [[Made(name, dtype, tuple(s)) for name, (dtype, s) in t.items()] for t in shards]
    )


@given(
    shards=layouts(sorted(ITEM_BYTES)),
    spaces=st.integers(0, 40),
    metadata=st.none() | st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3),
    align_bytes=st.sampled_from([64, 4096, PAGE]),
)
def test_whatever_the_layout_tensors_are_the_same_to_the_bit_and_can_be_mapped(
    shards: list[list[Made]],
    spaces: int,
    metadata: dict[str, str] | None,
    align_bytes: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source, target = checkpoint(folder / "from", shards, spaces, metadata), folder / "to"
    told: list[tuple[int, int]] = []
    outcome = repack(source, target, align_bytes, lambda *bytes_: told.append(bytes_))
    if outcome is Outcome.ALIGNED:
        assert not target.exists()
        target = source
    else:
        assert outcome is Outcome.WRITTEN
        total = sum(path.stat().st_size for path in target.iterdir())
        assert told[-1] == (total, total)
    assert names_in(target) == names_in(source)
    assert looks_whole(target)
    for before, after in zip(weights_of(source), weights_of(target), strict=True):
        assert tensors_of(after) == tensors_of(before)
        assert metadata_of(after) == metadata_of(before) == metadata
        assert_mappable(after, align_bytes)
    assert repack(target, folder / "again", align_bytes, ignore) is Outcome.ALIGNED
    assert not (folder / "again").exists()


@given(shards=layouts(MLX_DTYPES))
def test_mlx_reads_the_same_arrays(
    shards: list[list[Made]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import mlx.core as mx

    folder = tmp_path_factory.mktemp("mlx")
    source, target = checkpoint(folder / "from", shards), folder / "to"
    repack(source, target, PAGE, ignore)
    for before, after in zip(weights_of(source), weights_of(target), strict=True):
        expected, found = mx.load(str(before)), mx.load(str(after))
        assert isinstance(expected, dict)
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            # As bytes: what is no number equals nothing, itself included.
            if array.size:
                same = found[name].reshape(-1).view(mx.uint8) == array.reshape(-1).view(mx.uint8)
                assert same.all().item()


def test_all_the_data_is_one_array_of_which_tensors_are_views(odd: Path, tmp_path: Path) -> None:
    import numpy as np

    assert repack(odd, tmp_path / "to", PAGE, ignore) is Outcome.WRITTEN
    path = tmp_path / "to" / "model-00001-of-00002.safetensors"
    layout = read_layout(path)
    data = np.memmap(path, np.uint8, "r", offset=layout.data_start)
    numpy_dtypes = {"U8": np.uint8, "F32": np.float32, "F16": np.float16, "I64": np.int64}
    expected = {tensor.name: tensor.data for tensor in ODD}
    for entry in layout.entries:
        view = data[entry.start : entry.end].view(numpy_dtypes[entry.dtype])
        assert view.flags.aligned
        assert not view.flags.owndata
        assert view.tobytes() == expected[entry.name]


def test_bigger_items_come_first_only_where_the_order_can_not_stay(tmp_path: Path) -> None:
    stays = [Made("z", "U32", (2,)), Made("y", "F16", (2,)), Made("x", "F32", (1,))]
    source = checkpoint(tmp_path / "from", [stays, ODD])
    repack(source, tmp_path / "to", PAGE, ignore)
    first, second = ([e.name for e in read_layout(p).entries] for p in weights_of(tmp_path / "to"))
    assert first == ["z", "y", "x"]
    assert second == ["d", "b", "c", "a"]


def test_types_that_this_swapbench_does_not_know_are_placed_by_their_size(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "from", [ODD[:1]])
    header = {
        "a": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]},
        "b": {"dtype": "C128", "shape": [2], "data_offsets": [3, 35]},
    }
    text = json.dumps(header).encode()
    weights_of(source)[0].write_bytes(struct.pack("<Q", len(text)) + text + bytes(range(35)))
    repack(source, tmp_path / "to", PAGE, ignore)
    copy = weights_of(tmp_path / "to")[0]
    layout = read_layout(copy)
    assert [(e.name, e.start) for e in layout.entries] == [("b", 0), ("a", 32)]
    assert copy.read_bytes()[layout.data_start :] == bytes([*range(3, 35), 0, 1, 2])


def test_other_files_are_copied_and_hidden_ones_are_not(odd: Path, tmp_path: Path) -> None:
    (odd / "LICENSE").write_text("whose it is")
    (odd / "templates").mkdir()
    (odd / "templates" / "tool.jinja").write_text("{{ x }}")
    for name in (".git", ".cache"):
        (odd / name).mkdir()
        (odd / name / "x").write_text("x")
    (odd / ".DS_Store").write_text("x")
    target = tmp_path / "to"
    repack(odd, target, PAGE, ignore)
    assert names_in(target) == [name for name in names_in(odd) if not name.startswith(".")]
    assert (target / "templates" / "tool.jinja").read_text() == "{{ x }}"
    index = "model.safetensors.index.json"
    assert (target / index).read_bytes() == (odd / index).read_bytes()


def test_links_of_a_hub_cache_become_files(odd: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in odd.iterdir():
        (snapshot / path.name).symlink_to(path)
    repack(snapshot, tmp_path / "to", PAGE, ignore)
    assert not any(path.is_symlink() for path in (tmp_path / "to").iterdir())
    assert looks_whole(tmp_path / "to")


def test_a_tied_model_is_read_by_mlx_lm_and_found_by_its_path(minis: dict[str, Path], tmp_path: Path) -> None:
    from mlx.utils import tree_flatten
    from mlx_lm import load

    source, target = minis["smollm2-135m"], tmp_path / "to"
    assert "lm_head.weight" not in tensors_of(weights_of(source)[0])
    assert repack(source, target, PAGE, ignore) is Outcome.WRITTEN
    located = locate("small", str(target), Source.HUB)
    assert located.path == target
    before, after = (dict(tree_flatten(load(str(folder))[0].parameters())) for folder in (source, target))
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all().item() for name in before)


def test_a_copy_that_is_there_is_believed_after_comparing_every_byte(odd: Path, tmp_path: Path) -> None:
    target = tmp_path / "to"
    repack(odd, target, PAGE, ignore)
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    told: list[tuple[int, int]] = []
    assert repack(odd, target, PAGE, lambda *bytes_: told.append(bytes_)) is Outcome.THERE
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
    assert told[-1][0] == told[-1][1] == sum(path.stat().st_size for path in target.iterdir())


def spoil_a_value(target: Path) -> None:
    path = weights_of(target)[-1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def spoil_by_a_file_more(target: Path) -> None:
    (target / "model-extra.safetensors").write_text("x")


def spoil_by_a_file_less(target: Path) -> None:
    (target / "config.json").unlink()


def spoil_the_length(target: Path) -> None:
    (target / "config.json").write_text("{} ")


def replace_by_an_empty_folder(target: Path) -> None:
    shutil.rmtree(target)
    target.mkdir()


def replace_by_a_file(target: Path) -> None:
    shutil.rmtree(target)
    target.write_text("x")


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_a_value, spoil_by_a_file_more, spoil_by_a_file_less, spoil_the_length),
        *(replace_by_an_empty_folder, replace_by_a_file),
    ],
)
def test_anything_else_that_is_there_is_left_alone(odd: Path, tmp_path: Path, spoil: Any) -> None:
    target = tmp_path / "to"
    repack(odd, target, PAGE, ignore)
    spoil(target)
    assert "is there already and is no such copy" in refusal(odd, target, PAGE, ignore)
    assert target.exists()


def test_the_original_is_not_overwritten(odd: Path) -> None:
    before = {path: path.read_bytes() for path in odd.iterdir()}
    assert "is there already" in refusal(odd, odd, PAGE, ignore)
    assert "in the checkpoint's own folder" in refusal(odd, odd / "to", PAGE, ignore)
    assert {path: path.read_bytes() for path in odd.iterdir()} == before


def interrupt(done_bytes: int, total_bytes: int) -> None:
    raise KeyboardInterrupt


def break_off(done_bytes: int, total_bytes: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("failing", "raised"), [(interrupt, KeyboardInterrupt), (break_off, ModelError)])
def test_a_copy_that_breaks_off_leaves_nothing(
    odd: Path, tmp_path: Path, failing: Any, raised: type[BaseException]
) -> None:
    with pytest.raises(raised):
        repack(odd, tmp_path / "to", PAGE, failing)
    assert names_in(tmp_path) == ["odd"]


def test_what_a_killed_run_left_is_cleared_away(odd: Path, tmp_path: Path) -> None:
    left = tmp_path / ".to.part"
    (left / "templates").mkdir(parents=True)
    (left / "config.json").write_text("half")
    assert repack(odd, tmp_path / "to", PAGE, ignore) is Outcome.WRITTEN
    assert names_in(tmp_path) == ["odd", "to"]
    assert not (tmp_path / "to" / "templates").exists()


def test_two_at_once_do_not_write_into_one_folder(odd: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def while_writing(done_bytes: int, total_bytes: int) -> None:
        if not said:
            said.append(refusal(odd, tmp_path / "to", PAGE, ignore))

    assert repack(odd, tmp_path / "to", PAGE, while_writing) is Outcome.WRITTEN
    assert "another process is writing" in said[0]
    assert names_in(tmp_path) == ["odd", "to"]


def test_a_shard_that_shrinks_meanwhile_is_noticed(odd: Path, tmp_path: Path) -> None:
    last = weights_of(odd)[-1]

    def cut(done_bytes: int, total_bytes: int) -> None:
        os.truncate(last, 100)

    assert "has become shorter" in refusal(odd, tmp_path / "to", PAGE, cut)
    assert names_in(tmp_path) == ["odd"]


def test_a_disk_without_room_is_noticed_before_anything_is_written(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    assert "give --out a folder on another disk" in refusal(odd, tmp_path / "to", PAGE, ignore)
    assert names_in(tmp_path) == ["odd"]


@pytest.mark.parametrize("align_bytes", [-1, 0, 1, 32, 100, 16383, 1 << 21])
def test_an_alignment_is_a_power_of_two_within_bounds(odd: Path, tmp_path: Path, align_bytes: int) -> None:
    said = refusal(odd, tmp_path / "to", align_bytes, ignore)
    assert said == f"--align {align_bytes}: must be a power of two from 64 to 1048576"


def test_an_incomplete_checkpoint_is_not_repacked(odd: Path, tmp_path: Path) -> None:
    weights_of(odd)[-1].unlink()
    assert "put a whole checkpoint there" in refusal(odd, tmp_path / "to", PAGE, ignore)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_can_not_be_copied_is_named(odd: Path, tmp_path: Path, kind: str) -> None:
    path = odd / "strange"
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(path)
    assert f"{path} is neither file nor folder" in refusal(odd, tmp_path / "to", PAGE, ignore)


def test_a_folder_has_to_be_there_for_it(odd: Path, tmp_path: Path) -> None:
    assert "make it first" in refusal(odd, tmp_path / "no" / "to", PAGE, ignore)


def test_memory_does_not_grow_with_the_checkpoint(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "from", [[Made("a", "F32", (3,))]])
    size = 300 << 20
    text = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with weights_of(source)[0].open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    code = (
        "import resource, sys; from pathlib import Path; from swapbench.models.repack import repack\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "repack(Path(sys.argv[1]), Path(sys.argv[2]), 16384, lambda *_: None)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.check_output([sys.executable, "-c", code, str(source), str(tmp_path / "to")])
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < size / 4
