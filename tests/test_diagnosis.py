"""Diagnoses: closed forms for every cause, the published split state, causes replayed by the slow twin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from flip_flops import trained_flip_flop
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_diagnosis import naive_label, naive_labels, naive_segments, naive_state

from esntools.errors import InvalidInputError
from esntools.excitable import excitable_network
from esntools.excitable.diagnosis import Diagnosis, diagnose
from esntools.excitable.diagnosis.causes import with_counts
from esntools.excitable.diagnosis.learned import decode, output_margins
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.diagnosis import plot_diagnosis
from esntools.simulation import drive
from esntools.tasks import AutomatonTask, automaton_task, flip_flop

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"

#: The stable point of tanh(1.5 m) = m; a pulse of strength 1.5 m in one step takes it to 0.
M = 0.8585596366401103


def bits(n: int, strength: float, w: float = 1.5) -> EchoStateNetwork:
    """Uncoupled bits; a unit pulse on line i reaches unit i with this strength."""
    return EchoStateNetwork(w * np.eye(n), W_in=strength * np.eye(n), readout=Readout(np.eye(n)))


def kinds(found: Diagnosis) -> list[str]:
    return [f.kind for f in found.faults]


def by_hand(n_inputs: int, n_steps: int, pulses: dict[int, list[float]], n_bits: int = 1) -> AutomatonTask:
    """A flip-flop whose pulses are given step by step; every bit is set at the first step."""
    u = np.zeros((n_steps, n_inputs))
    for k, pulse in pulses.items():
        u[k] = pulse
    like = flip_flop(n_bits, 1, rng=0).automaton
    path, state = np.zeros(n_steps, dtype=np.intp), 0
    for k in range(n_steps):
        reached = like.next_state(state, u[k])
        assert reached is not None
        path[k] = state = reached
    return AutomatonTask(
        u, like.states[path], np.array(like.pulses), np.array(like.states), np.array(like.transitions), path,
        like.names, like.symbols,
    )  # fmt: skip


def test_a_network_that_does_what_it_should() -> None:
    found = diagnose(bits(2, 3.0), flip_flop(2, 400, pulse_probability=0.1, rng=1))
    assert found.correct
    assert (found.faults, found.segments, found.n_wrong_steps, found.causes) == ((), (), 0, {})
    assert found.learned.stands_for.tolist() == [0, 1, 2, 3]
    assert found.learned.margins == pytest.approx([M] * 4)
    np.testing.assert_array_equal(found.learned.table, found.task.transitions)
    assert found.summary == "4 attractors for 4 states of the task; every output of 400 steps is right."
    assert found.guilty_edges == ()


def test_a_network_that_forgets_what_it_is_told() -> None:
    """Pulses of 1.2 where 1.2878 is needed: no pulse moves anything, and the threshold is named."""
    found = diagnose(bits(1, 1.2), by_hand(1, 30, {0: [1.0], 10: [-1.0], 20: [1.0]}), x0=[0.9])
    assert kinds(found) == ["threshold above the pulse"] * 2
    assert found.faults[0].threshold == pytest.approx(1.5 * M / 1.2, rel=1e-4)
    assert found.faults[0].edges == ((0, 1),)
    (segment,) = found.segments
    assert (segment.start, segment.stop, segment.step, segment.symbols) == (10, 20, 10, (1,))
    assert (segment.cause, segment.source, segment.target, segment.fault) == (
        "threshold above the pulse", 1, 1, 1,
    )  # fmt: skip
    assert (found.faults[1].n_segments, found.faults[1].n_steps, found.faults[0].n_segments) == (1, 10, 0)
    assert not found.correct
    assert found.guilty_edges == ((1, 0), (0, 1))


def test_pulses_two_steps_apart() -> None:
    """A bit that was just set again lies above its rest; one step later the pulse that resets it does not.

    From rest 1.5 M - 1.45 < 0. After a pulse at rest x = tanh(1.5 M + 1.45), and 1.5 x - 1.45 > 0.
    """
    strength = 1.45
    x = np.tanh(1.5 * M + strength)
    assert 1.5 * M < strength < 1.5 * x
    task = by_hand(1, 40, {0: [1.0], 20: [1.0], 21: [-1.0], 30: [-1.0]})
    found = diagnose(bits(1, strength), task)
    (segment,) = found.segments
    assert (segment.cause, segment.start, segment.stop, segment.step) == ("still relaxing", 21, 30, 21)
    assert (segment.source, segment.target, segment.expected, segment.wait) == (1, 1, 0, 1)
    assert segment.deviation == pytest.approx(x - M, abs=1e-6)
    assert segment.move == pytest.approx(M - np.tanh(1.5 * M - strength), abs=1e-6)
    assert kinds(found) == ["still relaxing"]
    assert found.learned.windows[1, 1, 0] == pytest.approx(1.5 * M / strength, abs=0.01)
    # One step more and x has fallen to 0.912, where 1.5 x < 1.45.
    assert 1.5 * np.tanh(1.5 * x) < strength
    assert segment.needed == 2
    assert "1 step after the pulse before (right from 2 on)" in found.text()


def test_a_fragile_edge_is_told_from_haste() -> None:
    """The same with a pulse only 2 % above the threshold, and a deviation smaller than the pulse's move."""
    found = diagnose(bits(1, 1.5 * M * 1.02), by_hand(1, 40, {0: [1.0], 20: [1.0], 22: [-1.0], 30: [-1.0]}))
    assert kinds(found) == ["fragile edge", "fragile edge"]
    assert [s.cause for s in found.segments] == ["fragile edge"]
    assert found.segments[0].fault == 1
    assert found.faults[1].threshold == pytest.approx(1.0 / 1.02, abs=0.01)
    assert found.correct is False


