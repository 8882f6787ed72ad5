"""Pages for local claims: attracting balls (echo index at least n) and contracting tubes along a signal."""

from __future__ import annotations

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.network import EchoStateNetwork
from esntools.symbolic.evidence import Setting, decode, input_words, norm_numbers, slope_words, value
from esntools.symbolic.pages import Block, Display, Element, Matrix, Section, Words, number
from esntools.symbolic.theorems import contraction, difference_lemma, positive_definite_lemma

__all__ = ["attracting_balls", "attracting_theorem", "local", "tube"]


def attracting_theorem(source: str, bend: bool) -> list[Element]:
    """Return statement and proof of the theorem about attracting balls."""
    return [
        Block("theorem", f"attracting ball; {source}", [
            Words(
                r"Let $B = \{x : N(x - \bar{x}) \leq \rho\}$ with the norm $N$ of a theorem of "
                r"contraction at the rate $r < 1$, and let "
                r"$\mathrm{tilt}_i$ bound $|(V d)_i|$ on $N(d) \leq 1$. With $\bar{z}(u) = V \bar{x} + "
                r"W_{\mathrm{in}} u + c$, suppose that $l$ "
                r"and $L$ bound the slopes of $\varphi$ on $\bar{z}_i(u) \pm \rho\, \mathrm{tilt}_i$ for "
                r"all $u$ of the class, and that"
            ),
            Display(r"\mathrm{size}(\eta) < (1 - r)\, \rho, \quad \eta_i \geq a_i |\varphi(\bar{z}_i(u)) - "
                    r"\bar{x}_i|"), Words(
                "for all these $u$. Then every step with an input of the class maps $B$ into its "
                "interior and contracts it by $r$: under "
                "every input sequence on the whole time axis exactly one solution stays in $B$, and it "
                "attracts $B$ uniformly."
            ),
        ]),
        Block("proof", "", [Words(
            r"For $x, y$ in $B$ the arguments of $\varphi$ lie in the intervals above, so the difference "
            r"obeys $d_+ = (I - A) d + A D V d$ with "
            r"$l \leq D \leq L$ and shrinks by $r$; and $N(f(x) - \bar{x}) \leq r \rho + N(f(\bar{x}) - "
            r"\bar{x}) < \rho$. A product of contractions "
            r"of a compact set has one limit (pullback)."
            + (
                r" With squares fed back, $\bar{z}$ contains $Q (\bar{x} \circ \bar{x})$, the weights of "
                r"the difference lie within $E = 2 \rho |Q| "
                r"\mathrm{diag}(v)$ of $V + 2 Q\, \mathrm{diag}(\bar{x})$, and the condition of Perron "
                r"weights is checked for the corners of that range."
                if bend
                else ""
            )
        )]),
    ]  # fmt: skip


def _hull(inputs: Document, width: int) -> tuple[FloatArray, FloatArray]:
    kind = inputs["kind"]
    if kind == "zero":
        return np.zeros(width), np.zeros(width)
    if kind == "constant":
        return decode(inputs["value"]), decode(inputs["value"])
    if kind == "box":
        return decode(inputs["low"]), decode(inputs["high"])
    symbols = decode(inputs["symbols"])
    return symbols.min(axis=0), symbols.max(axis=0)


