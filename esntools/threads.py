"""One BLAS thread where more would cost more."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

#: Up to here a second thread costs more than it brings: an analysis makes thousands of small products.
_SMALL: Final = 2000


def one_blas_thread(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorate an analysis of a map, its first argument, to run BLAS on one thread up to 2000 units.

    On a busy machine the threads of a small product wait for each other: a search that takes two seconds on
    one thread was seen to take minutes on two.
    """

    @wraps(function)
    def limited(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        system: Any = args[0] if args else next(iter(kwargs.values()), None)
        n_units = getattr(system, "n_units", 0)
        with threadpool_limits(limits=1 if isinstance(n_units, int) and n_units <= _SMALL else None):
            return function(*args, **kwargs)

    return limited
