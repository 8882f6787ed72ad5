"""How fixed points and orbits change with a parameter: branches, located bifurcations, whole diagrams."""

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
    "DiagramAudit",
    "find_bifurcations",
    "follow_branch",
]
