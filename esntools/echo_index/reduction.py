r"""One coordinate that decides: monotone maps of an interval, evaluated with outward rounding.

A unit that no other unit reaches, or :math:`\kappa = v^\top x` of a network of rank one, obeys

.. math:: \kappa' = (1 - a) \kappa + a \sum_i v_i \varphi(w_i \kappa + c_i + d_i^\top u),

which is an increasing function of :math:`\kappa` when :math:`v_i w_i \ge 0`. Increasing maps keep the order
of states, so that the worst input can be found step by step, and a proof consists of finitely many signs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import flint
import numpy as np
from flint import arb

from esntools._typing import FloatArray
from esntools.activations import Activation
from esntools.certificates import certify_esp
from esntools.certificates.verdicts import Certified
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

__all__ = ["Coordinate", "Family", "FixedInterval", "coordinates", "fixed_intervals"]

_BITS: Final = 96
#: Terms beyond which a coordinate is not examined exactly: each costs a ball evaluation per step.
_MOST_TERMS: Final = 64

_PHI: Final[dict[str, Callable[[Any], Any]]] = {
    "tanh": lambda z: z.tanh(),
    "logistic": lambda z: 1 / (1 + (-z).exp()),
    "erf": lambda z: z.erf(),
    "softsign": lambda z: z / (1 + abs(z)),
}


def below(ball: Any) -> float:
    """Return a double that is not above any point of a ball: the number itself when it is one."""
    value = float(ball.lower())
    if value != value:
        return -math.inf
    exact = ball.is_exact() and not math.isinf(value) and bool(arb(value) == ball)
    return value if exact else math.nextafter(value, -math.inf)


def above(ball: Any) -> float:
    """Return a double that is not below any point of a ball."""
    return -below(-ball)


@final
@dataclass(frozen=True, eq=False)
class _Member:
    """One map, or all maps whose constants lie between c_low and c_high."""

    c_low: tuple[Any, ...]
    c_high: tuple[Any, ...]


@final
@dataclass(frozen=True, eq=False)
class Family:
    """Increasing maps of one coordinate; the input chooses among them at every step.

    `down(y)` and `up(y)` are doubles below the least and above the greatest of their values at y.
    """

    leak: float
    v: tuple[float, ...]
    w: tuple[float, ...]
    phi: Activation
    low: float
    high: float
    members: tuple[_Member, ...]

    def _value(self, y: float, member: _Member, upper: bool) -> Any:
        f, ball = _PHI[self.phi.name], arb(y)
        total = arb(0)
        for v, w, c_low, c_high in zip(self.v, self.w, member.c_low, member.c_high, strict=True):
            total += arb(v) * f(arb(w) * ball + (c_high if upper == (v > 0.0) else c_low))
        a = arb(self.leak)
        return (1 - a) * ball + a * total

    def down(self, y: float) -> float:
        with flint.ctx.workprec(_BITS):
            return min(below(self._value(y, m, False)) for m in self.members)

    def up(self, y: float) -> float:
        with flint.ctx.workprec(_BITS):
            return max(above(self._value(y, m, True)) for m in self.members)

    def least_up(self, y: float) -> float:
        """Return a double above the least value at y: what the most damaging input surely reaches."""
        with flint.ctx.workprec(_BITS):
            return min(above(self._value(y, m, False)) for m in self.members)

    def slopes(self, y: float, z: float) -> tuple[float, float]:
        """Return bounds of every slope of every member on [y, z]."""
        with flint.ctx.workprec(_BITS):
            keep = 1 - arb(self.leak)
            least, greatest = math.inf, 0.0
            for member in self.members:
                low = high = arb(0)
                for v, w, c_low, c_high in zip(self.v, self.w, member.c_low, member.c_high, strict=True):
                    first, second = (y, z) if w >= 0.0 else (z, y)
                    left, right = below(arb(w) * first + c_low), above(arb(w) * second + c_high)
                    d_low, d_high = self.phi.slope_range(left, right)
                    g = arb(v) * arb(w)
                    # One side of a range of slopes belongs to one side of the product.
                    down, upper = (d_low, d_high) if bool(g >= 0) else (d_high, d_low)
                    low, high = low + g * arb(down), high + g * arb(upper)
                least = min(least, below(keep + arb(self.leak) * low))
                greatest = max(greatest, above(keep + arb(self.leak) * high))
        return max(least, 0.0), greatest

    def reflected(self) -> Family:
        """Return the family for -kappa: what pushes up becomes what pushes down."""
        return Family(
            self.leak, tuple(-v for v in self.v), tuple(-w for w in self.w), self.phi, -self.high, -self.low,
            self.members,
        )  # fmt: skip


def divided(family: Family, n: int) -> list[Family]:
    """Return families of one member each, whose constants lie in n parts of each member's (0: the middle)."""
    parts = []
    with flint.ctx.workprec(_BITS):
        for m in family.members:
            point = all(bool(a == b) for a, b in zip(m.c_low, m.c_high, strict=True))
            if len(m.c_low) > 1 and n > 0 and not point:
                # Several constants vary independently: parts along their diagonal would not cover them.
                parts.append(replace(family, members=(m,)))
                continue
            shares = [(0.5, 0.5)] if n == 0 else [(k / n, (k + 1) / n) for k in range(1 if point else n)]
            for left, right in [(0.0, 0.0)] if point else shares:
                ends = [
                    tuple(
                        a + (b - a) * arb(share) if 0.0 < share < 1.0 else (b if share else a)
                        for a, b in zip(m.c_low, m.c_high, strict=True)
                    )
                    for share in (left, right)
                ]
                parts.append(replace(family, members=(_Member(ends[0], ends[1]),)))
    return parts


