"""Pages for refutations: periodic responses enclosed by Krawczyk's ball, instability by an indefinite P."""

from __future__ import annotations

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.network import EchoStateNetwork
from esntools.symbolic.evidence import ball_numbers, decode, input_words, unstable_numbers, value
from esntools.symbolic.local_claims import attracting_balls, attracting_theorem
from esntools.symbolic.pages import Block, Display, Element, Matrix, Section, Words, number
from esntools.symbolic.theorems import positive_definite_lemma

__all__ = ["ball_elements", "krawczyk", "refuted"]


def krawczyk(p: int) -> list[Element]:
    """Return the lemma that a ball of a certificate encloses a p-periodic solution."""
    periodic = p > 1
    return [
        Words(
            (
                rf"The lifted map takes $X = (X_0, \ldots, X_{{{p - 1}}})$ to $f(X)_j = (I - A) "
                r"X_{j-1} + A \varphi(V X_{j-1} + Q (X_{j-1} \circ X_{j-1}) + h_j)$, indices "
                f"modulo {p}, where $h_j$ is the drive of phase $j$. Its fixed points are the "
                f"{p}-periodic solutions. Let $G(X) = X - f(X)$."
                if periodic
                else r"Let $h$ be the drive and $G(X) = X - f(X)$, $f(X) = (I - A) X + A \varphi(V X + "
                r"Q (X \circ X) + h)$; zeros of $G$ are fixed points of the map at this input."
            )
            + r" ($Q = W_{\mathrm{fb}} W_{\mathrm{sq}}$ where squares are fed back, else $Q = 0$.)"
        ),
        Block(
            "lemma",
            "Krawczyk 1969, doi:10.1007/BF02234767",
            [
                Words(
                    r"Let $K$ be the box $|X - \bar{X}| \leq \rho$ componentwise, and let $J$ run "
                    r"through all matrices with $f(X) - f(Y) = J (X - Y)$ that the slopes of $\varphi$ "
                    "on the arguments over $K$ allow. If for a matrix $C$ and for every row $k$"
                ),
                Display(r"|C\, G(\bar{X})|_k + \rho \sum_i |I - C (I - J)|_{ki} < \rho"),
                Words("for all these $J$, then $K$ holds a fixed point of $f$ in its interior."),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    r"$X - C\, G(X)$ differs from $\bar{X}$ by $-C\, G(\bar{X}) + (I - C (I - J)) (X - "
                    r"\bar{X})$, so it maps $K$ into its interior and has a fixed point there by "
                    r"Brouwer's theorem, where $C\, G = 0$. The row sums of $|I - C (I - J)|$ are "
                    "below 1, so $C (I - J)$ and hence $C$ are nonsingular, and $G = 0$."
                )
            ],
        ),
    ]


def ball_elements(
    network: EchoStateNetwork, V: FloatArray, Q: FloatArray, ball: Document, drive: FloatArray
) -> tuple[list[Element], FloatArray, FloatArray]:
    """Return what the page says of one ball, its centre and the Jacobian there."""
    return ball_numbers(network, V, Q, ball, drive)


def _input(document: Document, network: EchoStateNetwork, c: FloatArray) -> tuple[list[Element], FloatArray]:
    """Return what the page says of the witness's input, and the drives, one row for each phase."""
    rows = np.atleast_2d(decode(document["witness"]["input"]))
    any_input = document["claim"]["inputs"]["kind"] == "any"
    drives = rows if any_input else rows @ network.W_in.T + c
    p = len(rows)
    what = "drive $W_{\\mathrm{in}} u + c$" if any_input else "input"
    if p == 1:
        words = f"The {what} is constant:"
    else:
        words = f"The {what} has period {p}, with these rows, each of which belongs to the class:"
    shown = Matrix("h" if any_input else "u", rows[0] if p == 1 else rows)
    if not any_input and not np.any(rows):
        return [Words(f"The input is zero (period {p})." if p > 1 else "The input is zero.")], drives
    return [Words(words), shown], drives


