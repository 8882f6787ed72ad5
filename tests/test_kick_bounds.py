"""Proved bounds of kicks and pulses: enclosures against 60 digits, basins that are known, adversaries."""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
from naive_kick_bounds import (
    goes_to,
    member,
    precise,
    precise_step,
    slack,
    smallest_leaving_kick,
    unit_basin,
)

from esntools.errors import InvalidInputError
from esntools.excitable.bounds import bound_kicks, bound_pulses
from esntools.excitable.bounds.cells import Cell, ProvedMap, Push, shares
from esntools.excitable.bounds.slopes import ERROR, PROVED, bend_range, values
from esntools.excitable.bounds.wells import Well, find_well
from esntools.fixed_points import find_fixed_points
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"
PULSES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

#: The stable point of tanh(1.5 m) = m.
M = 0.8585596366401103


def fixture() -> tuple[EchoStateNetwork, np.ndarray]:
    with np.load(FIXTURE) as data:
        network = EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip
    return network, settled(network, network.n_inputs)


def settled(network: EchoStateNetwork, n_inputs: int = 0, seed: int = 0) -> np.ndarray:
    """The stable fixed points at zero input that random states go to, sorted by the first output or unit."""
    quiet = network.at_input(np.zeros(n_inputs)) if n_inputs else network
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (64, network.n_units))
    for _ in range(4000):
        x = quiet.step(x)
    distinct: list[np.ndarray] = []
    for row in x:
        if all(np.max(np.abs(row - other)) > 1e-6 for other in distinct):
            distinct.append(row)
    key = [float(row[0] if network.readout is None else network.output(row)[0]) for row in distinct]
    return np.array([distinct[k] for k in np.argsort(key)])


def random_network(rng: np.random.Generator, n: int, scale: float) -> EchoStateNetwork:
    readout, W_fb = None, None
    if rng.random() < 0.5:
        readout = Readout(scale * rng.standard_normal((2, n)), b_out=rng.standard_normal(2))
        W_fb = rng.standard_normal((n, 2))
    return EchoStateNetwork(
        scale * rng.standard_normal((n, n)), W_in=scale * rng.standard_normal((n, 2)),
        b=scale * rng.standard_normal(n), leak_rate=rng.uniform(0.01, 1.0, n),
        activation=str(rng.choice(["tanh", "logistic"])), readout=readout, W_fb=W_fb,
    )  # fmt: skip


# -- the pieces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PROVED))
def test_values_and_bends_against_60_digits(name: str) -> None:
    rng = np.random.default_rng(1)
    z = np.concatenate([
        [0.0, -0.0, 1e-300, -1e-20, 349.9, -350.0, 351.0, 1e4, -1e15, 0.6584789484624084],
        rng.uniform(-3.0, 3.0, 60), rng.uniform(-40.0, 40.0, 30), 10.0 ** rng.uniform(-12.0, 3.0, 20),
    ])  # fmt: skip
    found = values(name, z)
    w = np.abs(z) * rng.choice([0.0, 1e-9, 0.3, 2.0], len(z)) + rng.choice([0.0, 1e-6, 0.5], len(z))
    bound = bend_range(name, z, w)
    with mpmath.workdps(60):
        scale, offset, factor = (mpmath.mpf(v) for v in PROVED[name])

        def third(v: float | mpmath.mpf) -> mpmath.mpf:
            t = mpmath.tanh(scale * mpmath.mpf(v))
            return factor * scale**3 * (1 - t * t) * (6 * t * t - 2)

        for k, v in enumerate(z):
            t = mpmath.tanh(scale * mpmath.mpf(float(v)))
            s = 1 - t * t
            exact = (offset + factor * t, factor * scale * s, -factor * scale**2 * t * s)
            for value, true in zip(found, exact, strict=True):
                assert abs(mpmath.mpf(float(value[k])) - true) < ERROR / 4
            for part in np.linspace(-1.0, 1.0, 41):
                assert (
                    abs(third(mpmath.mpf(float(v)) + mpmath.mpf(float(part)) * mpmath.mpf(w[k]))) <= bound[k]
                )
    logistic = mpmath.mpf(1) / (1 + mpmath.exp(-mpmath.mpf("0.3")))
    assert abs(values("logistic", np.array([0.3]))[0][0] - float(logistic)) < ERROR


