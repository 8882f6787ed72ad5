"""esntools: fit an echo state network, verify it, explain it."""

from __future__ import annotations
