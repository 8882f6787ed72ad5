"""Networks along an input: reduction to the autonomous case, closed forms, scalar twins, merges, refusals."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from naive_driven import naive_label, naive_threshold, preimage, scalar_boundary, scalar_run, unit

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.basins import Kick, find_smallest_kick
from esntools.errors import InvalidInputError
from esntools.excitable import at_amplitude, threshold_matrix
from esntools.excitable.driven import NonautonomousNetwork, nonautonomous_network
from esntools.fixed_points import find_fixed_points
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.driven import plot_nonautonomous

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"
A, B = (0.25, 0.05), (-0.25, -0.5)
#: The fixed points of tanh(1.5 x) = x and of tanh(2 x) = x.
M, M2 = 0.8585596366, 0.9575040241


def bit(w: float = 1.5) -> EchoStateNetwork:
    return EchoStateNetwork([[w]], W_in=[[1.0]])


def bits() -> EchoStateNetwork:
    return EchoStateNetwork(np.diag([1.5, 2.0]), W_in=np.eye(2))


def planar() -> EchoStateNetwork:
    return EchoStateNetwork([[1.6, 0.2], [-0.1, 1.8]], W_in=np.eye(2))


def two_neurons() -> EchoStateNetwork:
    return EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2), leak_rate=0.25)


def word(*runs: tuple[tuple[float, float], int]) -> FloatArray:
    return np.vstack([np.repeat([symbol], n, axis=0) for symbol, n in runs])


def wave(n_steps: int, seed: int = 2) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.asarray(0.2 * np.sin(0.15 * np.cumsum(rng.standard_normal((n_steps, 2)), axis=0)))


def size(ena: NonautonomousNetwork, i: int, j: int) -> FloatArray:
    threshold = ena.threshold(i, j)
    assert threshold is not None
    return threshold.sizes


# -- constant input: the autonomous graph --------------------------------------------------------------------


def test_one_unit_without_input() -> None:
    ena = nonautonomous_network(bit(), np.zeros((300, 1)), n_past=75)
    assert [round(float(r.states[-1, 0]), 10) for r in ena.responses] == [-M, M]
    for r in ena.responses:
        assert r.exponent == pytest.approx(np.log(1.5 * (1.0 - M**2)), abs=1e-9)
    (saddle,) = ena.saddles
    assert saddle.between == (0, 1)
    assert np.max(np.abs(saddle.states)) < 2e-6
    assert saddle.exponents[0] == pytest.approx(np.log(1.5), abs=1e-6)
    for i, j in ((0, 1), (1, 0)):
        assert size(ena, i, j) == pytest.approx(M, abs=3e-6)
        # What is known of the response decides: later it is known better.
        assert size(ena, i, j)[-1] == pytest.approx(M, rel=1e-8)
        assert ena.threshold(i, j).checked.all()  # type: ignore[union-attr]
    assert (ena.events, ena.note) == ((), "")


def test_two_bits_without_input() -> None:
    ena = nonautonomous_network(bits(), np.zeros((300, 2)), n_past=75, times=[100, 150])
    signs = [tuple(np.sign(r.states[-1]).astype(int)) for r in ena.responses]
    assert signs == [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    assert [s.between for s in ena.saddles] == [(0, 1), (0, 2), (1, 3), (2, 3)]
    for i, j in itertools.permutations(range(4), 2):
        flips = np.array(signs[i]) != np.array(signs[j])
        # The far corner has no normal: there two boundaries meet.
        rel = 1e-3 if flips.all() else 1e-8
        assert size(ena, i, j) == pytest.approx(float(np.linalg.norm(flips * [M, M2])), rel=rel)
    path = nx.shortest_path(ena.graph, 0, 3, weight=lambda i, j, e: e["threshold"] ** 4)
    assert path in ([0, 1, 3], [0, 2, 3])


@pytest.mark.slow
@pytest.mark.ci
def test_constant_input_against_the_autonomous_search() -> None:
    network, u = planar(), np.array([0.1, -0.05])
    ena = nonautonomous_network(network, np.tile(u, (400, 1)), n_past=100, times=[150])
    points = find_fixed_points(network.at_input(u))
    assert len(ena.responses) == len(points.stable) > 2
    label = {
        k: int(np.argmin([np.max(np.abs(p.x - r.states[-1])) for p in points.stable]))
        for k, r in enumerate(ena.responses)
    }
    for k, r in enumerate(ena.responses):
        np.testing.assert_allclose(r.states[-1], points.stable[label[k]].x, atol=1e-12)
    compared = 0
    for t in ena.thresholds:
        kick = find_smallest_kick(
            network, points.stable[label[t.source]].x, u, target=label[t.target], attractors=points
        )
        if isinstance(kick, Kick) and kick.alignment > 0.999999:
            assert t.minimum == pytest.approx(kick.size, rel=1e-7)
            np.testing.assert_allclose(t.kick, kick.vector, atol=1e-4)
            compared += 1
    assert compared >= 4
    # The saddles of the autonomous map with one unstable direction, and no others.
    single = [p.x for p in points.saddles if p.n_unstable == 1]
    assert len(ena.saddles) == len(single)
    for saddle in ena.saddles:
        middle = saddle.states[len(saddle.states) // 2]
        assert min(float(np.max(np.abs(x - middle))) for x in single) < 1e-6


def test_the_phases_of_a_cycle_are_two_responses() -> None:
    ena = nonautonomous_network(bit(-1.5), np.zeros((300, 1)), n_past=75, times=[100, 101])
    assert len(ena.responses) == 2
    for r in ena.responses:
        np.testing.assert_allclose(np.abs(r.states[-6:, 0]), M, atol=1e-9)
        assert np.all(r.states[-6:-1, 0] * r.states[-5:, 0] < 0.0)
    assert size(ena, 0, 1) == pytest.approx(M, abs=1e-8)


@pytest.mark.slow
@pytest.mark.ci
def test_a_basin_between_two_others() -> None:
    """tanh(4 x)^3 holds -1, 0 and 1: the window of kicks that end in the middle one is narrow, but met."""
    network = EchoStateNetwork([[4.0]], W_in=[[1.0]], activation=Activation.from_sympy("tanh(z)**3"))
    ena = nonautonomous_network(network, np.zeros((100, 1)), n_past=25, times=[40], n_starts=16)
    low, high = 0.05, 0.5
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.tanh(4.0 * middle) ** 3 < middle else (low, middle)
    top = float(ena.responses[2].states[-1, 0])
    assert [round(float(r.states[-1, 0]), 6) for r in ena.responses] == [round(-top, 6), 0.0, round(top, 6)]
    assert ena.responses[1].exponent == -np.inf
    for i, j, known in ((0, 1, top - low), (1, 0, low), (0, 2, top + low)):
        assert size(ena, i, j)[0] == pytest.approx(known, rel=1e-7)
        assert size(ena, 2 - i, 2 - j)[0] == pytest.approx(known, rel=1e-7)


@pytest.mark.slow
@pytest.mark.ci
def test_the_split_flip_flop_at_rest() -> None:
    """Six responses, six saddles in a ring, and the published thresholds of its ring."""
    with np.load(FIXTURE) as w:
        network = EchoStateNetwork(w["W"], W_in=w["W_in"], W_fb=w["W_fb"], readout=Readout(w["W_out"]))
    known = {
        (2, 4): 0.0967, (4, 2): 0.4226, (5, 3): 0.1273, (3, 5): 0.1412, (5, 4): 0.3466, (4, 5): 0.3181,
    }  # fmt: skip
    ena = nonautonomous_network(
        network, np.zeros((1600, 2)), n_past=500, times=[550], n_starts=64, n_rays=1, pairs=list(known)
    )
    assert len(ena.responses) == 6
    outputs = np.array([r.output for r in ena.responses])
    np.testing.assert_allclose(outputs[:3, 0], [-1.356, -0.996, -0.706], atol=2e-3)
    ring = sorted(s.between for s in ena.saddles)
    assert ring == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]
    assert sorted(round(float(np.exp(s.exponents[0])), 3) for s in ena.saddles) == [
        1.014, 1.014, 1.034, 1.034, 1.653, 1.653,
    ]  # fmt: skip
    assert {(t.source, t.target) for t in ena.thresholds} == set(known)
    for (i, j), threshold in known.items():
        assert size(ena, i, j)[0] == pytest.approx(threshold, abs=6e-5), (i, j)
        assert ena.threshold(i, j).checked[0]  # type: ignore[union-attr]
    assert "reach none of these" not in ena.note
    hasty = nonautonomous_network(network, np.zeros((300, 2)), n_past=100, times=[100], pairs=[(0, 1)])
    assert len(hasty.responses) == 4
    assert "reach none of these responses within n_past = 100" in hasty.note


# -- scalar twins -------------------------------------------------------------------------------------------


def test_one_unit_under_a_wave() -> None:
    u = 0.1 * np.sin(np.arange(400) / 5.0)
    ena = nonautonomous_network(bit(), u[:, None], n_past=100, times=range(40, 300, 20))
    steps = [unit(1.5)(v) for v in u]
    boundary = np.array(scalar_boundary(steps))
    low, high = (np.array(scalar_run(steps, y)) for y in (-1.0, 1.0))
    np.testing.assert_allclose(size(ena, 0, 1), (boundary - low)[ena.times], rtol=1e-7)
    np.testing.assert_allclose(size(ena, 1, 0), (high - boundary)[ena.times], rtol=1e-7)
    (saddle,) = ena.saddles
    t = saddle.begin + np.arange(len(saddle.states) - 60)
    np.testing.assert_allclose(saddle.states[: len(t), 0], boundary[t], atol=2e-8)
    assert ena.thresholds[0].minimum == np.min(size(ena, 0, 1))
    edge = ena.graph.edges[0, 1]
    assert edge["threshold"] == min(edge["series"])
    assert edge["times"][edge["series"].index(edge["threshold"])] == edge["at"]


def test_pulses_under_a_wave() -> None:
    """The pulse that is needed: the preimage of the next state of the boundary, less the drive."""
    u = 0.1 * np.sin(np.arange(400) / 5.0)
    ena = nonautonomous_network(bit(), u[:, None], n_past=100, times=range(40, 300, 40), metric="input")
    steps = [unit(1.5)(v) for v in u]
    boundary = np.array(scalar_boundary(steps))
    low = np.array(scalar_run(steps, -1.0))
    k = ena.times
    known = np.arctanh(boundary[k + 1]) - 1.5 * low[k] - u[k]
    np.testing.assert_allclose(size(ena, 0, 1), known, rtol=1e-7)
    t = ena.threshold(0, 1)
    assert t is not None
    assert np.all(t.pulse == 0)
    assert ena.graph.graph["pulses"] == [[1.0], [-1.0]]
    assert nonautonomous_network(
        bit(), u[:, None], n_past=100, times=[40], metric="input", pulses=[[2.0]]
    ).threshold(0, 1).minimum == pytest.approx(known[0] / 2.0, rel=1e-7)  # type: ignore[union-attr]


def test_the_word_of_ten_and_five() -> None:
    """A^10 B^5 for ever: the boundary is the line of one x_2, and repels at 0.1391 per step."""
    u = np.tile(word((A, 10), (B, 5)), (80, 1))
    ena = nonautonomous_network(two_neurons(), u, n_past=150, times=range(600, 615))
    steps = [unit(1.75, 0.25)(v) for v in u[:, 1]]
    boundary = np.array(scalar_boundary(steps))
    assert boundary[600] == pytest.approx(0.0279400348210696, abs=1e-15)
    low, high = (np.array(scalar_run(steps, y)) for y in (-1.0, 1.0))
    np.testing.assert_allclose(size(ena, 0, 1), (boundary - low)[600:615], rtol=1e-8)
    np.testing.assert_allclose(size(ena, 1, 0), (high - boundary)[600:615], rtol=1e-8)
    for t in ena.thresholds:
        assert t.checked.all()
        # The line is horizontal: the kick has no part in the first unit.
        assert np.max(np.abs(t.kicks[:, 0])) < 1e-6
        assert np.min(t.alignment) > 1.0 - 1e-9
    (saddle,) = ena.saddles
    assert saddle.exponents[0] == pytest.approx(0.1391, abs=3e-4)
    np.testing.assert_allclose(saddle.states[:400, 1], boundary[saddle.begin :][:400], atol=2e-8)
    # Adjacent doubles part to 0.1 after 254 steps, a matter of rounding.
    x = np.array([[0.0, 0.02794003482106956], [0.0, 0.02794003482106962]])
    for k in range(600, 900):
        x = two_neurons().step(x, np.broadcast_to(u[k], (2, 2)))
        if abs(x[1, 1] - x[0, 1]) > 0.1:
            break
    assert 249 <= k - 599 <= 259


@pytest.mark.slow
@pytest.mark.parametrize(("m", "M", "count"), [(3, 5, 2), (2, 5, 1), (6, 12, 2), (5, 12, 1)])
def test_words_on_both_sides_of_the_staircase(m: int, M: int, count: int) -> None:
    """m*(5) = 3 and m*(12) = 6: one holding step less, and one response is left."""
    u = np.tile(word((A, m), (B, M)), (7200 // (m + M), 1))
    ena = nonautonomous_network(two_neurons(), u, n_past=1000, times=[1010])
    assert len(ena.responses) == count
    assert len(ena.saddles) == count - 1


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_of_twenty_six_is_survived() -> None:
    u = word((A, 250), (B, 26), (A, 300))
    ena = nonautonomous_network(two_neurons(), u, n_past=120, times=[249])
    assert len(ena.responses) == 2
    assert ena.events == ()
    # Just before, a kick of 0.0428 is enough to lose the upper response.
    boundary = scalar_boundary([unit(1.75, 0.25)(v) for v in u[:, 1]], -0.0667995)
    assert size(ena, 1, 0)[0] == pytest.approx(
        float(ena.responses[1].states[-1, 1]) - boundary[249], rel=1e-5
    )


def test_a_run_of_twenty_seven_merges() -> None:
    u = word((A, 250), (B, 27), (A, 350))
    x0 = [[0.0, 0.9], [0.0, -0.9]]
    ena = nonautonomous_network(two_neurons(), u, x0, n_past=120, times=[200, 265, 400])
    steps = [unit(1.75, 0.25)(v) for v in u[:, 1]]
    merge, split = (next(e for e in ena.events if e.kind == k) for k in ("merge", "split"))
    upper, lower, new = merge.response, merge.other, split.response
    assert {upper, lower, new} == {0, 1, 2}
    assert len(ena.events) == 2
    # Until the last A their distance is the usual one; then the upper falls to the lower.
    ends = [np.array(scalar_run(steps, y)) for y in (0.9, -0.9)]
    gap = ends[0] - ends[1]
    assert merge.time == int(np.flatnonzero(gap > 1e-2 * gap[240])[-1]) + 1
    assert merge.since in (250, 251)
    assert (ena.responses[upper].end, ena.responses[upper].merged_into) == (merge.time, lower)
    # A state at the top of the box survives from the time on at which it has fallen less.
    saddle = -0.06679949844294614
    survives = [s for s in range(200, 277) if scalar_run(steps[s:277], 1.0)[-1] > saddle]
    assert split.time == survives[0]
    assert split.other == lower
    # Thresholds before and after; none between the upper and the new one at one time.
    assert size(ena, upper, lower)[0] == pytest.approx(gap[240] - (saddle - ends[1][240]), rel=1e-3)
    assert np.isnan(size(ena, upper, lower)[2])
    assert size(ena, new, lower)[2] == pytest.approx(1.00008, rel=1e-5)
    # Two runs, one with each until the merge.
    for run, first in ((0, upper), (1, lower)):
        stays = [d for d in ena.dwells if d.run == run and d.response >= 0]
        assert stays[0].response == first
        assert stays[0].start == 0
        assert stays[-1].response == lower
        assert stays[-1].start + stays[-1].length > 600
    ended = next(d for d in ena.dwells if d.run == 0)
    assert merge.time - 20 <= ended.length <= merge.time
    assert ena.graph.nodes[upper]["end"] == merge.time
    assert [e["kind"] for e in ena.graph.graph["events"]] == [e.kind for e in ena.events]


# -- planes against every angle -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_a_plane_against_every_angle() -> None:
    network, u, time = planar(), wave(160), 60
    ena = nonautonomous_network(network, u, n_past=40, times=[time])
    curves = [r.states for r in ena.responses]
    assert len(curves) > 2
    assert not ena.events
    assert len(ena.thresholds) == len(curves) * (len(curves) - 1)
    for t in ena.thresholds:
        x = curves[t.source][time - ena.responses[t.source].begin]
        if t.alignment[0] > 0.999999:
            known, v = naive_threshold(network, x, u, time, curves, t.target, 3.0)
            assert t.minimum == pytest.approx(known, rel=1e-6), t
            assert v @ t.kick / t.minimum > 1.0 - 1e-4
        for share, lands in ((0.999, False), (1.001, True)):
            label = naive_label(network, x + share * t.kick, u, time, curves)
            assert (label == t.target) == lands


@pytest.mark.slow
@pytest.mark.ci
def test_subspace() -> None:
    network, u = planar(), wave(240)
    free = nonautonomous_network(network, u, n_past=60, times=[60])
    held = nonautonomous_network(network, u, n_past=60, times=[60], subspace=[3.0, 0.0])
    assert held.metric == "subspace"
    for t in held.thresholds:
        assert t.kick[1] == 0.0
        assert t.checked.all()
        assert t.minimum > size(free, t.source, t.target)[0] * (1.0 - 1e-9)
    assert len(held.thresholds) >= 2


@pytest.mark.slow
def test_forms_of_a_network_agree() -> None:
    network, u = planar(), wave(240)
    known = nonautonomous_network(network, u, n_past=60, times=[60])
    squares = Readout(np.eye(2), W_sq=np.zeros((2, 2)))
    diagonal = np.diag([0.5, 0.2])
    own = Activation.from_sympy("tanh(z)")
    for form in (
        replace(network, W=scipy.sparse.csr_array(network.dense_W())),
        replace(network, W=network.dense_W() - diagonal, W_fb=diagonal, readout=Readout(np.eye(2))),
        replace(network, W=network.dense_W() - diagonal, W_fb=diagonal, readout=squares),
        replace(network, activation=own),
    ):
        ena = nonautonomous_network(form, u, n_past=60, times=[60])
        assert len(ena.thresholds) == len(known.thresholds)
        for t in ena.thresholds:
            if t.alignment[0] > 0.999999:
                assert t.minimum == pytest.approx(size(known, t.source, t.target)[0], rel=1e-6)


# -- runs, and what there is nothing to say of --------------------------------------------------------------


def test_a_recorded_run_with_a_kick() -> None:
    u = 0.1 * np.sin(np.arange(300) / 5.0)[:, None]
    run = np.zeros((301, 1))
    run[0] = 0.5
    for k in range(300):
        run[k + 1] = bit().step(run[k], u[k])
        if k + 1 == 140:
            run[k + 1] -= 2.0
    ena = nonautonomous_network(bit(), u, n_past=75, run=run)
    assert [(d.response, d.start) for d in ena.dwells[:2]] == [(1, 0), (0, 140)]
    assert ena.dwells[0].length == 140
    assert ena.graph.nodes[1]["dwell"] == 140.0
    assert ena.graph.nodes[1]["visits"] == 1


def test_a_network_that_forgets_has_one_response() -> None:
    ena = nonautonomous_network(bit(0.5), np.sin(np.arange(200.0))[:, None], n_past=50)
    assert len(ena.responses) == 1
    assert (ena.saddles, ena.thresholds) == ((), ())
    assert "one response only is known" in ena.note
    assert list(ena.graph.nodes) == [0]


def test_chaos_has_no_responses() -> None:
    W = 3.0 * np.random.default_rng(0).standard_normal((40, 40)) / np.sqrt(40)
    network = EchoStateNetwork(W, W_in=np.ones((40, 1)))
    ena = nonautonomous_network(network, np.zeros((400, 1)), n_past=100, n_starts=48)
    assert ena.responses == ()
    assert "chaos" in ena.note
    assert len(ena.graph) == 0


def test_one_way_only() -> None:
    """An unbounded unit: kicks beyond the boundary of the response lead to nothing, and are no edges."""
    network = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="relu")
    assert nonautonomous_network(network, np.ones((100, 1)), n_past=25).thresholds == ()


# -- the graph, repetition, refusals -------------------------------------------------------------------------


def test_the_graph_holds_plain_values() -> None:
    network = replace(planar(), readout=Readout([[1.0, 0.5]]))
    ena = nonautonomous_network(network, wave(120), n_past=30, times=[30, 50], n_starts=16)
    matrix = threshold_matrix(ena.graph)
    for t in ena.thresholds:
        assert matrix[t.source, t.target] == t.minimum
    weak = at_amplitude(ena.graph, 0.9)
    assert set(weak.edges) == {(t.source, t.target) for t in ena.thresholds if t.minimum <= 0.9}
    text = json.dumps(nx.node_link_data(ena.graph), allow_nan=False)
    again = nx.node_link_graph(json.loads(text))
    assert dict(again.edges[0, 1]) == dict(ena.graph.edges[0, 1])
    outputs = [ena.graph.nodes[k]["output"][0] for k in ena.graph]
    assert outputs == sorted(outputs)
    assert len(ena.graph.graph["connections"]) == ena.graph.number_of_edges()


def test_same_again_and_progress() -> None:
    seen: list[float] = []
    first = nonautonomous_network(
        planar(),
        wave(120),
        n_past=30,
        times=[30],
        n_starts=16,
        rng=3,
        progress=lambda label, f: seen.append(f),
    )
    again = nonautonomous_network(planar(), wave(120), n_past=30, times=[30], n_starts=16, rng=3)
    for t, s in zip(first.thresholds, again.thresholds, strict=True):
        np.testing.assert_array_equal(t.kicks, s.kicks)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(repr(first)) < 120


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"u": np.zeros((400, 2))}, "u"), ({"u": np.zeros((8, 1))}, "u"), ({"u": [[np.nan]] * 100}, "u"),
        ({"x0": [[0.0, 0.0]]}, "x0"), ({"n_past": 4}, "n_past"), ({"n_past": 300}, "n_past"),
        ({"n_past": 2.5}, "n_past"), ({"stride": 0}, "stride"), ({"times": [400]}, "times"),
        ({"times": [0.5]}, "times"), ({"times": []}, "times"), ({"metric": "range"}, "metric"),
        ({"metric": "subspace"}, "subspace"), ({"subspace": [0.0]}, "subspace"),
        ({"subspace": [1.0, 2.0]}, "subspace"), ({"pulses": [[1.0]]}, "pulses"),
        ({"metric": "input", "pulses": [[1.0, 0.0]]}, "pulses"),
        ({"metric": "input", "pulses": [[0.0]]}, "pulses"), ({"max_amplitude": 0.0}, "max_amplitude"),
        ({"pairs": [(0, 2)]}, "pairs"), ({"pairs": [(1, 1)]}, "pairs"), ({"pairs": [0, 1]}, "pairs"),
        ({"run": np.zeros((400, 1))}, "run"), ({"n_starts": 1}, "n_starts"), ({"tol": 1.0}, "tol"),
        ({"n_rays": 0}, "n_rays"), ({"max_iterations": -1}, "max_iterations"), ({"rng": "dice"}, "rng"),
    ],
)  # fmt: skip
def test_bad_input(options: dict[str, Any], place: str) -> None:
    given = {"u": np.zeros((400, 1))} | options
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        nonautonomous_network(bit(), given.pop("u"), **given)


def test_other_objects_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="network"):
        nonautonomous_network("net", np.zeros((100, 1)))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="no inputs"):
        nonautonomous_network(EchoStateNetwork([[1.5]]), np.zeros((100, 0)), metric="input")
    quiet = nonautonomous_network(EchoStateNetwork([[1.5]]), np.zeros((100, 0)), n_past=25)
    assert len(quiet.responses) == 2


def test_the_twin_inverts() -> None:
    step = unit(1.75, 0.25)(0.1)
    assert step(preimage(step, 0.3)) == pytest.approx(0.3, abs=1e-12)


def test_the_plot() -> None:
    ena = nonautonomous_network(planar(), wave(120), n_past=30, times=[30, 50], n_starts=16)
    inputs, states, thresholds = plot_nonautonomous(ena).child_axes
    assert len(inputs.lines) == 2
    assert len(states.texts) == len(ena.responses)
    assert {t.get_text() for t in thresholds.get_legend().get_texts()} <= {
        f"{t.source} → {t.target}" for t in ena.thresholds
    }
    nothing = replace(ena, responses=(), note="no response")
    with pytest.raises(InvalidInputError, match="no response"):
        plot_nonautonomous(nothing)
    alone = nonautonomous_network(bit(0.5), np.zeros((100, 1)), n_past=25, n_starts=16)
    assert plot_nonautonomous(alone).child_axes[2].texts[0].get_text().startswith("no kick")
