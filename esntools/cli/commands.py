"""The table of commands, and those about a whole study: the report, the zoo."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esntools.cli.attracting import basins_command, compare_command, echo_index_command
from esntools.cli.console import DONE, ProgressLine
from esntools.cli.dynamics import (
    bifurcations_command,
    fixed_points_command,
    lyapunov_command,
    orbits_command,
)
from esntools.cli.excitable import design_command, diagnose_command, ena_command, given_network
from esntools.cli.fitting import fit_command, forecast_command
from esntools.cli.sources import (
    check_clock,
    first_rows,
    fit_keywords,
    naming,
    output_folder,
    read,
    refuse_columns,
    to_json,
    zoo_model,
)
from esntools.cli.verify import check_command, verify_command
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools.series import Series
    from esntools.study import GivenNetwork
    from esntools.zoo import ZooModel

__all__ = ["COMMANDS"]


# -- commands ------------------------------------------------------------------------------------------------


def report_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.series import Series

    source: ZooModel | Series | GivenNetwork
    model = zoo_model(options.source)
    given = given_network(options) if model is None else None
    if options.task is not None and given is None:
        raise InvalidInputError(
            "report --task", repr(options.task), "belongs to a model file",
            "a model of the zoo names its own task, a series has none",
        )  # fmt: skip
    source = model or given or read(options, options.source, options.column)
    what = options.source
    if not isinstance(source, Series):
        refuse_columns(options)
    else:
        check_clock(options, options.dt or source.dt)
        first_rows(source.values, options.n_train)
        what += f": column {source.name!r}"
    name = model.name if model is not None else Path(options.source).stem
    start = time.monotonic()
    keywords = fit_keywords(Namespace(**{**vars(options), "task": None}))
    if options.n_train is not None:
        keywords["n_train"] = options.n_train
    with output_folder(options.output or f"reports/{name}") as folder, naming(what):
        from esntools.report import write_report
        from esntools.study import run_study

        study = run_study(source, rng=options.seed, progress=progress, **keywords)
        page = write_report(study, folder)
    for line in study.summary_lines:
        progress.say(line)
    progress.say(f"{page} written after {time.monotonic() - start:.0f} s")
    return DONE


def models_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools import zoo

    names = zoo.zoo_names()
    rows = []
    for name in names:
        model = zoo.load(name)
        about = {"kind": model.kind, "title": model.title}
        rows.append(f"{to_json(name)}: {to_json(about, indent=None)}")
    # One model a line: JSON that a person can read.
    sys.stdout.write("{\n" + ",\n".join(" " + row for row in rows) + "\n}\n")
    return DONE


COMMANDS: Final[dict[str, Callable[[Namespace, ProgressLine], int]]] = {
    "fit": fit_command,
    "forecast": forecast_command,
    "verify": verify_command,
    "check": check_command,
    "fixed-points": fixed_points_command,
    "orbits": orbits_command,
    "bifurcations": bifurcations_command,
    "lyapunov": lyapunov_command,
    "basins": basins_command,
    "echo-index": echo_index_command,
    "compare": compare_command,
    "ena": ena_command,
    "diagnose": diagnose_command,
    "design": design_command,
    "report": report_command,
    "models": models_command,
}
