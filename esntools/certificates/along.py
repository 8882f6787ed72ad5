"""The washout along one recorded series: shorter than its class has, from the slopes along the response."""

from __future__ import annotations

import math
import time
from typing import Final

from esntools._typing import Progress, no_progress
from esntools.certificates.ladder import best_rung, stays_sparse
from esntools.certificates.regions import Region, box_region
from esntools.certificates.sectors import Candidate
from esntools.certificates.tube import Tube, certify_tube, steps_covered
from esntools.certificates.verdicts import Washout
from esntools.certificates.washout import washout_steps
from esntools.inputs import InputSignal
from esntools.network import EchoStateNetwork

__all__ = ["entered_tube"]

#: Seconds at most: the series is proved already.
_SECONDS: Final = 30.0
#: Rungs that may lead the states of a recorded series together sooner than the first that proves.
_ENTRIES: Final = ("perron-weights", "incremental-lurie, balanced", "incremental-lurie, optimal")
#: Tubes are narrower than this.
_WIDEST: Final = 1.0


def entered_tube(
    network: EchoStateNetwork,
    inputs: InputSignal,
    proof: tuple[Candidate, Region],
    washout: Washout,
    *,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> Tube | None:
    """Return a tube around the response to a series that all states enter, when it shortens the washout.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputSignal
    proof : (Candidate, Region)
        What proves contraction for the series, or for more.
    washout : Washout
        What that proof says.
    budget : float, optional
        Seconds; 30 at most, and by default.
    progress : callable, optional
        Called with a label and a fraction.
    """
    limit = _SECONDS if budget is None else min(budget, _SECONDS)
    if not limit > 0.0 or not network.activation.bounded or stays_sparse(network):
        return None
    # Longer than the known washout it need not be.
    n, u = network.n_units, inputs.u[: washout.steps]
    proof = _quickest(network, inputs, proof, time.perf_counter() + 0.3 * limit)
    # No state is in a narrow tube before the proof's own rate has led it there.
    first = washout_steps(proof[0], n, spread=2.0, epsilon=_WIDEST, start=proof[1].steps)
    if first is None or steps_covered(n, len(u), limit) < first:
        return None
    progress("certifying the washout along the series", 0.0)
    tube = certify_tube(network, u, epsilon=washout.epsilon, proof=proof, budget=limit, progress=progress)
    if not isinstance(tube, Tube) or tube.entry is None or tube.washout is None:
        return None
    return tube if tube.washout < washout.steps else None


def _quickest(
    network: EchoStateNetwork, inputs: InputSignal, proof: tuple[Candidate, Region], deadline: float
) -> tuple[Candidate, Region]:
    """Return the proof that leads all states together soonest; no other than the given one is checked yet."""
    found = [proof]
    box = box_region(network, inputs)
    for name in _ENTRIES:
        if box is None or time.perf_counter() > deadline:
            break
        candidate = best_rung(name, box.sector, deadline).candidate
        if candidate is not None:
            found.append((candidate, box))

    def steps(pair: tuple[Candidate, Region]) -> float:
        candidate, region = pair
        n = network.n_units
        steps = washout_steps(candidate, n, spread=2.0, epsilon=1e-3, start=region.steps)
        return math.inf if steps is None else steps

    return min(found, key=steps)
