"""Fetching, against a hub on 127.0.0.1; the Hugging Face library itself is the real one."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlx_lm
import pytest
from typer.testing import CliRunner

from swapbench.base.errors import ModelError, TransferError
from swapbench.cli.models import app
from swapbench.models import hub
from swapbench.models.catalogue import CATALOGUE
from tests.models.stand_in_hub import SHA, StandInHub, serving

REPO = CATALOGUE[0].repo

asked_here = pytest.mark.usefixtures("asked_here")


@pytest.fixture
def stand_in(minis: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub that has SmolLM2's mini in place of the real one, and things that nobody should download."""
    from huggingface_hub import constants

    files = {path.name: path.read_bytes() for path in minis["smollm2-135m"].iterdir()}
    extra = {
        "README.md": b"# hello",
        "modeling_evil.py": b"raise SystemExit",
        "pytorch_model.bin": b"0" * 100,
    }
    served = StandInHub(REPO, files | extra)
    with serving(served) as endpoint:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(hub, "_PAUSE_S", 0.0)
        yield served


def silent(_: int, __: int) -> None:
    """Listens and says nothing."""


def said(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def fetch() -> Path:
    return hub.fetch(REPO, silent)


def parts(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "hub").rglob("*.swapbench.incomplete"))


def test_a_model_is_fetched_into_the_hugging_face_cache_and_loads(
    stand_in: StandInHub, tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    snapshot = hub.fetch(REPO, lambda done, total: heard.append((done, total)))
    assert snapshot.name == SHA
    assert hub.find(REPO) == (snapshot, None)
    mlx_lm.load(str(snapshot))
    done, totals = [d for d, _ in heard], {t for _, t in heard}
    assert done == sorted(done)
    assert len(totals) == 1
    assert done[-1] == totals.pop()


@asked_here
def test_only_what_mlx_lm_loads_is_fetched_and_no_code(stand_in: StandInHub) -> None:
    names = {path.name for path in fetch().iterdir()}
    assert names.isdisjoint({"README.md", "modeling_evil.py", "pytorch_model.bin"})
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names


@asked_here
def test_what_is_there_is_not_fetched_again(stand_in: StandInHub) -> None:
    found = fetch()
    stand_in.asked.clear()
    assert CliRunner().invoke(app, ["fetch", REPO]).stdout == f"{REPO}: there already, {found}\n"
    assert stand_in.asked == []


def test_nothing_is_looked_for_over_the_network(stand_in: StandInHub) -> None:
    assert hub.find(REPO) == (None, None)
    assert stand_in.asked == []


@asked_here
def test_a_connection_that_breaks_off_is_taken_up_where_it_was(stand_in: StandInHub) -> None:
    stand_in.cut_after = 400_000
    fetch()
    assert stand_in.weights_asked()[:2] == ["", "bytes=400000-"]


@asked_here
def test_a_download_that_failed_goes_on_next_time(stand_in: StandInHub, tmp_path: Path) -> None:
    stand_in.cut_after, stand_in.keeps_cutting = 500_000, True
    text = said(TransferError, fetch)
    assert f"`swapbench models fetch {REPO}` goes on from there" in text
    assert hub.find(REPO)[0] is None
    assert [path.stat().st_size for path in parts(tmp_path)] == [500_000]
    stand_in.cut_after, stand_in.keeps_cutting = None, False
    stand_in.asked.clear()
    heard: list[int] = []
    hub.fetch(REPO, lambda done, _: heard.append(done))
    assert stand_in.weights_asked()[0] == "bytes=500000-"
    assert heard[0] == 500_000
    assert parts(tmp_path) == []


@asked_here
def test_an_interrupted_download_keeps_what_it_has(stand_in: StandInHub, tmp_path: Path) -> None:
    def interrupt(done_bytes: int, _: int) -> None:
        if done_bytes > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.fetch(REPO, interrupt)
    assert [path.stat().st_size for path in parts(tmp_path)] == [301_000]
    assert hub.find(REPO)[0] is None
    fetch()
    assert stand_in.weights_asked()[1] == "bytes=301000-"


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_fetched(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 0, 10**6))
    assert "takes another 0.00 GB and" in said(ModelError, fetch)
    assert stand_in.weights_asked() == []


