"""The zoo: the models that ship with esntools, each with what is published of it."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from esntools._typing import Document, FloatArray, RandomState
from esntools.errors import InvalidInputError, UnsupportedError, nearest_name
from esntools.spec import (
    GENERATED,
    ModelSpec,
    Reference,
    StudySpec,
    SystemSpec,
    read_expected,
    read_model_spec,
    read_study_spec,
)  # fmt: skip

if TYPE_CHECKING:
    from esntools.network import EchoStateNetwork
    from esntools.series import Series
    from esntools.systems import System
    from esntools.tasks import FlipFlop

__all__ = ["ZooModel", "load", "zoo_folder", "zoo_names"]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@final
@dataclass(frozen=True, eq=False)
class ZooModel:
    """A model of the zoo: what it is, how it is studied, what is known of it.

    Attributes
    ----------
    folder : Path
        Where its files lie.
    model : ModelSpec
        model.toml.
    study : StudySpec
        study.toml, or its defaults when there is none.
    expected : dict
        expected.json: by quantity, a dict with ``value`` and ``source``; empty when there is none.

    Examples
    --------
    >>> load("switching-2neuron").network().step([0.0, 0.0], [0.25, 0.05]).round(6)
    array([0.06123, 0.01249])
    """

    folder: Path
    model: ModelSpec
    study: StudySpec
    expected: Document

    def __repr__(self) -> str:
        return f"ZooModel({self.name!r}, kind={self.kind!r})"

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def title(self) -> str:
        return self.model.title

    @property
    def summary(self) -> str:
        return self.model.summary

    @property
    def kind(self) -> str:
        """``"series"``, ``"network"`` or ``"task"``."""
        return self.model.kind

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.model.references

    @property
    def dt(self) -> float | None:
        """The time step of the series; None for a network, a task, or where it is not known."""
        return self.model.system.dt if self.model.system is not None else None

    @property
    def lyapunov_exponent(self) -> float | None:
        """The published largest exponent, in 1/time; None where there is none."""
        entry = self.expected.get("lyapunov_exponents")
        return None if entry is None else float(np.atleast_1d(entry["value"])[0])

    def _beside(self, name: str, key: str) -> Path:
        """Return the path of a file in the model's folder; a model that came by mail reads no other file."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise InvalidInputError(
                f"{self.folder / 'model.toml'}: {key}", repr(name), "must lie in the model's folder",
                "copy the file there",
            )  # fmt: skip
        return self.folder / name

    def _system_spec(self) -> SystemSpec:
        if self.model.system is None:
            raise InvalidInputError(
                self.name, f"a model of kind {self.kind!r}", 'only a model of kind "series" has a series'
            )
        return self.model.system

    def system(self) -> System | None:
        """Return the system that generates the series, with its equilibria; None for recorded data."""
        spec = self._system_spec()
        if spec.source not in GENERATED:
            return None
        from esntools import systems

        make = systems.SYSTEMS[spec.source]
        try:
            return make(**spec.parameters)
        except TypeError:
            known = systems.system(spec.source).parameters
            bad = next(name for name in spec.parameters if name not in known)
            raise InvalidInputError(
                f"{self.folder / 'model.toml'}: system.parameters.{bad}", "unknown parameter",
                f"{spec.source} does not have it", nearest_name(bad, known),
            ) from None  # fmt: skip

    def series(self, n_steps: int | None = None, rng: RandomState = None) -> Series:
        """Return the series that the model describes, `n_steps` long (default: what model.toml says).

        A generated series is the same on every call unless `rng` is given, which moves its start. Recorded
        data are as recorded; fewer steps take the beginning.

        Raises
        ------
        InvalidInputError
            When the model has no series, or more steps are asked for than were recorded.
        UnsupportedError
            When the package that ships the data is not installed.
        """
        from esntools.series import Series

        spec = self._system_spec()
        if spec.source == "file":
            from esntools.series import read_series

            read = read_series(self._beside(spec.path, "system.path"), spec.column or None)
            values, dt = read.values, spec.dt if spec.dt is not None else read.dt
        elif spec.source in GENERATED:
            values, dt = self._generated(spec, n_steps, rng), spec.dt
        else:
            values, dt = _RECORDED[spec.source](), spec.dt
        wanted = spec.n_steps if n_steps is None else n_steps
        if wanted is not None and not 1 <= wanted <= len(values):
            raise InvalidInputError(
                f"{self.name}: n_steps", str(wanted), f"{len(values)} steps were recorded", "ask for fewer"
            )
        return Series(values[:wanted], name=spec.observable or self.name, source=self.name, dt=dt)

    def _generated(self, spec: SystemSpec, n_steps: int | None, rng: RandomState) -> FloatArray:
        system = self.system()
        assert system is not None
        assert spec.n_steps is not None
        axis = system.observable
        if spec.observable:
            names = "xyzw"[: system.dimension]
            if spec.observable not in names:
                raise InvalidInputError(
                    f"{self.folder / 'model.toml'}: system.observable", repr(spec.observable),
                    f"must be one of {', '.join(names)}",
                )  # fmt: skip
            axis = names.index(spec.observable)
        n_steps = spec.n_steps if n_steps is None else n_steps
        states = system.trajectory(
            n_steps, spec.dt, transient=spec.transient, rng=spec.seed if rng is None else rng
        )
        return np.ascontiguousarray(states[:, axis])

    def network(self) -> EchoStateNetwork:
        """Return the network that the model writes out.

        Raises
        ------
        InvalidInputError
            When the model is not of kind "network", or its weights do not fit together.
        """
        from esntools.network import EchoStateNetwork, Readout

        spec = self.model.network
        if spec is None:
            raise InvalidInputError(
                self.name, f"a model of kind {self.kind!r}", 'only a model of kind "network" is a network',
                "fit it first: esntools fit",
            )  # fmt: skip
        if spec.weights:
            return EchoStateNetwork.load(self._beside(spec.weights, "network.weights"))
        try:
            readout = None
            if spec.W_out:
                readout = Readout(np.array(spec.W_out), None, np.array(spec.b_out) if spec.b_out else None)
            return EchoStateNetwork(
                np.array(spec.W),
                W_in=np.array(spec.W_in) if spec.W_in else None,
                b=np.array(spec.b) if spec.b else 0.0,
                leak_rate=spec.leak_rate,
                activation=spec.activation,
                readout=readout,
                W_fb=np.array(spec.W_fb) if spec.W_fb else None,
            )
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{self.folder / 'model.toml'}: network.{error.place}", error.value, error.rule, error.remedy
            ) from None

    def symbols(self) -> FloatArray:
        """Return the input vectors that drive a network of the zoo, one per row (perhaps none)."""
        spec = self.model.network
        rows = () if spec is None else spec.symbols
        return np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)

    def task(self) -> FlipFlop:
        """Return the task's inputs, targets and pulses: what is trained, or what a network was trained for.

        Raises
        ------
        InvalidInputError
            When the model names no task.
        """
        from esntools.tasks import flip_flop

        spec = self.model.task
        if spec is None:
            raise InvalidInputError(
                self.name, f"a model of kind {self.kind!r} without [task]", "names no task",
                "only one that does can be trained for it, or diagnosed",
            )  # fmt: skip
        return flip_flop(spec.n_bits, spec.n_steps, pulse_probability=spec.pulse_probability, rng=spec.seed)

    def to_document(self) -> Document:
        """Return what a report needs to say about the model, JSON-able."""
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "kind": self.kind,
            "references": [
                {f.name: getattr(r, f.name) for f in fields(r) if getattr(r, f.name) != ""}
                for r in self.references
            ],
            "expected": json.loads(json.dumps(self.expected)),
        }


