"""Lyapunov exponents of autonomous maps, conditional ones of driven maps, and covariant vectors."""

from esntools.lyapunov.spectrum import conditional_lyapunov_spectrum, lyapunov_spectrum
from esntools.lyapunov.statistics import LyapunovSpectrum, kaplan_yorke_dimension

__all__ = [
    "LyapunovSpectrum",
    "conditional_lyapunov_spectrum",
    "kaplan_yorke_dimension",
    "lyapunov_spectrum",
]
