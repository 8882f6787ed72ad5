"""Periodic orbits of maps and networks, with their multipliers and a check on whether any is missing."""

from __future__ import annotations

from esntools.orbits.orbit import PeriodicOrbit, refine_orbit

__all__ = ["PeriodicOrbit", "refine_orbit"]
