"""Thresholds between attractors for kicks of the state, all pairs together; subspaces of switching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, real_number, seeded, whole_number
from esntools.basins.attractors import Attractor
from esntools.basins.horizons import OUTSIDE, Allowed, Anchor, Horizons
from esntools.basins.landings import Candidate, Hunt, Probes, land_all, narrowed, point_anchors, probe
from esntools.basins.rays import LOOSE, Rays, Search, first_directions, reach
from esntools.basins.runs import Runner
from esntools.errors import InvalidInputError, nearest_name
from esntools.excitable.input_kicks import phases_of
from esntools.excitable.landscape import Landscape, checked_landscape
from esntools.maps import Map, checked_map, state_box
from esntools.threads import one_blas_thread

__all__ = ["kick_thresholds", "switching_subspaces"]

_METRICS: Final = ("state", "range", "subspace")
_RADII: Final = np.geomspace(1e-4, 1.0, 20)


class _Labels:
    """A landscape as what labels states."""

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape
        self.runner = Runner(landscape.system)
        self.system: Map = self.runner.system
        self.attractors: Sequence[Attractor] = landscape.attractors

    def label(self, X: FloatArray, *, grow: bool = True) -> IntArray:
        return self.landscape.label(X)


class _Source:
    """A state that is kicked: what is known of the boundaries around it, for all targets."""

    def __init__(
        self, labels: _Labels, k: int, phase: int, allowed: Allowed, rng: np.random.Generator
    ) -> None:
        self.labels, self.k, self.phase, self.allowed, self.rng = labels, k, phase, allowed, rng
        self.x: FloatArray = np.array(labels.attractors[k].states[phase])
        self.probes: Probes | None = None

    def look(
        self, horizons: Horizons, among: Sequence[Anchor], targets: Sequence[int], progress: Progress
    ) -> None:
        landings = land_all(horizons, self.x, among, self.allowed, progress)
        self.probes = probe(self.labels.label, self.x, landings, self.allowed, self.rng, targets)

    def search(self, target: int) -> Search:
        return Search(self.labels, self.x, self.k, target, self.allowed)

    def from_saddles(self, target: int, tol: float) -> list[Candidate]:
        """Return the kicks into the target's basin that the saddles gave."""
        assert self.probes is not None
        return narrowed(self.search(target), self.probes, tol)

    def replayed(self, target: int, found: Sequence[Candidate]) -> list[tuple[Candidate, bool]]:
        """Return the kicks with whether 1.001 times each leads to the target, and 0.999 times does not."""
        if not found:
            return []
        D = np.array([c.high * c.v for c in found])
        ends = self.labels.label(np.concatenate([self.x + 0.999 * D, self.x + 1.001 * D])).reshape(2, -1)
        return list(zip(found, ((ends[0] != target) & (ends[1] == target)).tolist()))

    def from_rays(
        self, target: int, landscape: Landscape, n_starts: int, tol: float, max_iterations: int
    ) -> list[Candidate]:
        """Return kicks along directions that are turned, as the labels show the way."""
        search = self.search(target)
        for point in landscape.saddles:
            if point.n_unstable > 1:
                search.corners.append(point.x)
        hunt = Hunt(search, reach(search), tol, self.rng)
        V = first_directions(search, n_starts, self.rng)
        grid = np.minimum(hunt.far, self.allowed.room(V))[:, None] * _RADII
        low, high = search.scan(V, grid)
        met = ~np.isnan(high)
        if not met.any():
            return []
        rays = Rays(V[met], *search.cut(V[met], low[met], high[met], max(tol, LOOSE)))
        hunt.join(rays, max_iterations, no_progress)
        return hunt.found


