"""Shortest kicks onto the stable manifolds around a state, and what lies just beyond each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, Progress, no_progress
from esntools.basins.attractors import Cycle
from esntools.basins.horizons import Allowed, Anchor, Horizons, Landing, anchors
from esntools.basins.rays import Rays, Search, turn
from esntools.fixed_points import FixedPoint
from esntools.maps import Map

__all__ = ["Candidate", "Hunt", "Probes", "land_all", "point_anchors", "probe"]

# Where along a kick the labels are looked at; an earlier crossing is met by one of the first.
_FRACTIONS: Final = np.array([0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.96, 0.99, 0.9995, 1.0005, 1.002])
# How far beside a corner of several basins the wedges between its sheets are looked for.
_ASIDE: Final = (2e-4, 5e-3, 3e-2, 0.12)
# Pairs of directions of one landing between which thin layers are looked for, and how closely.
_PAIRS: Final = 8
_HALVINGS: Final = 12
# Directions with the same end and as far aside that are looked at closely.
_ALIKE: Final = 2
# How much nearer to the corner they are taken then.
_CLOSER: Final = (1.0 / 8.0, 1.0 / 64.0)
# Kicks that are narrowed down for one target.
_MOST: Final = 8


def point_anchors(system: Map, points: Sequence[FixedPoint]) -> list[Anchor]:
    """Return the anchors of unstable fixed points (those with few unstable directions)."""
    out: list[Anchor] = []
    for point in points:
        out += anchors(system, Cycle(np.asarray(point.x)[None], point.residual, point.eigenvalues))
    return out


def land_all(
    horizons: Horizons, x: FloatArray, among: Sequence[Anchor], allowed: Allowed, progress: Progress
) -> list[Landing]:
    """Return the shortest kicks from x onto the stable manifolds of the anchors, by rising size."""
    found: list[Landing] = []
    for k, anchor in enumerate(among):
        if np.max(np.abs(anchor.x - x)) > 1e-9:
            found += horizons.land(x, anchor, allowed)
        progress("smallest kick", (k + 1) / len(among))
    found.sort(key=lambda landing: float(np.linalg.norm(landing.kick)))
    distinct: list[Landing] = []
    for landing in found:
        size = float(np.linalg.norm(landing.kick))
        if all(np.linalg.norm(landing.kick - other.kick) > 1e-6 * size for other in distinct):
            distinct.append(landing)
    return distinct


@final
@dataclass(frozen=True, eq=False)
class Probes:
    """Directions of kicks, with the labels along them.

    Attributes
    ----------
    V : ndarray, shape (n, n_units)
        Unit directions.
    sizes : ndarray, shape (n,)
        Where each meets the manifold that it was made for.
    labels : ndarray of int, shape (n, n_fractions)
    owners : ndarray of int, shape (n,)
        Positions in `landings`.
    landings : tuple of Landing
    """

    V: FloatArray
    sizes: FloatArray
    labels: IntArray
    owners: IntArray
    landings: tuple[Landing, ...]

    def crossings(self, beyond: BoolArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the rows on which `beyond` (of the labels) holds somewhere, with brackets of the first."""
        rows = np.flatnonzero(beyond.any(axis=1) & ~beyond[:, 0])
        first = np.argmax(beyond[rows], axis=1)
        low, high = self.sizes[rows] * _FRACTIONS[first - 1], self.sizes[rows] * _FRACTIONS[first]
        order = np.argsort(high, kind="stable")
        return rows[order], low[order], high[order]


def _directions(landing: Landing, allowed: Allowed, rng: np.random.Generator) -> FloatArray:
    """Return unit directions: of the kick, and beside it into the wedges of an edge."""
    v = landing.kick / np.linalg.norm(landing.kick)
    k = len(landing.normals)
    if k == 1:
        return np.asarray(v[None])
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * k)).reshape(k, -1).T / np.sqrt(k)
    weights = np.vstack([np.eye(k), -np.eye(k), signs, rng.standard_normal((8 * k, k))])
    # Directions that are alike here, and such as leave the edge's own saddle alike: there the wedges that
    # are thin here are wide.
    sides = np.vstack([weights @ landing.normals, weights @ landing.sides.T])
    sides = allowed.project(landing.kick + sides) - landing.kick if allowed.basis is not None else sides
    sides /= np.maximum(np.linalg.norm(sides, axis=1, keepdims=True), 1e-300)
    D = landing.kick + float(np.linalg.norm(landing.kick)) * np.vstack([aside * sides for aside in _ASIDE])
    D = np.vstack([landing.kick[None], allowed.project(D)])
    return np.asarray(D / np.linalg.norm(D, axis=1, keepdims=True))


def _telling(labels: IntArray, aside: IntArray) -> IntArray:
    """Return the rows of a landing that are worth a closer look: two for each label and distance aside."""
    keep = [0]
    for value in np.unique(labels):
        for step in np.unique(aside):
            keep += np.flatnonzero((labels == value) & (aside == step))[:_ALIKE].tolist()
    return np.unique(np.array(keep, dtype=np.intp))


