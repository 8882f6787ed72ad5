r"""Thresholds of a designed network, and the drives for which they are what was asked for.

Around a vertex only the vertex and its successors are not saturated. With the others at 0, the drives
:math:`y = W x + b` of these few units obey a map of their own,

.. math:: y^+ = (1 - a)\, y + a\, (W_{RR}\, s(y) + b),

and a kick d of the whole state is the shift :math:`W_{R:}\, d` of them. So thresholds are found on maps of a
few dimensions, for all edges at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.optimize import brentq

from esntools._typing import BoolArray, FloatArray, IntArray
from esntools.errors import InvalidInputError
from esntools.excitable.design.scalar import ExcitableUnit, fold_drive
from esntools.excitable.design.weights import INHIBITION, Plan, sigmoid, weights_of

__all__ = ["METRICS", "Target", "Tuned", "leakage", "local_thresholds", "tune"]

METRICS: Final = ("input", "state", "drive")
#: Below it an edge is hardly different from no edge.
_LEAST_DRIVE: Final = 0.0
_ROUNDS: Final = 40


@final
@dataclass(frozen=True)
class Target:
    """What one edge is to need: a threshold, in a metric, under a name that messages use."""

    place: str
    threshold: float
    metric: str


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """Weights and what came of them; the rest in the order of ``plan.excitable``.

    `kicks` are the smallest state kicks, in the logistic form's coordinates, of the edges in that metric.
    """

    W: FloatArray
    drives: FloatArray
    thresholds: FloatArray
    kicks: FloatArray


@final
@dataclass(frozen=True, eq=False)
class _Local:
    """The small maps, one for each arc, padded to one size; the vertex comes first, then the arc's target."""

    units: IntArray  # (E, D), padded with 0
    there: BoolArray  # (E, D)
    W: FloatArray  # (E, D, D), zero where padded
    b: FloatArray  # (E, D), zero where padded
    rest: FloatArray  # (E, D)
    leak_rate: float
    width: float

    def step(self, Y: FloatArray, which: IntArray, pulse: FloatArray | float = 0.0) -> FloatArray:
        """Return the next drives of states (E', m, D) of the arcs `which`."""
        S = sigmoid(Y + pulse, self.width)
        driven = np.matmul(S, np.swapaxes(self.W[which], 1, 2)) + self.b[which][:, None, :]
        return np.asarray((1.0 - self.leak_rate) * Y + self.leak_rate * driven)


def _local_maps(plan: Plan, W: FloatArray, drives: FloatArray, leak_rate: float, width: float) -> _Local:
    arcs = plan.excitable
    successors: dict[int, list[int]] = {}
    for arc in arcs:
        successors.setdefault(arc.source, []).append(arc.target)
    size = 1 + max((len(s) for s in successors.values()), default=0)
    units = np.zeros((len(arcs), size), dtype=np.intp)
    there = np.zeros((len(arcs), size), dtype=bool)
    for e, arc in enumerate(arcs):
        near = [arc.source, arc.target, *(k for k in successors[arc.source] if k != arc.target)]
        units[e, : len(near)], there[e, : len(near)] = near, True
    small = W[units[:, :, None], units[:, None, :]] * (there[:, :, None] & there[:, None, :])
    b = plan.biases[units] * there
    # Newton on y = W s(y) + b, from where compensation has put the rest states.
    rests = {(a.source, a.target): ExcitableUnit(p, width).rest for a, p in zip(arcs, drives)}
    Y = np.zeros(units.shape)
    for e, arc in enumerate(arcs):
        Y[e, 0] = 1.0 + plan.biases[arc.source]
        for d in range(1, size):
            if there[e, d]:
                Y[e, d] = rests[arc.source, int(units[e, d])]
    for _ in range(30):
        S = sigmoid(Y, width)
        excess = np.einsum("eij,ej->ei", small, S) + b - Y
        slopes = S * (1.0 - S) / width
        J = small * slopes[:, None, :] - np.eye(size)
        move = np.linalg.solve(J, -excess[:, :, None])[:, :, 0]
        Y = Y + move
        if np.max(np.abs(move), initial=0.0) < 1e-13:
            break
    return _Local(units, there, small, b, Y, leak_rate, width)


