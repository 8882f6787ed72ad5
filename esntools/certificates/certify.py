"""`certify_esp`: proved, refuted or inconclusive, for one network and one class of inputs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from esntools import files
from esntools._typing import Document, FloatArray, Progress, no_progress
from esntools.activations import Activation
from esntools.certificates import check
from esntools.certificates.documents import (
    check_certificate,
    claim_section,
    proved_document,
    slopes_section,
)
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.refute import Refutation, find_refutation, origin_gain
from esntools.certificates.sectors import BoundReached, Rung, Sector, uniform_slope_radius
from esntools.certificates.verdicts import Certified, Inconclusive, Refuted, Verdict
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = ["certify_esp"]


_NORMS: Final = {
    "spectral-norm": "in the Euclidean norm",
    "perron-weights": "in a weighted maximum norm",
    "diagonal-schur": "in a weighted Euclidean norm",
    "incremental-lurie": "in the norm of P",
}


def _global_slopes(activation: Activation) -> tuple[float, float]:
    """The checker's slope range of a built-in activation, rounded outwards."""
    low, high = check.ACTIVATIONS[activation.expression].slopes
    return _down(low), -_down(-high)


def _down(value: Fraction) -> float:
    x = float(value)
    return x if Fraction(x) <= value else math.nextafter(x, -math.inf)


def _hull(inputs: InputClass, n_inputs: int) -> InputBox | None:
    """The smallest box that holds the inputs; None for any input."""
    match inputs:
        case AnyInput():
            return None
        case Zero():
            return InputBox(np.zeros(n_inputs), np.zeros(n_inputs))
        case Constant():
            return InputBox(inputs.c, inputs.c)
        case InputBox():
            return inputs
        case InputAlphabet() | InputSignal():
            return inputs.hull()


def _effective(network: EchoStateNetwork) -> FloatArray:
    return network.folded().dense_W() if network.W_fb is not None else network.dense_W()


def _box_sector(network: EchoStateNetwork, box: InputBox) -> tuple[Sector, int] | None:
    """Propagate the box of states in floating point; return the sector over it and the number of steps."""
    phi, a, n = network.activation, network.leak_rate, network.n_units
    if not phi.bounded:
        return None
    folded = network.folded()
    W, size = folded.dense_W(), np.abs(folded.dense_W())
    middle = folded.b + folded.W_in @ (0.5 * box.low + 0.5 * box.high)
    spread = np.abs(folded.W_in) @ (0.5 * box.high - 0.5 * box.low)
    if not np.all(np.isfinite(middle) & np.isfinite(spread)):
        return None
    low, high = np.full(n, phi.value_bounds[0]), np.full(n, phi.value_bounds[1])
    for steps in range(201):
        centre, radius = W @ (0.5 * (low + high)) + middle, size @ (0.5 * (high - low)) + spread
        if steps == 200:
            break
        ends = phi(centre - radius), phi(centre + radius)
        if not phi.monotone:
            ends = np.full(n, -1.0), np.full(n, 1.0)
        before = high - low
        low, high = (
            np.maximum(low, (1.0 - a) * low + a * ends[0]),
            np.minimum(high, (1.0 - a) * high + a * ends[1]),
        )
        if np.all(before - (high - low) <= 1e-3 * before):
            break
    # The checker encloses these slopes again; rounding outwards by 2**-20 leaves room for both roundings.
    ranges = [phi.slope_range(c - abs(r), c + abs(r)) for c, r in zip(centre, radius)]
    floor, ceiling = _global_slopes(phi)
    lows = np.array([max(floor, (math.floor(p * 2.0**20) - 1) / 2.0**20) for p, _ in ranges])
    highs = np.array([min(ceiling, (math.ceil(q * 2.0**20) + 1) / 2.0**20) for _, q in ranges])
    return Sector(W, a, lows, highs), steps


