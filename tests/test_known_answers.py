"""Published and hand-checked answers in detail, and relations that every verdict must obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from esntools.certificates import certify_echo_index, certify_esp, check_certificate
from esntools.inputs import AnyInput, Constant, InputBox, Zero
from esntools.network import EchoStateNetwork


def random_network(n: int, radius: float, seed: int, **more: object) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("W", "leak", "stable"),
    [
        ([[0, 10], [-0.012, 1.1]], 1.0, (0.9996886, 0.4383661)),
        ([[-9, 100], [-0.12, 2]], 0.1, (1.000, 0.943217)),
    ],
)
def test_two_attractors_below_spectral_radius_one(
    W: list[list[float]], leak: float, stable: tuple[float, float]
) -> None:
    """Yildiz, Jaeger and Kiebel: a spectral radius below 1 is not enough."""
    network = EchoStateNetwork(W, W_in=np.ones((2, 1)), leak_rate=leak)
    J = (1 - leak) * np.eye(2) + leak * np.array(W)
    assert np.abs(np.linalg.eigvals(J)).max() < 1.0
    verdict = certify_esp(network, Zero(), bracket=False)
    assert verdict.verdict == "refuted"
    # Of the two stable points and 0, any two attracting ones will do.
    assert verdict.strength == "two attracting responses"
    assert verdict.input_radius > 0.0
    assert "attracting" in verdict.sentence
    known = [np.zeros(2), np.array(stable), -np.array(stable)]
    for point in verdict.witness.points:
        assert min(float(np.abs(point.x - x).max()) for x in known) < 1e-3
    bound = certify_echo_index(network)
    assert bound.at_least == 3
    reached = {min(range(3), key=lambda k: float(np.abs(x - known[k]).max())) for x in bound.points}
    assert reached == {0, 1, 2}


def test_a_hopfield_network_holds_its_patterns_and_their_mirror_images() -> None:
    X = np.random.default_rng(5).choice([-1.0, 1.0], (60, 2))
    bound = certify_echo_index(EchoStateNetwork(1.6 * X @ X.T / 60.0))
    assert bound.at_least >= 4
    overlaps = bound.points @ X / 60.0
    which = {(int(np.argmax(np.abs(o))), float(np.sign(o[np.argmax(np.abs(o))]))) for o in overlaps}
    assert len(which) == 4
    assert float(np.abs(overlaps).max(axis=1).min()) > 0.8


def test_the_skew_pair_is_decided_up_to_the_ellipse_and_beyond_the_origin() -> None:
    """Proved for |c| < 1.9 at leak 0.1; refuted at the origin from the square root of 19 on."""
    for c, leak, proved in ((1.89, 0.1, True), (1.69, 0.3, True), (0.99, 1.0, True)):
        W = [[0.0, -c], [c, 0.0]]
        assert (certify_esp(EchoStateNetwork(W, leak_rate=leak), AnyInput()).verdict == "proved") == proved
    for c, expected in ((4.34, "inconclusive"), (4.38, "refuted")):
        pair = EchoStateNetwork([[0.0, -c], [c, 0.0]], leak_rate=0.1)
        verdict = certify_esp(pair, Constant([]), bracket=False, local=False, budget=20.0)
        if expected == "refuted":
            assert verdict.verdict == "refuted"
        assert verdict.verdict != "proved"


def test_a_large_input_saturates_and_a_small_one_does_not() -> None:
    network = EchoStateNetwork([[2.0]], W_in=[[1.0]], b=1.0)
    proved = certify_esp(network, Zero())
    assert proved.verdict == "proved"
    assert "every state within the range" in proved.sentence or "after the first" in proved.sentence
    # x = tanh(2 x + 1): the chords to 0.9947 still let the distance shrink.
    assert certify_esp(network, Constant(2.0)).verdict == "proved"
    refuted = certify_esp(network, InputBox(-3, 1))
    assert refuted.verdict == "refuted"
    assert "input of the class" in refuted.sentence


def test_multipliers_prove_zero_input_where_no_norm_does_and_never_anything_else() -> None:
    network = random_network(10, 0.95, 1)
    at_zero = certify_esp(network, Zero(), bracket=False)
    assert at_zero.verdict == "proved"
    assert at_zero.method == "zero-input-multipliers"
    assert at_zero.document["claim"]["inputs"] == {"kind": "zero"}
    for inputs in (AnyInput(), InputBox(-1, 1), Constant(0.5)):
        other = certify_esp(network, inputs, bracket=False, local=False, budget=0.5)
        assert other.method != "zero-input-multipliers"
    biased = random_network(10, 0.95, 1, b=0.01)
    assert (
        certify_esp(biased, Zero(), bracket=False, local=False, budget=0.5).method != "zero-input-multipliers"
    )
    forged = {**at_zero.document, "claim": {**at_zero.document["claim"], "inputs": {"kind": "any"}}}
    assert not check_certificate(forged).valid


@pytest.mark.parametrize("seed", range(3))
def test_transposition_keeps_what_quadratic_norms_prove(seed: int) -> None:
    """The numerical range of W' is that of W mirrored, so the Lur'e inequality holds for both."""
    network = random_network(12, 0.7, seed)
    one = certify_esp(network, AnyInput(), bracket=False)
    other = certify_esp(EchoStateNetwork(network.dense_W().T), AnyInput(), bracket=False)
    assert one.verdict == other.verdict == "proved"


def test_a_witness_can_be_replayed() -> None:
    for network, inputs in (
        (EchoStateNetwork([[1.5]]), Zero()),
        (random_network(12, 0.97, 4), AnyInput()),
    ):
        verdict = certify_esp(network, inputs, bracket=False)
        assert verdict.verdict == "refuted"
        one, two = verdict.witness.replay(300)
        assert one.shape == two.shape == (301, network.n_units)
        assert float(np.abs(one[-100:] - two[-100:]).max()) > 1e-3


@pytest.mark.slow
def test_verdicts_agree_between_a_class_and_a_smaller_one() -> None:
    for seed in range(4):
        network = random_network(6, 0.75 + 0.1 * seed, seed, b=0.2)
        verdicts = [
            certify_esp(network, inputs, bracket=False, local=False).verdict
            for inputs in (AnyInput(), InputBox(-1, 1), InputBox(-0.1, 0.1), Constant(0.05))
        ]
        # Proved for more is proved for less; refuted for less is refuted for more.
        for larger, smaller in itertools.pairwise(verdicts):
            assert not (larger == "proved" and smaller != "proved")
            assert not (smaller == "refuted" and larger == "proved")
