"""The least noise that carries a state over a boundary: minimal action, and quasi-potentials from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import scipy.sparse.csgraph
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import real_array, real_number, seeded, whole_number
from esntools.basins.attractors import Attractor, polish_cycle
from esntools.basins.labelling import Labeller
from esntools.basins.runs import checked_states
from esntools.errors import InvalidInputError
from esntools.excitable.noise.crossings import ActionPath, CrossingSearch, NoActionPath
from esntools.excitable.noise.descent import Constraint, descend
from esntools.excitable.noise.noisy_maps import NoisyMap, noisy_map_of
from esntools.maps import Map
from esntools.threads import one_blas_thread

if TYPE_CHECKING:
    from esntools.excitable.landscape import Landscape

__all__ = ["ActionPath", "Actions", "NoActionPath", "find_minimal_action", "minimal_actions"]

_LONGEST: Final = 4000


@final
@dataclass(frozen=True, eq=False, repr=False)
class Actions:
    """Least actions between the attractors of a landscape.

    Attributes
    ----------
    matrix : ndarray, shape (n_attractors, n_attractors)
        From i straight to j, over the saddle between them that costs least; infinite where no saddle with
        one unstable direction joins them, or no path was found. 0 on the diagonal.
    quasipotential : ndarray, shape (n_attractors, n_attractors)
        The least sum of actions from i to j by way of other attractors.
    saddles : ndarray of int, shape (n_attractors, n_attractors)
        Position in the landscape's `saddles` of the one that is crossed; -1 where there is none.
    paths : dict
        (i, j) -> ActionPath, as in `matrix`.
    notes : tuple of str
    """

    matrix: FloatArray
    quasipotential: FloatArray
    saddles: IntArray
    paths: dict[tuple[int, int], ActionPath]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Actions({len(self.matrix)} attractors, {len(self.paths)} paths)"


def _half_space(
    noisy: NoisyMap, x: FloatArray, target: tuple[ArrayLike, float], n: int
) -> ActionPath | NoActionPath:
    normal = np.array(real_array(target[0], "target"))
    offset = real_number(target[1], "target")
    size = float(np.linalg.norm(normal)) if normal.shape == x.shape else 0.0
    if not (np.isfinite(size) and size > 0.0):
        raise InvalidInputError(
            "target", f"normal of shape {normal.shape}", f"must be a vector ({len(x)},), not 0"
        )
    noise, alignment, iterations = descend(
        noisy, x, np.zeros((n, noisy.n_sources)), Constraint(normal / size, offset / size, x), 2000
    )
    states = noisy.path(x, noise)
    miss = abs(float(normal @ states[-1]) - offset)
    if miss > 1e-6 * max(size, abs(offset)):
        return NoActionPath(
            f"no noise of {n} steps was found that reaches the half-space (missed by {miss:.3g})"
        )
    side = float(normal @ x) - offset
    before, after = (float(normal @ noisy.path(x, f * noise)[-1]) for f in (0.999, 1.001))
    return ActionPath(
        0.5 * float(np.sum(noise**2)), noise, states, -1, -1, None, np.nan, alignment,
        (before - offset) * side > 0.0, (after - offset) * side <= 0.0,
        iterations, "",
    )  # fmt: skip


def _labeller(system: Map, points: list[FloatArray], rng: np.random.Generator) -> Labeller:
    largest = max(1.0, *(float(np.max(np.abs(x))) for x in points))
    return Labeller(system, n_steps=3000, n_average=2000, max_period=64, escape_radius=1e6 * largest, rng=rng)


@one_blas_thread
def find_minimal_action(
    system: Map,
    x: ArrayLike,
    target: Any,
    *,
    u: ArrayLike | None = None,
    noise: str | ArrayLike = "state",
    n_steps: int = _LONGEST,
    tol: float = 1e-3,
    max_iterations: int = 200,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> ActionPath | NoActionPath:
    r"""Search for the noise of least action that carries an attractor to the boundary of its basin.

    .. math:: S = \min \frac12 \sum_k |\xi_k|^2, \qquad x_{k+1} = F(x_k) + B \xi_k
        \quad\text{or}\quad x_{k+1} = G(u + \xi_k, x_k),

    over noises of any length that lead from the attractor at x to the stable manifold of a saddle. In noise
    of small amplitude eta the mean time to leave over that saddle grows as :math:`\exp(S/\eta^2)`.

    The noise is turned towards the boundary's normal in the space of paths, which the adjoint carries back
    from the saddle along the run; then the tangent of the boundary is descended on (sequential quadratic
    programming, L-BFGS); then quiet steps are put in front, until that lowers the action no more.

    Parameters
    ----------
    system : Map
        A network, or any other map.
    x : array_like, shape (n_units,)
        A state on or near an attracting fixed point or cycle; it is polished.
    target : array_like, shape (n_units,), or tuple (normal, offset)
        The saddle, a fixed point with one unstable direction (polished too); or the half-space that
        :math:`l \cdot x = c` bounds, to be reached in exactly n_steps steps, from x as it is.
    u : array_like, shape (n_inputs,), optional
        The constant input; zero by default where there are inputs.
    noise : {"state", "input"} or array_like, shape (n_units, k)
        Independent noise in every state (B = I), in the inputs, or the matrix B. Default ``"state"``.
    n_steps : int
        The longest path, quiet steps included. Default 4000.
    tol : float
        The path is long enough when twice its length lowers the action by a smaller fraction. Default 1e-3.
    max_iterations : int
        Of each descent. Default 200.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    ActionPath or NoActionPath

    Raises
    ------
    InvalidInputError
        When x is on no attractor, the target is no such saddle, or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork
    >>> slow = EchoStateNetwork([[1.5]], leak_rate=0.2)
    >>> path = find_minimal_action(slow, [0.86], [0.0])
    >>> round(path.action, 3), path.checked  # about 2 a times the barrier 0.0768 of the potential
    (0.031, True)

    References
    ----------
    M. I. Freidlin, A. D. Wentzell, Random Perturbations of Dynamical Systems (3rd ed. 2012), chapter 6,
    doi:10.1007/978-3-642-25847-3.
    """
    noisy = NoisyMap(system, noise, u)
    n = noisy.n_units
    start = _one_state(x, "x", n)
    whole_number(n_steps, "n_steps")
    whole_number(max_iterations, "max_iterations")
    if not 0.0 < real_number(tol, "tol") < 1.0:
        raise InvalidInputError("tol", str(tol), "must lie in (0, 1)", "leave it at 1e-3")
    if isinstance(target, tuple) and len(target) == 2 and np.ndim(target[0]) == 1 and np.ndim(target[1]) == 0:
        return _half_space(noisy, start, target, n_steps)
    generator = seeded(rng)
    saddle = polish_cycle(noisy.quiet, _one_state(target, "target", n), 1)
    n_unstable = 0 if saddle is None else int(np.sum(np.abs(saddle.multipliers) > 1.0))
    if saddle is None or n_unstable != 1:
        raise InvalidInputError(
            "target", f"{n_unstable} unstable directions" if saddle is not None else "no fixed point",
            "must be a fixed point with one unstable direction", "take it from find_landscape(...).saddles",
        )  # fmt: skip
    labeller = _labeller(noisy.quiet, [start, saddle.states[0]], generator)
    own = int(labeller.label(start[None])[0])
    if own < 0 or not labeller.attractors[own].is_point:
        raise InvalidInputError("x", "leads to no fixed point or cycle", "must be on an attractor")
    attractor = labeller.attractors[own]
    progress("minimal action", 0.0)
    search = CrossingSearch(noisy, labeller.label, _from(attractor, start), saddle.states[0], tol, n_steps)
    found = search.run(generator, max_iterations, progress)
    progress("minimal action", 1.0)
    return found


def _one_state(value: ArrayLike, place: str, n: int) -> FloatArray:
    states = checked_states(value, place, n)
    if len(states) != 1:
        raise InvalidInputError(place, f"{len(states)} states", "must be one state")
    return np.asarray(states[0])


def _from(attractor: Attractor, x: FloatArray) -> FloatArray:
    """Return the attractor's states, the one nearest to x first."""
    k = int(np.argmin(np.linalg.norm(attractor.states - x, axis=1)))
    return np.roll(attractor.states, -k, axis=0)


