"""Pages for local claims: attracting balls (echo index at least n) and contracting tubes along a signal."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.network import EchoStateNetwork
from esntools.symbolic.evidence import LEQ, Setting, decode, input_words, norm_numbers, slope_words, value
from esntools.symbolic.pages import Block, Display, Element, Matrix, Section, Words, compared, number
from esntools.symbolic.theorems import contraction, difference_lemma, positive_definite_lemma

#: Values of the activation are sampled over the inputs: the page's numbers, not the checker's.
_SAMPLES: Final = 33
#: A longer signal or a larger network would take this page more than some seconds.
_WORK: Final = 3e9

__all__ = ["attracting_balls", "attracting_theorem", "local", "tube"]


def attracting_theorem(source: str, bend: bool) -> list[Element]:
    """Return statement and proof of the theorem about attracting balls."""
    return [
        Block(
            "theorem",
            f"attracting ball; {source}",
            [
                Words(
                    r"Let $B = \{x : N(x - \bar{x}) \leq \rho\}$ with the norm $N$ of a theorem of "
                    r"contraction at the rate $r < 1$, and let $\mathrm{tilt}_i$ bound $|(V d)_i|$ on "
                    r"$N(d) \leq 1$. With $\bar{z}(u) = V \bar{x} + W_{\mathrm{in}} u + c$, suppose "
                    r"that $l$ and $L$ bound the slopes of $\varphi$ on $\bar{z}_i(u) \pm \rho\, "
                    r"\mathrm{tilt}_i$ for all $u$ of the class, and that"
                ),
                Display(
                    r"\mathrm{size}(\eta) < (1 - r)\, \rho, \quad \eta_i \geq a_i "
                    r"|\varphi(\bar{z}_i(u)) - \bar{x}_i|"
                ),
                Words(
                    "for all these $u$. Then every step with an input of the class maps $B$ into its "
                    "interior and contracts it by $r$: under every input sequence on the whole time "
                    "axis exactly one solution stays in $B$, and it attracts $B$ uniformly."
                ),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    r"For $x, y$ in $B$ the arguments of $\varphi$ lie in the intervals above, so the "
                    r"difference obeys $d_+ = (I - A) d + A D V d$ with $l \leq D \leq L$ and shrinks "
                    r"by $r$; and $N(f(x) - \bar{x}) \leq r \rho + N(f(\bar{x}) - \bar{x}) < \rho$. A "
                    "product of contractions of a compact set has one limit (pullback)."
                    + (
                        r" With squares fed back, $\bar{z}$ contains $Q (\bar{x} \circ \bar{x})$, the "
                        r"weights of the difference lie within $E = 2 \rho |Q| \mathrm{diag}(v)$ of $V "
                        r"+ 2 Q\, \mathrm{diag}(\bar{x})$, and the condition of Perron weights is "
                        "checked for the corners of that range."
                        if bend
                        else ""
                    )
                )
            ],
        ),
    ]


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
    balls: list[Document],
    network: EchoStateNetwork,
    V: FloatArray,
    Q: FloatArray,
    c: FloatArray,
    inputs: Document,
    *,
    drives: bool = False,
) -> list[Element]:
    """Return the numbers of each ball, and its norm's theorem once."""
    n = network.n_units
    low_u, high_u = _hull(inputs, n if drives else network.n_inputs)
    W_in = np.eye(n) if drives else network.W_in
    middle = W_in @ (0.5 * (low_u + high_u)) + (0.0 if drives else c)
    half = np.abs(W_in) @ (0.5 * (high_u - low_u))
    phi, a = network.activation, network.leak_rate
    elements: list[Element] = []
    places: list[tuple[FloatArray, FloatArray]] = []
    for name in sorted({ball["theorem"] for ball in balls}):
        elements += contraction(name, "the norm of a ball")
    for k, ball in enumerate(balls):
        s = ball["slopes"]
        low, high = decode(s["low"]), decode(s["high"])
        x, rho, rate = decode(s["centre"]) + decode(s["fine"]), value(s["radius"]), value(ball["rate"])
        z = V @ x + Q @ x**2 + middle
        values = phi(z + np.linspace(-1.0, 1.0, _SAMPLES)[:, None] * half)
        eta = a * np.max(np.abs(values - x), axis=0)
        setting = Setting(V + 2.0 * Q * x, a, low, high)
        if np.any(Q):
            # The corner of the range of weights on the ball; only Perron weights are allowed here.
            v = decode(ball["witness"]["weights"])
            setting = Setting(_widest(setting, 2.0 * rho * np.abs(Q) * v), a, low, high)
        numbers = norm_numbers(ball["theorem"], ball["witness"], setting, rate)
        places.append((x, rho * numbers.reach))
        elements += [
            Words(
                rf"\textbf{{Ball {k + 1}}}, {ball['theorem']}: rate $r = {number(rate, True)}$, radius "
                rf"$\rho = {number(rho)}$, centre"
            ),
            Matrix(r"\bar{x}", x),
            Words(f"Slopes: {slope_words(low, high)}."),
            *numbers.elements,
            Display(
                r"\mathrm{size}(\eta) = "
                + compared(numbers.size(eta), "<", (1.0 - rate) * rho, r"(1 - r)\, \rho = ")
            ),
        ]
    if len(balls) > 1:
        gap = min(
            float(np.max(np.abs(x - y) - p - q)) for (x, p), (y, q) in itertools.combinations(places, 2)
        )
        elements.append(
            Words(
                "The balls are pairwise disjoint: in some component the centres differ by more than "
                r"$\rho\, \mathrm{reach}_j + \rho'\, \mathrm{reach}_j'$, by at least "
                f"${compared(gap, '>', 0.0)}$ more."
            )
        )
    return elements