class _Ladder:
    """One attempt to prove: runs the rungs on a sector until the checker agrees."""

    def __init__(
        self, network: EchoStateNetwork, inputs: InputClass, deadline: float, progress: Progress
    ) -> None:
        self.network, self.inputs, self.deadline, self.progress = network, inputs, deadline, progress
        self.bounds: list[BoundReached] = []

    @property
    def out_of_time(self) -> bool:
        return time.perf_counter() > self.deadline

    def verified(self, rung: Rung, sector: Sector, box_steps: int | None) -> Document | None:
        """Return the certificate when the rung has a candidate and the exact checker accepts it."""
        candidate = rung.candidate
        if candidate is None:
            return None
        whole = box_steps is None
        document = proved_document(
            self.network, candidate, AnyInput() if whole else self.inputs,
            slopes_section("global" if whole else "box", sector.low, sector.high, steps=box_steps),
            states="all" if whole else "box", notes={"seconds": round(rung.bound.seconds, 3)},
        )  # fmt: skip
        return document if check_certificate(document).valid else None

    def climb(self, sector: Sector, box_steps: int | None) -> Document | None:
        """Try every rung in turn; record the bounds."""
        where = "" if box_steps is None else " on the invariant box"
        scaling: FloatArray | None = None
        hopeless = uniform_slope_radius(sector) >= 1.0
        # Lur'e proves more than diagonal Schur, but its exact check is eight times the work.
        middle = ("lurie", "diagonal") if len(sector.a) <= 600 else ("diagonal", "lurie")
        for k, name in enumerate(("perron", "spectral", *middle, "lurie, scaled")):
            if self.out_of_time:
                return None
            self.progress(f"proving: {name}{where}", k / 5.0)
            remaining = self.deadline - time.perf_counter()
            if name == "perron":
                rung = perron_weights(sector)
            elif name == "spectral":
                rung = spectral_norm(sector)
            elif name == "diagonal":
                # When equal slopes already destroy contraction, the rung only reports how far it gets.
                rung = diagonal_schur(sector, seconds=min(remaining, 5.0) if hopeless else remaining)
                scaling = rung.scaling
            else:
                scaled = name == "lurie, scaled"
                label = "incremental-lurie" + (", scaled" if scaled else "")
                rung = incremental_lurie(sector, scaling if scaled else None, name=label)
            document = self.verified(rung, sector, box_steps)
            bound = replace(rung.bound, name=rung.bound.name + where, proves=document is not None)
            self.bounds.append(bound)
            if document is not None:
                return document
        return None


def _validated(network: EchoStateNetwork, inputs: InputClass, budget: float | None) -> None:
    claim_section(inputs)
    hull = _hull(inputs, network.n_inputs)
    if hull is not None and len(hull.low) != network.n_inputs:
        raise InvalidInputError(
            "inputs", f"{len(hull.low)} components", f"the network has {network.n_inputs} inputs",
            "give one value per input, or use AnyInput()",
        )  # fmt: skip
    if budget is not None and not budget >= 0.0:
        raise InvalidInputError("budget", str(budget), "must be a number of seconds, at least 0")


def certify_esp(
    network: EchoStateNetwork | Any,
    inputs: InputClass,
    *,
    budget: float | None = None,
    candidates: Iterable[FloatArray] = (),
    bracket: bool | None = None,
    progress: Progress = no_progress,
) -> Verdict:
    r"""Decide whether a network forgets its initial state under every input of a class.

    *Proved* means: a norm was found in which any two solutions under the same input approach each other at
    least by a stated factor per step, hence the echo state property. *Refuted* means: under some admissible
    constant input there are two fixed points, or an unstable one. Either is a document that an independent
    program verifies in exact arithmetic; nothing is called proved or refuted that it has not verified.

    Parameters
    ----------
    network : EchoStateNetwork or ReservoirPy model
        A network without inputs is a closed loop; ask about it with ``Zero()``.
    inputs : InputClass
        What the claim quantifies over; see `esntools.inputs`. A recorded series is claimed through the
        smallest box that holds it.
    budget : float, optional
        Seconds after which no new attempt is begun; unlimited by default.
    candidates : iterable of arrays (n_units,), optional
        States near fixed points, if some are known; they help to refute.
    bracket : bool, optional
        Whether to look for `proved_gain` and `refuted_gain`; by default only when inconclusive.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    Certified, Refuted or Inconclusive

    Raises
    ------
    InvalidInputError
        When the input class does not fit the network, or the budget is negative.

    Notes
    -----
    The ladder: Perron-weighted maximum norm, Euclidean norm, incremental Lur'e inequality with unit
    multipliers, diagonal Schur stability, Lur'e with its scaling; then the same on the box of states that
    bounded inputs leave; then Newton's method for fixed points at admissible constants. The theorems and
    their sources are in FORMAT.md.

    Examples
    --------
    >>> verdict = certify_esp(EchoStateNetwork([[0.0, 0.9], [-0.9, 0.0]]), AnyInput())
    >>> verdict.verdict, verdict.method
    ('proved', 'perron-weights')
    >>> certify_esp(EchoStateNetwork([[1.1]]), Zero()).verdict
    'refuted'
    """
    if not isinstance(network, EchoStateNetwork):
        from esntools.interop import from_reservoirpy

        network = from_reservoirpy(network)
    _validated(network, inputs, budget)
    known = [checked_array(x, "candidates", (network.n_units,), "(n_units,)") for x in candidates]
    # Two BLAS threads on matrices of this size cost more than they bring, many times more on a busy machine.
    # Trials that overflow are discarded one by one.
    with threadpool_limits(limits=1 if network.n_units <= 1000 else None), np.errstate(all="ignore"):
        return _decide(network, inputs, budget, known, bracket, progress)


