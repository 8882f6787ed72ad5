"""Gated recurrent cells as maps: GRU and LSTM with hand-written derivatives, and PyTorch's modules as them.

Any analysis that takes a `Map` takes these. The weights are laid out as PyTorch does, gate after gate, so
that a module's matrices are used as they are.
"""

from __future__ import annotations

from esntools.gated.gru import GRU
from esntools.gated.lstm import LSTM
from esntools.gated.pytorch import from_torch

__all__ = ["GRU", "LSTM", "from_torch"]
