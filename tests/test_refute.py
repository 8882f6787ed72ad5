"""Refutations: every witness passes both checkers, replays, and survives disguise; hopeless cases end."""

from __future__ import annotations

import base64
import math
import time
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from naive_certificates import naive_outcome

from esntools import plotting
from esntools._typing import FloatArray
from esntools.certificates.adversary import find_slope_pattern, periodic_drive
from esntools.certificates.documents import array_section, check_certificate
from esntools.certificates.refine import refined_fixed_point, refined_response
from esntools.certificates.refute import _Search, find_refutation
from esntools.certificates.witness import DrivenMap, Refutation, Response, response_ball, unstable_witness
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork, Readout

EVER = math.inf


def scaled(W: FloatArray, radius: float) -> FloatArray:
    return radius * W / np.abs(np.linalg.eigvals(W)).max()


def random_network(n: int, radius: float, seed: int, **more: Any) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = scaled(rng.normal(size=(n, n)), radius)
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), b=rng.uniform(-1, 1, n), **more)


def orthogonal(n: int = 20) -> FloatArray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]


def symmetric() -> FloatArray:
    Q = orthogonal()
    S = Q @ np.diag([1.0, -1.0] * 10) @ Q.T
    return 0.5 * (S + S.T)


def quadratic(c: float) -> EchoStateNetwork:
    """x <- 1 - c x^2, as a closed loop with squares in its readout."""
    readout = Readout([[0.0]], W_sq=[[-c]], b_out=[1.0])
    return EchoStateNetwork([[0.0]], W_fb=[[1.0]], readout=readout, activation="identity")


YILDIZ = EchoStateNetwork([[0, 10], [-0.012, 1.1]])
YILDIZ_LEAKY = EchoStateNetwork([[-9, 100], [-0.12, 2]], leak_rate=0.1)
TWO = EchoStateNetwork([[2, -2], [1.5, -1.2]], b=[2, 10])
SCALAR = EchoStateNetwork([[2.0]], W_in=[[1.0]], b=1.0)
SKEW = EchoStateNetwork([[0, -4.4], [4.4, 0]], leak_rate=0.1)

#: Network, inputs, strength, period. Published, or by hand.
KNOWN: dict[str, tuple[EchoStateNetwork, InputClass, str, int]] = {
    "Yildiz standard": (YILDIZ, Zero(), "two attracting responses", 1),
    "Yildiz Ex. 4.1": (YILDIZ_LEAKY, Zero(), "two attracting responses", 1),
    "scalar, drive 0 in the box": (SCALAR, InputBox(-3, 1), "two attracting responses", 1),
    "scalar, drive 0 an input": (SCALAR, InputAlphabet([[1.0], [-1.0]]), "two attracting responses", 1),
    "two attractors, rho 0.77": (TWO, Zero(), "two attracting responses", 1),
    "two attractors, a drive": (TWO, AnyInput(), "two attracting responses", 1),
    "skew 4.4, leak 0.1": (SKEW, AnyInput(), "unstable response", 1),
    "orthogonal 1.01": (EchoStateNetwork(1.01 * orthogonal()), Zero(), "two responses", 1),
    "symmetric 1.01": (EchoStateNetwork(1.01 * symmetric()), Zero(), "two responses", 1),
    "unstable linear": (
        EchoStateNetwork([[1.01]], activation="identity"),
        AnyInput(),
        "unstable response",
        1,
    ),
    "unstable relu": (EchoStateNetwork([[1.5]], b=-1.0, activation="relu"), Zero(), "two responses", 1),
    "logistic": (
        EchoStateNetwork([[10.0]], b=-5.0, activation="logistic"),
        Zero(),
        "two attracting responses",
        1,
    ),
    # The negative slope -1.5 at 0: a fixed point that is left for a cycle of two.
    "flip": (EchoStateNetwork([[-1.5]]), Zero(), "two responses", 2),
    # Fixed points of 1 - c x^2: both roots of c x^2 + x - 1.
    "quadratic": (quadratic(1.0), Zero(), "two responses", 1),
    # Stable at every constant input that was tried, and unstable under 0, 1, 0, 1, ...
    "inputs of period 2": (random_network(10, 1.3, 14), InputBox(-1, 1), "unstable response", 2),
    # A cycle of two at the constant input 0.
    "cycle of 2": (random_network(10, 1.1, 18), InputBox(-1, 1), "two responses", 2),
}

_FOUND: dict[str, Refutation] = {}


