"""Plots of results, as ``plot_x(result, *, ax=None) -> Axes``: vector, legible in print and in greyscale.

Compute first, then plot. Without `ax` a plot makes its own figure, which pyplot does not know; save it with
``ax.figure.savefig("name.svg")``. Nothing is shown and no setting of Matplotlib is changed.
"""

from esntools.plotting.attractors import plot_attractor_comparison, plot_embedding
from esntools.plotting.basins import plot_basins
from esntools.plotting.bifurcations import plot_bifurcations
from esntools.plotting.diagnosis import plot_diagnosis
from esntools.plotting.driven import plot_nonautonomous
from esntools.plotting.dynamics import plot_eigenvalues
from esntools.plotting.echo_index import plot_dwell_times, plot_echo_index
from esntools.plotting.graphs import plot_graph
from esntools.plotting.lyapunov import plot_lyapunov, plot_splitting_angles
from esntools.plotting.noise import plot_action_path, plot_transition_rates
from esntools.plotting.phase import plot_phase_graph
from esntools.plotting.series import (
    plot_attractor,
    plot_error_growth,
    plot_forecast,
    plot_return_map,
    plot_ridge,
    plot_spectrum,
    plot_task,
    plot_vpt,
)
from esntools.plotting.verification import plot_contraction, plot_forgetting
from esntools.plotting.witness import plot_witness

__all__ = [
    "plot_action_path",
    "plot_attractor",
    "plot_attractor_comparison",
    "plot_basins",
    "plot_bifurcations",
    "plot_contraction",
    "plot_diagnosis",
    "plot_dwell_times",
    "plot_echo_index",
    "plot_eigenvalues",
    "plot_embedding",
    "plot_error_growth",
    "plot_forecast",
    "plot_forgetting",
    "plot_graph",
    "plot_lyapunov",
    "plot_nonautonomous",
    "plot_phase_graph",
    "plot_return_map",
    "plot_ridge",
    "plot_spectrum",
    "plot_splitting_angles",
    "plot_task",
    "plot_transition_rates",
    "plot_vpt",
    "plot_witness",
]
