"""The two questions: exponents of an autonomous map, and conditional ones of a driven map."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, seeded
from esntools.errors import InvalidInputError
from esntools.lyapunov.statistics import N_BATCHES, LyapunovSpectrum, summarise
from esntools.lyapunov.tangent import frame_width, tangent
from esntools.maps import Map, checked_map
from esntools.threads import one_blas_thread

__all__ = [
    "checked_dt",
    "checked_number",
    "checked_series",
    "checked_state",
    "checked_whole",
    "conditional_lyapunov_spectrum",
    "default_start",
    "lyapunov_spectrum",
]

# Blocks per batch of the convergence plot, of at least so many steps each.
_BLOCKS: Final = 10
_BLOCK_STEPS: Final = 50


def checked_state(system: Map, x0: ArrayLike | None) -> FloatArray:
    """Return x0 as a copied array, zeros for None."""
    x = np.zeros(system.n_units) if x0 is None else np.array(real_array(x0, "x0"))
    if x.shape != (system.n_units,) or not np.all(np.isfinite(x)):
        raise InvalidInputError(
            "x0", f"shape {x.shape}" if x.shape != (system.n_units,) else "an entry that is not finite",
            f"must be a finite state of shape (n_units = {system.n_units},)",
            "give one state, such as the last of a trajectory",
        )  # fmt: skip
    return x


def default_start(system: Map, generator: np.random.Generator) -> FloatArray:
    """Return the system's own start, or a small random state."""
    own = getattr(system, "x0", None)
    return 1e-2 * generator.standard_normal(system.n_units) if own is None else checked_state(system, own)


def checked_dt(dt: float | None) -> None:
    if dt is not None:
        positive_number(dt, "dt", "leave it out for exponents per step")


