"""The holes of an attractor by persistent homology, and how sure their number is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, RandomState
from esntools.arguments import seeded, whole_number
from esntools.attractors.measures import checked_points
from esntools.errors import InvalidInputError, UnsupportedError

__all__ = ["Holes", "count_holes", "whitened"]

#: A number of holes is believed when their lives are longer than all others by this factor.
_CLEAR: Final = 2.0
_MOST: Final = 6


@final
@dataclass(frozen=True, eq=False)
class Holes:
    """The one-dimensional holes of a point cloud.

    Attributes
    ----------
    count : int or None
        The number before the largest drop of persistence; None where no drop is by a factor of 2 in most
        resamplings.
    persistence : ndarray, shape (6,)
        Death minus birth of the six longest-lived holes, in standard deviations of the whitened coordinates,
        mean over the resamplings (0 where there are fewer).
    gap : float
        Persistence of the last hole counted over that of the next, mean of logs; inf where there is no next.
    agreement : float
        Share of the resamplings with this count.
    n_landmarks, n_resamplings : int
    """

    count: int | None
    persistence: FloatArray
    gap: float
    agreement: float
    n_landmarks: int
    n_resamplings: int


def whitened(points: FloatArray, n_components: int = 3) -> FloatArray:
    """Return the leading principal components, each with standard deviation 1.

    Raw coordinates are not usable for distances: the states of a network spread by very different amounts.
    """
    centred = points - points.mean(axis=0)
    U, sigma, _ = np.linalg.svd(centred, full_matrices=False)
    kept = int(np.sum(sigma[:n_components] > 1e-10 * sigma[0])) if sigma[0] > 0.0 else 0
    if kept == 0:
        raise InvalidInputError("points", "all equal", "a point has no holes to count")
    return np.asarray(U[:, :kept] * np.sqrt(len(points)))


def _farthest(points: FloatArray, count: int, first: int) -> FloatArray:
    """Return `count` points, each the one farthest from those taken before it; fewer if no others differ."""
    chosen = [first]
    distance = np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < min(count, len(points)):
        farthest = int(np.argmax(distance))
        # Of a cycle of few points: hundreds at distance 0 from one another take ripser minutes.
        if distance[farthest] <= 1e-12:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def count_holes(
    points: ArrayLike, *, n_landmarks: int = 400, n_resamplings: int = 5, rng: RandomState = 0
) -> Holes:
    """Count the holes of an attractor by the persistence of its one-dimensional homology.

    The points are reduced to three whitened principal components; of a random half of them, `n_landmarks`
    farthest points are taken and their Vietoris-Rips persistence computed by ripser; the count is where the
    sorted persistences drop by the largest factor. That is repeated with other halves.

    Parameters
    ----------
    points : array_like, shape (n_steps, d)
        States or delay vectors; at least 200.
    n_landmarks : int, optional
        Default 400.
    n_resamplings : int, optional
        Default 5.
    rng : int, Generator or None

    Returns
    -------
    Holes

    Raises
    ------
    InvalidInputError
        When the points are too few, equal or not finite.
    UnsupportedError
        When ripser is not installed.

    Examples
    --------
    >>> angle = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, 2000)
    >>> count_holes(np.column_stack([np.cos(angle), np.sin(angle)]), n_landmarks=100).count
    1

    References
    ----------
    H. Edelsbrunner, D. Letscher, A. Zomorodian, Discrete Comput. Geom. 28 (2002) 511,
    doi:10.1007/s00454-002-2885-2; U. Bauer, J. Appl. Comput. Topol. 5 (2021) 391,
    doi:10.1007/s41468-021-00071-5 (ripser); V. de Silva, G. Carlsson, Eurographics Symposium on Point-Based
    Graphics (2004) 157 (landmarks).
    """
    x = checked_points(points, "points")
    # At most half the points.
    n_landmarks = whole_number(n_landmarks, "n_landmarks", 20, len(x) // 2)
    n_resamplings = whole_number(n_resamplings, "n_resamplings")
    try:
        from ripser import ripser
    except ImportError:
        raise UnsupportedError(
            "count_holes", "ripser is not installed", "persistent homology needs it",
            "pip install 'esntools[topology]'",
        ) from None  # fmt: skip
    x = whitened(x)
    generator = seeded(rng)
    lives = np.zeros((n_resamplings, _MOST))
    for i in range(n_resamplings):
        half = x[generator.permutation(len(x))[: len(x) // 2]]
        landmarks = _farthest(half, n_landmarks, int(generator.integers(len(half))))
        with warnings.catch_warnings():
            # It warns when there are more coordinates than points; here there are three.
            warnings.simplefilter("ignore")
            diagram = ripser(landmarks, maxdim=1)["dgms"][1]
        found = np.sort(diagram[:, 1] - diagram[:, 0])[::-1][:_MOST]
        lives[i, : len(found)] = found
    # A hole that lives shorter than the landmarks are apart is the sampling's, not the attractor's.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = lives[:, :-1] / lives[:, 1:]
    ratio = np.where(lives[:, 1:] > 0.0, ratio, np.where(lives[:, :-1] > 0.0, np.inf, 1.0))
    drops = np.argmax(ratio, axis=1)
    largest = ratio[np.arange(n_resamplings), drops]
    counts = np.where(largest >= _CLEAR, drops + 1, 0)
    count = int(np.bincount(counts).argmax())
    agreement = float(np.mean(counts == count))
    persistence = lives.mean(axis=0)
    if count == 0 or agreement <= 0.5:
        return Holes(None, persistence, 1.0, agreement, n_landmarks, n_resamplings)
    drop = ratio[:, count - 1]
    gap = float(np.exp(np.mean(np.log(drop)))) if np.all(np.isfinite(drop)) else np.inf
    return Holes(count, persistence, gap, agreement, n_landmarks, n_resamplings)
