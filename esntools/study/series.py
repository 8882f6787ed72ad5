"""The study of a series: fit, forecast, run freely, verify, compare with the true system if it is known."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esntools._typing import FloatArray, Progress
from esntools.climate import Climate, ForecastWindow, compare_climate
from esntools.errors import InvalidInputError
from esntools.excitable import visit_graph
from esntools.fixed_points import EquilibriumMatch, find_fixed_points, match_equilibria
from esntools.inputs import InputClass, Zero
from esntools.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from esntools.network import EchoStateNetwork
from esntools.series import Series
from esntools.simulation import drive, forecast
from esntools.spec import ReportSpec, StudySpec
from esntools.study.dynamics import compare_with_data, prove_all
from esntools.study.findings import Study
from esntools.study.steps import (
    SHARE,
    Steps,
    ask,
    certified_of,
    content_digest,
    evidence_of,
    input_class,
    settings_document,
    source_document,
)
from esntools.symbolic import derive
from esntools.training import Fit, fit
from esntools.zoo import ZooModel

if TYPE_CHECKING:
    import networkx

__all__ = ["study_series"]

#: Values held back from which forecasts are tested.
_FEW: Final = 24
_FREE_RUN: Final = 10_000


def _longest_complete(values: FloatArray) -> tuple[int, int]:
    """Return start and stop of the longest stretch without a missing value."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    edges = np.concatenate([[-1], bad, [len(values)]])
    i = int(np.argmax(np.diff(edges)))
    return int(edges[i]) + 1, int(edges[i + 1])


