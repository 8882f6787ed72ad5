"""Normal equations of a readout without the states: driving fused with blocked Gram accumulation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.blas import dsyrk

from esntools._typing import FloatArray, Progress, no_progress
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork
from esntools.simulation.stepping import (
    advance,
    blas_threads,
    checked_count,
    checked_finite,
    checked_inputs,
    checked_start,
    kernel_parts,
    spans,
)

__all__ = ["Gram", "GramBlock", "Moments", "accumulate_gram"]

# Rows per rank-k update: from a few hundred on, dsyrk runs at full speed.
_ROWS: Final = 512

_Chunk: TypeAlias = tuple[FloatArray, FloatArray | None, int]


@final
@dataclass(frozen=True, eq=False)
class GramBlock:
    """Sums over a block of rows z = [features, targets] - shift: their number, sum, and sum of z z^T."""

    n: int
    total: FloatArray
    scatter: FloatArray


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Means and centred scatter matrices of features f and targets y over n steps.

    Attributes
    ----------
    n : int
    mean_f, mean_y : ndarray, shape (n_features,), (n_targets,)
    ff, fy, yy : ndarray, shape (n_features, n_features), (n_features, n_targets), (n_targets, n_targets)
        Sums of (f - mean_f)(f - mean_f)^T, and so on.
    """

    n: int
    mean_f: FloatArray
    mean_y: FloatArray
    ff: FloatArray
    fy: FloatArray
    yy: FloatArray

    @property
    def scale(self) -> float:
        """The mean diagonal entry of ff: what a relative ridge penalty is multiplied by."""
        return float(np.trace(self.ff)) / len(self.ff)


@final
@dataclass(frozen=True, eq=False)
class Gram:
    """What `accumulate_gram` gathered: partial sums by block, all about one shift, so that they just add.

    Attributes
    ----------
    n_features : int
        n_units, or 2 n_units with squares.
    shift : ndarray, shape (n_features + n_targets,)
    blocks : tuple of GramBlock
    x_last : ndarray, shape (n_units,)
        The state after the last input.
    """

    n_features: int
    shift: FloatArray
    blocks: tuple[GramBlock, ...]
    x_last: FloatArray

    @property
    def n(self) -> int:
        """The number of steps gathered."""
        return sum(block.n for block in self.blocks)

    def moments(self, leave_out: int | None = None) -> Moments:
        """Return the centred moments over all blocks, or over all but one."""
        blocks = [block for i, block in enumerate(self.blocks) if i != leave_out]
        n = sum(block.n for block in blocks)
        if leave_out is not None and not 0 <= leave_out < len(self.blocks):
            raise InvalidInputError("leave_out", str(leave_out), f"must be 0 to {len(self.blocks) - 1}")
        if n == 0:
            raise InvalidInputError("leave_out", str(leave_out), "some steps must be left", "use more blocks")
        total = np.sum([block.total for block in blocks], axis=0)
        scatter = blocks[0].scatter.copy()
        for block in blocks[1:]:
            scatter += block.scatter
        scatter -= np.outer(total, total / n)
        mean, m = self.shift + total / n, self.n_features
        return Moments(n, mean[:m], mean[m:], scatter[:m, :m], scatter[:m, m:], scatter[m:, m:])


def accumulate_gram(
    network: EchoStateNetwork,
    u: ArrayLike | Iterable[tuple[ArrayLike, ArrayLike]],
    targets: ArrayLike | None = None,
    x0: ArrayLike | None = None,
    *,
    washout: int = 0,
    squares: bool = True,
    n_blocks: int = 1,
    progress: Progress = no_progress,
) -> Gram:
    r"""Drive the network and sum what a linear regression of the targets on its states needs.

    .. math:: S = \sum_k z_k z_k^\mathsf{T}, \quad s = \sum_k z_k, \quad z_k = [f_k, y_k] - c, \quad
        f_k = [x_k, x_k \circ x_k]

    with the shift c the mean of the first rows, so that centring later cancels no digits. The states are
    never stored: memory is O(n_features**2) per block, whatever the number of steps.

    Parameters
    ----------
    network : EchoStateNetwork
    u : array_like, shape (n_steps, n_inputs), or an iterable of chunks (u, targets)
        The input series; chunks follow each other in time and may have any lengths.
    targets : array_like, shape (n_steps, n_targets)
        ``targets[k]`` belongs to the state after ``u[k]``. None when `u` is an iterable of chunks.
    x0 : array_like, shape (n_units,), optional
        Zero by default.
    washout : int, optional
        How many first steps not to count. Default 0.
    squares : bool, optional
        Whether f has the squares. Default True.
    n_blocks : int, optional
        Keep partial sums over so many blocks, for leaving each out: equal spans of an array; of an iterable,
        chunk i goes to block ``i % n_blocks``. Default 1.
    progress : callable, optional
        Called with ``("driving", fraction)`` when the number of steps is known.

    Returns
    -------
    Gram

    Raises
    ------
    InvalidInputError
        When a shape does not fit, an entry is not finite, or no step is left after the washout.

    Examples
    --------
    >>> network = EchoStateNetwork([[0.5]], W_in=[[1.0]], activation="identity")
    >>> gram = accumulate_gram(network, [[1.0], [0.0], [0.0]], [[2.0], [1.0], [0.5]], squares=False)
    >>> moments = gram.moments()
    >>> float(moments.fy[0, 0] / moments.ff[0, 0])
    2.0
    """
    washout = checked_count(washout, "washout")
    n_blocks = checked_count(n_blocks, "n_blocks")
    if n_blocks == 0:
        raise InvalidInputError("n_blocks", "0", "must be at least 1")
    x = checked_start(network, x0, None)
    if x.ndim != 1:
        raise InvalidInputError("x0", f"shape {x.shape}", f"must be ({network.n_units},), one trajectory")
    n_steps = 0
    chunks: Iterator[_Chunk]
    if targets is None:
        chunks = _chunks_of_iterable(network, u, washout, n_blocks)
    else:
        array, y = _checked_pair(network, u, targets, "u", "targets")
        n_steps = len(array)
        chunks = _chunks_of_array(array, y, washout, n_blocks)
    sums = _Sums(network.n_units, squares, n_blocks)
    parts = kernel_parts(network)
    states = np.empty((_ROWS, network.n_units))
    done = 0
    with np.errstate(all="ignore"):
        for u_chunk, y_chunk, block in chunks:
            for k0, k1 in spans(len(u_chunk), _ROWS):
                with blas_threads():
                    advance(network, parts, u_chunk[k0:k1], x, states[: k1 - k0])
                if y_chunk is not None:
                    sums.add(states[: k1 - k0], y_chunk[k0:k1], block)
                done += k1 - k0
                if n_steps:
                    progress("driving", done / n_steps)
    if sums.shift is None:
        raise InvalidInputError("u", f"{done} steps", f"must be longer than the washout of {washout}")
    return Gram(sums.n_features, sums.shift, sums.blocks(), x)


