r"""Contracting balls around stable fixed points: how many responses one class of inputs certainly supports.

A ball :math:`B = \{x : N(x - \bar x) \le \rho\}` that every admissible input maps into itself, and in which
any two states approach each other in the norm N, holds exactly one response to each input sequence of the
class that is defined for all times, and attracts all of B. Disjoint balls hold different responses, so n of
them prove that the echo index is at least n for every input of the class. Which norms there are and
what is checked is in FORMAT.md; here the norms, radii and input radii are found in floating point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from esntools._typing import Document, FloatArray, Progress, RandomState, no_progress
from esntools.certificates import check
from esntools.certificates.ball_norms import BallNorm
from esntools.certificates.balls import (
    LARGE,
    AttractingBall,
    StablePoint,
    best_norm,
    fitted_balls,
    largest_share,
)
from esntools.certificates.documents import check_certificate, claim_section, local_document
from esntools.certificates.regions import input_hull
from esntools.errors import InvalidInputError
from esntools.inputs import Constant, InputBox, InputClass, Zero
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = [
    "AttractingBall",
    "EchoIndexBound",
    "attracting_balls",
    "certify_echo_index",
    "find_attracting_balls",
]


# -- fixed points ---------------------------------------------------------------------------------------


def _polished(network: EchoStateNetwork, x: FloatArray) -> FloatArray | None:
    """Return the stable fixed point of an autonomous network beside x by Newton's method, or None."""
    phi, a, n = network.activation, network.leak_rate, network.n_units
    start = x
    for _ in range(12):
        gap = x - phi(network.preactivation(x))
        # The Jacobian is I - A + A D V; I - D V is its difference from the identity, divided by a.
        J = network.jacobian(x)
        try:
            step = np.linalg.solve((np.eye(n) - J) / a[:, None], gap)
        except np.linalg.LinAlgError:
            return None
        if not np.all(np.isfinite(step)) or float(np.abs(x - step - start).max()) > 0.1:
            return None
        x = x - step
        if float(np.abs(step).max()) < 1e-14:
            break
    scale = 1.0 + float(np.abs(x).max())
    if not float(np.abs(x - phi(network.preactivation(x))).max()) < 1e-8 * scale:
        return None
    moduli = np.abs(np.linalg.eigvals(network.jacobian(x)))
    return x if float(moduli.max()) < 1.0 - 1e-9 else None


def _distinct(found: Iterable[FloatArray | None]) -> list[FloatArray]:
    points: list[FloatArray] = []
    for x in found:
        if x is not None and all(float(np.abs(x - p).max()) > 1e-7 for p in points):
            points.append(x)
    return points


