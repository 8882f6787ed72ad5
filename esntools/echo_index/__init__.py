"""How many responses one input supports: the echo index, proved and estimated, and exact dwell times."""

from esntools.echo_index.dwell import DwellTimes, dwell_time_table
from esntools.echo_index.estimate import estimate_echo_index
from esntools.echo_index.laws import PeriodicInput, SwitchingInput
from esntools.echo_index.results import BasinsAtZero, Boundary, EchoIndex, Response

__all__ = [
    "BasinsAtZero",
    "Boundary",
    "DwellTimes",
    "EchoIndex",
    "PeriodicInput",
    "Response",
    "SwitchingInput",
    "dwell_time_table",
    "estimate_echo_index",
]
