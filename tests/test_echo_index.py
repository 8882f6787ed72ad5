"""The echo index: the two switching neurons, exact dwell times, proofs against brute force, and refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from naive_echo_index import (
    authors_count,
    leaky_tanh,
    naive_attracting,
    naive_fixed_points,
    naive_shortest,
    word_map,
)

from esntools._typing import FloatArray
from esntools.certificates import check_certificate
from esntools.echo_index import (
    DwellTimes,
    EchoIndex,
    PeriodicInput,
    SwitchingInput,
    dwell_time_table,
    estimate_echo_index,
)
from esntools.echo_index.bounds import proved_bounds
from esntools.echo_index.dwell import contracts, rest_points, survives
from esntools.echo_index.reduction import coordinates
from esntools.echo_index.responses import leading_exponents, make_starts, pullback, trajectories
from esntools.echo_index.runs import nothing_between
from esntools.echo_index.scalar import at_most, leaves_gap, regions, word_responses
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputSignal, Zero
from esntools.network import EchoStateNetwork, Readout

A, B = (0.25, 0.05), (-0.25, -0.5)
SYMBOLS = np.array([A, B])
#: m*(M) for M = 1 .. 26; none from 27 on.
STAIRCASE = (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 8, 9, 10, 11, 12, 13, 15, 17, 19, 22, 26, 33)
U_C = 0.36224430525275453


def two_neurons() -> EchoStateNetwork:
    return EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2), leak_rate=0.25)


def unit_two() -> Any:
    (c,) = coordinates(two_neurons())
    return c


@pytest.fixture(scope="module")
def table() -> DwellTimes:
    return dwell_time_table(two_neurons(), SYMBOLS)


def quick(network: EchoStateNetwork, inputs: Any, **more: Any) -> EchoIndex:
    return estimate_echo_index(network, inputs, **({"n_starts": 48, "max_past": 512, "resolution": 9} | more))


# -- the two switching neurons ---------------------------------------------------------------------------


def test_rest_points_and_multipliers() -> None:
    c = unit_two()
    points = rest_points(c.under(SYMBOLS[0]))
    assert points is not None
    known = (-0.9135820965863708, -0.06679949844294614, 0.9332809526378179)
    slopes = (0.8223484, 1.1855478, 0.8064317)
    for p, x, s in zip(points, known, slopes, strict=True):
        assert p.low <= x <= p.high or min(abs(p.low - x), abs(p.high - x)) < 1e-15
        assert p.high - p.low < 1e-12
        assert p.stable == (s < 1.0)
        least, most = c.under(SYMBOLS[0]).slopes(p.low, p.high)
        assert least - 1e-7 < s < most + 1e-7
    (only,) = rest_points(c.under(SYMBOLS[1])) or ()
    assert only.low == pytest.approx(-0.9761346724242937, abs=1e-12)
    # tanh(w y + u) = y there, so that the slope is 1 - a + a w (1 - y^2).
    slope = 0.75 + 0.25 * 1.75 * (1.0 - 0.9761346724242937**2)
    assert c.under(SYMBOLS[1]).slopes(only.low, only.high)[1] == pytest.approx(slope, abs=1e-12)


def test_the_staircase_is_exact(table: DwellTimes) -> None:
    assert table.shortest == (*STAIRCASE, None)
    assert table.status == ("proved",) * 26 + ("none",)
    assert (table.longest, table.n_responses, table.hold) == (26, 2, 0)
    assert table.responses(33, 26) == 2
    assert table.responses(32, 26) == 1
    assert table.responses(10**6, 27) == 1
    assert "27 or more" in table.sentence


def test_the_sentence_says_no_more_than_the_table() -> None:
    network = EchoStateNetwork(np.diag([1.75, 3.0]), W_in=[[1.0], [0.0]], leak_rate=0.25)
    table = dwell_time_table(network, [[0.05], [-0.5]], unit=0, max_length=3)
    assert table.shortest == (1, 1, 2)
    # The other unit keeps its own two responses, so that the network never has fewer than two.
    assert "responses of unit 0, and one step less is too few where that leaves any." in table.sentence
    table = dwell_time_table(network, [[0.05], [-0.5]], unit=1, max_length=3)
    assert table.sentence.endswith("last at most 1 to 3 steps has at least 2 attracting responses of unit 1.")
    undecided = replace(table, shortest=(None,), status=("undecided",), longest=None, reason="none found")
    assert undecided.sentence == "Nothing is proved: none found."
    erased = replace(table, shortest=(None,), status=("none",), longest=0)
    assert (
        erased.sentence == "Proved: runs of one step or more erase a response, however long the others last."
    )


def test_steps_of_erasure(table: DwellTimes) -> None:
    """Twenty-seven steps of B carry the upper point over the boundary, twenty-six do not."""
    assert table.escape_steps[1, 1, 0] == 27.0
    assert np.all(np.isinf(np.delete(table.escape_steps.ravel(), 6)))
    y = 0.9332809526378179
    for k in range(1, 28):
        y = leaky_tanh(0.25, 1.75, -0.5)(y)
        assert (y < -0.06679949844294614) == (k == 27)


@pytest.mark.parametrize("M", [1, 5, *(pytest.param(k, marks=pytest.mark.slow) for k in (14, 21, 25))])
def test_the_staircase_against_single_orbits(M: int, table: DwellTimes) -> None:
    hold, other = leaky_tanh(0.25, 1.75, 0.05), leaky_tanh(0.25, 1.75, -0.5)
    assert table.shortest[M - 1] == naive_shortest(hold, [other], M)


@pytest.mark.parametrize(
    ("m", "M", "count"),
    [
        (3, 5, 2),
        (2, 5, 1),
        pytest.param(33, 26, 2, marks=pytest.mark.slow),
        pytest.param(32, 26, 1, marks=pytest.mark.slow),
        pytest.param(40, 27, 1, marks=pytest.mark.slow),
    ],
)
def test_worst_words_one_by_one(m: int, M: int, count: int) -> None:
    """The exact number of responses to A^m B^M, by interval arithmetic and by a fine grid."""
    word = np.repeat(SYMBOLS, [m, M], axis=0)
    assert word_responses(unit_two(), word) == count
    maps = [leaky_tanh(0.25, 1.75, u[1]) for u in word]
    assert naive_attracting(word_map(maps)) == count


def test_the_fold_in_the_input() -> None:
    """Two responses are proved for every input below u_c in modulus, and no longer just above it."""
    c = unit_two()
    s = math.sqrt(1.0 - 1.0 / 1.75)
    assert 1.75 * s - math.atanh(s) == pytest.approx(U_C, abs=1e-15)
    for r, n in ((U_C - 1e-5, 2), (U_C + 1e-5, 0)):
        low, high = np.array([-1.0, -r]), np.array([1.0, r])
        starts = [c.under(np.array([0.0, u])) for u in (-r, 0.0, r)]
        assert len(regions(c.within(low, high), starts)) == n
        points = rest_points(c.under(np.array([0.0, r])))
        assert points is not None
        assert len(points) == (3 if n else 1)


@pytest.mark.parametrize(
    ("inputs", "lower", "upper"),
    [
        (InputBox([-1.0, -0.2], [1.0, 0.2]), 2, 2),
        pytest.param(InputBox([-1.0, -0.36], [1.0, 0.36]), 2, 2, marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param(InputBox([-1.0, -0.37], [1.0, 0.37]), 0, None, marks=pytest.mark.slow),
        (Constant([0.0, 0.37]), 1, 1),
        (InputBox([-1.0, 2.54], [1.0, 3.0]), 1, 1),
        (Constant(A), 2, 2),
        (Constant(B), 1, 1),
        (PeriodicInput(np.repeat(SYMBOLS, [10, 5], axis=0)), 2, 2),
        (PeriodicInput(np.repeat(SYMBOLS, [2, 5], axis=0)), 1, 1),
        (SwitchingInput(SYMBOLS, min_length=[3, 1], max_length=[None, 5]), 2, 2),
    ],
)
def test_proved_ends(inputs: Any, lower: int, upper: int | None) -> None:
    bounds = proved_bounds(two_neurons(), inputs, points=[])
    assert (bounds.lower, bounds.upper) == (lower, upper)


def test_an_almost_sure_index_below_the_count() -> None:
    """Fair coins bring 27 B in a row at last, but not within any past that a simulation covers."""
    index = quick(two_neurons(), InputAlphabet(SYMBOLS))
    assert index.verdict == "proved almost surely"
    assert (index.estimate, index.almost_sure, index.lower, index.upper) == (1, 1, 1, None)
    assert len(index.responses) == 2
    assert "2 were counted" in index.note
    # The word that carries every state over: two A and five B, again and again.
    law = SwitchingInput(SYMBOLS, min_length=[2, 1], max_length=[None, 5])
    bounds = proved_bounds(two_neurons(), law)
    assert (bounds.lower, bounds.upper, bounds.almost_sure) == (1, None, 1)
    held = SwitchingInput(SYMBOLS, min_length=[3, 1], max_length=[None, 5])
    assert proved_bounds(two_neurons(), held).almost_sure == 2


def test_the_boundary_solution_of_a_word() -> None:
    """Exponent 0.1391 along the boundary; adjacent doubles part after 254 steps, a matter of rounding."""
    word = np.repeat(SYMBOLS, [10, 5], axis=0)
    index = quick(two_neurons(), PeriodicInput(word), max_past=1024)
    assert index.verdict == "proved"
    assert index.estimate == 2
    assert index.boundary is not None
    low, high = index.boundary.intervals[0]
    assert index.boundary.exponents[0] == pytest.approx(0.1391, abs=3e-4)
    assert low <= 0.1391 + 2e-4
    assert high >= 0.1391 - 2e-4
    assert index.boundary.exponents[1] < 0.0
    net, x = two_neurons(), np.array([[0.49, 0.02794003482106956], [0.49, 0.027940034821069562]])
    for k in range(400):
        x = net.step(x, np.broadcast_to(word[k % 15], (2, 2)))
        if abs(x[0, 1] - x[1, 1]) > 0.1:
            break
    assert k + 1 == pytest.approx(254, abs=5)
    assert x[0, 1] * x[1, 1] < 0.0 or x[1, 1] > x[0, 1]


def test_the_estimate_shows_what_it_found() -> None:
    law = SwitchingInput(SYMBOLS, min_length=[3, 1], max_length=[None, 5])
    index = quick(two_neurons(), law, prove=False, n_starts=64, window=40)
    assert (index.verdict, index.estimate, index.lower, index.upper) == ("estimated", 2, 0, None)
    assert index.missed_measure == pytest.approx(1.0 - 0.05 ** (1.0 / 64.0))
    assert "may have been missed" in index.sentence
    assert index.stable
    assert index.counts[-1] == (512, 2)
    assert sum(r.share for r in index.responses) == pytest.approx(1.0)
    net, now = two_neurons(), int(np.flatnonzero(index.times == 0)[0])
    for r in index.responses:
        assert r.attracting
        assert r.exponent == pytest.approx(-0.148, abs=0.01)
        assert r.interval[0] <= r.exponent <= r.interval[1]
        assert r.share_interval[0] < r.share < r.share_interval[1]
        for t, u in enumerate(index.inputs):
            np.testing.assert_allclose(r.states[t + 1], net.step(r.states[t], u), atol=1e-12)
    assert index.basins is not None
    # The first unit forgets by itself: the boundary is a horizontal line through the boundary solution.
    assert np.all(index.basins.labels == index.basins.labels[:, :1])
    assert index.boundary is not None
    height = index.boundary.states[now, 1]
    upper = int(np.argmax([r.states[now, 1] for r in index.responses]))
    np.testing.assert_array_equal(index.basins.labels[:, 0] == upper, index.basins.s > height)
    assert index.distances.shape == (len(index.times), len(index.joined))
    assert index.distances[-1].max() < 1e-3 * index.distances[0].max()


@pytest.mark.slow
def test_the_scan_of_the_authors(table: DwellTimes) -> None:
    """1600 cells: m = minimum of A, M = maximum of B; 838 guaranteed, and without chance all others are 1."""
    net = two_neurons()
    starts = np.random.default_rng(1).uniform(-1.0, 1.0, (50, 2))
    guaranteed = 0
    for repeats_a in range(1, 41):
        for repeats_b in range(1, 41):
            # Their runs count repetitions after the first symbol, and B has at least two steps.
            m, M = repeats_a + 1, max(repeats_b, 2)
            word = np.repeat(SYMBOLS, [m, M], axis=0)
            for steps in (1000, 4000, 16000, 64000):
                # Next to the stairs states approach each other so slowly that longer runs are needed.
                u = np.tile(word, (math.ceil(steps / len(word)), 1))[-steps:]
                found = pullback(net, u, starts)
                if found.unsettled == 0:
                    break
            count = found.count
            assert count == table.responses(m, M), (m, M)
            guaranteed += count == 2
    assert guaranteed == 838


@pytest.mark.slow
@pytest.mark.parametrize("T", [500, 2000])
def test_the_random_scan_of_the_authors(T: int, table: DwellTimes) -> None:
    """With their probabilities no guaranteed cell has fewer than two; some of the others still show two."""
    net, rng = two_neurons(), np.random.default_rng(2)
    starts = rng.uniform(-1.0, 1.0, (50, 2))
    late = 0
    for m in range(2, 42):
        for M in (2, *range(2, 41)):
            law = SwitchingInput(SYMBOLS, min_length=[m, 2], max_length=[max(m, 40), M], stay=[0.9, 0.95])
            found = pullback(net, law.series(T, rng), starts)
            count = found.count
            if table.responses(m, M) == 2:
                assert count == 2, (m, M)
            else:
                late += count == 2
    assert 20 < late < 300


def test_counts_agree_with_the_authors_clusters() -> None:
    net, rng = two_neurons(), np.random.default_rng(3)
    starts = rng.uniform(-1.0, 1.0, (12, 2))
    for m, M in ((5, 3), (2, 12)):
        u = np.tile(np.repeat(SYMBOLS, [m, M], axis=0), (60, 1))[-300:]
        assert pullback(net, u, starts).count == authors_count(net.dense_W(), net.W_in, 0.25, u, starts)


# -- one deciding coordinate -----------------------------------------------------------------------------


def test_coordinates_and_their_refusals() -> None:
    (c,) = coordinates(two_neurons())
    assert (c.kind, c.index) == ("unit", 1)
    pattern = np.array([1.0, -1.0, 1.0, -1.0])
    (one,) = coordinates(EchoStateNetwork(1.5 * np.outer(pattern, pattern) / 4.0))
    assert one.kind == "rank one"
    np.testing.assert_array_equal(np.abs(one.direction), 1.0)
    words = coordinates(EchoStateNetwork([[1.75, 0.1], [0.0, 1.75]]))
    assert isinstance(words, str)  # unit 0 is reached by unit 1, and is not proved to follow
    readout = Readout([[1.0, 0.0]])
    fed = EchoStateNetwork(np.diag([1.75, 0.5]), W_fb=[[0.1], [0.0]], readout=readout)
    assert "rounded" in coordinates(fed)
    assert "activation" in coordinates(EchoStateNetwork([[1.75]], activation="sine"))
    assert isinstance(coordinates(EchoStateNetwork([[-1.75]])), str)  # decreasing
    # Three tenths times ten is not three: the product is rounded, so that rank one is not exact.
    assert isinstance(coordinates(EchoStateNetwork(np.outer([0.1, 0.7], [0.3, 1.1]) * 10.0)), str)


@pytest.mark.parametrize("activation", ["tanh", "logistic", "erf", "softsign"])
def test_enclosures_hold_the_map(activation: str) -> None:
    """Values and slopes of random maps lie within their bounds, for units and for rank one."""
    rng = np.random.default_rng(4)
    pattern = np.array([1.0, -1.0, 1.0])
    for net in (
        EchoStateNetwork([[6.0]], W_in=[[1.0]], b=[-0.3], leak_rate=0.4, activation=activation),
        EchoStateNetwork(
            2.5 * np.outer(pattern, pattern), W_in=rng.normal(size=(3, 1)), activation=activation
        ),
    ):
        (c,) = coordinates(net)
        for _ in range(40):
            u = np.sort(rng.uniform(-1.0, 1.0, 2))
            y, z = np.sort(rng.uniform(c.low, c.high, 2))
            family = c.within(u[:1], u[1:])
            least, most = family.slopes(float(y), float(z))
            for share in (0.0, 0.3, 1.0):
                drive, x = u[:1] + share * (u[1:] - u[:1]), y + share * (z - y)
                state = np.full(net.n_units, x) if c.kind == "unit" else c.direction * x / 3.0
                assert c.direction @ state == pytest.approx(x)
                exact = float(c.direction @ net.step(state, drive))
                assert family.down(float(x)) - 1e-12 <= exact <= family.up(float(x)) + 1e-12
                J, d = net.jacobian(state, drive), c.direction
                assert least - 1e-12 <= float(d @ J @ d / (d @ d)) <= most + 1e-12


def test_fixed_points_against_a_grid() -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        a, w, u = rng.uniform(0.2, 1.0), rng.uniform(1.05, 4.0), rng.uniform(-0.6, 0.6)
        (c,) = coordinates(EchoStateNetwork([[w]], W_in=[[1.0]], leak_rate=a))
        points = rest_points(c.under(np.array([u])))
        assert points is not None
        known = naive_fixed_points(leaky_tanh(a, w, u), n=4001)
        np.testing.assert_allclose([p.low for p in points], known, atol=1e-9)
        assert [p.stable for p in points] == [k % 2 == 0 for k in range(len(known))]


def test_a_fold_is_undecided() -> None:
    """At the fold itself two fixed points are one; nothing is claimed about it."""
    (c,) = coordinates(EchoStateNetwork([[1.0 + 1e-9]]))
    assert rest_points(c.under(np.zeros(0))) is None


def test_dwell_times_with_erasers_on_both_sides() -> None:
    """Three symbols: one holds, one pushes down, one up; the worst choice may change at every step."""
    net = EchoStateNetwork([[2.0]], W_in=[[1.0]], leak_rate=0.3)
    symbols = [0.02, -0.7, 0.65]
    found = dwell_time_table(net, symbols, max_length=4)
    hold, *others = (leaky_tanh(0.3, 2.0, u) for u in symbols)
    assert found.longest is None or found.longest >= 3
    for M, m, status in zip(found.lengths, found.shortest, found.status, strict=True):
        if status == "proved":
            assert m == naive_shortest(hold, others, M)
    assert "proved" in found.status


def test_dwell_times_of_a_pattern() -> None:
    """A Hopfield network of one pattern is one neuron in disguise: the same table."""
    pattern = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0])
    net = EchoStateNetwork(
        1.75 * np.outer(pattern, pattern) / 8.0, W_in=pattern[:, None], leak_rate=0.25
    )  # fmt: skip
    found = dwell_time_table(net, [[0.05], [-0.5]], max_length=4)
    assert found.coordinate is not None
    assert found.coordinate.kind == "rank one"
    assert found.shortest == STAIRCASE[:4]
    # kappa is eight times the neuron's state.
    assert found.rest[1][0] == pytest.approx(8.0 * 0.9332809526378179, abs=1e-9)


def test_independent_units_must_be_chosen() -> None:
    net = EchoStateNetwork(np.diag([1.75, 1.75]), W_in=np.eye(2), leak_rate=0.25)
    symbols = [[0.05, -0.05], [-0.5, 0.5]]
    several = dwell_time_table(net, symbols)
    assert several.lengths == ()
    assert "choose one" in several.reason
    first = dwell_time_table(net, symbols, unit=0, max_length=5)
    second = dwell_time_table(net, symbols, unit=1, max_length=5)
    assert first.shortest == second.shortest == STAIRCASE[:5]
    assert proved_bounds(net, Constant(symbols[0])).lower == 4


def test_empty_tables_say_why() -> None:
    single = dwell_time_table(EchoStateNetwork([[0.5]], W_in=[[1.0]]), [[0.0], [1.0]])
    assert (single.lengths, single.coordinate) == ((), None)
    assert single.sentence.startswith("Nothing is proved")
    full = np.random.default_rng(0).normal(size=(3, 3))
    assert dwell_time_table(EchoStateNetwork(full, W_in=np.ones((3, 1))), [[0.0], [1.0]]).lengths == ()
    with pytest.raises(InvalidInputError, match="symbols"):
        dwell_time_table(two_neurons(), [[0.0], [1.0]])
    with pytest.raises(InvalidInputError, match="hold"):
        dwell_time_table(two_neurons(), SYMBOLS, hold=2)
    with pytest.raises(InvalidInputError, match="max_length"):
        dwell_time_table(two_neurons(), SYMBOLS, max_length=0)


@pytest.mark.parametrize(("m", "M"), [(1, 1), (3, 5), (5, 8)])
def test_exactly_two_under_limited_runs(m: int, M: int) -> None:
    """Between the two responses all states part: two, not more; and nothing is claimed when one is lost."""
    c = unit_two()
    hold, other = c.under(SYMBOLS[0]), c.under(SYMBOLS[1])
    assert nothing_between(hold, other, m, M)
    assert not nothing_between(hold, other, m, M + 4)
    # Admissible sequences by chance: what does not join a response within 3000 steps is next to a boundary.
    rng, net = np.random.default_rng(m), two_neurons()
    law = SwitchingInput(SYMBOLS, min_length=[m, 1], max_length=[m + 3, M], stay=[0.5, 0.9])
    starts = np.column_stack([np.zeros(201), np.linspace(-1.0, 1.0, 201)])
    assert pullback(net, law.series(3000, rng), starts).count == 2


def test_no_contraction_and_no_escape_where_there_is_none() -> None:
    """The parts of the proofs refuse what is false."""
    c = unit_two()
    hold, other = c.under(SYMBOLS[0]), c.under(SYMBOLS[1])
    assert not contracts(hold, other, -1.0, 1.0, 33, 26)  # two responses do not approach each other
    assert contracts(hold, other, -1.0, -0.9, 33, 26)
    assert survives(hold, other, 32, 26)[0] == "lost"
    # A gap with an attracting point in it is never left.
    assert not leaves_gap(hold, 0.5, 0.99)
    assert not at_most(hold, [(c.low, -0.9)])
    low, high = np.array([0.0, -0.3]), np.array([0.0, 0.3])
    family = c.within(low, high)
    found = regions(family, [c.under(np.zeros(2))])
    assert at_most(family, found)
    assert not leaves_gap(family, found[0][1], found[1][1])


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(k, marks=pytest.mark.slow) for k in range(2, 12))])
def test_proofs_against_brute_force(seed: int) -> None:
    """Random small networks: no sequence that is tried has more or fewer responses than proved."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    W = np.diag(rng.uniform(0.3, 2.5, n))
    if seed % 2:
        W = W + rng.uniform(-0.15, 0.15, (n, n))
    net = EchoStateNetwork(W, W_in=rng.normal(size=(n, 1)), leak_rate=rng.uniform(0.3, 1.0))
    r = rng.uniform(0.02, 0.6)
    bounds = proved_bounds(net, InputBox(-r, r), points=list(_settled(net)))
    starts = make_starts(net, 200, rng).states
    for law in range(8):
        u = rng.uniform(-r, r, (600, 1))
        if law % 2:
            u = r * np.sign(np.sin(np.arange(600) / (1.0 + 3.0 * law)))[:, None]
        counted = pullback(net, u, starts)
        path = trajectories(net, u, starts[counted.first])
        stable = sum(
            leading_exponents(net, path[:, k], u)[0][0] < -1e-3 for k in range(min(counted.count, 40))
        )
        assert stable >= bounds.lower
        assert bounds.upper is None or stable <= bounds.upper
        if bounds.upper == 1:
            assert counted.count == 1
    for document in bounds.documents:
        assert check_certificate(document).valid