def refuted(
    document: Document, network: EchoStateNetwork, V: FloatArray, Q: FloatArray, c: FloatArray
) -> list[Element]:
    """Return the body of the page for a refutation."""
    theorem, source, witness = document["theorem"], document["source"], document["witness"]
    elements: list[Element] = [
        Section("What is claimed"),
        *input_words(document["claim"]["inputs"]),
        Block(
            "theorem",
            "claim",
            [
                Words(
                    "Under one input of the class, which is constant or periodic in time, states are "
                    r"not forgotten uniformly: there is no sequence $\delta_k \to 0$ with $|x_k - y_k| "
                    r"\leq \delta_k$ for all solutions $x, y$ that start in a neighbourhood of the "
                    "sets named below. The echo state property fails for the class (Yildiz, Jaeger "
                    "and Kiebel 2012, Theorem 2.1)."
                )
            ],
        ),
        *(
            []
            if network.activation.bounded
            else [
                Words(
                    r"($\varphi$ is unbounded and states have no compact set; their Definition 2.1 "
                    "fails directly, because under one input there are two bounded solutions on $k "
                    r"\leq 0$.)"
                )
            ]
        ),
        Section("The input"),
    ]
    shown, drives = _input(document, network, c)
    elements += shown
    if theorem == "attracting-balls":
        return [*elements, *_two_attracting(document, network, V, Q, c)]
    p = len(drives)
    elements += [Section("The responses are enclosed"), *krawczyk(p)]
    if theorem == "two-fixed-points":
        centres = []
        for k, ball in enumerate(witness["balls"]):
            one, centre, _ = ball_elements(network, V, Q, ball, drives)
            elements += [Words(f"Ball {k + 1}:"), *one]
            centres.append(centre)
        gap = float(np.max(np.abs(centres[0] - centres[1])))
        radii = sum(value(ball["radius"]) for ball in witness["balls"])
        what = "fixed points" if p == 1 else f"{p}-periodic solutions"
        return [
            *elements,
            Section("The theorem"),
            Block(
                "theorem",
                f"two responses; {source}",
                [Words(f"Two different {what} under one input refute uniform forgetting.")],
            ),
            Block(
                "proof",
                "",
                [
                    Words(
                        f"In some component the centres of the balls differ by ${number(gap, False)}$, "
                        f"more than the sum ${number(radii, True)}$ of the radii. So the balls are "
                        f"disjoint and hold two different {what}, two solutions under one input that "
                        "never approach each other."
                        + (
                            ""
                            if p == 1
                            else " (If the input is constant they may be two phases of one cycle.)"
                        )
                    )
                ],
            ),
        ]
    one, _, J = ball_elements(network, V, Q, witness["ball"], drives)
    return [
        *elements,
        *one,
        Section("The response is unstable"),
        positive_definite_lemma(),
        Block(
            "theorem",
            f"an unstable response; {source}",
            [
                Words(
                    "Let $P$ be symmetric and $v$ a vector, and let $P - J^T P J$ be positive definite "
                    "by one $R$ for every $J$ of the ball. If"
                ),
                Display(r"v^T P v < 0"),
                Words(
                    "then solutions that start as close to the fixed point $X^\\ast$ in the ball as "
                    "one likes leave the ball."
                ),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    r"For a solution $X$ of the (lifted) map in $K$, $q = X - X^\ast$ obeys $q_+ = J "
                    r"q$ with such a $J$, and by compactness $q_+^T P q_+ \leq q^T P q - \epsilon "
                    r"|q|^2$. Start at $X^\ast + \tau v$ with small $\tau > 0$: $q^T P q$ starts at "
                    r"$\tau^2 v^T P v < 0$ and decreases, so $|q|$ is bounded below and $q^T P q$ "
                    "falls by a fixed amount per step; it is bounded on $K$, so the solution leaves "
                    "$K$. It is then at least as far from the constant or periodic solution as the "
                    r"boundary of $K$, however small $\tau$, after a number of steps that grows "
                    r"without bound as $\tau \to 0$. So no null sequence $\delta_k$ exists."
                )
            ],
        ),
        *unstable_numbers(J, witness),
    ]


def _two_attracting(
    document: Document, network: EchoStateNetwork, V: FloatArray, Q: FloatArray, c: FloatArray
) -> list[Element]:
    witness = document["witness"]
    inside = witness["inputs"]
    any_input = document["claim"]["inputs"]["kind"] == "any"
    return [
        Section("The theorem"),
        positive_definite_lemma(),
        *attracting_theorem(document["source"], bool(np.any(Q))),
        Block(
            "corollary",
            "two attracting responses",
            [
                Words(
                    "Two disjoint attracting balls for a set of inputs that holds the input above "
                    "refute uniform forgetting."
                )
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    "Under the constant input each ball is mapped into itself. Solutions that start in "
                    "different balls stay in them, and the balls, being compact and disjoint, have a "
                    "positive distance."
                )
            ],
        ),
        Section("The numbers"),
        Words(
            "The balls are attracting for all of these "
            + ("drives in place of $W_{\\mathrm{in}} u + c$." if any_input else "inputs.")
        ),
        *input_words(inside),
        *attracting_balls(witness["balls"], network, V, Q, c, inside, drives=any_input),
    ]
