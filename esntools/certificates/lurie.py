r"""The incremental Lur'e inequality: a full quadratic norm for monotone activations.

With a_i the leak rates, slopes in [l, L], M = (l + L)/2, R = (L - l)/2 and multipliers X = Y R^2, the matrix
inequality of FORMAT.md has a solution P at rate r exactly when, for every z on the unit circle,

.. math:: F_z(Y) = Y - (Y M W Q + (\cdot)^*) + Q^* W' \, lLY \, W Q \succ 0, \qquad
    Q = \mathrm{diag}\!\left(\frac{a_i}{r z - 1 + a_i}\right)

(Kalman, Yakubovich and Popov). The *reach* of Y is the largest eigenvalue of I - Y^-1/2 F Y^-1/2 over z: the
inequality holds when it is below 1, and for l = 0 it is proportional to the gain. For equal leak rates, l = 0
and equal L it is a maximum over the numerical range of S W S^-1, S = Y^1/2:

.. math:: L \max_w \, (c \, \mathrm{Re}\, w + \varrho |w|), \qquad
    c = \frac{a(1-a)}{r^2 - (1-a)^2}, \quad \varrho = \frac{a r}{r^2 - (1-a)^2}.
"""

from __future__ import annotations

import math
import time
from typing import Any, Final, final

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from esntools._typing import ComplexArray, FloatArray
from esntools.certificates.sectors import (
    CLEARANCE,
    FACTORED,
    BoundReached,
    Candidate,
    Rung,
    Sector,
    congruence,
    largest_eigenpair,
    short,
    short_rate,
)

__all__ = ["Reach", "incremental_lurie", "lurie_witness", "multipliers", "riccati"]

#: Up to this size a dense eigenvalue solver is as fast as Lanczos' method.
_SMALL: Final = 250
#: Restarts of Lanczos' method, of about twenty products each; most matrices take a few.
_RESTARTS: Final = 100
#: Smaller leak rates are as good as this one: quotients of subnormal numbers overflow.
_LEAST: Final = 1e-150

# -- the reach of a scaling -----------------------------------------------------------------------------


