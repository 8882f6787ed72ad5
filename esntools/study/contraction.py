"""Up to which spectral radius contraction is certified, and at which radii it is refuted.

A critical gain is a floating-point number; a range that a figure calls proved must end at a certificate.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from esntools._typing import Progress, no_progress
from esntools.certificates import Certified, Inconclusive, Refuted, certify_esp
from esntools.certificates.ladder import Ladder, best_rung
from esntools.certificates.regions import global_region
from esntools.inputs import AnyInput, InputClass
from esntools.network import EchoStateNetwork

if TYPE_CHECKING:
    from esntools.symbolic import Derivation

__all__ = ["CertifiedRange", "certified_range"]

#: Units up to which one question takes a fraction of a second, so that the edges can be searched for.
_SEARCHED: Final = 200
#: Units up to which the Lur'e inequality is solved and checked within seconds.
_LARGE: Final = 600
#: A norm that succeeds on a large network within a second or two; the others take many.
_QUICK: Final = ("perron", "spectral")
_TRIALS: Final = 10
_LARGEST: Final = 16.0


@final
@dataclass(frozen=True, eq=False)
class CertifiedRange:
    """Multiples g of the recurrent weights about which a certificate exists.

    Parameters
    ----------
    network : EchoStateNetwork
        The network whose W is multiplied: feedback is folded into it where it is affine.
    proved : float or None
        The largest g that is certified. So is every smaller one: the same norm contracts for it, since the
        slopes 0 to L times g W are among the slopes 0 to L times the larger matrix.
    refuted : tuple of float
        Every g that is refuted, ascending; nothing is claimed about those between them.
    searched : bool
        Whether refutations were searched for (not for large networks, where each takes long).
    proved_by : str
        The theorem of the certificate at the largest g; empty where there is none.
    refuted_by : tuple of str
        The theorem of each refutation.
    """

    network: EchoStateNetwork
    proved: float | None
    refuted: tuple[float, ...]
    searched: bool
    proved_by: str = ""
    refuted_by: tuple[str, ...] = ()


class _Search:
    def __init__(self, network: EchoStateNetwork, inputs: InputClass, seconds: float) -> None:
        self.network, self.inputs = network, inputs
        self.deadline = time.perf_counter() + seconds
        self.proved: float | None = None
        self.proved_by = ""
        self.refuted: dict[float, str] = {}
        self.left = _TRIALS

    def note(self, gain: float, result: Certified | Refuted | Inconclusive) -> None:
        # A proof on the box of states that bounded inputs leave says nothing about smaller weights. Those
        # with slopes from 0 to L hold for them: phi(g z) has slopes from 0 to g L, and is odd where phi is.
        if isinstance(result, Certified):
            everywhere = result.box_steps is None or result.method == "zero-input-multipliers"
            if everywhere and gain > (self.proved or 0.0):
                self.proved, self.proved_by = gain, result.method
        elif isinstance(result, Refuted):
            self.refuted[gain] = result.method

    @property
    def over(self) -> bool:
        return self.left <= 0 or time.perf_counter() > self.deadline

    def ask(self, gain: float) -> Certified | Refuted | Inconclusive:
        self.left -= 1
        remaining = max(0.0, self.deadline - time.perf_counter())
        result = certify_esp(
            self.network.scaled(gain), self.inputs, budget=remaining, bracket=False, local=False
        )
        self.note(gain, result)
        return result

    def lurie(self, verdict: Certified | Refuted | Inconclusive | None) -> None:
        """Certify almost the gain at which the Lur'e inequality ends, with the best multipliers first."""
        known = [b for b in (() if verdict is None else verdict.bounds) if " on " not in b.name]
        found = [b for b in known if b.name.startswith("incremental-lurie")]
        sector = global_region(self.network).sector
        # Certified in a moment, in case the others run out of time.
        quick = [best_rung("spectral-norm", sector, self.deadline).bound]
        if not found:
            # The verdict needed no more than a cruder norm.
            found = [best_rung("incremental-lurie, balanced", sector, time.perf_counter() + 2.0).bound]
        for bound in [*quick, *sorted(found, key=lambda b: -(b.critical_gain or 0.0))]:
            gain = 0.99 * (bound.critical_gain or 0.0)
            if self.over:
                return
            if not (self.proved or 0.0) < gain < _LARGEST:
                continue
            network = self.network.scaled(gain)
            region = global_region(network)
            rung = best_rung(bound.name, region.sector, self.deadline)
            document = Ladder(network, AnyInput(), self.deadline).verified(rung, region)
            if document is not None:
                self.proved, self.proved_by = gain, document["theorem"]
                if bound not in quick:
                    return

    def narrow(self) -> None:
        """Move both edges towards each other, halving the larger uncertainty."""
        gain = max(1.0, self.proved or 0.0)
        while not self.refuted and gain < _LARGEST and not self.over:
            gain *= 1.5
            self.ask(gain)
        not_proved, not_refuted = min(self.refuted, default=gain), self.proved or 0.0
        while not self.over and self.refuted:
            low, high = self.proved or 0.0, min(self.refuted)
            gaps = (min(not_proved, high) - low, high - max(not_refuted, low))
            if max(gaps) < 0.02 * high:
                return
            middle = low + 0.5 * gaps[0] if gaps[0] >= gaps[1] else high - 0.5 * gaps[1]
            if isinstance(self.ask(middle), Inconclusive):
                not_proved, not_refuted = min(not_proved, middle), max(not_refuted, middle)