def _lands(local: _Local, Y: FloatArray, which: IntArray) -> BoolArray:
    """Return for states (E', m, D) whether the arc's target is the unit that takes over."""
    a = local.leak_rate
    found = np.zeros(Y.shape[:2], dtype=bool)
    rows = np.arange(len(Y))
    for k in range(round(600 / a)):
        Y = local.step(Y, which)
        if k % 8:
            continue
        on = sigmoid(Y, local.width) > 0.5
        taken = on[:, :, 1:].any(axis=2) & ~on[:, :, 0]
        # Only a unit far above the others counts: of two that rise together one will still go down.
        first = np.argmax(Y[:, :, 1:], axis=2) == 0
        at_rest = np.max(np.abs(Y - local.rest[which][:, None, :]), axis=2) < 1e-3
        found[rows] = taken & first
        undecided = ~(taken | at_rest).all(axis=1)
        if not undecided.any():
            break
        rows, which, Y = rows[undecided], which[undecided], Y[undecided]
    return found


def _first_landing(
    local: _Local,
    kicked: Callable[[FloatArray, IntArray], FloatArray],
    guess: FloatArray,
    which: IntArray,
    spread: float,
    tol: float,
) -> FloatArray:
    """Return for every arc the size at which its kick begins to land, to `tol` of it; NaN for none.

    The search begins in guess (1 +- spread) and widens where that does not hold it.
    """
    low, high = guess * (1.0 - spread), guess * (1.0 + spread)
    for side, outwards in ((high, 1.0), (low, -1.0)):
        amiss, factor = np.arange(len(which)), spread
        for _ in range(12):
            lands = _lands(local, kicked(side[amiss, None], which[amiss]), which[amiss])[:, 0]
            amiss = amiss[lands != (outwards > 0.0)]
            if len(amiss) == 0:
                break
            factor = min(2.0 * factor, 0.4)
            (low if outwards > 0.0 else high)[amiss] = side[amiss]
            side[amiss] *= 1.0 + outwards * factor
        else:
            high[amiss] = np.nan
    alive = np.flatnonzero(np.isfinite(high))
    parts = np.linspace(0.0, 1.0, 9)[1:-1]
    for _ in range(_ROUNDS):
        alive = alive[(high - low)[alive] > tol * high[alive]]
        if len(alive) == 0:
            break
        sizes = low[alive, None] + (high - low)[alive, None] * parts
        lands = _lands(local, kicked(sizes, which[alive]), which[alive])
        first = np.where(lands.any(axis=1), lands.argmax(axis=1), len(parts))
        edges = np.column_stack([low[alive], sizes, high[alive]])
        low[alive], high[alive] = edges[np.arange(len(alive)), first], edges[np.arange(len(alive)), first + 1]
    return 0.5 * (low + high)


def _normals(local: _Local, Y: FloatArray, which: IntArray) -> FloatArray:
    """Return the boundary's normals at states (E', D) on it, by carrying the target's covector back."""
    a, orbit = local.leak_rate, [Y]
    nearest, least = np.zeros(len(Y), dtype=np.intp), np.full(len(Y), np.inf)
    for k in range(round(400 / a)):
        following = local.step(orbit[-1][:, None, :], which)[:, 0]
        speed = np.max(np.abs(following - orbit[-1]), axis=1)
        nearest[speed < least] = k
        least = np.minimum(least, speed)
        orbit.append(following)
        if np.all(k > nearest + 20 / a):
            break
    n = np.zeros_like(Y)
    for k in range(int(nearest.max(initial=0)), -1, -1):
        active = nearest >= k
        n[nearest == k, 1] = 1.0
        S = sigmoid(orbit[k], local.width)
        slopes = S * (1.0 - S) / local.width
        pulled = (1.0 - a) * n + a * slopes * np.einsum("eij,ei->ej", local.W[which], n)
        n[active] = pulled[active]
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-300)
    return n


