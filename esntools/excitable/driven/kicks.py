r"""The smallest kicks between responses at many times of a series, all searched together.

As `esntools.basins.find_smallest_kick`, with runs under the input that comes: along a direction the first
crossing into the target's basin is bracketed; the pair of states on both sides is followed until it parts,
and the direction in which it parts, carried back along the run by the transposed Jacobians, is the normal of
the boundary. The direction is turned towards the normal until they are parallel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, Progress
from esntools.excitable.driven.results import NonautonomousSaddle
from esntools.excitable.driven.series import Series

__all__ = ["Found", "Rows", "find_state_kicks", "input_kicks", "sides_of"]

_RADII: Final = 24
_SMALLEST: Final = 1e-4
_LOOSE: Final = 1e-6
#: The two sides of a bracket are followed until they are this far apart, relative to the state.
_APART: Final = 1e-3
_LONGEST: Final = 4000
_NUMBERS: Final = 2**24
#: A direction is given up where its kick is so much longer than the best one.
_HOPELESS: Final = 1.5


def _unit(V: FloatArray) -> FloatArray:
    return np.asarray(V / np.linalg.norm(V, axis=-1, keepdims=True))


class Rows:
    """Rays: the source, target and time of each, its direction, and the bracket of its first crossing."""

    def __init__(
        self, source: IntArray, target: IntArray, time: IntArray, V: FloatArray, low: FloatArray,
        high: FloatArray,
    ) -> None:  # fmt: skip
        self.source, self.target, self.time, self.V = source, target, time, V
        self.low, self.high = low, high
        self.alignment = np.full(len(source), np.nan)
        self.active = np.ones(len(source), dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: IntArray) -> Rows:
        out = Rows(
            self.source[rows], self.target[rows], self.time[rows], self.V[rows], self.low[rows],
            self.high[rows],
        )  # fmt: skip
        out.alignment, out.active = self.alignment[rows], self.active[rows]
        return out

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        out = Rows(
            *(np.concatenate([getattr(p, name) for p in parts])
              for name in ("source", "target", "time", "V", "low", "high"))
        )  # fmt: skip
        out.alignment = np.concatenate([p.alignment for p in parts])
        out.active = np.concatenate([p.active for p in parts])
        return out

    def groups(self) -> dict[tuple[int, int, int], list[int]]:
        """Return the rows of every (source, target, time), those with the shortest kick first."""
        out: dict[tuple[int, int, int], list[int]] = {}
        for row in np.argsort(self.high, kind="stable").tolist():
            out.setdefault((int(self.source[row]), int(self.target[row]), int(self.time[row])), []).append(
                row
            )
        return out

    def best(self) -> Rows:
        """Return the shortest one of every group."""
        return self.take(np.array([rows[0] for rows in self.groups().values()], dtype=np.intp))


@dataclass(frozen=True, eq=False)
class Found:
    """The shortest kicks, which of them were replayed, and what share of the states tried goes nowhere."""

    best: Rows | None
    checked: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    unresolved: float = 0.0
    pulse: IntArray | None = None


class Search:
    """The rays of a series; `place` says where a kick leads, `basis` spans the allowed ones."""

    def __init__(
        self, series: Series, basis: FloatArray | None, pairs: frozenset[tuple[int, int]] | None = None
    ) -> None:
        self.series, self.basis, self.pairs = series, basis, pairs
        #: Of the states of the first scan: the share that approaches no response.
        self.unresolved = 0.0

    def place(self, rows: Rows, R: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return the states (n_rows, k, n_units) after kicks of the sizes R (n_rows, k), and their times."""
        x = self.series.curves[rows.time, rows.source]
        X = x[:, None, :] + R[:, :, None] * rows.V[:, None, :]
        return X, np.broadcast_to(rows.time[:, None], R.shape)

    def labels(self, rows: Rows, R: FloatArray) -> IntArray:
        X, times = self.place(rows, R)
        return self.series.label(X.reshape(-1, X.shape[-1]), times.ravel()).reshape(R.shape)

    def project(self, V: FloatArray) -> FloatArray:
        return V if self.basis is None else np.asarray(V @ self.basis @ self.basis.T)

    def scan(self, rows: Rows, R: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return brackets of the first crossing at rising sizes R; NaN where there is none."""
        beyond = self.labels(rows, R) == rows.target[:, None]
        first, k = np.argmax(beyond, axis=1), np.arange(len(rows))
        high = np.where(beyond.any(axis=1), R[k, first], np.nan)
        low = np.where(first > 0, R[k, np.maximum(first - 1, 0)], 0.0)
        return np.where(np.isnan(high), np.nan, low), high

    def cut(self, rows: Rows, width: FloatArray | float) -> None:
        """Narrow the brackets to a relative width."""
        wanted = np.broadcast_to(np.asarray(width, dtype=np.float64), (len(rows),))
        for _ in range(60):
            left = np.flatnonzero(rows.high - rows.low > wanted * rows.high)
            if len(left) == 0:
                return
            part = rows.take(left)
            sections = int(np.clip(48 // len(left), 3, 15))
            weights = np.arange(1, sections + 1) / (sections + 1)
            inner = part.low[:, None] + weights * (part.high - part.low)[:, None]
            a, b = self.scan(part, inner)
            missed = np.isnan(b)
            rows.low[left] = np.where(missed, inner[:, -1], np.where(a > 0.0, a, part.low))
            rows.high[left] = np.where(missed, part.high, b)

    def normals(self, rows: Rows) -> FloatArray:
        """Return the unit normals (their part in the subspace) at the crossings; zero where there is none."""
        n = self.series.n_units
        out = np.zeros((len(rows), n))
        some = max(1, _NUMBERS // (2 * n * min(_LONGEST, self.series.n_steps)))
        for first in range(0, len(rows), some):
            part = np.arange(first, min(first + some, len(rows)))
            out[part] = self._normals(rows.take(part))
        out = self.project(out)
        sizes = np.linalg.norm(out, axis=1, keepdims=True)
        out = np.divide(out, sizes, out=np.zeros_like(out), where=sizes > 0.0)
        side = np.sign(np.einsum("kn,kn->k", out, rows.V))
        return np.asarray(out * np.where(side == 0.0, 1.0, side)[:, None])

    def _normals(self, rows: Rows) -> FloatArray:
        series, K = self.series, len(rows)
        X, _ = self.place(rows, np.stack([rows.low, rows.high], axis=1))
        pair, t = X.transpose(1, 0, 2).reshape(2 * K, -1), np.tile(rows.time, 2)
        blocks, apart, done = [pair[None]], np.full(K, -1), 0
        longest = np.minimum(_LONGEST, series.n_steps - rows.time)
        while np.any(apart < 0) and done < int(longest.max()):
            block = series.states(blocks[-1][-1], t + done, 32)
            gaps = np.max(np.abs(block[:, :K] - block[:, K:]), axis=2)
            wide = gaps > _APART * series.scale
            new = (apart < 0) & wide.any(axis=0)
            apart[new] = done + 1 + np.argmax(wide[:, new], axis=0)
            blocks.append(block)
            done += 32
        paths = np.concatenate(blocks)
        apart = np.minimum(np.where(apart < 0, len(paths) - 1, apart), longest)
        ends = np.arange(K)
        covectors = paths[apart, K + ends] - paths[apart, ends]
        return self._carried(paths[:, :K], rows.time, apart, covectors)

    def _carried(self, paths: FloatArray, t: IntArray, apart: IntArray, covectors: FloatArray) -> FloatArray:
        """Return J_0^T ... J_{m-1}^T l along every path, m being where its pair has parted."""
        network, u = self.series.network, self.series.u
        sizes = np.linalg.norm(covectors, axis=1, keepdims=True)
        L = np.divide(covectors, sizes, out=np.zeros_like(covectors), where=sizes > 0.0)
        keep = 1.0 - network.leak_rate
        for k in range(int(apart.max()) - 1, -1, -1):
            on = np.flatnonzero(apart > k)
            x, inputs = paths[k, on], u[np.minimum(t[on] + k, len(u) - 1)]
            if network.W_fb is None:
                gain = network.leak_rate * network.activation.slope(network.preactivation(x, inputs))
                moved = keep * L[on] + np.asarray(network.W.T @ (gain * L[on]).T).T
            else:
                moved = np.array(
                    [network.jacobian(x[i], inputs[i]).T @ L[row] for i, row in enumerate(on.tolist())]
                )  # fmt: skip
            size = np.linalg.norm(moved, axis=1, keepdims=True)
            L[on] = np.divide(moved, size, out=np.zeros_like(moved), where=size > 0.0)
        return np.asarray(L)

    # -- turning directions ----------------------------------------------------------------------------------

    def turn(self, rows: Rows, tol: float, max_iterations: int, progress: Progress) -> None:
        """Turn every direction towards its normal until they are parallel or the kick gets no shorter."""
        last_V, last_descent = np.full_like(rows.V, np.nan), np.full_like(rows.V, np.nan)
        for iteration in range(max_iterations + 1):
            on = np.flatnonzero(rows.active)
            if len(on) == 0:
                return
            N = self.normals(rows.take(on))
            cosine = np.einsum("kn,kn->k", N, rows.V[on])
            rows.alignment[on] = np.where(cosine > 0.0, np.minimum(cosine, 1.0), np.nan)
            go = (cosine > 0.0) & (1.0 - cosine > tol)
            rows.active[on] = go
            if iteration == max_iterations or not go.any():
                return
            on, N, cosine = on[go], N[go], cosine[go]
            # A turn is judged by how much shorter the ray becomes: the bracket must be narrower than that.
            self._cut_these(rows, on, np.clip(1e-3 * (1.0 - cosine), 1e-10, _LOOSE))
            descent = N / cosine[:, None] - rows.V[on]
            moved, change = rows.V[on] - last_V[on], last_descent[on] - descent
            with np.errstate(all="ignore"):
                share = np.einsum("kn,kn->k", moved, moved) / np.einsum("kn,kn->k", moved, change)
            share = np.where(share > 0.0, np.clip(share, 0.02, 4.0), 1.0)
            last_V[on], last_descent[on] = rows.V[on], descent
            waiting = self._turned(rows, on, N, cosine, descent, share)
            # No shorter kick beside this one, as far as the labels can tell.
            rows.active[on[waiting]] = False
            self._cut_these(rows, on, _LOOSE)
            _thin(rows)
            progress("thresholds", (iteration + 1) / max_iterations)

    def _cut_these(self, rows: Rows, on: IntArray, width: FloatArray | float) -> None:
        part = rows.take(on)
        self.cut(part, width)
        rows.low[on], rows.high[on] = part.low, part.high

    def _turned(
        self, rows: Rows, on: IntArray, N: FloatArray, cosine: FloatArray, descent: FloatArray,
        share: FloatArray,
    ) -> BoolArray:  # fmt: skip
        """Turn the rows `on` as far as makes them shorter; return which of them no turn made shorter."""
        before, waiting = rows.take(on), np.ones(len(on), dtype=np.bool_)
        fractions = np.array([0.3, 0.6, 0.8, 0.9, 0.97, 0.997, 1.003, 1.03, 1.1])
        for _ in range(8):
            i = np.flatnonzero(waiting)
            if len(i) == 0:
                break
            new = before.take(i)
            new.V = _unit(before.V[i] + share[i, None] * descent[i])
            # Where the tangent plane says that the new ray meets the boundary, and on the way there.
            guess = before.low[i] * cosine[i] / np.einsum("kn,kn->k", N[i], new.V)
            limit = before.low[i] * (1.0 - 0.25 * np.minimum(share[i], 1.0) * (1.0 - cosine[i] ** 2))
            radii = np.sort(np.minimum(np.column_stack([guess[:, None] * fractions, limit]), limit[:, None]))
            low, high = self.scan(new, radii)
            shorter = ~np.isnan(high)
            k = on[i[shorter]]
            rows.V[k], rows.low[k], rows.high[k] = new.V[shorter], low[shorter], high[shorter]
            waiting[i[shorter]] = False
            share[i[~shorter]] *= 0.4
        return waiting


def _thin(rows: Rows) -> None:
    """Leave directions as they are that have come close to a better one, or that stay far behind."""
    for group in rows.groups().values():
        best = group[0]
        for row in group[1:]:
            close = rows.V[row] @ rows.V[best] > 1.0 - 1e-3
            if close or rows.high[row] > _HOPELESS * rows.high[best]:
                rows.active[row] = False


# -- state kicks -------------------------------------------------------------------------------------------


def _directions(
    search: Search, saddles: tuple[NonautonomousSaddle, ...], i: int, k: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return unit directions from response i at time k, and how far along each something is known to be.

    To saddles and along their normals, to other responses, and random ones.
    """
    curves, n = search.series.curves, search.series.n_units
    x = curves[k, i]
    rows = []
    for saddle in saddles:
        place = k - saddle.begin
        if 0 <= place < len(saddle.states):
            way = saddle.states[place] - x
            normal = saddle.normals[place]
            rows += [way, normal * (1.0 if normal @ way > 0.0 else -1.0)]
    for j in range(curves.shape[1]):
        way = curves[k, j] - x
        if j != i and np.all(np.isfinite(way)):
            # Off the lines of symmetry: there a bundle of boundaries meets, and has no normal.
            jitter = rng.standard_normal(n)
            rows.append(way + 0.02 * np.linalg.norm(way) / np.linalg.norm(jitter) * jitter)
    random = rng.standard_normal((2, n if search.basis is None else search.basis.shape[1]))
    random = random if search.basis is None else random @ search.basis.T
    V = np.vstack([*(search.project(d)[None] for d in rows), random, -random])
    sizes = np.linalg.norm(V, axis=1)
    some = sizes > 1e-9 * np.max(sizes)
    return _unit(V[some]), sizes[some]


def _reach(series: Series) -> float:
    """Return how far to look along a ray."""
    activation = series.network.activation
    if activation.bounded:
        low, high = activation.value_bounds
        return 2.0 * float(high - low) * float(np.sqrt(series.n_units))
    known = series.curves[np.isfinite(series.curves[:, :, 0])]
    return max(4.0 * series.scale, 4.0 * float(np.linalg.norm(np.ptp(known, axis=0))))


def _share(progress: Progress, low: float, high: float) -> Progress:
    return lambda label, fraction: progress(label, low + (high - low) * fraction)


def _crossings(search: Search, rays: Rows, R: FloatArray, most: int) -> Rows | None:
    """Return the first crossings of the rays into every other response, the `most` nearest ones of each."""
    found: list[tuple[int, int, int]] = []
    some, lost = max(1, 2**16 // R.shape[1]), 0
    for first in range(0, len(rays), some):
        part = np.arange(first, min(first + some, len(rays)))
        labels = search.labels(rays.take(part), np.broadcast_to(R, (len(rays), R.shape[1]))[part])
        lost += int(np.sum(labels == -1))
        for row, line in zip(part.tolist(), labels):
            source = int(rays.source[row])
            for target in sorted(set(line.tolist()) - {-1, source}):
                if search.pairs is not None and (source, target) not in search.pairs:
                    continue
                found.append((row, target, int(np.argmax(line == target))))
    search.unresolved = lost / (len(rays) * R.shape[1])
    if not found:
        return None
    row, target, m = (np.array([f[k] for f in found], dtype=np.intp) for k in range(3))
    all_R = np.broadcast_to(R, (len(rays), R.shape[1]))
    low = np.where(m > 0, all_R[row, np.maximum(m - 1, 0)], 0.0)
    out = Rows(rays.source[row], target, rays.time[row], rays.V[row], low, all_R[row, m].copy())
    keep = [r for group in out.groups().values() for r in group[:most]]
    return out.take(np.array(keep, dtype=np.intp))


def _neighbours(search: Search, best: Rows, times: IntArray) -> Rows | None:
    """Return rays shorter than the best ones, in the directions that are best at neighbouring times."""
    groups, curves = best.groups(), search.series.curves
    rows, limits = [], []
    for i, j in sorted({(i, j) for i, j, _ in groups}):
        for at, k in enumerate(times.tolist()):
            if not np.isfinite(curves[k, i, 0]):
                continue
            own = groups.get((i, j, k))
            for other in (at - 1, at + 1):
                beside = groups.get((i, j, int(times[other]))) if 0 <= other < len(times) else None
                if beside is None or (own and best.V[beside[0]] @ best.V[own[0]] > 1.0 - 1e-9):
                    continue
                rows.append((i, j, k, beside[0]))
                limits.append(best.high[own[0]] if own else np.inf)
    if not rows:
        return None
    source, target, time, near = (np.array([r[q] for r in rows], dtype=np.intp) for q in range(4))
    # A basin may be met for a short stretch only: about where it is met beside.
    spread = np.array([0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0, 1.01, 1.03, 1.1, 1.2, 1.4, 2.0])
    limit = 0.999 * np.array(limits)
    R = np.sort(np.minimum(best.high[near][:, None] * spread, limit[:, None]), axis=1)
    zeros = np.zeros(len(rows))
    new = Rows(source, target, time, best.V[near], zeros, zeros.copy())
    new.low, new.high = search.scan(new, R)
    hit = np.flatnonzero(~np.isnan(new.high))
    return new.take(hit) if len(hit) else None


def _replayed(search: Search, best: Rows) -> BoolArray:
    """Return whether 1.001 times each kick leads to the target and 0.999 times does not."""
    if len(best) == 0:
        return np.zeros(0, dtype=np.bool_)
    ends = search.labels(best, best.high[:, None] * np.array([0.999, 1.001]))
    return np.asarray((ends[:, 0] != best.target) & (ends[:, 1] == best.target))


def sides_of(series: Series, best: Rows) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return states on both sides of the boundary, for the first time at which each pair has a kick."""
    first: dict[tuple[int, int], int] = {}
    for row in np.argsort(best.time, kind="stable").tolist():
        first.setdefault((int(best.source[row]), int(best.target[row])), row)
    rows = best.take(np.array(sorted(first.values()), dtype=np.intp))
    X, times = Search(series, None).place(rows, np.stack([rows.low, rows.high], axis=1))
    return X[:, 0], X[:, 1], times[:, 0].astype(np.intp)


def find_state_kicks(
    series: Series, saddles: tuple[NonautonomousSaddle, ...], times: IntArray, basis: FloatArray | None,
    pairs: frozenset[tuple[int, int]] | None, n_rays: int, tol: float, max_iterations: int,
    rng: np.random.Generator, progress: Progress,
) -> Found:  # fmt: skip
    """Return the shortest kick found for every (source, target, time)."""
    search = Search(series, basis, pairs)
    curves, sources = series.curves, None if pairs is None else {i for i, _ in pairs}
    rays = [
        (i, int(k), v, far)
        for k in times for i in range(curves.shape[1])
        if np.isfinite(curves[k, i, 0]) and (sources is None or i in sources)
        for v, far in zip(*_directions(search, saddles, i, int(k), rng))
    ]  # fmt: skip
    if not rays:
        return Found(None)
    source, time = (np.array([r[q] for r in rays], dtype=np.intp) for q in range(2))
    nothing = np.zeros(len(rays))
    first = Rows(source, source, time, np.array([r[2] for r in rays]), nothing, nothing.copy())
    mesh = np.tile(_reach(series) * np.geomspace(_SMALLEST, 1.0, _RADII), (len(rays), 1))
    # The way to another response ends in its basin, however small that is.
    R = np.sort(np.column_stack([mesh, [r[3] for r in rays]]), axis=1)
    rows = _crossings(search, first, R, n_rays)
    if rows is None:
        return Found(None, unresolved=search.unresolved)
    progress("thresholds", 0.1)
    search.cut(rows, _LOOSE)
    _thin(rows)
    search.turn(rows, tol, max_iterations, _share(progress, 0.1, 0.7))
    best = rows.best()
    for k in range(2):
        more = _neighbours(search, best, times)
        if more is None:
            break
        search.cut(more, _LOOSE)
        search.turn(more, tol, max_iterations, _share(progress, 0.7 + 0.1 * k, 0.8 + 0.1 * k))
        best = Rows.joined([best, more]).best()
    search.cut(best, tol)
    progress("thresholds", 1.0)
    return Found(best, _replayed(search, best), search.unresolved)


# -- input kicks -------------------------------------------------------------------------------------------


class _InputSearch(Search):
    """Kicks of one input: the state after the step that it disturbs."""

    def place(self, rows: Rows, R: FloatArray) -> tuple[FloatArray, IntArray]:
        series = self.series
        x, u = series.curves[rows.time, rows.source], series.u[rows.time]
        inputs = u[:, None, :] + R[:, :, None] * rows.V[:, None, :]
        X = np.broadcast_to(x[:, None, :], (*R.shape, series.n_units))
        flat = series.network.step(X.reshape(-1, series.n_units), inputs.reshape(-1, u.shape[1]))
        return flat.reshape(X.shape), np.broadcast_to(rows.time[:, None] + 1, R.shape)


def input_kicks(
    series: Series, times: IntArray, pulses: FloatArray, pairs: frozenset[tuple[int, int]] | None,
    max_amplitude: float, n_amplitudes: int, tol: float,
) -> Found:  # fmt: skip
    """Return the smallest pulse found for every (source, target, time)."""
    search = _InputSearch(series, None, pairs)
    curves = series.curves
    rays = [
        (i, int(k), p)
        for k in times if k < series.n_steps
        for i in range(curves.shape[1]) if np.isfinite(curves[k, i, 0]) for p in range(len(pulses))
    ]  # fmt: skip
    if not rays:
        return Found(None)
    source, time, pulse = (np.array([r[q] for r in rays], dtype=np.intp) for q in range(3))
    zeros = np.zeros(len(rays))
    first = Rows(source, source, time, pulses[pulse], zeros, zeros.copy())
    R = np.linspace(0.0, max_amplitude, n_amplitudes + 1)[None, 1:]
    rows = _crossings(search, first, R, len(pulses))
    if rows is None:
        return Found(None, unresolved=search.unresolved)
    search.cut(rows, tol)
    best = rows.best()
    which = np.argmax(np.all(best.V[:, None, :] == pulses[None], axis=2), axis=1)
    return Found(best, _replayed(search, best), search.unresolved, which.astype(np.intp))
