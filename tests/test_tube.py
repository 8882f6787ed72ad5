"""Tubes along a driven trajectory: brute force within them, the second checker, and forgeries."""

from __future__ import annotations

import base64
import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from naive_certificates import naive_check

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.certificates.documents import array_section, check_certificate
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import perron_weights
from esntools.certificates.regions import box_region, global_region
from esntools.certificates.tube import NoTube, Tube, _Path, certify_tube
from esntools.certificates.washout import washout_steps
from esntools.errors import InvalidInputError
from esntools.inputs import InputSignal
from esntools.network import EchoStateNetwork, Readout


def network(n: int, radius: float, seed: int, **more: Any) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), **more)


def signal(steps: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, 1))


def found(net: EchoStateNetwork, u: FloatArray, x0: FloatArray | None = None, **more: Any) -> Tube:
    tube = certify_tube(net, u, x0, **more)
    assert isinstance(tube, Tube), tube
    return tube


def driven(net: EchoStateNetwork, x: FloatArray, u: FloatArray) -> FloatArray:
    states = [x]
    for v in u:
        states.append(net.step(states[-1], np.broadcast_to(v, (len(x), len(v)))))
    return np.array(states)


def holds_by_brute_force(net: EchoStateNetwork, tube: Tube, u: FloatArray) -> None:
    """Starts on the sphere of the radius stay in the tube and approach each other as is claimed."""
    rng = np.random.default_rng(5)
    d = rng.normal(size=(200, net.n_units))
    d *= (tube.radius * rng.choice([1.0, 0.3], 200) / np.linalg.norm(d, axis=1))[:, None]
    states = driven(net, tube.states[0] + d, u[: tube.steps])
    width = tube.amplification * tube.radius
    assert np.linalg.norm(states - tube.states[:, None], axis=2).max() <= width * (1 + 1e-9)
    apart = np.linalg.norm(states[:, 1:] - states[:, :-1], axis=2)
    limits = tube.amplification * tube.rate ** np.arange(tube.steps + 1)[:, None] * apart[0]
    assert np.all(apart <= limits * (1 + 1e-9) + 1e-12)
    if tube.washout is not None:
        assert np.ptp(states[tube.washout :], axis=1).max() <= 1e-6


@pytest.mark.parametrize("leak", [1.0, 0.4])
@pytest.mark.parametrize("name", ["tanh", "logistic", "softsign", "erf", "sine", "hard_tanh"])
def test_small_tubes_are_valid_by_fractions_and_by_force(name: str, leak: float) -> None:
    net = network(3, 1.1, 2, activation=name, leak_rate=leak, b=[0.2, -0.1, 0.3])
    u = signal(12)
    tube = found(net, u, rate=0.97 if name != "hard_tanh" else 0.999)
    assert tube.steps == 12
    assert naive_check(tube.document)
    holds_by_brute_force(net, tube, u)


def test_beyond_any_proof_a_tube_remains() -> None:
    """tanh(1.5 x + 2 u) forgets nothing under zero input, but does under this series."""
    net, u = EchoStateNetwork([[1.5]], W_in=[[2.0]]), np.sin(0.3 * np.arange(150))[:, None]
    tube = found(net, u)
    assert tube.radius > 0.05
    assert tube.rate < 1.0
    assert tube.washout is not None
    assert tube.entry is None
    assert f"after {tube.washout} steps" in tube.sentence
    assert check_certificate(tube.document).valid
    holds_by_brute_force(net, tube, u)


def test_feedback_is_folded_in() -> None:
    net = network(4, 0.8, 3)
    readout = Readout(np.random.default_rng(1).normal(size=(1, 4)), None, [0.1])
    looped = EchoStateNetwork(net.W, W_in=net.W_in, W_fb=0.2 * net.W_in, readout=readout)
    u = signal(10)
    tube = found(looped, u)
    assert naive_check(tube.document)
    holds_by_brute_force(looped, tube, u)


def test_the_norms_satisfy_their_inequality() -> None:
    """J'P_(k+1)J <= rate^2 P_k for Jacobians at random states of the tube."""
    net, u = network(12, 0.95, 4), signal(30)
    tube = found(net, u)
    width = float.fromhex(tube.document["witness"]["tube"])
    path = _Path(net, u, np.zeros(12), np.inf)
    norms = path.norms(tube.rate, width, round)
    assert norms is not None
    rng = np.random.default_rng(6)
    for k in range(30):
        d = rng.normal(size=12)
        d *= width / np.sqrt(d @ norms[k] @ d)
        J = net.jacobian(tube.states[k] + d, u[k])
        gap = tube.rate**2 * norms[k] - J.T @ norms[k + 1] @ J
        assert np.linalg.eigvalsh(0.5 * (gap + gap.T))[0] > 0.0


