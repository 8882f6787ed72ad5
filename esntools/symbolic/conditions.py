r"""The inequality of each rung in matrix symbols, assembled from the quadratic forms that it comes from.

For slopes in [l, L], the difference d of two trajectories obeys :math:`d_+ = (I - A) d + A D V d` with a
diagonal D between l and L, and V = W + W_fb W_out when an affine readout is fed back. A quadratic rung
asks for a matrix S such that the decrease of the norm is a sum of S and of terms of known sign. S is not
written down here: it is collected from those terms, block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import sympy

__all__ = [
    "CONDITIONS",
    "Condition",
    "condition",
    "condition_formulas",
    "condition_lines",
    "quadratic_form",
]

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
        Which slopes and inputs it is about, in the LaTeX of `esntools.symbolic.pages`.
    proof : str
        The reason in a sentence or two, likewise.
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
        With :math:`S_{ij} = \tfrac12 \sum c\,(f_i^T M g_j + g_i^T M^T f_j)`; where f = g, M is symmetric and
        the two parts are one.

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
                if f == g:
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
        r"any norm with $|D x| \leq \max_i |D_{ii}|\, |x|$ (1, 2, infinity, and each after a diagonal "
        r"scaling), $\nu = \Vert V \Vert$, $L = \max |\varphi'|$; any input",
        r"$J = (1 - a) I + a D V$ has norm at most $(1 - a) + a L \nu$.",
        "H. Jaeger, GMD Report 148 (2001), Proposition 3",
    )  # fmt: skip


def _leaky_perron() -> Condition:
    return Condition(
        "perron-weights", sympy.StrictLessThan(_rho, 1), {},
        r"$\rho_M$ is the spectral radius of $M$, $M_{ij} = a_i L |V_{ij}|$ off the diagonal and "
        r"$M_{ii}$ the larger of $|1 - a_i + a_i \delta V_{ii}|$ at $\delta = l$ and $\delta = L$; any "
        "input",
        r"$|J| \leq M$ entrywise, since $|1 - a + a \delta v|$ is convex in $\delta$; with $M w \leq "
        r"\rho_M w$ the norm $\max_i |x_i|/w_i$ shrinks.",
        "doi:10.1016/j.neunet.2012.07.005",
    )  # fmt: skip


def _diagonal_schur() -> Condition:
    V, Y = _square("V"), _diagonal("y")
    S = quadratic_form(
        [(_r**2 - 1 + _a, {"d": _I}, Y, {"d": _I}), (-_a * _L**2, {"d": V}, Y, {"d": V})], ["d"]
    )
    return Condition(
        "diagonal-schur", S.blocks[0, 0], {},
        r"$y > 0$, $L = \max |\varphi'|$; any input",
        r"The square is convex, so $(d_+)_i^2 \leq (1 - a) d_i^2 + a L^2 (V d)_i^2$; multiply by $y_i$ "
        "and add.",
        "doi:10.1109/TNN.2006.872357",
    )  # fmt: skip


def _common_quadratic() -> Condition:
    P, V, D = _square("P"), _square("V"), _diagonal("s")
    J = _square("J")
    S = quadratic_form([(_r**2, {"d": _I}, P, {"d": _I}), (-1, {"d": J}, P, {"d": J})], ["d"])
    return Condition(
        "common-quadratic", S.blocks[0, 0], {J: (1 - _a) * _I + _a * D * V},
        r"for every vertex $s$ of the slopes, $s_i \in \{l_i, L_i\}$, with one positive definite $P$; "
        "any input",
        r"$d^T J^T P J d$ is a convex function of the slopes, so its maximum over their box is at a vertex.",
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
        r"slopes in $[l, L]$, $P$ positive definite, $x > 0$; any input",
        r"With $D = (l + L)/2 + E (L - l)/2$, $|E_{ii}| \leq 1$, and $w = E V d$ one has $d_+ = F d + "
        r"B w$ and $w^T X w \leq d^T V^T X V d$ for $X = \mathrm{diag}(x)$, so $r^2 d^T P d - d_+^T P "
        r"d_+ = q^T S q + d^T V^T X V d - w^T X w \geq 0$ for $q = (d, w)$.",
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
        r"$u = 0$ and no bias; $\varphi$ odd and nondecreasing with slopes in $[0, L]$, the same in "
        "all units; $P$ positive definite, and each diagonal entry of $Q$ at least the sum of the "
        "sizes of the others in its row, and in its column. It compares with the solution 0 only: it "
        "is not valid between two solutions, with a bias, or under a drive",
        r"$w = \varphi(z)$ and $y = z - w/L$ are odd nondecreasing functions of $z = V x$, so $w^T Q y "
        r"\geq 0$ (rearrangement), and $r^2 x^T P x - x_+^T P x_+ = q^T S q + 2 w^T Q y$ for $q = (x, "
        "w)$.",
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
        r"feedback $W_{\mathrm{fb}}\, g(W_{\mathrm{out}} x)$ with slopes of $\varphi$ in $[0, L]$ and "
        "of $g$ in $[0, L_2]$; $P$ positive definite, $x, t > 0$; any input. For an affine readout "
        r"the feedback is part of $V = W + W_{\mathrm{fb}} W_{\mathrm{out}}$ instead",
        r"$w = D (W d + W_{\mathrm{fb}} v)$ and $v = E W_{\mathrm{out}} d$ with slopes $D, E$ obey "
        r"$w^T X (W d + W_{\mathrm{fb}} v - w/L) \geq 0$ and $v^T T (W_{\mathrm{out}} d - v/L_2) \geq "
        r"0$ for $X = \mathrm{diag}(x)$, $T = \mathrm{diag}(t)$; $S$ is what remains of $r^2 d^T P d - "
        "d_+^T P d_+$.",
        "doi:10.48550/arXiv.2604.00119",
    )  # fmt: skip


#: The rungs by name, in the order in which they get sharper.
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


def condition_lines(found: Condition) -> list[str]:
    """Return what must hold as plain formulas, one line each.

    >>> print(*condition_lines(condition("common-quadratic")), sep="; ")
    r^2*P - J'*P*J > 0; J = a*diag(s)*V + (1 - a)*I
    """
    return [
        e.replace("DiagMatrix", "diag")
        .replace("**", "^")
        .replace(".T", "'")
        .replace("{", "")
        .replace("}", "")
        for e in _relations(found, str)
    ]


def condition_formulas(found: Condition) -> list[str]:
    r"""Return what must hold as LaTeX, one formula each, of the part that Matplotlib can draw.

    >>> condition_formulas(condition("common-quadratic"))[0]
    'r^{2} P - J^{T} P J \\succ 0'
    """
    tidy = (
        (r"\operatorname{DiagMatrix}", r"\mathrm{diag}"), (r"\mathbb{I}", "I"), ("+ - ", "- "),
        ("_{out}", r"_{\mathrm{out}}"), ("_{fb}", r"_{\mathrm{fb}}"), (" > 0", r" \succ 0"),
    )  # fmt: skip

    def written(e: str) -> str:
        for old, new in tidy:
            e = e.replace(old, new)
        return e

    return [written(e) for e in _relations(found, sympy.latex)]


def _relations(found: Condition, write: Callable[[Any], str]) -> list[str]:
    e = found.inequality
    if isinstance(e, sympy.BlockMatrix):
        n = e.blockshape[0]
        lines = ["S > 0"] + [
            f"S_{{{i + 1}{j + 1}}} = {write(e.blocks[i, j])}" for i in range(n) for j in range(i, n)
        ]
    elif isinstance(e, sympy.MatrixExpr):
        lines = [f"{write(e)} > 0"]
    else:
        lines = [write(e)]
    return lines + [f"{write(symbol)} = {write(value)}" for symbol, value in found.definitions.items()]
