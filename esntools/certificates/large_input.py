r"""From which input on a network has a single response: the large-input theorem with its thresholds.

Inputs that saturate every unit leave slopes so small that all states are forgotten. For
:math:`z = V x + W_\mathrm{in} u + c` and activations whose slope falls with :math:`|z|`, slopes are at most g
wherever :math:`|W_\mathrm{in} u + c|_i \ge \|V_i\|_1 \max|\varphi| + z_g` with :math:`\varphi'(z_g) = g`; and
slopes up to some g contract in one of the norms of the ladder. That is the closed form; the box of states
that these inputs leave gives a smaller threshold, certified for one box of inputs.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from esntools._typing import Document, FloatArray, Progress, no_progress
from esntools.activations import Activation
from esntools.certificates import check
from esntools.certificates.documents import check_certificate, proved_document
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.regions import FALLING, box_region, effective_weights, global_slopes
from esntools.certificates.sectors import Rung, Sector
from esntools.errors import InvalidInputError
from esntools.inputs import InputBox
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = ["LargeInputThreshold", "find_large_input_threshold"]


@final
@dataclass(frozen=True, eq=False)
class LargeInputThreshold:
    """From which multiple s of a direction on the inputs leave one response only.

    Attributes
    ----------
    threshold : float or None
        The least s found for which every input sequence between s and s + width times the direction is
        certified; None when there is none up to a million.
    closed : float or None
        The threshold in closed form, not certified: every sequence s[k] times the direction with all
        s[k] >= closed leaves one response. None when some unit does not feel the direction, or the slope of
        the activation does not fall with |z|.
    slope : float
        The common slope up to which the best norm contracts, in the closed form.
    direction : array (n_inputs,)
    width : float
    document : dict or None
        The certificate at `threshold`: contraction, and so echo index 1, for the box of these inputs.
    sentence : str
        The same in words.
    """

    threshold: float | None
    closed: float | None
    slope: float
    direction: FloatArray
    width: float
    document: Document | None = field(repr=False)
    sentence: str


def _rungs(sector: Sector, deadline: float) -> list[Rung]:
    """Return what the quick rungs find."""
    return [perron_weights(sector), spectral_norm(sector), incremental_lurie(sector, deadline=deadline)]


def _box(direction: FloatArray, s: float, width: float) -> InputBox:
    ends = np.array([s * direction, (s + width) * direction])
    return InputBox(ends.min(axis=0), ends.max(axis=0))


def _where(phi: Activation, slope: float) -> float:
    """Return z >= 0 beyond which the slope of phi is below the given one."""
    low, high = 0.0, 1.0
    while float(phi.slope(np.array([high]))[0]) > slope and high < 1e9:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(phi.slope(np.array([middle]))[0]) > slope else (low, middle)
    return high


def _closed(network: EchoStateNetwork, direction: FloatArray, deadline: float) -> tuple[float | None, float]:
    """Return the closed threshold and the slope that it rests on."""
    phi, n = network.activation, network.n_units
    V = effective_weights(network)
    unit = Sector(V, network.leak_rate, np.zeros(n), np.ones(n))
    found = [*_rungs(unit, deadline), diagonal_schur(unit, deadline=deadline)]
    slope = 0.999 * max((r.bound.critical_gain or 0.0 for r in found), default=0.0)
    if not np.any(V):
        slope = math.inf
    folded = network.folded()
    pull = np.abs(folded.W_in @ direction)
    if slope >= global_slopes(phi)[1]:
        return 0.0, slope
    if phi.name not in FALLING or slope <= 0.0 or not pull.min() > 0.0:
        return None, slope
    largest = max(abs(bound) for bound in phi.value_bounds)
    needed = np.abs(V).sum(axis=1) * largest + _where(phi, slope) + np.abs(folded.b)
    return float((needed / pull).max()), slope


def find_large_input_threshold(
    network: EchoStateNetwork,
    direction: ArrayLike | None = None,
    *,
    width: float = 1.0,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> LargeInputThreshold:
    r"""Find from which multiple of a direction on the inputs leave exactly one response (echo index 1).

    Parameters
    ----------
    network : EchoStateNetwork
        With at least one input, a bounded activation, and no squares in the feedback.
    direction : array_like, shape (n_inputs,), optional
        The direction d; all ones by default.
    width : float
        The box to certify holds every u between s d and (s + width) d, componentwise.
    budget : float, optional
        Seconds after which the search gives up with the best threshold so far; unlimited by default.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    LargeInputThreshold

    Raises
    ------
    InvalidInputError
        When the network has no inputs, squares in the feedback, the direction is zero or of the wrong shape,
        or a number is out of range.

    Notes
    -----
    `threshold` is found by bisection, 1 % exact, on the success of the rungs on the box of states that the
    inputs leave; success need not be monotone in s, so a smaller one may exist.

    Examples
    --------
    tanh(2 x + u) has two attractors for constant u below sqrt(1/2) * 2 - artanh(sqrt(1/2)) = 0.5328.

    >>> found = find_large_input_threshold(EchoStateNetwork([[2.0]], W_in=[[1.0]]))
    >>> 0.5328 < found.threshold < 0.54 < found.closed < 2.9
    True

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi and C. Postlethwaite, "The echo index and multistability in input-driven
    recurrent neural networks", Physica D 412 (2020) 132609, doi:10.1016/j.physd.2020.132609.
    """
    n_in = network.n_inputs
    if n_in == 0:
        raise InvalidInputError("network", "no inputs", "a threshold of the input needs one")
    if network.W_fb is not None and network.readout is not None and not network.readout.is_affine:
        raise InvalidInputError("network", "squares in the feedback", "no rung is valid for them")
    d = checked_array(
        np.ones(n_in) if direction is None else np.atleast_1d(direction), "direction", (n_in,), "(n_inputs,)"
    )
    if not np.any(d):
        raise InvalidInputError("direction", "zero", "must have a component that is not")
    for name, value in (("width", width), ("budget", budget)):
        if value is not None and not 0.0 <= value < math.inf:
            raise InvalidInputError(name, str(value), "must be a number, at least 0")
    deadline = math.inf if budget is None else time.perf_counter() + budget
    if network.activation.expression not in check.ACTIVATIONS or not network.activation.bounded:
        reason = "the activation is unbounded, or the checker does not know it"
        return LargeInputThreshold(None, None, 0.0, d, width, None, f"Nothing is proved: {reason}.")
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        return _bisected(network, d, width, deadline, progress)


def _certificate(network: EchoStateNetwork, box: InputBox, deadline: float) -> Document | None:
    """Return the checked certificate of the first rung that succeeds on the box of states."""
    region = box_region(network, box)
    if region is None:
        return None
    for rung in _rungs(region.sector, deadline):
        if rung.candidate is not None:
            document = proved_document(
                network, rung.candidate, box, region.slopes, states=region.states, notes={}
            )
            if check_certificate(document, deadline=None if math.isinf(deadline) else deadline).valid:
                return document
    return None


def _succeeds(network: EchoStateNetwork, box: InputBox, deadline: float) -> bool:
    region = box_region(network, box)
    return region is not None and any(r.candidate is not None for r in _rungs(region.sector, deadline))


def _bisected(
    network: EchoStateNetwork, d: FloatArray, width: float, deadline: float, progress: Progress
) -> LargeInputThreshold:
    closed, slope = _closed(network, d, deadline)
    low, high = 0.0, closed if closed is not None and closed > 0.0 else 1.0
    if _succeeds(network, _box(d, 0.0, width), deadline):
        high = 0.0
    else:
        while high < 1e6 and not _succeeds(network, _box(d, high, width), deadline):
            low, high = high, 2.0 * high
            if time.perf_counter() > deadline:
                break
        first = high
        while high - low > 0.01 * high and time.perf_counter() < deadline:
            progress("bisecting the input", 1.0 - (high - low) / first)
            middle = 0.5 * (low + high)
            low, high = (
                (low, middle) if _succeeds(network, _box(d, middle, width), deadline) else (middle, high)
            )
    high = math.ceil(high * 2.0**20) / 2.0**20
    document = None
    for s in (high, 1.02 * high):
        document = _certificate(network, _box(d, s, width), deadline)
        if document is not None:
            sentence = (
                f"Proved: every input sequence between {s:.4g} and {s + width:.4g} times the direction "
                "leaves one response only; the echo index is 1."
            )
            return LargeInputThreshold(s, closed, slope, d, width, document, sentence)
    sentence = "Nothing is proved: no multiple of the direction was found from which on a norm contracts."
    return LargeInputThreshold(None, closed, slope, d, width, None, sentence)