@final
@dataclass(frozen=True, eq=False)
class Coordinate:
    """One deciding coordinate of a network.

    Attributes
    ----------
    kind : {"unit", "rank one"}
    index : int
        The unit; -1 for rank one.
    direction : array (n_units,)
        kappa = direction . x
    """

    kind: str
    index: int
    direction: FloatArray
    leak: float
    v: tuple[float, ...]
    w: tuple[float, ...]
    phi: Activation
    low: float
    high: float
    b: FloatArray = field(repr=False)
    D: FloatArray = field(repr=False)

    def _constants(self, u: FloatArray) -> tuple[Any, ...]:
        with flint.ctx.workprec(_BITS):
            return tuple(
                sum((arb(float(d)) * arb(float(x)) for d, x in zip(row, u, strict=True)), arb(float(c)))
                for c, row in zip(self.b, self.D, strict=True)
            )

    def _family(self, members: Sequence[_Member]) -> Family:
        return Family(self.leak, self.v, self.w, self.phi, self.low, self.high, tuple(members))

    def under(self, symbols: FloatArray) -> Family:
        """Return the family of the maps under the rows of `symbols`."""
        rows = [self._constants(u) for u in np.atleast_2d(symbols)]
        return self._family([_Member(c, c) for c in rows])

    def within(self, low: FloatArray, high: FloatArray) -> Family:
        """Return the family of all maps under inputs of a box; exact when there is one term."""
        corner = np.where(self.D > 0.0, high, low), np.where(self.D > 0.0, low, high)
        ends = []
        with flint.ctx.workprec(_BITS):
            for rows in (corner[1], corner[0]):
                ends.append(
                    tuple(
                        sum(
                            (arb(float(d)) * arb(float(x)) for d, x in zip(row, u, strict=True)),
                            arb(float(c)),
                        )
                        for c, row, u in zip(self.b, self.D, rows, strict=True)
                    )
                )
        return self._family([_Member(ends[0], ends[1])])


def _increasing(leak: float, v: Sequence[float], w: Sequence[float], phi: Activation) -> bool:
    with flint.ctx.workprec(_BITS):
        falling = sum(
            (arb(x) * arb(y) for x, y in zip(v, w, strict=True) if math.copysign(1.0, x) * y < 0.0), arb(0)
        ) * arb(phi.slope_bounds[1])  # fmt: skip
        return below(1 - arb(leak) + arb(leak) * falling) >= 0.0


def _ends(leak: float, v: Sequence[float], phi: Activation) -> tuple[float, float]:
    """Return the interval that the coordinate cannot leave, and enters from every state of the network."""
    low, high = phi.value_bounds
    with flint.ctx.workprec(_BITS):
        least = sum((arb(min(x * low, x * high)) for x in v), arb(0))
        greatest = sum((arb(max(x * low, x * high)) for x in v), arb(0))
    return math.nextafter(below(least), -math.inf), math.nextafter(above(greatest), math.inf)


