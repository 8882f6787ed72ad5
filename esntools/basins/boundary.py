"""The boundary between two basins, followed by pairs that straddle it; the map may depend on time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, no_progress
from esntools.arguments import real_number, whole_number
from esntools.basins.labelling import UNDECIDED
from esntools.errors import InvalidInputError

__all__ = ["Boundary", "BoundaryTrack", "checked_track", "track_boundary"]

_Step: TypeAlias = Callable[[FloatArray, int], FloatArray]
_Label: TypeAlias = Callable[[FloatArray, int], IntArray]

# Interior points of a segment labelled at once. Even, so that no symmetric segment has its middle among them:
# that may lie exactly on the boundary, where rounding alone decides.
_SECTIONS: Final = 16
_LONGEST_STRETCH: Final = 5000


@final
@dataclass(frozen=True, eq=False, repr=False)
class BoundaryTrack:
    """A run along the boundary between two basins, pieced together from pairs that straddle it.

    Attributes
    ----------
    states : ndarray, shape (n, n_units)
        The middle of the pair at every step. Where one round ends and the next begins it jumps by about the
        width that the pair had grown to.
    times : ndarray of int, shape (n,)
        The step of every state, for maps that depend on it.
    labels : tuple of int
        The labels on the two sides (of the last bisection).
    exponents : ndarray, shape (n_rounds,)
        Mean growth of the logarithm of the pair's distance per step in each round: the exponent across the
        boundary, positive for a boundary that repels.
    steps : ndarray of int, shape (n_rounds,)
        The length of each round.
    n_calls : int
        How often states were labelled.
    """

    states: FloatArray
    times: IntArray
    labels: tuple[int, int]
    exponents: FloatArray
    steps: IntArray
    n_calls: int

    def __repr__(self) -> str:
        return f"BoundaryTrack({len(self.states)} states, labels={self.labels}, exponent={self.exponent:.6g})"

    @property
    def exponent(self) -> float:
        """The mean exponent over all rounds, weighted by their lengths; NaN where there is no round."""
        return float(self.exponents @ self.steps / self.steps.sum()) if self.steps.sum() else np.nan


class Boundary:
    """The pair, and how it is brought together again."""

    def __init__(self, step: _Step, label: _Label, x_a: FloatArray, x_b: FloatArray, time: int) -> None:
        self.step, self.label, self.time, self.n_calls = step, label, time, 0
        self.a, self.b = np.array(x_a), np.array(x_b)
        self.labels = (UNDECIDED, UNDECIDED)

    def bisect(self, width: float) -> None:
        """Bring the pair within `width` times its size, still on two sides of the boundary."""
        weights = np.arange(1, _SECTIONS + 1) / (_SECTIONS + 1)
        own, other = (int(v) for v in self._label(np.array([self.a, self.b])))
        if own == other:
            raise InvalidInputError(
                "x_a, x_b", f"both go to attractor {own}", "must lie in different basins", "see basins()"
            )
        while True:
            gap = float(np.linalg.norm(self.b - self.a))
            scale = max(1.0, float(np.linalg.norm(self.a)))
            if gap <= width * scale:
                break
            middle = self.a + weights[:, None] * (self.b - self.a)
            found = np.concatenate([[own], self._label(middle), [other]])
            points = np.vstack([self.a, middle, self.b])
            changes = np.flatnonzero(found[1:] != found[:-1])
            # A direct change between the two where there is one; else the first change on the way.
            direct = [i for i in changes if found[i] == own and found[i + 1] == other]
            i = int(direct[0] if direct else changes[found[changes] == own][0])
            self.a, self.b = points[i], points[i + 1]
            other = int(found[i + 1])
        self.labels = (own, other)

    def _label(self, X: FloatArray) -> IntArray:
        self.n_calls += 1
        return self.label(X, self.time)

    def stretch(self, apart: float) -> tuple[FloatArray, float]:
        """Follow the pair until it is `apart`; return the middles and the mean growth of log distance."""
        start = max(float(np.linalg.norm(self.b - self.a)), 1e-300)
        middles = [0.5 * (self.a + self.b)]
        gap = start
        while gap < apart * max(1.0, float(np.linalg.norm(self.a))) and len(middles) <= _LONGEST_STRETCH:
            self.a, self.b = self.step(np.array([self.a, self.b]), self.time)
            self.time += 1
            gap = max(float(np.linalg.norm(self.b - self.a)), 1e-300)
            middles.append(0.5 * (self.a + self.b))
        return np.array(middles), float(np.log(gap / start)) / max(1, len(middles) - 1)


def track_boundary(
    step: _Step,
    label: _Label,
    x_a: ArrayLike,
    x_b: ArrayLike,
    *,
    n_rounds: int = 20,
    near: float = 1e-9,
    apart: float = 1e-5,
    first_step: int = 0,
    progress: Progress = no_progress,
) -> BoundaryTrack:
    r"""Follow the boundary between two basins of a map that may depend on time.

    The segment from x_a to x_b is cut (16 points at a time) to a pair of states within `near` that still
    have two labels; the pair is moved on until it is `apart`; the segment between is cut again, and so on.
    Each pair straddles the boundary to within its width.

    Parameters
    ----------
    step : callable
        ``step(X, k)``: the states X (n, n_units) one step on, at time k.
    label : callable
        ``label(X, k)``: an integer for every state X (n, n_units) at time k, telling where it will end.
    x_a, x_b : array_like, shape (n_units,)
        Two states with different labels at time `first_step`.
    n_rounds : int
        Default 20.
    near, apart : float
        The widths to which a pair is brought and allowed to grow, relative to max(1, \|x\|). Default 1e-9 and
        1e-5.
    first_step : int
        Default 0.
    progress : callable, optional

    Returns
    -------
    BoundaryTrack

    Raises
    ------
    InvalidInputError
        When both states have one label, or the widths are not 0 < near < apart.

    Examples
    --------
    >>> track = track_boundary(
    ...     lambda X, k: 2 * X - X**3, lambda X, k: (X[:, 0] > 0).astype(int), [-0.9], [0.8], n_rounds=3)
    >>> bool(abs(track.states[-1, 0]) < 1e-4), round(track.exponent, 6)  # log 2
    (True, 0.693147)

    References
    ----------
    J. D. Skufca, J. A. Yorke, B. Eckhardt, Phys. Rev. Lett. 96 (2006) 174101,
    doi:10.1103/PhysRevLett.96.174101.
    """
    a, b = np.atleast_1d(np.array(x_a, dtype=np.float64)), np.atleast_1d(np.array(x_b, dtype=np.float64))
    checked_track(a, b, near, apart, n_rounds)
    boundary = Boundary(step, label, a, b, first_step)
    states: list[FloatArray] = []
    exponents, lengths = [], []
    times: list[IntArray] = []
    for i in range(n_rounds):
        boundary.bisect(near)
        start = boundary.time
        middles, exponent = boundary.stretch(apart)
        keep = middles if i == n_rounds - 1 else middles[:-1]
        states.append(keep)
        times.append(start + np.arange(len(keep)))
        exponents.append(exponent)
        lengths.append(len(middles) - 1)
        progress("boundary", (i + 1) / n_rounds)
    return BoundaryTrack(
        np.vstack(states), np.concatenate(times), boundary.labels, np.array(exponents),
        np.array(lengths, dtype=np.intp), boundary.n_calls,
    )  # fmt: skip


def checked_track(a: FloatArray, b: FloatArray, near: float, apart: float, n_rounds: int) -> None:
    for place, x in (("x_a", a), ("x_b", b)):
        if x.ndim != 1 or not np.all(np.isfinite(x)):
            raise InvalidInputError(place, str(x), "must be one finite state")
    if a.shape != b.shape:
        raise InvalidInputError("x_b", f"shape {b.shape}", f"must have the shape {a.shape} of x_a")
    if not 1e-14 <= real_number(near, "near") < real_number(apart, "apart") <= 0.1:
        raise InvalidInputError("near, apart", f"{near}, {apart}", "1e-14 <= near < apart <= 0.1 must hold")
    whole_number(n_rounds, "n_rounds")