def _widest(setting: Setting, E: FloatArray) -> FloatArray:
    """Return weights within E of V, entrywise, whose Perron condition is the hardest."""
    V = setting.dense()
    wide = np.where(V < 0.0, V - E, V + E)
    own, e, a = np.diag(V), np.diag(E), setting.a
    corners = [
        (np.abs(1.0 - a + a * d * (own + s * e)), own + s * e)
        for d in (setting.low, setting.high)
        for s in (-1, 1)
    ]
    hardest = np.argmax([size for size, _ in corners], axis=0)
    wide[np.diag_indices(len(V))] = np.choose(hardest, [weight for _, weight in corners])
    return wide


def tube_numbers(document: Document, network: EchoStateNetwork, states: FloatArray) -> list[Element]:
    """Return the conditions of the tube with numbers, from the recommended construction of the P_k."""
    n, T = network.n_units, len(states) - 1
    if n**3 * T > _WORK:
        return []
    claim, witness = document["claim"], document["witness"]
    rate, radius, rho = value(claim["rate"]), value(claim["radius"]), value(witness["tube"])
    folded = network.folded()
    V, a, u = folded.dense_W(), folded.leak_rate, decode(claim["inputs"]["values"])
    z = states[:-1] @ V.T + u @ folded.W_in.T + folded.b
    eta = np.abs((1.0 - a) * states[:-1] + a * folded.activation(z) - states[1:])
    spread = rho * np.linalg.norm(V, axis=1)
    P, worst = np.eye(n), 0.0
    for k in reversed(range(T)):
        worst = max(worst, rate * rho + float(np.sqrt(eta[k] @ np.abs(P) @ eta[k])))
        slopes = np.array([folded.activation.slope_range(s - w, s + w) for s, w in zip(z[k], spread)])
        J = np.diag(1.0 - a) + (a * slopes.mean(axis=1))[:, None] * V
        theta = a * 0.5 * np.ptp(slopes, axis=1)
        M, Theta = J.T @ P @ J, V.T @ ((theta**2 * np.abs(P).sum(axis=1))[:, None] * V)
        ratio = float(np.sqrt(np.trace(Theta) / np.trace(M))) if np.trace(M) > 0.0 else 1.0
        tau = 2.0 ** np.clip(np.round(np.log2(max(ratio, 1e-300))), -30, 0)
        P = np.eye(n) + ((1.0 + tau) * M + (1.0 + 1.0 / tau) * Theta) / rate**2
    start = radius * float(np.sqrt(np.abs(P).sum(axis=1).max()))
    return [
        Words(
            "With the construction of $P_k$ that the format recommends, the second and third condition read"
        ),
        Display(
            r"\max_k\, (\lambda \rho + \sqrt{\eta^T |P| \eta}) = " + compared(worst, LEQ, rho, r"\rho = ")
        ),
        Display(
            r"\mathrm{radius}\, \sqrt{\max_i \sum_j |(P_0)_{ij}|} = " + compared(start, LEQ, rho, r"\rho = ")
        ),
    ]


