"""Delay embeddings and attractor comparison: published values, closed forms, loops, and a trained pair."""

from __future__ import annotations

import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from esntools.attractors import (
    compare_attractors,
    correlation_dimension,
    count_holes,
    exponent_from_series,
    kl_divergence,
)
from esntools.attractors.topology import whitened
from esntools.climate import spectrum_distance
from esntools.embedding import (
    cao_ratios,
    choose_embedding,
    delay_vectors,
    false_neighbours,
    find_period,
    mutual_information,
    nearest_neighbours,
)
from esntools.errors import InvalidInputError
from esntools.interop import reservoir_weights
from esntools.plotting import plot_attractor_comparison
from esntools.readout import Readout
from esntools.simulation import drive
from esntools.systems import henon, logistic, lorenz63, rossler


@pytest.fixture(scope="module")
def lorenz() -> np.ndarray:
    return lorenz63().trajectory(10000, dt=0.05)


# -- embedding -------------------------------------------------------------------------------------------


def test_neighbours_equal_those_found_by_loops() -> None:
    generator = np.random.default_rng(0)
    points = np.cumsum(generator.standard_normal((300, 2)), axis=0)
    rows = np.arange(0, 300, 7)
    distance, index = nearest_neighbours(points, rows, 12, count=3, norm=2.0)
    for i, k in enumerate(rows):
        candidates = sorted(
            (float(np.linalg.norm(points[k] - points[j])), j) for j in range(300) if abs(j - k) > 12
        )[:3]
        np.testing.assert_allclose(distance[i], [d for d, _ in candidates])
        assert list(index[i]) == [j for _, j in candidates]


def test_mutual_information_of_a_gaussian_pair() -> None:
    """An AR(1) series has I(k) = -log(1 - r^(2k)) / 2; two independent halves have none."""
    generator = np.random.default_rng(1)
    r, n = 0.8, 60000
    x = np.zeros(n)
    noise = generator.standard_normal(n) * np.sqrt(1.0 - r * r)
    for k in range(1, n):
        x[k] = r * x[k - 1] + noise[k]
    found = mutual_information(x, 20)
    np.testing.assert_allclose(found[1:4], -0.5 * np.log(1.0 - r ** (2 * np.arange(1, 4))), rtol=0.06)
    assert abs(found[20]) < 5e-3


@pytest.mark.parametrize("max_dimension", [4])
def test_false_neighbours_and_cao_equal_loops(max_dimension: int) -> None:
    x = henon().trajectory(250)[:, 0]
    y = delay_vectors(x, 1, max_dimension + 1)
    spread, theiler = np.std(x), 2
    shares, E, E_star = [], [], []
    for m in range(1, max_dimension + 1):
        false, ratios, gaps, used = 0, [], [], 0
        for k in range(len(y)):
            others = [j for j in range(len(y)) if abs(j - k) > theiler]
            euclid = [np.linalg.norm(y[k, :m] - y[j, :m]) for j in others]
            best = others[int(np.argmin(euclid))]
            near, gap = min(euclid), abs(y[k, m] - y[best, m])
            if near < spread:
                used += 1
                false += gap > 15.0 * near or np.hypot(near, gap) > 2.0 * spread
            biggest = [np.max(np.abs(y[k, :m] - y[j, :m])) for j in others]
            best = others[int(np.argmin(biggest))]
            gap = abs(y[k, m] - y[best, m])
            ratios.append(max(min(biggest), gap) / min(biggest))
            gaps.append(gap)
        shares.append(false / used)
        E.append(np.mean(ratios))
        E_star.append(np.mean(gaps))
    np.testing.assert_allclose(false_neighbours(x, 1, max_dimension, theiler=theiler), shares)
    e1, e2 = cao_ratios(x, 1, max_dimension, theiler=theiler)
    np.testing.assert_allclose(e1, np.array(E[1:]) / E[:-1])
    np.testing.assert_allclose(e2, np.array(E_star[1:]) / E_star[:-1])


