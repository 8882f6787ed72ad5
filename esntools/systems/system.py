"""What a chaotic system is: its published facts, its trajectories, and its time-dt map with derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import ComplexArray, FloatArray, RandomState
from esntools.arguments import no_input, positive_number, real_array, real_number, seeded, whole_number
from esntools.errors import InvalidInputError

__all__ = ["Equilibrium", "System", "SystemMap", "checked_parameters", "sorted_eigenvalues"]


class Equilibrium(NamedTuple):
    """An equilibrium (of a map: a fixed point) and the eigenvalues of its linearisation.

    The eigenvalues are sorted by falling real part (flows, 1/time) or falling modulus (maps). A delay
    equation has infinitely many; the leading ones are listed.
    """

    state: FloatArray
    eigenvalues: ComplexArray


@final
@dataclass(frozen=True, eq=False, repr=False)
class SystemMap:
    r"""The time-dt map :math:`x(t) \mapsto x(t + \mathrm{dt})` of a system, with its derivative: a `Map`.

    `System.as_map` makes it. The derivative solves the variational equation along the way, by the same
    integrator and to the same accuracy as the state. A state from which the solution does not exist for dt is
    sent to infinity, and so is infinity.

    Attributes
    ----------
    name : str
    n_units : int
        Dimension of the state; for a delay equation the number of points of its history.
    n_inputs : int
        0: the system is autonomous.
    dt : float
        Time that a step takes, in the system's unit; 1 for a map.
    x0 : ndarray, shape (n_units,)
        A state on the attractor (of a conservative map: the usual start).

    Examples
    --------
    >>> from esntools.systems import lorenz63
    >>> lorenz = lorenz63().as_map(0.1)
    >>> lorenz.step([1.0, 1.0, 1.0]).round(6)
    array([2.133108, 4.47142 , 1.113899])
    >>> float(np.log(np.linalg.det(lorenz.jacobian([1.0, 1.0, 1.0]))).round(9))  # -(10 + 1 + 8/3) dt
    -1.366666667
    """

    name: str
    n_units: int
    dt: float
    x0: FloatArray
    _advance: Callable[[FloatArray], FloatArray]
    _tangent: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
    n_inputs: int = 0

    def __repr__(self) -> str:
        return f"SystemMap({self.name!r}, n_units={self.n_units}, dt={self.dt:g})"

    def _state(self, x: ArrayLike, u: ArrayLike | None, *, single: bool = False) -> FloatArray:
        no_input(u, "system")
        x = real_array(x, "x")
        if x.ndim == 0 or x.shape[-1] != self.n_units:
            raise InvalidInputError(
                "x", f"shape {x.shape}", f"the last axis must be n_units = {self.n_units}"
            )
        if single and x.ndim != 1:
            raise InvalidInputError("x", f"a batch of shape {x.shape}", "a Jacobian is taken at one state")
        return x

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the state after dt for states (..., n_units)."""
        x = self._state(x, u)
        return self._advance(x.reshape(-1, self.n_units)).reshape(x.shape)

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative of the state after dt, shape (n_units, n_units), at one state."""
        return self._tangent(self._state(x, u, single=True), np.eye(self.n_units))[1]

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the derivative at one state times V, of shape (n_units,) or (n_units, k); not formed."""
        return self.tangent(x, V, u)[1]

    def tangent(
        self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return `step` and `jacobian_vector` of one state together, for the price of the latter."""
        x = self._state(x, u, single=True)
        V = real_array(V, "V")
        if V.ndim not in (1, 2) or V.shape[0] != self.n_units:
            raise InvalidInputError(
                "V", f"shape {V.shape}", f"must be (n_units = {self.n_units},) or (n_units, k)"
            )
        after, W = self._tangent(x, V.reshape(self.n_units, -1))
        return after, W.reshape(V.shape)


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
    >>> from esntools.systems import lorenz63
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
    _as_map: Callable[[System, float, float | None], SystemMap] = field(repr=False)
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
        """Return every equilibrium, with the eigenvalues there, as far as the system's function says so."""
        return self._equilibria()

    def _interval(self, dt: float | None) -> float:
        dt = self.dt if dt is None else positive_number(dt, "dt")
        if self.kind == "map" and dt != 1.0:
            raise InvalidInputError("dt", str(dt), f"{self.name} is a map: its time step is 1")
        return dt

    def as_map(self, dt: float | None = None, *, max_step: float | None = None) -> SystemMap:
        """Return the map that moves the system on by dt, with its derivative, for any analysis of a `Map`.

        A flow is integrated to near rounding. The state of a delay equation is its history at equally spaced
        times from t - tau (first) to t (last); its map is the Runge-Kutta method of that step, whose leading
        exponents are the equation's.

        Parameters
        ----------
        dt : float, optional
            The time of a step; the system's own sampling interval by default. 1 for a map. For all exponents
            of a flow it must be short: the columns of the derivative come to differ by exp(spread of the
            exponents times dt). For a delay equation tau / dt must be a ratio of whole numbers.
        max_step : float, optional
            For a delay equation, the largest spacing of the history's points; tau / 170 or 0.1 by default,
            whichever is less.

        Raises
        ------
        InvalidInputError
            When dt or max_step is not positive, dt is not 1 for a map, or tau / dt is no such ratio.

        Examples
        --------
        >>> from esntools.systems import henon, mackey_glass
        >>> henon().as_map().step([[0.0, 0.0], [1.0, 0.0]])
        array([[ 1. ,  0. ],
               [-0.4,  0.3]])
        >>> mackey_glass().as_map()
        SystemMap('mackey-glass', n_units=171, dt=1)
        """
        dt = self._interval(dt)
        if max_step is not None:
            if self.kind != "delay":
                raise InvalidInputError(
                    "max_step", str(max_step), f"{self.name} is a {self.kind}: only a delay equation has one",
                    "leave it out",
                )  # fmt: skip
            max_step = positive_number(max_step, "max_step")
        return self._as_map(self, dt, max_step)

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
        transient = self.transient if transient is None else real_number(transient, "transient")
        n_steps = whole_number(n_steps, "n_steps")
        dt = self._interval(dt)
        if (transient + dt * n_steps) / self.dt > 1e9:
            raise InvalidInputError(
                "n_steps, transient",
                f"{n_steps} and {transient:g}",
                f"may take 1e9 steps of {self.dt:g} at most",
            )
        if transient < 0.0:
            raise InvalidInputError("transient", str(transient), "must be finite and not negative")
        start = np.array(self.x0 if x0 is None else real_array(x0, "x0"), dtype=np.float64)
        if start.shape != (self.dimension,) or not np.all(np.isfinite(start)):
            raise InvalidInputError("x0", str(x0), f"must be {self.dimension} finite numbers")
        if x0 is None and rng is not None:
            start += seeded(rng).uniform(-0.1, 0.1, self.dimension)
        samples = self._integrate(start, dt, n_steps, transient)
        if not np.all(np.isfinite(samples)):
            raise InvalidInputError(
                "x0", str(start), "the trajectory from here is unbounded", "choose another"
            )
        return samples


def checked_parameters(**parameters: float) -> None:
    """Refuse parameters that are no finite numbers."""
    for name, value in parameters.items():
        real_number(value, name)


def sorted_eigenvalues(jacobian: ArrayLike, *, by_modulus: bool = False) -> ComplexArray:
    """Return the eigenvalues in the order that `Equilibrium` promises."""
    values = np.linalg.eigvals(np.array(jacobian, dtype=np.float64)).astype(np.complex128)
    size = np.abs(values) if by_modulus else values.real
    # Conjugates tie up to rounding: the one with the positive imaginary part first.
    return values[np.lexsort((-values.imag, -size.round(12)))]
