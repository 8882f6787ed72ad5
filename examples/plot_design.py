"""A network built from a graph: an attractor for every vertex, and every edge as easy as was asked for."""

import networkx
import numpy as np

from esntools import design, excitable_network
from esntools.plotting import plot_graph

wanted = networkx.DiGraph()
wanted.add_edge("sleep", "wake", threshold=0.25)
wanted.add_edge("wake", "work", threshold=0.15)
wanted.add_edge("work", "sleep", threshold=0.2)
wanted.add_edge("work", "wake", threshold=0.1)
network = design(wanted)
print(network)

# A pulse on input line k leads to vertex k.
found = excitable_network(network, np.eye(3))
names = [list(wanted)[int(np.argmax(found.nodes[node]["output"]))] for node in found]
for i, j, edge in found.edges(data=True):
    asked = wanted.edges[names[i], names[j]]["threshold"]
    print(f"{names[i]} -> {names[j]}: asked {asked:.2f}, found {edge['threshold']:.4f}")
plot_graph(found, names=names).figure.savefig("design.svg")
