"""Slow, obvious twins of the enumeration: balls of python-flint in the network's own coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flint
import numpy as np
from flint import acb_mat, arb, arb_mat
from scipy.optimize import root

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork

Function = Callable[[Any], Any]


def _softsign_slope(z: Any) -> Any:
    return 1 / (1 + abs(z)) ** 2


#: phi and phi' of a ball, each an enclosure.
NAIVE: dict[str, tuple[Function, Function]] = {
    "tanh": (lambda z: z.tanh(), lambda z: z.sech() ** 2),
    "logistic": (lambda z: 1 / (1 + (-z).exp()), lambda z: (z / 2).sech() ** 2 / 4),
    "erf": (lambda z: z.erf(), lambda z: 2 / arb.pi().sqrt() * (-z * z).exp()),
    "softsign": (lambda z: z / (1 + abs(z)), _softsign_slope),
    "sine": (lambda z: z.sin(), lambda z: z.cos()),
}


@dataclass
class NaiveRoots:
    boxes: list[list[Any]] = field(default_factory=list)  # one fixed point in each
    signs: list[int] = field(default_factory=list)
    undecided: int = 0


def ball(low: Any, high: Any) -> Any:
    return (arb(low) + arb(high)) / 2 + (arb(high) - arb(low)) / 2 * arb(0, 1)


def exact_weights(network: EchoStateNetwork, u: FloatArray | None = None) -> tuple[list[Any], list[Any]]:
    """V and c of x = phi(V x + c), nothing rounded visibly (300 bits)."""
    n = network.n_units
    W = network.dense_W()
    V = [[arb(float(W[i, j])) for j in range(n)] for i in range(n)]
    c = [arb(float(v)) for v in network.b]
    for i in range(n):
        for j in range(network.n_inputs):
            c[i] += arb(float(network.W_in[i, j])) * arb(float(u[j]))
        if network.W_fb is not None:
            for k in range(network.n_outputs):
                w = arb(float(network.W_fb[i, k]))
                c[i] += w * arb(float(network.readout.b_out[k]))
                for j in range(n):
                    V[i][j] += w * arb(float(network.readout.W_out[k, j]))
    return V, c


def naive_enumerate(
    network: EchoStateNetwork, u: FloatArray | None = None, *, max_boxes: int = 40_000
) -> NaiveRoots:
    """Bisect [inf phi, sup phi]^n; drop by the natural extension, prove by the interval Newton test."""
    before = flint.ctx.prec
    flint.ctx.prec = 300
    try:
        return _enumerate(network, u, max_boxes)
    finally:
        flint.ctx.prec = before


def _enumerate(network: EchoStateNetwork, u: FloatArray | None, max_boxes: int) -> NaiveRoots:
    V, c = exact_weights(network, u)
    value, slope = NAIVE[network.activation.name]
    n = network.n_units
    low, high = network.activation.value_bounds
    width = high - low
    roots = NaiveRoots()
    # Off-centre by an irrational-looking amount, so that no fixed point is on a cut.
    todo = [[(low - 0.0137 * width, high + 0.0171 * width)] * n]
    count = 0
    while todo:
        box = todo.pop()
        count += 1
        if count > max_boxes:
            roots.undecided += 1 + len(todo)
            return roots
        X = [ball(*side) for side in box]
        z = [sum((V[i][j] * X[j] for j in range(n)), c[i]) for i in range(n)]
        images = [value(t) for t in z]
        if not all(a.overlaps(b) for a, b in zip(X, images)):
            continue
        A = arb_mat(n, n, [int(i == j) - slope(z[i]) * V[i][j] for i in range(n) for j in range(n)])
        middle = [arb(x.mid()) for x in X]
        f = []
        for i in range(n):
            f.append(middle[i] - value(sum((V[i][j] * middle[j] for j in range(n)), c[i])))
        try:
            # A contains a regular matrix only: at most one zero, and it is in the Newton box.
            step = A.solve(arb_mat(n, 1, f))
        except ZeroDivisionError:
            step = None
        if step is not None:
            newton = [m - s for m, s in zip(middle, step.entries())]
            if not all(a.overlaps(b) for a, b in zip(newton, X)):
                continue
            if all(x.contains_interior(m) for m, x in zip(newton, X)):
                determinant = A.det()
                roots.boxes.append(newton)
                roots.signs.append(1 if determinant > 0 else -1 if determinant < 0 else 0)
                continue
        sides = [b - a for a, b in box]
        k = int(np.argmax(sides))
        if sides[k] < 1e-9:
            roots.undecided += 1
            continue
        cut = box[k][0] + 0.4971 * sides[k]
        for part in ((box[k][0], cut), (cut, box[k][1])):
            todo.append([*box[:k], part, *box[k + 1 :]])
    return roots


def naive_unstable(J: FloatArray) -> int | None:
    """Count eigenvalues outside the unit circle from certified enclosures of all of them, all different."""
    before = flint.ctx.prec
    flint.ctx.prec = 400
    try:
        values = acb_mat(arb_mat([[arb(float(v)) for v in row] for row in J])).eig()
        sizes = [abs(value) for value in values]
        if any(not (size > 1 or size < 1) for size in sizes):
            return None
        return sum(bool(size > 1) for size in sizes)
    finally:
        flint.ctx.prec = before


def precise_fixed_point(
    network: EchoStateNetwork, x: FloatArray, u: FloatArray | None = None, steps: int = 4
) -> list[Any]:
    """Newton's method with 300 bits; good to 1e-60 where the double is good to 1e-6."""
    before = flint.ctx.prec
    flint.ctx.prec = 300
    try:
        V, c = exact_weights(network, u)
        value, slope = NAIVE[network.activation.name]
        n = network.n_units
        matrix = arb_mat(n, n, [v for row in V for v in row])
        offset = arb_mat(n, 1, c)
        point = [arb(float(v)) for v in x]
        for _ in range(steps):
            z = (matrix * arb_mat(n, 1, point) + offset).entries()
            f = arb_mat(n, 1, [p - value(t) for p, t in zip(point, z)])
            A = arb_mat(n, n, [int(i == j) - slope(z[i]) * V[i][j] for i in range(n) for j in range(n)])
            point = [arb((p - s).mid()) for p, s in zip(point, A.solve(f).entries())]
        return point
    finally:
        flint.ctx.prec = before


def multistart(network: EchoStateNetwork, n_starts: int, rng: np.random.Generator) -> list[FloatArray]:
    """Powell's method with the Jacobian from many random states, many of them saturated."""
    found: list[FloatArray] = []
    low, high = network.activation.value_bounds
    eye = np.eye(network.n_units)
    for i in range(n_starts):
        start = rng.uniform(low, high, network.n_units) * (1.0 if i % 2 else rng.uniform())
        solution = root(
            lambda x: network.step(x) - x, start, jac=lambda x: network.jacobian(x) - eye, tol=1e-14
        )
        x = solution.x
        if np.max(np.abs(network.step(x) - x)) < 1e-11 and all(np.max(np.abs(x - y)) > 1e-6 for y in found):
            found.append(x)
    return found