def local_thresholds(
    plan: Plan,
    W: FloatArray,
    drives: FloatArray,
    leak_rate: float,
    width: float,
    targets: tuple[Target, ...],
    *,
    spread: float = 0.3,
    tol: float = 1e-7,
) -> tuple[FloatArray, FloatArray]:
    """Return every excitable arc's threshold in its metric, and its kick (n_arcs, n_units) in metric "state".

    Both are in the logistic network's coordinates. The search begins at the targets.
    """
    arcs, n_arcs = plan.excitable, len(plan.excitable)
    thresholds, kicks = np.full(n_arcs, np.nan), np.zeros((n_arcs, plan.n_units))
    if n_arcs == 0:
        return thresholds, kicks
    local = _local_maps(plan, W, drives, leak_rate, width)
    n_out = np.bincount([arc.source for arc in arcs], minlength=plan.n_units)
    several = []
    for e, (arc, target) in enumerate(zip(arcs, targets)):
        if target.metric == "state":
            kicks[e] = W[arc.target]
        if n_out[arc.source] == 1:
            # One way out: the closed form is exact.
            unit = ExcitableUnit(float(drives[e]), width)
            thresholds[e] = single_threshold(unit, target.metric, leak_rate, W[arc.target])
        else:
            several.append(e)
    for metric in METRICS:
        which = np.array([e for e in several if targets[e].metric == metric], dtype=np.intp)
        if len(which) == 0:
            continue
        guess = np.array([targets[e].threshold for e in which])
        if metric == "state":
            rows = W[local.units] * local.there[:, :, None]
            thresholds[which], kicks[which] = _state(local, rows, guess, which, spread, tol)
            continue

        def kicked(sizes: FloatArray, which: IntArray, metric: str = metric) -> FloatArray:
            Y = np.repeat(local.rest[which][:, None, :], sizes.shape[1], axis=1)
            shift = np.zeros_like(Y)
            shift[:, :, 1] = sizes
            return Y + shift if metric == "drive" else local.step(Y, which, shift)

        thresholds[which] = _first_landing(local, kicked, guess, which, spread, tol)
    kicks *= (thresholds / np.maximum(np.linalg.norm(kicks, axis=1), 1e-300))[:, None]
    return thresholds, kicks


def _state(
    local: _Local, rows: FloatArray, guess: FloatArray, asked: IntArray, spread: float, tol: float
) -> tuple[FloatArray, FloatArray]:
    """Return the smallest free kicks: along the normal of the boundary where they meet it.

    Each kick is turned towards the normal, half as far where that is no shorter, until nothing is gained.
    """

    def met(normal: FloatArray, at: IntArray, guess: FloatArray, spread: float) -> tuple[FloatArray, ...]:
        """Return sizes and directions of the kicks, and the boundary's normals where they meet it."""
        which = asked[at]
        d = np.einsum("ed,edn->en", normal, rows[which])
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        shifts = np.zeros((len(local.rest), local.rest.shape[1]))
        shifts[which] = np.einsum("edn,en->ed", rows[which], d)

        def kicked(sizes: FloatArray, which: IntArray) -> FloatArray:
            return np.asarray(local.rest[which][:, None, :] + sizes[:, :, None] * shifts[which][:, None, :])

        size = _first_landing(local, kicked, guess, which, spread, tol)
        start = local.rest[which] + np.where(np.isfinite(size), size, guess)[:, None] * shifts[which]
        return size, d, _normals(local, start, which)

    everywhere = np.arange(len(asked))
    # A kick that moves the target alone: along the target's own row the others move almost as far.
    normal = np.zeros((len(asked), local.rest.shape[1]))
    for e, which in enumerate(asked):
        alone = np.zeros(local.rest.shape[1])
        alone[1] = 1.0
        normal[e] = np.linalg.lstsq(rows[which] @ rows[which].T, alone, rcond=None)[0]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    size, d, turned = met(normal, everywhere, 2.0 * guess, 0.4)
    share = np.ones(len(asked))
    for _ in range(24):
        angle = np.linalg.norm(turned - normal, axis=1)
        # The size is off by the square of the angle.
        left = np.flatnonzero(np.isfinite(size) & ((share * angle) ** 2 > 0.1 * tol))
        if len(left) == 0:
            break
        trial = normal[left] + share[left, None] * (turned - normal)[left]
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        widest = float(np.max((share * angle)[left]))
        found = met(trial, left, size[left], max(4.0 * tol, min(0.3, widest**2)))
        better = found[0] < size[left]
        at = left[better]
        size[at], d[at], turned[at] = (part[better] for part in found)
        normal[at], share[at] = trial[better], np.minimum(1.0, 2.0 * share[at])
        share[left[~better]] *= 0.5
    return size, d


def single_threshold(unit: ExcitableUnit, metric: str, leak_rate: float, row: FloatArray) -> float:
    """Return the closed form for a vertex with one way out; `row` is the target's row of W."""
    if metric == "drive":
        return unit.gap
    if metric == "state":
        return unit.kick(row)
    return unit.pulse(leak_rate)


def _drive_for(threshold: float, metric: str, leak_rate: float, row: FloatArray, width: float) -> float:
    """Return the drive at which the closed form is `threshold`; NaN where no drive gives it."""
    low, high = _LEAST_DRIVE, fold_drive(width) * (1.0 - 1e-12)

    def excess(drive: float) -> float:
        found = single_threshold(ExcitableUnit(drive, width), metric, leak_rate, row)
        return min(found, 10.0 * threshold) - threshold

    if not excess(low) >= 0.0:
        return math.nan
    return float(brentq(excess, low, high, xtol=1e-13)) if excess(high) < 0.0 else high


def first_drives(
    plan: Plan, targets: tuple[Target, ...], aim: FloatArray, W: FloatArray, leak_rate: float, width: float
) -> FloatArray:
    """Return the drives at which the closed forms are `aim`."""
    drives = np.zeros(len(targets))
    for e, (arc, target) in enumerate(zip(plan.excitable, targets)):
        drives[e] = _drive_for(float(aim[e]), target.metric, leak_rate, W[arc.target], width)
        if math.isnan(drives[e]):
            raise _out_of_reach(target, leak_rate, W[arc.target], width)
    return drives


def leakage(plan: Plan, targets: tuple[Target, ...], leak_rate: float, width: float) -> float:
    """Return the most that the successors of a vertex take from the drive of one another."""
    W = -plan.inhibition
    np.fill_diagonal(W, 1.0)
    drives = first_drives(plan, targets, np.array([t.threshold for t in targets]), W, leak_rate, width)
    totals = np.zeros(plan.n_units)
    for arc, p in zip(plan.excitable, drives):
        totals[arc.source] += float(sigmoid(np.array(ExcitableUnit(float(p), width).rest), width))
    return float(np.max(totals)) * INHIBITION


def tune(plan: Plan, targets: tuple[Target, ...], leak_rate: float, width: float, tol: float) -> Tuned:
    """Return the weights for which every edge's threshold is its target, to `tol` of it.

    The drives start from the closed forms and are corrected by how far the thresholds found are off: what the
    other successors of a vertex change is a correction of some per cent.
    """
    arcs = plan.excitable
    wanted = np.array([t.threshold for t in targets])
    aim, error = wanted.copy(), 1.0
    W, thresholds = -plan.inhibition, np.zeros(len(arcs))
    np.fill_diagonal(W, 1.0)
    best, since = math.inf, 0
    for rounds in range(15):
        try:
            drives = first_drives(plan, targets, aim, W, leak_rate, width)
        except InvalidInputError:
            if rounds == 0:
                raise
            break
        rests = np.array([ExcitableUnit(float(p), width).rest for p in drives])
        W = weights_of(plan, drives, rests, width)
        thresholds, kicks = local_thresholds(
            plan,
            W,
            drives,
            leak_rate,
            width,
            targets,
            spread=min(0.3, error),
            tol=max(0.2 * tol, 0.02 * error),
        )
        off = thresholds / wanted
        if not np.all(np.isfinite(off)):
            e = int(np.flatnonzero(~np.isfinite(off))[0])
            raise InvalidInputError(
                targets[e].place, f"{targets[e].threshold:.6g}",
                "no kick of about this size leads to the target: other edges of the vertex are in the way",
                "ask for thresholds that differ less at one vertex",
            )  # fmt: skip
        error = float(np.max(np.abs(off - 1.0), initial=0.0))
        best, since = (error, 0) if error < 0.7 * best else (best, since + 1)
        if since == 4:
            break
        if error <= tol:
            return Tuned(W, drives, thresholds, kicks)
        aim = aim / off
    e = int(np.argmax(np.abs(thresholds / wanted - 1.0)))
    raise InvalidInputError(
        targets[e].place, f"{targets[e].threshold:.6g}", "no weights were found that give this threshold "
        f"(the nearest gave {thresholds[e]:.6g})", "ask for thresholds that differ less at one vertex",
    )  # fmt: skip


def _out_of_reach(target: Target, leak_rate: float, row: FloatArray, width: float) -> InvalidInputError:
    low = _LEAST_DRIVE
    while math.isinf(single_threshold(ExcitableUnit(low, width), target.metric, leak_rate, row)):
        low += 1e-3
    most = single_threshold(ExcitableUnit(low, width), target.metric, leak_rate, row)
    return InvalidInputError(
        target.place, f"{target.threshold:.6g}",
        f"must stay below about {most:.3g} at leak rate {leak_rate:g} (metric {target.metric!r})",
        "a network's edges have narrow basins, so that they differ from what is no edge",
    )  # fmt: skip
