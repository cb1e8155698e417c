"""load(): what mlx_lm.load gives, bit for bit, by every strategy, in somebody else's process."""

import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from importlib.metadata import requires
from pathlib import Path

import mlx.core as mx
import mlx_lm
import pytest
from mlx_lm.utils import load_model
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from swapbench.instruments import page_cache
from swapbench.loaders import HeldError, ModelLoader, Strategy, load, model_loader, platform, reading
from swapbench.loaders.arrays import shards_of
from swapbench.loaders.slab import Slab, room_for
from swapbench.machine import allowance
from swapbench.machine.environment import Volume, save_limits, this_machine
from swapbench.models.cache import cache_root
from swapbench.spec.strategy import LOADERS, NAMED, ReadAhead, TokenizerMode
from tests import allowed
from tests.loaders.conftest import bits, parameters
from tests.machine.test_environment import limits, rate

STRATEGIES = {
    **{str(kind): NAMED[kind] for kind in LOADERS},
    "slab-overlap": Strategy(loader="slab", overlap=True),
    "map-incremental": Strategy(loader="map", incremental=True),
    "direct-ahead": Strategy(loader="direct", read_ahead=ReadAhead.SPARE),
    "direct-double": Strategy(loader="direct", read_ahead=ReadAhead.DOUBLE),
    "map-keep": Strategy(loader="map", tokenizer=TokenizerMode.KEEP),
}
PROMPT = mx.array([[1, 5, 7, 11, 2, 3]])


@pytest.fixture(scope="module")
def stock(minis: dict[str, Path]) -> dict[Path, tuple[dict[str, bytes], bytes, list[int]]]:
    """What mlx_lm makes of each: its parameters, what it says, and the tokens of a text."""
    made = {path: mlx_lm.load(str(path)) for path in minis.values()}
    return {
        path: (parameters(model), bits(model(PROMPT)), tokenizer.encode("one two"))
        for path, (model, tokenizer, *_) in made.items()
    }


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_loads_what_mlx_lm_loads_and_one_model_after_another(
    name: str, minis: dict[str, Path], stock: dict[Path, tuple[dict[str, bytes], bytes, list[int]]]
) -> None:
    loader = ModelLoader(STRATEGIES[name])
    loader.reserve(minis.values())
    for path in [*minis.values()] * 2:
        loader.begin(path)
        loaded = loader.load(path)
        wanted, said, tokens = stock[path]
        assert parameters(loaded.model) == wanted
        assert bits(loaded.model(PROMPT)) == said
        assert loaded.report.weight_bytes == sum(len(value) for value in wanted.values())
        assert loaded.tokenizer.encode("one two") == tokens
        del loaded
        loader.released(path)
    loader.close()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("eos", [7, [2, 7]])
def test_a_model_stops_where_mlx_lm_has_it_stop(
    name: str, eos: int | list[int], minis: dict[str, Path], tmp_path: Path
) -> None:
    """generation_config.json says more than config.json, and mlx-lm listens to it."""
    folder = shutil.copytree(minis["smollm2"], tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    loader = ModelLoader(STRATEGIES[name])
    assert loader.load(folder).tokenizer.eos_token_ids == mlx_lm.load(str(folder))[1].eos_token_ids
    loader.close()


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_mx_load_refuses_no_strategy_takes(name: str, minis: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(minis["smollm2"], tmp_path / "model")
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length]) | {"__metadata__": {"total_size": 3}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ValueError, match="__metadata__ that is no table of texts"):
        ModelLoader(STRATEGIES[name]).load(folder)


def test_a_strategy_can_be_named_and_says_how_it_went(minis: dict[str, Path]) -> None:
    model, tokenizer, report = load(str(minis["smollm2"]), strategy="auto")
    assert report.loader in ("map", "direct", "slab")
    assert report.why.startswith(f"auto picked {report.loader}")
    assert tokenizer.decode(tokenizer.encode("abc"))
    assert model(PROMPT).shape[1] == 6


def test_a_misspelt_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'no strategy "slap"; did you mean "slab"'):
        load("anywhere", strategy="slap")


@pytest.mark.parametrize("kind", ["slab", "direct", "map"])
def test_what_a_loader_can_not_do_is_done_otherwise_and_told(
    kind: str, minis: dict[str, Path], tmp_path: Path
) -> None:
    """A file whose tensors lie at odd places."""
    folder = tmp_path / "odd"
    shutil.copytree(minis["smollm2"], folder)
    shift(folder / "model.safetensors")
    loaded = ModelLoader(NAMED[kind]).load(folder)
    assert loaded.report.loader == "fill"
    assert f"not {kind}: " in loaded.report.why
    assert "aligned" in loaded.report.why
    assert parameters(loaded.model) == parameters(load_model(minis["smollm2"])[0])