def _layers(
    label: Callable[[FloatArray], IntArray],
    x: FloatArray,
    V: FloatArray,
    owners: IntArray,
    sizes: FloatArray,
    ends: IntArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, IntArray]:
    """Halve the angles between directions of one landing with different ends; return those of a third."""
    pairs: list[tuple[int, int]] = []
    for owner in np.unique(owners):
        own = rng.permutation(np.flatnonzero(owners == owner))
        apart = [(int(a), int(b)) for a, b in itertools.pairwise(own) if ends[a] != ends[b]]
        pairs += apart[:_PAIRS]
    if not pairs:
        return V[:0], owners[:0]
    left, right = (np.array([pair[k] for pair in pairs], dtype=np.intp) for k in (0, 1))
    A, B, place, found = V[left], V[right], left, []
    a, b = ends[left], ends[right]
    for _ in range(_HALVINGS):
        middle = A + B
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        m = label(x + 1.002 * sizes[place, None] * middle)
        third = (m != a) & (m != b)
        found += [(middle[k], int(place[k])) for k in np.flatnonzero(third)]
        is_a = m == a
        A, B = np.where(is_a[:, None], middle, A), np.where(is_a[:, None], B, middle)
        a, b = np.where(is_a, m, a), np.where(is_a, b, m)
    if not found:
        return V[:0], owners[:0]
    return np.array([v for v, _ in found]), np.array([k for _, k in found], dtype=np.intp)


def probe(
    label: Callable[[FloatArray], IntArray],
    x: FloatArray,
    landings: Sequence[Landing],
    allowed: Allowed,
    rng: np.random.Generator,
    wanted: Sequence[int] = (),
) -> Probes:
    """Label states along the kicks of the landings, and along others beside those onto edges.

    Where a wanted label is met by none of them, thin layers are looked for between two others.
    """
    rows = [_directions(landing, allowed, rng) for landing in landings]
    owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows]).astype(np.intp)
    V = np.vstack(rows) if rows else np.zeros((0, len(x)))
    sizes = np.array([float(np.linalg.norm(landings[int(i)].kick)) for i in owners])
    if len(V) > len(landings):
        ends = label(x + 1.002 * sizes[:, None] * V)
        kept = []
        for k, own in enumerate(rows):
            first = int(np.argmax(owners == k))
            aside = (np.arange(len(own)) - 1) * len(_ASIDE) // max(1, len(own) - 1)
            kept.append(first + _telling(ends[first : first + len(own)], aside))
        chosen = np.concatenate(kept)
        if not set(wanted) <= set(ends.tolist()):
            extra, places = _layers(label, x, V, owners, sizes, ends, rng)
            chosen = np.append(chosen, len(V) + np.arange(len(extra)))
            V, owners = np.vstack([V, extra]), np.append(owners, owners[places])
            sizes = np.append(sizes, sizes[places])
        V, owners, sizes = V[chosen], owners[chosen], sizes[chosen]
    labels = np.zeros((len(V), len(_FRACTIONS)), dtype=np.intp)
    if len(V):
        radii = sizes[:, None] * _FRACTIONS
        labels = label((x + radii[:, :, None] * V[:, None, :]).reshape(-1, len(x))).reshape(radii.shape)
    return Probes(V, sizes, labels, owners, tuple(landings))


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """A direction with a narrow bracket of its first crossing, and the unstable state that it leads to."""

    v: FloatArray
    low: float
    high: float
    alignment: float
    saddle: FloatArray | None
    multiplier: float
    n_unstable: int
    iterations: int


