"""What comes with a verdict: washout, bracket, repair, local claims, assumptions, budgets."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
import scipy.sparse

from esntools.activations import Activation
from esntools.certificates import certify_esp, certify_repair, check_certificate
from esntools.certificates.adversary import SlopePattern
from esntools.certificates.edges import refuted_by_pattern
from esntools.certificates.refute import origin_gain
from esntools.certificates.regions import global_region
from esntools.certificates.repair import Bracket, find_bracket
from esntools.certificates.scaling import optimal_lurie
from esntools.certificates.verdicts import Refuted, meaning
from esntools.certificates.washout import extent
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.inputs import AnyInput, Constant, InputBox, InputSignal, Zero
from esntools.network import EchoStateNetwork, Readout


def random_network(n: int, radius: float, seed: int, **more: object) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    return EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (n, 1)), **more)  # type: ignore[arg-type]


# -- the proved washout ------------------------------------------------------------------------------------


def reducible() -> EchoStateNetwork:
    """Two components that contract, one driving the other through a weight of 50."""
    W = np.zeros((5, 5))
    W[:3, :3] = random_network(3, 0.8, 2).dense_W()
    W[3:, 3:] = [[0.0, -0.8], [0.8, 0.0]]
    W[3, 0] = 50.0
    return EchoStateNetwork(W, W_in=np.ones((5, 1)))


WASHED: dict[str, tuple[EchoStateNetwork, object]] = {
    "perron": (random_network(6, 0.3, 0), AnyInput()),
    "euclidean": (EchoStateNetwork(0.9 * np.linalg.qr(random_network(5, 1, 1).dense_W())[0]), AnyInput()),
    "lurie": (random_network(10, 0.72, 3), AnyInput()),
    "leaky": (random_network(8, 0.7, 4, leak_rate=0.3), AnyInput()),
    "components": (reducible(), AnyInput()),
    "logistic": (random_network(8, 2.5, 5, activation="logistic"), AnyInput()),
    "box": (random_network(6, 1.4, 6, b=4.0), InputBox(-0.5, 0.5)),
    "constant": (EchoStateNetwork([[2.0]], W_in=[[1.0]], b=1.0), Constant(0.2)),
    "zero": (random_network(8, 0.93, 7), Zero()),
}


@pytest.mark.parametrize("name", WASHED)
def test_states_agree_after_the_proved_washout(name: str) -> None:
    network, inputs = WASHED[name]
    verdict = certify_esp(network, inputs, bracket=False)  # type: ignore[arg-type]
    assert verdict.verdict == "proved", verdict.sentence
    washout = verdict.washout
    assert washout is not None
    assert str(washout.steps) in verdict.sentence
    assert verdict.document["claim"]["washout"]["steps"] == washout.steps
    rng = np.random.default_rng(1)
    low, high = network.activation.value_bounds
    assert washout.spread >= high - low or not math.isfinite(high)
    x = rng.choice([low, high], (60, network.n_units))
    for _ in range(washout.steps):
        u = (
            0.2
            if isinstance(inputs, Constant)
            else 0.0
            if isinstance(inputs, Zero)
            else rng.uniform(-0.5, 0.5)
        )
        x = network.step(x, np.full((60, network.n_inputs), u))
    assert float(np.ptp(x, axis=0).max()) <= washout.epsilon


def test_a_washout_is_no_longer_than_the_norm_needs() -> None:
    verdict = certify_esp(EchoStateNetwork([[0.5]], activation="identity"), AnyInput())
    # 2 * 0.5^k <= 1e-6 from k = 21; the certified rate is a little above 0.5.
    assert verdict.washout is not None
    assert 21 <= verdict.washout.steps <= 23
    earlier = json.loads(json.dumps(verdict.document))
    earlier["claim"]["washout"]["steps"] = 10
    assert not check_certificate(earlier).valid


def test_a_smaller_epsilon_takes_longer() -> None:
    network = random_network(6, 0.6, 0)
    steps = [certify_esp(network, AnyInput(), epsilon=e).washout.steps for e in (1e-3, 1e-6, 1e-12)]
    assert steps[0] < steps[1] < steps[2]
    for epsilon in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="epsilon"):
            certify_esp(network, AnyInput(), epsilon=epsilon)


def test_extent_bounds_the_norm() -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4, 4))
    P = A @ A.T + np.eye(4)
    R = np.linalg.inv(np.linalg.cholesky(P))
    size, reach = extent("incremental-lurie", {"P": P, "R_P": R}, 4)
    for _ in range(200):
        d = rng.uniform(-1, 1, 4)
        norm = math.sqrt(d @ P @ d)
        assert norm <= size * np.abs(d).max() * (1 + 1e-12)
        assert np.all(np.abs(d) <= reach * norm * (1 + 1e-9))


# -- the bracket and the repair ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_repairs_are_verified() -> None:
    network = random_network(12, 0.9, 4)
    verdict = certify_esp(network, AnyInput())
    assert verdict.verdict == "inconclusive"
    assert verdict.repairs
    assert verdict.repairs[0].kind == "spectral radius"
    assert verdict.proved_gain < 1.0 < verdict.refuted_gain
    for repair in verdict.repairs:
        assert repair.sentence in verdict.sentence
        assert check_certificate(repair.document).verdict == "proved"
        assert repair.document["network"]["hash"] == repair.network.content_hash
        assert certify_esp(repair.network, AnyInput()).verdict == "proved"
        value = (
            repair.network.spectral_radius()
            if repair.kind == "spectral radius"
            else repair.network.uniform_leak_rate
        )
        assert value == pytest.approx(repair.value)


def test_a_refuted_network_has_repairs_too() -> None:
    network = random_network(12, 1.3, 0)
    assert certify_esp(network, Zero(), bracket=False).verdict == "refuted"
    repairs = certify_repair(network, Zero())
    assert repairs
    assert repairs[0].value < 1.0
    assert certify_repair(random_network(12, 0.4, 0)) == ()
    looped = EchoStateNetwork([[1.5]], W_fb=[[1.0]], readout=Readout([[1.0]]))
    assert certify_repair(looped, Zero()) == ()
    with pytest.raises(InvalidInputError, match="budget"):
        certify_repair(network, budget=-1.0)


def test_a_smaller_leak_repairs_what_a_smaller_radius_need_not() -> None:
    # Skew: proved for |c| < 1.9 at leak 0.1 (the ellipse criterion), for 1 without leak.
    repairs = {r.kind: r for r in certify_repair(EchoStateNetwork([[0.0, -1.6], [1.6, 0.0]]))}
    assert 0.3 < repairs["leak rate"].value <= 0.45
    assert repairs["spectral radius"].value == pytest.approx(1.0, abs=0.02)


def test_the_bracket_of_decided_networks() -> None:
    proved = certify_esp(random_network(6, 0.5, 1), AnyInput(), bracket=True)
    assert 1.0 < proved.proved_gain < proved.refuted_gain
    refuted = certify_esp(random_network(6, 1.4, 1), AnyInput(), bracket=True)
    assert refuted.verdict == "refuted"
    assert 0.4 < refuted.proved_gain < refuted.refuted_gain <= 1.0


# -- local claims --------------------------------------------------------------------------------------------


def test_a_signal_gets_a_tube_where_no_box_proves() -> None:
    network = random_network(10, 0.97, 3)
    u = np.random.default_rng(0).uniform(-1, 1, (60, 1))
    verdict = certify_esp(network, InputSignal(u), bracket=False)
    assert verdict.verdict == "inconclusive"
    assert verdict.local is not None, verdict.skipped
    assert verdict.local.radius > 0.0
    result = check_certificate(json.loads(json.dumps(verdict.local.document)))
    assert (result.valid, result.verdict) == (True, "local")
    # It is no proof of the property, and is not called one.
    assert verdict.document["format"] == "esntools-inconclusive"
    assert "roved:" not in verdict.sentence


def test_a_constant_input_gets_its_attracting_responses() -> None:
    network = random_network(30, 0.97, 3)
    verdict = certify_esp(network, Zero(), bracket=False)
    assert verdict.verdict == "inconclusive"
    assert verdict.local is not None
    assert verdict.local.at_least >= 1
    assert check_certificate(verdict.local.document).verdict == "local"


# -- activations of one's own --------------------------------------------------------------------------------


def test_a_proof_with_a_custom_activation_names_its_assumption() -> None:
    network = EchoStateNetwork([[0.9, 0.3], [-0.2, 0.8]], activation=Activation.from_sympy("atan(x)/2"))
    verdict = certify_esp(network, AnyInput())
    assert verdict.verdict == "proved"
    assert verdict.assumption is not None
    assert "assuming that the slopes of atan(x)/2 lie in [0, 0.5" in verdict.sentence
    result = check_certificate(json.loads(json.dumps(verdict.document)))
    assert result.valid
    assert result.assumption is not None
    assert "atan(x)/2" in result.assumption
    # The very same document without its assumption does not stand.
    assert not check_certificate({**verdict.document, "assumes": None}).valid
    assert certify_esp(EchoStateNetwork([[0.5]]), AnyInput()).assumption is None


def test_a_custom_activation_is_neither_refuted_nor_proved_beyond_its_slopes() -> None:
    steep = EchoStateNetwork([[2.5]], activation=Activation.from_sympy("atan(x)/2"), W_in=[[1.0]])
    for inputs in (AnyInput(), Zero(), InputBox(10, 11)):
        verdict = certify_esp(steep, inputs, bracket=False)
        assert verdict.verdict == "inconclusive"
        assert "slopes in [0, 0.5" in verdict.reason


@pytest.mark.parametrize(
    "expression",
    ["Piecewise((0, x < 0), (1, True))", "sign(x)", "floor(x)", "exp(x)/(exp(x) + exp(y))", "x**3", "exp(x)"],
)
def test_steps_softmax_and_unbounded_slopes_are_refused(expression: str) -> None:
    with pytest.raises((UnsupportedError, InvalidInputError)):
        EchoStateNetwork([[0.1]], activation=Activation.from_sympy(expression))


# -- the ladder ----------------------------------------------------------------------------------------------


def test_the_ladder_stops_at_the_first_success_and_says_what_it_skipped() -> None:
    easy = certify_esp(random_network(6, 0.2, 0), AnyInput())
    assert [b.name for b in easy.bounds] == ["perron-weights"]
    hard = certify_esp(random_network(30, 0.9, 0), AnyInput(), bracket=False)
    names = [b.name for b in hard.bounds]
    assert names[:3] == ["perron-weights", "spectral-norm", "incremental-lurie"]
    assert len(set(names)) == len(names)
    assert all(b.seconds >= 0.0 for b in hard.bounds)
    assert not any(b.proves for b in hard.bounds)
    reasons = {s.name: s.reason for s in hard.skipped}
    assert "vertices" in reasons["common-quadratic"]
    hopeless = certify_esp(random_network(30, 1.2, 0), AnyInput(), bracket=False)
    reasons = {s.name: s.reason for s in hopeless.skipped}
    assert "no norm contracts" in reasons["incremental-lurie, optimal"]


def test_no_rung_proves_above_its_dual_bound() -> None:
    for seed in range(4):
        for b in certify_esp(random_network(12, 0.9, seed), AnyInput(), bracket=False).bounds:
            if b.dual is not None and b.critical_gain is not None:
                assert b.critical_gain <= b.dual * (1 + 1e-6)


def test_a_few_units_are_decided_over_all_vertices() -> None:
    """Where the Lur'e inequality ends (gain 1 for this skew pair at leak 0.1), one quadratic norm goes on."""
    inside = EchoStateNetwork([[0.0, -1.93], [1.93, 0.0]], leak_rate=0.1)
    verdict = certify_esp(inside, AnyInput(), bracket=False)
    if verdict.verdict == "proved":
        assert verdict.method == "common-quadratic"


