"""Data files as tables of named columns: CSV, TSV, Parquet, npy, npz. What is doubtful is refused."""

from __future__ import annotations

import csv
import itertools
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from esntools._typing import FloatArray
from esntools.errors import EsntoolsError, FileFormatError, InvalidInputError, UnsupportedError, nearest_name

__all__ = ["Column", "Table", "read_table"]

#: Cells that mean "not recorded".
MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?", "."})

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
#: What a person means as a number, though it is not understood: 1,5  1.234,5  1,234.5  12 %
_MEANT_AS_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d+)?|\d{1,3}([.,' ]\d{3})+([.,]\d+)?) ?%?")
_DATE: Final = re.compile(r"\d{4}-\d\d(-\d\d)?([T ]\d\d:\d\d.*)?")


@final
@dataclass(frozen=True, eq=False)
class Column:
    """One column: its name, and what reads it as numbers or as raw cells.

    `numbers` returns a float array with NaN where a value is missing, or raises with the first cell that is
    neither. `cells` returns what stands in the file, for a time column.
    """

    name: str
    numbers: Callable[[], FloatArray]
    cells: Callable[[], Sequence[Any]]

    def is_numeric(self) -> bool:
        """Return whether this is meant as a column of numbers, even if a cell of it is not one."""
        try:
            return not bool(np.all(np.isnan(self.numbers())))
        except EsntoolsError:
            sample = [cell.strip() for cell in self.cells()[:1000] if isinstance(cell, str)]
            meant = sum(bool(_NUMBER.fullmatch(c) or _MEANT_AS_NUMBER.fullmatch(c)) for c in sample)
            return 2 * meant > len(sample)


@final
@dataclass(frozen=True, eq=False)
class Table:
    """The columns of one file. `named` is False when the names are only positions."""

    path: Path
    columns: tuple[Column, ...]
    n_rows: int
    named: bool

    def find(self, key: str | int) -> Column:
        """Return the column of that name, or at that position.

        Raises
        ------
        InvalidInputError
            When there is none, with the nearest name, or when two columns bear the name.
        """
        names = [column.name for column in self.columns]
        if isinstance(key, str) and key in names:
            if names.count(key) > 1:
                where = ", ".join(str(i) for i, name in enumerate(names) if name == key)
                raise InvalidInputError(
                    f"{self.path}: column {key!r}", f"stands at positions {where}", "a name must be unique",
                    "rename one, or choose by position",
                )  # fmt: skip
            return self.columns[names.index(key)]
        if isinstance(key, int) or re.fullmatch(r"-?\d+", key):
            index = int(key)
            if -len(names) <= index < len(names):
                return self.columns[index]
            raise InvalidInputError(
                f"{self.path}: column {index}", "no such position",
                f"there are {len(names)} columns, counted from 0",
            )  # fmt: skip
        hint = nearest_name(key, names) if self.named else f"positions 0 to {len(names) - 1}"
        raise InvalidInputError(f"{self.path}: column {key!r}", "no such column", "must be in the file", hint)


def read_table(path: str | Path) -> Table:
    """Read a data file by its suffix: .csv, .tsv, .tab, .txt, .dat, .parquet, .npy, .npz.

    Raises
    ------
    InvalidInputError
        When the file is missing, empty, has no data rows, or rows of different length.
    FileFormatError
        When its bytes are not what the suffix says.
    UnsupportedError
        When the suffix is unknown or a package to read it is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], Table]] = {
        **dict.fromkeys([".csv", ".tsv", ".tab", ".txt", ".dat"], _read_text),
        **dict.fromkeys([".parquet", ".pq"], _read_parquet),
        ".npy": _read_npy,
        ".npz": _read_npz,
    }
    if path.is_dir():
        raise InvalidInputError(str(path), "a folder", "must be a data file")
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest_name(path.name, siblings) if siblings else ""
        hint = near if near.startswith("did you mean") else ""
        raise InvalidInputError(str(path), "no such file", "must be a data file or a name in the zoo", hint)
    if suffix not in readers:
        remedy = "decompress it first" if suffix in (".gz", ".zip", ".bz2", ".xz") else ""
        raise UnsupportedError(
            str(path), f"suffix {path.suffix!r}" if suffix else "no suffix",
            "data are read from .csv, .tsv, .txt, .parquet, .npy and .npz", remedy,
        )  # fmt: skip
    try:
        return readers[suffix](path)
    except OSError as error:
        if isinstance(error, EsntoolsError):
            raise
        raise InvalidInputError(str(path), error.strerror or str(error), "must be a readable file") from None


def _no_rows(path: Path, what: str) -> InvalidInputError:
    return InvalidInputError(str(path), what, "a series needs at least one value", "check how it was written")


def _refuse_infinite(values: FloatArray, place: Callable[[int], str]) -> FloatArray:
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise InvalidInputError(
            place(int(bad[0])), str(values[bad[0]]), "every value must be finite",
            "leave the cell empty where nothing was recorded",
        )  # fmt: skip
    return values


# -- text ----------------------------------------------------------------------------------------------------


def _decode(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "UTF-16"
    else:
        encoding = "UTF-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FileFormatError(
            f"{path}:{line}", f"byte 0x{data[error.start]:02x} is not {encoding}",
            "text must be UTF-8", "save the file as UTF-8",
        ) from None  # fmt: skip
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise FileFormatError(
            f"{path}:{line}", "a NUL byte", f"{path.suffix} files are text", "is this another kind of file?"
        )
    # Some programs on Windows write this as their line end; it would read as a blank line after each row.
    return text.replace("\r\r\n", "\n")


def _delimiter(path: Path, lines: Sequence[str]) -> str | None:
    """Return the delimiter that every sampled line has; None when there is one column."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    sample = [re.sub(r'"[^"]*"', "", line) for line in lines]
    # A semicolon is preferred to a comma: "1,5;2,5" has commas in its numbers, never the other way round.
    for candidate in ("\t", ";", ","):
        counts = {line.count(candidate) for line in sample}
        if 0 not in counts:
            return candidate
    if path.suffix.lower() in (".txt", ".dat") and all(len(line.split()) > 1 for line in sample):
        return " "
    return None


def _records(path: Path, text: str) -> tuple[list[list[str]], list[int], str | None]:
    """Return the rows with their line numbers, and the delimiter; comments before the data are skipped."""
    lines = text.splitlines()
    first = 0
    while first < len(lines) and (not lines[first].strip() or lines[first].lstrip().startswith("#")):
        first += 1
    sample = [line for line in lines[first : first + 50] if line.strip()]
    delimiter = _delimiter(path, sample[:20])
    rows: list[list[str]] = []
    numbers: list[int] = []
    if delimiter == " ":
        for k, line in enumerate(lines[first:], start=first + 1):
            rows.append(line.split())
            numbers.append(k)
    else:
        reader = csv.reader(lines[first:], delimiter=delimiter or ",", strict=True)
        try:
            for row in reader:
                rows.append(row)
                numbers.append(first + reader.line_num)
        except csv.Error as error:
            raise FileFormatError(
                f"{path}:{first + reader.line_num}", str(error), "must be valid CSV", "check the quotes"
            ) from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
        numbers.pop()
    header = lines[first - 1].lstrip()[1:] if first and lines[first - 1].lstrip().startswith("#") else ""
    names = header.split() if delimiter == " " else header.split(delimiter or ",")
    # numpy.savetxt writes its header as a comment.
    if (
        rows
        and not _has_header(rows)
        and len(names) == len(rows[0])
        and all(_is_text(name) for name in names)
    ):
        rows.insert(0, [name.strip() for name in names])
        numbers.insert(0, first)
    return rows, numbers, delimiter


def _is_text(cell: str) -> bool:
    cell = cell.strip()
    return not (
        cell.lower() in MISSING or _NUMBER.fullmatch(cell) or _DATE.fullmatch(cell) or _is_infinite(cell)
    )


def _is_infinite(cell: str) -> bool:
    return cell.strip().lstrip("+-").lower() in ("inf", "infinity", "1.#inf")


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether row 0 names the columns: all text, or text above something that is not."""
    if all(_is_text(cell) or not cell.strip() for cell in rows[0]):
        return any(_is_text(cell) for cell in rows[0])
    below = rows[1] if len(rows) > 1 else []
    return any(_is_text(a) and not _is_text(b) for a, b in zip(rows[0], below))


def _read_text(path: Path) -> Table:
    text = _decode(path)
    if not text.strip():
        raise _no_rows(path, "the file is empty")
    rows, lines, delimiter = _records(path, text)
    if not rows:
        raise _no_rows(path, "nothing but comments")
    width = len(rows[0])
    named = _has_header(rows)
    names = [name.strip() for name in rows[0]] if named else [str(i) for i in range(width)]
    body, lines = (rows[1:], lines[1:]) if named else (rows, lines)
    if not body:
        raise _no_rows(path, "a header and no rows")
    # A blank line between rows is a step at which nothing was recorded.
    body = [row or [""] * width for row in body]
    for row, line in zip(body, lines):
        if len(row) != width:
            split_number = delimiter in (None, ",") and len(row) > width
            raise InvalidInputError(
                f"{path}:{line}", f"{len(row)} cells", f"every row must have {width} as the first has",
                "decimal commas are not understood: write 1.5" if split_number else "complete the row",
            )  # fmt: skip
    columns = []
    # Ten million Python strings are slow to copy, so a column is picked out only when it is asked for.
    for j, name in enumerate(names):
        label = f"column {name!r}" if named else f"column {j}"
        columns.append(Column(name, _once(_text_numbers(path, body, lines, j, label)), _picker(body, j)))
    return Table(path, tuple(columns), len(body), named)


def _picker(body: Sequence[Sequence[str]], j: int) -> Callable[[], Sequence[str]]:
    return lambda: [row[j] for row in body]


def _once(function: Callable[[], FloatArray]) -> Callable[[], FloatArray]:
    """Remember the value, or the refusal, of a function without arguments."""
    kept: list[FloatArray | EsntoolsError] = []

    def call() -> FloatArray:
        if not kept:
            try:
                kept.append(function())
            except EsntoolsError as error:
                kept.append(error)
        if isinstance(kept[0], EsntoolsError):
            raise kept[0]
        return kept[0]

    return call


def _text_numbers(
    path: Path, body: Sequence[Sequence[str]], lines: Sequence[int], j: int, label: str
) -> Callable[[], FloatArray]:
    def cell_value(cell: str, i: int) -> float:
        cell = cell.strip()
        if cell.lower() in MISSING:
            return math.nan
        # float() also takes "1_000" and digits of other scripts; a data file does not mean them.
        if _NUMBER.fullmatch(cell):
            return float(cell)
        if _is_infinite(cell):
            return math.inf
        shown = cell if len(cell) <= 40 else cell[:37] + "..."
        remedy = "correct it, or leave it empty if nothing was recorded"
        if _DECIMAL_COMMA.fullmatch(cell):
            remedy = "decimal commas are not understood: write " + cell.replace(",", ".")
        raise InvalidInputError(f"{path}:{lines[i]}: {label}", repr(shown), "must be a number", remedy)

    def numbers() -> FloatArray:
        values = np.empty(len(body))
        chunk = 1 << 16
        for start in range(0, len(body), chunk):
            cells = [row[j] for row in itertools.islice(body, start, start + chunk)]
            joined = "".join(cells)
            part: Iterable[float]
            if joined.isascii() and "_" not in joined:
                try:
                    part = list(map(float, cells))
                except ValueError:
                    part = (cell_value(cell, start + i) for i, cell in enumerate(cells))
            else:
                part = (cell_value(cell, start + i) for i, cell in enumerate(cells))
            values[start : start + len(cells)] = np.fromiter(part, dtype=np.float64, count=len(cells))
        return _refuse_infinite(values, lambda i: f"{path}:{lines[i]}: {label}")

    return numbers


# -- arrays --------------------------------------------------------------------------------------------------


def _array_column(path: Path, name: str, label: str, array: NDArray[Any]) -> Column:
    def numbers() -> FloatArray:
        if array.dtype.kind not in "fiub":
            raise InvalidInputError(f"{path}: {label}", f"dtype {array.dtype}", "must hold real numbers")
        values = np.array(array, dtype=np.float64)
        return _refuse_infinite(values, lambda i: f"{path}: {label}, row {i}")

    return Column(name, _once(numbers), array.tolist)


def _array_columns(path: Path, name: str, array: NDArray[Any]) -> Iterator[Column]:
    """Yield the columns of one array: itself, its fields, or its columns."""
    what = f"array {name!r}" if name else "the array"
    if array.dtype.names is not None and array.ndim == 1:
        for part in array.dtype.names:
            yield _array_column(path, part, f"field {part!r}", array[part])
    elif array.ndim == 1:
        yield _array_column(path, name or "0", what, array)
    elif array.ndim == 2:
        for j in range(array.shape[1]):
            yield _array_column(path, f"{name}:{j}" if name else str(j), f"{what}, column {j}", array[:, j])
    else:
        raise InvalidInputError(
            f"{path}: {what}", f"shape {array.shape}", "must be (n_steps,) or (n_steps, n_columns)"
        )


def _load(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    try:
        # numpy.load given a path leaves the file open when the archive is broken.
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except MemoryError:
        raise FileFormatError(
            str(path), "claims more numbers than fit into memory", "must be a whole file of numbers",
            "is it truncated or altered?",
        ) from None  # fmt: skip
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        start = path.read_bytes()[:1]
        if not start:
            raise _no_rows(path, "the file is empty") from None
        pickled = start == b"\x80" or "Object arrays" in str(error)
        what = "a pickle" if pickled else "not a readable NumPy file (truncated or another kind)"
        raise FileFormatError(
            str(path), what, f"must be a {path.suffix} file of numbers; pickles are never loaded",
            "save it again with numpy.save as float64",
        ) from None  # fmt: skip


def _read_npy(path: Path) -> Table:
    array = _load(path)
    if isinstance(array, dict):
        raise FileFormatError(str(path), "an npz archive", "a .npy file holds one array", "rename it to .npz")
    if array.size == 0:
        raise _no_rows(path, f"an array of shape {array.shape}")
    return Table(path, tuple(_array_columns(path, "", array)), len(array), array.dtype.names is not None)


def _read_npz(path: Path) -> Table:
    arrays = _load(path)
    if not isinstance(arrays, dict):
        raise FileFormatError(str(path), "a single array", "a .npz file is an archive", "rename it to .npy")
    if "header" in arrays and "W_in" in arrays:
        raise InvalidInputError(
            str(path), "an esntools model file", "must be a data file", "give the data it was fitted to"
        )
    columns = [
        c
        for name, array in arrays.items()
        if array.ndim and array.size
        for c in _array_columns(path, name, array)
    ]
    if not columns:
        raise _no_rows(path, "no arrays")
    n_rows = max(len(array) for array in arrays.values() if array.ndim)
    return Table(path, tuple(columns), n_rows, True)


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UnsupportedError(
            str(path), "pyarrow is not installed", "Parquet files are read through it",
            "pip install 'esntools[parquet]'",
        ) from None  # fmt: skip
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise FileFormatError(str(path), first, "must be a Parquet file") from None
    if table.num_rows == 0:
        raise _no_rows(path, "a table without rows")

    def column(name: str, data: Any) -> Column:
        def numbers() -> FloatArray:
            kind = data.type
            types = pyarrow.types
            number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
            if not (number or types.is_decimal(kind) or types.is_null(kind)):
                raise InvalidInputError(
                    f"{path}: column {name!r}", f"type {kind}", "must hold numbers", "choose another column"
                )
            if types.is_boolean(kind):
                data_ = data.cast(pyarrow.int8())
            else:
                data_ = data
            values = np.asarray(data_.cast(pyarrow.float64(), safe=False).to_numpy(), dtype=np.float64)
            return _refuse_infinite(np.array(values), lambda i: f"{path}: column {name!r}, row {i}")

        return Column(name, _once(numbers), data.to_pylist)

    columns = tuple(column(name, data) for name, data in zip(table.column_names, table.columns))
    return Table(path, columns, table.num_rows, True)