def _checked_pairs(pairs: Any, n: int) -> list[tuple[int, int]]:
    if pairs is None:
        return [(i, j) for i in range(n) for j in range(n) if i != j]
    if not isinstance(pairs, list | tuple | np.ndarray):
        raise InvalidInputError("pairs", repr(pairs), "must be pairs (source, target)")
    out = []
    for pair in pairs:
        if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
            raise InvalidInputError("pairs", repr(pair), "must be pairs (source, target)")
        i, j = (whole_number(value, "pairs", 0, n - 1) for value in pair)
        if i == j:
            raise InvalidInputError("pairs", repr(pair), "source and target must differ")
        out.append((i, j))
    return out


def _checked_subspaces(
    metric: str, subspaces: Sequence[ArrayLike] | None, landscape: Landscape
) -> tuple[FloatArray, ...] | None:
    if metric != "subspace":
        if subspaces is not None:
            raise InvalidInputError("subspaces", "given", f"has no meaning in the metric {metric!r}")
        return None
    K, n = len(landscape), landscape.system.n_units
    given = subspaces if isinstance(subspaces, list | tuple) else None
    if given is None or len(given) != K:
        what = type(subspaces).__name__ if given is None else f"{len(given)} subspaces"
        raise InvalidInputError(
            "subspaces", what, f"one for each of the {K} attractors is needed", "call switching_subspaces"
        )
    out = []
    for k, subspace in enumerate(given):
        columns = np.array(real_array(subspace, f"subspaces[{k}]"))
        columns = columns[:, None] if columns.ndim == 1 else columns
        if columns.ndim != 2 or columns.shape[0] != n or not np.all(np.isfinite(columns)):
            raise InvalidInputError(
                f"subspaces[{k}]", f"shape {columns.shape}", f"must be finite, of shape (n_units = {n}, k)"
            )
        U, sizes, _ = np.linalg.svd(columns, full_matrices=False)
        keep = sizes > 1e-12 * sizes[0] if len(sizes) and sizes[0] > 0.0 else np.zeros(len(sizes), np.bool_)
        out.append(np.asarray(U[:, keep]))
    return tuple(out)


