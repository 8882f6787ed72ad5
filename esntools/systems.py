"""Chaotic systems used as data: integrated to near rounding, with what is known of them in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

import numpy as np
from numba import njit
from numpy.typing import ArrayLike
from scipy.special import lambertw

from esntools._typing import ComplexArray, FloatArray, RandomState
from esntools.errors import InvalidInputError, nearest_name

__all__ = ["SYSTEMS", "Equilibrium", "System", "henon", "lorenz63", "mackey_glass", "rossler", "system"]

_ORDER: Final = 24


class Equilibrium(NamedTuple):
    """An equilibrium (of a map: a fixed point) and the eigenvalues of its linearisation.

    The eigenvalues are sorted by falling real part (flows, 1/time) or falling modulus (maps). A delay
    equation has infinitely many; the leading ones are listed.
    """

    state: FloatArray
    eigenvalues: ComplexArray


@final
@dataclass(frozen=True, eq=False, repr=False)
class System:
    """A chaotic system with its published facts.

    Attributes
    ----------
    name, title : str
    kind : str
        ``"flow"``, ``"delay"`` or ``"map"``.
    dimension : int
        Number of coordinates of a trajectory row (1 for a delay equation, whose state is a history).
    dt : float
        Usual sampling interval, in the system's time; 1 for a map.
    parameters : dict
    lyapunov_exponents : tuple of float
        The known leading exponents, in 1/time; empty at parameters for which none are stored.
    source : str
        Where equations and exponents come from.
    observable : int
        The coordinate that is taken as the scalar series.

    Examples
    --------
    >>> lorenz = lorenz63()
    >>> lorenz.trajectory(5, x0=[1.0, 1.0, 1.0], dt=0.1, transient=0.0).round(6)[1]
    array([2.133108, 4.47142 , 1.113899])
    >>> [complex(v).__format__('.4f') for v in lorenz.equilibria()[1].eigenvalues]
    ['0.0940+10.1945j', '0.0940-10.1945j', '-13.8546+0.0000j']
    """

    name: str
    title: str
    kind: str
    dimension: int
    dt: float
    parameters: dict[str, float]
    lyapunov_exponents: tuple[float, ...]
    source: str
    x0: tuple[float, ...]
    transient: float
    _integrate: Callable[[FloatArray, float, int, float], FloatArray] = field(repr=False)
    _equilibria: Callable[[], list[Equilibrium]] = field(repr=False)
    observable: int = 0

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.parameters.items())
        return f"System({self.name!r}, {values})"

    @property
    def lyapunov_exponent(self) -> float | None:
        """The largest exponent, in 1/time; None where it is not known."""
        return self.lyapunov_exponents[0] if self.lyapunov_exponents else None

    @property
    def lyapunov_time(self) -> float | None:
        """1 / largest exponent, in the system's time; None where it is not known."""
        exponent = self.lyapunov_exponent
        return None if exponent is None else 1.0 / exponent

    def equilibria(self) -> list[Equilibrium]:
        """Return every equilibrium in closed form, with the eigenvalues there."""
        return self._equilibria()

    def trajectory(
        self,
        n_steps: int,
        dt: float | None = None,
        *,
        transient: float | None = None,
        x0: ArrayLike | None = None,
        rng: RandomState = None,
    ) -> FloatArray:
        """Return a sampled trajectory, shape (n_steps, dimension).

        Parameters
        ----------
        n_steps : int
            Number of samples, at least 1. The first is the state after the transient.
        dt : float, optional
            Sampling interval; the system's own by default. Must be 1 for a map.
        transient : float, optional
            Time integrated and dropped first.
        x0 : array_like, shape (dimension,), optional
            Start; the system's usual one by default.
        rng : int, Generator or None
            When given without `x0`, the usual start is moved by a uniform(-0.1, 0.1) draw per coordinate,
            so that different seeds give different stretches of the attractor.

        Raises
        ------
        InvalidInputError
            When a number is out of range or the trajectory leaves every bound (a bad `x0`).
        """
        dt = self.dt if dt is None else float(dt)
        transient = self.transient if transient is None else float(transient)
        if int(n_steps) != n_steps or n_steps < 1:
            raise InvalidInputError("n_steps", str(n_steps), "must be a whole number, at least 1")
        if not (math.isfinite(dt) and dt > 0.0):
            raise InvalidInputError("dt", str(dt), "must be positive and finite")
        if self.kind == "map" and dt != 1.0:
            raise InvalidInputError("dt", str(dt), f"{self.name} is a map: its time step is 1")
        if not (math.isfinite(transient) and transient >= 0.0):
            raise InvalidInputError("transient", str(transient), "must be finite and not negative")
        start = np.array(self.x0 if x0 is None else x0, dtype=np.float64)
        if start.shape != (self.dimension,) or not np.all(np.isfinite(start)):
            raise InvalidInputError("x0", str(x0), f"must be {self.dimension} finite numbers")
        if x0 is None and rng is not None:
            start += np.random.default_rng(rng).uniform(-0.1, 0.1, self.dimension)
        samples = self._integrate(start, dt, int(n_steps), transient)
        if not np.all(np.isfinite(samples)):
            raise InvalidInputError(
                "x0", str(start), "the trajectory from here is unbounded", "choose another"
            )
        return samples


