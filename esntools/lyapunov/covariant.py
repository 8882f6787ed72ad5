"""Covariant Lyapunov vectors: the directions that grow at the rates of the exponents, and their angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import seeded
from esntools.errors import InvalidInputError
from esntools.lyapunov.frames import Mapped
from esntools.lyapunov.products import Products, factors
from esntools.lyapunov.spectrum import (
    checked_dt,
    checked_number,
    checked_series,
    checked_state,
    checked_whole,
    default_start,
)
from esntools.lyapunov.tangent import stepped
from esntools.maps import Map, checked_map
from esntools.network import EchoStateNetwork
from esntools.threads import one_blas_thread

__all__ = ["CovariantVectors", "covariant_lyapunov_vectors"]

# A diagonal entry this much smaller than the largest belongs to a direction that the map annihilates.
_ANNIHILATED: Final = 1e-250


@final
@dataclass(frozen=True, eq=False)
class CovariantVectors:
    r"""Covariant vectors along one trajectory.

    Attributes
    ----------
    exponents : ndarray, shape (k,)
        Of the forward decomposition, decreasing, in `unit`.
    growth : ndarray, shape (k,)
        Mean logarithmic growth of the vectors themselves, in the same unit: equal to `exponents` but for the
        ends of the run.
    steps : ndarray of int, shape (m,)
        At which steps after the transient the vectors are given.
    states : ndarray, shape (m, n_units)
    vectors : ndarray, shape (m, n_units, k)
        Column j of each, of length one, grows at the rate of exponent j forwards and backwards in time:
        D_xG maps it to a multiple of column j one step on. Its sign is not determined.
    cosines : ndarray, shape (m, k, k)
        \|cos\| of the angles between each two of the vectors.
    kind : {"autonomous", "conditional"}
    unit : {"1/step", "1/time"}
    dt : float or None
    n_steps : int
    note : str
        Empty, or which vectors are not determined because their exponents coincide.
    """

    exponents: FloatArray
    growth: FloatArray
    steps: IntArray
    states: FloatArray
    vectors: FloatArray
    cosines: FloatArray
    kind: Literal["autonomous", "conditional"]
    unit: Literal["1/step", "1/time"]
    dt: float | None
    n_steps: int
    note: str

    def splitting_angles(self, n_leading: int) -> FloatArray:
        """Return the least angle, in radians, between the span of the leading vectors and that of the others.

        With `n_leading` the number of positive exponents: how far the motion is from a tangency of its
        unstable and stable directions, at which hyperbolicity ends.

        Parameters
        ----------
        n_leading : int
            1 ... k - 1.

        Returns
        -------
        ndarray, shape (m,)

        Raises
        ------
        InvalidInputError
            When `n_leading` is out of range.
        """
        k = len(self.exponents)
        if not 1 <= n_leading < k:
            raise InvalidInputError(
                "n_leading", str(n_leading), f"must lie in 1 ... {k - 1}",
                "ask for more vectors" if k == 1 else "split the vectors into two groups",
            )  # fmt: skip
        angles = np.empty(len(self.vectors))
        for i, V in enumerate(self.vectors):
            A = np.linalg.qr(V[:, :n_leading])[0]
            B = np.linalg.qr(V[:, n_leading:])[0]
            # The sine of the least angle; arccos of the cosine would lose small angles to rounding.
            rest = B - A @ (A.T @ B)
            sine = np.linalg.svd(rest, compute_uv=False)[-1]
            cosine = np.linalg.svd(A.T @ B, compute_uv=False)[0]
            angles[i] = math.atan2(float(sine), float(cosine))
        return angles


def _factor(moving: Mapped | Products) -> FloatArray:
    """Replace the frame by its orthonormal factor with a positive diagonal of R; return R."""
    Q, R = scipy.linalg.qr(moving.frame, mode="economic", check_finite=False)
    sign = np.where(np.diag(R) < 0.0, -1.0, 1.0)
    moving.frame[:] = Q * sign
    return np.asarray(R * sign[:, None])


def _forward(moving: Mapped | Products, first: int, last: int) -> list[FloatArray]:
    """Advance by the steps first ... last - 1, decomposing after each; return the triangular factors."""
    triangles = []
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(first, last):
            moving.push(i)
            if not (np.all(np.isfinite(moving.x)) and np.all(np.isfinite(moving.frame))):
                raise InvalidInputError(
                    "network", f"the state or a perturbation overflows at step {i + 1}",
                    "vectors need a trajectory that stays bounded", "start on the attractor, or check W",
                )  # fmt: skip
            triangles.append(_factor(moving))
    return triangles


def _back(R: FloatArray, C: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return R^-1 C with columns of length one, and the logarithms of what they were divided by."""
    C = scipy.linalg.solve_triangular(R, C, check_finite=False)
    size = np.linalg.norm(C, axis=0)
    return C / size, np.log(size)


