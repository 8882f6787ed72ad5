"""Enumeration: known counts, naive interval twins, dense multistart, and every near miss."""

from __future__ import annotations

import itertools
import math
from typing import Any

import flint
import numpy as np
import pytest
import scipy.sparse
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_enumeration import multistart, naive_enumerate, precise_fixed_point
from threadpoolctl import threadpool_limits

from esntools.activations import Activation
from esntools.errors import InvalidInputError
from esntools.fixed_points.certified import CertifiedFixedPoint, certify_fixed_point
from esntools.fixed_points.enumeration import EnumeratedFixedPoints, _distinct, enumerate_fixed_points
from esntools.network import EchoStateNetwork, Readout

SMOOTH = ("tanh", "logistic", "erf", "softsign", "sine")


def block_flip_flop(block: int, weight: float = 1.5) -> EchoStateNetwork:
    """Three uncoupled bistable blocks: 3 x 3 x 3 fixed points."""
    return EchoStateNetwork(np.kron(np.eye(3), np.full((block, block), weight / block)))


def low_rank(rng: np.random.Generator, n: int, r: int, gain: float = 3.0, **kwargs: Any) -> EchoStateNetwork:
    left = rng.standard_normal((n, r))
    right = left.T + 0.4 * rng.standard_normal((r, n))
    return EchoStateNetwork(gain * left @ right / n, b=0.1 * rng.standard_normal(n), **kwargs)


def holding(every: EnumeratedFixedPoints, x: np.ndarray, slack: float = 1e-9) -> int:
    """How many listed points x may be."""
    return sum(bool(np.max(np.abs(p.x - x)) <= p.radius + slack) for p in every)


def in_undecided(every: EnumeratedFixedPoints, x: np.ndarray, slack: float = 1e-9) -> bool:
    return any(bool(np.all((x >= low - slack) & (x <= high + slack))) for low, high in every.undecided)


def check_points(network: EchoStateNetwork, every: EnumeratedFixedPoints) -> None:
    """Everything that the listed points claim of each other and of their multipliers."""
    for p, q in itertools.combinations(every, 2):
        distance = float(np.max(np.abs(p.x - q.x)))
        assert distance > p.radius + q.radius or np.any(np.abs(p.x - q.x) > p.radius + q.radius)
        assert distance + q.radius >= p.uniqueness_radius
        assert distance + p.radius >= q.uniqueness_radius
    a, eye = network.leak_rate, np.eye(network.n_units)
    for p in every:
        assert np.max(np.abs(network.step(p.x, p.u) - p.x)) <= 20.0 * p.radius + 1e-12
        J = network.jacobian(p.x, p.u)
        assert p.index == np.sign(np.linalg.det((eye - J) / a[:, None]))
        if p.n_unstable is not None:
            assert p.n_unstable == np.sum(np.abs(np.linalg.eigvals(J)) > 1.0)
            assert p.stable == (p.n_unstable == 0)
            assert p.reason == ""
        else:
            assert p.reason
    assert every.index_sum == sum(p.index for p in every)
    assert every.complete == (every.reason == "")
    if every.complete:
        assert len(every.undecided) == 0
        if network.activation.bounded:
            assert every.index_sum == 1


# -- known answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [33, 167])
def test_block_flip_flop_has_27(block: int) -> None:
    network = block_flip_flop(block)
    every = enumerate_fixed_points(network)
    assert every.complete
    assert (len(every), every.rank, every.method, len(every.undecided)) == (27, 3, "reduced", 0)
    assert [sum(p.n_unstable == k for p in every) for k in range(4)] == [8, 12, 6, 1]
    m = 0.8585596366401103
    values = {tuple(np.round(p.x[::block] / m).astype(int)) for p in every}
    assert values == set(itertools.product((-1, 0, 1), repeat=3))
    for p in every:
        exact = m * np.round(p.x / m)
        assert np.max(np.abs(p.x - exact)) < 1e-12
        assert p.radius < 1e-12


@pytest.mark.parametrize("w", [1.5, 2.0])
def test_one_neuron_near_its_fold(w: float) -> None:
    """Folds are at b = +-(artanh s - w s), s = sqrt(1 - 1/w): 3 points inside, 1 outside, or no claim."""
    s = math.sqrt(1.0 - 1.0 / w)
    fold = abs(math.atanh(s) - w * s)
    for k in range(1, 18):
        for side, count in ((-1, 3), (1, 1)):
            b = fold + side * 10.0**-k
            every = enumerate_fixed_points(EchoStateNetwork([[w]], b=b))
            exact = closed_form_count(w, b)
            if every.complete:
                assert len(every) == exact
            else:
                # What is listed is right even then, and what is missing is where it says.
                assert len(every) <= exact
                assert in_undecided(every, np.array([-s]))
            if k <= 12:
                assert every.complete
                assert exact == count