def test_thousands_of_sparse_units_stay_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 5000
    rng = np.random.default_rng(0)
    W = scipy.sparse.random_array((n, n), density=2e-4, rng=rng, data_sampler=rng.normal).tocsr()
    network = EchoStateNetwork(0.4 * W)

    def refused(self: EchoStateNetwork) -> None:
        raise AssertionError("a dense matrix of 200 MB")

    monkeypatch.setattr(EchoStateNetwork, "dense_W", refused)
    labels: list[str] = []
    verdict = certify_esp(network, AnyInput(), progress=lambda label, _: labels.append(label))
    assert verdict.verdict == "proved"
    assert verdict.method in ("perron-weights", "cascade")
    assert labels


# -- budgets -------------------------------------------------------------------------------------------------


class Clock:
    """Time passes only when somebody looks: a second for each look."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.now, self.seconds = 1000.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


QUESTIONS: dict[str, tuple[EchoStateNetwork, object]] = {
    "any": (random_network(30, 0.9, 0), AnyInput()),
    "box": (random_network(30, 1.1, 1, b=0.3), InputBox(-1, 1)),
    "zero": (random_network(30, 0.97, 2), Zero()),
    "signal": (random_network(10, 0.97, 3), InputSignal(np.ones((40, 1)))),
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("budget", [5.0, 40.0])
def test_nothing_goes_on_long_after_the_deadline(
    name: str, budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the clock after the deadline stops: few looks are made afterwards."""
    network, inputs = QUESTIONS[name]
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    start = clock.now
    verdict = certify_esp(network, inputs, budget=budget)  # type: ignore[arg-type]
    assert clock.now - start < budget + 40.0
    assert verdict.verdict == "inconclusive"


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_budget_at_all_is_an_honest_inconclusive(name: str) -> None:
    network, inputs = QUESTIONS[name]
    verdict = certify_esp(network, inputs, budget=0.0)  # type: ignore[arg-type]
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == "the budget of 0 s is spent"
    assert verdict.bounds == ()
    assert verdict.repairs == ()
    assert verdict.proved_gain is verdict.refuted_gain is verdict.local is None


