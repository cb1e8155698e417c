"""What is told of the machine."""

import os

import psutil

from swapbench.machine.environment import Machine, this_machine


def test_this_machine_is_told_as_the_os_tells_it() -> None:
    machine = this_machine()
    assert machine.cores == os.cpu_count()
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert machine == this_machine()


def test_what_is_unknown_is_left_out_of_the_description() -> None:
    known = Machine(
        system="macOS",
        release="15.3",
        architecture="arm64",
        processor="Apple M4 Pro",
        cores=12,
        memory_bytes=24 << 30,
    )
    assert known.describe() == "Apple M4 Pro, 12 cores, 24 GiB, macOS 15.3"
    unknown = known.model_copy(update={"cores": 0, "release": "", "memory_bytes": 0})
    assert unknown.describe() == "Apple M4 Pro, macOS"
