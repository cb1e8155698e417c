"""Whether this machine, as it is now, can be measured on: facts are gathered, then judged."""

from swapbench.machine.doctor.check import Check, Status

__all__ = ["Check", "Status"]
