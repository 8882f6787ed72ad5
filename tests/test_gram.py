"""accumulate_gram against the sums over stored states."""

from __future__ import annotations

import itertools
import tracemalloc

import naive_simulation as naive
import numpy as np
import pytest
from test_simulation import make_network

from esntools.errors import InvalidInputError
from esntools.simulation import accumulate_gram, drive


def features(states, squares):
    return np.hstack([states, states**2]) if squares else states


def assert_moments(moments, f, y):
    mean, scatter = naive.gram(f, y)
    m, size = f.shape[1], np.abs(scatter).max()
    assert moments.n == len(f)
    np.testing.assert_allclose(np.hstack([moments.mean_f, moments.mean_y]), mean, rtol=1e-12, atol=1e-14)
    for got, expected in (
        (moments.ff, scatter[:m, :m]),
        (moments.fy, scatter[:m, m:]),
        (moments.yy, scatter[m:, m:]),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12 * size)


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("washout", [0, 100])
@pytest.mark.parametrize("n_blocks", [1, 4])
def test_it_is_the_gram_of_the_states(squares, density, washout, n_blocks):
    rng = np.random.default_rng(1)
    network = make_network(rng, 12, n_inputs=2, density=density, feedback=True, leak="vector")
    # A large offset: uncentred sums would lose it.
    u, y, x0 = rng.normal(size=(1300, 2)), 1e4 + rng.normal(size=(1300, 3)), rng.normal(size=12)
    f = features(drive(network, u, x0, washout=washout).states, squares)
    gram = accumulate_gram(network, u, y, x0, washout=washout, squares=squares, n_blocks=n_blocks)
    assert_moments(gram.moments(), f, y[washout:])
    np.testing.assert_allclose(gram.x_last, drive(network, u, x0).last_state, rtol=0.0, atol=1e-12)
    edges = np.linspace(washout, 1300, n_blocks + 1).astype(int)
    for i in range(n_blocks if n_blocks > 1 else 0):
        kept = np.r_[washout : edges[i], edges[i + 1] : 1300]
        assert_moments(gram.moments(leave_out=i), f[kept - washout], y[kept])


def test_chunks_give_the_same_as_the_array():
    rng = np.random.default_rng(2)
    network = make_network(rng, 9)
    u, y = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1))
    whole = accumulate_gram(network, u, y, washout=150)
    edges = [0, 1, 100, 777, 777, 1500, 2000]
    chunks = ((u[a:b], y[a:b]) for a, b in itertools.pairwise(edges))
    parts = accumulate_gram(network, chunks, washout=150, n_blocks=3)
    assert parts.n == whole.n == 1850
    np.testing.assert_allclose(parts.moments().ff, whole.moments().ff, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(parts.moments().fy, whole.moments().fy, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(parts.x_last, whole.x_last, rtol=0.0, atol=1e-14)


def test_memory_does_not_grow_with_the_number_of_steps():
    network = make_network(np.random.default_rng(3), 40)

    def peak(n_chunks):
        chunks = ((np.full((2000, 1), 0.1 * i), np.ones((2000, 1))) for i in range(n_chunks))
        tracemalloc.start()
        accumulate_gram(network, chunks)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)
    short, long = peak(2), peak(40)
    stored = 80_000 * 40 * 8
    assert long < short + 100_000 < stored / 5


def test_progress_and_one_dimensional_targets():
    network = make_network(np.random.default_rng(4))
    seen = []
    u = np.linspace(0.0, 1.0, 1000)
    a = accumulate_gram(network, u, u, progress=lambda label, fraction: seen.append(fraction))
    b = accumulate_gram(network, u[:, None], u[:, None])
    assert seen[-1] == 1.0
    np.testing.assert_array_equal(a.moments().ff, b.moments().ff)


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        ({"targets": np.zeros((4, 1))}, "targets", "(5, n_targets)"),
        ({"targets": np.full((5, 1), np.nan)}, "targets[0, 0]", "finite"),
        ({"targets": None}, "targets", "target array"),
        ({"u": np.full((5, 1), np.nan)}, "u[0, 0]", "finite"),
        ({"u": np.zeros((5, 2, 1))}, "u", "one series"),
        ({"x0": np.zeros((2, 7))}, "x0", "(7,)"),
        ({"washout": 5}, "u", "longer than the washout"),
        ({"washout": 9}, "u", "longer than the washout"),
        ({"n_blocks": 0}, "n_blocks", "at least 1"),
        ({"u": [np.zeros((5, 1))], "targets": None}, "u, chunk 0", "pair"),
        ({"u": [(np.zeros((5, 1)), np.zeros((4, 1)))], "targets": None}, "targets, chunk 0", "as long as u"),
        (
            {"u": [(np.zeros((5, 1)), np.zeros((5, c))) for c in (1, 2)], "targets": None},
            "targets, chunk 1",
            "must have 1",
        ),
    ],
)
def test_refusals(change, place, rule):
    network = make_network(np.random.default_rng(5))
    arguments = {"u": np.zeros((5, 1)), "targets": np.zeros((5, 1)), **change}
    u, targets = arguments.pop("u"), arguments.pop("targets")
    with pytest.raises(InvalidInputError) as caught:
        accumulate_gram(network, u, targets, **arguments)
    assert caught.value.place == place
    assert rule in caught.value.rule


def test_leave_out_must_name_a_block_and_leave_some():
    network = make_network(np.random.default_rng(6))
    gram = accumulate_gram(network, np.zeros((5, 1)), np.zeros((5, 1)))
    for leave_out in (-1, 0, 1):
        with pytest.raises(InvalidInputError):
            gram.moments(leave_out=leave_out)
