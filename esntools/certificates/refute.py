"""Witnesses against the echo state property: inputs under which states are not forgotten.

Two responses to one input are two; an unstable response is one that nearby states leave. Constant inputs come
first, then cycles at a constant input, periodic inputs, and the worst slopes or inputs. All are searched for
in floating point and become claims only when the exact checker has agreed; the theorems, with proofs, are in
FORMAT.md, section 6.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from esntools._typing import Document, FloatArray, Progress, RandomState, no_progress
from esntools.certificates import check
from esntools.certificates.adversary import find_slope_pattern, find_worst_input, periodic_drive
from esntools.certificates.attracting import certify_echo_index
from esntools.certificates.documents import array_section, check_certificate, refuted_document
from esntools.certificates.witness import (
    DrivenMap,
    Refutation,
    Response,
    response_ball,
    unstable_witness,
)
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

__all__ = ["Refutation", "Response", "find_refutation", "origin_gain"]

_PERIODS: Final = (2, 3, 4)
# Lifts are checked as dense matrices of this many rows at most.
_LIFTED_UNITS: Final = 800
_APART: Final = 1e-6


# -- candidates of inputs -------------------------------------------------------------------------------


def _box_points(box: InputBox, rng: np.random.Generator) -> list[FloatArray]:
    """The point nearest to 0, the middle, corners, and some points within."""
    low, high, n_in = box.low, box.high, len(box.low)

    def between(share: float | FloatArray) -> FloatArray:
        # Rounding must not lead out of the box.
        return np.clip((1.0 - share) * low + share * high, low, high)

    corners = [np.where([(k >> j) & 1 for j in range(n_in)], high, low) for k in range(2 ** min(n_in, 3))]
    count = 0 if np.all(low == high) else 2 if n_in == 1 else 6
    several = [between(rng.uniform(size=n_in)) for _ in range(count)]
    points = [np.clip(np.zeros(n_in), low, high), 0.5 * low + 0.5 * high, *corners]
    points += [between(0.25), between(0.75), *several]
    return list({tuple(u): u for u in points}.values())


def _constants(network: EchoStateNetwork, inputs: InputClass, rng: np.random.Generator) -> list[FloatArray]:
    """Admissible constant inputs; for any input, constant drives."""
    match inputs:
        case AnyInput():
            own = network.b
            if network.W_fb is not None and network.readout is not None:
                own = own + network.W_fb @ network.readout.b_out
            return [np.zeros(network.n_units), *([own] if np.any(own) else [])]
        case Zero():
            return [np.zeros(network.n_inputs)]
        case Constant():
            return [inputs.c]
        case InputAlphabet():
            return list(inputs.symbols[:32])
        case InputBox():
            return _box_points(inputs, rng)
        case InputSignal():
            return []


def _words(inputs: InputClass, period: int, rng: np.random.Generator, count: int = 40) -> list[FloatArray]:
    """Inputs of just this period over symbols, or over points and corners of a box; up to rotation."""
    match inputs:
        case InputAlphabet():
            letters = list(inputs.symbols[:16])
        case InputBox() if np.any(inputs.low < inputs.high):
            letters = _box_points(inputs, rng)[: 6 if period == 2 else 4]
        case _:
            return []
    words = []
    for word in itertools.islice(itertools.product(range(len(letters)), repeat=period), 4096):
        turns = [word[k:] + word[:k] for k in range(period)]
        if word == min(turns) and len(set(turns)) == period:
            words.append(np.array([letters[k] for k in word]))
    if len(words) > count:
        words = [words[k] for k in sorted(rng.choice(len(words), count, replace=False))]
    return words


# -- candidates of responses ----------------------------------------------------------------------------


def _starts(map_: DrivenMap, rng: np.random.Generator, count: int) -> Iterator[FloatArray]:
    """States to start Newton's method from, for a constant input."""
    n = len(map_.a)
    yield np.zeros((1, n))
    for k in range(count):
        spread = rng.uniform(-1.0, 1.0, n) * (1.0 if k % 2 else rng.uniform(0.05, 1.0))
        state = spread
        if k % 3 != 2:
            with np.errstate(all="ignore"):
                state = map_.run(spread, 150)[-1]
            if not np.all(np.isfinite(state)) or np.abs(state).max() > 1e6:
                state = spread
        yield state[None]


def _apart(one: FloatArray, two: FloatArray) -> bool:
    return float(np.abs(one - two).max()) > _APART


