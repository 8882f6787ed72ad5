"""The folder that describes a model: model.toml, study.toml, expected.json, read and checked key by key.

``model.toml`` says what a system is, ``study.toml`` how it is fitted and what it is asked, ``expected.json``
what has been published about it. Each names its format and version. A key that is not understood is refused.
"""

# `_key` is `dataclasses.field` with a range; ruff does not know that.
# ruff: noqa: RUF009

from __future__ import annotations

import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, final

from esntools._typing import Document
from esntools.errors import FileFormatError, InvalidInputError, nearest_name

__all__ = [
    "ExplainSpec", "FitSpec", "ForecastSpec", "ModelSpec", "NetworkSpec", "Reference", "ReportSpec",
    "StudySpec", "SystemSpec", "TaskSpec", "VerifySpec", "read_expected", "read_model_spec",
    "read_study_spec",
]  # fmt: skip

MODEL_SPEC_FORMAT: Final = "esntools-model-spec"
STUDY_SPEC_FORMAT: Final = "esntools-study-spec"
EXPECTED_FORMAT: Final = "esntools-expected"
SPEC_VERSION: Final = 1

#: Sources that `esntools.systems` integrates.
GENERATED: Final = ("lorenz63", "rossler", "mackey-glass", "henon")

Matrix = tuple[tuple[float, ...], ...]
T = TypeVar("T")


def _key(
    default: Any = MISSING,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
) -> Any:
    """Return the dataclass field of one key: its default (none: the key is required) and its range."""
    rule = {"low": low, "above": above, "high": high}
    return field(default=default, metadata={"rule": rule})


@final
@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where something was published."""

    title: str = _key()
    authors: str = _key()
    year: int = _key(low=1600, high=2100)
    where: str = _key("")
    doi: str = _key("")
    url: str = _key("")
    note: str = _key("")


@final
@dataclass(frozen=True, kw_only=True)
class SystemSpec:
    """What is observed: a generated system, data that a package ships, or a file beside model.toml.

    `parameters` go to the system, `observable` names the coordinate, `transient` (in time units)
    is dropped before `n_steps` steps of length `dt` are kept; for shipped data `dt` describes the data and
    `n_steps`, if given, shortens it.
    """

    source: Literal["lorenz63", "rossler", "mackey-glass", "henon", "santa-fe-laser", "sunspots", "file"] = (
        _key()
    )
    path: str = _key("")
    column: str = _key("")
    parameters: Mapping[str, float] = field(default_factory=dict, metadata={"rule": {}})
    observable: str = _key("")
    dt: float | None = _key(None, above=0)
    n_steps: int | None = _key(None, low=2)
    transient: float | None = _key(None, low=0)
    seed: int = _key(0, low=0)
    time_unit: str = _key("")


@final
@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network written out: its matrices, or the name of a model file beside model.toml.

    `symbols` are the inputs that drive it (one row each), `symbol_names` what they are called.
    """

    weights: str = _key("")
    W: Matrix = _key(())
    W_in: Matrix = _key(())
    W_out: Matrix = _key(())
    W_fb: Matrix = _key(())
    b: tuple[float, ...] = _key(())
    b_out: tuple[float, ...] = _key(())
    leak_rate: float = _key(1.0, above=0, high=1)
    activation: str = _key("tanh")
    symbols: Matrix = _key(())
    symbol_names: tuple[str, ...] = _key(())