def _decide(
    network: EchoStateNetwork,
    inputs: InputClass,
    budget: float | None,
    candidates: Iterable[FloatArray],
    bracket: bool | None,
    progress: Progress,
) -> Verdict:
    deadline = math.inf if budget is None else time.perf_counter() + budget
    ladder = _Ladder(network, inputs, deadline, progress)
    reason = _unsupported(network)
    if reason:
        return _inconclusive(ladder, reason, "this says nothing about the network", False)
    squares = network.W_fb is not None and network.readout is not None and not network.readout.is_affine
    if not squares:
        certified = _prove(ladder, bracket is True)
        if certified is not None:
            return certified
    refutation = None
    if not ladder.out_of_time:
        refutation = find_refutation(
            network, inputs, candidates=candidates, deadline=deadline, progress=progress
        )
    if refutation is not None:
        proved = _proved_gain(ladder)[0] if bracket and not squares else None
        return Refuted(
            refutation.theorem, _refuted_sentence(refutation, network, inputs), tuple(ladder.bounds),
            refutation.document, network.content_hash, inputs, proved, 1.0, refutation,
        )  # fmt: skip
    if ladder.out_of_time:
        reason = f"the budget of {budget:g} s is spent"
    elif squares:
        reason = (
            "the feedback passes through squares of the states, for which no rung is valid, "
            "and no fixed point that was found refutes"
        )
    elif isinstance(inputs, InputSignal):
        reason = "no rung proves contraction for this series, and a fixed point cannot refute a finite series"
    else:
        reason = "no rung proves contraction, and no fixed point at an admissible constant input refutes it"
    return _inconclusive(ladder, reason, "", bracket is not False and not squares)


def _unsupported(network: EchoStateNetwork) -> str:
    expression = network.activation.expression
    if expression not in check.ACTIVATIONS:
        return f"the checker does not know the activation {expression}, so nothing can be certified about it"
    if network.n_units > check.MAX_UNITS:
        return f"{network.n_units} units; the checker goes up to {check.MAX_UNITS}"
    # Squares of larger weights overflow in the search for a witness.
    blocks: list[Any] = [network.W, network.W_in, network.b]
    readout = network.readout
    if network.W_fb is not None and readout is not None:
        blocks += [network.W_fb @ m for m in (readout.W_out, readout.W_sq, readout.b_out) if m is not None]
    if not all(float(abs(m).max()) <= 1e100 for m in blocks if m.size):
        return "a weight exceeds 1e100, beyond which no witness is searched for"
    return ""


def _prove(ladder: _Ladder, bracket: bool) -> Certified | None:
    network, inputs = ladder.network, ladder.inputs
    low, high = _global_slopes(network.activation)
    n = network.n_units
    sector = Sector(_effective(network), network.leak_rate, np.full(n, low), np.full(n, high))
    document, steps = ladder.climb(sector, None), None
    hull = _hull(inputs, network.n_inputs)
    if document is None and hull is not None and not ladder.out_of_time:
        boxed = _box_sector(network, hull)
        if boxed is not None:
            tight, steps = boxed
            gained = float(np.max((tight.low - low) + (high - tight.high)))
            if gained > 0.01 * (high - low):
                document = ladder.climb(tight, steps)
    if document is None:
        return None
    theorem, rate = document["theorem"], float.fromhex(document["claim"]["rate"])
    norm = _NORMS[theorem]
    if steps is None or document["slopes"]["range"] == "global":
        steps = None
        sentence = (
            f"Proved: under every input and from every initial state, differences of states shrink at least "
            f"by the factor {rate:.4g} per step {norm}; the network has the echo state property."
        )
    else:
        sentence = (
            f"Proved: under these inputs and for states within the range of the activation, differences "
            f"shrink at least by the factor {rate:.4g} per step {norm} after the first {steps} steps; the "
            "network has the echo state property for this class of inputs."
        )
    refuted_gain = _refuted_gain(ladder)[0] if bracket else None
    return Certified(
        theorem, sentence, tuple(ladder.bounds), document, network.content_hash, inputs, 1.0, refuted_gain,
        rate, steps,
    )  # fmt: skip


