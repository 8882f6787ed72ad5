"""Smallest kicks: closed forms, published thresholds, slow twins, subspaces, bad input."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from flip_flops import block_flip_flop, trained_flip_flop
from naive_kicks import (
    naive_boxed_kick,
    naive_crossings,
    naive_destinations,
    naive_normal,
    naive_smallest_kick,
)
from scipy.optimize import brentq

from esntools._typing import FloatArray
from esntools.basins import ESCAPED, Kick, NoKick, basins, find_smallest_kick
from esntools.basins.attractors import polish_cycle
from esntools.basins.rays import Saddle, pull_back
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"
#: tanh(1.5 m) = m, and tanh(2 m) = m.
M, M2 = 0.8585596366401103, 0.9575040240772687


def kick_of(*arguments: Any, **options: Any) -> Kick:
    found = find_smallest_kick(*arguments, **options)
    assert isinstance(found, Kick)
    assert found.checked
    assert np.linalg.norm(found.vector) == pytest.approx(found.size, rel=1e-12)
    return found


def planar() -> EchoStateNetwork:
    """Two units that push each other round: boundaries that are curved."""
    return EchoStateNetwork([[1.6, 0.3], [-0.1, 1.5]], b=[0.05, -0.02], leak_rate=0.6)


def digraph(edges: list[tuple[int, int]], n: int, a: float = 0.25) -> tuple[EchoStateNetwork, FloatArray]:
    """A network whose attractors are the vertices and whose smallest kicks are along the edges."""
    p, b, c = 0.29, 0.6, 1.4
    W = -c * np.ones((n, n)) + (1.0 + c) * np.eye(n)
    for j, k in edges:
        W[k, j], W[j, k] = p - b, -2.0 * c - (p - b)
    return EchoStateNetwork(20.0 * W, b=np.full(n, 20.0 * (b - 0.5)), leak_rate=a, activation="logistic"), W


# -- closed forms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("w", "share"),
    [
        (1.5, 0.0),
        (2.0, -0.999),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in ((1.5, 0.9), (3.0, 0.99), (2.0, 0.5))),
    ],
)
def test_one_neuron_is_kicked_to_its_saddle(w: float, share: float) -> None:
    """Bias at a share of the fold's."""
    s = np.sqrt(1.0 - 1.0 / w)
    b = share * (w * s - np.arctanh(s))

    def gap(x: float) -> float:
        return float(np.tanh(w * x + b) - x)

    low, saddle, high = (brentq(gap, *ends, xtol=1e-15) for ends in ((-1, -s), (-s, s), (s, 1)))
    network = EchoStateNetwork([[w]], b=[b])
    for x, other, label in ((low, high, 1), (high, low, 0)):
        kick = kick_of(network, [x])
        assert kick.size == pytest.approx(abs(saddle - x), abs=1e-8)
        assert kick.size >= abs(saddle - x) - 1e-12
        assert np.sign(kick.vector[0]) == np.sign(saddle - x)
        assert (kick.destination, kick.origin, kick.alignment) == (label, 1 - label, 1.0)
        assert kick.saddle is not None
        assert kick.saddle[0, 0] == pytest.approx(saddle, abs=1e-10)
        assert kick.multiplier == pytest.approx(w * (1.0 - saddle**2), abs=1e-8)
        np.testing.assert_allclose(kick.attractors[label].mean, [other], atol=1e-9)


@pytest.mark.parametrize(
    "signs",
    [(1, 1, 1), *(pytest.param(s, marks=pytest.mark.slow) for s in ((1, -1, 1), (-1, -1, -1), (-1, 1, 1)))],
)
def test_block_flip_flop(signs: tuple[int, int, int]) -> None:
    """A block of n units flips at m sqrt(n), along its diagonal."""
    network = block_flip_flop(33)
    kick = kick_of(network, M * np.repeat(signs, 33))
    assert kick.size == pytest.approx(4.932050, abs=1e-6)
    assert kick.alignment > 1.0 - 1e-9
    blocks = kick.vector.reshape(3, 33)
    flipped = np.argmax(np.abs(blocks).sum(axis=1))
    np.testing.assert_allclose(blocks[flipped], -M * signs[flipped], atol=1e-6)
    new = np.sign(kick.attractors[kick.destination].mean[::33])
    assert np.flatnonzero(new != signs).tolist() == [flipped]