def test_lorenz_embeds_as_published(lorenz: np.ndarray) -> None:
    """Lag 0.15-0.20 (first minimum of the mutual information) and three dimensions."""
    choice = choose_embedding(lorenz[:, 0])
    assert 0.15 <= 0.05 * choice.lag <= 0.20
    assert (choice.dimension, choice.deterministic, choice.note) == (3, True, "")


def test_what_has_no_embedding_says_so() -> None:
    noise = choose_embedding(np.random.default_rng(0).standard_normal(3000))
    assert noise.deterministic is False
    assert "noise" in noise.note
    sine = choose_embedding(np.sin(0.3 * np.arange(3000)))
    assert "periodic with a period of about 21 steps" in sine.note
    assert find_period(henon().trajectory(3000)[:, 0]) is None
    with pytest.raises(InvalidInputError, match="constant"):
        choose_embedding(np.full(1000, 3.0))
    with pytest.raises(InvalidInputError, match=r"values\[7\]"):
        choose_embedding(np.where(np.arange(1000) == 7, np.nan, np.arange(1000)))


# -- measures --------------------------------------------------------------------------------------------


def test_divergence_of_shifted_normals() -> None:
    generator = np.random.default_rng(2)
    for shift in (0.0, 0.5, 1.0):
        x, y = generator.standard_normal((2, 100000))
        assert abs(kl_divergence(x, y + shift) - 0.5 * shift**2) < 0.02
    a, b = generator.standard_normal((2, 4000, 5))
    b[:, 0] += 2.0
    # Smoothing with width 1 lowers the divergence of unit normals a distance 2 apart from 2 to 1.
    assert abs(kl_divergence(a, b, width=1.0, n_samples=4000) - 1.0) < 0.1
    assert kl_divergence(a, a) == 0.0


def test_divergence_equals_a_sum_over_all_cells() -> None:
    generator = np.random.default_rng(3)
    p, q = generator.uniform(0.0, 1.0, (500, 2)), generator.uniform(-0.2, 1.5, (400, 2))
    low, high = p.min(axis=0), p.max(axis=0)
    counts = []
    for x in (p, q):
        table = np.zeros((7, 7))
        for row in x:
            cell = tuple(
                0 if v < lo else 6 if v > hi else min(5, 1 + int(5 * (v - lo) / (hi - lo)))
                for v, lo, hi in zip(row, low, high)
            )
            table[cell] += 1.0
        counts.append((table + 1e-5) / (len(x) + 49 * 1e-5))
    expected = float(np.sum(counts[0] * np.log(counts[0] / counts[1])))
    assert abs(kl_divergence(p, q, n_bins=5) - expected) < 1e-10


def test_spectra_that_do_not_meet_have_distance_one() -> None:
    k = np.arange(4096)
    assert spectrum_distance(np.sin(2 * np.pi * k / 64), np.sin(2 * np.pi * k / 4)) > 0.99


def test_correlation_dimensions() -> None:
    """A circle 1, a square 2, the Henon attractor 1.21 (Grassberger and Procaccia 1983: 1.21 +- 0.01)."""
    generator = np.random.default_rng(0)
    angle = generator.uniform(0.0, 2.0 * np.pi, 5000)
    circle = correlation_dimension(np.column_stack([np.cos(angle), np.sin(angle)]))
    assert circle.dimension is not None
    assert abs(circle.dimension - 1.0) < 0.03
    square = correlation_dimension(generator.uniform(0.0, 1.0, (10000, 2)))
    assert square.dimension is not None
    # The edge of the square lowers it: C(r) = (2r - r^2)^2 has slope 2 - 2r/(2-r).
    assert abs(square.dimension - 2.0) < 0.1
    attractor = correlation_dimension(henon().trajectory(10000))
    assert attractor.dimension is not None
    assert attractor.interval is not None
    assert attractor.interval[0] < 1.21 < attractor.interval[1]
    assert correlation_dimension(np.ones((300, 2))).dimension == 0.0


def test_correlation_sum_equals_a_double_loop() -> None:
    x = henon().trajectory(300)
    found = correlation_dimension(x, theiler=3, n_references=300, n_radii=12)
    pairs = [np.max(np.abs(x[i] - x[j])) for i in range(300) for j in range(300) if abs(i - j) > 3]
    shares = [np.mean(np.array(pairs) < np.exp(r) * (1.0 - 1e-12)) for r in found.log_radius]
    np.testing.assert_allclose(np.exp(found.log_sum), shares)