@one_blas_thread
def kick_thresholds(
    landscape: Landscape,
    *,
    metric: str = "state",
    subspaces: Sequence[ArrayLike] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    n_starts: int = 8,
    tol: float = 1e-6,
    max_iterations: int = 15,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], ...]:
    r"""Search for the smallest kick of the state from every attractor into the basin of every other one.

    .. math:: \delta(i \to j) = \inf \{\|d\|_2 : p_i + d \in \text{basin of } j,\; d \text{ allowed}\}

    The stable manifold of every unstable fixed point is asked once from every attractor, as in
    `find_smallest_kick`; labels on both sides of the shortest kicks onto it say which pairs it serves. An
    attractor that is no neighbour is entered at an edge, the stable manifold of a point with several unstable
    directions. Pairs that no point serves are searched for along directions that are turned. From a cycle the
    least over its states is taken, of more than eight over eight of them.

    Parameters
    ----------
    landscape : Landscape
        What `find_landscape` returned.
    metric : {"state", "range", "subspace"}
        Which kicks are allowed: all (default), those that stay in the box that the map sends into itself, or
        those in a subspace at each attractor.
    subspaces : sequence of ndarray, shape (n_units, k), optional
        For the metric ``"subspace"`` the columns that span it, for every attractor.
    pairs : sequence of tuple of int, optional
        (source, target); by default all.
    n_starts : int
        First directions of the second search. Default 8.
    tol : float
        Relative width of the final brackets. Default 1e-6.
    max_iterations : int
        How often a direction of the second search is turned at most. Default 15.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    tuple of dict
        One for every pair with a kick, sorted by source and target: ``metric``, ``source``, ``target``,
        ``threshold`` (an upper bound: found; the kick itself leads to the target), ``lower`` (0: nothing is
        proved here), ``checked`` (replayed: 1.001 times the kick lands in the target, 0.999 times does not;
        false only where a kick that passes is more than twice as long), ``kick`` (list), ``alignment`` (with
        the normal of the boundary; None where it is not known), ``saddle`` (position in
        ``landscape.saddles``, or None), ``direct`` (the smallest such kick across the stable manifold of a
        saddle with one unstable direction; larger than the threshold where an edge is nearer; None where none
        was found), ``note``; from a cycle ``phase``, the position of the state on it.

    Raises
    ------
    InvalidInputError
        When the metric is not known, a subspace is missing or has the wrong shape, or a number is out of its
        range.

    Examples
    --------
    Two bits that do not know of each other: the nearer one is set back alone, or both together.

    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> space = find_landscape(EchoStateNetwork([[1.5, 0.0], [0.0, 2.0]]))
    >>> found = kick_thresholds(space)
    >>> [(c["target"], round(c["threshold"], 4)) for c in found if c["source"] == 0]
    [(1, 0.9575), (2, 0.8586), (3, 1.2861)]

    References
    ----------
    P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519, doi:10.1007/s00422-021-00895-5 (thresholds).
    """
    checked_landscape(landscape)
    if not isinstance(metric, str) or metric not in _METRICS:
        near = nearest_name(metric, _METRICS) if isinstance(metric, str) else ""
        raise InvalidInputError("metric", repr(metric), f"must be among {', '.join(_METRICS)}", near)
    spans = _checked_subspaces(metric, subspaces, landscape)
    wanted = _checked_pairs(pairs, len(landscape))
    whole_number(n_starts, "n_starts")
    whole_number(max_iterations, "max_iterations", 0)
    if not 1e-13 <= real_number(tol, "tol") <= 1e-3:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-13, 1e-3]", "leave it at 1e-6")
    box = state_box(landscape.system) if metric == "range" else None
    if metric == "range" and box is None:
        raise InvalidInputError("metric", "'range'", "the map has no range that is known", "use 'state'")
    generator = seeded(rng)
    labels = _Labels(landscape)
    horizons = Horizons(labels.system)
    among = point_anchors(horizons.system, landscape.fixed_points.saddles)
    sources = sorted({i for i, _ in wanted})
    out: list[dict[str, Any]] = []
    for done, i in enumerate(sources):
        attractor = landscape.attractors[i]
        targets = [j for source, j in wanted if source == i]
        best: dict[int, dict[str, Any]] = {}
        phases = phases_of(len(attractor.states)) if attractor.is_point else []
        for phase in phases:
            x = attractor.states[phase]
            basis = None if spans is None else spans[i]
            if basis is not None and basis.shape[1] == 0:
                continue
            limits = None
            if box is not None:
                limits = np.minimum(box[0] - x, 0.0), np.maximum(box[1] - x, 0.0)
            source = _Source(labels, i, phase, Allowed(len(x), basis, limits), generator)
            source.look(horizons, among, targets, _part(progress, done / len(sources), 0.7 / len(sources)))
            for j in targets:
                found = source.replayed(j, source.from_saddles(j, tol))
                if not any(good and c.alignment > 0.99 for c, good in found):
                    more = source.from_rays(j, landscape, n_starts, tol, max_iterations)
                    found += source.replayed(j, more)
                if found:
                    # A crossing is looked for a little beyond the landing too, and that may be outside.
                    outside = source.allowed.excess(np.array([c.high * c.v for c, _ in found]))
                    if outside.min() <= OUTSIDE:
                        found = [pair for pair, far in zip(found, outside) if far <= OUTSIDE]
                    chosen, good = _chosen(found)
                    row = _connection(source, j, chosen, good, metric, landscape)
                    if outside.min() > OUTSIDE:
                        much = float(source.allowed.excess(chosen.high * chosen.v))
                        some = f"it leaves the range by {much:.2g}"
                        row["note"] = "; ".join(filter(None, [row["note"], some]))
                    across = [c.high for c, good in found if good and c.n_unstable == 1]
                    row["direct"] = float(min(across)) if across else None
                    if attractor.period != 1:
                        row["phase"] = phase
                    if len(phases) < len(attractor.states):
                        some = f"{len(phases)} of the {len(attractor.states)} states of the cycle were kicked"
                        row["note"] = "; ".join(filter(None, [row["note"], some]))
                    if j not in best or row["threshold"] < best[j]["threshold"]:
                        best[j] = row
        out += [best[j] for j in sorted(best)]
        progress("kicks of the state", (done + 1) / len(sources))
    return tuple(out)


