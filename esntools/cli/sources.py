"""What a command is given and where it writes: data, models, the zoo; outputs checked before work starts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esntools._typing import Document
from esntools.cli.console import ProgressLine
from esntools.errors import EsntoolsError, InvalidInputError
from esntools.files import is_special

if TYPE_CHECKING:
    from esntools._typing import FloatArray
    from esntools.network import EchoStateNetwork
    from esntools.series import Series
    from esntools.training import Fit
    from esntools.zoo import ZooModel

__all__ = [
    "check_clock", "check_outputs_are_not_inputs", "check_writable", "count_inputs", "emit", "first_rows",
    "fit_file", "fit_keywords", "fit_of", "fit_zoo", "free_run", "held_network", "load_fit", "naming",
    "output_folder", "plain", "read", "read_network", "read_signal", "refuse_columns", "save_figure",
    "to_json", "zoo_model",
]  # fmt: skip


# -- files ---------------------------------------------------------------------------------------------------


def check_outputs_are_not_inputs(options: Namespace) -> None:
    """Refuse to write over what is read: the only copy of somebody's data may be there."""
    for out in ("output", "plot", "repair"):
        for given in ("source", "signal", "learned"):
            to, source = getattr(options, out, None), getattr(options, given, None)
            if not to or not source or not Path(source).is_file() or not Path(to).is_file():
                continue
            if Path(to).samefile(source):
                raise InvalidInputError(
                    to, "is what is read", "the output must not replace it", "choose another with -o"
                )


