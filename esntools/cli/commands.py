"""What each command does: read, call the library, write the result, say it in words."""

from __future__ import annotations

import csv
import io
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from esntools.cli.console import DONE, UNDECIDED, ProgressLine
from esntools.cli.sources import (
    check_clock,
    check_writable,
    emit,
    first_rows,
    fit_file,
    fit_keywords,
    fit_zoo,
    load_fit,
    naming,
    output_folder,
    plain,
    read,
    read_network,
    read_signal,
    refuse_columns,
    to_json,
    zoo_model,
)
from esntools.cli.verify import check_command, count_inputs, verify_command
from esntools.errors import EsntoolsError, InvalidInputError

if TYPE_CHECKING:
    from esntools._typing import FloatArray
    from esntools.series import Series
    from esntools.spec import ExplainSpec
    from esntools.training import Fit
    from esntools.zoo import ZooModel

__all__ = ["COMMANDS"]


# -- commands ------------------------------------------------------------------------------------------------


def fit_command(options: Namespace, progress: ProgressLine) -> int:
    check_writable(options.output, (".npz",))
    model = zoo_model(options.source)
    start = time.monotonic()
    if model is not None:
        result, what = fit_zoo(model, options, progress)
    else:
        result, what = fit_file(options, progress)
    result.save(options.output)
    for line in (what + f"; {result.n_train} rows fitted", *_fit_words(result)):
        progress.say(line)
    progress.say(f"written to {options.output} after {time.monotonic() - start:.1f} s")
    return DONE


def _fit_words(fit: Fit) -> list[str]:
    """Return three plain lines: what was chosen, how it errs, how long it is right."""
    chosen = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in fit.hyperparameters.items())
    readout = fit.network.readout
    terms = "x" if readout is None or readout.is_affine else "x and x²"
    tried = f" (best of {len(fit.trials)})" if len(fit.trials) > 1 else ""
    lines = [
        f"network: {fit.network.n_units} units, {chosen}; readout of {terms}, ridge {fit.ridge:.1e}{tried}",
        f"held-out error: {fit.one_step_nrmse:.2e} one step ahead, {fit.holdout_nrmse:.2e} over "
        f"{fit.holdout_steps} steps (of the standard deviation)",
    ]
    if len(fit.vpt_steps):
        times, unit = fit.vpt_lyapunov, "Lyapunov times"
        if times is None:
            times, unit = fit.vpt_steps, "steps"
        # Ties at the top are windows that ended before the error was large.
        whole = int((times == times.max()).sum())
        at_least = "at least " if whole > len(times) // 2 else ""
        lines.append(
            f"valid prediction time: {at_least}{times.mean():.1f} {unit} "
            f"(from {times.min():.1f} to {times.max():.1f} over {len(times)} windows)"
        )
    return lines


def forecast_command(options: Namespace, progress: ProgressLine) -> int:
    import numpy as np

    from esntools.files import write_text

    check_writable(options.output)
    fit = load_fit(options.source)
    if fit.task != "forecast":
        raise InvalidInputError(
            options.source, f"fitted for the task {fit.task!r}",
            "only a network that was fitted to forecast runs on its own output", "fit it without --input",
        )  # fmt: skip
    result = fit.forecast(options.steps)
    outputs = np.asarray(result.outputs)
    clock = "step" if fit.dt is None else "time"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    plain = ["y"] if outputs.shape[1] == 1 else [f"y{j}" for j in range(outputs.shape[1])]
    names = list(fit.names) or plain
    writer.writerow([clock, *names])
    for k, row in enumerate(outputs, start=1):
        moment = k if fit.dt is None else float(f"{k * fit.dt:.12g}")
        writer.writerow([moment, *("" if np.isnan(v) else repr(float(v)) for v in row)])
    if options.output is None:
        sys.stdout.write(buffer.getvalue())
    else:
        write_text(options.output, buffer.getvalue())
        progress.say(f"{options.output}: {len(outputs)} steps after the end of the series")
    left = result.left_range_at
    if left is not None and np.all(np.asarray(left) >= 0):
        progress.say(
            f"the forecast left the training range at step {int(left) + 1}; it is empty from there on"
        )
    return DONE


def _fit_of(source: str) -> Fit | None:
    """Return the fit in a model file; None for a network that nobody fitted, which can still be asked."""
    from esntools.training import Fit

    try:
        return Fit.load(source) if source.endswith(".npz") else None
    except EsntoolsError:
        return None


def _free_run(fit: Fit, n_steps: int) -> FloatArray:
    """Return states along the closed loop, up to where it leaves the training range."""
    import numpy as np

    run = fit.forecast(n_steps, store_states=True)
    assert run.states is not None
    return run.states[np.all(np.isfinite(run.outputs), axis=1)]