def checked_whole(place: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(place, repr(value), "must be a whole number", f"such as {place}=1000")


def checked_number(
    number: int | Literal["all"] | None, n: int, default: int, place: str = "n_exponents"
) -> int:
    """Return how many exponents or vectors are meant, at most `default` by None."""
    if number is None:
        return min(default, n)
    if isinstance(number, str) and number == "all":
        return n
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not whole or not 1 <= number <= n:
        raise InvalidInputError(
            place, repr(number), f"must lie in 1 ... n_units = {n}",
            'ask for fewer, or for "all"',
        )  # fmt: skip
    return int(number)


def checked_series(system: Map, u: ArrayLike) -> FloatArray:
    """Return the input series as a finite array of shape (n_steps, n_inputs)."""
    u = real_array(u, "u")
    if u.ndim != 2 or u.shape[1] != system.n_inputs:
        raise InvalidInputError(
            "u", f"shape {u.shape}", f"must have shape (n_steps, {system.n_inputs})",
            "a series of one input needs a second axis of length 1",
        )  # fmt: skip
    if not np.all(np.isfinite(u)):
        k, j = np.argwhere(~np.isfinite(u))[0]
        raise InvalidInputError(
            f"u[{k}, {j}]", str(u[k, j]), "every entry must be finite", "fill or drop missing values"
        )
    return u


def _period(u: FloatArray) -> int | None:
    """Return the shortest period of a series that repeats at least twice, or None."""
    n = len(u)
    # Few shifts survive the comparison of a short piece.
    head = u[: min(n // 2, 32)]
    starts = np.flatnonzero(np.all(u[1 : n // 2 + 1] == u[0], axis=1)) + 1
    for p in starts:
        if np.array_equal(u[p : p + len(head)], head) and np.array_equal(u[p:], u[:-p]):
            return int(p)
    return None


def _estimate(
    system: Map,
    u: FloatArray | None,
    x: FloatArray,
    *,
    n_exponents: int,
    n_steps: int,
    transient: int,
    warm_up: int,
    dt: float | None,
    notes: list[str],
    rng: RandomState,
    progress: Progress,
) -> LyapunovSpectrum:
    """Average over n_steps after `transient` steps of the state alone and `warm_up` steps of the frame."""
    n, k = system.n_units, n_exponents
    label = "Lyapunov exponents"
    total = transient + warm_up + n_steps
    progress(label, 0.0)
    generator = seeded(rng)
    columns = frame_width(system, k)
    frame = np.linalg.qr(generator.standard_normal((n, columns)))[0]
    moving, width, finite = tangent(system, u, x, columns)
    n_finite = k if finite is None else min(k, finite)
    n_blocks = N_BATCHES * max(1, min(_BLOCKS, n_steps // (N_BATCHES * _BLOCK_STEPS)))
    edges = np.round(np.linspace(0, n_steps, n_blocks + 1)).astype(np.intp)
    growth = np.full((n_blocks, k), -np.inf)
    sums: list[tuple[float, float]] = []

    def bounded(done: int, since: int, grown: FloatArray | None = None) -> None:
        if not np.all(np.isfinite(moving.x)) or (
            grown is not None and np.any(np.isnan(grown) | np.isposinf(grown))
        ):
            raise InvalidInputError(
                "network", f"the state or a perturbation overflows at steps {since + 1} to {done}",
                "exponents need a trajectory that stays bounded", "start on the attractor, or check W",
            )  # fmt: skip
        progress(label, done / total)

    step = 128
    for first in range(0, transient, step):
        last = min(first + step, transient)
        moving.settle(first, last)
        bounded(last, first)
    moving.start(frame[:, :width])
    # The frame turns to the directions that it will keep.
    for first in range(transient, transient + warm_up, step):
        last = min(first + step, transient + warm_up)
        bounded(last, first, moving.grow(first, last))
    start = transient + warm_up
    moving.audited = moving.log_det = 0.0
    for j in range(n_blocks):
        first, last = start + int(edges[j]), start + int(edges[j + 1])
        grown = moving.grow(first, last)
        bounded(last, first, grown)
        growth[j, :n_finite] = grown[:n_finite]
        if (j + 1) % (n_blocks // N_BATCHES) == 0:
            sums.append((moving.audited, moving.log_det))
            moving.audited = moving.log_det = 0.0
    error = None
    if k == n and finite is None:
        error = 0.0
        for found, expected in sums:
            # Both -inf: the map is singular and says so twice. One alone is rounding, a difference without
            # bound, which a maximum with NaN would hide.
            if found != expected:
                finite_both = np.isfinite(found) and np.isfinite(expected)
                error = max(error, abs(found - expected) / max(abs(expected), 1.0)) if finite_both else np.inf
    if finite is not None and finite < k:
        notes = [*notes, f"W has rank {finite}: all other exponents are -inf"]
    return summarise(
        growth, edges, n, kind="autonomous" if u is None else "conditional", dt=dt, sum_rule_error=error,
        notes=notes,
    )  # fmt: skip


@one_blas_thread
def lyapunov_spectrum(
    system: Map,
    x0: ArrayLike | None = None,
    *,
    n_exponents: int | Literal["all"] | None = None,
    n_steps: int = 20000,
    transient: int = 1000,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> LyapunovSpectrum:
    r"""Estimate the leading Lyapunov exponents of an autonomous map: closed loop, constant input, flow.

    .. math:: \lambda_i = \lim_{n\to\infty} \tfrac1n \log R^{(n)}_{ii}, \qquad
              DG(x_{n-1}) \cdots DG(x_0)\, Q_0 = Q_n R^{(n)}

    by repeated decomposition of the product (Benettin; Eckmann and Ruelle). The leading exponents come from
    QR decompositions at intervals that follow the spread of the exponents, all exponents of a network from LU
    decompositions at every step, whose diagonals make up the same :math:`R^{(n)}_{ii}`. The Jacobian of a
    network is formed for all exponents only: readout and feedback stay factored, a sparse W stays sparse,
    and where W + W_fb W_out has a small rank, its thin factors are used.

    Parameters
    ----------
    system : Map
        Without inputs: a network's `closed_loop()` or `at_input(u)`, or any other map.
    x0 : array_like, shape (n_units,), optional
        Start, better on the attractor. By default the system's own `x0` where it has one, else a small random
        state (the origin may be a fixed point).
    n_exponents : int or "all", optional
        How many, from the largest. Default 3, or all of a smaller system.
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
        Of kind "autonomous".

    Raises
    ------
    InvalidInputError
        When the map has inputs, a number is out of its range, or the trajectory overflows.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> rotation = 0.9 * np.array([[0.6, -0.8], [0.8, 0.6]])
    >>> linear = EchoStateNetwork(rotation, activation="identity")
    >>> spectrum = lyapunov_spectrum(linear, n_exponents="all", n_steps=100, transient=10)
    >>> abs(spectrum.exponents - np.log(0.9)) < 1e-12
    array([ True,  True])

    References
    ----------
    G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn, Meccanica 15 (1980) 9, doi:10.1007/BF02128236;
    J.-P. Eckmann, D. Ruelle, Rev. Mod. Phys. 57 (1985) 617, doi:10.1103/RevModPhys.57.617.
    """
    if checked_map(system).n_inputs:
        raise InvalidInputError(
            "network", f"{system.n_inputs} inputs", "must have none",
            "use closed_loop(), at_input(u), or conditional_lyapunov_spectrum for a driven network",
        )  # fmt: skip
    for name, value in (("n_steps", n_steps), ("transient", transient)):
        checked_whole(name, value)
    if n_steps < N_BATCHES or transient < 0:
        name, value = ("n_steps", n_steps) if n_steps < N_BATCHES else ("transient", transient)
        raise InvalidInputError(
            name, str(value), f"needs n_steps >= {N_BATCHES} and transient >= 0",
            f"the error bars take {N_BATCHES} batches of at least one step",
        )  # fmt: skip
    k = checked_number(n_exponents, system.n_units, 3)
    x = checked_state(system, x0)
    checked_dt(dt)
    generator = seeded(rng)
    if x0 is None:
        x = default_start(system, generator)
    return _estimate(
        system, None, x, n_exponents=k, n_steps=n_steps, transient=transient - transient // 2,
        warm_up=transient // 2, dt=dt, notes=[], rng=generator, progress=progress,
    )  # fmt: skip


@one_blas_thread
def conditional_lyapunov_spectrum(
    system: Map,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    n_exponents: int | Literal["all"] = 1,
    washout: int | None = None,
    dt: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> LyapunovSpectrum:
    r"""Estimate the leading conditional Lyapunov exponents of a map driven by one input series.

    .. math:: \lambda_i = \lim_{n\to\infty} \tfrac1n \log R^{(n)}_{ii}, \qquad
              D_xG(u_n, x_{n-1}) \cdots D_xG(u_1, x_0)\, Q_0 = Q_n R^{(n)}

    Perturbations of the state only; the input is held fixed. A negative largest exponent is the local
    echo state property along this response; it does not say that other responses do not exist.

    Parameters
    ----------
    system : Map
        With inputs.
    u : array_like, shape (n_steps, n_inputs)
    x0 : array_like, shape (n_units,), optional
        Zeros by default.
    n_exponents : int or "all"
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
        Of kind "conditional", without a Kaplan-Yorke dimension. Its note says when the input is constant or
        periodic.

    Raises
    ------
    InvalidInputError
        When shapes do not fit, or fewer than 20 steps are left after the washout.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> linear = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity")
    >>> result = conditional_lyapunov_spectrum(linear, np.sin(np.arange(100.0))[:, None])
    >>> abs(result.exponents[0] - np.log(0.5)) < 1e-12
    np.True_

    References
    ----------
    L. M. Pecora, T. L. Carroll, Phys. Rev. Lett. 64 (1990) 821, doi:10.1103/PhysRevLett.64.821.
    """
    if checked_map(system).n_inputs == 0:
        raise InvalidInputError(
            "network", "no inputs", "a conditional exponent needs a driven network", "use lyapunov_spectrum"
        )
    u = checked_series(system, u)
    washout = len(u) // 10 if washout is None else washout
    checked_whole("washout", washout)
    n_steps = len(u) - washout
    if washout < 0 or n_steps < N_BATCHES:
        raise InvalidInputError(
            "washout", str(washout), f"must leave at least {N_BATCHES} of the {len(u)} steps",
            "a longer series",
        )  # fmt: skip
    k = checked_number(n_exponents, system.n_units, 1)
    x = checked_state(system, x0)
    checked_dt(dt)
    notes = []
    period = _period(u)
    if period == 1:
        notes.append("the input is constant: these are the exponents of one autonomous map, at_input(u)")
    elif period is not None:
        notes.append(
            f"the input repeats after {period} steps: these are the exponents under this cycle, not under an "
            "irregular input"
        )
    return _estimate(
        system, u, x, n_exponents=k, n_steps=n_steps, transient=washout - washout // 2, warm_up=washout // 2,
        dt=dt, notes=notes, rng=rng, progress=progress,
    )  # fmt: skip
