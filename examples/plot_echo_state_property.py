"""Where along its spectral radius does a reservoir stop to forget, and what is known in between?"""

from esntools import AnyInput, certify_esp, reservoir_weights
from esntools.plotting import plot_witness

inputs, radius = AnyInput(), 0.7
network = reservoir_weights(30, 1, spectral_radius=radius, input_scaling=0.5, leak_rate=0.6, seed=1)

proved = certify_esp(network, inputs, bracket=True)
print(proved.sentence)
low, high = proved.proved_gain, proved.refuted_gain
print(f"proved up to spectral radius {low * radius:.3f}, refuted at {high * radius:.3f}")

# In between nothing is claimed; beyond, two copies of the network under one input stay apart.
refuted = certify_esp(network.scaled(1.3 / radius), inputs)
print(refuted.sentence)

ax = plot_witness(refuted.witness)
ax.set_xlabel(f"step, at spectral radius 1.3 (proved to forget up to {low * radius:.2f})")
ax.figure.savefig("echo_state_property.svg")