@final
class Reach:
    """How far multipliers get: the largest eigenvalue over all frequencies, as a function of the rate.

    Parameters
    ----------
    sector : Sector
    y : array (n_units,)
        Multipliers divided by R^2.
    accuracy : float
        Relative accuracy; the maximum over frequencies is refined until then.
    deadline : float
        A `time.perf_counter` value after which nothing is refined; infinite when it is over before.
    """

    def __init__(
        self, sector: Sector, y: FloatArray, accuracy: float = 1e-3, deadline: float = math.inf
    ) -> None:
        self.a, self.accuracy, self.deadline = np.maximum(sector.a, _LEAST), accuracy, deadline
        self.middle, self.product = 0.5 * (sector.low + sector.high), sector.low * sector.high
        s = np.sqrt(y / y.max())
        if scipy.sparse.issparse(sector.W):
            self.W: Any = scipy.sparse.csr_array(
                scipy.sparse.diags_array(s) @ sector.W @ scipy.sparse.diags_array(1.0 / s)
            )
        else:
            self.W = np.ascontiguousarray((s[:, None] * sector.W) / s)
            if len(s) > _SMALL and np.count_nonzero(self.W) < 0.15 * self.W.size:
                self.W = scipy.sparse.csr_array(self.W)
            elif len(s) > 1000:
                # Products by a large matrix wait for memory; the reach is needed to three digits.
                self.W = self.W.astype(np.float32)
        self.start: ComplexArray = np.cos(np.arange(len(s))) + 0j
        high = float(sector.high[0])
        # The samples below describe the numerical range only in this case.
        self.uniform = bool(
            np.all(self.a == self.a[0]) and np.all(sector.low == 0.0) and np.all(sector.high == high)
        )
        self.angles: list[float] = []
        self.support: list[float] = []
        self.points: list[complex] = []
        self.worst = 1.0 + 0j

    def top(self, q: ComplexArray) -> tuple[float, ComplexArray]:
        """Return the largest eigenvalue of M W Q + (.)^* - Q^* W' lL W Q and its unit vector."""
        n, W = len(self.a), self.W
        curved = bool(np.any(self.product))
        if n <= _SMALL:
            V = (W.toarray() if scipy.sparse.issparse(W) else W) * q
            T = self.middle[:, None] * V
            T = T + T.conj().T
            if curved:
                T = T - V.conj().T @ (self.product[:, None] * V)
            return largest_eigenpair(T)
        W_T = W.T

        def times(matrix: Any, v: ComplexArray) -> ComplexArray:
            pair = np.ascontiguousarray(v).view(np.float64).reshape(n, 2).astype(matrix.dtype)
            return np.ascontiguousarray(matrix @ pair, dtype=np.float64).view(np.complex128)[:, 0]

        def apply(vector: ComplexArray) -> ComplexArray:
            v = np.asarray(vector, dtype=np.complex128).reshape(n)
            forward = times(W, q * v)
            back = self.middle * v - (self.product * forward if curved else 0.0)
            return self.middle * forward + q.conj() * times(W_T, back)

        # Mixed with something, lest the last eigenvector is in the kernel now.
        start = self.start + 1e-3 * np.cos(np.arange(n))
        # The accuracy is relative to the size of the matrix: an eigenvalue near 0 needs no more digits.
        shift = float(np.linalg.norm(apply(start)) / np.linalg.norm(start))
        if shift == 0.0:
            return 0.0, start / np.linalg.norm(start)
        operator = scipy.sparse.linalg.LinearOperator(
            (n, n), matvec=lambda v: apply(v) + shift * v, dtype=np.complex128
        )
        try:
            values, vectors = scipy.sparse.linalg.eigsh(
                operator, k=1, which="LA", v0=start, tol=0.1 * self.accuracy, maxiter=_RESTARTS
            )
        except scipy.sparse.linalg.ArpackError:
            # Eigenvalues crowd at the top.
            full = np.column_stack([apply(e) for e in np.eye(n, dtype=np.complex128)])
            value, self.start = largest_eigenpair(0.5 * (full + full.conj().T))
            return value, self.start
        self.start = vectors[:, 0]
        return float(values[0]) - shift, self.start

    def at(self, rate: float = 1.0) -> float:
        """Return the reach at this rate; infinite when the leak alone is slower."""
        if not rate - 1.0 + float(self.a.min()) > 0.0:
            return math.inf
        return self._over_range(rate) if self.uniform else self._over_circle(rate)

    @property
    def _late(self) -> bool:
        return time.perf_counter() > self.deadline

    # -- equal units: samples of the numerical range serve every rate

    def _sample(self, angle: float) -> None:
        value, u = self.top(np.full(len(self.a), np.exp(-1j * angle)))
        place = int(np.searchsorted(self.angles, angle))
        self.angles.insert(place, angle)
        self.support.insert(place, value)
        # u* L W u is the point of the range that the supporting line touches.
        pair = np.ascontiguousarray(u).view(np.float64).reshape(len(u), 2).astype(self.W.dtype)
        image = np.ascontiguousarray(self.W @ pair, dtype=np.float64).view(np.complex128)[:, 0]
        self.points.insert(place, complex(np.vdot(u, image)) * 2.0 * float(self.middle[0]))

    def _over_range(self, rate: float) -> float:
        a = float(self.a[0])
        scale = a / ((rate - 1.0 + a) * (rate + 1.0 - a))
        for angle in np.linspace(0.0, math.pi, 5)[len(self.angles) :]:
            if self._late:
                return math.inf
            self._sample(float(angle))
        while True:
            theta, h = np.array(self.angles), np.array(self.support)
            turn = np.diff(theta)
            # Where neighbouring supporting lines meet: corners of a polygon that holds the range.
            corners = np.exp(1j * theta[:-1]) * (h[:-1] + 1j * (h[1:] - h[:-1] * np.cos(turn)) / np.sin(turn))
            outer = (1.0 - a) * corners.real + rate * np.abs(corners)
            points = np.array(self.points)
            inner = (1.0 - a) * points.real + rate * np.abs(points)
            k = int(np.argmax(outer))
            upper = float(outer[k])
            narrow = turn[k] < 0.01
            if (
                upper - float(inner.max()) <= self.accuracy * abs(upper)
                or narrow
                or len(theta) >= 60
                or self._late
            ):
                self.worst = complex(corners[k])
                return max(0.0, scale * upper)
            best = np.angle((1.0 - a) + rate * corners[k] / max(abs(corners[k]), 1e-300))
            self._sample(float(np.clip(best, theta[k] + 0.25 * turn[k], theta[k + 1] - 0.25 * turn[k])))

    # -- any units: a grid on the circle of 1 / (r z - 1 + a), refined at the top

    def _over_circle(self, rate: float) -> float:
        def value(angle: float) -> float:
            return math.inf if self._late else self.top(frequency(self.a, angle, rate))[0]

        grid = np.linspace(0.0, math.pi, 9)
        values = [value(float(angle)) for angle in grid]
        k = int(np.argmax(values))
        low, high = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, 8)])
        best = values[k]
        for _ in range(5):
            if self._late:
                break
            pair = low + (high - low) / 3.0, high - (high - low) / 3.0
            left, right = value(pair[0]), value(pair[1])
            best = max(best, left, right)
            low, high = (low, pair[1]) if left > right else (pair[0], high)
            if abs(left - right) <= self.accuracy * abs(best):
                break
        return best