class Hunt:
    """Kicks beyond the boundary of one state's basin: from the saddles first, then from rays."""

    def __init__(self, search: Search, far: float, tol: float, rng: np.random.Generator) -> None:
        self.search, self.far, self.tol, self.rng = search, far, tol, rng
        self.horizons = Horizons(search.system)
        self.found: list[Candidate] = []
        self.n_anchors = 0

    def _label(self, X: FloatArray) -> IntArray:
        return self.search.labeller.label(X, grow=True)

    def land(self, among: Sequence[Anchor], progress: Progress) -> None:
        """Look for the shortest kicks onto the stable manifolds of the anchors."""
        search = self.search
        self.n_anchors += len(among)
        landings = [
            landing
            for landing in land_all(self.horizons, search.x, among, search.allowed, progress)
            if np.linalg.norm(landing.kick) <= self.far
        ]
        wanted = [] if search.target is None else [search.target]
        probes = probe(self._label, search.x, landings, search.allowed, self.rng, wanted)
        self.found += narrowed(search, probes, self.tol)

    def join(self, rays: Rays, max_iterations: int, progress: Progress) -> None:
        """Follow the rays to saddles that were not asked yet; turn those that lead to none."""
        search = self.search
        known = len(search.saddles)
        lost = self._lost(rays)
        new = search.saddles[known:]
        if new:
            among: list[Anchor] = []
            for edge in new:
                among += anchors(search.system, edge.cycle)
            self.land(among, no_progress)
        sound = [c.high for c in self.found if c.alignment > 0.999]
        loose = [c for c in self.found if not c.alignment > 0.999]
        if not sound or any(c.high < 0.999 * min(sound) for c in loose):
            # A crossing that no landing explains: from here the labels must show the way.
            lost = np.arange(len(rays.V))
        if len(lost):
            V = np.vstack([rays.V[lost], *(c.v[None] for c in loose)])
            low = np.append(rays.low[lost], [c.low for c in loose])
            some = Rays(V, low, np.append(rays.high[lost], [c.high for c in loose]))
            turn(search, some, self.tol, max_iterations, progress)
            some.low, some.high = search.cut(some.V, some.low, some.high, self.tol)
            some.look(search, np.arange(len(some.V)))
            for k in np.flatnonzero(some.kept):
                saddle = some.saddle[k]
                self.found.append(
                    Candidate(
                        some.V[k], float(some.low[k]), float(some.high[k]), float(some.alignment[k]),
                        None if saddle is None else saddle.states,
                        np.nan if saddle is None else saddle.multiplier, 0 if saddle is None else 1,
                        int(some.iterations[k]),
                    )
                )  # fmt: skip
        progress("smallest kick", 1.0)

    def _lost(self, rays: Rays) -> IntArray:
        """Return the rays whose boundary leads to no saddle, and not past a corner either."""
        search, rows = self.search, np.arange(len(rays.V))
        rays.look(search, rows)
        return np.array([k for k in rows if rays.saddle[k] is None and not search.cornered[k]], dtype=np.intp)


def narrowed(search: Search, probes: Probes, tol: float) -> list[Candidate]:
    """Cut the first crossings along the probes, the best few of them, to a relative width."""
    beyond = search.beyond(probes.labels)
    rows, low, high = probes.crossings(beyond)
    # For each landing the first crossing, and the first after which the kick stays beyond for a while: the
    # wedges at an edge may be thin.
    best: dict[tuple[int, bool], int] = {}
    for place, row in enumerate(rows):
        for wide in {False, bool(beyond[row, -2:].all())}:
            best.setdefault((int(probes.owners[row]), wide), place)
    places = np.array(sorted(set(best.values())), dtype=np.intp)[:_MOST]
    if len(places) == 0:
        return []
    V, low, high = probes.V[rows[places]], low[places], high[places]
    owners = probes.owners[rows[places]]
    low, high = search.cut(V, low, high, tol)
    nearer = _nearer(search, probes, V, low, high, owners)
    if len(nearer[0]):
        more = search.cut(*nearer[:3], tol)
        V, owners = np.vstack([V, nearer[0]]), np.append(owners, nearer[3])
        low, high = np.append(low, more[0]), np.append(high, more[1])
    out = []
    for k in range(len(V)):
        landing = probes.landings[owners[k]]
        # An earlier crossing belongs to another sheet of the boundary.
        own = abs(float(high[k]) / float(np.linalg.norm(landing.kick)) - 1.0) < 1e-2
        cosine = float(V[k] @ landing.kick) / float(np.linalg.norm(landing.kick))
        out.append(
            Candidate(
                V[k], float(low[k]), float(high[k]), landing.alignment * min(cosine, 1.0) if own else np.nan,
                landing.anchor.cycle if own else None, landing.anchor.multiplier if own else np.nan,
                len(landing.normals) if own else 0, landing.turns,
            )
        )  # fmt: skip
    return out


def _nearer(
    search: Search, probes: Probes, V: FloatArray, low: FloatArray, high: FloatArray, owners: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Return directions nearer to the edge that the shortest is at, where they meet the boundary too."""
    k = int(np.argmin(high))
    landing = probes.landings[owners[k]]
    kick, size = landing.kick, float(np.linalg.norm(landing.kick))
    empty = V[:0], low[:0], high[:0], owners[:0]
    if len(landing.normals) == 1 or abs(high[k] / size - 1.0) > 1e-2:
        return empty
    # All sides again: around a focus the wedges turn from scale to scale.
    sides = probes.V[probes.owners == owners[k]] - kick / size
    extra = np.vstack([kick / size + share * sides for share in _CLOSER])
    extra /= np.linalg.norm(extra, axis=1, keepdims=True)
    a, b = search.scan(extra, np.tile(size * np.array([0.9995, 1.0005, 1.002]), (len(extra), 1)))
    met = (a > 0.0) & (b < 1.001 * size)
    if not met.any():
        return empty
    a, b = search.cut(extra[met], a[met], b[met], 1e-5)
    best = np.argsort(b, kind="stable")[:2]
    return extra[met][best], a[best], b[best], np.full(len(best), owners[k])
