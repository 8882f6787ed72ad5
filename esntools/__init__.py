"""esntools: fit an echo state network, verify it, explain it.

Every public name is found here, and its module is loaded when it is first used: ``import esntools`` costs
next to nothing.

>>> import esntools
>>> esntools.EchoStateNetwork([[0.5]], W_in=[[1.0]]).n_units
1
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esntools.activations import Activation as Activation
    from esntools.attractors import compare_attractors as compare_attractors
    from esntools.basins import basin_picture as basin_picture
    from esntools.basins import basins as basins
    from esntools.basins import find_edge_state as find_edge_state
    from esntools.basins import find_smallest_kick as find_smallest_kick
    from esntools.bifurcations import find_bifurcations as find_bifurcations
    from esntools.bifurcations import follow_branch as follow_branch
    from esntools.certificates import Certified as Certified
    from esntools.certificates import Inconclusive as Inconclusive
    from esntools.certificates import Refuted as Refuted
    from esntools.certificates import certify_echo_index as certify_echo_index
    from esntools.certificates import certify_esp as certify_esp
    from esntools.certificates import certify_repair as certify_repair
    from esntools.certificates import certify_tube as certify_tube
    from esntools.certificates import check_certificate as check_certificate
    from esntools.certificates import find_large_input_threshold as find_large_input_threshold
    from esntools.echo_index import PeriodicInput as PeriodicInput
    from esntools.echo_index import SwitchingInput as SwitchingInput
    from esntools.echo_index import dwell_time_table as dwell_time_table
    from esntools.echo_index import estimate_echo_index as estimate_echo_index
    from esntools.embedding import choose_embedding as choose_embedding
    from esntools.errors import EsntoolsError as EsntoolsError
    from esntools.errors import EsntoolsWarning as EsntoolsWarning
    from esntools.errors import FileFormatError as FileFormatError
    from esntools.errors import InvalidInputError as InvalidInputError
    from esntools.errors import UnsupportedError as UnsupportedError
    from esntools.excitable import at_amplitude as at_amplitude
    from esntools.excitable import excitable_network as excitable_network
    from esntools.excitable import find_landscape as find_landscape
    from esntools.excitable import read_graph as read_graph
    from esntools.excitable import threshold_matrix as threshold_matrix
    from esntools.excitable import visit_graph as visit_graph
    from esntools.excitable import write_graph as write_graph
    from esntools.excitable.design import design as design
    from esntools.excitable.diagnosis import diagnose as diagnose
    from esntools.excitable.driven import nonautonomous_network as nonautonomous_network
    from esntools.excitable.hopfield import hopfield as hopfield
    from esntools.excitable.noise import estimate_transition_rates as estimate_transition_rates
    from esntools.excitable.noise.action import find_minimal_action as find_minimal_action
    from esntools.excitable.transitions import find_transitions as find_transitions
    from esntools.fixed_points import FixedPoint as FixedPoint
    from esntools.fixed_points import FixedPoints as FixedPoints
    from esntools.fixed_points import find_fixed_points as find_fixed_points
    from esntools.fixed_points.certified import certify_fixed_point as certify_fixed_point
    from esntools.fixed_points.enumeration import enumerate_fixed_points as enumerate_fixed_points
    from esntools.gated import GRU as GRU
    from esntools.gated import LSTM as LSTM
    from esntools.gated import from_torch as from_torch
    from esntools.gradients import gradient_growth as gradient_growth
    from esntools.inputs import AnyInput as AnyInput
    from esntools.inputs import Constant as Constant
    from esntools.inputs import InputAlphabet as InputAlphabet
    from esntools.inputs import InputBox as InputBox
    from esntools.inputs import InputSignal as InputSignal
    from esntools.inputs import Zero as Zero
    from esntools.interop import from_reservoirpy as from_reservoirpy
    from esntools.interop import reservoir_weights as reservoir_weights
    from esntools.interop import to_reservoirpy as to_reservoirpy
    from esntools.lyapunov import LyapunovSpectrum as LyapunovSpectrum
    from esntools.lyapunov import conditional_lyapunov_spectrum as conditional_lyapunov_spectrum
    from esntools.lyapunov import covariant_lyapunov_vectors as covariant_lyapunov_vectors
    from esntools.lyapunov import lyapunov_spectrum as lyapunov_spectrum
    from esntools.maps import FunctionMap as FunctionMap
    from esntools.maps import Map as Map
    from esntools.memory import linear_memory_curve as linear_memory_curve
    from esntools.memory import memory_capacity as memory_capacity
    from esntools.memory import time_constants as time_constants
    from esntools.network import EchoStateNetwork as EchoStateNetwork
    from esntools.orbits import find_periodic_orbits as find_periodic_orbits
    from esntools.plotting import plot_witness as plot_witness
    from esntools.readout import Readout as Readout
    from esntools.report import write_report as write_report
    from esntools.reservoirs import delay_line_weights as delay_line_weights
    from esntools.reservoirs import norm_constrained_weights as norm_constrained_weights
    from esntools.reservoirs import orthogonal_weights as orthogonal_weights
    from esntools.reservoirs import ring_weights as ring_weights
    from esntools.series import Series as Series
    from esntools.series import read_series as read_series
    from esntools.simulation import Forecast as Forecast
    from esntools.simulation import Trajectory as Trajectory
    from esntools.simulation import drive as drive
    from esntools.simulation import forecast as forecast
    from esntools.study import Study as Study
    from esntools.study import run_study as run_study
    from esntools.symbolic import critical_gains as critical_gains
    from esntools.symbolic import derive as derive
    from esntools.symbolic.proof_page import proof_page as proof_page
    from esntools.tasks import automaton_task as automaton_task
    from esntools.tasks import flip_flop as flip_flop
    from esntools.training import Fit as Fit
    from esntools.training import fit as fit
    from esntools.training import valid_prediction_time as valid_prediction_time
    from esntools.training.recipes import train_automaton as train_automaton
    from esntools.training.recipes import train_flip_flop as train_flip_flop
    from esntools.zoo import ZooModel as ZooModel
    from esntools.zoo import load as load_model  # noqa: F401
    from esntools.zoo import zoo_names as zoo_names

    __version__: str

# The same names for Python itself: module, name in it, and the public name where that differs.
_HOMES = {
    "activations": ["Activation"],
    "attractors": ["compare_attractors"],
    "basins": ["basin_picture", "basins", "find_edge_state", "find_smallest_kick"],
    "bifurcations": ["find_bifurcations", "follow_branch"],
    "certificates": [
        "Certified",
        "Inconclusive",
        "Refuted",
        "certify_echo_index",
        "certify_esp",
        "certify_repair",
        "certify_tube",
        "check_certificate",
        "find_large_input_threshold",
    ],
    "echo_index": ["PeriodicInput", "SwitchingInput", "dwell_time_table", "estimate_echo_index"],
    "embedding": ["choose_embedding"],
    "errors": [
        "EsntoolsError",
        "EsntoolsWarning",
        "FileFormatError",
        "InvalidInputError",
        "UnsupportedError",
    ],
    "excitable": [
        "at_amplitude",
        "excitable_network",
        "find_landscape",
        "read_graph",
        "threshold_matrix",
        "visit_graph",
        "write_graph",
    ],
    "excitable.noise.action": ["find_minimal_action"],
    "excitable.design": ["design"],
    "excitable.diagnosis": ["diagnose"],
    "excitable.driven": ["nonautonomous_network"],
    "excitable.hopfield": ["hopfield"],
    "excitable.noise": ["estimate_transition_rates"],
    "excitable.transitions": ["find_transitions"],
    "fixed_points": ["FixedPoint", "FixedPoints", "find_fixed_points"],
    "fixed_points.certified": ["certify_fixed_point"],
    "fixed_points.enumeration": ["enumerate_fixed_points"],
    "gated": ["GRU", "LSTM", "from_torch"],
    "gradients": ["gradient_growth"],
    "inputs": ["AnyInput", "Constant", "InputAlphabet", "InputBox", "InputSignal", "Zero"],
    "interop": ["from_reservoirpy", "reservoir_weights", "to_reservoirpy"],
    "lyapunov": [
        "LyapunovSpectrum",
        "conditional_lyapunov_spectrum",
        "covariant_lyapunov_vectors",
        "lyapunov_spectrum",
    ],
    "maps": ["FunctionMap", "Map"],
    "memory": ["linear_memory_curve", "memory_capacity", "time_constants"],
    "network": ["EchoStateNetwork"],
    "orbits": ["find_periodic_orbits"],
    "plotting": ["plot_witness"],
    "readout": ["Readout"],
    "report": ["write_report"],
    "reservoirs": ["delay_line_weights", "norm_constrained_weights", "orthogonal_weights", "ring_weights"],
    "series": ["Series", "read_series"],
    "simulation": ["Forecast", "Trajectory", "drive", "forecast"],
    "study": ["Study", "run_study"],
    "symbolic": ["critical_gains", "derive"],
    "symbolic.proof_page": ["proof_page"],
    "tasks": ["automaton_task", "flip_flop"],
    "training": ["Fit", "fit", "valid_prediction_time"],
    "training.recipes": ["train_automaton", "train_flip_flop"],
    "zoo": ["ZooModel", "load as load_model", "zoo_names"],
}

_LAZY: dict[str, tuple[str, str]] = {}
for _module, _names in _HOMES.items():
    for _name in _names:
        _inside, _, _public = _name.partition(" as ")
        _LAZY[_public or _inside] = (_module, _inside)

__all__ = [*sorted(_LAZY), "__version__"]


class _Package(ModuleType):
    # Loading esntools.basins makes that module an attribute of its package; the function of the same name is
    # the public one, in whatever order the two are asked for.
    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _LAZY:
            value = getattr(value, _LAZY[name][1])
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


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
    elif not name.startswith("_") and find_spec(f"esntools.{name}") is not None:
        return import_module(f"esntools.{name}")
    else:
        from esntools.errors import nearest_name

        raise AttributeError(f"module 'esntools' has no attribute {name!r}; {nearest_name(name, _LAZY)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
