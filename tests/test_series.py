"""Reading series: a corpus of valid and invalid files, NumPy and Parquet, round trips, size."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools import errors
from esntools.errors import EsntoolsWarning, FileFormatError, InvalidInputError, UnsupportedError
from esntools.series import Series, read_series

CORPUS = Path(__file__).parent / "corpora" / "series"


def _cases(kind: str) -> list[Any]:
    table = json.loads((CORPUS / f"{kind}.json").read_text(encoding="utf-8"))
    return [
        pytest.param(CORPUS / kind / name, case, id=f"{name}-{i}")
        for name, cases in table.items()
        for i, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("path", "case"), _cases("valid"))
def test_valid_files(path: Path, case: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        series = read_series(path, case.get("column"), time_column=case.get("time_column"))
    expected = np.array(case["values"], dtype=np.float64)
    np.testing.assert_array_equal(series.values, expected)
    assert series.dt == (None if case["dt"] is None else pytest.approx(case["dt"], rel=1e-12))
    if "name" in case:
        assert series.name == case["name"]
    messages = [str(w.message) for w in caught]
    if "warns" in case:
        assert len(messages) == 1
        assert case["warns"] in messages[0]
        assert caught[0].category is EsntoolsWarning
    else:
        assert messages == []


@pytest.mark.parametrize(("path", "case"), _cases("invalid"))
def test_invalid_files_are_refused_in_one_clear_line(path: Path, case: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, case["error"])) as caught:
        read_series(path, case.get("column"), time_column=case.get("time_column"))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in case["say"]:
        assert part in message


def test_the_corpus_lists_every_file() -> None:
    for kind in ("valid", "invalid"):
        listed = set(json.loads((CORPUS / f"{kind}.json").read_text(encoding="utf-8"))) - {"absent.csv"}
        assert {p.name for p in (CORPUS / kind).iterdir()} == listed


def test_a_series_is_read_only() -> None:
    series = read_series(CORPUS / "valid" / "one_column_header.csv")
    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 7.0
    with pytest.raises(InvalidInputError, match="a series must be"):
        Series(np.zeros((2, 2, 2)))


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=2, max_size=30),
    delimiter=st.sampled_from([",", ";", "\t"]),
    header=st.booleans(),
)
def test_what_csv_writes_is_read_back_exactly(
    values: list[float | None], delimiter: str, header: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if all(v is None for v in values):
        values[0] = 1.0
    path = tmp_path_factory.mktemp("csv") / "series.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        if header:
            writer.writerow(["first", "second"])
        for i, value in enumerate(values):
            writer.writerow([i * i, "" if value is None else repr(value)])
    series = read_series(path, 1)
    expected = np.array([np.nan if v is None else v for v in values])
    np.testing.assert_array_equal(series.values, expected)


# -- NumPy and Parquet ---------------------------------------------------------------------------------------


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(5, dtype=np.int32))
    np.testing.assert_array_equal(read_series(path).values, np.arange(5.0))
    np.save(path, np.arange(6.0).reshape(3, 2))
    with pytest.raises(InvalidInputError, match="2 columns of numbers: 0, 1"):
        read_series(path)
    np.testing.assert_array_equal(read_series(path, 1).values, [1.0, 3.0, 5.0])
    assert read_series(path, "*").values.shape == (3, 2)
    np.save(path, np.ones((1, 4)))
    with pytest.raises(InvalidInputError, match="transpose it: time goes down the rows"):
        read_series(path)
    np.save(path, np.array([1.0, np.inf]))
    with pytest.raises(InvalidInputError, match="row 1: inf; every value must be finite"):
        read_series(path)
    np.save(path, np.array([1j]))
    with pytest.raises(InvalidInputError, match="complex128; must hold real numbers"):
        read_series(path)
    np.save(path, np.ones((2, 2, 2)))
    with pytest.raises(InvalidInputError, match=r"shape \(2, 2, 2\)"):
        read_series(path)
    table = np.array([(0.0, 2.0), (0.5, 3.0)], dtype=[("t", "f8"), ("x", "f8")])
    np.save(path, table)
    assert read_series(path).dt == 0.5


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([{}, 1], dtype=object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(FileFormatError, match="pickles are never loaded"):
            read_series(tmp_path / name)


@pytest.mark.parametrize("name", ["time, s", "Time [s]", "t (ms)", "date/time", " TIME "])
def test_a_time_column_with_its_unit(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f'"{name}",x\n0.0,1\n0.5,2\n1.0,4\n')
    assert read_series(path).dt == 0.5


def test_times_that_run_backwards_are_refused(tmp_path: Path) -> None:
    """Data that are downloaded newest first would be learnt backwards."""
    path = tmp_path / "x.csv"
    path.write_text("date,x\n2020-01-03,1\n2020-01-02,2\n2020-01-01,4\n")
    with pytest.raises(
        errors.InvalidInputError, match="the newest row is first; times must increase; reverse"
    ):
        read_series(path)


@pytest.mark.parametrize("cell", ["1,5", "-12,25", "1.234,5", "12.5%", "12,5 %", "1 234,5", "1'234.5"])
def test_numbers_of_another_country_are_not_passed_over(cell: str, tmp_path: Path) -> None:
    """The column beside them must not be taken in silence because it happens to be readable."""
    path = tmp_path / "x.csv"
    path.write_text("a;b\n" + f"{cell};1\n{cell};2\n")
    with pytest.raises(errors.InvalidInputError, match="2 columns of numbers: a, b"):
        read_series(path)
    with pytest.raises(errors.InvalidInputError, match="must be a number"):
        read_series(path, "a")
    assert read_series(path, "b").n_steps == 2


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, t=np.arange(4) * 0.1, x=np.arange(4.0), y=np.ones((4, 2)))
    with pytest.raises(InvalidInputError, match="3 columns of numbers: x, y:0, y:1"):
        read_series(path)
    series = read_series(path, "x")
    assert series.dt == pytest.approx(0.1)
    assert read_series(path, "y").values.shape == (4, 2)
    assert read_series(path, "y:1").values.shape == (4,)
    np.savez(path, a=np.arange(3.0), b=np.arange(4.0))
    with pytest.raises(
        InvalidInputError, match="a: 3, b: 4; columns of one series must have the same length"
    ):
        read_series(path, "*")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match="truncated"):
        read_series(path, "a")


def test_a_model_file_is_not_data(tmp_path: Path) -> None:
    from esntools.network import EchoStateNetwork

    EchoStateNetwork([[0.5]], W_in=[[1.0]]).save(tmp_path / "m.npz")
    with pytest.raises(InvalidInputError, match="an esntools model file; must be a data file"):
        read_series(tmp_path / "m.npz")


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from datetime import datetime

    hours = [datetime(2020, 1, 1, h) for h in range(4)]
    table = {"time": hours, "v": [1.0, None, 2.0, 3.0], "n": [1, 2, 3, 4], "label": list("abcd")}
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table(table), path)
    with pytest.raises(InvalidInputError, match="2 columns of numbers: v, n"):
        read_series(path)
    series = read_series(path, "v")
    assert series.dt == 3600.0
    np.testing.assert_array_equal(series.values, [1.0, np.nan, 2.0, 3.0])
    with pytest.raises(InvalidInputError, match="column 'label': type string; must hold numbers"):
        read_series(path, "label")
    parquet.write_table(pyarrow.table({"x": pyarrow.array([], type=pyarrow.float64())}), path)
    with pytest.raises(InvalidInputError, match="without rows"):
        read_series(path)


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'esntools\[parquet\]'"):
        read_series(tmp_path / "x.parquet")


# -- size ----------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    n = 100_000
    rng = np.random.default_rng(0)
    x = rng.standard_normal(n)
    buffer = io.StringIO()
    buffer.write("time,x,label\n")
    buffer.writelines(f"{k * 0.01:.2f},{v!r},a\n" for k, v in enumerate(x.tolist()))
    path = tmp_path / "long.csv"
    path.write_text(buffer.getvalue())
    start = time.process_time()
    series = read_series(path, "x")
    # Of the order of 0.3 s; a quadratic slip would take minutes.
    assert time.process_time() - start < 10.0
    np.testing.assert_array_equal(series.values, x)
    assert series.dt == pytest.approx(0.01, rel=1e-9)
