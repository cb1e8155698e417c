"""Checkpoints as people have them: odd and whole, or with something really missing."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx

INDEX = "model.safetensors.index.json"


def sharded(mini: Path, folder: Path, names: Sequence[str]) -> Path:
    """A copy of a mini whose tensors are in files of these names, in turn; the index is right."""
    shutil.copytree(mini, folder, ignore=shutil.ignore_patterns("*.safetensors", INDEX))
    weights: dict[str, mx.array] = {}
    for file in mini.glob("model*.safetensors"):
        weights |= mx.load(str(file))  # type: ignore[arg-type]
    parts = [dict(list(weights.items())[i :: len(names)]) for i in range(len(names))]
    for name, part in zip(names, parts, strict=True):
        mx.save_safetensors(str(folder / name), part, {"format": "mlx"})
    write_index(folder, {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part})
    return folder


def write_index(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def read_index(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    return found


def rewritten(file: Path, change: Callable[[dict[str, dict[str, list[int]]], bytes], bytes]) -> None:
    """Have `change` make a file's header, as bytes, and data, of its header as a table and its data."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes(change(json.loads(content[8:start]), content[start:]))


def file_of(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


TWO = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def _stale_index(folder: Path) -> None:
    """Of the five files that the model had before it was quantised, by the names of then."""
    kept = [name for name in read_index(folder) if name.endswith("weight")]
    write_index(folder, {name: f"model-0000{i % 5 + 1}-of-00005.safetensors" for i, name in enumerate(kept)})


def _index_of_tensors_that_nothing_needs(folder: Path) -> None:
    write_index(folder, read_index(folder) | {"vision_tower.patch.weight": "vision.safetensors"})


def _wrong_total(folder: Path) -> None:
    for number, name in enumerate(TWO, start=1):
        (folder / name).rename(folder / f"model-0000{number}-of-00003.safetensors")
    (folder / INDEX).unlink()


def _no_numbers(folder: Path) -> None:
    for letter, name in zip("ab", TWO, strict=True):
        (folder / name).rename(folder / f"model-{letter}.safetensors")


def _vocabulary_and_merges(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    vocabulary = content["model"]["vocab"] | {t["content"]: t["id"] for t in content["added_tokens"]}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = "\n".join(" ".join(pair) for pair in content["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "Qwen2Tokenizer"}))


def _bytes_after_the_last_tensor(folder: Path) -> None:
    with (folder / TWO[1]).open("ab") as file:
        file.write(bytes(64))


def _gap(folder: Path) -> None:
    def shift(header: dict[str, dict[str, list[int]]], data: bytes) -> bytes:
        for name, entry in header.items():
            if name != "__metadata__":
                entry["data_offsets"] = [at + 64 for at in entry["data_offsets"]]
        return file_of(json.dumps(header).encode(), bytes(64) + data)

    rewritten(folder / TWO[1], shift)


def _header_filled_with_nul(folder: Path) -> None:
    rewritten(folder / TWO[0], lambda header, data: file_of(json.dumps(header).encode() + bytes(9), data))


WHOLE: dict[str, Callable[[Path], None]] = {
    "stale index": _stale_index,
    "index of tensors that nothing needs": _index_of_tensors_that_nothing_needs,
    "wrong total": _wrong_total,
    "no numbers": _no_numbers,
    "vocab.json and merges.txt": _vocabulary_and_merges,
    "bytes after the last tensor": _bytes_after_the_last_tensor,
    "a gap": _gap,
    "header filled with NUL": _header_filled_with_nul,
}


def _missing_shard(folder: Path) -> None:
    (folder / TWO[1]).unlink()


def _missing_shard_of_no_index(folder: Path) -> None:
    _missing_shard(folder)
    (folder / INDEX).unlink()


def _cut_short(folder: Path) -> None:
    content = (folder / TWO[1]).read_bytes()
    (folder / TWO[1]).write_bytes(content[:-100])


def _pointer_in_place_of(name: str) -> Callable[[Path], None]:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n"

    def spoil(folder: Path) -> None:
        (folder / name).write_text(text)

    return spoil


def _config(change: Callable[[str], str]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(change(path.read_text()), encoding="utf-8")

    return spoil


def config_with(**values: object) -> Callable[[Path], None]:
    return _config(lambda text: json.dumps(json.loads(text) | values))


def _no_model_type(folder: Path) -> None:
    _config(lambda text: text.replace('"model_type"', '"type"'))(folder)


def vocabulary_of_another_class(folder: Path) -> None:
    _vocabulary_and_merges(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace("Qwen2Tokenizer", "LlamaTokenizer"))


def _tensors_nowhere(folder: Path) -> None:
    names = list(read_index(folder))
    kept = {name: array for name, array in mx.load(str(folder / TWO[1])).items() if name != names[-1]}  # type: ignore[union-attr]
    mx.save_safetensors(str(folder / TWO[1]), kept, {"format": "mlx"})


def _tensor_nowhere_of_no_index(folder: Path) -> None:
    _tensors_nowhere(folder)
    (folder / INDEX).unlink()


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


# What is wrong, and words of what has to be said of it.
BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing shard": (_missing_shard, f"in none of its files ({TWO[1]} is not there)"),
    "missing shard of no index": (_missing_shard_of_no_index, f"({TWO[1]} is not there)"),
    "cut short": (_cut_short, f"{TWO[1]} is cut short"),
    "pointer of Git LFS": (_pointer_in_place_of(TWO[1]), f"{TWO[1]} is a pointer of Git LFS"),
    "tensors nowhere": (_tensors_nowhere, "is in none of its files"),
    "tensor nowhere, of no index": (_tensor_nowhere_of_no_index, "is in none of its files"),
    "broken tokenizer": (_broken_tokenizer, "the tokenizer can't be loaded"),
    "no tokenizer": (_no_tokenizer, "it knows no tokens, as without its files"),
    "pointer for a tokenizer": (
        _pointer_in_place_of("tokenizer.json"),
        "tokenizer.json is a pointer of Git LFS, not the file itself",
    ),
    "pointer for a config": (_pointer_in_place_of("config.json"), "config.json is a pointer of Git LFS"),
    "byte order mark": (
        _config("\ufeff".__add__),
        "config.json begins with a byte order mark: save it as UTF-8 without",
    ),
    "no JSON": (_config(lambda _: "{model_type}"), "config.json is no JSON (line 1 column 2); get it again"),
    "a list": (_config("[{}]".format), "config.json is a list, not an object; get it again"),
    "no model type": (_no_model_type, "config.json names no model_type; get it again"),
}

# What another mlx-lm might load, or whole files would not mend.
UNFIT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no heads": (
        config_with(num_attention_heads=0),
        "a number or a name in config.json is wrong, in mlx-lm's words: integer division or modulo by zero; "
        "correct it",
    ),
    "a number as text": (
        config_with(hidden_size="96"),
        "in mlx-lm's words: unsupported operand type(s) for /: 'int' and 'str'; correct it",
    ),
    "another model's config": (
        config_with(intermediate_size=512),
        "config.json and weights have to be of one model",
    ),
    "fewer layers": (config_with(num_hidden_layers=1), "that config.json has no place for; config.json and"),
    "architecture": (
        config_with(model_type="no-such-model"),
        'knows no architecture "no-such-model"; a newer mlx-lm may',
    ),
}

# Those of them that only mlx-lm can tell from whole ones.
AGREEING = ("tensor nowhere, of no index", "broken tokenizer")
