"""Contracting balls: known answers, brute force within every ball, and forgeries."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from naive_certificates import naive_check

from esntools._typing import FloatArray
from esntools.certificates.attracting import (
    EchoIndexBound,
    attracting_balls,
    certify_echo_index,
    find_attracting_balls,
)
from esntools.certificates.documents import array_section, check_certificate
from esntools.certificates.large_input import find_large_input_threshold
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, Zero
from esntools.network import EchoStateNetwork, Readout
from esntools.training import fit
from esntools.zoo import load


def hopfield(**more: Any) -> EchoStateNetwork:
    """Two patterns at right angles, so that each holds where x = tanh(1.6 x)."""
    X = np.array([[1.0, 1.0], [1.0, -1.0]] * 30)
    return EchoStateNetwork(1.6 * X @ X.T / 60.0, **more)


def random_network(n: int, radius: float, seed: int, **more: Any) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), b=rng.uniform(-1, 1, n), **more)


def decoded(section: dict[str, Any]) -> FloatArray:
    import base64

    kind = {"f8": "<f8", "f4": "<f4"}[section["type"]]
    return np.frombuffer(base64.b64decode(section["data"]), kind).astype(float).reshape(section["shape"])


def length(ball: dict[str, Any], d: FloatArray) -> FloatArray:
    """The norm of the differences d (.., n), from the document alone."""
    witness = ball["witness"]
    if ball["theorem"] == "perron-weights":
        return np.asarray((np.abs(d) / decoded(witness["weights"])).max(axis=-1))
    if ball["theorem"] == "diagonal-schur":
        return np.asarray(np.sqrt(d * d @ decoded(witness["weights"])))
    return np.asarray(np.sqrt(np.einsum("...i,ij,...j", d, decoded(witness["P"]), d)))


def holds_by_brute_force(net: EchoStateNetwork, bound: EchoIndexBound, u: FloatArray, seed: int = 0) -> None:
    """Random states on the surface of each ball, under random and extreme inputs, go inwards and approach."""
    rng = np.random.default_rng(seed)
    assert bound.document is not None
    for ball in bound.document["witness"]["balls"]:
        slopes = ball["slopes"]
        centre = decoded(slopes["centre"]) + decoded(slopes["fine"])
        radius, rate = float.fromhex(slopes["radius"]), float.fromhex(ball["rate"])
        d = rng.normal(size=(300, net.n_units)) * rng.uniform(0.01, 1, net.n_units)
        x = centre + d * (radius * rng.choice([1.0, 0.5], (300, 1)) / length(ball, d)[:, None])
        inputs = u + bound.input_radius * rng.choice([-1.0, 1.0, 0.3], (300, net.n_inputs))
        after = net.step(x, inputs)
        assert np.all(length(ball, after - centre) < radius * (1.0 + 1e-9))
        same = net.step(x, np.broadcast_to(inputs[0], inputs.shape))
        apart, left = length(ball, x[1:] - x[:-1]), length(ball, same[1:] - same[:-1])
        assert np.all(left <= rate * apart + 1e-12 * (1.0 + radius))


KNOWN = {
    # Name: network, least number of attractors, points that must be among them.
    "two states": (EchoStateNetwork([[0.0, 10.0], [-0.012, 1.1]]), 3, [[0.9996886, 0.4383661], [0.0, 0.0]]),
    "leaky": (EchoStateNetwork([[-9.0, 100.0], [-0.12, 2.0]], leak_rate=0.1), 2, [[1.0, 0.943217]]),
    "biased": (
        EchoStateNetwork([[2.0, -2.0], [1.5, -1.2]], b=[2.0, 10.0]), 2,
        [[0.957504, 1.0], [-0.957504, 0.999999]],
    ),
    "memory": (EchoStateNetwork(2.0 * np.eye(2)), 4, [[0.957504, -0.957504]]),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name: str) -> None:
    net, least, points = KNOWN[name]
    bound = certify_echo_index(net)
    assert bound.at_least >= least
    for point in points:
        assert np.abs(bound.points - point).max(axis=1).min() < 1e-5
    assert bound.document is not None
    assert bound.input_radius == 0.0
    assert check_certificate(bound.document).valid
    assert naive_check(bound.document)
    holds_by_brute_force(net, bound, np.zeros(0))


def test_hopfield_keeps_its_patterns_under_input() -> None:
    net = hopfield(W_in=np.random.default_rng(1).uniform(-1, 1, (60, 1)))
    bound = certify_echo_index(net)
    assert bound.at_least == 4
    x = 1.0
    for _ in range(200):
        x = np.tanh(1.6 * x)
    np.testing.assert_allclose(np.abs(bound.points), x, atol=1e-12)
    assert bound.input_radius > 0.05
    assert bound.state_radii.min() > 0.05
    assert "at least 4 attracting responses" in bound.sentence
    holds_by_brute_force(net, bound, np.zeros(1))
    # The responses to one random input within the radius, from the four balls, never meet.
    rng = np.random.default_rng(2)
    x = bound.points
    for u in rng.uniform(-1, 1, (500, 1)) * bound.input_radius:
        x = net.step(x, np.broadcast_to(u, (4, 1)))
        assert np.all(np.abs(x[:, None] - x[None]).max(axis=2)[np.triu_indices(4, 1)] > 0.5)


@pytest.mark.parametrize("leak", [1.0, 0.3])
@pytest.mark.parametrize("activation", ["tanh", "logistic", "softsign", "erf", "sine", "hard_tanh"])
def test_random_networks_by_brute_force(activation: str, leak: float) -> None:
    net = random_network(8, 0.9, 3, activation=activation, leak_rate=leak)
    u = np.array([0.3])
    bound = certify_echo_index(net, u)
    assert bound.at_least >= 1
    assert bound.document is not None
    assert bound.input_radius > 0.0
    assert naive_check(bound.document)
    holds_by_brute_force(net, bound, u)


def test_the_two_switching_neurons() -> None:
    """One symbol leaves the second neuron two states, the other only one."""
    net = load("switching-2neuron").network()
    A, B = load("switching-2neuron").symbols()
    for symbol, states in ((A, 2), (B, 1)):
        bound = certify_echo_index(net, symbol)
        assert bound.at_least == states
        assert bound.document is not None
        assert naive_check(bound.document)
        holds_by_brute_force(net, bound, symbol)
    s = np.sqrt(1.0 - 1.0 / 1.75)
    merge = 1.75 * s - np.arctanh(s)
    found = find_large_input_threshold(net, [0.0, -1.0], width=0.5)
    assert found.threshold is not None
    assert merge < found.threshold < 1.05 * merge
    assert found.closed is None  # the first neuron does not feel this direction


def test_a_given_input_radius_is_what_is_claimed() -> None:
    net = EchoStateNetwork(2.0 * np.eye(2), W_in=np.eye(2))
    best = certify_echo_index(net)
    assert 0.3 < best.input_radius < 0.5328  # beyond sqrt(2) - artanh(sqrt(1/2)) one state is lost
    small = certify_echo_index(net, input_radius=0.1)
    assert small.input_radius == 0.1
    assert small.state_radii.min() > best.state_radii.min()
    lost = certify_echo_index(net, input_radius=0.6)
    assert (lost.at_least, lost.document) == (0, None)
    assert lost.sentence.startswith("Nothing is proved")


def test_points_may_be_given() -> None:
    net = EchoStateNetwork(2.0 * np.eye(2))
    points = [[0.9, 0.9], [-0.9, 0.9], [0.0, 0.0]]  # the origin is unstable and leads nowhere
    bound = certify_echo_index(net, points=points)
    assert bound.at_least == 2
    np.testing.assert_allclose(bound.points, 0.957504 * np.array([[1, 1], [-1, 1]]), atol=1e-6)
    assert certify_echo_index(net, points=[[0.0, 0.0]]).at_least == 0


def test_squares_in_the_feedback() -> None:
    W_out, W_sq = np.array([[0.3, 0.0]]), np.array([[0.2, 0.1]])
    net = EchoStateNetwork(
        np.diag([1.5, 0.4]), W_in=[[0.2], [0.1]], W_fb=[[0.1], [0.2]], readout=Readout(W_out, W_sq, [0.0])
    )
    bound = certify_echo_index(net)
    assert bound.at_least == 2
    assert bound.document is not None
    assert {ball["theorem"] for ball in bound.document["witness"]["balls"]} == {"perron-weights"}
    assert naive_check(bound.document)
    holds_by_brute_force(net, bound, np.zeros(1))


def test_nothing_is_proved_of_what_oscillates_or_is_unknown() -> None:
    rotation = EchoStateNetwork([[0.0, -3.0], [3.0, 0.0]])
    assert certify_echo_index(rotation).at_least == 0
    custom = dataclasses.replace(rotation, activation=type(rotation.activation).from_sympy("tanh(2*x)"))
    assert certify_echo_index(custom).at_least == 0
    assert certify_echo_index(hopfield(), budget=0.0).at_least == 0


def test_misuse() -> None:
    net = EchoStateNetwork([[2.0]], W_in=[[1.0]])
    with pytest.raises(InvalidInputError, match="input_radius"):
        certify_echo_index(net, input_radius=-1.0)
    with pytest.raises(InvalidInputError, match="budget"):
        certify_echo_index(net, budget=-1.0)
    with pytest.raises(InvalidInputError, match="points"):
        certify_echo_index(net, points=[[1.0, 2.0]])
    with pytest.raises(InvalidInputError, match="u"):
        certify_echo_index(net, np.zeros(2))


def test_classes_of_inputs() -> None:
    net = EchoStateNetwork(2.0 * np.eye(2), W_in=np.eye(2))
    points = [np.array([0.9, 0.9]), np.array([-0.9, 0.9])]
    for inputs in (
        Zero(),
        Constant([0.1, -0.1]),
        InputBox([-0.2, -0.1], [0.1, 0.1]),
        InputAlphabet([[0.1, 0.0], [-0.1, 0.05]]),
    ):
        document = find_attracting_balls(net, inputs, points)
        assert document is not None, inputs
        assert document["claim"]["responses"] == 2
        assert naive_check(document)
    assert attracting_balls(net, AnyInput(), points) is None
    assert find_attracting_balls(net, InputBox([-0.7, -0.7], 0.7), points) is None
    assert find_attracting_balls(net, Zero(), [points[0], points[0]]) is None
    assert find_attracting_balls(net, Zero(), [np.zeros(2)]) is None


def test_forgeries_are_rejected() -> None:
    net = EchoStateNetwork(2.0 * np.eye(2), W_in=np.eye(2))
    document = certify_echo_index(net).document
    assert document is not None

    def forged(change: Any) -> bool:
        other = copy.deepcopy(document)
        change(other)
        return check_certificate(other).valid

    assert forged(lambda d: None)
    wider = array_section(np.full(2, 0.6))
    assert not forged(lambda d: d["claim"]["inputs"].update(low=array_section(np.full(2, -0.6)), high=wider))
    assert not forged(lambda d: d["claim"].update(responses=5))
    assert not forged(lambda d: d["witness"]["balls"].append(d["witness"]["balls"][0]))
    first = document["witness"]["balls"][0]["slopes"]
    for factor in (1.5, 0.5):
        radius = factor * float.fromhex(first["radius"])
        assert not forged(lambda d, r=radius: d["witness"]["balls"][0]["slopes"].update(radius=r.hex()))
    moved = array_section(decoded(first["centre"]) + 0.05)
    assert not forged(lambda d: d["witness"]["balls"][0]["slopes"].update(centre=moved))
    lower = array_section(decoded(first["high"]) - 0.01)
    assert not forged(lambda d: d["witness"]["balls"][0]["slopes"].update(high=lower))


@pytest.mark.slow
def test_a_larger_network() -> None:
    net = random_network(210, 0.9, 1)
    bound = certify_echo_index(net)
    assert bound.at_least == 1
    assert bound.state_radii[0] > 1e-3
    holds_by_brute_force(net, bound, np.zeros(1))


@pytest.mark.slow
def test_a_trained_flip_flop_holds_its_four_states() -> None:
    model = load("flipflop-2bit")
    task, settings = model.task(), model.study.fit
    net = fit(task.y[:8000], task.u[:8000], rng=3, **settings.options()).network
    bound = certify_echo_index(net)
    assert bound.at_least == 4
    assert bound.input_radius > 0.0
    signs = {tuple(np.sign(y)) for y in net.output(bound.points)}
    assert signs == {(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)}
    np.testing.assert_allclose(np.abs(net.output(bound.points)), 1.0, atol=0.05)
    holds_by_brute_force(net, bound, np.zeros(2))


# -- large inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [1.2, 2.0, 5.0])
def test_one_neuron_has_its_threshold_where_two_states_merge(w: float) -> None:
    """tanh(w x + u) has two attractors for |u| < w s - artanh(s), s = sqrt(1 - 1/w)."""
    s = np.sqrt(1.0 - 1.0 / w)
    merge = w * s - np.arctanh(s)
    found = find_large_input_threshold(EchoStateNetwork([[w]], W_in=[[1.0]]))
    assert found.threshold is not None
    assert found.closed is not None
    # Beside the merge the box of states shrinks so slowly that its propagation ends too early.
    assert merge < found.threshold < 1.05 * merge
    assert found.closed == pytest.approx(w + np.arccosh(np.sqrt(w)), rel=1e-2)
    assert found.document is not None
    assert naive_check(found.document)
    # A certificate for a box that starts below the merge must not exist.
    low = array_section(np.array([0.9 * merge]))
    forged = {**found.document, "claim": copy.deepcopy(found.document["claim"])}
    forged["claim"]["inputs"]["low"] = low
    assert not check_certificate(forged).valid


def test_the_closed_threshold_is_proved_and_forgets() -> None:
    rng = np.random.default_rng(4)
    W = rng.normal(size=(30, 30))
    W *= 1.5 / np.abs(np.linalg.eigvals(W)).max()
    net = EchoStateNetwork(W, W_in=rng.choice([-1, 1], (30, 2)) * rng.uniform(0.5, 1, (30, 2)), leak_rate=0.7)
    found = find_large_input_threshold(net, [1.0, -0.2], width=2.0)
    assert found.threshold is not None
    assert found.closed is not None
    assert found.threshold < found.closed
    assert found.document is not None
    assert check_certificate(found.document).valid
    for start in (found.threshold, found.closed):
        u = rng.uniform(start, start + 2.0, (300, 1)) * np.array([1.0, -0.2])
        x = rng.uniform(-1, 1, (40, 30))
        for v in u:
            x = net.step(x, np.broadcast_to(v, (40, 2)))
        assert np.ptp(x, axis=0).max() < 1e-9


def test_no_threshold() -> None:
    deaf = EchoStateNetwork(np.diag([2.0, 2.0]), W_in=[[1.0], [0.0]])
    found = find_large_input_threshold(deaf, budget=5.0)
    assert (found.threshold, found.closed, found.document) == (None, None, None)
    contracting = find_large_input_threshold(EchoStateNetwork([[0.5]], W_in=[[1.0]]))
    assert contracting.threshold == contracting.closed == 0.0
    relu = find_large_input_threshold(EchoStateNetwork([[2.0]], W_in=[[1.0]], activation="relu"))
    assert relu.threshold is None
    with pytest.raises(InvalidInputError, match="no inputs"):
        find_large_input_threshold(EchoStateNetwork([[2.0]]))
    with pytest.raises(InvalidInputError, match="direction"):
        find_large_input_threshold(deaf, [0.0])
    with pytest.raises(InvalidInputError, match="width"):
        find_large_input_threshold(deaf, width=-1.0)
