"""Models in the Hugging Face cache: found there without a question to anybody, and fetched when asked for.

The library does the talking and keeps the cache's layout. Only the bytes of weights are written here: its
public downloads (2.4) remove what they have of a file when they break off, and a shard has 5 GB.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from swapbench.base.errors import ModelError, TransferError
from swapbench.base.files import expanded
from swapbench.models.checkpoint import PATTERNS, WEIGHTS
from swapbench.models.validation import Fault, examined, fault

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

# Bytes there so far (those of an earlier attempt included), and bytes in all.
OnBytes = Callable[[int, int], None]

_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_NOT_OURS: Final = "mlx-lm can't load that"
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def is_repo(reference: str) -> bool:
    """Whether `reference` has the form of a repository's name, org/name."""
    return bool(_REPO.fullmatch(reference)) and ".." not in reference


def find(repo: str) -> tuple[Path | None, Fault | None]:
    """The folder of a complete snapshot; or None, and what is wrong with an incomplete one (None if none).

    The snapshot of `main` comes first, then the others, newest first. Nothing goes over the network.
    """
    faults = []
    for snapshot in _snapshots(_storage(repo)):
        lack = fault(snapshot)
        if not lack:
            return snapshot, None
        faults.append(lack)
    return None, faults[0] if faults else None


def fetch(repo: str, on_bytes: OnBytes) -> Path:
    """Download what mlx-lm loads of a repository into the Hugging Face cache, going on where it broke off.

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
        _fetch_weights(repo, info, wanted, lambda done_bytes: on_bytes(done_bytes, total_bytes))
        # Finds the weights where they have been put, and brings the rest.
        snapshot = Path(huggingface_hub.snapshot_download(repo, allow_patterns=list(PATTERNS)))
        on_bytes(total_bytes, total_bytes)
    if found := examined(snapshot):
        raise ModelError(f"{repo}: {found.what}, as the hub has it; {found.remedy or _NOT_OURS}")
    return snapshot


def _fetch_weights(repo: str, info: "ModelInfo", files: Sequence[Any], tell: Callable[[int], None]) -> None:
    blobs = _storage(repo) / "blobs"
    weights = [(f.rfilename, f.lfs) for f in files if f.lfs is not None and _SHA256.fullmatch(f.lfs.sha256)]
    there_bytes = sum(_size(blobs / lfs.sha256) or _size(_part(blobs / lfs.sha256)) for _, lfs in weights)
    _check_disk(repo, blobs, sum(file.size or 0 for file in files) - there_bytes)
    before_bytes = 0
    for name, lfs in weights:
        blob = blobs / lfs.sha256
        if not blob.exists():
            _download(repo, str(info.sha), name, blob, lfs.size, partial(_tell_more, tell, before_bytes))
        before_bytes += lfs.size
        tell(before_bytes)


def _tell_more(tell: Callable[[int], None], before_bytes: int, done_bytes: int) -> None:
    tell(before_bytes + done_bytes)


def _download(
    repo: str, revision: str, name: str, blob: Path, size_bytes: int, tell: Callable[[int], None]
) -> None:
    """One file, into the cache under its hash; what is there of it stays until it is whole."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(repo, name, revision=revision)
    part = _part(blob)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransferError(f"{repo}: another process is fetching {name}; let it finish") from None
        if file.tell() > size_bytes:
            file.truncate(0)
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
        file.flush()
        _check_hash(part, blob.name, f"{repo}: {name}")
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
            file.truncate(0)
        for chunk in answer.iter_bytes(constants.DOWNLOAD_CHUNK_SIZE):
            file.write(chunk)
            tell(file.tell())


def _broken_off() -> tuple[type[Exception], ...]:
    """OSError, and httpx's errors by whichever name this version of the library imports httpx."""
    from huggingface_hub.errors import HfHubHTTPError

    return cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)


def _check_hash(part: Path, sha256: str, what: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise TransferError(
            f"{what} came through damaged (its hash is wrong) and was removed; fetch it again"
        )


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

    try:
        yield
    except OfflineModeIsEnabled:
        raise TransferError(f"{repo} can't be fetched while HF_HUB_OFFLINE is set; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        page = f"{constants.ENDPOINT}/{repo}"
        if isinstance(error, GatedRepoError) or status == 403:
            raise TransferError(
                f"{repo} is gated ({status}): accept its licence at {page}, "
                "then set HF_TOKEN to a token of yours"
            ) from None
        if status == 401:
            raise TransferError(
                f"the hub refused {repo} (401): check the name; if it is gated or private, accept "
                f"its licence at {page} and set HF_TOKEN to a token of yours"
            ) from None
        if isinstance(error, RepositoryNotFoundError):
            raise ModelError(f"no repository {repo} at {constants.ENDPOINT}; check its name") from None
        raise TransferError(f"{repo}: the hub answered {status}; {_AGAIN.format(repo)}") from None
    except _broken_off() as error:
        raise TransferError(
            f"{repo}: the download broke off ({_brief(error)}); {_AGAIN.format(repo)}"
        ) from None


_AGAIN: Final = "`swapbench models fetch {}` goes on from there"


def _check_disk(repo: str, blobs: Path, needed_bytes: int) -> None:
    there = next(folder for folder in blobs.parents if folder.exists())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes:
        raise ModelError(
            f"{repo} takes {needed_bytes / 1e9:.2f} GB more and {there} has {free_bytes / 1e9:.2f} GB free; "
            "make room, or set HF_HOME to a folder on another disk"
        )


def _snapshots(storage: Path) -> list[Path]:
    folders = [path for path in (storage / "snapshots").glob("*") if path.is_dir()]
    try:
        main = (storage / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    return sorted(folders, key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True)


def hub_cache() -> Path:
    """Where the hub's library keeps what it fetches, by its rules: to load it takes longer than to ask.

    Raises:
        UsageError: in a home folder, and there is none.
    """
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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split(".", maxsplit=1)[0][:160] or type(error).__name__