def test_weights_of_sums_of_ellipsoids() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        sizes = (10.0 ** rng.uniform(-320.0, 40.0, int(rng.integers(1, 9)))).tolist()
        sizes[0] *= float(rng.choice([0.0, 1.0, -1.0]))
        assert sum(1 / mpmath.mpf(p) for p in shares(sizes)) <= 1


@pytest.mark.parametrize("seed", range(12))
def test_one_step_encloses_all_images(seed: int) -> None:
    """States of cells of any size, in networks of any weights, mapped in 60 digits."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    network = random_network(rng, n, float(10.0 ** rng.uniform(-2.0, 1.5)))
    u = rng.uniform(-1.0, 1.0, 2)
    proved = ProvedMap(network, u)
    size = float(10.0 ** rng.uniform(-9.0, 0.3))
    d = int(rng.integers(0, 4))
    root = rng.standard_normal((n, n)) * 10.0 ** rng.uniform(-4.0, 0.0, n)
    cell = Cell(rng.uniform(-1.0, 1.0, n), size * rng.standard_normal((n, d)), size**2 * (root @ root.T))
    # The shape that is enclosed is the double matrix; a square must not be a little indefinite.
    cell.S[np.diag_indices(n)] += 1e-12 * float(np.trace(cell.S))
    after, w = proved.step(cell, np.diag(rng.uniform(0.1, 10.0, n)))
    directions = np.vstack([np.eye(n), rng.standard_normal((6, n)), np.linalg.eigh(after.S)[1].T])
    tightest = math.inf
    for k in range(25):
        x = member(cell, rng, edge=k > 5)
        assert slack(after, precise_step(network, x, precise(u)), directions) >= 0.0
        with mpmath.workdps(60):
            moved = precise(network.dense_W()) @ (x - precise(cell.c))
            if network.W_fb is not None and network.readout is not None:
                moved = moved + precise(network.W_fb) @ (
                    precise(network.readout.W_out) @ (x - precise(cell.c))
                )
            tightest = min(tightest, *(float(b) - float(abs(v)) for b, v in zip(w, moved, strict=True)))
    assert tightest >= 0.0


@pytest.mark.parametrize("seed", range(3))
def test_the_image_of_one_state_is_enclosed_with_its_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 4
    network = random_network(rng, n, 3.0)
    c = rng.uniform(-1.0, 1.0, n)
    after, _ = ProvedMap(network, np.zeros(2)).step(Cell(c, np.zeros((n, 0)), np.zeros((n, n))), np.eye(n))
    image = precise_step(network, precise(c))
    assert slack(after, image, np.vstack([np.eye(n), rng.standard_normal((20, n))])) > 0.0
    assert 0.0 < float(np.trace(after.S)) < 1e-22


def test_the_cubic_rest_of_one_unit_is_bounded_and_hardly_more() -> None:
    """At z = 0 the rest of tanh is v^3/3 to first order: the bound is that and a little."""
    proved = ProvedMap(EchoStateNetwork([[1.0]]), np.zeros(0))
    for w in (1e-3, 0.05, 0.2):
        _, rest = proved.bent(np.zeros(1), np.zeros(1), np.zeros(1), np.array([w]), np.array([[w * w]]))
        true = w - math.tanh(w)
        assert true < math.sqrt(rest[0]) < 1.05 * true + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_pulses_of_all_amplitudes_are_enclosed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 4
    network = random_network(rng, n, 1.0)
    proved = ProvedMap(network, np.zeros(2))
    v, low, high = rng.standard_normal(2), 0.3, 0.3 + 10.0 ** -float(seed)
    w = network.W_in @ v
    room = np.full(n, 1e-14)
    middle, half = 0.5 * (low + high), 0.5 * (high - low) * (1.0 + 1e-15)
    push = Push(middle * w, room, half * w, room)
    start = Cell(rng.uniform(-1.0, 1.0, n), np.zeros((n, 1)), 1e-24 * np.eye(n))
    one, _ = proved.step(start, np.eye(n), push)
    two, _ = proved.step(one, np.eye(n), push)
    directions = np.vstack([np.eye(n), rng.standard_normal((6, n)), np.linalg.eigh(two.S)[1].T])
    for g in np.linspace(low, high, 9):
        x = precise(start.c)
        for cell in (one, two):
            x = precise_step(network, x, precise(g * v))
            assert slack(cell, x, directions) >= 0.0


@pytest.mark.parametrize("seed", range(6))
def test_wells_contract(seed: int) -> None:
    """Every state on the boundary of a well is mapped well into it, and so are those of smaller copies."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    network = random_network(rng, n, 0.8 / math.sqrt(n))
    u = rng.standard_normal(2)
    still = network.at_input(u)
    x = np.zeros(n)
    for _ in range(3000):
        x = still.step(x)
    well = find_well(network, ProvedMap(network, u), x, u)
    if isinstance(well, str):
        pytest.fail(well)
    assert np.linalg.norm(x - well.x) < 1e-6
    directions = np.vstack([np.eye(n), rng.standard_normal((8, n)), np.linalg.eigh(well.S)[1].T])
    for scale in (1.0, 0.3, 1e-3):
        shape = Cell(well.x, np.zeros((n, 0)), scale**2 * well.S)
        for _ in range(4):
            image = precise_step(network, member(shape, rng), precise(u))
            assert slack(shape, image, directions) > -2.0 * well.error