def _settled(net: EchoStateNetwork) -> FloatArray:
    x = make_starts(net, 40, np.random.default_rng(0)).states
    for _ in range(300):
        x = net.step(x, np.zeros((len(x), 1)))
    return x[:40]


# -- responses without proofs ----------------------------------------------------------------------------


def test_a_cycle_has_one_response_for_each_phase() -> None:
    index = quick(EchoStateNetwork([[-2.0]]), Zero())
    assert (index.estimate, index.verdict) == (2, "estimated")
    assert all(r.exponent == pytest.approx(-1.7935285, abs=1e-6) for r in index.responses)
    assert "repelling" in index.note  # the origin, which is among the starts


def test_starts_on_a_repeller_are_no_response() -> None:
    index = quick(EchoStateNetwork(2.0 * np.eye(2)), Zero(), max_past=128)
    assert index.verdict == "proved"
    assert index.estimate == len(index.responses) == 4
    assert all(r.attracting for r in index.responses)


def test_balls_prove_a_lower_end_in_general() -> None:
    """Two coupled units: no coordinate decides, disjoint balls still prove four responses."""
    net = EchoStateNetwork([[1.8, 0.1], [0.1, 1.8]], W_in=[[1.0], [0.3]])
    index = quick(net, InputBox(-0.1, 0.1))
    assert (index.lower, index.upper, index.estimate, index.verdict) == (4, None, 4, "estimated")
    assert "at least 4" in index.sentence
    assert len(index.documents) == 1
    assert check_certificate(index.documents[0]).valid


