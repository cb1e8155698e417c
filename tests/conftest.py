"""Settings that hold for every test."""

from hypothesis import settings

# A busy machine is no reason for a property to fail.
settings.register_profile("swapbench", deadline=None)
settings.load_profile("swapbench")
