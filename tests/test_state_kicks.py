"""Thresholds of state kicks for all pairs: closed forms, the published split state, slow twins, subspaces."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from flip_flops import block_flip_flop
from naive_kicks import naive_crossings, naive_destinations, naive_smallest_kick
from test_kicks import FIXTURE, M2, M, digraph, planar

from esntools._typing import FloatArray
from esntools.basins import find_smallest_kick
from esntools.errors import InvalidInputError
from esntools.excitable.landscape import Landscape, find_landscape
from esntools.excitable.state_kicks import kick_thresholds, switching_subspaces
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout


def table(landscape: Landscape, **options: Any) -> tuple[FloatArray, dict[tuple[int, int], dict[str, Any]]]:
    """Return the thresholds as a matrix, and every connection; all were replayed."""
    found = kick_thresholds(landscape, **options)
    sizes = np.full((len(landscape), len(landscape)), np.nan)
    for c in found:
        sizes[c["source"], c["target"]] = c["threshold"]
        assert c["lower"] == 0.0
        assert np.linalg.norm(c["kick"]) == pytest.approx(c["threshold"], rel=1e-12)
        x = landscape.attractors[c["source"]].states[c.get("phase", 0)]
        assert landscape.label([x + np.array(c["kick"])])[0] == c["target"]
        ends = landscape.label(x + np.array([[0.999], [1.001]]) * np.array(c["kick"]))
        assert c["checked"] == (ends[0] != c["target"] and ends[1] == c["target"])
    return sizes, {(c["source"], c["target"]): c for c in found}


def vertices(landscape: Landscape) -> list[int]:
    """Return which unit is on in each attractor."""
    return [int(np.argmax(a.states[0])) for a in landscape.attractors]


# -- closed forms ------------------------------------------------------------------------------------------


def test_two_bits() -> None:
    """One bit is set back by its own distance; both together by the diagonal, at the edge of four basins."""
    space = find_landscape(EchoStateNetwork(np.diag([1.5, 2.0])))
    sizes, found = table(space)
    signs = np.array([np.sign(a.states[0]) for a in space.attractors])
    for i, j in itertools.permutations(range(4), 2):
        flipped = signs[i] != signs[j]
        assert sizes[i, j] == pytest.approx(np.linalg.norm(np.array([M, M2])[flipped]), rel=1e-6)
        c = found[i, j]
        assert c["checked"]
        saddle = space.saddles[c["saddle"]]
        assert saddle.n_unstable == flipped.sum()
        np.testing.assert_allclose(saddle.x[flipped], 0.0, atol=1e-9)
        assert c["alignment"] > 1.0 - 1e-6
        if flipped.sum() == 1:
            assert c["direct"] == c["threshold"]
            assert sorted(saddle.leads_to or ()) == sorted((i, j))
    # Some pairs only are the same.
    some = kick_thresholds(space, pairs=[(3, 0), (3, 1)])
    assert [(c["source"], c["target"]) for c in some] == [(3, 0), (3, 1)]
    assert some[0]["threshold"] == pytest.approx(sizes[3, 0], rel=1e-6)


@pytest.mark.slow
@pytest.mark.ci
def test_three_cycle_of_a_designed_network() -> None:
    network, W = digraph([(0, 1), (1, 2), (2, 0)], 3)
    space = find_landscape(network)
    unit = vertices(space)
    for metric, size in (("state", 0.028484), ("range", 0.0734892)):
        sizes, found = table(space, metric=metric)
        for i, j in itertools.permutations(range(3), 2):
            if unit[j] == (unit[i] + 1) % 3:
                assert sizes[i, j] == pytest.approx(size, rel=1e-4)
                kick = np.array(found[i, j]["kick"])
                if metric == "state":
                    normal = W[unit[j]] / np.linalg.norm(W[unit[j]])
                    assert kick @ normal > 0.9999 * np.linalg.norm(kick)
                else:
                    y = space.attractors[i].states[0] + kick
                    assert np.min(y) >= -1e-8
                    assert np.max(y) <= 1.0 + 1e-8
            else:
                assert 0.75 <= sizes[i, j] < 0.775


@pytest.mark.slow
@pytest.mark.ci
def test_published_three_cycle_and_thresholds_of_single_edges() -> None:
    """A. and P.'s matrix has attractors beside its vertices; edges keep their thresholds."""
    A = np.zeros((3, 3))
    A[0, 1] = A[1, 2] = A[2, 0] = 1.0
    W = -0.3 * np.ones((3, 3)) + 1.3 * np.eye(3) + 0.59 * A.T - 0.2 * A
    network = EchoStateNetwork(20.0 * W, b=np.full(3, -10.0), leak_rate=0.25, activation="logistic")
    space = find_landscape(network)
    unit = {k: int(np.argmax(a.states[0])) for k, a in enumerate(space.attractors)}
    single = [k for k, a in enumerate(space.attractors) if np.sum(a.states[0] > 0.5) == 1]
    assert (len(space), len(single)) == (5, 3)
    sizes, _ = table(space, pairs=list(itertools.permutations(single, 2)))
    for i, j in itertools.permutations(single, 2):
        if unit[j] == (unit[i] + 1) % 3:
            assert sizes[i, j] == pytest.approx(0.06667, rel=1e-3)
        else:
            assert sizes[i, j] > 0.35
    wanted = {
        (0, 1): (0.29, 0.0769394),
        (1, 2): (0.27, 0.1258647),
        (2, 0): (0.2, 0.2406494),
        (3, 1): (0.295, 0.0597904),
    }
    b, c = 0.6, 1.4
    W = -c * np.ones((4, 4)) + (1.0 + c) * np.eye(4)
    for (j, k), (p, _) in wanted.items():
        W[k, j], W[j, k] = p - b, -2.0 * c - (p - b)
    space = find_landscape(
        EchoStateNetwork(20.0 * W, b=np.full(4, 20.0 * (b - 0.5)), leak_rate=0.25, activation="logistic")
    )
    place = {k: i for i, k in enumerate(vertices(space))}
    sizes, _ = table(space)
    for (j, k), (_, gap) in wanted.items():
        assert sizes[place[j], place[k]] * np.linalg.norm(W[k]) == pytest.approx(gap, rel=1e-4)
    edges = {(place[j], place[k]) for j, k in wanted}
    assert all(sizes[i, j] > 0.4 for i, j in itertools.permutations(range(4), 2) if (i, j) not in edges)