def _split(W: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return w and v with W = w v' exactly, or None."""
    p, q = np.unravel_index(int(np.argmax(np.abs(W))), W.shape)
    if W[p, q] == 0.0:
        return None
    for M, turned in ((W, False), (W.T, True)):
        row, column = (p, q) if not turned else (q, p)
        v = M[row] / M[row, column]
        mantissa = np.abs(np.frexp(v[v != 0.0])[0])
        w = M[:, column]
        # With v of signed powers of two every product is exact, so that equality is equality.
        if np.all(mantissa == 0.5) and np.array_equal(np.outer(w, v), M):
            return (w, v) if not turned else (v, w)
    return None


def _rank_one(network: EchoStateNetwork, W: FloatArray) -> Coordinate | None:
    a, phi = network.uniform_leak_rate, network.activation
    factors = _split(W) if network.n_units <= _MOST_TERMS else None
    if a is None or factors is None:
        return None
    w, v = factors
    used = np.flatnonzero(v)
    terms = tuple(float(x) for x in v[used]), tuple(float(x) for x in w[used])
    if not _increasing(a, *terms, phi):
        return None
    low, high = _ends(a, terms[0], phi)
    return Coordinate(
        "rank one", -1, v, a, *terms, phi, low, high, network.b[used], network.W_in[used]
    )  # fmt: skip


def coordinates(network: EchoStateNetwork, *, budget: float | None = None) -> tuple[Coordinate, ...] | str:
    """Return the coordinates that decide, all others being proved to follow, or why there are none.

    The echo index is then the product of those of the coordinates: given their histories, everything else is
    a contraction, or a linear filter.
    """
    phi = network.activation
    if phi.name not in _PHI:
        return f"the activation {phi.expression} is not one of {', '.join(_PHI)}"
    if network.W_fb is not None:
        return "the network has feedback, whose product with the readout is rounded"
    n, W = network.n_units, network.dense_W()
    off = W.copy()
    np.fill_diagonal(off, 0.0)
    alone = np.flatnonzero(~off.any(axis=1))
    steep = phi.slope_bounds[1]
    core = [
        int(i) for i in alone
        if W[i, i] * steep > 1.0 - 1e-9 and _increasing(float(network.leak_rate[i]), [1.0], [W[i, i]], phi)
    ]  # fmt: skip
    if core:
        rest = np.setdiff1d(np.arange(n), core)
        if len(rest):
            sub = EchoStateNetwork(
                W[np.ix_(rest, rest)], leak_rate=network.leak_rate[rest], activation=phi
            )  # fmt: skip
            verdict = certify_esp(sub, AnyInput(), bracket=False, local=False, budget=budget)
            if not isinstance(verdict, Certified):
                return f"the other {len(rest)} units are not proved to follow"
        found = []
        for i in core:
            a = float(network.leak_rate[i])
            low, high = _ends(a, (1.0,), phi)
            b, D = network.b[i : i + 1], network.W_in[i : i + 1]
            w = (float(W[i, i]),)
            found.append(Coordinate("unit", i, np.eye(n)[i], a, (1.0,), w, phi, low, high, b, D))
        return tuple(found)
    one = _rank_one(network, W)
    if one is not None:
        return (one,)
    return (
        "no unit decides alone, and W is not exactly a product of two vectors with increasing maps "
        f"(of at most {_MOST_TERMS} units)"
    )


# -- fixed points of one increasing map -----------------------------------------------------------------


@final
@dataclass(frozen=True)
class FixedInterval:
    """An interval [low, high] with exactly one fixed point of the map in it."""

    low: float
    high: float
    stable: bool


def fixed_intervals(
    down: Callable[[float], float],
    up: Callable[[float], float],
    slopes: Callable[[float, float], tuple[float, float]],
    low: float,
    high: float,
    *,
    most: int = 20000,
) -> tuple[FixedInterval, ...] | None:
    """Return all fixed points of an increasing map on [low, high], in order; None when undecided.

    Bisection: a piece has none when its image lies to one side of it, at most one when the slopes exclude 1.
    """
    found: list[FixedInterval] = []
    stack = [(low, high)]
    for _ in range(most):
        if not stack:
            return tuple(sorted(found, key=lambda f: f.low))
        y, z = stack.pop()
        below_y, above_y, below_z, above_z = down(y), up(y), down(z), up(z)
        if below_y > z or above_z < y:
            continue
        least, greatest = slopes(y, z)
        if greatest < 1.0 or least > 1.0:
            rising = least > 1.0
            # f(x) - x falls (rises): one root if it changes sign, none if it does not.
            left, right = (below_y - y, z - above_z) if not rising else (y - above_y, below_z - z)
            if left > 0.0 and right > 0.0:
                found.append(FixedInterval(*_narrowed(down, up, y, z, rising), not rising))
                continue
            gone = (
                (above_y < y or below_z > z) if not rising else (below_y > y or above_z < z)
            )  # fmt: skip
            if gone:
                continue
        middle = 0.5 * (y + z)
        # A root at a cut would belong to neither side: cut elsewhere.
        if below(arb(down(middle)) - arb(middle)) <= 0.0 <= above(arb(up(middle)) - arb(middle)):
            middle = y + 0.47 * (z - y)
        if not y < middle < z or z - y < 1e-12 * max(1.0, abs(y)):
            return None
        stack += [(y, middle), (middle, z)]
    return None


def _narrowed(
    down: Callable[[float], float], up: Callable[[float], float], y: float, z: float, rising: bool
) -> tuple[float, float]:
    """Return a narrow interval around the one fixed point in [y, z], by bisection with proved signs."""
    for _ in range(200):
        middle = 0.5 * (y + z)
        if not y < middle < z:
            break
        if down(middle) > middle:
            y, z = (y, middle) if rising else (middle, z)
        elif up(middle) < middle:
            y, z = (middle, z) if rising else (y, middle)
        else:
            # Within rounding of the root: step aside, both signs being certain a little further out.
            width = 0.25 * (z - y)
            if width < 1e-14 * max(1.0, abs(middle)):
                break
            left, right = middle - width, middle + width
            signs = (down(left) > left and up(right) < right) if not rising else (
                up(left) < left and down(right) > right
            )  # fmt: skip
            if not signs:
                break
            y, z = left, right
    return y, z
