"""A shared machine, simulated: how many times as long each swap takes as it would take by itself."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Shares of a swap's own time.

    Args:
        jitter_sd: log-normal, of every swap by itself.
        spike_chance: of a swap that something else hits, which costs it `spike` more.
        state_sd: of what the machine is like (neighbours, clock, memory traffic), which lasts: AR(1), with
            `state_memory` of it left after a swap.
        ramp: how much slower it becomes as it warms up; 63 % of that within `ramp_swaps` swaps.
        day_sd: of what all swaps of a run have in common, and those of another day have not.
    """

    jitter_sd: float
    spike_chance: float
    spike: tuple[float, float]
    state_sd: float
    state_memory: float
    ramp: float
    ramp_swaps: float
    day_sd: float = 0.0

    def draw(self, rng: np.random.Generator, runs: int, swaps: int) -> Array:
        """Runs of so many swaps, one after another: a row each."""
        jitter = np.exp(rng.normal(0, self.jitter_sd, (runs, swaps)))
        hit = rng.random((runs, swaps)) < self.spike_chance
        spikes = 1 + hit * rng.uniform(*self.spike, (runs, swaps))
        heat = 1 + self.ramp * (1 - np.exp(-np.arange(swaps) / self.ramp_swaps))
        day = np.exp(rng.normal(0, self.day_sd, (runs, 1)))
        slowness: Array = jitter * spikes * np.exp(self._states(rng, runs, swaps)) * heat * day
        return slowness

    def _states(self, rng: np.random.Generator, runs: int, swaps: int) -> Array:
        states = rng.normal(0, self.state_sd, (runs, swaps))
        fresh = np.sqrt(1 - self.state_memory**2)
        for i in range(1, swaps):
            states[:, i] = self.state_memory * states[:, i - 1] + fresh * states[:, i]
        return states


# Jitter and spikes are the issue's. Hosted runners are reported to differ by 2.7 % from run to run, each of
# them averaged: that is the state. Small machines lose 10 to 20 % to heat, most of it in the first minutes.
SHARED_RUNNER: Final = Noise(
    jitter_sd=0.04,
    spike_chance=0.05,
    spike=(0.2, 0.8),
    state_sd=0.03,
    state_memory=0.8,
    ramp=0.15,
    ramp_swaps=7,
)

# A worse one: twice the swing, and it stays as it is for some twenty swaps.
BUSY_RUNNER: Final = Noise(
    jitter_sd=0.04,
    spike_chance=0.05,
    spike=(0.2, 0.8),
    state_sd=0.06,
    state_memory=0.95,
    ramp=0.15,
    ramp_swaps=7,
)