def _responses(
    map_: DrivenMap, starts: Iterable[FloatArray], deadline: float, enough: int = 4
) -> tuple[Response, ...]:
    """Distinct periodic responses that Newton's method finds from the starts."""
    found: list[Response] = []
    for start in starts:
        if time.perf_counter() > deadline or len(found) >= enough:
            break
        states = map_.solve(start)
        # Eigenvalues cost more than the rest; most starts lead to what is known.
        if states is not None and all(_apart(states, other.states) for other in found):
            response = map_.response(states)
            if response is not None:
                found.append(response)
    return tuple(found)


def _settled(map_: DrivenMap, rng: np.random.Generator, count: int, periods: int) -> FloatArray:
    """Random states driven for `periods` periods, then recorded for as many: (periods, period, count, n)."""
    n, p = len(map_.a), map_.period
    x = rng.uniform(-1.0, 1.0, (count, n))
    x[0] = 0.0
    with np.errstate(all="ignore"):
        states = map_.run(x, 2 * periods * p)[1 + periods * p :]
    return states.reshape(periods, p, count, n)


def _cycle_starts(orbits: FloatArray, period: int, rng: np.random.Generator | None) -> Iterator[FloatArray]:
    """Where orbits (steps, batch, n) at constant input recur after `period` steps.

    With `rng`, also where they nearly do, and random states.
    """
    gaps = np.abs(orbits[period:] - orbits[:-period]).max(axis=2)
    for k in range(orbits.shape[1]):
        column = gaps[:, k]
        if not np.all(np.isfinite(column)):
            continue
        if rng is not None or column[-1] < 1e-3:
            yield orbits[-period:, k]
        if rng is not None:
            nearest = int(np.argmin(column))
            yield orbits[nearest : nearest + period, k]
    if rng is not None:
        for _ in range(4):
            yield rng.uniform(-1.0, 1.0, (period, orbits.shape[2]))


def _is_cycle(response: Response) -> bool:
    """Whether the response to a constant input has no smaller period."""
    X, p = response.states, response.period
    return all(_apart(X, np.roll(X, d, axis=0)) for d in range(1, p) if p % d == 0)


# -- from responses to documents ------------------------------------------------------------------------


def _notes(points: Iterable[Response], seconds: float) -> Document:
    return {
        "seconds": round(seconds, 3),
        "largest_multipliers": [float(np.abs(p.eigenvalues).max()) for p in points],
    }


def _candidates(
    inputs: InputClass, map_: DrivenMap, points: Iterable[Response], deadline: float
) -> Iterator[Refutation]:
    """Yield unverified refutations, the strongest first."""
    start = time.perf_counter()
    network = map_.network

    def made(theorem: str, witness: Document, shown: tuple[Response, ...], strength: str) -> Refutation:
        document = refuted_document(
            network, theorem, inputs, witness={"input": array_section(map_.rows), **witness},
            notes=_notes(shown, time.perf_counter() - start),
        )  # fmt: skip
        return Refutation(
            document, theorem, map_.rows, shown, strength, map_.period, None, network, map_.as_drive
        )

    ordered = sorted(points, key=lambda r: float(np.abs(r.eigenvalues).max()))
    if map_.period == 1 and len(ordered) >= 2 and ordered[1].stable:
        attracting = _attracting(map_, ordered[0], ordered[1], deadline)
        if attracting is not None:
            witness, radius = attracting
            strength = "two attracting responses"
            refutation = made("attracting-balls", witness, (ordered[0], ordered[1]), strength)
            yield replace(refutation, input_radius=radius if map_.rows.shape[1] else None)
    balls = [(p, ball) for p in ordered[:3] if (ball := response_ball(map_, p.states)) is not None]
    if len(balls) >= 2:
        (p, one), (q, two) = balls[:2]
        yield made("two-fixed-points", {"balls": [one, two]}, (p, q), "two responses")
    for p, ball in reversed(balls):
        unstable = unstable_witness(map_, p)
        if unstable is not None:
            yield made("unstable-fixed-point", {"ball": ball, **unstable}, (p,), "unstable response")


def _attracting(
    map_: DrivenMap, one: Response, two: Response, deadline: float
) -> tuple[Document, float] | None:
    """Return balls that attract around two fixed points, with the input radius for which they do."""
    network = map_.network
    if map_.as_drive:
        # The drive is then the input, and nothing else is added.
        readout = network.readout
        if readout is not None:
            readout = replace(readout, b_out=np.zeros(network.n_outputs))
        n = network.n_units
        network = replace(network, W_in=np.eye(n), b=np.zeros(n), readout=readout)
    # The weaker statement, two responses, is at hand; balls are not worth more time than this.
    budget = min(0.5 * (deadline - time.perf_counter()), 60.0)
    if budget <= 0.0:
        return None
    bound = certify_echo_index(network, map_.rows[0], points=[one.x, two.x], budget=budget)
    if bound.document is None or bound.at_least < 2:
        return None
    witness = {"inputs": bound.document["claim"]["inputs"], "balls": bound.document["witness"]["balls"]}
    return witness, bound.input_radius