# -- integrators -----------------------------------------------------------------------------------------


@njit(cache=True)
def _taylor_series(x, c, A, quadratic, coefficients):  # type: ignore[no-untyped-def]
    """Taylor coefficients of x(t) for x' = c + A x + sum of g x_i x_j, by the product recursion."""
    d = len(x)
    order = coefficients.shape[0] - 1
    coefficients[0] = x
    for n in range(order):
        for i in range(d):
            total = c[i] if n == 0 else 0.0
            for j in range(d):
                total += A[i, j] * coefficients[n, j]
            coefficients[n + 1, i] = total
        for term in range(quadratic.shape[0]):
            i, j, k = int(quadratic[term, 0]), int(quadratic[term, 1]), int(quadratic[term, 2])
            total = 0.0
            for m in range(n + 1):
                total += coefficients[m, j] * coefficients[n - m, k]
            coefficients[n + 1, i] += quadratic[term, 3] * total
        for i in range(d):
            coefficients[n + 1, i] /= n + 1


@njit(cache=True)
def _taylor_advance(x, duration, c, A, quadratic, coefficients):  # type: ignore[no-untyped-def]
    """Move x on by `duration` in steps whose last two Taylor terms stay below rounding."""
    order = coefficients.shape[0] - 1
    left = duration
    while left > 0.0:
        _taylor_series(x, c, A, quadratic, coefficients)
        size = np.max(np.abs(coefficients[0])) + 1e-3
        step = left
        for n in (order - 1, order):
            largest = np.max(np.abs(coefficients[n]))
            if largest > 0.0:
                step = min(step, (2e-17 * size / largest) ** (1.0 / n))
        if not (step > 0.0 and np.isfinite(size)):
            x[:] = np.nan
            return
        for i in range(len(x)):
            total = coefficients[order, i]
            for n in range(order - 1, -1, -1):
                total = total * step + coefficients[n, i]
            x[i] = total
        left -= step


@njit(cache=True)
def _taylor_flow(x0, dt, n_steps, transient, c, A, quadratic, order):  # type: ignore[no-untyped-def]
    x = x0.copy()
    coefficients = np.zeros((order + 1, len(x)))
    samples = np.empty((n_steps, len(x)))
    _taylor_advance(x, transient, c, A, quadratic, coefficients)
    samples[0] = x
    for k in range(1, n_steps):
        _taylor_advance(x, dt, c, A, quadratic, coefficients)
        samples[k] = x
    return samples


@njit(cache=True)
def _mackey_glass_flow(x0, dt, n_steps, transient, beta, gamma, power, tau, m):  # type: ignore[no-untyped-def]
    """RK4 of step tau/m from a constant history; the delayed midpoint and the samples by cubic Hermite."""
    h = tau / m
    total = int(np.ceil((transient + dt * (n_steps - 1)) / h)) + 2
    x = np.empty(m + total + 1)
    slope = np.zeros(m + total + 1)
    x[: m + 1] = x0
    delayed = x[0]
    slope[m] = beta * delayed / (1.0 + delayed**power) - gamma * x[m]
    for k in range(m, m + total):
        early, late = x[k - m], x[k + 1 - m]
        # The history before time zero is constant: its one-sided slope at zero is 0, not slope[m].
        right = 0.0 if k + 1 - m <= m and k - m < m else slope[k + 1 - m]
        middle = 0.5 * (early + late) + 0.125 * h * (slope[k - m] - right)
        p0 = beta * early / (1.0 + early**power)
        p1 = beta * middle / (1.0 + middle**power)
        p2 = beta * late / (1.0 + late**power)
        k1 = p0 - gamma * x[k]
        k2 = p1 - gamma * (x[k] + 0.5 * h * k1)
        k3 = p1 - gamma * (x[k] + 0.5 * h * k2)
        k4 = p2 - gamma * (x[k] + h * k3)
        x[k + 1] = x[k] + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        slope[k + 1] = p2 - gamma * x[k + 1]
    samples = np.empty((n_steps, 1))
    for k in range(n_steps):
        position = (transient + k * dt) / h
        i = min(int(position), total - 1)
        s = position - i
        i += m
        a, b, da, db = x[i], x[i + 1], h * slope[i], h * slope[i + 1]
        samples[k, 0] = (
            (1.0 + 2.0 * s) * (1.0 - s) ** 2 * a
            + s * (1.0 - s) ** 2 * da
            + s * s * (3.0 - 2.0 * s) * b
            + s * s * (s - 1.0) * db
        )
    return samples


