"""Models in the Hugging Face cache: found there without a question to anybody, and fetched when asked for.

The library does the talking and keeps the cache's layout. Only the bytes of weights are written here: its
public downloads (2.4) remove what they have of a file when they break off, and a shard has 5 GB.
"""

import fcntl
import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any, Final, cast

from swapbench.base.errors import ModelError, TransferError
from swapbench.base.files import expanded
from swapbench.models.cache import SHA256, OnBytes, require_room
from swapbench.models.checkpoint import PATTERNS, WEIGHTS, Fault
from swapbench.models.validation import examined, fault

_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repo(reference: str) -> bool:
    """Whether `reference` has the form of a repository's name, org/name."""
    return bool(_REPO.fullmatch(reference)) and ".." not in reference


def find(repo: str) -> tuple[Path | None, Fault | None]:
    """The folder of a complete snapshot; or None, and what is wrong with an incomplete one (None if none).

    The snapshot of `main` comes first, then the others, newest first. Nothing goes over the network.
    """
    storage = _storage(repo)
    try:
        main = (storage / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    snapshots = [path for path in (storage / "snapshots").glob("*") if path.is_dir()]
    faults = []
    for snapshot in sorted(snapshots, key=lambda p: (p.name == main, p.stat().st_mtime), reverse=True):
        lack = fault(snapshot)
        if not lack:
            return snapshot, None
        faults.append(lack)
    return None, faults[0] if faults else None


def fetch(repo: str, on_bytes: OnBytes) -> Path:
    """Download what mlx-lm loads of a repository into the Hugging Face cache, going on where it broke off.

    `on_bytes` hears the bytes that are there, those of an earlier attempt included, and bytes in all.

    Raises:
        ModelError: there is no such repository, or no room for it.
        TransferError: the hub refused, or the download broke off or is damaged.
    """
    import huggingface_hub
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    hub_logging.set_verbosity(logging.ERROR)
    with _explained(repo):
        info = huggingface_hub.HfApi().model_info(repo, files_metadata=True)
        wanted = [file for file in info.siblings or () if any(fnmatch(file.rfilename, p) for p in PATTERNS)]
        if not any(fnmatch(file.rfilename, WEIGHTS) for file in wanted):
            raise ModelError(
                f"{repo} has no MLX weights (model*.safetensors); is there an mlx-community version?"
            )
        total_bytes = sum(file.size or 0 for file in wanted)
        _fetch_weights(repo, str(info.sha), wanted, total_bytes, on_bytes)
        # Finds the weights where they have been put, and brings the rest.
        snapshot = Path(huggingface_hub.snapshot_download(repo, allow_patterns=list(PATTERNS)))
        on_bytes(total_bytes, total_bytes)
    if found := examined(snapshot):
        remedy = found.remedy or "mlx-lm can't load that"
        raise ModelError(f"{repo}: {found.what}, as the hub has it; {remedy}")
    return snapshot


def _fetch_weights(repo: str, revision: str, files: list[Any], total_bytes: int, on_bytes: OnBytes) -> None:
    from huggingface_hub import hf_hub_url

    blobs = _storage(repo) / "blobs"
    weights = [file for file in files if file.lfs is not None and SHA256.fullmatch(file.lfs.sha256)]
    places = [blobs / file.lfs.sha256 for file in weights]
    begun = [blob if blob.exists() else _part(blob) for blob in places]
    there_bytes = sum(path.stat().st_size for path in begun if path.exists())
    remedy = "make room, or set HF_HOME to a folder on another disk"
    require_room(blobs, total_bytes - there_bytes, f"{repo} takes another", remedy)
    done_bytes = 0
    for file, blob in zip(weights, places, strict=True):

        def tell(there_bytes: int, before_bytes: int = done_bytes) -> None:
            on_bytes(before_bytes + there_bytes, total_bytes)

        if not blob.exists():
            url = hf_hub_url(repo, file.rfilename, revision=revision)
            _download(url, f"{repo}: {file.rfilename}", blob, file.lfs.size, tell)
        tell(file.lfs.size)
        done_bytes += file.lfs.size


def _download(url: str, what: str, blob: Path, size_bytes: int, tell: Callable[[int], None]) -> None:
    """One file, into the cache under its hash; what is there of it stays until it is whole."""
    part = _part(blob)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransferError(f"{what}: another process is fetching it; let it finish") from None
        if file.tell() > size_bytes:
            file.seek(0)
            file.truncate()
        tell(file.tell())
        failures = 0
        while (before_bytes := file.tell()) < size_bytes:
            try:
                _append(url, file, tell)
            except _broken_off() as error:
                failures = failures + 1 if file.tell() == before_bytes else 0
                if isinstance(error, OSError) or failures == _TRIES:
                    raise
                time.sleep(_PAUSE_S)
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() != blob.name:
            part.unlink()
            raise TransferError(
                f"{what} came through damaged (its hash is wrong) and was removed; fetch it again"
            )
        part.rename(blob)


def _append(url: str, file: IO[bytes], tell: Callable[[int], None]) -> None:
    """What a file lacks at its end, as far as one answer has it."""
    from huggingface_hub import constants, get_session, get_token, hf_raise_for_status

    headers = {"Accept-Encoding": "identity"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if file.tell():
        headers["Range"] = f"bytes={file.tell()}-"
    wait_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=wait_s, follow_redirects=True) as answer:
        hf_raise_for_status(answer)
        if answer.status_code == 200:  # from the beginning, whatever was asked
            file.seek(0)
            file.truncate()
        for chunk in answer.iter_bytes(constants.DOWNLOAD_CHUNK_SIZE):
            file.write(chunk)
            tell(file.tell())


def _broken_off() -> tuple[type[Exception], ...]:
    """OSError, and httpx's errors by whichever name this version of the library imports httpx."""
    from huggingface_hub.errors import HfHubHTTPError

    return cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn the library's errors, of many lines each, into one line that says what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    again = f"`swapbench models fetch {repo}` goes on from there"
    try:
        yield
    except OfflineModeIsEnabled:
        raise TransferError(f"{repo} can't be fetched while HF_HUB_OFFLINE is set; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        licence = f"accept its licence at {constants.ENDPOINT}/{repo}"
        if isinstance(error, GatedRepoError) or status == 403:
            said = f"{repo} is gated ({status}): {licence}, then set HF_TOKEN to a token of yours"
        elif status == 401:
            said = (
                f"the hub refused {repo} (401): check the name; if it is gated or private, {licence} and set "
                "HF_TOKEN to a token of yours"
            )
        elif isinstance(error, RepositoryNotFoundError):
            raise ModelError(f"no repository {repo} at {constants.ENDPOINT}; check its name") from None
        else:
            said = f"{repo}: the hub answered {status}; {again}"
        raise TransferError(said) from None
    except _broken_off() as error:
        text = " ".join(str(error).split()).split(".", maxsplit=1)[0][:160] or type(error).__name__
        raise TransferError(f"{repo}: the download broke off ({text}); {again}") from None


def hub_cache() -> Path:
    """Where the hub's library keeps what it fetches, by its rules: to load it takes longer than to ask."""
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:
        return expanded(loaded.HF_HUB_CACHE)
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{caches}/huggingface")
    before = os.environ.get("HUGGINGFACE_HUB_CACHE", f"{home}/hub")
    return expanded(os.path.expandvars(os.environ.get("HF_HUB_CACHE", before)))


def _storage(repo: str) -> Path:
    return hub_cache() / f"models--{repo.replace('/', '--')}"


def _part(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.swapbench.incomplete")