@one_blas_thread
def _all_actions(
    system: Map, landscape: Landscape, noisy: NoisyMap, options: dict[str, Any], progress: Progress
) -> Actions:
    K = len(landscape.attractors)
    matrix = np.full((K, K), np.inf)
    np.fill_diagonal(matrix, 0.0)
    crossed = np.full((K, K), -1, dtype=np.intp)
    paths: dict[tuple[int, int], ActionPath] = {}
    notes: list[str] = []
    jobs = [
        (q, i, j)
        for q, saddle in enumerate(landscape.saddles)
        if saddle.leads_to is not None and saddle.leads_to[0] != saddle.leads_to[1]
        for i, j in (saddle.leads_to, saddle.leads_to[::-1])
        if i >= 0 and j >= 0 and landscape.attractors[i].is_point
    ]
    generator = seeded(options["rng"])
    for done, (q, i, j) in enumerate(jobs):
        progress("minimal actions", done / len(jobs))
        search = CrossingSearch(
            noisy, landscape.label, landscape.attractors[i].states, landscape.saddles[q].x,
            options["tol"], options["n_steps"],
        )  # fmt: skip
        found = search.run(generator, options["max_iterations"], no_progress)
        if isinstance(found, NoActionPath):
            notes.append(f"{i} -> {j} over saddle {q}: {found.reason}")
            continue
        if found.note or not found.checked:
            notes.append(f"{i} -> {j} over saddle {q}: {found.note or 'the replay failed'}")
        if found.checked and found.action < matrix[i, j]:
            matrix[i, j], crossed[i, j], paths[i, j] = found.action, q, found
    progress("minimal actions", 1.0)
    joined = np.where(np.isfinite(matrix), matrix, 0.0)
    sums = scipy.sparse.csgraph.shortest_path(joined) if K else np.zeros((0, 0))
    return Actions(matrix, np.asarray(sums), crossed, paths, tuple(notes))