def frequency(a: FloatArray, angle: float, rate: float = 1.0) -> ComplexArray:
    """Return a / (r z - 1 + a); z runs over the upper half circle with the angle from 0 to pi.

    The angle is the one on the circle of the smallest leak rate: equal steps of z would miss the tip.
    """
    a = np.maximum(a, _LEAST)
    least = float(a.min())
    inner, above = 1.0 - least, rate - 1.0 + least
    q = (rate * (1.0 + np.exp(-1j * angle)) - above) * (least / above / (rate + inner))
    z = inner + least / q
    return np.asarray(a / (rate * z / abs(z) - 1.0 + a), dtype=np.complex128)


# -- P by structure-preserving doubling -----------------------------------------------------------------


def riccati(A0: FloatArray, G: FloatArray, H: FloatArray, deadline: float = math.inf) -> FloatArray | None:
    """Solve P = A0'P (I - G P)^-1 A0 + H by structure-preserving doubling; None when there is no solution.

    Chu, Fan, Lin and Wang, doi:10.1080/00207170410001714988; in the precision of its arguments.
    """
    n = len(A0)
    A, scale = A0, float(np.abs(H).max())
    accuracy = 1e-13 if A0.dtype == np.float64 else 1e-6
    eye = np.eye(n, dtype=A0.dtype)
    for _ in range(40):
        if time.perf_counter() > deadline:
            return None
        try:
            both = np.linalg.solve(eye - G @ H, np.column_stack([A, G]))
        except np.linalg.LinAlgError:
            return None
        left, right = both[:, :n], both[:, n:]
        G = G + A @ right @ A.T
        change = A.T @ (H @ left)
        H = H + change
        A = A @ left
        G, H = 0.5 * (G + G.T), 0.5 * (H + H.T)
        size = float(np.abs(H).max())
        if not np.isfinite(size) or size > 1e12 * scale or np.diag(change).min() < -1e-4 * size:
            return None
        if float(np.abs(change).max()) <= accuracy * size:
            return H
    return None


def multipliers(sector: Sector, y: FloatArray) -> FloatArray:
    """Return X = Y R^2 of twelve bits each, largest 1; positive also where the slope is known."""
    half = 0.5 * (sector.high - sector.low)
    x = y * half * half
    top = float(x.max())
    if not top > 0.0:
        return np.ones(len(y))
    mantissa, exponent = np.frexp(np.maximum(x / top, 1e-10))
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**12), exponent - 12))


