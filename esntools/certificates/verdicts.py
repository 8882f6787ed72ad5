"""What `certify_esp` returns: proved, refuted or inconclusive, each with its document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, final

from esntools import files
from esntools._typing import Document
from esntools.certificates.refute import Refutation
from esntools.certificates.sectors import BoundReached
from esntools.inputs import InputClass

__all__ = ["Certified", "Inconclusive", "Refuted", "Verdict"]


@dataclass(frozen=True, eq=False)
class _Result:
    method: str
    sentence: str
    bounds: tuple[BoundReached, ...]
    document: Document
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
        How far each rung got that was tried.
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
    """

    rate: float
    box_steps: int | None
    verdict: ClassVar[Literal["proved"]] = "proved"


@final
@dataclass(frozen=True, eq=False)
class Refuted(_Result):
    """States are not forgotten under some admissible constant input; the exact checker has agreed.

    Attributes are those of `Certified`, without the rate, and

    Attributes
    ----------
    witness : Refutation
        The constant input and the fixed points that show it.
    """

    witness: Refutation
    verdict: ClassVar[Literal["refuted"]] = "refuted"


@final
@dataclass(frozen=True, eq=False)
class Inconclusive(_Result):
    """Neither a proof nor a counterexample was found. `document` is a record, not a certificate.

    Attributes are those of `Certified`, without the rate, and

    Attributes
    ----------
    reason : str
        Why.
    advice : str
        What to change.
    repair : dict or None
        A valid certificate for the network with W multiplied by `proved_gain`.
    """

    reason: str
    advice: str
    repair: Document | None
    verdict: ClassVar[Literal["inconclusive"]] = "inconclusive"


Verdict: TypeAlias = Certified | Refuted | Inconclusive
