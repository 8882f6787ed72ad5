"""The page that explains a certificate, as part of a report: its words as HTML, its formulas drawn."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Sequence
from typing import Final

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from esntools._typing import Document
from esntools.errors import EsntoolsError
from esntools.network import EchoStateNetwork
from esntools.report.equations import equation_svg
from esntools.symbolic import proof_page
from esntools.symbolic.pages import Block, Display, Element, Matrix, Page, Section, Words, plain

__all__ = ["page_html", "proof_of"]

_MARKS: Final = ((r"\\textbf\{([^{}]*)\}", r"<b>\1</b>"), (r"\\texttt\{([^{}]*)\}", r"<code>\1</code>"))
_TYPED: Final = {"``": "“", "&#x27;&#x27;": "”", "--": "–", "~": "\N{NO-BREAK SPACE}", r"\%": "%", r"\_": "_"}
_SIZE: Final = 12.0


def proof_of(document: Document | None, network: EchoStateNetwork) -> Page | None:
    """Return the page that explains a certificate, or None where there is none to explain."""
    if document is None or document.get("format") != "esntools-certificate":
        return None
    try:
        return proof_page(document, network)
    except EsntoolsError:
        return None


@functools.lru_cache(maxsize=512)
def _inline(formula: str) -> str:
    """Return a formula that stands in a line of text, on its baseline."""
    short = formula.strip()
    if re.fullmatch(r"[0-9.]+|-?[0-9]+", short):
        return short.replace("-", "−")
    path = TextPath((0, 0), f"${short}$", size=_SIZE, prop=FontProperties(math_fontfamily="stix"))
    depth = 1.0 - path.get_extents().y0
    svg = equation_svg(short, plain(short), size=_SIZE)
    return svg.replace("<svg ", f'<svg style="vertical-align: {-depth:.2f}pt" ', 1)


def _words(latex: str) -> str:
    """Return words with formulas between dollar signs as HTML."""
    pieces = []
    for k, piece in enumerate(latex.split("$")):
        if k % 2:
            pieces.append(_inline(piece))
            continue
        text = html.escape(piece)
        for pattern, mark in _MARKS:
            text = re.sub(pattern, mark, text)
        for typed, meant in _TYPED.items():
            text = text.replace(typed, meant)
        pieces.append(text)
    return "".join(pieces)


def _matrix(matrix: Matrix) -> str:
    drawn = Page("", [matrix]).formulas()
    if drawn:
        return "".join(f'<p class="equations">{equation_svg(f, plain(f))}</p>' for f in drawn)
    return f"<p>{html.escape(plain(' '.join(Page('', [matrix]).text().split())))}</p>"


def _elements(elements: Sequence[Element]) -> str:
    lines = []
    for element in elements:
        match element:
            case Section():
                lines.append(f"<h4>{_words(element.title)}</h4>")
            case Words():
                lines.append(f"<p>{_words(element.latex)}</p>")
            case Display():
                svg = equation_svg(element.latex, plain(element.latex))
                lines.append(f'<p class="equations">{svg}</p>')
            case Matrix():
                lines.append(_matrix(element))
            case Block():
                title = f" ({html.escape(plain(element.title))})" if element.title else ""
                kind = html.escape(element.kind.capitalize())
                lines.append(
                    f'<div class="block {html.escape(element.kind)}"><p><b>{kind}{title}.</b></p>'
                    f"{_elements(element.parts)}</div>"
                )
    return "\n".join(lines)


def page_html(page: Page) -> str:
    """Return a page as HTML whose formulas are drawn, so that no font and no script is needed.

    >>> from esntools.symbolic.pages import Words
    >>> page_html(Page("A line", [Words("Of length $1$ -- 2.")]))
    '<p>Of length 1 – 2.</p>'
    """
    return _elements(page.elements)
