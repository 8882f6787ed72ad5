"""What a fit is: the network, what was chosen and how well it did, and the file that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from esntools import files
from esntools._typing import Document, FloatArray
from esntools.errors import FileFormatError, InvalidInputError
from esntools.network import MODEL_FORMAT, MODEL_VERSION, EchoStateNetwork
from esntools.simulation import Forecast, forecast
from esntools.training.selection import Trial

__all__ = ["Fit", "RidgeTrial"]

_SCALARS: Final = (
    "task", "hyperparameters", "ridge", "solver", "condition", "dof", "washout", "n_train", "n_dropped",
    "refitted", "dt", "lyapunov_exponent", "holdout_nrmse", "holdout_steps", "one_step_nrmse", "seed",
)  # fmt: skip


@final
@dataclass(frozen=True)
class RidgeTrial:
    """One penalty tried: its one-step leave-one-out NRMSE and the score of its windows (lower is better)."""

    ridge: float
    loo_error: float
    window_score: float


@final
@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted network with what was chosen and how well it does on data that it has not seen.

    Attributes
    ----------
    network : EchoStateNetwork
        In data units: the scaling of the series is folded into W_in, b and the readout. For the task
        ``"forecast"`` the open loop, which takes the series and predicts its next value.
    task : str
    hyperparameters : dict
        spectral_radius, input_scaling, bias_scaling, leak_rate (in units of the scaled series).
    ridge : float
        Penalty relative to the mean diagonal of the centred Gram matrix.
    ridge_path : tuple of RidgeTrial
    solver : str
        How the final weights were computed; see `esntools.training.ridge.RidgeSolution`.
    condition, dof : float
        Of the final regression.
    washout, n_train, n_dropped : int
        Steps dropped at the start of every stretch; rows fitted; rows lost to gaps.
    refitted : bool
        Whether the network was fitted again to all rows after the held-out ones had judged it (short series).
    dt, lyapunov_exponent : float or None
    x_last, y_last : arrays
        State and value at the end of the series; ``network.output(x_last)`` predicts the next value.
    y_range : (array, array)
        Lowest and highest value of each column in training.
    holdout_nrmse : float
        Of free runs over `holdout_steps` steps (a mean period) on held-out data, errors cut at 10 standard
        deviations; for the other tasks, of the output there.
    one_step_nrmse : float
        Of one-step predictions (observe: of the output) on held-out data.
    vpt_steps : array, shape (n_windows,)
        Steps until the error of a free run on held-out data exceeds 0.4 standard deviations.
    trials : tuple of Trial
        The search, in its order; not kept in files.
    seed : int or None
        What the winning reservoir was drawn from.
    names : tuple of str
        Of the columns of the series; empty when none were given.
    notes : tuple of str
        What went otherwise than asked, one sentence each; usually empty.

    Examples
    --------
    >>> from esntools.systems import henon
    >>> from esntools.training import fit
    >>> x = henon().trajectory(1500)[:, 0]
    >>> found = fit(x, n_units=100, n_candidates=0, leak_rate=1.0, rng=1)
    >>> found.one_step_nrmse < 1e-4, found.forecast(5).outputs.shape
    (True, (5, 1))
    """

    network: EchoStateNetwork
    task: str
    hyperparameters: dict[str, float]
    ridge: float
    ridge_path: tuple[RidgeTrial, ...]
    solver: str
    condition: float
    dof: float
    washout: int
    n_train: int
    n_dropped: int
    refitted: bool
    dt: float | None
    lyapunov_exponent: float | None
    x_last: FloatArray
    y_last: FloatArray
    y_range: tuple[FloatArray, FloatArray]
    holdout_nrmse: float
    holdout_steps: int
    one_step_nrmse: float
    vpt_steps: FloatArray
    trials: tuple[Trial, ...] = ()
    seed: int | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Fit({self.task}, {self.network.n_units} units, ridge={self.ridge:.1e}, "
            f"one-step NRMSE {self.one_step_nrmse:.1e})"
        )

    @property
    def vpt_lyapunov(self) -> FloatArray | None:
        """`vpt_steps` in Lyapunov times; None unless dt and the exponent are known."""
        if self.dt is None or self.lyapunov_exponent is None:
            return None
        return self.vpt_steps * self.dt * self.lyapunov_exponent

    @property
    def closed_loop(self) -> EchoStateNetwork:
        """The autonomous network that forecasts.

        Raises
        ------
        InvalidInputError
            When the task is not ``"forecast"``.
        """
        if self.task != "forecast":
            raise InvalidInputError(
                "closed_loop", f"task {self.task!r}", "only a forecast feeds its output back as its input"
            )
        return self.network.closed_loop()

    def forecast(self, n_steps: int, *, store_states: bool = False) -> Forecast:
        """Return the `n_steps` values that follow the series; stops where it leaves the training range."""
        return forecast(
            self.closed_loop, self.x_last, n_steps, y_range=self.y_range, store_states=store_states
        )

    def save(self, path: str | Path, *, provenance: Document | None = None) -> None:
        """Write the fit to a model file that `EchoStateNetwork.load` reads too; atomic, no pickle."""
        section, arrays = self.network.to_parts()
        record = {name: _jsonable(getattr(self, name)) for name in _SCALARS}
        record |= {"names": list(self.names), "notes": list(self.notes)}
        header = {
            "format": MODEL_FORMAT,
            "version": MODEL_VERSION,
            "network": section,
            "fit": record,
            "provenance": files.provenance() if provenance is None else provenance,
        }
        trials = [(t.ridge, t.loo_error, t.window_score) for t in self.ridge_path]
        arrays |= {
            "fit_x_last": self.x_last,
            "fit_y_last": self.y_last,
            "fit_y_range": np.stack(self.y_range),
            "fit_vpt_steps": self.vpt_steps,
            "fit_ridge_path": np.array(trials, dtype=np.float64).reshape(-1, 3),
        }
        files.write_npz(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Fit:
        """Read a fit from its file.

        Raises
        ------
        FileFormatError
            When the file is missing, altered, newer, of another kind, or holds a network but no fit.
        """
        header, arrays = files.read_npz(path, MODEL_FORMAT, MODEL_VERSION)
        if "fit" not in header:
            raise FileFormatError(
                str(path), "a network without a fit", "expected a model file written by Fit.save",
                "read it with EchoStateNetwork.load",
            )  # fmt: skip
        network = EchoStateNetwork.load(path)
        record: Mapping[str, Any] = header["fit"]
        try:
            return cls(
                network=network,
                ridge_path=tuple(RidgeTrial(*map(float, row)) for row in arrays["fit_ridge_path"]),
                x_last=arrays["fit_x_last"],
                y_last=arrays["fit_y_last"],
                y_range=(arrays["fit_y_range"][0], arrays["fit_y_range"][1]),
                vpt_steps=arrays["fit_vpt_steps"],
                names=tuple(map(str, record.get("names", ()))),
                notes=tuple(map(str, record.get("notes", ()))),
                **{name: _from_json(record[name]) for name in _SCALARS},
            )
        except (KeyError, TypeError, IndexError) as error:
            raise FileFormatError(str(path), f"missing {error}", "a fit needs every field") from None


def _jsonable(value: Any) -> Any:
    # JSON has no infinity: a singular regression has condition "inf".
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _from_json(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value