def local(
    document: Document, network: EchoStateNetwork, V: FloatArray, Q: FloatArray, c: FloatArray
) -> list[Element]:
    """Return the body of the page for attracting balls."""
    claim, balls = document["claim"], document["witness"]["balls"]
    count = claim["responses"]
    return [
        Section("What is claimed"),
        *input_words(claim["inputs"]),
        Block(
            "theorem",
            "claim",
            [
                Words(
                    f"Every input sequence of the class has at least {count} "
                    + ("response" if count == 1 else "responses")
                    + ", each of which attracts its ball uniformly: the echo index is at least "
                    f"{count}. Nothing is claimed about states outside the balls."
                )
            ],
        ),
        Section("The theorem"),
        positive_definite_lemma(),
        *attracting_theorem(document["source"], bool(np.any(Q))),
        Section("The numbers"),
        *attracting_balls(balls, network, V, Q, c, claim["inputs"]),
    ]


def tube(document: Document, network: EchoStateNetwork) -> list[Element]:
    """Return the body of the page for a tube along a signal."""
    claim, witness = document["claim"], document["witness"]
    states = decode(witness["states"])
    rate, radius, rho = value(claim["rate"]), value(claim["radius"]), value(witness["tube"])
    T = len(states) - 1
    elements: list[Element] = [
        Section("What is claimed"),
        *input_words(claim["inputs"]),
        Block(
            "theorem",
            "claim",
            [
                Words(
                    rf"Let $\bar{{x}}_0, \ldots, \bar{{x}}_{{{T}}}$ be the states listed in the "
                    "certificate. For any two solutions $x, y$ under the signal that start within "
                    rf"${number(radius, False)}$ of $\bar{{x}}_0$ (Euclidean norm), and $0 \leq k \leq "
                    f"{T}$,"
                ),
                Display(
                    rf"|x_k - y_k| \leq {number(rho / radius, True)} \cdot \lambda^k |x_0 - y_0|, "
                    rf"\quad \lambda = {number(rate, True)}"
                ),
                Display(rf"|x_k - \bar{{x}}_k| \leq {number(rho, True)}"),
            ],
        ),
        Matrix(r"\bar{x}", states),
        Section("The theorem"),
        Block(
            "theorem",
            f"contracting tube; {document['source']}",
            [
                Words(
                    r"Let $J_k = I - A + A D_k V$ with $D_k$ near the slopes at $\bar{z}_k = V "
                    r"\bar{x}_k + W_{\mathrm{in}} u_k + c$, and let $\theta_i$ bound $a_i$ times the "
                    r"distance of $D_{ii}$ from every slope of $\varphi$ on $\bar{z}_i \pm \rho "
                    r"|V_i|$. With symmetric $P_k \geq I$, $P = P_{k+1}$, $\sigma_i = \sum_j |P_{ij}|$ "
                    r"and numbers $\tau_k > 0$ suppose for $0 \leq k < T$"
                ),
                Display(
                    r"\lambda^2 P_k \geq (1 + \tau_k) J_k^T P J_k + (1 + 1/\tau_k)\, V^T "
                    r"\mathrm{diag}(\theta_i^2 \sigma_i)\, V"
                ),
                Display(
                    r"\lambda \rho + \sqrt{\eta^T |P| \eta} \leq \rho, \quad \eta \geq |(I - A) "
                    r"\bar{x}_k + A \varphi(\bar{z}_k) - \bar{x}_{k+1}|"
                ),
                Words(
                    r"and $\mathrm{radius}^2 \max_i \sum_j |(P_0)_{ij}| \leq \rho^2$. Then the claim "
                    "holds."
                ),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    r"Let $N_k(d) = \sqrt{d^T P_k d} \geq |d|$ and let $x, y$ satisfy $N_k(x - "
                    r"\bar{x}_k) \leq \rho$, likewise $y$. The arguments of $\varphi$ lie within $\rho "
                    r"|V_i|$ of $\bar{z}_i$, so $f(x) - f(y) = (J_k + \Delta V)(x - y)$ with a "
                    r"diagonal $\Delta$, $|\Delta_{ii}| \leq \theta_i$. For all vectors $(\alpha + "
                    r"\beta)^T P (\alpha + \beta) \leq (1 + \tau) \alpha^T P \alpha + (1 + 1/\tau) "
                    r"\beta^T P \beta$, and $\Delta P \Delta \leq \mathrm{diag}(\theta^2 \sigma)$ "
                    r"because $\mathrm{diag}(\sigma) - P$ is diagonally dominant. So $N_{k+1}(f(x) - "
                    r"f(y)) \leq \lambda N_k(x - y)$. With $y = \bar{x}_k$ and the second condition, "
                    r"$N_{k+1}(f(x) - \bar{x}_{k+1}) \leq \rho$. By the third, all starts within the "
                    r"radius satisfy $N_0(x - \bar{x}_0) \leq \rho$. Induction."
                )
            ],
        ),
        Words(
            "The checker constructs the $P_k$ itself, backwards from $P_T = I$, in exact arithmetic; "
            "the certificate does not store them."
        ),
    ]
    entry = witness["entry"]
    elements += tube_numbers(document, network, states)
    if entry is not None:
        low, high = decode(entry["slopes"]["low"]), decode(entry["slopes"]["high"])
        elements += [
            Section("Entry into the tube"),
            positive_definite_lemma(),
            *difference_lemma(where="For solutions from the box of values of $\\varphi$, from some step on,"),
            *contraction(entry["theorem"], "for the entry"),
            Words(
                f"Here {slope_words(low, high)} and the rate is ${number(value(entry['rate']), True)}$. "
                + r"By it every solution that starts in the box of values of $\varphi$ is, at step "
                rf"{entry['steps']}, so near to the solution from $\bar{{x}}_0$ that it lies in "
                rf"the tube, and stays there: $|x_k - \bar{{x}}_k| \leq {number(rho, True)}$ for "
                rf"${entry['steps']} \leq k \leq {T}$."
            ),
        ]
    washout = claim["washout"]
    if washout is not None:
        start = 0 if entry is None else entry["steps"]
        steps, epsilon = washout["steps"], value(washout["epsilon"])
        left = 2.0 * rho * rate ** (steps - start)
        whole = r"that start in the box of values of $\varphi$"
        near = rf"that start within ${number(value(washout['spread']), False)}$ of $\bar{{x}}_0$"
        elements += [
            Section("A proved washout"),
            Block(
                "corollary",
                "washout",
                [
                    Words(
                        r"Under this signal, two solutions "
                        + (whole if entry is not None else near)
                        + f" differ by at most ${number(epsilon)}$ in every component for ${steps} "
                        rf"\leq k \leq {T}$:"
                    ),
                    Display(rf"2 \rho\, \lambda^{{{steps - start}}} = {compared(left, LEQ, epsilon)}"),
                ],
            ),
        ]
    return elements
