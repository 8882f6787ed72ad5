r"""How much of its past input a network remembers: the memory curve, exactly for linear maps, measured else.

The exact curve of a linear network is usually computed from powers :math:`W^i W_\mathrm{in}` and the inverse
of their Gram matrix, which is singular to rounding from some twenty units on and gives curves that are wrong
by orders of magnitude. Here it is computed from an orthonormal basis of the same space, without that loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import scipy.linalg
import scipy.signal
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, ComplexArray, FloatArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array
from esntools.simulation import drive

__all__ = [
    "LinearMemory",
    "MemoryCapacity",
    "TimeConstants",
    "leak_time_constants",
    "linear_memory_curve",
    "memory_capacity",
    "time_constants",
]

# A new Krylov direction smaller than this, relative to W, is rounding: the input does not reach further.
_UNREACHED: Final = 1e-12


@final
@dataclass(frozen=True, eq=False)
class LinearMemory:
    """The exact memory curve of a linear network under white noise.

    Attributes
    ----------
    curve : ndarray, shape (n_delays,)
        m(i), the squared correlation between u[k - i] and its best linear estimate from x[k]; in [0, 1].
    total : float
        The sum over all delays: the dimension that the input reaches.
    reached : int
        That dimension: the rank of (W_in, J W_in, J^2 W_in, ...).
    remainder : float
        Memory beyond the last delay listed, total - sum(curve).
    """

    curve: FloatArray
    total: float
    reached: int
    remainder: float


def _reachable(J: FloatArray, w: FloatArray) -> FloatArray:
    """Return J restricted to the space spanned by w, J w, J^2 w, ... (Arnoldi, orthogonalised twice)."""
    n = len(w)
    scale = float(np.linalg.norm(J, 2)) if n else 0.0
    V = np.zeros((n, n))
    H = np.zeros((n, n))
    V[:, 0] = w / np.linalg.norm(w)
    for j in range(n):
        v = J @ V[:, j]
        for _ in range(2):
            h = V[:, : j + 1].T @ v
            v -= V[:, : j + 1] @ h
            H[: j + 1, j] += h
        size = float(np.linalg.norm(v))
        if j + 1 == n or size <= _UNREACHED * max(scale, np.finfo(np.float64).tiny):
            return H[: j + 1, : j + 1]
        H[j + 1, j] = size
        V[:, j + 1] = v / size
    return H


def linear_memory_curve(
    network: EchoStateNetwork,
    n_delays: int | None = None,
    *,
    x: ArrayLike | None = None,
    u: ArrayLike | None = None,
    input_index: int = 0,
) -> LinearMemory:
    r"""Return the memory curve of the network's linearisation.

    For :math:`x_{k+1} = J x_k + v\,u_{k+1}` under white noise u,

    .. math:: m(i) = (J^i v)^\mathsf{T} C^{-1} J^i v, \qquad
              C = \sum_{i \ge 0} J^i v v^\mathsf{T} (J^\mathsf{T})^i,

    where :math:`J = I - A + A D (W + W_\mathrm{fb} D\psi)`, :math:`v = A D W_\mathrm{in}` with the slopes D
    at the state x and the input u. m(i) is the squared length of the i-th unit vector of the space of
    sequences projected on the span of the sequences :math:`\lambda_j^i`, so that it depends on the
    eigenvalues :math:`\lambda_j` of J that the input reaches, and on nothing else; an
    orthonormal basis of that span (Takenaka, Malmquist) is the impulse responses of a cascade of all-pass
    filters:

    .. math:: b_j(z) = \frac{\sqrt{1 - |\lambda_j|^2}}{1 - \lambda_j z^{-1}}
              \prod_{l<j} \frac{z^{-1} - \bar\lambda_l}{1 - \lambda_l z^{-1}}, \quad
              m(i) = \sum_j |b_j[i]|^2 .

    The Gram matrix C, singular to rounding for large networks, is never formed. The sum of all m(i) is the
    dimension reached. The curve is that of a matrix within rounding of J; a strongly non-normal J (a dense
    rotation of a delay line whose weights exceed 1) is as sensitive to rounding as its eigenvalues are.

    Parameters
    ----------
    network : EchoStateNetwork
        With inputs.
    n_delays : int, optional
        Delays 0 ... n_delays - 1. Default 2 * n_units.
    x : array_like, shape (n_units,), optional
        State at which to linearise; zero by default.
    u : array_like, shape (n_inputs,), optional
        Input at which to linearise; zero by default.
    input_index : int, optional
        Which input is the white noise, the others held fixed. Default 0.

    Returns
    -------
    LinearMemory

    Raises
    ------
    InvalidInputError
        When a shape does not fit, the linearisation does not decay (an eigenvalue of modulus 1 or more), or
        the input enters nowhere.

    Examples
    --------
    One unit remembers with :math:`m(i) = (1 - \lambda^2) \lambda^{2i}`, a delay line of two units exactly two
    steps:

    >>> linear_memory_curve(EchoStateNetwork([[0.5]], [[1.0]], activation="identity"), 3).curve
    array([0.75    , 0.1875  , 0.046875])
    >>> line = EchoStateNetwork([[0.0, 0.0], [1.0, 0.0]], [[1.0], [0.0]], activation="identity")
    >>> linear_memory_curve(line, 3).curve
    array([1., 1., 0.])

    References
    ----------
    H. Jaeger, "Short term memory in echo state networks", GMD Report 152 (2001);
    O. L. White, D. D. Lee, H. Sompolinsky, Phys. Rev. Lett. 92 (2004) 148102,
    doi:10.1103/PhysRevLett.92.148102;
    G. Ballarin, L. Grigoryeva, J.-P. Ortega, "Memory of recurrent networks: do we compute it right?",
    JMLR 25 (2024) (what goes wrong numerically);
    P. S. C. Heuberger, P. M. J. Van den Hof, B. Wahlberg, "Modelling and Identification with
    Rational Orthogonal Basis Functions" (2005), chapter 2 (the basis).
    """
    n = _checked_network(network).n_units
    input_index = _checked_index(network, input_index)
    x = np.zeros(n) if x is None else checked_array(x, "x", (n,), "(n_units,)")
    u = np.zeros(network.n_inputs) if u is None else checked_array(u, "u", (network.n_inputs,), "(n_inputs,)")
    n_delays = 2 * n if n_delays is None else whole_number(n_delays, "n_delays")
    J = network.jacobian(x, u)
    slope = network.activation.slope(network.preactivation(x, u))
    v = network.leak_rate * slope * network.W_in[:, input_index]
    if not np.any(v):
        raise InvalidInputError(
            "W_in",
            f"column {input_index}",
            "is zero: this input reaches no unit",
            "choose another input_index",
        )
    values = np.linalg.eigvals(_reachable(J, v))
    largest = float(np.max(np.abs(values)))
    if largest >= 1.0:
        raise InvalidInputError(
            "network", f"an eigenvalue of modulus {largest:.6g} at this state",
            "the memory curve needs a linearisation that decays", "scale W down, or choose another state",
        )  # fmt: skip
    signal = np.zeros(n_delays, dtype=np.complex128)
    signal[0] = 1.0
    curve = np.zeros(n_delays)
    for value in values:
        denominator = [1.0, -value]
        response = scipy.signal.lfilter([math.sqrt(1.0 - abs(value) ** 2)], denominator, signal)
        curve += np.abs(response) ** 2
        signal = scipy.signal.lfilter([-np.conj(value), 1.0], denominator, signal)
    reached = len(values)
    return LinearMemory(curve, float(reached), reached, max(0.0, reached - float(np.sum(curve))))


@final
@dataclass(frozen=True, eq=False)
class MemoryCapacity:
    """The measured memory of a network under independent uniform inputs.

    Attributes
    ----------
    curve : ndarray, shape (n_delays,)
        Squared correlation between u[k - i] and its best affine estimate from x[k], delays i = 0, 1, ...
    counted : ndarray of bool, shape (n_delays,)
        Where it exceeds `threshold`.
    total : float
        The sum of what is counted; at most n_units in expectation.
    threshold : float
        What a delay that is forgotten exceeds with probability 1e-4, given this many steps and directions.
    chance : float
        What a delay that is forgotten reaches on average.
    n_directions : int
        Linearly independent directions of the states seen, to rounding.
    n_steps : int
    """

    curve: FloatArray
    counted: BoolArray
    total: float
    threshold: float
    chance: float
    n_directions: int
    n_steps: int


def memory_capacity(
    network: EchoStateNetwork,
    n_delays: int | None = None,
    *,
    amplitude: float = 1.0,
    n_steps: int | None = None,
    washout: int = 200,
    input_index: int = 0,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> MemoryCapacity:
    r"""Measure the memory capacity under inputs drawn uniformly from [-amplitude, amplitude].

    .. math:: \mathrm{MC} = \sum_i m(i), \qquad
              m(i) = \max_{w, c} \operatorname{corr}^2\bigl(u_{k-i},\, w^\mathsf{T} x_k + c\bigr) .

    The inputs are independent. The maximum over readouts is a projection on the span of the states, by
    singular values: no ridge, no inverse of a Gram matrix. Sampling lifts m(i) of a forgotten delay to about
    n_units / n_steps; what does not exceed the chance level with error probability 1e-4 is not counted.

    Parameters
    ----------
    network : EchoStateNetwork
        With inputs; other inputs than `input_index` are held at zero.
    n_delays : int, optional
        Default 2 * n_units.
    amplitude : float, optional
        Default 1.
    n_steps : int, optional
        Steps used. Default: the larger of 2000 and 20 * n_units.
    washout : int, optional
        Default 200.
    input_index : int, optional
        Default 0.
    rng : int, Generator or None
    progress : callable, optional

    Returns
    -------
    MemoryCapacity

    Raises
    ------
    InvalidInputError
        When a number is out of its range, or the states overflow.

    Examples
    --------
    >>> from esntools.reservoirs import delay_line_weights
    >>> W_in = np.eye(5)[:, :1]
    >>> line = EchoStateNetwork(delay_line_weights(5), W_in, activation="identity")
    >>> round(memory_capacity(line, 10).total, 6)
    5.0

    References
    ----------
    H. Jaeger, GMD Report 152 (2001); J. Dambre, D. Verstraeten, B. Schrauwen, S. Massar,
    Scientific Reports 2 (2012) 514, doi:10.1038/srep00514, supplement (the threshold).
    """
    n = _checked_network(network).n_units
    input_index = _checked_index(network, input_index)
    n_delays = 2 * n if n_delays is None else whole_number(n_delays, "n_delays")
    n_steps = max(2000, 20 * n) if n_steps is None else whole_number(n_steps, "n_steps")
    if n_steps <= n + 1:
        raise InvalidInputError(
            "n_steps", str(n_steps), f"must exceed n_units + 1 = {n + 1}: else any series is fitted exactly"
        )
    washout = whole_number(washout, "washout", 0)
    amplitude = positive_number(amplitude, "amplitude")
    if not 1e-140 < amplitude < 1e140:
        raise InvalidInputError(
            "amplitude", str(amplitude), "its square must be a number", "scale W_in instead"
        )
    generator = seeded(rng)
    # Every delay asked for must lie within the inputs given.
    washout = max(washout, n_delays)
    series = generator.uniform(-amplitude, amplitude, washout + n_steps)
    u = np.zeros((len(series), network.n_inputs))
    u[:, input_index] = series
    X = drive(network, u, washout=washout, progress=progress).states
    if not np.all(np.isfinite(X)):
        raise InvalidInputError(
            "network", "the states overflow", "memory needs bounded states", "scale W down"
        )
    X = X - X.mean(axis=0)
    U, sigma, _ = scipy.linalg.svd(X, full_matrices=False, check_finite=False)
    n_directions = int(np.sum(sigma > sigma[0] * n_steps * np.finfo(np.float64).eps)) if sigma[0] > 0.0 else 0
    U = U[:, :n_directions]
    curve = np.empty(n_delays)
    for i in range(n_delays):
        target = series[washout - i : len(series) - i]
        target = target - target.mean()
        curve[i] = np.sum((U.T @ target) ** 2) / np.sum(target**2)
    curve = np.clip(curve, 0.0, 1.0)
    # Of a target that has nothing to do with the states, n_steps m is chi-squared with n_directions degrees.
    threshold = min(1.0, float(scipy.stats.chi2.isf(1e-4, max(n_directions, 1))) / n_steps)
    counted = curve > threshold
    return MemoryCapacity(
        curve,
        counted,
        float(np.sum(curve[counted])),
        threshold,
        n_directions / n_steps,
        n_directions,
        n_steps,
    )


@final
@dataclass(frozen=True, eq=False)
class TimeConstants:
    """Decay times and periods of the linearised modes, slowest first.

    Attributes
    ----------
    multipliers : ndarray of complex
        Eigenvalues mu of the Jacobian, by decreasing modulus.
    decay_times : ndarray
        -1 / log\\|mu\\|: steps (or time) to fall by a factor e; inf on the unit circle, negative for a mode
        that grows, 0 for one that is gone after one step.
    periods : ndarray
        2 pi / \\|arg mu\\|; inf for a mode that does not oscillate.
    unit : {"steps", "time"}
    """

    multipliers: ComplexArray
    decay_times: FloatArray
    periods: FloatArray
    unit: str


def _checked_network(network: EchoStateNetwork) -> EchoStateNetwork:
    if not isinstance(network, EchoStateNetwork):
        raise InvalidInputError("network", type(network).__name__, "must be an EchoStateNetwork")
    return network


def _checked_index(network: EchoStateNetwork, index: int) -> int:
    if network.n_inputs == 0:
        raise InvalidInputError("input_index", str(index), "the network has no inputs to remember")
    return whole_number(index, "input_index", 0, network.n_inputs - 1)


def _unit(dt: float | None) -> tuple[float, str]:
    if dt is None:
        return 1.0, "steps"
    return positive_number(dt, "dt", "leave it out for steps"), "time"


def leak_time_constants(network: EchoStateNetwork, *, dt: float | None = None) -> FloatArray:
    r"""Return each unit's own time constant :math:`\tau_i = -\Delta t / \log(1 - a_i)`.

    It is the time in which a unit without recurrent drive loses all but 1/e of its state; 0 at leak rate 1.
    (The continuous-time constant whose Euler step is the leak, :math:`\Delta t / a_i`, agrees for small a.)

    Parameters
    ----------
    network : EchoStateNetwork
    dt : float, optional
        Time between steps; without it the unit is steps.

    Returns
    -------
    ndarray, shape (n_units,)

    Examples
    --------
    >>> network = EchoStateNetwork(np.zeros((2, 2)), leak_rate=[1.0, 0.1])
    >>> leak_time_constants(network).round(6)
    array([0.      , 9.491222])
    """
    scale, _ = _unit(dt)
    _checked_network(network)
    with np.errstate(divide="ignore"):
        return np.asarray(-scale / np.log1p(-network.leak_rate)) + 0.0


def time_constants(
    network: EchoStateNetwork,
    u: ArrayLike | None = None,
    x: ArrayLike | None = None,
    *,
    dt: float | None = None,
) -> TimeConstants:
    r"""Return the decay times and periods of the network's modes at a state.

    .. math:: \tau_j = -\frac{\Delta t}{\log|\mu_j|}, \qquad
              T_j = \frac{2\pi\,\Delta t}{|\arg\mu_j|}, \qquad \mu_j \in \sigma\bigl(D_xG(u, x)\bigr).

    Parameters
    ----------
    network : EchoStateNetwork
    u : array_like, shape (n_inputs,), optional
        Zero by default.
    x : array_like, shape (n_units,), optional
        Zero by default; a fixed point, for the modes to mean what they say.
    dt : float, optional
        Time between steps; without it the unit is steps.

    Returns
    -------
    TimeConstants

    Examples
    --------
    >>> rotation = 0.9 * np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> modes = time_constants(EchoStateNetwork(rotation))
    >>> modes.decay_times.round(4), modes.periods.round(4)
    (array([9.4912, 9.4912]), array([4., 4.]))
    """
    scale, unit = _unit(dt)
    n = _checked_network(network).n_units
    x = np.zeros(n) if x is None else checked_array(x, "x", (n,), "(n_units,)")
    u = np.zeros(network.n_inputs) if u is None else checked_array(u, "u", (network.n_inputs,), "(n_inputs,)")
    values = np.linalg.eigvals(network.jacobian(x, u)).astype(np.complex128)
    values = values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))]
    with np.errstate(divide="ignore"):
        decay = -scale / np.log(np.abs(values)) + 0.0
        periods = 2.0 * np.pi * scale / np.abs(np.angle(values))
    return TimeConstants(values, decay, periods, unit)
