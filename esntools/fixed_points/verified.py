"""Proofs in rounded arithmetic: definiteness, unstable directions, products, and values of activations.

What is assumed of the arithmetic is stated in `esntools.fixed_points.certified`.
"""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import flint
import numpy as np
import scipy.linalg
from flint import arb
from threadpoolctl import threadpool_limits

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.enclosures.expressions import parse_expression
from esntools.enclosures.intervals import Interval
from esntools.enclosures.jets import Program
from esntools.network import EchoStateNetwork

__all__ = [
    "enclosed", "exact_product", "frobenius_norm", "gamma", "one_thread", "positive_definite",
    "preactivation", "unstable_directions",
]  # fmt: skip

_U: Final = 2.0**-53
_TINY: Final = 1e-290
_BITS: Final = 100

_ARB: Final[dict[str, Any]] = {
    "tanh": (lambda z: z.tanh(), lambda z, v: 1 - v * v),
    "logistic": (lambda z: 1 / (1 + (-z).exp()), lambda z, v: v * (1 - v)),
    "erf": (lambda z: z.erf(), lambda z, v: 2 * (-z * z).exp() / arb.pi().sqrt()),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z, v: 1 / (1 + abs(z)) ** 2),
}


def one_thread(n: int) -> AbstractContextManager[Any]:
    """Keep BLAS to one thread for matrices of n rows: on a busy machine two are many times slower."""
    # Below, looking for the libraries would take longer than the work.
    return threadpool_limits(limits=1) if n > 100 else nullcontext()


# -- verified linear algebra -----------------------------------------------------------------------------


def gamma(n: int) -> float:
    """Return a bound of n u / (1 - n u), with room for a few roundings of what it multiplies.

    >>> 5 * 2.0**-53 < gamma(5) < 6 * 2.0**-53
    True
    """
    return 1.01 * n * _U / (1.0 - 1.01 * n * _U) + 1e-3 * _U


def frobenius_norm(A: FloatArray) -> float:
    """Return an upper bound of the Frobenius norm."""
    return float(np.sqrt(np.sum(np.square(A)))) * (1.0 + gamma(A.size + 4)) + _TINY


def positive_definite(Q: FloatArray, error: float) -> bool:
    """Whether every symmetric matrix within `error` of the symmetric Q in the spectral norm certainly is.

    By Cholesky of Q - t I: where it runs to its end, its smallest eigenvalue is at least
    -gamma_{n+1} times the squared Frobenius norm of the factor.
    """
    n = len(Q)
    diagonal = np.diag(Q)
    if not (np.all(np.isfinite(Q)) and np.all(diagonal > 0.0)):
        return False
    shift = 1.01 * (error + gamma(n + 4) * float(np.sum(diagonal)) + 2.0 * _U * float(diagonal.max()))
    try:
        factor = np.linalg.cholesky(Q - shift * np.eye(n))
    except np.linalg.LinAlgError:
        return False
    lost = gamma(n + 2) * frobenius_norm(np.asarray(factor)) ** 2 + _U * (float(diagonal.max()) + shift)
    return shift * (1.0 - 4.0 * _U) > (error + lost) * (1.0 + 8.0 * _U)


def _negative_directions(H: FloatArray) -> int | None:
    """Return the proved number of negative eigenvalues of a symmetric matrix, the others being positive."""
    n = len(H)
    Z = np.linalg.eigh(H)[1]
    B = Z.T @ (H @ Z)
    error = gamma(2 * n + 6) * frobenius_norm(Z) ** 2 * frobenius_norm(H)
    diagonal = np.diag(B)
    rest = (np.sum(np.abs(B - np.diag(diagonal)), axis=1) + n * error) * (1.0 + gamma(n + 4))
    if not np.all(np.abs(diagonal) > rest + error):
        return None
    return int(np.sum(diagonal < 0.0))


def _stein(J: FloatArray) -> tuple[FloatArray, bool] | None:
    """Return H with H - J'HJ about I, and whether it was summed as a series (then it should be positive)."""
    n = len(J)
    A, H = J, np.eye(n)
    for _ in range(24):
        H = H + A.T @ H @ A
        A = A @ A
        size = float(np.linalg.norm(A))
        if not size < 1e8:
            break
        if size < 1e-6:
            return 0.5 * (H + H.T), True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            H = scipy.linalg.solve_discrete_lyapunov(J.T, np.eye(n), method="bilinear")
    except (np.linalg.LinAlgError, ValueError):
        return None
    return (0.5 * (H + H.T), False) if np.all(np.isfinite(H)) else None


def unstable_directions(J: FloatArray, error: float) -> int | None:
    """Return the number of eigenvalues outside the unit circle of every matrix near J, none being on it.

    Near means: within `error` in the Frobenius norm, complex matrices included. None when not proved.
    """
    with np.errstate(all="ignore"):
        solved = _stein(J)
        if solved is None:
            return None
        H, positive = solved
        # A power of two: no rounding.
        H = H * 2.0 ** -math.floor(math.log2(max(float(np.abs(H).max()), _TINY)))
        H_J = H @ J
        Q = H - J.T @ H_J
        n, size_H, size_J = len(J), frobenius_norm(H), frobenius_norm(J)
        lost = gamma(2 * n + 6) * (size_H + size_J**2 * size_H)
        moved = 2.0 * error * (frobenius_norm(H_J) + lost) + error**2 * size_H
        if not positive_definite(0.5 * (Q + Q.T), 1.01 * (lost + moved)):
            return None
        if positive and positive_definite(H, 0.0):
            return 0
        return _negative_directions(H)


