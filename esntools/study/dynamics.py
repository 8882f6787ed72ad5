"""What a study proves or compares beyond its searches: fixed points, responses, the attractor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray, Progress
from esntools.attractors import AttractorComparison, compare_attractors
from esntools.climate import Climate
from esntools.echo_index import DwellTimes, EchoIndex, dwell_time_table, estimate_echo_index
from esntools.errors import InvalidInputError
from esntools.fixed_points import FixedPoints
from esntools.fixed_points.certified import CertifiedFixedPoint, certify_fixed_point
from esntools.fixed_points.enumeration import enumerate_fixed_points
from esntools.inputs import InputAlphabet
from esntools.lyapunov import LyapunovSpectrum
from esntools.network import EchoStateNetwork

__all__ = ["ProvedPoints", "compare_with_data", "prove_all", "prove_points", "responses_to_symbols"]

#: Up to this many units all fixed points are enumerated; a proof of one takes a matrix inverse at any size.
_ENUMERATED: Final = 8
#: Seconds after which no further proof is begun.
_SECONDS: Final = 4.0
#: For what is exact and quick once compiled: the first time, on a busy machine, compiling takes most of it.
_EXACT_SECONDS: Final = 40.0
_COMPARED: Final = 10_000


@final
@dataclass(frozen=True, eq=False)
class ProvedPoints:
    """What is proved about the fixed points under one condition.

    Parameters
    ----------
    n_found, n_proved : int
        Points found by the search, and how many of them are proved to exist.
    complete : bool
        Whether it is proved that there are no others.
    radius : float
        The largest distance, over points and units, between a listed point and the proved one.
    """

    n_found: int
    n_proved: int
    complete: bool
    radius: float

    @property
    def sentence(self) -> str:
        """The same in words; empty when nothing is proved."""
        if self.complete:
            return "It is proved that there are no others."
        if not self.n_proved:
            return ""
        which = "All" if self.n_proved == self.n_found else f"{self.n_proved} of the {self.n_found}"
        return f"{which} are proved to exist, within {self.radius:.1g} in every unit."


def prove_points(
    network: EchoStateNetwork, u: FloatArray | None, points: FixedPoints, progress: Progress
) -> ProvedPoints:
    """Prove the points of a search one by one, and for few units that there are no others."""
    deadline = time.perf_counter() + _SECONDS
    if network.n_units <= _ENUMERATED:
        every = enumerate_fixed_points(network, u, budget=_EXACT_SECONDS, progress=progress)
        far = _farthest(points, every.points) if every.complete else None
        if far is not None:
            return ProvedPoints(len(points), len(every), True, far)
    proofs: list[CertifiedFixedPoint] = []
    radii: list[float] = []
    # Stable ones first: they are what a network rests at.
    for k, point in enumerate(sorted(points, key=lambda p: p.n_unstable)):
        if time.perf_counter() > deadline:
            break
        progress("proving fixed points", k / len(points))
        proof = certify_fixed_point(network, point.x, u)
        if not isinstance(proof, CertifiedFixedPoint):
            continue
        # Two listed points may come to the same one; it counts once.
        if all(_distance(proof.x, p.x) > proof.radius + p.radius for p in proofs):
            proofs.append(proof)
            radii.append(_distance(proof.x, point.x) + proof.radius)
    return ProvedPoints(len(points), len(radii), False, max(radii, default=0.0))


def _distance(x: FloatArray, y: FloatArray) -> float:
    return float(np.max(np.abs(x - y)))


def _farthest(points: FixedPoints, proved: tuple[CertifiedFixedPoint, ...]) -> float | None:
    """Return how far listed points are from the proved ones; None unless each is beside one of its own."""
    if len(points) != len(proved):
        return None
    if not proved:
        return 0.0
    gaps = np.array([[_distance(p.x, q.x) + q.radius for q in proved] for p in points])
    if len(set(gaps.argmin(axis=1).tolist())) < len(points):
        return None
    farthest = float(gaps.min(axis=1).max())
    return farthest if farthest < 1e-6 else None


def prove_all(
    systems: Mapping[str, tuple[EchoStateNetwork, FloatArray | None]],
    found: Mapping[str, FixedPoints],
    progress: Progress,
) -> dict[str, ProvedPoints]:
    """Return what is proved under every condition that a search was made for."""
    return {name: prove_points(*systems[name], points, progress) for name, points in found.items()}


def responses_to_symbols(
    network: EchoStateNetwork, symbols: FloatArray, seed: int, progress: Progress
) -> tuple[EchoIndex, DwellTimes | None]:
    """Return the echo index under independent symbols, and how long one of them must hold."""
    index = estimate_echo_index(
        network, InputAlphabet(symbols), n_starts=64, max_past=1024, budget=_EXACT_SECONDS, rng=seed,
        progress=progress,
    )  # fmt: skip
    if len(symbols) < 2:
        return index, None
    table = dwell_time_table(network, symbols, budget=_EXACT_SECONDS, progress=progress)
    return index, table if table.lengths else None


def compare_with_data(
    data: FloatArray,
    climate: Climate,
    spectrum: LyapunovSpectrum | None,
    exponent: float | None,
    dt: float | None,
    progress: Progress,
) -> AttractorComparison:
    """Compare the free run with an unbroken part of the data, by the known exponent where there is one."""
    run = np.asarray(climate.free_run)
    run = run if run.ndim == 2 else run[:, None]
    if not climate.stayed_in_range:
        raise InvalidInputError(
            "comparison", f"the free run left the range of the data after {len(run):,} steps",
            "what is not followed for long has no attractor to compare",
        )  # fmt: skip
    both = None
    if exponent is not None and spectrum is not None and spectrum.unit == "1/time":
        both = (exponent, float(spectrum.exponents[0]))
    return compare_attractors(
        data[-_COMPARED:], run[-_COMPARED:], dt=dt, exponents=both, n_landmarks=300, rng=0, progress=progress
    )
