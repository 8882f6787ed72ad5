"""Periodic orbits of maps and networks, with their multipliers and a check on whether any is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.maps import Map, checked_map, state_box
from esntools.network import EchoStateNetwork
from esntools.orbits.orbit import (
    PeriodicOrbit,
    check_tolerance,
    checked_input,
    input_period,
    refine_orbit,
    refined,
)
from esntools.orbits.seeds import (
    along_runs,
    beside_flips,
    mixtures,
    orthogonal_choices,
    random_states,
    stabilised,
)
from esntools.orbits.shooting import DENSE_LIMIT, Shooting, newton
from esntools.threads import one_blas_thread

__all__ = ["PeriodicOrbit", "PeriodicOrbits", "find_periodic_orbits", "refine_orbit"]

Audit: TypeAlias = Literal["passed", "failed", "not applicable"]

#: Up to this many units the stabilised flows take part in the search.
_STABILISED_UP_TO: Final = 10

#: Up to this many units every seed is solved from.
_ALL_SEEDS_UP_TO: Final = 40

# Seeds of a larger network that get Newton's method in one round; most lead nowhere and take their time.
_HARD_ROWS: Final = 64


@final
@dataclass(frozen=True, eq=False)
class PeriodicOrbits:
    r"""What a search for orbits of one period found, and whether the index sum says that one is missing.

    Attributes
    ----------
    orbits : tuple of PeriodicOrbit
        Orbits of minimal period `period`, by number of unstable directions.
    period : int
    index_sum : int
        :math:`\sum \operatorname{sign}\det(I - DF^p)` over all the fixed points of F^p that were found,
        those of shorter periods included; 1 for the complete set of a bounded map.
    audit : {"passed", "failed", "not applicable"}
        "passed" is necessary for completeness, not sufficient: missing +1 and -1 points cancel.
    audit_reason : str
    n_starts : int
        Guesses tried in all rounds, for this period and its divisors.
    rounds : int
        Of the search for this period.
    divisor_orbits : tuple of PeriodicOrbit
        Orbits whose period divides `period`; they take part in the sum.
    n_fixed_points : int
        Number of fixed points of F^p found.
    """

    orbits: tuple[PeriodicOrbit, ...]
    period: int
    index_sum: int
    audit: Audit
    audit_reason: str
    n_starts: int
    rounds: int
    divisor_orbits: tuple[PeriodicOrbit, ...]
    n_fixed_points: int

    def __len__(self) -> int:
        return len(self.orbits)

    def __iter__(self) -> Iterator[PeriodicOrbit]:
        return iter(self.orbits)

    def __getitem__(self, i: int) -> PeriodicOrbit:
        return self.orbits[i]

    @property
    def stable(self) -> tuple[PeriodicOrbit, ...]:
        return tuple(o for o in self.orbits if o.stable)


class _Search:
    """The orbits found so far of one period and its divisors, with the tests that a candidate has to pass."""

    def __init__(
        self,
        system: Map,
        u: FloatArray,
        tol: float,
        rng: np.random.Generator,
        n_multipliers: int | None,
        shorter: list[PeriodicOrbit],
    ) -> None:
        self.shooting = Shooting(system, u)
        self.tol, self.rng, self.n_multipliers = tol, rng, n_multipliers
        #: Orbits come in phases that differ by this many steps.
        self.shift = input_period(u)
        self.period = len(u)
        self.orbits = list(shorter)
        n, p = system.n_units, self.period
        self.known = np.empty((0, p, n))
        for orbit in shorter:
            self._remember(np.tile(orbit.states, (p // orbit.period, 1)))
        network = self.shooting.network
        self.box = state_box(system)
        self.odd = network is not None and _is_odd(network) and not np.any(u)

    def _remember(self, X: FloatArray) -> None:
        shifted = [np.roll(X, s, axis=0) for s in range(0, self.period, self.shift)]
        self.known = np.concatenate([self.known, np.stack(shifted)])

    def _is_known(self, X: FloatArray, tolerance: float) -> bool:
        if len(self.known) == 0:
            return False
        distance = np.max(np.abs(self.known - X), axis=(1, 2))
        nearest = int(np.argmin(distance))
        scale = max(1.0, float(np.max(np.abs(X))))
        if distance[nearest] <= tolerance * scale:
            return True
        # Along a neutral direction the residual cannot tell states apart: if the segment between two guesses
        # solves the equations as well as its ends do, they are one answer.
        t = np.linspace(0.0, 1.0, 7)[1:-1, None, None]
        segment = (1.0 - t) * X + t * self.known[nearest]
        return bool(np.all(self.shooting.residual(segment) <= 10.0 * self.tol * scale))

    def _inside(self, X: FloatArray) -> bool:
        """Whether all states are in the box that the map sends into itself, which the sum is about.

        Outside, a gate may be saturated to rounding and every state a fixed point.
        """
        if self.box is None:
            return True
        low, high = self.box
        reach = 1e-9 * np.maximum(1.0, high - low)
        return bool(np.all((low - reach <= X) & (high + reach >= X)))

    def add(self, X: FloatArray) -> bool:
        """Polish X and keep it if it is an orbit that is not yet known."""
        orbit = refined(self.shooting, X, self.tol, self.n_multipliers)
        if orbit is None or not self._inside(orbit.states):
            # So that the next guess that ends there need not be polished again.
            self._remember(X)
            return False
        full = np.tile(orbit.states, (self.period // orbit.period, 1))
        if self._is_known(full, 1e-7):
            return False
        self._remember(full)
        self.orbits.append(orbit)
        return True

    def run(self, seeds: FloatArray) -> int:
        """Solve from every seed, keep what is new, and return how many were."""
        shooting = self.shooting
        seeds = seeds[np.all(np.isfinite(seeds), axis=(1, 2))]
        n, p = shooting.n_units, self.period
        r = shooting.residual(seeds)
        if n > _ALL_SEEDS_UP_TO:
            near = np.flatnonzero(r <= 1e-3)
            far = self.rng.permutation(np.flatnonzero(r > 1e-3))[:_HARD_ROWS]
            seeds = seeds[np.concatenate([self._unlike(seeds, near), far])]
        # Bounded memory: p Jacobians per member, or the Krylov space.
        per_member = p * n * n if n <= DENSE_LIMIT else n * (34 + 3 * p)
        chunk = max(4, 8_000_000 // per_member)
        parts = [newton(shooting, seeds[i : i + chunk], self.rng) for i in range(0, len(seeds), chunk)]
        if n <= _ALL_SEEDS_UP_TO:
            # Without damping too: it crosses the kinks of a piecewise linear map where halving gets stuck.
            hard = np.concatenate([s for _, s in parts]) > 1e-6
            parts.append(newton(shooting, seeds[hard], self.rng, damped=False, max_iterations=15))
        X = np.concatenate([part for part, _ in parts]) if parts else seeds
        r = np.concatenate([s for _, s in parts]) if parts else np.zeros(0)
        X = X[(r <= 1e-6 * np.maximum(1.0, np.max(np.abs(X), axis=(1, 2)))) & np.isfinite(r)]
        X = X[[self._inside(x) for x in X]] if len(X) else X
        if self.odd:
            X = np.concatenate([X, -X])
        return sum(1 for x in X if not self._is_known(x, 1e-6) and self.add(x))

    def _unlike(self, seeds: FloatArray, rows: IntArray) -> IntArray:
        """Return the rows whose seeds differ from one another and from the orbits known."""
        seen = list(self.known)
        out = []
        for i in rows:
            scale = 1e-3 * max(1.0, float(np.max(np.abs(seeds[i]))))
            if all(np.max(np.abs(seeds[i] - s)) > scale for s in seen):
                out.append(i)
                seen += [np.roll(seeds[i], s, axis=0) for s in range(0, self.period, self.shift)]
        return np.array(out, dtype=int)

    def first_seeds(self, starts: FloatArray | None, n_starts: int) -> FloatArray:
        shooting, n = self.shooting, self.shooting.n_units
        seeds = [along_runs(shooting, starts, n_starts, self.rng), beside_flips(shooting, self.orbits)]
        if self.period == 1:
            found = find_fixed_points(
                shooting.system, shooting.u[0] if shooting.u.shape[1] else None, starts=starts,
                n_starts=n_starts, n_eigenvalues=1, rng=self.rng,
            )  # fmt: skip
            seeds.insert(0, np.array([p.x for p in found]).reshape(-1, 1, n))
        if n <= 2:
            seeds.append(self._settled(n_starts))
        return np.concatenate(seeds)

    def more_seeds(self, n_starts: int, round_: int) -> FloatArray:
        seeds = mixtures(self.shooting, self.orbits, self.shift, n_starts, round_, self.rng)
        if self.shooting.n_units <= _STABILISED_UP_TO:
            seeds = np.concatenate([seeds, self._settled(n_starts)])
        return seeds

    def _settled(self, n_starts: int) -> FloatArray:
        shooting = self.shooting
        choices = orthogonal_choices(shooting, self.orbits)
        count = max(8, 4 * n_starts // len(choices))
        x = random_states(shooting, count // 2, self.rng)
        near = [s for o in self.orbits for s in o.states]
        if near:
            picked = np.array(near)[self.rng.integers(0, len(near), count // 2)]
            spread = 0.3 * max(0.1, float(np.std(near)))
            x = np.vstack([x, picked + spread * self.rng.standard_normal(picked.shape)])
        stiffness = float(self.rng.choice([0.3, 2.0, 10.0, 50.0]))
        return stabilised(shooting, x, choices, stiffness=stiffness)

    def audit(self) -> tuple[Audit, str, int]:
        p = self.period
        signs = [(o.period // self.shift, o.index_of_iterate(p // o.period)) for o in self.orbits]
        total = sum(count * sign for count, sign in signs)
        if self.box is None:
            return "not applicable", "no box is known that the map sends into itself", total
        neutral = sum(sign == 0 for _, sign in signs)
        if neutral:
            return "not applicable", f"{neutral} orbit(s) have a multiplier too near 1 to have a sign", total
        if any(self._leaves(o, *self.box) for o in self.orbits):
            reason = "an orbit on the boundary of the box repels outwards: the sum need not be 1"
            return "not applicable", reason, total
        if total == 1:
            return "passed", "the indices sum to 1, as they must for the complete set", total
        return (
            "failed",
            f"the indices of the fixed points of F^{p} sum to {total} instead of 1: at least "
            f"{abs(1 - total)} missing",
            total,
        )

    def _leaves(self, orbit: PeriodicOrbit, low: FloatArray, high: FloatArray) -> bool:
        """Whether the orbit lies on the boundary of the box, and states just outside are not drawn to it.

        The theorem is about the box: it holds for a fixed point on the boundary only if a larger box is sent
        into itself too. The logistic map on [0, 1] has one, the origin, that breaks it.
        """
        X = orbit.states
        near = np.any(np.minimum(X - low, high - X) <= 1e-9 * (high - low), axis=0)
        if self.shooting.network is not None or not near.any():
            # (1 - a) x + a phi(z) draws states from outside into the box of phi's values.
            return False
        M = np.eye(X.shape[1])
        for J in Shooting(self.shooting.system, orbit.u).jacobians(X[None])[0]:
            M = J @ M
        return bool(np.any(np.diag(M)[near] >= 1.0))


def _is_odd(network: EchoStateNetwork) -> bool:
    odd = network.activation.odd and not np.any(network.b)
    if network.readout is not None and network.W_fb is not None:
        odd = odd and network.readout.is_affine and not np.any(network.W_fb @ network.readout.b_out)
    return bool(odd)


@one_blas_thread
def find_periodic_orbits(
    system: Map,
    period: int,
    u: ArrayLike | None = None,
    *,
    starts: ArrayLike | None = None,
    n_starts: int = 128,
    tol: float = 1e-12,
    max_rounds: int = 5,
    n_multipliers: int | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> PeriodicOrbits:
    r"""Search for every periodic orbit of one minimal period, at a constant or a periodic input.

    Solves :math:`x_j = G(u_j, x_{j-1})`, j modulo p, by multiple shooting. Seeds: close recurrences of runs
    and early segments of them; doubled orbits beside orbits of half the period that have flipped; for few
    units the flows that stabilising matrices make settle on unstable orbits; then mixtures, in every relative
    phase, of the orbits found. Orbits of shorter periods that divide p are searched first.

    A map that sends a box into itself does so p times over, so that all fixed points of F^p together (if
    hyperbolic) satisfy :math:`\sum \operatorname{sign}\det(I - DF^p) = 1` (Lefschetz-Hopf). The search goes
    on while that fails or new orbits turn up, for at most `max_rounds` rounds, and reports a failed audit
    when it still fails.

    Parameters
    ----------
    system : Map
        An `EchoStateNetwork` or any other map.
    period : int
        p, at least 1.
    u : array_like, shape (n_inputs,) or (steps, n_inputs), optional
        A constant input, or a periodic one whose number of steps divides p (F^p is then the product of the p
        different maps, from the first step on); none for an autonomous map.
    starts : array_like, shape (n, n_units), optional
        States to start from, e.g. of a trajectory on the attractor.
    n_starts : int
        About how many guesses of each family of seeds to use. Default 128.
    tol : float
        Largest residual (max norm, relative to max(1, \|x\|)) of a listed orbit; the map's own rounding
        error where that is larger. Default 1e-12.
    max_rounds : int
        Default 5.
    n_multipliers : int, optional
        Compute about this many leading multipliers only.
    rng : int, Generator or None
        Default 0: the same search every time.
    progress : callable, optional

    Returns
    -------
    PeriodicOrbits

    Raises
    ------
    InvalidInputError
        When u or starts have the wrong shape, or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> found = find_periodic_orbits(EchoStateNetwork([[-2.0]]), 2)
    >>> [(o.states.round(6).ravel().tolist(), o.stable) for o in found]
    [([-0.957504, 0.957504], True)]
    >>> found.n_fixed_points, found.index_sum, found.audit
    (3, 1, 'passed')

    References
    ----------
    R. L. Davidchack, Y.-C. Lai, Phys. Rev. E 60 (1999) 6172, doi:10.1103/PhysRevE.60.6172.
    """
    checked_map(system)
    period = whole_number(period, "period")
    n_starts, max_rounds = whole_number(n_starts, "n_starts"), whole_number(max_rounds, "max_rounds")
    if n_multipliers is not None:
        n_multipliers = whole_number(n_multipliers, "n_multipliers", 1, system.n_units)
    inputs = checked_input(system, u, period)
    check_tolerance(tol)
    states = None
    if starts is not None:
        states = np.atleast_2d(real_array(starts, "starts"))
        if states.ndim != 2 or states.shape[1] != system.n_units:
            raise InvalidInputError(
                "starts", f"shape {states.shape}", f"must have shape (n, n_units = {system.n_units})"
            )
        if not np.all(np.isfinite(states)):
            raise InvalidInputError("starts", "an entry is NaN or infinite", "every entry must be finite")
    generator = seeded(rng)
    shift = input_period(inputs)
    periods = [d for d in range(shift, int(period) + 1, shift) if period % d == 0]
    label = "periodic orbits"
    progress(label, 0.0)
    orbits: list[PeriodicOrbit] = []
    n_tried = rounds = 0
    verdict: Audit = "failed"
    reason, total = "", 0
    for i, d in enumerate(periods):
        shorter = [o for o in orbits if d % o.period == 0]
        search = _Search(system, inputs[:d], tol, generator, n_multipliers, shorter)
        n_idle = 0
        n_enough = 2 if system.n_units <= _ALL_SEEDS_UP_TO else 1
        for rounds in range(1, max_rounds + 1):
            with np.errstate(over="ignore", invalid="ignore"):
                # A seed may run away.
                if rounds == 1:
                    seeds = search.first_seeds(states, n_starts)
                else:
                    # More each time that a round found nothing, though something is missing.
                    seeds = search.more_seeds(n_starts * (1 + n_idle), rounds)
                new = search.run(seeds)
            n_tried += len(seeds)
            verdict, reason, total = search.audit()
            progress(label, (i + rounds / max_rounds) / len(periods))
            n_idle = 0 if new else n_idle + 1
            if n_idle >= n_enough and verdict != "failed":
                break
        orbits += search.orbits[len(shorter) :]
    progress(label, 1.0)

    def order(o: PeriodicOrbit) -> tuple[int, int, tuple[float, ...]]:
        return o.period, o.n_unstable, tuple(np.round(o.states[0, :8], 9) + 0.0)

    orbits = sorted((_turned(o, shift) for o in orbits), key=order)
    return PeriodicOrbits(
        tuple(o for o in orbits if o.period == period), int(period), total, verdict, reason, n_tried, rounds,
        tuple(o for o in orbits if o.period < period), sum(o.period // shift for o in orbits),
    )  # fmt: skip


def _turned(orbit: PeriodicOrbit, shift: int) -> PeriodicOrbit:
    """Return the orbit from its smallest state on, so that a search repeated lists the same rows."""
    rounded = [tuple(np.round(orbit.states[s, :8], 9) + 0.0) for s in range(0, orbit.period, shift)]
    s = shift * min(range(len(rounded)), key=rounded.__getitem__)
    states = np.roll(orbit.states, -s, axis=0)
    states.setflags(write=False)
    return PeriodicOrbit(
        states, orbit.u, orbit.residual, orbit.multipliers, orbit.stable, orbit.n_unstable, orbit.index,
        orbit.hyperbolic,
    )  # fmt: skip