def known(name: str) -> Refutation:
    if name not in _FOUND:
        found = find_refutation(*KNOWN[name][:2])
        assert found is not None, name
        _FOUND[name] = found
    return _FOUND[name]


def decoded(section: dict[str, Any]) -> FloatArray:
    data = np.frombuffer(base64.b64decode(section["data"]), dtype={"f8": "<f8", "f4": "<f4"}[section["type"]])
    return data.astype(float).reshape(section["shape"])


def input_row(refutation: Refutation, k: int) -> FloatArray:
    return refutation.input[k % len(refutation.input)]


def naive_step(refutation: Refutation, x: FloatArray, row: FloatArray) -> FloatArray:
    """One step of the map by loops."""
    network, n = refutation.network, len(x)
    after = np.empty(n)
    y = None if network.readout is None else network.readout(x)
    W = network.dense_W()
    for i in range(n):
        z = sum(W[i, j] * x[j] for j in range(n))
        if refutation.as_drive:
            z += row[i]
            if network.W_fb is not None and y is not None and network.readout is not None:
                z += sum(network.W_fb[i, k] * (y - network.readout.b_out)[k] for k in range(len(y)))
        else:
            z += network.b[i] + sum(network.W_in[i, k] * row[k] for k in range(len(row)))
            if network.W_fb is not None and y is not None:
                z += sum(network.W_fb[i, k] * y[k] for k in range(len(y)))
        a = network.leak_rate[i]
        after[i] = (1.0 - a) * x[i] + a * float(network.activation(np.array([z]))[0])
    return after


# -- known answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers_pass_both_checkers(name: str) -> None:
    network, _, strength, period = KNOWN[name]
    found = known(name)
    assert (found.strength, found.period) == (strength, period)
    assert found.input.shape == (period, network.n_units if found.as_drive else network.n_inputs)
    assert check_certificate(found.document).verdict == "refuted"
    if network.n_units <= 10:
        assert naive_outcome(found.document) == "valid"
    assert len(found.points) == (1 if strength == "unstable response" else 2)
    for point in found.points:
        for j in range(period):
            after = naive_step(found, point.states[j - 1], found.input[j])
            np.testing.assert_allclose(after, point.states[j], atol=1e-9)


@pytest.mark.parametrize("name", KNOWN)
def test_replays_never_meet_and_follow_the_map(name: str) -> None:
    found = known(name)
    one, two = found.replay(60)
    assert one.shape == two.shape == (61, found.network.n_units)
    gaps = np.abs(one - two).max(axis=1)
    assert gaps.min() > 1e-9
    assert gaps[-10:].max() > 1e-4
    for track in (one, two):
        for k in (0, 1, 30, 59):
            after = naive_step(found, track[k], input_row(found, k))
            np.testing.assert_allclose(after, track[k + 1], atol=1e-9)
    with pytest.raises(InvalidInputError, match="n_steps"):
        found.replay(-1)
    assert len(found.replay(0)[0]) == 1


def test_two_attracting_responses_start_close_together_and_end_apart() -> None:
    for name in ("Yildiz standard", "two attractors, rho 0.77", "scalar, drive 0 in the box"):
        one, two = known(name).replay(200)
        assert np.abs(one[0] - two[0]).max() < 1e-2
        assert np.abs(one[-1] - two[-1]).max() > 0.5


def test_published_points_are_the_ones_that_are_shown() -> None:
    points = sorted(tuple(p.x) for p in known("two attractors, rho 0.77").points)
    np.testing.assert_allclose(points, [(-0.957504, 0.999999), (0.957504, 1.0)], atol=2e-6)
    points = sorted(tuple(p.x) for p in known("Yildiz standard").points)
    np.testing.assert_allclose(points, [(-0.9996886, -0.4383661), (0.9996886, 0.4383661)], atol=1e-6)


def test_attracting_responses_state_the_inputs_that_they_survive() -> None:
    wide = EchoStateNetwork([[2.0]], W_in=[[1.0]])
    found = find_refutation(wide, Zero())
    assert found is not None
    # x = tanh(2 x - u) loses a solution at u = 2 sqrt(1/2) - artanh(sqrt(1/2)) = 0.5328.
    assert found.input_radius is not None
    assert 0.3 < found.input_radius < 0.5329
    assert found.document["witness"]["inputs"]["kind"] == "box"
    assert known("two attractors, rho 0.77").input_radius is None
    assert known("two attractors, a drive").input_radius > 0.1  # type: ignore[operator]


