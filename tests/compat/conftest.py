"""The minis that loaders are tried on."""

from tests.loaders.conftest import minis

__all__ = ["minis"]
