"""One neuron, one parameter: where it gains a second memory, and where its formula says so."""

from esntools import EchoStateNetwork, find_bifurcations
from esntools.bifurcations import one_neuron_diagram
from esntools.plotting import plot_bifurcations

neuron = EchoStateNetwork([[2.0]])
asked = {"parameter": "bias", "start": -1.0, "stop": 1.0}

diagram = find_bifurcations(neuron, **asked)
formula = one_neuron_diagram(neuron, **asked)
for point, exact in zip(diagram.points, formula.points):
    print(f"{point.kind} at bias {point.value:+.10f}, by the formula {exact.value:+.10f} = {exact.symbol}")

plot_bifurcations(diagram, closed_form=formula).figure.savefig("bifurcations.svg")
