"""A random network at three gains: it comes to rest, becomes chaotic, and how certain that is."""

import numpy as np

from esntools import EchoStateNetwork, lyapunov_spectrum
from esntools.plotting import plot_lyapunov

W = np.random.default_rng(0).standard_normal((100, 100)) / 10.0

for gain in (0.9, 1.5, 3.0):
    spectrum = lyapunov_spectrum(EchoStateNetwork(gain * W), n_exponents="all", n_steps=4000, rng=0)
    low, high = spectrum.interval[0]
    print(
        f"gain {gain}: largest exponent {spectrum.exponents[0]:+.3f} per step ({low:+.3f} to {high:+.3f}), "
        f"Kaplan-Yorke dimension {spectrum.kaplan_yorke:.1f}"
    )

plot_lyapunov(spectrum).figure.savefig("lyapunov.svg")