def _attractors(network: EchoStateNetwork, rng: np.random.Generator, deadline: float) -> list[FloatArray]:
    """Return the stable fixed points in which trajectories from random states end."""
    n = network.n_units
    low, high = (b if math.isfinite(b) else s for b, s in zip(network.activation.value_bounds, (-1.0, 1.0)))
    count = 64 if n <= LARGE else 24
    scale = rng.uniform(0.0, 1.0, (count, 1))
    x = scale * rng.uniform(low, high, (count, n))
    x[: count // 3] = rng.choice([low, high], (count // 3, n))
    done: list[FloatArray] = []
    for _ in range(60):
        for _ in range(49):
            x = network.step(x)
        before, x = x, network.step(x)
        move = np.abs(x - before).max(axis=1)
        done += [row for row, m in zip(x, move, strict=True) if m < 1e-9]
        x = x[(move >= 1e-9) & (move < 1e9)]
        if len(x) == 0 or time.perf_counter() > deadline:
            break
    # Near a stable point with an eigenvalue close to 1 states still move; Newton's method decides.
    return _distinct(_polished(network, row) for row in (*_thinned(done), *x[:8]))


def _thinned(rows: Sequence[FloatArray]) -> list[FloatArray]:
    """Leave out rows that are alike, before the costly part."""
    kept: list[FloatArray] = []
    for row in rows:
        if all(float(np.abs(row - k).max()) > 1e-5 for k in kept):
            kept.append(row)
    return kept


def _supported(network: EchoStateNetwork) -> bool:
    largest = max(float(abs(m).max(initial=0.0)) for m in (network.dense_W(), network.W_in, network.b))
    return network.activation.expression in check.ACTIVATIONS and largest <= 1e100


def _norms(places: Sequence[StablePoint]) -> list[tuple[BallNorm, float]] | None:
    """Return a norm with its largest radius for each point, or None when one has none."""
    norms: list[tuple[BallNorm, float]] = []
    for place in places:
        found = best_norm(place)
        if found is None:
            return None
        norms.append(found)
    return norms


def _document(network: EchoStateNetwork, inputs: InputClass, balls: Sequence[AttractingBall]) -> Document:
    return local_document(
        network, "attracting-balls",
        claim={"inputs": claim_section(inputs), "responses": len(balls)},
        witness={"balls": [ball.section for ball in balls]},
        notes={"state_radii": [ball.state_radius for ball in balls]},
    )  # fmt: skip


# -- what is exported -----------------------------------------------------------------------------------


def attracting_balls(
    network: EchoStateNetwork,
    inputs: InputClass,
    points: Iterable[FloatArray],
    *,
    deadline: float = math.inf,
) -> tuple[AttractingBall, ...] | None:
    """Return disjoint contracting balls around stable fixed points, valid for every input of a class.

    The balls are candidates: only a document that holds them can be checked.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : Zero, Constant, InputBox or InputAlphabet
        An alphabet is covered through its smallest box.
    points : iterable of arrays (n_units,)
        Stable fixed points at the middle of the inputs, or states near them.
    deadline : float
        A value of `time.perf_counter` after which the search gives up.

    Returns
    -------
    tuple of AttractingBall, or None
        One ball for each point; None when a point has none, or when two balls cannot be kept apart.
    """
    hull = input_hull(inputs, network.n_inputs)
    if hull is None or not _supported(network):
        return None
    middle = 0.5 * hull.low + 0.5 * hull.high
    half = np.maximum(hull.high - middle, middle - hull.low) * (1.0 + 2.0**-50)
    still = network.at_input(middle)
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        polished = [_polished(still, np.asarray(x, dtype=np.float64)) for x in points]
        if any(x is None for x in polished) or len(_distinct(polished)) != len(polished):
            return None
        places = [StablePoint(network, middle, half, x, deadline) for x in polished if x is not None]
        norms = _norms(places)
        balls = None if norms is None else fitted_balls(places, 1.0, norms)
    return None if balls is None else tuple(balls)


def find_attracting_balls(
    network: EchoStateNetwork,
    inputs: InputClass,
    points: Iterable[FloatArray],
    *,
    deadline: float = math.inf,
) -> Document | None:
    """Return a checked certificate that every input of a class has one attracting response at each point.

    Parameters are those of `attracting_balls`.

    Returns
    -------
    dict or None
        A certificate with the verdict ``"local"`` that the exact checker has accepted.
    """
    balls = attracting_balls(network, inputs, points, deadline=deadline)
    if not balls:
        return None
    document = _document(network, inputs, balls)
    return document if check_certificate(document).valid else None


@final
@dataclass(frozen=True, eq=False)
class EchoIndexBound:
    """A proved lower bound of the echo index: so many attracting responses to every input near one.

    Attributes
    ----------
    at_least : int
        The number of disjoint contracting balls; 0 when none was certified.
    points : array (at_least, n_units)
        Their centres, stable fixed points under the constant input.
    state_radii : array (at_least,)
        Each ball holds every state within this of its centre, in every component.
    rates : array (at_least,)
        Differences of states in a ball shrink at least by this factor per step.
    input_radius : float
        Each component of the input may vary in time by this much around the constant; 0 for a network
        without inputs.
    document : dict or None
        The certificate; None when `at_least` is 0.
    sentence : str
        The same in words.
    """

    at_least: int
    points: FloatArray
    state_radii: FloatArray
    rates: FloatArray
    input_radius: float
    document: Document | None = field(repr=False)
    sentence: str


def certify_echo_index(
    network: EchoStateNetwork,
    u: FloatArray | None = None,
    *,
    points: Iterable[FloatArray] | None = None,
    input_radius: float | None = None,
    budget: float | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> EchoIndexBound:
    r"""Prove that every input near a constant one has at least so many attracting responses.

    Around each stable fixed point at the constant input u a ball is found that every input within
    :math:`\delta` of u maps into itself, and in which any two states approach each other. Each ball
    attracts to one response, whatever the input does within these limits (the small-input theorem with its
    radii made explicit).

    Parameters
    ----------
    network : EchoStateNetwork
    u : array (n_inputs,), optional
        The constant input; zero by default.
    points : iterable of arrays (n_units,), optional
        States near the stable fixed points; by default they are searched for from random states. One
        that leads to no stable fixed point is left out.
    input_radius : float, optional
        The input radius to prove. By default nearly the largest one for which all the balls hold; the
        balls are then as large as they may be with it. 0 gives the largest balls.
    budget : float, optional
        Seconds after which the search gives up; unlimited by default.
    rng : int, numpy.random.Generator or None
        For the states from which points are searched.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    EchoIndexBound

    Raises
    ------
    InvalidInputError
        When u or a point has the wrong shape, or a radius or the budget is negative.

    Notes
    -----
    The norms are weighted maximum, weighted Euclidean and quadratic ones, fitted to the slopes in the ball;
    that is taken in which the ball holds the widest box of states (above 200 units: the first that succeeds).
    With squares in the feedback only weighted maximum norms are valid.

    Examples
    --------
    Two units that each remember a sign:

    >>> memory = EchoStateNetwork(2.0 * np.eye(2), W_in=np.eye(2))
    >>> bound = certify_echo_index(memory)
    >>> bound.at_least, bool(bound.input_radius > 0.1)
    (4, True)

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi and C. Postlethwaite, "The echo index and multistability in input-driven
    recurrent neural networks", Physica D 412 (2020) 132609, doi:10.1016/j.physd.2020.132609.
    """
    u = np.zeros(network.n_inputs) if u is None else checked_array(u, "u", (network.n_inputs,), "(n_inputs,)")
    for name, value in (("input_radius", input_radius), ("budget", budget)):
        if value is not None and not 0.0 <= value < math.inf:
            raise InvalidInputError(name, str(value), "must be a number, at least 0")
    given = None
    if points is not None:
        given = [checked_array(x, "points", (network.n_units,), "(n_units,)") for x in points]
    deadline = math.inf if budget is None else time.perf_counter() + budget
    if not _supported(network):
        return _nothing(
            network, "the activation has no slopes that the checker knows, or weights are too large"
        )
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        progress("searching for stable fixed points", 0.0)
        still = network.at_input(u)
        if given is None:
            found = _attractors(still, np.random.default_rng(rng), deadline)
        else:
            found = _distinct(_polished(still, x) for x in given)
        if not found:
            return _nothing(network, "no stable fixed point was found at this constant input")
        return _bounded(network, u, found, input_radius, deadline, progress)


def _bounded(
    network: EchoStateNetwork,
    u: FloatArray,
    found: Sequence[FloatArray],
    input_radius: float | None,
    deadline: float,
    progress: Progress,
) -> EchoIndexBound:
    places = [StablePoint(network, u, np.ones(network.n_inputs), x, deadline) for x in found]
    fitted: list[tuple[StablePoint, tuple[BallNorm, float]]] = []
    for k, place in enumerate(places):
        progress("fitting balls", 0.1 + 0.5 * k / len(places))
        norm = best_norm(place)
        if norm is not None:
            fitted.append((place, norm))
    if not fitted:
        return _nothing(network, "no norm was found in which a ball around a stable fixed point contracts")
    radius = 0.0 if network.n_inputs == 0 else input_radius
    if radius is None:
        progress("finding the input radius", 0.6)
        radius = 0.9 * min(largest_share(norm, place, size) for place, (norm, size) in fitted)
        radius = math.floor(radius * 2.0**30) / 2.0**30
    for share in (radius, 0.5 * radius, 0.1 * radius, 0.0) if input_radius is None else (radius,):
        if time.perf_counter() > deadline:
            break
        balls = fitted_balls([p for p, _ in fitted], share * (1.0 + 2.0**-40), [norm for _, norm in fitted])
        if balls is None:
            continue
        progress("checking", 0.8)
        inputs: InputClass = Constant(u) if np.any(u) else Zero()
        if share > 0.0:
            inputs = InputBox(np.nextafter(u - share, -np.inf), np.nextafter(u + share, np.inf))
        document = _document(network, inputs, balls)
        if check_certificate(document, deadline=None if math.isinf(deadline) else deadline).valid:
            return _bound(balls, share, document)
    reason = "no disjoint balls were certified" + (" within the budget" if deadline < math.inf else "")
    return _nothing(network, reason)


def _bound(balls: Sequence[AttractingBall], share: float, document: Document) -> EchoIndexBound:
    n, where = len(balls), "this constant input"
    if share > 0.0:
        where = f"every input sequence that stays within {share:.3g} of this constant input"
    responses = "one attracting response" if n == 1 else f"{n} attracting responses"
    sentence = (
        f"Proved: {where} has at least {responses}, so the echo index is at least {n}; each attracts every "
        f"state within {min(b.state_radius for b in balls):.3g} of its fixed point."
    )
    return EchoIndexBound(
        n, np.array([b.centre for b in balls]), np.array([b.state_radius for b in balls]),
        np.array([b.rate for b in balls]), share, document, sentence,
    )  # fmt: skip


def _nothing(network: EchoStateNetwork, reason: str) -> EchoIndexBound:
    none = np.zeros(0)
    return EchoIndexBound(
        0, np.zeros((0, network.n_units)), none, none, 0.0, None, f"Nothing is proved: {reason}."
    )
