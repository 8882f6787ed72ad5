"""model.toml, study.toml and expected.json: a corpus of valid and invalid files, and the defaults."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from esntools.errors import EsntoolsError, FileFormatError, InvalidInputError
from esntools.spec import (
    ExplainSpec,
    FitSpec,
    ModelSpec,
    StudySpec,
    read_expected,
    read_model_spec,
    read_study_spec,
)

CORPUS = Path(__file__).parent / "corpora" / "specs"
READERS = {"model": read_model_spec, "study": read_study_spec, "expected": read_expected}
SAY = json.loads((CORPUS / "invalid.json").read_text())


def _files(validity: str) -> list[Any]:
    return [
        pytest.param(kind, path, id=f"{kind}-{path.stem}")
        for kind in READERS
        for path in sorted((CORPUS / kind / validity).iterdir())
    ]


@pytest.mark.parametrize(("kind", "path"), _files("valid"))
def test_valid_files(kind: str, path: Path) -> None:
    assert READERS[kind](path) is not None


@pytest.mark.parametrize(("kind", "path"), _files("invalid"))
def test_invalid_files_are_refused_with_file_and_key(kind: str, path: Path) -> None:
    with pytest.raises((InvalidInputError, FileFormatError)) as caught:
        READERS[kind](path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in SAY[f"{kind}/invalid/{path.name}"]:
        assert part in message


def test_the_corpus_lists_every_invalid_file() -> None:
    assert {p.relative_to(CORPUS).as_posix() for p in CORPUS.glob("*/invalid/*")} == set(SAY)


def test_values_arrive_as_written() -> None:
    model = read_model_spec(CORPUS / "model" / "valid" / "generated.toml")
    assert model.system is not None
    assert model.system.parameters == {"a": 0.1, "b": 0.1, "c": 14.0}
    assert (model.system.observable, model.system.dt, model.system.n_steps) == ("y", 0.1, 100)
    network = read_model_spec(CORPUS / "model" / "valid" / "network.toml").network
    assert network is not None
    assert network.W == ((0.5, 0.0), (0.0, 1.0))
    assert network.symbol_names == ("up", "down")
    study = read_study_spec(CORPUS / "study" / "valid" / "full.toml")
    assert study.fit.options() == {
        "task": "observe", "n_units": 10, "spectral_radius": 0.9, "leak_rate": 1.0, "input_scaling": 2.0,
        "bias_scaling": 0.0, "connectivity": 0.5, "ridge": 0.0, "squares": False, "washout": 0,
        "feedback_noise": 0.0, "n_candidates": 3,
    }  # fmt: skip
    assert (study.fit.n_train, study.fit.seed) == (100, 7)
    assert study.explain == ExplainSpec(n_starts=2)


def test_what_is_left_out_has_its_default() -> None:
    assert read_study_spec(CORPUS / "study" / "valid" / "empty_study.toml") == StudySpec()
    assert FitSpec().options() == {"task": "forecast"}


def test_fit_options_are_keywords_of_fit() -> None:
    from esntools.training import fit

    keywords = set(inspect.signature(fit).parameters)
    assert {f.name for f in fields(FitSpec)} - {"n_train", "seed"} <= keywords


@pytest.mark.parametrize("kind", ["model", "study"])
def test_missing_and_unreadable_files(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        READERS[kind](tmp_path / "absent.toml")
    with pytest.raises(FileFormatError, match=str(tmp_path)):
        READERS[kind](tmp_path)
    (tmp_path / "x.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(FileFormatError, match="not UTF-8"):
        READERS[kind](tmp_path / "x.toml")


def _sections(kind: Any) -> list[Any]:
    values = [getattr(kind, f.name) for f in fields(kind)]
    return [kind, *(v for v in values if is_dataclass(v))]


@pytest.mark.parametrize("section", _sections(StudySpec()), ids=lambda s: type(s).__name__)
def test_every_key_of_a_study_has_a_type_that_is_checked(section: Any, tmp_path: Path) -> None:
    """A list of tables is wrong for every key, so every key must refuse it by its path."""
    name = {"FitSpec": "fit", "ForecastSpec": "forecast", "VerifySpec": "verify", "ExplainSpec": "explain",
            "ReportSpec": "report"}.get(type(section).__name__)  # fmt: skip
    head = 'format = "esntools-study-spec"\nversion = 1\n'
    for f in fields(section):
        if f.name in ("format", "version"):
            continue
        text = head + (f"[{name}]\n" if name else "") + f"{f.name} = [{{ a = 1 }}]\n"
        (tmp_path / "study.toml").write_text(text)
        with pytest.raises(EsntoolsError, match=rf": {name + '.' if name else ''}{f.name}: "):
            read_study_spec(tmp_path / "study.toml")


def test_specs_are_values() -> None:
    spec = read_model_spec(CORPUS / "model" / "valid" / "network.toml")
    assert isinstance(spec, ModelSpec)
    with pytest.raises(AttributeError):
        spec.name = "other"  # type: ignore[misc]
