"""The derivation of a norm bound as a person checks it: plain text, a LaTeX document, single formulas."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Final

import numpy as np
import sympy

from esntools.symbolic.closed_forms import RE, SIZE, ellipse
from esntools.symbolic.conditions import condition, condition_formulas, condition_lines
from esntools.symbolic.pages import counted, plain

if TYPE_CHECKING:
    from esntools.symbolic import Derivation, SymbolicBound

__all__ = ["formulas", "latex_document", "plain_text"]

_QUANTITY: Final = {
    "spectral": ("sigma", r"\sigma", "the spectral norm"),
    "Perron": ("rho", r"\rho", "with |V| w <= rho w for a vector w > 0: the spectral radius of |V|"),
    "diagonal": ("delta", r"\delta", "the spectral norm, after a diagonal scaling S,"),
    "leaky Perron": (
        "rho_M",
        r"\rho_M",
        "the spectral radius of the leaky matrix M, with M w <= rho_M w for a vector w > 0",
    ),
}


def _number(value: float, up: bool | None = None) -> str:
    """Return six digits; with `up`, rounded in that direction so that a bound stays one."""
    if not math.isfinite(value):
        return "infinity" if value > 0 else "-infinity"
    text = f"{value:.6g}"
    if up is not None and value and (float(text) < value) == up and float(text) != value:
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
        text = f"{float(text) + (step if up else -step):.6g}"
    return text


def _latex_number(value: float) -> str:
    text = _number(value).replace("infinity", r"\infty")
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = rf"{mantissa} \times 10^{{{int(exponent)}}}"
    return text


def _symbol(value: sympy.Expr, up: bool) -> str:
    return _number(float(value), up) if value.has(sympy.Float) else str(value)


def _latex_symbol(value: sympy.Expr, up: bool) -> str:
    return _number(float(value), up) if value.has(sympy.Float) else sympy.latex(value)


def _largest(d: Derivation) -> sympy.Expr:
    low, high = d.slope_symbols
    return abs(low) if abs(float(low)) > abs(float(high)) else high


class _Words:
    """The pieces that depend on the form of the network, as plain text and as LaTeX."""

    def __init__(self, d: Derivation) -> None:
        network = d.network
        self.feedback = network.W_fb is not None and network.readout is not None
        self.squares = self.feedback and network.readout is not None and not network.readout.is_affine
        self.uniform = network.uniform_leak_rate
        self.leaky = self.uniform != 1.0
        inputs = " + W_in u" if network.n_inputs else ""
        self.z = "W x" + inputs + (" + W_fb psi(x)" if self.feedback else "") + " + b"
        self.z_latex = (
            "W x"
            + (r" + W_{\mathrm{in}} u" if network.n_inputs else "")
            + (r" + W_{\mathrm{fb}}\, \psi(x)" if self.feedback else "")
            + " + b"
        )
        self.psi = "W_out x + " + ("W_sq (x o x) + " if self.squares else "") + "b_out"
        self.psi_latex = (
            r"W_{\mathrm{out}} x + "
            + (r"W_{\mathrm{sq}} (x \circ x) + " if self.squares else "")
            + r"b_{\mathrm{out}}"
        )
        self.d_psi = "W_out" + (" + 2 W_sq diag(x)" if self.squares else "")
        self.d_psi_latex = r"W_{\mathrm{out}}" + (
            r" + 2 W_{\mathrm{sq}}\, \mathrm{diag}(x)" if self.squares else ""
        )
        self.V = f"W + W_fb ({self.d_psi})" if self.feedback else "W"
        self.V_latex = rf"W + W_{{\mathrm{{fb}}}} ({self.d_psi_latex})" if self.feedback else "W"
        if self.uniform is None:
            self.G = "(I - A) x + A phi(z), A = diag(a)"
            self.G_latex = r"(I - A)\, x + A\, \varphi(z), \quad A = \mathrm{diag}(a)"
            self.J = "(I - A) + A diag(phi'(z)) V"
            self.J_latex = r"(I - A) + A\, \mathrm{diag}(\varphi'(z))\, V"
        elif self.leaky:
            self.G, self.G_latex = "(1 - a) x + a phi(z)", r"(1 - a)\, x + a\, \varphi(z)"
            self.J = "(1 - a) I + a diag(phi'(z)) V"
            self.J_latex = r"(1 - a)\, I + a\, \mathrm{diag}(\varphi'(z))\, V"
        else:
            self.G, self.G_latex = "phi(z)", r"\varphi(z)"
            self.J, self.J_latex = "diag(phi'(z)) V", r"\mathrm{diag}(\varphi'(z))\, V"
        self.difference = self.J.replace("phi'(z)", "d").replace("diag(d)", "D")
        self.difference_latex = self.J_latex.replace(r"\mathrm{diag}(\varphi'(z))", "D")


def _argument(bound: SymbolicBound, words: _Words) -> str:
    """Return the proof of one bound in LaTeX; `_plain` makes words of it."""
    own = words.uniform is None
    if bound.name == "leaky Perron":
        return (
            "Entry $(i, j)$ of $J$ is at most $M_{ij}$ in absolute value, where $M_{ij} = a_i L "
            "|v_{ij}|$ off the diagonal and $M_{ii}$ is the larger of $|1 - a_i + a_i d v_{ii}|$ at "
            r"the two ends $d$ of the slope range. With a positive vector $w$ such that $M w \le "
            r"\rho_M w$ (Perron), $\max_i |x_i|/w_i$ shrinks by $\rho_M$."
        )
    if bound.name == "Perron":
        rows = (
            r", and row $i$ of $J$ gives at most $(1 - a_i) + a_i L \rho \le 1 - a + a L \rho$, where "
            "$a$ is the least leak rate."
        )
        return (
            r"The vector $w > 0$ has $|V| w \le \rho w$ (Perron). In the norm $\max_i |x_i|/w_i$ the "
            r"matrix $D V$ has norm at most $L \rho$" + (rows if own else ".")
        )
    what = r"\sigma" if bound.name == "spectral" else r"\delta"
    scaling = "" if bound.name == "spectral" else r"In the coordinates $S x$, $S = \mathrm{diag}(s) > 0$: "
    if own:
        return scaling + (
            rf"{'let' if scaling else 'Let'} $y = D V x$, so $|y| \le L {what} |x|$ in the Euclidean "
            r"norm. Squares are convex, hence $\sum_i ((1 - a_i) x_i + a_i y_i)^2/a_i \le \sum_i "
            rf"x_i^2/a_i - |x|^2 + |y|^2 \le (1 - a + a L^2 {what}^2) \sum_i x_i^2/a_i$, where $a$ is "
            "the least leak rate."
        )
    leak = " The leak adds its share $1 - a$ by the triangle inequality." if words.leaky else ""
    schur = (
        r" The condition $L \delta < 1$ says $X - L^2 V^T X V \succ 0$ for $X = S^2$ (diagonal Schur "
        "stability)" + ("; the leak does not help it." if words.leaky else ".")
    )
    return (
        scaling
        + rf"$D$ is diagonal with entries at most $L$ in absolute value, so $|D V x| \le L {what} |x|$."
        + leak
        + (schur if bound.name == "diagonal" else "")
    )


def _plain(text: str) -> str:
    for command, word in (
        (r"\mathrm{diag}", "diag"), (r"\le", "<="), (r"\succ", ">"), ("\\", ""), ("$", ""), ("{", ""),
        ("}", ""),
    ):  # fmt: skip
        text = text.replace(command, word)
    return text


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent)


def plain_text(d: Derivation) -> str:
    """Return definitions, Jacobian, slope range, lemma, bounds with numbers, and what they prove."""
    words = _Words(d)
    low, high = d.slope_symbols
    network = d.network
    lines = [
        "CONTRACTION OF AN ECHO STATE NETWORK", "",
        "1. The map",
        f"   G(u, x) = {words.G}",
        f"   z = {words.z}",
    ]  # fmt: skip
    if words.feedback:
        lines.append(f"   psi(x) = {words.psi}")
    lines += [
        f"   phi(x) = {network.activation.expression}",
        f"   {counted(network.n_units, 'unit')}, {counted(network.n_inputs, 'input')}, "
        f"{counted(network.n_outputs, 'output')}"
        + (f", leak rate a = {_number(words.uniform)}" if words.uniform is not None else
           f", leak rates from {_number(float(min(network.leak_rate)))} to "
           f"{_number(float(max(network.leak_rate)))}"),
        "", "2. Its Jacobian (linear map, elementwise function, sum)",
        f"   D_x z = V, V = {words.V}",
        "   D_x phi(z) = diag(phi'(z)) V",
        f"   D_x G = {words.J}",
        "", "3. The slope",
        f"   phi'(x) = {d.slope}",
        f"   {_symbol(low, False)} <= phi' <= {_symbol(high, True)}, hence L = max |phi'| = "
        f"{_symbol(_largest(d), True)} (at kinks: every slope between the two sides)",
        "", "4. Lemma",
        "   For any input u and states x, y the mean-value theorem, unit by unit, gives",
        f"   G(u, x) - G(u, y) = J (x - y),  J = {words.difference},",
        *_wrapped(
            "with D diagonal and its entries in the slope range"
            + (", V taken at the midpoint of x and y" if words.squares else "")
            + ". If |J x| <= c |x| for one norm, one c < 1 and all such D, two trajectories under "
                "the same input approach each other like c^k, whatever the input; hence at most one "
                "bounded state sequence fits an input that is infinite to the left: the echo state "
                "property.", "   ",
        ),
        "", "5. Bounds",
    ]  # fmt: skip
    for k, bound in enumerate(d.bounds, start=1):
        name = _QUANTITY[bound.name]
        lines += [
            f"   5.{k} {bound.name}: {bound.inequality} ({bound.norm})",
            f"       {name[0]} = {_number(_quantity(bound))}, {name[2]}"
            + (" of V" if bound.name in ("spectral", "diagonal") else ""),
            *_wrapped(_plain(_argument(bound, words)), "       "),
            f"       Rate: {bound.rate} = {_number(bound.value)}"
            + (" < 1: proves contraction." if bound.proves else " >= 1: no proof."),
            f"       Critical gain: g V contracts for 0 <= g < {bound.critical_gain} = "
            f"{_number(bound.critical_gain_value)}.",
        ]
    if not d.bounds:
        lines.append("   none.")
    lines += [
        "",
        "6. Sharper conditions (S > 0: positive definite; symmetric S by its blocks; one leak rate a)",
    ]
    for rung in _SHARPER:
        found = condition(rung)
        lines += _wrapped(f"{rung}: {plain(found.hypotheses)}. {plain(found.proof)} ({found.source})", "   ")
        lines += [line for e in condition_lines(found) for line in _wrapped(e, "       ")]
    lines += _wrapped(
        "For slopes in [0, L], some P makes the incremental-lurie matrix positive definite exactly if "
        f"{ellipse()} for all alpha + i beta in the numerical range of S V S^-1, for some diagonal S > "
        "0 (an ellipse).", "   ",
    )  # fmt: skip
    lines += ["", "7. Closed forms"]
    lines += [line for sentence in _closed_forms(d) for line in _wrapped(sentence, "   ")]
    lines += ["", "8. Conclusion", *_wrapped(conclusion(d), "   "), "", "Notes"]
    lines += [line for note in d.notes for line in _wrapped("* " + note, "   ")] + [""]
    return "\n".join(lines)


#: What a closed form says of its gain.
_SAYS: Final = {
    "exact": "{g} V contracts for any input if {g} {lt} {number}, and without bias the state 0 is unstable "
    "at zero input beyond it",
    "proved below": "{g} V contracts for any input if {g} {lt} {number}",
    "refuted above": "without bias, the state 0 of {g} V is unstable at zero input if {g} {gt} {number}",
}
#: A formula with more operations fills a page and is not shown.
_READABLE: Final = 45
_SHARPER: Final = ("incremental-lurie", "common-quadratic", "zero-input-multipliers", "output-feedback")


def _closed_forms(d: Derivation, *, latex: bool = False) -> list[str]:
    """Return sentences: the closed forms of the critical gain, the large-input theorem, with numbers."""

    def math(e: sympy.Basic) -> str:
        return f"${sympy.latex(e)}$" if latex else str(e)

    def digits(value: float) -> str:
        return f"${_latex_number(value)}$" if latex else _number(value)

    g, lt, gt = ("$g$", "$<$", "$>$") if latex else ("g", "<", ">")
    sentences = []
    for form in d.closed_forms:
        shown = sympy.count_ops(form.symbol) <= _READABLE and not form.symbol.has(sympy.Piecewise)
        says = _SAYS[form.says].format(g=g, lt=lt, gt=gt, number=digits(form.value))
        sentences.append(f"{form.name}: {says}" + (f", the value of {math(form.symbol)}." if shown else "."))
    if any(form.symbol.has(RE) for form in d.closed_forms):
        sentences.append(
            f"Here {math(RE)} and {math(SIZE)} are the real part and the size of an eigenvalue of V; "
            "the one with the least gain decides."
        )
    large = d.large_input
    if large is not None and bool((large.threshold > 0.0).any()):
        least, most = float(large.threshold.min()), float(large.threshold.max())
        drive = r"$|W_{\mathrm{in}} u + c|_i$" if latex else "|W_in u + c|_i"
        row, size, kappa = (
            (r"$v = \sum_j |V_{ij}|$", r"$M = \max |\varphi|$", r"$\kappa$")
            if latex
            else ("v = sum_j |V_ij|", "M = max |phi|", "kappa")
        )
        sentences.append(
            f"large inputs: if {drive} exceeds {math(large.symbol)} in every unit at all times, with "
            f"{row}, {size} and {kappa} = {digits(large.kappa)} (the norm of the {large.norm} bound), "
            f"then every slope is below 1/{kappa} and states are forgotten; the thresholds lie between "
            f"{digits(least)} and {digits(most)}."
        )
    return sentences or ["none for this network."]


def _quantity(bound: SymbolicBound) -> float:
    (value,) = (v for s, v in bound.numbers.items() if s.name == _QUANTITY[bound.name][0])
    return value


def conclusion(d: Derivation) -> str:
    """Return one sentence: what the bounds prove."""
    proving = [bound for bound in d.bounds if bound.proves]
    if not proving:
        nothing = "No bound is below 1: these norms decide nothing about the echo state property."
        forms = {form.name: form for form in d.closed_forms}
        better = [f for f in forms.values() if f.says != "refuted above" and f.value > 1.0]
        if better:
            return (
                f"{nothing} But the closed form of {better[0].name} does: two states under the same "
                "input approach each other for every input (in floating point)."
            )
        unbiased = "origin" in forms and not np.any(d.network.folded().b)
        if unbiased and forms["origin"].value < 1.0:
            return nothing + " But the state 0 is unstable at zero input: it fails (in floating point)."
        return nothing
    best = min(proving, key=lambda bound: bound.value)
    return (
        f"Two states under the same input approach each other by the factor {_number(best.value)} per "
        f"step ({best.norm}), for every input: the echo state property, by the {best.name} bound."
    )


def formulas(d: Derivation, *, mathtext: bool = False) -> list[str]:
    r"""Return the proof's formulas in order; with `mathtext`, only such as Matplotlib can draw."""
    words = _Words(d)
    low, high = d.slope_symbols
    steps = [rf"G(u, x) = {words.G_latex}", f"z = {words.z_latex}"]
    if words.feedback:
        steps += [rf"\psi(x) = {words.psi_latex}", rf"D\psi(x) = {words.d_psi_latex}"]
    phi, slope = sympy.latex(d.network.activation.to_sympy()), sympy.latex(d.slope)
    for name, body in ((r"\varphi(x)", phi), (r"\varphi'(x)", slope)):
        # Mathtext has no environments; the range below says what the proof needs.
        if not (mathtext and r"\begin" in body):
            steps.append(f"{name} = {body}")
    steps += [
        rf"D_x G(u, x) = {words.J_latex}, \quad V = {words.V_latex}",
        rf"{_latex_symbol(low, False)} \leq \varphi'(x) \leq {_latex_symbol(high, True)}, \quad L = "
        rf"\max |\varphi'| = {_latex_symbol(_largest(d), True)}",
        rf"G(u, x) - G(u, y) = J\, (x - y), \quad J = {words.difference_latex}",
    ]
    for bound in d.bounds:
        symbol = _QUANTITY[bound.name][1]
        steps += [
            _definition(bound, words),
            rf"\Vert J \Vert \leq {sympy.latex(bound.rate)} = {_latex_number(bound.value)} "
            + (r"< 1" if bound.proves else r"\geq 1"),
            rf"{sympy.latex(_at_gain(bound))} < 1 \quad \Longleftrightarrow \quad g < "
            f"{sympy.latex(bound.critical_gain)} = {_latex_number(bound.critical_gain_value)}"
            if bound.name != "leaky Perron"
            else r"\rho(M(g)) < 1 \quad \mathrm{for} \quad 0 \leq g < g_M = "
            + _latex_number(bound.critical_gain_value),
            rf"{symbol} = {_latex_number(_quantity(bound))}",
        ]
    return steps