def certified_range(
    network: EchoStateNetwork,
    inputs: InputClass,
    *,
    verdict: Certified | Refuted | Inconclusive | None = None,
    derivation: Derivation | None = None,
    seconds: float = 5.0,
    progress: Progress = no_progress,
) -> CertifiedRange:
    """Find multiples of a network's recurrent weights that are certified, and some that are refuted.

    Networks of up to 200 units are asked about by bisection. Of larger ones almost the gain is tried at which
    the Lur'e inequality ends, with the multipliers that get farthest first, then that of each quick norm.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass
        What is claimed of every multiple.
    verdict : Certified, Refuted or Inconclusive, optional
        About the network itself, when it is known already.
    derivation : Derivation, optional
        Of the network; its critical gains are where the search begins.
    seconds : float
        After which no new question is begun.

    Returns
    -------
    CertifiedRange

    Examples
    --------
    >>> from esntools.inputs import Zero
    >>> found = certified_range(EchoStateNetwork([[0.5]]), Zero())
    >>> 1.9 < found.proved <= 2.0 <= found.refuted[0] < 2.1
    True
    """
    folded = network
    if network.W_fb is not None and network.readout is not None and network.readout.is_affine:
        folded = network.folded()
    search = _Search(folded, inputs, seconds)
    if verdict is not None:
        search.note(1.0, verdict)
    elif not search.over:
        search.ask(1.0)
    searched = folded.n_units <= _SEARCHED
    if not searched and folded.n_units <= _LARGE:
        progress("certifying larger weights: the Lur'e inequality", 0.0)
        search.lurie(verdict)
    gains = _estimates(verdict, derivation, quick=not searched)
    for k, gain in enumerate(sorted(0.995 * g for g in gains)):
        if gain > (search.proved or 0.0) and not search.over:
            progress("certifying larger weights", k / (len(gains) + 1))
            search.ask(gain)
    if searched:
        search.narrow()
    refuted = tuple(sorted(search.refuted))
    return CertifiedRange(
        folded, search.proved, refuted, searched, search.proved_by, tuple(search.refuted[g] for g in refuted)
    )


def _estimates(
    verdict: Certified | Refuted | Inconclusive | None, derivation: Derivation | None, *, quick: bool
) -> set[float]:
    """Return the distinct critical gains that are known in floating point."""
    pairs: Iterable[tuple[str, float | None]] = [
        *((b.name, b.critical_gain) for b in (verdict.bounds if verdict is not None else ())),
        *((b.name, b.critical_gain_value) for b in (derivation.bounds if derivation is not None else ())),
    ]
    found: list[float] = []
    for name, gain in pairs:
        wanted = " on the " not in name and (not quick or any(w in name.lower() for w in _QUICK))
        if wanted and gain is not None and 0.0 < gain < _LARGEST:
            found.append(gain)
    # Two routes to one norm differ in the last digits.
    distinct: set[float] = set()
    for gain in sorted(found, reverse=True):
        if all(abs(gain - other) > 0.01 * other for other in distinct):
            distinct.add(gain)
    return distinct