# -- other people's networks, and words ----------------------------------------------------------------------


def test_reservoirpy_models_with_a_leak_for_each_unit_and_float32() -> None:
    reservoirpy = pytest.importorskip("reservoirpy")
    leaks = np.linspace(0.2, 1.0, 20)

    def made(leak: np.ndarray, dtype: type) -> object:
        reservoir = reservoirpy.nodes.Reservoir(20, sr=0.6, lr=leak, seed=1, dtype=dtype)
        reservoir.initialize(np.ones((1, 1), dtype=dtype))
        return reservoir

    for dtype in (np.float64, np.float32):
        verdict = certify_esp(made(leaks, dtype), AnyInput(), bracket=False)
        assert verdict.verdict == "proved"
        assert check_certificate(verdict.document).valid
    # ReservoirPy would round 1 - lr at every step, which is another map.
    with pytest.raises(UnsupportedError, match="float32"):
        certify_esp(made(leaks.astype(np.float32), np.float32), AnyInput())


def test_meanings_do_not_promise_more() -> None:
    proved = certify_esp(random_network(4, 0.3, 0), InputBox(-1, 1))
    means, means_not = meaning(proved)
    assert "function of the input alone" in means
    assert "forecasts" in means_not
    refuted = meaning(certify_esp(random_network(4, 1.5, 0), Zero()))
    assert "almost every" in refuted[1]
    signal = InputSignal(np.ones((9, 1)))
    open_question = certify_esp(random_network(10, 0.97, 3), signal, local=False, budget=3.0)
    assert "series" in meaning(open_question)[1]