@pytest.mark.slow
@pytest.mark.ci
def test_all_thresholds_of_the_split_flip_flop() -> None:
    """Published along the saddles that pairs share; signs are a symmetry of the network."""
    with np.load(FIXTURE) as w:
        network = EchoStateNetwork(w["W"], W_in=w["W_in"], W_fb=w["W_fb"], readout=Readout(w["W_out"]))
    space = find_landscape(network)
    assert (len(space), len(space.saddles)) == (6, 7)
    ring = [0, 1, 3, 5, 4, 2]
    pairs = [(ring[k], ring[(k + step) % 6]) for k in range(6) for step in (1, -1)]
    _, found = table(space, pairs=pairs)
    assert all(c["checked"] for c in found.values())
    published = {
        (2, 4): 0.0967, (4, 2): 0.4226, (5, 3): 0.1273, (3, 5): 0.1412, (5, 4): 0.3466, (4, 5): 0.3181
    }  # fmt: skip
    for (i, j), size in published.items():
        for c in (found[i, j], found[5 - i, 5 - j]):
            assert c["direct"] == pytest.approx(size, rel=1e-3)
            assert c["threshold"] <= c["direct"]
            if (i, j) == (4, 2):
                # Past the origin a shorter kick leads there too.
                assert c["threshold"] == pytest.approx(0.385, rel=2e-3)
                assert space.saddles[c["saddle"]].n_unstable == 2
            else:
                assert c["threshold"] == c["direct"]
                assert sorted(space.saddles[c["saddle"]].leads_to or ()) == sorted((c["source"], c["target"]))


