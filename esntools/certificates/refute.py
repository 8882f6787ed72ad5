"""Witnesses against the echo state property: constant inputs under which states are not forgotten.

Two fixed points under one input are two responses; one unstable fixed point is a response that nearby states
leave. Both are searched for by Newton's method in floating point and become claims only when the exact
checker has agreed; the theorems, with proofs, are in FORMAT.md, section 5.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.linalg

from esntools._typing import ComplexArray, Document, FloatArray, Progress, no_progress
from esntools.certificates.documents import array_section, check_certificate, refuted_document
from esntools.certificates.refine import refined_fixed_point
from esntools.certificates.sectors import congruence
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

__all__ = ["Equilibrium", "Refutation", "find_refutation", "origin_gain"]

_TOLERANCE: Final = 1e-11
# The checker encloses phi at the centre in units of 2**-80.
_ENCLOSURE: Final = 2.0**-77


@final
@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A fixed point found in floating point, under a constant drive."""

    x: FloatArray
    eigenvalues: ComplexArray

    @property
    def stable(self) -> bool:
        return bool(np.all(np.abs(self.eigenvalues) < 1.0))


@final
@dataclass(frozen=True, eq=False)
class Refutation:
    """A verified witness: the document, the constant input, and the fixed points that it shows."""

    document: Document
    theorem: str
    input: FloatArray
    points: tuple[Equilibrium, ...]


class _Map:
    """The network at one constant drive: z = W x + bend x^2 + drive, with the feedback folded in."""

    def __init__(self, network: EchoStateNetwork, drive: FloatArray, u: FloatArray | None = None) -> None:
        # The drive is rounded; the input that it comes from, where there is one, is exact.
        self.network, self.a, self.drive, self.u = network, network.leak_rate, drive, u
        self.W = network.dense_W()
        self.bend: FloatArray | None = None
        readout = network.readout
        if network.W_fb is not None and readout is not None:
            self.W = self.W + network.W_fb @ readout.W_out
            if readout.W_sq is not None:
                self.bend = network.W_fb @ readout.W_sq

    def preactivation(self, x: FloatArray) -> FloatArray:
        z = self.W @ x + self.drive
        return z if self.bend is None else z + self.bend @ (x * x)

    def weights(self, x: FloatArray) -> FloatArray:
        """The effective recurrent weights at x."""
        return self.W if self.bend is None else self.W + 2.0 * self.bend * x

    def step(self, x: FloatArray) -> FloatArray:
        return np.asarray((1.0 - self.a) * x + self.a * self.network.activation(self.preactivation(x)))

    def slopes(self, x: FloatArray) -> FloatArray:
        return self.network.activation.slope(self.preactivation(x))

    def jacobian(self, x: FloatArray) -> FloatArray:
        return np.asarray(np.diag(1.0 - self.a) + (self.a * self.slopes(x))[:, None] * self.weights(x))

    def newton(self, x: FloatArray) -> FloatArray | None:
        """Return a zero of x - phi(z(x)) near x, or None. Steps that do not help are halved."""
        phi = self.network.activation
        g = x - phi(self.preactivation(x))
        size = float(np.abs(g).max())
        for _ in range(40):
            Dg = np.eye(len(x)) - self.slopes(x)[:, None] * self.weights(x)
            try:
                step = np.linalg.solve(Dg, g)
            except np.linalg.LinAlgError:
                return None
            if not np.all(np.isfinite(step)):
                return None
            for halving in range(6):
                trial = x - step * 0.5**halving
                g_trial = trial - phi(self.preactivation(trial))
                size_trial = float(np.abs(g_trial).max())
                if size_trial < size or size_trial < 1e-15:
                    break
            converged = size < _TOLERANCE and not size_trial < 0.5 * size
            if size_trial < size:
                x, g, size = trial, g_trial, size_trial
            elif not converged:
                return None
            if converged or size == 0.0:
                return x
        return x if size < _TOLERANCE else None


