"""Regions: every slope or chord that a trajectory meets lies within what the region says."""

from __future__ import annotations

import numpy as np
import pytest
from naive_certificates import naive_check

from esntools._typing import FloatArray
from esntools.activations import ACTIVATIONS, Activation
from esntools.certificates import check
from esntools.certificates.documents import array_section, check_certificate, proved_document
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.regions import (
    Region,
    _chord_range,
    box_region,
    global_region,
    global_slopes,
    input_hull,
    secant_region,
)
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork, Readout

BOUNDED = ("tanh", "logistic", "hard_tanh", "softsign", "erf", "sine")


def network(
    n: int, radius: float, seed: int, activation: str = "tanh", leak: float = 1.0
) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    bias = rng.uniform(-1.0, 1.0, n)
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), b=bias, activation=activation, leak_rate=leak)


def trajectory(net: EchoStateNetwork, x: FloatArray, u: FloatArray) -> FloatArray:
    states = [x]
    for v in u:
        states.append(net.step(states[-1], np.broadcast_to(v, (*x.shape[:-1], net.n_inputs))))
    return np.array(states)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_global_slopes_are_the_checkers(name: str) -> None:
    phi = Activation.named(name)
    low, high = global_slopes(phi)
    exact = check.ACTIVATIONS[phi.expression].slopes
    assert low <= exact[0]
    assert high >= exact[1]
    assert high - float(exact[1]) <= 1e-15
    region = global_region(EchoStateNetwork([[0.5]], activation=name))
    assert (region.range, region.states, region.steps) == ("global", "all", 0)
    assert isinstance(region.inputs, AnyInput)


def test_an_unknown_activation_has_global_slopes_only() -> None:
    net = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation=Activation.from_sympy("tanh(2*x)"))
    assert global_slopes(net.activation)[1] == pytest.approx(2.0, abs=1e-6)
    assert box_region(net, InputBox(1, 2)) is None
    assert secant_region(net, Constant(1.0)) is None


def test_hulls() -> None:
    assert input_hull(AnyInput(), 3) is None
    for inputs, low, high in (
        (Zero(), [0, 0], [0, 0]),
        (Constant([1, 2]), [1, 2], [1, 2]),
        (InputAlphabet([[1, 5], [3, 4]]), [1, 4], [3, 5]),
        (InputSignal([[1, 5], [0, 9]]), [0, 5], [1, 9]),
    ):
        hull = input_hull(inputs, 2)
        assert hull is not None
        assert (hull.low.tolist(), hull.high.tolist()) == (low, high)


@pytest.mark.parametrize("leak", [1.0, 0.4])
@pytest.mark.parametrize("name", BOUNDED)
def test_slopes_met_lie_in_the_box(name: str, leak: float) -> None:
    net = network(6, 0.9, 1, name, leak)
    region = box_region(net, InputBox(2, 4))
    assert region is not None
    rng = np.random.default_rng(2)
    v, w = net.activation.value_bounds
    u = rng.choice([2.0, 4.0], (region.steps + 60, 1))
    x = np.vstack([rng.uniform(v, w, (40, 6)), rng.choice([v, w], (40, 6))])
    for state, drive in zip(trajectory(net, x, u)[region.steps :], u[region.steps :], strict=False):
        slopes = net.activation.slope(net.preactivation(state, np.broadcast_to(drive, (80, 1))))
        assert np.all(slopes >= region.sector.low)
        assert np.all(slopes <= region.sector.high)
    if name not in ("sine", "hard_tanh"):
        # Saturating inputs leave less than the line does.
        assert region.sector.high.min() < global_slopes(net.activation)[1]


@pytest.mark.parametrize("leak", [1.0, 0.4])
@pytest.mark.parametrize("name", BOUNDED)
def test_chords_met_lie_in_the_secant_region(name: str, leak: float) -> None:
    net = network(6, 0.7, 3, name, leak)
    region = secant_region(net, Constant(0.5))
    assert region is not None
    assert region.point is not None
    np.testing.assert_allclose(net.step(region.point, np.array([0.5])), region.point, atol=1e-14)
    rng = np.random.default_rng(4)
    v, w = net.activation.value_bounds
    states = trajectory(net, rng.uniform(v, w, (200, 6)), np.full((region.steps + 20, 1), 0.5))
    z = net.preactivation(states[region.steps :], np.full((21, 200, 1), 0.5))
    z_star = net.preactivation(region.point, np.array([0.5]))
    apart = np.abs(z - z_star) > 1e-6
    chords = (net.activation(z) - net.activation(z_star))[apart] / (z - z_star)[apart]
    low, high = (np.broadcast_to(s, z.shape)[apart] for s in (region.sector.low, region.sector.high))
    assert np.all(chords >= low - 1e-9)
    assert np.all(chords <= high + 1e-9)