def shift(path: Path) -> None:
    """Put a tensor of one byte in front of all others; mlx-lm leaves it out."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if name != "__metadata__":
            entry["data_offsets"] = [at + 1 for at in entry["data_offsets"]]
    # A rotary table is what sanitize drops of every Llama.
    header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
        "dtype": "U8",
        "shape": [1],
        "data_offsets": [0, 1],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" + data[8 + length :])


def test_an_old_model_that_is_held_is_not_overwritten(minis: dict[str, Path]) -> None:
    loader = ModelLoader(NAMED["slab"])
    held = loader.load(minis["smollm2"])
    before = parameters(held.model)
    loader.released()
    loaded = loader.load(minis["gemma"])
    assert loaded.report.loader == "fill"
    assert "still holds" in loaded.report.why
    assert parameters(held.model) == before


def test_many_loads_leave_no_threads_and_no_open_files(minis: dict[str, Path]) -> None:
    def left() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/dev/fd").iterdir()))

    for kind in ("fill", "slab", "direct", "map"):
        loader = ModelLoader(NAMED[kind])
        loader.load(minis["smollm2"])
        loader.released()
        before = left()
        for _ in range(10):
            loader.begin(minis["qwen"])
            loader.load(minis["qwen"])
            loader.released()
        assert left() == before, kind


def brought_by(*names: str) -> set[NormalizedName]:
    """The packages that come with those of these names."""
    found: set[NormalizedName] = set()
    left = [*names]
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            wanted = [Requirement(text) for text in requires(name) or ()]
            left += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


def test_server_authors_need_mlx_mlx_lm_numpy_and_pydantic_alone(
    minis: dict[str, Path], tmp_path: Path
) -> None:
    """Every strategy, in a process that has nothing else of what swapbench asks for."""
    own = {
        canonicalize_name(Requirement(text).name)
        for text in requires("swapbench") or ()
        if "extra" not in text
    }
    absent = own - brought_by("mlx", "mlx-lm", "numpy", "pydantic")
    assert {"psutil", "vl-convert-python"} <= absent
    # transformers brings these, for its command line.
    absent |= {canonicalize_name(name) for name in ("rich", "typer")}
    script = f"""
import sys
for name in {sorted(name.replace("-", "_") for name in absent)!r}:
    sys.modules[name] = None
sys.modules["vl_convert"] = sys.modules["pandas"] = None
from pathlib import Path
from swapbench.loaders import ModelLoader, Strategy, load
from swapbench.spec.strategy import LOADERS
for name in LOADERS:
    model, tokenizer, report = load({str(minis["smollm2"])!r}, strategy=name)
    assert tokenizer.encode("one")
    print(name, report.loader)
    del model, tokenizer
