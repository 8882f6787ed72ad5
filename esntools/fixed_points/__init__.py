"""Fixed points of a network at constant input or in closed loop, with a check on whether any is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

import numpy as np
import scipy.optimize
import scipy.sparse.linalg
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, ComplexArray, FloatArray, Progress, RandomState, no_progress
from esntools.errors import InvalidInputError
from esntools.fixed_points.root_search import DENSE_LIMIT, FixedPointEquation, anderson, newton, polish
from esntools.fixed_points.seeds import first_seeds, more_seeds
from esntools.network import EchoStateNetwork

__all__ = ["EquilibriumMatch", "FixedPoint", "FixedPoints", "find_fixed_points", "match_equilibria"]

Audit: TypeAlias = Literal["passed", "failed", "not applicable"]

#: All eigenvalues up to this many units, the leading ones above.
_ALL_EIGENVALUES: Final = 600
_LEADING: Final = 8

# A fixed point with residual 1e-12 has its multipliers to about 1e-12 / |1 - multiplier| near a fold, so
# closer than this to 1 their side is not decided by the numbers.
_UNDECIDED: Final = 1e-5

_HARD_ROWS: Final = 64


@final
@dataclass(frozen=True, eq=False)
class FixedPoint:
    """One state x with G(u, x) = x, and the linearisation there.

    Attributes
    ----------
    x : ndarray, shape (n_units,)
    u : ndarray, shape (n_inputs,)
        The constant input; empty for an autonomous network.
    output : ndarray, shape (n_outputs,), or None
        psi(x), where the network has a readout.
    residual : float
        Largest component of \\|phi(z(x)) - x\\|.
    eigenvalues : ndarray of complex
        Multipliers (eigenvalues of D_xG, leak included) by decreasing modulus: all of them up to 600 units,
        the leading ones (at least all unstable ones) above.
    stable : bool
        Every multiplier is inside the unit circle, by a margin that the residual can decide.
    n_unstable : int
        Number of multipliers outside the unit circle.
    index : int
        sign det(I - DG): +1 or -1; 0 where a multiplier is too near 1 to tell.
    hyperbolic : bool
        No multiplier is too near the unit circle to tell on which side it is.
    """

    x: FloatArray
    u: FloatArray
    output: FloatArray | None
    residual: float
    eigenvalues: ComplexArray
    stable: bool
    n_unstable: int
    index: int
    hyperbolic: bool


@final
@dataclass(frozen=True, eq=False)
class FixedPoints:
    """What a search found, and whether the index sum says that something is missing.

    Attributes
    ----------
    points : tuple of FixedPoint
        By number of unstable directions, then by output (or state).
    index_sum : int
        The sum of sign det(I - DG) over the points; 1 for the complete set of a bounded map.
    audit : {"passed", "failed", "not applicable"}
        "passed" is necessary for completeness, not sufficient: missing +1 and -1 points cancel.
    audit_reason : str
    n_starts : int
        Starting states tried in all rounds.
    rounds : int
    """

    points: tuple[FixedPoint, ...]
    index_sum: int
    audit: Audit
    audit_reason: str
    n_starts: int
    rounds: int

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[FixedPoint]:
        return iter(self.points)

    def __getitem__(self, i: int) -> FixedPoint:
        return self.points[i]

    @property
    def stable(self) -> tuple[FixedPoint, ...]:
        return tuple(p for p in self.points if p.stable)

    @property
    def saddles(self) -> tuple[FixedPoint, ...]:
        """The points with at least one unstable direction."""
        return tuple(p for p in self.points if p.n_unstable)


def _multipliers(network: EchoStateNetwork, x: FloatArray, n_wanted: int | None) -> ComplexArray:
    n = network.n_units
    k = n if n_wanted is None and n <= _ALL_EIGENVALUES else (n_wanted or _LEADING)
    equation, a = FixedPointEquation(network), network.leak_rate
    X = x[None]
    S = equation.slope(equation.image(X)[1])

    def product(v: FloatArray) -> FloatArray:
        v = np.ravel(v)
        return np.asarray((1.0 - a) * v + a * equation.product(X, S, v[None])[0])

    values = None
    while values is None:
        if k >= n - 1 or n <= 64:
            values = np.linalg.eigvals(network.jacobian(x))[: max(n, k)]
            break
        operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=product, dtype=np.float64)
        try:
            # ARPACK's own start vector is random; an answer should not be.
            leading = scipy.sparse.linalg.eigs(
                operator, k=k, which="LM", return_eigenvectors=False, v0=np.cos(np.arange(n)), tol=1e-8,
                ncv=min(n, max(4 * k, 80)), maxiter=12,
            )  # fmt: skip
        except scipy.sparse.linalg.ArpackNoConvergence as error:
            # The outermost converge first. A cluster well inside the unit circle (the bulk of a random
            # matrix) may take for ever and says nothing about stability: what converged is enough.
            leading = error.eigenvalues
            if len(leading) == 0 or np.min(np.abs(leading)) > 0.9:
                k = n
                continue
        if np.min(np.abs(leading)) > 1.0:
            k = min(2 * k, n)
            continue
        values = leading
    values = np.asarray(values, dtype=np.complex128)
    # Conjugate pairs have equal moduli up to rounding: the positive imaginary part first.
    return values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))]


class _Search:
    """The points found so far, with the tests that a candidate has to pass."""

    def __init__(
        self,
        network: EchoStateNetwork,
        u: FloatArray,
        tol: float,
        rng: np.random.Generator,
        n_wanted: int | None,
    ) -> None:
        self.network, self.u, self.tol, self.rng, self.n_wanted = network, u, tol, rng, n_wanted
        self.equation = FixedPointEquation(network)
        self.points: list[FixedPoint] = []
        readout, W_fb = network.readout, network.W_fb
        self.odd = network.activation.odd and not np.any(network.b)
        if readout is not None and W_fb is not None:
            self.odd &= readout.is_affine and not np.any(W_fb @ readout.b_out)

    def states(self) -> FloatArray:
        return np.array([p.x for p in self.points]).reshape(len(self.points), self.network.n_units)

    def _known(self, x: FloatArray) -> bool:
        if not self.points:
            return False
        states = self.states()
        distance = np.max(np.abs(states - x), axis=1)
        nearest = int(np.argmin(distance))
        scale = max(1.0, float(np.max(np.abs(x))))
        if distance[nearest] <= 1e-7 * scale:
            return True
        # Along a (nearly) neutral direction the residual cannot tell states apart: if the whole segment
        # between two of them solves the equation as well as its ends do, they are one answer.
        t = np.linspace(0.0, 1.0, 7)[1:-1, None]
        segment = (1.0 - t) * x + t * states[nearest]
        return bool(np.all(self.equation.residual(segment) <= 10.0 * self.tol * scale))

    def add(self, x: FloatArray) -> bool:
        """Polish x and keep it if it is a fixed point that is not yet known."""
        scale = max(1.0, float(np.max(np.abs(x))))
        allowed = max(self.tol * scale, self.equation.rounding(x))
        x, residual, sign = polish(self.equation, x, target=0.1 * allowed)
        if residual > allowed or self._known(x):
            return False
        values = _multipliers(self.network, x, self.n_wanted)
        margin = _UNDECIDED * float(np.min(self.network.leak_rate))
        hyperbolic = bool(np.all(np.abs(np.abs(values) - 1.0) > margin))
        if np.min(np.abs(values - 1.0)) <= margin:
            sign = 0
        n_unstable = int(np.sum(np.abs(values) > 1.0 + margin))
        output = None if self.network.readout is None else self.network.output(x)
        stable = hyperbolic and n_unstable == 0
        x = x.copy()
        x.setflags(write=False)
        self.points.append(
            FixedPoint(x, self.u, output, residual, values, stable, n_unstable, sign, hyperbolic)
        )
        return True

    def run(self, seeds: FloatArray) -> int:
        """Solve from every seed, keep what is new, and return how many were."""
        seeds = seeds[np.all(np.isfinite(seeds), axis=1)]
        # Bounded memory: the solvers keep 2 x 6 (Anderson) or 41 (GMRES) states per row.
        chunk = max(16, 8_000_000 // (41 * self.network.n_units))
        parts = [anderson(self.equation, seeds[i : i + chunk]) for i in range(0, len(seeds), chunk)]
        X, r = np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        slow = np.flatnonzero((r > 1e-9) & np.isfinite(r))
        again = np.arange(len(X))
        if self.network.n_units > DENSE_LIMIT:
            # Most seeds of a large chaotic network lead nowhere, and Newton takes its time to say so.
            slow = self.rng.permutation(slow)[:_HARD_ROWS]
            again = slow[: _HARD_ROWS // 2]
        # Anderson is drawn to attractors, Newton is not: from where Anderson stalled, and from the seeds.
        harder = np.vstack([X[slow], seeds[again]])
        parts = [(X, r)]
        for i in range(0, len(harder), chunk):
            parts.append(newton(self.equation, harder[i : i + chunk], self.rng, tol=1e-9))
        X, r = np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        X = X[(r <= 1e-6 * np.maximum(1.0, np.max(np.abs(X), axis=1))) & np.isfinite(r)]
        if self.odd:
            X = np.vstack([X, -X])
        count = 0
        known = self.states()
        for x in X:
            if len(known) and np.min(np.max(np.abs(known - x), axis=1)) <= 1e-6 * max(1.0, np.max(np.abs(x))):
                continue
            if self.add(x):
                count += 1
            # Rejected states too: the next seed that ends there need not be polished again.
            known = np.vstack([known, x[None], self.states()[-1:]])
        return count

    def audit(self) -> tuple[Audit, str, int]:
        network = self.network
        total = sum(p.index for p in self.points)
        if network.activation.name == "identity" and (
            network.W_fb is None or network.readout is None or network.readout.is_affine
        ):
            return "not applicable", "the map is affine: a hyperbolic fixed point is its only one", total
        if not network.activation.bounded:
            return (
                "not applicable",
                f"{network.activation.name} is unbounded: no ball is mapped into itself",
                total,
            )
        neutral = sum(p.index == 0 for p in self.points)
        if neutral:
            return "not applicable", f"{neutral} point(s) have a multiplier too near 1 to have a sign", total
        if total == 1:
            return "passed", "the indices sum to 1, as they must for the complete set", total
        return "failed", f"the indices sum to {total} instead of 1: at least {abs(1 - total)} missing", total


def find_fixed_points(
    network: EchoStateNetwork,
    u: ArrayLike | None = None,
    *,
    starts: ArrayLike | None = None,
    n_starts: int = 256,
    tol: float = 1e-12,
    max_rounds: int = 5,
    n_eigenvalues: int | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> FixedPoints:
    r"""Search for every fixed point of the network at a constant input, or of an autonomous network.

    Solves :math:`x = \varphi(W x + W_\mathrm{in} u + W_\mathrm{fb}\psi(x) + b)`. Seeds: given starts, states
    along short runs, for a network with feedback the states to which the reservoir settles with its readout
    clamped on a grid, then convex combinations of the points found. Solvers: batched Anderson acceleration,
    then damped Newton (LU up to 150 units, GMRES above), then Newton with dense LU to rounding.

    For a bounded activation the map sends a ball into itself, so that the complete set of (hyperbolic) fixed
    points satisfies :math:`\sum_i \operatorname{sign}\det(I - DG(x_i)) = 1` (Lefschetz–Hopf). The search
    goes on while that fails or new points turn up, for at most `max_rounds` rounds, and reports a failed
    audit when it still fails.

    Parameters
    ----------
    network : EchoStateNetwork
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous network.
    starts : array_like, shape (n, n_units), optional
        States to start from, e.g. of a trajectory on the attractor.
    n_starts : int
        About how many states of each family of seeds to use. Default 256.
    tol : float
        Largest residual (max norm, relative to max(1, \|x\|)) of a listed point; where the network's own
        rounding error is larger than that (huge readout weights), the rounding error. Default 1e-12.
    max_rounds : int
        Default 5.
    n_eigenvalues : int, optional
        Compute about this many leading multipliers only.
    rng : int, Generator or None
        Default 0: the same search every time.
    progress : callable, optional

    Returns
    -------
    FixedPoints

    Raises
    ------
    InvalidInputError
        When u or starts have the wrong shape, or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> found = find_fixed_points(EchoStateNetwork([[2.0]]))
    >>> [(round(float(p.x[0]), 6), p.stable, p.index) for p in found]
    [(-0.957504, True, 1), (0.957504, True, 1), (0.0, False, -1)]
    >>> found.index_sum, found.audit
    (1, 'passed')

    References
    ----------
    D. Sussillo, O. Barak, Neural Computation 25 (2013) 626, doi:10.1162/NECO_a_00409 (the question).
    """
    if network.n_inputs:
        if u is None:
            raise InvalidInputError(
                "u", "None", f"the network has {network.n_inputs} inputs", "pass u, or use closed_loop()"
            )
        u = np.atleast_1d(np.array(u, dtype=np.float64))
        if not np.all(np.isfinite(u)):
            raise InvalidInputError("u", str(u), "every entry must be finite")
        network = network.at_input(u)
    else:
        if u is not None and np.size(u):
            raise InvalidInputError("u", f"size {np.size(u)}", "the network has no inputs", "leave u out")
        u = np.zeros(0)
    if n_starts < 1 or max_rounds < 1:
        raise InvalidInputError(
            "n_starts" if n_starts < 1 else "max_rounds", str(min(n_starts, max_rounds)), "must be at least 1"
        )
    if not 1e-14 <= tol <= 1e-6:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-14, 1e-6]", "leave it at 1e-12")
    if starts is not None:
        starts = np.atleast_2d(np.asarray(starts, dtype=np.float64))
        if starts.ndim != 2 or starts.shape[1] != network.n_units:
            raise InvalidInputError(
                "starts", f"shape {starts.shape}", f"must have shape (n, n_units = {network.n_units})"
            )
    search = _Search(network, u, tol, np.random.default_rng(rng), n_eigenvalues)
    label = "fixed points"
    progress(label, 0.0)
    seeds = first_seeds(network, starts, n_starts, search.rng)
    n_tried = n_idle = 0
    # Missing points of opposite index pass the audit: some rounds must find nothing before it is believed.
    n_enough = 2 if network.n_units <= DENSE_LIMIT else 1
    for round_ in range(1, max_rounds + 1):
        if round_ > 1:
            seeds = more_seeds(search.states(), n_starts, round_, search.rng)
        n_tried += len(seeds)
        new = search.run(seeds)
        verdict, reason, total = search.audit()
        progress(label, round_ / max_rounds)
        n_idle = 0 if new else n_idle + 1
        if n_idle == 2 or (n_idle >= n_enough and verdict != "failed"):
            break
    progress(label, 1.0)

    def order(p: FixedPoint) -> tuple[int, tuple[float, ...]]:
        key = p.x[:8] if p.output is None else p.output
        return p.n_unstable, tuple(np.round(key, 9) + 0.0)

    return FixedPoints(tuple(sorted(search.points, key=order)), total, verdict, reason, n_tried, round_)


@final
@dataclass(frozen=True, eq=False)
class EquilibriumMatch:
    """A true equilibrium beside the fixed point of the closed loop that stands for it.

    Attributes
    ----------
    true_output, found_output : ndarray, shape (n_outputs,)
        `found_output` is None when no fixed point is left for this equilibrium.
    true_multipliers, found_multipliers : ndarray of complex
        In the same order: exp(lambda dt) of the true equilibrium, and for each the multiplier of the fixed
        point assigned to it (NaN when there is no fixed point).
    point : FixedPoint or None
    """

    true_output: FloatArray
    found_output: FloatArray | None
    true_multipliers: ComplexArray
    found_multipliers: ComplexArray
    point: FixedPoint | None


def match_equilibria(
    fixed_points: FixedPoints,
    outputs: ArrayLike,
    multipliers: Sequence[ArrayLike],
    *,
    max_distance: float | None = None,
) -> tuple[EquilibriumMatch, ...]:
    r"""Pair the true equilibria of a flow with the fixed points of a network trained on it.

    Points are paired one to one so that the total distance of outputs is smallest. Multipliers are paired
    one to one in the same way, among the found multipliers that are at least as large in modulus as the
    smallest true one; a network has more multipliers than the flow, so a close match of a small one means
    little.

    Parameters
    ----------
    fixed_points : FixedPoints
        Of a network with a readout.
    outputs : array_like, shape (n_equilibria, n_outputs) or (n_equilibria,)
        What the network should put out at each equilibrium.
    multipliers : sequence of array_like
        For each equilibrium, the :math:`\exp(\lambda\,\Delta t)` to compare with (all or the leading ones).
    max_distance : float, optional
        Pairs farther apart than this are not made. No limit by default.

    Returns
    -------
    tuple of EquilibriumMatch
        In the order of `outputs`.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> found = find_fixed_points(EchoStateNetwork([[2.0]], readout=Readout([[10.0]])))
    >>> match = match_equilibria(found, [9.6], [[0.17]])[0]
    >>> match.found_output.round(3), match.found_multipliers.real.round(3)
    (array([9.575]), array([0.166]))
    """
    true = np.asarray(outputs, dtype=np.float64)
    true = true[:, None] if true.ndim == 1 else true
    if len(multipliers) != len(true):
        raise InvalidInputError(
            "multipliers", f"{len(multipliers)} sets", f"must be one set for each of {len(true)} equilibria"
        )
    points = [p for p in fixed_points if p.output is not None and len(p.output) == true.shape[1]]
    if len(fixed_points) and not points:
        raise InvalidInputError(
            "outputs", f"shape {true.shape}", "the last axis must be the network's number of outputs"
        )
    partner: dict[int, int] = {}
    if points:
        found = np.array([p.output for p in points])
        distance = np.linalg.norm(true[:, None] - found[None], axis=2)
        rows, columns = scipy.optimize.linear_sum_assignment(distance)
        near: BoolArray = distance[rows, columns] <= (np.inf if max_distance is None else max_distance)
        partner = {int(i): int(j) for i, j, ok in zip(rows, columns, near) if ok}
    matches = []
    for i, y in enumerate(true):
        mu = np.atleast_1d(np.asarray(multipliers[i], dtype=np.complex128))
        if i not in partner:
            matches.append(EquilibriumMatch(y, None, mu, np.full(len(mu), np.nan + 0j), None))
            continue
        point = points[partner[i]]
        n_large = int(np.sum(np.abs(point.eigenvalues) >= 0.9 * np.min(np.abs(mu))))
        candidates = point.eigenvalues[: max(n_large, len(mu))]
        rows, columns = scipy.optimize.linear_sum_assignment(np.abs(mu[:, None] - candidates[None]))
        pairs = np.full(len(mu), np.nan + 0j)
        pairs[rows] = candidates[columns]
        matches.append(EquilibriumMatch(y, point.output, mu, pairs, point))
    return tuple(matches)