@pytest.mark.slow
def test_a_hundred_units() -> None:
    net, u = network(100, 0.95, 0), signal(130)
    x0 = driven(net, np.zeros((1, 100)), u[:100])[-1, 0]
    tube = found(net, u[100:], x0)
    assert tube.radius > 2e-3
    holds_by_brute_force(net, tube, u[100:])


def test_a_global_proof_leads_every_state_into_the_tube() -> None:
    net, u = network(8, 0.6, 1), 3.0 * signal(140)
    region = global_region(net)
    candidate = incremental_lurie(region.sector).candidate
    assert candidate is not None
    tube = found(net, u, proof=(candidate, region))
    slow = washout_steps(candidate, 8, spread=2.0, epsilon=1e-6)
    assert tube.entry is not None
    assert tube.washout is not None
    assert slow is not None
    assert tube.entry < tube.washout < slow
    rng = np.random.default_rng(7)
    states = driven(net, rng.uniform(-1, 1, (100, 8)), u)
    assert np.ptp(states[tube.washout :], axis=1).max() <= 1e-6
    width = float.fromhex(tube.document["witness"]["tube"])
    gaps = np.linalg.norm(states - tube.states[:, None], axis=2)
    assert gaps[tube.entry :].max() <= width
    # The entry must not come before the proof has led there.
    forged = copy.deepcopy(tube.document)
    forged["witness"]["entry"]["steps"] = 1
    assert not check_certificate(forged).valid


def test_a_proof_on_the_box_of_states_serves_as_entry() -> None:
    net, u = EchoStateNetwork([[1.5]], W_in=[[1.0]]), 2.0 + signal(60)
    region = box_region(net, InputSignal(u))
    assert region is not None
    candidate = perron_weights(region.sector).candidate
    assert candidate is not None
    tube = found(net, u, proof=(candidate, region))
    assert tube.entry is not None
    assert tube.entry >= region.steps
    assert naive_check(tube.document)
    states = driven(net, np.linspace(-1, 1, 50)[:, None], u)
    assert np.ptp(states[tube.washout :], axis=1).max() <= 1e-6


def test_forgeries_are_rejected() -> None:
    net, u = network(3, 1.0, 8), signal(15)
    document = found(net, u, epsilon=0.1).document

    def forged(change: Any) -> bool:
        other = copy.deepcopy(document)
        change(other)
        return check_certificate(other).valid

    assert forged(lambda d: None)
    radius, rate = (float.fromhex(document["claim"][name]) for name in ("radius", "rate"))
    assert not forged(lambda d: d["claim"].update(radius=(1.5 * radius).hex()))
    assert not forged(lambda d: d["claim"].update(rate=(0.8 * rate).hex()))
    assert not forged(lambda d: d["claim"]["inputs"].update(values=array_section(u + 1.0)))
    narrow = 0.5 * float.fromhex(document["witness"]["tube"])
    assert not forged(lambda d: d["witness"].update(tube=narrow.hex()))
    section = document["witness"]["states"]
    states = np.frombuffer(base64.b64decode(section["data"]), "<f8").reshape(section["shape"]).copy()
    states[7, 1] += 1.0
    assert not forged(lambda d: d["witness"].update(states=array_section(states)))


def test_where_there_is_none() -> None:
    u = signal(60)
    chaotic = certify_tube(network(60, 3.0, 9, b=0.1), 0.01 * u)
    assert isinstance(chaotic, NoTube)
    assert "nothing is forgotten" in chaotic.reason
    fast = certify_tube(network(8, 0.9, 9), u, rate=0.05)
    assert isinstance(fast, NoTube)
    assert "at this rate" in fast.reason
    net = network(3, 0.9, 9)
    custom = dataclasses.replace(net, activation=Activation.from_sympy("tanh(2*x)"))
    assert isinstance(certify_tube(custom, u), NoTube)
    squares = dataclasses.replace(net, W_fb=net.W_in, readout=Readout([[0.1] * 3], [[0.1] * 3]))
    assert isinstance(certify_tube(squares, u), NoTube)
    runaway = EchoStateNetwork([[2.0]], W_in=[[1.0]], activation="identity")
    assert isinstance(certify_tube(runaway, u), NoTube)
    late = certify_tube(network(40, 0.9, 9), u, budget=0.0)
    assert late == NoTube("the budget is spent")


def test_a_long_signal_is_cut_to_what_a_check_can_do() -> None:
    net, u = network(30, 0.5, 9), signal(3000)
    tube = found(net, u, rate=0.9, budget=2.0)
    assert 1 <= tube.steps < 3000
    assert tube.states.shape == (tube.steps + 1, 30)
    assert f"for {tube.steps} steps" in tube.sentence


def test_misuse() -> None:
    net = network(3, 0.9, 9)
    for more, match in (
        ({"rate": 1.0}, "rate"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"budget": -1.0}, "budget"),
        ({"x0": [0.0]}, "x0"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            certify_tube(net, signal(5), **more)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="n_inputs"):
        certify_tube(net, np.zeros((5, 2)))
