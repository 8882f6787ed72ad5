"""The independent checker: known answers, forgeries, what is no certificate, rounding, sizes."""

from __future__ import annotations

import base64
import copy
import json
import math
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from naive_certificates import naive_outcome, slopes, values

from esntools.activations import ACTIVATIONS, Activation
from esntools.certificates import check, check_certificate, documents
from esntools.certificates.documents import (
    array_section,
    local_document,
    network_section,
    proved_document,
    refuted_document,
    slopes_section,
    witness_section,
)
from esntools.certificates.sectors import Candidate, congruence
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputBox, InputClass, Zero
from esntools.network import EchoStateNetwork

CHECKER = Path(check.__file__)
CORPUS = Path(__file__).parent / "corpora" / "certificates" / "valid"
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(CORPUS.glob("*.json"))}
Document = dict[str, Any]


def accepted(document: Any, folder: Path = CORPUS) -> bool:
    try:
        check.check(document, folder)
    except (check.Invalid, check.Undecided):
        return False
    return isinstance(document, dict) and document.get("format") == "esntools-certificate"


def proof(
    network: EchoStateNetwork, theorem: str, rate: float, witness: Document,
    bounds: tuple[float, float] = (0.0, 1.0), *, washout: Document | None = None, assumes: Any = None,
) -> Document:  # fmt: skip
    """A certificate for every input, with one range of slopes for all units."""
    low, high = (np.full(network.n_units, s) for s in bounds)
    return proved_document(
        network, Candidate(theorem, rate, witness), AnyInput(), slopes_section("global", low, high),
        states="all", notes={}, washout=washout, assumes=assumes,
    )  # fmt: skip


def ones(n: int) -> np.ndarray:
    return np.ones(n)


# -- known answers: the least rate that each theorem proves -------------------------------------------------

SWAP = np.array([[0.0, 2.0], [0.125, 0.0]])  # scaled by diag(1, 4) it is half an orthogonal matrix
CHAIN = np.array([[0.5, 0.0], [100.0, 0.5]])


def least_rates() -> dict[str, tuple[float, Any]]:
    """By name: the infimum of the rates, and the certificate as a function of the rate."""
    half, swap, chain = EchoStateNetwork([[0.5]]), EchoStateNetwork(SWAP), EchoStateNetwork(CHAIN)
    leaky = EchoStateNetwork([[-2.0]], leak_rate=0.5)  # between 0.5 and 0.5 - 1
    single: Document = {"theorem": "perron-weights", "rate": 0.5, "witness": {"weights": ones(1)}}

    def odd(rate: float) -> Document:
        # [[r^2, -1/2], [-1/2, 1]] is positive definite for r > 1/2.
        R = congruence(np.array([[max(rate, 0.501) ** 2, -0.5], [-0.5, 1.0]]))
        one = np.eye(1)
        return proved_document(
            half, Candidate("zero-input-multipliers", rate, {"P": one, "Q": one, "R": R, "R_P": one}),
            Zero(), slopes_section("odd", np.zeros(1), ones(1)), states="all", notes={},
        )  # fmt: skip

    def lurie(rate: float) -> Document:
        # J = D / 2 with D in [0, 1]; P = 1/2 and x = 1: [[r^2/2 - 1/32 - 1/4, -1/16], [-1/16, 7/8]].
        S = np.array([[max(rate, 0.76) ** 2 / 2 - 9 / 32, -1 / 16], [-1 / 16, 7 / 8]])
        witness = {"multipliers": ones(1), "P": 0.5 * np.eye(1), "R": congruence(S), "R_P": np.eye(1)}
        return proof(half, "incremental-lurie", rate, witness)

    blocks = [{"units": [i], **single} for i in range(2)]
    weights = np.array([1.0, 16.0])
    return {
        "perron": (0.5, lambda r: proof(half, "perron-weights", r, {"weights": ones(1)})),
        "spectral": (0.5, lambda r: proof(half, "spectral-norm", r, {"R": np.eye(1)})),
        "schur": (0.5, lambda r: proof(swap, "diagonal-schur", r, {"weights": weights, "R": np.eye(2)})),
        # r^2 / 2 = 9/32 + (1/16)^2 / (7/8)
        "lurie": (math.sqrt(9 / 16 + 1 / 112), lurie),
        "vertices": (0.5, lambda r: proof(leaky, "common-quadratic", r, {"P": np.eye(1), "R_P": np.eye(1)})),
        "cascade": (0.6, lambda r: proof(
            chain, "cascade", r, {"blocks": blocks, "weights": np.array([1.0, 1000.0])})),
        "odd": (0.5, odd),
    }  # fmt: skip


@pytest.mark.parametrize("name", least_rates())
def test_the_least_rate_is_the_known_one(name: str) -> None:
    least, document = least_rates()[name]
    for rate, expected in ((least + 0.004, True), (least + 2.0**-30, name != "odd" and name != "lurie")):
        result = check_certificate(document(rate))
        assert result.valid or not expected, result.reason
        assert naive_outcome(document(rate)) == ("valid" if result.valid else naive_outcome(document(rate)))
    assert not check_certificate(document(least - 2.0**-30)).valid
    # Reached in the maximum norm, where the conditions are not strict; 0.6 is not a double.
    assert check_certificate(document(least)).valid == (name == "perron")


