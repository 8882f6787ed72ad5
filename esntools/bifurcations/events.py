r"""Bifurcations between two points of a curve: detected by signs, located by bordered extended systems.

With :math:`A = DG^p - \mu I` and border vectors b, c, the bordered matrix gives a scalar g,

.. math:: \begin{pmatrix} A & b \\ c^* & 0 \end{pmatrix} \begin{pmatrix} v \\ g \end{pmatrix}
          = \begin{pmatrix} 0 \\ 1 \end{pmatrix},

that is smooth and vanishes exactly where A is singular (a minimally augmented system). Newton's method solves
g = 0 along the curve, whose points are corrected to F = 0 at each step: mu = 1 for folds, -1 for flips,
:math:`e^{i\theta}` with unknown theta for Neimark-Sacker points. At a branch point the whole of
:math:`[F_x\ F_l]` loses rank; the unfolded system :math:`F + \beta b = 0` with two such scalars is regular
there.

References
----------
W. J. F. Govaerts, Numerical Methods for Bifurcations of Dynamical Equilibria, SIAM 2000,
doi:10.1137/1.9780898719543, chapters 4 and 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np

from esntools._typing import ComplexArray, FloatArray
from esntools.bifurcations.curve import Node, make_node
from esntools.bifurcations.families import Problem

__all__ = ["Event", "EventKind", "events_between", "locate_flip"]

EventKind: TypeAlias = Literal["fold", "branch point", "flip", "neimark-sacker", "degenerate"]

_DIFFERENCE: Final = 1e-5
_CONVERGED: Final = 1e-10
#: And g is then as small as rounding lets it be.
_SINGULAR: Final = 1e-9
#: A branch point solves the equation itself only where the unfolding parameter vanishes.
_UNFOLDED: Final = 1e-9
#: Halvings of a step in search of an interval with one event.
_DEPTH: Final = 24
_SHORT: Final = 1e-7


@final
@dataclass(frozen=True, eq=False)
class Event:
    """A located bifurcation.

    Attributes
    ----------
    kind : str
    z : (n + 1,)
    tangent : (n + 1,), of the curve on which it was met
    multipliers : the critical ones
    theta : angle of the critical pair
    error : last correction of the scaled parameter
    residual : of the extended system
    frame : (n + 1, 2), at a branch point a basis of the kernel of [F_x F_l]
    left : (n,), at a branch point the left null vector
    """

    kind: EventKind
    z: FloatArray
    tangent: FloatArray
    multipliers: ComplexArray
    error: float = 0.0
    residual: float = 0.0
    theta: float = 0.0
    frame: FloatArray | None = None
    left: FloatArray | None = None
    note: str = ""


def _newton(
    g: Callable[[FloatArray], FloatArray | None], y: FloatArray, reach: float
) -> tuple[FloatArray, float, float] | None:
    """Solve g(y) = 0 in one or two unknowns; return y, the size of g and of the last step."""
    m, last = len(y), np.inf
    value = g(y)
    best: tuple[FloatArray, float, float] | None = None
    for iteration in range(15):
        if value is None:
            break
        J = np.empty((m, m))
        for j in range(m):
            h = np.zeros(m)
            h[j] = _DIFFERENCE
            ahead, behind = g(y + h), g(y - h)
            if ahead is None or behind is None:
                return None
            J[:, j] = (ahead - behind) / (2.0 * _DIFFERENCE)
        step = np.linalg.solve(J, -value)
        size = float(np.max(np.abs(step)))
        # Quadratic convergence, or none: at a multiple root of g every step only halves.
        if not size <= 2.0 * reach or (size >= 0.5 * last and (last <= _CONVERGED or iteration >= 3)):
            break
        y = y + step
        value = g(y)
        if value is None:
            break
        best, last = (y, float(np.max(np.abs(value))), size), size
        if size <= 1e-15:
            break
    return best if best is not None and best[2] <= _CONVERGED and best[1] <= _SINGULAR else None


def _singular(A: Any) -> tuple[Any, Any]:
    """Return left and right singular vectors of the smallest singular value."""
    U, _, Vh = np.linalg.svd(A)
    return U[:, -1], Vh[-1].conj()


def _bordered(A: Any, b: Any, c: Any) -> complex:
    n = len(A)
    matrix = np.zeros((n + 1, n + 1), dtype=A.dtype)
    matrix[:n, :n], matrix[:n, n], matrix[n, :n] = A, b, np.conj(c)
    right = np.zeros(n + 1, dtype=A.dtype)
    right[n] = 1.0
    return complex(np.linalg.solve(matrix, right)[n])


def _shifted(problem: Problem, z: FloatArray, mu: complex) -> Any:
    M = problem.linearise(z)[1]
    shift = mu if mu.imag else mu.real
    return M - shift * np.eye(problem.n)


class _Curve:
    """Points of the curve near z by their coordinate along the tangent there."""

    def __init__(self, problem: Problem, z: FloatArray, tangent: FloatArray) -> None:
        self.problem, self.base, self.along = problem, z, tangent
        self.row = problem.weights * tangent
        self._last = (0.0, z)

    def __call__(self, s: float) -> FloatArray | None:
        s0, z0 = self._last
        target = float(self.row @ self.base) + s
        z = self.problem.correct(z0 + (s - s0) * self.along, self.row, target, polish=True)
        if z is not None:
            self._last = (s, z)
        return z


def _start(a: Node, b: Node, ahead: float, behind: float) -> FloatArray:
    """Return the point of the chord where a quantity, linear along it, vanishes."""
    t = ahead / (ahead - behind) if ahead * behind < 0.0 else 0.5
    return np.asarray(a.z + min(max(t, 0.02), 0.98) * (b.z - a.z))


def _nearest_real(node: Node, target: float) -> float:
    mu = node.multipliers
    real = mu.real[mu.imag == 0.0]
    # A pair that has met may hide the crossing value; the nearest multiplier of any kind then serves.
    pool = real if len(real) else mu.real
    return float(pool[np.argmin(np.abs(pool - target))] - target)


def _locate_real(problem: Problem, a: Node, b: Node, mu: float, kind: EventKind) -> Event | None:
    chord = b.z - a.z
    length = problem.norm(chord)
    if kind == "fold":
        guess = _start(a, b, float(a.tangent[-1]), float(b.tangent[-1]))
    else:
        guess = _start(a, b, _nearest_real(a, mu), _nearest_real(b, mu))
    row = problem.weights * chord / length
    z = problem.correct(guess, row, float(row @ guess))
    if z is None:
        return None
    node = make_node(problem, z, a.tangent)
    if node is None:
        return None
    curve = _Curve(problem, z, node.tangent)
    left, right = _singular(_shifted(problem, z, complex(mu)))

    def g(y: FloatArray) -> FloatArray | None:
        at = curve(float(y[0]))
        if at is None:
            return None
        return np.array([_bordered(_shifted(problem, at, complex(mu)), left, right).real])

    out = _newton(g, np.zeros(1), length)
    if out is None:
        return None
    found = curve(float(out[0][0]))
    end = None if found is None else make_node(problem, found, a.tangent)
    if found is None or end is None:
        return None
    nearest = end.multipliers[[int(np.argmin(np.abs(end.multipliers - mu)))]]
    residual = max(out[1], float(np.max(np.abs(problem.residual(found)))))
    error = out[2] * abs(float(end.tangent[-1]))
    return Event(kind, found, end.tangent, nearest, max(error, out[2] ** 2), residual)


def _locate_pair(problem: Problem, a: Node, b: Node) -> Event | None:
    """Locate a Neimark-Sacker point."""
    before, after = (np.abs(node.multipliers) - 1.0 for node in (a, b))
    complex_a, complex_b = a.multipliers.imag > 0.0, b.multipliers.imag > 0.0
    if not complex_a.any() or not complex_b.any():
        return None
    i = int(np.argmin(np.where(complex_a, np.abs(before), np.inf)))
    j = int(np.argmin(np.where(complex_b, np.abs(after), np.inf)))
    if abs(before[i]) > abs(after[j]):
        # The one that is nearer to the circle says which pair it is; its partner is the nearest multiplier.
        i = int(np.argmin(np.where(complex_a, np.abs(a.multipliers - b.multipliers[j]), np.inf)))
    else:
        j = int(np.argmin(np.where(complex_b, np.abs(b.multipliers - a.multipliers[i]), np.inf)))
    guess = _start(a, b, float(before[i]), float(after[j]))
    length = problem.norm(b.z - a.z)
    row = problem.weights * (b.z - a.z) / length
    z = problem.correct(guess, row, float(row @ guess))
    node = None if z is None else make_node(problem, z, a.tangent)
    if z is None or node is None:
        return None
    upper = node.multipliers[node.multipliers.imag > 0.0]
    if len(upper) == 0:
        return None
    theta = float(np.angle(upper[np.argmin(np.abs(np.abs(upper) - 1.0))]))
    curve = _Curve(problem, z, node.tangent)
    left, right = _singular(_shifted(problem, z, complex(np.exp(1j * theta))))

    def g(y: FloatArray) -> FloatArray | None:
        at = curve(float(y[0]))
        if at is None:
            return None
        mu = complex(np.exp(1j * float(y[1])))
        value = _bordered(_shifted(problem, at, mu), left, right)
        return np.array([value.real, value.imag])

    out = _newton(g, np.array([0.0, theta]), max(length, 0.2))
    if out is None:
        return None
    found, theta = curve(float(out[0][0])), abs(float(out[0][1]))
    end = None if found is None else make_node(problem, found, a.tangent)
    # At theta = 0 or pi the pair is a double real multiplier: another bifurcation of higher codimension.
    if found is None or end is None or not 1e-6 < theta < np.pi - 1e-6:
        return None
    residual = max(out[1], float(np.max(np.abs(problem.residual(found)))))
    pair = np.exp(1j * theta * np.array([1.0, -1.0]))
    error = out[2] * max(abs(float(end.tangent[-1])), 1e-3)
    return Event("neimark-sacker", found, end.tangent, pair, error, residual, theta)


def _locate_crossing(problem: Problem, a: Node, b: Node) -> Event | None:
    """Locate a branch point: [F_x F_l] has a kernel of two dimensions."""
    length = problem.norm(b.z - a.z)
    n = problem.n
    z0 = _start(a, b, _nearest_real(a, 1.0), _nearest_real(b, 1.0))

    def derivative(z: FloatArray) -> FloatArray:
        _, M, slope = problem.linearise(z)
        return np.column_stack([M - np.eye(n), slope])

    U, _, Vh = np.linalg.svd(derivative(z0))
    b_, C = U[:, -1], Vh[-2:]
    base = C @ z0
    last: list[Any] = [np.zeros(2), np.append(z0, 0.0)]

    def matrix(z: FloatArray) -> FloatArray:
        out = np.zeros((n + 2, n + 2))
        out[:n, : n + 1], out[:n, n + 1], out[n:, : n + 1] = derivative(z), b_, C
        return out

    def point(y: FloatArray) -> FloatArray | None:
        w = last[1] + np.append(C.T @ (y - last[0]), 0.0)
        previous = np.inf
        for _ in range(10):
            z = w[:-1]
            if not problem.inside(z):
                return None
            F = np.append(problem.residual(z) + w[-1] * b_, C @ z - base - y)
            size = float(np.max(np.abs(F)))
            if not np.isfinite(size):
                return None
            if size >= 0.5 * previous or size == 0.0:
                if size > 1e-9:
                    return None
                break
            previous = size
            w = w - np.linalg.solve(matrix(z), F)
        else:
            return None
        last[:] = [y.copy(), w]
        return np.asarray(w)

    def null(z: FloatArray) -> FloatArray:
        right = np.zeros(n + 2)
        right[n + 1] = 1.0
        return np.asarray(np.linalg.solve(matrix(z).T, right), dtype=np.float64)

    def g(y: FloatArray) -> FloatArray | None:
        w = point(y)
        return None if w is None else null(w[:-1])[n:]

    out = _newton(g, np.zeros(2), max(length, 0.1))
    w = None if out is None else point(out[0])
    if out is None or w is None or abs(float(w[-1])) > _UNFOLDED:
        return None
    z = w[:-1]
    left = null(z)[:n]
    values = np.linalg.eigvals(problem.linearise(z)[1])
    nearest = values[[int(np.argmin(np.abs(values - 1.0)))]].astype(np.complex128)
    kernel = np.linalg.svd(derivative(z))[2][-2:].T
    residual = max(out[1], float(np.max(np.abs(problem.residual(z)))))
    return Event(
        "branch point", z, (b.z - a.z) / length, nearest, out[2], residual, frame=kernel,
        left=left / np.linalg.norm(left),
    )  # fmt: skip


def _between(problem: Problem, a: Node, b: Node, event: Event | None) -> Event | None:
    """Return the event if it lies on the step from a to b."""
    if event is None:
        return None
    chord = b.z - a.z
    length = problem.norm(chord)
    t = problem.dot(event.z - a.z, chord) / length**2
    off = problem.norm(event.z - a.z - t * chord)
    return event if -1e-6 <= t <= 1.0 + 1e-6 and off <= 0.5 * length else None


def locate_flip(problem: Problem, a: Node, b: Node) -> Event | None:
    """Locate a multiplier -1 between two nodes."""
    return _between(problem, a, b, _locate_real(problem, a, b, -1.0, "flip"))


def events_between(problem: Problem, a: Node, b: Node, depth: int = 0) -> list[Event] | None:
    """Return every bifurcation on the step from a to b, in order; None when no curve seems to join them.

    What the signs at both ends allow to be one event is located as that; anything else halves the step.
    """
    fold = float(a.tangent[-1] * b.tangent[-1]) < 0.0
    crossing = a.sign * b.sign < 0.0
    # Pairs of real multipliers meet and part; the parity of their number changes only at -1.
    flip = (a.n_flipped - b.n_flipped) % 2 == 1
    change = abs(a.n_unstable - b.n_unstable)
    if not (fold or crossing or flip or change):
        return []
    event = None
    # Where many attempts have failed several multipliers are critical, and most further ones fail too.
    attempt = depth < 4 or depth % 4 == 0
    try:
        if not attempt:
            pass
        elif crossing and not flip and change == (not fold):
            # From the branch that turns at a pitchfork it looks like a crossing and a fold at once.
            event = _locate_crossing(problem, a, b)
        elif fold and not crossing and not flip and change == 1:
            event = _locate_real(problem, a, b, 1.0, "fold")
        elif flip and not fold and not crossing and change == 1:
            event = _locate_real(problem, a, b, -1.0, "flip")
        elif not (fold or crossing or flip) and change == 2:
            event = _locate_pair(problem, a, b)
    except np.linalg.LinAlgError:
        # A bordered matrix is singular where more than one multiplier is critical.
        event = None
    event = _between(problem, a, b, event)
    if event is not None:
        return [event]
    chord = b.z - a.z
    length = problem.norm(chord)
    if depth >= _DEPTH or length <= _SHORT:
        return [_degenerate(problem, a, b, change)]
    row = problem.weights * chord / length
    for t in (0.5, 0.43, 0.57):
        guess = a.z + t * chord
        z = problem.correct(guess, row, float(row @ guess))
        middle = None if z is None else make_node(problem, z, a.tangent)
        if middle is None or problem.norm(middle.z - guess) > 0.5 * length:
            return None
        if not middle.critical:
            first = events_between(problem, a, middle, depth + 1)
            second = events_between(problem, middle, b, depth + 1)
            return None if first is None or second is None else first + second
    return [_degenerate(problem, a, b, change)]


def _degenerate(problem: Problem, a: Node, b: Node, change: int) -> Event:
    k = max(change, 1)
    distance = np.abs(np.abs(b.multipliers) - 1.0)
    near = b.multipliers[np.argsort(distance)[:k]]
    # The mean distance of these multipliers from the circle, linear along so short a chord.
    ahead, behind = (float(np.mean(np.sort(np.abs(np.abs(n.multipliers) - 1.0))[:k])) for n in (a, b))
    guess = a.z + ahead / max(ahead + behind, 1e-300) * (b.z - a.z)
    row = problem.weights * (b.z - a.z)
    z = problem.correct(guess, row, float(row @ guess))
    z = guess if z is None else z
    return Event(
        "degenerate", z, a.tangent, near, problem.norm(b.z - a.z), float(np.max(np.abs(problem.residual(z)))),
        note=f"{k} multipliers cross together, or the map is not smooth here: located by bisection",
    )  # fmt: skip