def closed_form_count(w: float, b: float) -> int:
    """The number of solutions of x = tanh(w x + b), by 300-bit balls."""
    before = flint.ctx.prec
    flint.ctx.prec = 300
    try:
        s = (1 - 1 / arb(w)).sqrt()
        fold = w * s - s.atanh()
        inside = abs(arb(b)) < fold
        assert inside or abs(arb(b)) > fold
        return 3 if inside else 1
    finally:
        flint.ctx.prec = before


def test_folds_of_networks_are_never_passed_over() -> None:
    """A bias swept through folds of a small network: where complete, the count is that of the naive twin."""
    rng = np.random.default_rng(4)
    network = EchoStateNetwork(np.array([[1.9, -0.6], [0.7, 1.4]]))
    counts = set()
    for b in rng.uniform(-0.6, 0.6, (25, 2)):
        shifted = EchoStateNetwork(network.W, b=b)
        every, twin = enumerate_fixed_points(shifted), naive_enumerate(shifted)
        assert twin.undecided == 0
        assert every.complete
        assert len(every) == len(twin.boxes)
        counts.add(len(every))
    assert len(counts) >= 3


@pytest.mark.parametrize("w", [1.0, -1.0, 1.0 + 1e-15])
def test_pitchfork_and_flip(w: float) -> None:
    every = enumerate_fixed_points(EchoStateNetwork([[w]]))
    if w < 0.0:
        # The fixed point is a regular one; its multiplier -1 is on the unit circle.
        assert every.complete
        assert len(every) == 1
        assert every[0].n_unstable is None
        assert every[0].hyperbolic is None
        assert "unit circle" in every[0].reason
        assert enumerate_fixed_points(EchoStateNetwork([[w]], leak_rate=0.999))[0].stable
    else:
        assert not every.complete
        assert len(every) == 0
        assert in_undecided(every, np.zeros(1))
        assert "undecided" not in every.reason
        assert "could not be decided" in every.reason


def test_continua_are_not_called_complete() -> None:
    for network in (
        EchoStateNetwork([[1.0]], activation="hard_tanh"),
        EchoStateNetwork([[1.0]], activation="relu"),
        EchoStateNetwork([[1.0]], activation="identity"),
        EchoStateNetwork(np.eye(2), activation="hard_tanh"),
    ):
        every = enumerate_fixed_points(network, max_boxes=3000)
        assert not every.complete
        assert len(every) == 0
        assert every.reason
    # Ring attractor of hard_tanh units: a whole segment of states solves it.
    every = enumerate_fixed_points(
        EchoStateNetwork([[0.5, 0.5], [0.5, 0.5]], activation="hard_tanh"), max_boxes=3000
    )
    assert not every.complete


