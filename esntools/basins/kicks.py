"""The smallest kick that carries a state out of its basin: an upper bound that can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, real_number, seeded, whole_number
from esntools.basins.attractors import Attractor, Cycle
from esntools.basins.horizons import OUTSIDE, Allowed
from esntools.basins.labelling import ESCAPED, Labeller
from esntools.basins.landings import Candidate, Hunt, point_anchors
from esntools.basins.rays import LOOSE, Rays, Search, first_directions, reach
from esntools.basins.runs import autonomous, checked_states
from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoint, FixedPoints, find_fixed_points
from esntools.maps import Map, state_box
from esntools.threads import one_blas_thread

if TYPE_CHECKING:
    from esntools.basins import Basins

__all__ = ["Kick", "NoKick", "find_smallest_kick"]

_RADII: Final = 24
_SMALLEST: Final = 1e-5


@final
@dataclass(frozen=True, eq=False, repr=False)
class Kick:
    """A kick that leads out of a basin, and how near it is to a shortest one.

    Attributes
    ----------
    vector : ndarray, shape (n_units,)
        The kick d: x + d lies just beyond the boundary.
    size : float
        Its 2-norm: an upper bound of the smallest kick, never a lower one.
    origin : int
        The label of the state that is kicked, a position in `attractors`.
    destination : int
        The label of x + 1.001 d.
    x : ndarray, shape (n_units,)
        The state that is kicked, polished.
    alignment : float
        The cosine between the kick and the shortest allowed one on the tangent space of the boundary there
        (without limits the normal): 1 where no nearby kick is shorter to first order. NaN where no normal
        was found.
    saddle : ndarray, shape (p, n_units), or None
        The fixed point or cycle to which the boundary leads from x + d: with one unstable direction, or with
        several where the boundary has an edge between several basins.
    multiplier : float
        The saddle's leading unstable multiplier (over its period; the modulus of a complex one); NaN where
        there is none.
    stays, leaves : bool
        x + 0.999 d is still in the basin (or outside the target's), x + 1.001 d is not: both were run. The
        second may be outside the box by a thousandth.
    iterations : int
        How often this kick was turned.
    n_starts : int
        Directions and saddles from which the search began.
    sizes : ndarray
        Sizes of the kicks found whose replays went as they should, in rising order.
    attractors : tuple of Attractor
        What the labels stand for.
    note : str
    """

    vector: FloatArray
    size: float
    origin: int
    destination: int
    x: FloatArray
    alignment: float
    saddle: FloatArray | None
    multiplier: float
    stays: bool
    leaves: bool
    iterations: int
    n_starts: int
    sizes: FloatArray
    attractors: tuple[Attractor, ...]
    note: str

    def __repr__(self) -> str:
        return (
            f"Kick({self.origin} -> {self.destination}, size <= {self.size:.9g}, "
            f"alignment={self.alignment:.9g}, checked={self.checked})"
        )

    @property
    def checked(self) -> bool:
        """Whether both replays went as they should."""
        return self.stays and self.leaves


@final
@dataclass(frozen=True, eq=False)
class NoKick:
    """No direction that was tried led out of the basin; there may be one all the same.

    Attributes
    ----------
    reason : str
    n_starts : int
        Directions tried.
    max_size : float
        The largest kick tried along each.
    attractors : tuple of Attractor
    """

    reason: str
    n_starts: int
    max_size: float
    attractors: tuple[Attractor, ...]


def _box(
    box: str | tuple[ArrayLike, ArrayLike] | None, system: Map, x: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return bounds of the kicks from the box in which x + d must stay; None for all."""
    if box is None:
        return None
    if isinstance(box, str):
        if box != "range":
            raise InvalidInputError("box", repr(box), 'must be "range", a pair (low, high) or None')
        bounds = state_box(system)
        if bounds is None:
            raise InvalidInputError(
                "box", '"range"', "the map has no range that is known", "pass a pair (low, high)"
            )
        low, high = bounds
    else:
        if not isinstance(box, tuple | list) or len(box) != 2:
            raise InvalidInputError("box", type(box).__name__, 'must be "range", a pair (low, high) or None')
        sides = [np.array(real_array(side, "box")) for side in box]
        if any(side.shape not in ((), (1,), x.shape) or np.any(np.isnan(side)) for side in sides):
            raise InvalidInputError(
                "box", f"shapes {[side.shape for side in sides]}", f"sides are numbers, or {x.shape}, no NaN"
            )
        low, high = (np.broadcast_to(side, x.shape) for side in sides)
    # States on attractors may be outside by rounding.
    slack = 1e-9 * max(1.0, float(np.max(np.abs(x))))
    if not (np.all(x >= low - slack) and np.all(x <= high + slack)):
        raise InvalidInputError("box", "x is outside", "must hold the state that is kicked", "widen it")
    return np.minimum(low - x, 0.0), np.maximum(high - x, 0.0)


def _basis(subspace: ArrayLike | None, n: int) -> FloatArray | None:
    """Return orthonormal columns that span the allowed directions; None for all."""
    if subspace is None:
        return None
    columns = np.array(real_array(subspace, "subspace"))
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2 or columns.shape[0] != n:
        raise InvalidInputError(
            "subspace",
            f"shape {columns.shape}",
            f"must have shape (n_units = {n}, k)",
            "directions are columns",
        )
    if not np.all(np.isfinite(columns)):
        raise InvalidInputError("subspace", "NaN or infinite", "every entry must be finite")
    U, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    rank = int(np.sum(sizes > 1e-12 * sizes[0])) if len(sizes) and sizes[0] > 0.0 else 0
    if rank == 0:
        raise InvalidInputError(
            "subspace", "only zero columns", "must span at least one direction", "None allows every direction"
        )
    return np.asarray(U[:, :rank])


def _labeller(
    system: Map,
    attractors: FixedPoints | Basins | None,
    x: FloatArray,
    n_steps: int,
    rng: np.random.Generator,
) -> tuple[Labeller, tuple[FixedPoint, ...]]:
    """Return what labels states, with the known attractors in their order, and the unstable points."""
    known: Any = find_fixed_points(system, rng=rng) if attractors is None else attractors
    if not isinstance(known, FixedPoints) and not isinstance(getattr(known, "attractors", None), tuple):
        raise InvalidInputError(
            "attractors",
            type(known).__name__,
            "must be what find_fixed_points or basins returned",
            "leave it out",
        )
    points = known if isinstance(known, FixedPoints) else None
    seeds = [] if points is not None else [a.states[0] for a in known.attractors]
    labeller = Labeller(
        system, n_steps=n_steps, n_average=2000, max_period=64, rng=rng, fixed_points=points,
        escape_radius=1e6 * max([1.0, *(float(np.max(np.abs(s))) for s in [x, *seeds])]),
    )  # fmt: skip
    if points is None:
        for attractor in known.attractors:
            if attractor.is_point:
                labeller.add(attractor)
            else:
                labeller.label(attractor.states[:1])
        points = find_fixed_points(system, starts=np.array(seeds) if seeds else None, rng=rng)
    return labeller, points.saddles


def _origin(labeller: Labeller, x: FloatArray) -> tuple[int, FloatArray]:
    """Return the label of the attractor that x is on, and x polished."""
    own = int(labeller.label(x[None])[0])
    rule = "must be on an attractor"
    if own < 0:
        what = "escapes" if own == ESCAPED else "goes to no attractor"
        raise InvalidInputError("x", what, rule, "pass a state of an attractor that basins() found")
    attractor = labeller.attractors[own]
    if not attractor.is_point:
        return own, x
    gaps = np.max(np.abs(attractor.states - x), axis=1)
    nearest = int(np.argmin(gaps))
    if gaps[nearest] > 1e-6 * max(1.0, float(np.max(np.abs(x)))):
        raise InvalidInputError(
            "x",
            f"{gaps[nearest]:.3g} away from attractor {own}",
            rule,
            "pass attractors[i].states[0] of basins()",
        )
    return own, np.array(attractor.states[nearest])


def _target(labeller: Labeller, target: int | ArrayLike | None, own: int) -> int | None:
    """Return the label that the kick must lead to; None for any other than the own one."""
    if target is None:
        return None
    n_known = len(labeller.attractors)
    if not isinstance(target, int | np.integer):
        target = real_array(target, "target")
    if (np.ndim(target) == 0 and labeller.system.n_units > 1) or isinstance(target, int | np.integer):
        label = whole_number(target, "target", ESCAPED, n_known - 1)
    else:
        label = int(labeller.label(checked_states(target, "target", labeller.system.n_units)[:1])[0])
        if label < 0:
            raise InvalidInputError("target", "goes to no attractor", "must be a label or a state in a basin")
    if label == own:
        raise InvalidInputError("target", str(label), "is the attractor of x itself", "pass another, or None")
    return label


@one_blas_thread
def find_smallest_kick(
    system: Map,
    x: ArrayLike,
    u: ArrayLike | None = None,
    *,
    target: int | ArrayLike | None = None,
    subspace: ArrayLike | None = None,
    box: str | tuple[ArrayLike, ArrayLike] | None = None,
    attractors: FixedPoints | Basins | None = None,
    n_starts: int = 16,
    max_size: float | None = None,
    n_steps: int = 2000,
    tol: float = 1e-9,
    max_iterations: int = 25,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Kick | NoKick:
    r"""Search for the smallest kick d with which x + d leaves the basin of the attractor that x is on.

    The boundary of a basin is made of stable manifolds of saddles. That of a saddle s with the left unstable
    vectors L is the limit, for a rising horizon m, of the sets :math:`L\,(F^m(z) - s) = 0`. On each of them
    the shortest kick is found by projection onto the tangent space at :math:`z_0 = x + d`, whose normals are

    .. math:: n = L\, DF(z_{m-1}) \cdots DF(z_1)\, DF(z_0), \qquad z_{k+1} = F(z_k),

    from horizon to horizon until it changes no more. Every unstable fixed point with up to four unstable
    directions is asked; those with several are the edges at which basins meet that are no neighbours.

    Beside that, along a number of directions v (to saddles nearby, to other attractors, random ones) the
    first crossing r v of a boundary is bracketed by the labels of runs. Where it leads to a saddle that was
    not known, a cycle for example, that one is asked too; where it leads to none, or no saddle gave a kick,
    the direction is turned towards the normal, less far where that meets the boundary no earlier, until the
    kick is parallel to it. The shortest kick whose replay goes as it should is returned: an upper bound of
    the smallest one, which may be shorter.

    Parameters
    ----------
    system : Map
        A network, or any other map.
    x : array_like, shape (n_units,)
        A state on an attractor. A fixed point or state of a cycle is polished.
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous map.
    target : int or array_like, optional
        The attractor that the kick must lead to, as a label or as a state in its basin; -1 for escape. By
        default any but the own.
    subspace : array_like, shape (n_units, k), optional
        Columns that span the allowed kicks, such as W_in of a network; the whole space by default.
    box : "range" or tuple (low, high), optional
        x + d must stay in this box: the range of the activation (`state_box`), or numbers or arrays of shape
        (n_units,). Everywhere by default.
    attractors : FixedPoints or Basins, optional
        What the labels stand for: the stable points, or the attractors of `basins`, in their order. By
        default those of `find_fixed_points`, followed by others that turn up on the way.
    n_starts : int
        First directions. Default 16.
    max_size : float, optional
        How far to look along a direction; by default twice the diagonal of the box that the map sends into
        itself (4 times the distance of the attractors where none is known).
    n_steps : int
        Steps within which a run normally arrives. Default 2000.
    tol : float
        Relative width of the brackets, and of 1 - alignment at which a direction is not turned any more.
        Default 1e-9.
    max_iterations : int
        How often a direction of the second search is turned at most. Default 25.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    Kick or NoKick

    Raises
    ------
    InvalidInputError
        When x is on no attractor, target is no other attractor, the subspace is zero, or something has a
        wrong shape or range.

    Examples
    --------
    Two bits that do not know of each other: the nearer bit is set back by the distance to its middle.

    >>> from esntools.network import EchoStateNetwork
    >>> bits = EchoStateNetwork([[1.5, 0.0], [0.0, 2.0]])
    >>> kick = find_smallest_kick(bits, [0.8585596366, 0.9575040241])
    >>> round(kick.size, 6), kick.vector.round(6) + 0.0, kick.checked
    (0.85856, array([-0.85856,  0.     ]), True)

    References
    ----------
    The iteration is that of first-order reliability: A. M. Hasofer, N. C. Lind, J. Eng. Mech. Div. ASCE 100
    (1974) 111. Thresholds between attractors: P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519,
    doi:10.1007/s00422-021-00895-5.
    """
    held = autonomous(system, u)
    n = held.n_units
    states = checked_states(x, "x", n)
    if len(states) != 1:
        raise InvalidInputError("x", f"{len(states)} states", "must be one state")
    for place, value, least in (
        ("n_starts", n_starts, 1), ("n_steps", n_steps, 1), ("max_iterations", max_iterations, 0)
    ):  # fmt: skip
        whole_number(value, place, least)
    if not 1e-13 <= real_number(tol, "tol") <= 1e-3:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-13, 1e-3]", "leave it at 1e-9")
    if max_size is not None:
        max_size = positive_number(max_size, "max_size")
    basis, limits = _basis(subspace, n), _box(box, held, states[0])
    generator = seeded(rng)
    progress("smallest kick", 0.0)
    labeller, saddles = _labeller(held, attractors, states[0], n_steps, generator)
    own, origin = _origin(labeller, states[0])
    allowed = Allowed(n, basis, limits)
    search = Search(labeller, origin, own, _target(labeller, target, own), allowed)
    for point in saddles:
        if point.n_unstable > 1:
            search.corners.append(point.x)
        else:
            search.add(Cycle(np.asarray(point.x)[None], point.residual, point.eigenvalues))
    far = reach(search) if max_size is None else max_size
    hunt = Hunt(search, far, tol, generator)
    hunt.land(point_anchors(search.system, saddles), lambda label, f: progress(label, 0.6 * f))
    V = first_directions(search, n_starts, generator)
    grid = np.minimum(far, allowed.room(V))[:, None] * np.geomspace(_SMALLEST, 1.0, _RADII)
    low, high = search.scan(V, grid, grow=True)
    met = ~np.isnan(high)
    progress("smallest kick", 0.7)
    if met.any():
        rays = Rays(V[met], *search.cut(V[met], low[met], high[met], max(tol, LOOSE)))
        hunt.join(rays, max_iterations, lambda label, f: progress(label, 0.7 + 0.29 * f))
    progress("smallest kick", 1.0)
    if not hunt.found:
        where = "leads out of the basin" if search.target is None else f"leads to attractor {search.target}"
        reason = f"no kick along {len(V)} directions {where}"
        if len(labeller.attractors) == 1:
            reason = f"one attractor only was found: {reason}"
        return NoKick(reason, len(V), far, tuple(labeller.attractors))
    return _result(search, hunt.found, len(V) + hunt.n_anchors)


def _result(search: Search, found: Sequence[Candidate], n_starts: int) -> Kick:
    """Replay the kicks, shortest first, and return the first that does as it says."""
    labeller, x = search.labeller, search.x
    # A crossing is looked for a little beyond a landing too, and that may be outside the box.
    outside = search.allowed.excess(np.array([c.high * c.v for c in found]))
    found = [c for c, far in zip(found, outside) if far <= max(OUTSIDE, float(outside.min()))]
    found.sort(key=lambda c: c.high)
    V, sizes = np.array([c.v for c in found]), np.array([c.high for c in found])
    D = sizes[:, None] * V
    ends = labeller.label(np.concatenate([x + 0.999 * D, x + 1.001 * D])).reshape(2, -1)
    beyond = search.beyond(ends)
    good = ~beyond[0] & beyond[1]
    k = int(np.argmax(good)) if good.any() else 0
    best, notes = found[k], []
    if not good[k]:
        notes.append("the replay failed: the boundary is folded or too near to another one here")
    if best.saddle is None:
        notes.append("the boundary led to no fixed point or cycle that is known")
    if not best.alignment > 0.999:
        notes.append(
            "the kick is not parallel to the boundary's normal: a shorter one may be nearby, unless it leads "
            "to a corner where several boundaries meet"
        )
    return Kick(
        D[k], float(sizes[k]), search.own, int(ends[1, k]), x, best.alignment, best.saddle, best.multiplier,
        not beyond[0, k], bool(beyond[1, k]), best.iterations, n_starts,
        sizes[good] if good.any() else sizes, tuple(labeller.attractors), "; ".join(notes),
    )  # fmt: skip
