"""A page of mathematics as data: rendered as a LaTeX article, as plain text, as single formulas.

Paragraphs and formulas are LaTeX of a small vocabulary, which `plain` turns into words and which Matplotlib's
mathtext can draw: no environments, no macros of one's own. Matrices of numbers are elements of their own.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "Block",
    "Display",
    "Element",
    "Matrix",
    "Page",
    "Section",
    "Words",
    "compared",
    "counted",
    "number",
    "plain",
]

#: From this many rows or columns on a matrix is described and not shown.
_SHOWN: Final = 6


def _rounded(value: float, up: bool | None, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if up is not None and value and float(text) != value and (float(text) < value) == up:
        step = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
        text = f"{float(text) + (step if up else -step):.{digits}g}"
    return text


def number(value: float, up: bool | None = None, digits: int = 6) -> str:
    r"""Return a number as LaTeX; with `up`, rounded in that direction so that a bound stays one.

    >>> number(0.1), number(2.0 / 3.0, up=False), number(1.5e-7), number(float("inf"))
    ('0.1', '0.666666', '1.5 \\times 10^{-7}', '\\infty')
    """
    if not math.isfinite(value):
        return r"\infty" if value > 0 else r"-\infty"
    text = _rounded(value, up, digits)
    if "e" in text:
        mantissa, exponent = text.split("e")
        return rf"{mantissa} \times 10^{{{int(exponent)}}}"
    return text


def compared(left: float, relation: str, right: float, between: str = "") -> str:
    r"""Return ``left relation right`` as LaTeX, both rounded to the safe side; or that it does not hold.

    Parameters
    ----------
    relation : {"<", r"\leq", ">"}
    between : str, optional
        What stands between the relation and the right side, such as ``r"r\, v = "``.

    >>> compared(0.99999999, "<", 1.0), compared(2.0, r"\leq", 1.0)
    ('0.99999999 < 1', '2 \\leq 1 \\quad \\mathrm{(does\\ not\\ hold)}')
    """
    up = relation != ">"

    def holds(a: float, b: float) -> bool:
        return {"<": a < b, r"\leq": a <= b, ">": a > b}[relation]

    if not holds(left, right):
        return rf"{number(left)} {relation} {between}{number(right)} \quad \mathrm{{(does\ not\ hold)}}"
    # Rounding must not turn 0.9999999 < 1 into 1 < 1.
    shown = (d for d in (6, 9, 12) if holds(float(_rounded(left, up, d)), float(_rounded(right, not up, d))))
    digits = next(shown, 17)
    return f"{number(left, up, digits)} {relation} {between}{number(right, not up, digits)}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "input"), counted(0, "output")
    ('1 input', '0 outputs')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


@final
@dataclass(frozen=True)
class Words:
    """A paragraph: LaTeX with formulas between dollar signs."""

    latex: str


@final
@dataclass(frozen=True)
class Display:
    """A formula on its own line."""

    latex: str


@final
@dataclass(frozen=True, eq=False)
class Matrix:
    """Numbers of a vector or a matrix; large ones are described by their shape and range."""

    name: str
    values: ArrayLike


@final
@dataclass(frozen=True)
class Block:
    """A definition, lemma, theorem or proof: a kind (lower case), a title, and what stands in it."""

    kind: str
    title: str
    parts: Sequence[Element]


@final
@dataclass(frozen=True)
class Section:
    """A numbered heading."""

    title: str


Element: TypeAlias = Words | Display | Matrix | Block | Section

_WORDS: Final = {
    "varphi": "phi", "leq": "<=", "le": "<=", "geq": ">=", "ge": ">=", "neq": "!=", "succ": ">",
    "succeq": ">=",
    "cdot": "*", "times": "x", "quad": "  ", "Vert": "|", "infty": "infinity", "to": "->", "pm": "+-",
    "Longrightarrow": "=>", "Longleftrightarrow": "<=>", "circ": "o", "in": "in", "subset": "within",
    "ldots": "..", "emph": "", "mathrm": "", "textbf": "", "texttt": "", "dots": "..", "langle": "<",
    "rangle": ">", "mid": "|", "left": "", "right": "", "prime": "'", "ast": "*", "oplus": "+",
    "text": "", "ell": "l", "approx": "~",
}  # fmt: skip


def plain(latex: str) -> str:
    r"""Return words and formulas of the small vocabulary as plain text.

    >>> plain(r"$\|x_{k+1}\| \leq r^{2}$ for $W_{\mathrm{in}} u$, $\frac{1}{\lambda} V^T$")
    "|x_(k+1)| <= r^2 for W_in u, 1/lambda V'"
    """
    text = (
        latex.replace(r"\|", "|").replace(r"\%", "%").replace(r"\_", "_").replace("~", " ").replace("``", '"')
    )
    text = text.replace("''", '"').replace(r"\{", "<<").replace(r"\}", ">>")
    text = re.sub(r"\\bar\{?\\?(\w+)\}?", r"\1_bar", text)
    text = re.sub(r"\\hat\{?\\?(\w+)\}?", r"\1_hat", text)
    text = re.sub(r"\\(?:mathrm|emph|textbf|texttt|text)\{([^{}]*)\}", r"\1", text)
    for _ in range(3):
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", text)
        text = re.sub(
            r"\\[td]?frac\{([^{}]*)\}\{([^{}]*)\}", lambda m: f"{_grouped(m[1])}/{_grouped(m[2])}", text
        )
        text = re.sub(r"_\{([^{}]*)\}", lambda m: "_" + _grouped(m[1]), text)
        text = re.sub(r"\^\{([^{}]*)\}", lambda m: "^" + _grouped(m[1]), text)
    text = re.sub(r"\\[,;:! ]", " ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda m: _WORDS.get(m[1], m[1]), text)
    text = text.replace("^T", "'").replace("$", "").replace("{", "").replace("}", "")
    text = text.replace("<<", "{").replace(">>", "}")
    return re.sub(r" +", " ", text).replace("( ", "(").replace(" )", ")").strip()


def _grouped(text: str) -> str:
    return text if re.fullmatch(r"[\w\\]+|-\d+", text) else f"({text})"


def _matrix_rows(values: ArrayLike) -> list[list[str]] | None:
    """Return the entries as texts, None for matrices that are too large to show."""
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if np.asarray(values).ndim == 1:
        array = array.T
    if array.shape[0] > _SHOWN or array.shape[1] > _SHOWN or not array.size:
        return None
    return [[number(float(x)) for x in row] for row in array]


def _described(matrix: Matrix) -> str:
    array = np.asarray(matrix.values, dtype=np.float64)
    shape = r" \times ".join(str(n) for n in array.shape)
    what = "a vector of" if array.ndim == 1 else "a matrix of"
    if not array.size:
        return f"${matrix.name}$ is {what} ${shape}$ numbers."
    return (
        f"${matrix.name}$ is {what} ${shape}$ numbers between ${number(float(array.min()), False)}$ and "
        f"${number(float(array.max()), True)}$."
    )


_PREAMBLE: Final = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper, margin=28mm]{geometry}
\usepackage{amsmath, amssymb, amsthm}
\newtheorem{theorem}{Theorem}
\newtheorem{lemma}[theorem]{Lemma}
\newtheorem{corollary}[theorem]{Corollary}
\theoremstyle{definition}
\newtheorem{definition}[theorem]{Definition}
\sloppy
\allowdisplaybreaks
"""


@final
@dataclass(frozen=True)
class Page:
    """A title and its elements.

    Examples
    --------
    >>> page = Page("A line", [Section("The line"), Words("Let $x$ be real."), Display(r"x \\leq 1")])
    >>> print(page.text())
    A LINE
    <BLANKLINE>
    1. The line
       Let x be real.
    <BLANKLINE>
           x <= 1
    <BLANKLINE>
    >>> page.formulas()
    ['x \\\\leq 1']
    """

    title: str
    elements: Sequence[Element]

    def latex(self) -> str:
        """Return a LaTeX article that compiles by itself."""
        lines = [
            _PREAMBLE + r"\begin{document}", rf"\title{{{self.title}}}", r"\author{esntools}", r"\date{}",
            r"\maketitle",
        ]  # fmt: skip
        for element in self.elements:
            lines += _latex(element)
        return "\n".join([*lines, r"\end{document}", ""])

    def text(self) -> str:
        """Return plain text of at most 100 columns."""
        lines, section = [self.title.upper(), ""], 0
        for element in self.elements:
            if isinstance(element, Section):
                section += 1
                lines += [f"{section}. {plain(element.title)}"]
            else:
                lines += _text(element, 3)
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"

    def formulas(self) -> list[str]:
        """Return the formulas in order, each of which Matplotlib can draw."""
        return [formula for element in self.elements for formula in _formulas(element)]


def _latex(element: Element) -> list[str]:
    if isinstance(element, Section):
        return ["", rf"\section{{{element.title}}}"]
    if isinstance(element, Words):
        return [*textwrap.wrap(element.latex, 100, break_long_words=False, break_on_hyphens=False), ""]
    if isinstance(element, Display):
        return [rf"\[ {element.latex} \]"]
    if isinstance(element, Matrix):
        rows = _matrix_rows(element.values)
        if rows is None:
            return [_described(element), ""]
        body = r" \\ ".join(" & ".join(row) for row in rows)
        return [rf"\[ {element.name} = \begin{{pmatrix}} {body} \end{{pmatrix}} \]"]
    title = f"[{element.title}]" if element.title else ""
    inner = [line for part in element.parts for line in _latex(part)]
    while inner and not inner[-1]:
        # An empty line would push the end of a proof below its text.
        inner.pop()
    return [rf"\begin{{{element.kind}}}{title}", *inner, rf"\end{{{element.kind}}}", ""]


def _wrapped(text: str, margin: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _text(element: Element, indent: int) -> list[str]:
    margin = " " * indent
    if isinstance(element, Words):
        return [*_wrapped(plain(element.latex), margin), ""]
    if isinstance(element, Display):
        return [*_wrapped(plain(element.latex), margin + "    "), ""]
    if isinstance(element, Matrix):
        rows = _matrix_rows(element.values)
        if rows is None:
            return _text(Words(_described(element)), indent)
        shown = [", ".join(plain(x) for x in row) for row in rows]
        return [*_wrapped(f"{plain(element.name)} = [{'; '.join(shown)}]", margin + "    "), ""]
    assert isinstance(element, Block)
    title = f" ({plain(element.title)})" if element.title else ""
    lines = [f"{margin}{element.kind.capitalize()}{title}."]
    for part in element.parts:
        lines += _text(part, indent)
    return lines


def _formulas(element: Element) -> list[str]:
    if isinstance(element, Display):
        return [element.latex]
    if isinstance(element, Matrix):
        rows = _matrix_rows(element.values)
        if rows is None:
            return []
        return [rf"{element.name} = [\, " + r";\ ".join(r",\ ".join(row) for row in rows) + r" \,]"]
    if isinstance(element, Block):
        return [formula for part in element.parts for formula in _formulas(part)]
    return []