# -- the network in proved arithmetic ---------------------------------------------------------------------


def exact_product(A: Any, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return A x as if in twice the precision, and a bound of the error.

    Ogita, Rump and Oishi, SIAM J. Sci. Comput. 26 (2005) 1955, doi:10.1137/030601818, Dot2: the error is at
    most u |A x| + gamma_n^2 |A| |x|.
    """
    A = A if isinstance(A, np.ndarray) else A.toarray()
    total, low, size = (np.zeros(len(A)) for _ in range(3))
    for j in range(A.shape[1]):
        a, b = A[:, j], float(x[j])
        p = a * b
        # Veltkamp's splitting; weights are far below where it overflows.
        t = 134217729.0 * a
        a_high = t - (t - a)
        a_low = a - a_high
        t_b = 134217729.0 * b
        b_high = t_b - (t_b - b)
        b_low = b - b_high
        e = a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)
        s = total + p
        v = s - total
        low += ((total - (s - v)) + (p - v)) + e
        total = s
        size += np.abs(p)
    result = total + low
    n = A.shape[1] + 2
    return result, 2.0 * _U * np.abs(result) + 2.0 * gamma(n) ** 2 * size + n * _TINY


def _two_squares(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return two doubles whose sum is x^2, exactly unless one of them underflows."""
    square = x * x
    t = 134217729.0 * x
    high = t - (t - x)
    low = x - high
    return square, low * low - ((square - high * high) - 2.0 * (high * low))


def preactivation(network: EchoStateNetwork, x: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return z(x) = W x + W_in u + W_fb psi(x) + b at the doubles x and u, with a bound of its error.

    Each sum is one product, so that terms which cancel (a readout of large weights) lose no digits.
    """
    W = network.W if isinstance(network.W, np.ndarray) else network.W.toarray()
    matrices, vectors = [W, network.W_in, network.b[:, None]], [x, u, np.ones(1)]
    passed_on = np.zeros(network.n_units)
    readout, W_fb = network.readout, network.W_fb
    if readout is not None and W_fb is not None:
        parts, terms = [readout.W_out, readout.b_out[:, None]], [x, np.ones(1)]
        lost = np.zeros(len(readout.b_out))
        if readout.W_sq is not None:
            square, rest = _two_squares(x)
            parts += [readout.W_sq, readout.W_sq]
            terms += [square, rest]
            lost = np.abs(readout.W_sq).sum(axis=1) * _TINY
        y, y_error = exact_product(np.hstack(parts), np.concatenate(terms))
        y_error = (y_error + lost) * (1.0 + 8.0 * _U)
        passed_on = (np.abs(W_fb) @ y_error) * (1.0 + gamma(len(y) + 4))
        matrices.append(W_fb)
        vectors.append(y)
    z, error = exact_product(np.hstack(matrices), np.concatenate(vectors))
    return z, (error + passed_on) * (1.0 + 8.0 * _U) + _TINY


def enclosed(phi: Activation, low: FloatArray, high: FloatArray) -> tuple[FloatArray, ...]:
    """Return (lowest, highest) value and (lowest, highest) slope of phi on each interval [low, high]."""
    out = np.empty((4, len(low)))
    if phi.name in _ARB:
        value, slope = _ARB[phi.name]
        before = flint.ctx.prec
        flint.ctx.prec = _BITS
        try:
            for k, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
                v_a, v_b = value(arb(a)), value(arb(b))
                s_a, s_b = slope(arb(a), v_a), slope(arb(b), v_b)
                out[0, k], out[1, k] = float(v_a.lower()), float(v_b.upper())
                out[2, k] = min(float(s_a.lower()), float(s_b.lower()))
                out[3, k] = max(float(s_a.upper()), float(s_b.upper()))
        finally:
            flint.ctx.prec = before
        out[0::2] = np.nextafter(out[0::2], -np.inf)
        out[1::2] = np.nextafter(out[1::2], np.inf)
        # The slope is even and falls with |z|.
        out[3, (low <= 0.0) & (high >= 0.0)] = phi.slope_bounds[1]
        return tuple(out)
    if phi.name in ("identity", "relu", "hard_tanh"):
        below = phi.name == "identity"
        out[0], out[1] = phi(low), phi(high)
        out[2:] = 1.0
        if phi.name == "hard_tanh":
            out[2] = (low > -1.0) & (high < 1.0)
            out[3] = (low <= 1.0) & (high >= -1.0)
        elif not below:
            out[2], out[3] = low > 0.0, high >= 0.0
        return tuple(out)
    program = Program(parse_expression(phi.expression))
    for k, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        value, slope = program.jet(Interval(a, b))[:2]
        out[:, k] = value.lo, value.hi, slope.lo, slope.hi
    return tuple(out)