def lurie_witness(
    sector: Sector, y: FloatArray, rate: float, room: float, deadline: float = math.inf
) -> dict[str, FloatArray] | None:
    """Return the multipliers, P and the two congruences at that rate, or None.

    Parameters
    ----------
    sector : Sector
    y : array (n_units,)
        Multipliers divided by R^2.
    rate : float
    room : float
        One minus the reach at this rate; less is safe, more has no solution.
    deadline : float
        A `time.perf_counter` value after which there is no witness.
    """
    a = sector.a
    X = multipliers(sector, y)
    W = sector.dense_W
    middle, half = 0.5 * (sector.low + sector.high), 0.5 * (sector.high - sector.low)
    # In balanced coordinates numbers are of order one; powers of two keep the way back exact.
    weight = np.where(half > 0.0, X / np.where(half > 0.0, half, 1.0) ** 2, y * (X.max() / y.max()))
    T = 2.0 ** np.round(0.5 * np.log2(weight))
    W = (T[:, None] * W) / T
    weight, x = weight / T**2, X / T**2
    A0 = (a * middle)[:, None] * W
    A0[np.diag_indices_from(A0)] += 1.0 - a
    B = a * half
    WXW = (W.T * x) @ W
    # F >= room * Y at every frequency leaves this much for P.
    slack = 0.3 * room * weight * ((rate - 1.0 + a) / a) ** 2
    H = WXW / rate**2 + np.diag(slack / rate**2)
    kinds = (np.float32, np.float64) if len(y) >= 400 and room > 2e-3 else (np.float64,)
    for kind in kinds:
        with np.errstate(all="ignore"):
            G: Any = np.diag(B * B / x).astype(kind)
            solved = riccati((A0 / rate).astype(kind), G, H.astype(kind), deadline)
        if solved is None:
            continue
        P = solved.astype(np.float64)
        least = 0.1 * float(slack.min())
        digits = math.ceil(math.log2(2.5 * math.sqrt(len(y)) * max(1.0, float((A0 * A0).max())) / least))
        P = short(0.5 * (P + P.T), digits)
        PA = P @ A0
        corner = rate**2 * P - A0.T @ PA - WXW
        side = -PA.T * B
        last = np.diag(x) - (B[:, None] * P) * B
        R_P, R = congruence(P), congruence(np.block([[corner, side], [side.T, last]]))
        if R_P is not None and R is not None:
            return {
                "multipliers": X,
                "P": (T[:, None] * P) * T,
                "R": R / np.concatenate([T, T]),
                "R_P": R_P / T,
            }
    return None


# -- the rung -------------------------------------------------------------------------------------------


def incremental_lurie(
    sector: Sector,
    x: FloatArray | None = None,
    *,
    deadline: float = math.inf,
    name: str = "incremental-lurie",
) -> Rung:
    """Try a full quadratic norm z'Pz with given multipliers, P from a Riccati equation.

    Parameters
    ----------
    sector : Sector
    x : array (n_units,), optional
        The multipliers; by default R^2, which scales no state.
    deadline : float
        A `time.perf_counter` value after which no further rate is tried.
    name : str
        What the bound is called.
    """
    start = time.perf_counter()
    half = 0.5 * (sector.high - sector.low)
    y = np.ones(len(half)) if x is None else np.asarray(x / np.where(half > 0.0, half, np.inf) ** 2)
    y = np.where(y > 0.0, y, float(y.max()) or 1.0)
    reach = Reach(sector, y, 1e-3 if len(y) <= 1000 else 4e-3, deadline)
    value = reach.at()
    linear = bool(np.all(sector.low == 0.0))
    gain = 1.0 / value if linear and 0.0 < value < math.inf else None
    candidate = None
    if value < 1.0 + 2.0 * reach.accuracy and time.perf_counter() < deadline:
        candidate = candidate_for(sector, y, reach, deadline)
    bound = BoundReached(name, value, False, gain, time.perf_counter() - start)
    return Rung(bound, candidate, multipliers(sector, y))


def candidate_for(
    sector: Sector, y: FloatArray, reach: Reach, deadline: float = math.inf
) -> Candidate | None:
    """Return P and its congruences at about the best rate that these multipliers allow."""
    if len(y) > FACTORED:
        return None
    room = 1.0 - reach.at()
    if room > CLEARANCE:
        # Some of the room goes into the rate, the rest keeps P and R short.
        keep = max(0.1 * room, min(0.5 * room, 0.01))
        low, high = float(np.max(1.0 - sector.a)), 1.0
        for _ in range(30 if reach.uniform else 5):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if 1.0 - reach.at(middle) >= keep else (middle, high)
            if time.perf_counter() > deadline:
                break
        rate = short_rate(max(high, 2.0**-20))
        left = 1.0 - reach.at(rate)
        if rate < 1.0 and left > CLEARANCE:
            witness = lurie_witness(sector, y, rate, left, deadline)
            if witness is not None:
                return Candidate("incremental-lurie", rate, witness)
    # The reach is accurate to a part in a thousand; nearer to the edge the Riccati equation decides.
    for tiny in (1e-3, 1e-4, 1e-6):
        if time.perf_counter() > deadline:
            break
        rate = short_rate(1.0 - 0.1 * tiny)
        if not rate > float(np.max(1.0 - sector.a)):
            continue
        witness = lurie_witness(sector, y, rate, 0.5 * tiny, deadline)
        if witness is not None:
            return Candidate("incremental-lurie", rate, witness)
    return None