# -- the search -----------------------------------------------------------------------------------------


class _Search:
    """One attempt to refute: what is shared by its stages."""

    def __init__(
        self, network: EchoStateNetwork, inputs: InputClass, deadline: float, rng: np.random.Generator
    ) -> None:
        self.network, self.inputs, self.deadline, self.rng = network, inputs, deadline, rng
        self.as_drive = isinstance(inputs, AnyInput)
        n = network.n_units
        self.count = 24 if n <= 120 else 12 if n <= 300 else 6

    @property
    def out_of_time(self) -> bool:
        return time.perf_counter() > self.deadline

    def map(self, rows: FloatArray) -> DrivenMap | None:
        map_ = DrivenMap(self.network, rows, as_drive=self.as_drive)
        return map_ if np.all(np.isfinite(map_.drive)) else None

    def verified(self, map_: DrivenMap, points: tuple[Response, ...]) -> Refutation | None:
        if len(points) < 2 and all(p.stable for p in points):
            return None
        for refutation in _candidates(self.inputs, map_, points, self.deadline):
            deadline = None if math.isinf(self.deadline) else self.deadline
            if check_certificate(refutation.document, deadline=deadline).valid:
                return refutation
            if self.out_of_time:
                return None
        return None

    def at_constant(self, rows: FloatArray, known: list[FloatArray]) -> Refutation | None:
        map_ = self.map(rows)
        if map_ is None:
            return None
        starts = itertools.chain((x[None] for x in known), _starts(map_, self.rng, self.count))
        found = self.verified(map_, _responses(map_, starts, self.deadline))
        if found is not None and len(found.points) == 1 and not self.out_of_time:
            # Two phases of a cycle say more than an unstable point.
            found = self.by_cycle(rows, stable=True) or found
        return found

    def by_cycle(self, rows: FloatArray, *, stable: bool = False) -> Refutation | None:
        """Two phases of a cycle at a constant input; with `stable`, of one that trajectories settle on."""
        still = self.map(rows)
        n = self.network.n_units
        if still is None or 2 * n > _LIFTED_UNITS:
            return None
        orbits = _settled(still, self.rng, 6, 240)[:, 0]
        for period in _PERIODS:
            map_ = self.map(np.repeat(rows, period, axis=0))
            if map_ is None or period * n > _LIFTED_UNITS or self.out_of_time:
                break
            starts = _cycle_starts(orbits, period, None if stable else self.rng)
            for response in _responses(map_, starts, self.deadline):
                if _is_cycle(response) and (response.stable or not stable):
                    refutation = self.verified(map_, (response, response.shifted(1)))
                    if refutation is not None:
                        return refutation
        return None

    def at_word(self, rows: FloatArray) -> Refutation | None:
        """Two responses to a periodic input, or an unstable one."""
        map_ = self.map(rows)
        if map_ is None:
            return None
        orbits = _settled(map_, self.rng, 4, 60)
        last = orbits[-1]
        if not np.all(np.isfinite(last)):
            return None
        still = bool(np.abs(last - orbits[-2]).max() < 1e-7)
        if still and float(np.ptp(last, axis=1).max()) < 1e-6:
            # Every start came to one stable response; others are rare enough to leave to other inputs.
            return None
        # An unstable response lies near the mean of what goes around it.
        starts = [*np.swapaxes(last, 0, 1), *np.swapaxes(orbits.mean(axis=0), 0, 1), orbits.mean(axis=(0, 2))]
        return self.verified(map_, _responses(map_, starts, self.deadline))

    def by_worst_inputs(self, period: int) -> Refutation | None:
        """An input, varied within the box, under which a response becomes unstable."""
        n, box = self.network.n_units, self.inputs
        if not isinstance(box, InputBox) or n > 300 or not np.any(box.low < box.high):
            return None
        steps, starts = (30, 3) if n <= 30 else (16, 1) if n <= 120 else (8, 1)
        for _ in range(starts):
            rows = np.clip(self.rng.uniform(box.low, box.high, (period, len(box.low))), box.low, box.high)
            map_ = self.map(rows)
            if map_ is None or self.out_of_time:
                return None
            states = _settled(map_, self.rng, 1, max(1, 100 // period))[-1, :, 0]
            found = find_worst_input(
                self.network, box.low, box.high, rows, states, steps=steps, deadline=self.deadline
            )
            map_ = None if found is None else self.map(found[0])
            if found is None or map_ is None or not found[1].growth > 1.0 + 1e-4:
                continue
            # Where a response has lost its stability there may be others that attract.
            orbits = _settled(map_, self.rng, 4, max(1, 200 // period))[-1]
            around = [found[1].states, *np.swapaxes(orbits, 0, 1)]
            refutation = self.verified(map_, _responses(map_, around, self.deadline))
            if refutation is not None:
                return refutation
        return None

    def by_worst_slopes(self) -> Refutation | None:
        """A drive under which a pattern of slopes makes the response unstable."""
        n = self.network.n_units
        for period in (1, *_PERIODS):
            if self.out_of_time or period * n > _LIFTED_UNITS:
                return None
            pattern = find_slope_pattern(self.network, periods=[period], deadline=self.deadline, rng=self.rng)
            if pattern is None or not pattern.growth > 1.0 + 1e-4:
                continue
            realised = periodic_drive(self.network, pattern)
            map_ = self.map(realised.drive)
            if map_ is None:
                continue
            refutation = self.verified(map_, _responses(map_, [realised.states], self.deadline))
            if refutation is not None:
                return refutation
        return None


def origin_gain(network: EchoStateNetwork, limit: float = 100.0) -> float | None:
    """Return about the least multiple of W at which the origin is unstable; None when it is no fixed point.

    It applies where phi(0) = 0, b = 0 and there is no feedback.
    """
    phi = network.activation
    if np.any(network.b) or network.W_fb is not None or float(phi(np.zeros(1))[0]) != 0.0:
        return None
    slope = float(phi.slope(np.zeros(1))[0])
    W, a = network.dense_W(), network.leak_rate

    def radius(gain: float) -> float:
        return float(np.abs(np.linalg.eigvals(np.diag(1.0 - a) + (gain * slope * a)[:, None] * W)).max())

    low, high = 0.0, 1.0
    while radius(high) <= 1.0:
        low, high = high, 2.0 * high
        if high > limit:
            return None
    while high - low > 2e-3 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if radius(middle) > 1.0 else (middle, high)
    return high


def find_refutation(
    network: EchoStateNetwork,
    inputs: InputClass,
    *,
    candidates: Iterable[FloatArray] = (),
    deadline: float = math.inf,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Refutation | None:
    """Search for a verified witness that states are not forgotten under some periodic input of the class.

    In this order: fixed points at constant inputs, by Newton's method from settled and random states; for any
    input, the worst slopes of period 1 to 4; cycles of 2 to 4 steps at constant inputs; inputs of 2 to 4
    steps over the symbols of an alphabet, or the middle and corners of a box; in a box also inputs that are
    optimised to make a response unstable. The first that the exact checker accepts is returned, in its
    strongest form. A recorded series is never refuted: a finite series refutes nothing; nor is a network
    beyond the size of full matrices that the checker takes.

    Parameters
    ----------
    network : EchoStateNetwork
    inputs : InputClass
    candidates : iterable of arrays (n_units,), optional
        States near fixed points that the caller knows, tried first.
    deadline : float
        A value of `time.perf_counter` after which the search gives up.
    rng : int, Generator or None, optional
        For starts of the search.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    Refutation or None

    Examples
    --------
    >>> found = find_refutation(EchoStateNetwork([[2.0, -2.0], [1.5, -1.2]], b=[2.0, 10.0]), Zero())
    >>> found.strength, found.period
    ('two attracting responses', 1)
    """
    if isinstance(inputs, InputSignal) or network.n_units > check.MAX_UNITS:
        return None
    search = _Search(network, inputs, deadline, np.random.default_rng(rng))
    known = [np.asarray(x, dtype=np.float64) for x in candidates]
    constants = _constants(network, inputs, search.rng)
    Stage = tuple[str, Callable[[], Refutation | None]]
    stages: list[Stage] = [("fixed points", partial(search.at_constant, u[None], known)) for u in constants]
    if search.as_drive:
        stages.append(("worst slopes", search.by_worst_slopes))
    stages += [("cycles", partial(search.by_cycle, u[None])) for u in constants[:6]]
    stages.append(("worst inputs", partial(search.by_worst_inputs, 1)))
    for period in _PERIODS:
        if period * network.n_units <= _LIFTED_UNITS:
            words = _words(inputs, period, search.rng)
            stages += [("periodic inputs", partial(search.at_word, word)) for word in words]
            stages.append(("worst inputs", partial(search.by_worst_inputs, period)))
    with threadpool_limits(limits=1 if network.n_units <= 1000 else None), np.errstate(all="ignore"):
        for k, (label, stage) in enumerate(stages):
            if search.out_of_time:
                return None
            progress(f"searching for a counterexample: {label}", k / len(stages))
            found = stage()
            if found is not None:
                return found
    return None
