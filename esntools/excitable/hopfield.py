"""Hopfield networks: given patterns as attractors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray
from esntools.arguments import positive_number, real_array
from esntools.errors import InvalidInputError, nearest_name
from esntools.network import EchoStateNetwork
from esntools.readout import Readout

__all__ = ["hopfield"]

_RULES: Final = ("projection", "hebb")


def hopfield(
    patterns: ArrayLike, *, rule: str = "projection", gain: float = 1.5, leak_rate: float = 1.0
) -> EchoStateNetwork:
    r"""Return a network in which every pattern is a stable fixed point.

    .. math::

        x^+ = (1 - a)\, x + a \tanh(W x + \Xi^\top u), \qquad
        W = g\, \Xi^{+} \Xi \ \ (\text{projection}), \quad W = \tfrac{g}{N}\, \Xi^\top \Xi \ \ (\text{hebb}),

    with the patterns :math:`\xi_p \in \{-1, 1\}^N` as rows of :math:`\Xi`. The projection has the fixed
    points :math:`\pm m\, \xi_p`, :math:`m = \tanh(g m)`, exactly, and they are always stable: on the span of
    the patterns the multiplier is :math:`1 - a + a g (1 - m^2) < 1`, across it 1 - a. Hebb's rule stores some
    0.14 N random patterns, each with a few units off; whether it stores these is checked. With every pattern
    its negative is stored, and mixtures of patterns may be stable too.

    Parameters
    ----------
    patterns : array_like, shape (n_patterns, n_units)
        Entries -1 and 1; no pattern equal to another or to its negative.
    rule : {"projection", "hebb"}, optional
    gain : float, optional
        g > 1; near 1 mixtures are fewer. Default 1.5.
    leak_rate : float, optional
        a. Default 1.

    Returns
    -------
    EchoStateNetwork
        One input line per pattern, that pushes towards it, and one output per pattern: the overlap, 1 at its
        own attractor and 0 (projection; small for hebb) at the others.

    Raises
    ------
    InvalidInputError
        When the patterns are not such, or a pattern is not stable under the rule; the message has the reason.

    Examples
    --------
    >>> network = hopfield([[1, 1, 1, 1, 1, 1], [1, -1, 1, -1, 1, -1]])
    >>> x = np.array([1.0, 0.5, 1.0, 1.0, -0.2, 1.0])
    >>> for _ in range(200):
    ...     x = network.step(x, [0.0, 0.0])
    >>> np.sign(x).astype(int).tolist(), network.output(x).round(6).tolist()
    ([1, 1, 1, 1, 1, 1], [1.0, 0.0])

    References
    ----------
    J. J. Hopfield, PNAS 81 (1984) 3088, doi:10.1073/pnas.81.10.3088 (graded units); L. Personnaz, I. Guyon,
    G. Dreyfus, J. Phys. Lett. 46 (1985) 359, doi:10.1051/jphyslet:01985004608035900 (projection); D. J. Amit,
    H. Gutfreund, H. Sompolinsky, Phys. Rev. Lett. 55 (1985) 1530, doi:10.1103/PhysRevLett.55.1530 (0.14 N).
    """
    Xi = real_array(patterns, "patterns")
    if Xi.ndim != 2 or Xi.size == 0:
        raise InvalidInputError("patterns", f"shape {Xi.shape}", "must have shape (n_patterns, n_units)")
    if not np.all(np.abs(Xi) == 1.0):
        p, i = (int(k) for k in np.argwhere(np.abs(Xi) != 1.0)[0])
        raise InvalidInputError(f"patterns[{p}, {i}]", str(Xi[p, i]), "every entry must be -1 or 1")
    n_patterns, n = Xi.shape
    overlaps = np.abs(np.triu(Xi @ Xi.T, 1))
    if np.any(overlaps == n):
        p, q = (int(k) for k in np.argwhere(overlaps == n)[0])
        raise InvalidInputError(
            f"patterns[{q}]", f"patterns[{p}] or its negative", "every pattern must differ from the others",
            "a pattern's negative is stored with it",
        )  # fmt: skip
    if not isinstance(rule, str) or rule not in _RULES:
        raise InvalidInputError("rule", repr(rule), "no such rule", nearest_name(str(rule), _RULES))
    gain, leak_rate = positive_number(gain, "gain"), positive_number(leak_rate, "leak_rate")
    if gain <= 1.0:
        raise InvalidInputError("gain", str(gain), "must be above 1", "at 1 or below, everything decays to 0")
    inverse = np.linalg.pinv(Xi)
    W = gain * (inverse @ Xi if rule == "projection" else Xi.T @ Xi / n)
    level = _level(gain)
    states = level * Xi if rule == "projection" else _settled(W, Xi)
    amiss = np.flatnonzero(np.any(np.sign(states) != Xi, axis=1))
    if len(amiss):
        raise InvalidInputError(
            f"patterns[{int(amiss[0])}]", f"{len(amiss)} of {n_patterns} patterns are not fixed points of "
            f"Hebb's rule: they overlap too much ({n_patterns / n:.2f} patterns per unit)",
            "every pattern must be stable", "use rule='projection', fewer patterns, or more units",
        )  # fmt: skip
    # The projection of a state onto the patterns; for dependent ones there is none that tells them apart.
    reads = inverse.T / level if np.linalg.matrix_rank(Xi) == n_patterns else Xi / (n * level)
    network = EchoStateNetwork(W, W_in=Xi.T, leak_rate=leak_rate, readout=Readout(reads))
    silent = network.at_input(np.zeros(n_patterns))
    for p, x in enumerate(states):
        radius = float(np.max(np.abs(np.linalg.eigvals(silent.jacobian(x)))))
        if not radius < 1.0:
            raise InvalidInputError(
                f"patterns[{p}]", f"spectral radius {radius:.6g} at its fixed point",
                "every pattern must be stable", "use rule='projection', fewer patterns, or another gain",
            )  # fmt: skip
    return network


def _level(gain: float) -> float:
    """Return the positive root of m = tanh(g m)."""
    m = 1.0
    for _ in range(200):
        t = float(np.tanh(gain * m))
        step = (t - m) / (1.0 - gain * (1.0 - t * t))
        m += step
        if abs(step) < 1e-16:
            break
    return m


def _settled(W: FloatArray, X: FloatArray) -> FloatArray:
    """Return where the patterns settle; W is symmetric and semidefinite, so that every run does."""
    X = X.copy()
    for _ in range(3000):
        following = np.tanh(X @ W.T)
        if float(np.max(np.abs(following - X))) < 1e-10:
            break
        X = following
    return X