def attracting_balls(
    balls: list[Document], network: EchoStateNetwork, V: FloatArray, Q: FloatArray, c: FloatArray,
    inputs: Document, *, drives: bool = False,
) -> list[Element]:  # fmt: skip
    """Return the numbers of each ball, and its norm's theorem once."""
    n = network.n_units
    low_u, high_u = _hull(inputs, n if drives else network.n_inputs)
    W_in = np.eye(n) if drives else network.W_in
    middle = W_in @ (0.5 * (low_u + high_u)) + (0.0 if drives else c)
    half = np.abs(W_in) @ (0.5 * (high_u - low_u))
    phi, a = network.activation, network.leak_rate
    elements: list[Element] = []
    for name in sorted({ball["theorem"] for ball in balls}):
        elements += contraction(name, "the norm of a ball")
    for k, ball in enumerate(balls):
        s = ball["slopes"]
        low, high = decode(s["low"]), decode(s["high"])
        x, rho, rate = decode(s["centre"]) + decode(s["fine"]), value(s["radius"]), value(ball["rate"])
        z = V @ x + Q @ x**2 + middle
        ends = np.stack([phi(z - half), phi(z + half), phi(z)])
        eta = a * np.max(np.abs(ends - x), axis=0)
        effective = V + 2.0 * Q * x
        numbers = norm_numbers(ball["theorem"], ball["witness"], Setting(effective, a, low, high), rate)
        elements += [
            Words(rf"\textbf{{Ball {k + 1}}}, {ball['theorem']}: rate $r = {number(rate, True)}$, radius "
                  rf"$\rho = {number(rho)}$, centre"), Matrix(r"\bar{x}", x), Words(f"Slopes: "
                  f"{slope_words(low, high)}."), *numbers.elements,
            Display(
                rf"\mathrm{{size}}(\eta) = {number(numbers.size(eta), True)} < (1 - r)\, \rho = "
                rf"{number((1.0 - rate) * rho, False)}"
            ),
        ]  # fmt: skip
    return elements


def local(
    document: Document, network: EchoStateNetwork, V: FloatArray, Q: FloatArray, c: FloatArray
) -> list[Element]:
    """Return the body of the page for attracting balls."""
    claim, balls = document["claim"], document["witness"]["balls"]
    count = claim["responses"]
    return [
        Section("What is claimed"), *input_words(claim["inputs"]),
        Block("theorem", "claim", [Words(
            f"Every input sequence of the class has at least {count} "
            + ("response" if count == 1 else "responses") + ", each of which attracts its ball uniformly: "
                                                            "the echo index is at least " f"{count}. "
                                                                                          f"Nothing is "
                                                                                          f"claimed about "
                                                                                          f"states outside "
                                                                                          f"the balls."
        )]),
        Section("The theorem"), positive_definite_lemma(),
        *attracting_theorem(document["source"], bool(np.any(Q))), Section("The numbers"),
        *attracting_balls(balls, network, V, Q, c, claim["inputs"]),
        *([Words(
            r"The balls are pairwise disjoint: in some component the centres differ by more than $\rho\, "
            r"\mathrm{reach}_j + \rho'\, "
            r"\mathrm{reach}_j'$."
        )] if count > 1 else []),
    ]  # fmt: skip


