"""One periodic orbit: its states, multipliers and index, and how a guess is refined to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import scipy.sparse.linalg
from numpy.typing import ArrayLike

from esntools._typing import ComplexArray, FloatArray
from esntools.arguments import no_input, real_array, real_number, whole_number
from esntools.errors import InvalidInputError
from esntools.maps import Map, checked_map
from esntools.orbits.shooting import Shooting, newton, polish

__all__ = ["PeriodicOrbit", "refine_orbit"]

#: All multipliers up to this many units, the leading ones above.
ALL_MULTIPLIERS: Final = 300
_LEADING: Final = 8

# As for fixed points: with a residual of 1e-12, closer to the unit circle than this is undecided.
_UNDECIDED: Final = 1e-5

# A map that is not the network's equation may leave states where they are (a closed gate); nearer to 1 than
# this a multiplier says that the orbit is not determined by its equations.
_SINGULAR: Final = 1e-10

#: An orbit is listed when the next Newton correction is at most this (relative to the largest state).
CORRECTION: Final = 1e-7


@final
@dataclass(frozen=True, eq=False)
class PeriodicOrbit:
    r"""States :math:`x_0, \dots, x_{p-1}` with :math:`x_j = G(u_j, x_{j-1})`, indices modulo p.

    Attributes
    ----------
    states : ndarray, shape (period, n_units)
        ``states[j]`` is the state that follows the input ``u[j]``, as in a driven trajectory.
    u : ndarray, shape (period, n_inputs)
        The input of every step; no columns for an autonomous map.
    residual : float
        Largest component of \|G(u_j, x_{j-1}) - x_j\|.
    multipliers : ndarray of complex
        Eigenvalues of :math:`J_{p-1} \cdots J_0` by decreasing modulus: all of them up to 300 units, the
        leading ones (at least all unstable ones) above.
    stable : bool
        Every multiplier is inside the unit circle, by a margin that the residual can decide.
    n_unstable : int
        Number of multipliers outside the unit circle.
    index : int
        sign det(I - DG^p) at each of the points: +1 or -1; 0 where a multiplier is too near 1 to tell.
    hyperbolic : bool
        No multiplier is too near the unit circle to tell on which side it is.
    """

    states: FloatArray
    u: FloatArray
    residual: float
    multipliers: ComplexArray
    stable: bool
    n_unstable: int
    index: int
    hyperbolic: bool

    @property
    def period(self) -> int:
        return len(self.states)

    def index_of_iterate(self, times: int) -> int:
        r"""Return sign :math:`\det(I - (DG^p)^k)` for k = `times`: the index of each point under F^(kp).

        Complex multipliers come in pairs and contribute a positive factor; a real one above 1 changes the
        sign, and one below -1 does where k is even. 0 where :math:`\mu^k` is too near 1 to tell.

        Examples
        --------
        >>> from esntools.network import EchoStateNetwork
        >>> origin = refine_orbit(EchoStateNetwork([[-2.0]]), [[0.0]])
        >>> origin.index, origin.index_of_iterate(2)
        (1, -1)
        """
        mu = self.multipliers
        if self.index == 0 or np.any(np.abs(mu[mu.imag != 0.0] ** times - 1.0) <= _UNDECIDED * times):
            return 0
        if times % 2:
            return self.index
        real = mu.real[mu.imag == 0.0]
        if np.any(np.abs(real + 1.0) <= _UNDECIDED):
            return 0
        return -self.index if np.sum(real < -1.0) % 2 else self.index


def _by_sweeps(J: FloatArray) -> ComplexArray | None:
    r"""Return the eigenvalues of :math:`J_{p-1} \cdots J_0`, each to its own relative precision, or None.

    Orthogonal iteration around the cycle until the triangular factors close; the product itself, in which
    large multipliers drown small ones, is not formed. None where more than two moduli are nearly equal.

    References
    ----------
    A. W. Bojanczyk, G. Golub, P. Van Dooren, Proc. SPIE 1770 (1992) 31, doi:10.1117/12.130915.
    """
    n = J.shape[1]
    Q = np.eye(n)
    for _ in range(60):
        start, factors = Q, []
        for factor in J:
            Q, R = np.linalg.qr(factor @ Q)
            factors.append(R)
        turn = start.T @ Q
        coupled = np.abs(np.diag(turn, -1)) > 1e-9
        blocks, i = [], 0
        while i < n:
            width = 2 if i < n - 1 and coupled[i] else 1
            blocks.append(slice(i, i + width))
            i += width
        rest = turn.copy()
        for block in blocks:
            rest[block, block] = 0.0
        if np.max(np.abs(rest), initial=0.0) > 1e-9:
            continue
        values = []
        for block in blocks:
            part = turn[block, block]
            scale = 0.0
            for R in reversed(factors):
                part = part @ R[block, block]
                size = max(float(np.max(np.abs(part))), 1e-300)
                part, scale = part / size, scale + float(np.log(size))
            values.append(np.linalg.eigvals(part) * np.exp(scale))
        return np.concatenate(values).astype(np.complex128)
    return None


def _multipliers(shooting: Shooting, X: FloatArray, n_wanted: int | None) -> tuple[ComplexArray, float]:
    """Return the multipliers by decreasing modulus, and the size of their rounding error at 1."""
    n = shooting.n_units
    noise = 0.0
    k = n if n_wanted is None and n <= ALL_MULTIPLIERS else min(n, n_wanted or _LEADING)
    products = shooting.products(X[None])

    def around(v: FloatArray) -> FloatArray:
        w = np.ravel(v)[None]
        for product in products:
            w = product(w)
        return np.asarray(w[0])

    values: ComplexArray | None = None
    while values is None:
        if k >= n - 1 or n <= 64:
            M = np.eye(n)
            growth = 1.0
            J = shooting.jacobians(X[None])[0]
            for factor in J:
                M = factor @ M
                growth = max(growth, float(np.max(np.abs(M))))
            noise = 100.0 * len(J) * float(np.finfo(np.float64).eps) * growth
            if noise > 1e-9 and len(J) > 1:
                values = _by_sweeps(J)
                noise = noise if values is None else 0.0
            if values is None:
                values = np.linalg.eigvals(M).astype(np.complex128)
            break
        operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=around, dtype=np.float64)
        try:
            # ARPACK's own start vector is random; an answer should not be.
            leading = scipy.sparse.linalg.eigs(
                operator, k=k, which="LM", return_eigenvectors=False, v0=np.cos(np.arange(n)), tol=1e-10,
                ncv=min(n, max(4 * k, 60)), maxiter=20,
            )  # fmt: skip
        except scipy.sparse.linalg.ArpackNoConvergence as error:
            # A cluster well inside the circle may take for ever and says nothing about stability.
            leading = error.eigenvalues
            if len(leading) == 0 or np.min(np.abs(leading)) > 0.9:
                k = n
                continue
        if np.min(np.abs(leading)) > 1.0:
            k = min(2 * k, n)
            continue
        values = leading
    values = np.asarray(values, dtype=np.complex128)
    # Conjugate pairs have equal moduli up to rounding: the positive imaginary part first.
    return values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))], noise


def checked_input(system: Map, u: ArrayLike | None, period: int) -> FloatArray:
    """Return the input of every step, (period, n_inputs), from a constant or a periodic input."""
    m = system.n_inputs
    if m == 0:
        no_input(u, "map")
        return np.zeros((period, 0))
    if u is None:
        raise InvalidInputError(
            "u", "None", f"the map has {m} inputs", "pass one constant input or one for every step"
        )
    array = real_array(u, "u")
    if array.ndim < 2:
        array = np.atleast_1d(array)[None]
    if array.ndim != 2 or array.shape[1] != m or len(array) == 0:
        raise InvalidInputError(
            "u", f"shape {np.shape(u)}", f"must be (n_inputs = {m},) or (steps, n_inputs = {m})"
        )
    if not np.all(np.isfinite(array)):
        raise InvalidInputError("u", "an entry is NaN or infinite", "every entry must be finite")
    if period % len(array):
        raise InvalidInputError(
            "u", f"{len(array)} steps", f"the period of the input must divide the orbit's, {period}",
            f"ask for a period that is a multiple of {len(array)}",
        )  # fmt: skip
    return np.tile(array, (period // len(array), 1))


def input_period(u: FloatArray) -> int:
    """Return the smallest period of the input sequence u (p, n_inputs)."""
    p = len(u)
    return next(q for q in range(1, p + 1) if p % q == 0 and np.array_equal(u, np.roll(u, q, axis=0)))


def classified(
    shooting: Shooting, X: FloatArray, residual: float, n_multipliers: int | None
) -> PeriodicOrbit:
    """Return the orbit of states X (p, n) with its multipliers, stability and index."""
    network = shooting.network
    leak = 1.0 if network is None else float(np.min(network.leak_rate))
    values, error = _multipliers(shooting, X, n_multipliers)
    margin = max(_UNDECIDED * leak, error)
    hyperbolic = bool(np.all(np.abs(np.abs(values) - 1.0) > margin))
    n_unstable = int(np.sum(np.abs(values) > 1.0 + margin))
    neutral = bool(np.any(np.abs(values - 1.0) <= margin))
    n_above = int(np.sum((values.imag == 0.0) & (values.real > 1.0)))
    X, u = X.copy(), shooting.u.copy()
    X.setflags(write=False)
    u.setflags(write=False)
    return PeriodicOrbit(
        X, u, residual, values, hyperbolic and n_unstable == 0, n_unstable,
        0 if neutral else (-1) ** n_above, hyperbolic,
    )  # fmt: skip


def refined(
    shooting: Shooting, X: FloatArray, tol: float, n_multipliers: int | None = None
) -> PeriodicOrbit | None:
    """Polish X (p, n) and return the orbit of its smallest period, or None where there is none near."""
    scale = max(1.0, float(np.max(np.abs(X))))
    allowed = max(tol * scale, shooting.rounding(X))
    X, residual, correction = polish(shooting, X, target=0.1 * allowed)
    if not (residual <= allowed and correction <= CORRECTION * scale):
        return None
    p, q = shooting.period, input_period(shooting.u)
    for d in range(q, p, q):
        # Only divisors, and only where the orbit of the shorter period is there too.
        if p % d == 0 and np.max(np.abs(X - np.roll(X, d, axis=0))) <= 1e-6 * scale:
            shorter = refined(Shooting(shooting.system, shooting.u[:d]), X[:d], tol, n_multipliers)
            return shorter
    orbit = classified(shooting, X, residual, n_multipliers)
    if shooting.network is None and np.min(np.abs(orbit.multipliers - 1.0)) <= _SINGULAR:
        # A saturated gate leaves every state where it is, to rounding: the equations say nothing there.
        return None
    return orbit


def refine_orbit(
    system: Map,
    states: ArrayLike,
    u: ArrayLike | None = None,
    *,
    tol: float = 1e-12,
    max_iterations: int = 30,
    n_multipliers: int | None = None,
) -> PeriodicOrbit | None:
    r"""Return the periodic orbit to which Newton's method leads from a guess of all its states.

    Multiple shooting: solves :math:`x_j = G(u_j, x_{j-1})` for all j (modulo the period) at once.

    Parameters
    ----------
    system : Map
        An `EchoStateNetwork` or any other map.
    states : array_like, shape (period, n_units)
        The guess; ``states[j]`` follows the input ``u[j]``.
    u : array_like, shape (n_inputs,) or (steps, n_inputs), optional
        A constant input, or a periodic one whose period divides that of the orbit; none for an autonomous
        map.
    tol : float
        Largest residual (max norm, relative to max(1, \|x\|)); the map's own rounding error where that is
        larger. Default 1e-12.
    max_iterations : int
        Of the damped Newton method that precedes the polishing. Default 30.
    n_multipliers : int, optional
        Compute about this many leading multipliers only.

    Returns
    -------
    PeriodicOrbit or None
        None where Newton's method does not converge. The orbit has its minimal period: fewer states than
        the guess where it closes earlier.

    Raises
    ------
    InvalidInputError
        When states or u have the wrong shape or are not finite, or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> orbit = refine_orbit(EchoStateNetwork([[-2.0]]), [[0.9], [-1.0]])
    >>> orbit.states.round(6).tolist(), orbit.multipliers.real.round(4), orbit.stable
    ([[0.957504], [-0.957504]], array([0.0277]), True)

    References
    ----------
    S. J. Wright, SIAM J. Sci. Stat. Comput. 13 (1992) 742, doi:10.1137/0913044.
    """
    checked_map(system)
    X = real_array(states, "states")
    if X.ndim != 2 or len(X) == 0 or X.shape[1] != system.n_units:
        raise InvalidInputError(
            "states", f"shape {X.shape}", f"must be (period, n_units = {system.n_units}), one state per step"
        )
    if not np.all(np.isfinite(X)):
        raise InvalidInputError("states", "an entry is NaN or infinite", "every entry must be finite")
    check_tolerance(tol)
    max_iterations = whole_number(max_iterations, "max_iterations")
    if n_multipliers is not None:
        n_multipliers = whole_number(n_multipliers, "n_multipliers", 1, system.n_units)
    shooting = Shooting(system, checked_input(system, u, len(X)))
    tight = 1e-10 * max(1.0, float(np.max(np.abs(X))))
    X = newton(shooting, X[None], np.random.default_rng(0), tol=tight, max_iterations=max_iterations)[0][0]
    if not np.all(np.isfinite(X)):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return refined(shooting, X, tol, n_multipliers)


def check_tolerance(tol: float) -> None:
    if not 1e-14 <= real_number(tol, "tol") <= 1e-6:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-14, 1e-6]", "leave it at 1e-12")