@njit(cache=True)
def _henon_map(x0, n_steps, n_dropped, a, b):  # type: ignore[no-untyped-def]
    x, y = x0[0], x0[1]
    samples = np.empty((n_steps, 2))
    for k in range(n_dropped + n_steps):
        if k >= n_dropped:
            samples[k - n_dropped, 0] = x
            samples[k - n_dropped, 1] = y
        x, y = 1.0 - a * x * x + y, b * x
    return samples


def _quadratic_flow(
    c: ArrayLike, A: ArrayLike, quadratic: ArrayLike
) -> Callable[[FloatArray, float, int, float], FloatArray]:
    c, A, quadratic = (np.array(part, dtype=np.float64) for part in (c, A, quadratic))

    def integrate(x0: FloatArray, dt: float, n_steps: int, transient: float) -> FloatArray:
        return np.asarray(_taylor_flow(x0, dt, n_steps, transient, c, A, quadratic, _ORDER))

    return integrate


def _sorted_eigenvalues(jacobian: ArrayLike, *, by_modulus: bool = False) -> ComplexArray:
    values = np.linalg.eigvals(np.array(jacobian, dtype=np.float64)).astype(np.complex128)
    size = np.abs(values) if by_modulus else values.real
    # Conjugates tie up to rounding: the one with the positive imaginary part first.
    return values[np.lexsort((-values.imag, -size.round(12)))]


# -- the systems -----------------------------------------------------------------------------------------


def lorenz63(*, sigma: float = 10.0, rho: float = 28.0, beta: float = 8.0 / 3.0) -> System:
    r"""Lorenz '63: x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z.

    E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2,
    eqs. (25)-(27). Integrated by the Taylor series method of order 24 (A. Jorba, M. Zou, Exp. Math. 14
    (2005) 99, doi:10.1080/10586458.2005.10128904).
    """
    usual = (sigma, rho, beta) == (10.0, 28.0, 8.0 / 3.0)

    def equilibria() -> list[Equilibrium]:
        r = math.sqrt(beta * (rho - 1.0)) if rho > 1.0 else 0.0
        points = [(0.0, 0.0, 0.0)] + ([(r, r, rho - 1.0), (-r, -r, rho - 1.0)] if r else [])
        return [
            Equilibrium(
                np.array((x, y, z)),
                _sorted_eigenvalues([[-sigma, sigma, 0.0], [rho - z, -1.0, -x], [y, x, -beta]]),
            )
            for x, y, z in points
        ]

    return System(
        name="lorenz63", title="Lorenz '63", kind="flow", dimension=3, dt=0.05,
        parameters={"sigma": sigma, "rho": rho, "beta": beta},
        lyapunov_exponents=(0.9056, 0.0, -14.5723) if usual else (),
        source="E. N. Lorenz 1963; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 431",
        x0=(-8.0, 8.0, 27.0), transient=50.0,
        _integrate=_quadratic_flow(
            [0.0, 0.0, 0.0],
            [[-sigma, sigma, 0.0], [rho, -1.0, 0.0], [0.0, 0.0, -beta]],
            [[1, 0, 2, -1.0], [2, 0, 1, 1.0]],
        ),
        _equilibria=equilibria,
    )  # fmt: skip


def rossler(*, a: float = 0.2, b: float = 0.2, c: float = 5.7) -> System:
    r"""Rössler: x' = -y - z, y' = x + a y, z' = b + z (x - c).

    O. E. Rössler, Phys. Lett. A 57 (1976) 397, doi:10.1016/0375-9601(76)90101-8, eq. (2).
    """
    usual = (a, b, c) == (0.2, 0.2, 5.7)

    def equilibria() -> list[Equilibrium]:
        root = math.sqrt(c * c - 4.0 * a * b)
        found = []
        for x in (2.0 * a * b / (c + root), 0.5 * (c + root)):
            z = x / a
            jacobian = [[0.0, -1.0, -1.0], [1.0, a, 0.0], [z, 0.0, x - c]]
            found.append(Equilibrium(np.array((x, -z, z)), _sorted_eigenvalues(jacobian)))
        return found

    return System(
        name="rossler", title="Rössler", kind="flow", dimension=3, dt=0.2,
        parameters={"a": a, "b": b, "c": c},
        lyapunov_exponents=(0.0714, 0.0, -5.3943) if usual else (),
        source="O. E. Rössler 1976; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 431",
        x0=(-9.0, 0.0, 0.0), transient=200.0,
        _integrate=_quadratic_flow(
            [0.0, 0.0, b],
            [[0.0, -1.0, -1.0], [1.0, a, 0.0], [0.0, 0.0, -c]],
            [[2, 0, 2, 1.0]],
        ),
        _equilibria=equilibria,
    )  # fmt: skip


