"""Numerical evidence about forgetting: what one input shows. It proves nothing, and is never called proof."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.errors import EsntoolsError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.lyapunov import conditional_lyapunov_spectrum, lyapunov_spectrum
from esntools.network import EchoStateNetwork

__all__ = ["Evidence", "estimate_forgetting"]

#: Responses nearer than this at the end count as one: trajectories may still be on their way.
_SAME: Final = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """What a few simulated trajectories under one input of a class show.

    Attributes
    ----------
    input_words : str
        The input that was simulated.
    exponent : float or None
        Largest conditional Lyapunov exponent per step; negative where small differences fade. None where it
        could not be estimated.
    stderr : float or None
        Its standard error.
    distances : ndarray, shape (n_steps + 1, n_starts - 1)
        Largest difference, over the units, of each trajectory from the first.
    n_responses : int
        Empirical echo index: groups of trajectories that end within 1e-3 of each other.
    """

    input_words: str
    exponent: float | None
    stderr: float | None
    distances: FloatArray
    n_responses: int

    @property
    def sentence(self) -> str:
        """The evidence in words."""
        n_starts, n_steps = self.distances.shape[1] + 1, len(self.distances) - 1
        left = float(self.distances[-1].max())
        count = f"empirical echo index {self.n_responses}"
        if self.n_responses == n_starts:
            # Perhaps the phases of one cycle, perhaps chaos: more starts would give more.
            count = "all stay apart"
        parts = [
            f"{n_starts} trajectories under {self.input_words} are "
            + (f"{left:.2g} apart" if left > 0.0 else "equal")
            + f" after {n_steps} steps ({count})"
        ]
        if self.exponent is not None:
            error = f" ± {self.stderr:.1g}" if self.stderr else ""
            parts.append(f"largest conditional Lyapunov exponent {self.exponent:.4g}{error} per step")
        return "; ".join(parts)


def _example(
    network: EchoStateNetwork, inputs: InputClass, n_steps: int, rng: np.random.Generator
) -> tuple[FloatArray, str]:
    """Return one input of the class, (n_steps, n_inputs), and its name."""
    m = network.n_inputs
    if m == 0 or isinstance(inputs, Zero):
        return np.zeros((n_steps, m)), "zero input" if m else "no input"
    match inputs:
        case Constant():
            return np.broadcast_to(inputs.c, (n_steps, m)).copy(), "this input"
        case InputSignal():
            return inputs.u[:n_steps], "this series" if len(
                inputs.u
            ) <= n_steps else "the first of this series"
        case InputAlphabet():
            return inputs.symbols[rng.integers(len(inputs.symbols), size=n_steps)], "random symbols"
        case InputBox():
            return rng.uniform(inputs.low, inputs.high, (n_steps, m)), "random input from the box"
        case AnyInput():
            return rng.uniform(
                -1.0, 1.0, (n_steps, m)
            ), "random input from [-1, 1] and the network's own bias"
    raise AssertionError(inputs)


def estimate_forgetting(
    network: EchoStateNetwork,
    inputs: InputClass,
    *,
    n_steps: int = 1000,
    n_starts: int = 8,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Evidence:
    r"""Simulate one input of a class from several initial states, and estimate how differences change.

    .. math:: \lambda = \lim_{n \to \infty} \tfrac1n \log \| J_n \cdots J_1 v \|, \qquad
              J_k = (I - A) + A \, \mathrm{diag}(\varphi'(z_k)) \, W

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass
        A box, an alphabet and any input are represented by one random series.
    n_steps, n_starts : int
        Default 1000 and 8; a signal is taken up to its end at most.
    rng : int, Generator or None
        For the input and the initial states, which fill the range of the activation. Default 0.

    Returns
    -------
    Evidence

    Examples
    --------
    >>> evidence = estimate_forgetting(EchoStateNetwork([[0.5]], W_in=[[1.0]]), InputBox(-1, 1))
    >>> evidence.n_responses, bool(evidence.exponent < np.log(0.5))
    (1, True)
    """
    generator = np.random.default_rng(rng)
    u, words = _example(network, inputs, n_steps, generator)
    phi = network.activation
    low, high = phi.value_bounds if phi.bounded else (-1.0, 1.0)
    x = generator.uniform(low, high, (n_starts, network.n_units))
    distances = np.empty((len(u) + 1, n_starts - 1))
    distances[0] = np.abs(x[1:] - x[0]).max(axis=1)
    with np.errstate(all="ignore"):
        for k, row in enumerate(u):
            x = network.step(x, np.broadcast_to(row, (n_starts, len(row))))
            distances[k + 1] = np.abs(x[1:] - x[0]).max(axis=1)
            if k % 50 == 0:
                progress("evidence: trajectories", k / len(u))
    distances = np.where(np.isfinite(distances), distances, np.inf)
    groups: list[FloatArray] = []
    for state in x:
        if not any(float(np.abs(state - g).max()) < _SAME for g in groups):
            groups.append(state)
    exponent, stderr = _exponent(network, u, x[0], progress)
    return Evidence(words, exponent, stderr, distances, len(groups))


def _exponent(
    network: EchoStateNetwork, u: FloatArray, x_last: FloatArray, progress: Progress
) -> tuple[float | None, float | None]:
    try:
        with np.errstate(all="ignore"):
            if network.n_inputs:
                spectrum = conditional_lyapunov_spectrum(network, u, progress=progress)
            else:
                spectrum = lyapunov_spectrum(
                    network, x_last, n_exponents=1, n_steps=1000, transient=200, progress=progress
                )
    except EsntoolsError:
        return None, None
    value, error = float(spectrum.exponents[0]), float(spectrum.stderr[0])
    return (value if not math.isnan(value) else None), (error if math.isfinite(error) else None)