def test_an_input_of_period_two_refutes_what_no_constant_does() -> None:
    found = known("inputs of period 2")
    assert found.input.ravel().tolist() == [0.0, 1.0]
    assert found.points[0].growth > 1.03
    assert find_refutation(found.network, InputAlphabet(found.input)) is not None
    for row in found.input:
        assert find_refutation(found.network, Constant(row)) is None
    search = _Search(found.network, InputBox(-1, 1), EVER, np.random.default_rng(1))
    for u in np.linspace(-1, 1, 17):
        assert search.at_constant(np.array([[u]]), []) is None
    assert search.by_worst_inputs(1) is None


@pytest.mark.parametrize(("c", "period"), [(1.0, 2), (1.7548776662466927, 3), (1.3107026413368328, 4)])
def test_cycles_of_the_quadratic_map(c: float, period: int) -> None:
    """Superstable cycles: 0 is a point of each (the polynomials 1 - c, 1 - c (1 - c)^2, ... vanish)."""
    search = _Search(quadratic(c), Zero(), EVER, np.random.default_rng(0))
    found = search.by_cycle(np.zeros((1, 0)), stable=True)
    assert found is not None
    assert (found.period, found.strength) == (period, "two responses")
    for point in found.points:
        assert np.abs(point.states).min() < 1e-7
        assert point.growth < 1e-3
    assert naive_outcome(found.document) == "valid"


def test_a_tampered_witness_is_rejected() -> None:
    found = known("inputs of period 2")
    witness = found.document["witness"]
    outside = found.input.copy()
    outside[1] = 1.5
    changes: list[dict[str, Any]] = [
        {"input": array_section(found.input[:1])},
        {"input": array_section(found.input[::-1])},
        {"input": array_section(outside)},
        {"v": array_section(np.zeros(20))},
        {"P": array_section(np.eye(20))},
    ]
    for changed in changes:
        document = {**found.document, "witness": {**witness, **changed}}
        assert not check_certificate(document).valid
        assert naive_outcome(document).startswith("rejected")
    two = known("cycle of 2").document
    same = {**two, "witness": {**two["witness"], "balls": [two["witness"]["balls"][0]] * 2}}
    assert not check_certificate(same).valid


# -- the lift, against slow twins -----------------------------------------------------------------------


def cases() -> list[DrivenMap]:
    rng = np.random.default_rng(3)
    plain = random_network(4, 0.9, 1, leak_rate=[0.3, 1.0, 0.7, 0.5])
    looped = replace(
        plain,
        W_fb=rng.normal(size=(4, 2)),
        readout=Readout(rng.normal(size=(2, 4)), 0.2 * rng.normal(size=(2, 4)), rng.normal(size=2)),
    )
    maps = [DrivenMap(net, rng.normal(size=(p, 1))) for net in (plain, looped) for p in (1, 2, 3)]
    return [*maps, DrivenMap(plain, rng.normal(size=(3, 4)), as_drive=True)]


@pytest.mark.parametrize("k", range(7))
def test_lifted_map_and_its_derivative_by_loops(k: int) -> None:
    map_ = cases()[k]
    n, p = map_.network.n_units, map_.period
    X = np.random.default_rng(k).uniform(-1, 1, (p, n))
    shown = Refutation({}, "", map_.rows, (), "", p, None, map_.network, map_.as_drive)
    expected = np.array([X[j] - naive_step(shown, X[j - 1], map_.rows[j]) for j in range(p)])
    np.testing.assert_allclose(map_.residual(X), expected, atol=1e-12)
    lifted = np.eye(p * n) - map_.lifted_jacobian(X)
    for c in range(p * n):
        step = np.zeros(p * n)
        step[c] = 1e-6
        move = map_.residual(X + step.reshape(p, n)) - map_.residual(X - step.reshape(p, n))
        np.testing.assert_allclose(move.ravel() / 2e-6, lifted[:, c], atol=1e-7)
    # One Newton step is the solution of the whole linear system.
    g = map_.residual(X)
    np.testing.assert_allclose(
        map_._newton_step(X, g), np.linalg.solve(lifted, g.ravel()).reshape(p, n), rtol=1e-8, atol=1e-10
    )


