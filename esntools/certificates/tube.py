r"""A tube around one driven trajectory in which states are proved to forget their differences.

Where no proof holds for all states, one may hold near the trajectory that a recorded input drives. Along it
matrices P_k are propagated backwards so that every Jacobian J met within the tube at step k satisfies
:math:`J^\top P_{k+1} J \le \lambda^2 P_k`; in these norms two trajectories in the tube approach each other by
the factor λ in every step. The conditions and their proof are in FORMAT.md, section 7.3; here λ and the
radius are chosen in floating point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from esntools._typing import Document, FloatArray, Progress, no_progress
from esntools.certificates import check
from esntools.certificates.documents import check_certificate, checked_budget, local_document
from esntools.certificates.regions import Region, slope_ranges
from esntools.certificates.sectors import Candidate
from esntools.certificates.washout import extent
from esntools.errors import InvalidInputError
from esntools.inputs import InputSignal
from esntools.network import EchoStateNetwork
from esntools.readout import checked_array

__all__ = ["NoTube", "Tube", "certify_tube", "steps_covered"]

#: Room for the checker's rounding: it is asked to do with a radius below what ours allows.
_ROOM: Final = 0.96
#: Seconds that a check may take; what a step of it takes is measured on one slow core.
_CHECK_SECONDS: Final = 60.0


@final
@dataclass(frozen=True, eq=False)
class Tube:
    """A certified tube around a driven trajectory.

    Attributes
    ----------
    rate : float
        In the norms of the tube differences shrink at least by this factor per step.
    radius : float
        Euclidean radius: what starts within it of the first state stays in the tube.
    states : array (steps + 1, n_units)
        The trajectory.
    steps : int
        How many steps are covered; fewer than the signal has when the check would take too long.
    washout : int or None
        After so many steps any two states that started within `radius` agree within epsilon in every
        component; with an entry, any two that started within the range of the activation. None when that
        is later than the tube ends.
    entry : int or None
        After so many steps every state that started within the range of the activation is in the tube.
    amplification : float
        |x[k] - y[k]| <= amplification * rate^k * |x[0] - y[0]|, Euclidean norms.
    document : dict
        The certificate.
    sentence : str
        The same in words.
    """

    rate: float
    radius: float
    states: FloatArray = field(repr=False)
    steps: int
    washout: int | None
    entry: int | None
    amplification: float
    document: Document = field(repr=False)
    sentence: str


@final
@dataclass(frozen=True)
class NoTube:
    """No tube was certified; `reason` says why."""

    reason: str


TubeResult: TypeAlias = Tube | NoTube


class _Path:
    """A trajectory in floating point and what the recursion needs along it."""

    def __init__(self, network: EchoStateNetwork, u: FloatArray, x0: FloatArray, deadline: float) -> None:
        self.deadline = deadline
        folded = network.folded()
        self.W, self.a, self.phi = folded.dense_W(), network.leak_rate, network.activation
        self.n, self.steps = network.n_units, len(u)
        self.states, self.z = np.empty((len(u) + 1, self.n)), np.empty((len(u), self.n))
        self.states[0] = x0
        drive = u @ folded.W_in.T + folded.b
        for k, v in enumerate(drive):
            self.z[k] = self.W @ self.states[k] + v
            self.states[k + 1] = (1.0 - self.a) * self.states[k] + self.a * self.phi(self.z[k])
        self.rows = np.linalg.norm(self.W, axis=1)
        size = np.abs(self.W) @ np.abs(self.states).max(axis=0) + np.abs(drive).max(axis=0, initial=0.0) + 1.0
        self.error = 2.0**-48 * size

    def exponent(self) -> float:
        """Return the conditional Lyapunov exponent, the mean logarithm of the growth of one direction."""
        v, total, count = np.cos(np.arange(self.n)), 0.0, 0
        for k in range(self.steps):
            v = (1.0 - self.a) * v + self.a * self.phi.slope(self.z[k]) * (self.W @ v)
            size = float(np.linalg.norm(v))
            if size == 0.0:
                return -math.inf
            v /= size
            if k >= self.steps // 4:
                total, count = total + math.log(size), count + 1
        return total / max(count, 1)

    def slopes(self, k: int, radius: float) -> tuple[FloatArray, FloatArray]:
        """Return the middle of the slopes met at step k in the tube, and how far they lie from it."""
        width = self.rows * radius * (1.0 + 1e-9) + self.error
        low, high = slope_ranges(self.phi, self.z[k], width, 2.0**-36)
        middle = np.round((low + high) * 2.0**39) / 2.0**40
        return middle, np.maximum(high - middle, middle - low) + 2.0**-40

    def norms(self, rate: float, radius: float, rounding: Callable[[float], int]) -> list[FloatArray] | None:
        """Return P_0 .. P_T, or None when they grow beyond use.

        A checker may choose the power of two on either side of the best split; `rounding` says which.
        """
        n, identity = self.n, np.eye(self.n) * (1.0 + self.n * 2.0**-39)
        P = np.eye(n)
        found = [P]
        for k in range(self.steps - 1, -1, -1):
            middle, half = self.slopes(k, radius)
            J = (self.a * middle)[:, None] * self.W
            J[np.diag_indices(n)] += 1.0 - self.a
            M = J.T @ (P @ J)
            turn = (self.a * half) ** 2 * np.abs(P).sum(axis=1)
            turned = (self.W.T * turn) @ self.W
            traces = float(np.trace(turned)), float(np.trace(M))
            ratio = math.sqrt(traces[0] / traces[1]) if traces[1] > 0.0 else 1.0
            split = 2.0 ** min(0, max(-30, rounding(math.log2(max(ratio, 1e-12)))))
            P = identity + ((1.0 + split) * M + (1.0 + 1.0 / split) * turned) / rate**2
            if not float(np.abs(P).max()) < 1e14 or time.perf_counter() > self.deadline:
                return None
            found.append(P)
        return found[::-1]

    def start_radius(self, rate: float, radius: float) -> float:
        """Return the Euclidean radius at the start of a tube, 0 when there is none."""
        found = math.inf
        for rounding in (math.floor, math.ceil):
            norms = self.norms(rate, radius, rounding)
            if norms is None:
                return 0.0
            largest = max(float(np.abs(P).sum(axis=1).max()) for P in norms)
            if self.n * float(self.error.max()) * math.sqrt(largest) > 0.1 * (1.0 - rate) * radius:
                return 0.0
            found = min(found, radius / math.sqrt(float(np.abs(norms[0]).sum(axis=1).max())))
        return found

    def best_radius(self, rate: float, guess: float | None = None) -> tuple[float, float]:
        """Return the tube that has the largest radius at the start, and that radius; zeros for none."""
        tried: dict[float, float] = {}

        def value(tube: float) -> float:
            if tube not in tried:
                tried[tube] = self.start_radius(rate, tube)
            return tried[tube]

        tube = guess or 0.1 / max(float(np.median(self.rows)), 1e-9)
        # Downwards until there is one, then in growing or shrinking steps to the best, then finer.
        for _ in range(30):
            if value(tube) > 0.0:
                break
            tube *= 0.4
        else:
            return 0.0, 0.0
        # Where every state is proved to be forgotten the tube has no natural end.
        widest = 10.0 * math.sqrt(self.n) * (1.0 + float(np.abs(self.states).max()))
        for factor in (2.0, 0.5, 1.25, 0.8):
            while tube * factor < widest and value(tube * factor) > value(tube):
                tube *= factor
        return tube, value(tube)


def _validated(
    network: EchoStateNetwork, u: ArrayLike, x0: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    signal = InputSignal(u).u
    if signal.shape[1] != network.n_inputs:
        raise InvalidInputError(
            "u", f"shape {signal.shape}", f"must be (n_steps, n_inputs) with n_inputs = {network.n_inputs}"
        )
    start = np.zeros(network.n_units) if x0 is None else x0
    return signal, checked_array(start, "x0", (network.n_units,), "(n_units,)")


def steps_covered(n: int, n_steps: int, budget: float | None) -> int:
    """Return how many steps the checker can do in a minute, or in a third of the budget."""
    seconds = _CHECK_SECONDS if budget is None else min(_CHECK_SECONDS, budget / 3.0)
    return max(1, min(n_steps, int(seconds / (3e-8 * n**3 + 3e-4 * n))))


def certify_tube(
    network: EchoStateNetwork,
    u: ArrayLike,
    x0: ArrayLike | None = None,
    *,
    rate: float | None = None,
    epsilon: float = 1e-6,
    proof: tuple[Candidate, Region] | None = None,
    budget: float | None = None,
    progress: Progress = no_progress,
) -> TubeResult:
    r"""Prove that states near one driven trajectory forget their differences.

    Let :math:`\bar x_0, \bar x_1, \dots` be the trajectory from x0 under the input series u. The result says
    that any two trajectories under u that start within `radius` of :math:`\bar x_0` approach each other in
    every step by the factor `rate`, in norms that vary along the way. It holds for this signal and these
    states only; where the echo state property is neither proved nor refuted it is what can be proved.

    Parameters
    ----------
    network : EchoStateNetwork
        Without squares in the feedback.
    u : array_like, shape (n_steps, n_inputs) or (n_steps,)
        The input series.
    x0 : array_like, shape (n_units,), optional
        The initial state, zero by default. A state after a washout gives a larger radius, as a rule.
    rate : float, optional
        The rate to prove, 0 < rate < 1. By default it is chosen between the growth that the conditional
        Lyapunov exponent suggests and 1, where radius times sqrt(-log rate) is largest.
    epsilon : float
        For `washout`.
    proof : (Candidate, Region), optional
        A proof of contraction for all states, or for those that the box of inputs leaves, if there is one: it
        leads every state into the tube, and the rate of the tube then gives a shorter `washout` for this
        signal. The tube is chosen for that.
    budget : float, optional
        Seconds after which the search gives up; unlimited by default.
    progress : callable, optional
        Called with a label and a fraction.

    Returns
    -------
    Tube or NoTube
        `NoTube` has the reason.

    Raises
    ------
    InvalidInputError
        When a shape does not fit, or `rate`, `epsilon` or `budget` is out of range.

    Notes
    -----
    With J the Jacobian for the slopes in the middle of those met, θ their distances from it, and σ the sums
    of the rows of |P_{k+1}|,

    .. math:: \lambda^2 (P_k - I)
        = (1 + \tau) J^\top P_{k+1} J + (1 + 1/\tau) V^\top \mathrm{diag}(\theta^2 \sigma) V.

    The signal is cut where the exact check would take more than about a minute (1000 steps of 100 units,
    15 of 500), or more than a third of the budget.

    Examples
    --------
    >>> u = np.sin(0.3 * np.arange(60))
    >>> tube = certify_tube(EchoStateNetwork([[1.2]], W_in=[[2.0]]), u)
    >>> tube.steps, tube.rate < 0.95, tube.radius > 0.1
    (60, True, True)
    """
    signal, start = _validated(network, u, x0)
    if rate is not None and not 0.0 < rate < 1.0:
        raise InvalidInputError("rate", str(rate), "must lie in (0, 1)")
    if not 0.0 < epsilon < math.inf:
        raise InvalidInputError("epsilon", str(epsilon), "must be positive")
    checked_budget(budget)
    if network.activation.expression not in check.ACTIVATIONS:
        return NoTube(f"the checker does not know the activation {network.activation.expression}")
    if network.W_fb is not None and network.readout is not None and not network.readout.is_affine:
        return NoTube("the feedback passes through squares of the states")
    deadline = math.inf if budget is None else time.perf_counter() + budget
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        part = signal[: steps_covered(network.n_units, len(signal), budget)]
        search = _Search(network, part, start, epsilon, proof, deadline, progress)
        return search.result(rate)


class _Search:
    """One search for a tube: the choice of rate and radius, and the check."""

    def __init__(
        self,
        network: EchoStateNetwork,
        u: FloatArray,
        x0: FloatArray,
        epsilon: float,
        proof: tuple[Candidate, Region] | None,
        deadline: float,
        progress: Progress,
    ) -> None:
        self.network, self.u, self.x0, self.epsilon = network, u, x0, epsilon
        self.proof, self.deadline, self.progress = proof, deadline, progress
        self.path = _Path(network, u, x0, deadline)

    @property
    def late(self) -> bool:
        return time.perf_counter() > self.deadline

    def forgotten(self, tube: float, rate: float) -> int:
        """Return after how many steps a tube has made any two states in it agree within epsilon."""
        return max(0, math.ceil(math.log(2.0 * tube / self.epsilon) / -math.log(rate) * (1.0 + 1e-9)))

    def entry(self, tube: float, rate: float) -> int | None:
        """Return after how many steps the proof has led every state into the tube, or None."""
        norms = self.path.norms(rate, tube, math.floor)
        low, high = self.network.activation.value_bounds
        if self.proof is None or norms is None or not np.all((low <= self.x0) & (self.x0 <= high)):
            return None
        candidate, region = self.proof
        size, reach = extent(candidate.theorem, candidate.witness, self.network.n_units)
        for k in range(region.steps, len(norms)):
            left = size * (high - low) * candidate.rate ** (k - region.steps)
            # A checker's P is a little different.
            if left * math.sqrt(float(reach @ np.abs(norms[k]) @ reach)) <= 0.93 * tube:
                return k
        return None

    def result(self, rate: float | None) -> TubeResult:
        path = self.path
        if not np.all(np.isfinite(path.states)) or float(np.abs(path.states).max()) > 1e12:
            return NoTube("the trajectory leaves every bound")
        if self.late:
            return NoTube("the budget is spent")
        exponent = path.exponent()
        # Over a few steps it may come out either way.
        growth = min(math.exp(exponent), 0.95)
        if rate is None and exponent >= 0.0 and path.steps >= 50:
            return NoTube(f"the conditional Lyapunov exponent is about {exponent:.3g}: nothing is forgotten")
        if rate is None:
            tried = [growth + share * (1.0 - growth) for share in (0.3, 0.5, 0.7, 0.9, 0.97)]
            rates = [math.ceil(r * 2.0**20) / 2.0**20 for r in tried if r < 1.0 - 2.0**-19]
        else:
            rates = [rate]
        chosen = self.chosen(rates)
        if self.late:
            return NoTube("the budget is spent")
        if chosen is None:
            return NoTube("the slopes near the trajectory vary too much for a tube at this rate")
        return self.certified(*chosen)

    def chosen(self, rates: list[float]) -> tuple[float, float] | None:
        """Return the rate and about the tube to take: the shortest washout with a proof, else the largest."""
        # A piece of the signal is enough for that.
        path = self.path
        piece = path if path.steps <= 80 else _Path(self.network, self.u[:80], self.x0, self.deadline)
        best: tuple[tuple[float, float], float, float] | None = None
        for k, rate in enumerate(rates):
            self.progress("choosing the rate of the tube", 0.5 * k / len(rates))
            tube, radius = piece.best_radius(rate, None if best is None else best[2])
            if radius == 0.0:
                continue
            entry = None if self.proof is None else self.entry(tube, rate)
            washout = math.inf if entry is None else entry + self.forgotten(tube, rate)
            worth = (-washout if washout <= path.steps else -math.inf, radius * math.sqrt(-math.log(rate)))
            if best is None or worth > best[0]:
                best = (worth, rate, tube)
        return None if best is None else best[1:]

    def certified(self, rate: float, tube: float) -> TubeResult:
        """Return the tube when the checker agrees; else try narrower ones."""
        self.progress("fitting the tube", 0.5)
        tube, radius = self.path.best_radius(rate, tube)
        for share in (0.9, 0.75, 0.5):
            if radius == 0.0 or self.late:
                break
            self.progress("checking the tube", 0.8)
            result = self.checked(rate, tube, _ROOM * radius)
            if result is not None:
                return result
            tube, radius = share * tube, self.path.start_radius(rate, share * tube)
        return NoTube("the budget is spent" if self.late else "no tube holds over the whole signal")

    def checked(self, rate: float, tube: float, radius: float) -> Tube | None:
        network, u, path, epsilon = self.network, self.u, self.path, self.epsilon
        steps, spread = self.forgotten(tube, rate), radius
        entry = None if self.proof is None else self.entry(tube, rate)
        section: Document | None = None
        if entry is not None and self.proof is not None and entry + steps <= len(u):
            candidate, region = self.proof
            low, high = network.activation.value_bounds
            steps, spread = entry + steps, high - low
            section = {
                "theorem": candidate.theorem, "rate": candidate.rate, "slopes": region.slopes,
                "witness": candidate.witness, "steps": entry,
            }  # fmt: skip
        washout = {"spread": spread, "epsilon": epsilon, "steps": steps} if steps <= len(u) else None
        document = local_document(
            network, "contracting-tube",
            claim={
                "inputs": {"kind": "signal", "values": u},
                "rate": rate, "radius": radius, "washout": washout,
            },
            witness={"states": path.states, "tube": tube, "entry": section},
            notes={},
        )  # fmt: skip
        deadline = None if math.isinf(self.deadline) else self.deadline
        if not check_certificate(document, deadline=deadline).valid:
            return None
        forgotten = "" if washout is None else f", and agree within {epsilon:g} after {steps} steps"
        if section is not None:
            forgotten = (
                f"; any two states within the range of the activation agree within {epsilon:g} after {steps} "
                "steps"
            )
        sentence = (
            f"Proved: under this signal, any two states within {radius:.3g} (Euclidean) of the trajectory's "
            f"first state approach each other at least by the factor {rate:.4g} per step for {len(u)} steps, "
            f"in norms along the way{forgotten}."
        )
        return Tube(
            rate, radius, path.states, len(u), None if washout is None else steps,
            None if section is None else entry, tube / radius, document, sentence,
        )  # fmt: skip
