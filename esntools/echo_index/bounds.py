r"""What is proved about the number of responses: lower and upper ends of the echo index, with their reasons.

A lower end is a set of disjoint regions that no admissible input leads out of and in which states approach
each other. An upper end is a contraction of all states, or, for one deciding coordinate, the proof that
between those regions at most one state for each gap stays there for ever, a set of measure zero.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.certificates import certify_echo_index, certify_esp
from esntools.certificates.attracting import find_attracting_balls
from esntools.certificates.regions import input_hull
from esntools.certificates.verdicts import Certified
from esntools.echo_index.laws import EchoInput, PeriodicInput, SwitchingInput
from esntools.echo_index.scalar import ProvedBounds, scalar_bounds, time_left
from esntools.inputs import Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork
from esntools.simulation import final_state

__all__ = ["ProvedBounds", "proved_bounds"]


def input_class(inputs: EchoInput) -> InputClass:
    """Return the class of sequences that a claim is about; runs and probabilities are dropped."""
    match inputs:
        case SwitchingInput():
            return InputAlphabet(inputs.symbols)
        case PeriodicInput():
            return InputAlphabet(inputs.word)
        case InputSignal():
            return inputs.hull()
        case _:
            return inputs


# -- any network ----------------------------------------------------------------------------------------


def proved_bounds(
    network: EchoStateNetwork,
    inputs: EchoInput,
    *,
    points: Sequence[FloatArray] = (),
    deadline: float = math.inf,
) -> ProvedBounds:
    """Return the proved ends of the echo index for every input of a class."""
    scalar = scalar_bounds(network, inputs, deadline)
    if not isinstance(scalar, str):
        bounds, exact = scalar
        if exact:
            return bounds
        lower, upper, sure, reasons, documents = (
            bounds.lower, bounds.upper, bounds.almost_sure, list(bounds.reasons), list(bounds.documents)
        )  # fmt: skip
    else:
        lower, upper, sure, reasons, documents = 0, None, None, [], []
    claim = input_class(inputs)
    if time.perf_counter() < deadline and upper is None and lower < 2:
        verdict = certify_esp(network, claim, bracket=False, local=False, budget=time_left(deadline))
        if isinstance(verdict, Certified):
            words = f"every input contracts all states ({verdict.method})"
            if verdict.assumption is not None:
                words += f", assuming {verdict.assumption}"
            return ProvedBounds(1, 1, 1, (words,), (verdict.document,))
    certified = False
    if time.perf_counter() < deadline and not (lower == 1 and sure == 1):
        found = _balls(network, claim, points, deadline)
        certified = found is not None
        if found is not None and found[0] > lower:
            lower = found[0]
            several = "one ball that every input keeps and contracts"
            reasons.append(several if lower == 1 else f"{lower} disjoint balls that every input keeps")
            documents.append(found[1])
    if sure is None and certified and lower == 1:
        reset = _reset(network, inputs, deadline)
        if reset is not None:
            sure = 1
            reasons.append(reset[0])
            documents.append(reset[1])
    return ProvedBounds(lower, upper, sure, tuple(reasons), tuple(documents))


def _still_points(
    network: EchoStateNetwork, claim: InputClass, states: Sequence[FloatArray]
) -> list[FloatArray]:
    """Return where the given states come to rest under the middle of the inputs."""
    hull = input_hull(claim, network.n_inputs)
    if hull is None or not states:
        return []
    x = np.array(states)
    u = np.broadcast_to(0.5 * hull.low + 0.5 * hull.high, (64, network.n_inputs))
    for _ in range(60):
        before, x = x, final_state(network, u, x)
        if float(np.abs(x - before).max()) < 1e-11:
            break
    kept: list[FloatArray] = []
    for row in x:
        if np.all(np.isfinite(row)) and all(float(np.abs(row - k).max()) > 1e-6 for k in kept):
            kept.append(row)
    return kept


def _balls(
    network: EchoStateNetwork, claim: InputClass, states: Sequence[FloatArray], deadline: float
) -> tuple[int, Document] | None:
    if isinstance(claim, Zero | Constant):
        u = claim.c if isinstance(claim, Constant) else None
        bound = certify_echo_index(network, u, input_radius=0.0, budget=time_left(deadline))
        return None if bound.document is None else (bound.at_least, bound.document)
    points = _still_points(network, claim, states)
    if len(points) > 1:
        document = find_attracting_balls(network, claim, points, deadline=deadline)
        if document is not None:
            return len(points), document
    for x in points:
        document = find_attracting_balls(network, claim, [x], deadline=deadline)
        if document is not None:
            return 1, document
    return None


def _recurrent(inputs: EchoInput, n_inputs: int) -> list[tuple[str, FloatArray]]:
    """Return inputs that a law holds for any number of steps, again and again with probability one."""
    match inputs:
        case InputAlphabet():
            return [(f"symbol {s}", u) for s, u in enumerate(inputs.symbols)]
        case SwitchingInput():
            return [
                (f"symbol {s}", u) for s, u in enumerate(inputs.symbols)
                if inputs.max_length[s] is None and inputs.stay[s] > 0.0
            ]  # fmt: skip
        case InputBox() if n_inputs <= 3:
            ends = np.broadcast_to(np.array([inputs.low, inputs.high]), (2, n_inputs))
            corners = itertools.product(*ends.T.tolist())
            return [(f"inputs near {list(c)}", np.array(c)) for c in corners]
        case _:
            return []


def _reset(network: EchoStateNetwork, inputs: EchoInput, deadline: float) -> tuple[str, Document] | None:
    """Find an input whose long runs come almost surely and lead all states to one point.

    A ball that every input of the law maps into its interior then holds that point inside.
    """
    for name, u in _recurrent(inputs, network.n_inputs):
        if time.perf_counter() > deadline:
            break
        verdict = certify_esp(network, Constant(u), bracket=False, local=False, budget=time_left(deadline))
        if isinstance(verdict, Certified) and verdict.assumption is None:
            return f"long runs of {name} come almost surely and lead every state into one ball", (
                verdict.document
            )
    return None
