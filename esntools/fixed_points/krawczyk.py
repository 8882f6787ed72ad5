r"""The compiled part of the enumeration: contract a box of reduced states, prove it, discard it or halve it.

The map is :math:`G(\kappa) = M x,\; x = \varphi(L\kappa + c + E x)` with L of shape (n, r) and E small (see
`esntools.fixed_points.enumeration`). Boxes are pairs of doubles. Every quantity is computed in rounded
arithmetic as a middle and a radius, and the radius is enlarged by an a-priori bound of all roundings:
a sum of n products of doubles in any order errs by at most (n + 1) u / (1 - (n + 1) u) times the sum of the
moduli, u = 2**-53. ``_U2`` is 2.07 u, so that the bounds' own roundings are paid for as well, and ``_TINY``
pays for underflow. No fast-math option may be set in this file: the bounds allow sums to be reordered and
fused, but not infinities or reciprocals to be optimised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

from esntools.fixed_points.tables import CELLS, CLIP, CONVEX, SERIES, SOFTSIGN

__all__ = ["assess", "preconditioned", "search"]

_U2: Final = 2.3e-16
_TINY: Final = 1e-290

_GONE: Final = 0
_SPLIT: Final = 1
_PROVED: Final = 2
_UNDECIDED: Final = 3

_TERMS: Final = 9  # coefficients of a series, value and slope each


def _compiled(function: Callable[..., Any]) -> Any:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # Neither the package folder nor the user's cache folder can be written: compile in every process.
        return njit(**options)(function)


def _at(kind: int, numbers: Any, rows: Any, z: float) -> Any:
    """Return (lowest, highest) value and (lowest, highest) slope of phi at z."""
    if kind == SERIES:
        error = numbers[5]
        t = z * numbers[0]
        last = rows.shape[0] - 1
        if t > numbers[1]:
            return rows[last, 0] - error, numbers[3], 0.0, rows[last, _TERMS] + error
        if t < -numbers[1]:
            return numbers[2], rows[0, 0] + error, 0.0, rows[0, _TERMS] + error
        k = np.rint(t)
        d = z - k / numbers[0]
        i = int(k + numbers[1])
        v, s = rows[i, _TERMS - 1], rows[i, 2 * _TERMS - 1]
        for j in range(_TERMS - 2, -1, -1):
            v = v * d + rows[i, j]
            s = s * d + rows[i, _TERMS + j]
        return (
            max(v - error, numbers[2]), min(v + error, numbers[3]),
            max(s - error, 0.0), min(s + error, numbers[4]),
        )  # fmt: skip
    if kind == SOFTSIGN:
        near = 1.0 / (1.0 + abs(z))
        v = z * near
        s = near * near
        dv, ds = abs(v) * 8.0 * _U2 + _TINY, s * 8.0 * _U2 + _TINY
        return max(v - dv, -1.0), min(v + dv, 1.0), max(s - ds, 0.0), min(s + ds, 1.0)
    if kind == CLIP:
        v = min(max(z, -1.0), 1.0)
        return v, v, 1.0 if abs(z) < 1.0 else 0.0, 1.0 if abs(z) <= 1.0 else 0.0
    if kind == CONVEX:
        below = numbers[0]
        v = z if z > 0.0 else below * z
        return v, v, 1.0 if z > 0.0 else below, 1.0 if z >= 0.0 else below
    k = _cell(numbers, rows, z)
    d = z - rows[k, 0]
    one, two = rows[k, 3] * d, rows[k, 4] * d
    v = rows[k, 1]
    error = rows[k, 2] + 2.0 * _U2 * (abs(v) + abs(one) + abs(two)) + _TINY
    return v + min(one, two) - error, v + max(one, two) + error, rows[k, 3], rows[k, 4]


def _cell(numbers: Any, rows: Any, z: float) -> Any:
    return min(max(int(np.floor((z - numbers[1]) * numbers[0])), 0), rows.shape[0] - 1)


def _over(kind: int, numbers: Any, rows: Any, extremes: Any, a: float, b: float) -> Any:
    """Return bounds of value and slope on [a, b], and the enclosures of the values at a and at b."""
    a_lo, a_hi, a_flat, a_steep = _at(kind, numbers, rows, a)
    b_lo, b_hi, b_flat, b_steep = _at(kind, numbers, rows, b)
    if kind == CELLS:
        first, last = _cell(numbers, rows, a), _cell(numbers, rows, b)
        level = 0
        while 2 ** (level + 1) <= last - first + 1:
            level += 1
        other = last - 2**level + 1
        v_lo = min(extremes[0, level, first], extremes[0, level, other])
        v_hi = max(extremes[1, level, first], extremes[1, level, other])
        flat = min(extremes[2, level, first], extremes[2, level, other])
        steep = max(extremes[3, level, first], extremes[3, level, other])
        width = (b - a) * (1.0 + 2.0 * _U2)
        fall, rise = min(flat, 0.0) * width, max(steep, 0.0) * width
        v_lo = max(v_lo, a_lo + fall - 2.0 * _U2 * (abs(a_lo) + abs(fall)) - _TINY)
        v_hi = min(v_hi, a_hi + rise + 2.0 * _U2 * (abs(a_hi) + abs(rise)) + _TINY)
        return v_lo, v_hi, flat, steep, a_lo, a_hi, b_lo, b_hi
    flat, steep = min(a_flat, b_flat), max(a_steep, b_steep)
    if kind != CONVEX and a <= 0.0 <= b:
        # The slope is even and falls with |z|.
        steep = max(steep, _at(kind, numbers, rows, 0.0)[3])
    return a_lo, b_hi, flat, steep, a_lo, a_hi, b_lo, b_hi


def _secants(
    kind: int, a: float, b: float, at: float, blur: float, v: float, v_error: float, ends: Any, flat: float,
    steep: float,
) -> Any:  # fmt: skip
    """Return bounds of (phi(z) - phi(y)) / (z - y) for z in [a, b], y within blur of `at`; phi not CELLS.

    Where phi is convex left of 0 and concave right of it, the secant slope from y rises and then falls with
    z: it is least at an end. On one side of 0 it is monotone, as it is where phi is convex.
    """
    a_lo, a_hi, b_lo, b_hi = ends
    below, above = at - a, b - at
    if min(below, above) < max(1e-5, 8.0 * blur):
        return flat, steep
    slack = 4.0 * _U2 * (abs(v) + max(abs(a_lo), abs(a_hi), abs(b_lo), abs(b_hi)))
    grow = 1.0 + 16.0 * _U2
    low_a = max(v - v_error - a_hi - slack, 0.0) / ((below + blur) * grow)
    high_a = (v + v_error - a_lo + slack) / ((below - blur) * (2.0 - grow)) * grow
    low_b = max(b_lo - v - v_error - slack, 0.0) / ((above + blur) * grow)
    high_b = (b_hi - v + v_error + slack) / ((above - blur) * (2.0 - grow)) * grow
    if kind == CONVEX:
        return max(flat, low_a), min(steep, high_b)
    flat = max(flat, min(low_a, low_b))
    if a >= 0.0:
        steep = min(steep, high_a)
    elif b <= 0.0:
        steep = min(steep, high_b)
    return flat, steep


def assess(
    system: Any, y: Any, radius: Any, secant: bool, forward: Any, g: Any, g_error: Any, S: Any, S_error: Any
) -> None:
    """Enclose G over the box y +- radius (`forward`), G(y), and the slopes S of G.

    With `secant`, S encloses the slopes between y and any state of the box; else between any two of the box.
    """
    kind, numbers, rows, extremes, L, M_T, c, c_error, cross, steepest, _ = system
    n, r = M_T.shape
    plain = L.shape[0] == 0
    forward[:], g[:], g_error[:], S[:], S_error[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    sum_error = (n + 6) * _U2
    for k in range(n):
        if plain:
            z, size, reach = y[k] + c[k], abs(y[k]) + abs(c[k]), radius[k]
        else:
            z, size, reach = c[k], abs(c[k]), 0.0
            for j in range(r):
                t = L[k, j] * y[j]
                z += t
                size += abs(t)
                reach += abs(L[k, j]) * radius[j]
        blur = c_error[k] + (r + 4) * _U2 * size + _TINY
        reach = (reach * (1.0 + (r + 6) * _U2) + blur) * (1.0 + 2.0 * _U2)
        a, b = z - reach, z + reach
        a -= _U2 * abs(a) + _TINY
        b += _U2 * abs(b) + _TINY
        v_lo, v_hi, flat, steep, a_lo, a_hi, b_lo, b_hi = _over(kind, numbers, rows, extremes, a, b)
        p_lo, p_hi, _, _ = _at(kind, numbers, rows, z)
        v = 0.5 * (p_lo + p_hi)
        v_error = 0.5 * (p_hi - p_lo) * (1.0 + 2.0 * _U2) + _U2 * abs(v) + steepest * blur + _TINY
        v_error *= 1.0 + 4.0 * _U2
        if secant and kind != CELLS:
            ends = (a_lo, a_hi, b_lo, b_hi)
            flat, steep = _secants(kind, a, b, z, blur, v, v_error, ends, flat, steep)
        s = 0.5 * (flat + steep)
        s_error = max(0.5 * (steep - flat), 0.0) * (1.0 + 2.0 * _U2) + 2.0 * _U2 * abs(s) + _TINY
        middle = 0.5 * (v_lo + v_hi)
        around = 0.5 * (v_hi - v_lo) * (1.0 + 2.0 * _U2) + 2.0 * _U2 * abs(middle) + _TINY
        for i in range(r):
            m = M_T[k, i]
            size = abs(m)
            forward[0, i] += m * middle
            forward[1, i] += size * (around + sum_error * abs(middle))
            g[i] += m * v
            g_error[i] += size * (v_error + sum_error * abs(v))
            if plain:
                S[i, k] = m * s
                S_error[i, k] = size * (s_error + 2.0 * _U2 * abs(s))
            else:
                w, w_error = m * s, size * (s_error + sum_error * abs(s))
                for j in range(r):
                    S[i, j] += w * L[k, j]
                    S_error[i, j] += w_error * abs(L[k, j])
    grow = 1.0 + (n + 16) * _U2
    for i in range(r):
        forward[1, i] = forward[1, i] * grow + _TINY
        g_error[i] = g_error[i] * grow + _TINY
        for j in range(r):
            S_error[i, j] = (S_error[i, j] * grow + cross[i, j]) * (1.0 + 2.0 * _U2) + _TINY


def _inverse(A: Any, C: Any) -> bool:
    """Put about the inverse of A, which is destroyed, into C."""
    r = A.shape[0]
    C[:] = 0.0
    for i in range(r):
        C[i, i] = 1.0
    for i in range(r):
        best = i
        for k in range(i + 1, r):
            if abs(A[k, i]) > abs(A[best, i]):
                best = k
        if not abs(A[best, i]) > 1e-13:
            return False
        if best != i:
            for j in range(r):
                A[i, j], A[best, j] = A[best, j], A[i, j]
                C[i, j], C[best, j] = C[best, j], C[i, j]
        scale = 1.0 / A[i, i]
        for j in range(r):
            A[i, j] *= scale
            C[i, j] *= scale
        for k in range(r):
            if k != i:
                factor = A[k, i]
                if factor != 0.0:
                    for j in range(r):
                        A[k, j] -= factor * A[i, j]
                        C[k, j] -= factor * C[i, j]
    return True


def preconditioned(C: Any, S: Any, S_error: Any, T: Any) -> None:
    """Put a bound of |I - C (I - S)| into T, for every S within S_error."""
    r = C.shape[0]
    for i in range(r):
        for j in range(r):
            one = 1.0 if i == j else 0.0
            value, size, spread = one, one, 0.0
            for k in range(r):
                A = (1.0 if k == j else 0.0) - S[k, j]
                t = C[i, k] * A
                value -= t
                size += abs(t)
                spread += abs(C[i, k]) * (S_error[k, j] + _U2 * abs(A))
            T[i, j] = (abs(value) + spread + (r + 4) * _U2 * size) * (1.0 + (r + 8) * _U2) + _TINY


def _krawczyk(
    C: Any, T: Any, y: Any, radius: Any, g: Any, g_error: Any, middle: Any, reach: Any
) -> float:  # fmt: skip
    """Put the Krawczyk box into middle +- reach and return the largest row sum of T in units of radius."""
    r = len(y)
    worst = 0.0
    for i in range(r):
        move, size, lost, spread = 0.0, 0.0, 0.0, 0.0
        for j in range(r):
            f = y[j] - g[j]
            t = C[i, j] * f
            move += t
            size += abs(t)
            lost += abs(C[i, j]) * (g_error[j] + _U2 * abs(f))
            spread += T[i, j] * radius[j]
        middle[i] = y[i] - move
        lost += (r + 6) * _U2 * size + 2.0 * _U2 * (abs(y[i]) + abs(move))
        reach[i] = (lost + spread) * (1.0 + (r + 12) * _U2) + _TINY
        worst = max(worst, spread / radius[i])
    return worst * (1.0 + (r + 8) * _U2)


def _middle(lo: Any, hi: Any, y: Any, radius: Any) -> None:
    for i in range(len(lo)):
        y[i] = 0.5 * (lo[i] + hi[i])
        radius[i] = max(hi[i] - y[i], y[i] - lo[i]) * (1.0 + 2.0 * _U2) + _TINY


def _inside(middle: Any, reach: Any, y: Any, radius: Any) -> bool:
    """Whether middle +- reach lies in the interior of y +- radius."""
    for i in range(len(y)):
        gap = abs(middle[i] - y[i]) * (1.0 + _U2) + reach[i]
        if not gap * (1.0 + 4.0 * _U2) < radius[i] * (1.0 - 1e-9):
            return False
    return True


def _proved(
    system: Any, y: Any, radius: Any, forward: Any, g: Any, g_error: Any, S: Any, S_error: Any, C: Any,
    T: Any, middle: Any, reach: Any,
) -> bool:  # fmt: skip
    """Whether y +- radius certainly holds exactly one fixed point; then it is in middle +- reach."""
    guard = system[10]
    for i in range(len(y)):
        # Beyond, neither the bound of E x nor the cells of a table hold.
        if not (y[i] - 1.01 * radius[i] > guard[0, i] and y[i] + 1.01 * radius[i] < guard[1, i]):
            return False
    assess(system, y, radius, False, forward, g, g_error, S, S_error)
    preconditioned(C, S, S_error, T)
    _krawczyk(C, T, y, radius, g, g_error, middle, reach)
    # reach is more than T radius: inside means that T contracts, too, hence at most one fixed point.
    return bool(_inside(middle, reach, y, radius))


def _box(
    system: Any, lo: Any, hi: Any, tight: Any, wide: Any, vectors: Any, matrices: Any, least: float
) -> Any:  # fmt: skip
    """Contract one box in place; return what became of it and the axis to halve it along.

    A proved box leaves its point's enclosure in `tight` (low, high) and the box in which it is the only one
    in `wide` (middle, radius).
    """
    r = len(lo)
    y, radius, g, g_error, middle, reach, y_new, radius_new = vectors[:8]
    forward = vectors[8:10]
    S, S_error, C, T, A = matrices
    tried = False
    for _ in range(40):
        _middle(lo, hi, y, radius)
        assess(system, y, radius, True, forward, g, g_error, S, S_error)
        shrunk = 1.0
        for i in range(r):
            # The natural extension and the mean-value form of G.
            spread = 0.0
            for j in range(r):
                spread += (abs(S[i, j]) + S_error[i, j]) * radius[j]
            spread = (spread + g_error[i]) * (1.0 + (r + 8) * _U2) + _U2 * abs(g[i])
            low = max(forward[0, i] - forward[1, i], g[i] - spread)
            high = min(forward[0, i] + forward[1, i], g[i] + spread)
            low -= 2.0 * _U2 * abs(low) + _TINY
            high += 2.0 * _U2 * abs(high) + _TINY
            old = hi[i] - lo[i]
            lo[i], hi[i] = max(lo[i], low), min(hi[i], high)
            if lo[i] > hi[i]:
                return _GONE, 0
            shrunk = min(shrunk, (hi[i] - lo[i]) / old if old > 0.0 else 1.0)
        for i in range(r):
            for j in range(r):
                A[i, j] = (1.0 if i == j else 0.0) - S[i, j]
        solved = _inverse(A, C)
        if solved:
            preconditioned(C, S, S_error, T)
            worst = _krawczyk(C, T, y, radius, g, g_error, middle, reach)
            for i in range(r):
                low, high = middle[i] - reach[i], middle[i] + reach[i]
                low -= _U2 * abs(low) + _TINY
                high += _U2 * abs(high) + _TINY
                old = 2.0 * radius[i]
                lo[i], hi[i] = max(lo[i], low), min(hi[i], high)
                if lo[i] > hi[i]:
                    return _GONE, 0
                shrunk = min(shrunk, (hi[i] - lo[i]) / old)
            if worst < 0.9:
                # A fixed point on the border of the box is proved in a larger one that holds all of it.
                for i in range(r):
                    y_new[i] = middle[i]
                    covers = abs(middle[i] - y[i]) + radius[i]
                    radius_new[i] = 1.1 * max(covers, reach[i]) + _TINY
                if _proved(
                    system, y_new, radius_new, forward, g, g_error, S, S_error, C, T, middle, reach
                ):  # fmt: skip
                    wide[0, :], wide[1, :] = y_new, radius_new
                    tight[0, :], tight[1, :] = middle - reach, middle + reach
                    return _PROVED, 0
                tried = True
        if shrunk > 0.75:
            break
    _middle(lo, hi, y, radius)
    axis, best, widest = 0, -1.0, 0.0
    for j in range(r):
        weight = 0.0
        for i in range(r):
            weight += S_error[i, j]
        widest = max(widest, radius[j])
        if weight * radius[j] > best:
            best, axis = weight * radius[j], j
    # Halving cannot decide a box on which x - G(x) changes by no more than its error.
    noise = True
    for i in range(r):
        change = 0.0
        for j in range(r):
            change += (abs((1.0 if i == j else 0.0) - S[i, j]) + S_error[i, j]) * radius[j]
        noise = noise and change <= 4.0 * g_error[i]
    if noise or widest < least:
        return _UNDECIDED, 0
    if tried and radius[axis] < 1e-3 * widest:
        axis = int(np.argmax(radius))
    if radius[axis] < least:
        axis = int(np.argmax(radius))
    return _SPLIT, axis


def _tighten(
    system: Any, tight: Any, vectors: Any, matrices: Any
) -> None:  # fmt: skip
    """Shrink the enclosure of a proved fixed point as far as rounding allows."""
    y, radius, g, g_error, middle, reach = vectors[:6]
    forward = vectors[8:10]
    S, S_error, C, T, A = matrices
    r = len(y)
    # Slopes enclosed cell by cell keep a width, and the box then shrinks by a constant factor only.
    for _ in range(400):
        _middle(tight[0], tight[1], y, radius)
        assess(system, y, radius, True, forward, g, g_error, S, S_error)
        for i in range(r):
            for j in range(r):
                A[i, j] = (1.0 if i == j else 0.0) - S[i, j]
        if not _inverse(A, C):
            return
        preconditioned(C, S, S_error, T)
        _krawczyk(C, T, y, radius, g, g_error, middle, reach)
        shrunk = 1.0
        for i in range(r):
            low = middle[i] - reach[i]
            high = middle[i] + reach[i]
            tight[0, i] = max(tight[0, i], low - _U2 * abs(low) - _TINY)
            tight[1, i] = min(tight[1, i], high + _U2 * abs(high) + _TINY)
            shrunk = min(shrunk, (tight[1, i] - tight[0, i]) / (2.0 * radius[i]))
        if shrunk > 0.99:
            return


def search(
    system: Any, stack: Any, shares: Any, n_stack: int, tight: Any, wide: Any, stuck: Any, least: float,
    limit: int,
) -> Any:  # fmt: skip
    """Treat up to `limit` boxes of the stack; return its new height and the numbers of what was found.

    `stack` has shape (capacity, 2, r), low and high ends; `shares` says how much of the first box each is.
    """
    r = stack.shape[2]
    vectors = np.empty((10, r))
    matrices = np.empty((5, r, r))
    lo, hi = np.empty(r), np.empty(r)
    n_boxes = n_found = n_stuck = 0
    done = 0.0
    while n_stack > 0 and n_boxes < limit and n_found < len(tight) and n_stuck < len(stuck):
        if n_stack + 1 >= len(stack):
            break
        n_stack -= 1
        lo[:], hi[:] = stack[n_stack, 0], stack[n_stack, 1]
        share = shares[n_stack]
        n_boxes += 1
        verdict, axis = _box(system, lo, hi, tight[n_found], wide[n_found], vectors, matrices, least)
        if verdict == _SPLIT:
            cut = 0.5 * (lo[axis] + hi[axis])
            for side in range(2):
                stack[n_stack, 0], stack[n_stack, 1] = lo, hi
                stack[n_stack, 1 - side, axis] = cut
                shares[n_stack] = 0.5 * share
                n_stack += 1
            continue
        done += share
        if verdict == _PROVED:
            _tighten(system, tight[n_found], vectors, matrices)
            n_found += 1
        elif verdict == _UNDECIDED:
            stuck[n_stuck, 0], stuck[n_stuck, 1] = lo, hi
            n_stuck += 1
    return n_stack, n_boxes, n_found, n_stuck, done


_at = _compiled(_at)
_cell = _compiled(_cell)
_over = _compiled(_over)
_secants = _compiled(_secants)
assess = _compiled(assess)
_inverse = _compiled(_inverse)
preconditioned = _compiled(preconditioned)
_krawczyk = _compiled(_krawczyk)
_middle = _compiled(_middle)
_inside = _compiled(_inside)
_proved = _compiled(_proved)
_box = _compiled(_box)
_tighten = _compiled(_tighten)
search = _compiled(search)
