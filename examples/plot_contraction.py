"""How strongly may the units of a reservoir drive each other before the proof of forgetting fails?"""

import numpy as np

from esntools import EchoStateNetwork, InputBox
from esntools.certificates import certify_esp
from esntools.plotting import plot_contraction
from esntools.symbolic import derive

rng = np.random.default_rng(0)
W = rng.normal(size=(20, 20)) * (rng.random((20, 20)) < 0.3)
W *= 0.6 / np.abs(np.linalg.eigvals(W)).max()
network = EchoStateNetwork(W, W_in=rng.uniform(-1, 1, (20, 1)), leak_rate=0.5)

verdict = certify_esp(network, InputBox(-1, 1))
print(verdict.sentence)
plot_contraction(verdict, network, derivation=derive(network)).figure.savefig("contraction.svg")