def _checked_pair(
    network: EchoStateNetwork, u: Any, targets: Any, u_place: str, y_place: str
) -> tuple[FloatArray, FloatArray]:
    array, y = checked_inputs(network, u, u_place), checked_finite(targets, y_place)
    if y.ndim == 1:
        y = y[:, None]
    if array.ndim != 2:
        raise InvalidInputError(
            u_place, f"shape {array.shape}", f"must be (n_steps, {network.n_inputs}), one series"
        )
    if y.ndim != 2 or len(y) != len(array):
        raise InvalidInputError(
            y_place, f"shape {y.shape}", f"must be ({len(array)}, n_targets), as long as u"
        )
    return array, y


def _chunks_of_array(u: FloatArray, y: FloatArray, washout: int, n_blocks: int) -> Iterator[_Chunk]:
    yield u[:washout], None, 0
    edges = np.linspace(min(washout, len(u)), len(u), n_blocks + 1).astype(np.intp)
    for block, (first, last) in enumerate(itertools.pairwise(edges)):
        yield u[first:last], y[first:last], block


def _chunks_of_iterable(
    network: EchoStateNetwork, chunks: Any, washout: int, n_blocks: int
) -> Iterator[_Chunk]:
    if isinstance(chunks, np.ndarray):
        raise InvalidInputError("targets", "None", "an input array needs a target array")
    width = None
    for i, chunk in enumerate(chunks):
        if not isinstance(chunk, tuple | list) or len(chunk) != 2:
            raise InvalidInputError(f"u, chunk {i}", type(chunk).__name__, "must be a pair (u, targets)")
        u, y = _checked_pair(network, chunk[0], chunk[1], f"u, chunk {i}", f"targets, chunk {i}")
        if width is not None and y.shape[1] != width:
            raise InvalidInputError(
                f"targets, chunk {i}", f"{y.shape[1]} columns", f"must have {width} as the chunks before"
            )
        width = y.shape[1]
        dropped = min(washout, len(u))
        washout -= dropped
        yield u[:dropped], None, 0
        yield u[dropped:], y[dropped:], i % n_blocks


class _Sums:
    """The running sums, block by block; the shift is fixed by the first rows that come."""

    def __init__(self, n_units: int, squares: bool, n_blocks: int) -> None:
        self.n_units = n_units
        self.n_features = 2 * n_units if squares else n_units
        self.n_blocks = n_blocks
        self.shift: FloatArray | None = None

    def add(self, states: FloatArray, targets: FloatArray, block: int) -> None:
        n, m = self.n_units, self.n_features
        if self.shift is None:
            squares = [np.square(states).mean(axis=0)] if m > n else []
            self.shift = np.concatenate([states.mean(axis=0), *squares, targets.mean(axis=0)])
            # A last column of ones: its products with the others are the sums.
            size = len(self.shift) + 1
            self._rows = np.ones((_ROWS, size))
            self._products = [np.zeros((size, size), order="F") for _ in range(self.n_blocks)]
        rows = self._rows[: len(states)]
        np.subtract(states, self.shift[:n], out=rows[:, :n])
        if m > n:
            np.square(states, out=rows[:, n:m])
            rows[:, n:m] -= self.shift[n:m]
        np.subtract(targets, self.shift[m:], out=rows[:, m:-1])
        product = self._products[block]
        with blas_threads(float(len(rows) * len(product) ** 2)):
            self._products[block] = dsyrk(1.0, rows.T, beta=1.0, c=product, overwrite_c=True)

    def blocks(self) -> tuple[GramBlock, ...]:
        blocks = []
        for product in self._products:
            # dsyrk fills one triangle, the upper.
            upper = np.triu(product[:-1, :-1])
            scatter = upper + np.triu(upper, 1).T
            blocks.append(GramBlock(round(product[-1, -1]), product[:-1, -1].copy(), scatter))
        return tuple(blocks)