def test_contraction_proves_one() -> None:
    rng = np.random.default_rng(0)
    W = rng.normal(size=(20, 20))
    net = EchoStateNetwork(0.9 * W / np.linalg.norm(W, 2), W_in=rng.normal(size=(20, 1)))
    index = quick(net, rng.normal(size=300))
    assert (index.verdict, index.lower, index.upper, index.estimate) == ("proved", 1, 1, 1)
    assert index.missed_measure == 0.0
    assert check_certificate(index.documents[0]).valid
    assert index.counts[-1][1] == 1


def test_long_runs_reset_a_network_in_general() -> None:
    """Coupled units, two symbols: under the second all states meet, in a ball that both keep."""
    net = EchoStateNetwork([[1.6, 0.05], [0.05, 0.3]], W_in=[[1.0], [0.0]], leak_rate=0.5)
    bounds = proved_bounds(net, InputAlphabet([[0.0], [1.5]]), points=list(_settled(net)))
    assert (bounds.upper, bounds.almost_sure) == (None, 1)
    assert len(bounds.documents) == 2
    assert all(check_certificate(d).valid for d in bounds.documents)


def test_chaos_has_no_index() -> None:
    W = np.random.default_rng(1).normal(size=(40, 40)) / np.sqrt(40.0)
    index = quick(EchoStateNetwork(3.0 * W), Zero(), prove=False, max_past=256)
    assert index.estimate is None
    assert not any(r.attracting for r in index.responses)
    assert "trajectories are left" in index.sentence