def tube(document: Document, network: EchoStateNetwork) -> list[Element]:
    """Return the body of the page for a tube along a signal."""
    claim, witness = document["claim"], document["witness"]
    states = decode(witness["states"])
    rate, radius, rho = value(claim["rate"]), value(claim["radius"]), value(witness["tube"])
    T = len(states) - 1
    elements: list[Element] = [
        Section("What is claimed"), *input_words(claim["inputs"]),
        Block("theorem", "claim", [
            Words(
                rf"Let $\bar{{x}}_0, \ldots, \bar{{x}}_{{{T}}}$ be the states listed in the certificate. "
                rf"For any two solutions $x, y$ under "
                rf"the signal that start within ${number(radius, False)}$ of $\bar{{x}}_0$ (Euclidean "
                rf"norm), and $0 \leq k \leq {T}$,"
            ),
            Display(
                rf"|x_k - y_k| \leq {number(rho / radius, True)} \cdot \lambda^k |x_0 - y_0|, \quad "
                rf"\lambda = {number(rate, True)}"
            ),
            Display(rf"|x_k - \bar{{x}}_k| \leq {number(rho, True)}"),
        ]),
        Matrix(r"\bar{x}", states), Section("The theorem"),
        Block("theorem", f"contracting tube; {document['source']}", [
            Words(
                r"Let $J_k = I - A + A D_k V$ with $D_k$ near the slopes at $\bar{z}_k = V \bar{x}_k + "
                r"W_{\mathrm{in}} u_k + c$, and let "
                r"$\theta_i$ bound $a_i$ times the distance of $D_{ii}$ from every slope of $\varphi$ on "
                r"$\bar{z}_i \pm \rho |V_i|$. With "
                r"symmetric $P_k \geq I$, $P = P_{k+1}$, $\sigma_i = \sum_j |P_{ij}|$ and numbers "
                r"$\tau_k > 0$ suppose for $0 \leq k < T$"
            ),
            Display(
                r"\lambda^2 P_k \geq (1 + \tau_k) J_k^T P J_k + (1 + 1/\tau_k)\, V^T "
                r"\mathrm{diag}(\theta_i^2 \sigma_i)\, V"
            ),
            Display(r"\lambda \rho + \sqrt{\eta^T |P| \eta} \leq \rho, \quad \eta \geq |(I - A) \bar{x}_k "
                    r"+ A \varphi(\bar{z}_k) - \bar{x}_{k+1}|"), Words(r"and $\mathrm{radius}^2 \max_i "
                                                                       r"\sum_j |(P_0)_{ij}| \leq \rho^2$. "
                                                                       r"Then the claim holds."),
        ]),
        Block("proof", "", [Words(
            r"Let $N_k(d) = \sqrt{d^T P_k d} \geq |d|$ and let $x, y$ satisfy $N_k(x - \bar{x}_k) \leq "
            r"\rho$, likewise $y$. The arguments of "
            r"$\varphi$ lie within $\rho |V_i|$ of $\bar{z}_i$, so $f(x) - f(y) = (J_k + \Delta V)(x - "
            r"y)$ with a diagonal $\Delta$, $|\Delta_{ii}| "
            r"\leq \theta_i$. For all vectors $(\alpha + \beta)^T P (\alpha + \beta) \leq (1 + \tau) "
            r"\alpha^T P \alpha + (1 + 1/\tau) \beta^T P "
            r"\beta$, and $\Delta P \Delta \leq \mathrm{diag}(\theta^2 \sigma)$ because "
            r"$\mathrm{diag}(\sigma) - P$ is diagonally dominant. So "
            r"$N_{k+1}(f(x) - f(y)) \leq \lambda N_k(x - y)$. With $y = \bar{x}_k$ and the second "
            r"condition, $N_{k+1}(f(x) - \bar{x}_{k+1}) \leq "
            r"\rho$. By the third, all starts within the radius satisfy $N_0(x - \bar{x}_0) \leq \rho$. "
            r"Induction."
        )]),
        Words(
            r"The checker constructs the $P_k$ itself, backwards from $P_T = I$, in exact arithmetic; "
            r"the certificate does not store them."
        ),
    ]  # fmt: skip
    entry = witness["entry"]
    if entry is not None:
        low, high = decode(entry["slopes"]["low"]), decode(entry["slopes"]["high"])
        elements += [
            Section("Entry into the tube"), positive_definite_lemma(),
            *difference_lemma(where="For solutions from the box of values of $\\varphi$, from some step on,"),
            *contraction(entry["theorem"], "for the entry"),
            Words(
                f"Here {slope_words(low, high)} and the rate is ${number(value(entry['rate']), True)}$. "
                + rf"By it every solution that starts in the box of values of $\varphi$ is, at step "
                  rf"{entry['steps']}, so near to the solution " rf"from $\bar{{x}}_0$ that it lies in the "
                                                                 rf"tube, and stays there: $|x_k - "
                                                                 rf"\bar{{x}}_k| \leq {number(rho, True)}$ "
                                                                 rf"for " rf"${entry['steps']} \leq k \leq "
                                                                          rf"{T}$."
            ),
        ]  # fmt: skip
    washout = claim["washout"]
    if washout is not None:
        start = 0 if entry is None else entry["steps"]
        steps, epsilon = washout["steps"], value(washout["epsilon"])
        left = 2.0 * rho * rate ** (steps - start)
        elements += [
            Section("A proved washout"),
            Block("corollary", "washout", [
                Words(
                    r"Under this signal, two solutions "
                    + ("that start in the box of values of $\\varphi$" if entry is not None else
                       rf"that start within ${number(value(washout['spread']), False)}$ of $\bar{{x}}_0$")
                    + rf" differ by at most ${number(epsilon)}$ in every component for ${steps} \leq k "
                      rf"\leq {T}$:"
                ),
                Display(
                    rf"2 \rho\, \lambda^{{{steps - start}}} = {number(left, True)} \leq {number(epsilon)}"
                ),
            ]),
        ]  # fmt: skip
    return elements