def test_stein_witness_of_a_lift_has_the_inertia_of_the_response() -> None:
    pattern = find_slope_pattern(random_network(6, 1.3, 5), periods=[3], rng=0)
    assert pattern is not None
    network = random_network(6, 1.3, 5)
    realised = periodic_drive(network, pattern)
    map_ = DrivenMap(network, realised.drive, as_drive=True)
    response = map_.newton(realised.states)
    assert response is not None
    witness = unstable_witness(map_, response)
    assert witness is not None
    P = decoded(witness["P"])
    J = map_.lifted_jacobian(response.states)
    assert np.linalg.eigvalsh(P - J.T @ P @ J).min() > 0.5
    # The lift has the cube roots of the multipliers as its eigenvalues, three for each.
    assert np.sum(np.linalg.eigvalsh(P) < 0) == 3 * np.sum(np.abs(response.eigenvalues) > 1)


def test_ill_conditioned_cycles_need_the_second_double() -> None:
    """Readout weights of thousands: a ball around doubles is too large to be checked."""
    rng = np.random.default_rng(2)
    n = 12
    base = EchoStateNetwork(scaled(rng.normal(size=(n, n)), 0.3), b=rng.uniform(-0.2, 0.2, n))
    x = DrivenMap(base, np.zeros((1, 0))).run(np.zeros(n), 300)[-1]
    W_in = rng.uniform(-1, 1, (n, 1))
    across = rng.normal(size=n)
    direction = np.linalg.solve(-1.3 * np.eye(n) - base.jacobian(x), (1 - x * x) * W_in[:, 0])
    row = direction / (direction @ direction)
    blind = across - direction * (across @ direction) / (direction @ direction)
    row = row + 3e3 * blind / np.linalg.norm(blind)
    loop = replace(base, W_fb=W_in, readout=Readout(row[None], b_out=[-float(row @ x)]))
    # The unstable fixed point, as a response of period 2.
    map_ = DrivenMap(loop, np.zeros((2, 0)))
    response = map_.newton(np.array([x, x]))
    assert response is not None
    found = _Search(loop, Zero(), EVER, rng).verified(map_, (response,))
    assert found is not None
    assert found.theorem == "unstable-fixed-point"
    sections = found.document["witness"]
    assert np.any(decoded(sections["ball"]["fine"]))
    # With the first double alone it is not enough.
    coarse = {**sections["ball"], "fine": array_section(np.zeros(2 * n))}
    assert not check_certificate({**found.document, "witness": {**sections, "ball": coarse}}).valid


def test_refined_responses_solve_the_lift_beyond_double_precision() -> None:
    for map_ in cases()[:6]:
        start = map_.run(np.zeros(4), 60 * map_.period)[1:][-map_.period :]
        response = map_.newton(start)
        if response is None:
            continue
        p, n = response.states.shape
        C = np.linalg.inv(np.eye(p * n) - map_.lifted_jacobian(response.states))
        refined = refined_response(map_.network, map_.rows, map_.drive, response.states, C)
        assert refined is not None
        high, low, left = refined
        np.testing.assert_allclose(high, response.states, atol=1e-10)
        assert np.abs(low).max() < 1e-15
        assert np.abs(left).max() < 1e-28
        if p == 1:
            # The same point by the form without the leak.
            other = refined_fixed_point(
                map_.network, map_.rows[0], map_.drive[0], response.x, C * map_.network.leak_rate
            )
            assert other is not None
            np.testing.assert_array_equal(other[0] + other[1], (high + low)[0])


# -- hopeless cases, budgets, bad numbers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (SCALAR, Zero()),
        (EchoStateNetwork(0.99 * orthogonal(6)), AnyInput()),
        (EchoStateNetwork([[-0.9, -1.0], [0.0, -0.9]], leak_rate=0.5), AnyInput()),
        (EchoStateNetwork([[0, -1.89], [1.89, 0]], leak_rate=0.1), AnyInput()),
        (random_network(5, 0.6, 3), InputBox(-1, 1)),
        (random_network(5, 0.6, 3), InputAlphabet([[1.0], [-1.0], [0.2]])),
        (EchoStateNetwork([[0.0]]), AnyInput()),
    ],
)
def test_what_is_true_is_not_refuted(network: EchoStateNetwork, inputs: InputClass) -> None:
    assert find_refutation(network, inputs) is None


def test_a_finite_series_refutes_nothing() -> None:
    assert find_refutation(SCALAR, InputSignal(np.full((50, 1), -1.0))) is None


def test_the_deadline_is_kept() -> None:
    network = random_network(200, 0.7, 0)
    assert find_refutation(network, AnyInput(), deadline=time.perf_counter()) is None
    start = time.perf_counter()
    assert find_refutation(network, AnyInput(), deadline=start + 0.5) is None
    # A check or a factorisation that has begun is finished; a busy machine makes that slow.
    assert time.perf_counter() - start < 10.0


