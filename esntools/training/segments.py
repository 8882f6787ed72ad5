"""Series as training data: gaps split, pieces measured, scales taken; every refusal names the place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from esntools._typing import BoolArray, FloatArray
from esntools.errors import EsntoolsWarning, InvalidInputError

__all__ = ["Pieces", "Scale", "mean_period", "pieces_of", "typical_length"]

# Beyond this the scaler, folded into the weights, would overflow them.
_HUGE: Final = 1e100


@final
@dataclass(frozen=True, eq=False)
class Scale:
    """The affine map between data units and the network's: scaled = (value - centre) / width."""

    centre: FloatArray
    width: FloatArray

    @classmethod
    def standard(cls, pieces: list[FloatArray]) -> Scale:
        """Mean and standard deviation over all pieces; a constant column (of an input) keeps width 1."""
        rows = np.concatenate(pieces)
        width = rows.std(axis=0)
        # Rounding leaves a constant a standard deviation of about eps times its value.
        flat = width <= 1e-12 * np.abs(rows).max(axis=0)
        return cls(rows.mean(axis=0), np.where(flat, 1.0, width))

    @classmethod
    def largest(cls, pieces: list[FloatArray]) -> Scale:
        """Largest absolute value, no shift: what keeps zero and signs where they are."""
        width = np.abs(np.concatenate(pieces)).max(axis=0)
        return cls(np.zeros_like(width), np.where(width == 0.0, 1.0, width))

    def apply(self, values: FloatArray) -> FloatArray:
        return (values - self.centre) / self.width

    def undo(self, values: FloatArray) -> FloatArray:
        return values * self.width + self.centre


@final
@dataclass(frozen=True, eq=False)
class Pieces:
    """The unbroken stretches of a series (or of several), with the inputs that belong to them.

    Attributes
    ----------
    y : list of array, shape (n_i, n_outputs)
    u : list of array, shape (n_i, n_inputs), or None
    n_dropped : int
        Rows left out: gaps, and stretches too short to use.
    """

    y: list[FloatArray]
    u: list[FloatArray] | None
    n_dropped: int

    @property
    def n_rows(self) -> int:
        return sum(len(piece) for piece in self.y)

    @property
    def longest(self) -> int:
        """Index of the longest piece (the last of equals)."""
        return max(range(len(self.y)), key=lambda i: (len(self.y[i]), i))


def _matrix(value: Any, place: str) -> FloatArray:
    try:
        rows = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(
            place, type(value).__name__, "must be an array of real numbers, or a list of such arrays"
        ) from None
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InvalidInputError(place, f"shape {rows.shape}", "must be (n_steps,) or (n_steps, n_columns)")
    if np.isinf(rows).any():
        k, j = np.argwhere(np.isinf(rows))[0]
        raise InvalidInputError(
            f"{place}[{k}, {j}]", str(rows[k, j]), "every entry must be finite or NaN (a gap)",
            "replace it by NaN to have the series split there",
        )  # fmt: skip
    sizes = np.abs(rows[~np.isnan(rows)])
    largest = float(sizes.max()) if sizes.size else 1.0
    if largest > _HUGE or 0.0 < largest < 1.0 / _HUGE:
        raise InvalidInputError(
            place, f"values of size {largest:.3g}", f"sizes must lie between {1 / _HUGE:g} and {_HUGE:g}",
            "use another unit",
        )  # fmt: skip
    return rows


def _series_list(value: Any, place: str) -> list[FloatArray]:
    # A list of arrays is several series; a list of numbers, or of rows of numbers, is one.
    several = isinstance(value, list | tuple) and len(value) > 0 and isinstance(value[0], np.ndarray)
    if several and np.ndim(value[0]) > 0:
        return [_matrix(part, f"{place}[{i}]") for i, part in enumerate(value)]
    return [_matrix(value, place)]