def test_exponents_from_trajectories(lorenz: np.ndarray) -> None:
    """Within 10 % of the published exponents, which is what a neighbour method gives at this length."""
    for points, dt, theiler, expected in (
        (lorenz, 0.05, 40, 0.9056),
        (henon().trajectory(6000), None, 1, 0.4192),
        (rossler().trajectory(10000, dt=0.2), 0.2, 60, 0.0714),
    ):
        found = exponent_from_series(points, dt=dt, theiler=theiler)
        assert found.exponent is not None
        assert abs(found.exponent - expected) < 0.12 * expected
        assert found.unit == ("1/step" if dt is None else "1/time")


def test_what_does_not_part_has_no_exponent() -> None:
    wave = delay_vectors(np.sin(0.3 * np.arange(4000)), 5, 2)
    noisy = wave + 0.01 * np.random.default_rng(0).standard_normal(wave.shape)
    for points in (wave, noisy):
        found = exponent_from_series(points, theiler=20)
        assert found.exponent is None
        assert "no positive exponent" in found.note
    with pytest.raises(InvalidInputError, match="constant"):
        exponent_from_series(np.ones((1000, 2)))


@pytest.mark.slow
@pytest.mark.ci
def test_holes_of_known_shapes(lorenz: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0.0, 2.0 * np.pi, (2, 6000))
    torus = np.column_stack([(2 + np.cos(a)) * np.cos(b), (2 + np.cos(a)) * np.sin(b), np.sin(a)])
    network = reservoir_weights(200, 1, spectral_radius=0.9, input_scaling=0.5, seed=1)
    hidden = drive(network, lorenz[:, :1] / 10.0, washout=200).states
    for points, count in (
        (lorenz, 2),
        (delay_vectors(lorenz[:, 0], 3, 3), 2),
        (hidden, 2),
        (torus, 2),
        (np.column_stack([np.cos(a), np.sin(a)]), 1),
        (generator.standard_normal((4000, 2)), None),
    ):
        found = count_holes(points, n_landmarks=400 if count == 1 else 500)
        assert found.count == count
        if count is not None:
            # The count itself asks for 2. The torus shows 2.49, the others more than 2.5.
            assert found.gap > (2.0 if points is torus else 2.5)


def test_whitened_coordinates_have_unit_variance() -> None:
    x = np.random.default_rng(0).standard_normal((500, 6)) * [100.0, 10.0, 1.0, 1e-3, 1e-3, 0.0]
    np.testing.assert_allclose(np.std(whitened(x), axis=0), 1.0)
    assert whitened(x[:, 5:] + x[:, :1]).shape == (500, 1)


# -- comparison ------------------------------------------------------------------------------------------


def trained_closed_loop(data: np.ndarray, bias: float) -> np.ndarray:
    """A ridge-trained network of 300 units on standardised data; its own run of as many steps."""
    mean, scale = data.mean(axis=0), data.std(axis=0)
    network = reservoir_weights(300, 3, spectral_radius=0.9, input_scaling=0.5, bias_scaling=bias, seed=1)
    U = (data[:8000] - mean) / scale
    X = drive(network, U, washout=200).states
    design = np.column_stack([X[:-1], np.full(len(X) - 1, 1.0 if bias else 0.0)])
    w = np.linalg.solve(design.T @ design + 1e-6 * np.eye(301), design.T @ U[201:])
    loop = replace(network, readout=Readout(w[:300].T, b_out=w[300])).closed_loop()
    x, out = X[-1], []
    for _ in range(len(data) + 500):
        out.append(loop.output(x))
        x = loop.step(x)
    return np.array(out[500:]) * scale + mean


@pytest.mark.slow
@pytest.mark.ci
def test_a_trained_lorenz_network_is_equivalent_and_the_odd_one_is_caught(lorenz: np.ndarray) -> None:
    """Without a bias the map is odd; centred Lorenz data are not, so no odd network can learn them."""
    good = compare_attractors(lorenz, trained_closed_loop(lorenz, 0.5), dt=0.05)
    assert good.verdict == "equivalent", good.reasons
    assert good.true_holes is not None
    assert good.true_holes.count == 2
    odd = compare_attractors(lorenz, trained_closed_loop(lorenz, 0.0), dt=0.05)
    assert odd.verdict == "different"
    assert odd.measures["density missed"].agrees is False


