"""Basins: which attractor an initial state goes to, how large basins are, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, real_number, seeded, whole_number
from esntools.basins.attractors import Attractor
from esntools.basins.boundary import BoundaryTrack, track_boundary
from esntools.basins.edge import EdgeState, find_edge_state, find_edge_states
from esntools.basins.kicks import Kick, NoKick, find_smallest_kick
from esntools.basins.labelling import ESCAPED, UNDECIDED, Labeller
from esntools.basins.pictures import (
    BasinEntropy,
    BasinPicture,
    UncertaintyExponent,
    basin_entropy,
    basin_picture,
    uncertainty_exponent,
)
from esntools.basins.runs import autonomous, checked_states
from esntools.basins.statistics import wilson_interval
from esntools.errors import InvalidInputError
from esntools.maps import Map, state_box
from esntools.threads import one_blas_thread

if TYPE_CHECKING:
    from esntools.fixed_points import FixedPoints

__all__ = [
    "ESCAPED", "UNDECIDED", "Attractor", "BasinEntropy", "BasinPicture", "Basins", "BoundaryTrack",
    "EdgeState", "Kick", "NoKick", "UncertaintyExponent", "basin_entropy", "basin_picture", "basins",
    "find_edge_state", "find_edge_states", "find_smallest_kick", "track_boundary", "uncertainty_exponent",
    "wilson_interval",
]  # fmt: skip

_ESCAPE: Final = 1e6


@final
@dataclass(frozen=True, eq=False, repr=False)
class Basins:
    """Initial states, the attractors that they go to, and how much of the space goes where.

    Attributes
    ----------
    labels : ndarray of int, shape (n,)
        For every start a position in `attractors`; -1 where the run leaves every bound (`ESCAPED`), -2 where
        nothing was decided (`UNDECIDED`).
    starts : ndarray, shape (n, n_units)
    attractors : tuple of Attractor
        Fixed points (those given first, in their order), then cycles, then others.
    shares : ndarray, shape (n_attractors,)
        The fraction of the starts with each label.
    intervals : ndarray, shape (n_attractors, 2)
        95 % Wilson intervals of the shares; they mean something where the starts were drawn at random.
    escaped, undecided : float
        The fractions of the starts with these labels.
    escaped_interval, undecided_interval : tuple of float
    missed : float
        A basin larger than this share would have had a start in it with probability 95 %, had the starts
        been drawn at random: 1 - 0.05^(1/n).
    note : str
        What a reader of the numbers must know; empty where there is nothing.
    """

    labels: IntArray
    starts: FloatArray
    attractors: tuple[Attractor, ...]
    shares: FloatArray
    intervals: FloatArray
    escaped: float
    escaped_interval: tuple[float, float]
    undecided: float
    undecided_interval: tuple[float, float]
    missed: float
    note: str

    def __repr__(self) -> str:
        parts = [f"{a.kind}: {share:.4g}" for a, share in zip(self.attractors, self.shares)]
        parts += [f"{name}: {share:.4g}" for name, share in
                  (("escaped", self.escaped), ("undecided", self.undecided)) if share]  # fmt: skip
        return f"Basins({len(self.labels)} starts; {', '.join(parts)})"


@one_blas_thread
def basins(
    system: Map,
    u: ArrayLike | None = None,
    *,
    attractors: FixedPoints | None = None,
    starts: ArrayLike | None = None,
    n_starts: int = 1000,
    n_steps: int = 2000,
    n_average: int = 2000,
    max_period: int = 64,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    escape_radius: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Basins:
    r"""Label initial states of an autonomous map by the attractor that they reach.

    Runs are moved on together. A run that comes to rest, or to a cycle, has its end polished by Newton's
    method; if that point attracts (all multipliers inside the unit circle), every run within a small
    distance of it has its label. Runs that do neither are told apart by their means: for runs a and b with
    means :math:`m_i` of each :math:`x_i` and :math:`x_i^2` over 20 batches and their standard errors
    :math:`s_i`,

    .. math:: \max_i |m_i^a - m_i^b| / \sqrt{(s_i^a)^2 + (s_i^b)^2} < 6

    joins them (more than 6 where there are very many means), and the connected components are the
    attractors; means closer than about 0.2 % of the signal's standard deviation are never told apart. The
    runs are prolonged until two windows give the same components.

    Parameters
    ----------
    system : Map
        A network, or any other map.
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous map.
    attractors : FixedPoints, optional
        What is known already: its stable points come first, in their order. Attractors that it lacks are
        found all the same.
    starts : array_like, shape (n, n_units), optional
        The initial states. By default `n_starts` uniform ones in `box`.
    n_starts : int
        Default 1000.
    n_steps : int
        Steps within which a run normally arrives; five times as many where it is seen to approach. Default
        2000.
    n_average : int
        Steps of the first window over which means are taken; it is doubled up to three times. Default 2000,
        at least 200.
    max_period : int
        The longest cycle that is recognised as one. Default 64.
    box : tuple of two array_like, optional
        Opposite corners (low, high) for random starts; by default the box that the map sends into itself.
    escape_radius : float, optional
        A run with a larger component has escaped to infinity (a judgement, not a proof). By default 1e6
        times the largest start.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    Basins

    Raises
    ------
    InvalidInputError
        When a shape or number is out of its range, or there is no box to draw starts from.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> bit = basins(EchoStateNetwork([[1.5]]), n_starts=400)
    >>> [(a.kind, a.mean.round(4).tolist()) for a in bit.attractors]
    [('fixed point', [-0.8586]), ('fixed point', [0.8586])]
    >>> bit.shares.sum(), bool(bit.intervals[0, 0] < 0.5 < bit.intervals[0, 1])
    (np.float64(1.0), True)

    References
    ----------
    The vocabulary is that of G. Datseris, K. L. Rossi, A. Wagemakers, Chaos 33 (2023) 073151,
    doi:10.1063/5.0159675; intervals: E. B. Wilson, JASA 22 (1927) 209, doi:10.1080/01621459.1927.10502953.
    """
    held = autonomous(system, u)
    n = held.n_units
    for place, value, least in (
        ("n_starts", n_starts, 1), ("n_steps", n_steps, 1), ("n_average", n_average, 200),
        ("max_period", max_period, 1),
    ):  # fmt: skip
        whole_number(value, place, least)
    generator = seeded(rng)
    random = starts is None
    if starts is not None:
        if box is not None:
            raise InvalidInputError("box", "given with starts", "is where starts are drawn", "leave one out")
        states = checked_states(starts, "starts", n)
    else:
        low, high = checked_box(held, box)
        states = generator.uniform(low, high, (n_starts, n))
    labeller = Labeller(
        held, n_steps=n_steps, n_average=n_average, max_period=max_period,
        escape_radius=checked_escape(escape_radius, states), rng=generator, fixed_points=attractors,
    )  # fmt: skip
    n_given = len(labeller.attractors)
    labels = labeller.label(states, progress=progress)
    return _summary(labeller, labels, states, n_given, random)


def checked_box(system: Map, box: tuple[ArrayLike, ArrayLike] | None) -> tuple[FloatArray, FloatArray]:
    """Return the corners of the box to draw starts from."""
    corners = state_box(system) if box is None else box
    if corners is None:
        raise InvalidInputError(
            "box", "None", "no box is known that the map sends into itself", "pass box=(low, high), or starts"
        )
    if not isinstance(corners, tuple | list) or len(corners) != 2:
        raise InvalidInputError("box", repr(corners), "must be a pair (low, high)")
    try:
        low, high = (np.broadcast_to(real_array(c, "box"), (system.n_units,)) for c in corners)
    except ValueError as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            "box", f"shapes {[np.shape(c) for c in corners]}", f"corners have shape ({system.n_units},)"
        ) from None
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low <= high)):
        raise InvalidInputError("box", f"({low}, {high})", "low <= high must hold, and both be finite")
    return low, high


def checked_escape(radius: float | None, states: FloatArray) -> float:
    """Return the escape radius."""
    if radius is None:
        return _ESCAPE * max(1.0, float(np.max(np.abs(states))))
    if not real_number(radius, "escape_radius") > float(np.max(np.abs(states))):
        raise InvalidInputError(
            "escape_radius", str(radius), "must be finite and larger than every component of the starts"
        )
    return float(radius)


def _summary(labeller: Labeller, labels: IntArray, states: FloatArray, n_given: int, random: bool) -> Basins:
    found = labeller.attractors

    def order(i: int) -> tuple[int, int, tuple[float, ...]]:
        a = found[i]
        if i < n_given:
            return 0, i, ()
        return 1 + (a.kind != "fixed point") + (a.period is None), a.period or 0, tuple(np.round(a.mean, 7))

    ranks = sorted(range(len(found)), key=order)
    place = np.empty(len(found), dtype=np.intp)
    place[ranks] = np.arange(len(found))
    labels = np.where(labels >= 0, place[np.maximum(labels, 0)] if len(found) else labels, labels)
    n = len(labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(found))
    gone, open_ = int(np.sum(labels == ESCAPED)), int(np.sum(labels == UNDECIDED))
    notes = list(labeller.notes)
    if n_given and any(a.kind == "fixed point" for a in found[n_given:]):
        notes.append("runs found stable fixed points that the given set lacks")
    if gone:
        notes.append(f"escape is judged by a component beyond {labeller.escape_radius:.3g}")
    if open_:
        notes.append(f"{open_} start(s) were not decided; more n_steps or n_average may decide them")
    if not random:
        notes.append("the starts were given: the intervals hold as far as they are random draws")
    labels.setflags(write=False)
    states.setflags(write=False)
    return Basins(
        labels, states, tuple(found[i] for i in ranks), counts / n,
        np.array([wilson_interval(int(c), n) for c in counts]).reshape(-1, 2),
        gone / n, wilson_interval(gone, n), open_ / n, wilson_interval(open_, n),
        1.0 - 0.05 ** (1.0 / n), "; ".join(notes),
    )  # fmt: skip
