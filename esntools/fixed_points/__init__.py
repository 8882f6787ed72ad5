"""Fixed points of a map at constant input or in closed loop, with a check on whether any is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, Progress, RandomState, no_progress
from esntools.arguments import no_input, real_array, real_number, seeded, whole_number
from esntools.errors import InvalidInputError
from esntools.fixed_points.matching import EquilibriumMatch, match_equilibria
from esntools.fixed_points.points import FixedPoint, FixedPoints
from esntools.fixed_points.search import Search
from esntools.fixed_points.seeds import first_seeds, more_seeds
from esntools.gated import GRU, LSTM
from esntools.maps import Map, checked_map
from esntools.network import EchoStateNetwork
from esntools.threads import one_blas_thread

__all__ = ["EquilibriumMatch", "FixedPoint", "FixedPoints", "find_fixed_points", "match_equilibria"]


def _autonomous(system: Map, u: ArrayLike | None) -> tuple[Map, FloatArray]:
    """Return the map to solve and its constant input (networks and cells take it into their bias)."""
    system = checked_map(system)
    if system.n_inputs == 0:
        no_input(u, "map")
        return system, np.zeros(0)
    if u is None:
        remedy = "pass u, or use closed_loop()" if isinstance(system, EchoStateNetwork) else "pass u"
        raise InvalidInputError("u", "None", f"the map has {system.n_inputs} inputs", remedy)
    u = np.atleast_1d(np.array(real_array(u, "u")))
    if u.shape != (system.n_inputs,):
        raise InvalidInputError(
            "u", f"shape {u.shape}", f"must have shape (n_inputs = {system.n_inputs},)",
            "a fixed point is one at a constant input",
        )  # fmt: skip
    if not np.all(np.isfinite(u)):
        raise InvalidInputError("u", str(u), "every entry must be finite")
    if isinstance(system, EchoStateNetwork | GRU | LSTM):
        return system.at_input(u), u
    return system, u


@one_blas_thread
def find_fixed_points(
    system: Map,
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
    r"""Search for every fixed point of a map at a constant input, or of an autonomous map.

    Solves :math:`x = \varphi(W x + W_\mathrm{in} u + W_\mathrm{fb}\psi(x) + b)` for a network (in the
    coordinates of its rank where that is low), :math:`h = n(h)` for a GRU, :math:`h = o\tanh(i g/(1 - f))`
    for an LSTM, :math:`x = G(x)` for any other map. Seeds: given starts, states along short runs, for a
    network with feedback the states to which the reservoir settles with its readout clamped on a grid, then
    convex combinations of the points found. Solvers: batched Anderson acceleration (single precision first
    above 150 units), up to 150 unknowns damped Newton from where that stalls and from the seeds, then Newton
    to rounding. Beside every point that is near a fold, its partner is looked for along the critical
    direction.

    For a map that sends a ball or a box into itself (bounded activation, GRU, LSTM, a `state_box`) the
    complete set of (hyperbolic) fixed points satisfies
    :math:`\sum_i \operatorname{sign}\det(I - DG(x_i)) = 1` (Lefschetz–Hopf). The search goes on while that
    fails or new points turn up, for at most `max_rounds` rounds: convex combinations first, from the third
    round on Newton–GMRES where Anderson stalled, directional fibres (of the low-rank or the fed-back
    coordinates, or up to 150 units) and Newton with the known roots divided out. When it still fails, the
    result says so: at least one point is missing.

    Parameters
    ----------
    system : Map
        A network, a GRU or LSTM, or another map with its derivative.
    u : array_like, shape (n_inputs,), optional
        The constant input; not for an autonomous map.
    starts : array_like, shape (n, n_units), optional
        States to start from, e.g. of a trajectory on the attractor; rows that are not finite are left out.
    n_starts : int
        How many states to start from in a round: of each family of seeds up to 150 units, of all families
        together above. Default 256.
    tol : float
        Largest residual (max norm, relative to max(1, \|x\|)) of a listed point; where the map's own
        rounding error is larger than that (huge readout weights), the rounding error. Default 1e-12.
    max_rounds : int
        Default 5.
    n_eigenvalues : int, optional
        Compute about this many leading multipliers; above 200 units as many as converge beside the unstable
        ones (at least one) by default, below all.
    rng : int, Generator or None
        Default 0: the same search every time. One number is drawn from a Generator.
    progress : callable, optional

    Returns
    -------
    FixedPoints

    Raises
    ------
    InvalidInputError
        When the system is no Map, u or starts have the wrong shape, or a number is out of its range.

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
    system, u = _autonomous(system, u)
    n = system.n_units
    n_starts, max_rounds = whole_number(n_starts, "n_starts"), whole_number(max_rounds, "max_rounds")
    if n_eigenvalues is not None:
        n_eigenvalues = whole_number(n_eigenvalues, "n_eigenvalues")
    if not 1e-14 <= real_number(tol, "tol") <= 1e-6:
        raise InvalidInputError("tol", str(tol), "must lie in [1e-14, 1e-6]", "leave it at 1e-12")
    if starts is not None:
        starts = np.atleast_2d(real_array(starts, "starts"))
        if starts.ndim != 2 or starts.shape[1] != n:
            raise InvalidInputError("starts", f"shape {starts.shape}", f"must have shape (n, n_units = {n})")
        starts = starts[np.all(np.isfinite(starts), axis=1)]
        starts = starts if len(starts) else None
    # One draw only: what a caller takes next from its generator does not depend on how the search went.
    own = np.random.default_rng(seeded(rng).integers(2**63))
    search = Search(system, u, tol, own, n_eigenvalues)
    label = "fixed points"
    progress(label, 0.0)
    seeds = first_seeds(system, search.held, search.fast, starts, n_starts, search.rng)
    n_tried = n_idle = 0
    # Missing points of opposite index pass the audit: some rounds must find nothing before it is believed.
    n_enough = 2 if search.small else 1
    verdict, reason, total = search.audit()
    for round_ in range(1, max_rounds + 1):
        failed = round_ > 2 and verdict == "failed"
        if round_ > 1:
            seeds = more_seeds(search.states(), n_starts, round_, search.rng)
        n_tried += len(seeds)
        new = search.run(seeds, hard=failed)
        if failed and search.audit()[0] == "failed":
            new += search.insist(seeds)
        verdict, reason, total = search.audit()
        progress(label, round_ / max_rounds)
        n_idle = 0 if new else n_idle + 1
        if n_idle >= (3 if verdict == "failed" else n_enough):
            break
    progress(label, 1.0)

    def order(p: FixedPoint) -> tuple[int, tuple[float, ...]]:
        key = p.x[:8] if p.output is None else p.output
        return p.n_unstable, tuple(np.round(key, 9) + 0.0)

    return FixedPoints(tuple(sorted(search.points, key=order)), total, verdict, reason, n_tried, round_)
