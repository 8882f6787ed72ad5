"""`certify_esp`: proved, refuted or inconclusive, for one network and one class of inputs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from esntools import files
from esntools._typing import Document, FloatArray, Progress, no_progress
from esntools.certificates import check
from esntools.certificates.along import entered_tube
from esntools.certificates.attracting import EchoIndexBound, certify_echo_index
from esntools.certificates.documents import checked_budget, claim_section
from esntools.certificates.ladder import Ladder, stays_sparse
from esntools.certificates.refute import find_refutation
from esntools.certificates.regions import Region, global_region, global_slopes, input_hull
from esntools.certificates.repair import Bracket, find_bracket, find_repairs, quiet_arithmetic
from esntools.certificates.tube import Tube, certify_tube
from esntools.certificates.verdicts import (
    Certified,
    Inconclusive,
    Refuted,
    Repair,
    Skipped,
    Verdict,
    Washout,
    bounds_record,
)
from esntools.certificates.witness import Refutation
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array
from esntools.simulation import drive

__all__ = ["certify_esp"]


_NORMS: Final = {
    "spectral-norm": "in the Euclidean norm",
    "perron-weights": "in a weighted maximum norm",
    "diagonal-schur": "in a weighted Euclidean norm",
    "incremental-lurie": "in a quadratic norm",
    "common-quadratic": "in a quadratic norm",
    "cascade": "in a norm made of those of its components",
    "zero-input-multipliers": "in a quadratic norm",
}
#: Shares of a budget: for proving; of the rest, for refuting; of the rest, for bracket and repair.
_PROVING: Final = 0.7
_REFUTING: Final = 0.4
_EDGES: Final = 0.7
#: Steps before a tube starts.
_SETTLING: Final = 500
_NO_REPAIRS: Final[tuple[Repair, ...]] = ()


def certify_esp(
    network: EchoStateNetwork | Any,
    inputs: InputClass,
    *,
    budget: float | None = None,
    candidates: Iterable[FloatArray] = (),
    bracket: bool | None = None,
    local: bool = True,
    epsilon: float = 1e-6,
    progress: Progress = no_progress,
) -> Verdict:
    r"""Decide whether a network forgets its initial state under every input of a class.

    *Proved* means: a norm was found in which any two solutions under the same input approach each other at
    least by a stated factor per step, hence the echo state property, uniformly over the class. *Refuted*
    means: under some admissible constant or periodic input there are two responses, or one that nearby states
    leave. Either is a document that an independent program verifies in exact arithmetic; nothing is called
    proved or refuted that it has not verified.

    Parameters
    ----------
    network : EchoStateNetwork or ReservoirPy model
        A network without inputs is a closed loop; ask about it with ``Zero()``.
    inputs : InputClass
        What the claim quantifies over; see `esntools.inputs`. A recorded series is proved through the
        smallest box that holds it; where that fails, a tube around the response to it may be certified.
    budget : float, optional
        Seconds; unlimited by default. When they are spent the answer is inconclusive, with what was found
        until then.
    candidates : iterable of arrays (n_units,), optional
        States near fixed points, if some are known; they help to refute.
    bracket : bool, optional
        Whether to look for `proved_gain` and `refuted_gain`, and for repairs; by default only when
        inconclusive.
    local : bool
        Whether to look for a local claim when inconclusive.
    epsilon : float
        The proved washout is the number of steps after which two states differ by at most this.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    Certified, Refuted or Inconclusive

    Raises
    ------
    InvalidInputError
        When the input class does not fit the network, the budget is negative or epsilon not positive.

    Notes
    -----
    The ladder: strongly connected components; Perron-weighted maximum norm; Euclidean norm; incremental
    Lur'e inequality with unit, balanced and optimal multipliers; diagonal Schur stability (before Lur'e for
    large networks, whose exact check is cheaper); for up to 10 units one quadratic norm for all vertices.
    For zero input and bias then the multipliers of odd activations; for a constant input the rungs on the
    chords to its fixed point, for other bounded inputs those on the box of states that they leave. Then the
    search for a witness to the contrary. The theorems and their sources are in FORMAT.md.

    A verdict is about *every* input of the class. That a stochastic process gives, *almost surely*, an input
    which decides the state (Manjunath and Jaeger 2013) is another property: it can hold where this one is
    refuted, as for ``x' = tanh(2 x + u)`` with u uniform on [-2, 2], and nothing is claimed about it here.

    With an activation of your own (`Activation.from_sympy`) the checker cannot recompute the slope range; a
    proof then says that it assumes it, and witnesses to the contrary are not searched for.

    Examples
    --------
    >>> verdict = certify_esp(EchoStateNetwork([[0.0, 0.9], [-0.9, 0.0]]), AnyInput())
    >>> verdict.verdict, verdict.method, verdict.washout.steps < 200
    ('proved', 'perron-weights', True)
    >>> certify_esp(EchoStateNetwork([[1.1]]), Zero()).verdict
    'refuted'
    """
    if not isinstance(network, EchoStateNetwork):
        from esntools.interop import from_reservoirpy

        network = from_reservoirpy(network)
    _validated(network, inputs, budget, epsilon)
    known = [checked_array(x, "candidates", (network.n_units,), "(n_units,)") for x in candidates]
    start = time.perf_counter()
    asked = _Question(
        network, inputs, start, math.inf if budget is None else start + budget, budget, epsilon, progress
    )
    with quiet_arithmetic(network.n_units):
        return _decide(asked, known, bracket, local)


def _validated(network: EchoStateNetwork, inputs: InputClass, budget: float | None, epsilon: float) -> None:
    claim_section(inputs)
    hull = input_hull(inputs, network.n_inputs)
    if hull is not None and len(hull.low) != network.n_inputs:
        n = network.n_inputs
        raise InvalidInputError(
            "inputs", f"{len(hull.low)} components", f"the network has {n} input{'s' * (n != 1)}",
            "give one value per input, or use AnyInput()",
        )  # fmt: skip
    checked_budget(budget)
    if not (isinstance(epsilon, int | float | np.number) and 0.0 < epsilon < math.inf):
        raise InvalidInputError("epsilon", repr(epsilon), "must be a positive number")


@dataclass(frozen=True, eq=False)
class _Question:
    network: EchoStateNetwork
    inputs: InputClass
    start: float
    deadline: float
    budget: float | None
    epsilon: float
    progress: Progress

    @property
    def out_of_time(self) -> bool:
        return time.perf_counter() > self.deadline

    @property
    def remaining(self) -> float | None:
        return None if self.budget is None else max(0.0, self.deadline - time.perf_counter())

    def share(self, part: float) -> float:
        """Return the moment when this share of the remaining time is over."""
        if self.budget is None:
            return math.inf
        now = time.perf_counter()
        return now + part * max(0.0, self.deadline - now)

    @property
    def squares(self) -> bool:
        readout = self.network.readout
        return self.network.W_fb is not None and readout is not None and not readout.is_affine


def _decide(asked: _Question, candidates: list[FloatArray], bracket: bool | None, local: bool) -> Verdict:
    network, inputs = asked.network, asked.inputs
    ladder = Ladder(network, inputs, asked.share(_PROVING), asked.epsilon, asked.progress)
    reason = _unsupported(network)
    if reason:
        return _inconclusive(asked, ladder, reason, "this says nothing about the network")
    if asked.squares:
        ladder.skipped.append(Skipped("all rungs", "the feedback passes through squares of the states"))
    elif not asked.out_of_time:
        proved = ladder.prove()
        if proved is not None:
            return _certified(asked, ladder, *proved, bracket is True, local)
    cut, search_cut = ladder.out_of_time, False
    assumed = ladder.assumed() is not None
    refutation = None
    large = stays_sparse(network)
    if not asked.out_of_time and not assumed and not large:
        limit = asked.share(_REFUTING)
        refutation = find_refutation(
            network, inputs, candidates=candidates, deadline=limit, progress=asked.progress
        )
        search_cut = time.perf_counter() > limit
    if refutation is not None:
        return _refuted(asked, ladder, refutation, bracket is True)
    if cut:
        reason = f"the budget of {asked.budget:g} s is spent"
    elif search_cut or asked.out_of_time:
        none = "no rung " + (
            "is valid with squares in the feedback" if asked.squares else "proves contraction"
        )
        reason = f"the budget of {asked.budget:g} s is spent in the search for a counterexample, and {none}"
    elif asked.squares:
        reason = (
            "the feedback passes through squares of the states, for which no rung is valid, "
            "and no response that was found refutes"
        )
    elif assumed:
        low, high = global_slopes(network.activation)
        reason = (
            f"no rung proves contraction with slopes in [{low:.4g}, {high:.4g}], and witnesses to the "
            "contrary need an activation that the checker knows"
        )
    elif large:
        reason = (
            "no rung that leaves the weights sparse proves contraction, and witnesses need dense matrices"
        )
    elif isinstance(inputs, InputSignal):
        reason = "no rung proves contraction for this series, and no witness can refute a finite series"
    else:
        reason = "no rung proves contraction, and no response that was found refutes it"
    edges, repairs = Bracket(), _NO_REPAIRS
    if bracket is not False and not asked.squares and not asked.out_of_time:
        limit = asked.share(_EDGES if local else 1.0)
        edges, repairs, complete = _edges(asked, ladder, "inconclusive", limit)
        document = edges.proved_document
        itself = document is not None and document["network"]["hash"] == network.content_hash
        if itself and document is not None and document["claim"]["inputs"]["kind"] == "any":
            # Optimised multipliers reach where those of the ladder, which stop early, did not.
            ladder.candidate = None
            ladder.bounds[:] = [replace(b, proves=True) if b is edges.optimum else b for b in ladder.bounds]
            return _certified(asked, ladder, document, global_region(network), False, local)
        if not (complete or cut or search_cut):
            reason += " (the bracket is incomplete: its time was over)"
    near = _local(asked, ladder) if local else None
    return _inconclusive(asked, ladder, reason, "", edges, repairs, near)


def _unsupported(network: EchoStateNetwork) -> str:
    phi = network.activation
    if not all(map(math.isfinite, phi.slope_bounds)):
        return f"the slopes of the activation {phi.expression} are not bounded"
    sparse = network.is_sparse and network.W_fb is None
    limit = check.MAX_SPARSE if sparse else check.MAX_UNITS
    if network.n_units > limit:
        kind = "sparse" if sparse else "dense"
        return f"{network.n_units} units; the checker goes up to {limit} with {kind} weights"
    # Products of larger ones overflow in the search for a witness of period 4.
    blocks: list[Any] = [network.W, network.W_in, network.b]
    readout = network.readout
    if network.W_fb is not None and readout is not None:
        blocks += [network.W_fb @ m for m in (readout.W_out, readout.W_sq, readout.b_out) if m is not None]
    if not all(float(abs(m).max()) <= 1e60 for m in blocks if m.size):
        return "a weight exceeds 1e60, beyond which no witness is searched for"
    return ""


def _edges(
    asked: _Question, ladder: Ladder, verdict: str, deadline: float
) -> tuple[Bracket, tuple[Repair, ...], bool]:
    """Return the bracket, the repairs, and whether there was time for all of the bracket."""
    network, now = asked.network, time.perf_counter()
    limit = now + 0.7 * (deadline - now)
    edges = find_bracket(
        network, asked.inputs, ladder.bounds, verdict=verdict, deadline=limit, epsilon=asked.epsilon,
        progress=asked.progress,
    )  # fmt: skip
    complete = time.perf_counter() <= limit
    if verdict == "proved":
        return edges, (), complete
    if edges.optimum is not None:
        # The ladder stopped as soon as it was decided; this is how far the rung really gets.
        names = [b.name for b in ladder.bounds]
        if edges.optimum.name in names:
            ladder.bounds[names.index(edges.optimum.name)] = edges.optimum
    repairs = find_repairs(network, edges, deadline=deadline, epsilon=asked.epsilon, progress=asked.progress)
    return edges, repairs, complete


def _local(asked: _Question, ladder: Ladder) -> Tube | EchoIndexBound | None:
    """Return what can be certified near the response that was asked about, or None."""
    network, inputs = asked.network, asked.inputs
    if asked.out_of_time or ladder.assumed() is not None or stays_sparse(network):
        return None
    limit = asked.remaining
    if isinstance(inputs, InputSignal):
        asked.progress("certifying a tube around the response to the signal", 0.0)
        # Nothing leads a start elsewhere into the tube, and around a settled state it is wider.
        settled = drive(network, inputs.u[:_SETTLING]).states[-1]
        start = settled if np.all(np.isfinite(settled)) else None
        tube = certify_tube(
            network, inputs.u, start, epsilon=asked.epsilon, budget=limit, progress=asked.progress
        )
        if isinstance(tube, Tube):
            return tube
        ladder.skipped.append(Skipped("tube around the response", tube.reason))
    elif isinstance(inputs, Zero | Constant):
        asked.progress("certifying attracting responses", 0.0)
        u = inputs.c if isinstance(inputs, Constant) else None
        if u is not None and not np.all(np.isfinite(network.b + network.W_in @ u)):
            return None
        found = certify_echo_index(network, u, budget=limit, progress=asked.progress)
        return found if found.at_least > 0 else None
    return None


# -- verdicts -------------------------------------------------------------------------------------------


def _washout(document: Document) -> Washout | None:
    section = document["claim"].get("washout")
    if section is None:
        return None
    spread, epsilon = (float.fromhex(section[k]) for k in ("spread", "epsilon"))
    return Washout(int(section["steps"]), epsilon, spread)


def _certified(
    asked: _Question, ladder: Ladder, document: Document, region: Region, bracket: bool, local: bool
) -> Certified:
    network = asked.network
    proof = None if ladder.candidate is None else (ladder.candidate, region)
    theorem, rate = document["theorem"], float.fromhex(document["claim"]["rate"])
    washout, norm, assumption = _washout(document), _NORMS[theorem], None
    if ladder.assumed() is not None:
        low, high = global_slopes(network.activation)
        assumption = f"the slopes of {network.activation.expression} lie in [{low:.6g}, {high:.6g}]"
    head = "Proved" if assumption is None else f"Proved, assuming that {assumption}"
    shrink = f"shrink at least by the factor {rate:.4g} per step {norm}"
    where = region.range
    if where == "global":
        text = f"under every input and from every initial state, differences of states {shrink}"
        end = "the network has the echo state property"
    elif where == "box":
        text = (
            f"under these inputs and for states within the range of the activation, differences {shrink} "
            f"after the first {region.steps} steps"
        )
        end = "the network has the echo state property for this class of inputs"
    elif where == "secant":
        text = (
            "at this input every state within the range of the activation comes to one and the same fixed "
            f"point; distances to it {shrink} after the first {region.steps} steps"
        )
        end = "the network has the echo state property at this input"
    else:
        text = f"at zero input every state falls to 0; distances to it {shrink}"
        end = "the network has the echo state property at zero input"
    if washout is not None:
        apart = (
            "" if region.states == "box" else f" that start at most {washout.spread:.4g} apart in every unit"
        )
        text += f"; from step {washout.steps} on, any two states{apart} agree to {washout.epsilon:g}"
    tube = None
    if local and proof is not None and washout is not None and isinstance(asked.inputs, InputSignal):
        tube = entered_tube(
            network, asked.inputs, proof, washout, budget=asked.remaining, progress=asked.progress
        )
    sooner = None
    if tube is not None and tube.washout is not None:
        low, high = network.activation.value_bounds
        sooner = Washout(tube.washout, asked.epsilon, high - low)
        text += f", and under this very series from step {tube.washout} on"
    edges = _edges(asked, ladder, "proved", asked.deadline)[0] if bracket else Bracket()
    return Certified(
        theorem, f"{head}: {text}; {end}.", tuple(ladder.bounds), document, network.content_hash,
        asked.inputs, max(1.0, edges.proved or 1.0), edges.refuted, rate,
        None if region.states == "all" and where == "global" else region.steps, washout,
        tuple(ladder.skipped), assumption, proof, tube, sooner,
    )  # fmt: skip


def _refuted_sentence(refutation: Refutation, network: EchoStateNetwork, inputs: InputClass) -> str:
    strength, period, radius = refutation.strength, refutation.period, refutation.input_radius
    constant = bool(np.all(refutation.input == refutation.input[:1]))
    kind = "constant" if constant else f"{period}-periodic"
    if isinstance(inputs, AnyInput):
        # The witness is a drive: the network's own bias may lead elsewhere.
        where = f"under one {kind} drive in place of input and bias"
    elif network.n_inputs == 0:
        where = "without input"
    elif isinstance(inputs, Zero):
        where = "at zero input"
    else:
        where = f"under one {kind} input of the class"
    if period == 1:
        what = "fixed point"
    else:
        what = f"cycle of {period} states" if constant else f"response of period {period}"
    if strength == "unstable response":
        text = (
            f"{where} the network has an unstable {what}; states beside it are driven away, so initial "
            "differences are not forgotten uniformly"
        )
    elif constant and period > 1:
        text = (
            f"{where} the network has a {what}, so its response depends on where it started: every phase of "
            "it is one"
        )
    else:
        attracting = "attracting " if strength == "two attracting responses" else ""
        what = what.replace("response", "responses").replace("fixed point", "fixed points")
        text = f"{where} the network has two {attracting}{what}, so its response depends on where it started"
    if radius:
        text += f"; both persist under every input within {radius:.3g} of that one"
    return f"Refuted: {text}."


def _refuted(asked: _Question, ladder: Ladder, refutation: Refutation, bracket: bool) -> Refuted:
    edges, repairs = Bracket(refuted=1.0), _NO_REPAIRS
    if bracket and not asked.squares and not asked.out_of_time:
        edges, repairs, _ = _edges(asked, ladder, "refuted", asked.deadline)
    return Refuted(
        refutation.theorem, _refuted_sentence(refutation, asked.network, asked.inputs), tuple(ladder.bounds),
        refutation.document, asked.network.content_hash, asked.inputs, edges.proved, edges.refuted or 1.0,
        refutation, refutation.strength, refutation.period, refutation.input_radius, tuple(ladder.skipped),
        repairs,
    )  # fmt: skip


def _inconclusive(
    asked: _Question, ladder: Ladder, reason: str, advice: str = "", edges: Bracket | None = None,
    repairs: tuple[Repair, ...] = (), local: Tube | EchoIndexBound | None = None,
) -> Inconclusive:  # fmt: skip
    network, edges = asked.network, edges or Bracket()
    if repairs:
        advice = " or ".join(r.sentence for r in repairs)
    elif not advice:
        spent = reason.startswith("the budget")
        advice = "give more time" if spent else "a smaller spectral radius makes a proof more likely"
    sentence = f"Inconclusive: {reason}; {advice}."
    record = {
        "format": "esntools-inconclusive",
        "version": 2,
        "network_hash": network.content_hash,
        "inputs": asked.inputs.to_document(),
        "reason": reason,
        "advice": advice,
        "proved_gain": edges.proved,
        "refuted_gain": edges.refuted,
        "bounds": bounds_record(tuple(ladder.bounds)),
        "skipped": [{"name": s.name, "reason": s.reason} for s in ladder.skipped],
        "repairs": [
            {"kind": r.kind, "value": r.value, "network_hash": r.network.content_hash} for r in repairs
        ],
        "local": None if local is None else "Locally: " + local.sentence.removeprefix("Proved: "),
        "provenance": files.provenance(),
    }
    return Inconclusive(
        "none", sentence, tuple(ladder.bounds), record, network.content_hash, asked.inputs, edges.proved,
        edges.refuted, reason, advice, repairs, local, tuple(ladder.skipped),
    )  # fmt: skip