def _runs(good: BoolArray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def typical_length(y: Any, u: Any = None) -> int:
    """Return the length of the unbroken stretch in which the median row lies (0 when there is none)."""
    lengths: list[int] = []
    ys = _series_list(y, "y")
    us = [None] * len(ys) if u is None else _series_list(u, "u")
    for part, other in zip(ys, us):
        good: BoolArray = np.asarray(~np.isnan(part).any(axis=1))
        if other is not None and len(other) == len(part):
            good &= ~np.isnan(other).any(axis=1)
        lengths += [stop - start for start, stop in _runs(good)]
    lengths.sort()
    total = np.cumsum(lengths)
    return lengths[int(np.searchsorted(total, 0.5 * total[-1]))] if lengths else 0


def pieces_of(y: Any, u: Any = None, *, least: int, least_reason: str) -> Pieces:
    """Split series at their gaps (NaN in y or u) and drop the stretches of fewer than `least` rows.

    Raises
    ------
    InvalidInputError
        When shapes differ, a value is infinite, a series is empty, constant or all NaN, or nothing is long
        enough.

    Warns
    -----
    EsntoolsWarning
        When rows were dropped; the message says how many, and why.
    """
    ys = _series_list(y, "y")
    us = None if u is None else _series_list(u, "u")
    if us is not None and len(us) != len(ys):
        raise InvalidInputError("u", f"{len(us)} series", f"must match the {len(ys)} series of y")
    for name, parts in (("y", ys), ("u", us or [])):
        for i, part in enumerate(parts):
            if part.shape[1] != parts[0].shape[1]:
                raise InvalidInputError(
                    f"{name}[{i}]", f"{part.shape[1]} columns", f"{name}[0] has {parts[0].shape[1]}"
                )
            if us is not None and len(part) != len(ys[i]):
                raise InvalidInputError(
                    f"{name}[{i}]" if len(parts) > 1 else name, f"{len(part)} steps",
                    f"u and y must be equally long, y has {len(ys[i])}",
                )  # fmt: skip
    n_rows = sum(len(part) for part in ys)
    if n_rows == 0:
        raise InvalidInputError("y", "no rows", "a series needs values")
    out_y: list[FloatArray] = []
    out_u: list[FloatArray] = []
    n_gap = n_short = n_short_rows = 0
    for i, part in enumerate(ys):
        both = part if us is None else np.hstack([part, us[i]])
        good: BoolArray = np.asarray(~np.isnan(both).any(axis=1))
        n_gap += int(np.sum(~good))
        for start, stop in _runs(good):
            if stop - start < least:
                n_short += 1
                n_short_rows += stop - start
                continue
            out_y.append(part[start:stop])
            if us is not None:
                out_u.append(us[i][start:stop])
    if n_gap == n_rows:
        raise InvalidInputError("y", "all NaN", "a series needs values")
    if not out_y:
        raise InvalidInputError(
            "y", f"{n_rows - n_gap} values, none of the stretches as long as {least}",
            f"needs an unbroken stretch of at least {least} steps ({least_reason})",
            "give a longer series or a smaller washout",
        )  # fmt: skip
    rows = np.concatenate(out_y)
    spread = rows.std(axis=0)
    for j in np.flatnonzero(spread <= 1e-12 * np.abs(rows).max(axis=0)):
        raise InvalidInputError(
            "y" if rows.shape[1] == 1 else f"y[:, {j}]", f"constant at {rows[0, j]:g}",
            "a series must vary to be learned", "leave the column out",
        )  # fmt: skip
    if n_gap or n_short:
        parts_text = []
        if n_gap:
            parts_text.append(f"{n_gap} of {n_rows} rows have a gap (NaN)")
        if n_short:
            parts_text.append(
                f"{n_short} stretches with {n_short_rows} rows are shorter than {least} steps"
                f" ({least_reason})"
            )
        warnings.warn(
            "dropped "
            + " and ".join(parts_text)
            + f"; {len(out_y)} unbroken stretches with {len(rows)} rows remain",
            EsntoolsWarning,
            stacklevel=4,
        )
    return Pieces(out_y, out_u if us is not None else None, n_gap + n_short_rows)


def mean_period(pieces: list[FloatArray]) -> float:
    """Return the mean period in steps: one over the centroid of the power spectrum, at least 2."""
    longest = max(pieces, key=len)
    frequency_sum = power_sum = 0.0
    for column in longest.T:
        window = np.hanning(len(column))
        spectrum = np.abs(np.fft.rfft((column - column.mean()) * window)) ** 2
        spectrum[0] = 0.0
        scale = max(float(spectrum.sum()), np.finfo(float).tiny)
        frequency_sum += float(np.fft.rfftfreq(len(column)) @ spectrum) / scale
        power_sum += 1.0
    return max(2.0, power_sum / max(frequency_sum, 1e-9))
