"""Whether a learned attractor is the true one: density, spectrum, dimension, exponent and holes.

Every measure comes with a yardstick, what the same measure says of the two halves of the true data, because
no finite sample agrees with itself exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, seeded, whole_number
from esntools.attractors.measures import (
    CorrelationDimension,
    ExponentFromSeries,
    checked_points,
    correlation_dimension,
    exponent_from_series,
    kl_divergence,
)
from esntools.attractors.topology import Holes, count_holes
from esntools.climate import spectrum_distance
from esntools.embedding import Embedding, choose_embedding, delay_vectors, find_period
from esntools.errors import InvalidInputError, UnsupportedError

__all__ = [
    "AttractorComparison",
    "CorrelationDimension",
    "ExponentFromSeries",
    "Holes",
    "Measure",
    "compare_attractors",
    "correlation_dimension",
    "count_holes",
    "exponent_from_series",
    "kl_divergence",
]

_SHORTEST: Final = 1000


@final
@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of two attractors.

    Attributes
    ----------
    name : str
    distance : float or None
        None where it could not be formed, see `note`.
    allowed : float or None
        The largest distance that counts as agreement: twice the yardstick and a margin.
    true, learned : float or None
        The value on either side, where the measure is a value of one attractor.
    agrees : bool or None
        None where undecided.
    note : str
    """

    name: str
    distance: float | None
    allowed: float | None
    true: float | None
    learned: float | None
    agrees: bool | None
    note: str = ""


@final
@dataclass(frozen=True, eq=False)
class AttractorComparison:
    """Two attractors side by side.

    Attributes
    ----------
    verdict : {"equivalent", "different", "undecided"}
        "different" when any measure disagrees, "equivalent" when every one agrees, "undecided" otherwise.
    reasons : tuple of str
        What speaks against equivalence, or why it is undecided.
    measures : dict of str to Measure
        ``"density missed"`` (KL of the true from the learned density), ``"density invented"`` (the reverse),
        ``"spectrum"`` (Hellinger), ``"dimension"`` (correlation), ``"exponent"`` (leading Lyapunov),
        ``"holes"`` (persistent homology).
    true_holes, learned_holes : Holes or None
    true_dimension, learned_dimension : CorrelationDimension or None
    embedding : Embedding or None
        The delay coordinates, where the series are scalar.
    true_points, learned_points : ndarray, shape (n, d)
        The points compared: the data themselves, or their delay vectors.
    """

    verdict: Literal["equivalent", "different", "undecided"]
    reasons: tuple[str, ...]
    measures: dict[str, Measure]
    true_holes: Holes | None
    learned_holes: Holes | None
    true_dimension: CorrelationDimension | None
    learned_dimension: CorrelationDimension | None
    embedding: Embedding | None
    true_points: FloatArray
    learned_points: FloatArray


def _spectra(a: FloatArray, b: FloatArray) -> float:
    return float(np.mean([spectrum_distance(a[:, j], b[:, j]) for j in range(a.shape[1])]))


def _value(name: str, true: float | None, learned: float | None, margin: float, note: str) -> Measure:
    if true is None or learned is None:
        return Measure(name, None, None, true, learned, None, note)
    distance = abs(true - learned)
    return Measure(name, distance, margin, true, learned, distance <= margin, note)


def _half_width(interval: tuple[float, float] | None) -> float:
    return 0.0 if interval is None else 0.5 * (interval[1] - interval[0])


def _exponent(
    given: tuple[float, float] | None,
    p: FloatArray,
    q: FloatArray,
    dt: float | None,
    theiler: int,
) -> Measure:
    if given is not None:
        return _value("exponent", given[0], given[1], 0.15 * abs(given[0]), "as given")
    left, right = (exponent_from_series(x, dt=dt, theiler=theiler) for x in (p, q))
    notes = [f"{side}: {e.note}" for side, e in (("true", left), ("learned", right)) if e.note]
    if (left.exponent is None) != (right.exponent is None):
        # One side parts exponentially and the other does not: that is a difference, not a gap in knowledge.
        return Measure("exponent", None, None, left.exponent, right.exponent, False, "; ".join(notes))
    if left.exponent is None and right.exponent is None:
        return Measure(
            "exponent", None, None, None, None, True, "neither has a positive exponent: " + notes[0]
        )
    margin = 0.15 * abs(left.exponent or 0.0) + _half_width(left.interval) + _half_width(right.interval)
    return _value("exponent", left.exponent, right.exponent, margin, "; ".join(notes) or f"in {left.unit}")


