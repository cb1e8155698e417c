"""Settings that hold for every test."""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

# What is printed is as wide as nobody has asked for.
os.environ.pop("COLUMNS", None)

# Of every process that tests start.
os.environ["PYTHONPATH"] = str(Path(__file__).parent / "lighter")

# A busy machine is no reason for a property to fail.
settings.register_profile(
    "swapbench", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("swapbench"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "swapbench"))
