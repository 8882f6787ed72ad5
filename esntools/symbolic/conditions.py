r"""The inequality of each rung in matrix symbols, assembled from the quadratic forms that it comes from.

For slopes in [l, L], the difference d of two trajectories obeys :math:`d_+ = (I - A) d + A D V d` with a
diagonal D between l and L, and V = W + W_fb W_out when an affine readout is fed back. A quadratic rung
asks for a matrix S such that the decrease of the norm is a sum of S and of terms of known sign. S is not
written down here: it is collected from those terms, block by block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import sympy

__all__ = ["CONDITIONS", "Condition", "condition", "quadratic_form"]

#: A linear form: its coefficient matrix for each variable that it contains.
_Linear = Mapping[str, Any]

_N, _p = sympy.symbols("n p", integer=True, positive=True)
_r: Final = sympy.Symbol("r", positive=True)
_a: Final = sympy.Symbol("a", positive=True)
_l: Final = sympy.Symbol("l", real=True)
_L, _L2, _norm, _rho = sympy.symbols("L L_2 nu rho_M", positive=True)
_I: Final = sympy.Identity(_N)


def _square(name: str) -> Any:
    return sympy.MatrixSymbol(name, _N, _N)


def _diagonal(name: str) -> Any:
    return sympy.DiagMatrix(sympy.MatrixSymbol(name, _N, 1))


@final
@dataclass(frozen=True, eq=False)
class Condition:
    """One sufficient condition for contraction.

    Parameters
    ----------
    name : str
        The theorem's name in a certificate, or the rung's.
    inequality : sympy.Basic
        A relation between numbers, or the matrix (`sympy.MatrixExpr`) that must be positive definite.
    definitions : dict
        What the symbols of `inequality` stand for, where they are abbreviations.
    hypotheses : str
        Which slopes and inputs it is about.
    proof : str
        The reason in a sentence or two.
    source : str
        Who proved it.
    """

    name: str
    inequality: Any
    definitions: dict[Any, Any]
    hypotheses: str
    proof: str
    source: str

    @property
    def expanded(self) -> Any:
        """The inequality with its abbreviations written out."""
        return self.inequality.subs(self.definitions) if self.definitions else self.inequality


def quadratic_form(terms: Sequence[tuple[Any, _Linear, Any, _Linear]], variables: Sequence[str]) -> Any:
    r"""Return the symmetric block matrix S of the quadratic form :math:`q^T S q = \sum c\, f^T M g`.

    Parameters
    ----------
    terms : sequence of (c, f, M, g)
        A number, a linear form, a matrix, a linear form; a linear form is ``{variable: coefficient matrix}``.
    variables : sequence of str
        The blocks of q, in order.

    Returns
    -------
    sympy.BlockMatrix
        With :math:`S_{ij} = \tfrac12 \sum c\,(f_i^T M g_j + g_i^T M^T f_j)`, a term with f = g and M
        symmetric by name (P, X, Y) counted once.

    Examples
    --------
    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> A, P = sympy.MatrixSymbol("A", n, n), sympy.MatrixSymbol("P", n, n)
    >>> one = sympy.Identity(n)
    >>> quadratic_form([(1, {"d": one}, P, {"d": one}), (-1, {"d": A}, P, {"d": A})], ["d"]).blocks[0, 0]
    P - A.T*P*A
    """
    rows = []
    for i in variables:
        row = []
        for j in variables:
            parts = []
            for c, f, M, g in terms:
                if f == g and (isinstance(M, sympy.DiagMatrix) or str(M) in ("P", "X", "Y")):
                    if i in f and j in f:
                        parts.append(c * f[i].T * M * f[j])
                    continue
                half = sympy.Rational(1, 2) * c
                if i in f and j in g:
                    parts.append(half * f[i].T * M * g[j])
                if i in g and j in f:
                    parts.append(half * g[i].T * M.T * f[j])
            row.append(_sum(parts, i, j, terms))
        rows.append(row)
    return sympy.BlockMatrix(rows)


def _sum(parts: list[Any], i: str, j: str, terms: Any) -> Any:
    if parts:
        return sympy.MatAdd(*(part.doit() for part in parts)).doit()
    sizes = [next(f[k].shape[1] for _, f, _, g in terms for f in (f, g) if k in f) for k in (i, j)]
    return sympy.ZeroMatrix(*sizes)


def _norms() -> Condition:
    return Condition(
        "norms", sympy.StrictLessThan(1 - _a + _a * _L * _norm, 1), {},
        "any norm with |D x| <= max |D_ii| |x| (1, 2, infinity, and each after a diagonal scaling); nu = "
        "|V|, "
        "L = max |slope|; any input",
        "J = (1 - a) I + a D V has norm at most (1 - a) + a L nu.",
        "H. Jaeger, GMD Report 148 (2001), Proposition 3",
    )  # fmt: skip


def _leaky_perron() -> Condition:
    return Condition(
        "perron-weights", sympy.StrictLessThan(_rho, 1), {},
        "rho_M the spectral radius of M, M_ij = a_i L |v_ij|, M_ii = max over d in {l, L} of |1 - a_i + "
        "a_i d v_ii|",
        "|J| <= M entrywise, since |1 - a + a d v| is convex in d; with M w <= rho_M w the norm max "
        "|x_i|/w_i works.",
        "doi:10.1016/j.neunet.2012.07.005",
    )  # fmt: skip


def _diagonal_schur() -> Condition:
    V, Y = _square("V"), _diagonal("y")
    S = quadratic_form(
        [(_r**2 - 1 + _a, {"d": _I}, Y, {"d": _I}), (-_a * _L**2, {"d": V}, Y, {"d": V})], ["d"]
    )
    return Condition(
        "diagonal-schur", S.blocks[0, 0], {},
        "y > 0; L = max |slope|; any input",
        "The square is convex, so (d_+)_i^2 <= (1 - a) d_i^2 + a L^2 (V d)_i^2; multiply by y_i and add.",
        "doi:10.1109/TNN.2006.872357",
    )  # fmt: skip


def _common_quadratic() -> Condition:
    P, V, D = _square("P"), _square("V"), _diagonal("s")
    J = _square("J")
    S = quadratic_form([(_r**2, {"d": _I}, P, {"d": _I}), (-1, {"d": J}, P, {"d": J})], ["d"])
    return Condition(
        "common-quadratic", S.blocks[0, 0], {J: (1 - _a) * _I + _a * D * V},
        "for every vertex s of the slopes, s_i in {l_i, L_i}; P positive definite; any input",
        "d' J' P J d is a convex function of the slopes, so its maximum over their box is at a vertex.",
        "FORMAT.md",
    )  # fmt: skip


def _incremental_lurie() -> Condition:
    V, P, X, F, B = _square("V"), _square("P"), _diagonal("x"), _square("F"), _square("B")
    d, w = {"d": _I}, {"w": _I}
    step = {"d": F, "w": B}
    S = quadratic_form(
        [(_r**2, d, P, d), (-1, step, P, step), (-1, {"d": V}, X, {"d": V}), (1, w, X, w)], ["d", "w"]
    )
    definitions = {F: (1 - _a) * _I + (_a * (_l + _L) / 2) * V, B: (_a * (_L - _l) / 2) * _I}
    return Condition(
        "incremental-lurie", S, definitions,
        "slopes in [l, L]; P positive definite, x > 0; any input",
        "With D = (l + L)/2 + (L - l)/2 E, |E| <= 1, and w = E V d: d_+ = F d + B w and w' X w <= d' V' "
        "X V d, so "
        "r^2 d'Pd - d_+'P d_+ = q' S q + d' V' X V d - w' X w >= 0 for q = (d, w).",
        "doi:10.48550/arXiv.2604.00119",
    )  # fmt: skip


def _zero_input_multipliers() -> Condition:
    V, P, Q, F = _square("V"), _square("P"), _square("Q"), _square("F")
    x, w = {"x": _I}, {"w": _I}
    step = {"x": F, "w": _a * _I}
    S = quadratic_form(
        [(_r**2, x, P, x), (-1, step, P, step), (-2, w, Q, {"x": V, "w": -1 / _L * _I})], ["x", "w"]
    )
    return Condition(
        "zero-input-multipliers", S, {F: (1 - _a) * _I},
        "u = 0 and no bias; phi odd and nondecreasing with slopes in [0, L], the same in all units; P "
        "positive "
        "definite, Q with each diagonal entry at least the sum of the sizes of the others in its row, "
        "and in its "
        "column. It compares with the solution 0 only: not valid between two solutions, under bias or drive",
        "w = phi(z) and y = z - w/L are odd nondecreasing functions of z, so w' Q y >= 0 "
        "(rearrangement), and "
        "r^2 x'Px - x_+'P x_+ = q' S q + 2 w' Q y for q = (x, w), w = phi(V x).",
        "FORMAT.md",
    )  # fmt: skip


def _output_feedback() -> Condition:
    W, P, F = _square("W"), _square("P"), _square("F")
    W_fb, W_out = sympy.MatrixSymbol("W_fb", _N, _p), sympy.MatrixSymbol("W_out", _p, _N)
    X1, X2 = _diagonal("x"), sympy.DiagMatrix(sympy.MatrixSymbol("t", _p, 1))
    one_p = sympy.Identity(_p)
    d = {"d": _I}
    step = {"d": F, "w": _a * _I}
    inner = {"d": W, "v": W_fb, "w": -1 / _L * _I}
    outer = {"d": W_out, "v": -1 / _L2 * one_p}
    S = quadratic_form(
        [(_r**2, d, P, d), (-1, step, P, step), (-2, {"w": _I}, X1, inner), (-2, {"v": one_p}, X2, outer)],
        ["d", "w", "v"],
    )
    return Condition(
        "output-feedback", S, {F: (1 - _a) * _I},
        "feedback W_fb g(W_out x) with slopes of phi in [0, L] and of g in [0, L_2]; P positive "
        "definite, x, t > 0; "
        "any input. For an affine readout the feedback is part of V = W + W_fb W_out instead",
        "w = D (W d + W_fb v) and v = E W_out d with slopes D, E obey w' X (W d + W_fb v - w/L) >= 0 and "
        "v' T (W_out d - v/L_2) >= 0; S is what remains of r^2 d'Pd - d_+'P d_+.",
        "doi:10.48550/arXiv.2604.00119",
    )  # fmt: skip


CONDITIONS: Final = {
    "norms": _norms,
    "perron-weights": _leaky_perron,
    "diagonal-schur": _diagonal_schur,
    "incremental-lurie": _incremental_lurie,
    "common-quadratic": _common_quadratic,
    "zero-input-multipliers": _zero_input_multipliers,
    "output-feedback": _output_feedback,
}


def condition(name: str) -> Condition:
    """Return the condition of that name in symbols.

    Examples
    --------
    >>> lurie = condition("incremental-lurie").inequality
    >>> lurie.blocks[0, 1], lurie.blocks[1, 1]
    (-F.T*P*B, DiagMatrix(x) - B.T*P*B)
    """
    return CONDITIONS[name]()
