"""Attractors that are points or cycles: polished, with multipliers and a radius of arrival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from esntools._typing import ComplexArray, FloatArray
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["Attractor", "Cycle", "arrival_radius", "point_attractor", "polish_cycle"]

Kind: TypeAlias = Literal["fixed point", "periodic orbit", "chaos", "torus or chaos"]

#: Up to this many units Jacobians are formed and solved with.
_DENSE: Final = 600
_LYAPUNOV: Final = 200
_LEADING: Final = 6

# sup |phi''| of the smooth built-in activations.
_CURVATURE: Final = {
    "tanh": 0.7699, "logistic": 0.0963, "softsign": 2.0, "erf": 0.9679, "sine": 1.0,
}  # fmt: skip


@final
@dataclass(frozen=True, eq=False, repr=False)
class Attractor:
    """What runs tend to.

    Attributes
    ----------
    kind : {"fixed point", "periodic orbit", "chaos", "torus or chaos"}
        ``"chaos"`` where the exponent's interval lies above zero; ``"torus or chaos"`` where it does not and
        no period up to `max_period` was seen.
    mean : ndarray, shape (n_units,)
        The mean state over the attractor.
    states : ndarray, shape (n, n_units)
        The point; the points of the cycle in order; or a stretch of a run on the attractor.
    period : int or None
        1 for a fixed point; None where there is none, or none up to `max_period`.
    multipliers : ndarray of complex, or None
        Of the map, or of its p-th iterate on a cycle, by falling modulus: all of them up to 600 units, the
        leading ones above. None where there is no period.
    exponent : float
        The leading Lyapunov exponent, in 1/step.
    exponent_interval : tuple of float
        Its 95 % interval; of a point or cycle the exponent itself, twice.
    radius : float
        A state within this distance (2-norm) of one of `states` counted as arrived. For a fixed point of a
        network of up to 200 units a ball in the basin, from a quadratic Lyapunov function and a bound on
        the activation's curvature (in floating point); else a millionth of max(1, largest component)
        times the root of n_units. NaN where arrival was decided by means.
    """

    kind: Kind
    mean: FloatArray
    states: FloatArray
    period: int | None
    multipliers: ComplexArray | None
    exponent: float
    exponent_interval: tuple[float, float]
    radius: float

    def __repr__(self) -> str:
        period = f", period={self.period}" if self.period is not None and self.period > 1 else ""
        return f"Attractor({self.kind!r}{period}, exponent={self.exponent:.6g})"

    @property
    def is_point(self) -> bool:
        """Whether it is a fixed point or a cycle of known period."""
        return self.period is not None


@final
@dataclass(frozen=True, eq=False)
class Cycle:
    """A solution of F^p(x) = x, attracting or not: its states in order, residual and multipliers."""

    states: FloatArray
    residual: float
    multipliers: ComplexArray


def _orbit(system: Map, x: FloatArray, period: int) -> FloatArray:
    """Return x and its images up to the period-th, shape (period + 1, n_units)."""
    out = np.empty((period + 1, len(x)))
    out[0] = x
    for k in range(period):
        out[k + 1] = system.step(out[k])
    return out


def _multipliers(system: Map, states: FloatArray) -> ComplexArray:
    n = states.shape[1]
    if n <= _DENSE:
        J = np.eye(n)
        for x in states:
            J = system.jacobian(x) @ J
        values = scipy.linalg.eigvals(J)
    else:

        def product(v: FloatArray) -> FloatArray:
            v = np.ravel(v)
            for x in states:
                v = system.jacobian_vector(x, v)
            return v

        operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=product, dtype=np.float64)
        try:
            values = scipy.sparse.linalg.eigs(
                operator, k=_LEADING, ncv=60, v0=np.cos(np.arange(n)), return_eigenvectors=False, maxiter=300
            )
        except scipy.sparse.linalg.ArpackError:
            J = np.eye(n)
            for x in states:
                J = system.jacobian_vector(x, J)
            values = scipy.linalg.eigvals(J)
    return np.asarray(values[np.argsort(-np.abs(values), kind="stable")], dtype=np.complex128)


def polish_cycle(system: Map, x: FloatArray, period: int) -> Cycle | None:
    """Solve F^p(x) = x by Newton from x; None where it does not converge. The period returned is minimal."""
    n = len(x)
    best, best_residual = x, np.inf
    with np.errstate(all="ignore"):
        for _ in range(30):
            orbit = _orbit(system, x, period)
            defect = orbit[-1] - x
            residual = float(np.max(np.abs(defect)))
            if not np.isfinite(residual) or (residual >= best_residual and best_residual < 1e-9):
                break
            if residual < best_residual:
                best, best_residual = x, residual
            if residual == 0.0:
                break
            if n <= _DENSE:
                J = np.eye(n)
                for y in orbit[:-1]:
                    J = system.jacobian(y) @ J
                try:
                    step = np.linalg.solve(np.eye(n) - J, defect)
                except np.linalg.LinAlgError:
                    break
            else:

                def product(v: FloatArray, orbit: FloatArray = orbit) -> FloatArray:
                    w = v = np.ravel(v)
                    for y in orbit[:-1]:
                        w = system.jacobian_vector(y, w)
                    return v - w

                operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=product, dtype=np.float64)
                step, _ = scipy.sparse.linalg.gmres(operator, defect, rtol=1e-6, restart=60, maxiter=3)
            if not np.all(np.isfinite(step)):
                break
            # A longer step than the state itself leaves the neighbourhood that the seed spoke for.
            size, limit = float(np.linalg.norm(step)), 1.0 + float(np.linalg.norm(x))
            x = x + step * min(1.0, limit / size) if size > 0.0 else x
        scale = max(1.0, float(np.max(np.abs(best))))
        if best_residual > 1e-10 * scale:
            return None
        orbit = _orbit(system, best, period)
    for p in range(1, period):
        if period % p == 0 and np.max(np.abs(orbit[p] - orbit[0])) <= 1e-7 * scale:
            orbit, period = orbit[: p + 1], p
            break
    states = orbit[:-1].copy()
    return Cycle(states, float(np.max(np.abs(orbit[-1] - orbit[0]))), _multipliers(system, states))


def arrival_radius(system: Map, states: FloatArray, multipliers: ComplexArray) -> float:
    """Return a distance from an attracting cycle within which a state has arrived."""
    n, scale = states.shape[1], max(1.0, float(np.max(np.abs(states))))
    least = 1e-6 * scale * float(np.sqrt(n))
    rho = float(np.abs(multipliers[0]))
    if (
        len(states) > 1 or n > _LYAPUNOV or not isinstance(system, EchoStateNetwork)
        or (system.W_fb is not None and system.readout is not None and not system.readout.is_affine)
    ):  # fmt: skip
        return least
    curvature = _CURVATURE.get(system.activation.name)
    if curvature is None:
        return least
    W, J = system.folded().dense_W(), system.jacobian(states[0])
    # |J|_P <= beta, and the remainder of G at x* + e is at most (1/2) sup|phi''| |W e|^2 in the 2-norm (with
    # a <= 1): in the ellipsoid |e|_P < 2 (1 - beta) / (Q sqrt(cond P)) every step is a contraction.
    beta = 0.5 * (1.0 + rho)
    try:
        P = scipy.linalg.solve_discrete_lyapunov((J / beta).T, np.eye(n))
    except np.linalg.LinAlgError:
        return least
    condition = float(np.linalg.eigvalsh(0.5 * (P + P.T))[-1])
    Q = curvature * float(np.linalg.norm(W, 2)) ** 2 * float(np.max(system.leak_rate))
    if not (np.isfinite(condition) and condition >= 1.0 and Q > 0.0):
        return least
    return float(min(max(least, 0.9 * 2.0 * (1.0 - beta) / (Q * condition)), 0.1 * np.sqrt(n)))


def point_attractor(system: Map, cycle: Cycle) -> Attractor:
    """Return the attractor that an attracting cycle is."""
    p, rho = len(cycle.states), float(np.abs(cycle.multipliers[0]))
    exponent = float(np.log(rho)) / p if rho > 0.0 else -np.inf
    states = cycle.states
    return Attractor(
        "fixed point" if p == 1 else "periodic orbit", states.mean(axis=0), states, p, cycle.multipliers,
        exponent, (exponent, exponent), arrival_radius(system, states, cycle.multipliers),
    )  # fmt: skip