def _windows(
    fitted: Fit,
    values: FloatArray,
    n_train: int,
    settings: StudySpec,
    dt: float | None,
    exponent: float | None,
) -> tuple[FloatArray, tuple[ForecastWindow, ...]]:
    """Forecast from many starts in the part that the fit has not seen; return times and three windows."""
    spec = settings.forecast
    start, stop = _longest_complete(values[n_train:])
    start, stop = start + n_train, stop + n_train
    synchronise = min(fitted.washout, max(start, (stop - start) // 3))
    # Starting inside the training part costs nothing: only the forecasts must be on unseen values.
    begin = start - synchronise if np.isfinite(values[start - synchronise : start]).all() else start
    first = max(begin + synchronise, start)
    if stop - first < _FEW:
        raise InvalidInputError(
            "forecast", f"{max(stop - first, 0)} values are held back", f"at least {_FEW} are needed",
            "give a longer series",
        )  # fmt: skip
    n_steps = min(spec.n_steps, max(10, (stop - first) // 2))
    if dt and exponent and exponent > 0.0:
        # Nothing is left of a forecast after twenty Lyapunov times.
        n_steps = min(n_steps, int(np.ceil(20.0 / (dt * exponent))))
    n_windows = min(spec.n_windows, max(1, stop - first - n_steps))
    starts = np.unique(np.linspace(first, stop - n_steps, n_windows).astype(np.intp))
    states = drive(fitted.network, values[begin : int(starts[-1])]).states
    run = forecast(fitted.closed_loop, states[starts - begin - 1], n_steps, y_range=fitted.y_range)
    scale = np.nanstd(values[:n_train], axis=0)
    windows = []
    for i, s in enumerate(starts):
        window = ForecastWindow(
            int(s), values[s : s + n_steps], run.outputs[:, i], scale, 0.0, spec.threshold, dt, exponent
        )
        wrong = ~(window.error <= spec.threshold)
        windows.append((float(np.argmax(wrong)) if wrong.any() else float(n_steps), window))
    times = np.array([t for t, _ in windows])
    order = np.argsort(times, kind="stable")
    chosen = dict.fromkeys(int(order[int(q * (len(order) - 1))]) for q in (0.5, 0.1, 1.0))
    return times, tuple(
        ForecastWindow(w.start, w.truth, w.forecast, w.scale, t, w.threshold, dt, exponent)
        for t, w in (windows[i] for i in chosen)
    )


def _length(values: FloatArray) -> str:
    missing = int((~np.isfinite(values).all(axis=1)).sum())
    return f"{len(values):,} values" + (f" ({missing:,} of them missing)" if missing else "")


def _exponent(published: tuple[float, ...], given: dict[str, float]) -> float | None:
    return given.get("lyapunov_exponent", published[0] if published else None)


def _multipliers(kind: str, eigenvalues: Any, dt: float) -> Any:
    return np.asarray(eigenvalues) if kind == "map" else np.exp(np.asarray(eigenvalues) * dt)


def _true_equilibria(source: ZooModel | Series, dt: float | None) -> tuple[FloatArray, list[Any]] | None:
    """Return the observed coordinate and the multipliers of every equilibrium of a known system."""
    system = source.system() if isinstance(source, ZooModel) else None
    if system is None or dt is None or not isinstance(source, ZooModel):
        return None
    observable = source.model.system.observable if source.model.system is not None else ""
    axis = "xyzw".index(observable) if observable else system.observable
    points = system.equilibria()
    outputs = np.array([float(np.atleast_1d(p.state)[min(axis, np.size(p.state) - 1)]) for p in points])
    return outputs, [_multipliers(system.kind, p.eigenvalues[:3], dt) for p in points]


def study_series(
    source: ZooModel | Series,
    series: Series,
    settings: StudySpec,
    seed: int,
    steps: Steps,
    given: dict[str, float],
) -> Study:
    values = series.values if series.values.ndim == 2 else series.values[:, None]
    dt = given.get("dt", series.dt)
    zoo = source if isinstance(source, ZooModel) else None
    published: tuple[float, ...] = ()
    if zoo is not None and zoo.lyapunov_exponent is not None:
        published = tuple(float(v) for v in np.atleast_1d(zoo.expected["lyapunov_exponents"]["value"]))
    exponent = _exponent(published, given)
    n_train = settings.fit.n_train or int(0.8 * len(values))
    n_train = min(n_train, len(values))
    training = values[:n_train] if values.shape[1] > 1 else values[:n_train, 0]
    # Nothing can be said without a fit, so its errors are the caller's to see.
    start = time.perf_counter()
    fitted = fit(
        training, dt=dt, lyapunov_exponent=exponent, rng=seed,
        progress=lambda label, f: steps.tell(label or "fit", SHARE["fit"] * f), **settings.fit.options(),
    )  # fmt: skip
    steps.timings["fit"] = time.perf_counter() - start
    steps.done = SHARE["fit"]
    closed = fitted.closed_loop
    # A file has no study.toml of its own, and the default suits no series in particular.
    delay = settings.report.embedding_delay if zoo is not None or settings.report != ReportSpec() else None
    forecasts = steps.run("forecast", lambda p: _windows(fitted, values, n_train, settings, dt, exponent))

    states: list[FloatArray] = []

    def free_run(p: Progress) -> Climate:
        n_steps = min(_FREE_RUN, max(1000, n_train))
        run = forecast(closed, fitted.x_last, n_steps, y_range=fitted.y_range, store_states=True, progress=p)
        if run.states is not None:
            states.append(run.states[np.isfinite(run.states).all(axis=1)])
        a, b = _longest_complete(values[:n_train])
        found = compare_climate(values[a:b], run.outputs, dt=dt)
        return found if delay is None else replace(found, lag=delay)

    climate = steps.run("climate", free_run)
    visited = states[0] if states and len(states[0]) else None

    explain = settings.explain
    starts = None if visited is None else visited[:: max(1, len(visited) // (explain.n_starts // 2))]
    points = steps.run(
        "fixed points",
        lambda p: find_fixed_points(
            closed, starts=starts, n_starts=explain.n_starts, n_eigenvalues=20, rng=seed, progress=p
        ),
    )
    questions: list[tuple[str, EchoStateNetwork, InputClass]] = []
    if settings.verify.inputs != "closed-loop":
        questions.append(
            (
                "driven",
                fitted.network,
                input_class(settings.verify.inputs, values[:n_train], None, values.shape[1]),
            )
        )
    if settings.verify.closed_loop or not questions:
        questions.append(("closed loop", closed, Zero()))
    verdicts = ask(
        steps, questions, tuple(p.x for p in points or ()), from_data=settings.verify.inputs == "data"
    )
    derivation = steps.run("derivation", lambda p: derive(fitted.network))
    certified = certified_of(steps, verdicts, derivation)
    evidence = evidence_of(steps, verdicts, values[:n_train] if fitted.network.n_inputs else None)

    matches: tuple[EquilibriumMatch, ...] = ()
    true = _true_equilibria(source, dt)
    if points is not None and true is not None and len(points):
        width = float(np.nanmax(values[:, 0]) - np.nanmin(values[:, 0]))
        matches = match_equilibria(points, true[0], true[1], max_distance=0.2 * width)

    def exponents(p: Progress) -> LyapunovSpectrum:
        if climate is not None and not climate.stayed_in_range:
            raise InvalidInputError(
                "lyapunov", f"the free run left the range of the data after {len(climate.free_run):,} steps",
                "exponents of where it went would say nothing about the data",
            )  # fmt: skip
        return lyapunov_spectrum(
            closed, fitted.x_last if visited is None else visited[-1], n_exponents=explain.n_exponents,
            n_steps=explain.lyapunov_steps, dt=dt, rng=seed, progress=p,
        )  # fmt: skip

    spectrum = steps.run("lyapunov", exponents)
    whole = slice(*_longest_complete(values[:n_train]))
    comparison = None
    if climate is not None:
        known = climate
        comparison = steps.run(
            "comparison",
            lambda p: compare_with_data(values[:n_train][whole], known, spectrum, exponent, dt, p),
        )
    fixed_points = {} if points is None else {"the closed loop": points}
    proved = steps.run("proofs", lambda p: prove_all({"the closed loop": (closed, None)}, fixed_points, p))

    def visits(p: Progress) -> networkx.DiGraph:
        assert points is not None
        assert visited is not None
        # Points without a counterpart in the true system only blur the picture, so they are left out of it.
        known = tuple(m.point for m in matches if m.point is not None)
        nodes = replace(points, points=known) if len(known) > 1 else points
        return visit_graph(nodes, visited, network=closed, dt=dt)

    graph = steps.run(
        "graph", visits, needs=None if points is None or visited is None or not len(points) else True
    )
    times, windows = forecasts if forecasts is not None else (np.zeros(0), ())
    return Study(
        name=zoo.name if zoo else series.name, title=zoo.title if zoo else f"The series {series.name}",
        summary=zoo.summary if zoo else f"{_length(values)} read from {series.source}.", kind="series",
        settings=settings_document(settings, seed, source), network=fitted.network, closed_loop=closed,
        source=source_document(
            source, series=series.name, n_steps=len(values), dt=dt, sha256=content_digest(values)
        ), fit=fitted,
        vpt_steps=times, windows=windows, climate=climate, verdicts=verdicts, derivation=derivation,
        certified=certified, evidence=evidence,
        fixed_points=fixed_points, proved_points=proved or {}, matches=matches, comparison=comparison,
        lyapunov=spectrum, published_exponents=published, known_exponent=exponent, graph=graph,
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip
