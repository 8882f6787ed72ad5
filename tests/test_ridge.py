"""Ridge: against long-double QR references, leave-one-out by leaving out, and the switch of solvers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_training import long_double_ridge, ridge_by_lstsq

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.simulation import accumulate_gram, drive
from esntools.training.ridge import Blocks, decompose, moments, path


def blocks_of(F: FloatArray, Y: FloatArray, sizes: int = 64) -> Blocks:
    def blocks() -> Iterator[tuple[FloatArray, FloatArray]]:
        for k in range(0, len(F), sizes):
            yield F[k : k + sizes], Y[k : k + sizes]

    return blocks


def ill_conditioned(
    rng: np.random.Generator, n: int, p: int, decades: float
) -> tuple[FloatArray, FloatArray]:
    """Features whose singular values fall over `decades`, as reservoir states' do."""
    U, _ = np.linalg.qr(rng.normal(size=(n, p)))
    V, _ = np.linalg.qr(rng.normal(size=(p, p)))
    F = (U * np.logspace(0, -decades, p)) @ V.T * 30.0 + 0.3
    Y = np.sin(3.0 * F[:, :2]) + F @ rng.normal(size=(p, 2)) + 2.0
    return F, Y


@given(
    n=st.integers(2, 60), p=st.integers(1, 12), d=st.integers(1, 3), size=st.integers(1, 20),
    log_penalty=st.floats(-6, 2), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_weights_equal_augmented_least_squares(
    n: int, p: int, d: int, size: int, log_penalty: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    F, Y = rng.normal(size=(n, p)) + 5.0, rng.normal(size=(n, d)) - 3.0
    penalty = 10.0**log_penalty
    weights, intercept = ridge_by_lstsq(F, Y, penalty)
    for method in ("eigh", "svd", None):
        solution = decompose(blocks_of(F, Y, size), method=method, smallest_penalty=penalty).solve(penalty)
        np.testing.assert_allclose(solution.weights, weights, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(solution.intercept, intercept, rtol=1e-6, atol=1e-6)


def test_moments_do_not_depend_on_the_blocks() -> None:
    rng = np.random.default_rng(3)
    F, Y = rng.normal(size=(257, 9)) + 1e4, rng.normal(size=(257, 2)) - 1e3
    one, many = moments(blocks_of(F, Y, 1000)), moments(blocks_of(F, Y, 10))
    centred = F - F.mean(axis=0)
    for m in (one, many):
        np.testing.assert_allclose(m.ff, centred.T @ centred, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(m.fy, centred.T @ (Y - Y.mean(axis=0)), rtol=1e-9, atol=1e-9)
        centred_y = Y - Y.mean(axis=0)
        np.testing.assert_allclose(m.yy, centred_y.T @ centred_y, rtol=1e-9, atol=1e-9)
        assert m.n == 257


@pytest.mark.parametrize("penalty", [1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
def test_accuracy_against_80_bit_qr(penalty: float) -> None:
    F, Y = ill_conditioned(np.random.default_rng(1), 300, 30, 7.0)
    reference, _ = long_double_ridge(F, Y, penalty)
    size = np.abs(reference).max()

    def error(method: str | None) -> float:
        solution = decompose(blocks_of(F, Y), method=method, smallest_penalty=penalty).solve(penalty)
        return float(np.abs(solution.weights - reference).max() / size)

    assert error("svd") < 1e-8
    # The choice by itself never loses more than three digits out of sixteen-minus-the-condition.
    assert error(None) < 1e-4


def test_the_gram_matrix_loses_what_the_design_keeps() -> None:
    F, Y = ill_conditioned(np.random.default_rng(2), 400, 40, 9.0)
    reference, _ = long_double_ridge(F, Y, 1e-15)
    size = np.abs(reference).max()
    errors = {
        method: np.abs(decompose(blocks_of(F, Y), method=method).solve(1e-15).weights - reference).max()
        / size
        for method in ("eigh", "svd")
    }
    assert errors["eigh"] > 1e-2
    assert errors["svd"] < 1e-7
    assert decompose(blocks_of(F, Y), smallest_penalty=1e-15).method == "svd"
    assert decompose(blocks_of(F, Y), smallest_penalty=1e-4).method == "eigh"


@pytest.mark.parametrize("method", ["eigh", "svd"])
@pytest.mark.parametrize("penalty", [1e-8, 1e-3, 1.0])
def test_leave_one_out_is_leaving_one_out(method: str, penalty: float) -> None:
    rng = np.random.default_rng(5)
    F, Y = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    found = path(blocks_of(F, Y, 7), decompose(blocks_of(F, Y, 7), method=method), [penalty])
    centred = F - F.mean(axis=0)
    lambda_ = penalty * np.sum(centred**2) / 6
    errors = []
    for k in range(40):
        keep = np.arange(40) != k
        f, y = F[keep], Y[keep]
        m_f, m_y = f.mean(axis=0), y.mean(axis=0)
        C = np.linalg.solve((f - m_f).T @ (f - m_f) + lambda_ * np.eye(6), (f - m_f).T @ (y - m_y))
        errors.append(Y[k] - m_y - (F[k] - m_f) @ C)
    expected = np.sum(np.array(errors) ** 2) / np.sum((Y - Y.mean(axis=0)) ** 2)
    np.testing.assert_allclose(found.loo, [expected], rtol=1e-6)
    hat = centred @ np.linalg.solve(centred.T @ centred + lambda_ * np.eye(6), centred.T) + 1 / 40
    np.testing.assert_allclose(found.dof, [np.trace(hat)], rtol=1e-9)
    residual = Y - hat @ Y
    gcv = np.sum(residual**2) / np.sum((Y - Y.mean(axis=0)) ** 2) / (1 - np.trace(hat) / 40) ** 2
    np.testing.assert_allclose(found.gcv, [gcv], rtol=1e-9)


def test_gcv_is_right_where_the_subtraction_form_is_not() -> None:
    F, _ = ill_conditioned(np.random.default_rng(7), 300, 20, 4.0)
    Y = F @ np.arange(20.0)[:, None] * 1e3
    q = decompose(blocks_of(F, Y), method="svd")
    train = path(blocks_of(F, Y), q, [1e-13]).train[0]
    weights, _ = long_double_ridge(F, Y, 1e-13)
    centred = (F - F.mean(axis=0)).astype(np.longdouble)
    residual = (Y - Y.mean(axis=0)) - centred @ weights.T.astype(np.longdouble)
    expected = float(np.sum(residual**2) / np.sum((Y - Y.mean(axis=0)) ** 2))
    assert expected < 1e-16
    assert train == pytest.approx(expected, rel=0.05)


def test_fewer_rows_than_features() -> None:
    rng = np.random.default_rng(8)
    F, Y = rng.normal(size=(10, 30)), rng.normal(size=(10, 1))
    for method in ("eigh", "svd"):
        q = decompose(blocks_of(F, Y, 4), method=method)
        weights, _ = ridge_by_lstsq(F, Y, 1e-6)
        np.testing.assert_allclose(q.solve(1e-6).weights, weights, rtol=1e-4, atol=1e-8)
        assert q.dof(1e-6) <= 10.001
    # No penalty at all: the shortest interpolating weights.
    solution = decompose(blocks_of(F, Y, 4)).solve(0.0)
    np.testing.assert_allclose(F @ solution.weights.T + solution.intercept, Y, atol=1e-9)


def test_a_constant_feature_is_harmless() -> None:
    rng = np.random.default_rng(9)
    F = rng.normal(size=(50, 4))
    F[:, 2] = 7.0
    Y = F[:, :1] * 2.0 + 1.0
    for method in ("eigh", "svd"):
        solution = decompose(blocks_of(F, Y), method=method).solve(1e-12)
        assert abs(solution.weights[0, 2]) < 1e-6
        np.testing.assert_allclose(solution.weights[0, 0], 2.0, rtol=1e-9)


def test_bad_input() -> None:
    F, Y = np.ones((5, 2)), np.ones((5, 1))
    with pytest.raises(InvalidInputError, match="at least one feature must vary"):
        decompose(blocks_of(F, Y))
    with pytest.raises(InvalidInputError, match="at least 2 rows"):
        moments(lambda: iter(()))
    q = decompose(blocks_of(np.eye(5), np.arange(5.0)[:, None]))
    with pytest.raises(InvalidInputError, match="penalty"):
        q.solve(-1.0)
    with pytest.raises(InvalidInputError, match="penalty"):
        q.solve(float("nan"))
    with pytest.raises(InvalidInputError, match="must be 'eigh'"):
        decompose(blocks_of(np.eye(5), np.ones((5, 1))), method="lu")


def test_moments_of_a_driven_network_give_the_regression_of_its_states() -> None:
    """`accumulate_gram` and `decompose` speak of the same moments."""
    rng = np.random.default_rng(4)
    network = EchoStateNetwork(0.3 * rng.normal(size=(6, 6)), W_in=rng.normal(size=(6, 1)))
    u = rng.uniform(-1, 1, (400, 1))
    y = np.cumsum(u, axis=0)[:, :1] * 0.1
    states = drive(network, u).states
    gram = accumulate_gram(network, u, y, squares=False)
    rows = blocks_of(states, y, 100)
    found = decompose(rows, method="eigh", m=gram.moments()).solve(1e-6)
    expected = decompose(rows, method="svd").solve(1e-6)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.intercept, expected.intercept, rtol=1e-8, atol=1e-10)