def test_more_states_than_attractors() -> None:
    """Five states, four attractors: the fifth is missing, and what takes its place is named."""
    graph = nx.DiGraph()
    for s, (i, j) in enumerate([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]):
        graph.add_edge(i, j, symbol="on" if s != 3 else "over")
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    # Each corner of the square lights its output; the fifth stays dark. Pulses come from nowhere near.
    rows = np.vstack([0.5 * corners, np.zeros((1, 2))])
    network = EchoStateNetwork(
        1.5 * np.eye(2), W_in=[[1.0, 0.0], [0.0, 1.0]], readout=Readout(rows, b_out=[0.0, 0.0, 0.0, 0.0, 0.2])
    )
    task = automaton_task(
        graph, 200, pulse_probability=0.1, rng=2, inputs={"on": [3.0, 0.0], "over": [0.0, 3.0]}
    )
    found = diagnose(network, task)
    assert found.missing == (4,)
    assert kinds(found)[0] == "missing state"
    assert found.faults[0].text.startswith("state 4 has no attractor")
    assert found.n_not_attributed == 0
    for s in found.segments:
        same = len({*zip(task.path[s.start : s.stop], found.decoded[s.start : s.stop])}) == 1
        assert ("at first" in found.describe(s)) is not same
    assert {s.length for s in found.segments} != {1}
    steps = sum(stop - start for start, stop in naive_segments(task, found.outputs))
    assert found.n_wrong_steps == steps > 0
    json.dumps(found.document(), allow_nan=False)
    # Nothing but one fixed point: every state but one is missing, and all of it is said.
    forgetful = EchoStateNetwork(0.5 * np.eye(2), W_in=np.eye(2), b=[-0.1, -0.1], readout=Readout(np.eye(2)))
    lost = diagnose(forgetful, flip_flop(2, 100, pulse_probability=0.05, rng=0))
    assert len(lost.missing) == 3
    assert lost.causes["missing state"][0] > 0
    assert "the two are merged" in lost.faults[0].text
    # Both lines lead back to the only attractor; the far corner no pulse asks for from there.
    assert lost.merged == ((1, 0), (2, 0))
    assert lost.n_not_attributed == 0
    # Without the bias the sign of the last pulse can be read for ever, from a trace that fades.
    fading = EchoStateNetwork(0.5 * np.eye(2), W_in=np.eye(2), readout=Readout(np.eye(2)))
    trace = diagnose(fading, flip_flop(2, 100, pulse_probability=0.05, rng=0))
    assert trace.segments == ()
    assert trace.n_fading == int(np.sum(trace.task.path != 0)) > 0
    assert not trace.correct
    assert "from a trace that fades" in trace.summary


