"""Noisy networks: how often noise carries a state from one attractor to another, and along which path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import networkx as nx
import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from esntools._typing import BoolArray, FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.arguments import positive_number, real_array, seeded, whole_number
from esntools.basins.labelling import nearest_centre
from esntools.basins.runs import Runner
from esntools.errors import InvalidInputError
from esntools.excitable.landscape import Landscape, checked_landscape
from esntools.excitable.noise.action import Actions
from esntools.excitable.noise.noisy_maps import NoisyMap, noisy_map_of
from esntools.maps import Map
from esntools.simulation.stepping import blas_threads

__all__ = ["TransitionRates", "add_noise", "estimate_transition_rates", "mean_first_passage_times"]

#: Random numbers drawn at once.
_BLOCK: Final = 2**20
# A core reaches at most so far towards the nearest other fixed point or attractor.
_REACH: Final = 0.5
_LONGEST_LOOK: Final = 500
# Looks per relaxation time: a switch is seen late by half of the steps between two.
_LOOKS: Final = 8


@final
@dataclass(frozen=True, eq=False, repr=False)
class TransitionRates:
    r"""Counts of noise-driven switches, and the rates that they give.

    Attributes
    ----------
    amplitude : float
        Of the noise, eta.
    noise : str
        ``"state"``, ``"input"`` or ``"matrix"``.
    counts : ndarray of int, shape (K, K)
        Runs from attractor i whose first other core was that of j.
    escapes : ndarray of int, shape (K,)
        Runs from i that left every bound.
    exposure : ndarray, shape (K,)
        Steps run from i in all, those of runs that had not switched at the end included.
    censored : ndarray of int, shape (K,)
        Runs from i that had not switched at the end.
    rates : ndarray, shape (K, K)
        counts / exposure, in 1/step: the maximum-likelihood estimate with those runs censored. NaN in a row
        that was not run.
    intervals : ndarray, shape (K, K, 2)
        95 % intervals of the rates, exact for exponential times (Garwood's for a Poisson count); a rate of
        0 counts has the upper end 3.69 / exposure.
    mean_exit_times : ndarray, shape (K,)
        exposure / exits in steps; infinite where no run switched.
    exit_intervals : ndarray, shape (K, 2)
        95 % intervals of the mean exit times.
    splitting : ndarray, shape (K, K)
        The fraction of the exits from i that went to j: the competition between exits. NaN without exits.
    splitting_intervals : ndarray, shape (K, K, 2)
        95 % Wilson intervals.
    look, core_radii : ndarray, shape (K,)
        Quiet steps after which a run was looked at, and how near to attractor j it then counted as there.
    notes : tuple of str
    """

    amplitude: float
    noise: str
    counts: IntArray
    escapes: IntArray
    exposure: FloatArray
    censored: IntArray
    rates: FloatArray
    intervals: FloatArray
    mean_exit_times: FloatArray
    exit_intervals: FloatArray
    splitting: FloatArray
    splitting_intervals: FloatArray
    look: IntArray
    core_radii: FloatArray
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"TransitionRates(amplitude={self.amplitude:.4g}, {len(self.counts)} attractors, "
            f"{int(self.counts.sum())} switches in {self.exposure.sum():.4g} steps)"
        )


class _Cores:
    """The cores of the attractors: what a run must reach to have switched."""

    def __init__(self, landscape: Landscape, noisy: NoisyMap, amplitude: float) -> None:
        self.landscape = landscape
        self.notes: list[str] = []
        attractors = landscape.attractors
        others = [s.x for s in landscape.saddles]
        self.centres = np.concatenate([a.states for a in attractors])
        self.owners = np.repeat(np.arange(len(attractors)), [len(a.states) for a in attractors])
        self.radii, self.spread, looks = np.empty(len(attractors)), np.empty(len(attractors)), []
        for j, attractor in enumerate(attractors):
            foreign = np.array([*others, *self.centres[self.owners != j]]).reshape(-1, noisy.n_units)
            gaps = np.linalg.norm(foreign[:, None] - attractor.states[None, :64], axis=2)
            reach = _REACH * float(np.min(gaps)) if gaps.size else np.inf
            if not attractor.is_point:
                steps = np.linalg.norm(attractor.states[:, None] - attractor.states[None], axis=2)
                np.fill_diagonal(steps, np.inf)
                self.radii[j], self.spread[j] = min(reach, 2.0 * float(np.max(np.min(steps, axis=1)))), np.nan
                looks.append(16)
                self.notes.append(
                    f"attractor {j} is no point or cycle: its core is what is near to "
                    f"{len(attractor.states)} states on it, and its rates are rough"
                )
                continue
            C, J = noisy.covariance(attractor.states)
            rho = float(np.max(np.abs(np.linalg.eigvals(J)))) ** (1.0 / len(attractor.states))
            look = int(np.clip(np.ceil(1.0 / max(1e-3, -np.log(max(rho, 1e-9)))), 1, _LONGEST_LOOK))
            look = -(-look // len(attractor.states)) * len(attractor.states)
            A = np.linalg.matrix_power(J, look // len(attractor.states))
            self.spread[j] = amplitude * float(np.sqrt(np.trace(A @ C @ A.T)))
            looks.append(look)
            # What quiet steps leave of the noise at the attractor itself must fit in the core.
            self.radii[j] = min(reach, max(self.spread[j], 1e-3 * reach if np.isfinite(reach) else 0.0))
            if self.spread[j] > 2.0 * reach:
                self.notes.append(
                    f"the noise at attractor {j} is as wide as the way to the next fixed point: "
                    "a rate means little"
                )
        self.look = max(looks)
        self.runner = Runner(landscape.system)
        self._norms = np.einsum("kn,kn->k", self.centres, self.centres)
        largest = max(float(np.max(np.abs(x))) for x in [self.centres, *others])
        self.escape_radius = 1e6 * max(1.0, largest)

    def _nearest(self, X: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return whose centre is nearest to every row, and how near."""
        near, square = nearest_centre(X, self.centres, self._norms)
        return self.owners[near], np.sqrt(square)

    def reached(self, X: FloatArray, own: IntArray) -> IntArray:
        """Return the other attractor whose core each row is in; -1 for none, -2 for escape."""
        found = np.full(len(X), -1, dtype=np.intp)
        with np.errstate(all="ignore"):
            gone = ~(np.max(np.abs(X), axis=1) <= self.escape_radius)
        found[gone] = -2
        # Nearly all runs are still at home, which their noisy states show well enough to spare a quiet run.
        rows = np.flatnonzero(~gone)
        rows = rows[self._nearest(X[rows])[0] != own[rows]]
        if len(rows):
            owner, gap = self._nearest(self.runner.advance(X[rows], self.look))
            inside = (owner != own[rows]) & (gap <= self.radii[owner])
            rows, owner = rows[inside], owner[inside]
        if len(rows):
            # Near is not enough: basins of non-normal maps come close to other attractors.
            sure = self.landscape.label(X[rows]) == owner
            found[rows[sure]] = owner[sure]
        return found


def estimate_transition_rates(
    landscape: Landscape,
    *,
    amplitude: float,
    noise: str | ArrayLike = "state",
    network: Map | None = None,
    u: ArrayLike | None = None,
    n_steps: int = 20_000,
    n_exits: int | None = 400,
    n_runs: int = 64,
    sources: ArrayLike | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> TransitionRates:
    r"""Estimate how often noise switches between attractors, by direct simulation.

    .. math:: x_{k+1} = F(x_k) + \eta B \xi_k \quad\text{or}\quad x_{k+1} = G(u + \eta \xi_k, x_k),

    :math:`\xi_k` standard normal. Runs start at an attractor, and there again after each switch. A run from i
    has switched when it is first seen in the core of another attractor j: some quiet steps (about one
    relaxation time of the slowest attractor) bring it within a distance of j that the noise itself would
    leave it at, and its quiet run ends at j. Near the boundary a state is in no core, so going to and fro
    across it is not counted. Runs are looked at eight times in as many steps; only one that is nearer to
    another attractor than to its own is run on.

    Parameters
    ----------
    landscape : Landscape
        What `find_landscape` returned.
    amplitude : float
        eta.
    noise : {"state", "input"} or array_like, shape (n_units, k)
        Independent noise in every state (B = I), in the inputs, or the matrix B. Default ``"state"``.
    network : Map, optional
        The network with its inputs, for ``"input"``: the landscape keeps the autonomous map only.
    u : array_like, shape (n_inputs,), optional
        The constant input of the landscape, with `network`. Zero by default.
    n_steps : int
        Steps of every run, at most. Default 20 000.
    n_exits : int or None
        An attractor with so many exits is not run on. None: all runs go on to n_steps. Default 400.
    n_runs : int
        Runs from every attractor, side by side. Default 64.
    sources : array_like of int, optional
        Attractors to run from; all by default.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    TransitionRates

    Raises
    ------
    InvalidInputError
        When a number is out of its range, the noise is none of those, or the landscape has no attractor.

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> space = find_landscape(EchoStateNetwork([[1.5]], leak_rate=0.5), n_random=32)
    >>> rates = estimate_transition_rates(space, amplitude=0.3, n_exits=100)
    >>> rates.counts.sum(axis=1) >= 100
    array([ True,  True])
    >>> bool(rates.intervals[0, 1, 0] < rates.rates[0, 1] < rates.intervals[0, 1, 1])
    True

    References
    ----------
    Cores: M. Buchete, G. Hummer, J. Phys. Chem. B 112 (2008) 6057, doi:10.1021/jp0761665; intervals:
    F. Garwood, Biometrika 28 (1936) 437, doi:10.1093/biomet/28.3-4.437.
    """
    amplitude = positive_number(amplitude, "amplitude")
    whole_number(n_steps, "n_steps")
    whole_number(n_runs, "n_runs")
    if n_exits is not None:
        whole_number(n_exits, "n_exits")
    K = len(checked_landscape(landscape).attractors)
    if K == 0:
        raise InvalidInputError("landscape", "no attractor", "there is nothing to switch between")
    noisy = noisy_map_of(landscape, noise, network, u)
    chosen = np.arange(K) if sources is None else _checked_sources(sources, K)
    cores = _Cores(landscape, noisy, amplitude)
    counts, escapes = np.zeros((K, K), dtype=np.intp), np.zeros(K, dtype=np.intp)
    exposure = np.zeros(K)
    starts = landscape.X
    home = np.repeat(chosen, n_runs)
    X = starts[home].copy()
    generator, done = seeded(rng), 0
    work = 2.0 * noisy.n_units**2 * len(X)
    stride = max(1, cores.look // _LOOKS)
    while done < n_steps and len(home):
        k = min(stride, n_steps - done)
        with blas_threads(work):
            X = _advanced(noisy, X, k, amplitude, generator)
        done += k
        exposure += k * np.bincount(home, minlength=K)
        found = cores.reached(X, home)
        left = found != -1
        np.add.at(counts, (home[found >= 0], found[found >= 0]), 1)
        escapes += np.bincount(home[found == -2], minlength=K)
        X[left] = starts[home[left]]
        if n_exits is not None and left.any():
            stay = (counts.sum(axis=1) + escapes < n_exits)[home]
            home, X = home[stay], X[stay]
        progress("noise", done / n_steps)
    progress("noise", 1.0)
    censored = np.where(np.isin(np.arange(K), home), n_runs, 0)
    return _rates(landscape, noise, amplitude, counts, escapes, exposure, censored.astype(np.intp), cores)


def _checked_sources(sources: ArrayLike, K: int) -> IntArray:
    real_array(sources, "sources")
    chosen = np.asarray(sources)
    if (
        chosen.ndim != 1
        or chosen.dtype.kind not in "iu"
        or not np.all((chosen >= 0) & (chosen < K))
        or len(np.unique(chosen)) != len(chosen)
    ):
        raise InvalidInputError("sources", repr(sources), f"must be different whole numbers in 0 ... {K - 1}")
    return chosen.astype(np.intp)


def _advanced(
    noisy: NoisyMap, X: FloatArray, n_steps: int, amplitude: float, rng: np.random.Generator
) -> FloatArray:
    block = max(1, _BLOCK // (len(X) * noisy.n_sources))
    with np.errstate(all="ignore"):
        for start in range(0, n_steps, block):
            W = rng.standard_normal((min(block, n_steps - start), len(X), noisy.n_sources))
            W *= amplitude
            for w in W:
                X = noisy.step(X, w)
    return X


def _poisson(count: Any, exposure: Any) -> FloatArray:
    """Return the exact 95 % interval of a rate."""
    low = np.where(count > 0, scipy.stats.chi2.ppf(0.025, 2.0 * np.maximum(count, 1)), 0.0)
    high = scipy.stats.chi2.ppf(0.975, 2.0 * count + 2.0)
    with np.errstate(all="ignore"):
        ends = np.stack([low, high], axis=-1) / (2.0 * np.asarray(exposure)[..., None])
    return np.asarray(np.where(np.asarray(exposure)[..., None] > 0.0, ends, np.nan))


def _rates(
    landscape: Landscape,
    noise: str | ArrayLike,
    amplitude: float,
    counts: IntArray,
    escapes: IntArray,
    exposure: FloatArray,
    censored: IntArray,
    cores: _Cores,
) -> TransitionRates:
    K = len(counts)
    exits = counts.sum(axis=1) + escapes
    run = exposure > 0.0
    with np.errstate(all="ignore"):
        rates = np.where(run[:, None], counts / exposure[:, None], np.nan)
        times = np.where(run, exposure / exits, np.nan)
        splitting = np.where(exits[:, None] > 0, counts / exits[:, None], np.nan)
        ends = _poisson(exits, exposure)
        exit_intervals = np.stack([1.0 / ends[:, 1], 1.0 / ends[:, 0]], axis=-1)
    intervals = _poisson(counts, np.repeat(exposure[:, None], K, axis=1))
    intervals[np.arange(K), np.arange(K)] = 0.0
    split_ends = np.full((K, K, 2), np.nan)
    for i in np.flatnonzero(exits):
        fit = scipy.stats.norm.ppf(0.975) ** 2
        n, p = exits[i], splitting[i]
        centre = (p + fit / (2 * n)) / (1 + fit / n)
        half = np.sqrt(fit * (p * (1 - p) / n + fit / (4 * n * n))) / (1 + fit / n)
        split_ends[i] = np.stack([np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)], axis=-1)
    notes = list(cores.notes)
    if len(landscape.attractors) == 1:
        notes.append("one attractor only: there is nothing to switch to")
    for i in np.flatnonzero(run):
        if exits[i] == 0 and K > 1:
            notes.append(f"no run from attractor {i} switched in {exposure[i]:.4g} steps")
        elif exits[i] and times[i] < 5.0 * cores.look:
            notes.append(
                f"runs leave attractor {i} within {times[i] / cores.look:.2g} looks of {cores.look} steps: "
                "the noise is too strong for a rate"
            )
    return TransitionRates(
        amplitude, noise if isinstance(noise, str) else "matrix", counts, escapes, exposure, censored, rates,
        intervals, times, exit_intervals, splitting, split_ends, np.full(K, cores.look), cores.radii,
        tuple(notes),
    )  # fmt: skip


def mean_first_passage_times(rates: TransitionRates) -> FloatArray:
    r"""Return the mean times from attractor i until attractor j is first reached, over any others.

    .. math:: m_{jj} = 0, \qquad \sum_k q_{ik}\,(m_{ij} - m_{kj}) = 1 \quad (i \ne j)

    for the rates q of the jumps (the embedded Markov jump process).

    Parameters
    ----------
    rates : TransitionRates

    Returns
    -------
    ndarray, shape (K, K)
        In steps; infinite where j is not reached with certainty (another attractor is never left, or a run
        can escape), NaN where a row that matters was not run.

    Examples
    --------
    >>> from esntools.excitable.landscape import find_landscape
    >>> from esntools.network import EchoStateNetwork
    >>> space = find_landscape(EchoStateNetwork([[1.5]], leak_rate=0.5), n_random=32)
    >>> rates = estimate_transition_rates(space, amplitude=0.3, n_exits=100)
    >>> bool(np.isclose(mean_first_passage_times(rates)[0, 1], rates.mean_exit_times[0]))
    True
    """
    if not isinstance(rates, TransitionRates):
        raise InvalidInputError(
            "rates", type(rates).__name__, "must be what estimate_transition_rates returned"
        )
    Q, K = rates.rates.copy(), len(rates.rates)
    np.fill_diagonal(Q, 0.0)
    unknown = np.isnan(Q).any(axis=1)
    jumps: BoolArray = np.nan_to_num(Q) > 0.0
    out = np.zeros((K, K))
    for j in range(K):
        onward = jumps.copy()
        onward[j] = False
        reach = np.eye(K, dtype=np.bool_)
        for _ in range(K):
            reach |= reach @ onward
        # j is certain from i when j can be reached from everywhere that i can come to, and nothing escapes.
        bad = ~reach[:, j] & ~unknown | ((rates.escapes > 0) & (np.arange(K) != j))
        lost, open_ = (reach[:, bad]).any(axis=1), (reach[:, unknown & (np.arange(K) != j)]).any(axis=1)
        sure = np.flatnonzero(~lost & ~open_ & (np.arange(K) != j))
        out[lost, j] = np.inf
        out[open_ & ~lost, j] = np.nan
        if len(sure):
            A = np.diag(Q[sure].sum(axis=1)) - Q[np.ix_(sure, sure)]
            out[sure, j] = np.linalg.solve(A, np.ones(len(sure)))
        out[j, j] = 0.0
    return out


def add_noise(
    graph: nx.DiGraph, rates: TransitionRates | None = None, actions: Actions | None = None
) -> nx.DiGraph:
    """Return the graph of an excitable network with what noise does on its edges.

    Parameters
    ----------
    graph : networkx.DiGraph
        What `excitable_network` returned, for the landscape of the rates and actions. It stays as it is.
    rates : TransitionRates, optional
        Edges get ``rate`` (1/step), ``rate_interval``, ``n_switches``; the graph gets ``noise``,
        ``noise_amplitude``, ``transition_rates``, ``mean_exit_times`` and ``mean_first_passage_times``
        (lists, None where nothing is known or infinite).
    actions : Actions, optional
        Edges get ``action``; the graph gets ``actions`` and ``quasipotential``.

    Returns
    -------
    networkx.DiGraph

    Raises
    ------
    InvalidInputError
        When the numbers of attractors differ, or neither is given.
    """
    if rates is None and actions is None:
        raise InvalidInputError("rates", "None", "rates or actions must be given")
    for place, value, kind in (
        ("graph", graph, nx.DiGraph), ("rates", rates, TransitionRates), ("actions", actions, Actions)
    ):  # fmt: skip
        if not (isinstance(value, kind) or (value is None and place != "graph")):
            raise InvalidInputError(place, type(value).__name__, f"must be a {kind.__name__}")
    K, out = graph.number_of_nodes(), graph.copy()
    for place, table in (
        ("rates", None if rates is None else rates.rates),
        ("actions", None if actions is None else actions.matrix),
    ):  # fmt: skip
        if table is not None and len(table) != K:
            raise InvalidInputError(
                place, f"{len(table)} attractors", f"must be of the graph's landscape, {K} attractors"
            )
    if rates is not None:
        first = mean_first_passage_times(rates)
        out.graph.update(
            noise=rates.noise, noise_amplitude=rates.amplitude, transition_rates=_listed(rates.rates),
            mean_exit_times=_listed(rates.mean_exit_times), mean_first_passage_times=_listed(first),
        )  # fmt: skip
    if actions is not None:
        out.graph.update(actions=_listed(actions.matrix), quasipotential=_listed(actions.quasipotential))
    for i, j, edge in out.edges(data=True):
        if rates is not None:
            edge.update(
                rate=_plain(rates.rates[i, j]), rate_interval=_listed(rates.intervals[i, j]),
                n_switches=int(rates.counts[i, j]), mean_first_passage=_plain(first[i, j]),
            )  # fmt: skip
        if actions is not None:
            edge["action"] = _plain(actions.matrix[i, j])
    return out


def _plain(value: float) -> float | None:
    """Return the number; None where it is not finite, which JSON cannot say."""
    return float(value) if np.isfinite(value) else None


def _listed(table: FloatArray) -> list[Any]:
    return [_plain(v) if np.ndim(v) == 0 else _listed(v) for v in table]