def _at_gain(bound: SymbolicBound) -> sympy.Expr:
    """Return the rate of g V."""
    (quantity,) = (s for s in bound.numbers if s.name == _QUANTITY[bound.name][0])
    return bound.rate.subs(quantity, sympy.Symbol("g", positive=True) * quantity)


def _definition(bound: SymbolicBound, words: _Words) -> str:
    if bound.name == "spectral":
        return r"\sigma = \Vert V \Vert_2"
    if bound.name == "Perron":
        return r"w > 0, \quad |V|\, w \leq \rho\, w, \quad \Vert x \Vert = \max_i |x_i| / w_i"
    if bound.name == "diagonal":
        schur = r"L \delta < 1 \Longleftrightarrow S^2 - L^2 V^T S^2 V \succ 0"
        return r"\delta = \Vert S V S^{-1} \Vert_2, \quad " + schur
    return (
        r"M_{ij} = a_i L |v_{ij}|, \quad M_{ii} = \max_{d} |1 - a_i + a_i d\, v_{ii}|, \quad \Vert x "
        r"\Vert = \max_i |x_i| / w_i"
    )


_PREAMBLE: Final = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper, margin=28mm]{geometry}
\usepackage{amsmath, amssymb, amsthm}
\newtheorem{theorem}{Theorem}
\newtheorem{lemma}{Lemma}
\theoremstyle{definition}
\newtheorem{definition}{Definition}
\begin{document}
\title{Contraction of an echo state network}
\author{esntools}
\date{}
\maketitle
"""


#: What norms and notes say in symbols, as LaTeX.
_FORMULAS: Final = {
    "max |x_i|/w_i": r"$\max_i |x_i|/w_i$", "1/sqrt(a_i)": r"$1/\sqrt{a_i}$", "S x": "$S x$",
    "S diagonal": "$S$ diagonal", "]^N": "]$^N$", "W alone": "$W$ alone",
}  # fmt: skip


def _escape(text: str) -> str:
    """Return words with the program names of symbols as LaTeX."""
    for formula, command in _FORMULAS.items():
        text = text.replace(formula, command)
    if "$" in text:
        # What stands between dollar signs is LaTeX already.
        parts = text.split("$")
        return "".join(f"${p}$" if k % 2 else _escape(p) for k, p in enumerate(parts))
    for word, command in (
        ("\\", r"\textbackslash "), ("&", r"\&"), ("%", r"\%"), ("#", r"\#"), ("_", r"\_"), ("^", r"\^{}"),
        ("->", r"$\to$"), ("<=", r"$\le$"), (">=", r"$\ge$"), ("<", "$<$"), (">", "$>$"), ("|", "$|$"),
    ):  # fmt: skip
        text = text.replace(word, command)
    return text


def _display(*steps: str) -> str:
    return "\n".join(rf"\[ {step} \]" for step in steps)


def latex_document(d: Derivation) -> str:
    """Return a standalone LaTeX article with definition, Jacobian, lemma, theorem, proofs and numbers."""
    words = _Words(d)
    steps = formulas(d)
    n_bounds = 4 * len(d.bounds)
    head, bound_steps = steps[: len(steps) - n_bounds], steps[len(steps) - n_bounds :]
    jacobian, slopes, difference = head[-3:]
    parts = [
        _PREAMBLE, r"\begin{definition}[the network]", _display(*head[:-3]), r"\end{definition}",
        f"It has {counted(d.network.n_units, 'unit')}, {counted(d.network.n_inputs, 'input')} and "
        f"{counted(d.network.n_outputs, 'output')}.",
        r"\begin{definition}[echo state property]",
        "For every input sequence that is infinite to the left, exactly one bounded state sequence is "
        "compatible with it.",
        r"\end{definition}", r"\begin{lemma}[Jacobian]",
        _display(jacobian), "with slopes", _display(slopes), r"\end{lemma}", r"\begin{proof}",
        r"$D_x z = V$ since $z$ is a sum of linear maps of $x$"
        + (" and of the readout, whose squares have the derivative $2x$" if words.squares else "")
        + r"; an elementwise function has the Jacobian $\mathrm{diag}(\varphi'(z))\, D_x z$; sums "
            "add. The slope range is a proved enclosure; at a kink every slope between the two sides "
            "counts.",
        r"\end{proof}", r"\begin{lemma}[differences]",
        "For every input and all states $x, y$ there is a diagonal $D$ with entries in the slope range "
        "such that",
        _display(difference), r"\end{lemma}", r"\begin{proof}",
        r"The mean-value theorem (Lebourg's for kinks) for $\varphi$, unit by unit"
        + (r"; $x_j^2 - y_j^2 = (x_j + y_j)(x_j - y_j)$ puts $V$ at the midpoint." if words.squares else "."),
        r"\end{proof}",
        r"\begin{theorem} If $\Vert J \Vert \le c < 1$ in one norm for all such $D$, trajectories "
        r"under the same input satisfy $\Vert x_k - y_k \Vert \le c^k \Vert x_0 - y_0 \Vert$ for every "
        r"input, and the network has the echo state property.\end{theorem}",
        r"\begin{proof} Iterate the lemma. Two bounded state sequences compatible with one "
        r"left-infinite input have distance at most $c^n B$ for every $n$, hence none.\end{proof}",
    ]  # fmt: skip
    for k, bound in enumerate(d.bounds):
        definition, rate, gain, number = bound_steps[4 * k : 4 * k + 4]
        parts += [
            rf"\paragraph{{Bound {k + 1}: {bound.name}.}} In the {_escape(bound.norm)}:",
            _display(definition, number, rate, gain), _argument(bound, words),
        ]  # fmt: skip
    parts.append(
        r"\paragraph{Sharper conditions.} $S \succ 0$ says positive definite; symmetric matrices are "
        "given by their blocks, for one leak rate $a$."
    )
    for rung in _SHARPER:
        found = condition(rung)
        parts += [
            rf"\paragraph{{{rung}}} {found.hypotheses}. {found.proof} ({found.source})",
            _display(*condition_formulas(found)),
        ]
    parts += [
        r"For slopes in $[0, L]$, some $P$ makes the incremental-lurie matrix positive definite exactly if",
        _display(sympy.latex(ellipse())),
        r"for all $\alpha + i \beta$ in the numerical range of $S V S^{-1}$, for some diagonal $S "
        r"\succ 0$: an ellipse.",
        r"\paragraph{Closed forms.} \begin{itemize}",
        *(rf"\item {_escape(e)}" for e in _closed_forms(d, latex=True)),
        r"\end{itemize}",
    ]  # fmt: skip
    parts += [
        r"\paragraph{Conclusion.} " + _escape(conclusion(d)), r"\paragraph{Notes.} \begin{itemize}",
        *(rf"\item {_escape(note)}" for note in d.notes), r"\end{itemize}", r"\end{document}", "",
    ]  # fmt: skip
    return "\n".join(parts)