@pytest.mark.parametrize("name", BOUNDED)
def test_chord_ranges_by_brute_force(name: str) -> None:
    phi = Activation.named(name)
    rng = np.random.default_rng(9)
    low, z_star, high = np.sort(rng.uniform(-4.0, 4.0, (3, 40)), axis=0)
    least, largest = _chord_range(phi, low, high, z_star)
    z = rng.uniform(low, high, (200_000, 40))
    gap = z - z_star
    near = np.abs(gap) < 1e-7
    chords = np.where(near, np.nan, (phi(z) - phi(z_star)) / np.where(near, 1.0, gap))
    np.testing.assert_allclose(np.nanmin(chords, axis=0), least, atol=2e-4)
    np.testing.assert_allclose(np.nanmax(chords, axis=0), largest, atol=2e-4)
    assert np.all(np.nanmin(chords, axis=0) >= least - 1e-7)
    assert np.all(np.nanmax(chords, axis=0) <= largest + 1e-7)


def test_the_steepest_chord_of_a_sigmoid_touches_on_the_other_side_of_zero() -> None:
    z = np.linspace(-6.0, -1e-3, 600_001)
    touching = z[np.argmin(np.abs((np.tanh(1.0) - np.tanh(z)) / (1.0 - z) - 1.0 / np.cosh(z) ** 2))]
    _, largest = _chord_range(Activation.named("tanh"), np.array([-5.0]), np.array([5.0]), np.array([1.0]))
    assert touching < 0.0
    assert largest[0] == pytest.approx(1.0 / np.cosh(touching) ** 2, abs=1e-5)
    assert largest[0] < 0.9


@pytest.mark.parametrize(
    ("net", "inputs"),
    [
        (EchoStateNetwork([[2.0]]), Zero()),  # two attractors
        (EchoStateNetwork([[0.0, -3.0], [3.0, 0.0]]), Zero()),  # a rotation
        (EchoStateNetwork([[0.5]], activation="identity"), Zero()),
        (EchoStateNetwork([[0.5]], W_in=[[1.0]]), InputBox(0, 1)),
        (EchoStateNetwork([[0.5]], W_in=[[1.0]]), AnyInput()),
        (EchoStateNetwork([[0.5]], W_fb=[[0.5]], readout=Readout([[1.0]], [[1.0]])), Zero()),
    ],
)
def test_no_secant_region(net: EchoStateNetwork, inputs: InputClass) -> None:
    assert secant_region(net, inputs) is None


def test_the_deadline_ends_a_slow_search() -> None:
    net = EchoStateNetwork([[0.9999]], leak_rate=0.01)
    assert secant_region(net, Zero(), deadline=0.0) is None


def documents(region: Region, net: EchoStateNetwork) -> list[dict[str, object]]:
    rung = incremental_lurie(region.sector)
    if rung.candidate is None:
        return []
    return [
        proved_document(net, rung.candidate, region.inputs, region.slopes, states=region.states, notes={})
    ]


# The naive checker takes 6 s for erf.
@pytest.mark.parametrize(
    "name", ["tanh", "logistic", "softsign", pytest.param("erf", marks=pytest.mark.slow)]
)
def test_both_checkers_accept_each_region(name: str) -> None:
    net = network(4, 0.7, 11, name, 0.7)
    regions = [global_region(net), box_region(net, InputBox(0.2, 0.4)), secant_region(net, Constant(0.3))]
    for region in regions:
        assert region is not None
        (document,) = documents(region, net)
        assert check_certificate(document).valid, region.range
        assert naive_check(document), region.range


def test_chords_prove_what_slopes_do_not() -> None:
    net = network(30, 0.85, 5)
    inputs = Constant(0.5)
    slopes, chords = box_region(net, inputs), secant_region(net, inputs)
    assert slopes is not None
    assert chords is not None
    assert documents(global_region(net), net) == documents(slopes, net) == []
    (document,) = documents(chords, net)
    assert check_certificate(document).valid
    # A chord slope that is met must not be left out.
    i = int(np.argmax(chords.sector.high))
    high = chords.sector.high.copy()
    high[i] -= 0.01
    forged = {**document, "slopes": {**chords.slopes, "high": array_section(high)}}
    assert not check_certificate(forged).valid


def test_a_closed_loop_converges_to_its_proved_point() -> None:
    rng = np.random.default_rng(8)
    open_ = network(12, 0.5, 8)
    readout = Readout(0.1 * rng.normal(size=(1, 12)), None, [0.2])
    net = EchoStateNetwork(open_.W, b=open_.b, W_fb=open_.W_in, readout=readout)
    region = secant_region(net, Zero())
    assert region is not None
    (document,) = documents(region, net)
    assert check_certificate(document).valid
    x = rng.uniform(-1, 1, (50, 12))
    for _ in range(400):
        x = net.step(x)
    np.testing.assert_allclose(x, np.broadcast_to(region.point, x.shape), atol=1e-12)
