"""Lyapunov exponents of a closed loop, and conditional ones of a driven network, with error bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import scipy.linalg
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = [
    "LyapunovSpectrum",
    "conditional_lyapunov_spectrum",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
]

_BATCHES: Final = 20

# Between two reorthonormalisations the columns may come to differ in length by this factor (as a logarithm):
# the smaller loses that many digits to the larger. It is an average: single stretches spread further.
_SPREAD: Final = math.log(1e3)
_LONGEST: Final = 50


@final
@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """The k leading Lyapunov exponents, in decreasing order.

    Attributes
    ----------
    exponents : ndarray, shape (k,)
        -inf for a direction that the map annihilates.
    stderr : ndarray, shape (k,)
        Standard error from the means of `n_batches` successive stretches.
    interval : ndarray, shape (k, 2)
        95 % confidence interval (Student's t with n_batches - 1 degrees of freedom).
    kind : {"closed loop", "conditional"}
        Of an autonomous map, or of a driven one with its input held fixed.
    unit : {"1/step", "1/time"}
    dt : float or None
    n_steps : int
        Steps averaged over.
    n_batches : int
    kaplan_yorke : float or None
        Kaplan-Yorke dimension of the autonomous attractor; None where the exponents do not give one, see
        `kaplan_yorke_note`.
    kaplan_yorke_note : str
    sum_rule_error : float or None
        With all exponents (k = n_units): largest relative difference, over the stretches, between their sum
        and the mean of log\\|det DG\\|.
    batch_means : ndarray, shape (n_batches, k)
        In the same unit: what a convergence plot shows.
    """

    exponents: FloatArray
    stderr: FloatArray
    interval: FloatArray
    kind: Literal["closed loop", "conditional"]
    unit: Literal["1/step", "1/time"]
    dt: float | None
    n_steps: int
    n_batches: int
    kaplan_yorke: float | None
    kaplan_yorke_note: str
    sum_rule_error: float | None
    batch_means: FloatArray


def kaplan_yorke_dimension(
    exponents: ArrayLike, n_dimensions: int | None = None, *, rounding: float = 0.0
) -> tuple[float | None, str]:
    r"""Return the Kaplan–Yorke dimension of a spectrum, or why there is none.

    .. math:: D = j + \frac{\lambda_1 + \dots + \lambda_j}{|\lambda_{j+1}|},

    j being the largest number of leading exponents with a sum that is not negative.

    Parameters
    ----------
    exponents : array_like, shape (k,)
        In any order and any unit.
    n_dimensions : int, optional
        Dimension of the phase space; k by default.
    rounding : float, optional
        Exponents and sums of this size count as zero. Default 0: only what cancels to 1e-12 of its terms.

    Returns
    -------
    dimension : float or None
        0 when the largest exponent is negative; None when the sum of those given never turns negative.
    note : str
        Empty, or the reason.

    Examples
    --------
    >>> dimension, _ = kaplan_yorke_dimension([0.9056, 0.0, -14.572])
    >>> round(dimension, 4)
    2.0621
    >>> kaplan_yorke_dimension([0.3, -0.1], n_dimensions=5)
    (None, 'the sum of the 2 leading exponents is not negative: ask for more of the 5')

    References
    ----------
    J. L. Kaplan, J. A. Yorke, Lecture Notes in Mathematics 730 (1979) 204, doi:10.1007/BFb0064319.
    """
    values = np.sort(np.asarray(exponents, dtype=np.float64).ravel())[::-1]
    n = len(values) if n_dimensions is None else n_dimensions
    if len(values) == 0 or np.any(np.isnan(values)):
        return None, "an exponent is not a number"
    # Exponents that are zero come out as a few units of rounding, of either sign.
    zero = max(rounding, 1e-12 * float(np.sum(np.abs(values[np.isfinite(values)]))))
    if values[0] < -zero:
        return 0.0, ""
    sums = np.cumsum(values)
    negative = np.flatnonzero(sums < -zero)
    if len(negative) == 0:
        if len(values) < n:
            return None, (
                f"the sum of the {len(values)} leading exponents is not negative: ask for more of the {n}"
            )
        return None, "the sum of all exponents is not negative: volumes do not shrink"
    j = int(negative[0])
    return float(j + max(sums[j - 1], 0.0) / abs(values[j])), ""


class _Tangent:
    """The state and an orthonormal frame, moved on together.

    State and frame are columns of one matrix, so that a step costs one product with W.
    """

    def __init__(self, network: EchoStateNetwork, x: FloatArray, Q: FloatArray) -> None:
        self.network = network
        self.W = network.W
        self.keep = (1.0 - network.leak_rate)[:, None]
        self.leaky = bool(np.any(self.keep))
        self.readout = network.readout if network.W_fb is not None else None
        self.XQ = np.asfortranarray(np.column_stack([x, Q]))
        self.x = x

    def step(self, drive: FloatArray) -> FloatArray:
        """Advance by one step with W_in u + b = drive; return the slopes a phi'(z)."""
        network, XQ = self.network, self.XQ
        with np.errstate(over="ignore", invalid="ignore"):
            return self._advance(drive, network, XQ)

    def _advance(self, drive: FloatArray, network: EchoStateNetwork, XQ: FloatArray) -> FloatArray:
        Z = self.W @ XQ
        if self.readout is not None and network.W_fb is not None:
            Y = self.readout.W_out @ XQ
            Y[:, 0] += self.readout.b_out
            if self.readout.W_sq is not None:
                x = XQ[:, :1]
                squares = 2.0 * x * XQ
                squares[:, 0] *= 0.5
                Y += self.readout.W_sq @ squares
            Z += network.W_fb @ Y
        z = Z[:, 0] + drive
        slope = network.leak_rate * network.activation.slope(z)
        Z *= slope[:, None]
        Z[:, 0] = network.leak_rate * network.activation(z)
        if self.leaky:
            Z += self.keep * XQ
        self.XQ = Z
        return np.asarray(slope)

    def reorthonormalise(self) -> FloatArray:
        """Replace the frame by its orthonormal factor; return the logarithms of the diagonal of R."""
        Q, R = scipy.linalg.qr(self.XQ[:, 1:], mode="economic", check_finite=False)
        self.XQ[:, 1:] = Q
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(np.diag(R))))

    def log_determinant(self, slope: FloatArray, x: FloatArray) -> float:
        """Return log |det DG| at the state x before the step that had these slopes."""
        network = self.network
        W = network.dense_W()
        if self.readout is not None and network.W_fb is not None:
            W = W + network.W_fb @ self.readout.jacobian(x)
        return float(np.linalg.slogdet(np.diag(self.keep[:, 0]) + slope[:, None] * W)[1])