def twins(strength: float) -> EchoStateNetwork:
    """A bit that is read, and a second one that only makes the first easier or harder to reset."""
    return EchoStateNetwork([[1.5, 0.2], [0.0, 1.5]], W_in=[[strength], [0.0]], readout=Readout([[1.0, 0.0]]))


def test_a_split_state_whose_halves_differ() -> None:
    """A reset needs 0.5 or 2.0, as the second bit will have it: at 1.6 one half obeys, the other does not."""
    u = {0: [1.0], 10: [-1.0], 20: [1.0]}
    found = diagnose(twins(1.6), by_hand(1, 30, u), x0=[0.9, 0.9])
    split = [f for f in found.faults if f.kind == "split state"]
    assert [f.state for f in split] == [0, 1]
    assert [len(held) for held in found.learned.holders] == [2, 2]
    (segment,) = found.segments
    assert (segment.cause, segment.start, segment.step) == ("split state", 11, 10)
    assert segment.fault is not None
    assert found.faults[segment.fault].state == 1
    assert segment.source in found.faults[segment.fault].attractors
    # Split states that obey are told, and are no error.
    harmless = diagnose(twins(2.5), by_hand(1, 30, u), x0=[0.9, 0.9])
    assert kinds(harmless) == ["split state", "split state"]
    assert harmless.correct
    assert len(harmless.extra) == 2


def test_a_wrong_edge() -> None:
    """The second line reaches the first bit with the wrong sign."""
    crossed = EchoStateNetwork(1.5 * np.eye(2), W_in=[[3.0, 0.0], [-3.0, 3.0]], readout=Readout(np.eye(2)))
    task = by_hand(2, 40, {0: [-1.0, -1.0], 10: [0.0, 1.0], 20: [1.0, 0.0], 30: [0.0, 1.0]}, n_bits=2)
    found = diagnose(crossed, task, x0=[-0.9, -0.9])
    assert [s.cause for s in found.segments] == ["wrong edge"]
    (segment,) = found.segments
    assert (segment.start, segment.stop, segment.symbols) == (20, 30, (0,))
    fault = found.faults[segment.fault]
    assert fault.text == "pulse +1 on line 0 at attractor 1 (-1, +1) leads to 2 (+1, -1) instead of (+1, +1)"
    assert (1, 2) in found.guilty_edges


def test_noise_alone() -> None:
    """A run that a recorded shock takes over: the network alone would have stayed."""
    network, task = bits(1, 3.0), by_hand(1, 60, {0: [1.0], 40: [1.0]})
    x, states = np.zeros(1), []
    for k in range(60):
        x = network.step(x, task.u[k]) - (1.2 if k == 20 else 0.0)
        states.append(x)
    found = diagnose(network, task, np.array(states), noise=0.3)
    assert [(s.cause, s.start, s.stop, s.source, s.target) for s in found.segments] == [
        ("noise", 20, 40, 1, 0)
    ]
    assert "threshold below the noise" in kinds(found)
    # To first order the spread is noise / sqrt(1 - J^2); the threshold is M itself.
    slope = 1.5 * (1.0 - M**2)
    assert found.segments[0].fault is not None
    assert found.faults[found.segments[0].fault].edges == ((1, 0),)
    ratio = M / (0.3 / np.sqrt(1.0 - slope**2))
    below = next(f for f in found.faults if f.kind == "threshold below the noise")
    assert f"{ratio:.1f} standard deviations" in below.text
    assert below.threshold == pytest.approx(M, rel=1e-6)
    quiet = diagnose(network, task, np.array(states), noise=0.1)
    assert "threshold below the noise" not in kinds(quiet)


def test_a_pulse_that_errs_at_some_states_of_a_cycle_says_so() -> None:
    found = diagnose(bits(1, 1.0), by_hand(1, 60, {5: [1.0], 30: [-1.0]}))
    (segment,) = [s for s in found.segments if s.fault is not None and s.symbols][:1]
    bare = [replace(segment, fault=None, expected=segment.source)]
    there, elsewhere = found.learned.table.copy(), found.learned.table.copy()
    there[segment.source, segment.symbols[0]] = segment.source
    elsewhere[segment.source, segment.symbols[0]] = 1 - (segment.source or 0)
    for table, said in ((there, False), (elsewhere, True)):
        (fault,), _ = with_counts(found.task, replace(found.learned, table=table), [], bare)
        assert ("at some of its states" in fault.text) is said


