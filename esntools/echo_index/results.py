"""What `estimate_echo_index` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

from esntools._typing import Document, FloatArray, IntArray

__all__ = ["BasinsAtZero", "Boundary", "EchoIndex", "Response"]


@final
@dataclass(frozen=True, eq=False)
class Response:
    """One response to the input.

    Attributes
    ----------
    states : ndarray, shape (n_steps + 1, n_units)
        At the times `EchoIndex.times`.
    exponent : float
        Leading conditional Lyapunov exponent per step, over the longest stretch that was followed.
    interval : (float, float)
        Its 95 % confidence interval, from 20 batch means.
    attracting : bool
        Whether the whole interval is negative.
    share : float
        Share of the independent uniform starts, `EchoIndex.past` steps before time 0, that lead to it.
    share_interval : (float, float)
        95 % Wilson interval of the share.
    """

    states: FloatArray
    exponent: float
    interval: tuple[float, float]
    attracting: bool
    share: float
    share_interval: tuple[float, float]


@final
@dataclass(frozen=True, eq=False)
class Boundary:
    """A solution on the boundary between two responses, tracked between states that go to either.

    Attributes
    ----------
    states : ndarray, shape (n_states, n_units)
        At the first times of `EchoIndex.times`; fewer than those where labels could no longer be told.
    between : (int, int)
    exponents : ndarray, shape (1 or 2,)
        Leading conditional exponents along it: the first is positive when the boundary repels, the second
        negative when the solution attracts within the boundary.
    intervals : ndarray, shape (1 or 2, 2)
    """

    states: FloatArray
    between: tuple[int, int]
    exponents: FloatArray
    intervals: FloatArray


@final
@dataclass(frozen=True, eq=False)
class BasinsAtZero:
    """Which response the states of a plane approach when they start at time 0.

    Attributes
    ----------
    labels : ndarray of int, shape (n, n)
        labels[i, j] belongs to ``origin + s[j] e1 + s[i] e2``; -1 where undecided when the input ended.
    origin, e1, e2 : ndarray, shape (n_units,)
    s : ndarray, shape (n,)
        Coordinates, from -1 to 1.
    """

    labels: IntArray
    origin: FloatArray
    e1: FloatArray
    e2: FloatArray
    s: FloatArray


@final
@dataclass(frozen=True, eq=False)
class EchoIndex:
    """How many attracting responses an input has: what is proved and what is estimated.

    Attributes
    ----------
    lower, upper : int, int or None
        Proved for every sequence of the class of inputs (for a recorded series: every sequence within its
        range). `lower` is 0 and `upper` None where nothing is proved.
    almost_sure : int or None
        Proved with probability one under the law of the inputs.
    estimate : int or None
        The index: the proved one where there is one, else the number of attracting responses found; None
        where responses are not attracting, so that there is no such number.
    verdict : {"proved", "proved almost surely", "estimated"}
    sentence : str
        The same in words, with how large a missed basin could be.
    responses : tuple of Response
        Those found, the largest share first.
    boundary : Boundary or None
        Between the two with the largest shares.
    counts : tuple of (int, int)
        (past, number of responses found) for growing pasts.
    stable : bool
        Whether the last three counts agree (two, where the series allows no more).
    past : int
        The longest past.
    n_random : int
        Independent uniform starts; others, space-filling and adversarial, are not counted for probabilities.
    missed_measure : float
        A response that attracts more than this share of the box of states from time -past has been found
        with a confidence of 95 %; 0 where the number is proved.
    times : ndarray of int, shape (n_steps + 1,)
        Of the states of the responses; time 0 is where responses are counted.
    inputs : ndarray, shape (n_steps, n_inputs)
        inputs[t] leads from times[t] to times[t + 1].
    distances : ndarray, shape (n_steps + 1, n_lines)
        Largest difference, over the units, between further random starts and the response that each joins.
    joined : ndarray of int, shape (n_lines,)
    basins : BasinsAtZero or None
    proofs : tuple of str
        What the proved ends rest on.
    documents : tuple of dict
        Certificates among them, which `check_certificate` verifies; the exact analysis of one deciding
        coordinate has none.
    note : str
        Caveats; empty when there are none.
    """

    lower: int
    upper: int | None
    almost_sure: int | None
    estimate: int | None
    verdict: Literal["proved", "proved almost surely", "estimated"]
    sentence: str
    responses: tuple[Response, ...]
    boundary: Boundary | None
    counts: tuple[tuple[int, int], ...]
    stable: bool
    past: int
    n_random: int
    missed_measure: float
    times: IntArray = field(repr=False)
    inputs: FloatArray = field(repr=False)
    distances: FloatArray = field(repr=False)
    joined: IntArray = field(repr=False)
    basins: BasinsAtZero | None = field(repr=False)
    proofs: tuple[str, ...]
    documents: tuple[Document, ...] = field(repr=False)
    note: str