def test_identical_attractors_agree_and_others_do_not(lorenz: np.ndarray) -> None:
    x = henon().trajectory(3000, rng=1)
    same = compare_attractors(x, x, n_landmarks=80)
    assert all(m.distance in (0.0, None) for m in same.measures.values())
    other = compare_attractors(x, henon(a=1.2).trajectory(3000, rng=1), n_landmarks=80)
    assert other.verdict == "different"
    wave = np.sin(0.3 * np.arange(4000))
    periodic = compare_attractors(lorenz[:4000, 0] / 10.0, wave, n_landmarks=80)
    assert any("only the learned run is periodic" in r for r in periodic.reasons)


@pytest.mark.parametrize(
    ("tail", "reason"), [(np.nan, "leaves every bound"), (1e6, "leaves every bound"), (3.0, "comes to rest")]
)
def test_runs_that_end_are_different_and_say_how(lorenz: np.ndarray, tail: float, reason: str) -> None:
    run = lorenz[:3000].copy()
    run[1000:] = tail
    found = compare_attractors(lorenz[:3000], run)
    assert found.verdict == "different"
    assert reason in found.reasons[0]


def test_misuse_is_refused(lorenz: np.ndarray) -> None:
    for call, place in (
        (lambda: compare_attractors(lorenz, lorenz[:, :2]), "learned"),
        (lambda: compare_attractors(lorenz[:500], lorenz), "true"),
        (lambda: compare_attractors(np.ones(2000), lorenz[:, 0]), "constant"),
        (lambda: compare_attractors(lorenz, lorenz, dt=-1.0), "dt"),
        (lambda: kl_divergence(lorenz, lorenz[:, :1]), "coordinates"),
        (lambda: correlation_dimension(lorenz[:300], theiler=200), "theiler"),
        (lambda: count_holes(lorenz[:300], n_landmarks=200), "n_landmarks"),
        (lambda: exponent_from_series(lorenz, n_steps=2), "n_steps"),
        (lambda: delay_vectors(lorenz[:10, 0], 5, 4), "values"),
        (lambda: mutual_information(lorenz[:, 0], 6000), "max_lag"),
    ):
        with pytest.raises(InvalidInputError, match=place):
            call()


def test_a_cycle_of_few_points() -> None:
    """Equally spaced samples of 2000 steps see one point of a 4-cycle; coincident landmarks take minutes."""
    cycle = np.tile(logistic(3.5).trajectory(4)[:, 0], 500)
    estimate = exponent_from_series(cycle)
    assert estimate.exponent is None
    assert "repeats itself" in estimate.note
    pytest.importorskip("ripser")
    comparison = compare_attractors(cycle, cycle)
    assert comparison.verdict != "different"


def test_without_ripser_the_other_measures_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ripser", None)
    x = henon().trajectory(3000, rng=1)
    comparison = compare_attractors(x, x)
    assert comparison.verdict == "undecided"
    assert comparison.measures["holes"].distance is None
    assert "ripser is not installed" in comparison.measures["holes"].note
    assert all(m.agrees for name, m in comparison.measures.items() if name != "holes")
    panels = plot_attractor_comparison(comparison).child_axes
    assert [panel.axison for panel in panels] == [True, True, True, False]
    plt.close("all")


def test_noise_has_no_exponent() -> None:
    """Neighbours part to the mean distance in one step, at a rate that only their number decides."""
    generator = np.random.default_rng(0)
    for x in (generator.standard_normal(3000), generator.random((3000, 2))):
        estimate = exponent_from_series(x)
        assert estimate.exponent is None
        assert "after one step" in estimate.note
    tripled = np.array([pow(3, k, 1_000_003) / 1_000_003 for k in range(3000)])
    assert abs(exponent_from_series(tripled).exponent / np.log(3.0) - 1.0) < 0.15