def test_a_verdict_in_place_of_its_document_is_named() -> None:
    verdict = certify_esp(EchoStateNetwork([[0.5]]), AnyInput())
    with pytest.raises(InvalidInputError, match=r"pass verdict\.document"):
        check_certificate(verdict)  # type: ignore[arg-type]


# -- the edges of the bracket, the order of the rungs, the words of an open question -------------------------


@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_the_edges_for_any_input_come_from_optimal_multipliers_and_from_slope_patterns(leak: float) -> None:
    network = random_network(12, 0.7, 2, leak_rate=leak)
    bounds = certify_esp(network, AnyInput(), bracket=False).bounds
    bracket = find_bracket(network, AnyInput(), bounds, verdict="proved")
    optimum = optimal_lurie(global_region(network).sector, optimise=True).bound.critical_gain
    assert optimum is not None
    assert bracket.proved is not None
    assert bracket.refuted is not None
    assert bracket.proved > 0.99 * optimum
    for gain, document in (
        (bracket.proved, bracket.proved_document),
        (bracket.refuted, bracket.refuted_document),
    ):
        assert document is not None
        assert check_certificate(document).valid
        assert document["network"]["hash"] == network.scaled(gain).content_hash
    # Where the origin loses its stability is the edge for constant inputs, as a rule.
    origin = origin_gain(EchoStateNetwork(network.W, leak_rate=leak))
    assert origin is not None
    assert bracket.proved < bracket.refuted < 0.99 * origin


def test_a_pattern_that_does_not_grow_refutes_nothing() -> None:
    assert refuted_by_pattern(EchoStateNetwork([[0.9]]), SlopePattern(np.ones((2, 1)), 0.9)) is None


def test_zero_input_multipliers_come_before_the_narrower_regions() -> None:
    verdict = certify_esp(random_network(10, 0.95, 0), Zero(), bracket=False)
    assert verdict.method == "zero-input-multipliers"
    assert not any(" on " in b.name for b in verdict.bounds)
    biased = certify_esp(random_network(8, 1.1, 7, b=0.5), Constant(0.7), bracket=False)
    names = [b.name for b in biased.bounds]
    assert any(name.endswith("on chords to the fixed point") for name in names)
    assert not any(name.endswith("on the invariant box") for name in names)


