"""One study from start to end: fit, forecast, verify, explain. The only file that calls several analyses.

Every analysis is a step of its own: one that cannot be done for these data becomes a reason in the result,
and the others go on. Only errors that say so on purpose are taken as reasons; a mistake of ours surfaces.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.climate import Climate, ForecastWindow, compare_climate
from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network, visit_graph
from esntools.fixed_points import EquilibriumMatch, FixedPoints, find_fixed_points, match_equilibria
from esntools.inputs import InputClass, Zero
from esntools.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from esntools.network import EchoStateNetwork
from esntools.series import Series
from esntools.simulation import drive, forecast
from esntools.spec import StudySpec
from esntools.study.findings import Study, TaskRun, Verdict, study_document
from esntools.study.steps import (
    SHARE,
    Steps,
    ask,
    chosen_seed,
    content_digest,
    input_class,
    settings_document,
    source_document,
    with_options,
)
from esntools.symbolic import derive
from esntools.tasks import FlipFlop
from esntools.training import Fit, fit
from esntools.zoo import ZooModel

if TYPE_CHECKING:
    import networkx

__all__ = ["Study", "TaskRun", "Verdict", "pulse_paths", "run_study", "study_document"]

_FEW: Final = 50
_FREE_RUN: Final = 10_000


# -- a series ------------------------------------------------------------------------------------------------


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
    n_steps = min(spec.n_steps, max(20, (stop - first) // 2))
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


def _study_series(
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
    forecasts = steps.run("forecast", lambda p: _windows(fitted, values, n_train, settings, dt, exponent))

    states: list[FloatArray] = []

    def free_run(p: Progress) -> Climate:
        n_steps = min(_FREE_RUN, max(1000, n_train))
        run = forecast(closed, fitted.x_last, n_steps, y_range=fitted.y_range, store_states=True, progress=p)
        if run.states is not None:
            states.append(run.states[np.isfinite(run.states).all(axis=1)])
        a, b = _longest_complete(values[:n_train])
        return compare_climate(values[a:b], run.outputs, dt=dt)

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
    verdicts = ask(steps, questions, tuple(p.x for p in points or ()))
    derivation = steps.run("derivation", lambda p: derive(fitted.network))

    matches: tuple[EquilibriumMatch, ...] = ()
    true = _true_equilibria(source, dt)
    if points is not None and true is not None and len(points):
        width = float(np.nanmax(values[:, 0]) - np.nanmin(values[:, 0]))
        matches = match_equilibria(points, true[0], true[1], max_distance=0.2 * width)
    spectrum: LyapunovSpectrum | None = steps.run(
        "lyapunov",
        lambda p: lyapunov_spectrum(
            closed, fitted.x_last if visited is None else visited[-1], n_exponents=explain.n_exponents,
            n_steps=explain.lyapunov_steps, dt=dt, rng=seed, progress=p,
        ),
    )  # fmt: skip

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
        summary=zoo.summary if zoo else f"{len(values):,} values read from {series.source}.", kind="series",
        settings=settings_document(settings, seed, source), network=fitted.network, closed_loop=closed,
        source=source_document(
            source, series=series.name, n_steps=len(values), dt=dt, sha256=content_digest(values)
        ), fit=fitted,
        vpt_steps=times, windows=windows, climate=climate, verdicts=verdicts, derivation=derivation,
        fixed_points={} if points is None else {"the closed loop": points}, matches=matches,
        lyapunov=spectrum, published_exponents=published, graph=graph, not_done=steps.not_done,
        timings=steps.timings,
    )  # fmt: skip


# -- a task --------------------------------------------------------------------------------------------------


def pulse_paths(
    graph: networkx.DiGraph, network: EchoStateNetwork, *, n_steps: int = 80
) -> tuple[FloatArray, ...]:
    """Return the orbit of every move that a unit pulse makes: the pulse, then zero input.

    Parameters
    ----------
    graph : networkx.DiGraph
        As `excitable_network` returns it.
    network : EchoStateNetwork
        The network that it was made from.
    n_steps : int
        Steps after the pulse.

    Returns
    -------
    tuple of ndarray, shape (1 + pulse_length + n_steps, n_units) each

    Examples
    --------
    >>> from esntools.network import Readout
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    >>> graph = excitable_network(bit, [[2.0], [-2.0]])
    >>> [path[[0, -1], 0].round(3).tolist() for path in pulse_paths(graph, bit)]
    [[-0.859, 0.859], [0.859, -0.859]]
    """
    paths = []
    silence = np.zeros((n_steps, network.n_inputs))
    pulses = np.array(graph.graph["pulses"], dtype=np.float64)
    for node, row in zip(graph.nodes, graph.graph["pulse_table"]):
        x0 = np.asarray(graph.nodes[node]["x"], dtype=np.float64)
        for pulse, reached in zip(pulses, row):
            if reached not in (node, -1):
                u = np.vstack([np.tile(pulse, (graph.graph["pulse_length"], 1)), silence])
                paths.append(np.vstack([x0[None], drive(network, u, x0).states]))
    return tuple(paths)


def _wrong_transitions(graph: networkx.DiGraph, task: FlipFlop) -> tuple[str, ...]:
    """Compare where every pulse leads from every stable state with what the flip-flop asks for."""
    nearest = {
        node: task.states[np.argmin(np.linalg.norm(task.states - np.asarray(data["output"]), axis=1))]
        for node, data in graph.nodes(data=True)
    }
    wrong = []
    for node, row in enumerate(graph.graph["pulse_table"]):
        for pulse, reached in zip(task.pulses, row):
            bit = int(np.argmax(np.abs(pulse)))
            wanted = nearest[node].copy()
            wanted[bit] = np.sign(pulse[bit])
            if reached not in nearest or np.any(nearest[reached] != wanted):
                where = f"state {reached}" if reached in nearest else "no stable state"
                wrong.append(f"state {node}, pulse {pulse[bit]:+g} on line {bit + 1}: leads to {where}")
    return tuple(wrong)


def _study_task(model: ZooModel, settings: StudySpec, seed: int, steps: Steps) -> Study:
    task, explain = model.task(), settings.explain
    n_train = min(settings.fit.n_train or task.n_steps // 2, task.n_steps - _FEW)
    start = time.perf_counter()
    fitted = fit(
        task.y[:n_train], task.u[:n_train], rng=seed,
        progress=lambda label, f: steps.tell(label or "fit", SHARE["fit"] * f), **settings.fit.options(),
    )  # fmt: skip
    steps.timings["fit"] = time.perf_counter() - start
    steps.done = SHARE["fit"]
    network = fitted.network

    def test(p: Progress) -> TaskRun:
        u, target = task.u[n_train:], task.y[n_train:]
        output = drive(network, u, fitted.x_last, progress=p).outputs
        wrong = float(np.mean(np.sign(output) != np.sign(target)))
        nrmse = float(np.sqrt(np.mean(((output - target) / target.std(axis=0)) ** 2)))
        return TaskRun(u, target, output, wrong, nrmse)

    run = steps.run("task", test)
    questions: list[tuple[str, EchoStateNetwork, InputClass]] = [("zero input", network, Zero())]
    inputs = input_class(settings.verify.inputs, task.u[:n_train], None, network.n_inputs)
    if not isinstance(inputs, Zero):
        questions.append(("driven", network, inputs))
    verdicts = ask(steps, questions)
    derivation = steps.run("derivation", lambda p: derive(network))
    silent = network.at_input(np.zeros(network.n_inputs))
    starts = drive(network, task.u[: 5 * explain.n_starts : 5]).states
    points = steps.run(
        "fixed points",
        lambda p: find_fixed_points(silent, starts=starts, n_starts=explain.n_starts, rng=seed, progress=p),
    )
    pulses = task.pulses * explain.pulse_amplitude
    graph = steps.run(
        "graph",
        lambda p: excitable_network(
            network, pulses, relax_steps=explain.relax_steps, pulse_length=explain.pulse_length,
            max_amplitude=explain.max_amplitude, starts=starts, fixed_points=points, rng=seed,
            progress=p,
        ),
    )  # fmt: skip
    return Study(
        name=model.name, title=model.title, summary=model.summary, kind="task", network=network, fit=fitted,
        settings=settings_document(settings, seed, model), task_run=run, targets=task.states,
        verdicts=verdicts, derivation=derivation,
        source=source_document(
            model, series=model.title, n_steps=task.n_steps, dt=None, sha256=content_digest(task.u, task.y)
        ),
        fixed_points={} if points is None else {"zero input": points}, graph=graph,
        paths=() if graph is None else pulse_paths(graph, network),
        wrong_transitions=() if graph is None else _wrong_transitions(graph, task),
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip


# -- a network -----------------------------------------------------------------------------------------------


def _study_network(model: ZooModel, settings: StudySpec, seed: int, steps: Steps) -> Study:
    network, symbols, explain = model.network(), model.symbols(), settings.explain
    steps.done = SHARE["fit"]
    spec = model.model.network
    names = spec.symbol_names if spec is not None else ()
    questions = [("driven", network, input_class(settings.verify.inputs, None, symbols, network.n_inputs))]
    verdicts = ask(steps, questions)
    derivation = steps.run("derivation", lambda p: derive(network))
    conditions: dict[str, FloatArray] = {"zero input": np.zeros(network.n_inputs)}
    for i, symbol in enumerate(symbols):
        conditions[f"input {names[i] if i < len(names) else i + 1}"] = symbol
    found: dict[str, FixedPoints] = {}

    def search(p: Progress) -> None:
        for i, (name, u) in enumerate(conditions.items()):
            p(f"fixed points at {name}", i / len(conditions))
            found[name] = find_fixed_points(network, u, n_starts=explain.n_starts, rng=seed)

    steps.run("fixed points", search)
    graph = steps.run(
        "graph",
        lambda p: excitable_network(
            network, symbols * explain.pulse_amplitude, relax_steps=explain.relax_steps,
            pulse_length=explain.pulse_length, max_amplitude=explain.max_amplitude,
            fixed_points=found.get("zero input"), rng=seed, progress=p,
        ),
        needs=True if symbols.size else None,
    )  # fmt: skip
    return Study(
        name=model.name, title=model.title, summary=model.summary, kind="network", network=network,
        settings=settings_document(settings, seed, model), verdicts=verdicts, derivation=derivation,
        fixed_points=found, graph=graph,
        source=source_document(model, series=model.title, n_steps=0, dt=None, sha256=content_digest(symbols)),
        paths=() if graph is None else pulse_paths(graph, network),
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip


# -- all of them ---------------------------------------------------------------------------------------------


def run_study(
    source: ZooModel | Series,
    *,
    settings: StudySpec | None = None,
    rng: RandomState = None,
    progress: Progress = no_progress,
    **fit_options: Any,
) -> Study:
    """Fit, verify and explain: everything that a report shows.

    A series is fitted, forecast from many starts on values held back, and run freely; the echo state property
    is asked of the driven network over the range of the data and of the closed loop; fixed points, Lyapunov
    exponents and visits are found for the closed loop and put beside the true system where it is known. A
    task is trained, tested on unseen inputs, verified and read as an excitable network. A network of the zoo
    is verified and explained as it is.

    Parameters
    ----------
    source : ZooModel or Series
        As `esntools.zoo.load` or `esntools.series.read_series` returns it.
    settings : StudySpec, optional
        study.toml of the model by default; for a series, the defaults of `StudySpec`.
    rng : int, Generator or None
        Seed of the reservoir and of every search; None takes the seed in `settings`, so that a study is the
        same on every run.
    progress : callable, optional
        Called as ``progress(label, fraction)``.
    **fit_options
        Keywords of `esntools.training.fit` that replace those in `settings`.

    Returns
    -------
    Study
        With a reason in ``not_done`` for every analysis that could not be done.

    Raises
    ------
    EsntoolsError
        When the source cannot be read or fitted at all, or an option is unknown.

    Examples
    --------
    >>> from esntools.zoo import load
    >>> study = run_study(load("switching-2neuron"))
    >>> len(study.summary_lines), sorted(study.fixed_points)
    (5, ['input A', 'input B', 'zero input'])
    """
    steps = Steps(progress)
    if settings is None:
        settings = source.study if isinstance(source, ZooModel) else StudySpec()
    settings, given = with_options(settings, fit_options)
    if fit_options and isinstance(source, ZooModel) and source.kind == "network":
        raise InvalidInputError(
            source.name, f"fit options {sorted(fit_options)}", "a network that is written out is not fitted"
        )
    seed = chosen_seed(rng, settings.fit.seed)
    if isinstance(source, Series):
        study = _study_series(source, source, settings, seed, steps, given)
    elif source.kind == "series":
        study = _study_series(source, source.series(), settings, seed, steps, given)
    elif source.kind == "task":
        study = _study_task(source, settings, seed, steps)
    else:
        study = _study_network(source, settings, seed, steps)
    progress("done", 1.0)
    return study
