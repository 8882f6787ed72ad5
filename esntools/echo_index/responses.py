r"""Which responses there are: trajectories from many starts in a growing past, merged where they converge.

A pullback: all starts are put at time -T, driven by one past of the input up to time 0, and counted there,
for T = 64, 128, 256, ... Trajectories that have become equal to rounding go on as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import scipy.stats
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from esntools._typing import FloatArray, IntArray
from esntools.network import EchoStateNetwork
from esntools.simulation import drive, final_state

__all__ = ["Pullback", "Starts", "leading_exponents", "make_starts", "pullback", "track_boundary"]

#: Steps between two looks for trajectories that have become equal.
_STRIDE: Final = 16
_EQUAL: Final = 1e-13
_STRETCHES: Final = 10
_BATCHES: Final = 20


@final
@dataclass(frozen=True, eq=False)
class Starts:
    """Initial states: `n_random` independent uniform ones, then space-filling and adversarial ones."""

    states: FloatArray
    n_random: int


def make_starts(
    network: EchoStateNetwork, n_random: int, rng: np.random.Generator, extra: FloatArray | None = None
) -> Starts:
    """Return the initial states of a pullback, in the box of states."""
    n = network.n_units
    low, high = network.activation.value_bounds if network.activation.bounded else (-1.0, 1.0)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    rows = [rng.uniform(low, high, (n_random, n))]
    if n <= qmc.Sobol.MAXDIM:
        # Shifted by one random vector, so that the points do not depend on how SciPy scrambles.
        shares = (qmc.Sobol(n, scramble=False).random_base2(6) + rng.random(n)) % 1.0
        rows.append(low + (high - low) * shares)
    signs = [np.zeros((1, n)), np.ones((1, n)), -np.ones((1, n))]
    if n <= 6:
        signs.append(np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1).T)
    else:
        signs.append(rng.choice([-1.0, 1.0], (32, n)))
    if n <= 1000 and not network.is_sparse:
        values, vectors = np.linalg.eig(network.dense_W())
        for v in vectors[:, np.argsort(-values.real)[:8]].T:
            signs += [np.sign(part)[None, :] * s for part in (v.real, v.imag) for s in (1.0, -1.0)]
    for column in network.W_in.T[:8]:
        signs += [np.sign(column)[None, :], -np.sign(column)[None, :]]
    rows.append(middle + half * np.concatenate(signs))
    if extra is not None:
        rows.append(np.atleast_2d(extra))
    return Starts(np.concatenate(rows), n_random)


@final
@dataclass(frozen=True, eq=False)
class Pullback:
    """Where all starts are at time 0, those that have become equal being one.

    Attributes
    ----------
    past : int
        Steps from the starts to time 0.
    states : array (n_distinct, n_units)
        Distinct states at time 0, in the order of their groups.
    label : array (n_starts,) of int
        The group of each start.
    group : array (n_distinct,) of int
        The response to which each distinct state belongs: states that still converge belong to one.
    first : array (n_groups,) of int
        A start that leads to each group.
    unsettled : int
        Pairs of states that neither have met nor keep apart.
    escaped : int
        Starts that left every bound; their label is -1.
    """

    past: int
    states: FloatArray
    label: IntArray
    group: IntArray
    first: IntArray
    unsettled: int
    escaped: int

    @property
    def count(self) -> int:
        """The number of responses."""
        return len(self.first)


def _merged(x: FloatArray, direction: FloatArray) -> IntArray:
    """Return, for every row, the number of the class of rows that are equal to rounding."""
    key = x @ direction
    order = np.argsort(key, kind="stable")
    size = _EQUAL * (1.0 + float(np.abs(x).max(initial=0.0)))
    label = np.arange(len(x))
    # Equal rows have equal keys; a run of close keys is compared row by row with its first.
    start = 0
    for k in range(1, len(order)):
        row, lead = order[k], order[start]
        if key[row] - key[lead] <= 4.0 * size * math.sqrt(x.shape[1]) and bool(
            np.all(np.abs(x[row] - x[lead]) <= size)
        ):
            label[row] = label[lead]
        else:
            start = k
    return label


def pullback(network: EchoStateNetwork, u: FloatArray, starts: FloatArray, *, most: int = 512) -> Pullback:
    """Drive all starts by u (the past up to time 0) and group them by the response that they reach.

    Distances are compared for at most `most` distinct states.
    """
    direction = np.random.default_rng(0).normal(size=network.n_units)
    direction /= np.linalg.norm(direction)
    x = np.array(starts, dtype=np.float64)
    label: IntArray = np.arange(len(x))
    past, k = len(u), 0
    # Eleven looks at the distances divide the second half into ten stretches.
    looks = np.unique(np.linspace(past // 2, past, _STRETCHES + 1).astype(int)).tolist()
    stops = sorted({*range(_STRIDE, past, _STRIDE), *looks} - {0})
    gaps: list[FloatArray] = []
    for stop in stops:
        x = final_state(network, u[k:stop], x)
        k = stop
        gone = ~(np.abs(x).max(axis=1) < 1e9)
        x[gone] = 0.0
        same = _merged(x, direction)
        kept = np.setdiff1d(np.unique(same), np.flatnonzero(gone))
        if len(kept) < len(x):
            number = np.full(len(x), -1, dtype=np.intp)
            number[kept] = np.arange(len(kept))
            number = np.where(gone, -1, number[same])
            label = np.where(label >= 0, number[label], -1)
            x = x[kept]
            gaps = [g[np.ix_(kept, kept)] for g in gaps]
        if k in looks and 1 < len(x) <= most:
            gaps.append(cdist(x, x, "chebyshev"))
        elif len(x) > most:
            gaps = []
    group, unsettled = _groups(len(x), gaps)
    own = np.where(label >= 0, group[label], -1) if len(group) else label
    first = np.array([int(np.argmax(own == g)) for g in range(int(group.max(initial=-1)) + 1)], dtype=np.intp)
    return Pullback(past, x, own, group, first, unsettled, int(np.sum(own < 0)))


def _groups(n: int, gaps: list[FloatArray]) -> tuple[IntArray, int]:
    """Join states whose distance still shrinks at a rate that is certain; count pairs that are uncertain."""
    if n <= 1 or len(gaps) <= _STRETCHES:
        return np.arange(n), 0
    rates = np.diff(np.log(np.maximum(np.array(gaps), 1e-300)), axis=0)
    mean, error = rates.mean(axis=0), rates.std(axis=0, ddof=1) / math.sqrt(len(rates))
    t = float(scipy.stats.t.ppf(0.995, len(rates) - 1))
    # A distance that stays within bounds has a mean rate of zero, whatever its swings; one that tends to a
    # distance between two responses falls ever more slowly.
    falls = (mean < -t * error) & (rates[-3:].mean(axis=0) < 0.5 * mean)
    same = falls & (len(rates) * mean < -math.log(10.0))
    group = connected_components(same | np.eye(n, dtype=bool), directed=False)[1].astype(np.intp)
    apart = group[:, None] != group[None, :]
    uncertain = apart & (falls | ((gaps[-1] < 1e-6) & (mean < 0.0)))
    return group, int(np.sum(uncertain)) // 2


# -- exponents along given states -----------------------------------------------------------------------


def leading_exponents(
    network: EchoStateNetwork, states: FloatArray, u: FloatArray, k: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return the k leading exponents along states[0], states[1], ... and their 95 % intervals.

    states[t + 1] follows states[t] under u[t]; 20 batch means, the first tenth being left out.
    """
    n = network.n_units
    k = min(k, n)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(n, k)))[0]
    logs = np.empty((len(u), k))
    for t, row in enumerate(u):
        Q = network.jacobian_vector(states[t], Q, row)
        Q, R = np.linalg.qr(Q)
        with np.errstate(divide="ignore"):
            logs[t] = np.log(np.abs(np.diag(R)))
    used = logs[len(logs) // 10 :]
    batches = min(_BATCHES, len(used))
    size = len(used) // batches
    means = used[len(used) - size * batches :].reshape(batches, size, k).mean(axis=1)
    centre = means.mean(axis=0)
    half = np.zeros(k)
    if batches > 1:
        with np.errstate(invalid="ignore"):
            half = means.std(axis=0, ddof=1) / math.sqrt(batches) * scipy.stats.t.ppf(0.975, batches - 1)
    # An exponent of -inf, of a direction that the map annihilates, has no interval.
    half = np.where(np.isfinite(centre), half, 0.0)
    return centre, np.stack([centre - half, centre + half], axis=1)


# -- the boundary between two responses -----------------------------------------------------------------


def labels_of(
    network: EchoStateNetwork, x: FloatArray, u: FloatArray, targets: FloatArray, most: int
) -> IntArray:
    """Return which of the target trajectories each state approaches; -1 when none within `most` steps.

    targets[t, i] is response i when u[t] is about to come.
    """
    label = np.full(len(x), -1, dtype=np.intp)
    rows = np.arange(len(x))
    k, end = 0, min(most, len(u), len(targets) - 1)
    while k < end and len(rows):
        steps = min(_STRIDE, end - k)
        x = final_state(network, u[k : k + steps], x)
        k += steps
        gap = np.abs(x[:, None, :] - targets[k][None]).max(axis=2)
        apart = np.abs(targets[k][:, None] - targets[k][None]).max(axis=2)
        np.fill_diagonal(apart, math.inf)
        near = gap.argmin(axis=1)
        # Much nearer to one response than the responses are to each other.
        sure = gap[np.arange(len(x)), near] < 1e-2 * apart[near].min(axis=1)
        label[rows[sure]] = near[sure]
        rows, x = rows[~sure], x[~sure]
    return label


def track_boundary(
    network: EchoStateNetwork,
    u: FloatArray,
    targets: FloatArray,
    pair: tuple[int, int],
    *,
    ways: int = 24,
    apart: float = 1e-6,
    close: float = 1e-11,
    most: int = 2000,
) -> FloatArray | None:
    """Follow a state between two responses that goes to neither; return its states, or None.

    Two states, one going to each response, are brought together on the segment between them, moved on until
    they have parted to `apart`, and brought together again. The end of u serves for labels only: the states
    returned stop where a label can no longer be told.
    """
    low, high = targets[0, pair[0]], targets[0, pair[1]]
    path: list[FloatArray] = []
    t = 0
    while t < len(u):
        for _ in range(60):
            if float(np.abs(high - low).max()) < close:
                break
            shares = np.linspace(0.0, 1.0, ways + 2)[1:-1]
            points = low + shares[:, None] * (high - low)
            label = labels_of(network, points, u[t:], targets[t:], most)
            mine = np.flatnonzero(label != pair[0])
            if len(mine) == 0:
                low = points[-1]
                continue
            first = int(mine[0])
            if label[first] == -1:
                # Not decided before the series ends; nothing further can be said.
                return np.array(path) if path else None
            high = points[first]
            low = points[first - 1] if first > 0 else low
        else:
            return np.array(path) if path else None
        while t < len(u):
            path.append(0.5 * (low + high))
            both = network.step(np.array([low, high]), np.broadcast_to(u[t], (2, u.shape[1])))
            low, high = both
            t += 1
            if float(np.abs(high - low).max()) > apart:
                break
    return np.array(path)


def trajectories(network: EchoStateNetwork, u: FloatArray, x: FloatArray) -> FloatArray:
    """Return states[t, i], t = 0 .. len(u), from the states x[i]."""
    return np.concatenate([x[None], drive(network, u, x).states])


def closest_pair(states: FloatArray, shares: Sequence[float]) -> tuple[int, int]:
    """Return the two responses with the largest shares."""
    order = np.argsort(-np.asarray(shares), kind="stable")
    return int(min(order[:2])), int(max(order[:2]))