@pytest.mark.slow
def test_large_block_flip_flop() -> None:
    kick = kick_of(block_flip_flop(167), np.full(501, M))
    assert kick.size == pytest.approx(M * np.sqrt(167), abs=1e-5)


@pytest.mark.slow
@pytest.mark.ci
def test_noisy_blocks_against_random_directions() -> None:
    network = block_flip_flop(33, 0.1)
    points = find_fixed_points(network)
    x = points.stable[7].x
    kick = kick_of(network, x, attractors=points)
    assert kick.alignment > 1.0 - 1e-8
    nearest = min(float(np.linalg.norm(p.x - x)) for p in points.saddles)
    assert 4.5 < kick.size < 0.999 * nearest
    # Directions at random are hopeless in 99 dimensions: at twice that size none of 200 leads out.
    V = np.random.default_rng(0).standard_normal((200, 99))
    V *= 2.0 * kick.size / np.linalg.norm(V, axis=1, keepdims=True)
    ends = basins(network, attractors=points, starts=x + V)
    assert np.all(ends.labels == kick.origin)


def test_three_cycle_of_a_designed_network() -> None:
    network, W = digraph([(0, 1), (1, 2), (2, 0)], 3)
    points = find_fixed_points(network)
    label = {int(np.argmax(p.x)): k for k, p in enumerate(points.stable)}
    for j in (0, 2):
        k = (j + 1) % 3
        kick = kick_of(network, points.stable[label[j]].x, attractors=points)
        assert kick.destination == label[k]
        assert kick.size == pytest.approx(0.0769394 / np.linalg.norm(W[k]), rel=1e-4)
        assert kick.size == pytest.approx(0.028484, rel=1e-4)
        assert kick.vector @ W[k] / (np.linalg.norm(W[k]) * kick.size) > 0.999999
        assert kick.saddle is not None
        np.testing.assert_allclose(np.sort(kick.saddle[0]), [0.0, 0.1003, 1.0], atol=1e-4)
        assert kick.multiplier == pytest.approx(1.2012, abs=1e-4)
    back = kick_of(network, points.stable[label[0]].x, target=label[2], attractors=points)
    assert back.destination == label[2]
    assert 0.75 <= back.size < 0.7736


@pytest.mark.slow
@pytest.mark.ci
def test_box_of_a_designed_network() -> None:
    """Units at 1 can fall but not rise: the shortest kick within the range leaves one direction less."""
    network, W = digraph([(0, 1), (1, 2), (2, 0)], 3)
    points = find_fixed_points(network)
    x = points.stable[0].x
    j = int(np.argmax(x))
    k = (j + 1) % 3
    boxes: list[tuple[Any, float]] = [
        ("range", 0.0), ((np.zeros(3), np.ones(3)), 0.0), ((-0.01, 1.01), 0.01)
    ]  # fmt: skip
    for box, slack in boxes:
        kick = kick_of(network, x, box=box, attractors=points)
        y = kick.x + kick.vector
        assert np.min(y) >= -slack - 1e-8
        assert np.max(y) <= 1.0 + slack + 1e-8
        assert kick.alignment > 1.0 - 1e-6
        if slack:
            assert 0.0285 < kick.size < 0.0734
        else:
            # The unit that feeds k stays where it is, and so does the third: neither can go on.
            assert kick.size == pytest.approx(0.0769394 / np.hypot(1.0, 0.31), rel=1e-4)
            assert int(np.argmax(np.abs(W[k] * kick.vector))) == k


