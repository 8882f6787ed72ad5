"""The ladder: attempts to prove contraction, cheapest and crudest first, until the exact checker agrees.

What a rung finds in floating point is a candidate. `Ladder.climb` builds the document and hands it to the
checker; only what that accepts counts as proved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias, final

import numpy as np

from esntools._typing import Document, FloatArray, IntArray, Progress, no_progress
from esntools.certificates import check
from esntools.certificates.cascade import cascade, components
from esntools.certificates.documents import check_certificate, proved_document, slopes_section
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.multipliers import multiplier_obstacle, zero_input_multipliers
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.regions import Region, box_region, global_region, global_slopes, secant_region
from esntools.certificates.scaling import optimal_lurie, osborne
from esntools.certificates.sectors import BoundReached, Candidate, Rung, Sector, uniform_slope_radius
from esntools.certificates.verdicts import Skipped
from esntools.certificates.vertices import common_quadratic
from esntools.certificates.washout import washout_steps
from esntools.inputs import AnyInput, Constant, InputClass, Zero
from esntools.network import EchoStateNetwork

__all__ = ["RUNGS", "Ladder", "attempted", "best_rung", "sparse_region", "stays_sparse"]

#: The rungs below Perron's, by name; large networks try diagonal Schur before Lur'e (`_order`).
RUNGS: Final = (
    "spectral-norm",
    "incremental-lurie",
    "incremental-lurie, balanced",
    "diagonal-schur",
    "incremental-lurie, optimal",
    "common-quadratic",
)
#: Units up to which the exact check of a Lur'e certificate, of matrices twice as large, is not the costlier.
_FULL: Final = 600
#: Units up to which optimal multipliers are searched for, and vertices enumerated.
_OPTIMAL: Final = 600
_VERTICES: Final = 10
#: Units above which sparse weights stay sparse: only what needs no dense matrix is tried.
_DENSE: Final = min(2500, check.MAX_UNITS)
#: Seconds for a search whose failure is known beforehand, and which only tells how far its norm gets.
_HOPELESS_SECONDS: Final = 3.0

_WHERE: Final = {
    "global": "",
    "box": " on the invariant box",
    "secant": " on chords to the fixed point",
    "odd": "",
}

_Attempt: TypeAlias = Callable[[Sector, float, "FloatArray | None"], Rung]


def _attempts() -> dict[str, _Attempt]:
    """Return each rung as a function of sector, deadline and the scaling that an earlier rung found."""
    return {
        "spectral-norm": lambda s, t, x: spectral_norm(s),
        "incremental-lurie": lambda s, t, x: incremental_lurie(s, deadline=t),
        "incremental-lurie, balanced": lambda s, t, x: incremental_lurie(
            s, osborne(s), deadline=t, name="incremental-lurie, balanced"
        ),
        "diagonal-schur": lambda s, t, x: diagonal_schur(s, deadline=t),
        "incremental-lurie, optimal": lambda s, t, x: optimal_lurie(s, start=x, deadline=t),
        "common-quadratic": lambda s, t, x: common_quadratic(s, deadline=t),
    }


def best_rung(name: str, sector: Sector, deadline: float) -> Rung:
    """Try one rung by its name, as `RUNGS` has it; ``"perron-weights"`` too."""
    if name == "perron-weights":
        return attempted(name, partial(perron_weights, sector))
    start = osborne(sector) if name.endswith("optimal") else None
    return attempted(name, partial(_attempts()[name], sector, deadline, start))


def _order(n: int) -> list[str]:
    names = list(RUNGS)
    if n > _FULL:
        names.remove("diagonal-schur")
        names.insert(1, "diagonal-schur")
    return names


@final
@dataclass(eq=False)
class _Part:
    """A strongly connected component that Perron weights do not prove, while the rungs are tried on it."""

    units: IntArray
    sector: Sector
    hopeless: float
    scaling: FloatArray | None = None
    candidate: Candidate | None = None


@final
@dataclass(eq=False)
class Ladder:
    """One attempt to prove: the rungs in turn, on one region after another.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass
    deadline : float
        A value of `time.perf_counter` after which nothing new is begun.
    epsilon : float
        The difference below which states count as agreeing, for the proved washout.
    """

    network: EchoStateNetwork
    inputs: InputClass
    deadline: float = math.inf
    epsilon: float = 1e-6
    progress: Progress = no_progress
    bounds: list[BoundReached] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    #: What the last certificate was made from.
    candidate: Candidate | None = None

    @property
    def out_of_time(self) -> bool:
        return time.perf_counter() > self.deadline

    # -- documents ---------------------------------------------------------------------------------------

    def assumed(self) -> Document | None:
        """Return the slopes that a certificate must assume; None when the checker knows the activation."""
        phi = self.network.activation
        if phi.expression in check.ACTIVATIONS:
            return None
        low, high = global_slopes(phi)
        return {"low": float(low).hex(), "high": float(high).hex()}

    def _washout(self, candidate: Candidate, region: Region) -> Document | None:
        phi = self.network.activation
        low, high = phi.value_bounds
        spread = float(high - low) if phi.bounded else 2.0
        spread = math.nextafter(spread, math.inf) if spread != round(spread) else spread
        steps = washout_steps(
            candidate, self.network.n_units, spread=spread, epsilon=self.epsilon, start=region.steps,
            factor=2.0 if region.range in ("secant", "odd") else 1.0,
        )  # fmt: skip
        if steps is None:
            return None
        return {"spread": spread.hex(), "epsilon": float(self.epsilon).hex(), "steps": steps}

    def verified(self, rung: Rung, region: Region) -> Document | None:
        """Return the certificate when the rung has a candidate and the exact checker accepts it."""
        candidate = rung.candidate
        if candidate is None or self.out_of_time:
            return None
        for washout in (self._washout(candidate, region), None):
            document = proved_document(
                self.network, candidate, region.inputs, region.slopes, states=region.states,
                washout=washout, notes={"seconds": round(rung.bound.seconds, 3)}, assumes=self.assumed(),
            )  # fmt: skip
            if check_certificate(document, deadline=self.deadline).valid:
                self.candidate = candidate
                return document
            if washout is None or self.out_of_time:
                break
        return None

    # -- rungs -------------------------------------------------------------------------------------------

    def _skip(self, name: str, where: str, reason: str) -> None:
        # What cannot be done on one region for a reason that does not depend on it is said once.
        if not any((s.name, s.reason) == (name, reason) for s in self.skipped):
            self.skipped.append(Skipped(name + where, reason))

    def climb(self, region: Region) -> Document | None:
        """Try every rung on one region; record how far each gets, or why it was not tried."""
        where = _WHERE[region.range]
        self.progress(f"proving: Perron weights{where}", 0.0)
        if not isinstance(region.sector.W, np.ndarray):
            return self._climb_sparse(region)
        rung = perron_weights(region.sector)
        document = self.verified(rung, region)
        self._note(rung.bound, where, document)
        if document is not None or self.out_of_time:
            return document
        parts, proved = self._parts(region.sector)
        if not parts:
            # Perron weights are exact for single units; for the rest they have succeeded.
            reason = "the components that are left are single units, for which Perron weights are exact"
            self._skip("the other rungs", where, reason)
            return self._joined(region, proved, [], "components", where)
        names = _order(max(len(p.units) for p in parts))
        for k, name in enumerate(names):
            if self.out_of_time:
                return None
            self.progress(f"proving: {name}{where}", (1 + k) / (1 + len(names)))
            document = self._rung(name, region, parts, proved, where)
            if document is not None:
                return document
        return None

    def _note(self, bound: BoundReached, where: str, document: Document | None) -> None:
        self.bounds.append(replace(bound, name=bound.name + where, proves=document is not None))

    def _parts(self, sector: Sector) -> tuple[list[_Part], list[tuple[IntArray, Candidate]]]:
        """Return the strongly connected components that Perron weights leave open, and the others' proofs."""
        parts, proved = [], []
        found = components(sector.W)
        whole = len(found) == 1
        for units in found:
            if len(units) == 1 and not whole:
                continue
            own = sector if whole else _restricted(sector, units)
            candidate = None if whole else perron_weights(own).candidate
            if candidate is None:
                parts.append(_Part(units, own, uniform_slope_radius(own)))
            else:
                proved.append((units, candidate))
        return parts, proved

    def _why_not(self, name: str, parts: list[_Part]) -> str:
        """Return why a rung is not tried, or nothing."""
        n = max(len(p.units) for p in parts)
        radius = max(p.hopeless for p in parts)
        if name == "common-quadratic" and n > _VERTICES:
            return f"enumerates the 2^n vertices of the slopes; up to {_VERTICES} units"
        if name == "incremental-lurie, optimal" and n > _OPTIMAL:
            return f"optimal multipliers are searched for up to {_OPTIMAL} units"
        if name in ("incremental-lurie, optimal", "common-quadratic") and radius >= 1.0:
            return (
                f"cannot succeed: with all slopes at their largest the spectral radius is {radius:.4g}, "
                "so no norm contracts"
            )
        return ""

    def _rung(
        self, name: str, region: Region, parts: list[_Part], proved: list[tuple[IntArray, Candidate]],
        where: str,
    ) -> Document | None:  # fmt: skip
        reason = self._why_not(name, parts)
        if reason:
            self._skip(name, where, reason)
            return None
        attempt = _attempts()[name]
        reached: list[BoundReached] = []
        new: list[_Part] = []
        for part in parts:
            if part.candidate is not None:
                continue
            limit = self.deadline
            if part.hopeless >= 1.0:
                # Equal slopes destroy contraction already; the rung only reports how far it gets.
                limit = min(limit, time.perf_counter() + _HOPELESS_SECONDS)
            rung = attempted(name, partial(attempt, part.sector, limit, part.scaling))
            if rung.scaling is not None and name != "spectral-norm":
                part.scaling = rung.scaling
            reached.append(rung.bound)
            if rung.candidate is not None:
                part.candidate = rung.candidate
                new.append(part)
        bound = _worst(reached)
        if any(p.candidate is None for p in parts):
            self._note(bound, where, None)
            return None
        document = self._joined(region, proved, parts, name, where, bound)
        if document is None:
            for part in new:
                part.candidate = None
        return document

    def _joined(
        self, region: Region, proved: list[tuple[IntArray, Candidate]], parts: list[_Part], name: str,
        where: str, bound: BoundReached | None = None,
    ) -> Document | None:  # fmt: skip
        """Put the proofs of all components together, and have them checked."""
        start = time.perf_counter()
        if len(parts) == 1 and not proved and len(parts[0].units) == self.network.n_units:
            candidate = parts[0].candidate
        else:
            tried = [(p.units, p.candidate) for p in parts if p.candidate is not None]
            candidate = cascade(region.sector, [*proved, *tried])
        if candidate is None and bound is None:
            return None
        if bound is None and candidate is not None:
            bound = BoundReached(name, candidate.rate, False, None, time.perf_counter() - start)
        assert bound is not None
        document = self.verified(Rung(bound, candidate), region)
        self._note(bound, where, document)
        return document

    def _climb_sparse(self, region: Region) -> Document | None:
        """Try what needs no dense matrix: Perron weights, together or along the components."""
        start = time.perf_counter()
        candidate = cascade(region.sector, [])
        value = candidate.rate if candidate is not None else math.inf
        bound = BoundReached("perron-weights", value, False, None, time.perf_counter() - start)
        document = self.verified(Rung(bound, candidate), region)
        self._note(bound, _WHERE[region.range], document)
        if document is None:
            self._skip("the other rungs", "", f"they need dense matrices; up to {_DENSE} units")
        return document

    # -- regions -----------------------------------------------------------------------------------------

    def prove(self) -> tuple[Document, Region] | None:
        """Climb on all regions that the inputs allow; return the first certificate."""
        network, inputs = self.network, self.inputs
        if stays_sparse(network):
            region = sparse_region(network)
            document = self.climb(region)
            return None if document is None else (document, region)
        whole = global_region(network)
        document = self.climb(whole)
        if document is not None:
            return document, whole
        if self.assumed() is not None:
            self._skip(
                "the invariant box", "", "the checker does not know the activation, only its slope range"
            )
            return None
        if isinstance(inputs, AnyInput) or self.out_of_time:
            return None
        return self._zero_input(whole) or self._narrower(whole)

    def _narrower(self, whole: Region) -> tuple[Document, Region] | None:
        """Climb on the regions where the slopes lie nearer to each other than on the line."""
        box, chords = ("the invariant box", self._box), ("chords to the fixed point", self._chords)
        # At a constant input the chords lie within the slopes of the box: what fails on them fails there.
        constant = isinstance(self.inputs, Zero | Constant)
        for name, find in (chords, box) if constant else (box,):
            if self.out_of_time:
                return None
            region = find()
            if region is None:
                reason = "the activation is not bounded"
                if name != box[0]:
                    reason = "no single fixed point was found that trajectories settle on"
                self._skip(name, "", reason)
                continue
            spread = whole.sector.high - whole.sector.low
            gained = spread - (region.sector.high - region.sector.low)
            if not float(np.max(gained)) > 0.01 * float(np.max(spread)):
                self._skip(name, "", "brings the slopes no nearer to each other")
                continue
            document = self.climb(region)
            if document is not None:
                return document, region
            if constant:
                if name != box[0]:
                    self._skip(box[0], "", "its slopes are no nearer to each other than those of the chords")
                return None
        return None

    def _box(self) -> Region | None:
        return box_region(self.network, self.inputs)

    def _chords(self) -> Region | None:
        return secant_region(self.network, self.inputs, deadline=self.deadline)

    def _zero_input(self, whole: Region) -> tuple[Document, Region] | None:
        network, name = self.network, "zero-input-multipliers"
        if not isinstance(self.inputs, Zero) or self.out_of_time:
            return None
        obstacle = multiplier_obstacle(network)
        if obstacle:
            self._skip(name, "", f"valid only at zero input and zero bias, for odd activations; {obstacle}")
            return None
        radius = uniform_slope_radius(whole.sector)
        if radius >= 1.0:
            self._skip(
                name, "", f"cannot succeed: with all slopes at their largest 0 is unstable ({radius:.4g})"
            )
            return None
        self.progress(f"proving: {name}", 0.5)
        rung = zero_input_multipliers(network, deadline=self.deadline)
        region = _odd_region(whole)
        document = self.verified(rung, region)
        self._note(rung.bound, "", document)
        return None if document is None else (document, region)

    def verified_at_zero(self, rung: Rung) -> Document | None:
        """Return the certificate of zero-input multipliers when the exact checker accepts it."""
        return self.verified(rung, _odd_region(global_region(self.network)))