def _santa_fe_laser() -> FloatArray:
    from reservoirpy.datasets import santafe_laser

    with warnings.catch_warnings():
        # ReservoirPy 0.4.2 leaves the file to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        return np.asarray(santafe_laser(), dtype=np.float64).ravel()


def _sunspots() -> FloatArray:
    try:
        from statsmodels.datasets import sunspots
    except ImportError:
        raise UnsupportedError(
            "sunspots", "statsmodels is not installed", "the sunspot numbers ship with it",
            "pip install 'esntools[data]'",
        ) from None  # fmt: skip
    return np.asarray(sunspots.load().data["SUNACTIVITY"], dtype=np.float64)


_RECORDED: Final = {"santa-fe-laser": _santa_fe_laser, "sunspots": _sunspots}


def zoo_folder() -> Path:
    """Return the folder of the zoo: ``models`` beside the package in a checkout, else inside the package."""
    package = Path(str(resources.files("esntools")))
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "models").is_dir():
        return checkout / "models"
    return package / "_models"


def zoo_names() -> list[str]:
    """Return the names of the models that ship with esntools.

    >>> "lorenz63" in zoo_names()
    True
    """
    folder = zoo_folder()
    return sorted(p.name for p in folder.iterdir() if (p / "model.toml").is_file()) if folder.is_dir() else []


def load(name_or_path: str | Path) -> ZooModel:
    """Load a model by its name in the zoo, or from a folder that holds a model.toml.

    Raises
    ------
    InvalidInputError
        When there is no such model (with the nearest name), or a file of it breaks a rule.
    FileFormatError
        When a file of it cannot be parsed or is newer than this esntools.

    Examples
    --------
    >>> model = load("lorenz63")
    >>> model.kind, model.dt
    ('series', 0.05)
    """
    folder = Path(name_or_path)
    if isinstance(name_or_path, str) and _PLAIN_NAME.fullmatch(name_or_path):
        shipped = zoo_folder() / name_or_path
        if (shipped / "model.toml").is_file():
            folder = shipped
    if folder.name == "model.toml":
        folder = folder.parent
    if not (folder / "model.toml").is_file():
        known = zoo_names()
        raise InvalidInputError(
            str(name_or_path), "no such model",
            "must be a name in the zoo or a folder with a model.toml", nearest_name(str(name_or_path), known),
        )  # fmt: skip
    model = read_model_spec(folder / "model.toml")
    study, expected = folder / "study.toml", folder / "expected.json"
    return ZooModel(
        folder,
        model,
        read_study_spec(study) if study.exists() else StudySpec(),
        read_expected(expected) if expected.exists() else {},
    )