def check_writable(path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output path that will not work before the work starts."""
    if path is None:
        return
    if not path:
        raise InvalidInputError("-o", "''", "the output path must be a file", "name one")
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise InvalidInputError(
            path, f"suffix {target.suffix!r}" if target.suffix else "no suffix",
            "must end in " + ", ".join(suffixes),
        )  # fmt: skip
    if target.is_dir():
        raise InvalidInputError(path, "a folder", "the output path must be a file", "add a file name")
    if is_special(target):
        # A device or a pipe: its folder need not be writable.
        if not os.access(target, os.W_OK):
            raise InvalidInputError(
                path, "permission denied", "the output path must be writable", "choose another with -o"
            )
        return
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


def save_figure(figure: Any, path: str) -> None:
    """Write a figure; the same figure gives the same file."""
    import io

    import matplotlib

    from esntools.files import write_bytes

    buffer = io.BytesIO()
    metadata = (
        {"Date": None} if path.endswith(".svg") else {"CreationDate": None} if path.endswith(".pdf") else None
    )
    with matplotlib.rc_context({"svg.hashsalt": "esntools"}):
        figure.savefig(buffer, format=Path(path).suffix[1:].lower(), bbox_inches="tight", metadata=metadata)
    write_bytes(path, buffer.getvalue())


# -- sources -------------------------------------------------------------------------------------------------


def zoo_model(source: str) -> ZooModel | None:
    """Return the zoo's model of that name, or of that folder; None when it is a file."""
    from esntools import zoo

    path = Path(source)
    if not source.strip():
        raise InvalidInputError("SOURCE", repr(source), "must be a file or a name in the zoo")
    if path.is_dir() and source not in zoo.zoo_names() and not (path / "model.toml").is_file():
        raise InvalidInputError(
            source, "a folder without a model.toml", "must be a file or a name in the zoo"
        )
    if source in zoo.zoo_names() or path.is_dir() or path.name == "model.toml":
        return zoo.load(source)
    if not path.exists() and not path.suffix:
        return zoo.load(source)
    return None


def read(options: Namespace, source: str, column: list[str] | None) -> Series:
    from esntools.series import read_series

    chosen: str | list[str] | None = column
    twice = [name for k, name in enumerate(column or []) if name in (column or [])[:k]]
    if twice:
        raise InvalidInputError(
            "--column", f"{twice[0]!r} is given twice", "a column is one part of the series, or an input"
        )
    if column is not None and len(column) == 1:
        chosen = column[0]
    return read_series(source, chosen, time_column=getattr(options, "time_column", None))


def read_signal(options: Namespace, n_inputs: int) -> Series:
    """Return the series of ``--signal``, one column for each input of the network, without gaps."""
    import numpy as np

    series = read(options, options.signal, options.column or (["*"] if n_inputs > 1 else None))
    n_columns = 1 if series.values.ndim == 1 else series.values.shape[1]
    if n_columns != n_inputs:
        raise InvalidInputError(
            f"{options.signal}: {series.name}", f"{n_columns} column{'s' * (n_columns != 1)}",
            f"the network has {n_inputs} input{'s' * (n_inputs != 1)}",
            "choose one column for each with --column",
        )  # fmt: skip
    if series.n_missing:
        rows = np.isnan(series.values.reshape(len(series.values), -1)).any(axis=1)
        raise InvalidInputError(
            f"{options.signal}: {series.name}, row {int(np.argmax(rows))} (counted from 0)",
            f"missing, one of {series.n_missing}", "an input signal must have every value",
            "fill the gaps, or give an unbroken part",
        )  # fmt: skip
    return series


def load_fit(source: str) -> Fit:
    """Return the fit of a model file."""
    from esntools import zoo
    from esntools.training import Fit

    if not source.strip():
        raise InvalidInputError("SOURCE", repr(source), "must be a model file written by fit")
    if source in zoo.zoo_names() and not Path(source).is_file():
        if zoo.load(source).kind == "network":
            raise InvalidInputError(
                source, "a network of the zoo, which was never fitted", "must be a model file written by fit",
                "where the command takes --signal, give its input with that",
            )  # fmt: skip
        raise InvalidInputError(
            source, "a model of the zoo", "must be a model file written by fit",
            f"fit it first: esntools fit {source} -o model.npz",
        )  # fmt: skip
    return Fit.load(source)


def read_network(source: str) -> EchoStateNetwork:
    """Return the network of a model file, or of a zoo model that is one."""
    from esntools.network import EchoStateNetwork

    model = None if source.endswith(".npz") else zoo_model(source)
    return EchoStateNetwork.load(source) if model is None else model.network()


def fit_of(source: str) -> Fit | None:
    """Return the fit in a model file; None for a network that nobody fitted, which can still be asked."""
    from esntools.training import Fit

    try:
        return Fit.load(source) if source.endswith(".npz") else None
    except EsntoolsError:
        return None


def free_run(fit: Fit, n_steps: int) -> FloatArray:
    """Return states along the closed loop, up to where it leaves the training range."""
    import numpy as np

    run = fit.forecast(n_steps, store_states=True)
    assert run.states is not None
    return run.states[np.all(np.isfinite(run.outputs), axis=1)]


def held_network(
    options: Namespace, n_starts: int = 0
) -> tuple[EchoStateNetwork, FloatArray | None, FloatArray | None]:
    """Return the network of ``--closed-loop`` or ``--input``, its constant input, and states to start from.

    There are such states for a closed loop that was fitted to forecast: `n_starts` of a free run.
    """
    import numpy as np

    network = read_network(options.source)
    if options.closed_loop:
        network = network.closed_loop()
        fit = fit_of(options.source) if n_starts else None
        if fit is None or fit.task != "forecast":
            return network, None, None
        states = free_run(fit, 5000)
        return network, None, states[:: max(1, 2 * len(states) // n_starts)]
    if not network.n_inputs:
        return network, None, None
    given = [0.0] if options.input is None else options.input
    count_inputs("--input", len(given), network.n_inputs)
    return network, np.broadcast_to(np.array(given), (network.n_inputs,)).copy(), None


def count_inputs(place: str, given: int, n_inputs: int) -> None:
    """Refuse values that are not one for all inputs or one for each."""
    if n_inputs == 0:
        raise InvalidInputError(place, "given", "the network has no inputs", "use --zero or --closed-loop")
    if given not in (1, n_inputs):
        inputs = f"{n_inputs} input{'s' * (n_inputs != 1)}"
        raise InvalidInputError(
            place, f"{given} values", f"the network has {inputs}", "give one for all, or one for each"
        )


@contextmanager
def naming(place: str, argument: str = "y") -> Iterator[None]:
    """Say the file and column where the library says `argument`."""
    try:
        yield
    except InvalidInputError as error:
        if error.place.partition("[")[0] != argument:
            raise
        raise InvalidInputError(place, error.value, error.rule, error.remedy) from None


def _check_memory(n_units: int) -> None:
    """Refuse a size whose Gram matrix alone, of x, x∘x and 1, is larger than the machine."""
    needed = 8 * (2 * n_units + 1) ** 2
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return
    if needed > memory:
        raise InvalidInputError(
            "--n-units", str(n_units),
            f"its Gram matrix takes {needed / 2**30:.3g} GiB and this machine has {memory / 2**30:.3g}",
            f"at most {int((memory / 32) ** 0.5)} fit",
        )  # fmt: skip


def check_clock(options: Namespace, dt: float | None) -> None:
    if getattr(options, "lyapunov_exponent", None) is not None and dt is None:
        raise InvalidInputError(
            "--lyapunov-exponent", f"{options.lyapunov_exponent:g} without a time step",
            "Lyapunov times need one", "add --dt",
        )  # fmt: skip


def first_rows(values: FloatArray, n_train: int | None) -> FloatArray:
    """Return the first rows that ``--n-train`` asks for."""
    if n_train is not None and n_train > len(values):
        raise InvalidInputError("--n-train", str(n_train), f"the series has {len(values)} steps")
    return values[:n_train]


def fit_keywords(options: Namespace) -> dict[str, Any]:
    if getattr(options, "n_units", None) is not None:
        _check_memory(options.n_units)
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


def refuse_columns(options: Namespace) -> None:
    """Refuse what says which part of a file is meant, where no file is read."""
    for name in ("column", "time_column", "input"):
        if getattr(options, name, None):
            raise InvalidInputError(
                f"--{name.replace('_', '-')}", "given", "a zoo model has no columns", "leave it out"
            )


def fit_zoo(model: ZooModel, options: Namespace, progress: ProgressLine) -> tuple[Fit, str]:
    """Fit a model of the zoo as its study.toml says, but for what the command line says."""
    from esntools.training import fit

    refuse_columns(options)
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
    series = model.series()
    keywords = {"dt": series.dt, "lyapunov_exponent": model.lyapunov_exponent, **keywords}
    if series.values.ndim == 1:
        keywords["names"] = [series.name]
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
    wanted = columns if inputs is None else [*columns, *inputs]
    series = read(options, options.source, wanted)
    keywords.setdefault("dt", series.dt)
    check_clock(options, keywords["dt"])
    values, u, name = first_rows(series.values, options.n_train), None, series.name
    if inputs is not None:
        keywords.setdefault("task", "observe")
        values, u = values[:, : len(columns)], values[:, len(columns) :]
        name = ",".join(columns)
    names = name.split(",")
    if len(names) == (1 if values.ndim == 1 else values.shape[1]):
        keywords.setdefault("names", names)
    with naming(f"{options.source}: column {name!r}"):
        result = fit(values, u, rng=options.seed or 0, progress=progress, **keywords)
    missing = f", {series.n_missing} of them missing" if series.n_missing else ""
    return result, f"{options.source}: {len(values)} steps of {name}{missing}"
