"""The table of commands, and those about a whole study: the graph of an attractor, the report, the zoo."""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from esntools.cli.attracting import basins_command, compare_command, echo_index_command
from esntools.cli.console import DONE, ProgressLine
from esntools.cli.dynamics import (
    PICTURES,
    bifurcations_command,
    fixed_points_command,
    lyapunov_command,
    orbits_command,
)
from esntools.cli.fitting import fit_command, forecast_command
from esntools.cli.sources import (
    check_clock,
    check_writable,
    first_rows,
    fit_keywords,
    fit_of,
    fit_zoo,
    free_run,
    naming,
    output_folder,
    read,
    refuse_columns,
    save_figure,
    to_json,
    zoo_model,
)
from esntools.cli.verify import check_command, verify_command

if TYPE_CHECKING:
    from esntools.series import Series
    from esntools.spec import ExplainSpec
    from esntools.training import Fit
    from esntools.zoo import ZooModel

__all__ = ["COMMANDS"]


# -- commands ------------------------------------------------------------------------------------------------


def ena_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.excitable import write_graph

    check_writable(options.output, (".graphml", ".gexf", ".json", ".dot"))
    check_writable(options.plot, PICTURES)
    graph, targets = _graph(options, progress)
    if options.plot is not None:
        from esntools.plotting import plot_graph

        progress("drawing", 0.0)
        axes = plot_graph(graph, targets=targets)
        save_figure(axes.figure, options.plot)
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
        network, fit = EchoStateNetwork.load(options.source), fit_of(options.source)
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

    states = free_run(fit, 20000)
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
    "orbits": orbits_command,
    "bifurcations": bifurcations_command,
    "lyapunov": lyapunov_command,
    "basins": basins_command,
    "echo-index": echo_index_command,
    "compare": compare_command,
    "ena": ena_command,
    "report": report_command,
    "models": models_command,
}
