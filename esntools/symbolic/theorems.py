r"""The theorems that certificates name: statement, hypotheses and proof, in the vocabulary of `pages`.

They say what `esntools/certificates/FORMAT.md` says, for a reader of one certificate: V are the effective
weights, A = diag(a) the leak rates, l and L the slope bounds of the units, g = max(|l|, |L|), r a rate per
step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from esntools.symbolic.pages import Block, Display, Element, Words

__all__ = ["NORMS", "SOURCES", "NormTheorem", "contraction", "difference_lemma", "positive_definite_lemma"]

#: The references behind the sources that a certificate names.
SOURCES: Final = {
    "H. Jaeger, GMD Report 148 (2001), Proposition 3": (
        "H. Jaeger, The ``echo state'' approach to analysing and training recurrent neural networks, "
        "GMD Report 148 (2001), Proposition 3."
    ),
    "doi:10.1016/j.neunet.2012.07.005": (
        "I. B. Yildiz, H. Jaeger, S. J. Kiebel, Re-visiting the echo state property, Neural Networks "
        "35 (2012) 1--9, doi:10.1016/j.neunet.2012.07.005."
    ),
    "doi:10.1109/TNN.2006.872357": (
        "M. Buehner, P. Young, A tighter bound for the echo state property, IEEE Transactions on "
        "Neural Networks 17 (2006) 820--824, doi:10.1109/TNN.2006.872357."
    ),
    "doi:10.48550/arXiv.2604.00119": (
        "A. Gokhale, A. V. Proskurnikov, Y. Kawano, F. Bullo, doi:10.48550/arXiv.2604.00119 (2026)."
    ),
    "doi:10.1007/BF02234767": (
        "R. Krawczyk, Newton-Algorithmen zur Bestimmung von Nullstellen mit Fehlerschranken, Computing "
        "4 (1969) 187--201, doi:10.1007/BF02234767."
    ),
    "doi:10.1016/j.physd.2020.132609": (
        "A. Ceni, P. Ashwin, L. Livi, C. Postlethwaite, The echo index and multistability in "
        "input-driven recurrent neural networks, Physica D 412 (2020) 132609, "
        "doi:10.1016/j.physd.2020.132609."
    ),
    "FORMAT.md": (
        "The certificate format, esntools/certificates/FORMAT.md, which has this statement and proof."
    ),
}


@final
@dataclass(frozen=True)
class NormTheorem:
    """A theorem of contraction: ``N((I - A) d + A D V d) <= r N(d)`` whenever l <= D <= L.

    Parameters
    ----------
    name : str
        As in the certificate.
    norm : str
        The formula of N.
    witness : str
        What must be given, in words.
    conditions : tuple of Element
        What is to be checked.
    proof : str
        Why that is enough.
    size, reach : str
        Formulas with N(d) <= size(e) for |d| <= e, and with |d_j| <= reach_j N(d).
    """

    name: str
    norm: str
    witness: str
    conditions: tuple[Element, ...]
    proof: str
    size: str
    reach: str


_P_SIZE: Final = r"\mathrm{size}(e)^2 = \sum_{ij} |P_{ij}|\, e_i e_j"
_P_REACH: Final = r"\mathrm{reach}_j^2 = \sum_k (R_P)_{kj}^2 / \mu"
_P_NORM: Final = r"N(d) = \sqrt{d^T P d}"
_P_BOUNDS: Final = (
    r" With $T = R_P P R_P^T$ and $\mu = \min_i (T_{ii} - \sum_{j \neq i} |T_{ij}|) > 0$ one has $T "
    r"\geq \mu I$, so $P^{-1} \leq R_P^T R_P / \mu$, which gives reach by Cauchy's inequality."
)

NORMS: Final = {
    theorem.name: theorem
    for theorem in (
        NormTheorem(
            "perron-weights",
            r"N(d) = \max_i |d_i| / v_i",
            r"weights $v_i > 0$",
            (
                Words("For every unit $i$:"),
                Display(
                    r"\max_{\delta \in \{l_i, L_i\}} |1 - a_i + a_i \delta V_{ii}|\, v_i + a_i g_i "
                    r"\sum_{j \neq i} |V_{ij}|\, v_j \leq r\, v_i"
                ),
            ),
            r"Let $|d_j| \leq v_j$ for all $j$. Row $i$ of $(I - A) d + A D V d$ is $(1 - a_i + a_i "
            r"D_{ii} V_{ii}) d_i + a_i D_{ii} \sum_{j \neq i} V_{ij} d_j$. Its absolute value is at "
            r"most the left side, because $|1 - a_i + a_i \delta V_{ii}|$ is convex in $\delta$ and so "
            "is largest at an end of $[l_i, L_i]$.",
            r"\mathrm{size}(e) = \max_i e_i / v_i",
            r"\mathrm{reach}_j = v_j",
        ),
        NormTheorem(
            "spectral-norm",
            r"N(d) = \sqrt{\sum_i d_i^2}",
            "a square matrix $R$",
            (
                Words("$S$ is positive definite by $R$, where"),
                Display(r"S = (r^2 - 1) I + A - V^T \mathrm{diag}(a_i g_i^2)\, V"),
            ),
            r"The square is convex, so $((1 - a_i) d_i + a_i D_{ii} (V d)_i)^2 \leq (1 - a_i) d_i^2 + "
            r"a_i g_i^2 (V d)_i^2$. The sum over $i$ is $r^2 d^T d - d^T S d \leq r^2 d^T d$.",
            r"\mathrm{size}(e)^2 = \sum_i e_i^2",
            r"\mathrm{reach}_j = 1",
        ),
        NormTheorem(
            "diagonal-schur",
            r"N(d) = \sqrt{\sum_i y_i d_i^2}",
            "weights $y_i > 0$ and a square matrix $R$",
            (
                Words("$S$ is positive definite by $R$, where"),
                Display(r"S = \mathrm{diag}(y_i (r^2 - 1 + a_i)) - V^T \mathrm{diag}(a_i y_i g_i^2)\, V"),
            ),
            r"The square is convex, so $((1 - a_i) d_i + a_i D_{ii} (V d)_i)^2 \leq (1 - a_i) d_i^2 + "
            r"a_i g_i^2 (V d)_i^2$. Multiply by $y_i$ and add: the sum is $r^2 N(d)^2 - d^T S d \leq "
            "r^2 N(d)^2$.",
            r"\mathrm{size}(e)^2 = \sum_i y_i e_i^2",
            r"\mathrm{reach}_j^2 = 1 / y_j",
        ),
        NormTheorem(
            "incremental-lurie",
            _P_NORM,
            "multipliers $x_i > 0$, a symmetric matrix $P$, square matrices $R$ ($2n$ rows) and $R_P$",
            (
                Words(
                    "$P$ is positive definite by $R_P$, and $S = (S_{11}, S_{12}; S_{12}^T, S_{22})$ "
                    r"by $R$, where $X = \mathrm{diag}(x_i)$, $M = \mathrm{diag}((l_i + L_i)/2)$, $H = "
                    r"\mathrm{diag}((L_i - l_i)/2)$ and"
                ),
                Display(r"F = I - A + A M V, \quad B = A H"),
                Display(
                    r"S_{11} = r^2 P - F^T P F - V^T X V, \quad S_{12} = -F^T P B, \quad S_{22} = X - "
                    "B^T P B"
                ),
            ),
            r"Write $D = M + H E$ with a diagonal $E$, $|E_{ii}| \leq 1$, and $w = E V d$. Then $d_+ = "
            r"F d + B w$ and $w^T X w \leq d^T V^T X V d$. Hence, with $q = (d, w)$, $r^2 d^T P d - "
            r"d_+^T P d_+ = q^T S q + d^T V^T X V d - w^T X w \geq 0$." + _P_BOUNDS,
            _P_SIZE,
            _P_REACH,
        ),
        NormTheorem(
            "common-quadratic",
            _P_NORM,
            "a symmetric matrix $P$ and a square matrix $R_P$",
            (
                Words(
                    "$P$ is positive definite by $R_P$, and for each of the at most $2^n$ choices "
                    r"$D_{ii} \in \{l_i, L_i\}$, decided by exact elimination,"
                ),
                Display(r"r^2 P - J^T P J \succ 0, \quad J = I - A + A D V"),
            ),
            "For fixed $d$, $d^T J^T P J d$ is a convex function of $D$, because $J$ is affine in $D$ "
            "and $P$ is positive; on the box of all $D$ it is largest at a vertex." + _P_BOUNDS,
            _P_SIZE,
            _P_REACH,
        ),
        NormTheorem(
            "cascade",
            r"N(d) = \max_b N_b(d_b) / w_b",
            "a partition of the units into blocks $b$, each with a theorem of contraction of its own, "
            "a rate $r_b$ and a weight $w_b > 0$",
            (
                Words(
                    "Each block satisfies its own theorem at the rate $r_b$ with its part of $V, a, l, "
                    "L$; and for every $b$"
                ),
                Display(r"r_b w_b + \sum_{c \neq b} K_{bc}\, w_c \leq r\, w_b"),
                Display(r"K_{bc} = \mathrm{size}_b( a_b g_b |V_{bc}|\, \mathrm{reach}_c )"),
            ),
            "Block $b$ of $(I - A) d + A D V d$ is $(I - A_b) d_b + A_b D_b V_{bb} d_b$, whose $N_b$ "
            r"is at most $r_b N_b(d_b) \leq r_b w_b N(d)$, plus the sum over $c \neq b$ of $A_b D_b "
            r"V_{bc} d_c$, whose components are at most $a_b g_b |V_{bc}|\, \mathrm{reach}_c N_c(d_c)$ "
            r"in absolute value, with $N_c(d_c) \leq w_c N(d)$.",
            r"\mathrm{size}(e) = \max_b \mathrm{size}_b(e_b) / w_b",
            r"\mathrm{reach}_j = w_b (\mathrm{reach}_b)_j",
        ),
    )
}


def positive_definite_lemma() -> Block:
    """Return the lemma that makes an exact check of positive definiteness possible."""
    return Block(
        "lemma",
        "positive definiteness",
        [
            Words(
                "Let $S$ be symmetric and $R$ square. If $R S R^T$ is strictly diagonally dominant "
                "with a positive diagonal (``$S$ is positive definite by $R$''), then $S$ is positive "
                "definite. Indeed $R S R^T$ is positive definite by Gershgorin's theorem; if $R^T y = "
                "0$ then $y^T R S R^T y = 0$, hence $y = 0$, so that $R$ is nonsingular; for any $z "
                r"\neq 0$ put $z = R^T y$."
            ),
        ],
    )


def difference_lemma(*, where: str) -> list[Element]:
    """Return the lemma on differences of solutions; `where` says from when on, or in which set."""
    return [
        Block(
            "lemma",
            "differences",
            [
                Words(
                    r"Let $x, y$ be two solutions under the same input and $d = x - y$. "
                    + where
                    + r" there is a diagonal matrix $D$ with $l \leq D \leq L$ such that"
                ),
                Display(r"d_+ = (I - A)\, d + A D V d"),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    r"The arguments of $\varphi$ differ by $V d$. By the mean-value theorem "
                    r"(Lebourg's, at a kink) applied unit by unit, $\varphi(y_i) - \varphi(z_i)$ is a "
                    r"slope of $\varphi$ between the two arguments times their difference."
                ),
            ],
        ),
    ]


def contraction(name: str, source: str, *, title: str = "") -> list[Element]:
    """Return statement and proof of one theorem of contraction."""
    theorem = NORMS[name]
    return [
        Block(
            "theorem",
            title or f"{name}; {source}",
            [
                Words(f"Given {theorem.witness}, suppose the following."),
                *theorem.conditions,
                Words(
                    r"Then $N((I - A) d + A D V d) \leq r\, N(d)$ for all $d$ and all diagonal $D$ "
                    r"with $l \leq D \leq L$, in the norm"
                ),
                Display(theorem.norm),
                Words(
                    "The norm and the components bound each other: $N(d) \\leq \\mathrm{size}(e)$ "
                    "whenever $|d| \\leq e$, and $|d_j| \\leq \\mathrm{reach}_j N(d)$, with"
                ),
                Display(theorem.size),
                Display(theorem.reach),
            ],
        ),
        Block("proof", "", [Words(theorem.proof)]),
    ]


def multiplier_theorem(source: str) -> list[Element]:
    """Return statement and proof of `zero-input-multipliers`: the state 0 only, the input 0 only."""
    return [
        Block(
            "theorem",
            f"zero-input-multipliers; {source}",
            [
                Words(
                    r"Let $u = 0$, $c = 0$, and let $\varphi$, the same in all units, be odd and "
                    r"nondecreasing with slopes at most $\Lambda$. Given symmetric $P$, square $Q$ (a "
                    "multiplier), $R$ and $R_P$, suppose that $P$ is positive definite by $R_P$, that "
                    "$Q$ is doubly dominant, and that $S = (S_{11}, S_{12}; S_{12}^T, S_{22})$ is "
                    "positive definite by $R$, where $F = I - A$ and"
                ),
                Display(r"Q_{ii} \geq \sum_{j \neq i} |Q_{ij}|, \quad Q_{ii} \geq \sum_{j \neq i} |Q_{ji}|"),
                Display(r"S_{11} = r^2 P - F^T P F, \quad S_{12} = -F^T P A - V^T Q^T"),
                Display(r"S_{22} = (Q + Q^T)/\Lambda - A P A"),
                Words(r"Then $N(x_{k+1}) \leq r\, N(x_k)$ for every solution, in the norm"),
                Display(r"N(x) = \sqrt{x^T P x}"),
                Words(
                    "It compares solutions with the state 0 only. It is not valid between two "
                    "solutions, with a bias, or under a drive."
                ),
            ],
        ),
        Block(
            "lemma",
            "rearrangement",
            [
                Words(
                    r"Let $z = V x$, $w = \varphi(z)$ and $y = z - w/\Lambda$ componentwise. Then $w^T "
                    r"Q y \geq 0$."
                ),
            ],
        ),
        Block(
            "proof",
            "",
            [
                Words(
                    "As functions of $z_i$, $w_i$ and $y_i$ are odd and nondecreasing, the same for "
                    "all $i$. Put $p_i = |w_i|$ and $s_i = |y_i|$; both increase with $|z_i|$, so "
                    r"they are ordered alike, and $w_i y_i = p_i s_i$. Hence $w^T Q y \geq \sum_i "
                    r"Q_{ii} p_i s_i - \sum_{i \neq j} |Q_{ij}| p_i s_j$. With $\kappa = \max_i "
                    r"Q_{ii}$ the matrix $M$, $M_{ii} = \kappa - Q_{ii}$ and $M_{ij} = |Q_{ij}|$, is "
                    r"nonnegative with row and column sums at most $\kappa$, so $M/\kappa$ is "
                    "entrywise at most a doubly stochastic matrix, which is a convex combination of "
                    r"permutations (Birkhoff). For a permutation $\sigma$ the rearrangement inequality "
                    r"says $\sum_i p_i s_{\sigma(i)} \leq \sum_i p_i s_i$. So $\sum_{ij} M_{ij} p_i "
                    r"s_j \leq \kappa \sum_i p_i s_i$, which is the claim."
                )
            ],
        ),
        Block(
            "proof",
            "of the theorem",
            [
                Words(
                    "With $q = (x_k, w)$ and $x_{k+1} = F x_k + A w$, $q^T S q = r^2 x_k^T P x_k - "
                    r"x_{k+1}^T P x_{k+1} - 2 w^T Q (V x_k - w/\Lambda)$. So $r^2 N(x_k)^2 - "
                    r"N(x_{k+1})^2 = q^T S q + 2 w^T Q y \geq 0$."
                )
            ],
        ),
    ]
