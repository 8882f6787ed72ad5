"""Two bits of memory as an excitable network: four states, and the smallest pulses that switch them."""

import numpy as np

from esntools import EchoStateNetwork, Readout, excitable_network, find_landscape, threshold_matrix
from esntools.plotting import plot_graph, plot_phase_graph
from esntools.study import phase_plane, pulse_paths

# Two bistable units that lean on each other; line k of the input pushes unit k.
bits = EchoStateNetwork([[1.5, 0.1], [0.1, 1.5]], W_in=np.eye(2), readout=Readout(np.eye(2)))
landscape = find_landscape(bits)
graph = excitable_network(bits, 2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]), landscape=landscape)

for i, j, edge in graph.edges(data=True):
    print(f"state {i} to state {j}: {edge['threshold']:.4f} of pulse {edge['pulse']}")
print(threshold_matrix(graph).round(3))
plot_graph(graph).figure.savefig("graph.svg")

paths = pulse_paths(graph, bits)
plane = phase_plane(landscape, paths)
plot_phase_graph(graph, bits, plane=plane, paths=paths).figure.savefig("phase.svg")
