"""Growth of gradients: the singular values of products of Jacobians along a trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import scipy.stats
from numba import njit
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackError, svds

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import no_input, positive_number, real_array, seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.maps import Map, checked_map
from esntools.network import EchoStateNetwork
from esntools.threads import one_blas_thread

__all__ = ["GradientGrowth", "gradient_growth"]

_LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_LONGEST: Final = 128
_FARTHEST: Final = 10**7
# Columns carried besides those asked for: they speed the convergence of the last one asked for.
_SPARE: Final = 8
_PASSES: Final = 12
_SETTLED: Final = 1e-7
# The product itself is formed up to this horizon, at most this large, and while its leading singular values
# stay within this ratio.
_SHORT: Final = 32
_LARGEST: Final = 1000
_CLOSE: Final = 1e-5
# A spread of logarithms within one step of which double precision keeps no digit.
_LOST: Final = 32.0


@final
@dataclass(frozen=True, eq=False)
class GradientGrowth:
    r"""Singular values of :math:`P_h = DG(x_{t+h-1}) \cdots DG(x_t)` for several horizons h and starts t.

    A gradient with respect to the state at time t + h reaches time t as its product with the transpose of
    P_h, whose singular values are the same.

    Attributes
    ----------
    horizons : ndarray of int, shape (n_horizons,)
        Numbers of steps h.
    starts : ndarray of int, shape (n_starts,)
        Steps t of the trajectory at which the products begin.
    log_singular_values : ndarray, shape (n_starts, n_horizons, k)
        Natural logarithms, largest first: their exponentials may leave the range of doubles. -inf for a
        direction that is annihilated.
    quantile_levels : ndarray, shape (5,)
    log_quantiles : ndarray, shape (5, n_horizons, k)
        Of the logarithms, over the starts.
    exponents : ndarray, shape (n_horizons, k)
        Finite-time exponents: mean over the starts of the logarithm divided by h, in `unit`.
    rates : ndarray, shape (k,)
        Mean slope of the logarithm from the longest horizon that is at most half of the last one to the last
        one, in `unit`: without the part that non-normal growth contributes once.
    rate_interval : ndarray, shape (k, 2)
        95 % confidence interval from the spread over the starts (Student's t).
    time_constants : ndarray, shape (k,)
        1 / \|rate\|, the time in which the gradient changes by a factor e; inf where the rate is zero.
    kind : {"vanishing", "exploding", "steady", "undecided"}
        By the interval of the largest rate: below zero, above zero, within a change of 1 % over the last
        horizon, or none of these.
    unit : {"1/step", "1/time"}
        Of exponents and rates; time constants are in steps or in time.
    dt : float or None
    note : str
        Empty, or what limits the result.
    """

    horizons: IntArray
    starts: IntArray
    log_singular_values: FloatArray
    quantile_levels: FloatArray
    log_quantiles: FloatArray
    exponents: FloatArray
    rates: FloatArray
    rate_interval: FloatArray
    time_constants: FloatArray
    kind: Literal["vanishing", "exploding", "steady", "undecided"]
    unit: Literal["1/step", "1/time"]
    dt: float | None
    note: str


# -- products of any size ----------------------------------------------------------------------------------


@njit(cache=True)
def _jacobi(rows, scale):  # type: ignore[no-untyped-def]
    """Return log singular values of diag(exp(scale)) rows, rows of length 1 or 0, by one-sided Jacobi.

    Scaling keeps the relative accuracy of the small ones (J. Demmel, K. Veselic, SIAM J. Matrix Anal. Appl.
    13 (1992) 1204, doi:10.1137/0613074). The scales only meet as the ratio of two, so that none overflows.
    """
    n = len(rows)
    tolerance = 2.0**-51 * math.sqrt(n)
    for _ in range(60):
        rotated = False
        for first in range(n - 1):
            for second in range(first + 1, n):
                i, j = first, second
                if scale[j] > scale[i]:
                    i, j = second, first
                if scale[j] == -np.inf:
                    continue
                dot = 0.0
                for m in range(rows.shape[1]):
                    dot += rows[i, m] * rows[j, m]
                if abs(dot) <= tolerance:
                    continue
                rotated = True
                ratio2 = math.exp(2.0 * (scale[j] - scale[i]))
                q = (ratio2 - 1.0) / (2.0 * dot)
                tangent = 1.0 / (abs(q) + math.sqrt(ratio2 + q * q))
                if q < 0.0:
                    tangent = -tangent
                length_i = length_j = 0.0
                for m in range(rows.shape[1]):
                    a, b = rows[i, m], rows[j, m]
                    rows[i, m] = a - ratio2 * tangent * b
                    rows[j, m] = b + tangent * a
                    length_i += rows[i, m] ** 2
                    length_j += rows[j, m] ** 2
                cosine = 0.5 * math.log1p(ratio2 * tangent * tangent)
                for row, length in ((i, math.sqrt(length_i)), (j, math.sqrt(length_j))):
                    if length > 0.0:
                        rows[row] /= length
                        scale[row] += math.log(length) - cosine
                    else:
                        scale[row] = -np.inf
        if not rotated:
            break
    return np.sort(scale)[::-1]


@njit(cache=True)
def _multiply(R, rows, scale):  # type: ignore[no-untyped-def]
    """Return the rows of R diag(exp(scale)) rows, of length 1 or 0; their lengths go to `scale`."""
    n = len(R)
    weights = np.zeros((n, n))
    top = np.full(n, -np.inf)
    for i in range(n):
        for j in range(n):
            if R[i, j] != 0.0:
                top[i] = max(top[i], math.log(abs(R[i, j])) + scale[j])
        for j in range(n):
            if R[i, j] != 0.0 and scale[j] > -np.inf:
                weights[i, j] = math.copysign(math.exp(math.log(abs(R[i, j])) + scale[j] - top[i]), R[i, j])
    after = weights @ rows
    for i in range(n):
        length = math.sqrt(np.sum(after[i] ** 2))
        if length > 0.0:
            after[i] /= length
            scale[i] = top[i] + math.log(length)
        else:
            scale[i] = -np.inf
    return after


class _Product:
    """R_h ... R_1 as diag(exp(scale)) rows, rows of length 1: whatever its size, nothing overflows."""

    def __init__(self, width: int) -> None:
        self.rows = np.eye(width)
        self.scale = np.zeros(width)

    def multiply(self, R: FloatArray) -> None:
        self.rows = _multiply(np.ascontiguousarray(R), self.rows, self.scale)

    def log_singular_values(self) -> FloatArray:
        return np.asarray(_jacobi(self.rows.copy(), self.scale.copy()))


def _transposed(system: Map) -> Callable[[FloatArray, FloatArray | None, FloatArray], FloatArray]:
    """Return (x, u, V) -> DG(u, x)^T V."""
    if not isinstance(system, EchoStateNetwork):
        return lambda x, u, V: np.asarray(system.jacobian(x, u).T @ V)
    network = system
    keep = (1.0 - network.leak_rate)[:, None]

    def multiply(x: FloatArray, u: FloatArray | None, V: FloatArray) -> FloatArray:
        gain = network.leak_rate * network.activation.slope(network.preactivation(x, u))
        scaled = gain[:, None] * V
        out = keep * V + network.W.T @ scaled
        if network.W_fb is not None and network.readout is not None:
            out += network.readout.jacobian(x).T @ (network.W_fb.T @ scaled)
        return np.asarray(out)

    return multiply


def _all_values(
    system: Map, states: FloatArray, inputs: FloatArray | None, horizons: IntArray
) -> tuple[FloatArray, float]:
    """Every singular value at every horizon, in one pass: P_h = Q R_h ... R_1 with a square Q."""
    Q = np.eye(system.n_units)
    product = _Product(system.n_units)
    out = np.empty((len(horizons), system.n_units))
    for t in range(int(horizons[-1])):
        Q, R = np.linalg.qr(system.jacobian_vector(states[t], Q, None if inputs is None else inputs[t]))
        product.multiply(R)
        for row in np.flatnonzero(horizons == t + 1):
            out[row] = product.log_singular_values()
    return out, 0.0


def _short_products(
    system: Map,
    states: FloatArray,
    inputs: FloatArray | None,
    horizons: IntArray,
    Q: FloatArray,
    out: FloatArray,
) -> tuple[int, FloatArray]:
    """Fill the rows of `out` whose product is best formed; return how many, and a frame to go on from."""
    n, width, k = len(Q), Q.shape[1], out.shape[1]
    if n > _LARGEST:
        return 0, Q
    P, log_scale, t = np.eye(n), 0.0, 0
    for row, h in enumerate(horizons[horizons <= _SHORT]):
        for step in range(t, h):
            P = system.jacobian_vector(states[step], P, None if inputs is None else inputs[step])
            size = float(np.max(np.abs(P)))
            if size == 0.0:
                out[row:] = -np.inf
                return len(out), Q
            P /= size
            log_scale += math.log(size)
        t = int(h)
        try:
            _, values, right = svds(P, k=width, v0=np.ascontiguousarray(P.T @ Q[:, 0]), tol=1e-13)
        except ArpackError:
            return row, Q
        order = np.argsort(-values)
        # The rounding of P is relative to the largest.
        if not values[order[k - 1]] > _CLOSE * values[order[0]]:
            return row, Q
        out[row] = np.log(values[order[:k]]) + log_scale
        Q = np.linalg.qr(right[order].T)[0]
    return int(np.sum(horizons <= _SHORT)), Q


def _leading_values(
    system: Map, states: FloatArray, inputs: FloatArray | None, horizons: IntArray, Q: FloatArray, k: int
) -> tuple[FloatArray, float]:
    """The k leading ones: of the product itself while they lie close, then by block power iteration.

    The iteration applies P_h and its transpose alternately and gains what a singular value is ahead of the
    next: little at short horizons. The right singular vectors hardly change from one horizon to the next, so
    each starts where the last ended.
    """
    transposed = _transposed(system)
    out = np.empty((len(horizons), k))
    worst = 0.0
    n_short, Q = _short_products(system, states, inputs, horizons, Q, out)
    for row, h in enumerate(horizons):
        if row < n_short:
            continue
        before = np.full(k, np.nan)
        for pass_ in range(_PASSES):
            product = _Product(Q.shape[1])
            back = pass_ % 2 == 1
            for t in reversed(range(h)) if back else range(h):
                u = None if inputs is None else inputs[t]
                Z = transposed(states[t], u, Q) if back else system.jacobian_vector(states[t], Q, u)
                Q, R = np.linalg.qr(Z)
                product.multiply(R)
            values = product.log_singular_values()[:k]
            dead = np.isneginf(values)
            change = np.where(dead, np.where(np.isneginf(before), 0.0, np.inf), np.abs(values - before))
            before = values
            # Only after a pass back is Q a frame at the start again.
            if back and np.all(change <= _SETTLED * np.maximum(1.0, np.abs(np.where(dead, 0.0, values)))):
                break
        else:
            worst = max(worst, float(np.max(np.where(dead, 0.0, change))))
        out[row] = before
    return out, worst


# -- the question ------------------------------------------------------------------------------------------


def _checked_horizons(horizons: ArrayLike | None, available: int | None) -> IntArray:
    if horizons is None:
        longest = _LONGEST if available is None else min(_LONGEST, max(1, available // 2))
        return np.array([2**i for i in range(longest.bit_length())], dtype=np.intp)
    given = np.unique(np.atleast_1d(real_array(horizons, "horizons")))
    whole = len(given) > 0 and given[0] >= 1.0 and given[-1] <= _FARTHEST and np.all(given == np.floor(given))
    if not whole or isinstance(horizons, bool):
        raise InvalidInputError(
            "horizons", str(horizons), f"must be whole numbers of steps in 1 ... {_FARTHEST}"
        )
    return given.astype(np.intp)


@one_blas_thread
def gradient_growth(
    system: Map,
    u: ArrayLike | None = None,
    x0: ArrayLike | None = None,
    *,
    horizons: ArrayLike | None = None,
    n_values: int | None = None,
    n_starts: int = 20,
    washout: int = 100,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> GradientGrowth:
    r"""Estimate how gradients grow or vanish with the number of steps they are carried through.

    Computes the leading singular values of :math:`P_h = DG(x_{t+h-1}) \cdots DG(x_t)` for horizons h, from
    `n_starts` starts t spaced evenly along a trajectory. The product is accumulated as triangular factors
    with logarithmic scales, so that singular values may differ by hundreds of orders of magnitude from one
    another and from 1.

    Parameters
    ----------
    system : Map
        A network, a gated cell, or any other map.
    u : array_like, shape (n_steps, n_inputs), optional
        The input that drives it; none for an autonomous map.
    x0 : array_like, shape (n_units,), optional
        Zero by default, or the map's own ``x0`` where it has one.
    horizons : array_like of int, optional
        Numbers of steps; the powers of 2 up to 128 by default, or up to half of the steps after the washout.
    n_values : int, optional
        How many singular values; by default 10, or all of fewer units.
    n_starts : int
        Default 20.
    washout : int
        Steps before the first start. Default 100.
    dt : float, optional
        Time of a step: exponents and rates then are in 1/time and time constants in time.
    rng : int, Generator or None
        For the frame from which the power iteration of a large map starts; default 0.
    progress : callable, optional

    Returns
    -------
    GradientGrowth

    Raises
    ------
    InvalidInputError
        When a shape does not fit, a number is out of range, the input is shorter than the washout and the
        longest horizon, or the trajectory leaves every bound.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> network = EchoStateNetwork([[0.0]], leak_rate=0.1)  # x' = 0.9 x
    >>> growth = gradient_growth(network)
    >>> growth.kind, growth.time_constants.round(4)  # -1 / ln 0.9
    ('vanishing', array([9.4912]))

    References
    ----------
    Y. Bengio, P. Simard, P. Frasconi, IEEE Trans. Neural Netw. 5 (1994) 157, doi:10.1109/72.279181, section
    IV; finite-time exponents: E. Ott, Chaos in Dynamical Systems (2002), section 4.4.
    """
    n = checked_map(system).n_units
    n_starts, washout = whole_number(n_starts, "n_starts"), whole_number(washout, "washout", 0)
    k = min(n, 10) if n_values is None else whole_number(n_values, "n_values", 1, n)
    if dt is not None:
        dt = positive_number(dt, "dt", "leave it out for rates per step")
    generator = seeded(rng)
    note = ""
    inputs: FloatArray | None = None
    if system.n_inputs == 0:
        no_input(u, "map")
        steps = _checked_horizons(horizons, None)
        longest = int(steps[-1])
        starts = washout + longest * np.arange(n_starts)
    else:
        if u is None:
            raise InvalidInputError(
                "u", "None", f"the map has {system.n_inputs} inputs", "pass the input series"
            )
        inputs = real_array(u, "u")
        inputs = inputs[:, None] if inputs.ndim == 1 and system.n_inputs == 1 else inputs
        if inputs.ndim != 2 or inputs.shape[1] != system.n_inputs or not np.all(np.isfinite(inputs)):
            raise InvalidInputError(
                "u", f"shape {inputs.shape}",
                f"must be finite, of shape (n_steps, n_inputs = {system.n_inputs})",
            )  # fmt: skip
        available = len(inputs) - washout
        if available < 1:
            raise InvalidInputError(
                "washout", str(washout), f"must leave steps of the input's {len(inputs)}", "drive longer"
            )
        steps = _checked_horizons(horizons, available)
        longest = int(steps[-1])
        if longest > available:
            raise InvalidInputError(
                "horizons", str(longest), f"the input has {available} steps after the washout", "drive longer"
            )
        starts = washout + np.unique(np.linspace(0, available - longest, n_starts).astype(np.intp))
        if len(starts) > 1 and np.min(np.diff(starts)) < longest:
            note = "the products of neighbouring starts share steps: the interval is too narrow"
    if x0 is None:
        x0 = getattr(system, "x0", None)
    x = np.zeros(n) if x0 is None else np.array(real_array(x0, "x0"))
    if x.shape != (n,) or not np.all(np.isfinite(x)):
        raise InvalidInputError("x0", str(x0), f"must be {n} finite numbers")

    progress("gradient growth", 0.0)
    states = np.empty((int(starts[-1]) + longest, n))
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(len(states)):
            states[t] = x
            x = system.step(x, None if inputs is None else inputs[t])
    if not np.all(np.isfinite(states)):
        raise InvalidInputError("x0", "the trajectory is unbounded", "must stay finite", "choose another")

    # Square frames need one pass; narrow ones some four, twice as long in all for doubling horizons.
    width = k + _SPARE
    everything = n <= 64 or 6 * width >= n
    frame = generator.standard_normal((n, 1 if everything else width))
    logs = np.empty((len(starts), len(steps), k))
    unsettled = 0.0
    for row, start in enumerate(starts):
        part = states[start : start + longest]
        driven = None if inputs is None else inputs[start : start + longest]
        if everything:
            found, change = _all_values(system, part, driven, steps)
        else:
            found, change = _leading_values(system, part, driven, steps, np.linalg.qr(frame)[0], k)
        logs[row] = found[:, :k]
        unsettled = max(unsettled, change)
        progress("gradient growth", (row + 1) / len(starts))
    # Of a product of few Jacobians; that of many is accumulated without loss.
    lost = np.isfinite(logs[:, 0]) & (logs[:, 0] < logs[:, 0, :1] - _LOST * steps[0])
    if np.any(lost):
        first = int(np.flatnonzero(np.any(lost, axis=0))[0]) + 1
        text = (
            f"singular values from number {first} on are rounding where the Jacobian is singular, or nearly"
        )
        note = f"{note}; {text}" if note else text
    if unsettled > 1e-6:
        text = f"the power iteration left some logarithms uncertain by about {unsettled:.1e}"
        note = f"{note}; {text}" if note else text
    return _summary(steps, starts, logs, dt, note)


def _summary(
    horizons: IntArray, starts: IntArray, logs: FloatArray, dt: float | None, note: str
) -> GradientGrowth:
    time = 1.0 if dt is None else dt
    last = int(horizons[-1])
    halves = np.flatnonzero(2 * horizons <= last)
    with np.errstate(invalid="ignore"):
        if len(halves):
            h = int(horizons[halves[-1]])
            slopes = (logs[:, -1] - logs[:, halves[-1]]) / ((last - h) * time)
        else:
            slopes = logs[:, -1] / (last * time)
        # Annihilated at both horizons.
        slopes[np.isneginf(logs[:, -1])] = -np.inf
        rates = np.mean(slopes, axis=0)
        quantiles = np.quantile(logs, _LEVELS, axis=0, method="nearest")
    interval = np.column_stack([rates, rates])
    finite = np.isfinite(rates)
    if len(starts) > 1:
        half = np.std(slopes[:, finite], axis=0, ddof=1) / math.sqrt(len(starts))
        half *= scipy.stats.t.ppf(0.975, len(starts) - 1)
        interval[finite] += np.column_stack([-half, half])
    else:
        interval[:] = -np.inf, np.inf
        note = f"{note}; one start: no interval" if note else "one start: no interval"
    with np.errstate(divide="ignore"):
        constants = 1.0 / np.abs(rates)
    low, high = interval[0]
    small = 0.01 / (last * time)
    kind: Literal["vanishing", "exploding", "steady", "undecided"] = "undecided"
    if -small <= low and high <= small:
        kind = "steady"
    elif high < 0.0:
        kind = "vanishing"
    elif low > 0.0:
        kind = "exploding"
    arrays = (horizons, starts, logs, np.array(_LEVELS), quantiles,
              np.mean(logs, axis=0) / (horizons[:, None] * time), rates, interval, constants)  # fmt: skip
    for array in arrays:
        array.setflags(write=False)
    return GradientGrowth(*arrays, kind, "1/step" if dt is None else "1/time", dt, note)
