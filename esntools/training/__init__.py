r"""Fitting: a reservoir, a ridge readout, and every setting chosen by free runs on data not fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Never

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.errors import InvalidInputError, nearest_name
from esntools.network import EchoStateNetwork
from esntools.simulation import final_state, forecast
from esntools.training.fitted import Fit, RidgeTrial
from esntools.training.problem import THRESHOLD, Problem
from esntools.training.segments import pieces_of, typical_length
from esntools.training.selection import select
from esntools.training.workspace import Workspace

__all__ = ["Fit", "RidgeTrial", "fit", "valid_prediction_time"]

_TASKS: Final = ("forecast", "observe", "map")


def _check_number(
    name: str, value: float | None, low: float, high: float, rule: str, *, open_low: bool = False
) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidInputError(name, repr(value), rule) from None
    if not (low <= number <= high) or not np.isfinite(number) or (open_low and number == low):
        raise InvalidInputError(name, repr(value), rule)
    return number


def _check_count(name: str, value: int | None, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidInputError(name, repr(value), f"must be a whole number, at least {least}")
    return int(value)


def _check_names(names: Sequence[str] | str | None, n_columns: int) -> tuple[str, ...]:
    if names is None:
        return ()
    found = (names,) if isinstance(names, str) else tuple(names)
    if len(found) != n_columns or not all(isinstance(name, str) for name in found):
        raise InvalidInputError(
            "names", repr(names), f"must be one text for each of the {n_columns} columns of y"
        )
    return found


def _default_units(space: Workspace) -> int:
    n_rows = sum(stop - start for _, start, stop in space.ranges("fit"))
    n_features_per_unit = 2 if space.squares else 1
    return int(np.clip(n_rows // n_features_per_unit, 10, 300)) if space.closed else 300


def fit(
    y: ArrayLike | Sequence[ArrayLike],
    u: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    task: str = "forecast",
    n_units: int | None = None,
    spectral_radius: float | None = None,
    leak_rate: float | None = None,
    input_scaling: float | None = None,
    bias_scaling: float | None = None,
    connectivity: float | None = None,
    ridge: float | None = None,
    squares: bool | None = None,
    washout: int | None = None,
    holdout: int | None = None,
    refit: bool | None = None,
    dt: float | None = None,
    lyapunov_exponent: float | None = None,
    n_candidates: int | None = None,
    n_draws: int | None = None,
    feedback_noise: float | None = None,
    names: Sequence[str] | str | None = None,
    rng: RandomState = None,
    progress: Progress = no_progress,
    **unknown: Never,
) -> Fit:
    r"""Fit an echo state network to a series, choosing whatever is not given.

    .. math::

        \min_{W_\mathrm{out}, W_\mathrm{sq}, b_\mathrm{out}} \sum_k \lVert \psi(x_k) - y_{k+1} \rVert^2
            + \lambda (\lVert W_\mathrm{out} \rVert^2 + \lVert W_\mathrm{sq} \rVert^2),
        \qquad \psi(x) = W_\mathrm{out} x + W_\mathrm{sq} (x \circ x) + b_\mathrm{out},

    with the states :math:`x_k` of the reservoir driven by y, both standardised. Reservoirs are proposed by a
    Sobol sequence over spectral radius, input scaling, bias and leak rate; each is driven once, one
    decomposition serves all penalties, and the judge is the mean error of free runs over windows inside the
    training data and after it, plus the one-step leave-one-out error (which matters when the series is
    noisy), plus the share of long free runs that stray from the data's range. The tail of the series is held
    out for the numbers that `Fit` reports.

    Parameters
    ----------
    y : array_like, shape (n_steps,) or (n_steps, n_outputs), or a list of such arrays
        The series, or several. NaN is a gap: the series is split there, and a warning says what was dropped.
    u : like y, optional
        The input, for the tasks ``"observe"`` and ``"map"``.
    task : {"forecast", "observe", "map"}
        Predict the next value of y from its own past; y[k] from u[..k]; or the latter with the output fed
        back (trained with y in its place, plus noise: a memory such as a flip-flop).
    n_units : int, optional
        Reservoir size; by default 300, for a forecast fewer when that leaves less than one row per feature.
    spectral_radius, leak_rate, input_scaling, bias_scaling : float, optional
        Kept when given, else searched (``"map"``: 0.9, 1, 1, 0). In units of the scaled series.
    connectivity : float, optional
        Share of nonzero weights; by default ten per unit (``"map"``: 0.1).
    ridge : float, optional
        Penalty relative to the mean diagonal of the centred Gram matrix; searched from 1e-18 to 1 when not
        given. The intercept is not penalised.
    squares : bool, optional
        Whether the readout sees x*x too; by default for forecast and observe, not for map.
    washout : int, optional
        Steps dropped at the start of every stretch; by default a tenth of the typical stretch, 10 to 500.
    holdout : int, optional
        Steps held out at the end of the longest stretch; by default a fifth, at most 4000.
    refit : bool, optional
        Whether a forecast is fitted again to all rows, held-out ones included, once they have judged it; by
        default when fewer than 3000 rows are fitted without them. `Fit.refitted` says what was done.
    dt, lyapunov_exponent : float, optional
        Sampling interval and largest exponent (1/time); with both, times are given in Lyapunov times.
    n_candidates : int, optional
        Settings tried, default 48; 0 takes fixed defaults instead of a search.
    n_draws : int, optional
        Reservoirs drawn in full size with the best settings, of which the best is kept: by default 4 after a
        search, else 1.
    feedback_noise : float, optional
        Standard deviation, in scaled units, of the noise on the series that drives the reservoir in
        training; 0.1 for map, else 0.
    names : str or sequence of str, optional
        One name per column of y, kept in `Fit.names` and in its file.
    rng : int, Generator or None
        The fit is a function of it.
    progress : callable, optional

    Raises
    ------
    InvalidInputError
        When a keyword is unknown, a number out of range, the names do not match the columns, or the series
        is empty, constant, infinite, all NaN or shorter than washout + 10.

    Warns
    -----
    EsntoolsWarning
        When gaps or stretches that are too short were dropped; when the free run of a fit to more rows, or of
        every reservoir drawn, leaves the range of the data (`Fit.notes` keeps the reason).

    References
    ----------
    H. Jaeger, H. Haas, Science 304 (2004) 78, doi:10.1126/science.1091277; Z. Lu, B. R. Hunt, E. Ott, Chaos
    28 (2018) 061104, doi:10.1063/1.5039508 (squares in the readout); A. Racca, L. Magri, Neural Networks 142
    (2021) 252, doi:10.1016/j.neunet.2021.05.004 (recycled validation windows).

    Examples
    --------
    >>> from esntools.systems import lorenz63
    >>> x = lorenz63().trajectory(3000)[:, 0]
    >>> found = fit(x, n_units=100, spectral_radius=0.4, leak_rate=0.4, input_scaling=2.0, bias_scaling=1.0,
    ...             dt=0.05, lyapunov_exponent=0.9056, rng=1)
    >>> found.network
    EchoStateNetwork(n_units=100 (CSR, density 0.1), n_inputs=1, n_outputs=1, tanh)
    >>> bool(found.vpt_lyapunov.mean() > 1.5)
    True
    """
    for name in unknown:
        raise InvalidInputError(
            f"fit({name}=...)", repr(unknown[name]), "there is no such option", nearest_name(name, _OPTIONS)
        )
    if task not in _TASKS:
        raise InvalidInputError("task", repr(task), "no such task", nearest_name(str(task), _TASKS))
    n_units = _check_count("n_units", n_units, 1)
    given = {
        "spectral_radius": _check_number(
            "spectral_radius", spectral_radius, 0.0, 10.0, "must lie in [0, 10]"
        ),
        "input_scaling": _check_number(
            "input_scaling", input_scaling, 0.0, np.inf, "must be positive", open_low=True
        ),
        "bias_scaling": _check_number("bias_scaling", bias_scaling, 0.0, np.inf, "must not be negative"),
        "leak_rate": _check_number("leak_rate", leak_rate, 0.0, 1.0, "must lie in (0, 1]", open_low=True),
    }
    ridge = _check_number("ridge", ridge, 0.0, np.inf, "must be finite and not negative")
    _check_number("connectivity", connectivity, 0.0, 1.0, "must lie in (0, 1]", open_low=True)
    dt = _check_number("dt", dt, 0.0, np.inf, "must be positive", open_low=True)
    lyapunov_exponent = _check_number(
        "lyapunov_exponent", lyapunov_exponent, 0.0, np.inf, "must be positive (1/time)", open_low=True
    )
    noise = _check_number("feedback_noise", feedback_noise, 0.0, np.inf, "must not be negative")
    washout = _check_count("washout", washout, 0)
    holdout = _check_count("holdout", holdout, 0)
    n_candidates = _check_count("n_candidates", n_candidates, 0)
    n_draws = _check_count("n_draws", n_draws, 1)
    n_candidates = 48 if n_candidates is None else n_candidates
    if task == "forecast" and u is not None:
        raise InvalidInputError("u", "given", "a forecast is of y from its own past", "use task='observe'")
    if task != "forecast" and u is None:
        raise InvalidInputError("u", "None", f"the task {task!r} maps an input to y", "give u")
    rng = np.random.default_rng(rng)

    if washout is None:
        washout = int(np.clip(typical_length(y, u) // 10, 10, 500))
    pieces = pieces_of(y, u, least=washout + 10, least_reason="washout + 10")
    columns = _check_names(names, pieces.y[0].shape[1])
    problem = Problem.of(
        task, pieces, columns, washout, holdout, bool(task != "map") if squares is None else bool(squares),
        0.1 if noise is None and task == "map" else (noise or 0.0), dt, lyapunov_exponent, rng,
    )  # fmt: skip
    if task == "map":
        recipe = {"spectral_radius": 0.9, "input_scaling": 1.0, "bias_scaling": 0.0, "leak_rate": 1.0}
        connectivity = 0.1 if connectivity is None else connectivity
    elif n_candidates == 0:
        recipe = {"spectral_radius": 0.5, "input_scaling": 1.0, "bias_scaling": 1.0, "leak_rate": 0.5}
    else:
        recipe = {}
    fixed = {**recipe, **{name: value for name, value in given.items() if value is not None}}
    if n_units is None:
        n_units = _default_units(problem.space)
    selected = select(
        problem.space, n_units=n_units, connectivity=connectivity, fixed=fixed, ridge=ridge,
        n_candidates=n_candidates, n_draws=n_draws, rng=rng, progress=progress,
    )  # fmt: skip
    progress("judging on held-out data", 0.0)
    result = problem.judged(selected, refit)
    progress("judging on held-out data", 1.0)
    return result


_OPTIONS: Final = tuple(name for name in fit.__kwdefaults__ or {})


def valid_prediction_time(
    network: EchoStateNetwork,
    series: ArrayLike,
    *,
    starts: ArrayLike,
    synchronise: int,
    threshold: float = THRESHOLD,
    scale: ArrayLike | None = None,
    n_steps: int | None = None,
) -> FloatArray:
    r"""Return how many steps free runs of a closed loop hold, one number per start.

    The network is first driven by the true values ``series[s - synchronise : s]`` from the zero state, then
    runs freely; the time is the first step k at which

    .. math:: \sqrt{\operatorname{mean}_j ((\hat y_{s+k,j} - y_{s+k,j}) / \sigma_j)^2} > \text{threshold}.

    Parameters
    ----------
    network : EchoStateNetwork
        A closed loop (autonomous, with feedback): ``fit.closed_loop``.
    series : array_like, shape (n_steps,) or (n_steps, n_outputs)
    starts : array_like of int
        The first step predicted, one per window; each at least `synchronise`.
    synchronise : int
        True values that the network hears before each start.
    threshold : float, optional
        In units of `scale`. Default 0.4.
    scale : array_like, shape () or (n_outputs,), optional
        sigma; the standard deviation of `series` by default.
    n_steps : int, optional
        Longest run; by default, to the end of the series. A run that holds throughout counts its length.

    Raises
    ------
    InvalidInputError
        When the network is not a closed loop or a start does not fit into the series.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if network.n_inputs or network.W_fb is None or network.readout is None:
        raise InvalidInputError("network", repr(network), "must be a closed loop", "pass fit.closed_loop")
    if values.ndim != 2 or values.shape[1] != network.n_outputs:
        raise InvalidInputError("series", f"shape {values.shape}", f"must be (n, {network.n_outputs})")
    first = np.atleast_1d(np.asarray(starts, dtype=np.intp))
    synchronise = _check_count("synchronise", synchronise, 1) or 1
    longest = len(values) - int(first.max()) if n_steps is None else int(n_steps)
    for k in first[(first < synchronise) | (first + longest > len(values)) | (longest < 1)]:
        raise InvalidInputError(
            "starts", str(k), f"each start needs {synchronise} steps before it and {longest} after it"
        )
    sigma = (
        values.std(axis=0)
        if scale is None
        else np.broadcast_to(np.asarray(scale, dtype=np.float64), (values.shape[1],))
    )
    listening = replace(network, W_in=network.W_fb, W_fb=None)
    heard = np.stack([values[k - synchronise : k] for k in first], axis=1)
    x0 = final_state(listening, heard, np.zeros((len(first), network.n_units)))
    outputs = forecast(network, x0, longest).outputs
    truths = np.stack([values[k : k + longest] for k in first], axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        over = ~(np.sqrt(np.mean(((outputs - truths) / sigma) ** 2, axis=2)) <= threshold)
    return np.where(over.any(axis=0), over.argmax(axis=0), longest).astype(np.float64)