def split_flip_flop() -> EchoStateNetwork:
    with np.load(FIXTURE) as w:
        network = EchoStateNetwork(w["W"], W_in=w["W_in"], W_fb=w["W_fb"], readout=Readout(w["W_out"]))
    return network.at_input(np.zeros(2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "size"),
    [
        pytest.param(5, 4, 0.3466, marks=pytest.mark.ci),
        (4, 5, 0.3181), (2, 4, 0.0967), (5, 3, 0.1273), (3, 5, 0.1412),
        pytest.param(4, 2, 0.4226, marks=pytest.mark.ci),
    ],
)  # fmt: skip
def test_thresholds_of_the_split_flip_flop(source: int, target: int, size: float) -> None:
    network = split_flip_flop()
    points = find_fixed_points(network)
    assert len(points.stable) == 6
    kick = kick_of(network, points.stable[source].x, target=target, attractors=points)
    assert np.min(np.abs(kick.sizes / size - 1.0)) < 1e-3
    assert (kick.origin, kick.destination) == (source, target)
    if (source, target) != (4, 2):
        assert kick.size == pytest.approx(size, rel=1e-3)
        assert kick.alignment > 1.0 - 1e-6
        return
    # The published kick crosses the saddle that both share; past the origin a shorter one leads there too.
    assert kick.size == pytest.approx(0.385, rel=1e-3)
    assert kick.saddle is not None
    np.testing.assert_allclose(kick.saddle, 0.0, atol=1e-9)
    states = np.array([p.x for p in points.stable])
    near = kick.vector * np.array([[0.99], [1.0001], [1.001]])
    beside = np.random.default_rng(0).standard_normal((20, 100)) * (1e-4 * kick.size / 10.0)
    ends = naive_destinations(network, kick.x + np.vstack([near, kick.vector * 1.001 + beside]), states, 1500)
    assert ends[0] != target
    assert np.all(ends[1:] == target)


@pytest.mark.slow
@pytest.mark.ci
def test_boxed_kick_of_the_split_flip_flop() -> None:
    """The free kick leaves the cube by 0.02; within it one is 0.3 % longer."""
    network = split_flip_flop()
    points = find_fixed_points(network)
    x = points.stable[5].x
    free = kick_of(network, x, target=4, attractors=points)
    boxed = kick_of(network, x, target=4, attractors=points, box="range")
    assert np.max(np.abs(free.x + free.vector)) == pytest.approx(1.021, abs=1e-3)
    assert np.max(np.abs(boxed.x + boxed.vector)) <= 1.0 + 1e-7
    assert free.size * 1.001 < boxed.size < free.size * 1.01
    assert boxed.alignment > 1.0 - 1e-6


# -- slow twins --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_plane_against_every_angle() -> None:
    network = planar()
    points = find_fixed_points(network)
    states = np.array([p.x for p in points.stable])
    assert len(states) == 3
    for k in (0, 2):
        kick = kick_of(network, states[k], attractors=points)
        size, v = naive_smallest_kick(network, states[k], states, 3.0)
        assert kick.size == pytest.approx(size, rel=1e-7)
        assert abs(v @ kick.vector) / kick.size > 1.0 - 1e-5
        assert kick.origin == k
    target = next(j for j in range(1, 3) if j != kick_of(network, states[0], attractors=points).destination)
    kick = kick_of(network, states[0], target=target, attractors=points)
    size, _ = naive_smallest_kick(network, states[0], states, 3.0, target)
    assert kick.size == pytest.approx(size, rel=1e-4)