def mackey_glass(tau: float = 17.0, *, beta: float = 0.2, gamma: float = 0.1, power: float = 10.0) -> System:
    r"""Mackey-Glass: x'(t) = beta x(t - tau) / (1 + x(t - tau)^power) - gamma x(t).

    M. C. Mackey, L. Glass, Science 197 (1977) 287, doi:10.1126/science.267326, eq. (4b). The history before
    time zero is constant. RK4 of step tau / ceil(tau / 0.02) with cubic Hermite interpolation.
    At an equilibrium the eigenvalues are lambda_k = W_k(c tau exp(gamma tau)) / tau - gamma with Lambert's
    W and c the slope of the production term; the eight leading ones are given.
    """
    if not tau > 0.0:
        raise InvalidInputError("tau", str(tau), "the delay must be positive")
    usual = (tau, beta, gamma, power) == (17.0, 0.2, 0.1, 10.0)

    def equilibria() -> list[Equilibrium]:
        points = [0.0] + ([(beta / gamma - 1.0) ** (1.0 / power)] if beta > gamma else [])
        found = []
        for x in points:
            slope = beta * (1.0 + (1.0 - power) * x**power) / (1.0 + x**power) ** 2
            branches = lambertw(slope * tau * math.exp(gamma * tau), np.arange(-8, 9)) / tau - gamma
            order = np.lexsort((-branches.imag, -branches.real.round(12)))
            found.append(Equilibrium(np.array([x]), branches[order][:8].astype(np.complex128)))
        return found

    def integrate(x0: FloatArray, dt: float, n_steps: int, transient: float) -> FloatArray:
        m = math.ceil(tau / 0.02)
        return np.asarray(
            _mackey_glass_flow(float(x0[0]), dt, n_steps, transient, beta, gamma, power, tau, m)
        )

    return System(
        name="mackey-glass", title="Mackey-Glass", kind="delay", dimension=1, dt=1.0,
        parameters={"tau": tau, "beta": beta, "gamma": gamma, "power": power},
        # RK4 of the variational equation, step 0.1, 3.3e5 time units, QR every delay.
        lyapunov_exponents=(0.0052, 0.0, -0.0388) if usual else (),
        source="M. C. Mackey, L. Glass 1977; exponents at tau = 17 from the variational equation",
        x0=(1.2,), transient=1000.0,
        _integrate=integrate, _equilibria=equilibria,
    )  # fmt: skip


def henon(*, a: float = 1.4, b: float = 0.3) -> System:
    r"""Hénon map: x' = 1 - a x^2 + y, y' = b x.

    M. Hénon, Comm. Math. Phys. 50 (1976) 69, doi:10.1007/BF01608556, eq. (4).
    """
    usual = (a, b) == (1.4, 0.3)

    def equilibria() -> list[Equilibrium]:
        root = math.sqrt((1.0 - b) ** 2 + 4.0 * a)
        return [
            Equilibrium(
                np.array((x, b * x)), _sorted_eigenvalues([[-2.0 * a * x, 1.0], [b, 0.0]], by_modulus=True)
            )
            for x in ((-(1.0 - b) + root) / (2.0 * a), (-(1.0 - b) - root) / (2.0 * a))
        ]

    def integrate(x0: FloatArray, dt: float, n_steps: int, transient: float) -> FloatArray:
        return np.asarray(_henon_map(x0, n_steps, int(round(transient)), a, b))

    return System(
        name="henon", title="Hénon map", kind="map", dimension=2, dt=1.0,
        parameters={"a": a, "b": b},
        lyapunov_exponents=(0.41922, -1.62319) if usual else (),
        source="M. Hénon 1976; exponents: J. C. Sprott, Chaos and Time-Series Analysis (2003), p. 421",
        x0=(0.1, 0.0), transient=1000.0,
        _integrate=integrate, _equilibria=equilibria,
    )  # fmt: skip


#: The systems by name, each with its usual parameters.
SYSTEMS: Final[dict[str, Callable[[], System]]] = {
    "lorenz63": lorenz63,
    "rossler": rossler,
    "mackey-glass": mackey_glass,
    "henon": henon,
}


def system(name: str) -> System:
    """Return the system of that name with its usual parameters.

    Raises
    ------
    InvalidInputError
        When there is none; the message has the nearest known name.
    """
    if name not in SYSTEMS:
        raise InvalidInputError("system", repr(name), "no system of that name", nearest_name(name, SYSTEMS))
    return SYSTEMS[name]()