def _spectrum(
    network: EchoStateNetwork,
    drive: FloatArray,
    x: FloatArray,
    *,
    kind: Literal["closed loop", "conditional"],
    n_exponents: int,
    n_steps: int,
    transient: int,
    warm_up: int,
    dt: float | None,
    rng: RandomState,
    progress: Progress,
) -> LyapunovSpectrum:
    """Average over n_steps after `transient` steps of the state alone and `warm_up` steps of the frame.

    `drive` has one row per step, or a single one that is used at every step.
    """
    n, k = network.n_units, n_exponents
    still = len(drive) == 1
    label = "Lyapunov exponents"
    total = transient + warm_up + n_steps
    progress(label, 0.0)
    generator = np.random.default_rng(rng)
    tangent = _Tangent(network, x, np.zeros((n, 0)))
    for i in range(transient):
        tangent.step(drive[0 if still else i])
    frame = np.linalg.qr(generator.standard_normal((n, k)))[0]
    tangent.XQ = np.asfortranarray(np.column_stack([tangent.XQ[:, 0], frame]))
    everything = k == n
    edges = np.round(np.linspace(0, n_steps, _BATCHES + 1)).astype(int)
    means, determinants = np.zeros((_BATCHES, k)), np.zeros(_BATCHES)
    interval, done = 1, transient
    for batch in range(-1, _BATCHES):
        # Batch -1 lets the frame turn to the directions that it will keep.
        length = warm_up if batch < 0 else int(edges[batch + 1] - edges[batch])
        growth, log_det, i = np.zeros(k), 0.0, 0
        while i < length:
            stretch = min(interval, length - i)
            for _ in range(stretch):
                before = tangent.XQ[:, 0]
                slope = tangent.step(drive[0 if still else done])
                done += 1
                if everything and batch >= 0:
                    log_det += tangent.log_determinant(slope, before)
            if not np.all(np.isfinite(tangent.XQ)):
                raise InvalidInputError(
                    "network", f"the state or a perturbation overflows at step {done}",
                    "exponents need a trajectory that stays bounded", "start on the attractor, or check W",
                )  # fmt: skip
            logs = tangent.reorthonormalise()
            growth += logs
            i += stretch
            finite = logs[np.isfinite(logs)]
            # The spread of the columns, and their common growth: neither may leave the range of a double.
            per_step = max(np.ptp(finite), 0.1 * np.max(np.abs(finite))) / stretch if len(finite) else _SPREAD
            longest = min(_LONGEST, int(_SPREAD / per_step) if per_step > 0.0 else _LONGEST)
            interval = max(1, min(longest, 2 * interval))
        if batch >= 0:
            means[batch], determinants[batch] = growth / length, log_det / length
        progress(label, done / total)
    sum_rule = None
    if everything:
        sums = means.sum(axis=1)
        with np.errstate(invalid="ignore"):
            errors = np.abs(sums - determinants) / np.maximum(np.abs(determinants), 1.0)
        # Both -inf: the map is singular and says so twice.
        sum_rule = float(np.max(np.where(sums == determinants, 0.0, errors)))
    scale = 1.0 if dt is None else 1.0 / dt
    weights = np.diff(edges)[:, None] / n_steps
    exponents = (weights * means).sum(axis=0) * scale
    order = np.argsort(-exponents, kind="stable")
    exponents, means = exponents[order], means[:, order] * scale
    with np.errstate(invalid="ignore"):
        stderr = np.std(means, axis=0, ddof=1) / math.sqrt(_BATCHES)
    stderr = np.where(np.isfinite(exponents), stderr, 0.0)
    half = float(scipy.stats.t.ppf(0.975, _BATCHES - 1)) * stderr
    dimension, note = (
        kaplan_yorke_dimension(exponents, n, rounding=1e-15 * n / (dt or 1.0))
        if kind == "closed loop"
        else (None, "not of a driven network")
    )
    return LyapunovSpectrum(
        exponents, stderr, np.column_stack([exponents - half, exponents + half]), kind,
        "1/step" if dt is None else "1/time", dt, n_steps, _BATCHES, dimension, note, sum_rule, means,
    )  # fmt: skip


