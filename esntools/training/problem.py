"""A task with its data scaled and split: solved, judged on held-out data, and told in data units."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.errors import EsntoolsWarning, InvalidInputError
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import drive
from esntools.training.fitted import Fit, RidgeTrial
from esntools.training.ridge import RidgeSolution, decompose
from esntools.training.search import window_errors
from esntools.training.segments import Pieces, Scale, mean_period
from esntools.training.selection import Selected, stays
from esntools.training.workspace import Driven, Workspace

__all__ = ["THRESHOLD", "Problem"]

#: Error, in standard deviations, up to which a forecast is called valid.
THRESHOLD: Final = 0.4
# In standard deviations: about where `Fit.forecast` stops a run that left the range of the data. Without the
# cut one runaway in sixty would be the whole mean.
_RUNAWAY: Final = 10.0


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A task with its data scaled and split, ready to be solved and judged."""

    task: str
    pieces: Pieces
    names: tuple[str, ...]
    y_scale: Scale
    u_scale: Scale | None
    space: Workspace
    dt: float | None
    lyapunov_exponent: float | None

    @classmethod
    def of(
        cls,
        task: str,
        pieces: Pieces,
        names: tuple[str, ...],
        washout: int,
        holdout: int | None,
        squares: bool,
        noise: float,
        dt: float | None,
        lyapunov_exponent: float | None,
        rng: np.random.Generator,
    ) -> Problem:
        make = Scale.largest if task == "map" else Scale.standard
        y_scale = make(pieces.y)
        u_scale = None if pieces.u is None else make(pieces.u)
        ys = [y_scale.apply(piece) for piece in pieces.y]
        us = None if pieces.u is None or u_scale is None else [u_scale.apply(piece) for piece in pieces.u]

        def noisy(values: FloatArray) -> FloatArray:
            return values + noise * rng.standard_normal(values.shape) if noise else values

        if us is None:
            inputs, targets = [noisy(y) for y in ys], [y[1:] for y in ys]
        elif task == "observe":
            inputs, targets = us, ys
        else:
            # Teacher forcing: the state that y[k] is read from saw y[k-1] as feedback; zero before the start.
            past = [np.vstack([np.zeros((1, y.shape[1])), y[:-1]]) for y in ys]
            inputs, targets = [np.hstack([u, noisy(p)]) for u, p in zip(us, past)], ys
        main = pieces.longest
        n_rows = len(targets[main])
        usable = n_rows - washout
        if holdout is None:
            n_test = int(min(0.2 * usable, 4000))
        else:
            n_test = holdout
        n_validation = int(min(0.15 * usable, 2000))
        if usable - n_test - n_validation < 5:
            raise InvalidInputError(
                "holdout", str(n_test), f"leaves too few of the {usable} rows to fit", "hold out fewer"
            )
        n_test, n_validation = max(n_test, 2), max(n_validation, 2)
        period = mean_period(ys)
        steps = 15.0 * period
        if dt is not None and lyapunov_exponent is not None:
            steps = 12.0 / (dt * lyapunov_exponent)
        horizon = int(max(2, min(max(steps, 20.0), 1000, n_validation)))
        space = Workspace(
            inputs=inputs, targets=targets, main=main, train_end=n_rows - n_test - n_validation,
            validation_end=n_rows - n_test, washout=washout, horizon=horizon, period=period,
            closed=task == "forecast", squares=squares,
        )  # fmt: skip
        return cls(task, pieces, names, y_scale, u_scale, space, dt, lyapunov_exponent)

    def network(self, reservoir: EchoStateNetwork, solution: RidgeSolution) -> EchoStateNetwork:
        """Return the network in data units."""
        n, d = reservoir.n_units, self.space.n_outputs
        width, centre = self.y_scale.width, self.y_scale.centre
        weights = width[:, None] * solution.weights
        readout = Readout(
            weights[:, :n],
            weights[:, n:] if self.space.squares else None,
            width * solution.intercept + centre,
        )
        b, W_fb = reservoir.b, None
        W_in = reservoir.W_in
        if self.task == "map":
            W_fb, W_in = W_in[:, -d:] / width, W_in[:, :-d]
            b = b - W_fb @ centre
        scale = self.y_scale if self.u_scale is None else self.u_scale
        W_in = W_in / scale.width
        return EchoStateNetwork(
            reservoir.W, W_in=W_in, b=b - W_in @ scale.centre, leak_rate=reservoir.leak_rate,
            readout=readout, W_fb=W_fb,
        )  # fmt: skip

    def judged(self, selected: Selected, refit: bool | None) -> Fit:
        space, driven, solution = self.space, selected.driven, selected.solution
        one_step = self._one_step(driven, solution)
        vpt = np.zeros(0)
        holdout_nrmse, holdout_steps = one_step, 1
        if self.task == "forecast":
            vpt, holdout_nrmse, holdout_steps = self._free_runs(driven, solution)
        n_train = sum(stop - start for _, start, stop in space.ranges("fit"))
        # In a short series the most recent values matter more than judging the very network that is returned.
        notes = selected.notes
        refitted = self.task == "forecast" and (n_train < 3000 if refit is None else bool(refit))
        if refitted:
            again = decompose(space.blocks(driven, "all"), smallest_penalty=solution.penalty)
            refit_solution = again.solve(solution.penalty)
            if not stays(space, driven, solution) or stays(space, driven, refit_solution):
                solution = refit_solution
            else:
                refitted = False
                notes += (
                    "fitted to all rows, the free run left the range of the data:"
                    " the fit without the held-out rows is kept",
                )
        for note in notes:
            warnings.warn(note, EsntoolsWarning, stacklevel=3)
        part = "all" if refitted else "fit"
        n_train = sum(stop - start for _, start, stop in space.ranges(part))
        network = self.network(driven.network, solution)
        if self.task == "map":
            holdout_nrmse, x_last = self._map_run(network, driven)
            holdout_steps = len(space.targets[space.main]) - space.validation_end
        else:
            source = self.pieces.y if self.pieces.u is None else self.pieces.u
            x_last = drive(network, source[-1]).last_state
        rows = np.concatenate(self.pieces.y)
        return Fit(
            network=network, task=self.task, hyperparameters=asdict(selected.hyperparameters),
            ridge=solution.penalty,
            ridge_path=tuple(
                RidgeTrial(float(q), float(np.sqrt(e)), float(s))
                for q, e, s in zip(selected.penalties, selected.loo.loo, selected.scores)
            ),
            solver=solution.solver, condition=solution.condition, dof=solution.dof, washout=space.washout,
            n_train=n_train, n_dropped=self.pieces.n_dropped, refitted=refitted, dt=self.dt,
            lyapunov_exponent=self.lyapunov_exponent, x_last=x_last, y_last=self.pieces.y[-1][-1],
            y_range=(rows.min(axis=0), rows.max(axis=0)), holdout_nrmse=holdout_nrmse,
            holdout_steps=holdout_steps, one_step_nrmse=one_step, vpt_steps=vpt, trials=selected.trials,
            seed=selected.seed, names=self.names, notes=notes,
        )  # fmt: skip

    def _one_step(self, driven: Driven, solution: RidgeSolution) -> float:
        total, n = 0.0, 0
        for F, Y in self.space.blocks(driven, "test")():
            residual = F @ solution.weights.T + solution.intercept - Y
            total, n = total + float(np.sum(residual**2)), n + residual.size
        return float(np.sqrt(total / n))

    def _free_runs(self, driven: Driven, solution: RidgeSolution) -> tuple[FloatArray, float, int]:
        """Return valid prediction times, and the NRMSE over one mean period, of runs on held-out data."""
        space = self.space
        start, stop = space.validation_end, len(space.targets[space.main])
        steps = (stop - start) // 2
        if self.dt is not None and self.lyapunov_exponent is not None:
            steps = min(steps, int(25.0 / (self.dt * self.lyapunov_exponent)))
        steps = max(1, steps)
        rows = np.unique(np.linspace(start, stop - steps, 60).round().astype(int))
        starts = [(space.main, int(k)) for k in rows]
        errors = window_errors(
            driven.network, driven.at(starts), space.truths(starts, steps),
            solution.weights[None], solution.intercept[None], limit=np.inf,
        )[0]  # fmt: skip
        over = ~(errors <= THRESHOLD)
        vpt = np.where(over.any(axis=1), over.argmax(axis=1), steps).astype(np.float64)
        near = max(1, min(steps, round(space.period)))
        cut = np.minimum(errors[:, :near], _RUNAWAY)
        return vpt, float(np.sqrt(np.mean(cut**2))), near

    def _map_run(self, network: EchoStateNetwork, driven: Driven) -> tuple[float, FloatArray]:
        """Run the network with its own feedback over the held-out rows."""
        space = self.space
        assert self.pieces.u is not None
        x = driven.at([(space.main, space.validation_end - 1)])[0]
        run = drive(network, self.pieces.u[space.main][space.validation_end :], x)
        error = (run.outputs - self.pieces.y[space.main][space.validation_end :]) / self.y_scale.width
        return float(np.sqrt(np.mean(error**2))), run.last_state