@final
@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task that makes its own inputs and targets."""

    source: Literal["flip-flop"] = _key()
    n_bits: int = _key(low=1, high=8)
    n_steps: int = _key(low=100)
    pulse_probability: float = _key(0.02, above=0, high=1)
    seed: int = _key(0, low=0)


@final
@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """model.toml: what a system is; a network may name the task that it was trained for."""

    format: str = _key()
    version: int = _key(low=1)
    name: str = _key()
    title: str = _key()
    summary: str = _key("")
    kind: Literal["series", "network", "task"] = _key()
    system: SystemSpec | None = _key(None)
    network: NetworkSpec | None = _key(None)
    task: TaskSpec | None = _key(None)
    references: tuple[Reference, ...] = _key(())


@final
@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """How the network is trained; a key left out is chosen by `esntools.training.fit`."""

    task: Literal["forecast", "observe", "map"] = _key("forecast")
    n_units: int | None = _key(None, low=1)
    spectral_radius: float | None = _key(None, above=0)
    leak_rate: float | None = _key(None, above=0, high=1)
    input_scaling: float | None = _key(None, above=0)
    bias_scaling: float | None = _key(None, low=0)
    connectivity: float | None = _key(None, above=0, high=1)
    ridge: float | None = _key(None, low=0)
    squares: bool | None = _key(None)
    washout: int | None = _key(None, low=0)
    holdout: int | None = _key(None, low=0)
    feedback_noise: float | None = _key(None, low=0)
    n_candidates: int | None = _key(None, low=1)
    n_train: int | None = _key(None, low=20)
    seed: int = _key(0, low=0)

    def options(self) -> dict[str, Any]:
        """Return the keywords for `esntools.training.fit`; `n_train` and `seed` are the caller's to apply."""
        names = [f.name for f in fields(self) if f.name not in ("n_train", "seed")]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@final
@dataclass(frozen=True, kw_only=True)
class ForecastSpec:
    """The forecast shown, and the windows that measure the valid prediction time."""

    n_steps: int = _key(1000, low=1)
    n_windows: int = _key(50, low=1)
    threshold: float = _key(0.4, above=0)


@final
@dataclass(frozen=True, kw_only=True)
class VerifySpec:
    """The inputs for which the echo state property is asked.

    `inputs` is ``"data"`` (the box that the training inputs span), ``"symbols"`` (the model's own input
    alphabet), ``"zero"``, ``"any"``, ``"closed-loop"``, or a box such as ``"-1:1"`` or ``"-1:1,0:2"``.
    """

    inputs: str = _key("data")
    closed_loop: bool = _key(True)


@final
@dataclass(frozen=True, kw_only=True)
class ExplainSpec:
    """Fixed points, Lyapunov exponents and the excitable network."""

    n_starts: int = _key(256, low=1)
    n_exponents: int = _key(3, low=1)
    lyapunov_steps: int = _key(20000, low=100)
    pulse_amplitude: float = _key(1.0, above=0)
    pulse_length: int = _key(1, low=1)
    max_amplitude: float = _key(4.0, above=0)
    relax_steps: int = _key(3000, low=1)


@final
@dataclass(frozen=True, kw_only=True)
class ReportSpec:
    """What the figures show."""

    plot_steps: int = _key(400, low=10)
    embedding_delay: int = _key(2, low=1)


@final
@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """study.toml: how a model is fitted and what it is asked. Every section may be left out."""

    format: str = _key(STUDY_SPEC_FORMAT)
    version: int = _key(SPEC_VERSION, low=1)
    fit: FitSpec = _key(FitSpec())
    forecast: ForecastSpec = _key(ForecastSpec())
    verify: VerifySpec = _key(VerifySpec())
    explain: ExplainSpec = _key(ExplainSpec())
    report: ReportSpec = _key(ReportSpec())


# -- reading -------------------------------------------------------------------------------------------------


def _refuse(place: str, value: Any, rule: str, remedy: str = "") -> typing.NoReturn:
    text = repr(value)
    raise InvalidInputError(place, text if len(text) <= 60 else text[:57] + "...", rule, remedy)


def _number(value: Any, place: str, rule: Mapping[str, Any], *, whole: bool) -> float | int:
    # bool is an int to Python and never to a reader of TOML.
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        _refuse(place, value, "must be a whole number" if whole else "must be a number")
    if not math.isfinite(value):
        _refuse(place, value, "must be finite")
    low, above, high = rule.get("low"), rule.get("above"), rule.get("high")
    if (low is not None and value < low) or (above is not None and value <= above) or (
        high is not None and value > high
    ):  # fmt: skip
        left = f"[{low}" if low is not None else f"({above}" if above is not None else "(-inf"
        _refuse(place, value, f"must lie in {left}, {'inf)' if high is None else f'{high}]'}")
    return value if whole else float(value)


