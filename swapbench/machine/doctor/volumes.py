"""What models lie on: the volume, and on macOS the drive below it."""

import plistlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

from swapbench.machine import mac
from swapbench.machine.limits import Volume


@dataclass(frozen=True)
class Storage:
    """A volume; what only macOS tells of its drive is empty and False elsewhere."""

    volume: Volume
    bus: str = ""
    external: bool = False
    encrypted: bool = False


def storages_of(folders: Iterable[Path]) -> tuple[Storage, ...]:
    """Each volume once; those that no mount is known of are left out."""
    volumes = dict.fromkeys(map(Volume.of, folders))
    return tuple(described(volume, _diskutil(volume.mount)) for volume in volumes if volume.mount)


def described(volume: Volume, diskutil: str) -> Storage:
    """A volume, with what `diskutil info -plist` prints of it, which may be that it knows no such volume."""
    try:
        told = plistlib.loads(diskutil.encode())
    except (ValueError, ExpatError):
        told = {}
    # A built-in card reader is Internal, too; older releases have no other word.
    external = bool(told.get("RemovableMediaOrExternalDevice", not told.get("Internal", True)))
    return Storage(volume, str(told.get("BusProtocol", "")), external, bool(told.get("FileVault")))


def _diskutil(mount: str) -> str:
    return mac.printed_by("/usr/sbin/diskutil", "info", "-plist", mount) if mac.HERE else ""