def test_washout_of_one_unit_is_the_power_of_the_rate() -> None:
    network = EchoStateNetwork([[0.5]])
    for steps, expected in ((9, False), (10, True), (10**18, True)):
        washout = {"spread": (1.0).hex(), "epsilon": (2.0**-10 * 1.0001).hex(), "steps": steps}
        document = proof(network, "perron-weights", 0.5, {"weights": ones(1)}, washout=washout)
        assert check_certificate(document).valid == expected
    washout = {"spread": (1.0).hex(), "epsilon": (2.0**-1074).hex(), "steps": 10**19 - 1}
    assert check_certificate(
        proof(network, "perron-weights", 0.5, {"weights": ones(1)}, washout=washout)
    ).valid


def chord_proof(b: float, high: float, margin: float = 2.0**-9) -> Document:
    """x+ = tanh(0.9 x + b), with the slopes of chords to its fixed point."""
    network, x = EchoStateNetwork([[0.9]], b=b), 0.0
    for _ in range(2000):
        x = math.tanh(0.9 * x + b)
    z, ends = 0.9 * x + b, np.linspace(b - 0.9, b + 0.9, 20001)
    chords = (np.tanh(ends) - x) / np.where(ends == z, np.nan, ends - z)
    low, top = np.nanmin(chords) - margin, np.nanmax(chords) + margin
    ball = {
        "centre": np.array([x]), "fine": np.zeros(1), "radius": 2.0**-40,
        "C": np.array([[1 / (1 - 0.9 * (1 - x * x))]]),
    }  # fmt: skip
    slopes_ = slopes_section("secant", np.array([low]), np.array([min(top, high)]), steps=0, ball=ball)
    rate = math.ceil(2.0**30 * 0.9 * min(top, high)) / 2.0**30
    candidate = Candidate("perron-weights", rate, {"weights": ones(1)})
    return proved_document(network, candidate, Constant([]), slopes_, states="box", notes={})


def test_chords_to_the_fixed_point_are_flatter_than_the_steepest_slope() -> None:
    # At b = 1 the box [0.1, 1.9] has slopes up to 0.99; chords to the fixed point near 1.75 only up to 0.6.
    document = chord_proof(1.0, 1.0)
    assert float.fromhex(document["claim"]["rate"]) < 0.6
    result = check_certificate(document)
    assert result.valid, result.reason
    assert naive_outcome(document) == "valid"
    for b in (-1.0, 0.3, 0.0):
        assert check_certificate(chord_proof(b, 1.0)).valid
    # The bound of the chords cannot be lowered.
    assert not check_certificate(chord_proof(1.0, 0.45)).valid


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_chords_are_enclosed(name: str) -> None:
    rng, phi = np.random.default_rng(4), check.ACTIVATIONS[ACTIVATIONS[name].expression]
    for _ in range(6):
        low, high, star = rng.uniform(-4, 0), rng.uniform(0, 4), rng.uniform(-5, 5)
        y = np.linspace(low, high, 4001)
        chords = np.diff([ACTIVATIONS[name](y), np.full_like(y, ACTIVATIONS[name](np.array(star)))], axis=0)[
            0
        ]
        chords = chords[abs(y - star) > 1e-3] / (star - y[abs(y - star) > 1e-3])
        least, most = F(chords.min()), F(chords.max())
        z = (math.floor(low * check.ONE), math.ceil(high * check.ONE))
        at = (math.floor(star * check.ONE) - 1, math.ceil(star * check.ONE) + 1)
        room = F(1, 500)
        assert check.secant_within(phi, least - room, most + room, z, at)
        if most - least > 2 * room:
            assert not check.secant_within(phi, least + room, most + room, z, at)
            assert not check.secant_within(phi, least - room, most - room, z, at)


def test_an_unknown_activation_is_assumed_to_have_its_slopes() -> None:
    network = EchoStateNetwork([[0.5]], activation=Activation.from_sympy("atan(x)"))
    assumes = {"low": (0.0).hex(), "high": (1.0).hex()}
    document = proof(network, "perron-weights", 0.5, {"weights": ones(1)}, assumes=assumes)
    result = check_certificate(document)
    assert result.valid
    assert result.assumption == "the slopes of 'atan(x)' lie in [0.0, 1.0]"
    assert result.reason.endswith("assuming that " + result.assumption)
    assert check_certificate({**document, "assumes": None}).verdict == "undecided"
    known = proof(EchoStateNetwork([[0.5]]), "perron-weights", 0.5, {"weights": ones(1)}, assumes=assumes)
    assert check_certificate(known).verdict == "invalid"


