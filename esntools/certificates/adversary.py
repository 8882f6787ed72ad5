r"""The worst drive: slope patterns under which differences of states grow, and inputs that realise them.

Under a p-periodic drive with a p-periodic response, differences evolve by the product

.. math:: M(D_1, \dots, D_p) = J(D_p) \cdots J(D_1), \qquad J(D) = I - A + A D W,

with :math:`D_j` the slopes of phi along the response. Any slopes that phi takes are met by some drive: choose
the arguments z with :math:`\varphi'(z_j) = D_j`; the states and then the drive follow. So whoever may drive a
network arbitrarily maximises the spectral radius of M over boxes of slopes, and above 1 the response is
unstable. The maximum over all periods is the joint spectral radius of the set of all J(D) (Berger and Wang,
doi:10.1016/0024-3795(92)90267-E), which no finite search is sure to find.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray, RandomState
from esntools.activations import Activation
from esntools.certificates.flips import flipped
from esntools.certificates.witness import DrivenMap, Response
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = ["PeriodicDrive", "SlopePattern", "find_slope_pattern", "find_worst_input", "periodic_drive"]

# Most slopes reach 0 only in the limit; this share of the largest one is met at moderate z.
_FLOOR: Final = 1e-3
_COLUMNS: Final = 4


@final
@dataclass(frozen=True, eq=False)
class SlopePattern:
    """Slopes D of shape (period, n_units), and the growth that they give.

    Attributes
    ----------
    slopes : array (period, n_units)
        In time order; all of them are slopes that the activation takes.
    growth : float
        The spectral radius of the product over one period, as a factor per step.
    """

    slopes: FloatArray
    growth: float

    @property
    def period(self) -> int:
        return len(self.slopes)


@final
@dataclass(frozen=True, eq=False)
class PeriodicDrive:
    """A drive h in place of `W_in u + W_fb psi + b`, and its response: both (period, n_units)."""

    drive: FloatArray
    states: FloatArray


def growth(W: FloatArray, a: FloatArray, slopes: FloatArray) -> float:
    """Return the spectral radius of the product over one period, to the power 1/period."""
    product = np.eye(len(a))
    for d in slopes:
        product = (1.0 - a)[:, None] * product + (a * d)[:, None] * (W @ product)
    if not np.all(np.isfinite(product)):
        return math.inf
    return float(float(np.abs(np.linalg.eigvals(product)).max()) ** (1.0 / len(slopes)))


def _orthonormal(V: FloatArray) -> FloatArray:
    """Orthonormal bases (batch, n, k) by Cholesky: many times faster here than one QR for each."""
    for _ in range(2):
        V = V / (np.linalg.norm(V, axis=1, keepdims=True) + 1e-300)
        gram = np.swapaxes(V, 1, 2) @ V
        k = gram.shape[-1]
        factor = np.linalg.cholesky(gram + 1e-12 * np.eye(k))
        V = np.swapaxes(np.linalg.solve(factor, np.swapaxes(V, 1, 2)), 1, 2)
    return V


class _Ascent:
    """Gradient ascent of the growth on many patterns at once.

    Eigenvectors of the products come from subspace iteration that continues from step to step, so that one
    step costs a few products with W of all patterns together.
    """

    def __init__(
        self,
        W: FloatArray,
        a: FloatArray,
        low: float,
        high: float,
        patterns: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        self.W, self.WT, self.a = np.ascontiguousarray(W), np.ascontiguousarray(W.T), a
        self.low, self.high, self.D = low, high, patterns
        batch, self.period, n = patterns.shape
        k = min(_COLUMNS, n)
        self.V = _orthonormal(rng.normal(size=(batch, n, k)))
        self.U = _orthonormal(rng.normal(size=(batch, n, k)))
        self.best_D, self.best = patterns.copy(), np.zeros(batch)
        for _ in range(8):
            self.V, self.U = _orthonormal(self._forward()[1]), _orthonormal(self._backward()[1])

    @staticmethod
    def _times(M: FloatArray, X: FloatArray) -> FloatArray:
        batch, n, k = X.shape
        flat = np.ascontiguousarray(np.moveaxis(X, 1, 0)).reshape(n, batch * k)
        return np.moveaxis((M @ flat).reshape(n, batch, k), 0, 1)

    def _forward(self) -> tuple[list[FloatArray], FloatArray]:
        """Return W X before each step, and X after the last."""
        a, X, inner = self.a[:, None], self.V, []
        for j in range(self.period):
            Y = self._times(self.W, X)
            inner.append(Y)
            X = (1.0 - a) * X + a * self.D[:, j, :, None] * Y
        return inner, X

    def _backward(self) -> tuple[list[FloatArray], FloatArray]:
        """Return the adjoint vectors at each step, in time order, and those before the first."""
        a, Z, outer = self.a[:, None], self.U, []
        for j in reversed(range(self.period)):
            outer.append(Z)
            Z = (1.0 - a) * Z + self._times(self.WT, a * self.D[:, j, :, None] * Z)
        return outer[::-1], Z

    def _gradient(self) -> tuple[FloatArray, FloatArray]:
        """Return the growth of each pattern and its gradient, up to a positive factor per pattern."""
        inner, X = self._forward()
        outer, Z = self._backward()
        if not (np.all(np.isfinite(X)) and np.all(np.isfinite(Z))):
            return np.zeros(len(X)), np.full_like(self.D, np.nan)
        rows = np.arange(len(X))
        values, right = np.linalg.eig(np.swapaxes(self.V, 1, 2) @ X)
        top = np.argmax(np.abs(values), axis=1)
        value, r = values[rows, top], right[rows, :, top]
        others, left = np.linalg.eig(np.swapaxes(self.U, 1, 2) @ Z)
        # Written without conjugation, left and right eigenvectors have the same eigenvalue.
        adjoint = left[rows, :, np.argmin(np.abs(others - value[:, None]), axis=1)]
        overlap = np.einsum(
            "bn,bn->b", (self.U @ adjoint[..., None])[..., 0], (self.V @ r[..., None])[..., 0]
        )
        phase = np.conj(value) * np.conj(overlap)
        phase = phase / (np.abs(phase) + 1e-300)
        slopes = np.empty_like(self.D)
        for j in range(self.period):
            one = np.einsum("bnk,bk->bn", outer[j], adjoint)
            two = np.einsum("bnk,bk->bn", inner[j], r)
            slopes[:, j] = np.real(phase[:, None] * one * two) * self.a
        self.V, self.U = _orthonormal(X), _orthonormal(Z)
        return np.abs(value) ** (1.0 / self.period), slopes

    def run(self, steps: int, first: float, last: float, deadline: float, enough: float) -> None:
        """Ascend by steps whose size falls from `first` to `last` (shares of the slope range)."""
        width = self.high - self.low
        for t in range(steps):
            if time.perf_counter() > deadline:
                return
            value, slopes = self._gradient()
            if not np.all(np.isfinite(slopes)):
                return
            better = value > self.best
            self.best = np.where(better, value, self.best)
            self.best_D[better] = self.D[better]
            if self.best.max() > enough:
                return
            size = first * (last / first) ** (t / steps)
            # Nearly bang-bang: entries with a clear sign move alike, however small beside the largest.
            typical = np.mean(np.abs(slopes), axis=(1, 2), keepdims=True) + 1e-300
            self.D = np.clip(self.D + size * width * slopes / (np.abs(slopes) + typical), self.low, self.high)
            self.V, self.U = _orthonormal(self._forward()[1]), _orthonormal(self._backward()[1])

    def best_patterns(self, count: int) -> FloatArray:
        return self.best_D[np.argsort(-self.best)[:count]]


def _slope_range(phi: Activation) -> tuple[float, float] | None:
    """The slopes to choose from; None for an activation whose slopes cannot be chosen."""
    if phi.name in ("custom", "identity"):
        return None
    low, high = phi.slope_bounds
    if phi.name in ("relu", "hard_tanh", "sine"):
        return low, high
    top = float(phi.slope(np.zeros(1))[0])
    return _FLOOR * top, top


def _polished(W: FloatArray, a: FloatArray, patterns: FloatArray, low: float, high: float) -> SlopePattern:
    """Return the best of the patterns, exactly evaluated; also with all slopes pushed to the nearer end."""
    trials = [*patterns, *np.where(patterns > 0.5 * (low + high), high, low)]
    values = [growth(W, a, slopes) for slopes in trials]
    k = int(np.argmax(values))
    return SlopePattern(trials[k], values[k])


def _starts(
    found: dict[int, FloatArray], period: int, n: int, low: float, high: float, rng: np.random.Generator,
    count: int,
) -> FloatArray:  # fmt: skip
    """Random patterns, the largest slopes, and shorter patterns repeated with some entries drawn anew."""
    patterns = rng.uniform(low, high, (count, period, n))
    patterns[0] = high
    shorter = [D for q, D in found.items() if period % q == 0 and q < period]
    if shorter:
        for k in range(1, 1 + count // 2):
            D = shorter[k % len(shorter)]
            tiled = np.tile(D, (period // len(D), 1))
            patterns[k] = np.where(rng.uniform(size=tiled.shape) < 0.15, patterns[k], tiled)
    return patterns


def find_slope_pattern(
    network: EchoStateNetwork,
    *,
    periods: Iterable[int] = (1, 2, 3, 4),
    enough: float = 1.005,
    effort: float = 1.0,
    deadline: float = math.inf,
    rng: RandomState = None,
) -> SlopePattern | None:
    r"""Search for slopes :math:`D_1, \dots, D_p` whose product :math:`J(D_p) \cdots J(D_1)` grows fastest.

    Projected gradient ascent of the spectral radius from many starts, period after period, then flips of
    slopes between the ends of their range, in floating point; a growth above 1 becomes a refutation only by
    `find_refutation`, which has it checked.

    Parameters
    ----------
    network : EchoStateNetwork
        Affine feedback is folded in.
    periods : iterable of int, optional
        Tried in this order; 1, 2, 3, 4 by default.
    enough : float, optional
        Stop at the first pattern that grows by more than this per step. Default 1.005; ``math.inf`` looks
        for the best pattern of all periods.
    effort : float, optional
        A factor on the number of steps and starts. The default takes 1 to 2 s of one core at N = 100.
    deadline : float, optional
        A value of `time.perf_counter` after which the search ends with the best so far.
    rng : int, Generator or None, optional

    Returns
    -------
    SlopePattern or None
        The pattern that grows fastest, whether above 1 or not; None when slopes cannot be chosen (squares in
        the feedback, the identity, a custom activation), or when there was no time.

    References
    ----------
    M. A. Berger and Y. Wang, Linear Algebra and its Applications 166 (1992) 21,
    doi:10.1016/0024-3795(92)90267-E. Derivative of an eigenvalue: P. Lancaster, Numerische Mathematik 6
    (1964) 377, doi:10.1007/BF01386087.

    Examples
    --------
    W has spectral radius 0.95, and no constant slopes do more; two patterns in turn do:

    >>> W = 0.95 * np.array([[0.0, 2.0, -1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]) / 1.6180339887
    >>> pattern = find_slope_pattern(EchoStateNetwork(W), rng=0)
    >>> pattern.period, round(pattern.growth, 3)
    (2, 1.017)
    """
    readout = network.readout
    span = _slope_range(network.activation)
    if span is None or (network.W_fb is not None and readout is not None and readout.W_sq is not None):
        return None
    if not effort > 0.0:
        raise InvalidInputError("effort", str(effort), "must be positive")
    rng = np.random.default_rng(rng)
    low, high = span
    folded = network.folded() if network.W_fb is not None else network
    W, a, n = folded.dense_W(), network.leak_rate, network.n_units
    # Small networks need fewer steps; at large ones, where products dominate, each step takes longer.
    pace = effort * min(1.0, (70.0 / n) ** 1.5)
    steps = round(240 * pace * min(1.0, (n + 15) / 50))
    many, few = max(4, round(12 * pace)), max(2, round(4 * pace))
    best: SlopePattern | None = None
    found: dict[int, FloatArray] = {}
    for period in periods:
        if time.perf_counter() > deadline:
            break
        with np.errstate(all="ignore"):
            first = _Ascent(W, a, low, high, _starts(found, period, n, low, high, rng, many), rng)
            first.run(max(8, round(60 * min(1.0, pace))), 0.5, 0.3, deadline, enough)
            second = _Ascent(W, a, low, high, first.best_patterns(few), rng)
            second.run(max(16, steps), 0.3, 0.02, deadline, enough)
            # The steps may stop at the deadline before the second ascent has recorded anything.
            pool = np.concatenate([second.best_patterns(2), first.best_patterns(1)])
            pattern = _polished(W, a, pool, low, high)
        found[period] = pattern.slopes
        if best is None or pattern.growth > best.growth:
            best = pattern
        if best.growth > enough:
            break
    tries = round(200 * effort * min(1.0, (100.0 / n) ** 3))
    if best is not None and best.growth <= enough and tries > 1:
        with np.errstate(all="ignore"):
            slopes = flipped(
                W, a, best.slopes, low, high, evaluations=tries, enough=enough, deadline=deadline, rng=rng
            )
            value = growth(W, a, slopes)
        best = max(best, SlopePattern(slopes, value), key=lambda pattern: pattern.growth)
    return best


def _arguments(phi: Activation, slopes: FloatArray) -> FloatArray:
    """Return z >= 0 with phi'(z) equal to the slopes, as near as doubles come."""
    if phi.name == "sine":
        return np.arccos(np.clip(slopes, -1.0, 1.0))
    if phi.name == "relu":
        return np.where(slopes > 0.5, 1.0, -1.0)
    if phi.name == "hard_tanh":
        return np.where(slopes > 0.5, 0.0, 2.0)
    low, high = np.zeros_like(slopes), np.full_like(slopes, 50.0)
    for _ in range(60):
        # These slopes fall with z.
        middle = 0.5 * (low + high)
        above = phi.slope(middle) > slopes
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(slopes >= float(phi.slope(np.zeros(1))[0]), 0.0, high)


def periodic_drive(network: EchoStateNetwork, pattern: SlopePattern) -> PeriodicDrive:
    r"""Return a periodic drive whose response has the slopes of the pattern.

    With arguments :math:`z_j` chosen so that :math:`\varphi'(z_j) = D_j`, the periodic states solve the
    linear equation :math:`X_j = (1 - a) X_{j-1} + a \varphi(z_j)`; the drive is
    :math:`h_j = z_j - W X_{j-1}`.

    Parameters
    ----------
    network : EchoStateNetwork
        The one that the pattern was found for.
    pattern : SlopePattern
        For the rectifier and hard tanh, whose slopes are 0 and 1, entries above 1/2 count as 1.

    Examples
    --------
    >>> network = EchoStateNetwork([[1.2]])
    >>> found = periodic_drive(network, SlopePattern(np.array([[1.0], [0.9]]), 1.2 * 0.9**0.5))
    >>> x = found.states[-1]
    >>> for h, state in zip(found.drive, found.states):
    ...     x = np.tanh(network.W @ x + h)
    ...     print(np.allclose(x, state))
    True
    True
    """
    a, phi = network.leak_rate, network.activation
    folded = network.folded() if network.W_fb is not None else network
    z = _arguments(phi, pattern.slopes)
    values = phi(z)
    keep = 1.0 - a
    last = np.zeros_like(a)
    for value in values:
        last = keep * last + a * value
    last = (
        last / -np.expm1(pattern.period * np.log1p(-a))
        if np.all(a < 1.0)
        else last / (1.0 - keep**pattern.period)
    )
    states, before, x = np.empty_like(z), np.empty_like(z), last
    for j, value in enumerate(values):
        before[j] = x
        x = keep * x + a * value
        states[j] = x
    return PeriodicDrive(z - before @ folded.dense_W().T, states)


def _input_gradient(map_: DrivenMap, response: Response) -> FloatArray:
    """The gradient of the growth of a response by the rows of its input, up to a positive factor.

    The derivative of an eigenvalue, by the arguments of phi; these move with the input directly, and through
    the response by the inverse of the derivative of the lifted map, here its adjoint.
    """
    X, J = response.states, map_.jacobians(response.states)
    p, n = X.shape
    product = np.eye(n)
    for one in J:
        product = one @ product
    values, left, right = scipy.linalg.eig(product, left=True, right=True)
    k = int(np.argmax(np.abs(values)))
    r, adjoint = right[:, k], np.conj(left[:, k])
    phase = np.conj(values[k] * (adjoint @ r))
    phase = phase / (abs(phase) + 1e-300)
    outer, inner = np.empty((p, n), complex), np.empty((p, n), complex)
    for j in range(p):
        inner[j] = map_.V @ r
        r = J[j] @ r
    for j in reversed(range(p)):
        outer[j] = adjoint
        adjoint = adjoint @ J[j]
    slope = map_.network.activation.slope
    z = np.stack([map_.preactivation(X[j - 1], j) for j in range(p)])
    bend = (slope(z + 1e-5) - slope(z - 1e-5)) / 2e-5
    by_z = np.real(phase * outer * inner) * map_.a * bend
    # Row j of z depends on the state before it; states are carried on by the Jacobians around the cycle.
    source = np.roll(by_z @ map_.V, -1, axis=0)
    carried, turn = np.zeros(n), np.eye(n)
    for j in reversed(range(p)):
        carried, turn = J[j].T @ (carried + source[j]), J[j].T @ turn
    try:
        last = np.linalg.solve(np.eye(n) - turn, carried)
    except np.linalg.LinAlgError:
        last = np.zeros(n)
    by_state = np.empty((p, n))
    for j in reversed(range(p)):
        by_state[j] = last = source[j] + last
        last = J[j].T @ last
    by_drive = by_z + by_state * map_.a * slope(z)
    return np.asarray(by_drive if map_.as_drive else by_drive @ map_.network.W_in)


def find_worst_input(
    network: EchoStateNetwork,
    low: FloatArray,
    high: FloatArray,
    rows: FloatArray,
    states: FloatArray,
    *,
    steps: int = 30,
    enough: float = 1.005,
    deadline: float = math.inf,
) -> tuple[FloatArray, Response] | None:
    r"""Search a box of inputs for a periodic one under whose response differences grow fastest.

    Projected gradient ascent of the growth, the spectral radius of the product of Jacobians along the
    periodic response; Newton's method follows the response from step to step, stable or not.

    Parameters
    ----------
    network : EchoStateNetwork
        Without squares in the feedback.
    low, high : array (n_inputs,)
        The box.
    rows : array (period, n_inputs)
        The input to start from.
    states : array (period, n_units)
        A guess of its response.
    steps : int, optional
        30 by default.
    enough : float, optional
        Stop when differences grow by more than this per step.
    deadline : float, optional
        A value of `time.perf_counter` after which the search ends with the best so far.

    Returns
    -------
    (rows, response) or None
        None when no response is found at the start.

    Examples
    --------
    The slope of tanh is largest at 0, which the input can reach:

    >>> network = EchoStateNetwork([[-1.5]], W_in=[[1.0]], b=1.0)
    >>> low, high = np.array([-3.0]), np.array([1.0])
    >>> found = find_worst_input(network, low, high, np.array([[0.5]]), np.array([[0.5]]))
    >>> bool(abs(found[1].eigenvalues[0]) > 1)
    True
    """
    map_ = DrivenMap(network, rows)
    if map_.bend is not None:
        return None
    response = map_.newton(states)
    if response is None:
        return None
    size = 0.3
    for _ in range(steps):
        if response.growth > enough or time.perf_counter() > deadline or size < 1e-3:
            break
        slope = _input_gradient(map_, response)
        if not np.all(np.isfinite(slope)) or not np.any(slope):
            break
        typical = float(np.abs(slope).mean()) + 1e-300
        trial_rows = np.clip(rows + size * (high - low) * slope / (np.abs(slope) + typical), low, high)
        trial_map = DrivenMap(network, trial_rows)
        trial = trial_map.newton(response.states)
        if trial is not None and trial.growth > response.growth:
            map_, rows, response, size = trial_map, trial_rows, trial, min(1.5 * size, 0.5)
        else:
            size *= 0.4
    return rows, response
