"""`esntools fit` and `esntools forecast`: what was chosen, how well it does, and what follows the series."""

from __future__ import annotations

import csv
import io
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from esntools.cli.console import DONE, ProgressLine
from esntools.cli.sources import check_writable, fit_file, fit_zoo, load_fit, zoo_model
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools.training import Fit

__all__ = ["fit_command", "forecast_command"]


def fit_command(options: Namespace, progress: ProgressLine) -> int:
    check_writable(options.output, (".npz",))
    model = zoo_model(options.source)
    start = time.monotonic()
    if model is not None:
        result, what = fit_zoo(model, options, progress)
    else:
        result, what = fit_file(options, progress)
    result.save(options.output)
    for line in (what + f"; {result.n_train} rows fitted", *_fit_words(result)):
        progress.say(line)
    progress.say(f"written to {options.output} after {time.monotonic() - start:.1f} s")
    return DONE


def _fit_words(fit: Fit) -> list[str]:
    """Return three plain lines: what was chosen, how it errs, how long it is right."""
    chosen = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in fit.hyperparameters.items())
    readout = fit.network.readout
    terms = "x" if readout is None or readout.is_affine else "x and x²"
    tried = f" (best of {len(fit.trials)})" if len(fit.trials) > 1 else ""
    lines = [
        f"network: {fit.network.n_units} units, {chosen}; readout of {terms}, ridge {fit.ridge:.1e}{tried}",
        f"held-out error: {fit.one_step_nrmse:.2e} one step ahead, {fit.holdout_nrmse:.2e} over "
        f"{fit.holdout_steps} steps (of the standard deviation)",
    ]
    if len(fit.vpt_steps):
        times, unit = fit.vpt_lyapunov, "Lyapunov times"
        if times is None:
            times, unit = fit.vpt_steps, "steps"
        # Ties at the top are windows that ended before the error was large.
        whole = int((times == times.max()).sum())
        at_least = "at least " if whole > len(times) // 2 else ""
        lines.append(
            f"valid prediction time: {at_least}{times.mean():.1f} {unit} "
            f"(from {times.min():.1f} to {times.max():.1f} over {len(times)} windows)"
        )
    return lines


def forecast_command(options: Namespace, progress: ProgressLine) -> int:
    import numpy as np

    from esntools.files import write_text

    check_writable(options.output)
    fit = load_fit(options.source)
    if fit.task != "forecast":
        raise InvalidInputError(
            options.source, f"fitted for the task {fit.task!r}",
            "only a network that was fitted to forecast runs on its own output", "fit it without --input",
        )  # fmt: skip
    result = fit.forecast(options.steps)
    outputs = np.asarray(result.outputs)
    clock = "step" if fit.dt is None else "time"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    plain = ["y"] if outputs.shape[1] == 1 else [f"y{j}" for j in range(outputs.shape[1])]
    names = list(fit.names) or plain
    writer.writerow([clock, *names])
    for k, row in enumerate(outputs, start=1):
        moment = k if fit.dt is None else float(f"{k * fit.dt:.12g}")
        writer.writerow([moment, *("" if np.isnan(v) else repr(float(v)) for v in row)])
    if options.output is None:
        sys.stdout.write(buffer.getvalue())
    else:
        write_text(options.output, buffer.getvalue())
        progress.say(f"{options.output}: {len(outputs)} steps after the end of the series")
    left = result.left_range_at
    if left is not None and np.all(np.asarray(left) >= 0):
        progress.say(
            f"the forecast left the training range at step {int(left) + 1}; it is empty from there on"
        )
    return DONE
