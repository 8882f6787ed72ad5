"""Memory tasks: input and target series whose answer is known by construction."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import numpy as np

from esntools._typing import FloatArray, RandomState
from esntools.errors import InvalidInputError

__all__ = ["FlipFlop", "flip_flop"]


@final
@dataclass(frozen=True, eq=False)
class FlipFlop:
    """A K-bit flip-flop task.

    Attributes
    ----------
    u : array, shape (n_steps, n_bits)
        Pulses +1 and -1, zero in between.
    y : array, shape (n_steps, n_bits)
        The sign of the last pulse on each line, the one at the same step included.
    pulses : array, shape (2 * n_bits, n_bits)
        The unit pulses, in the order +1 and -1 on line 0, +1 and -1 on line 1, ...
    states : array, shape (2**n_bits, n_bits)
        Every memory state, in lexicographic order from all -1 to all +1.
    """

    u: FloatArray
    y: FloatArray
    pulses: FloatArray
    states: FloatArray

    @property
    def n_bits(self) -> int:
        return int(self.u.shape[1])

    @property
    def n_steps(self) -> int:
        return int(self.u.shape[0])


def flip_flop(
    n_bits: int, n_steps: int, *, pulse_probability: float = 0.02, rng: RandomState = None
) -> FlipFlop:
    """Return a random K-bit flip-flop task.

    Each line carries, independently at every step, a pulse +1 or -1 with probability `pulse_probability`
    (both signs equally likely); the target holds the sign of the line's last pulse. The first step has a
    pulse on every line, so that the target is defined throughout.

    Raises
    ------
    InvalidInputError
        When a number is out of range.

    References
    ----------
    D. Sussillo, O. Barak, Neural Computation 25 (2013) 626, doi:10.1162/NECO_a_00409,
    sec. 3.4 (3-bit flip-flop).

    Examples
    --------
    >>> task = flip_flop(2, 6, pulse_probability=0.3, rng=1)
    >>> task.u.astype(int).tolist()
    [[1, -1], [-1, 0], [0, 0], [0, 0], [0, -1], [0, 0]]
    >>> task.y.astype(int).tolist()
    [[1, -1], [-1, -1], [-1, -1], [-1, -1], [-1, -1], [-1, -1]]
    """
    for place, value, least in (("n_bits", n_bits, 1), ("n_steps", n_steps, 1)):
        if int(value) != value or value < least:
            raise InvalidInputError(place, str(value), f"must be a whole number, at least {least}")
    if n_bits > 16:
        raise InvalidInputError("n_bits", str(n_bits), "must be at most 16: there are 2**n_bits states")
    if not 0.0 < pulse_probability <= 1.0:
        raise InvalidInputError("pulse_probability", str(pulse_probability), "must lie in (0, 1]")
    rng = np.random.default_rng(rng)
    shape = (int(n_steps), int(n_bits))
    there = rng.random(shape) < pulse_probability
    there[0] = True
    u = np.where(there, rng.choice([-1.0, 1.0], shape), 0.0)
    # The step of the last pulse so far, on each line.
    last = np.maximum.accumulate(np.where(there, np.arange(shape[0])[:, None], 0), axis=0)
    y = np.take_along_axis(u, last, axis=0)
    unit = np.eye(shape[1])
    pulses = np.stack([unit, -unit], axis=1).reshape(2 * shape[1], shape[1])
    states = np.array(list(itertools.product((-1.0, 1.0), repeat=shape[1])))
    for array in (u, y, pulses, states):
        array.setflags(write=False)
    return FlipFlop(u, y, pulses, states)