def _holes(p: FloatArray, q: FloatArray, n: int, rng: np.random.Generator) -> tuple[Measure, list[Holes]]:
    try:
        found = []
        for x in (p, q):
            holes = count_holes(x, n_landmarks=n, rng=rng)
            if holes.count is None and 4 * n <= len(x):
                # Thin sheets need closer landmarks; where the number is clear they would only cost time.
                holes = count_holes(x, n_landmarks=2 * n, rng=rng)
            found.append(holes)
    except UnsupportedError as error:
        return Measure("holes", None, None, None, None, None, f"{error.value}; {error.remedy}"), []
    counts = [None if h.count is None else float(h.count) for h in found]
    note = "no clear number of holes" if None in counts else ""
    return _value("holes", counts[0], counts[1], 0.0, note), found


def compare_attractors(
    true: ArrayLike,
    learned: ArrayLike,
    *,
    dt: float | None = None,
    exponents: tuple[float, float] | None = None,
    n_landmarks: int = 400,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> AttractorComparison:
    r"""Judge whether two trajectories trace the same attractor.

    Compared are the densities (KL divergence in both directions, binned up to three coordinates and as
    Gaussian mixtures above), the power spectra (Hellinger distance, mean over coordinates), the correlation
    dimensions, the leading Lyapunov exponents, and the numbers of holes (persistent homology of three
    whitened principal components). Scalar series are embedded first, with the lag and dimension of the true
    one (for the holes with three delays of half that lag, rounded up: longer ones fold the loops into each
    other).

    A distance agrees when it is at most twice the distance between the two halves of the true data plus a
    margin: 0.1 nats, 0.05 (Hellinger), 0.25 or the error bars (dimension), 15 % and the error bars
    (exponent), none for the holes.

    Parameters
    ----------
    true, learned : array_like, shape (n_steps,) or (n_steps, d)
        At least 1000 steps of either, of the same observables at the same sampling. Rows of `learned` from
        the first that is not finite are dropped, and that is a difference.
    dt : float, optional
        Time between steps, for the unit of the exponents.
    exponents : tuple of two floats, optional
        Leading exponents of the true and the learned system where they are known (of a closed loop:
        `lyapunov_spectrum`); else they are read off the trajectories.
    n_landmarks : int, optional
        For the holes. Default 400; twice as many where their number is not clear.
    rng : int, Generator or None
        For landmarks and Monte Carlo.
    progress : callable, optional

    Returns
    -------
    AttractorComparison

    Raises
    ------
    InvalidInputError
        When a series is too short, `true` is constant or not finite, or the numbers of coordinates differ.

    Examples
    --------
    >>> from esntools.systems import henon
    >>> x = henon().trajectory(4000, rng=1)
    >>> y = henon(a=1.2).trajectory(4000, rng=2)
    >>> compare_attractors(x, y, n_landmarks=100).verdict
    'different'

    References
    ----------
    Those of `kl_divergence`, `correlation_dimension`, `exponent_from_series` and `count_holes`; the idea of
    judging by all of them: J. A. Platt, S. G. Penny, T. A. Smith, T.-C. Chen, H. D. I. Abarbanel, Neural
    Networks 153 (2022) 530, doi:10.1016/j.neunet.2022.06.025.
    """
    p = checked_points(true, "true")
    q = real_array(learned, "learned")
    q = q[:, None] if q.ndim == 1 else q
    if q.ndim != 2 or q.shape[1] != p.shape[1]:
        raise InvalidInputError("learned", f"shape {np.shape(learned)}", f"must have {p.shape[1]} columns")
    for name, x in (("true", p), ("learned", q)):
        if len(x) < _SHORTEST:
            raise InvalidInputError(name, f"{len(x)} steps", f"needs at least {_SHORTEST}", "a longer run")
    spread = np.std(p, axis=0)
    if np.any(spread <= 1e-12 * np.maximum(np.max(np.abs(p), axis=0), 1e-300)):
        j = int(np.argmin(spread))
        raise InvalidInputError(
            f"true[:, {j}]", "constant", "a constant coordinate has no attractor", "drop it"
        )
    if dt is not None:
        dt = positive_number(dt, "dt", "leave it out for exponents per step")
    if exponents is not None:
        pair = real_array(exponents, "exponents")
        if pair.shape != (2,) or not np.all(np.isfinite(pair)):
            raise InvalidInputError(
                "exponents", str(exponents), "must be two finite numbers: of the true and the learned system"
            )
        exponents = float(pair[0]), float(pair[1])
    n_landmarks = whole_number(n_landmarks, "n_landmarks", 20, min(len(p), len(q)) // 2)
    generator = seeded(rng)
    # What overflows when squared is as good as infinite.
    finite = np.all(np.isfinite(q) & (np.abs(q) <= 1e140), axis=1)
    end = len(q) if finite.all() else int(np.argmin(finite))
    left_by = np.flatnonzero(np.any(np.abs(q[:end] - p.mean(axis=0)) > 20.0 * spread, axis=1))
    resting = bool(np.all(np.std(q[end // 2 : end], axis=0) <= 1e-6 * spread)) if end > 1 else True
    if end < len(q) or len(left_by) or resting:
        step = end if end < len(q) else int(left_by[0]) if len(left_by) else 0
        what = (
            f"the learned run leaves every bound at step {step}"
            if end < len(q) or len(left_by)
            else "the learned run comes to rest"
        )
        return AttractorComparison("different", (what,), {}, None, None, None, None, None, p, q[:end])
    progress("comparing attractors", 0.0)
    embedding, loops = None, [p, q]
    widest = [choose_embedding(p[:, j]) for j in range(min(p.shape[1], 3))]
    theiler = max(e.theiler for e in widest)
    if p.shape[1] == 1:
        embedding = widest[0]
        dimension = max(2, embedding.dimension)
        loops = [delay_vectors(x[:, 0], (embedding.lag + 1) // 2, 3) for x in (p, q)]
        p, q = (delay_vectors(x[:, 0], embedding.lag, dimension) for x in (p, q))
        spread = np.std(p, axis=0)
    theiler = min(4 * theiler, len(p) // 20, len(q) // 20)
    first, second = p[: len(p) // 2], p[len(p) // 2 :]
    measures: dict[str, Measure] = {}
    d = p.shape[1]
    n_bins = max(4, int((min(len(p), len(q)) / 20.0) ** (1.0 / min(d, 3))))

    def divergence(a: FloatArray, b: FloatArray) -> float:
        return kl_divergence(a, b, n_bins=n_bins, rng=generator)

    yard = max(divergence(first, second), divergence(second, first))
    for name, (a, b) in (("density missed", (p, q)), ("density invented", (q, p))):
        distance, allowed = divergence(a, b), 2.0 * yard + 0.1
        measures[name] = Measure(name, distance, allowed, None, None, distance <= allowed, "nats")
    progress("comparing attractors", 0.2)
    distance, allowed = _spectra(p, q), 2.0 * _spectra(first, second) + 0.05
    measures["spectrum"] = Measure("spectrum", distance, allowed, None, None, distance <= allowed)
    dimensions = [correlation_dimension(x / spread, theiler=theiler) for x in (p, q)]
    bars = [_half_width(x.interval) for x in dimensions]
    notes = "; ".join(x.note for x in dimensions if x.note)
    measures["dimension"] = _value(
        "dimension", dimensions[0].dimension, dimensions[1].dimension, max(0.25, math.hypot(*bars)), notes
    )
    progress("comparing attractors", 0.5)
    measures["exponent"] = _exponent(exponents, p / spread, q / spread, dt, theiler)
    progress("comparing attractors", 0.6)
    measures["holes"], holes = _holes(loops[0], loops[1], n_landmarks, generator)
    progress("comparing attractors", 1.0)
    reasons = [_sentence(m) for m in measures.values() if m.agrees is False]
    periods = [find_period(x[:, 0]) for x in (p, q)]
    if (periods[0] is None) != (periods[1] is None):
        side, period = ("learned", periods[1]) if periods[0] is None else ("true", periods[0])
        reasons.append(f"only the {side} run is periodic (about {period} steps)")
    verdict: Literal["equivalent", "different", "undecided"] = "different" if reasons else "equivalent"
    open_ = [f"{m.name}: {m.note}" for m in measures.values() if m.agrees is None]
    if not reasons and open_:
        verdict, reasons = "undecided", open_
    both = (holes[0], holes[1]) if holes else (None, None)
    return AttractorComparison(
        verdict, tuple(reasons), measures, both[0], both[1], dimensions[0], dimensions[1], embedding, p, q
    )


def _sentence(m: Measure) -> str:
    if m.distance is None or m.allowed is None:
        return f"{m.name}: {m.note}"
    values = "" if m.true is None or m.learned is None else f" ({m.learned:.4g} instead of {m.true:.4g})"
    return f"{m.name}: {m.distance:.3g}, more than {m.allowed:.3g}{values}"
