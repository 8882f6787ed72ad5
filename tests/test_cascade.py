"""Components and the norm made of theirs: exact checks, simulation, relations, what must be refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools._typing import FloatArray, IntArray
from esntools.certificates.cascade import cascade, components
from esntools.certificates.documents import check_certificate, proved_document, slopes_section
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.sectors import Candidate, Sector
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

Q = Fraction


def sector(W: Any, a: float = 1.0, low: float = 0.0, high: float = 1.0) -> Sector:
    n = W.shape[0]
    return Sector(W, np.full(n, a), np.full(n, low), np.full(n, high))


def restricted(whole: Sector, units: IntArray) -> Sector:
    W = np.asarray(scipy.sparse.csr_array(whole.W)[units][:, units].toarray())
    return Sector(W, whole.a[units], whole.low[units], whole.high[units])


def parts_of(whole: Sector) -> list[tuple[IntArray, Candidate]]:
    """Of every component with more than one unit, the first proof; different rungs in turn."""
    rungs = [incremental_lurie, diagonal_schur, spectral_norm, perron_weights]
    parts = []
    for k, units in enumerate(c for c in components(whole.W) if len(c) > 1):
        sub = restricted(whole, units)
        turned = rungs[k % 4 :] + rungs[: k % 4]
        found = next((r for r in (rung(sub).candidate for rung in turned) if r is not None), None)
        assert found is not None
        parts.append((units, found))
    return parts


def exact_norm_squared(block: dict[str, Any], d: list[Q]) -> Q:
    witness, theorem = block["witness"], block["theorem"]
    if theorem == "perron-weights":
        return max(abs(x) / Q(v) for x, v in zip(d, witness["weights"].tolist())) ** 2
    if "P" in witness:
        P = witness["P"].tolist()
        return sum((d[i] * Q(P[i][j]) * d[j] for i in range(len(d)) for j in range(len(d))), Q(0))
    y = witness["weights"].tolist() if "weights" in witness else [1.0] * len(d)
    return sum((Q(v) * x * x for v, x in zip(y, d)), Q(0))


def contracts_exactly(whole: Sector, candidate: Candidate, trials: int, seed: int) -> None:
    """N(J(D) d) <= rate N(d) in fractions, for random and for extreme D and d."""
    rng = np.random.default_rng(seed)
    W = scipy.sparse.csr_array(whole.W).toarray()
    n, blocks, w = len(whole.a), candidate.witness["blocks"], candidate.witness["weights"].tolist()
    assert sorted(i for b in blocks for i in b["units"]) == list(range(n))
    for _ in range(trials):
        corner = rng.integers(0, 2, n) * (whole.high - whole.low) + whole.low
        D = corner if rng.random() < 0.7 else rng.uniform(whole.low, whole.high)
        d = rng.normal(size=n) * rng.integers(0, 2, n)
        exact_d = [Q(x) for x in d.tolist()]
        new = []
        for i in range(n):
            drive = sum((Q(W[i, j]) * exact_d[j] for j in range(n) if W[i, j]), Q(0))
            a = Q(float(whole.a[i]))
            new.append((1 - a) * exact_d[i] + a * Q(float(D[i])) * drive)

        def norm_squared(v: list[Q]) -> Q:
            return max(
                exact_norm_squared(b, [v[i] for i in b["units"]]) / Q(x) ** 2 for b, x in zip(blocks, w)
            )

        assert norm_squared(new) <= Q(candidate.rate) ** 2 * norm_squared(exact_d)


def accepted(whole: Sector, candidate: Candidate) -> bool:
    """Whether the exact checker takes the certificate of a tanh network with these weights."""
    net = EchoStateNetwork(whole.W, leak_rate=whole.a)
    slopes = slopes_section("global", whole.low, whole.high)
    document = proved_document(net, candidate, AnyInput(), slopes, states="all", notes={})
    return check_certificate(document).valid


def layered(seed: int, a: float) -> Sector:
    """Dense blocks of 4, 1, 3, 1, 1, 5 units in a random order of units, coupled one way only."""
    rng = np.random.default_rng(seed)
    sizes = [4, 1, 3, 1, 1, 5]
    n = sum(sizes)
    W, at = np.zeros((n, n)), 0
    for size in sizes:
        block = rng.normal(size=(size, size))
        W[at : at + size, at : at + size] = 0.7 * block / np.linalg.norm(block, 2)
        W[at : at + size, :at] = 3.0 * rng.normal(size=(size, at))
        at += size
    p = rng.permutation(n)
    return sector(W[np.ix_(p, p)], a)


@pytest.mark.parametrize("a", [1.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_blocks_of_any_norm_join_to_a_norm_that_contracts_exactly(seed: int, a: float) -> None:
    whole = layered(seed, a)
    assert spectral_norm(whole).candidate is None
    parts = parts_of(whole)
    assert len({c.theorem for _, c in parts}) > 1
    joined = cascade(whole, parts)
    assert joined is not None
    assert joined.theorem == "cascade"
    assert max(c.rate for _, c in parts) < joined.rate < 1.0
    contracts_exactly(whole, joined, 60, seed)
    assert accepted(whole, joined)
    assert not accepted(whole.scaled(4.0), joined)


def test_yildiz_example_is_a_cascade_of_two_units() -> None:
    """Known answer 4: singular value 1.53, yet proved; the slowest of its two units alone has rate 0.5."""
    found = cascade(sector(np.array([[-0.9, -1.0], [0.0, -0.9]]), 0.5), [])
    assert found is not None
    assert found.theorem == "perron-weights"
    assert 0.5 < found.rate < 0.6


def test_a_nilpotent_network_of_any_size_of_weights() -> None:
    W = np.triu(np.full((12, 12), 1000.0), 1)
    found = cascade(sector(W), [])
    assert found is not None
    assert accepted(sector(W), found)


def test_one_unit() -> None:
    found = cascade(sector(np.array([[0.5]])), [])
    assert found is not None
    assert (found.theorem, found.witness["weights"].tolist()) == ("perron-weights", [1.0])
    assert 0.5 < found.rate < 0.6
    assert cascade(sector(np.array([[1.0]])), []) is None
    free = cascade(sector(np.zeros((1, 1))), [])
    assert free is not None
    assert free.rate < 0.1


def test_thousands_of_units_most_of_them_alone() -> None:
    rng = np.random.default_rng(0)
    n = 5000
    W = scipy.sparse.random_array((n, n), density=0.5 / n, rng=rng, data_sampler=rng.standard_normal).tolil()
    # A loop of four strong links (product 0.6) among them: a part of its own.
    loop = np.array([10, 2000, 3000, 4000])
    W[loop, np.roll(loop, 1)] = np.array([3.0, 1.0, 0.1, 2.0])
    # No other loops: those of the random graph may be too strong.
    for units in components(W.tocsr()):
        if len(units) > 1 and not np.array_equal(units, loop):
            W[units[:, None], units] = 0.0
    whole = sector(W.tocsr())
    parts = parts_of(whole)
    assert any(np.array_equal(units, loop) for units, _ in parts)
    assert len(components(whole.W)) > 4900
    joined = cascade(whole, parts)
    assert joined is not None
    assert sum(len(b["units"]) for b in joined.witness["blocks"]) == n
    assert len(joined.witness["blocks"]) < 20
    assert accepted(whole, joined)


def test_loose_units_between_parts_fall_back_to_runs() -> None:
    """A loop, a unit, a second loop, a unit: the two units in one block would close a loop of blocks."""
    W = np.zeros((6, 6))
    W[0, 1] = W[1, 0] = W[3, 4] = W[4, 3] = 0.9
    W[2, 1] = W[3, 2] = W[5, 4] = 50.0
    whole = sector(W)
    joined = cascade(whole, parts_of(whole))
    assert joined is not None
    assert len(joined.witness["blocks"]) == 4
    contracts_exactly(whole, joined, 40, 0)


def test_one_part_that_covers_all_is_its_own_proof() -> None:
    whole = sector(np.array([[0.1, 0.5], [-0.5, 0.1]]))
    candidate = spectral_norm(whole).candidate
    assert candidate is not None
    assert cascade(whole, [(np.arange(2), candidate)]) is candidate


def test_what_is_no_norm_is_refused() -> None:
    whole = layered(0, 1.0)
    parts = parts_of(whole)
    units, candidate = parts[0]
    strange = Candidate("zero-input-multipliers", candidate.rate, candidate.witness)
    assert cascade(whole, [(units, strange), *parts[1:]]) is None
    nested = Candidate("cascade", 0.5, {"blocks": [], "weights": np.ones(1)})
    assert cascade(whole, [(units, nested), *parts[1:]]) is None
    assert cascade(whole, [*parts, parts[0]]) is None


def test_feedback_between_blocks_is_weighed() -> None:
    """Two blocks that drive each other: joined when the couplings are weak, not when they are strong."""
    W = np.diag([0.5, 0.5])
    one = perron_weights(sector(np.array([[0.5]]))).candidate
    assert one is not None
    parts = [(np.array([0]), one), (np.array([1]), one)]
    for link, works in ((0.3, True), (1.0, False)):
        W[0, 1] = W[1, 0] = link
        joined = cascade(sector(W), parts)
        assert (joined is not None) == works
        if joined is not None:
            contracts_exactly(sector(W), joined, 40, 1)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(0, 10**6), st.floats(0.0, 0.4))
def test_components_are_those_of_networkx_in_an_order_of_theirs(n: int, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n, n)) * (rng.random((n, n)) < density)
    found = components(W)
    graph = nx.from_numpy_array((W != 0.0).T.astype(int), create_using=nx.DiGraph)
    assert {frozenset(map(int, c)) for c in found} == {
        frozenset(c) for c in nx.strongly_connected_components(graph)
    }
    place = {int(i): k for k, c in enumerate(found) for i in c}
    assert all(place[int(j)] <= place[int(i)] for i, j in np.argwhere(W != 0.0))
    sparse = components(scipy.sparse.csr_array(W))
    assert [c.tolist() for c in sparse] == [c.tolist() for c in found]


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6))
def test_verdict_survives_permutation_and_signature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = layered(seed % 5, 1.0)
    n = len(whole.a)
    W: FloatArray = np.asarray(whole.W) * rng.uniform(0.8, 1.6)
    p, s = rng.permutation(n), rng.choice([-1.0, 1.0], n)
    other = (s[:, None] * W * s)[np.ix_(p, p)]
    first, second = cascade(sector(W), []), cascade(sector(other), [])
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert abs(first.rate - second.rate) < 1e-6


@pytest.mark.parametrize("link", [1e308, 1e200, 1e3, 1e-308])
def test_links_of_any_size_are_no_error(link: float) -> None:
    W = np.zeros((5, 5))
    W[:2, :2] = W[2:4, 2:4] = np.array([[0.3, 0.8], [-0.8, 0.3]])
    W[2, 0] = W[4, 3] = link
    whole = sector(W)
    joined = cascade(whole, parts_of(whole))
    assert (joined is not None) == (link < 1e100)
    if joined is not None:
        assert accepted(whole, joined)


def test_the_read_only_weights_of_a_network_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(0)
    W = 0.3 * rng.normal(size=(60, 60)) * (rng.random((60, 60)) < 0.02)
    network = EchoStateNetwork(scipy.sparse.csr_array(W))
    assert not network.W.data.flags.writeable
    joined, dense = cascade(sector(network.W), []), cascade(sector(network.dense_W()), [])
    assert joined is not None
    assert dense is not None
    assert joined.rate == dense.rate
    assert len(components(network.W)) == len(components(network.dense_W()))
