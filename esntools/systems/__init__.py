"""Chaotic systems used as data: integrated to near rounding, with what is known of them in closed form.

Each is also a map with its derivative, by `System.as_map`, for the analyses that take a `Map`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from esntools.errors import InvalidInputError, nearest_name
from esntools.systems.delay import mackey_glass
from esntools.systems.discrete import henon, ikeda, logistic, standard_map
from esntools.systems.flows import hyperchaotic_rossler, lorenz63, lorenz96, rossler
from esntools.systems.system import Equilibrium, System, SystemMap

__all__ = [
    "SYSTEMS",
    "Equilibrium",
    "System",
    "SystemMap",
    "henon",
    "hyperchaotic_rossler",
    "ikeda",
    "logistic",
    "lorenz63",
    "lorenz96",
    "mackey_glass",
    "rossler",
    "standard_map",
    "system",
]

#: The systems by name, each with its usual parameters.
SYSTEMS: Final[dict[str, Callable[[], System]]] = {
    "lorenz63": lorenz63,
    "rossler": rossler,
    "hyperchaotic-rossler": hyperchaotic_rossler,
    "lorenz96": lorenz96,
    "mackey-glass": mackey_glass,
    "logistic": logistic,
    "henon": henon,
    "ikeda": ikeda,
    "standard": standard_map,
}


def system(name: str) -> System:
    """Return the system of that name with its usual parameters.

    Raises
    ------
    InvalidInputError
        When there is none; the message has the nearest known name.
    """
    if name not in SYSTEMS:
        raise InvalidInputError(
            "system", repr(name), "no system of that name", nearest_name(str(name), SYSTEMS)
        )
    return SYSTEMS[name]()
