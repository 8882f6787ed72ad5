"""esntools: fit an echo state network, verify it, explain it.

Every public name is found here, and its module is loaded when it is first used: ``import esntools`` costs
next to nothing.

>>> import esntools
>>> esntools.EchoStateNetwork([[0.5]], W_in=[[1.0]]).n_units
1
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esntools.activations import Activation as Activation
    from esntools.errors import EsntoolsError as EsntoolsError
    from esntools.errors import EsntoolsWarning as EsntoolsWarning
    from esntools.errors import FileFormatError as FileFormatError
    from esntools.errors import InvalidInputError as InvalidInputError
    from esntools.errors import UnsupportedError as UnsupportedError
    from esntools.inputs import AnyInput as AnyInput
    from esntools.inputs import Constant as Constant
    from esntools.inputs import InputAlphabet as InputAlphabet
    from esntools.inputs import InputBox as InputBox
    from esntools.inputs import InputSignal as InputSignal
    from esntools.inputs import Zero as Zero
    from esntools.interop import from_reservoirpy as from_reservoirpy
    from esntools.interop import reservoir_weights as reservoir_weights
    from esntools.interop import to_reservoirpy as to_reservoirpy
    from esntools.network import EchoStateNetwork as EchoStateNetwork
    from esntools.readout import Readout as Readout
    from esntools.series import Series as Series
    from esntools.series import read_series as read_series
    from esntools.simulation import Forecast as Forecast
    from esntools.simulation import Trajectory as Trajectory
    from esntools.simulation import drive as drive
    from esntools.simulation import forecast as forecast
    from esntools.zoo import ZooModel as ZooModel
    from esntools.zoo import load as load_model  # noqa: F401
    from esntools.zoo import zoo_names as zoo_names

    __version__: str

# The same names for Python itself: module, name in it, and the public name where that differs.
_HOMES = {
    "activations": ["Activation"],
    "errors": [
        "EsntoolsError",
        "EsntoolsWarning",
        "FileFormatError",
        "InvalidInputError",
        "UnsupportedError",
    ],
    "inputs": ["AnyInput", "Constant", "InputAlphabet", "InputBox", "InputSignal", "Zero"],
    "interop": ["from_reservoirpy", "reservoir_weights", "to_reservoirpy"],
    "network": ["EchoStateNetwork"],
    "readout": ["Readout"],
    "series": ["Series", "read_series"],
    "simulation": ["Forecast", "Trajectory", "drive", "forecast"],
    "zoo": ["ZooModel", "load as load_model", "zoo_names"],
}

_LAZY: dict[str, tuple[str, str]] = {}
for _module, _names in _HOMES.items():
    for _name in _names:
        _inside, _, _public = _name.partition(" as ")
        _LAZY[_public or _inside] = (_module, _inside)

__all__ = [*sorted(_LAZY), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("esntools")
        except PackageNotFoundError:
            value = "unknown"
    elif name in _LAZY:
        module, inside = _LAZY[name]
        value = getattr(import_module(f"esntools.{module}"), inside)
    elif name in _HOMES or name in ("plotting", "report", "study", "tasks", "systems", "certificates"):
        return import_module(f"esntools.{name}")
    else:
        from esntools.errors import nearest_name

        raise AttributeError(f"module 'esntools' has no attribute {name!r}; {nearest_name(name, _LAZY)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
