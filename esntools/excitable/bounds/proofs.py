"""Where a set of states certainly goes: cells are followed until they lie in a proved ellipsoid."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from esntools._typing import FloatArray
from esntools.excitable.bounds.cells import Cell, ProvedMap, Push
from esntools.excitable.bounds.wells import Well

__all__ = ["Fate", "Prover"]

#: Beyond these the arguments of phi are known too badly: an enclosure that grows so far will not shrink again.
_WIDEST: Final = 3.0
_WIDE: Final = 1.0
#: A run longer than this leaves behind an ellipsoid that shortens the next ones.
_LONG: Final = 30
_TILES: Final = 48


@final
@dataclass(frozen=True, eq=False)
class Fate:
    """Where a cell goes: the well that certainly attracts all of it, or -1; and after how many steps."""

    well: int
    steps: int
    late: bool = False


@final
class Prover:
    """A proved map with the ellipsoids that are known to lead to its stable fixed points.

    Every enclosure of a proved run consists of states that lead to the same fixed point. Some are kept, made
    larger and proved again: later runs end when they enter one.
    """

    def __init__(
        self, proved: ProvedMap, wells: Sequence[Well | None], n_steps: int, deadline: float
    ) -> None:
        self.proved, self.n_steps, self.deadline = proved, n_steps, deadline
        self.wells = [(k, well) for k, well in enumerate(wells) if well is not None]
        self.tiles: list[tuple[int, Well]] = []
        self.homes = dict(self.wells)
        self.slow = {k: np.linalg.eigh(well.S)[1][:, -1] for k, well in self.wells}
        self.steps = 0
        # For tiles: the next to be replaced.
        self._oldest = 0

    @property
    def late(self) -> bool:
        return time.perf_counter() > self.deadline

    def _home(self, cell: Cell, step: int) -> int:
        for k, well in self.wells:
            if well.holds(cell):
                return k
        if step % 2 == 0:
            for k, tile in self.tiles:
                if tile.holds(cell):
                    return k
        return -1

    def run(self, cell: Cell, weight: FloatArray, pushes: Sequence[Push] = ()) -> Fate:
        """Follow a cell; `pushes` are the first steps' inputs, and `weight` weighs directions."""
        kept = None
        for step in range(self.n_steps + len(pushes)):
            driven = step < len(pushes)
            if not driven:
                home = self._home(cell, step)
                if home >= 0:
                    if kept is not None and step > _LONG + len(pushes):
                        self._keep(kept, home, weight)
                    return Fate(home, step)
            if step % 16 == 0 and self.late:
                return Fate(-1, step, late=True)
            cell, w = self.proved.step(cell, weight, pushes[step] if driven else None)
            self.steps += 1
            widest = float(w.max())
            if not widest < (_WIDEST if step < 12 + len(pushes) else _WIDE):
                return Fate(-1, step)
            if kept is None and step >= 7 + len(pushes) and widest < 0.25 * _WIDE:
                kept = cell
        return Fate(-1, self.n_steps)

    def _keep(self, cell: Cell, home: int, weight: FloatArray) -> None:
        """Prove an ellipsoid somewhat larger than a cell, and keep it."""
        d = cell.G.shape[1]
        sizes = [float(np.sum(weight * cell.S)), d * float(np.sum(cell.G * (weight @ cell.G)))]
        roots = [math.sqrt(max(s, 1e-300)) for s in sizes]
        shape = cell.S * (sum(roots) / roots[0])
        if d:
            shape = shape + (d * sum(roots) / roots[1]) * (cell.G @ cell.G.T)
        shape[np.diag_indices_from(shape)] += 1e-9 * float(np.trace(shape)) / len(shape)
        none = np.zeros((len(cell.c), 0))
        # Along the slowest direction it may be much longer: that is where time is saved.
        slow = self.slow[home]
        along = float(slow @ (cell.c - self.homes[home].x)) * slow
        for factor, length in ((3.0, 0.5), (2.0, 0.25), (1.6, 0.1)):
            S = 0.5 * factor**2 * (shape + shape.T) + (length**2 * factor**2) * np.outer(along, along)
            larger = Cell(cell.c, none, S)
            now = larger
            for step in range(self.n_steps):
                if self._home(now, step) == home:
                    try:
                        P = np.linalg.inv(S)
                    except np.linalg.LinAlgError:
                        return
                    tile = (home, Well(cell.c, 0.0, S, P, weight))
                    if len(self.tiles) < _TILES:
                        self.tiles.append(tile)
                    else:
                        self.tiles[self._oldest] = tile
                        self._oldest = (self._oldest + 1) % _TILES
                    return
                now, w = self.proved.step(now, weight)
                self.steps += 1
                if not float(w.max()) < _WIDE or self.late:
                    break