def _read(value: Any, kind: Any, place: str, rule: Mapping[str, Any]) -> Any:
    """Return `value` as the annotated type `kind`, or refuse it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _read(value, next(k for k in inner if k is not type(None)), place, rule)
    if origin is Literal:
        if value not in inner:
            _refuse(place, value, "must be one of " + ", ".join(inner), nearest_name(str(value), inner))
        return value
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return _section(kind, value, place)
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(place, value, "must be a list")
        rows = tuple(_read(item, inner[0], f"{place}[{i}]", rule) for i, item in enumerate(value))
        if inner[0] == tuple[float, ...] and len({len(row) for row in rows}) > 1:
            _refuse(place, [len(row) for row in rows], "every row of a matrix must have the same length")
        return rows
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            _refuse(place, value, "must be a table of numbers")
        return {name: _number(v, f"{place}.{name}", {}, whole=False) for name, v in value.items()}
    if kind is bool:
        if not isinstance(value, bool):
            _refuse(place, value, "must be true or false")
        return value
    if kind is str:
        if not isinstance(value, str):
            _refuse(place, value, "must be text in quotes")
        return value
    return _number(value, place, rule, whole=kind is int)


def _section(kind: type[T], table: Any, place: str) -> T:
    if not isinstance(table, dict):
        _refuse(place, table, "must be a table")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    # "file.toml: a.b" reads better than "file.toml: .a.b".
    prefix = place if place.endswith(": ") else place + "."
    for name in table:
        if name not in known:
            raise InvalidInputError(
                prefix + name, "unknown key", "only keys that are understood may stand here",
                nearest_name(name, known),
            )  # fmt: skip
    given: dict[str, Any] = {}
    for name, f in known.items():
        if name in table:
            given[name] = _read(table[name], hints[name], prefix + name, f.metadata["rule"])
        elif f.default is MISSING and f.default_factory is MISSING:
            raise InvalidInputError(prefix + name, "missing", "this key is required", f"add {name} = ...")
    return kind(**given)


def _check_format(document: Mapping[str, Any], path: Path, format_: str) -> None:
    """Refuse another format or a newer version before anything else is looked at."""
    found, version = document.get("format"), document.get("version")
    if found != format_:
        raise FileFormatError(
            f"{path}: format", "missing" if found is None else repr(found), f"must be {format_!r}",
            f'write format = "{format_}" at the top',
        )  # fmt: skip
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FileFormatError(
            f"{path}: version", "missing" if version is None else repr(version),
            "must be a whole number from 1",
            f"write version = {SPEC_VERSION}",
        )  # fmt: skip
    if version > SPEC_VERSION:
        raise FileFormatError(
            f"{path}: version", str(version), f"this esntools reads versions up to {SPEC_VERSION}",
            "upgrade esntools",
        )  # fmt: skip


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileFormatError(str(path), "no such file", "a model folder needs it") from None
    except UnicodeDecodeError as error:
        raise FileFormatError(
            str(path), f"byte {error.start} is not UTF-8", "must be UTF-8 text", "save it as UTF-8"
        ) from None
    except OSError as error:
        raise FileFormatError(str(path), error.strerror or str(error), "must be a readable file") from None


def _toml(path: Path, format_: str) -> Document:
    try:
        document = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(str(path), str(error), "must be valid TOML") from None
    _check_format(document, path, format_)
    return document


def read_model_spec(path: str | Path) -> ModelSpec:
    """Read and check a model.toml.

    Raises
    ------
    FileFormatError
        When the file is missing, not TOML, of another format or of a newer version.
    InvalidInputError
        When a key is unknown, missing, of the wrong type or out of range; the message names the key path.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.toml"
    >>> _ = file.write_text('''
    ... format = "esntools-model-spec"
    ... version = 1
    ... name = "bits"
    ... title = "One bit"
    ... kind = "task"
    ... [task]
    ... source = "flip-flop"
    ... n_bits = 1
    ... n_steps = 500''')
    >>> read_model_spec(file).task.n_bits
    1
    """
    path = Path(path)
    place = f"{path}: "
    spec = _section(ModelSpec, _toml(path, MODEL_SPEC_FORMAT), place)
    section = {"series": "system", "network": "network", "task": "task"}[spec.kind]
    for name in ("system", "network", "task"):
        # A network may say what it was trained for, so that it can be diagnosed.
        extra = name == "task" and spec.kind == "network"
        if (getattr(spec, name) is None) == (name == section) and not extra:
            state = "missing" if name == section else "present"
            _refuse(place + name, state, f"kind = {spec.kind!r} needs [{section}] and no other of its kind")
    if spec.network is not None:
        _check_network(spec.network, place)
    if spec.system is not None:
        _check_system(spec.system, place)
    return spec


def _check_system(system: SystemSpec, place: str) -> None:
    generated = system.source in GENERATED
    if (system.source == "file") != bool(system.path):
        _refuse(place + "system.path", system.path, 'belongs to source = "file", which needs it')
    for name in ("dt", "n_steps"):
        if generated and getattr(system, name) is None:
            _refuse(place + f"system.{name}", "missing", f"source = {system.source!r} needs it")
    if system.parameters and not generated:
        _refuse(
            place + "system.parameters", dict(system.parameters), "only a generated system has parameters"
        )


def _check_network(network: NetworkSpec, place: str) -> None:
    if bool(network.weights) == bool(network.W):
        _refuse(
            place + "network",
            "W and weights",
            "exactly one of W (a matrix) and weights (a file) must be given",
        )
    if network.symbol_names and len(network.symbol_names) != len(network.symbols):
        _refuse(
            place + "network.symbol_names", list(network.symbol_names),
            f"must name each of the {len(network.symbols)} symbols",
        )  # fmt: skip


def read_study_spec(path: str | Path) -> StudySpec:
    """Read and check a study.toml; raises as `read_model_spec` does."""
    path = Path(path)
    return _section(StudySpec, _toml(path, STUDY_SPEC_FORMAT), f"{path}: ")


def read_expected(path: str | Path) -> Document:
    """Read an expected.json: by quantity, its value and source, and perhaps unit, note and tolerance.

    Raises
    ------
    FileFormatError
        When the file is missing, not JSON, of another format or newer.
    InvalidInputError
        When a quantity has no value or no source, or an unknown key.
    """
    path = Path(path)
    try:
        document = json.loads(_text(path))
    except ValueError as error:
        raise FileFormatError(str(path), str(error), "must be valid JSON") from None
    if not isinstance(document, dict):
        raise FileFormatError(str(path), type(document).__name__, "must be a JSON object")
    _check_format(document, path, EXPECTED_FORMAT)
    known = ("value", "source", "unit", "note", "tolerance")
    for extra in document.keys() - {"format", "version", "quantities"}:
        _refuse(f"{path}: {extra}", "unknown key", "known: format, quantities, version")
    quantities = document.get("quantities")
    if not isinstance(quantities, dict):
        _refuse(f"{path}: quantities", quantities, "must be an object")
    for name, entry in quantities.items():
        place = f"{path}: quantities.{name}"
        if not isinstance(entry, dict):
            _refuse(place, entry, "must be an object")
        for key in entry:
            if key not in known:
                _refuse(f"{place}.{key}", "unknown key", nearest_name(key, known))
        for key in ("value", "source"):
            if key not in entry:
                _refuse(f"{place}.{key}", "missing", "every published number needs a value and a source")
    return dict(quantities)
