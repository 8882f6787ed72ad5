"""Tests of the autonomous landscape: attractors of every kind, basins, saddles and their manifolds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esntools.errors import InvalidInputError
from esntools.excitable.landscape import find_landscape
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parent / "corpora" / "flipflop2_N100.npz"


def fixture() -> EchoStateNetwork:
    with np.load(FIXTURE) as data:
        return EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip


def three_cycle(leak_rate: float) -> EchoStateNetwork:
    """The cyclic graph 0 -> 1 -> 2 -> 0 (research page, section 4b), in the tanh form."""
    p, b, c = 0.29, 0.6, 1.4
    W = np.full((3, 3), -c)
    for j in range(3):
        k = (j + 1) % 3
        W[j, j], W[k, j], W[j, k] = 1.0, p - b, -2.0 * c - (p - b)
    return EchoStateNetwork(5.0 * W, b=10.0 * (0.5 * W.sum(axis=1) + b - 0.5), leak_rate=leak_rate)


def test_the_published_split_state() -> None:
    space = find_landscape(fixture(), n_random=128)
    assert len(space) == 6
    assert len(space.fixed_points) == 13
    assert space.fixed_points.audit == "passed"
    assert space.outputs is not None
    assert np.allclose(space.outputs[3:], [[0.706, 0.863], [0.996, -0.998], [1.356, 1.224]], atol=1e-3)
    ring = sorted(tuple(sorted(s.leads_to)) for s in space.saddles if s.leads_to is not None)
    assert ring == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]
    for saddle in space.saddles:
        if saddle.branches is not None and saddle.leads_to is not None:
            for branch, end in zip(saddle.branches, saddle.leads_to):
                assert np.linalg.norm(branch[-1] - space.X[end]) < 0.01 * np.linalg.norm(saddle.x)
                assert space.label(branch[1:2])[0] == end


def test_the_origin_of_a_network_without_bias_is_no_attractor() -> None:
    space = find_landscape(fixture(), starts=np.zeros((1, 100)), n_random=64)
    assert np.min(np.linalg.norm(space.X, axis=1)) > 1.0
    assert space.label(np.zeros((1, 100)))[0] == -2


def test_three_cycle_has_seven_fixed_points() -> None:
    space = find_landscape(three_cycle(0.25))
    assert [a.kind for a in space.attractors] == ["fixed point"] * 3
    kinds = sorted(s.n_unstable for s in space.saddles)
    assert kinds == [1, 1, 1, 2]
    saddle = next(s for s in space.saddles if s.n_unstable == 1)
    assert np.sort(0.5 + 0.5 * saddle.x) == pytest.approx([0.0, 0.1003, 1.0], abs=2e-4)
    assert float(saddle.multipliers[0].real) == pytest.approx(1.2012, abs=1e-4)


def test_full_leak_adds_a_cycle_of_two() -> None:
    space = find_landscape(three_cycle(1.0))
    cycles = [(a.period, share) for a, share in zip(space.attractors, space.shares) if a.period != 1]
    assert [period for period, _ in cycles] == [2]
    low, high = space.intervals[[a.period for a in space.attractors].index(2)]
    assert low < 0.36 < high
    assert np.sum(space.shares) == 1.0


def test_chaos_is_an_attractor_too() -> None:
    W = 2.0 / np.sqrt(50) * np.random.default_rng(0).standard_normal((50, 50))
    space = find_landscape(EchoStateNetwork(W), n_random=32)
    assert [a.kind for a in space.attractors] == ["chaos"]


def test_labels_are_those_of_a_plain_run() -> None:
    network = fixture()
    space = find_landscape(network, n_random=32)
    X = np.random.default_rng(1).uniform(-1.0, 1.0, (12, 100))
    ends = X
    for _ in range(4000):
        ends = network.step(ends, np.zeros((12, 2)))
    nearest = np.argmin(np.linalg.norm(ends[:, None] - space.X, axis=2), axis=1)
    assert np.array_equal(space.label(X), nearest)


def test_misuse_is_refused() -> None:
    network = fixture()
    with pytest.raises(InvalidInputError, match="fixed_points"):
        find_landscape(network, fixed_points=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="starts"):
        find_landscape(network, starts=np.zeros((3, 4)))
    with pytest.raises(InvalidInputError, match="u"):
        find_landscape(network, np.zeros(3))
