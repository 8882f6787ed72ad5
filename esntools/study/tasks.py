"""The study of a task or of a network that is written out: verify it, and read it as an excitable network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from esntools._typing import FloatArray, Progress
from esntools.excitable import excitable_network
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.inputs import InputClass, Zero
from esntools.network import EchoStateNetwork
from esntools.simulation import drive
from esntools.spec import StudySpec
from esntools.study.dynamics import prove_all, responses_to_symbols
from esntools.study.findings import Study, TaskRun
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
from esntools.tasks import FlipFlop
from esntools.training import fit
from esntools.zoo import ZooModel

if TYPE_CHECKING:
    import networkx

__all__ = ["pulse_paths", "study_network", "study_task"]

#: Values that a test run needs.
_TEST_RUN: Final = 50


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


def study_task(model: ZooModel, settings: StudySpec, seed: int, steps: Steps) -> Study:
    task, explain = model.task(), settings.explain
    n_train = min(settings.fit.n_train or task.n_steps // 2, task.n_steps - _TEST_RUN)
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
    certified = certified_of(steps, verdicts, derivation)
    evidence = evidence_of(steps, verdicts)
    silent = network.at_input(np.zeros(network.n_inputs))
    starts = drive(network, task.u[: 5 * explain.n_starts : 5]).states
    points = steps.run(
        "fixed points",
        lambda p: find_fixed_points(silent, starts=starts, n_starts=explain.n_starts, rng=seed, progress=p),
    )
    fixed_points = {} if points is None else {"zero input": points}
    proved = steps.run("proofs", lambda p: prove_all({"zero input": (silent, None)}, fixed_points, p))
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
        certified=certified, evidence=evidence,
        source=source_document(
            model, series=model.title, n_steps=task.n_steps, dt=None, sha256=content_digest(task.u, task.y)
        ),
        fixed_points=fixed_points, proved_points=proved or {}, graph=graph,
        paths=() if graph is None else pulse_paths(graph, network),
        wrong_transitions=() if graph is None else _wrong_transitions(graph, task),
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip


def study_network(model: ZooModel, settings: StudySpec, seed: int, steps: Steps) -> Study:
    network, symbols, explain = model.network(), model.symbols(), settings.explain
    steps.done = SHARE["fit"]
    spec = model.model.network
    names = spec.symbol_names if spec is not None else ()
    questions = [("driven", network, input_class(settings.verify.inputs, None, symbols, network.n_inputs))]
    verdicts = ask(steps, questions)
    derivation = steps.run("derivation", lambda p: derive(network))
    certified = certified_of(steps, verdicts, derivation)
    evidence = evidence_of(steps, verdicts)
    conditions: dict[str, FloatArray] = {"zero input": np.zeros(network.n_inputs)}
    for i, symbol in enumerate(symbols):
        conditions[f"input {names[i] if i < len(names) else i + 1}"] = symbol
    found: dict[str, FixedPoints] = {}

    def search(p: Progress) -> None:
        for i, (name, u) in enumerate(conditions.items()):
            p(f"fixed points at {name}", i / len(conditions))
            found[name] = find_fixed_points(network, u, n_starts=explain.n_starts, rng=seed)

    steps.run("fixed points", search)
    systems: dict[str, tuple[EchoStateNetwork, FloatArray | None]] = {
        name: (network, u) for name, u in conditions.items()
    }
    proved = steps.run("proofs", lambda p: prove_all(systems, found, p))
    responses = None
    if symbols.size:
        responses = steps.run("echo index", lambda p: responses_to_symbols(network, symbols, seed, p))
    index, dwell_times = responses if responses is not None else (None, None)
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
        certified=certified, evidence=evidence,
        fixed_points=found, proved_points=proved or {}, echo_index=index, dwell_times=dwell_times,
        graph=graph,
        source=source_document(model, series=model.title, n_steps=0, dt=None, sha256=content_digest(symbols)),
        paths=() if graph is None else pulse_paths(graph, network),
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip
