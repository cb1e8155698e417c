"""Whether this machine, as it is now, can be measured on: facts are gathered, then judged."""

from swapbench.doctor.check import Check, Status

__all__ = ["Check", "Status"]
