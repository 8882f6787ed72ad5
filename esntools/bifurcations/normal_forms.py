r"""Normal-form coefficients at a bifurcation, and the directions of the branches that meet at it.

With the multilinear forms B and C of second and third derivatives of :math:`G^p`, right and left critical
vectors q and p, |q| = 1, <p, q> = 1:

* fold :math:`\tfrac12\langle p, B(q,q)\rangle`;
* pitchfork :math:`\tfrac16\langle p, C(q,q,q) + 3 B(q, h)\rangle`, :math:`(I - A) h = B(q,q)` off the kernel;
* flip :math:`\tfrac16\langle p, C(q,q,q) + 3 B(q, (I - A)^{-1} B(q,q))\rangle`, positive when supercritical;
* Neimark-Sacker :math:`\tfrac12\mathrm{Re}\,e^{-i\theta}\langle p, C(q,q,\bar q) + 2 B(q, (I - A)^{-1}
  B(q,\bar q)) + B(\bar q, (e^{2i\theta} I - A)^{-1} B(q,q))\rangle`, negative when supercritical.

References
----------
Yu. A. Kuznetsov, Elements of Applied Bifurcation Theory, Springer 2004, doi:10.1007/978-1-4757-3978-7,
section 5.4.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from esntools._typing import FloatArray
from esntools.bifurcations.events import Event
from esntools.bifurcations.families import Problem
from esntools.bifurcations.results import Criticality

__all__ = ["branch_directions", "coefficient", "criticality"]

_FIRST: Final = 1e-3
_SECOND: Final = 5e-3
#: A coefficient smaller than this has no sign: its differences are good to about 1e-9.
_ZERO: Final = 1e-6


class _Forms:
    """Directional second and third derivatives of G^p at one state, by differences of exact Jacobians."""

    def __init__(self, problem: Problem, z: FloatArray) -> None:
        self.problem, self.z = problem, z

    def _times(self, v: FloatArray, h: float, w: Any) -> Any:
        """Return DG^p(x + h v) w."""
        z = self.z.copy()
        z[:-1] += h * v
        x, value = z[:-1], self.problem.value(z[-1])
        family = self.problem.family
        for _ in range(self.problem.period):
            w = family.jacobian(x, value) @ w
            x = family.image(x, value)
        return w

    def B(self, w: Any, v: Any) -> Any:
        """Return B(w, v) for real or complex vectors."""
        v, w = np.asarray(v), np.asarray(w)
        if np.iscomplexobj(v):
            return self.B(w, v.real) + 1j * self.B(w, v.imag)
        size = float(np.max(np.abs(v)))
        if size == 0.0:
            return np.zeros_like(w)
        h = _FIRST / size
        one = self._times(v, h, w) - self._times(v, -h, w)
        two = self._times(v, 2.0 * h, w) - self._times(v, -2.0 * h, w)
        return (8.0 * one - two) / (12.0 * h)

    def C(self, w: Any, v: FloatArray) -> Any:
        """Return C(v, v, w) for real v."""
        size = float(np.max(np.abs(v)))
        if size == 0.0:
            return np.zeros_like(w)
        h = _SECOND / size
        one = self._times(v, h, w) + self._times(v, -h, w)
        two = self._times(v, 2.0 * h, w) + self._times(v, -2.0 * h, w)
        return (16.0 * one - two - 30.0 * self._times(v, 0.0, w)) / (12.0 * h * h)


def _critical_vectors(M: Any, mu: complex) -> tuple[Any, Any]:
    A = M - (mu if mu.imag else mu.real) * np.eye(len(M))
    U, _, Vh = np.linalg.svd(A)
    q, p = Vh[-1].conj(), U[:, -1]
    return q, p / np.vdot(q, p)


def coefficient(problem: Problem, event: Event, kind: str) -> float | None:
    """Return the normal-form coefficient, None where the map has no derivatives or p and q are orthogonal."""
    if not problem.family.smooth or kind not in ("fold", "pitchfork", "flip", "neimark-sacker"):
        return None
    forms = _Forms(problem, event.z)
    M = problem.linearise(event.z)[1]
    n = problem.n
    identity = np.eye(n)
    mu = {"flip": -1.0 + 0j, "neimark-sacker": complex(np.exp(1j * event.theta))}.get(kind, 1.0 + 0j)
    with np.errstate(divide="ignore", invalid="ignore"):
        q, p = _critical_vectors(M, mu)
    if not np.all(np.isfinite(p)):
        return None
    if kind == "fold":
        # The sign of q is free: the direction in which the state grows is the convention.
        out = 0.5 * float(p @ forms.B(q, q)) * (1.0 if np.sum(q) >= 0.0 else -1.0)
    elif kind == "flip":
        h = np.linalg.solve(identity - M, forms.B(q, q))
        out = float(p @ (forms.C(q, q) + 3.0 * forms.B(q, h))) / 6.0
    elif kind == "pitchfork":
        bordered = np.zeros((n + 1, n + 1))
        bordered[:n, :n], bordered[:n, n], bordered[n, :n] = identity - M, q, p
        h = np.linalg.solve(bordered, np.append(forms.B(q, q), 0.0))[:n]
        out = float(p @ (forms.C(q, q) + 3.0 * forms.B(q, h))) / 6.0
    else:
        cubic = forms.C(q, q.real) + forms.C(q, q.imag)
        conjugate = q.conj()
        first = 2.0 * forms.B(q, np.linalg.solve(identity - M, forms.B(q, conjugate)))
        second = forms.B(conjugate, np.linalg.solve(mu**2 * identity - M, forms.B(q, q)))
        out = 0.5 * float((np.vdot(p, cubic + first + second) / mu).real)
    return out if np.isfinite(out) else None


def criticality(kind: str, value: float | None) -> Criticality:
    """Return what the sign of the coefficient says."""
    if value is None or abs(value) <= _ZERO or kind not in ("pitchfork", "flip", "neimark-sacker"):
        return "undecided"
    good = value > 0.0 if kind == "flip" else value < 0.0
    return "supercritical" if good else "subcritical"


def branch_directions(problem: Problem, event: Event) -> list[FloatArray]:
    """Return the tangents (length 1) of the two curves that cross at a branch point, [] when they do not.

    They solve the algebraic branching equation w . F_zz(t, t) = 0 in the kernel of [F_x F_l].
    """
    assert event.frame is not None
    assert event.left is not None
    T, w, h = event.frame, event.left, 1e-4
    Q = np.empty((2, 2))
    for j in range(2):
        ahead = problem.derivative(event.z + h * T[:, j], T)
        behind = problem.derivative(event.z - h * T[:, j], T)
        Q[:, j] = w @ (ahead - behind) / (2.0 * h)
    Q = 0.5 * (Q + Q.T)
    if not np.all(np.isfinite(Q)):
        return []
    low, high = np.linalg.eigvalsh(Q)
    if not low < 0.0 < high or min(-low, high) <= 1e-7 * max(-low, high, 1.0):
        return []
    values, vectors = np.linalg.eigh(Q)
    a, b = np.sqrt(values[1]), np.sqrt(-values[0])
    out = []
    for sign in (1.0, -1.0):
        t = T @ (a * vectors[:, 0] + sign * b * vectors[:, 1])
        out.append(np.asarray(t / problem.norm(t)))
    return out