def test_a_well_holds_only_what_is_in_it() -> None:
    """Cells that reach beyond the ellipsoid by 1e-6 in one direction are refused, smaller ones accepted."""
    rng = np.random.default_rng(3)
    n = 3
    root = rng.standard_normal((n, n))
    S = root @ root.T + 0.1 * np.eye(n)
    well = Well(np.zeros(n), 0.0, S, np.linalg.inv(S), np.eye(n))
    none = np.zeros((n, 0))
    values_S, vectors = np.linalg.eigh(S)
    for k in range(n):
        axis = vectors[:, k] * math.sqrt(values_S[k])
        assert well.holds(Cell(0.999 * axis, none, 1e-20 * np.eye(n)))
        assert not well.holds(Cell(1.000001 * axis, none, 1e-20 * np.eye(n)))
        assert well.holds(Cell(np.zeros(n), 0.999 * axis[:, None], 1e-20 * np.eye(n)))
        assert not well.holds(Cell(0.5 * axis, 0.500001 * axis[:, None], 1e-20 * np.eye(n)))
    assert not well.holds(Cell(np.zeros(n), none, (1.0 + 1e-9) * S))
    assert not well.holds(Cell(np.zeros(n), none, np.full((n, n), np.nan)))


# -- basins that are known ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("w", "b", "a", "start"),
    [
        (1.5, 0.05, 0.3, -0.8),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (
            (1.5, 0.0, 1.0, -0.9), (5.0, 0.3, 1.0, -0.99), (40.0, 0.0, 0.02, -1.0), (1.01, 0.0, 1.0, -0.17),
            (2.0, -0.45, 0.7, -0.98),
        )),
    ],
)  # fmt: skip
def test_single_units_against_their_basins(w: float, b: float, a: float, start: float) -> None:
    unit = EchoStateNetwork([[w]], W_in=[[0.7]], b=[b], leak_rate=a)
    distance, amplitude = unit_basin(w, b, a, start, 0.7)
    x = np.array([start])
    for _ in range(20000):
        x = unit.step(x, np.zeros(1))
    other = np.array([0.99])
    for _ in range(20000):
        other = unit.step(other, np.zeros(1))
    radius = bound_kicks(unit, [x], tolerance=0.05).radii[0]
    assert radius <= distance - 1e-12
    if w > 1.1:
        assert radius > 0.9 * distance
    pulses = bound_pulses(unit, [x, other], [[1.0]], upper=min(2.0 * amplitude, 50.0))
    assert pulses.lower[0, 0] < min(amplitude, 50.0) + 1e-12
    if amplitude < 50.0:
        # At w = 1.01 runs next to the boundary come nearer too slowly to be followed to their end.
        assert pulses.lower[0, 0] > (0.99 if w > 1.1 else 0.9) * amplitude
    assert pulses.to_target(0, 0, 1) == pulses.lower[0, 0]


@pytest.mark.parametrize("w", [1.0, 0.999999999999, 1.000000001])
def test_next_to_a_bifurcation_little_or_nothing_is_claimed(w: float) -> None:
    """The distance to the unstable points is sqrt(3 (w - 1)); at w <= 1 everything goes to 0."""
    unit = EchoStateNetwork([[w]])
    bounds = bound_kicks(unit, [[math.sqrt(max(3.0 * (w - 1.0), 0.0))], [0.0]])
    assert bounds.radii[0] <= (math.inf if w < 1.0 else math.sqrt(3.0 * (w - 1.0)) * 1.0001)
    if w >= 1.0:
        assert bounds.radii[1] == 0.0
        assert bounds.reasons[1]