def _constants(
    network: EchoStateNetwork, inputs: InputClass, rng: np.random.Generator
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield admissible constant inputs with their drives; for AnyInput the input is the drive itself."""
    n_in = network.n_inputs
    offset = np.zeros(network.n_units)
    if network.W_fb is not None and network.readout is not None:
        offset = network.W_fb @ network.readout.b_out

    def driven(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        return u, network.b + network.W_in @ u + offset

    match inputs:
        case AnyInput():
            yield np.zeros(network.n_units), np.zeros(network.n_units)
            if np.any(network.b + offset):
                yield network.b + offset, network.b + offset
        case Zero():
            yield driven(np.zeros(n_in))
        case Constant():
            yield driven(inputs.c)
        case InputAlphabet():
            for u in inputs.symbols[:32]:
                yield driven(u)
        case InputBox():
            low, high = inputs.low, inputs.high

            def between(share: float | FloatArray) -> FloatArray:
                return np.clip((1.0 - share) * low + share * high, low, high)

            yield driven(np.clip(np.zeros(n_in), low, high))
            seen = {tuple(np.clip(np.zeros(n_in), low, high))}
            middle = 0.5 * low + 0.5 * high
            corners = [
                np.where([(k >> j) & 1 for j in range(n_in)], high, low) for k in range(2 ** min(n_in, 3))
            ]
            # Rounding must not lead out of the box.
            inner = [between(share) for share in (0.25, 0.75)]
            several = (
                [between(rng.uniform(size=n_in)) for _ in range(2 if n_in == 1 else 6)]
                if np.any(low < high)
                else []
            )
            for u in [middle, *corners, *inner, *several]:
                if tuple(u) not in seen:
                    seen.add(tuple(u))
                    yield driven(u)
        case InputSignal():
            return


def _starts(map_: _Map, rng: np.random.Generator, count: int) -> Iterator[FloatArray]:
    n = len(map_.a)
    yield np.zeros(n)
    for k in range(count):
        spread = rng.uniform(-1.0, 1.0, n) * (1.0 if k % 2 else rng.uniform(0.05, 1.0))
        state = spread
        if k % 3 != 2:
            with np.errstate(all="ignore"):
                for _ in range(150):
                    state = map_.step(state)
            if not np.all(np.isfinite(state)) or np.abs(state).max() > 1e6:
                state = spread
        yield state


def _equilibria(
    map_: _Map, starts: Iterable[FloatArray], deadline: float, enough: int = 4
) -> tuple[Equilibrium, ...]:
    found: list[Equilibrium] = []
    for start in starts:
        if time.perf_counter() > deadline or len(found) >= enough:
            break
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # A nearly singular Newton matrix is an unlucky start, not an event to report.
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            x = map_.newton(start)
        if x is None or any(float(np.abs(x - p.x).max()) < 1e-6 for p in found):
            continue
        found.append(Equilibrium(x, np.linalg.eigvals(map_.jacobian(x)).astype(complex)))
    return tuple(found)


def _ball(map_: _Map, x: FloatArray) -> Document | None:
    """Return centre, radius and approximate inverse, or None when x is too badly conditioned."""
    n = len(x)
    Dg = np.eye(n) - map_.jacobian(x)
    try:
        C = np.linalg.inv(Dg)
    except np.linalg.LinAlgError:
        return None
    rows = float(np.abs(Dg).sum(axis=1).max())
    digits = math.ceil(math.log2(64.0 * n * max(rows, 1.0)))
    C = np.round(C * 2.0**digits) / 2.0**digits
    bend = 0.0 if map_.bend is None else np.abs(map_.bend) @ (x * x)
    size = np.abs(map_.W) @ np.abs(x) + bend + np.abs(map_.drive) + 1.0
    error = float((np.abs(C) @ (2.0**-52 * size)).max())
    if not np.isfinite(error) or error > 2.0**-10:
        return None
    fine = np.zeros(n)
    # Over the ball the slopes turn by |phi''| |weights| radius, which C and the weights then magnify.
    turn = np.abs(map_.weights(x)).sum(axis=1)
    if 8.0 * error * float((np.abs(C) @ (turn * turn)).max()) > 0.1:
        refined = refined_fixed_point(map_.network, map_.u, map_.drive, x, C)
        if refined is not None:
            x, fine, left = refined
            error = float((np.abs(C) @ (np.abs(left) + _ENCLOSURE * size)).max())
    radius = 2.0 ** math.ceil(math.log2(8.0 * error))
    return {
        "centre": array_section(x),
        "fine": array_section(fine),
        "radius": radius.hex(),
        "C": array_section(C),
    }


def _unstable_witness(map_: _Map, point: Equilibrium) -> Document | None:
    """Return P, R and v for an unstable fixed point: P - J'PJ > 0 and v'Pv < 0."""
    moduli = np.abs(point.eigenvalues)
    if not moduli.max() > 1.0 + 1e-9 or np.abs(moduli - 1.0).min() < 1e-9:
        return None
    J = map_.jacobian(point.x)
    n = len(J)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            P = scipy.linalg.solve_discrete_lyapunov(
                J.T, np.eye(n), method="direct" if n <= 8 else "bilinear"
            )
    except (np.linalg.LinAlgError, ValueError):
        return None
    if not np.all(np.isfinite(P)):
        return None
    P = 0.5 * (P + P.T)
    # J'PJ cancels against P; this keeps an error well below the identity that remains.
    digits = 12 + math.ceil(math.log2(max(1.0, float(n * np.abs(J).sum(axis=0).max() ** 2))))
    P = np.round(P * 2.0**digits) / 2.0**digits
    R = congruence(P - J.T @ P @ J)
    if R is None:
        return None
    try:
        _, vectors = scipy.linalg.eigh(P, subset_by_index=[0, 0])
    except np.linalg.LinAlgError:
        # LAPACK's choice of one eigenvector fails on some repeated eigenvalues.
        _, vectors = np.linalg.eigh(P)
    v = vectors[:, 0].astype(np.float32).astype(np.float64)
    if not float(v @ P @ v) < 0.0:
        return None
    return {"P": array_section(P), "R": array_section(R), "v": array_section(v)}


def _notes(points: Iterable[Equilibrium], seconds: float) -> Document:
    return {
        "seconds": round(seconds, 3),
        "largest_eigenvalue_moduli": [float(np.abs(p.eigenvalues).max()) for p in points],
    }


def _documents(
    network: EchoStateNetwork, inputs: InputClass, u: FloatArray, map_: _Map, points: tuple[Equilibrium, ...]
) -> Iterator[Refutation]:
    """Yield unverified refutations, the strongest first."""
    start = time.perf_counter()

    def made(theorem: str, witness: Document, shown: tuple[Equilibrium, ...]) -> Refutation:
        document = refuted_document(
            network, theorem, inputs, witness={"input": array_section(u[None, :]), **witness},
            notes=_notes(shown, time.perf_counter() - start),
        )  # fmt: skip
        return Refutation(document, theorem, u, shown)

    # Two attracting responses tell more than two responses; stable points first.
    ordered = sorted(points, key=lambda p: float(np.abs(p.eigenvalues).max()))
    balls = [(p, ball) for p in ordered[:3] if (ball := _ball(map_, p.x)) is not None]
    if len(balls) >= 2:
        (p, one), (q, two) = balls[:2]
        yield made("two-fixed-points", {"balls": [one, two]}, (p, q))
    for p, ball in reversed(balls):
        witness = _unstable_witness(map_, p)
        if witness is not None:
            yield made("unstable-fixed-point", {"ball": ball, **witness}, (p,))


def _worst_slopes(network: EchoStateNetwork, map_: _Map, rounds: int) -> tuple[FloatArray, FloatArray] | None:
    """Return a drive and a fixed point where a pattern of slopes makes the Jacobian unstable.

    Any pattern in (0, L] is met by some drive: choose z with these slopes, x = phi(z), and the drive z - W x.
    The pattern is found by ascent of the spectral radius.
    """
    n, a = len(map_.a), map_.a
    phi = network.activation
    if phi.name == "custom" or map_.bend is not None or not phi.monotone or phi.name == "identity":
        return None
    top = float(phi.slope(np.zeros(1))[0])
    if top <= 0.0:
        return None
    d, best, best_d = np.full(n, top), 0.0, None
    for k in range(rounds):
        J = np.diag(1.0 - a) + (a * d)[:, None] * map_.W
        values, left, right = scipy.linalg.eig(J, left=True, right=True)
        i = int(np.argmax(np.abs(values)))
        radius = float(np.abs(values[i]))
        if radius > best:
            best, best_d = radius, d.copy()
        if best > 1.02:
            break
        u, v = left[:, i], right[:, i]
        weight = np.conj(values[i]) / max(radius, 1e-12) / np.vdot(u, v)
        gradient = np.real(weight * a * np.conj(u) * (map_.W @ v))
        size = max(float(np.abs(gradient).max()), 1e-300)
        d = np.clip(d + (0.5 / (1.0 + 0.1 * k)) * top * gradient / size, 0.02 * top, top)
    if best_d is None or best <= 1.001:
        return None
    z = np.array([_where_slope(phi, s, top) for s in best_d])
    return z - map_.W @ phi(z), phi(z)


def _where_slope(phi: Any, slope: float, top: float) -> float:
    """Return z >= 0 with phi'(z) about `slope`; slopes of the monotone built-ins fall away from 0."""
    if slope >= top:
        return 0.0
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(phi.slope(np.array([middle]))[0]) > slope else (low, middle)
    return high


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
    rng: np.random.Generator | None = None,
    progress: Progress = no_progress,
) -> Refutation | None:
    """Search for a verified witness that states are not forgotten under some constant input of the class.

    Parameters
    ----------
    candidates : iterable of arrays (n_units,), optional
        States near fixed points that the caller knows, tried first.
    deadline : float
        A value of `time.perf_counter` after which the search gives up.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    n = network.n_units
    count = 24 if n <= 120 else 12 if n <= 300 else 6
    known = [np.asarray(x, dtype=np.float64) for x in candidates]
    trials = list(_constants(network, inputs, rng))
    if isinstance(inputs, AnyInput) and n <= 300:
        worst = _worst_slopes(network, _Map(network, np.zeros(n)), 60 if n <= 120 else 20)
        if worst is not None:
            trials.append((worst[0], worst[0]))
            known.append(worst[1])
    for k, (u, drive) in enumerate(trials):
        if time.perf_counter() > deadline:
            return None
        progress("searching for a counterexample", k / len(trials))
        if not np.all(np.isfinite(drive)):
            continue
        map_ = _Map(network, drive, None if isinstance(inputs, AnyInput) else u)
        points = _equilibria(map_, [*known, *_starts(map_, rng, count)], deadline)
        if len(points) < 2 and all(p.stable for p in points):
            continue
        for refutation in _documents(network, inputs, u, map_, points):
            if check_certificate(refutation.document).valid:
                return refutation
            if time.perf_counter() > deadline:
                return None
    return None