def test_box_that_holds_one_unit() -> None:
    """The nearer bit may not be set back: the farther one is."""
    bits = EchoStateNetwork(np.diag([1.5, 2.0]))
    kick = kick_of(bits, [M, M2], box=([0.5, -1.0], [1.0, 1.0]))
    np.testing.assert_allclose(kick.vector, [0.0, -M2], atol=1e-6)
    # Kicks in a subspace and a box.
    kick = kick_of(bits, [M, M2], subspace=[[1.0], [1.0]], box=(-1.0, 1.0))
    np.testing.assert_allclose(kick.vector, [-M, -M], atol=1e-6)
    none = find_smallest_kick(bits, [M, M2], subspace=[[1.0], [1.0]], box=(0.2, 1.0))
    assert isinstance(none, NoKick)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((-0.95, 0.9), marks=pytest.mark.slow),
        pytest.param(((-0.96, -0.9), (2.0, 0.3)), marks=[pytest.mark.slow, pytest.mark.ci]),
    ],
)
def test_box_against_every_state_on_its_edge(box: Any) -> None:
    """In the plane: inside the box every angle is tried."""
    network = planar()
    points = find_fixed_points(network)
    states = np.array([p.x for p in points.stable])
    low, high = (np.broadcast_to(side, 2) for side in box)
    kick = kick_of(network, states[0], attractors=points, box=box)
    size = naive_boxed_kick(network, states[0], states, low, high)
    assert kick.size == pytest.approx(size, rel=1e-6)
    assert np.all(kick.x + kick.vector >= low - 1e-8)
    assert np.all(kick.x + kick.vector <= high + 1e-8)


def test_forms_of_a_map_agree() -> None:
    network = planar()
    x = find_fixed_points(network).stable[0].x
    size = kick_of(network, x).size
    sparse = replace(network, W=scipy.sparse.csr_array(network.dense_W()))
    driven = replace(network, W_in=np.eye(2), b=np.zeros(2))
    fed = replace(
        network,
        W=network.dense_W() - np.diag([0.5, 0.2]),
        W_fb=np.diag([0.5, 0.2]),
        readout=Readout(np.eye(2)),
    )
    function = FunctionMap(network.step, network.jacobian, 2, state_bounds=([-1, -1], [1, 1]))
    for form in (sparse, fed, function):
        assert kick_of(form, x).size == pytest.approx(size, rel=1e-8)
    assert kick_of(driven, x, network.b).size == pytest.approx(size, rel=1e-8)


def test_normals() -> None:
    network = block_flip_flop(4, 0.3)
    rng = np.random.default_rng(0)
    path, covector = rng.uniform(-0.5, 0.5, (6, 12)), rng.standard_normal(12)
    exact = naive_normal(network, path, covector)
    got = pull_back(network, path, covector)
    np.testing.assert_allclose(got, exact / np.linalg.norm(exact), atol=1e-12)
    function = FunctionMap(network.step, network.jacobian, 12)
    np.testing.assert_allclose(pull_back(function, path, covector), got, atol=1e-12)
    # The left unstable vectors of a cycle, at each of its states.
    cycle = polish_cycle(EchoStateNetwork([[1.5, 0.3], [0.0, -2.0]]), np.array([0.1, M2]), 2)
    assert cycle is not None
    system = EchoStateNetwork([[1.5, 0.3], [0.0, -2.0]])
    saddle = Saddle(system, cycle)
    for k in range(2):
        rolled = np.roll(cycle.states, -k, axis=0)
        left = naive_normal(system, rolled, saddle.left[k]) / saddle.multiplier
        np.testing.assert_allclose(np.abs(left), np.abs(saddle.left[k]), atol=1e-10)


# -- subspaces, targets, other attractors ------------------------------------------------------------------


def test_subspace() -> None:
    network = planar()
    found = find_fixed_points(network)
    states = np.array([p.x for p in found.stable])
    x = states[0]
    free = kick_of(network, x, attractors=found)
    for column in ([1.0, 0.0], [0.3, 1.0]):
        v = np.array(column) / np.linalg.norm(column)
        kick = kick_of(network, x, subspace=3.0 * v, attractors=found)
        sizes = naive_crossings(network, x, np.array([v, -v]), states, 6.0)
        assert kick.size == pytest.approx(np.min(sizes), rel=1e-7)
        assert abs(kick.vector @ v) == pytest.approx(kick.size, rel=1e-12)
        assert kick.size >= free.size - 1e-9
        assert kick.alignment == pytest.approx(1.0)
    # Dependent columns that span everything.
    whole = kick_of(network, x, subspace=[[1.0, 2.0, 1.0], [1.0, 2.0, -1.0]], attractors=found)
    assert whole.size == pytest.approx(free.size, rel=1e-8)


