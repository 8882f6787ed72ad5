"""How strongly may the units of a reservoir drive each other before the proof of forgetting fails?"""

import numpy as np

from esntools import EchoStateNetwork, InputBox
from esntools.certificates import certify_esp
from esntools.plotting import plot_contraction
from esntools.study import certified_range
from esntools.symbolic import derive

rng = np.random.default_rng(0)
W = rng.normal(size=(20, 20)) * (rng.random((20, 20)) < 0.3)
W *= 0.6 / np.abs(np.linalg.eigvals(W)).max()
network = EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (20, 1)), leak_rate=0.5)

inputs, derivation = InputBox(-1, 1), derive(network)
verdict = certify_esp(network, inputs)
certified = certified_range(network, inputs, verdict=verdict, derivation=derivation)
print(verdict.sentence)
print(f"certified up to {certified.proved:.3f} W, refuted from {certified.refuted[0]:.3f} W on")

ax = plot_contraction(verdict, network, derivation=derivation, certified=certified)
ax.figure.savefig("contraction.svg")