def _part(progress: Progress, start: float, width: float) -> Progress:
    return lambda _, fraction: progress("kicks of the state", start + width * fraction)


def _chosen(found: Sequence[tuple[Candidate, bool]]) -> tuple[Candidate, bool]:
    """Return the shortest kick whose replay goes as it should; a far shorter one in a thin layer instead."""
    shortest = min(found, key=lambda pair: pair[0].high)
    replayed = [pair for pair in found if pair[1]]
    if not replayed:
        return shortest
    best = min(replayed, key=lambda pair: pair[0].high)
    return shortest if shortest[0].high < 0.5 * best[0].high else best


def _connection(
    source: _Source, target: int, best: Candidate, checked: bool, metric: str, landscape: Landscape
) -> dict[str, Any]:
    notes = [] if checked else ["the replay failed: the target's basin is a thin layer there"]
    if np.isnan(best.alignment) or best.alignment < 0.999:
        notes.append("a shorter kick may be nearby: this one is not parallel to the boundary's normal")
    saddle = None
    if best.saddle is not None:
        gaps = [float(np.max(np.abs(best.saddle - s.x))) for s in landscape.saddles]
        if len(best.saddle) == 1 and gaps and min(gaps) < 1e-6:
            saddle = int(np.argmin(gaps))
            if landscape.saddles[saddle].n_unstable > 1:
                notes.append("the basins meet at an edge: the target is no neighbour here")
    return {
        "metric": metric, "source": source.k, "target": target, "threshold": float(best.high), "lower": 0.0,
        "checked": checked, "kick": (best.high * best.v).tolist(),
        "alignment": None if np.isnan(best.alignment) else float(best.alignment), "saddle": saddle,
        "note": "; ".join(notes),
    }  # fmt: skip


