"""The eigenvalues of a random reservoir fill a disc; its spectral radius is the disc's edge."""

from esntools.interop import reservoir_weights
from esntools.plotting import plot_eigenvalues

network = reservoir_weights(
    300, 1, spectral_radius=0.9, input_scaling=1.0, bias_scaling=0.0, connectivity=0.1, seed=1
)
print(f"spectral radius {network.spectral_radius():.3f}")
plot_eigenvalues(network).figure.savefig("eigenvalues.svg")
