r"""Where a search for periodic orbits starts: close recurrences, random segments, mixtures, stabilised flows.

A seed is a guess of all p states, so that a batch has shape (B, p, n).
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from esntools._typing import FloatArray
from esntools.maps import state_box
from esntools.orbits.orbit import PeriodicOrbit
from esntools.orbits.shooting import Shooting

__all__ = ["along_runs", "beside_flips", "mixtures", "orthogonal_choices", "stabilised"]

# Without a box, starting states are drawn from cubes of these half-widths.
_HALF_WIDTHS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

#: The most numbers kept of the runs in which recurrences are looked for.
_RUN_NUMBERS: Final = 4_000_000


def random_states(shooting: Shooting, count: int, rng: np.random.Generator) -> FloatArray:
    """Return states (count, n) from all over the box of the map, and at all distances from its centre."""
    n = shooting.n_units
    box = state_box(shooting.system)
    if box is None:
        scale = np.resize(_HALF_WIDTHS, count)[:, None]
        return np.asarray(scale * rng.uniform(-1.0, 1.0, (count, n)))
    centre, half = 0.5 * (box[0] + box[1]), 0.5 * (box[1] - box[0])
    # In many dimensions uniform states are all alike: saturated, and far from the centre.
    scale = np.resize(np.linspace(0.05, 1.0, 20), count)[:, None]
    return np.asarray(centre + scale * half * rng.uniform(-1.0, 1.0, (count, n)))


def along_runs(
    shooting: Shooting, starts: FloatArray | None, n_starts: int, rng: np.random.Generator
) -> FloatArray:
    r"""Return segments of runs: early ones, and those of the closest recurrences \|x_{k+p} - x_k\|.

    References
    ----------
    D. Auerbach et al., Phys. Rev. Lett. 58 (1987) 2387, doi:10.1103/PhysRevLett.58.2387.
    """
    p, n = shooting.period, shooting.n_units
    X = random_states(shooting, n_starts, rng)
    if starts is not None:
        chosen = starts[np.sort(rng.choice(len(starts), min(len(starts), n_starts), replace=False))]
        X = np.vstack([chosen, X])
    seeds = []
    with np.errstate(over="ignore", invalid="ignore"):
        seeds.append(shooting.segments(X))
        X = _alive(seeds[0][:, -1])
        n_runs = max(4, min(len(X), n_starts // 4, _RUN_NUMBERS // (n * max(64, 3 * p))))
        # Every so many rather than the first: the states are ordered by their distance from the centre.
        X = X[:: max(1, len(X) // n_runs)][:n_runs] if len(X) else X
        n_rounds = max(3, -(-64 // p)) if len(X) else 0
        runs, last = [], X
        for k in range(2 * n_rounds):
            last = _alive(last)
            if len(last) == 0:
                break
            segment = shooting.segments(last)
            if k in (1, 3, 7):
                seeds.append(segment)
            if k >= n_rounds:
                gap = np.max(np.abs(segment[:, -1] - last), axis=1)
                runs.append((gap, segment))
            last = segment[:, -1]
    if runs:
        gaps = np.concatenate([gap for gap, _ in runs])
        segments = np.concatenate([segment for _, segment in runs])
        closest = np.argsort(np.where(np.isfinite(gaps), gaps, np.inf), kind="stable")[: 4 * n_starts]
        # Nearest first, but no state twice: a run on a cycle would fill the list with one orbit.
        kept = _distinct(segments[closest].reshape(len(closest), -1), n_starts)
        seeds.insert(0, segments[closest[kept]])
    return _finite(np.concatenate(seeds))


def _alive(x: FloatArray) -> FloatArray:
    return np.asarray(x[np.all(np.abs(x) < 1e6, axis=1)])


def _finite(X: FloatArray) -> FloatArray:
    small = np.all(np.isfinite(X), axis=(1, 2)) & (np.max(np.abs(X), axis=(1, 2)) < 1e7)
    return np.asarray(X[small])


def _distinct(rows: FloatArray, at_most: int) -> list[int]:
    seen: set[bytes] = set()
    kept = []
    for i, row in enumerate(np.round(rows[:, :64], 5) + 0.0):
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            kept.append(i)
            if len(kept) == at_most:
                break
    return kept


def mixtures(
    shooting: Shooting,
    orbits: list[PeriodicOrbit],
    shift: int,
    n_starts: int,
    round_: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return midpoints of the orbits found, in every relative phase; later other ratios, triples, noise."""
    p, n = shooting.period, shooting.n_units
    if not orbits:
        return shooting.segments(random_states(shooting, n_starts, rng))
    states = np.stack([np.tile(o.states, (p // o.period, 1)) for o in orbits])
    phases = np.arange(0, p, shift)
    K = len(states)
    n_pairs = K * K * len(phases)
    chosen = np.arange(n_pairs) if n_pairs <= 4 * n_starts else rng.integers(0, n_pairs, 4 * n_starts)
    i, j, s = chosen // (K * len(phases)), chosen // len(phases) % K, phases[chosen % len(phases)]
    useful = (i < j) | ((i == j) & (s > 0) & (2 * s <= p))
    i, j, s = i[useful][:n_starts], j[useful][:n_starts], s[useful][:n_starts]
    other = np.stack([np.roll(states[b], c, axis=0) for b, c in zip(j, s)]) if len(i) else states[:0]
    t = np.full(len(i), 0.5) if round_ == 2 else rng.choice([0.2, 0.35, 0.5, 0.65, 0.8], len(i))
    out = [(1.0 - t)[:, None, None] * states[i] + t[:, None, None] * other]
    if round_ > 2:
        members = rng.integers(0, K, (n_starts, 3))
        rolls = rng.choice(phases, (n_starts, 3))
        weights = rng.dirichlet(np.ones(3), n_starts)
        for row, roll, weight in zip(members, rolls, weights):
            parts = [w * np.roll(states[k], r, axis=0) for k, r, w in zip(row, roll, weight)]
            out.append(np.sum(parts, axis=0)[None])
    base = states[rng.integers(0, K, n_starts // 2)]
    size = max(0.1, float(np.std(states))) * rng.uniform(0.05, 2.0, (len(base), 1, 1))
    out.append(base + size * rng.standard_normal((len(base), p, n)))
    out.append(shooting.segments(random_states(shooting, n_starts // 2, rng)))
    return _finite(np.concatenate(out))


def beside_flips(shooting: Shooting, orbits: list[PeriodicOrbit]) -> FloatArray:
    """Return guesses of the doubled orbits beside every orbit of half the period with a multiplier < -1.

    At a flip the doubled orbit leaves along the eigenvector of that multiplier; how far it has got is not
    known, so that several distances are tried.
    """
    p, n = shooting.period, shooting.n_units
    out = [np.empty((0, p, n))]
    for orbit in orbits:
        if 2 * orbit.period != p or n > 1000:
            continue
        flips = orbit.multipliers[(orbit.multipliers.imag == 0.0) & (orbit.multipliers.real < -1.0)].real
        if len(flips) == 0:
            continue
        half = Shooting(shooting.system, shooting.u[: orbit.period])
        J = half.jacobians(orbit.states[None])[0]
        M = np.eye(n)
        for factor in J:
            M = factor @ M
        values, vectors = np.linalg.eig(M)
        for mu in flips[:4]:
            v = vectors[:, np.argmin(np.abs(values - mu))].real
            v = v / max(float(np.max(np.abs(v))), 1e-300)
            # v is a direction at the last state; carried twice around it comes back with two changes of sign.
            along, w = [], v
            for factor in (*J, *(-J)):
                w = factor @ w
                w = w / max(float(np.max(np.abs(w))), 1e-300)
                along.append(w)
            turned = np.array(along)
            turned[orbit.period :] = -turned[: orbit.period]
            scale = max(1.0, float(np.max(np.abs(orbit.states))))
            size = scale * np.geomspace(0.01, 1.0, 9)
            out.append(np.tile(orbit.states, (2, 1)) + size[:, None, None] * turned)
    return np.concatenate(out)


def orthogonal_choices(
    shooting: Shooting, orbits: list[PeriodicOrbit], at_most: int = 48
) -> list[FloatArray]:
    """Return the stabilising matrices C: signed permutations for one and two units, else from known orbits.

    For an orbit with G = DF^p - I = Q B (polar), C = -Q' makes C G = -B stable, there and at orbits alike.

    References
    ----------
    J. J. Crofts, R. L. Davidchack, SIAM J. Sci. Comput. 28 (2006) 1275, arXiv:nlin/0502013.
    """
    n = shooting.n_units
    if n <= 2:
        return [
            np.diag(signs)[list(order)]
            for order in itertools.permutations(range(n))
            for signs in itertools.product((1.0, -1.0), repeat=n)
        ]
    out = [np.eye(n), -np.eye(n)]
    for orbit in orbits:
        part = Shooting(shooting.system, shooting.u[: orbit.period])
        M = np.eye(n)
        for factor in part.jacobians(orbit.states[None])[0]:
            M = factor @ M
        M = np.linalg.matrix_power(M, shooting.period // orbit.period)
        if not np.all(np.isfinite(M)):
            continue
        left, _, right = np.linalg.svd(M - np.eye(n))
        C = -(left @ right).T
        if all(np.max(np.abs(C - known)) > 0.3 for known in out) and len(out) < at_most:
            out.append(C)
    return out


def stabilised(
    shooting: Shooting,
    x: FloatArray,
    choices: list[FloatArray],
    *,
    stiffness: float,
    max_iterations: int = 40,
    tol: float = 1e-4,
) -> FloatArray:
    r"""Return guesses (B, p, n) where the stabilised flows settle that start at the states x (B, n).

    For every matrix C the flow :math:`\dot x = C\,(F^p(x) - x)` has some of the periodic points as its
    attractors; it is followed by the semi-implicit step
    :math:`x \leftarrow x + (\beta \lVert g \rVert C^\top - DF^p + I)^{-1} g`, :math:`g = F^p(x) - x`, which
    becomes Newton's method near one.

    References
    ----------
    R. L. Davidchack, Y.-C. Lai, Phys. Rev. E 60 (1999) 6172, doi:10.1103/PhysRevE.60.6172; matrices:
    P. Schmelcher, F. K. Diakonos, Phys. Rev. Lett. 78 (1997) 4733, doi:10.1103/PhysRevLett.78.4733.
    """
    p, n = shooting.period, shooting.n_units
    C = np.repeat(np.stack(choices), len(x), axis=0)
    x = np.tile(x, (len(choices), 1))
    done: list[FloatArray] = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(max_iterations):
            # The start is the last state: the residual is zero but for the step that should close the orbit.
            Y = np.concatenate([shooting.segments(x)[:, : p - 1], x[:, None]], axis=1)
            g = shooting.images(Y)[:, -1] - x
            size = np.linalg.norm(g, axis=1)
            settled = size <= tol * np.maximum(1.0, np.max(np.abs(x), axis=1))
            done.append(Y[settled])
            keep = ~settled & np.isfinite(size) & (np.max(np.abs(x), axis=1) < 1e4) & (size < 1e6)
            x, g, size, C, Y = x[keep], g[keep], size[keep], C[keep], Y[keep]
            if len(x) == 0:
                break
            M = np.broadcast_to(np.eye(n), (len(x), n, n))
            J = shooting.jacobians(Y, exact=False)
            for j in range(p):
                M = J[:, j] @ M
            A = stiffness * size[:, None, None] * C.transpose(0, 2, 1) - M + np.eye(n)
            ok = np.all(np.isfinite(A), axis=(1, 2))
            ok[ok] &= np.abs(np.linalg.det(A[ok])) > 1e-200
            x, g, C, A = x[ok], g[ok], C[ok], A[ok]
            if len(x) == 0:
                break
            x = x + np.linalg.solve(A, g[:, :, None])[:, :, 0]
    return _finite(np.concatenate(done)) if done else np.empty((0, p, n))