def test_input_directions_of_a_larger_network() -> None:
    """Kicks in the span of two directions of the noisy blocks: a plane, whose angles can all be tried."""
    network = block_flip_flop(4, 0.2)
    found = basins(network, n_starts=300)
    x = found.attractors[0].states[0]
    basis = np.kron(np.eye(3), np.ones((4, 1)))[:, :2] / 2.0
    kick = kick_of(network, x, subspace=basis, attractors=found)
    angles, radii = np.linspace(0.0, 2.0 * np.pi, 91)[:-1], np.linspace(0.0, 3.0, 61)[1:]
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis.T
    starts = (x + radii[:, None, None] * rays).reshape(-1, 12)
    beyond = (basins(network, attractors=find_fixed_points(network), starts=starts).labels).reshape(60, 90)
    beyond = beyond != beyond[0, 0]
    best = np.min(np.where(beyond.any(axis=0), radii[np.argmax(beyond, axis=0)], np.inf))
    assert best - 0.06 <= kick.size <= best
    np.testing.assert_allclose(basis @ (basis.T @ kick.vector), kick.vector, atol=1e-12)


def test_target_by_label_and_by_state() -> None:
    bits = EchoStateNetwork(np.diag([1.5, 2.0]))
    points = find_fixed_points(bits)
    label = {tuple(np.sign(p.x).astype(int).tolist()): k for k, p in enumerate(points.stable)}
    x = [M, M2]
    for sign, size in (((-1, 1), M), ((1, -1), M2), ((-1, -1), float(np.hypot(M, M2)))):
        kick = kick_of(bits, x, target=label[sign], attractors=points)
        assert (kick.destination, kick.origin) == (label[sign], label[1, 1])
        assert kick.size == pytest.approx(size, rel=1e-6)
    by_state = kick_of(bits, x, target=[0.5, -0.5], attractors=points)
    assert by_state.size == pytest.approx(M2, rel=1e-8)


def test_escape() -> None:
    square = FunctionMap(lambda x: x * x, lambda x: np.array([[2.0 * x[0]]]), 1)
    for target in (None, ESCAPED):
        kick = kick_of(square, [0.0], target=target)
        assert kick.size == pytest.approx(1.0, rel=1e-8)
        assert kick.destination == ESCAPED


def test_cycles() -> None:
    """Beyond x_2 = 0 is another phase of the same cycle; the boundary is x_1 = 0, its saddle a cycle."""
    network = EchoStateNetwork(np.diag([1.5, -2.0]))
    found = basins(network, n_starts=50)
    assert [a.period for a in found.attractors] == [2, 2]
    x = found.attractors[1].states[0]
    kick = kick_of(network, x, attractors=found)
    assert kick.size == pytest.approx(M, rel=1e-8)
    assert (kick.origin, kick.destination) == (1, 0)
    assert kick.saddle is not None
    np.testing.assert_allclose(np.abs(kick.saddle), [[0.0, M2]] * 2, atol=1e-10)
    assert kick.multiplier == pytest.approx(2.25, abs=1e-8)
    # Without a list the cycles are found on the way.
    assert kick_of(network, x).size == pytest.approx(M, rel=1e-8)