def test_a_ball_is_entered_when_the_step_of_its_centre_is_short_enough() -> None:
    # x+ = x / 2 moves the centre 0.125 by 0.0625, and half of the radius must exceed that.
    network = EchoStateNetwork([[0.5]], activation="identity")
    for radius, expected in ((0.125 + 2.0**-20, True), (0.125, False), (0.125 - 2.0**-20, False)):
        part = slopes_section(
            "ball", ones(1), ones(1), centre=np.array([0.125]), fine=np.zeros(1), radius=radius
        )
        ball = {"theorem": "perron-weights", "rate": 0.5, "slopes": part, "witness": {"weights": ones(1)}}
        claim = {"inputs": {"kind": "zero"}, "responses": 1}
        document = local_document(
            network, "attracting-balls", claim=claim, witness={"balls": [ball]}, notes={}
        )
        assert check_certificate(document).valid == expected
        assert (naive_outcome(document) == "valid") == expected


def test_an_unstable_point_must_be_unstable_in_all_of_its_ball() -> None:
    # x+ = tanh(-1.5 x): the slope at the rim, -1.5 sech(1.5 r)^2, is -1 at r = 0.439; I - J is nowhere
    # singular. Enclosures about a midpoint lose a little.
    network = EchoStateNetwork([[-1.5]])
    for radius, expected in ((0.4, True), (0.45, False), (0.58, False)):
        ball = {
            "centre": np.zeros(1), "fine": np.zeros(1), "radius": radius, "C": np.array([[0.45]]),
        }  # fmt: skip
        witness = {
            "input": np.zeros((1, 0)), "ball": ball, "P": -np.eye(1), "R": np.eye(1), "v": ones(1),
        }  # fmt: skip
        document = refuted_document(network, "unstable-fixed-point", Zero(), witness=witness, notes={})
        assert check_certificate(document).valid == expected, radius
        assert (naive_outcome(document) == "valid") == expected


@pytest.mark.parametrize(("push", "expected"), [(0.0, True), (0.0115, True), (0.0125, False), (0.02, False)])
def test_what_the_states_stray_before_an_entry_counts(push: float, expected: bool) -> None:
    # x+ = x / 2 between -1 and 1, three steps from -1, each of which strays by `push`. From 1, the distance
    # to the true orbit is 2 / 2^3 then, 1/32 less than the tube; the states are off by 1.75 push, and by
    # 2.62 push in the norms: at 0.02 the statement is false.
    network = EchoStateNetwork([[0.5]], activation=Activation.from_sympy("Max(-1, Min(1, x))"))
    states = [-1.0]
    for _ in range(3):
        states.append(states[-1] / 2 - push)
    entry = {
        "theorem": "perron-weights", "rate": 0.5, "slopes": slopes_section("global", np.zeros(1), ones(1)),
        "witness": {"weights": ones(1)}, "steps": 3,
    }  # fmt: skip
    signal = {"kind": "signal", "values": array_section(np.zeros((3, 0)))}
    claim = {"inputs": signal, "rate": (0.75).hex(), "radius": (0.125).hex(), "washout": None}
    witness = {"states": np.array(states)[:, None], "tube": 9 / 32, "entry": entry}
    document = local_document(network, "contracting-tube", claim=claim, witness=witness, notes={})
    result = check_certificate(document)
    assert result.valid == expected
    assert expected or result.reason.startswith("entry")
    assert (naive_outcome(document) == "valid") == expected
    assert check_certificate(replaced(document, ("witness", "entry"), None)).valid


def test_gaps_of_a_ball_may_cancel() -> None:
    # x+ = x / 2 at two phases, (t, -t) from its fixed point: the gaps are 3t/2 and -3t/2, but C G is (t, -t).
    net = check.Network(network_section(EchoStateNetwork([[0.5]], activation="identity")), None, None)
    for t, expected in ((0.9, True), (1.1, False)):
        centre, C = 0.0625 * t * np.array([1.0, -1.0]), np.array([[4.0, 2.0], [2.0, 4.0]]) / 3.0
        part = witness_section({"centre": centre, "fine": np.zeros(2), "radius": 0.0625, "C": C})
        if expected:
            check.Ball(net, part, [[F(0)], [F(0)]])
        else:
            with pytest.raises(check.Invalid, match="fixed point"):
                check.Ball(net, part, [[F(0)], [F(0)]])


def test_bounds_of_quadratic_norms_hold_and_are_sharp() -> None:
    rng = np.random.default_rng(7)
    for n in (1, 2, 5):
        A, V = rng.normal(size=(2, n, n))
        P = np.round((A @ A.T + 0.1 * np.eye(n)) * 2**30) / 2**30
        rows = check.Matrix.of(n, n, V.ravel().tolist()).rows()
        matrices = [check.Matrix.of(n, n, M.ravel().tolist()) for M in (P, congruence(P))]
        norm, inverse, e = check.quadratic(rows, *matrices), np.linalg.inv(P), rng.uniform(size=n)
        for found, least in (
            (norm.reach(), np.sqrt(np.diag(inverse))), (norm.tilt(), np.sqrt(np.diag(V @ inverse @ V.T)))
        ):  # fmt: skip
            ratios = np.array([float(x) for x in found]) / least
            assert np.all((ratios >= 1.0 - 1e-12) & (ratios < 1.25))
        assert float(norm.size([F(x) for x in e])) == pytest.approx(math.sqrt(e @ abs(P) @ e), rel=1e-12)
        for wrong in (-1.0, 0.0):
            with pytest.raises(check.Invalid, match="positive definite"):
                check.quadratic(rows, check.Matrix.of(n, n, (wrong * P).ravel().tolist()), matrices[1])


