"""The points found so far, the tests that a candidate has to pass, and the audit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
import scipy.linalg

from esntools._typing import ComplexArray, FloatArray, IntArray
from esntools.fixed_points.equations import (
    Equation,
    NetworkEquation,
    equation_of,
    low_rank_equation,
    residuals,
)
from esntools.fixed_points.fibres import fibre_crossings
from esntools.fixed_points.multipliers import leading_multipliers, sorted_multipliers
from esntools.fixed_points.points import Audit, FixedPoint
from esntools.fixed_points.root_search import (
    DENSE_LIMIT,
    ESCAPED,
    Deflation,
    anderson,
    newton,
    polish,
    sign_of_factors,
)
from esntools.gated import GRU, LSTM
from esntools.maps import Map, state_box
from esntools.network import EchoStateNetwork

__all__ = ["Search"]

#: All eigenvalues up to this many units, the leading ones above.
_ALL_EIGENVALUES: Final = 200

#: Up to this many unknowns one factorisation per point polishes it and gives the sign of its determinant.
_FACTORED: Final = 1000

# A fixed point with residual 1e-12 has its multipliers to about 1e-12 / |1 - multiplier| near a fold, so
# closer than this to 1 their side is not decided by the numbers.
_UNDECIDED: Final = 1e-5

# What LAPACK's eigenvalues are good for at best.
_ROUNDING: Final = 1e-13

_HARD_ROWS: Final = 64

#: A fibre in the feedback costs a factorisation for each of its steps.
_FIBRE_LIMIT: Final = 600

#: A real multiplier this near 1 (leak-free) says that another fixed point is near.
_NEAR_FOLD: Final = 0.03

_SINGLE: Final = float(np.finfo(np.float32).eps / np.finfo(np.float64).eps)


def sign_of_multipliers(values: ComplexArray) -> int:
    """Return sign det(I - J) from the multipliers outside the unit circle: one factor -1 per real one > 1."""
    return -1 if int(np.sum((values.real > 1.0) & (values.imag == 0.0))) % 2 else 1


class Search:
    """The points found so far, with the tests that a candidate has to pass."""

    def __init__(
        self, system: Map, u: FloatArray, tol: float, rng: np.random.Generator, n_wanted: int | None
    ) -> None:
        self.system, self.u, self.tol, self.rng, self.n_wanted = system, u, tol, rng, n_wanted
        self.equation: Equation = equation_of(system, u)
        self.network: EchoStateNetwork | None = None
        self.fast: NetworkEquation | None = None
        self.solved: Equation = self.equation
        self.odd = self.affine = False
        if isinstance(self.equation, NetworkEquation):
            network = self.network = self.equation.network
            reduced = low_rank_equation(self.equation, rng)
            if reduced is not None:
                self.solved = reduced
            elif network.n_units > DENSE_LIMIT:
                self.fast = NetworkEquation(network, np.float32)
            self.affine = network.activation.name == "identity" and self.equation.W_sq is None
            self.odd = network.activation.odd and not np.any(self.equation.b) and self.equation.W_sq is None
        self.points: list[FixedPoint] = []

    @property
    def held(self) -> FloatArray:
        """The input that the map's step still has to be given."""
        return self.u if self.system.n_inputs else np.zeros(0)

    @property
    def small(self) -> bool:
        """Whether dense linear algebra in the unknowns is cheap."""
        return self.solved.n_unknowns <= DENSE_LIMIT

    def states(self) -> FloatArray:
        return np.array([p.x for p in self.points]).reshape(len(self.points), self.system.n_units)

    # -- solving -----------------------------------------------------------------------------------------

    def run(self, seeds: FloatArray, *, hard: bool = False) -> int:
        """Solve from every seed (states), keep what is new, and return how many were.

        Above `DENSE_LIMIT` unknowns Anderson is all, unless the search is to be `hard`.
        """
        seeds = seeds[np.all(np.isfinite(seeds), axis=1)]
        if len(seeds) == 0:
            return 0
        # Bounded memory: the solvers keep 2 x 6 (Anderson) or 41 (GMRES) states per row.
        chunk = max(16, 8_000_000 // (41 * self.solved.n_unknowns))
        if self.fast is None:
            return self._run_in_double(self.solved.unknowns(seeds), chunk)
        rounding = _SINGLE * float(np.max(self.equation.rounding(seeds[:1])))
        if rounding > 1e-4:
            return self._run_in_double(seeds, chunk, hard=hard)
        tol = max(1e-5, 4.0 * rounding)
        Y = self.fast.unknowns(seeds)
        known = self.equation.unknowns(self.states())
        rows = max(16, 2_000_000 // self.solved.n_unknowns)
        parts = [
            anderson(self.fast, Y[i : i + rows], tol=tol, memory=10, max_iterations=50, known=known)
            for i in range(0, len(Y), rows)
        ]
        Y, r = np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        near = r <= 10.0 * tol
        X = Y[near].astype(np.float64)
        if hard:
            slow = self.rng.permutation(np.flatnonzero(~near & np.isfinite(r)))[:_HARD_ROWS]
            harder = np.vstack([Y[slow].astype(np.float64), seeds[slow[: _HARD_ROWS // 2]]])
            X = np.vstack([X, self._newton(harder, chunk)])
        return self.accept(X, np.pad(r[near], (0, len(X) - int(near.sum()))), merge=1e-3)

    def _newton(self, X: FloatArray, chunk: int) -> FloatArray:
        parts = [
            newton(self.solved, X[i : i + chunk], self.rng, tol=1e-9) for i in range(0, len(X), chunk)
        ] or [(X, np.zeros(0))]
        X, r = np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        return np.asarray(X[r <= 1e-6 * np.maximum(1.0, np.max(np.abs(X), axis=1))])

    def _run_in_double(self, X: FloatArray, chunk: int, *, hard: bool = True) -> int:
        seeds = X
        parts = [anderson(self.solved, X[i : i + chunk]) for i in range(0, len(X), chunk)]
        X, r = np.vstack([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        slow = np.flatnonzero((r > 1e-9) & np.isfinite(r))
        again = np.arange(len(X))
        if not self.small:
            # Most seeds of a large chaotic network lead nowhere, and Newton takes its time to say so.
            slow = self.rng.permutation(slow)[: _HARD_ROWS if hard else 0]
            again = slow[: _HARD_ROWS // 2]
        # Anderson is drawn to attractors, Newton is not: from where Anderson stalled, and from the seeds.
        harder = self._newton(np.vstack([X[slow], seeds[again]]), chunk)
        X = np.vstack([X[r <= 1e-6 * np.maximum(1.0, np.max(np.abs(X), axis=1))], harder])
        return self._accept_unknowns(X)

    def deflated(self, seeds: FloatArray) -> int:
        """Search from the seeds (states) with the roots that are known divided out."""
        X = self.solved.unknowns(seeds)
        known = self.solved.unknowns(self.states())
        if len(known) == 0 or len(X) == 0:
            return 0
        X, r = newton(self.solved, X, self.rng, tol=1e-9, max_iterations=30, deflation=Deflation(known))
        return self._accept_unknowns(X[r <= 1e-6 * np.maximum(1.0, np.max(np.abs(X), axis=1))])

    def insist(self, seeds: FloatArray) -> int:
        """Search with the slower means, for when the audit has failed; return how many points they found.

        Directional fibres from points that are known (in the few coordinates of a low rank or of the outputs
        fed back, where there are such), then Newton with the known roots divided out.
        """
        before = len(self.points)
        n = self.solved.n_unknowns
        feedback = self.network is not None and self.network.W_fb is not None and self.network.n_outputs <= 4
        inside = feedback and not self.small
        if self.points and (self.small or (inside and n <= _FIBRE_LIMIT)):
            for _ in range(6 if self.small else 3):
                point = self.points[int(self.rng.integers(len(self.points)))]
                x = self.solved.unknowns(point.x[None])[0]
                width = self.network.n_outputs if inside and self.network is not None else n
                c = self.rng.standard_normal(width)
                found = fibre_crossings(self.solved, x, c / np.linalg.norm(c), in_feedback=inside)
                self._accept_unknowns(found)
                if self.audit()[0] != "failed":
                    return len(self.points) - before
        self.deflated(seeds[: 4 * _HARD_ROWS if self.small else _HARD_ROWS // 4])
        return len(self.points) - before

    def _beside_folds(self, points: list[FixedPoint]) -> None:
        """Look along the critical direction of every point that is near a fold: its partner is close by.

        The two have opposite indices, so that the audit would not miss the other one.
        """
        equation = self.equation
        for point in points:
            gap = np.abs(point.eigenvalues - 1.0)
            nearest = point.eigenvalues[int(np.argmin(gap))]
            x = equation.unknowns(point.x[None])[0]
            rate = float(equation.rates(x[None])[0])
            if point.index == 0 or nearest.imag != 0.0 or np.min(gap) > _NEAR_FOLD * rate:
                continue
            A = np.eye(len(x)) - equation.linearise(x[None])[1].matrices()[0]
            lu = scipy.linalg.lu_factor(A, check_finite=False)
            v = np.cos(np.arange(len(x)) + 1.0)
            for _ in range(4):
                v = scipy.linalg.lu_solve(lu, v, check_finite=False)
                v = v / np.max(np.abs(v))
            steps = max(1.0, float(np.max(np.abs(x)))) * np.outer((-0.1, -0.01, -0.001, 0.001, 0.01, 0.1), v)
            alone = Deflation(x[None])
            X, r = newton(equation, x + steps, self.rng, tol=1e-9, max_iterations=12, deflation=alone)
            X = X[r <= 1e-8 * np.maximum(1.0, np.max(np.abs(X), axis=1))]
            self.accept(X, np.zeros(len(X)), merge=1e-6)

    def _accept_unknowns(self, X: FloatArray) -> int:
        if self.solved is not self.equation:
            X = self.equation.unknowns(self.solved.states(X))
        return self.accept(X, np.zeros(len(X)), merge=1e-6)

    # -- accepting ---------------------------------------------------------------------------------------

    def _representatives(self, X: FloatArray, r: FloatArray, merge: float) -> FloatArray:
        """Return the row with the smallest residual of each cluster that has no known point in it."""
        heads = np.vstack([self.equation.unknowns(self.states()), np.zeros_like(X)])
        n_known = n_heads = len(self.points)
        for i in np.argsort(r, kind="stable"):
            near = merge * max(1.0, float(np.max(np.abs(X[i]))))
            if n_heads == 0 or np.min(np.max(np.abs(heads[:n_heads] - X[i]), axis=1)) > near:
                heads[n_heads] = X[i]
                n_heads += 1
        return heads[n_known:n_heads].copy()

    def accept(self, X: FloatArray, r: FloatArray, *, merge: float) -> int:
        """Polish candidates (unknowns of the map's equation), keep the new fixed points, count them."""
        equation = self.equation
        if self.odd:
            X, r = np.vstack([X, -X]), np.concatenate([r, r])
        # x = x + 1 is solved to any relative precision by a large x.
        inside = np.max(np.abs(X), axis=1, initial=0.0) < ESCAPED
        X, r = X[inside], r[inside]
        X = self._representatives(X, r, merge)
        if len(X) == 0:
            return 0
        scale = np.maximum(1.0, np.max(np.abs(X), axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            allowed = np.maximum(self.tol * scale, equation.rounding(X))
        factored = equation.n_unknowns <= _FACTORED
        if not self.small:
            X, _ = anderson(equation, X, tol=float(np.min(0.5 * allowed)), memory=20, max_iterations=60)
        residual = residuals(equation, X)
        todo = np.flatnonzero((residual > (0.1 if self.small else 0.5) * allowed) & (residual < 1e-2))
        if factored:
            for i in todo:
                X[i], residual[i], _ = polish(equation, X[i], target=0.1 * allowed[i])
        elif len(todo):
            X[todo], residual[todo] = newton(
                equation, X[todo], self.rng, tol=float(np.min(0.1 * allowed[todo])), max_iterations=8,
                krylov=60,
            )  # fmt: skip
        # What counts is the residual that the map's own arithmetic gives.
        new: list[FloatArray] = []
        sizes: list[float] = []
        for i in np.argsort(residual, kind="stable"):
            if not residual[i] <= allowed[i] or np.max(np.abs(X[i])) >= ESCAPED:
                continue
            if self._known(X[i], new, allowed[i]):
                continue
            new.append(X[i])
            sizes.append(float(residual[i]))
        if not new:
            return 0
        before = len(self.points)
        self._classify(np.array(new), sizes)
        if factored:
            self._beside_folds(self.points[before:])
        return len(self.points) - before

    def _known(self, x: FloatArray, new: list[FloatArray], allowed: float) -> bool:
        known = np.vstack([self.equation.unknowns(self.states()), *(y[None] for y in new)])
        if len(known) == 0:
            return False
        distance = np.max(np.abs(known - x), axis=1)
        nearest = int(np.argmin(distance))
        scale = max(1.0, float(np.max(np.abs(x))))
        if distance[nearest] <= 1e-7 * scale:
            return True
        # Along a (nearly) neutral direction the residual cannot tell states apart: if the whole segment
        # between two of them solves the equation as well as its ends do, they are one answer.
        t = np.linspace(0.0, 1.0, 7)[1:-1, None]
        segment = (1.0 - t) * x + t * known[nearest]
        return bool(np.all(residuals(self.equation, segment) <= 10.0 * allowed))

    # -- the linearisation -------------------------------------------------------------------------------

    def _signs(self, X: FloatArray) -> list[int | None]:
        """Return sign det(I - D) of every row by LU; None above `_FACTORED` unknowns."""
        if self.equation.n_unknowns > _FACTORED:
            return [None] * len(X)
        signs: list[int | None] = []
        for x in X:
            A = np.eye(len(x)) - self.equation.linearise(x[None])[1].matrices()[0]
            with warnings.catch_warnings():
                # An exactly singular matrix is an answer here (sign 0), not a mishap.
                warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
                if len(A) > DENSE_LIMIT:
                    # Half the time; only where no pivot is near the rounding of single precision.
                    factors = scipy.linalg.lu_factor(A.astype(np.float32), check_finite=False)
                    if np.min(np.abs(np.diag(factors[0]))) > 1e-3:
                        signs.append(sign_of_factors(*factors))
                        continue
                signs.append(sign_of_factors(*scipy.linalg.lu_factor(A, check_finite=False)))
        return signs

    def _multipliers(self, X: FloatArray, states: FloatArray) -> list[ComplexArray]:
        n = self.system.n_units
        network = self.network
        input_ = self.u if self.system.n_inputs else None

        def dense(i: int) -> ComplexArray:
            values = sorted_multipliers(np.linalg.eigvals(self.system.jacobian(states[i], input_)))
            n_unstable = int(np.sum(np.abs(values) >= 1.0))
            return values[: n if self.n_wanted is None else max(self.n_wanted, n_unstable, 1)]

        a = None if network is None else network.uniform_leak_rate
        if self.solved is not self.equation and a is not None:
            rank = self.solved.n_unknowns
            D = self.solved.linearise(self.solved.unknowns(states))[1].matrices()
            values = np.linalg.eigvals(D)
            rest = np.zeros((len(X), n - rank), dtype=np.complex128)
            return [sorted_multipliers(v) for v in 1.0 - a + a * np.hstack([values, rest])]
        if n <= _ALL_EIGENVALUES or (network is None and n <= 3 * _ALL_EIGENVALUES):
            return [dense(i) for i in range(len(X))]
        margin = 0.05 * (1.0 if network is None else float(np.min(network.leak_rate)))
        # x and -x have the same multipliers where the network is odd.
        partner = np.arange(len(X))
        if self.odd:
            apart = np.array([np.max(np.abs(X + x), axis=1) for x in X])
            nearest = np.argmin(apart, axis=1)
            paired = apart[partner, nearest] <= 1e-9
            partner = np.where(paired, np.minimum(partner, nearest), partner)
        alone = np.unique(partner)
        found = leading_multipliers(
            self._products(X[alone], states[alone]), len(alone), n, n_wanted=self.n_wanted or 1,
            outer=1.0 - margin, largest=160 if n <= 3 * _ALL_EIGENVALUES else 400,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        of = {int(i): dense(i) if v is None else v for i, v in zip(alone, found, strict=True)}
        return [of[int(i)] for i in partner]

    def _products(self, X: FloatArray, states: FloatArray) -> Callable[[IntArray, FloatArray], FloatArray]:
        if self.network is not None and isinstance(self.equation, NetworkEquation):
            return self.equation.multiplier_products(X)
        input_ = self.u if self.system.n_inputs else None

        def product(which: IntArray, V: FloatArray) -> FloatArray:
            rows = [self.system.jacobian_vector(states[i], v, input_) for i, v in zip(which, V, strict=True)]
            return np.asarray(rows).reshape(V.shape)

        return product

    def _classify(self, X: FloatArray, sizes: list[float]) -> None:
        states = self.equation.states(X)
        signs, multipliers = self._signs(X), self._multipliers(X, states)
        network = self.network
        margins = np.maximum(_UNDECIDED * self.equation.rates(X), _ROUNDING)
        for x, size, sign, values, margin in zip(states, sizes, signs, multipliers, margins, strict=True):
            if sign is not None and sign * sign_of_multipliers(values) < 0 and len(values) < len(x):
                # The two ways to the sign differ: an unstable multiplier was missed.
                exact = np.linalg.eigvals(self.system.jacobian(x, self.held if len(self.held) else None))
                values = sorted_multipliers(exact)[: max(len(values), int(np.sum(np.abs(exact) > 1.0)))]
            modulus = np.abs(values)
            hyperbolic = bool(np.all(np.abs(modulus - 1.0) > margin))
            n_unstable = int(np.sum(modulus > 1.0 + margin))
            index = sign_of_multipliers(values) if sign is None else sign
            if np.min(np.abs(values - 1.0)) <= margin:
                index = 0
            output = None if network is None or network.readout is None else network.output(x)
            x = x.copy()
            x.setflags(write=False)
            stable = hyperbolic and n_unstable == 0
            self.points.append(
                FixedPoint(x, self.u, output, size, values, stable, n_unstable, index, hyperbolic)
            )

    # -- the audit ---------------------------------------------------------------------------------------

    def audit(self) -> tuple[Audit, str, int]:
        total = sum(p.index for p in self.points)
        network = self.network
        if self.affine:
            return "not applicable", "the map is affine: a hyperbolic fixed point is its only one", total
        if network is not None and not network.activation.bounded:
            return (
                "not applicable",
                f"{network.activation.name} is unbounded: no ball is mapped into itself",
                total,
            )
        if not isinstance(self.system, EchoStateNetwork | GRU | LSTM):
            box = state_box(self.system)
            if box is None or not np.all(np.isfinite(box)):
                return "not applicable", "no box is known that the map sends into itself", total
            depth = np.min(np.minimum(self.states() - box[0], box[1] - self.states()), axis=1, initial=np.inf)
            if np.any(np.abs(depth) <= 1e-9):
                return "not applicable", "a point lies on the border of the box that maps into itself", total
            total = sum(p.index for p, d in zip(self.points, depth, strict=True) if d > 0.0)
        neutral = sum(p.index == 0 for p in self.points)
        if neutral:
            return "not applicable", f"{neutral} point(s) have a multiplier too near 1 to have a sign", total
        if total == 1:
            return "passed", "the indices sum to 1, as they must for the complete set", total
        return "failed", f"the indices sum to {total} instead of 1: at least {abs(1 - total)} missing", total
