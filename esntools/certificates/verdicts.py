"""What `certify_esp` returns: proved, refuted or inconclusive, each with its document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, final

from esntools import files
from esntools._typing import Document
from esntools.certificates.sectors import BoundReached, Candidate
from esntools.certificates.witness import Refutation
from esntools.inputs import AnyInput, Constant, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

if TYPE_CHECKING:
    from esntools.certificates.attracting import EchoIndexBound
    from esntools.certificates.regions import Region
    from esntools.certificates.tube import Tube

__all__ = ["Certified", "Inconclusive", "Refuted", "Repair", "Skipped", "Verdict", "Washout", "meaning"]


@final
@dataclass(frozen=True)
class Washout:
    """A proved number of steps after which the initial state is forgotten.

    Attributes
    ----------
    steps : int
        From this step on, any two solutions under the same input differ by at most `epsilon` in every unit.
    epsilon : float
        That difference.
    spread : float
        The largest difference of the initial states, in any unit.
    """

    steps: int
    epsilon: float
    spread: float


@final
@dataclass(frozen=True)
class Skipped:
    """A rung of the ladder that was not tried, and why."""

    name: str
    reason: str


@final
@dataclass(frozen=True, eq=False)
class Repair:
    """A change of the network after which the property is proved, with its certificate.

    Attributes
    ----------
    kind : str
        ``"spectral radius"`` or ``"leak rate"``.
    value : float
        What it becomes.
    sentence : str
        The repair in words.
    network : EchoStateNetwork
        The changed network.
    document : dict
        The certificate of the changed network, accepted by the exact checker.
    """

    kind: Literal["spectral radius", "leak rate"]
    value: float
    sentence: str
    network: EchoStateNetwork
    document: Document = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Result:
    method: str
    sentence: str
    bounds: tuple[BoundReached, ...] = field(repr=False)
    document: Document = field(repr=False)
    network_hash: str
    inputs: InputClass
    proved_gain: float | None
    refuted_gain: float | None

    def save(self, path: str | Path) -> None:
        """Write `document` as JSON, atomically."""
        files.write_json(path, self.document)


@final
@dataclass(frozen=True, eq=False)
class Certified(_Result):
    """The echo state property is proved, and the exact checker has agreed.

    Attributes
    ----------
    method : str
        The theorem, by its name in FORMAT.md.
    sentence : str
        What is proved, in one sentence.
    bounds : tuple of BoundReached
        How far each rung got that was tried, in the order in which they were.
    document : dict
        The certificate.
    network_hash : str
        Content hash of the network.
    inputs : InputClass
        The class that was asked about; the certificate may claim more (any input).
    proved_gain, refuted_gain : float or None
        Largest multiple of W known to be proved, and smallest known to be refuted, both verified exactly.
    rate : float
        Differences shrink at least by this factor per step, in the norm of the theorem.
    box_steps : int or None
        None when every state and every input is covered. Otherwise the claim is about states within the
        range of phi, and contraction begins after that many steps.
    washout : Washout or None
        The steps after which any two initial states agree; part of the certificate.
    skipped : tuple of Skipped
        The rungs that were not needed or not applicable.
    assumption : str or None
        What the proof takes for granted, beyond the network: the slope range of an activation that the
        independent checker does not know, enclosed by ball arithmetic.
    proof : tuple
        What the certificate was made from; `certify_tube` takes it to prove a washout along one series.
    local : Tube or None
        For a recorded series: a tube around the response to it that every state is proved to enter. Its own
        document is a certificate of its own.
    signal_washout : Washout or None
        The washout under this very series, from the slopes along it, where it is shorter than `washout`.
    """

    rate: float
    box_steps: int | None
    washout: Washout | None = None
    skipped: tuple[Skipped, ...] = ()
    assumption: str | None = None
    proof: tuple[Candidate, Region] | None = field(default=None, repr=False)
    local: Tube | None = None
    signal_washout: Washout | None = None
    verdict: ClassVar[Literal["proved"]] = "proved"


@final
@dataclass(frozen=True, eq=False)
class Refuted(_Result):
    """States are not forgotten under some admissible input; the exact checker has agreed.

    Attributes are those of `Certified`, without the rate, the box, the washout and the assumption, and

    Attributes
    ----------
    witness : Refutation
        The input and the responses that show it.
    strength : str
        ``"unstable response"``, ``"two responses"`` or ``"two attracting responses"``: each says more than
        the one before.
    period : int
        Period of the input of the witness; 1 when it is constant.
    input_radius : float or None
        Both attracting responses persist under every input that stays this near to the witness's.
    repairs : tuple of Repair
        Changes that make it provable, where they were asked for (``bracket=True``).
    """

    witness: Refutation
    strength: str = "two responses"
    period: int = 1
    input_radius: float | None = None
    skipped: tuple[Skipped, ...] = ()
    repairs: tuple[Repair, ...] = ()
    verdict: ClassVar[Literal["refuted"]] = "refuted"


@final
@dataclass(frozen=True, eq=False)
class Inconclusive(_Result):
    """Neither a proof nor a counterexample was found. `document` is a record, not a certificate.

    Attributes are those of `Certified`, without the rate, the box, the washout and the assumption, and

    Attributes
    ----------
    reason : str
        Why.
    advice : str
        What to change.
    repairs : tuple of Repair
        Changes that make it provable, each with its certificate; the first is the one in `advice`.
    local : Tube, EchoIndexBound or None
        What is certified locally: a tube around the response to the signal that was asked about, or
        attracting responses at the constant input. It claims nothing about other initial states.
    """

    reason: str
    advice: str
    repairs: tuple[Repair, ...] = ()
    local: Tube | EchoIndexBound | None = None
    skipped: tuple[Skipped, ...] = ()
    verdict: ClassVar[Literal["inconclusive"]] = "inconclusive"


Verdict: TypeAlias = Certified | Refuted | Inconclusive


_MEANS: Final = {
    "proved": "whatever admissible input comes, in the long run the state is a function of the input alone. "
    "The proof is about the stored network itself, its numbers taken as exact; no simulation is involved.",
    "refuted": "",
    "inconclusive": "no bound that was tried is small enough, and no counterexample was found. That is "
    "common for a spectral radius a little below 1.",
}
_MEANS_NOT: Final = {
    "proved": "anything about inputs outside this set, about the closed loop, or about forecasts.",
    "refuted": "that the state is ambiguous for the inputs that the network usually receives: almost every "
    "input of a random process may still decide it. That other property is neither claimed nor denied here.",
    "inconclusive": "that the network is faulty. It may well have the property, and for almost every input "
    "of a random process more often still; this says nothing about either.",
}


def _refuted_meaning(verdict: Refuted) -> str:
    where = "an admissible input is known, under which"
    if isinstance(verdict.inputs, AnyInput):
        where = "a drive is known, in place of input and bias, under which"
    elif verdict.witness.network.n_inputs == 0:
        where = "without any input,"
    if verdict.witness.strength == "unstable response":
        return (
            f"{where} copies of the network that start as little apart as one likes are driven apart, so no "
            "bound on the forgetting holds. (They may meet again later.) The certificate holds it."
        )
    return (
        f"{where} two copies of the network, started differently, do not come together. The certificate "
        "holds it."
    )


def meaning(verdict: Certified | Refuted | Inconclusive) -> tuple[str, str]:
    """Return what a verdict means and what it does not mean, each as words that follow such a beginning.

    >>> from esntools.certificates import certify_esp
    >>> meaning(certify_esp(EchoStateNetwork([[0.5]]), AnyInput()))[1]
    'anything about the closed loop, or about forecasts.'
    """
    word, inputs = verdict.verdict, verdict.inputs
    means, means_not = _MEANS[word], _MEANS_NOT[word]
    if isinstance(verdict, Certified):
        if verdict.box_steps is None:
            means_not = "anything about the closed loop, or about forecasts."
        if isinstance(inputs, Zero | Constant) and verdict.box_steps is not None:
            means = "with this input the network comes to one rest state, wherever it starts."
            means_not = "anything about other inputs, above all about those that vary in time."
        if verdict.assumption is not None:
            means_not += " It takes for granted what it says to assume."
    if isinstance(verdict, Refuted):
        means = _refuted_meaning(verdict)
        if verdict.witness.network.n_inputs == 0:
            means_not = "that the network is of no use: a model of an oscillation keeps its phase for ever."
    if isinstance(inputs, AnyInput) and word == "refuted":
        means_not = (
            "that this happens with the network's own bias and inputs of ordinary size. Ask about those: a "
            "box of inputs, or a recorded series."
        )
    if isinstance(verdict, Inconclusive) and verdict.reason.startswith("the budget"):
        means = "the time was over before anything was decided. More of it may decide."
    if isinstance(inputs, InputSignal) and word == "inconclusive":
        means_not = "that this series leaves the state open. A proof must hold for every initial state."
    return means, means_not


def bounds_record(verdict_bounds: tuple[BoundReached, ...]) -> list[dict[str, Any]]:
    """Return the bounds as JSON has them: what is not finite is null."""

    def finite(value: float | None) -> float | None:
        return value if value is not None and abs(value) < float("inf") else None

    return [
        {
            "name": b.name,
            "value": finite(b.value),
            "critical_gain": finite(b.critical_gain),
            "dual": finite(b.dual),
            "seconds": round(b.seconds, 3),
        }
        for b in verdict_bounds
    ]
