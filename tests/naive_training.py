"""Slow, obvious twins of what esntools.training.ridge and esntools.training compute."""

from __future__ import annotations

import numpy as np

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork


def _augmented(F: FloatArray, Y: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """Rows whose least squares is the ridge: [F - mean; sqrt(lambda) I]."""
    p = F.shape[1]
    centred = F - F.mean(axis=0)
    root = np.sqrt(penalty * np.sum(centred**2) / p)
    return np.vstack([centred, root * np.eye(p)]), np.vstack([Y - Y.mean(axis=0), np.zeros((p, Y.shape[1]))])


def ridge_by_lstsq(F: FloatArray, Y: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """Weights (d, p) and intercept (d,) by LAPACK's least squares."""
    rows, targets = _augmented(F, Y, penalty)
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0].T
    return weights, Y.mean(axis=0) - weights @ F.mean(axis=0)


def long_double_ridge(F: FloatArray, Y: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """Weights and intercept by Householder QR in extended precision (80 bits where the machine has them)."""
    F, Y = F.astype(np.longdouble), Y.astype(np.longdouble)
    rows, targets = _augmented(F, Y, penalty)
    p = rows.shape[1]
    for j in range(p):
        column = rows[j:, j].copy()
        column[0] += np.copysign(np.sqrt(column @ column), column[0])
        column /= np.sqrt(column @ column)
        rows[j:] -= 2.0 * np.outer(column, column @ rows[j:])
        targets[j:] -= 2.0 * np.outer(column, column @ targets[j:])
    weights = np.zeros((p, Y.shape[1]), dtype=np.longdouble)
    for j in range(p - 1, -1, -1):
        weights[j] = (targets[j] - rows[j, j + 1 : p] @ weights[j + 1 :]) / rows[j, j]
    return weights.T.astype(np.float64), (Y.mean(axis=0) - F.mean(axis=0) @ weights).astype(np.float64)


def valid_steps(network: EchoStateNetwork, x0: FloatArray, truth: FloatArray, threshold: float) -> int:
    """Steps of one free run from x0 until its error exceeds `threshold`; len(truth) when it never does."""
    x = x0
    for k, y in enumerate(truth):
        error = np.sqrt(np.mean((network.output(x) - y) ** 2))
        if not error <= threshold:
            return k
        x = network.step(x)
    return len(truth)
