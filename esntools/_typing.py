"""The array and callback types that the public signatures use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]
IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]

#: ``progress(label, fraction)``: what is being done and how far it is, 0 <= fraction <= 1.
Progress: TypeAlias = Callable[[str, float], None]

#: Anything that `numpy.random.default_rng` takes.
RandomState: TypeAlias = int | np.random.Generator | None

#: JSON-able mapping.
Document: TypeAlias = dict[str, Any]


def no_progress(label: str, fraction: float) -> None:
    """Discard a progress report: the library's default."""