def _refuted_sentence(refutation: Refutation, network: EchoStateNetwork, inputs: InputClass) -> str:
    stable = sum(p.stable for p in refutation.points)
    where = "without input" if network.n_inputs == 0 else "under one admissible constant input"
    if isinstance(inputs, AnyInput):
        # The witness is a drive: the network's own bias may lead elsewhere.
        where = "under one constant drive in place of input and bias"
    if refutation.theorem == "two-fixed-points":
        kind = " (both attracting, in floating point)" if stable == 2 else ""
        return (
            f"Refuted: {where} the network has two fixed points{kind}, so its response depends on where it "
            "started."
        )
    return (
        f"Refuted: {where} the network has an unstable fixed point; states beside it are driven away, "
        "so initial differences are not forgotten uniformly."
    )


# -- the bracket: multiples of W ------------------------------------------------------------------------


def _proved_gain(ladder: _Ladder) -> tuple[float | None, Document | None]:
    """Return the largest multiple of W below 1 that the best rung proves, with its certificate."""
    network = ladder.network
    if network.W_fb is not None:
        return None, None
    low, high = _global_slopes(network.activation)
    n = network.n_units
    reached = [b for b in ladder.bounds if b.critical_gain and " on the " not in b.name]
    for bound in sorted(reached, key=lambda b: -(b.critical_gain or 0.0))[:2]:
        for share in (0.99, 0.95):
            gain = math.floor(1e4 * min(1.0, share * (bound.critical_gain or 0.0))) / 1e4
            if gain <= 0.0 or ladder.out_of_time:
                return None, None
            scaled = network.scaled(gain)
            attempt = _Ladder(scaled, AnyInput(), ladder.deadline, no_progress)
            sector = Sector(scaled.dense_W(), network.leak_rate, np.full(n, low), np.full(n, high))
            if bound.name.startswith("incremental"):
                scaling = diagonal_schur(sector).scaling if "scaled" in bound.name else None
                rung = incremental_lurie(sector, scaling)
            else:
                rung = {
                    "perron-weights": perron_weights, "spectral-norm": spectral_norm,
                    "diagonal-schur": diagonal_schur,
                }[bound.name](sector)  # fmt: skip
            document = attempt.verified(rung, sector, None)
            if document is not None:
                return gain, document
    return None, None


def _refuted_gain(ladder: _Ladder) -> tuple[float | None, Document | None]:
    """Return a multiple of W that is refuted by its origin, when the origin is a fixed point of the class."""
    network, inputs = ladder.network, ladder.inputs
    if isinstance(inputs, InputSignal) or network.n_units > 600:
        return None, None
    bare = replace(network, b=np.zeros(network.n_units)) if isinstance(inputs, AnyInput) else network
    gain = origin_gain(bare)
    if gain is None:
        return None, None
    for share in (1.005, 1.03):
        scaled = math.ceil(1e4 * share * gain) / 1e4
        if ladder.out_of_time:
            return None, None
        refutation = find_refutation(network.scaled(scaled), inputs, deadline=ladder.deadline)
        if refutation is not None:
            return scaled, refutation.document
    return None, None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _inconclusive(ladder: _Ladder, reason: str, advice: str, bracket: bool) -> Inconclusive:
    network = ladder.network
    proved = refuted = repair = None
    if bracket and not ladder.out_of_time:
        ladder.progress("looking for the bracket", 0.9)
        proved, repair = _proved_gain(ladder)
        refuted = _refuted_gain(ladder)[0]
    if proved is not None:
        radius = network.spectral_radius()
        advice = (
            f"with W multiplied by {proved:.4g} (spectral radius {radius * proved:.4g} instead of "
            f"{radius:.4g}) it is proved for every input"
        )
    elif not advice:
        advice = "a smaller spectral radius makes a proof more likely"
    sentence = f"Inconclusive: {reason}; {advice}."
    record = {
        "format": "esntools-inconclusive",
        "version": 1,
        "network_hash": network.content_hash,
        "inputs": ladder.inputs.to_document(),
        "reason": reason,
        "advice": advice,
        "proved_gain": proved,
        "refuted_gain": refuted,
        "bounds": [
            {
                "name": b.name,
                "value": _finite(b.value),
                "critical_gain": _finite(b.critical_gain),
            }
            for b in ladder.bounds
        ],
        "provenance": files.provenance(),
    }
    return Inconclusive(
        "none", sentence, tuple(ladder.bounds), record, network.content_hash, ladder.inputs, proved, refuted,
        reason, advice, repair,
    )  # fmt: skip