def test_an_output_that_wobbles() -> None:
    """A unit that swings is read with the bit: the mean is right, every other output is not."""
    network = EchoStateNetwork(np.diag([1.5, -2.0]), W_in=[[3.0], [0.0]], readout=Readout([[1.0, 1.2]]))
    found = diagnose(network, by_hand(1, 20, {0: [1.0], 10: [-1.0]}), x0=[0.9, 0.5])
    assert {s.cause for s in found.segments} == {"wobbling output"}
    assert found.n_wrong_steps == sum(b - a for a, b in naive_segments(found.task, found.outputs)) > 5
    assert found.n_not_attributed == 0


def test_slow_outputs_and_grace() -> None:
    """Read with an offset, a bit that was just set is still read as not set: counted by a scalar loop."""
    network = EchoStateNetwork([[1.5]], W_in=[[1.4]], readout=Readout([[1.0]], b_out=[-0.3]))
    task = by_hand(1, 60, {0: [1.0], 20: [-1.0], 40: [1.0]})
    x, late = np.tanh(-1.5 * M + 1.4), 0
    assert x > 0.0
    while x < 0.3:
        x, late = np.tanh(1.5 * x), late + 1
    found = diagnose(network, task, x0=[-M])
    assert [(s.cause, s.start, s.stop, s.source, s.target) for s in found.segments] == [
        ("slow output", 0, late, None, 1), ("slow output", 40, 40 + late, 0, 1),
    ]  # fmt: skip
    assert late > 1
    assert found.faults[-1].text.endswith(f"up to {late} steps after the pulse")
    assert len(diagnose(network, task, x0=[-M], grace=late - 1).segments) == 2
    assert diagnose(network, task, x0=[-M], grace=late).segments == ()


