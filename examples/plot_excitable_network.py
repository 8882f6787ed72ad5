"""One bit of memory as an excitable network: two stable states and the pulses that switch them."""

from esntools import EchoStateNetwork, Readout
from esntools.excitable import excitable_network
from esntools.plotting import plot_graph

bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
graph = excitable_network(bit, pulses=[[1.0], [-1.0]])

for i, j, edge in graph.edges(data=True):
    print(f"state {i} to state {j}: amplitude {edge['threshold']:.4f}")
plot_graph(graph).figure.savefig("graph.svg")
