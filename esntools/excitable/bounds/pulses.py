"""Proved destinations of pulses: the states that one pulse of any amplitude reaches, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.excitable.bounds.cells import Cell, Push, norm2
from esntools.excitable.bounds.proofs import Prover
from esntools.excitable.bounds.wells import Well
from esntools.fixed_points.verified import gamma
from esntools.network import EchoStateNetwork

__all__ = ["PulseInterval", "proved_intervals"]

_U: Final = 2.0**-53


@final
@dataclass(frozen=True, eq=False)
class PulseInterval:
    """Pulses of amplitudes low <= g <= high certainly lead to the one fixed point in `destinations`.

    There are several positions in it only where the same point was given several times.
    """

    low: float
    high: float
    destinations: tuple[int, ...]


def _push(w: FloatArray, w_error: FloatArray, low: float, high: float) -> Push:
    """Return what g w adds to z for g in [low, high]; w is known within w_error."""
    middle = 0.5 * (low + high)
    half = max(high - middle, middle - low) * (1.0 + 4.0 * _U)
    tiny = 1e-300
    return Push(
        middle * w, np.abs(middle) * w_error + 2.0 * _U * np.abs(middle * w) + tiny,
        half * w, half * w_error + 2.0 * _U * np.abs(half * w) + tiny,
    )  # fmt: skip


def proved_intervals(
    prover: Prover,
    network: EchoStateNetwork,
    well: Well,
    x: FloatArray,
    pulse: FloatArray,
    length: int,
    upper: float,
    tolerance: float,
) -> tuple[list[PulseInterval], str]:
    """Return adjoining intervals of amplitudes from 0 on with their proved destinations, and why they end."""
    n = len(x)
    w = network.W_in @ pulse
    w_error = gamma(len(pulse) + 4) * (np.abs(network.W_in) @ np.abs(pulse))
    # The state given and the exact fixed point are both meant.
    apart = (norm2(x - well.x) + well.error) * (1.0 + 1e-12) + 1e-300
    start = Cell(x, np.zeros((n, 1)), apart * apart * np.eye(n))
    found: list[PulseInterval] = []
    low, width = 0.0, upper / 32.0
    while low < upper:
        high = min(low + width, upper)
        push = _push(w, w_error, low, high)
        fate = prover.run(start, well.weight, (push,) * length)
        if fate.well >= 0:
            if found and found[-1].destinations == (fate.well,):
                found[-1] = PulseInterval(found[-1].low, high, (fate.well,))
            else:
                found.append(PulseInterval(low, high, (fate.well,)))
            low, width = high, 1.5 * width
            continue
        if fate.late:
            return found, "the budget was spent"
        width = 0.5 * (high - low)
        if not width > tolerance * max(low, 1e-3 * upper):
            return found, (
                f"pulses of about {0.5 * (low + high):.4g} could not be followed: "
                "there the basin ends, or nearly"
            )
    return found, ""


def reach(found: Sequence[PulseInterval], home: int, target: int | None) -> float:
    """Return the largest g for which [0, g] certainly does not leave `home`, or does not reach `target`."""
    end = 0.0
    for part in found:
        leaves = home not in part.destinations if target is None else target in part.destinations
        if leaves or part.low > end:
            break
        end = part.high
    return end if math.isfinite(end) else 0.0
