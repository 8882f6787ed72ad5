"""The study of a task or of a network that is written out: verify it, and read it as an excitable network."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from esntools._typing import FloatArray, Progress
from esntools.excitable import Landscape, excitable_network, find_landscape
from esntools.excitable.diagnosis import Diagnosis, diagnose
from esntools.excitable.diagnosis.learned import decode
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.inputs import InputClass, Zero
from esntools.network import EchoStateNetwork
from esntools.simulation import Trajectory, drive
from esntools.spec import ExplainSpec, StudySpec
from esntools.study.dynamics import prove_all, responses_to_symbols
from esntools.study.findings import Study, TaskRun
from esntools.study.phase import PhasePlane, phase_plane
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
from esntools.tasks import AutomatonTask, FlipFlop
from esntools.training import fit
from esntools.zoo import ZooModel

if TYPE_CHECKING:
    import networkx

__all__ = ["GivenNetwork", "pulse_paths", "study_network", "study_task", "tested_part", "training_length"]

#: Pairs of attractors times units up to which the smallest kicks of the state are searched for.
_KICK_WORK: Final = 6000
#: For lower bounds of the thresholds.
_PROOF_SECONDS: Final = 10.0
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


def training_length(task: FlipFlop | AutomatonTask, n_train: int | None) -> int:
    """Return how many steps of a task are trained on; the others are for the test run."""
    return min(n_train or task.n_steps // 2, task.n_steps - _TEST_RUN)


def tested_part(task: AutomatonTask, start: int) -> AutomatonTask:
    """Return the task from a step on, with the state that it is in there."""
    initial = int(task.path[start - 1]) if start else task.initial
    return replace(task, u=task.u[start:], y=task.y[start:], path=task.path[start:], initial=initial)


def _test_run(
    network: EchoStateNetwork, task: AutomatonTask, x0: FloatArray | None, progress: Progress
) -> tuple[TaskRun, Trajectory]:
    run = drive(network, task.u, x0, progress=progress)
    wrong = float(np.mean(decode(run.outputs, task.states) != task.path))
    spread = np.where(task.y.std(axis=0) > 0.0, task.y.std(axis=0), 1.0)
    nrmse = float(np.sqrt(np.mean(((run.outputs - task.y) / spread) ** 2)))
    return TaskRun(task.u, task.y, run.outputs, wrong, nrmse), run


@dataclass
class _Explained:
    """What is found of a network as an excitable one."""

    graph: networkx.DiGraph | None = None
    paths: tuple[FloatArray, ...] = ()
    plane: PhasePlane | None = None
    diagnosis: Diagnosis | None = None


def _explain(
    steps: Steps, network: EchoStateNetwork, pulses: FloatArray, explain: ExplainSpec, seed: int,
    points: FixedPoints | None, task: AutomatonTask | None = None, run: Trajectory | None = None,
) -> _Explained:  # fmt: skip
    """Extract the excitable network; with a task, diagnose the run; and prepare the picture of both."""
    starts = None if run is None else run.states[:: max(1, len(run.states) // (2 * explain.n_starts))]

    def extract(progress: Progress) -> tuple[networkx.DiGraph, Landscape]:
        landscape = find_landscape(
            network, starts=starts, fixed_points=points, n_steps=explain.relax_steps, rng=seed,
            progress=lambda label, f: progress(label, 0.4 * f),
        )  # fmt: skip
        # A diagnosis names kicks of the state; their search takes seconds, so only in small networks.
        pairs = len(landscape) * (len(landscape) - 1)
        kicks = task is not None and network.n_inputs > 0 and pairs * network.n_units <= _KICK_WORK
        graph = excitable_network(
            network, pulses if network.n_inputs else None, metrics=("input", "state") if kicks else None,
            certify=task is not None, budget=_PROOF_SECONDS, relax_steps=explain.relax_steps,
            pulse_length=explain.pulse_length, max_amplitude=explain.max_amplitude, landscape=landscape,
            rng=seed, progress=lambda label, f: progress(label, 0.4 + 0.6 * f),
        )  # fmt: skip
        return graph, landscape

    found = steps.run("graph", extract, needs=True if pulses.size or not network.n_inputs else None)
    if found is None:
        return _Explained()
    graph, landscape = found
    paths = pulse_paths(graph, network)
    diagnosis = None
    if task is not None and run is not None:
        diagnosis = steps.run(
            "diagnosis", lambda p: diagnose(network, task, run, graph=graph, rng=seed, progress=p)
        )
    plane = (
        steps.run("phase", lambda p: phase_plane(landscape, paths, progress=p)) if len(landscape) else None
    )
    return _Explained(graph, paths, plane, diagnosis)


def study_task(model: ZooModel, settings: StudySpec, seed: int, steps: Steps) -> Study:
    task, explain = model.task(), settings.explain
    n_train = training_length(task, settings.fit.n_train)
    start = time.perf_counter()
    fitted = fit(
        task.y[:n_train], task.u[:n_train], rng=seed,
        progress=lambda label, f: steps.tell(label or "fit", SHARE["fit"] * f), **settings.fit.options(),
    )  # fmt: skip
    steps.timings["fit"] = time.perf_counter() - start
    steps.done = SHARE["fit"]
    network = fitted.network

    tested = tested_part(task.automaton, n_train)
    ran = steps.run("task", lambda p: _test_run(network, tested, fitted.x_last, p))
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
    found = _explain(
        steps, network, task.pulses * explain.pulse_amplitude, explain, seed, points, tested,
        None if ran is None else ran[1],
    )  # fmt: skip
    return Study(
        name=model.name, title=model.title, summary=model.summary, kind="task", network=network, fit=fitted,
        settings=settings_document(settings, seed, model), task_run=None if ran is None else ran[0],
        targets=task.states,
        verdicts=verdicts, derivation=derivation,
        certified=certified, evidence=evidence,
        source=source_document(
            model, series=model.title, n_steps=task.n_steps, dt=None, sha256=content_digest(task.u, task.y)
        ),
        fixed_points=fixed_points, proved_points=proved or {}, graph=found.graph, paths=found.paths,
        plane=found.plane, diagnosis=found.diagnosis,
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """A network of one's own to study, with the task that it was trained for if there is one.

    Attributes
    ----------
    network : EchoStateNetwork
    file : str
        Where it comes from; the study is called after it.
    task : AutomatonTask or FlipFlop, optional
        With the run that it is tested on. Default none.
    task_name : str
        As the command line spells it. Default empty.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> from esntools.study import run_study
    >>> from esntools.tasks import flip_flop
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], b=[0.1], readout=Readout([[1.0]]))
    >>> study = run_study(GivenNetwork(bit, "bit.npz", flip_flop(1, 300, pulse_probability=0.1, rng=0)))
    >>> study.diagnosis.correct, list(study.diagnosis.causes)
    (False, ['threshold above the pulse'])
    """

    network: EchoStateNetwork
    file: str
    task: AutomatonTask | FlipFlop | None = None
    task_name: str = ""

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def symbols(self) -> FloatArray:
        """Return the pulses of the task; plus and minus a unit on every line where there is none."""
        if self.task is not None:
            return self.task.pulses
        n = self.network.n_inputs
        return np.asarray(np.repeat(np.eye(n), 2, axis=0) * np.tile([1.0, -1.0], n)[:, None])


def _automaton(source: ZooModel | GivenNetwork) -> AutomatonTask | None:
    task: AutomatonTask | FlipFlop | None
    if isinstance(source, GivenNetwork):
        task = source.task
    else:
        task = source.task() if source.model.task is not None else None
    return task.automaton if isinstance(task, FlipFlop) else task


def study_network(source: ZooModel | GivenNetwork, settings: StudySpec, seed: int, steps: Steps) -> Study:
    given = isinstance(source, GivenNetwork)
    network = source.network if isinstance(source, GivenNetwork) else source.network()
    symbols, explain, task = source.symbols(), settings.explain, _automaton(source)
    # Pulses of a task come one at a time, with rest between them: runs of one symbol are another question.
    in_turn = symbols.size > 0 and task is None and not given
    steps.done = SHARE["fit"]
    asked = settings.verify.inputs
    if asked == "data":
        # A network that is written out has no data; what drives it are its symbols.
        asked = "any" if symbols.size == 0 or (given and task is None) else "symbols"
    # Most of the time the input of a task is no pulse at all.
    driving = symbols if task is None else np.vstack([np.zeros(network.n_inputs), symbols])
    questions = [("driven", network, input_class(asked, None, driving, network.n_inputs))]
    verdicts = ask(steps, questions)
    derivation = steps.run("derivation", lambda p: derive(network))
    certified = certified_of(steps, verdicts, derivation)
    evidence = evidence_of(steps, verdicts)
    conditions: dict[str, FloatArray] = {"zero input": np.zeros(network.n_inputs)}
    if in_turn and not isinstance(source, GivenNetwork):
        names = source.model.network.symbol_names if source.model.network is not None else ()
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
    if in_turn:
        responses = steps.run("echo index", lambda p: responses_to_symbols(network, symbols, seed, p))
    index, dwell_times = responses if responses is not None else (None, None)
    ran = None
    if task is not None:
        ran = steps.run("task", lambda p: _test_run(network, task, None, p))
    explained = _explain(
        steps, network, symbols * explain.pulse_amplitude, explain, seed, found.get("zero input"), task,
        None if ran is None else ran[1],
    )  # fmt: skip
    if isinstance(source, GivenNetwork):
        title, summary = source.name, "A network of one's own, as it is."
    else:
        title, summary = source.title, source.summary
    return Study(
        name=source.name, title=title, summary=summary, kind="network", network=network,
        settings=settings_document(settings, seed, source), verdicts=verdicts, derivation=derivation,
        certified=certified, evidence=evidence,
        fixed_points=found, proved_points=proved or {}, echo_index=index, dwell_times=dwell_times,
        graph=explained.graph, paths=explained.paths, plane=explained.plane, diagnosis=explained.diagnosis,
        task_run=None if ran is None else ran[0], targets=None if task is None else task.states,
        source=source_document(source, series=title, n_steps=0, dt=None, sha256=content_digest(symbols)),
        not_done=steps.not_done, timings=steps.timings,
    )  # fmt: skip
