"""One certificate as a page that a mathematician can check: hypotheses, theorem, proof, numbers, source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.activations import Activation
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.network import EchoStateNetwork, Readout
from esntools.symbolic import local_claims, refutations
from esntools.symbolic.evidence import LEQ, Setting, decode, input_words, norm_numbers, slope_words, value
from esntools.symbolic.pages import (
    Block,
    Display,
    Element,
    Matrix,
    Page,
    Section,
    Words,
    compared,
    counted,
    number,
)
from esntools.symbolic.theorems import (
    SOURCES,
    contraction,
    difference_lemma,
    multiplier_theorem,
    positive_definite_lemma,
)

__all__ = ["certified_network", "proof_page"]

_VERSION: Final = 2
_SHOWN: Final = 6


def certified_network(document: Document) -> EchoStateNetwork:
    """Return the network that a certificate embeds.

    Raises
    ------
    InvalidInputError
        When the certificate names a file instead, or the section is damaged.
    """
    section = document.get("network")
    if not isinstance(section, dict) or "W" not in section:
        raise InvalidInputError(
            "certificate", "the network is not in this file", "give the network that the certificate is about"
        )

    def optional(name: str) -> FloatArray | None:
        return None if section[name] is None else decode(section[name])

    W_out, b_out = optional("W_out"), optional("b_out")
    readout = None if W_out is None or b_out is None else Readout(W_out, optional("W_sq"), b_out)
    return EchoStateNetwork(
        decode(section["W"]),
        W_in=decode(section["W_in"]),
        b=decode(section["b"]),
        leak_rate=decode(section["leak_rate"]),
        activation=Activation.from_sympy(section["activation"]),
        readout=readout,
        W_fb=optional("W_fb"),
    )


def _effective(network: EchoStateNetwork) -> tuple[Any, FloatArray, FloatArray]:
    """Return V (as sparse as W without feedback), the bend Q and the effective bias c."""
    n = network.n_units
    if network.W_fb is None or network.readout is None:
        return network.W, np.zeros((n, n) if n <= 2000 else (1, 1)), network.b
    readout = network.readout
    Q = np.zeros((n, n)) if readout.W_sq is None else network.W_fb @ readout.W_sq
    return network.dense_W() + network.W_fb @ readout.W_out, Q, network.b + network.W_fb @ readout.b_out


def _network_section(network: EchoStateNetwork, V: Any, c: FloatArray) -> list[Element]:
    feedback = network.W_fb is not None and network.readout is not None
    squares = feedback and network.readout is not None and not network.readout.is_affine
    own = network.uniform_leak_rate is None
    z = r"z_k = V x_k" + (r" + Q (x_k \circ x_k)" if squares else "")
    z += (r" + W_{\mathrm{in}} u_k" if network.n_inputs else "") + " + c"
    parts: list[Element] = [
        Section("The network"),
        Words(
            f"It has {counted(network.n_units, 'unit')}, {counted(network.n_inputs, 'input')} and "
            f"{counted(network.n_outputs, 'output')}; the map is"
        ),
        Display(r"x_{k+1} = (I - A)\, x_k + A\, \varphi(z_k), \quad " + z),
        Words(
            rf"with $\varphi(x) = {_phi(network.activation)}$ in each component and $A = "
            r"\mathrm{diag}(a)$, "
            + (
                f"leak rates from ${number(float(network.leak_rate.min()))}$ to "
                f"${number(float(network.leak_rate.max()))}$"
                if own
                else f"$a_i = {number(float(network.leak_rate[0]))}$ for all units"
            )
            + ". Here $V = W"
            + (r" + W_{\mathrm{fb}} W_{\mathrm{out}}" if feedback else "")
            + "$ and $c = b"
            + (r" + W_{\mathrm{fb}} b_{\mathrm{out}}" if feedback else "")
            + "$"
            + (r", and $Q = W_{\mathrm{fb}} W_{\mathrm{sq}}$" if squares else "")
            + ". Every stored number is a double and stands for exactly the dyadic rational that it is."
        ),
    ]
    if network.n_units <= _SHOWN:
        parts.append(Matrix("V", V if isinstance(V, np.ndarray) else V.toarray()))
        if np.any(c):
            parts.append(Matrix("c", c))
        if np.any(network.W_in):
            parts.append(Matrix(r"W_{\mathrm{in}}", network.W_in))
    parts += [Words("Its content hash (SHA-256):"), Words(rf"\texttt{{{network.content_hash}}}")]
    return parts


def _phi(activation: Activation) -> str:
    import sympy

    text = sympy.latex(activation.to_sympy())
    return r"\mathrm{piecewise}" if r"\begin" in text else text


_SAYS: Final = {
    "global": r"for any two solutions $x, y$ under one input of the class and every $k \geq 0$",
    "box": r"for any two solutions $x, y$ under one input of the class that start in the box of values of "
    r"$\varphi$, and every $k \geq s$",
    "secant": r"there is a fixed point $x^\ast$ at the constant input, and for every solution $x$ that "
    r"starts in the box of values of $\varphi$ and every $k \geq s$",
    "odd": r"for every solution $x$ and every $k \geq 0$",
}


def _claim(document: Document) -> list[Element]:
    claim, range_ = document["claim"], document["slopes"]["range"]
    rate = value(claim["rate"])
    pair = {"secant": ("x_{k+1} - x^\\ast", "x_k - x^\\ast"), "odd": ("x_{k+1}", "x_k")}
    new, old = pair.get(range_, ("x_{k+1} - y_{k+1}", "x_k - y_k"))
    steps = document["slopes"].get("steps")
    return [
        Section("What is claimed"),
        *input_words(claim["inputs"]),
        Block(
            "theorem",
            "claim",
            [
                Words(
                    f"With a norm $N$ given below, {_SAYS[range_]}"
                    + (f", $s = {steps}$" if steps is not None and range_ != "global" else "")
                    + ","
                ),
                Display(f"N({new}) \\leq r\\, N({old}), \\quad r = {compared(rate, '<', 1.0)}"),
            ],
        ),
        Words(
            "Initial states are forgotten uniformly and exponentially. For inputs in a compact set "
            "there is exactly one bounded solution on the whole time axis: the echo state property "
            "(Jaeger 2001; Yildiz, Jaeger and Kiebel 2012, Definition 2.1)."
        ),
    ]


def _slopes(
    document: Document, network: EchoStateNetwork, low: FloatArray, high: FloatArray
) -> list[Element]:
    slopes = document["slopes"]
    range_, bounds = slopes["range"], slope_words(low, high)
    elements: list[Element] = [Section("Slopes")]
    assumes = document.get("assumes")
    if assumes is not None:
        elements.append(
            Words(
                r"\textbf{An assumption.} The checker does not know this activation. The claim "
                r"holds if all difference quotients of $\varphi$ lie in "
                f"$[{number(value(assumes['low']), False)}, {number(value(assumes['high']), True)}]$."
            )
        )
    if range_ == "global":
        elements += [
            Words(f"The slopes of $\\varphi$ on the whole line lie between {bounds}."),
            *difference_lemma(where="At each time"),
        ]
    elif range_ == "box":
        elements += [
            Words(
                r"Let $B_0$ be the box of values of $\varphi$ and $B_{k+1}$ the intersection of "
                r"$B_k$ with a box that encloses $(I - A) B_k + A \varphi(V B_k + W_{\mathrm{in}} "
                "u + c)$ for all admissible $u$. Each $B_k$ is mapped into itself, so solutions that "
                r"start in $B_0$ are in $B_k$ from time $k$ on. On $V B_s + W_{\mathrm{in}} u + "
                f"c$ with $s = {slopes['steps']}$ the slopes lie between {bounds}."
            ),
            *difference_lemma(where="From time $s$ on"),
        ]
    elif range_ == "secant":
        V, Q, c = _effective(network)
        drive = c + (
            0.0
            if document["claim"]["inputs"]["kind"] == "zero"
            else network.W_in @ decode(document["claim"]["inputs"]["value"])
        )
        ball, _, _ = refutations.ball_elements(network, _dense(V), Q, slopes["ball"], np.atleast_2d(drive))
        elements += [
            *refutations.krawczyk(1),
            *ball,
            Words(
                r"This ball holds a fixed point $x^\ast$. Let $B_k$ be the boxes that start from the "
                r"box of values of $\varphi$ and that the map sends into itself, $B_{k+1}$ the "
                "intersection of $B_k$ with an enclosure of its image. For every argument $y$ of a "
                "unit with $x$ in $B_s$ and every argument $z$ with $x$ in the ball, the secant "
                rf"slopes $(\varphi(y) - \varphi(z))/(y - z)$ lie between {bounds}, $s = "
                f"{slopes['steps']}$ (enclosed piece by piece)."
            ),
            Block(
                "lemma",
                "differences",
                [
                    Words(
                        r"For a solution $x$ from the box and $d = x - x^\ast$, from time $s$ on, with "
                        r"a diagonal $D$, $l \leq D \leq L$,"
                    ),
                    Display(r"d_+ = (I - A)\, d + A D V d"),
                ],
            ),
            Block(
                "proof",
                "",
                [
                    Words(
                        r"$D_{ii}$ is the secant slope between the arguments of $\varphi$ at $x$ and "
                        r"at $x^\ast$; where they are equal, $(V d)_i = 0$ and any number serves."
                    )
                ],
            ),
        ]
    return elements


def _dense(V: Any) -> FloatArray:
    return np.asarray(V if isinstance(V, np.ndarray) else V.toarray())


def _washout(document: Document, size: Callable[[FloatArray], float], reach: FloatArray) -> list[Element]:
    washout = document["claim"].get("washout")
    if washout is None:
        return []
    range_ = document["slopes"]["range"]
    spread, epsilon, steps = value(washout["spread"]), value(washout["epsilon"]), washout["steps"]
    start = document["slopes"].get("steps", 0) or 0
    factor = 2 if range_ in ("secant", "odd") else 1
    rate = value(document["claim"]["rate"])
    first = size(np.full(len(reach), spread))
    left = factor * first * rate ** (steps - start) * float(reach.max())
    condition = {
        "global": rf"their initial states differ by at most ${number(spread)}$ in every component",
        "odd": rf"their initial states have components in $[-{number(spread)}, {number(spread)}]$",
    }.get(range_, r"they start in the box of values of $\varphi$")
    return [
        Section("A proved washout"),
        Block(
            "corollary",
            "washout",
            [
                Words(
                    f"From step {steps} on, two solutions under one input of the class differ by at "
                    rf"most $\epsilon = {number(epsilon)}$ in every component, provided that "
                    f"{condition}."
                )
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    f"At step {start} the norm of "
                    + ("the difference" if factor == 1 else "each solution's distance to the fixed point")
                    + rf" is at most $\mathrm{{size}}(\sigma 1)$, $\sigma = {number(spread)}$; it "
                    "shrinks by $r$ per step and bounds the components by reach"
                    + ("." if factor == 1 else ", and there are two solutions.")
                    + " In numbers:"
                ),
                Display(
                    (r"2\, " if factor == 2 else "")
                    + rf"\mathrm{{size}}(\sigma 1)\, r^{{{steps - start}}} \max_j \mathrm{{reach}}_j = "
                    + compared(left, LEQ, epsilon)
                ),
            ],
        ),
    ]


def _proved(document: Document, network: EchoStateNetwork) -> list[Element]:
    name, source = document["theorem"], document["source"]
    low, high = (decode(document["slopes"][k]) for k in ("low", "high"))
    V, _, _ = _effective(network)
    rate = value(document["claim"]["rate"])
    numbers = norm_numbers(name, document["witness"], Setting(V, network.leak_rate, low, high), rate)
    elements = _claim(document)
    if name == "zero-input-multipliers":
        elements += [Section("The theorem"), positive_definite_lemma(), *multiplier_theorem(source)]
    else:
        elements += [
            *_slopes(document, network, low, high),
            Section("The theorem"),
            positive_definite_lemma(),
        ]
        if name == "cascade":
            for inner in sorted({block["theorem"] for block in document["witness"]["blocks"]}):
                elements += contraction(inner, "for a block")
        elements += contraction(name, source)
    return [
        *elements,
        Section("The numbers"),
        Words(rf"$r = {compared(rate, '<', 1.0)}$, and {slope_words(low, high)}."),
        *numbers.elements,
        *_washout(document, numbers.size, numbers.reach),
    ]


_READING: Final = (
    "Numbers on this page are rounded to a few digits, bounds outwards; margins and eigenvalues were "
    "computed in floating point. The certificate itself holds every number exactly, and the checker "
    r"(\texttt{esntools check}, or the lone file check.py) verifies the conditions in exact "
    "arithmetic, with slopes of the activation enclosed outwards. The page is a help for reading and "
    "proves nothing by itself."
)


def proof_page(document: Document, network: EchoStateNetwork | None = None) -> Page:
    """Return the page that explains one certificate of format version 2.

    Parameters
    ----------
    document : dict
        The certificate, as read from its JSON file.
    network : EchoStateNetwork, optional
        What it is about; needed when the certificate keeps the network in another file, and then compared
        by hash.

    Returns
    -------
    Page
        Its methods ``latex()``, ``text()`` and ``formulas()`` render it.

    Raises
    ------
    InvalidInputError
        When the document is damaged or about another network. The page does not replace the check.
    UnsupportedError
        When it has another format version.

    Examples
    --------
    >>> proof_page({"format": "esntools-certificate", "version": 1})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    esntools.errors.UnsupportedError: certificate: format version 1; this page knows version 2; certify again
    """
    if not isinstance(document, dict) or document.get("format") != "esntools-certificate":
        raise InvalidInputError("certificate", "not an esntools certificate", "see FORMAT.md")
    if document.get("version") != _VERSION:
        raise UnsupportedError(
            "certificate",
            f"format version {document.get('version')}",
            f"this page knows version {_VERSION}",
            "certify again",
        )
    network = certified_network(document) if network is None else network
    try:
        if document["network"]["hash"] != network.content_hash:
            raise InvalidInputError(
                "certificate", "it is about another network", "give the network with its hash"
            )
        V, Q, c = _effective(network)
        verdict, theorem = document["verdict"], document["theorem"]
        title = {
            "proved": "Proof that a network forgets its initial state",
            "refuted": "Proof that a network does not forget its initial state",
            "local": "Proof of local contraction",
        }[verdict]
        elements = _network_section(network, V, c)
        if verdict == "proved":
            elements += _proved(document, network)
        elif verdict == "refuted":
            elements += refutations.refuted(document, network, _dense(V), Q, c)
        elif theorem == "contracting-tube":
            elements += local_claims.tube(document, network)
        else:
            elements += local_claims.local(document, network, _dense(V), Q, c)
        definition = ("H. Jaeger, GMD Report 148 (2001), Proposition 3", "doi:10.1016/j.neunet.2012.07.005")
        sources = list(dict.fromkeys(SOURCES.get(s, s) for s in (document["source"], *definition)))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            "certificate", f"{type(error).__name__}: {error}", "must be as FORMAT.md says; check it first"
        ) from None
    return Page(
        title,
        [
            *elements,
            Section("How to read this"),
            Words(_READING),
            Section("Sources"),
            *(Words(f"[{k}] {source}") for k, source in enumerate(sources, start=1)),
        ],
    )