def _checked(
    network: EchoStateNetwork, x0: ArrayLike | None, n_exponents: int, dt: float | None
) -> FloatArray:
    if not 1 <= n_exponents <= network.n_units:
        raise InvalidInputError(
            "n_exponents", str(n_exponents), f"must lie in 1 ... n_units = {network.n_units}"
        )
    if dt is not None and not (math.isfinite(dt) and dt > 0.0):
        raise InvalidInputError("dt", str(dt), "must be positive", "leave it out for exponents per step")
    x = np.zeros(network.n_units) if x0 is None else np.array(x0, dtype=np.float64)
    if x.shape != (network.n_units,) or not np.all(np.isfinite(x)):
        raise InvalidInputError(
            "x0", f"shape {x.shape}", f"must be a finite state of shape (n_units = {network.n_units},)"
        )
    return x


def lyapunov_spectrum(
    network: EchoStateNetwork,
    x0: ArrayLike | None = None,
    *,
    n_exponents: int = 3,
    n_steps: int = 20000,
    transient: int = 1000,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> LyapunovSpectrum:
    r"""Estimate the leading Lyapunov exponents of an autonomous network (closed loop, or constant input).

    .. math:: \lambda_i = \lim_{n\to\infty} \tfrac1n \log R^{(n)}_{ii}, \qquad
              DG(x_{n-1}) \cdots DG(x_0)\, Q_0 = Q_n R^{(n)}

    by repeated QR decomposition (Benettin; Eckmann and Ruelle). The interval between decompositions follows
    the spread of the exponents. The Jacobian is never formed (except for the sum rule, when all exponents
    are asked for): readout and feedback stay factored, a sparse W stays sparse.

    Parameters
    ----------
    network : EchoStateNetwork
        Without inputs: `closed_loop()` or `at_input(u)` of one with.
    x0 : array_like, shape (n_units,), optional
        Start, better on the attractor. A small random state by default (the origin may be a fixed point).
    n_exponents : int
        How many, from the largest. Default 3.
    n_steps : int
        Steps averaged over, in 20 batches; at least 20. Default 20000.
    transient : int
        Steps before that, the second half with the frame. Default 1000.
    dt : float, optional
        Time between steps; with it the unit is 1/time, else 1/step.
    rng : int, Generator or None
        For the first frame (and start). Default 0.
    progress : callable, optional

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    InvalidInputError
        When the network has inputs, a number is out of its range, or the trajectory overflows.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> rotation = 0.9 * np.array([[0.6, -0.8], [0.8, 0.6]])
    >>> linear = EchoStateNetwork(rotation, activation="identity")
    >>> spectrum = lyapunov_spectrum(linear, n_exponents=2, n_steps=100, transient=10)
    >>> spectrum.exponents - np.log(0.9) < 1e-12
    array([ True,  True])

    References
    ----------
    G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn, Meccanica 15 (1980) 9, doi:10.1007/BF02128236;
    J.-P. Eckmann, D. Ruelle, Rev. Mod. Phys. 57 (1985) 617, doi:10.1103/RevModPhys.57.617.
    """
    if network.n_inputs:
        raise InvalidInputError(
            "network", f"{network.n_inputs} inputs", "must have none",
            "use closed_loop(), at_input(u), or conditional_lyapunov_spectrum for a driven network",
        )  # fmt: skip
    if n_steps < _BATCHES or transient < 0:
        name, value = ("n_steps", n_steps) if n_steps < _BATCHES else ("transient", transient)
        raise InvalidInputError(name, str(value), f"needs n_steps >= {_BATCHES} and transient >= 0")
    x = _checked(network, x0, n_exponents, dt)
    generator = np.random.default_rng(rng)
    if x0 is None:
        x = 1e-2 * generator.standard_normal(network.n_units)
    return _spectrum(
        network, network.b[None], x, kind="closed loop", n_exponents=n_exponents, n_steps=n_steps,
        transient=transient - transient // 2, warm_up=transient // 2, dt=dt, rng=generator, progress=progress,
    )  # fmt: skip


def conditional_lyapunov_spectrum(
    network: EchoStateNetwork,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    n_exponents: int = 1,
    washout: int | None = None,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> LyapunovSpectrum:
    r"""Estimate the leading conditional Lyapunov exponents of a network driven by one input series.

    Perturbations of the state only; the input is held fixed. A negative largest exponent is the local
    echo state property along this response; it does not say that other responses do not exist.

    Parameters
    ----------
    network : EchoStateNetwork
        With inputs.
    u : array_like, shape (n_steps, n_inputs)
    x0 : array_like, shape (n_units,), optional
        Zeros by default.
    n_exponents : int
        Default 1.
    washout : int, optional
        Steps before averaging, the second half with the frame. Default: a tenth of the series.
    dt : float, optional
        Time between steps; with it the unit is 1/time, else 1/step.
    rng : int, Generator or None
        For the first frame. Default 0.
    progress : callable, optional

    Returns
    -------
    LyapunovSpectrum
        Of kind "conditional", without a Kaplan-Yorke dimension.

    Raises
    ------
    InvalidInputError
        When shapes do not fit, or fewer than 20 steps are left after the washout.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> linear = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity")
    >>> result = conditional_lyapunov_spectrum(linear, np.ones((100, 1)))
    >>> abs(result.exponents[0] - np.log(0.5)) < 1e-12
    np.True_

    References
    ----------
    L. M. Pecora, T. L. Carroll, Phys. Rev. Lett. 64 (1990) 821, doi:10.1103/PhysRevLett.64.821.
    """
    if network.n_inputs == 0:
        raise InvalidInputError(
            "network", "no inputs", "a conditional exponent needs a driven network", "use lyapunov_spectrum"
        )
    u = np.asarray(u, dtype=np.float64)
    if u.ndim != 2 or u.shape[1] != network.n_inputs:
        raise InvalidInputError("u", f"shape {u.shape}", f"must have shape (n_steps, {network.n_inputs})")
    if not np.all(np.isfinite(u)):
        k, j = np.argwhere(~np.isfinite(u))[0]
        raise InvalidInputError(f"u[{k}, {j}]", str(u[k, j]), "every entry must be finite")
    washout = len(u) // 10 if washout is None else washout
    n_steps = len(u) - washout
    if washout < 0 or n_steps < _BATCHES:
        raise InvalidInputError(
            "washout",
            str(washout),
            f"must leave at least {_BATCHES} of the {len(u)} steps",
            "a longer series",
        )
    x = _checked(network, x0, n_exponents, dt)
    drive = u @ network.W_in.T + network.b if len(u) > 1 else network.b[None]
    return _spectrum(
        network, drive, x, kind="conditional", n_exponents=n_exponents, n_steps=n_steps,
        transient=washout - washout // 2, warm_up=washout // 2, dt=dt, rng=rng, progress=progress,
    )  # fmt: skip
