"""What `simulation` and `gram` share: checked arguments, and the steps that the kernels do, in blocks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from esntools import kernels
from esntools._typing import FloatArray, IntArray, Progress
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = [
    "Parts", "advance", "advance_batch", "batch_steps", "batch_threads", "blas_threads", "block_steps",
    "checked_count", "checked_finite", "checked_inputs", "checked_start", "kernel_parts", "member_groups",
    "spans",
]  # fmt: skip


def checked_finite(value: ArrayLike, place: str) -> FloatArray:
    """Return the value as a C-contiguous float64 array; refuse NaN and infinity by their first place."""
    try:
        array = np.asarray(value, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        raise InvalidInputError(place, type(value).__name__, "must be an array of real numbers") from None
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(
            f"{place}{list(index)}" if index else place, str(array[index]), "every entry must be finite",
            "split the series at its gaps",
        )  # fmt: skip
    return array


def checked_inputs(network: EchoStateNetwork, u: ArrayLike, place: str = "u") -> FloatArray:
    """Return u as (n_steps, n_inputs) or (n_steps, n_batch, n_inputs); a plain series serves one input."""
    u = checked_finite(u, place)
    if u.ndim == 1 and network.n_inputs == 1:
        u = u[:, None]
    if u.ndim not in (2, 3) or u.shape[-1] != network.n_inputs:
        raise InvalidInputError(
            place, f"shape {u.shape}",
            f"must be (n_steps, {network.n_inputs}) or (n_steps, n_batch, {network.n_inputs})",
            "an autonomous network takes np.zeros((n_steps, 0))" if network.n_inputs == 0 else "",
        )  # fmt: skip
    return u


def checked_start(network: EchoStateNetwork, x0: ArrayLike | None, n_batch: int | None) -> FloatArray:
    """Return x0 as a fresh array (n_units,) or (n_batch, n_units)."""
    n = network.n_units
    shape = (n,) if n_batch is None else (n_batch, n)
    if x0 is None:
        return np.zeros(shape)
    x0 = checked_finite(x0, "x0")
    if x0.shape == (n,):
        return np.array(np.broadcast_to(x0, shape))
    if x0.ndim != 2 or x0.shape[1] != n or (n_batch is not None and len(x0) != n_batch):
        rows = "n_batch" if n_batch is None else str(n_batch)
        raise InvalidInputError("x0", f"shape {x0.shape}", f"must be ({n},) or ({rows}, {n})")
    return np.array(x0)


def checked_count(value: int, place: str, at_most: int | None = None) -> int:
    """Return the value as an int; refuse what is not an integer from 0 to `at_most`."""
    rule = "must be an integer >= 0" + ("" if at_most is None else f" and at most n_steps = {at_most}")
    if (
        not isinstance(value, int | np.integer)
        or isinstance(value, bool)
        or value < 0
        or (at_most is not None and value > at_most)
    ):
        raise InvalidInputError(place, repr(value), rule)
    return int(value)


# Numbers held by one block of states: 512 KiB, which the second-level cache holds.
_BLOCK_SIZE: Final = 2**16
# The densities from which a sparse W is multiplied faster as a dense one: by one state, by a batch.
_DENSE_FROM: Final = (0.25, 0.5)
# The most members that are advanced together.
_LARGEST_GROUP: Final = 256
# Flops of one BLAS call from which two threads help each other more than they wait.
_THREADED_FLOPS: Final = 1e8


@functools.cache
def _blas() -> Any:
    """Return the controller of the BLAS libraries' threads."""
    # Finding the libraries takes milliseconds, limiting them then microseconds. SciPy's BLAS, which numba
    # calls, must be loaded to be found.
    import scipy.linalg.blas  # noqa: F401

    return ThreadpoolController().select(user_api="blas")


def blas_threads(flops: float = 0.0) -> Any:
    """Return the context for BLAS calls of so many flops: one thread for small ones, else the caller's."""
    return _blas().limit(limits=1 if flops < _THREADED_FLOPS else None)


def batch_threads(network: EchoStateNetwork, n_batch: int) -> Any:
    """Return the context for advancing a batch."""
    n_members = 0 if network.is_sparse else min(n_batch, _LARGEST_GROUP)
    return blas_threads(2.0 * network.n_units**2 * n_members)


class Parts(NamedTuple):
    """The network as `kernels` takes it."""

    W: FloatArray
    data: FloatArray
    indices: NDArray[np.uint32]
    indptr: NDArray[np.uint32]
    leak_rate: FloatArray
    code: int
    feedback: FloatArray
    W_out: FloatArray
    W_sq: FloatArray
    b_out: FloatArray
    low: FloatArray
    high: FloatArray


def _read_only(array: NDArray[Any], dtype: type = np.float64) -> NDArray[Any]:
    array = np.ascontiguousarray(array, dtype=dtype).view()
    array.setflags(write=False)
    return array


def _unsigned(indices: NDArray[Any]) -> NDArray[np.uint32]:
    # SciPy's are int32 but for more than 2**31 entries; none is negative, so the same bytes serve.
    if indices.dtype == np.int32:
        return indices.view(np.uint32)
    return _read_only(indices, np.uint32)


