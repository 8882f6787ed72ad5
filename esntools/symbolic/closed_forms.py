r"""Critical gains in closed form: the ellipse criterion, normal matrices, one neuron, two neurons.

The factor g on the effective matrix V below which a rung proves contraction, and the factor above which
the origin of a network without bias is unstable at zero input (a refutation). Where both agree the answer
is exact. The symbols are a (leak rate), l and L (bounds of the slope).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import sympy

from esntools._typing import FloatArray
from esntools.network import EchoStateNetwork

__all__ = [
    "CriticalGain",
    "critical_gains",
    "ellipse",
    "ellipse_gain",
    "normal_gain",
    "one_neuron_interval",
    "origin_gain",
    "pulling_circle",
    "two_neurons",
]

A: Final = sympy.Symbol("a", positive=True)
LOW: Final = sympy.Symbol("l", real=True)
HIGH: Final = sympy.Symbol("L", positive=True)
#: Real part, imaginary part and size of a complex number (of an eigenvalue, of a point of the numerical
#: range).
RE: Final = sympy.Symbol("alpha", real=True)
IM: Final = sympy.Symbol("beta", real=True)
SIZE: Final = sympy.Symbol("mu", positive=True)
_G: Final = sympy.Symbol("g", positive=True)
_P, _Q, _R, _S = sympy.symbols("v_11 v_12 v_21 v_22", real=True)
# V V' and V' V of a rounded normal matrix differ by rounding; the gains are floating-point numbers anyway.
_NORMAL: Final = 1e-12

_YILDIZ: Final = "doi:10.1016/j.neunet.2012.07.005"
_LURIE: Final = "doi:10.48550/arXiv.2604.00119"


@final
@dataclass(frozen=True, eq=False)
class CriticalGain:
    """A factor g on the effective matrix at which an answer changes, in closed form.

    Parameters
    ----------
    name : str
        ``"ellipse, normal matrix"``, ``"origin"``, ``"one neuron"``, ``"two neurons, ellipse"``, ...
    says : {"proved below", "refuted above", "exact"}
        Below g contraction holds for every input; above g, without bias, the state 0 is unstable at zero
        input; or both.
    symbol : sympy.Expr
        The closed form.
    value : float
        Its number, floating point.
    source : str
    """

    name: str
    says: str
    symbol: Any
    value: float
    source: str


@functools.cache
def pulling_circle() -> tuple[Any, Any]:
    r"""Return centre and radius of the circle that :math:`q = 1/(z - 1 + a)` runs through, :math:`|z| = 1`.

    The image of a circle that is symmetric about the real axis under a real Moebius map is such a circle; its
    diameter joins the images of z = 1 and z = -1.

    >>> pulling_circle()
    ((1 - a)/(a*(2 - a)), 1/(a*(2 - a)))
    """
    ends = [1 / (z - (1 - A)) for z in (sympy.Integer(1), sympy.Integer(-1))]
    centre = sympy.factor(sympy.simplify((ends[0] + ends[1]) / 2))
    radius = sympy.factor(sympy.simplify((ends[0] - ends[1]) / 2))
    tidy = A * (2 - A)
    return sympy.expand(sympy.cancel(centre * tidy)) / tidy, sympy.cancel(radius * tidy) / tidy


@functools.cache
def ellipse(leak: str = "a") -> Any:
    r"""Return the ellipse criterion for slopes in [0, L], a relation in w = alpha + i beta.

    .. math::

        (1 - a) \mathrm{Re}\,w + |w| < \frac{2 - a}{L} \quad \text{for all } w \in F(S V S^{-1}),

    with the numerical range F and some diagonal S > 0. It is feasible exactly when the incremental Lur'e
    matrix is.

    Parameters
    ----------
    leak : {"a", "none", "slow"}
        The criterion for any a; its case a = 1, where it says that the numerical radius is below 1/L; and
        for L = 1 its limit a -> 0, a parabola.

    Notes
    -----
    Proof. With Y = S V S^-1 and q on the circle of `pulling_circle`, the bounded-real form of the Lur'e
    inequality is :math:`|\tfrac{aL}2 Y v| < |(z - 1 + a) v - \tfrac{aL}2 Y v|` for all |z| = 1 and v, that is
    :math:`aL\,\mathrm{Re}(q\,v^*Yv) < |v|^2`. The largest Re(q w) over a disc is (centre) Re w + (radius)
    |w|. By homotopy from V = 0 the matrix stays Schur stable, and P > 0 comes from the bounded-real
    Riccati equation.

    Examples
    --------
    >>> ellipse()
    alpha*(1 - a) + sqrt(alpha**2 + beta**2) < (2 - a)/L
    >>> ellipse("none"), ellipse("slow")
    (sqrt(alpha**2 + beta**2) < 1/L, alpha < 1 - beta**2/4)
    """
    centre, radius = pulling_circle()
    size = sympy.sqrt(RE**2 + IM**2)
    left = sympy.simplify((centre * RE + radius * size) * A * (2 - A))
    relation = sympy.StrictLessThan(sympy.collect(sympy.expand(left), RE), (2 - A) / HIGH)
    if leak == "none":
        return relation.subs(A, 1)
    if leak == "slow":
        limit = relation.subs({A: 0, HIGH: 1})
        # Re w + |w| < 2 is |w|^2 < (2 - Re w)^2 with Re w < 2.
        edge = sympy.solve(sympy.expand(size**2 - (limit.rhs - RE) ** 2), RE)[0]
        return sympy.StrictLessThan(RE, sympy.expand(edge))
    return sympy.StrictLessThan((1 - A) * RE + size, relation.rhs)


@functools.cache
def ellipse_gain() -> Any:
    r"""Return the gain of one point w = alpha + i beta, |w| = mu: below it, g w is inside the ellipse.

    >>> ellipse_gain()
    (2 - a)/(L*(alpha*(1 - a) + mu))
    """
    return (2 - A) / (HIGH * ((1 - A) * RE + SIZE))


@functools.cache
def normal_gain() -> Any:
    r"""Return the gain of one eigenvalue of a normal matrix for slopes in [l, L].

    For normal V and S = I the Lur'e inequality is the small-gain condition
    :math:`|1 - a + a M g\lambda| + a R g|\lambda| < 1`, M = (l + L)/2, R = (L - l)/2, for every eigenvalue
    lambda = alpha + i beta, |lambda| = mu: the sum of the distances of g lambda to two foci is bounded.
    Squared, it is a quadratic in g. For l = 0 this is the ellipse criterion, for l = -L it is :math:`g
    |\lambda| < 1/L`.

    >>> normal_gain().subs(LOW, 0)
    (2 - a)/(L*(alpha*(1 - a) + mu))
    >>> sympy.simplify(normal_gain().subs(LOW, -HIGH).subs(A, sympy.Rational(3, 10)))
    1/(L*mu)
    """
    M, R = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    square = sympy.expand((1 - A) ** 2 + 2 * (1 - A) * A * M * _G * RE + (A * M * _G * SIZE) ** 2)
    general = _positive_root(sympy.expand((square - (1 - A * R * _G * SIZE) ** 2) / A))
    return sympy.Piecewise((ellipse_gain(), sympy.Eq(LOW, 0)), (general, True))


@functools.cache
def origin_gain() -> Any:
    r"""Return the gain with :math:`|1 - a + a L g \lambda| = 1` for an eigenvalue lambda = alpha + i beta.

    Above it the state 0 of a network without bias, with phi(0) = 0 and phi'(0) = L, is unstable at zero
    input.

    >>> skew = origin_gain().subs({HIGH: 1, RE: 0, SIZE: 1})
    >>> sympy.simplify(skew**2), sympy.simplify(skew.subs(A, sympy.Rational(1, 10)))
    ((2 - a)/a, sqrt(19))
    """
    inner = (1 - A + A * HIGH * _G * RE) ** 2 + (A * HIGH * _G) ** 2 * (SIZE**2 - RE**2) - 1
    return _positive_root(sympy.expand(inner / A))


def _positive_root(quadratic: Any) -> Any:
    """Return the least positive root in g, without cancellation, of a quadratic that is a - 2 at g = 0."""
    c2, c1, c0 = (sympy.expand(quadratic.coeff(_G, k)) for k in (2, 1, 0))
    assert sympy.expand(c0 + 2 - A) == 0
    # In t = 1 - a the coefficients factor as a person writes them.
    t = sympy.Symbol("t")
    half = sympy.collect(sympy.expand(c1.subs(A, 1 - t) / 2), (RE, SIZE), sympy.factor).subs(t, 1 - A)
    return (2 - A) / (half + sympy.sqrt(half**2 + sympy.factor(c2) * (2 - A)))


def one_neuron_interval() -> tuple[Any, Any]:
    r"""Return the open interval of weights w with which one unit, slopes in [0, L], contracts for any input.

    :math:`|1 - a + a d w| < 1` for d = 0 and d = L, since it is convex in d. Outside the closed interval a
    unit without bias has an unstable state 0: the interval is exact.

    >>> one_neuron_interval()
    ((a - 2)/(L*a), 1/L)
    """
    w = sympy.Symbol("w", real=True)
    low, high = (sympy.solve(sympy.Eq(1 - A + A * HIGH * w, end), w)[0] for end in (-1, 1))
    return sympy.simplify(low), sympy.simplify(high)


@functools.cache
def two_neurons() -> dict[str, Any]:
    r"""Return closed forms for V = [[v_11, v_12], [v_21, v_22]], best diagonal scaling, slopes in [0, L].

    S = diag(1, t) divides v_12 and multiplies v_21 by t; the trace of V'V is least at :math:`t^2 =
    |v_{12}/v_{21}|`, where both have the size :math:`k = \sqrt{|v_{12} v_{21}|}`, and the determinant does
    not change. So

    * ``"schur"``: the diagonal Schur gain, :math:`1/(L\sigma)` with the singular value sigma of the scaled
      matrix;
    * ``"ellipse"``: the gain of the ellipse criterion. The numerical ranges for all t are confocal ellipses
      (the foci are the eigenvalues), hence nested, and the same t is the best. For :math:`v_{12} v_{21}
      \ge 0` the range is the segment between the real eigenvalues. Else it is the ellipse with centre m =
      (v_11 + v_22)/2, half axes h = |v_11 - v_22|/2 along the real and k along the imaginary direction,
      and the largest :math:`(1 - a)\mathrm{Re}\,w + |w|` is at an end of the real axis or where a
      discriminant vanishes: the entries ``"ends"`` and ``"tangents"``, two values kappa each; the gain is
      (2 - a)/(L kappa).

    Examples
    --------
    >>> forms = two_neurons()
    >>> c = sympy.Symbol("c", positive=True)
    >>> skew = dict(zip((_P, _Q, _R, _S), (0, -c, c, 0)))
    >>> [sympy.simplify(form.subs(skew)) for form in (forms["schur"], forms["tangents"][0])]
    [1/(L*c), c]
    """
    k = sympy.sqrt(sympy.Abs(_Q * _R))
    t = sympy.Symbol("t", positive=True)
    trace = _P**2 + _S**2 + _Q**2 / t**2 + _R**2 * t**2
    best = sympy.sqrt(sympy.Abs(_Q / _R))
    T = _P**2 + _S**2 + 2 * sympy.Abs(_Q * _R)
    determinant = (_P * _S - _Q * _R) ** 2
    sigma = sympy.sqrt((T + sympy.sqrt(T**2 - 4 * determinant)) / 2)

    m, h, K, kappa, c = sympy.symbols("m h k kappa c", positive=True)
    e = A * (2 - A)
    # |w| < kappa - (1 - a) Re w on the boundary x = m + h c, y^2 = k^2 (1 - c^2), squared: a quadratic in c.
    x = m + h * c
    inside = sympy.expand(kappa**2 - 2 * (1 - A) * kappa * x - e * x**2 - K**2 * (1 - c**2))
    c2, c1, c0 = sympy.Poly(sympy.discriminant(inside, c) / 4, kappa).all_coeffs()
    c2, c1, c0 = (sympy.factor(q) for q in (c2, c1, c0))
    root = sympy.sqrt(sympy.factor(c1**2 - 4 * c2 * c0))
    values = {m: (_P + _S) / 2, h: sympy.Abs(_P - _S) / 2, K: k}
    apart = sympy.sqrt((_P - _S) ** 2 + 4 * _Q * _R) / 2
    return {
        "trace": trace, "best": best, "schur": 1 / (HIGH * sigma),
        "tangents": [((s * root - c1) / (2 * c2)).subs(values) for s in (-1, 1)],
        "ends": [(1 - A) * v + sympy.Abs(v) for v in (_P, _S)],
        "eigenvalues": [(_P + _S) / 2 + s * apart for s in (1, -1)],
    }  # fmt: skip


def _largest_reach(V: FloatArray, a: float) -> float:
    """Return the largest (1 - a) Re w + |w| on the scaled numerical range, 2 x 2 with v12 v21 < 0."""
    forms = two_neurons()
    (p, q), (r, s) = V.tolist()
    k, m, h, e = math.sqrt(abs(q * r)), 0.5 * (p + s), 0.5 * abs(p - s), a * (2.0 - a)
    numbers = dict(zip((_P, _Q, _R, _S, A), (p, q, r, s, a)))
    best = max(float(v.subs(numbers)) for v in forms["ends"])
    curvature = k * k - e * h * h
    for tangent in forms["tangents"]:
        kappa = complex(tangent.subs(numbers)) if abs(k - h) > 0.0 else complex("inf")
        if not math.isfinite(abs(kappa)) or kappa.imag != 0.0 or curvature == 0.0:
            continue
        # Where the boundary touches; the value there is attained, so a spurious root does no harm.
        c = h * ((1.0 - a) * kappa.real + e * m) / curvature
        if abs(c) <= 1.0:
            x = m + h * c
            best = max(best, (1.0 - a) * x + math.sqrt(x * x + k * k * (1.0 - c * c)))
    return best


def _uniform(network: EchoStateNetwork) -> tuple[FloatArray, float, float, float] | None:
    """Return (V, a, l, L) when one leak rate serves all units and no squares are fed back, else None."""
    a = network.uniform_leak_rate
    V = network.dense_W()
    if network.W_fb is not None and network.readout is not None:
        if not network.readout.is_affine:
            return None
        V = V + network.W_fb @ network.readout.W_out
    low, high = network.activation.slope_bounds
    return None if a is None else (V, a, low, high)


def _gain_of(symbol: Any, numbers: dict[Any, float]) -> float:
    value = complex(symbol.subs(numbers))
    return value.real if math.isfinite(value.real) and value.imag == 0.0 else math.inf


def _least(symbol: Any, eigenvalues: Any, numbers: dict[Any, float]) -> float:
    """Return the least gain over the eigenvalues."""
    function = sympy.lambdify((RE, SIZE), symbol.subs(numbers), "numpy")
    with np.errstate(all="ignore"):
        # The gain of an eigenvalue near 0 overflows, as it should.
        gains = [float(function(v.real, abs(v))) for v in eigenvalues if abs(v) > 0.0]
    return min((g for g in gains if g > 0.0), default=math.inf)


def critical_gains(network: EchoStateNetwork) -> tuple[CriticalGain, ...]:
    r"""Return every closed form that applies to this network, with its number.

    The effective matrix is V = W + W_fb W_out; with squares in the feedback, or a leak rate for each unit,
    none applies. The gain of the origin is there only for activations with phi(0) = 0 and phi'(0) = L.

    Examples
    --------
    >>> skew = EchoStateNetwork([[0.0, -1.0], [1.0, 0.0]], leak_rate=0.1)
    >>> [(c.name, c.says, round(c.value, 3)) for c in critical_gains(skew)]  # doctest: +NORMALIZE_WHITESPACE
    [('origin', 'refuted above', 4.359), ('ellipse, normal matrix', 'proved below', 1.9),
     ('two neurons, diagonal Schur', 'proved below', 1.0), ('two neurons, ellipse', 'proved below', 1.9)]
    """
    data = _uniform(network)
    if data is None:
        return ()
    V, a, low, high = data
    if not (math.isfinite(high) and high > 0.0 and -high <= low) or not np.any(V):
        return ()
    numbers = {A: a, LOW: low, HIGH: high}
    eigenvalues = np.linalg.eigvals(V)
    found = []
    phi = network.activation
    steepest = float(phi(np.zeros(()))) == 0.0 and float(phi.slope(np.zeros(()))) >= high * (1.0 - 1e-12)
    origin = _least(origin_gain(), eigenvalues, numbers) if steepest else math.inf
    if steepest:
        found.append(CriticalGain("origin", "refuted above", origin_gain(), origin, _YILDIZ))
    size = float(np.abs(V).max()) ** 2 * len(V)
    if np.abs(V @ V.T - V.T @ V).max() <= _NORMAL * size:
        form = normal_gain() if low else ellipse_gain()
        if np.array_equal(V, V.T):
            eigenvalues = np.linalg.eigvalsh(V)
        found.append(_proved("ellipse, normal matrix", form, _least(form, eigenvalues, numbers), origin))
    if low == 0.0 and np.all(V >= 0.0):
        rho = float(np.max(np.abs(eigenvalues)))
        form = 1 / (HIGH * sympy.Symbol("rho", positive=True))
        found.append(
            _proved("nonnegative matrix", form, 1.0 / (high * rho) if rho else math.inf, origin, _YILDIZ)
        )
    if low == 0.0 and len(V) == 1:
        w = float(V[0, 0])
        end = one_neuron_interval()[w > 0.0]
        found.append(_proved("one neuron", end / w, _gain_of(end, numbers) / w, origin, _YILDIZ))
    if low == 0.0 and len(V) == 2:
        forms = two_neurons()
        entries = numbers | dict(zip((_P, _Q, _R, _S), V.ravel().tolist()))
        found.append(
            _proved("two neurons, diagonal Schur", forms["schur"], _gain_of(forms["schur"], entries), origin)
        )
        if V[0, 1] * V[1, 0] >= 0.0:
            reach = max((1.0 - a) * float(v) + abs(float(v)) for v in np.real(np.linalg.eigvals(V)))
            symbol = (2 - A) / (HIGH * sympy.Max(*((1 - A) * v + sympy.Abs(v) for v in forms["eigenvalues"])))
        else:
            reach = _largest_reach(V, a)
            symbol = (2 - A) / (HIGH * sympy.Max(*forms["ends"], *forms["tangents"]))
        found.append(
            _proved("two neurons, ellipse", symbol, (2.0 - a) / (high * reach) if reach else math.inf, origin)
        )
    return tuple(found)


def _proved(name: str, symbol: Any, value: float, origin: float, source: str = _LURIE) -> CriticalGain:
    exact = math.isfinite(value) and abs(value - origin) <= 1e-9 * value
    return CriticalGain(name, "exact" if exact else "proved below", symbol, value, source)
