"""How the inputs of an echo index are made: words repeated for ever, and runs of symbols."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.inputs import Constant, InputAlphabet, InputBox, InputSignal, Zero

__all__ = ["EchoInput", "PeriodicInput", "SwitchingInput", "realisation"]


@final
@dataclass(frozen=True, eq=False)
class PeriodicInput:
    """One word of inputs, repeated for ever in both directions of time.

    >>> PeriodicInput([[1.0], [2.0]]).word.shape
    (2, 1)
    """

    word: FloatArray

    def __init__(self, word: ArrayLike) -> None:
        object.__setattr__(self, "word", InputSignal(word).u)


@final
@dataclass(frozen=True, eq=False)
class SwitchingInput:
    r"""Runs of symbols, each run with a length between two limits.

    A run of symbol s lasts at least ``min_length[s]`` steps; from then on it goes on with the probability
    ``stay[s]`` at every step, and it ends at ``max_length[s]`` steps at the latest. The next symbol is any
    other one, all equally likely. A proof about this class uses the limits only, never the probabilities.

    Parameters
    ----------
    symbols : array_like, shape (n_symbols, n_inputs)
        At least two.
    min_length, max_length : int or sequence of int, optional
        Limits of the run lengths in steps, for each symbol; 1 and None (no upper limit) by default.
    stay : float or sequence of float, optional
        Probabilities in [0, 1); 0.9 by default. 1 is allowed where the length is limited.

    Examples
    --------
    Runs of three A and one to two B:

    >>> law = SwitchingInput([[0.25], [-0.5]], min_length=[3, 1], max_length=[3, 2])
    >>> law.series(8, 0).ravel().tolist()
    [-0.5, 0.25, 0.25, 0.25, -0.5, 0.25, 0.25, 0.25]

    References
    ----------
    P. Ashwin and A. Ceni, "Transitions in echo index and dependence on input repetitions", Physica D 463
    (2024) 134190, doi:10.1016/j.physd.2024.134190. There a run has one step more than its number of
    repetitions says.
    """

    symbols: FloatArray
    min_length: tuple[int, ...]
    max_length: tuple[int | None, ...]
    stay: tuple[float, ...]

    def __init__(
        self,
        symbols: ArrayLike,
        *,
        min_length: int | tuple[int, ...] | list[int] = 1,
        max_length: int | tuple[int | None, ...] | list[int | None] | list[int] | None = None,
        stay: float | tuple[float, ...] | list[float] = 0.9,
    ) -> None:
        table = InputAlphabet(symbols).symbols
        n = len(table)
        if n < 2:
            raise InvalidInputError(
                "SwitchingInput.symbols", "1 symbol", "switching needs at least two", "use Constant"
            )
        lows = _for_each(min_length, n, "min_length")
        highs = _for_each(max_length, n, "max_length")
        stays = _for_each(stay, n, "stay")
        for s in range(n):
            low, high, p = lows[s], highs[s], stays[s]
            if not (isinstance(low, int | np.integer) and not isinstance(low, bool) and low >= 1):
                raise InvalidInputError(
                    f"SwitchingInput.min_length[{s}]", repr(low), "must be an integer >= 1"
                )
            if high is not None and not (isinstance(high, int | np.integer) and high >= low):
                raise InvalidInputError(
                    f"SwitchingInput.max_length[{s}]",
                    repr(high),
                    f"must be None or an integer of at least the minimum {low}",
                )
            if not (isinstance(p, int | float | np.number) and 0.0 <= p <= (1.0 if high else 1.0 - 1e-12)):
                raise InvalidInputError(
                    f"SwitchingInput.stay[{s}]", repr(p),
                    "must be a probability; below 1 when the run has no upper limit",
                )  # fmt: skip
        object.__setattr__(self, "symbols", table)
        object.__setattr__(self, "min_length", tuple(int(v) for v in lows))
        object.__setattr__(self, "max_length", tuple(None if v is None else int(v) for v in highs))
        object.__setattr__(self, "stay", tuple(float(v) for v in stays))

    def sequence(self, n_steps: int, rng: int | np.random.Generator | None = None) -> list[int]:
        """Return the numbers of the symbols for `n_steps` steps; the first run begins anywhere in itself."""
        rng, n = np.random.default_rng(rng), len(self.symbols)
        s, out = int(rng.integers(n)), list[int]()
        skip: int | None = None
        while len(out) < n_steps:
            length, limit = self.min_length[s], self.max_length[s]
            if limit is None or limit > length:
                # Geometric beyond the minimum, cut at the limit; stay = 1 leads to the limit.
                p = self.stay[s]
                extra = limit - length if p == 1.0 and limit is not None else int(rng.geometric(1.0 - p)) - 1
                length = length + extra if limit is None else min(limit, length + extra)
            if skip is None:
                skip = int(rng.integers(length))
                length -= skip
            out += [s] * length
            s = (s + 1 + int(rng.integers(n - 1))) % n if n > 2 else 1 - s
        return out[:n_steps]

    def series(self, n_steps: int, rng: int | np.random.Generator | None = None) -> FloatArray:
        """Return a realisation, shape (n_steps, n_inputs)."""
        return np.asarray(self.symbols[self.sequence(n_steps, rng)])


def _for_each(value: object, n: int, name: str) -> list[Any]:
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * n
    if len(values) != n:
        raise InvalidInputError(
            f"SwitchingInput.{name}", f"{len(values)} values", f"must be one, or one for each of {n} symbols"
        )
    return values


#: What an echo index can be asked about.
EchoInput: TypeAlias = (
    Zero | Constant | InputSignal | InputBox | InputAlphabet | PeriodicInput | SwitchingInput
)


def realisation(inputs: EchoInput, n_inputs: int, n_steps: int, rng: np.random.Generator) -> FloatArray:
    """Return the last `n_steps` steps of one past of the inputs; a recorded series is its own only past."""
    match inputs:
        case Zero():
            u = np.zeros((n_steps, n_inputs))
        case Constant():
            u = np.tile(inputs.c, (n_steps, 1))
        case PeriodicInput():
            u = np.tile(inputs.word, (math.ceil(n_steps / len(inputs.word)), 1))[-n_steps:]
        case InputSignal():
            u = inputs.u[-n_steps:]
        case InputBox():
            low, high = (np.broadcast_to(end, (n_inputs,)) for end in (inputs.low, inputs.high))
            u = rng.uniform(low, high, (n_steps, n_inputs))
        case InputAlphabet():
            u = inputs.symbols[rng.integers(len(inputs.symbols), size=n_steps)]
        case SwitchingInput():
            u = inputs.series(n_steps, rng)
    if u.shape[1] != n_inputs:
        n = n_inputs
        raise InvalidInputError(
            "inputs", f"{u.shape[1]} components", f"the network has {n} input{'s' * (n != 1)}",
            "give one value per input",
        )  # fmt: skip
    return np.asarray(u, dtype=np.float64)