def test_no_kick() -> None:
    none = find_smallest_kick(EchoStateNetwork([[0.5]]), [0.0])
    assert isinstance(none, NoKick)
    assert "one attractor only" in none.reason
    assert none.max_size == 4.0
    # The other attractor cannot be reached by kicks of the second unit, nor within a short reach.
    bits = EchoStateNetwork(np.diag([1.5, 0.5]))
    none = find_smallest_kick(bits, [M, 0.0], subspace=[0.0, 1.0])
    assert isinstance(none, NoKick)
    assert "no kick along" in none.reason
    short = find_smallest_kick(bits, [M, 0.0], max_size=0.85)
    assert isinstance(short, NoKick)
    assert kick_of(bits, [M, 0.0], max_size=0.87).size == pytest.approx(M, rel=1e-8)


def test_same_again_and_progress() -> None:
    network = planar()
    x = find_fixed_points(network).stable[0].x
    calls: list[float] = []
    first = kick_of(network, x, rng=3, progress=lambda label, fraction: calls.append(fraction))
    assert np.array_equal(first.vector, kick_of(network, x, rng=3).vector)
    assert calls == sorted(calls)
    assert calls[-1] == 1.0
    assert len(repr(first)) < 120


@pytest.mark.parametrize(
    ("x", "options", "place"),
    [
        ([0.5, 0.5], {}, "x"), ([0.0, 0.0], {}, "x"), ([M], {}, "x"), ([[M, M]] * 2, {}, "x"),
        ([np.nan, M], {}, "x"), ([M, M], {"subspace": [0.0, 0.0]}, "subspace"),
        ([M, M], {"subspace": np.eye(3)}, "subspace"), ([M, M], {"subspace": [np.inf, 0.0]}, "subspace"),
        ([M, M], {"subspace": np.zeros((2, 0))}, "subspace"), ([M, M], {"target": 4}, "target"),
        ([M, M], {"target": [0.8, 0.9]}, "target"), ([M, M], {"target": [0.0, 0.0]}, "target"),
        ([M, M], {"target": 1.5}, "target"), ([M, M], {"n_starts": 0}, "n_starts"),
        ([M, M], {"tol": 0.0}, "tol"), ([M, M], {"max_iterations": -1}, "max_iterations"),
        ([M, M], {"max_size": -1.0}, "max_size"), ([M, M], {"u": [1.0]}, "u"),
        ([M, M], {"attractors": "all"}, "attractors"), ([M, M], {"rng": "dice"}, "rng"),
        ([M, M], {"box": "cube"}, "box"), ([M, M], {"box": (0.0, 0.5)}, "box"),
        ([M, M], {"box": (0.0, [1.0] * 3)}, "box"), ([M, M], {"box": (np.nan, 1.0)}, "box"),
        ([M, M], {"box": 1.0}, "box"),
    ],
)  # fmt: skip
def test_bad_input(x: Any, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        find_smallest_kick(EchoStateNetwork(1.5 * np.eye(2)), x, **options)


@pytest.mark.slow
def test_three_hundred_units_in_seconds() -> None:
    network = block_flip_flop(100, 0.1)
    points = find_fixed_points(network)
    start = time.process_time()
    kick = kick_of(network, points.stable[0].x, attractors=points)
    assert time.process_time() - start < 10.0
    assert kick.alignment > 1.0 - 1e-8


@pytest.mark.slow
@pytest.mark.ci
def test_a_trained_network_is_kicked_past_an_edge() -> None:
    """Two bits off: by the stable manifold of a point with two unstable directions, not by a saddle's."""
    network, run, _ = trained_flip_flop(300)
    network = network.at_input(np.zeros(3))
    points = find_fixed_points(network, starts=run[::10])
    start = time.process_time()
    kick = kick_of(network, points.stable[0].x, target=1, attractors=points)
    assert time.process_time() - start < 10.0
    # Directions turned by labels alone stop at 1.1703.
    assert kick.size < 1.1690
    assert kick.alignment > 0.9999
    near = [
        p for p in points.saddles if kick.saddle is not None and np.allclose(p.x, kick.saddle[0], atol=1e-6)
    ]
    assert [p.n_unstable for p in near] == [2]