# -- slow twins --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_plane_against_every_angle() -> None:
    network = planar()
    space = find_landscape(network)
    sizes, _ = table(space)
    for i, j in itertools.permutations(range(3), 2):
        exact, _ = naive_smallest_kick(network, space.X[i], space.X, 3.0, j)
        assert sizes[i, j] == pytest.approx(exact, rel=2e-4)


@pytest.mark.slow
def test_the_same_as_one_by_one() -> None:
    network = block_flip_flop(4, 0.2)
    space = find_landscape(network)
    for j in (1, 3):
        (c,) = kick_thresholds(space, pairs=[(0, j)])
        one = find_smallest_kick(network, space.X[0], target=space.X[j])
        assert c["threshold"] == pytest.approx(one.size, rel=1e-5)
        ends = naive_destinations(network, space.X[0] + np.array([[0.999], [1.001]]) * c["kick"], space.X)
        assert ends[0] != j
        assert ends[1] == j


# -- subspaces ---------------------------------------------------------------------------------------------


def test_subspaces_of_pulses_and_of_a_run() -> None:
    """Pulses act on one direction of the plane; kicks along it are crossings of one line."""
    network = EchoStateNetwork(planar().W, W_in=[[0.5], [1.0]], b=planar().b, leak_rate=0.6)
    space = find_landscape(network)
    pulses = np.array([[1.0], [-1.0]])
    spans = switching_subspaces(network, space, pulses, share=0.5)
    sizes, found = table(space, metric="subspace", subspaces=spans)
    for i in range(len(space)):
        rows = network.step(space.X[i], pulses) - space.X[i]
        v = np.linalg.svd(rows)[2][0]
        assert abs(spans[i][:, 0] @ v) == pytest.approx(1.0)
        for j in range(len(space)):
            if (i, j) in found:
                kick = np.array(found[i, j]["kick"])
                assert abs(kick @ v) == pytest.approx(np.linalg.norm(kick), rel=1e-9)
                exact = naive_crossings(
                    network.at_input([0.0]), space.X[i], np.array([v, -v]), space.X, 3.0, j
                )
                assert sizes[i, j] == pytest.approx(np.min(exact), rel=1e-5)
    # Along a run with inputs of eight steps: only the first finds the state at rest.
    u = np.zeros((700, 1))
    for start, sign in ((100, 1.0), (200, -1.0), (300, -1.0), (400, 1.0), (500, 1.0), (600, -1.0)):
        u[start : start + 8] = 2.0 * sign
    states, x = np.empty((700, 2)), space.X[0]
    for k in range(700):
        x = states[k] = network.step(x, u[k])
    driven = switching_subspaces(network, space, u, states=states, share=1.0)
    before = space.label(states[99::100][:6])
    assert len(set(before.tolist())) > 1
    for k in set(before.tolist()):
        rows = states[100::100][before == k] - space.X[k]
        np.testing.assert_allclose(rows @ driven[k] @ driven[k].T, rows, atol=1e-7)
        assert driven[k].shape[1] == min(2, len(np.unique(u[100::100][before == k])))


def test_from_a_cycle_the_nearest_state_counts() -> None:
    """Two units that alternate, one that rests: the phase with the shorter way is taken."""
    network = EchoStateNetwork([[1.5, 0.3], [0.0, -2.0]])
    space = find_landscape(network, n_random=100)
    assert [a.period for a in space.attractors] == [2, 2]
    sizes, found = table(space)
    for i, j in ((0, 1), (1, 0)):
        each = [find_smallest_kick(network, x, target=space.X[j]).size for x in space.attractors[i].states]
        assert sizes[i, j] == pytest.approx(min(each), rel=1e-5)
        assert each[found[i, j]["phase"]] == min(each)