def test_an_offline_machine_is_told_why(stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set; unset it" in said(TransferError, fetch)
    assert stand_in.asked == []


def test_a_truncated_download_is_never_taken_for_a_model(stand_in: StandInHub) -> None:
    whole = stand_in.files["model.safetensors"]
    stand_in.files["model.safetensors"] = whole[:-1000]
    assert "model.safetensors is cut short" in said(ModelError, fetch)
    assert hub.find(REPO)[0] is None


@asked_here
def test_bytes_that_do_not_fit_their_hash_are_thrown_away(stand_in: StandInHub, tmp_path: Path) -> None:
    stand_in.wrong_bytes = True
    assert "came through damaged" in said(TransferError, fetch)
    assert parts(tmp_path) == []
    stand_in.wrong_bytes = False
    assert hub.find(REPO)[0] is None
    fetch()


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_where_to_accept_its_licence(stand_in: StandInHub, status: int) -> None:
    stand_in.status, stand_in.error_code = status, "GatedRepo"
    assert said(TransferError, fetch) == (
        f"{REPO} is gated ({status}): accept its licence at {stand_in.endpoint}/{REPO}, "
        "then set HF_TOKEN to a token of yours"
    )


@asked_here
def test_a_gated_model_is_fetched_with_a_token(stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.status, stand_in.error_code, stand_in.token = 401, "GatedRepo", "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch()


def test_a_refusal_without_reason_names_both(stand_in: StandInHub) -> None:
    stand_in.status, stand_in.hides = 401, True
    text = said(TransferError, fetch)
    assert "check the name" in text
    assert "HF_TOKEN" in text


def test_a_repository_that_is_not_there_is_named(stand_in: StandInHub) -> None:
    text = said(ModelError, lambda: hub.fetch("org/nothing", silent))
    assert text == f"no repository org/nothing at {stand_in.endpoint}; check its name"


def test_a_repository_without_mlx_weights_is_refused_before_anything_is_fetched(stand_in: StandInHub) -> None:
    del stand_in.files["model.safetensors"]
    assert "has no MLX weights" in said(ModelError, fetch)


def test_a_hub_that_can_not_be_reached_is_one_line(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "broke off" in said(TransferError, fetch)


def test_the_command_line_honours_hf_endpoint_and_hf_home(stand_in: StandInHub, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": stand_in.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }

    def swapbench(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "swapbench", "models", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = swapbench("fetch", "smollm2-135m")
    assert done.returncode == 0, done.stderr
    assert "fetched" in done.stdout
    assert str(tmp_path / "home") in swapbench("list", "--json").stdout
    gone = swapbench("fetch", "org/nothing")
    assert (gone.returncode, len(gone.stderr.splitlines())) == (2, 1)


@asked_here
def test_a_disk_that_fills_up_keeps_what_there_is(
    stand_in: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(done_bytes: int, _: int) -> None:
        if done_bytes > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    text = said(TransferError, lambda: hub.fetch(REPO, fill_up))
    assert "No space left on device" in text
    assert f"`swapbench models fetch {REPO}` goes on from there" in text
    assert [path.stat().st_size for path in parts(tmp_path)] == [201_000]
    assert hub.find(REPO)[0] is None
    fetch()
    assert stand_in.weights_asked()[1] == "bytes=201000-"


def test_the_library_is_used_by_its_public_names_alone() -> None:
    text = Path(hub.__file__).read_text(encoding="utf-8")
    modules = set(re.findall(r"from (huggingface_hub[\w.]*) import", text))
    assert modules == {
        "huggingface_hub",
        "huggingface_hub.errors",
        "huggingface_hub.utils",
        "huggingface_hub.utils.tqdm",
    }
    assert not re.findall(r"from huggingface_hub[\w.]* import .*\b_\w+", text)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"XDG_CACHE_HOME": "/caches"},
        {"XDG_CACHE_HOME": "/caches", "HF_HOME": "~/hf"},
        {"HF_HOME": "$HOME/hf", "HUGGINGFACE_HUB_CACHE": "/old"},
        {"HUGGINGFACE_HUB_CACHE": "~/old", "HF_HUB_CACHE": "~/$USER/new"},
    ],
)
def test_the_cache_is_where_the_library_keeps_it(said: dict[str, str]) -> None:
    script = (
        "from swapbench.models.hub import hub_cache\n"
        "unasked = hub_cache()\n"
        "from huggingface_hub import constants\n"
        "assert str(unasked) == constants.HF_HUB_CACHE == str(hub_cache()), unasked"
    )
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"USER": "me"}
    subprocess.run([sys.executable, "-c", script], env=known | said, check=True)
