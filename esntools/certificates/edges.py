"""The smallest multiple of W that is refuted: by slope patterns for any input, by bisection for a class."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final

import numpy as np

from esntools._typing import Document
from esntools.certificates import check
from esntools.certificates.adversary import SlopePattern, find_slope_pattern, growth, periodic_drive
from esntools.certificates.documents import array_section, check_certificate, refuted_document
from esntools.certificates.refute import find_refutation, origin_gain
from esntools.certificates.witness import DrivenMap, response_ball, unstable_witness
from esntools.inputs import AnyInput, InputClass, InputSignal
from esntools.network import EchoStateNetwork

__all__ = ["LARGEST", "refuted_by_pattern", "smallest_refuted", "up"]

#: Multiples of W beyond this are of no interest.
LARGEST: Final = 16.0
#: Units up to which counterexamples to multiples of W are searched for.
_REFUTED: Final = 300
#: Units times period up to which a response is certified.
_LIFTED: Final = 800
#: Seconds for one search for a counterexample, of which a bracket makes several.
_ONE_REFUTATION: Final = 2.0
_TRIALS: Final = 4
#: Growth per step at which an unstable response has a certificate, as a rule; then with more room.
_GROWTHS: Final = (1.0005, 1.002, 1.01)


def up(gain: float) -> float:
    """Return a gain rounded upwards to four decimals."""
    return math.ceil(1e4 * gain) / 1e4


def refuted_by_pattern(
    network: EchoStateNetwork, pattern: SlopePattern, deadline: float = math.inf
) -> Document | None:
    """Return the certificate that the drive which realises these slopes has an unstable response, or None.

    Examples
    --------
    >>> pattern = SlopePattern(np.ones((1, 1)), 1.1)
    >>> refuted_by_pattern(EchoStateNetwork([[1.1]]), pattern)["verdict"]
    'refuted'
    """
    drive = periodic_drive(network, pattern)
    if not np.all(np.isfinite(drive.drive)):
        return None
    map_ = DrivenMap(network, drive.drive, as_drive=True)
    response = map_.newton(drive.states)
    if response is None or response.stable:
        return None
    ball, unstable = response_ball(map_, response.states), unstable_witness(map_, response)
    if ball is None or unstable is None:
        return None
    witness = {"input": array_section(map_.rows), "ball": ball, **unstable}
    document = refuted_document(network, "unstable-fixed-point", AnyInput(), witness=witness, notes={})
    return document if check_certificate(document, deadline=deadline).valid else None


def _edge(network: EchoStateNetwork, pattern: SlopePattern, aim: float) -> float | None:
    """Return about the least multiple of W at which differences grow by `aim` along these slopes."""
    W, a = network.dense_W(), network.leak_rate

    def grows(gain: float) -> bool:
        return growth(gain * W, a, pattern.slopes) >= aim

    low, high = 0.0, 1.0
    while not grows(high):
        low, high = high, 2.0 * high
        if high > LARGEST:
            return None
    while high - low > 1e-5 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if grows(middle) else (middle, high)
    return high


def _by_patterns(network: EchoStateNetwork, above: float, deadline: float) -> tuple[float, Document] | None:
    """Return the smallest multiple above `above` that slope patterns refute for any input."""
    n, best = network.n_units, None
    scale = 1.0
    # Without leak the best slopes are the same for all multiples; with leak the first edge is a better scale.
    for _ in range(1 if bool(np.all(network.leak_rate == 1.0)) else 2):
        patterns = []
        for period in (1, 2, 3, 4):
            if period * n <= _LIFTED and time.perf_counter() < deadline:
                found = find_slope_pattern(
                    network.scaled(scale), periods=[period], enough=math.inf, deadline=deadline, rng=0
                )
                patterns += [] if found is None else [found]
        edges = [(edge, k) for k, p in enumerate(patterns) if (edge := _edge(network, p, 1.0)) is not None]
        for edge, k in sorted(edges):
            scale = min(scale, edge) if scale != 1.0 else edge
            if best is not None and edge >= best[0]:
                break
            document = None
            for aim in _GROWTHS:
                gain = _edge(network, patterns[k], aim)
                if gain is None or time.perf_counter() > deadline:
                    break
                gain = max(up(gain), up(above * (1.0 + 1e-4)))
                if best is not None and gain >= best[0]:
                    break
                document = refuted_by_pattern(network.scaled(gain), patterns[k], deadline)
                if document is not None:
                    best = gain, document
                    break
            if document is not None:
                break
    return best


def smallest_refuted(
    network: EchoStateNetwork, inputs: InputClass, above: float, known: float | None, deadline: float
) -> tuple[float, Document] | None:
    """Return the smallest multiple above `above` for which a witness was found; `known` is one already.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass
    above : float
        No smaller multiple is tried: it is proved, or of no interest.
    known : float or None
        A multiple that is refuted; None is returned when no smaller one is found.
    deadline : float
        A value of `time.perf_counter` after which nothing new is begun.
    """
    unknown = network.activation.expression not in check.ACTIVATIONS
    if isinstance(inputs, InputSignal) or network.n_units > _REFUTED or unknown:
        return None

    def refuted(gain: float) -> Document | None:
        limit = min(deadline, time.perf_counter() + _ONE_REFUTATION)
        found = find_refutation(network.scaled(gain), inputs, deadline=limit)
        return None if found is None else found.document

    best: tuple[float, Document] | None = None
    high = known
    if isinstance(inputs, AnyInput):
        best = _by_patterns(network, above, deadline)
        if best is not None:
            return best if known is None or best[0] < known else None
    if high is None:
        # For any input the bias is part of the drive, and the origin is an admissible fixed point.
        bare = replace(network, b=np.zeros(network.n_units)) if isinstance(inputs, AnyInput) else network
        origin = origin_gain(bare)
        first = [1.005 * origin, 1.03 * origin] if origin is not None else []
        for gain in [*first, *(above * f for f in (1.25, 1.6, 2.2, 3.0, 5.0))]:
            if time.perf_counter() > deadline or gain > LARGEST:
                break
            if gain <= above:
                continue
            document = refuted(up(gain))
            if document is not None:
                high, best = up(gain), (up(gain), document)
                break
    if high is None:
        return None
    low = above
    for _ in range(_TRIALS):
        if high - low <= 0.01 * high or time.perf_counter() > deadline:
            break
        middle = up(0.5 * (low + high))
        document = refuted(middle)
        if document is None:
            low = middle
        else:
            high, best = middle, (middle, document)
    return best