def switching_subspaces(
    network: Map,
    landscape: Landscape,
    u_or_pulses: ArrayLike,
    *,
    states: ArrayLike | None = None,
    rest: ArrayLike | None = None,
    share: float = 0.99,
) -> tuple[FloatArray, ...]:
    r"""Return at every attractor the subspace in which inputs displace the state from it.

    The displacements :math:`G(u, x) - p_i` are collected, as rows, and their leading singular directions
    (about the attractor, not about the mean) are kept until they hold a share of the sum of squares. With the
    states of a driven run those are the states right after an input that differs from rest, wherever the
    state before was at attractor i: nearer to it than a tenth of the distance to the nearest other one, and
    in its basin. Else, or where the run gives none, every row is applied once at the attractor.

    Parameters
    ----------
    network : Map
        With inputs.
    landscape : Landscape
        Of the network at the input `rest`.
    u_or_pulses : array_like, shape (n, n_inputs)
        The inputs of the run; or pulses, each one step long, which are added to `rest`.
    states : array_like, shape (n, n_units), optional
        States of the run: ``states[k]`` is the one after input k.
    rest : array_like, shape (n_inputs,), optional
        The input between pulses. Default 0.
    share : float
        Default 0.99.

    Returns
    -------
    tuple of ndarray, shape (n_units, k)
        Orthonormal columns, for every attractor; no column where nothing displaces the state.

    Raises
    ------
    InvalidInputError
        When a shape is wrong or the share is not in (0, 1].

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> bits = EchoStateNetwork([[1.5, 0.0], [0.0, 2.0]], W_in=[[1.0], [0.0]])
    >>> abs(switching_subspaces(bits, find_landscape(bits), [[1.0], [-1.0]])[0]).round(3).tolist()
    [[1.0], [0.0]]

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2.
    """
    system = checked_map(network)
    checked_landscape(landscape, system.n_units)
    if system.n_inputs == 0:
        raise InvalidInputError("network", "no inputs", "inputs must displace the state")
    u = np.array(real_array(u_or_pulses, "u_or_pulses"))
    if u.ndim == 1 and system.n_inputs == 1:
        u = u[:, None]
    if u.ndim != 2 or u.shape[1] != system.n_inputs or len(u) == 0 or not np.all(np.isfinite(u)):
        raise InvalidInputError(
            "u_or_pulses", f"shape {u.shape}", f"must be finite, of shape (n, n_inputs = {system.n_inputs})"
        )
    if not 0.0 < real_number(share, "share") <= 1.0:
        raise InvalidInputError("share", str(share), "must lie in (0, 1]")
    quiet = np.zeros(system.n_inputs) if rest is None else np.atleast_1d(np.array(real_array(rest, "rest")))
    if quiet.shape != (system.n_inputs,) or not np.all(np.isfinite(quiet)):
        raise InvalidInputError(
            "rest", f"shape {quiet.shape}", f"must be finite, of shape ({system.n_inputs},)"
        )
    K, n = len(landscape), system.n_units
    driven: list[FloatArray] = [np.zeros((0, n))] * K
    inputs = quiet + np.unique(u, axis=0)
    if states is not None:
        X = np.array(real_array(states, "states"))
        if X.shape != (len(u), n) or not np.all(np.isfinite(X)):
            raise InvalidInputError("states", f"shape {X.shape}", f"must be finite, of shape {(len(u), n)}")
        driven = _driven_displacements(landscape, u, X, quiet)
        inputs = np.unique(u, axis=0)
    inputs = inputs[np.any(inputs != quiet, axis=1)]
    out = []
    for attractor, rows in zip(landscape.attractors, driven):
        if len(rows) == 0 and len(inputs):
            p = attractor.states[0]
            # From a cycle: against where it would have been without the pulse.
            after = system.step(np.broadcast_to(p, (len(inputs), n)), inputs)
            rows = after - system.step(p, quiet)
        out.append(_leading(rows, share, n))
    return tuple(out)


def _driven_displacements(
    landscape: Landscape, u: FloatArray, X: FloatArray, quiet: FloatArray
) -> list[FloatArray]:
    """Return for every attractor the states of a run right after inputs, less those without them."""
    kicked = np.flatnonzero(np.any(u[1:] != quiet, axis=1)) + 1
    before = X[kicked - 1]
    centres = np.vstack([a.states if a.is_point else a.states[:1] for a in landscape.attractors])
    owners = np.repeat(
        np.arange(len(landscape)), [len(a.states) if a.is_point else 1 for a in landscape.attractors]
    )
    gaps = np.linalg.norm(before[:, None, :] - centres[None], axis=2)
    near = np.argmin(gaps, axis=1) if len(centres) else np.zeros(len(before), dtype=np.intp)
    out = []
    for k, attractor in enumerate(landscape.attractors):
        others = centres[owners != k]
        limit = np.inf
        if len(others):
            limit = 0.1 * float(np.min(np.linalg.norm(others - attractor.states[0], axis=1)))
        rows = np.flatnonzero((owners[near] == k) & (gaps[np.arange(len(near)), near] < limit))
        rows = rows[landscape.label(before[rows]) == k] if len(rows) else rows
        out.append(X[kicked[rows]] - landscape.system.step(centres[near[rows]]))
    return out


def _leading(rows: FloatArray, share: float, n: int) -> FloatArray:
    if len(rows) == 0:
        return np.zeros((n, 0))
    _, sizes, V = np.linalg.svd(rows, full_matrices=False)
    if not sizes[0] > 1e-12:
        return np.zeros((n, 0))
    held = np.cumsum(sizes**2) / np.sum(sizes**2)
    k = int(np.searchsorted(held, share - 1e-12)) + 1
    k = min(k, int(np.sum(sizes > 1e-9 * sizes[0])))
    return np.asarray(V[:k].T)
