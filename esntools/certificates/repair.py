"""The bracket around the edge of what is proved, and the changes after which a network is proved.

Gains are multiples of W. Every edge that is reported has its own certificate; what the searches in between
compute in floating point only says where to try next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, final

import numpy as np
from threadpoolctl import threadpool_limits

from esntools._typing import Document, FloatArray, Progress, no_progress
from esntools.certificates.cascade import cascade
from esntools.certificates.documents import checked_budget
from esntools.certificates.edges import LARGEST, smallest_refuted
from esntools.certificates.ladder import Ladder, attempted, best_rung, sparse_region, stays_sparse
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.multipliers import zero_input_multipliers
from esntools.certificates.regions import global_region
from esntools.certificates.scaling import optimal_lurie, osborne
from esntools.certificates.sectors import BoundReached, Rung
from esntools.certificates.verdicts import Repair
from esntools.inputs import AnyInput, InputClass, Zero
from esntools.network import EchoStateNetwork

__all__ = ["Bracket", "certify_repair", "find_bracket", "find_repairs", "quiet_arithmetic"]

#: Units up to which the edge of the optimal rung is searched for.
_SEARCHED: Final = 200
#: Slower than this a unit no longer follows anything.
_LEAST_LEAK: Final = 1e-4
_OPTIMAL: Final = "incremental-lurie, optimal"
#: Optimal multipliers bring a factor of the ladder down by less than this.
_WITHIN: Final = 1.15


@contextmanager
def quiet_arithmetic(n_units: int) -> Iterator[None]:
    """Run searches on one BLAS thread where more would cost more, and let trials overflow one by one.

    Two threads on matrices of a few hundred units cost more than they bring, many times more on a busy
    machine.
    """
    with threadpool_limits(limits=1 if n_units <= 1000 else None), np.errstate(all="ignore"):
        yield


@final
@dataclass(frozen=True, eq=False)
class Bracket:
    """The largest multiple of W that is certified, the smallest that is refuted, and their documents.

    `optimum` is how far optimal multipliers get, where they were optimised for that.
    """

    proved: float | None = None
    proved_document: Document | None = None
    refuted: float | None = None
    refuted_document: Document | None = None
    optimum: BoundReached | None = None


def _down(gain: float) -> float:
    return math.floor(1e4 * gain) / 1e4


# -- proving multiples of W -----------------------------------------------------------------------------


@final
class _Gains:
    """Search for the largest multiple of W that a rung proves for every input."""

    def __init__(self, network: EchoStateNetwork, deadline: float, epsilon: float) -> None:
        self.network, self.deadline, self.epsilon = network, deadline, epsilon

    @property
    def over(self) -> bool:
        return time.perf_counter() > self.deadline

    def ladder(self, network: EchoStateNetwork, inputs: InputClass | None = None) -> Ladder:
        return Ladder(network, AnyInput() if inputs is None else inputs, self.deadline, self.epsilon)

    def certified(self, gain: float, names: Sequence[str], scaling: FloatArray | None) -> Document | None:
        """Return the certificate of W times `gain` by the first of these rungs that has one."""
        scaled = self.network.scaled(gain)
        region = global_region(scaled)
        for name in names:
            if self.over:
                return None
            if name == _OPTIMAL and scaling is not None:
                rung = attempted(
                    name,
                    partial(incremental_lurie, region.sector, scaling, deadline=self.deadline, name=name),
                )
            else:
                rung = best_rung(name, region.sector, self.deadline)
            document = self.ladder(scaled).verified(rung, region)
            if document is not None:
                return document
        return None


def _largest_proved(
    network: EchoStateNetwork,
    inputs: InputClass,
    bounds: Sequence[BoundReached],
    limit: float,
    search: _Gains,
) -> tuple[float, Document, BoundReached | None] | None:
    """Return the largest certified gain up to `limit`, and how far optimal multipliers get."""
    if stays_sparse(network):
        return _largest_sparse(network, limit, search)
    reached = {
        b.name: b.critical_gain for b in bounds if b.critical_gain is not None and " on " not in b.name
    }
    zero = reached.pop("zero-input-multipliers", None)
    reached.pop("components", None)
    if network.n_units > 4 * _SEARCHED and network.is_sparse:
        reached = {k: g for k, g in reached.items() if k in ("perron-weights", "spectral-norm")}
    optimum: BoundReached | None = None
    scaling: FloatArray | None = None
    if network.n_units <= _SEARCHED and not search.over:
        sector = global_region(network).sector
        rung = attempted(
            _OPTIMAL,
            partial(optimal_lurie, sector, start=osborne(sector), deadline=search.deadline, optimise=True),
        )
        optimum, scaling = rung.bound, rung.scaling
        reached[_OPTIMAL] = max(reached.get(_OPTIMAL) or 0.0, optimum.critical_gain or 0.0)
    names = sorted(reached, key=lambda name: -(reached[name] or 0.0))[:2]
    best = max((reached[name] or 0.0 for name in names), default=0.0)
    found: tuple[float, Document, BoundReached | None] | None = None
    for share in (0.999, 0.99, 0.95):
        gain = _down(min(limit, share * best))
        if gain <= 0.0 or search.over:
            break
        document = search.certified(gain, names, scaling)
        if document is not None:
            found = gain, document, optimum
            break
    if isinstance(inputs, Zero) and zero is not None and not search.over:
        gain = _down(min(limit, 0.99 * zero))
        if gain > (found[0] if found else 0.0):
            document = _zero_input(network.scaled(gain), search)
            found = found if document is None else (gain, document, optimum)
    return found


def _largest_sparse(
    network: EchoStateNetwork, limit: float, search: _Gains
) -> tuple[float, Document, BoundReached | None] | None:
    """Bisect for the largest gain that weights component by component prove."""
    region = sparse_region(network)
    low, high = 0.0, limit
    while high - low > 0.01 * high and high > 1e-3 and not search.over:
        middle = 0.5 * (low + high)
        found = cascade(region.sector.scaled(middle), [])
        low, high = (low, middle) if found is None else (middle, high)
    gain = _down(low)
    if gain <= 0.0 or search.over:
        return None
    scaled = network.scaled(gain)
    document = search.ladder(scaled).climb(sparse_region(scaled))
    return None if document is None else (gain, document, None)


def _zero_input(network: EchoStateNetwork, search: _Gains) -> Document | None:
    rung: Rung = zero_input_multipliers(network, deadline=search.deadline)
    if rung.candidate is None:
        return None
    return search.ladder(network, Zero()).verified_at_zero(rung)


# -- both edges -----------------------------------------------------------------------------------------


def find_bracket(
    network: EchoStateNetwork,
    inputs: InputClass,
    bounds: Sequence[BoundReached],
    *,
    verdict: str,
    deadline: float = math.inf,
    epsilon: float = 1e-6,
    progress: Progress = no_progress,
) -> Bracket:
    """Search for the largest certified and the smallest refuted multiple of W.

    Parameters
    ----------
    bounds : sequence of BoundReached
        Of the network itself: its critical gains are where the search begins.
    verdict : str
        About the network itself: ``"proved"``, ``"refuted"`` or ``"inconclusive"``.
    deadline : float
        A value of `time.perf_counter` after which nothing new is begun.
    """
    if network.W_fb is not None:
        return Bracket()
    now = time.perf_counter()
    # The proved edge is what a repair needs, and takes a bounded effort; what it leaves is the other's.
    half = deadline if math.isinf(deadline) else now + 0.8 * max(0.0, deadline - now)
    progress("bracket: larger weights that are proved", 0.0)
    search = _Gains(network, half, epsilon)
    limit = LARGEST if verdict == "proved" else 1.0
    proved = _largest_proved(network, inputs, bounds, limit, search)
    gain = proved[0] if proved is not None else None
    if verdict == "proved":
        gain = max(1.0, gain or 0.0)
    above = max(gain or 0.0, 1.0 if verdict != "refuted" else 0.0) or 0.25
    progress("bracket: smaller weights that are refuted", 0.5)
    refuted = None
    if time.perf_counter() < deadline:
        refuted = smallest_refuted(network, inputs, above, 1.0 if verdict == "refuted" else None, deadline)
    least = refuted[0] if refuted is not None else (1.0 if verdict == "refuted" else None)
    return Bracket(
        gain, None if proved is None else proved[1], least, None if refuted is None else refuted[1],
        None if proved is None else proved[2],
    )  # fmt: skip


# -- repairs --------------------------------------------------------------------------------------------


def _radius_repair(network: EchoStateNetwork, gain: float, document: Document) -> Repair:
    changed = network.scaled(gain)
    radius = network.spectral_radius()
    scope = "for every input" if document["claim"]["inputs"]["kind"] == "any" else "at zero input"
    sentence = (
        f"at spectral radius {radius * gain:.4g} instead of {radius:.4g} (W multiplied by {gain:.4g}) it is "
        f"proved {scope}"
    )
    return Repair("spectral radius", radius * gain, sentence, changed, document)


def _leak_repair(
    network: EchoStateNetwork, deadline: float, epsilon: float, progress: Progress
) -> Repair | None:
    """Return the network with the largest smaller leak rate that is proved, to about 3 %."""
    leak = network.uniform_leak_rate
    if leak is None or network.n_units > _SEARCHED:
        return None
    region = global_region(network)
    top = float(region.sector.high.max())
    # As a -> 0 the map becomes a flow, which needs Re(eigenvalues of L W) < 1.
    if top * float(np.linalg.eigvals(region.sector.W).real.max()) >= 1.0:
        return None
    best: Repair | None = None

    def attempt(a: float) -> Repair | None:
        changed = replace(network, leak_rate=np.full(network.n_units, a))
        region = global_region(changed)
        ladder = Ladder(changed, AnyInput(), deadline, epsilon)
        for name in ("incremental-lurie, balanced", _OPTIMAL):
            if time.perf_counter() > deadline:
                return None
            rung = best_rung(name, region.sector, deadline)
            document = ladder.verified(rung, region)
            if document is not None:
                sentence = f"at leak rate {a:.4g} instead of {leak:.4g} it is proved for every input"
                return Repair("leak rate", a, sentence, changed, document)
            if rung.bound.value > _WITHIN:
                return None
        return None

    failed = leak
    for share in (0.8, 0.6, 0.4, 0.25, 0.12, 0.06):
        a = float(f"{leak * share:.2g}")
        if time.perf_counter() > deadline or a < _LEAST_LEAK:
            return best
        progress(f"repair: leak rate {a:g}", 1.0 - share)
        best = attempt(a)
        if best is not None:
            break
        failed = a
    while best is not None and failed - best.value > 0.05 * failed and time.perf_counter() < deadline:
        a = float(f"{0.5 * (failed + best.value):.2g}")
        if not best.value < a < failed:
            break
        better = attempt(a)
        best, failed = (better, failed) if better is not None else (best, a)
    return best


def find_repairs(
    network: EchoStateNetwork,
    bracket: Bracket,
    *,
    deadline: float = math.inf,
    epsilon: float = 1e-6,
    progress: Progress = no_progress,
) -> tuple[Repair, ...]:
    """Return verified repairs: a smaller spectral radius, a smaller leak rate, whichever there are."""
    repairs = []
    if bracket.proved is not None and bracket.proved < 1.0 and bracket.proved_document is not None:
        repairs.append(_radius_repair(network, bracket.proved, bracket.proved_document))
    if network.W_fb is None and not stays_sparse(network) and time.perf_counter() < deadline:
        leak = _leak_repair(network, deadline, epsilon, progress)
        if leak is not None:
            repairs.append(leak)
    return tuple(repairs)


def certify_repair(
    network: EchoStateNetwork | Any,
    inputs: InputClass | None = None,
    *,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> tuple[Repair, ...]:
    r"""Find changes of a network after which the echo state property is proved.

    Two knobs are tried, each alone: :math:`W \to g W` with the largest g < 1 that has a certificate, and a
    smaller leak rate :math:`a`, the same in all units. Each repair comes with the changed network and its
    certificate, which the exact checker has accepted.

    Parameters
    ----------
    network : EchoStateNetwork or ReservoirPy model
    inputs : InputClass, optional
        Any input by default. For ``Zero()`` a larger spectral radius may do.
    budget : float, optional
        Seconds after which nothing new is begun; unlimited by default.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    tuple of Repair
        Empty when no repair was found, or when the network has feedback; also for one that is proved as it
        is.

    Raises
    ------
    InvalidInputError
        When the budget is negative or the input class is none.

    Examples
    --------
    >>> W = [[0.0, -1.3], [1.3, 0.0]]
    >>> for repair in certify_repair(EchoStateNetwork(W)):
    ...     print(repair.kind, 0.75 * repair.value < 1.0)
    spectral radius True
    leak rate True
    """
    from esntools.certificates.certify import certify_esp

    if inputs is None:
        inputs = AnyInput()
    checked_budget(budget)
    start = time.perf_counter()
    half = None if budget is None else 0.5 * budget
    verdict = certify_esp(network, inputs, budget=half, bracket=False, progress=progress)
    if verdict.verdict == "proved":
        return ()
    if not isinstance(network, EchoStateNetwork):
        from esntools.interop import from_reservoirpy

        network = from_reservoirpy(network)
    deadline = math.inf if budget is None else start + budget
    with quiet_arithmetic(network.n_units):
        if network.W_fb is not None:
            return ()
        search = _Gains(network, deadline, 1e-6)
        proved = _largest_proved(network, inputs, verdict.bounds, 1.0, search)
        bracket = Bracket() if proved is None else Bracket(proved[0], proved[1])
        return find_repairs(network, bracket, deadline=deadline, progress=progress)