@one_blas_thread
def covariant_lyapunov_vectors(
    system: Map,
    x0: ArrayLike | None = None,
    *,
    u: ArrayLike | None = None,
    n_vectors: int | Literal["all"] | None = None,
    n_steps: int = 1000,
    transient: int = 1000,
    backward_transient: int | None = None,
    every: int = 1,
    checkpoint: int | None = None,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> CovariantVectors:
    r"""Estimate the leading covariant Lyapunov vectors along a trajectory, and their angles.

    .. math:: D_xG(x_k)\, v_j(x_k) = \gamma_{j,k}\, v_j(x_{k+1}), \qquad
              \lim_{n\to\pm\infty} \tfrac1n \sum_k \log|\gamma_{j,k}| = \lambda_j,

    by the dynamic algorithm of Ginelli et al.: QR decompositions forwards, then triangular coefficients
    backwards through the R factors. Forwards only the state and frame at every `checkpoint`-th step are kept;
    the factors between two of them are computed again when the backward pass comes to them.

    Parameters
    ----------
    system : Map
        Without inputs, or with inputs and `u`.
    x0 : array_like, shape (n_units,), optional
        Start; by default the system's own `x0` or a small random state, for a driven map zeros.
    u : array_like, shape (transient + n_steps + backward_transient, n_inputs), optional
        The input series of a driven map: the vectors are those of the conditional exponents.
    n_vectors : int or "all", optional
        How many, from the leading one. Default 3, or all of a smaller system.
    n_steps : int
        Steps along which the vectors are found. Default 1000.
    transient : int
        Steps before them, the second half with the frame. Default 1000.
    backward_transient : int, optional
        Steps after them, from whose end the coefficients come back. Default: as many as the transient.
    every : int
        Give the vectors at every so many-th step. Default 1.
    checkpoint : int, optional
        Default: about the square root of the number of steps.
    dt : float, optional
        Time between steps; with it the unit is 1/time, else 1/step.
    rng : int, Generator or None
        For the first frame and coefficients. Default 0.
    progress : callable, optional

    Returns
    -------
    CovariantVectors

    Raises
    ------
    InvalidInputError
        When a number or shape is out of range, the trajectory overflows, or the map annihilates one of the
        directions asked for.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> W = np.array([[0.9, 0.5], [0.0, 0.4]])
    >>> linear = EchoStateNetwork(W, activation="identity")
    >>> found = covariant_lyapunov_vectors(linear, n_steps=3, transient=100)
    >>> found.vectors[0].round(4)[:, 1] * np.sign(found.vectors[0, 0, 1])
    array([ 0.7071, -0.7071])
    >>> found.splitting_angles(1).round(4)
    array([0.7854, 0.7854, 0.7854, 0.7854])

    References
    ----------
    F. Ginelli et al., Phys. Rev. Lett. 99 (2007) 130601, doi:10.1103/PhysRevLett.99.130601;
    P. V. Kuptsov, U. Parlitz, J. Nonlinear Sci. 22 (2012) 727, doi:10.1007/s00332-012-9126-5.
    """
    n = checked_map(system).n_units
    backward = transient if backward_transient is None else backward_transient
    for name, value, least in (
        ("n_steps", n_steps, 1), ("transient", transient, 0), ("backward_transient", backward, 0),
        ("every", every, 1), ("checkpoint", 1 if checkpoint is None else checkpoint, 1),
    ):  # fmt: skip
        checked_whole(name, value)
        if value < least:
            raise InvalidInputError(name, str(value), f"must be at least {least}", "give a larger number")
    k = checked_number(n_vectors, n, 3, "n_vectors")
    checked_dt(dt)
    x = checked_state(system, x0)
    generator = seeded(rng)
    total = transient + n_steps + backward
    if system.n_inputs:
        if u is None:
            raise InvalidInputError(
                "u", "None", f"the map has {system.n_inputs} inputs", "give its input series, or use at_input"
            )
        u = checked_series(system, u)
        if len(u) < total:
            raise InvalidInputError(
                "u", f"{len(u)} steps", f"transient, n_steps and backward_transient need {total}",
                "give a longer series, or shorten them",
            )  # fmt: skip
    elif u is not None:
        raise InvalidInputError("u", "given", "the map has no inputs", "leave it out")
    elif x0 is None:
        x = default_start(system, generator)
    if isinstance(system, EchoStateNetwork) and np.all(system.leak_rate == 1.0):
        thin = factors(system)
        if thin is not None and k > thin.rank:
            raise InvalidInputError(
                "n_vectors", str(k), f"W has rank {thin.rank}: directions beyond it have no past",
                f"ask for at most {thin.rank}" if thin.rank else "the network forgets its state at once",
            )  # fmt: skip
    label = "covariant vectors"
    progress(label, 0.0)
    moving = stepped(system, u, x)
    moving.settle(0, transient - transient // 2)
    moving.start(np.linalg.qr(generator.standard_normal((n, k)))[0])
    _forward(moving, transient - transient // 2, transient)

    # Forwards: sums of logarithms and checkpoints only.
    spacing = max(16, math.isqrt(n_steps + backward)) if checkpoint is None else checkpoint
    starts = list(range(transient, total, spacing))
    kept: list[tuple[FloatArray, FloatArray]] = []
    logs = np.zeros(k)
    for start in starts:
        kept.append((moving.x.copy(), moving.frame.copy()))
        for i, R in enumerate(_forward(moving, start, min(start + spacing, total)), start):
            diagonal = np.diag(R)
            if np.min(diagonal) <= _ANNIHILATED * np.max(diagonal):
                j = int(np.argmin(diagonal))
                raise InvalidInputError(
                    "n_vectors", str(k), f"the map annihilates direction {j + 1}, which has no past",
                    f"ask for at most {j} vectors" if j else "the map forgets its state at once",
                )  # fmt: skip
            if i < transient + n_steps:
                logs += np.log(diagonal)
        progress(label, 0.5 * (min(start + spacing, total) - transient) / (total - transient))

    # Backwards, block by block: each begins from its checkpoint again.
    wanted = np.arange(0, n_steps + 1, every)
    states, vectors = np.empty((len(wanted), n)), np.empty((len(wanted), n, k))
    cosines = np.empty((len(wanted), k, k))
    growth = np.zeros(k)
    C = np.triu(generator.standard_normal((k, k)))
    C /= np.linalg.norm(C, axis=0)

    def record(step: int, x: FloatArray, Q: FloatArray) -> None:
        i, rest = divmod(step, every)
        if rest == 0 and 0 <= step <= n_steps:
            states[i], vectors[i], cosines[i] = x, Q @ C, np.minimum(np.abs(C.T @ C), 1.0)

    record(total - transient, moving.x, moving.frame)
    for start, (x, Q) in zip(reversed(starts), reversed(kept)):
        last = min(start + spacing, total)
        moving.x = x
        moving.frame[:] = Q
        visited, triangles = [], []
        for i in range(start, last):
            visited.append((moving.x.copy(), moving.frame.copy()))
            triangles += _forward(moving, i, i + 1)
        for i in range(last - 1, start - 1, -1):
            C, shrunk = _back(triangles[i - start], C)
            if i < transient + n_steps:
                growth -= shrunk
            record(i - transient, *visited[i - start])
        progress(label, 1.0 - 0.5 * (start - transient) / (total - transient))
    scale = 1.0 / n_steps if dt is None else 1.0 / (n_steps * dt)
    return CovariantVectors(
        logs * scale, growth * scale, wanted, states, vectors, cosines,
        "autonomous" if u is None else "conditional", "1/step" if dt is None else "1/time", dt, n_steps,
        _degenerate(logs / n_steps, transient, backward),
    )  # fmt: skip


def _degenerate(exponents: FloatArray, transient: int, backward: int) -> str:
    """Say between which vectors the transients were too short to decide."""
    gaps = -np.diff(exponents)
    # The wrong direction shrinks by exp(-gap) per step.
    close = [f"{i + 1} and {i + 2}" for i in np.flatnonzero(gaps * min(transient // 2, backward) < 10.0)]
    if not close:
        return ""
    if len(close) > 4:
        close = [*close[:2], f"and {len(close) - 2} more pairs"]
    return (
        f"exponents {', '.join(close)} are too close for transients of {transient} and {backward} steps: "
        "these vectors are not determined, only their span is"
    )