def _odd_region(whole: Region) -> Region:
    high = whole.sector.high
    return Region(whole.sector, slopes_section("odd", np.zeros_like(high), high), Zero(), "all")


def attempted(name: str, search: Callable[[], Rung]) -> Rung:
    """Run one rung; where its arithmetic breaks down on extreme weights, it has found nothing."""
    start = time.perf_counter()
    try:
        return search()
    except (ArithmeticError, np.linalg.LinAlgError):
        return Rung(BoundReached(name, math.inf, False, None, time.perf_counter() - start), None)


def stays_sparse(network: EchoStateNetwork) -> bool:
    """Whether only what needs no dense matrix is tried."""
    return network.is_sparse and network.n_units > _DENSE and network.W_fb is None


def sparse_region(network: EchoStateNetwork) -> Region:
    """Return the region of every input and all states, its weights sparse."""
    low, high = (np.full(network.n_units, s) for s in global_slopes(network.activation))
    # A copy: the network's own arrays are read-only.
    sector = Sector(network.W.copy(), network.leak_rate, low, high)
    return Region(sector, slopes_section("global", low, high), AnyInput(), "all")


def _restricted(sector: Sector, units: IntArray) -> Sector:
    block = np.ascontiguousarray(sector.W[np.ix_(units, units)])
    return Sector(block, sector.a[units], sector.low[units], sector.high[units])


def _worst(bounds: list[BoundReached]) -> BoundReached:
    """Return what a rung reaches on several components: as far as on the worst."""
    worst = max(bounds, key=lambda b: b.value)
    gains = [b.critical_gain for b in bounds if b.critical_gain is not None]
    duals = [b.dual for b in bounds if b.dual is not None]
    return replace(
        worst, critical_gain=min(gains, default=None), dual=min(duals, default=None),
        seconds=sum(b.seconds for b in bounds),
    )  # fmt: skip