@pytest.mark.parametrize("size", [1e-300, 1e30, 1e90])
def test_extreme_weights_end_in_an_answer(size: float) -> None:
    W = np.array([[1.0, -2.0], [0.5, 1.0]]) * size
    for inputs in (AnyInput(), InputBox(-1, 1)):
        network = EchoStateNetwork(W, W_in=[[size], [1.0]], b=[0.0, size])
        found = find_refutation(network, inputs, deadline=time.perf_counter() + 20.0)
        assert found is None or check_certificate(found.document).valid


def test_candidates_of_the_caller_find_what_the_search_misses() -> None:
    # Of the two fixed points of 1 - 0.3 x^2 one is at -4.14, where no search begins.
    network = quadratic(0.3)
    assert find_refutation(network, Zero()) is None
    found = find_refutation(network, Zero(), candidates=[np.array([-4.0])])
    assert found is not None
    roots = [(-1.0 - math.sqrt(2.2)) / 0.6, (-1.0 + math.sqrt(2.2)) / 0.6]
    np.testing.assert_allclose(sorted(p.x[0] for p in found.points), roots)


def test_balls_and_witnesses_are_refused_where_there_are_none() -> None:
    map_ = DrivenMap(EchoStateNetwork([[1.0]], activation="identity"), np.zeros((1, 0)))
    # Every state is fixed: the derivative is singular, the multiplier 1.
    assert response_ball(map_, np.zeros((1, 1))) is None
    assert unstable_witness(map_, Response(np.zeros((1, 1)), np.ones(1, complex))) is None


# -- the same network in disguise -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_verdicts_survive_permutation_and_signature(seed: int, flip: bool) -> None:
    network = random_network(6, 1.7, seed, leak_rate=0.8)
    rng = np.random.default_rng(seed + 1)
    order = rng.permutation(6)
    signs = rng.choice([-1.0, 1.0], 6) if flip else np.ones(6)
    disguised = replace(
        network,
        W=(signs[:, None] * network.dense_W() * signs)[np.ix_(order, order)],
        W_in=(signs[:, None] * network.W_in)[order],
        b=(signs * network.b)[order],
    )
    found = find_refutation(network, InputBox(-1, 1))
    assert found is not None
    # The witness itself, in disguise, refutes the disguised network at the same input.
    maps = [DrivenMap(net, found.input) for net in (network, disguised)]
    for point in found.points:
        moved = maps[1].newton((point.states * signs)[:, order])
        assert moved is not None
        np.testing.assert_allclose(moved.states, (point.states * signs)[:, order], atol=1e-9)
        assert moved.growth == pytest.approx(point.growth, rel=1e-7)
    search = _Search(disguised, InputBox(-1, 1), EVER, np.random.default_rng(0))
    again = search.verified(
        maps[1], tuple(maps[1].response((p.states * signs)[:, order]) for p in found.points)
    )
    assert again is not None
    assert again.strength == found.strength
    assert naive_outcome(again.document) == "valid"


# -- the picture ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Yildiz standard", "two attracting responses to no input"),
        ("skew 4.4, leak 0.1", "unstable response to a constant input"),
        ("inputs of period 2", "unstable response to an input of period 2"),
    ],
)
def test_the_plot_shows_the_distance_of_the_replay(name: str, words: str) -> None:
    before = dict(matplotlib.rcParams)
    found = known(name)
    ax = plotting.plot_witness(found, n_steps=80)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig("/dev/null", format="svg")
    assert dict(matplotlib.rcParams) == before
    assert ax.get_yscale() == "log"
    assert words == ax.get_title(loc="left")
    one, two = found.replay(80)
    curve, start = ax.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), np.abs(one - two).max(axis=1))
    assert start.get_ydata()[0] == np.abs(one[0] - two[0]).max()
    # Told apart without colour.
    assert curve.get_linestyle() == "-"
    assert start.get_linestyle() != "-"
    low, high = ax.get_ylim()
    assert low < curve.get_ydata().min()
    assert curve.get_ydata().max() < high
    given_axes = Figure().add_subplot()
    assert plotting.plot_witness(found, ax=given_axes) is given_axes


@pytest.mark.filterwarnings("error")
def test_a_product_of_jacobians_that_overflows_is_no_response() -> None:
    """Weights of 1e100 overflow at period 4; up to period 3 their responses have eigenvalues."""
    for period in (1, 3, 4):
        map_ = DrivenMap(EchoStateNetwork([[1e100]]), np.zeros((period, 0)))
        assert (map_.response(np.zeros((period, 1))) is None) == (period == 4)