def kernel_parts(
    network: EchoStateNetwork,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    *,
    batched: bool = False,
) -> Parts | None:
    """Return the kernels' view of the network; None when its activation has no compiled branch."""
    code = network.activation.kernel_code
    if code < 0:
        return None
    n, nothing = network.n_units, _read_only(np.zeros(0))
    no_rows = _read_only(np.zeros((0, n)))
    none = _read_only(nothing, np.uint32)
    if isinstance(network.W, np.ndarray) or network.W.nnz > _DENSE_FROM[batched] * n * n:
        W, data, indices, indptr = _read_only(network.dense_W()), nothing, none, none
    else:
        W, data = no_rows, network.W.data
        indices, indptr = _unsigned(network.W.indices), _unsigned(network.W.indptr)
    r = network.readout
    return Parts(
        W, data, indices, indptr, network.leak_rate, code,
        no_rows if network.W_fb is None else _read_only(network.W_fb.T),
        no_rows if r is None else r.W_out,
        no_rows if r is None or r.W_sq is None else r.W_sq,
        nothing if r is None else r.b_out,
        nothing if low is None else _read_only(low),
        nothing if high is None else _read_only(high),
    )  # fmt: skip


def block_steps(n_numbers: int) -> int:
    """Return how many steps of so many numbers make a block that stays in cache."""
    return max(32, min(4096, _BLOCK_SIZE // max(1, n_numbers)))


def batch_steps(columns: FloatArray) -> int:
    """How many steps of a batch to do in one call: a fraction of a second, for progress and Ctrl-C."""
    return max(16, min(1024, 2**22 // columns.size))


def advance(
    network: EchoStateNetwork, parts: Parts | None, u: FloatArray, x: FloatArray, block: FloatArray
) -> None:
    """Drive one trajectory on from x, in place, and write its states to block."""
    if parts is None:
        for k in range(len(u)):
            x[:] = network.step(x, u[k])
            block[k] = x
        return
    if u.shape[1] == 0:
        block[:] = network.b
    else:
        # One product with the bias as the weight of a constant input: several times faster than two passes.
        with_one = np.ones((len(u), u.shape[1] + 1))
        with_one[:, :-1] = u
        np.matmul(with_one, np.vstack((network.W_in.T, network.b)), out=block)
    kernels.run(*parts, x, block, np.empty((0, 0)))


def advance_batch(
    network: EchoStateNetwork,
    parts: Parts | None,
    u: FloatArray,
    x: FloatArray,
    states: FloatArray | None,
    progress: Progress,
) -> None:
    """Drive the batch x (n_batch, n_units) on, in place, and write its states to `states`, if any."""
    n_batch = len(x)
    if parts is None:
        for k in range(len(u)):
            x[:] = network.step(x, np.broadcast_to(u[k], (n_batch, u.shape[-1])))
            if states is not None:
                states[k] = x
        return
    nothing = np.empty((0, 0, 0))
    shared = u.ndim == 2
    for first, last, columns, left in member_groups(network, x):
        width = 1 if shared else columns.shape[1]
        for k0, k1 in spans(len(u), batch_steps(columns)):
            inputs = np.zeros((k1 - k0, u.shape[-1], width))
            if shared:
                inputs[:, :, 0] = u[k0:k1]
            else:
                inputs[:, :, : last - first] = u[k0:k1, first:last].transpose(0, 2, 1)
            kernels.run_batch(
                *parts, network.b, network.W_in, inputs, columns, k1 - k0,
                nothing if states is None else states[k0:k1], first, last - first, nothing, left, k0,
            )  # fmt: skip
            progress("driving", (first + (last - first) * k1 / len(u)) / n_batch)
        x[first:last] = columns[:, : last - first].T


def member_groups(
    network: EchoStateNetwork, x: FloatArray
) -> Iterator[tuple[int, int, FloatArray, IntArray]]:
    """Cut a batch into groups whose states stay in cache, as columns padded to the kernels' tile.

    Yield (first, last, columns, left): left is -1 for members, 0 for padding.
    """
    n_batch, n = x.shape
    size = max(128 if not network.is_sparse else 32, min(_LARGEST_GROUP, _BLOCK_SIZE // n))
    for first in range(0, n_batch, size):
        last = min(n_batch, first + size)
        padded = -(-(last - first) // kernels.MEMBER_TILE) * kernels.MEMBER_TILE
        columns = np.zeros((n, padded))
        columns[:, : last - first] = x[first:last].T
        left = np.zeros(padded, dtype=np.int64)
        left[: last - first] = -1
        yield first, last, columns, left


def spans(n_steps: int, longest: int, cut: int = 0) -> list[tuple[int, int]]:
    """Cut [0, n_steps) into spans of at most `longest` steps, none of which crosses `cut`."""
    edges = sorted({*range(0, cut, longest), *range(cut, n_steps, longest), n_steps})
    return list(itertools.pairwise(edges))