def test_no_attractor_at_all() -> None:
    """Everything escapes: told and drawn, not refused."""
    task = by_hand(1, 60, {k: [(-1.0) ** (k // 10)] for k in range(0, 60, 10)})
    escapes = EchoStateNetwork([[2.0]], W_in=[[1.0]], activation="identity", readout=Readout([[1.0]]))
    lost = diagnose(escapes, task)
    assert (len(lost.graph), lost.missing, set(lost.causes)) == (0, (0, 1), {"missing state"})
    assert "no attractor was found" in lost.text()
    json.dumps(lost.document(), allow_nan=False)
    near = plot_diagnosis(lost).child_axes
    assert len(near) == 2 + min(3, len(lost.segments))
    assert "missing state" in near[1].get_title("left")


@pytest.mark.slow
def test_chaos() -> None:
    task = by_hand(1, 60, {k: [(-1.0) ** (k // 10)] for k in range(0, 60, 10)})
    chaos = EchoStateNetwork([[4.0]], W_in=[[1.0]], activation="sine", readout=Readout([[1.0]]))
    found = diagnose(chaos, task)
    assert [d for _, d in found.graph.nodes(data="kind")] == ["chaos"]
    assert set(found.causes) == {"missing state", "wobbling output"}
    assert "no point or cycle" in found.text()
    json.dumps(found.document(), allow_nan=False)
    assert len(plot_diagnosis(found).child_axes) == 5


def test_a_pulse_may_last() -> None:
    """0.8 is too weak in one step and enough in three: neither is taken for the other."""
    graph = nx.DiGraph([("off", "on", {"symbol": "+"}), ("on", "off", {"symbol": "-"})])
    options = {
        "outputs": [[-1.0], [1.0]],
        "inputs": {"+": [1.0], "-": [-1.0]},
        "rng": 1,
        "pulse_interval": 12,
    }
    short = diagnose(bits(1, 0.8), automaton_task(graph, 200, pulse_probability=0.1, **options))
    assert kinds(short) == ["threshold above the pulse"] * 2
    assert set(short.causes) == {"threshold above the pulse"}
    task = automaton_task(graph, 200, pulse_probability=0.1, pulse_length=3, **options)
    long = diagnose(bits(1, 0.8), task)
    np.testing.assert_array_equal(long.learned.table, task.transitions)
    assert set(long.causes) == {"slow output"}
    starts = [k for k in range(200) if np.any(task.u[k]) and not np.any(task.u[k - 1])]
    assert {s.step for s in long.segments} <= set(starts)
    assert diagnose(bits(1, 0.8), task, grace=3).correct


def test_wrong_start() -> None:
    graph = nx.DiGraph([("off", "on", {"symbol": "+"}), ("on", "off", {"symbol": "-"})])
    task = automaton_task(
        graph, 30, outputs=[[-1.0], [1.0]], inputs={"+": [3.0], "-": [-3.0]}, pulse_probability=0.2, rng=4
    )
    first = int(np.flatnonzero(task.u[:, 0])[0])
    found = diagnose(bits(1, 1.0), task, x0=[0.9])
    assert found.segments[0].cause == "wrong start"
    assert (found.segments[0].start, found.segments[0].stop) == (0, first)
    assert diagnose(bits(1, 1.0), task).correct


@pytest.mark.parametrize("seed", range(2))
def test_causes_replayed_by_the_slow_twin(seed: int) -> None:
    """Hasty pulses on small trained networks: every wrong step is in a segment, every cause holds."""
    network = trained_flip_flop(20, n_bits=2, seed=seed)[0]
    task = flip_flop(2, 40, pulse_probability=0.3, rng=seed).automaton
    graph = excitable_network(network, task.pulses, n_random=32, n_amplitudes=16)
    found = diagnose(network, task, graph=graph)
    replayed(found, network)


def replayed(found: Diagnosis, network: EchoStateNetwork) -> None:
    """Check segments and causes with nothing but steps of the network."""
    task = found.task
    X = np.array([found.graph.nodes[k]["x"] for k in found.graph])
    start = np.zeros(network.n_units)
    labels, states = naive_labels(network, task.u, start, X)
    outputs = network.output(np.array(states))
    wrong = {k for a, b in naive_segments(task, outputs) for k in range(a, b)}
    assert {k for s in found.segments for k in range(s.start, s.stop)} == wrong
    assert found.n_wrong_steps == len(wrong)
    stands = [naive_state(task, network.output(x)) for x in X]
    for s in found.segments:
        held = stands[labels[s.start]] if labels[s.start] >= 0 else -1
        if s.cause in ("slow output", "wobbling output"):
            assert held == task.path[s.start]
            continue
        assert held != task.path[s.start]
        # The run went wrong at s.step, not before, and has been wrong since.
        for k in range(s.step, s.start + 1):
            assert stands[labels[k]] != task.path[k]
        if s.step == 0:
            assert s.cause in ("wrong start", "missing state")
            continue
        if s.cause == "missing state":
            assert task.path[s.step] == task.path[s.start]
            assert task.path[s.step] not in stands
            continue
        a = labels[s.step - 1]
        assert stands[a] == task.path[s.step - 1]
        assert (s.source, s.target) == (a, labels[s.step])
        from_rest = naive_label(network, network.step(X[a], task.u[s.step]), X)
        assert s.expected == from_rest
        right_from_rest = stands[from_rest] == task.path[s.step]
        deviation = float(np.linalg.norm(states[s.step - 1] - X[a]))
        assert s.deviation == pytest.approx(deviation, abs=1e-6)
        if s.needed is not None and s.wait is not None:
            assert s.needed > s.wait
            x = states[s.step - s.wait]
            for _ in range(s.needed - 1):
                x = network.step(x, np.zeros(2))
            assert stands[naive_label(network, network.step(x, task.u[s.step]), X)] == task.path[s.step]
        if s.cause in ("wrong edge", "threshold above the pulse"):
            assert not right_from_rest
        if s.cause in ("still relaxing", "fragile edge", "low threshold"):
            assert right_from_rest or deviation > np.linalg.norm(network.step(X[a], task.u[s.step]) - X[a])


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 6), width=st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_margins_are_the_smallest_changes_of_reading(seed: int, n: int, width: int) -> None:
    """No change of the output smaller than its margin is read otherwise; the one towards a rival is."""
    rng = np.random.default_rng(seed)
    targets, outputs = rng.standard_normal((n, width)), rng.standard_normal((5, width))
    margins, read = output_margins(outputs, targets), decode(outputs, targets)
    for y, margin, own in zip(outputs, margins, read):
        directions = rng.standard_normal((50, width))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        assert np.all(decode(y + 0.999 * margin * directions, targets) == own)
        towards = targets - targets[own]
        size = np.linalg.norm(towards, axis=1)
        towards[size > 0.0] /= size[size > 0.0, None]
        assert np.any(decode(y + (1.001 * margin + 1e-9) * towards, targets) != own)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_noisy_runs_have_a_cause_for_everything(seed: int) -> None:
    network = trained_flip_flop(20, n_bits=2, seed=seed)[0]
    task = flip_flop(2, 300, pulse_probability=0.08, rng=seed).automaton
    rng, x, states = np.random.default_rng(seed), np.zeros(20), []
    for k in range(300):
        x = network.step(x, task.u[k]) + 0.2 * rng.standard_normal(20)
        states.append(x)
    found = diagnose(network, task, np.array(states), noise=0.2)
    assert found.n_not_attributed == 0
    assert found.n_wrong_steps == sum(b - a for a, b in naive_segments(task, found.outputs))
    assert found.causes["noise"][0] > 0


def test_misuse_is_refused() -> None:
    network, task = bits(2, 3.0), flip_flop(2, 20, rng=0)
    for arguments, words in (
        ((network, flip_flop(1, 20, rng=0)), "1 inputs.*automaton_task"),
        ((EchoStateNetwork(np.eye(2) / 2, W_in=np.eye(2)), task), "no readout"),
        (
            (EchoStateNetwork(np.eye(2) / 2, W_in=np.eye(2), readout=Readout([[1.0, 1.0]])), task),
            "2 outputs.*'output' on",
        ),
        ((network, "flip-flop"), "AutomatonTask"), ((network, task, np.zeros((5, 2))), "run"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=words):
            diagnose(*arguments)
    for options, words in (
        ({"noise": -1.0}, "noise"),
        ({"grace": -1}, "grace"),
        ({"graph": nx.DiGraph()}, "graph"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            diagnose(network, task, **options)
    elsewhere = excitable_network(network, task.pulses, u=[0.1, 0.0], n_random=16)
    with pytest.raises(InvalidInputError, match="another input"):
        diagnose(network, task, graph=elsewhere)


@pytest.mark.slow
@pytest.mark.ci
def test_the_published_split_state() -> None:
    """Six stable points where the task has four states; the split state and its thresholds are the cause."""
    with np.load(FIXTURE) as data:
        network = EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip
    found = diagnose(network, flip_flop(2, 4000, pulse_probability=0.02, rng=1))
    assert len(found.graph) == 6
    assert found.learned.stands_for.tolist() == [0, 1, 0, 3, 2, 3]
    split = [f for f in found.faults if f.kind == "split state"]
    assert [(f.state, set(f.attractors), f.edges) for f in split] == [
        (0, {0, 2}, ((2, 4),)), (3, {3, 5}, ((3, 1),)),
    ]  # fmt: skip
    for fault in split:
        assert fault.threshold == pytest.approx(0.0967, rel=0.02)
    for pair in ((4, 2), (1, 3)):
        # Over the saddle between them 0.4226; by way of a third basin a little less.
        assert 3.5 * 0.0967 < found.learned.kicks[pair][0] <= 1.02 * 0.4226
    assert found.extra == (2, 3)
    assert found.n_not_attributed == 0
    assert found.causes["split state"][0] >= 1
    assert found.n_wrong_steps == sum(b - a for a, b in naive_segments(found.task, found.outputs)) == 83
    assert {(2, 4), (3, 1)} <= set(found.guilty_edges)
    assert all(
        s.weak and (s.expected, s.target) == (2, 4) for s in found.segments if s.cause == "split state"
    )
    assert "2 is only 0.0967 (kick of the state) from the basin of 4 (+1, -1)" in found.text()
    json.dumps(found.document(), allow_nan=False)
    replay = drive(network, found.task.u)
    np.testing.assert_array_equal(found.outputs, replay.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_more_causes_replayed(seed: int) -> None:
    network = trained_flip_flop(40, noise=0.03, n_bits=2, seed=seed + 10)[0]
    found = diagnose(network, flip_flop(2, 150, pulse_probability=0.3, rng=seed))
    replayed(found, network)
