"""Two coupled bits of memory: which of four states a start falls to, and what lies between."""

import numpy as np

from esntools import EchoStateNetwork, basin_picture, find_edge_state
from esntools.plotting import plot_basins

network = EchoStateNetwork([[1.6, 0.2], [-0.2, 1.6]], leak_rate=0.5)
picture = basin_picture(network, resolution=150)
found = picture.basins
for attractor, share in zip(found.attractors, found.shares):
    print(f"{attractor.kind} at {np.round(attractor.mean, 3)}: {share:.1%} of the square")

edges = [
    find_edge_state(network, found.attractors[i].mean, found.attractors[j].mean)
    for i, j in ((0, 1), (0, 2), (1, 3), (2, 3))
]
print("between neighbours: saddles at", *[np.round(edge.states[0], 3) for edge in edges])

plot_basins(picture, edges=edges).figure.savefig("basins.svg")
