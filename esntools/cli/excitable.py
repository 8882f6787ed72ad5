"""Commands about excitable network attractors: extract one, tell why a network errs, build one."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from esntools.cli.console import DONE, NO, UNDECIDED, ProgressLine
from esntools.cli.dynamics import PICTURES, counted
from esntools.cli.sources import (
    check_writable,
    count_inputs,
    emit,
    fit_of,
    fit_zoo,
    free_run,
    read_signal,
    save_figure,
    zoo_model,
)
from esntools.cli.verify import say_paragraph
from esntools.errors import EsntoolsError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esntools._typing import FloatArray
    from esntools.network import EchoStateNetwork
    from esntools.spec import ExplainSpec
    from esntools.study import GivenNetwork
    from esntools.tasks import AutomatonTask
    from esntools.training import Fit

__all__ = ["GRAPHS", "design_command", "diagnose_command", "ena_command", "given_network"]

GRAPHS: Final = (".graphml", ".gexf", ".json", ".dot")
#: Wrong segments that are told one by one.
_TOLD: Final = 10
#: Pulses, vertices and symbols that are told one by one.
_PULSES: Final = 24
#: An output below this is told as zero.
_ZERO: Final = 1e-9


# -- ena -----------------------------------------------------------------------------------------------------


def ena_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.excitable import write_graph

    check_writable(options.output, GRAPHS)
    check_writable(options.plot, PICTURES)
    graph, targets = _graph(options, progress)
    if options.source.endswith(".npz"):
        _name_vertices(graph, options.source)
    if options.plot is not None and len(graph):
        from esntools.plotting import plot_graph

        progress("drawing", 0.0)
        save_figure(plot_graph(graph, targets=targets).figure, options.plot)
    if options.output is not None:
        write_graph(graph, options.output)
    else:
        # Through a file: what is printed is what `-o graph.json` writes.
        with tempfile.TemporaryDirectory() as folder:
            write_graph(graph, Path(folder) / "graph.json")
            sys.stdout.write((Path(folder) / "graph.json").read_text(encoding="utf-8"))
    _say_graph(graph, progress)
    written = [options.output, options.plot if len(graph) else None]
    for path in written:
        if path is not None:
            progress.say(f"written to {path}")
    if options.plot is not None and not len(graph):
        progress.say(f"{options.plot} was not written: there is nothing to draw")
    return DONE if len(graph) else UNDECIDED


def _say_graph(graph: Any, progress: ProgressLine) -> None:
    from esntools.excitable.cuts import rounded_down

    progress.say(f"{counted(len(graph), 'node')}, {counted(graph.number_of_edges(), 'edge')}")
    about = graph.graph
    for node, data in graph.nodes(data=True):
        if "kind" not in data:
            continue
        words = (
            data["kind"] if data.get("period") in (1, None) else f"{data['kind']} of period {data['period']}"
        )
        if data.get("output") is not None:
            # Rounding errors of the readout are no digits to read.
            shown = [0.0 if abs(value) < _ZERO else value for value in data["output"][:8]]
            words += " at output " + ", ".join(f"{value:+.4g}" if value else "0" for value in shown)
        if "vertex" in data:
            words += f" (vertex {data['vertex']})"
        words += f", {100 * data['share']:.3g} % of random states"
        if data.get("ball_radius"):
            words += f", proved within {rounded_down(data['ball_radius'], 3):.3g}"
        progress.say(f"  {node}: {words}")
    for i, j, data in graph.edges(data=True):
        if "threshold" in data:
            lower = f" (proved: not below {rounded_down(data['lower'], 4):.4g})" if data.get("lower") else ""
            if data.get("metric", "input") == "input":
                pulse = f"pulse {data['pulse']} ({_pulse(about['pulses'][data['pulse']])})"
                words = f"{pulse} from amplitude {data['threshold']:.6g}{lower}"
            else:
                words = f"a kick of size {data['threshold']:.6g}{lower}"
            for metric, threshold in data.get("thresholds", {}).items():
                if metric != data.get("metric", "input"):
                    words += f"; {metric} {threshold:.6g}"
            progress.say(f"  {i} -> {j}: {words}")
        elif "probability" in data:
            progress.say(f"  {i} -> {j}: probability {data['probability']:.3g}")
    if about.get("cut") == "largest gap":
        progress.say(
            f"edges up to {about['amplitude']:.4g}, above which thresholds grow {about['gap']:.3g} times"
        )
    found = [c for c in about.get("connections", []) if c["threshold"] is not None]
    hidden = {
        metric: {(c["source"], c["target"]) for c in found if c["metric"] == metric} - set(graph.edges)
        for metric in about.get("metrics", [])
    }
    if any(hidden.values()):
        counts = ", ".join(
            f"{len(pairs)} in the metric {metric}" for metric, pairs in hidden.items() if pairs
        )
        progress.say(f"thresholds of further pairs, which are no edges, are in the graph: {counts}")
    _say_pulses(graph, progress)
    if about.get("note"):
        say_paragraph(progress, f"Note: {about['note']}")


def _pulse(u: Sequence[float]) -> str:
    """Return a pulse in words; lines are counted from 0."""
    lines = [k for k, value in enumerate(u) if value]
    if len(lines) == 1:
        return f"{u[lines[0]]:+.4g} on line {lines[0]}"
    shown = [f"{value:+.4g}" if value else "0" for value in u[:8]] + ["..."] * (len(u) > 8)
    return f"({', '.join(shown)})"


def _say_pulses(graph: Any, progress: ProgressLine) -> None:
    """Say where every pulse leads at amplitude 1, from every node."""
    pulses, table, nodes = graph.graph.get("pulses"), graph.graph.get("pulse_table"), list(graph)
    if not pulses or not table or not nodes:
        return
    progress.say("what every pulse does at amplitude 1 (input lines are counted from 0):")
    for p, u in enumerate(pulses[:_PULSES]):
        ends = [(node, row[p]) for node, row in zip(nodes, table, strict=True)]
        moves = ", ".join(f"{i} -> {nodes[j]}" for i, j in ends if j >= 0 and nodes[j] != i)
        lost = ", ".join(str(i) for i, j in ends if j < 0)
        stays = ", ".join(str(i) for i, j in ends if j >= 0 and nodes[j] == i)
        words = [
            moves,
            f"no attractor of these from {lost}" if lost else "",
            f"stays at {stays}" if stays else "",
        ]
        say_paragraph(progress, f"  pulse {p}, {_pulse(u)}: " + "; ".join(w for w in words if w))
    if len(pulses) > _PULSES:
        progress.say(f"  ... {counted(len(pulses) - _PULSES, 'more pulse')}: pulse_table in the graph")


def _name_vertices(graph: Any, source: str) -> None:
    """Give the nodes of a designed network the names of the vertices that they stand for."""
    import numpy as np

    from esntools import files
    from esntools.network import MODEL_FORMAT, MODEL_VERSION

    header, _ = files.read_npz(source, MODEL_FORMAT, MODEL_VERSION)
    about = header.get("provenance")
    design = about.get("design") if isinstance(about, dict) else None
    names = design.get("nodes") if isinstance(design, dict) else None
    for _, data in graph.nodes(data=True):
        on = np.flatnonzero(np.array(data.get("output") or []) > 0.5)
        if isinstance(names, list) and len(names) == len(data.get("output") or []) and len(on) == 1:
            data["vertex"] = str(names[on[0]])


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
        targets = model.task().states if model.model.task is not None else None
    else:
        fit, _ = fit_zoo(model, _without_input(options), progress)
        network = fit.network
        if model.kind == "task":
            from esntools.simulation import drive

            task = model.task()
            pulses, targets = task.pulses, task.states
            starts = drive(network, task.u[: 5 * explain.n_starts : 5]).states
    if fit is not None and fit.task == "forecast":
        if not options.metric and not options.certify:
            return _visits(fit, explain, options.seed or 0, progress), None
        network, pulses = fit.closed_loop, None
    amplitude = options.amplitude or explain.pulse_amplitude
    if pulses is None and network.n_inputs:
        pulses = (
            np.repeat(np.eye(network.n_inputs), 2, axis=0) * np.tile([1.0, -1.0], network.n_inputs)[:, None]
        )
    u = None
    if options.input is not None:
        count_inputs("--input", len(options.input), network.n_inputs)
        u = np.broadcast_to(np.array(options.input), (network.n_inputs,)).copy()
    from esntools.excitable import excitable_network

    graph = excitable_network(
        network,
        None if pulses is None else amplitude * pulses,
        metrics=tuple(options.metric) if options.metric else None,
        amplitude=options.amplitude_cut,
        u=u,
        certify=options.certify,
        **({} if options.budget is None else {"budget": options.budget}),
        relax_steps=explain.relax_steps,
        pulse_length=options.pulse_length or explain.pulse_length,
        max_amplitude=options.max_amplitude or explain.max_amplitude,
        starts=starts,
        rng=options.seed or 0,
        progress=progress,
    )
    return graph, targets


def _without_input(options: Namespace) -> Namespace:
    """`--input` is the input between pulses here, not a column of the data."""
    return Namespace(**{**vars(options), "input": None})


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


# -- diagnose ------------------------------------------------------------------------------------------------


def diagnose_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.excitable.diagnosis import diagnose

    check_writable(options.output, (".json",))
    check_writable(options.plot, PICTURES)
    network, own, x_last = _trained(options, progress)
    task = _asked_task(options, own)
    if options.signal is not None:
        task = _along(task, options, network.n_inputs)
    found = diagnose(
        network, task, x0=x_last if task is own else None, noise=options.noise, grace=options.grace,
        rng=options.seed or 0, progress=progress,
    )  # fmt: skip
    emit(
        {
            "format": "esntools-diagnosis", "version": 1, "network": network.content_hash,
            "task": options.task or "its own", **{k: v for k, v in found.document().items() if k != "format"},
        },
        options.output,
    )  # fmt: skip
    if options.plot is not None:
        from esntools.plotting import plot_diagnosis

        progress("drawing", 0.0)
        save_figure(plot_diagnosis(found).figure, options.plot)
    if options.task is not None:
        told = [
            f"{name} is {_pulse(u)}"
            for name, u in zip(task.symbols, task.pulses, strict=True)
            if name != _pulse(u)
        ]
        if told:
            more = "" if len(told) <= _PULSES else f", and {len(told) - _PULSES} more"
            say_paragraph(
                progress, f"symbols as input (lines are counted from 0): {', '.join(told[:_PULSES])}{more}"
            )
    for line in found.text(most=_TOLD).splitlines():
        progress.say(line)
    for path in (options.output, options.plot):
        if path is not None:
            progress.say(f"written to {path}")
    return DONE if found.correct else NO


def _trained(
    options: Namespace, progress: ProgressLine
) -> tuple[EchoStateNetwork, AutomatonTask | None, FloatArray | None]:
    """Return the network, the task that its model names, and the state that a run of it goes on from."""
    from esntools.network import EchoStateNetwork

    model = None if options.source.endswith(".npz") else zoo_model(options.source)
    if model is None:
        return EchoStateNetwork.load(options.source), None, None
    if model.kind == "series":
        raise InvalidInputError(
            options.source, "a series of the zoo", "a diagnosis is about a task with states",
            "esntools report tells about forecasts",
        )  # fmt: skip
    if model.kind == "network":
        task = model.task().automaton if model.model.task is not None else None
        return model.network(), task, None
    whole = model.task()
    from esntools.study.tasks import tested_part, training_length

    if options.task is not None:
        return fit_zoo(model, options, progress)[0].network, None, None
    fit, _ = fit_zoo(model, options, progress)
    start = training_length(whole, options.n_train or model.study.fit.n_train)
    return fit.network, tested_part(whole.automaton, start), fit.x_last


def given_network(options: Namespace) -> GivenNetwork | None:
    """Return the network of a model file for a report, with the task of ``--task``; None for data."""
    import zipfile

    from esntools.network import EchoStateNetwork
    from esntools.study import GivenNetwork

    path = Path(options.source)
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if "header.npy" not in archive.namelist():
            return None
    network, fit = EchoStateNetwork.load(path), fit_of(options.source)
    if fit is not None and fit.task == "forecast":
        raise InvalidInputError(
            options.source, "a network that forecasts", "a report of it needs the data that it was fitted to",
            "esntools report DATA fits one and tells everything",
        )  # fmt: skip
    task = None if options.task is None else _asked_task(options, None)
    return GivenNetwork(network, options.source, task, options.task or "")


def _asked_task(options: Namespace, own: AutomatonTask | None) -> AutomatonTask:
    """Return the task of ``--task``: flip-flop:K, or a graph whose edges carry symbols."""
    from esntools.tasks import automaton_task, flip_flop

    if options.task is None:
        if own is None:
            raise InvalidInputError(
                "diagnose --task", "missing", f"{options.source} names no task of its own",
                "give flip-flop:K or a graph file whose edges carry a symbol",
            )  # fmt: skip
        return own
    steps = getattr(options, "steps", None) or 4000
    probability = getattr(options, "pulse_probability", None) or 0.02
    kind, _, bits = options.task.partition(":")
    if kind == "flip-flop":
        if not bits.isdigit() or not 1 <= int(bits) <= 8:
            raise InvalidInputError(
                f"{options.command} --task", repr(options.task), "must be flip-flop:K with K from 1 to 8"
            )
        return flip_flop(int(bits), steps, pulse_probability=probability, rng=options.seed or 0).automaton
    if Path(options.task).suffix.lower() not in GRAPHS:
        raise InvalidInputError(
            f"{options.command} --task", repr(options.task),
            f"must be flip-flop:K, or a graph file ending in {', '.join(GRAPHS)}",
        )  # fmt: skip
    from esntools.excitable import read_graph

    graph = read_graph(options.task)
    outputs = {
        node: data["output"] for node, data in graph.nodes(data=True) if data.get("output") is not None
    }
    try:
        return automaton_task(
            graph, steps, pulse_probability=probability,
            outputs=outputs or None, inputs=graph.graph.get("inputs"), rng=options.seed or 0,
        )  # fmt: skip
    except EsntoolsError as error:
        raise type(error)(f"{options.task}: {error.place}", error.value, error.rule, error.remedy) from None


def _along(task: AutomatonTask, options: Namespace, n_inputs: int) -> AutomatonTask:
    """Return the task with the input of ``--signal``, and what it asks for along it."""
    import numpy as np

    u = np.asarray(read_signal(options, n_inputs).values, dtype=np.float64).reshape(-1, n_inputs)
    if u.shape[1] != task.pulses.shape[1]:
        raise InvalidInputError(
            options.signal, f"{u.shape[1]} columns", f"the task has {task.pulses.shape[1]} inputs"
        )
    state = task.initial
    path = np.empty(len(u), dtype=np.intp)
    for k, pulse in enumerate(u):
        if np.any(pulse != 0.0):
            # From every state where none is known yet: the first input of a flip-flop sets all its bits.
            ends = {task.next_state(s, pulse) for s in (range(task.n_states) if state is None else [state])}
            if None in ends:
                raise InvalidInputError(
                    f"{options.signal}, row {k} (counted from 0)", str(pulse.tolist()),
                    "must be zero or pulses of the task, whose order does not matter",
                )  # fmt: skip
            state = ends.pop() if len(ends) == 1 else None
        if state is None:
            raise InvalidInputError(
                f"{options.signal}, row {k} (counted from 0)", str(pulse.tolist()),
                "the first row must tell the state: a pulse on every line",
            )  # fmt: skip
        path[k] = state
    return replace(task, u=u, y=task.states[path], path=path)


# -- design --------------------------------------------------------------------------------------------------


def design_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.excitable import read_graph
    from esntools.excitable.design import design

    check_writable(options.output, (".npz",))
    graph = read_graph(options.source)
    try:
        network = design(
            graph,
            **({} if options.threshold is None else {"threshold": options.threshold}),
            **({} if options.metric is None else {"metric": options.metric}),
            leak_rate=0.25 if options.leak_rate is None else options.leak_rate,
            activation=options.activation, padding=options.padding, shuffle=options.shuffle,
            rng=options.seed or 0, progress=progress,
        )  # fmt: skip
    except EsntoolsError as error:
        raise type(error)(f"{options.source}: {error.place}", error.value, error.rule, error.remedy) from None
    from esntools import files

    about = {
        "graph": Path(options.source).name,
        "nodes": [str(node) for node in graph],
        "seed": options.seed or 0,
    }
    network.save(options.output, provenance=files.provenance(design=about))
    progress.say(
        f"{counted(len(graph), 'vertex' if len(graph) == 1 else 'vertice')}, "
        f"{counted(graph.number_of_edges(), 'edge')}: {counted(network.n_units, 'unit')}, "
        f"one input line and one output for each vertex, in the order "
        + ", ".join(f"{k} = {node}" for k, node in enumerate(list(graph)[:12]))
        + (", ..." if len(graph) > 12 else "")
    )
    progress.say("checked by runs: every vertex is an attractor, and no other was found")
    loops = sum(i == j for i, j in graph.edges)
    without = f", without its {counted(loops, 'self-loop')} (a kick that leads back is no edge there)"
    progress.say(
        f"written to {options.output}; esntools ena {options.output} gives the graph back, "
        f"its nodes in another order{without if loops else ''}"
    )
    return DONE
