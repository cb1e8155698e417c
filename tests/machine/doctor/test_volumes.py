"""What `diskutil info -plist` prints, read."""

import plistlib

import pytest

from swapbench.machine.doctor.volumes import Storage, described
from swapbench.machine.limits import Volume

VOLUME = Volume(mount="/Volumes/models", device="/dev/disk5s1", file_system="apfs")


EITHER = "RemovableMediaOrExternalDevice"


def printed(bus: str, **told: bool) -> str:
    return plistlib.dumps({"DeviceNode": "/dev/disk5s1", "BusProtocol": bus, **told}).decode()


@pytest.mark.parametrize(
    ("diskutil", "storage"),
    [
        # The drive of a Mac with Apple Silicon.
        (
            printed("Apple Fabric", Internal=True, FileVault=True, **{EITHER: False}),
            Storage(VOLUME, "Apple Fabric", encrypted=True),
        ),
        # A drive on Thunderbolt, whose bus is an internal one's.
        (
            printed("PCI-Express", Internal=False, FileVault=False, **{EITHER: True}),
            Storage(VOLUME, "PCI-Express", external=True),
        ),
        # A card in a built-in reader.
        (
            printed("Secure Digital", Internal=True, **{EITHER: True}),
            Storage(VOLUME, "Secure Digital", external=True),
        ),
        # Releases that have no word for both.
        (printed("USB", Internal=False), Storage(VOLUME, "USB", external=True)),
        (printed("SATA", Internal=True), Storage(VOLUME, "SATA")),
        # A volume that it knows nothing of, as one on the network.
        (plistlib.dumps({"Error": True, "ErrorMessage": "Could not find disk"}).decode(), Storage(VOLUME)),
        ("Could not find disk: /Volumes/models\n", Storage(VOLUME)),
        ('<?xml version="1.0"?><plist><dict><key>', Storage(VOLUME)),
        ("", Storage(VOLUME)),
    ],
)
def test_the_drive_below_a_volume(diskutil: str, storage: Storage) -> None:
    assert described(VOLUME, diskutil) == storage