# -- enclosures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_enclosures_hold_the_function_and_agree_with_the_series_of_the_other_checker(name: str) -> None:
    activation = ACTIVATIONS[name]
    phi, rng = check.ACTIVATIONS[activation.expression], np.random.default_rng(1)
    for _ in range(60):
        centre, radius = rng.normal() * 10.0 ** rng.uniform(-3, 0.8), 10.0 ** rng.uniform(-6, 0.7)
        low, high = math.floor((centre - radius) * check.ONE), math.ceil((centre + radius) * check.ONE)
        z = np.linspace(centre - radius, centre + radius, 50)[1:-1]
        ends = (F(low, check.ONE), F(high, check.ONE))
        pairs = (
            (phi.values_on(low, high), activation(z), values(activation.expression, *ends)),
            (phi.slopes_on(low, high), activation.slope(z), slopes(activation.expression, *ends)),
        )
        for (below, above), seen, (other_below, other_above) in pairs:
            assert below / check.ONE <= seen.min() + 1e-14
            assert above / check.ONE >= seen.max() - 1e-14
            # Two enclosures of one range must overlap; for monotone pieces they also agree closely.
            assert below / check.ONE <= float(other_above) + 1e-15
            if name != "sine":
                assert abs(below / check.ONE - float(other_below)) < 1e-15
                assert abs(above / check.ONE - float(other_above)) < 1e-15


def test_erf_constant() -> None:
    assert check.ERF**2 * F(31415926535897932384626433832795, 10**31) > 4
    assert (check.ERF - F(1, 10**18)) ** 2 * F(31415926535897932384626433832796, 10**31) < 4


def test_roots_and_powers_are_rounded_up_and_hardly() -> None:
    random_ = random.Random(0)
    for _ in range(200):
        x = F(random_.getrandbits(60) + 1, 1 << random_.randrange(0, 400))
        root = check.up_root(x)
        assert x < root * root <= x * (1 + F(1, 1 << 80))
        base, k = F(random_.getrandbits(53), 1 << 53), random_.randrange(60)
        assert base**k <= check.up_power(base, k) <= base**k * (1 + F(1, 1 << 100)) + F(1, 1 << 3900)
    assert check.up_root(F(0)) == 0


# -- rounding ----------------------------------------------------------------------------------------------


def exact(M: check.Matrix) -> list[F]:
    return [F(int(x), 1 << M.e) for x in M.body.entries()]