def test_states_that_leave_every_bound() -> None:
    index = quick(EchoStateNetwork([[1.2]], activation="relu", b=[0.1]), Zero())
    assert (index.estimate, len(index.responses), index.lower) == (None, 0, 0)
    assert "left every bound" in index.note


def test_slow_merging_is_seen_by_its_rate() -> None:
    """Distances of 1e-3 that certainly shrink are one response; a cutoff would have to know the scale."""
    net = EchoStateNetwork([[0.95]])
    starts = np.linspace(-1.0, 1.0, 9)[:, None]
    early = pullback(net, np.zeros((100, 0)), starts)
    assert len(early.states) == 9  # nowhere near each other to rounding
    assert early.count == 1
    pair = pullback(EchoStateNetwork([[1.0001]]), np.zeros((100, 0)), np.array([[0.0], [0.5]]))
    assert pair.count == 2 or pair.unsettled == 0


def test_a_short_series_and_its_caveats() -> None:
    index = quick(two_neurons(), np.tile(A, (40, 1)))
    assert index.past == 30
    assert index.counts[-1][0] == 30
    assert index.lower == index.upper == 2  # the range of the series is one point


def test_budget_ends_the_search() -> None:
    index = quick(two_neurons(), InputBox(-0.3, 0.3), budget=0.0)
    assert index.verdict == "estimated"
    assert "budget" in index.note