def test_affine_map() -> None:
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((5, 5)), rng.standard_normal(5)
    every = enumerate_fixed_points(EchoStateNetwork(W, b=b, activation="identity"))
    assert every.complete
    assert every.method == "affine"
    point = every[0]
    np.testing.assert_allclose(point.x, np.linalg.solve(np.eye(5) - W, b), atol=1e-12)
    assert point.index == np.sign(np.linalg.det(np.eye(5) - W))
    assert point.uniqueness_radius == math.inf
    assert point.n_unstable == np.sum(np.abs(np.linalg.eigvals(W)) > 1.0)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_relu_against_all_patterns(seed: int) -> None:
    """Every set of active units has one affine map: its solution counts when its signs fit."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    W, b = 1.3 * rng.standard_normal((n, n)), rng.standard_normal(n)
    count = 0
    for pattern in itertools.product((0.0, 1.0), repeat=n):
        D = np.array(pattern)
        x = np.linalg.solve(np.eye(n) - D[:, None] * W, D * b)
        count += bool(np.all((W @ x + b > 0.0) == (D > 0.0)))
    every = enumerate_fixed_points(EchoStateNetwork(W, b=b, activation="relu"))
    if every.complete:
        assert len(every) == count
    assert len(every) <= count
    check_points(EchoStateNetwork(W, b=b, activation="relu"), every)


# -- against the twins -----------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from(SMOOTH), st.integers(1, 3))
@settings(max_examples=12)
def test_against_naive_intervals(seed: int, name: str, n: int) -> None:
    rng = np.random.default_rng(seed)
    gain = {"tanh": 2.0, "logistic": 8.0, "erf": 2.0, "softsign": 3.0, "sine": 1.6}[name] / math.sqrt(n)
    network = EchoStateNetwork(
        gain * rng.standard_normal((n, n)), b=0.5 * rng.standard_normal(n), activation=name, leak_rate=0.7
    )
    every, twin = enumerate_fixed_points(network), naive_enumerate(network, max_boxes=1500)
    check_points(network, every)
    if every.complete and not twin.undecided:
        assert len(every) == len(twin.boxes)
    if not twin.undecided:
        assert len(every) <= len(twin.boxes)
    for box, sign in zip(twin.boxes, twin.signs, strict=True):
        x = np.array([float(side.mid()) for side in box])
        x = np.array([float(v) for v in precise_fixed_point(network, x, steps=10)])
        if every.complete:
            assert holding(every, x, 1e-15) == 1
            (p,) = (p for p in every if np.max(np.abs(p.x - x)) <= p.radius + 1e-15)
            assert sign in (0, p.index)
        else:
            assert holding(every, x) == 1 or in_undecided(every, x)


@pytest.mark.parametrize(("n", "r"), [(4, 4), (6, 6), (40, 2), (60, 3)])
def test_against_dense_multistart(n: int, r: int) -> None:
    rng = np.random.default_rng(n)
    for gain in (2.0, 4.0):
        network = low_rank(rng, n, r, gain)
        if r == n:
            network = EchoStateNetwork(gain / 1.3 * rng.standard_normal((n, n)) / math.sqrt(n), b=network.b)
        every = enumerate_fixed_points(network)
        assert every.complete
        assert every.rank == r
        check_points(network, every)
        for x in multistart(network, 150, rng):
            assert holding(every, x) == 1


@pytest.mark.slow
@pytest.mark.ci
def test_against_multistart_many_networks() -> None:
    rng = np.random.default_rng(7)
    total = 0
    for _ in range(60):
        n = int(rng.integers(2, 8))
        network = EchoStateNetwork(
            rng.uniform(0.5, 3.5) * rng.standard_normal((n, n)) / math.sqrt(n),
            b=0.3 * rng.standard_normal(n),
            activation=str(rng.choice(["tanh", "logistic", "erf", "softsign", "hard_tanh"])),
        )  # fmt: skip
        every = enumerate_fixed_points(network)
        check_points(network, every)
        for x in multistart(network, 200, rng):
            assert holding(every, x, 1e-7) == 1 or (not every.complete and in_undecided(every, x))
        total += len(every)
    assert total > 60


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-14, 1e-13])
def test_what_the_rank_leaves_out_is_enclosed(size: float) -> None:
    """W of rank 3 plus noise that the factorisation drops: the points are those of W, not of the factors."""
    rng = np.random.default_rng(3)
    n = 30
    base = low_rank(rng, n, 3, 3.0)
    network = EchoStateNetwork(base.W + size * rng.standard_normal((n, n)), b=base.b)
    every = enumerate_fixed_points(network)
    assert every.complete
    assert every.rank == 3
    assert len(every) >= 3
    for p in every:
        exact = np.array([float(v) for v in precise_fixed_point(network, p.x)])
        assert np.max(np.abs(exact - p.x)) <= p.radius + 2e-16
        assert p.radius < 1e-8


def test_inputs_and_affine_feedback() -> None:
    """The network as it is and its folded twin at the input have the same points, the leak different ones."""
    rng = np.random.default_rng(8)
    n = 30
    network = EchoStateNetwork(
        low_rank(rng, n, 1, 4.0).W, W_in=rng.standard_normal((n, 2)), b=0.1 * rng.standard_normal(n),
        leak_rate=0.3, W_fb=rng.standard_normal((n, 2)),
        readout=Readout(0.2 * rng.standard_normal((2, n)), b_out=[0.1, -0.2]),
    )  # fmt: skip
    u = np.array([0.3, -0.7])
    every = enumerate_fixed_points(network, u)
    assert every.complete
    assert every.rank == 3
    np.testing.assert_array_equal(every[0].u, u)
    check_points(network, every)
    for p in every:
        exact = np.array([float(v) for v in precise_fixed_point(network, p.x, u)])
        assert np.max(np.abs(exact - p.x)) <= p.radius + 2e-16
    folded = enumerate_fixed_points(network.at_input(u).folded())
    assert len(folded) == len(every)
    for x in multistart(network.at_input(u), 60, rng):
        assert holding(every, x) == 1
    uneven = EchoStateNetwork(
        network.W, W_in=network.W_in, b=network.b, leak_rate=rng.uniform(0.1, 1.0, n), W_fb=network.W_fb,
        readout=network.readout,
    )  # fmt: skip
    other = enumerate_fixed_points(uneven, u)
    check_points(uneven, other)
    assert [p.index for p in other] == [p.index for p in every] or len(other) == len(every)
    assert all(p.n_unstable is not None for p in other)


@pytest.mark.parametrize(
    "name",
    [
        "hard_tanh",
        pytest.param("sine", marks=pytest.mark.slow),
        pytest.param("tanh(2*x)*exp(-x**2/9)", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("Max(-1, Min(1, 2*x))*exp(-x**2/8)", marks=pytest.mark.slow),
    ],
)
def test_other_activations_and_sparse_weights(name: str) -> None:
    rng = np.random.default_rng(2)
    phi = Activation.named(name) if name in ("hard_tanh", "sine") else Activation.from_sympy(name)
    for n in (2, 5):
        W = scipy.sparse.random_array((n, n), density=0.7, rng=rng, data_sampler=rng.standard_normal) * 1.5
        network = EchoStateNetwork(W, b=0.4 * rng.standard_normal(n), activation=phi)
        every = enumerate_fixed_points(network)
        check_points(network, every)
        for x in multistart(network, 60, rng):
            assert holding(every, x) == 1 or in_undecided(every, x)


def test_unbounded_activations_only_with_a_bound() -> None:
    swish = Activation.from_sympy("x/(1 + exp(-x))")
    b = [0.5, -0.4]
    contracting = EchoStateNetwork([[0.3, 0.2], [-0.1, 0.4]], b=b, activation=swish)
    every = enumerate_fixed_points(contracting)
    assert every.complete
    assert len(every) == 1
    assert every[0].stable
    wild = enumerate_fixed_points(EchoStateNetwork([[3.0, 0.2], [-0.1, 0.4]], b=b, activation=swish))
    assert not wild.complete
    assert "unbounded" in wild.reason
    assert len(wild) == 0


# -- what may go wrong -----------------------------------------------------------------------------------


def test_limits_leave_the_rest_undecided() -> None:
    """Stopped early, every fixed point is listed or lies in an undecided box."""
    rng = np.random.default_rng(5)
    network = EchoStateNetwork(
        3.0 * rng.standard_normal((6, 6)) / math.sqrt(6), b=0.1 * rng.standard_normal(6)
    )
    whole = enumerate_fixed_points(network)
    assert whole.complete
    for limit in (1, 10, 100):
        part = enumerate_fixed_points(network, max_boxes=limit)
        assert not part.complete
        assert part.n_boxes <= limit
        assert "stopped after" in part.reason
        for p in whole:
            assert holding(part, p.x) == 1 or in_undecided(part, p.x)
    large = EchoStateNetwork(rng.standard_normal((9, 9)))
    part = enumerate_fixed_points(large, budget=1e-9)
    assert not part.complete
    assert part.reason == "stopped after 1e-09 s"


def test_high_rank_is_declined() -> None:
    rng = np.random.default_rng(0)
    every = enumerate_fixed_points(EchoStateNetwork(rng.standard_normal((60, 60))))
    assert not every.complete
    assert every.method == "none"
    assert "rank above" in every.reason
    squares = Readout(np.ones((1, 4)), W_sq=np.ones((1, 4)))
    every = enumerate_fixed_points(EchoStateNetwork(np.eye(4), W_fb=np.ones((4, 1)), readout=squares))
    assert "squares" in every.reason
    steep = EchoStateNetwork([[0.5]], activation=Activation.from_sympy("tanh(10**200*x)"))
    assert "slope" in enumerate_fixed_points(steep).reason


def test_progress_is_told() -> None:
    told: list[float] = []
    enumerate_fixed_points(block_flip_flop(4), progress=lambda label, fraction: told.append(fraction))
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(told))


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda n: enumerate_fixed_points(n), "u"),
        (lambda n: enumerate_fixed_points(n, [1.0, 2.0]), "u"),
        (lambda n: enumerate_fixed_points(n, [math.nan]), "u"),
        (lambda n: enumerate_fixed_points(n, [1.0], max_boxes=0), "max_boxes"),
        (lambda n: enumerate_fixed_points(n, [1.0], budget=-1.0), "budget"),
        (lambda n: enumerate_fixed_points(n, [1.0], budget=True), "budget"),
        (lambda n: enumerate_fixed_points(n, [1.0], max_boxes="many"), "max_boxes"),
        (lambda n: certify_fixed_point(n, [0.0, 0.0]), "u"),
        (lambda n: certify_fixed_point(n, [0.0], [1.0]), "x"),
        (lambda n: certify_fixed_point(n, [0.0, math.inf], [1.0]), "x"),
        (lambda n: certify_fixed_point(n.at_input([1.0]), [0.0, 0.0], [1.0]), "u"),
    ],
)
def test_bad_input(call: Any, place: str) -> None:
    network = EchoStateNetwork(np.eye(2), W_in=np.ones((2, 1)))
    with pytest.raises(InvalidInputError) as caught:
        call(network)
    assert caught.value.place.startswith(place)
    assert caught.value.rule


# -- larger ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
@threadpool_limits.wrap(limits=1)
def test_rank_four_and_eight_units() -> None:
    rng = np.random.default_rng(0)
    network = low_rank(rng, 250, 4, 2.0)
    every = enumerate_fixed_points(network)
    assert every.complete
    assert (every.rank, every.index_sum) == (4, 1)
    assert len(every) > 1
    for p in every.points[::6]:
        full = certify_fixed_point(network, p.x)
        assert isinstance(full, CertifiedFixedPoint)
        assert np.max(np.abs(full.x - p.x)) <= full.radius + p.radius
        assert (full.index, full.n_unstable) == (p.index, p.n_unstable)
    for n in (6, 8):
        for _ in range(2):
            network = EchoStateNetwork(
                2.5 * rng.standard_normal((n, n)) / math.sqrt(n), b=0.1 * rng.standard_normal(n)
            )
            every = enumerate_fixed_points(network)
            assert every.complete
            check_points(network, every)
            for x in multistart(network, 100, rng):
                assert holding(every, x) == 1


@pytest.mark.slow
def test_81_points_of_four_blocks() -> None:
    network = EchoStateNetwork(np.kron(np.eye(4), np.full((125, 125), 1.5 / 125)))
    every = enumerate_fixed_points(network)
    assert every.complete
    assert len(every) == 81
    assert [sum(p.n_unstable == k for p in every) for k in range(5)] == [16, 32, 24, 8, 1]


@pytest.mark.parametrize("seed", [18, 32])
def test_every_point_is_enclosed_as_far_as_rounding_allows(seed: int) -> None:
    """Slopes enclosed cell by cell let a proved box shrink slowly; it must not stay as large as it was."""
    W = np.random.default_rng(seed).normal(0.0, 4.0, (2, 2))
    network = EchoStateNetwork(W, activation=Activation.from_sympy("sin(3*x)/2"))
    every = enumerate_fixed_points(network)
    assert every.complete
    assert len(every) == {18: 17, 32: 13}[seed]
    assert max(p.radius for p in every) < 1e-13
    assert all(p.n_unstable is not None for p in every)
    check_points(network, every)


def test_boxes_that_cannot_be_told_apart_are_left_undecided() -> None:
    box = np.array([[0.0, 0.0], [1.0, 1.0]])
    alone = np.array([[0.5, 0.5], [0.6, 0.6]])
    near = np.array([[0.9, 0.9], [1.3, 1.3]]), np.array([[1.1, 1.1], [0.3, 0.3]])
    inside = np.array([[0.2, 0.2], [0.4, 0.4]]), np.array([[0.3, 0.3], [0.2, 0.2]])
    far = np.array([[2.0, 0.0], [3.0, 1.0]]), np.array([[2.5, 0.5], [0.6, 0.6]])
    tight, wide = (np.array(part) for part in zip((box, alone), near, inside, far, strict=True))
    assert _distinct(tight, wide) == ([0, 3], [1])


def test_weights_of_very_different_sizes_are_not_neglected() -> None:
    """The least weight is lost in two coordinates; its unit then is a blur, and nothing wrong is said."""
    every = enumerate_fixed_points(EchoStateNetwork(np.diag([1e9, 2.0, 1e-9]), activation="hard_tanh"))
    for x in itertools.product((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (0.0,)):
        assert holding(every, np.array(x)) == 1 or in_undecided(every, np.array(x))
    every = enumerate_fixed_points(EchoStateNetwork(np.diag([1e20, 2.0, 1e-20]), activation="hard_tanh"))
    assert not every.complete
    assert "leaves out of W" in every.reason