def test_nothing_to_find() -> None:
    assert kick_thresholds(find_landscape(EchoStateNetwork([[0.5]]))) == ()
    # The second unit cannot be reached by kicks of the first.
    space = find_landscape(EchoStateNetwork(np.diag([1.5, 2.0])))
    spans = [np.array([[1.0], [0.0]])] * 4
    _, found = table(space, metric="subspace", subspaces=spans)
    assert len(found) == 4
    assert kick_thresholds(space, metric="subspace", subspaces=[np.zeros((2, 0))] * 4) == ()


def test_same_again_and_progress() -> None:
    space = find_landscape(EchoStateNetwork([[1.5]]))
    calls: list[float] = []
    first = kick_thresholds(space, rng=3, progress=lambda label, fraction: calls.append(fraction))
    assert first == kick_thresholds(space, rng=3)
    assert calls == sorted(calls)
    assert calls[-1] == 1.0


def test_no_range_is_known() -> None:
    square = FunctionMap(lambda x: x * x, lambda x: np.array([[2.0 * x[0]]]), 1)
    with pytest.raises(InvalidInputError, match="range"):
        kick_thresholds(find_landscape(square, n_random=20), metric="range")
    with pytest.raises(InvalidInputError, match="range"):
        find_smallest_kick(square, [0.0], box="range")


SPACE = find_landscape(EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2)))


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"metric": "input"}, "metric"), ({"metric": None}, "metric"), ({"metric": "subspace"}, "subspaces"),
        ({"subspaces": [np.eye(2)] * 4}, "subspaces"), ({"pairs": [(0, 0)]}, "pairs"),
        ({"metric": "subspace", "subspaces": [np.eye(2)] * 3}, "subspaces"),
        ({"metric": "subspace", "subspaces": [np.eye(3)] * 4}, "subspaces"), ({"pairs": [(0, 4)]}, "pairs"),
        ({"pairs": [3]}, "pairs"), ({"tol": 0.0}, "tol"), ({"n_starts": 0}, "n_starts"),
        ({"max_iterations": -1}, "max_iterations"), ({"rng": "dice"}, "rng"),
    ],
)  # fmt: skip
def test_bad_input(options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        kick_thresholds(SPACE, **options)


@pytest.mark.parametrize(
    ("u", "options", "place"),
    [
        ([[1.0]], {}, "u_or_pulses"), ([[np.nan, 1.0]], {}, "u_or_pulses"),
        ([[1.0, 0.0]], {"share": 0.0}, "share"),
        ([[1.0, 0.0]], {"states": [[0.0]]}, "states"), ([[1.0, 0.0]], {"rest": [0.0]}, "rest"),
    ],
)  # fmt: skip
def test_bad_inputs_of_subspaces(u: Any, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        switching_subspaces(EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2)), SPACE, u, **options)
    with pytest.raises(InvalidInputError, match=r"^landscape"):
        kick_thresholds([0.0])  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"^network"):
        switching_subspaces(FunctionMap(lambda x: x, lambda x: np.eye(2), 2), SPACE, u)


def test_kicks_in_the_range_do_not_leave_it_where_a_boundary_touches_its_face() -> None:
    """The crossing beside an edge was looked for 0.1 % outside."""
    space = find_landscape(
        EchoStateNetwork([[1.3, -0.2, -0.4], [0.4, 2.2, 0.1], [0.2, 0.5, 2.3]]), n_random=20
    )
    found = kick_thresholds(space, metric="range", pairs=[(0, 3), (3, 0)])
    assert len(found) == 2
    for c in found:
        assert np.max(np.abs(space.X[c["source"]] + c["kick"])) <= 1.0 + 1e-6
        assert c["checked"]


def test_of_a_long_cycle_some_states_are_kicked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esntools.excitable.input_kicks._MOST_PHASES", 1)
    space = find_landscape(EchoStateNetwork([[1.5, 0.3], [0.0, -2.0]]), n_random=20)
    (found,) = kick_thresholds(space, pairs=[(0, 1)])
    assert (found["phase"], found["note"]) == (0, "1 of the 2 states of the cycle were kicked")