@pytest.mark.parametrize("integers", ["flint", "plain"])
def test_rounded_matrices_enclose_what_they_stand_for(integers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if integers == "plain":
        monkeypatch.setattr(check, "Integers", check.Plain)
        monkeypatch.setattr(check, "fmpz", int)
    rng, seen = np.random.default_rng(5), 0
    for _ in range(30):
        n, bits = int(rng.integers(1, 6)), int(rng.integers(4, 20))
        A, B = (rng.normal(size=(n, n)) * 10.0 ** rng.integers(-3, 4) for _ in range(2))
        d = [F(x) for x in rng.normal(size=n)]
        results = []
        for keep in (bits, None):
            a, b = (check.Matrix.of(n, n, M.ravel().tolist()).keep(keep) for M in (A, B))
            c = (a * b + b.T.scaled(d) * a.T).plus(d)
            results.append((c * c.T).by(d[0]))
        rough, fine = results
        assert fine.err == 0
        seen += rough.err > 0
        room = F(rough.err, 1 << rough.e)
        assert all(abs(x - y) <= room for x, y in zip(exact(rough), exact(fine), strict=True))
    assert seen > 20


def test_few_bits_never_accept_what_all_bits_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates near the edge: rounding may lose some, never win any."""
    rng, outcomes = np.random.default_rng(6), []
    for k in range(60):
        n = 6
        network = EchoStateNetwork(
            rng.normal(size=(n, n)) / math.sqrt(n) * 0.45, leak_rate=rng.uniform(0.3, 1, n)
        )
        a, W = network.leak_rate, network.dense_W()
        step = np.diag(1 - a) + W.T @ (a[:, None] * W)
        edge = math.sqrt(np.linalg.eigvalsh(step)[-1])
        rate = edge + 10.0 ** rng.uniform(-7, -2)
        R = congruence(rate**2 * np.eye(n) - step)
        if R is None or not rate < 1.0:
            continue
        document = proof(network, "spectral-norm", rate, {"R": R * (1.0 + 1e-3 * k)})
        verdicts = []
        monkeypatch.setattr(check, "MAX_UNITS", 6)  # nothing is checked again exactly
        for bits in (8, 16, 24, None):
            monkeypatch.setattr(check, "BITS", bits)
            verdicts.append(accepted(document))
        assert verdicts == sorted(verdicts)
        outcomes.append(sum(verdicts))
    # Some pass with few bits, some need more.
    assert len(set(outcomes)) >= 3


def test_a_congruence_with_four_full_blocks_is_as_good_as_a_triangular_one() -> None:
    document = EXAMPLES["lurie-skew-leak"]
    part = document["witness"]["R"]
    R = np.frombuffer(base64.b64decode(part["data"]), "<" + part["type"]).reshape(part["shape"])
    mixed = np.kron(np.array([[1.0, 0.125], [-0.125, 1.0]]), np.eye(len(R) // 2)) @ R
    assert np.all(mixed[: len(R) // 2, len(R) // 2 :].any(axis=1))
    forged = replaced(document, ("witness", "R"), array_section(mixed))
    assert accepted(forged)
    for rows in (slice(0, len(R) // 2), slice(len(R) // 2, None)):
        singular = R.copy()
        singular[rows] = 0.0
        assert not accepted(replaced(document, ("witness", "R"), array_section(singular)))


# -- forgeries ---------------------------------------------------------------------------------------------


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document except the notes."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        if (*path, key) != ("notes",):
            yield (*path, key)
            yield from leaves(child, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    forged = copy.deepcopy(document)
    at(forged, path[:-1])[path[-1]] = value
    return forged


WRONG: tuple[Any, ...] = (None, [], {}, "x", 7, True, 0.5, ["box"], {"kind": "any"})
#: What may be replaced and leave a true statement: other steps, no washout, no entry, another class.
STILL_TRUE = {
    ("slopes", "steps"), ("claim", "washout"), ("witness", "entry"), ("claim", "washout", "steps"),
    ("claim", "inputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_missing_renamed_added_and_mistyped_fields_are_rejected(name: str) -> None:
    document, rng = EXAMPLES[name], np.random.default_rng(0)
    for path in leaves(document):
        parent = at(document, path[:-1])
        # Two of nine values at each place: each is met hundreds of times.
        for k in rng.choice(len(WRONG), 2, replace=False):
            value = WRONG[k]
            if value != parent[path[-1]] or type(value) is not type(parent[path[-1]]):
                forged = replaced(document, path, value)
                if accepted(forged):
                    assert path in STILL_TRUE, (path, value)
                    assert naive_outcome(forged, CORPUS) in ("valid", "assumption"), (path, value)
        if isinstance(parent, dict):
            forged = copy.deepcopy(document)
            del at(forged, path[:-1])[path[-1]]
            assert not accepted(forged), path
            forged = copy.deepcopy(document)
            at(forged, path[:-1])[str(path[-1]) + "_"] = 1
            assert not accepted(forged), path


def test_another_network_with_its_own_hash_is_rejected() -> None:
    network = EchoStateNetwork(SWAP)
    document = proof(network, "diagonal-schur", 0.6, {"weights": np.array([1.0, 16.0]), "R": np.eye(2)})
    assert accepted(document)
    # The sine has slopes in [-1, 1]: the claimed range [0, 1] does not hold them.
    for other in (EchoStateNetwork(3.0 * SWAP), EchoStateNetwork(SWAP, activation="sine")):
        forged = replaced(document, ("network",), network_section(other))
        assert not accepted(forged)
        assert naive_outcome(forged, CORPUS).startswith("rejected")


# -- alone, without flint, from the command line -----------------------------------------------------------


def run(arguments: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **more)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """The checker as a lone file in an empty folder where esntools and flint cannot be imported."""
    shutil.copy(CHECKER, tmp_path / "check.py")
    (tmp_path / "flint.py").write_text("raise ImportError\n")
    return tmp_path


def imports(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line.startswith(("import ", "from ")) and "__future__" not in line]


def test_it_runs_alone_without_flint(alone: Path) -> None:
    assert "esntools" not in {line.split()[1].split(".")[0] for line in imports(CHECKER)}
    shutil.copy(CORPUS / "file-network.network", alone)
    script = (
        "import check, json, pathlib, sys\n"
        "for path in sorted(pathlib.Path('.').glob('*.json')):\n"
        "    print(path.stem, check.main([str(path)]))\n"
    )
    for name, document in EXAMPLES.items():
        (alone / f"{name}.json").write_text(json.dumps(document))
    result = run(["-S", "-c", script], cwd=alone)
    lines = result.stdout.splitlines()
    codes = {line.split()[0]: int(line.split()[1]) for line in lines[1::2]}
    assert set(codes) == set(EXAMPLES), result.stderr
    for name, document in EXAMPLES.items():
        kinks = document["network"].get("activation") in ("x", "Max(0, x)", "Max(-1, Min(1, x))")
        globally = document.get("slopes", {}).get("range") in ("global", "odd")
        allowed = {0, 4} if globally else {0} if kinks else {0, 3}
        assert codes[name] in allowed, name
    assert sum(code == 0 for code in codes.values()) >= 12
    assert run(["-S", "check.py", "perron-relu.json"], cwd=alone).returncode == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, 2), ("", 2), ("{", 2), ("[]", 2), ("7", 2), ('{"format": "other"}', 2), (b"\xff\xfe\x00", 2),
        ('{"format": "esntools-certificate", "version": 1}', 3),
        ('{"format": "esntools-certificate", "version": 3}', 3),
        ('{"format": "esntools-certificate", "version": true}', 3),
        ('{"format": "esntools-certificate", "version": 2}', 1),
        ('{"format": "esntools-certificate", "version": 2, "theorem": []}', 1),
        ('{"format": "esntools-certificate", "format": "esntools-certificate"}', 1),
        ('{"format": "esntools-certificate", "version": NaN}', 1),
        ('{"format": "esntools-certificate", "version": -Infinity}', 1),
        ('{"format": "esntools-certificate", "version": ' + "1" * 5000 + "}", 1),
        ('{"format": ' + "[" * 100000, 1),
    ],
)  # fmt: skip
def test_what_is_not_a_certificate(
    content: str | bytes | None, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert check.main([str(path)]) == code
    output = capsys.readouterr()
    assert len((output.out + output.err).splitlines()) == 1


def test_outcomes_by_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    shutil.copy(CORPUS / "file-network.network", tmp_path)
    for name, document in EXAMPLES.items():
        path.write_text(json.dumps(document))
        assert check.main([str(path)]) == (4 if document["assumes"] else 0), name
        path.write_text(json.dumps(document)[:-100])
        assert check.main([str(path)]) == 2, name
    path.write_text(json.dumps(EXAMPLES["file-network"]))
    for content, code in ((None, 3), ("{", 1), ("[]", 1), ("{}", 1), (b"\xff", 1), ("[" * 100000, 1)):
        (tmp_path / "file-network.network").unlink(missing_ok=True)
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / "file-network.network").write_bytes(data)
        assert check.main([str(path)]) == code, content
    assert check.main([]) == 2
    assert check.main([str(tmp_path)]) == 2
    capsys.readouterr()
    result = run(["-m", "esntools.certificates.check", str(tmp_path / "none.json")])
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_terminal_without_unicode_and_the_precision_of_flint_are_respected(alone: Path) -> None:
    import flint

    before = flint.ctx.prec
    assert check_certificate(EXAMPLES["box-tanh-washout"]).valid
    assert flint.ctx.prec == before
    path = alone / "c.json"
    path.write_text(json.dumps({"format": "esntools-certificate", "version": "zw\u00f6lf"}))
    result = run(["-S", "check.py", path.name], cwd=alone, env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 3, result.stdout + result.stderr


# -- sizes -------------------------------------------------------------------------------------------------

NOTHING = {"type": "f8", "data": "", "rows": "", "columns": ""}
ZEROS = base64.b64encode(bytes(8 * 2**16)).decode()


def absurd() -> dict[str, Document]:
    base, odd = EXAMPLES["alphabet-tanh"], EXAMPLES["odd-tanh-washout"]
    tube, two = EXAMPLES["tube-tanh"], EXAMPLES["two-pair-any"]
    cascade = EXAMPLES["cascade-sparse"]
    n, m = (tube["network"][key] for key in ("n_units", "n_inputs"))
    wide = replaced(base, ("network", "W_in"), NOTHING | {"shape": [4000, 10**6]})
    wide["network"] |= {"n_units": 4000, "n_inputs": 10**6, "W": NOTHING | {"shape": [4000, 4000]}}
    many = replaced(base, ("network", "n_units"), 10**6)
    many["network"] |= {"W": NOTHING | {"shape": [10**6, 10**6]}}
    longest = replaced(tube, ("claim", "inputs", "values"), NOTHING | {"shape": [10**6, m]})
    longest["witness"]["states"] = NOTHING | {"shape": [10**6 + 1, n]}
    block = cascade["witness"]["blocks"][0]
    late = np.zeros((5 * 10**4, 1))
    late[-1] = 1.0
    phases = replaced(EXAMPLES["two-periodic-alphabet"], ("claim", "inputs", "symbols"), array_section(late))
    return {
        "phases": replaced(phases, ("witness", "input"), array_section(np.ones((2000, 1)))),
        "inputs": wide,
        "units": many,
        "shape": replaced(base, ("network", "W", "shape"), [10**6, 10**6]),
        "symbols": replaced(base, ("claim", "inputs", "symbols"), NOTHING | {"shape": [2 * 10**5, 1]}),
        "deep shape": replaced(base, ("network", "b", "shape"), [[[[1]]]]),
        "steps": replaced(odd, ("claim", "washout", "steps"), 10**19 - 1),
        "periods": replaced(two, ("witness", "input"), {"shape": [2**15, 2], "type": "f8", "data": ZEROS}),
        "signal": longest,
        "blocks": replaced(cascade, ("witness", "blocks"), [block] * 10000),
        "spread": replaced(odd, ("claim", "washout", "spread"), (1.7e308).hex()),
        "epsilon": replaced(odd, ("claim", "washout", "epsilon"), (5e-324).hex()),
        "rate": replaced(odd, ("claim", "rate"), (5e-324).hex()),
    }


@pytest.mark.parametrize("name", absurd())
def test_absurd_sizes_and_exponents_are_refused_at_once(name: str) -> None:
    document = absurd()[name]
    start = time.process_time()
    result = check_certificate(document)
    assert time.process_time() - start < 5.0
    # Other places where a million zeros are no more than what is claimed.
    assert not result.valid or name in ("steps", "symbols")


def test_weights_of_extreme_exponents() -> None:
    for scale in (5e-324, 1e-300, 1e300):
        W = np.array([[0.5, scale], [0.0, 0.25]])
        document = proof(EchoStateNetwork(W), "perron-weights", 0.75, {"weights": np.array([1.0, 1e-301])})
        assert check_certificate(document).valid == (scale != 1e300 or 1e-301 * 1e300 <= 0.25)
        assert naive_outcome(document, CORPUS) == "valid"


def test_witnesses_of_extreme_exponents() -> None:
    half, two = EchoStateNetwork([[0.5]]), EchoStateNetwork(np.eye(2) / 2)
    for scale in (2.0**-1074, 2.0**-600, 2.0**600, 2.0**1023):
        for document in (
            proof(half, "spectral-norm", 0.75, {"R": scale * np.eye(1)}),
            proof(half, "diagonal-schur", 0.75, {"weights": scale * ones(1), "R": np.eye(1)}),
            proof(half, "common-quadratic", 0.75, {"P": np.eye(1), "R_P": scale * np.eye(1)}),
            proof(two, "common-quadratic", 0.75, {"P": np.eye(2), "R_P": np.diag([1.0, scale])}),
            proof(half, "common-quadratic", 0.75, {"P": scale * np.eye(1), "R_P": np.eye(1)}),
        ):
            result = check_certificate(document)
            assert result.valid, result.reason
    # Signals of a network with such weights.
    signal = {"kind": "signal", "values": array_section(np.zeros((2, 0)))}
    claim = {"inputs": signal, "rate": (0.75).hex(), "radius": (0.125).hex(), "washout": None}
    witness = {"states": np.zeros((3, 1)), "tube": 0.25, "entry": None}
    huge = local_document(
        EchoStateNetwork([[2.0**1000]]), "contracting-tube", claim=claim, witness=witness, notes={}
    )
    assert check_certificate(huge).verdict in ("invalid", "undecided")


def sparse_network(n: int) -> EchoStateNetwork:
    rng = np.random.default_rng(n)
    W = scipy.sparse.csr_array(scipy.sparse.random_array((n, n), density=10 / n, rng=rng))
    return EchoStateNetwork(W * (0.9 / W.sum(axis=1).max()))


def test_sparse_weights_are_never_filled_up() -> None:
    network = sparse_network(5000)
    washout = {"spread": (2.0).hex(), "epsilon": (1e-3).hex(), "steps": 200}
    proofs = [proof(network, "perron-weights", 0.9375, {"weights": ones(5000)}, washout=washout)]
    # Blocks of one unit: the diagonal counts with the rate of its block, the rest with its row.
    own = network.W.diagonal()
    single = {"theorem": "perron-weights", "witness": {"weights": ones(1)}}
    blocks = [{**single, "units": [i], "rate": float(own[i])} for i in range(5000)]
    proofs.append(proof(network, "cascade", 0.9375, {"blocks": blocks, "weights": ones(5000)}))
    for document in proofs:
        start = time.process_time()
        assert check_certificate(document).valid
        assert time.process_time() - start < 30.0
    start = time.process_time()
    forged = replaced(proofs[1], ("claim", "rate"), (0.875).hex())
    assert check_certificate(forged).verdict == "invalid"
    assert time.process_time() - start < 30.0
    full = proof(network, "spectral-norm", 0.9375, {"R": np.zeros((1, 1))})
    assert check_certificate(full).verdict in ("invalid", "undecided")


@pytest.mark.slow
def test_a_thousand_units_in_seconds() -> None:
    n = 1000
    rng = np.random.default_rng(0)
    network = EchoStateNetwork(0.45 / math.sqrt(n) * rng.normal(size=(n, n)))
    W, rate = network.dense_W(), 0.9375
    R = congruence(rate**2 * np.eye(n) - W.T @ W)
    assert R is not None
    document = proof(network, "diagonal-schur", rate, {"weights": ones(n), "R": R})
    start = time.process_time()
    assert check_certificate(document).valid
    assert time.process_time() - start < 20.0
    # In a process of its own, which is ended.
    start = time.perf_counter()
    result = check_certificate(document, deadline=start + 0.5)
    assert (result.verdict, result.reason) == ("undecided", "out of time")
    assert time.perf_counter() - start < 10.0


# -- documents -----------------------------------------------------------------------------------------------


def large_document(n: int = 150) -> Document:
    rng = np.random.default_rng(1)
    network = EchoStateNetwork(0.4 / math.sqrt(n) * rng.normal(size=(n, n)))
    R = congruence(0.9375**2 * np.eye(n) - network.dense_W().T @ network.dense_W())
    return proof(network, "spectral-norm", 0.9375, {"R": R})


def test_a_deadline_is_kept_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_LARGE", 100_000)
    document = large_document()
    late = check_certificate(document, deadline=time.perf_counter() - 1.0)
    assert (late.valid, late.verdict, late.reason) == (False, "undecided", "out of time")
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    for given in (document, path):
        result = check_certificate(given, deadline=time.perf_counter() + 300.0)
        assert result.valid
        assert result.reason == check_certificate(document).reason
    forged = replaced(document, ("claim", "rate"), (0.25).hex())
    result = check_certificate(forged, deadline=time.perf_counter() + 300.0)
    assert (result.valid, result.verdict) == (False, "invalid")
    assert result.reason == check_certificate(forged).reason
    # A small certificate is checked at once, whatever the deadline.
    assert check_certificate(EXAMPLES["perron-relu"], deadline=0.0).valid


def test_the_work_of_a_check_is_estimated_for_anything() -> None:
    tube, secant = EXAMPLES["tube-tanh"], EXAMPLES["secant-tanh-washout"]
    longer = replaced(tube, ("claim", "inputs", "values", "shape"), [10**4, 1])
    assert documents._effort(longer) > 100 * documents._effort(tube)
    assert documents._effort(secant) > 2 * documents._size(secant, 10**6)
    vertices = replaced(EXAMPLES["vertices-softsign"], ("network", "n_units"), 12)
    assert documents._effort(vertices) > documents._LARGE
    for wrong in (None, [], {}, "x", -1, 10**18, {"steps": "x"}, {"inputs": {"values": {"shape": ["x"]}}}):
        for key in ("slopes", "claim", "network"):
            for document in (tube, secant, EXAMPLES["vertices-softsign"]):
                assert documents._effort({**document, key: wrong}) >= 0
                forged = {**document, key: wrong}
                assert not check_certificate(forged, deadline=time.perf_counter() + 60.0).valid


def test_a_network_in_another_file_is_found_beside_the_certificate(tmp_path: Path) -> None:
    for name in ("file-network.json", "file-network.network"):
        shutil.copy(CORPUS / name, tmp_path)
    assert check_certificate(tmp_path / "file-network.json").valid
    assert check_certificate(str(tmp_path / "file-network.json")).valid
    assert check_certificate(EXAMPLES["file-network"]).verdict == "undecided"
    (tmp_path / "file-network.network").unlink()
    assert check_certificate(tmp_path / "file-network.json").verdict == "undecided"


def test_check_certificate_names_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no\.json"):
        check_certificate(tmp_path / "no.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InvalidInputError, match="not JSON"):
        check_certificate(tmp_path / "text.json")
    with pytest.raises(InvalidInputError, match="esntools-certificate"):
        check_certificate({"format": "other"})
    (tmp_path / "good.json").write_text(json.dumps(EXAMPLES["perron-relu"]))
    assert check_certificate(tmp_path / "good.json").valid


def test_witnesses_become_json() -> None:
    part = witness_section({
        "blocks": [{"units": np.array([0, 2]), "rate": np.float64(0.5), "theorem": "perron-weights",
                    "witness": {"weights": np.ones(2)}}],
        "steps": np.int64(3), "entry": None, "rows": (1, 2),
    })  # fmt: skip
    json.dumps(part)
    assert part["blocks"][0]["units"] == [0, 2]
    assert part["blocks"][0]["rate"] == "0x1.0000000000000p-1"
    assert part["blocks"][0]["witness"]["weights"] == array_section(np.ones(2))
    assert (part["steps"], part["entry"], part["rows"]) == (3, None, [1, 2])
    assert witness_section(part) == part
    slopes_ = slopes_section("ball", np.zeros(1), ones(1), centre=ones(1), fine=np.zeros(1), radius=0.5)
    assert set(slopes_) == {"range", "low", "high", "centre", "fine", "radius"}


def test_local_and_refuted_documents_are_accepted() -> None:
    network: EchoStateNetwork = EchoStateNetwork([[2.0]])
    balls = []
    for sign in (-1.0, 1.0):
        x = 0.9575040240772687 * sign
        slope = 1.0 - 0.9575040240772687**2
        part = slopes_section(
            "ball", np.array([0.05]), np.array([slope + 0.05]), centre=np.array([x]), fine=np.zeros(1),
            radius=0.01,
        )  # fmt: skip
        balls.append({
            "theorem": "perron-weights", "rate": 0.5, "slopes": part, "witness": {"weights": ones(1)},
        })  # fmt: skip
    claims: list[tuple[InputClass, float]] = [(Zero(), 0.0), (InputBox([], []), 0.0)]
    from esntools.certificates.documents import claim_section

    for inputs, _ in claims:
        claim = {"inputs": claim_section(inputs), "responses": 2}
        document = local_document(
            network, "attracting-balls", claim=claim, witness={"balls": balls}, notes={}
        )
        assert check_certificate(document).verdict == "local"
        assert not check_certificate(replaced(document, ("claim", "responses"), 3)).valid
    witness = {"input": np.zeros((1, 0)), "inputs": {"kind": "zero"}, "balls": balls}
    document = refuted_document(network, "attracting-balls", Zero(), witness=witness, notes={})
    assert check_certificate(document).verdict == "refuted"