def test_progress_and_seeds() -> None:
    seen: list[str] = []
    law = SwitchingInput(SYMBOLS, min_length=[3, 1], max_length=[None, 5])
    one = quick(two_neurons(), law, prove=False, rng=7, progress=lambda label, _: seen.append(label))
    two = quick(two_neurons(), law, prove=False, rng=np.random.default_rng(7))
    assert {"pullback", "responses", "boundary"} <= set(seen)
    np.testing.assert_array_equal(one.inputs, two.inputs)
    assert [r.share for r in one.responses] == [r.share for r in two.responses]


def test_switching_input_keeps_its_limits() -> None:
    law = SwitchingInput(
        [[1.0], [2.0], [3.0]], min_length=[2, 1, 4], max_length=[5, None, 4], stay=[0.5, 0.8, 0]
    )
    sequence = law.sequence(30000, 0)
    runs: dict[int, list[int]] = {0: [], 1: [], 2: []}
    start = 0
    for k in range(1, len(sequence)):
        if sequence[k] != sequence[start]:
            runs[sequence[start]].append(k - start)
            start = k
    for r in runs.values():
        r[:1] = []  # the first run is cut
    assert set(runs[0]) == {2, 3, 4, 5}
    assert set(runs[2]) == {4}
    assert min(runs[1]) == 1
    assert np.mean(runs[1]) == pytest.approx(5.0, rel=0.1)
    assert np.mean(np.array(runs[0]) == 2) == pytest.approx(0.5, abs=0.04)
    fixed = SwitchingInput([[1.0], [2.0]], min_length=[3, 1], max_length=[3, 4], stay=[0.0, 1.0])
    assert len({tuple(fixed.sequence(7, s)) for s in range(30)}) <= 14


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        (AnyInput(), "inputs"),
        (None, "inputs"),
        (np.zeros((100, 3)), "inputs"),
        (np.zeros((3, 2)), "inputs"),
        (np.full((100, 2), np.nan), "InputSignal"),
        (Constant([1.0]), "inputs"),
        (InputBox([0, 0, 0], [1, 1, 1]), "inputs"),
        (InputAlphabet([[1.0]]), "inputs"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, place: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        estimate_echo_index(two_neurons(), inputs)
    assert caught.value.place.startswith(place)
    assert caught.value.rule


def test_other_refusals() -> None:
    for name in ("n_starts", "max_past", "window"):
        with pytest.raises(InvalidInputError, match=name):
            estimate_echo_index(two_neurons(), Constant(A), **{name: 0})
    with pytest.raises(InvalidInputError, match="network"):
        estimate_echo_index(np.eye(2), Zero())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="at least two"):
        SwitchingInput([[1.0]])
    with pytest.raises(InvalidInputError, match="min_length"):
        SwitchingInput(SYMBOLS, min_length=0)
    with pytest.raises(InvalidInputError, match="max_length"):
        SwitchingInput(SYMBOLS, min_length=3, max_length=2)
    with pytest.raises(InvalidInputError, match="stay"):
        SwitchingInput(SYMBOLS, stay=1.0)
    assert InputSignal(SYMBOLS).u.shape == (2, 2)
