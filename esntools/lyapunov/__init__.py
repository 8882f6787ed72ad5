"""Lyapunov exponents of autonomous maps, conditional ones of driven maps, and covariant vectors."""

from esntools.lyapunov.covariant import CovariantVectors, covariant_lyapunov_vectors
from esntools.lyapunov.spectrum import conditional_lyapunov_spectrum, lyapunov_spectrum
from esntools.lyapunov.statistics import LyapunovSpectrum, kaplan_yorke_dimension

__all__ = [
    "CovariantVectors",
    "LyapunovSpectrum",
    "conditional_lyapunov_spectrum",
    "covariant_lyapunov_vectors",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
]
