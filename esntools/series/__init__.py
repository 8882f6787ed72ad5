"""A series from a data file: the column that was asked for, its time step, and what is missing in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from esntools._typing import FloatArray, IntArray
from esntools.errors import EsntoolsWarning, InvalidInputError
from esntools.series.tables import Column, Table, read_table

__all__ = ["Series", "read_series"]

_TIME_NAMES: Final = frozenset(
    {"t", "time", "times", "date", "datetime", "timestamp", "year", "years", "seconds", "step", "steps"}
)

#: Times may lie this fraction of a step beside a uniform grid: they are often written with few digits.
_TOLERANCE: Final = 0.02


@final
@dataclass(frozen=True, eq=False)
class Series:
    """A recorded series.

    Attributes
    ----------
    values : array, shape (n_steps,) or (n_steps, n_columns)
        NaN where a value is missing.
    name : str
        The column, or columns joined by commas.
    source : str
        The file, or the model of the zoo.
    dt : float or None
        The time step, in the file's unit (seconds for dates); None when it is not known.

    Examples
    --------
    >>> Series([1.0, 2.0, 4.0], name="x", source="memory").n_steps
    3
    """

    values: FloatArray
    name: str = "y"
    source: str = "memory"
    dt: float | None = None

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim not in (1, 2) or values.size == 0:
            raise InvalidInputError(
                self.source, f"shape {values.shape}", "a series must be (n_steps,) or (n_steps, n_columns)"
            )
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"Series({self.name!r} of {self.source!r}, shape {self.values.shape}, dt={self.dt})"

    @property
    def n_steps(self) -> int:
        return len(self.values)

    @property
    def n_missing(self) -> int:
        """Number of steps at which a value is missing."""
        missing = np.isnan(self.values)
        return int(np.count_nonzero(missing if missing.ndim == 1 else missing.any(axis=1)))


def read_series(
    path: str | Path,
    column: str | int | Sequence[str | int] | None = None,
    *,
    time_column: str | int | None = None,
) -> Series:
    """Read a series from a CSV, TSV, text, Parquet, npy or npz file.

    Text files are UTF-8, with or without a header; cells are separated by tabs, semicolons or commas (in .txt
    and .dat also by blanks), numbers have a decimal point. Empty cells and NaN are missing values. A missing
    row is noticed when there is a time column with an otherwise uniform step, and becomes a missing value.

    Parameters
    ----------
    path : str or Path
    column : str, int, or a sequence of them, optional
        Name or position (from 0) of the column, several for a series of vectors, ``"*"`` for every column of
        numbers. It may be left out when only one column holds numbers. For an npz file, the array.
    time_column : str or int, optional
        The column of times (numbers, or ISO 8601 dates); found by its name (t, time, date, ...) by default.

    Returns
    -------
    Series
        A single column gives values of shape (n_steps,), several give (n_steps, n_columns).

    Raises
    ------
    InvalidInputError
        When the file, a column or a row is missing, the column is ambiguous, a cell is not a finite number,
        every value is missing, or times do not increase. The message names file, line and column.
    FileFormatError
        When the bytes are not what the suffix says; pickles are never loaded.
    UnsupportedError
        When the suffix is unknown, or Parquet is asked for without pyarrow.

    Warns
    -----
    EsntoolsWarning
        When the times are irregular (dt is then None) or missing rows were filled.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "room.csv"
    >>> _ = file.write_text("time,temperature\\n0.0,20.5\\n0.5,20.75\\n1.0,\\n1.5,21.0\\n")
    >>> series = read_series(file)
    >>> series.name, series.dt, series.values
    ('temperature', 0.5, array([20.5 , 20.75,   nan, 21.  ]))
    """
    table = read_table(path)
    time = _time_column(table, time_column, column)
    chosen = _choose(table, column, time)
    arrays = [one.numbers() for one in chosen]
    if len({len(array) for array in arrays}) > 1:
        shapes = ", ".join(f"{c.name}: {len(a)}" for c, a in zip(chosen, arrays))
        raise InvalidInputError(str(table.path), shapes, "columns of one series must have the same length")
    values = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
    if np.all(np.isnan(values)):
        raise InvalidInputError(
            f"{table.path}: column {chosen[0].name!r}", "every value is missing",
            "a series needs at least one value", "choose another column",
        )  # fmt: skip
    dt = None
    if time is not None:
        dt, values = _step(table, time, values, asked=time_column is not None)
    return Series(values, name=",".join(c.name for c in chosen), source=str(table.path), dt=dt)


def _bare(name: str) -> str:
    """Return the name without case and unit: ``Time [s]`` and ``time, s`` are ``time``."""
    return re.split(r"[\[(,/]", name)[0].strip().lower()


def _keys(column: str | int | Sequence[str | int] | None) -> list[str | int]:
    if column is None:
        return []
    return [column] if isinstance(column, (str, int)) else list(column)


def _time_column(
    table: Table, asked: str | int | None, column: str | int | Sequence[str | int] | None
) -> Column | None:
    if asked is not None:
        return table.find(asked)
    if not table.named or len(table.columns) == 1:
        return None
    wanted = {one.name for key in _keys(column) if key != "*" for one in _find(table, key)}
    found = [c for c in table.columns if _bare(c.name) in _TIME_NAMES and c.name not in wanted]
    # Two columns such as "year" and "date" are not one clock; without a choice there is no time step.
    return found[0] if len(found) == 1 else None


def _is_row_number(table: Table, column: Column) -> bool:
    """Return whether this is the nameless first column that pandas writes: 0, 1, 2, ..."""
    if column is not table.columns[0] or not table.named or column.name not in ("", "Unnamed: 0", "index"):
        return False
    values = column.numbers() if column.is_numeric() else np.array([np.nan, np.nan])
    return bool(np.all(np.diff(values) == 1.0))


def _find(table: Table, key: str | int) -> list[Column]:
    """Return the column of that name, or those of a matrix of that name in an npz file."""
    names = [c.name for c in table.columns]
    parts = [c for c in table.columns if isinstance(key, str) and c.name.startswith(f"{key}:")]
    return parts if parts and key not in names else [table.find(key)]


def _choose(
    table: Table, column: str | int | Sequence[str | int] | None, time: Column | None
) -> list[Column]:
    keys = _keys(column)
    if keys and keys != ["*"]:
        return [one for key in keys for one in _find(table, key)]
    candidates = [c for c in table.columns if c is not time]
    if not candidates:
        candidates = list(table.columns)
    if len(candidates) > 1:
        candidates = [c for c in candidates if c.is_numeric() and not _is_row_number(table, c)]
    if not candidates:
        raise InvalidInputError(
            str(table.path), "no column of numbers", "a series needs one",
            "columns: " + _listing(list(table.columns)),
        )  # fmt: skip
    if len(candidates) > 1 and keys != ["*"]:
        remedy = "choose one with --column (column= in Python)"
        if table.n_rows == 1 and not table.named:
            remedy += ", or transpose it: time goes down the rows"
        raise InvalidInputError(
            str(table.path), f"{len(candidates)} columns of numbers: {_listing(candidates)}",
            "which one is the series is not guessed", remedy,
        )  # fmt: skip
    return candidates


def _listing(columns: list[Column]) -> str:
    names = [c.name for c in columns]
    return ", ".join(names if len(names) <= 12 else [*names[:10], f"... ({len(names) - 10} more)"])


def _times(table: Table, column: Column) -> FloatArray | None:
    """Return the times as numbers (seconds for dates), or None when they are neither numbers nor dates."""
    if column.is_numeric():
        return column.numbers()
    seconds = []
    for cell in column.cells():
        moment: Any = cell
        if isinstance(cell, str):
            try:
                moment = datetime.fromisoformat(cell.strip())
            except ValueError:
                return None
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        if not isinstance(moment, datetime):
            return None
        # A time without a zone is taken as UTC: local time would make a step vary with daylight saving.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds.append(moment.timestamp())
    return np.array(seconds)


def _step(
    table: Table, column: Column, values: FloatArray, *, asked: bool
) -> tuple[float | None, FloatArray]:
    """Return the time step (None when irregular) and the values, with missing rows filled by NaN."""
    place = f"{table.path}: column {column.name!r}"
    times = _times(table, column)
    value, rule = "", "times must be numbers or ISO 8601 dates, one for each row"
    if times is None or len(times) != len(values) or np.any(np.isnan(times)):
        value = "not all times"
    elif np.any(np.diff(times) <= 0.0):
        k = int(np.flatnonzero(np.diff(times) <= 0.0)[0]) + 1
        value, rule = f"row {k} (counted from 0) is not later than row {k - 1}", "times must increase"
    backwards = times is not None and len(times) > 1 and bool(np.all(np.diff(times) < 0.0))
    if backwards:
        raise InvalidInputError(
            place, "the newest row is first", "times must increase",
            "reverse the rows, or rename the column if it is not time",
        )  # fmt: skip
    if value and asked:
        raise InvalidInputError(place, value, rule, "sort the rows, or choose another time column")
    if value:
        # Only its name made it a time column, so it may be another thing ("year" of monthly values).
        warnings.warn(
            f"{place}: {value}; {rule}; not used as time, rows are taken as they stand",
            EsntoolsWarning,
            stacklevel=4,
        )
    if value or times is None or len(times) < 2:
        return None, values
    steps = np.diff(times)
    # A step that occurs, not the mean of two: with gaps the median may lie between one step and two.
    usual = np.sort(steps)[(len(steps) - 1) // 2]
    rows = np.concatenate([[0.0], np.cumsum(np.rint(steps / usual))])
    n_rows = rows[-1] + 1.0
    if n_rows > 1.0:
        dt = float((times[-1] - times[0]) / rows[-1])
        off_grid = np.abs(times - times[0] - rows * dt)
        if np.all(np.diff(rows) >= 1.0) and n_rows <= 2 * len(times) and np.all(off_grid <= _TOLERANCE * dt):
            return dt, _filled(values, rows.astype(np.intp), f"{place}: step {dt:g}")
    warnings.warn(
        f"{place}: irregular steps from {steps.min():g} to {steps.max():g}; rows are taken as equally spaced "
        "and the time step as unknown", EsntoolsWarning, stacklevel=4,
    )  # fmt: skip
    return None, values


def _filled(values: FloatArray, rows: IntArray, place: str) -> FloatArray:
    """Return the values with NaN at the rows that are not in `rows`."""
    n_missing = int(rows[-1]) + 1 - len(rows)
    if n_missing == 0:
        return values
    filled = np.full((len(rows) + n_missing, *values.shape[1:]), np.nan)
    filled[rows] = values
    what = "1 row is missing" if n_missing == 1 else f"{n_missing} rows are missing"
    warnings.warn(f"{place}: {what}; filled as missing values", EsntoolsWarning, stacklevel=5)
    return filled