@pytest.mark.slow
@pytest.mark.ci
def test_only_a_verdict_that_was_cut_asks_for_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(30, 0.85, 0)
    whole = certify_esp(network, AnyInput(), bracket=False, local=False, budget=1000.0)
    assert whole.verdict == "inconclusive"
    assert "more time" not in whole.sentence
    assert "no rung proves contraction, and no response that was found refutes it" in whole.reason

    def late(*_: object, deadline: float, **__: object) -> Bracket:
        time.sleep(max(0.0, deadline - time.perf_counter()) + 0.01)
        return Bracket()

    monkeypatch.setattr("esntools.certificates.certify.find_bracket", late)
    monkeypatch.setattr("esntools.certificates.certify.find_repairs", lambda *_, **__: ())
    # On a busy machine the search itself could spend the budget; that is the case below.
    monkeypatch.setattr("esntools.certificates.certify.find_refutation", lambda *_, **__: None)
    cut = certify_esp(network, AnyInput(), local=False, budget=8.0)
    assert "the bracket is incomplete: its time was over" in cut.sentence
    assert "more time" not in cut.sentence

    def slow(*_: object, deadline: float, **__: object) -> None:
        time.sleep(max(0.0, deadline - time.perf_counter()) + 0.01)

    monkeypatch.setattr("esntools.certificates.certify.find_refutation", slow)
    cut = certify_esp(network, AnyInput(), local=False, bracket=False, budget=4.0)
    assert "spent in the search for a counterexample, and no rung proves contraction" in cut.sentence
    assert "give more time" in cut.sentence


def test_a_proved_series_gets_the_shorter_washout_from_its_own_slopes() -> None:
    network = random_network(6, 0.7, 2)
    u = np.random.default_rng(0).uniform(-2, 2, (250, 1))
    verdict = certify_esp(network, InputSignal(u), bracket=False)
    assert verdict.verdict == "proved"
    assert verdict.local is not None
    assert verdict.signal_washout.steps < verdict.washout.steps
    assert f"under this very series from step {verdict.signal_washout.steps} on" in verdict.sentence
    result = check_certificate(json.loads(json.dumps(verdict.local.document)))
    assert (result.valid, result.verdict) == (True, "local")
    x = np.random.default_rng(1).choice([-1.0, 1.0], (60, 6))
    for row in u[: verdict.signal_washout.steps]:
        x = network.step(x, np.broadcast_to(row, (60, 1)))
    assert float(np.ptp(x, axis=0).max()) <= verdict.signal_washout.epsilon
    assert certify_esp(network, InputSignal(u), bracket=False, local=False).signal_washout is None


def test_an_unstable_response_is_not_said_to_keep_copies_apart() -> None:
    # A homoclinic orbit leaves an unstable response and comes back: only the driving apart is certified.
    unstable = certify_esp(EchoStateNetwork([[-1.5]], activation="sine"), AnyInput())
    two = certify_esp(EchoStateNetwork([[1.5]]), Zero())
    for verdict in (unstable, two):
        assert isinstance(verdict, Refuted)
        apart = "do not come together" in meaning(verdict)[0]
        assert apart == (verdict.witness.strength != "unstable response")


def test_a_budget_that_is_no_number_is_named() -> None:
    for value in ("30s", -1.0, math.nan):
        with pytest.raises(InvalidInputError, match=r"^budget: "):
            certify_esp(EchoStateNetwork([[0.5]]), AnyInput(), budget=value)  # type: ignore[arg-type]


def test_a_witness_prints_in_a_few_lines() -> None:
    verdict = certify_esp(EchoStateNetwork(1.6 * np.eye(20)), Zero())
    assert isinstance(verdict, Refuted)
    assert len(repr(verdict.witness)) < 2000
    assert len(repr(verdict)) < 4000


@pytest.mark.slow
@pytest.mark.ci
def test_what_optimised_multipliers_prove_is_proved() -> None:
    """The edge of the bracket is a certificate of the network itself where it reaches the gain 1."""
    rng = np.random.default_rng(5)
    W = rng.standard_normal((50, 50))
    network = EchoStateNetwork(
        0.95 * W / np.abs(np.linalg.eigvals(W)).max(), rng.uniform(-1, 1, (50, 1)), 0.0, 0.5
    )
    verdict = certify_esp(network, InputBox(-1, 1), budget=60.0)
    gain = verdict.proved_gain
    assert gain is not None
    again = certify_esp(network.scaled(gain), AnyInput(), budget=60.0)
    assert again.verdict == "proved"
    assert check_certificate(again.document).valid
