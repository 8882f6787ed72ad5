"""Landscapes: closed forms, the published split state, cycles, chaos and escape, the slow twin, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from naive_excitable import naive_branch_ends, naive_end

from esntools.errors import InvalidInputError
from esntools.excitable import Landscape, find_landscape
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout

#: tanh(1.5 m) = m and tanh(2 c) = c.
M, C = 0.8585596366401103, 0.9575040240772688


def split_state() -> EchoStateNetwork:
    with np.load(Path(__file__).parent / "corpora" / "flipflop2_N100.npz") as data:
        return EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip


def three_cycle(leak_rate: float) -> EchoStateNetwork:
    """Three vertices, each of which excites the next; written from the published formulas."""
    p, b, c, theta, epsilon = 0.29, 0.6, 1.4, 0.5, 0.05
    W = np.eye(3)
    for j, k, i in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        W[k, j] = p - b
        W[j, k] = -2.0 * c - (p - b)
        assert W[i, i] == 1.0
    return EchoStateNetwork(W / epsilon, b=(b - theta) / epsilon, leak_rate=leak_rate, activation="logistic")


def without(points: FixedPoints, k: int) -> FixedPoints:
    """What a search that missed one point would have returned."""
    left = tuple(p for i, p in enumerate(points) if i != k)
    total = sum(p.index for p in left)
    return FixedPoints(left, total, "failed", f"the indices sum to {total} instead of 1", 1, 1)


def test_two_bits_are_four_quadrants() -> None:
    bits = EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2), readout=Readout(np.eye(2)))
    space = find_landscape(bits, n_random=300, rng=5)
    np.testing.assert_allclose(space.X, [[-M, -M], [-M, M], [M, -M], [M, M]], atol=1e-12)
    np.testing.assert_array_equal(space.outputs, space.X)
    assert [a.period for a in space.attractors] == [1] * 4
    assert [s.leads_to for s in space.saddles] == [(0, 1), (0, 2), (1, 3), (2, 3), None]
    # The random states are drawn from a stream of their own: counts of signs, exactly.
    drawn = np.random.default_rng(5).spawn(3)[1].uniform(-1.0, 1.0, (300, 2))
    signs = 2 * (drawn[:, 0] > 0.0) + (drawn[:, 1] > 0.0)
    np.testing.assert_array_equal(space.shares, np.bincount(signs, minlength=4) / 300)
    np.testing.assert_array_equal(space.label(drawn), signs)
    assert [int(space.label(x[None])[0]) for x in drawn[:20]] == signs[:20].tolist()
    assert (space.escaped, space.undecided) == (0.0, 0.0)
    assert space.missed == pytest.approx(1.0 - 0.05 ** (1 / 300))


def test_branches_run_from_the_saddle_to_the_attractor() -> None:
    bits = EchoStateNetwork(1.5 * np.eye(2))
    space = find_landscape(bits, n_random=50)
    for saddle in space.saddles[:4]:
        assert saddle.branches is not None
        assert saddle.leads_to is not None
        for branch, end in zip(saddle.branches, saddle.leads_to):
            np.testing.assert_array_equal(branch[0], saddle.x)
            assert np.linalg.norm(branch[-1] - space.X[end]) < 1e-3
            # Along it one bit only moves, and one way only.
            moving = int(np.argmin(np.abs(saddle.x)))
            assert np.max(np.abs(branch[:, 1 - moving] - saddle.x[1 - moving])) < 1e-9
            assert np.all(np.diff(np.abs(branch[:, moving])) >= 0.0)


@pytest.fixture(scope="module")
def split_space() -> Landscape:
    return find_landscape(split_state(), n_random=64)


def test_a_run_that_stays_at_a_repeller_has_not_found_an_attractor(split_space: Landscape) -> None:
    """Started exactly at 0, a network without bias stays at 0 for ever."""
    assert split_space.label(np.zeros((1, 100))).tolist() == [-2]
    origin = [s for s in split_space.saddles if np.max(np.abs(s.x)) < 1e-12]
    assert [(s.n_unstable, s.leads_to) for s in origin] == [(2, None)]
    rng = np.random.default_rng(1)
    W = rng.standard_normal((12, 12)) / np.sqrt(12)
    space = find_landscape(EchoStateNetwork(W + W.T), starts=np.zeros((1, 12)), n_random=50)
    assert len(space) >= 2
    assert np.min(np.linalg.norm(space.X, axis=1)) > 0.5
    assert space.label(np.zeros((1, 12))).tolist() == [-2]


def test_the_published_split_state(split_space: Landscape) -> None:
    space = split_space
    assert [a.kind for a in space.attractors] == ["fixed point"] * 6
    assert space.outputs is not None
    half = [[1.356, 1.224], [0.996, -0.998], [0.706, 0.863]]
    np.testing.assert_allclose(np.abs(space.outputs[[5, 4, 3]]), np.abs(half), atol=1e-3)
    radii = [abs(a.multipliers[0]) for a in space.attractors if a.multipliers is not None]
    np.testing.assert_allclose(radii, [0.967, 0.836, 0.984, 0.984, 0.836, 0.967], atol=1e-3)
    assert (len(space.fixed_points), space.fixed_points.index_sum) == (13, 1)
    assert space.fixed_points.audit == "passed"
    kinds = sorted((s.n_unstable, s.index) for s in space.saddles)
    assert kinds == [(1, -1)] * 6 + [(2, 1)]
    # The ring 0-1-3-5-4-2-0.
    ring = sorted(tuple(sorted(s.leads_to)) for s in space.saddles if s.leads_to is not None)
    assert ring == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]
    unstable = sorted(round(float(s.multipliers[0].real), 3) for s in space.saddles if s.n_unstable == 1)
    np.testing.assert_allclose(unstable, [1.0145, 1.0145, 1.0343, 1.0343, 1.6529, 1.6529], atol=6e-4)
    attractors = [a.states for a in space.attractors]
    for saddle in space.saddles:
        if saddle.leads_to is not None:
            assert naive_branch_ends(space.system, saddle.x, attractors) == sorted(saddle.leads_to)


def test_three_cycle_with_and_without_leak() -> None:
    leaky = find_landscape(three_cycle(0.25))
    assert [a.period for a in leaky.attractors] == [1, 1, 1]
    assert len(leaky.fixed_points) == 7
    ends = {frozenset(s.leads_to) for s in leaky.saddles if s.leads_to is not None}
    assert ends == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    # Without a leak, all on and all off take turns; 36 % of random starts go there.
    space = find_landscape(three_cycle(1.0), n_random=2000)
    cycles = [k for k, a in enumerate(space.attractors) if a.kind == "periodic orbit"]
    assert (len(cycles), len(space)) == (1, 4)
    cycle = space.attractors[cycles[0]]
    assert cycle.period == 2
    np.testing.assert_allclose(np.sort(cycle.states[:, 0]), [0.0, 0.8808], atol=1e-4)
    low, high = space.intervals[cycles[0]]
    assert low < 0.36 < high
    drawn = np.random.default_rng(3).uniform(0.0, 1.0, (60, 3))
    attractors = [a.states for a in space.attractors]
    assert space.label(drawn).tolist() == [naive_end(space.system, x, attractors, 300) for x in drawn]
    assert set(space.label(drawn)) == {0, 1, 2, 3}


@pytest.mark.parametrize("n_random", [1, 100])
def test_what_the_search_missed_is_found_by_runs(n_random: int) -> None:
    """One random state cannot: then the unstable manifolds lead there."""
    bits = EchoStateNetwork([[1.5, 0.1], [0.0, 2.0]])
    points = find_fixed_points(bits)
    stable = [k for k, p in enumerate(points) if p.stable]
    whole = find_landscape(bits, n_random=100)
    for k in stable[:2]:
        space = find_landscape(bits, fixed_points=without(points, k), n_random=n_random)
        np.testing.assert_allclose(space.X, whole.X, atol=1e-9)
        assert space.fixed_points.audit == "passed"
        assert [s.leads_to for s in space.saddles] == [s.leads_to for s in whole.saddles]


def test_chaos_and_escape() -> None:
    henon = FunctionMap(
        lambda x: np.stack([1.0 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1),
        lambda x: np.array([[-2.8 * x[0], 1.0], [0.3, 0.0]]), 2,
    )  # fmt: skip
    space = find_landscape(henon, n_random=100)
    assert [a.kind for a in space.attractors] == ["chaos"]
    assert 0.3 < space.attractors[0].exponent < 0.55
    assert space.outputs is None
    assert space.escaped > 0.0
    assert space.escaped + space.shares[0] == pytest.approx(1.0)
    assert space.label([[0.0, 0.0], [3.0, 0.0], [0.1, 0.1]]).tolist() == [0, -1, 0]
    # One branch of the fixed point outside leads away to infinity.
    assert any(s.leads_to is not None and -1 in s.leads_to for s in space.saddles)


def test_constant_input_belongs_to_the_landscape() -> None:
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    assert len(find_landscape(bit, n_random=20)) == 2
    # Beyond the fold at sqrt(w (w - 1)) - artanh(sqrt(1 - 1/w)) one response is left.
    fold = np.sqrt(0.5) / np.sqrt(1.5) * 1.5 - np.arctanh(np.sqrt(1.0 / 3.0))
    assert len(find_landscape(bit, [fold - 1e-3], n_random=20)) == 2
    assert len(find_landscape(bit, [fold + 1e-3], n_random=20)) == 1
    assert find_landscape(EchoStateNetwork([[0.5]]), n_random=20).shares.tolist() == [1.0]


def test_the_same_call_gives_the_same_landscape() -> None:
    one, two = (find_landscape(three_cycle(1.0), n_random=40, rng=4) for _ in range(2))
    np.testing.assert_array_equal(one.X, two.X)
    np.testing.assert_array_equal(one.shares, two.shares)
    assert [s.leads_to for s in one.saddles] == [s.leads_to for s in two.saddles]


def test_neither_chance_nor_the_order_of_the_units_matters() -> None:
    network, order = three_cycle(1.0), np.array([2, 0, 1])
    turned = EchoStateNetwork(
        network.dense_W()[np.ix_(order, order)], b=network.b[order], activation="logistic"
    )
    spaces = [find_landscape(network, n_random=40, rng=seed) for seed in (1, 2)]
    spaces.append(find_landscape(turned, n_random=40, rng=3))
    np.testing.assert_allclose(spaces[1].X, spaces[0].X, atol=1e-9)
    back = spaces[2].X[:, np.argsort(order)]
    assert {tuple(x.round(7)) for x in back} == {tuple(x.round(7)) for x in spaces[0].X}
    for space in spaces:
        cycle = next(a for a in space.attractors if a.period == 2)
        assert cycle.states[0, 0] < cycle.states[1, 0]


def test_misuse_is_refused() -> None:
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="n_random"):
        find_landscape(bit, n_random=0)
    with pytest.raises(InvalidInputError, match="n_steps"):
        find_landscape(bit, n_steps=2.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="shape"):
        find_landscape(bit, [0.0, 0.0])
    with pytest.raises(InvalidInputError, match="starts"):
        find_landscape(bit, starts=np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="must be a map"):
        find_landscape(np.eye(2))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="fixed_points"):
        find_landscape(bit, fixed_points=[1.0])  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"fixed_points\[0\].*of this map"):
        find_landscape(bit, fixed_points=find_fixed_points(EchoStateNetwork([[1.6]])))
    with pytest.raises(InvalidInputError, match="states"):
        find_landscape(bit, n_random=5).label([[0.0, 1.0]])