def test_two_bits_and_a_subspace() -> None:
    """Basins are the quadrants: a ball of radius M, and along the diagonal away from a corner all kicks."""
    bits = EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2))
    corner = [M, M]
    free = bound_kicks(bits, [corner], tolerance=0.1)
    assert 0.8 * M < free.radii[0] < M
    diagonal = bound_kicks(bits, [corner], subspaces=[[[1.0], [1.0]]], tolerance=0.05)
    assert 0.9 * M * math.sqrt(2.0) < diagonal.radii[0] < M * math.sqrt(2.0)
    assert free.errors[0] < 1e-13
    corners = [[sx * M, sy * M] for sx in (-1.0, 1.0) for sy in (-1.0, 1.0)]
    pulses = bound_pulses(bits, corners, PULSES[:2], upper=3.0, tolerance=4e-3)
    exact = 1.5 * M
    for k, (sx, _) in enumerate(corners):
        for p, v in enumerate((1.0, -1.0)):
            expected = exact if sx * v < 0.0 else 3.0
            assert 0.98 * expected < pulses.lower[k, p] <= expected


def test_designed_cycle_of_three_vertices() -> None:
    """Closed forms: the smallest kick is gap(p) / |W_k| = 0.028484, with gap(.29) = 0.0769394.

    A pulse g on the input of the next unit lifts its drive for one step, so a (s(y + g) - s(y)) must be the
    kick of x_k that the self-weight 1 asks for.
    """
    p, b, c, epsilon = 0.29, 0.6, 1.4, 0.05
    W = np.full((3, 3), -c) + (1.0 + c) * np.eye(3)
    for j in range(3):
        k = (j + 1) % 3
        W[k, j], W[j, k] = p - b, -2.0 * c - (p - b)
    network = EchoStateNetwork(
        W / epsilon, W_in=np.eye(3) / epsilon, b=np.full(3, (b - 0.5) / epsilon), leak_rate=0.25,
        activation="logistic",
    )  # fmt: skip
    x = np.eye(3)
    for _ in range(2000):
        x = network.step(x, np.zeros(3))
    y_low, gap = 0.3133722981, 0.0769394
    exact = gap / float(np.linalg.norm(W[1]))
    radius = bound_kicks(network, x[:1], tolerance=0.2, upper=[exact]).radii[0]
    assert 0.75 * exact < radius < exact
    s = 1.0 / (1.0 + math.exp(-(y_low - 0.5) / epsilon))
    lifted = s + gap / 0.25
    pulse = epsilon * math.log(lifted / (1.0 - lifted)) + 0.5 - y_low
    bounds = bound_pulses(network, x[:1], [[0.0, 1.0, 0.0]], upper=0.3)
    assert 0.99 * pulse < bounds.lower[0, 0] < pulse * (1.0 + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_adversaries_find_no_kick_below_the_bound(seed: int) -> None:
    """Random networks with several attractors, non-normal ones among them."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    W = (
        1.5 * np.eye(n)
        + 0.35 * rng.standard_normal((n, n))
        + 1.5 * np.triu(rng.standard_normal((n, n)), 1) / n
    )
    network = EchoStateNetwork(
        W, b=0.1 * rng.standard_normal(n), leak_rate=rng.uniform(0.3, 1.0, n),
        activation="tanh",
    )  # fmt: skip
    points = np.array([p.x for p in find_fixed_points(network, rng=0) if p.stable])
    if len(points) < 2:
        pytest.skip("one attractor only")
    points = points[:3]
    bounds = bound_kicks(network, points, max_cells=60, tolerance=0.2)
    everything = np.array([p.x for p in find_fixed_points(network, rng=0) if p.stable])
    for k in range(len(points)):
        found = smallest_leaving_kick(network, everything, k, rng, n_starts=16)
        assert bounds.radii[k] < found
        assert bounds.radii[k] > 0.0


# -- the published fixture ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_published_fixture_pulse() -> None:
    """The threshold found by bisection of the map is 0.7852 (point 1, first pulse)."""
    network, X = fixture()
    assert len(X) == 6
    bounds = bound_pulses(network, X[[1]], PULSES[[0]], upper=0.9)
    assert 0.95 * 0.7852 < bounds.lower[0, 0] < 0.7852
    assert [part.destinations for part in bounds.intervals[0][0]] == [(0,)]


@pytest.mark.slow
def test_published_fixture_pulses() -> None:
    """Smallest pulses that leave points 0, 1, 2, found by bisection of the map."""
    network, X = fixture()
    bounds = bound_pulses(network, X[:3], PULSES[[0]], upper=1.0)
    found = np.array([0.3798, 0.7852, 0.2375])
    assert np.all(bounds.lower[:, 0] <= found)
    assert np.all(bounds.lower[:, 0] > 0.95 * found)


@pytest.mark.slow
@pytest.mark.ci
def test_published_fixture_kicks() -> None:
    """Found thresholds: 0.1273 (0), 0.3181 (1), 0.0967 (2); x -> -x is a symmetry."""
    network, X = fixture()
    bounds = bound_kicks(network, X[:3], upper=[0.1273, 0.3181, 0.0967], max_cells=30, tolerance=0.4)
    assert np.all(bounds.radii > [0.03, 0.04, 0.01])
    assert np.all(bounds.radii < [0.1273, 0.3181, 0.0967])
    # Kicks of that size in the directions that are amplified most come back.
    for x, r in zip(X[:3], bounds.radii, strict=True):
        J = network.at_input(np.zeros(2)).jacobian(x)
        d = np.linalg.svd(np.linalg.matrix_power(J, 20))[2][0]
        home = int(np.argmin(np.linalg.norm(X - x, axis=1)))
        for sign in (1.0, -1.0):
            assert goes_to(network.at_input(np.zeros(2)), x + sign * r * d, X) == home


# -- what cannot be proved, and bad input -------------------------------------------------------------------


def test_reasons_instead_of_bounds() -> None:
    for network, word in (
        (EchoStateNetwork([[0.5]], activation="relu"), "relu"),
        (
            EchoStateNetwork(
                [[0.5]], readout=Readout([[1.0]], W_sq=[[1.0]]), W_fb=[[0.1]],
            ),
            "squares",
        ),
        (EchoStateNetwork([[1e16]]), "weight"),
    ):  # fmt: skip
        bounds = bound_kicks(network, [[0.0]])
        assert bounds.radii[0] == 0.0
        assert word in bounds.reasons[0]
        assert np.isinf(bounds.errors[0])
    # Unstable points, and states that are no fixed point.
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    bounds = bound_kicks(bit, [[0.0], [0.5]])
    assert np.all(bounds.radii == 0.0)
    assert all(bounds.reasons)
    pulses = bound_pulses(bit, [[0.0]], [[1.0]])
    assert pulses.lower[0, 0] == 0.0
    assert pulses.intervals[0][0] == ()
    assert pulses.reasons[0][0]
    # No time: nothing is claimed that was not proved.
    hasty = bound_pulses(bit, [[M]], [[-1.0]], budget=1e-9)
    assert hasty.lower[0, 0] == 0.0
    assert "budget" in hasty.reasons[0][0]
    assert bound_kicks(bit, []).radii.shape == (0,)


def test_wrong_arguments() -> None:
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="points"):
        bound_kicks(bit, [[0.0, 1.0]])
    with pytest.raises(InvalidInputError, match="subspaces"):
        bound_kicks(bit, [[M]], subspaces=[])
    with pytest.raises(InvalidInputError, match="independent"):
        bound_kicks(EchoStateNetwork(np.eye(2)), [[0.0, 0.0]], subspaces=[np.ones((2, 2))])
    with pytest.raises(InvalidInputError, match="upper"):
        bound_kicks(bit, [[M]], upper=[-1.0])
    with pytest.raises(InvalidInputError, match="pulses"):
        bound_pulses(bit, [[M]], [[1.0, 2.0]])
    with pytest.raises(InvalidInputError, match="pulses"):
        bound_pulses(bit, [[M]], [[math.nan]])
    with pytest.raises(InvalidInputError, match="upper"):
        bound_pulses(bit, [[M]], [[1.0]], upper=0.0)
    with pytest.raises(InvalidInputError, match="pulse_length"):
        bound_pulses(bit, [[M]], [[1.0]], pulse_length=0)