def fixed_points_command(options: Namespace, progress: ProgressLine) -> int:
    import numpy as np

    from esntools.fixed_points import find_fixed_points

    check_writable(options.output)
    network = read_network(options.source)
    u: FloatArray | None = None
    starts: FloatArray | None = None
    if options.closed_loop:
        network = network.closed_loop()
        fit = _fit_of(options.source)
        if fit is not None and fit.task == "forecast":
            states = _free_run(fit, 5000)
            starts = states[:: max(1, 2 * len(states) // options.starts)]
    elif network.n_inputs:
        given = [0.0] if options.input is None else options.input
        count_inputs("--input", len(given), network.n_inputs)
        u = np.broadcast_to(np.array(given), (network.n_inputs,)).copy()
    found = find_fixed_points(
        network, u, starts=starts, n_starts=options.starts, rng=options.seed or 0, progress=progress
    )
    points = [
        {
            "output": plain(point.output),
            "stable": bool(point.stable),
            "n_unstable": int(point.n_unstable),
            "index": int(point.index),
            "residual": plain(point.residual),
            "eigenvalues": plain(point.eigenvalues[:10]),
            "x": plain(point.x),
        }
        for point in found
    ]
    emit(
        {
            "format": "esntools-fixed-points",
            "version": 1,
            "network": network.content_hash,
            "closed_loop": options.closed_loop,
            "input": plain(u),
            "index_sum": found.index_sum,
            "audit": found.audit,
            "audit_reason": found.audit_reason,
            "n_starts": found.n_starts,
            "points": points,
        },
        options.output,
    )
    stable = sum(point["stable"] for point in points)
    progress.say(
        f"{len(points)} fixed points, {stable} stable; index sum {found.index_sum}, audit {found.audit}"
    )
    for point in found:
        at = "" if point.output is None else " at output " + ", ".join(f"{v:.6g}" for v in point.output)
        kind = "stable" if point.stable else f"{point.n_unstable} unstable directions"
        progress.say(f"  {kind}{at}, largest |eigenvalue| {abs(point.eigenvalues[0]):.6g}")
    return DONE if points else UNDECIDED


def lyapunov_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.lyapunov import conditional_lyapunov_spectrum, lyapunov_spectrum

    check_writable(options.output)
    common = {"n_exponents": options.exponents, "progress": progress}
    if options.signal is not None:
        network = read_network(options.source)
        series = read_signal(options, network.n_inputs)
        u = series.values if series.values.ndim == 2 else series.values[:, None]
        result = conditional_lyapunov_spectrum(network, u, dt=series.dt, **common)
    else:
        fit = load_fit(options.source)
        if fit.task != "forecast":
            raise InvalidInputError(
                options.source, f"fitted for the task {fit.task!r}", "its closed loop is not defined",
                "give its input with --signal",
            )  # fmt: skip
        result = lyapunov_spectrum(
            fit.closed_loop, fit.x_last, n_steps=options.steps, dt=fit.dt, rng=options.seed or 0, **common
        )
    emit(
        {
            "format": "esntools-lyapunov",
            "version": 1,
            "kind": result.kind,
            "unit": result.unit,
            "dt": result.dt,
            "exponents": plain(result.exponents),
            "stderr": plain(result.stderr),
            "interval_95": plain(result.interval),
            "n_steps": result.n_steps,
            "kaplan_yorke": plain(result.kaplan_yorke),
        },
        options.output,
    )
    for value, (low, high) in zip(result.exponents, result.interval):
        progress.say(f"{value:+.5g} {result.unit}, 95 % interval {low:+.5g} to {high:+.5g}")
    return DONE


def ena_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.excitable import write_graph

    check_writable(options.output, (".graphml", ".gexf", ".json", ".dot"))
    check_writable(options.plot, (".svg", ".pdf", ".png"))
    graph, targets = _graph(options, progress)
    if options.plot is not None:
        from esntools.plotting import plot_graph

        progress("drawing", 0.0)
        axes = plot_graph(graph, targets=targets)
        _save_figure(axes.figure, options.plot)
    if options.output is not None:
        write_graph(graph, options.output)
    else:
        # Through a file: what is printed is what `-o graph.json` writes.
        with tempfile.TemporaryDirectory() as folder:
            write_graph(graph, Path(folder) / "graph.json")
            sys.stdout.write((Path(folder) / "graph.json").read_text(encoding="utf-8"))
    progress.say(f"{graph.number_of_nodes()} nodes, {graph.number_of_edges()} edges")
    for i, j, data in graph.edges(data=True):
        if "threshold" in data:
            # The label has the amplitude in it, at the accuracy of a plot.
            pulse = str(data.get("label", "pulse")).partition(":")[0]
            progress.say(f"  {i} -> {j}: {pulse} from amplitude {data['threshold']:.6g}")
        elif "probability" in data:
            progress.say(f"  {i} -> {j}: probability {data['probability']:.3g}")
    for path in (options.output, options.plot):
        if path is not None:
            progress.say(f"written to {path}")
    return DONE


def _save_figure(figure: Any, path: str) -> None:
    from esntools.files import write_bytes

    buffer = io.BytesIO()
    # A fixed date and salt: the same graph gives the same file.
    metadata = (
        {"Date": None} if path.endswith(".svg") else {"CreationDate": None} if path.endswith(".pdf") else None
    )
    figure.savefig(buffer, format=Path(path).suffix[1:].lower(), bbox_inches="tight", metadata=metadata)
    write_bytes(path, buffer.getvalue())


def _graph(options: Namespace, progress: ProgressLine) -> tuple[Any, Any]:
    """Return the graph of the source, and the outputs that a task wants its nodes to hold (or None)."""
    import numpy as np

    from esntools.network import EchoStateNetwork
    from esntools.spec import ExplainSpec

    model = None if options.source.endswith(".npz") else zoo_model(options.source)
    explain = ExplainSpec() if model is None else model.study.explain
    fit: Fit | None = None
    pulses = targets = starts = None
    if model is None:
        network, fit = EchoStateNetwork.load(options.source), _fit_of(options.source)
    elif model.kind == "network":
        network, symbols = model.network(), model.symbols()
        pulses = symbols if len(symbols) else None
    else:
        fit, _ = fit_zoo(model, options, progress)
        network = fit.network
        if model.kind == "task":
            from esntools.simulation import drive

            task = model.task()
            pulses, targets = task.pulses, task.states
            starts = drive(network, task.u[: 5 * explain.n_starts : 5]).states
    if fit is not None and fit.task == "forecast":
        return _visits(fit, explain, options.seed or 0, progress), None
    if pulses is None:
        pulses = np.concatenate([np.eye(network.n_inputs), -np.eye(network.n_inputs)])
    from esntools.excitable import excitable_network

    graph = excitable_network(
        network,
        (options.amplitude or explain.pulse_amplitude) * pulses,
        relax_steps=explain.relax_steps,
        pulse_length=options.pulse_length or explain.pulse_length,
        max_amplitude=options.max_amplitude or explain.max_amplitude,
        starts=starts,
        rng=options.seed or 0,
        progress=progress,
    )
    return graph, targets


def _visits(fit: Fit, explain: ExplainSpec, seed: int, progress: ProgressLine) -> Any:
    """Return the graph of visits of a free run of 20 000 steps to the fixed points of the closed loop."""

    from esntools.excitable.visits import visit_graph
    from esntools.fixed_points import find_fixed_points

    states = _free_run(fit, 20000)
    points = find_fixed_points(
        fit.closed_loop, starts=states[:: max(1, 2 * len(states) // explain.n_starts)],
        n_starts=explain.n_starts, rng=seed, progress=progress,
    )  # fmt: skip
    return visit_graph(points, states, network=fit.closed_loop, dt=fit.dt)


def report_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.series import Series

    source: ZooModel | Series
    model = zoo_model(options.source)
    source = model if model is not None else read(options, options.source, options.column)
    what = options.source
    if model is not None:
        refuse_columns(options)
    if isinstance(source, Series):
        check_clock(options, options.dt or source.dt)
        first_rows(source.values, options.n_train)
        what += f": column {source.name!r}"
    name = model.name if model is not None else Path(options.source).stem
    start = time.monotonic()
    keywords = fit_keywords(options)
    if options.n_train is not None:
        keywords["n_train"] = options.n_train
    with output_folder(options.output or f"reports/{name}") as folder, naming(what):
        from esntools.report import write_report
        from esntools.study import run_study

        study = run_study(source, rng=options.seed, progress=progress, **keywords)
        page = write_report(study, folder)
    for line in study.summary_lines:
        progress.say(line)
    progress.say(f"{page} written after {time.monotonic() - start:.0f} s")
    return DONE


def models_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools import zoo

    names = zoo.zoo_names()
    rows = []
    for name in names:
        model = zoo.load(name)
        about = {"kind": model.kind, "title": model.title}
        rows.append(f"{to_json(name)}: {to_json(about, indent=None)}")
    # One model a line: JSON that a person can read.
    sys.stdout.write("{\n" + ",\n".join(" " + row for row in rows) + "\n}\n")
    return DONE


COMMANDS: Final[dict[str, Callable[[Namespace, ProgressLine], int]]] = {
    "fit": fit_command,
    "forecast": forecast_command,
    "verify": verify_command,
    "check": check_command,
    "fixed-points": fixed_points_command,
    "lyapunov": lyapunov_command,
    "ena": ena_command,
    "report": report_command,
    "models": models_command,
}
