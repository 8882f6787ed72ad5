"""How fixed points and orbits change with a parameter: branches, located bifurcations, whole diagrams."""

from esntools.bifurcations.closed_form import ClosedFormDiagram, ClosedFormPoint, one_neuron_diagram
from esntools.bifurcations.diagram import find_bifurcations, follow_branch
from esntools.bifurcations.results import (
    BifurcationDiagram,
    BifurcationPoint,
    Branch,
    DiagramAudit,
)

__all__ = [
    "BifurcationDiagram",
    "BifurcationPoint",
    "Branch",
    "ClosedFormDiagram",
    "ClosedFormPoint",
    "DiagramAudit",
    "find_bifurcations",
    "follow_branch",
    "one_neuron_diagram",
]