loader = ModelLoader(Strategy(loader="direct", read_ahead="spare"))
checkpoint = Path({str(minis["smollm2"])!r})
loader.reserve([checkpoint])
loader.look(checkpoint)
loader.begin(checkpoint)
loader.load(checkpoint)
alien = ("cli", "report", "run", "compare", "findings", "store", "worker", "wire", "stats")
print(sorted(name for name in alien if f"swapbench.{{name}}" in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"SWAPBENCH_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, alien = done.stdout.splitlines()
    came = dict(line.split() for line in lines)
    assert came.pop("auto") in LOADERS
    assert came == {name: name for name in LOADERS if name != "auto"}
    assert alien == "[]"


def test_what_is_made_of_the_old_models_arrays_keeps_them_from_being_overwritten(
    minis: dict[str, Path],
) -> None:
    """mlx-lm may make new arrays of the ones that it is given, which are views of them."""
    slab = Slab()
    arrival = slab.begin(minis["smollm2"], direct=False)
    arrival.wait()
    view = next(iter(arrival.weights.values())).reshape(-1)
    mx.eval(view)
    arrival.watch([view])
    before = bits(view)
    del arrival
    with pytest.raises(HeldError):
        slab.begin(minis["gemma"], direct=False)
    assert bits(view) == before


@pytest.mark.parametrize("kind", ["direct", "slab"])
def test_where_nothing_is_read_past_the_page_cache_the_slab_is_filled_by_it(
    kind: str, minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "open_past", lambda _: None)
    loaded = ModelLoader(NAMED[kind]).load(minis["gemma"])
    assert loaded.report.loader == "slab"
    assert ("no reads past the page cache" in loaded.report.why) == (kind == "direct")
    assert parameters(loaded.model) == parameters(load_model(minis["gemma"])[0])


@pytest.mark.parametrize("strategy", [NAMED[kind] for kind in LOADERS if kind not in ("stock", "reuse")])
def test_a_file_that_becomes_shorter_fails_the_load_and_the_next_one_works(
    strategy: Strategy, minis: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("ends too early")

    loader = ModelLoader(strategy)
    with monkeypatch.context() as patched:
        patched.setattr(reading, "_read", broken)
        patched.setattr(reading, "_read_direct", broken)
        patched.setattr(platform, "populate", broken)
        with pytest.raises(OSError, match="ends too early"):
            loader.load(minis["gemma"])
    loader.released()
    loaded = loader.load(minis["gemma"])
    assert parameters(loaded.model) == parameters(load_model(minis["gemma"])[0])


def test_no_memory_is_reserved_for_reading_ahead_that_the_machine_has_not(
    minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "memory", lambda: allowed.memory(1 << 20, by="ulimit -v"))
    loader = ModelLoader(STRATEGIES["direct-double"])
    loader.reserve(minis.values())
    largest = max(room_for(shards_of(path)) for path in minis.values())
    assert loader.kept_bytes < largest + (4 << 20)
    why = loader.load(minis["gemma"]).report.why
    assert "no room to read ahead" in why
    assert "to be had, limited by ulimit -v" in why


@pytest.fixture
def nothing_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("resident", "available", "kind"),
    [
        (1.0, 1 << 40, "map"),
        (0.0, 1 << 40, "slab"),
        (0.0, 1 << 10, "map"),
    ],
)
def test_auto_picks_by_what_is_in_the_page_cache_and_by_memory(
    minis: dict[str, Path],
    nothing_measured: None,
    monkeypatch: pytest.MonkeyPatch,
    resident: float,
    available: int,
    kind: str,
) -> None:
    found = page_cache.Residency(int(100 * resident), 100)
    monkeypatch.setattr(page_cache, "residency", lambda _: found)
    monkeypatch.setattr(allowance, "memory", lambda: allowed.memory(available, by="a control group"))
    picked, why = model_loader.pick(minis["gemma"], 0, model_loader.limits_of(minis["gemma"]))
    assert picked == kind
    assert ("too short for a copy, limited by a control group" in why) is (available == 1 << 10)
    assert ("aren't measured there: run swapbench probe" in why) is (kind == "slab")


@pytest.mark.parametrize(
    ("past", "through", "resident", "kind"),
    [
        (2.1, 2.0, 0, "direct"),
        (2.0, 2.0, 0, "direct"),
        # An M3, as somebody measured it.
        (3.28, 4.22, 0, "slab"),
        # Half of it needn't be read at all: 0.5 s past the page cache, and 0.3 through it.
        (2.0, 2.0, 50, "slab"),
        # 0.29 s past it.
        (3.5, 2.0, 50, "direct"),
    ],
)
def test_auto_goes_past_the_page_cache_where_probe_found_that_no_slower(
    minis: dict[str, Path],
    nothing_measured: None,
    monkeypatch: pytest.MonkeyPatch,
    past: float,
    through: float,
    resident: int,
    kind: str,
) -> None:
    cold = (rate("disk", 0.1), rate("disk", past), rate("disk_buffered", through))
    here = limits(
        machine=this_machine(),
        volume=Volume.of(minis["gemma"]),
        measured_at=datetime.now(UTC),
        rates=(*cold, rate("read_touched", 10.0)),
    )
    save_limits(here, cache_root())
    monkeypatch.setattr(page_cache, "residency", lambda _: page_cache.Residency(resident, 100))
    assert model_loader.pick(minis["gemma"], 0, model_loader.limits_of(minis["gemma"])) == (
        kind,
        f"auto picked {kind}: {resident}% of it is in the page cache, {past:.1f} GB/s past it and "
        f"{through:.1f} through it by swapbench probe",
    )


def test_auto_goes_through_the_page_cache_where_probe_could_not_measure_the_disk(
    minis: dict[str, Path], nothing_measured: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = limits(
        machine=this_machine(),
        volume=Volume.of(minis["gemma"]),
        measured_at=datetime.now(UTC),
        rates=(rate("copy", 60.0),),
    )
    save_limits(here, cache_root())
    monkeypatch.setattr(page_cache, "residency", lambda _: page_cache.Residency(0, 100))
    kind, why = model_loader.pick(minis["gemma"], 0, model_loader.limits_of(minis["gemma"]))
    assert kind == "slab"
    assert "not measured cold reads both ways" in why


def test_auto_needs_no_home(minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("SWAPBENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(page_cache, "residency", lambda _: page_cache.Residency(0, 100))
    assert model_loader.pick(minis["gemma"], 0, model_loader.limits_of(minis["gemma"]))[0] == "slab"


def test_auto_takes_the_slab_where_a_resident_file_cannot_be_mapped(
    minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "residency", lambda _: page_cache.Residency(1, 1))
    monkeypatch.setattr(model_loader, "unmappable", lambda _: "it is not aligned")
    kind, why = model_loader.pick(minis["gemma"], 0, model_loader.limits_of(minis["gemma"]))
    assert kind == "slab"
    assert "it is not aligned" in why


def test_no_slab_is_reserved_that_this_process_could_not_get(
    minis: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "memory", lambda: allowed.memory(1 << 20, obtainable=1 << 20))
    loader = ModelLoader(STRATEGIES["slab"])
    loader.reserve(minis.values())
    assert loader.kept_bytes == 0