def minimal_actions(
    landscape: Landscape,
    *,
    noise: str | ArrayLike = "state",
    network: Map | None = None,
    u: ArrayLike | None = None,
    n_steps: int = _LONGEST,
    tol: float = 1e-3,
    max_iterations: int = 200,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> Actions:
    """Search for the least actions between all attractors that a saddle joins.

    Every saddle with one unstable direction whose branches lead to two attractors is crossed both ways, as
    by `find_minimal_action`. Sums of these actions over other attractors give the quasi-potential.

    Parameters
    ----------
    landscape : Landscape
        What `find_landscape` returned.
    noise : {"state", "input"} or array_like, shape (n_units, k)
        Default ``"state"``.
    network : Map, optional
        The network with its inputs, for ``"input"``: the landscape keeps the autonomous map only.
    u : array_like, shape (n_inputs,), optional
        The constant input of the landscape, with `network`. Zero by default.
    n_steps, tol, max_iterations, rng, progress
        As of `find_minimal_action`.

    Returns
    -------
    Actions

    Raises
    ------
    InvalidInputError
        When the noise is none of those, the network is not the landscape's, or a number is out of its range.

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> space = find_landscape(EchoStateNetwork([[1.5]], leak_rate=0.2), n_random=32)
    >>> minimal_actions(space).matrix.round(3)
    array([[0.   , 0.031],
           [0.031, 0.   ]])
    """
    whole_number(n_steps, "n_steps")
    whole_number(max_iterations, "max_iterations")
    if not 0.0 < real_number(tol, "tol") < 1.0:
        raise InvalidInputError("tol", str(tol), "must lie in (0, 1)", "leave it at 1e-3")
    options = {"n_steps": n_steps, "tol": tol, "max_iterations": max_iterations, "rng": rng}
    noisy = noisy_map_of(landscape, noise, network, u)
    return _all_actions(landscape.system, landscape, noisy, options, progress)
