"""Minis that are made once, for all the circumstances in which a command may find itself."""

from tests.e2e.conftest import model_cache

__all__ = ["model_cache"]
