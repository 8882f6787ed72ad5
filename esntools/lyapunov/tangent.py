"""Which way of moving a frame is the fastest for a system and a number of exponents."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from esntools._typing import FloatArray
from esntools.lyapunov.frames import Mapped, Tangent
from esntools.lyapunov.products import Compiled, Drive, Products, factors
from esntools.lyapunov.triangular import Triangular
from esntools.maps import Map
from esntools.network import EchoStateNetwork

__all__ = ["frame_width", "stepped", "tangent"]

# Up to this many numbers in a dense W and in the frame together the compiled loop is faster than products of
# BLAS from Python.
_COMPILED: Final = 70_000
# From this many units on, all exponents come from triangular instead of orthogonal factors.
_TRIANGULAR_FROM: Final = 24
# A product by a sparse W takes as long as one by a dense W at about this density.
_DENSE_FROM: Final = 0.25
# From this share of all exponents on, all of them by triangular factors are the cheaper.
_NEARLY_ALL: Final = 0.6


def stepped(system: Map, u: FloatArray | None, x: FloatArray) -> Mapped | Products:
    """Return a tangent whose frame is there after every step (for covariant vectors)."""
    if isinstance(system, EchoStateNetwork):
        return Products(system, Drive(system, u), x, audit=False, thin=None)
    return Mapped(system, u, x, audit=False)


def frame_width(system: Map, n_exponents: int) -> int:
    """Return how many columns the cheapest frame for that many exponents has: so many, or all."""
    n = system.n_units
    nearly_all = isinstance(system, EchoStateNetwork) and n_exponents > _NEARLY_ALL * n
    return n if nearly_all and n >= _TRIANGULAR_FROM else n_exponents


def tangent(
    system: Map, u: FloatArray | None, x: FloatArray, n_exponents: int
) -> tuple[Tangent, int, int | None]:
    """Return the fastest tangent for so many exponents, the width of its frame, and how many are finite.

    None: all are. Without leak the rank of W + W_fb W_out is the number of finite exponents at most.
    """
    n = system.n_units
    if not isinstance(system, EchoStateNetwork):
        return Mapped(system, u, x, audit=n_exponents == n), n_exponents, None
    if not isinstance(system.W, np.ndarray) and system.W.nnz > _DENSE_FROM * n * n:
        system = replace(system, W=system.dense_W())
    drive = Drive(system, u)
    thin = factors(system)
    finite = None
    width = n_exponents
    if thin is not None and np.all(system.leak_rate == 1.0) and n_exponents > thin.rank:
        finite = thin.rank
        # A rank that is nearly full is better ignored in the frame.
        if finite <= _NEARLY_ALL * n or n_exponents < n or n < _TRIANGULAR_FROM:
            width = finite
    compiled = system.activation.kernel_code >= 0
    if width == n and (n >= _TRIANGULAR_FROM or not compiled):
        return Triangular(system, drive, x), width, finite
    work = n * (n if not system.is_sparse else 0) + n * (width + 1)
    if compiled and ((system.is_sparse and n >= _TRIANGULAR_FROM) or work <= _COMPILED):
        return Compiled(system, drive, x, audit=width == n), width, finite
    if thin is not None and 4 * thin.rank > n:
        thin = None
    return Products(system, drive, x, audit=width == n, thin=thin), width, finite
