"""Choosing reservoir and penalty: one drive and one decomposition per candidate, judged by free runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from esntools._typing import BoolArray, FloatArray, IntArray, Progress, no_progress
from esntools.interop import reservoir_weights
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import forecast
from esntools.training.ridge import Decomposition, RidgePath, RidgeSolution, decompose, path
from esntools.training.search import HYPERPARAMETERS, Hyperparameters, propose
from esntools.training.workspace import Driven, Workspace

__all__ = ["Selected", "Trial", "select", "stays"]

_SEARCH_UNITS: Final = 300
_SEARCH_ROWS: Final = 5000
# The Gram matrix, all that the search pays for, holds nothing below about 1e-12 of its mean diagonal.
_SEARCH_PENALTIES: Final = np.logspace(-12, 0, 13)
_FINAL_PENALTIES: Final = np.logspace(-18, 0, 37)
_RECYCLED, _FRESH = 8, 6
_FINAL_RECYCLED, _FINAL_FRESH = 20, 16
# Leave-one-out errors in the search are averaged over this many rows (of the regression on all of them).
_SEARCH_LOO_ROWS: Final = 1000
# Long free runs that judge the climate, and how far beyond the data, in widths of its range, one may stray.
_LONG_RUNS, _LONG_STEPS, _MARGIN = 24, 1200, 0.1
# A penalty keeps the climate when at most this share of them strays.
_FEW: Final = 0.1
# Penalties whose climate is looked at: so many, spread over those that cost at most so much above the best.
_LONG_PENALTIES, _WITHIN = 8, 0.15
_MORE_DRAWS: Final = 4
# Added to the score of a rejected draw; scores of free runs lie in [0, 1].
_REJECTED: Final = 1e6


@final
@dataclass(frozen=True)
class Trial:
    """One candidate of the search: its settings, its best penalty and the cost there (lower is better)."""

    hyperparameters: Hyperparameters
    ridge: float
    score: float


def _reservoir(base: EchoStateNetwork, h: Hyperparameters) -> EchoStateNetwork:
    """Rescale a reservoir drawn with unit radius, input scaling and bias."""
    return EchoStateNetwork(
        base.W * h.spectral_radius,
        W_in=base.W_in * h.input_scaling,
        b=base.b * h.bias_scaling,
        leak_rate=h.leak_rate,
    )


def _draw(n_units: int, n_inputs: int, connectivity: float | None, seed: int) -> EchoStateNetwork:
    return reservoir_weights(
        n_units, n_inputs, spectral_radius=1.0, input_scaling=1.0, bias_scaling=1.0,
        connectivity=connectivity, seed=seed,
    )  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Selected:
    """The winner, in scaled units: its reservoir, its readout fitted to train and validation rows.

    Attributes
    ----------
    driven : Driven
    hyperparameters : Hyperparameters
    solution : RidgeSolution
    penalties, scores : arrays
        The score of each penalty tried with the winning reservoir.
    loo : RidgePath
        Leave-one-out and training errors at the same penalties, on the training rows.
    trials : tuple of Trial
        The search, in its order; empty when nothing was searched.
    seed : int
        Of the reservoir drawn.
    notes : tuple of str
        What a user should know about the choice; empty when all went well.
    """

    driven: Driven
    hyperparameters: Hyperparameters
    solution: RidgeSolution
    penalties: FloatArray
    scores: FloatArray
    loo: RidgePath
    trials: tuple[Trial, ...]
    seed: int
    notes: tuple[str, ...]


def _smoothed(scores: FloatArray) -> FloatArray:
    """Average each score with its neighbours: one lucky penalty should not win."""
    if len(scores) < 3:
        return scores
    padded = np.concatenate([scores[:1], scores, scores[-1:]])
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def _allowed(loo: RidgePath) -> BoolArray:
    """Return which penalties do not overfit.

    A clipped score hardly sees the rare event on which a readout with huge weights explodes; the
    leave-one-out error does. So no penalty more than a decade below its optimum is considered.
    """
    return np.asarray(loo.penalties >= 0.099 * loo.penalties[int(np.argmin(loo.loo))])


def _costs(
    space: Workspace, driven: Driven, q: Decomposition, scores: FloatArray, loo: RidgePath
) -> FloatArray:
    """Return the score of each penalty plus, for free runs, its one-step NRMSE on later rows.

    The latter is nothing for a clean series. For a noisy one, whose few windows are mostly chance, it is what
    tells settings apart. The leave-one-out error alone is too hopeful there: a slow reservoir that still
    forgets its initial state can tell the time, which fits the past and says nothing of the future.
    """
    if not space.closed:
        return _smoothed(scores)
    squares = []
    for i, (fitted, judged) in enumerate(space.folds()):
        of_fold = q if i == 0 else decompose(space.blocks(driven, fitted), method="eigh")
        squares.append(space.ahead(driven, of_fold, loo.penalties, judged))
    later = np.maximum(loo.loo, np.mean(squares, axis=0))
    return _smoothed(scores) + _smoothed(np.sqrt(later))


def _loop(space: Workspace, driven: Driven, weights: FloatArray, intercept: FloatArray) -> EchoStateNetwork:
    n = driven.network.n_units
    readout = Readout(weights[:, :n], weights[:, n:] if space.squares else None, intercept)
    return replace(driven.network, readout=readout).closed_loop()


def _strays(
    space: Workspace, driven: Driven, q: Decomposition, penalties: FloatArray, among: IntArray
) -> FloatArray:
    """Return, for the penalties `among`, the share of long free runs that stray from the data's range.

    A readout can hold for many Lyapunov times and still have a direction, transversal to the attractor, along
    which it leaves now and then and is thrown back to a place where the system never is: exponents and
    histogram are then wrong. Larger penalties do not always help, so every one is looked at.
    """
    shares = np.zeros(len(penalties))
    inside = [(piece, k) for piece, start, stop in space.ranges("fit") for k in range(start, stop)]
    picks = np.unique(np.linspace(0, len(inside) - 1, _LONG_RUNS).round().astype(int))
    starts = driven.at([inside[i] for i in picks])
    rows = np.concatenate(space.targets)
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = _MARGIN * (high - low)
    steps = min(3 * space.horizon, _LONG_STEPS)
    for i in among:
        weights = q.weights(float(penalties[i]))[0]
        loop = _loop(space, driven, weights, q.intercepts(weights))
        outputs = forecast(loop, starts, steps, y_range=(low, high)).outputs
        within = (outputs >= low - margin) & (outputs <= high + margin)
        shares[i] = 1.0 - float(np.mean(within.all(axis=(0, 2))))
    return shares


def _choice(
    space: Workspace, driven: Driven, q: Decomposition, costs: FloatArray, loo: RidgePath
) -> tuple[int, float]:
    """Return the index of the best penalty and its cost, runs that stray included."""
    among = np.flatnonzero(_allowed(loo))
    if space.closed:
        best = int(among[np.argmin(costs[among])])
        among = among[costs[among] <= costs[best] + _WITHIN]
        picks = np.unique(np.linspace(0, len(among) - 1, _LONG_PENALTIES).round().astype(int))
        among = np.unique(np.append(among[picks], best))
        shares = _strays(space, driven, q, loo.penalties, among)
        # Where no penalty keeps the climate, straying says nothing about which forecasts best.
        reached = float(shares[among].min()) <= _FEW
        chosen = costs + shares if reached else costs
        best = int(among[np.argmin(chosen[among])])
        return best, float(costs[best] + shares[best])
    best = int(among[np.argmin(costs[among])])
    return best, float(costs[best])


@dataclass(frozen=True, eq=False)
class _Draw:
    score: float
    seed: int
    hyperparameters: Hyperparameters
    driven: Driven
    scores: FloatArray
    loo: RidgePath
    penalty: float
    solution: RidgeSolution
    stays: bool


def _searched(
    space: Workspace,
    n_units: int,
    connectivity: float | None,
    fixed: dict[str, float],
    penalties: FloatArray,
    n_candidates: int,
    rng: np.random.Generator,
    progress: Progress,
) -> list[Trial]:
    base = _draw(
        min(n_units, _SEARCH_UNITS), space.inputs[0].shape[1], connectivity, int(rng.integers(2**31))
    )
    starts = space.windows(_RECYCLED, _FRESH)
    trials: list[Trial] = []
    n_local = n_candidates // 3
    for stage, n in ((0, n_candidates - n_local), (1, n_local)):
        best = sorted(trials, key=lambda trial: trial.score)[:3]
        for h in propose(n, fixed, rng, [trial.hyperparameters for trial in best]) if n else []:
            progress("searching the reservoir's settings", len(trials) / n_candidates)
            driven = Driven(_reservoir(base, h), space.inputs)
            q = decompose(space.blocks(driven, "train", _SEARCH_ROWS), method="eigh")
            scores = space.scores(driven, q, penalties, starts)
            loo = path(space.blocks(driven, "train", _SEARCH_LOO_ROWS), q, penalties)
            costs = np.where(_allowed(loo), _costs(space, driven, q, scores, loo), np.inf)
            i = int(np.argmin(costs))
            trials.append(Trial(h, float(penalties[i]), float(costs[i])))
        if stage == 0 and not n_local:
            break
    return trials


def stays(space: Workspace, driven: Driven, solution: RidgeSolution) -> bool:
    """Whether a long free run stays within the range of the data, widened by its own width."""
    if not space.closed:
        return True
    rows = np.concatenate(space.targets)
    start = driven.at([(space.main, space.validation_end - 1)])[0]
    run = forecast(
        _loop(space, driven, solution.weights, solution.intercept), start, 5 * space.horizon + 1000,
        y_range=(rows.min(axis=0), rows.max(axis=0)),
    )  # fmt: skip
    return run.left_range_at is None


def select(
    space: Workspace,
    *,
    n_units: int,
    connectivity: float | None,
    fixed: dict[str, float],
    ridge: float | None,
    n_candidates: int,
    n_draws: int | None,
    rng: np.random.Generator,
    progress: Progress = no_progress,
) -> Selected:
    """Choose the reservoir and the penalty.

    Proposals over the box, then near the best three, are scored with at most 300 units; the best few are
    drawn again in full size, from new seeds, and scored over more windows and penalties. A draw whose long
    free run leaves the range of the data is rejected; when all are, a few more are tried.
    """
    trials: list[Trial] = []
    if len(fixed) < len(HYPERPARAMETERS) and n_candidates > 0:
        penalties = _SEARCH_PENALTIES if ridge is None else np.array([ridge])
        trials = _searched(space, n_units, connectivity, fixed, penalties, n_candidates, rng, progress)
        best = [trial.hyperparameters for trial in sorted(trials, key=lambda trial: trial.score)[:3]]
        order = [best[0], *best]
        n_draws = len(order) if n_draws is None else n_draws
    else:
        order = [Hyperparameters(**fixed)]
        n_draws = 1 if n_draws is None else n_draws
    penalties = _FINAL_PENALTIES if ridge is None else np.array([ridge])
    starts = space.windows(_FINAL_RECYCLED, _FINAL_FRESH)
    winner: _Draw | None = None
    for i in range(n_draws + _MORE_DRAWS):
        if i >= n_draws and winner is not None and winner.score < _REJECTED:
            break
        progress("fitting the best in full size", i / (n_draws + _MORE_DRAWS))
        seed = int(rng.integers(2**31))
        h = order[i % len(order)]
        base = _draw(n_units, space.inputs[0].shape[1], connectivity, seed)
        driven = Driven(_reservoir(base, h), space.inputs)
        q = decompose(space.blocks(driven, "train"), smallest_penalty=float(penalties[0]))
        scores = space.scores(driven, q, penalties, starts)
        loo = path(space.blocks(driven, "train"), q, penalties)
        j, score = _choice(space, driven, q, _costs(space, driven, q, scores, loo), loo)
        penalty = float(penalties[j])
        solution = q.solve(penalty)
        staying = stays(space, driven, solution)
        if not staying:
            score += _REJECTED
        if winner is None or score < winner.score:
            winner = _Draw(score, seed, h, driven, scores, loo, penalty, solution, staying)
    assert winner is not None
    progress("fitting the best in full size", 0.9)
    q = decompose(space.blocks(winner.driven, "fit"), smallest_penalty=winner.penalty)
    solution = q.solve(winner.penalty)
    notes: tuple[str, ...] = ()
    if not winner.stays:
        notes = (f"free runs of every reservoir drawn ({n_draws + _MORE_DRAWS}) leave the range of the data",)
    elif not stays(space, winner.driven, solution):
        solution = winner.solution
        notes = (
            "fitted to the validation rows too, the free run left the range of the data:"
            " the fit without them is kept",
        )
    return Selected(
        winner.driven, winner.hyperparameters, solution, penalties, winner.scores, winner.loo,
        tuple(trials), winner.seed, notes,
    )  # fmt: skip
