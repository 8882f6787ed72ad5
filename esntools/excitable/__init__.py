"""Excitable network attractors and visit graphs: what a network does, as a directed graph."""

from esntools.excitable.cuts import at_amplitude, threshold_matrix
from esntools.excitable.extraction import excitable_network
from esntools.excitable.graphs import read_graph, write_graph
from esntools.excitable.landscape import Landscape, LandscapeSaddle, find_landscape
from esntools.excitable.visits import visit_graph

__all__ = [
    "Landscape", "LandscapeSaddle", "at_amplitude", "excitable_network", "find_landscape", "read_graph",
    "threshold_matrix", "visit_graph", "write_graph",
]  # fmt: skip
