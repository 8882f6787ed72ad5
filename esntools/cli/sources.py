"""What a command is given and where it writes: data, models, the zoo; outputs checked before work starts."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esntools._typing import Document
from esntools.cli.console import ProgressLine
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools.network import EchoStateNetwork
    from esntools.series import Series
    from esntools.training import Fit
    from esntools.zoo import ZooModel

__all__ = [
    "check_writable", "emit", "fit_file", "fit_keywords", "fit_zoo", "output_folder", "plain", "read",
    "read_network", "to_json", "zoo_model",
]  # fmt: skip


# -- files ---------------------------------------------------------------------------------------------------


def check_writable(path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output path that will not work before the work starts."""
    if path is None:
        return
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise InvalidInputError(
            path, f"suffix {target.suffix!r}" if target.suffix else "no suffix",
            "must end in " + ", ".join(suffixes),
        )  # fmt: skip
    if target.is_dir():
        raise InvalidInputError(path, "a folder", "the output path must be a file", "add a file name")
    _check_folder(target.parent, path)


def _check_folder(folder: Path, path: str) -> None:
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise InvalidInputError(
            path, f"{folder}: {what}", "the output path must be writable",
            "make the folder, or choose another with -o",
        )  # fmt: skip
    try:
        # Asking is not enough: a folder may be read-only for reasons that its permissions do not show.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInputError(
            path, f"{folder}: {error.strerror}", "the output path must be writable",
            "choose another with -o",
        ) from None  # fmt: skip


@contextmanager
def output_folder(path: str) -> Iterator[Path]:
    """Make a folder that can be written; take it away again if the work fails before anything is in it."""
    folder = Path(path)
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            path,
            error.strerror or str(error),
            "the report's folder must be writable",
            "choose another with -o",
        ) from None
    _check_folder(folder, path)
    try:
        yield folder
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


def emit(document: Document, path: str | None) -> None:
    """Write JSON to the file, or to standard output."""
    from esntools.files import write_json

    if path is not None:
        write_json(path, document)
    else:
        sys.stdout.write(to_json(document) + "\n")


def to_json(document: Any, indent: int | None = 1) -> str:
    """Return JSON that standard output can show: a terminal without an "ö" must not turn it into an error."""
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=ascii_only)


def plain(value: Any) -> Any:
    """Return arrays and complex numbers as JSON has them: lists, [re, im], null for what is not finite."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, (complex, np.complexfloating)):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


# -- sources -------------------------------------------------------------------------------------------------


def zoo_model(source: str) -> ZooModel | None:
    """Return the zoo's model of that name, or of that folder; None when it is a file."""
    from esntools import zoo

    path = Path(source)
    if source in zoo.zoo_names() or path.is_dir() or path.name == "model.toml":
        return zoo.load(source)
    if not path.exists() and not path.suffix:
        return zoo.load(source)
    return None


def read(options: Namespace, source: str, column: list[str] | None) -> Series:
    from esntools.series import read_series

    chosen: str | list[str] | None = column
    if column is not None and len(column) == 1:
        chosen = column[0]
    return read_series(source, chosen, time_column=getattr(options, "time_column", None))


def read_network(source: str) -> EchoStateNetwork:
    """Return the network of a model file, or of a zoo model that is one."""
    from esntools.network import EchoStateNetwork

    model = None if source.endswith(".npz") else zoo_model(source)
    return EchoStateNetwork.load(source) if model is None else model.network()


def fit_keywords(options: Namespace) -> dict[str, Any]:
    names = {
        "n_units": "n_units", "spectral_radius": "spectral_radius", "leak_rate": "leak_rate",
        "input_scaling": "input_scaling", "bias_scaling": "bias_scaling", "connectivity": "connectivity",
        "ridge": "ridge", "washout": "washout", "candidates": "n_candidates", "task": "task",
        "lyapunov_exponent": "lyapunov_exponent", "dt": "dt",
    }  # fmt: skip
    given = {ours: getattr(options, name, None) for name, ours in names.items()}
    keywords = {name: value for name, value in given.items() if value is not None}
    if getattr(options, "linear_readout", False):
        keywords["squares"] = False
    return keywords


def fit_zoo(model: ZooModel, options: Namespace, progress: ProgressLine) -> tuple[Fit, str]:
    """Fit a model of the zoo as its study.toml says, but for what the command line says."""
    from esntools.training import fit

    study = model.study.fit
    keywords = {**study.options(), **fit_keywords(options)}
    seed = study.seed if getattr(options, "seed", None) is None else options.seed
    n_train = getattr(options, "n_train", None) or study.n_train
    if model.kind == "task":
        task = model.task()
        result = fit(task.y[:n_train], task.u[:n_train], rng=seed, progress=progress, **keywords)
        return result, f"{model.name}: {len(task.y[:n_train])} steps, {task.n_bits} inputs and outputs"
    if model.kind == "network":
        raise InvalidInputError(
            model.name, "a network that is written out", "there is nothing to fit", "ask it: esntools verify"
        )
    for name in ("column", "time_column", "input"):
        if getattr(options, name, None):
            raise InvalidInputError(f"--{name.replace('_', '-')}", "given", "a zoo model has no columns")
    series = model.series()
    keywords = {"dt": series.dt, "lyapunov_exponent": model.lyapunov_exponent, **keywords}
    result = fit(series.values[:n_train], rng=seed, progress=progress, **keywords)
    return result, f"{model.name}: {len(series.values[:n_train])} steps of {series.name}"


def fit_file(options: Namespace, progress: ProgressLine) -> tuple[Fit, str]:
    from esntools.training import fit

    keywords = fit_keywords(options)
    columns, inputs = options.column, options.input
    if inputs is not None and (columns is None or "*" in [*columns, *inputs]):
        raise InvalidInputError(
            "fit --input", "given without --column by name", "with an input the series must be named too",
            "add --column NAME",
        )  # fmt: skip
    if inputs is None and keywords.get("task") in ("observe", "map"):
        raise InvalidInputError(
            "fit --task", repr(keywords["task"]), "it maps an input to the series", "name it with --input"
        )
    # Series and inputs are read at once, so that a row missing in the file is missing in both.
    series = read(options, options.source, columns if inputs is None else [*columns, *inputs])
    keywords.setdefault("dt", series.dt)
    values, u, name = series.values[: options.n_train], None, series.name
    if inputs is not None:
        keywords.setdefault("task", "observe")
        values, u = values[:, : len(columns)], values[:, len(columns) :]
        name = ",".join(columns)
    result = fit(values, u, rng=options.seed or 0, progress=progress, **keywords)
    missing = f", {series.n_missing} of them missing" if series.n_missing else ""
    return result, f"{options.source}: {len(values)} steps of {name}{missing}"
