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

#: Beyond these the arguments of phi are known too badly: such an enclosure will not shrink.
_WIDEST: Final = 3.0
_WIDE: Final = 1.0
#: A run longer than this leaves behind an ellipsoid that shortens the next ones.
_LONG: Final = 50
_TILES: Final = 40
#: A run that does not come nearer within so many steps is given up.
_PATIENCE: Final = 256
_SNAPSHOTS: Final = frozenset((8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024))


@final
@dataclass(frozen=True, eq=False)
class Fate:
    """Where a cell goes: the well that certainly attracts all of it, or -1; and after how many steps."""

    well: int
    steps: int
    late: bool = False
    #: Of a run that failed: the sizes of the generators at its end.
    stretch: FloatArray | None = None


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

    @property
    def late(self) -> bool:
        return time.perf_counter() > self.deadline

    def _home(self, cell: Cell, step: int) -> int:
        if step % 2:
            return -1
        for k, well in self.wells:
            if well.holds(cell):
                return k
        for k, tile in self.tiles:
            if tile.holds(cell):
                return k
        return -1

    def run(self, cell: Cell, weight: FloatArray, pushes: Sequence[Push] = ()) -> Fate:
        """Follow a cell; `pushes` are the first steps' inputs, and `weight` weighs directions."""
        kept: list[tuple[Cell, int]] = []
        distance = math.inf
        for step in range(self.n_steps + len(pushes)):
            driven = step < len(pushes)
            if not driven:
                home = self._home(cell, step)
                if home >= 0:
                    last = step
                    for past, at in reversed(kept):
                        # From the nearest to the farthest: each is proved when it enters the one before.
                        if last - at > _LONG:
                            if not self._keep(past, home, weight):
                                break
                            last = at
                    return Fate(home, step)
            if step % 16 == 0 and self.late:
                return Fate(-1, step, late=True)
            if step % _PATIENCE == 0:
                distance, before = self._distance(cell), distance
                if not distance < 0.95 * before:
                    return Fate(-1, step, stretch=np.einsum("ij,ij->j", cell.G, weight @ cell.G))
            cell, w = self.proved.step(cell, weight, pushes[step] if driven else None)
            self.steps += 1
            widest = float(w.max())
            if not widest < (_WIDEST if step < 12 + len(pushes) else _WIDE):
                return Fate(-1, step, stretch=np.einsum("ij,ij->j", cell.G, weight @ cell.G))
            if step + 1 - len(pushes) in _SNAPSHOTS and widest < 0.5 * _WIDE:
                kept.append((cell, step + 1))
        return Fate(-1, self.n_steps, stretch=np.einsum("ij,ij->j", cell.G, weight @ cell.G))

    def _distance(self, cell: Cell) -> float:
        """Return about how far the farthest state of a cell is from a well, in the norm of the well."""
        best = math.inf
        for _, well in self.wells:
            offset = cell.c - well.x
            best = min(best, math.sqrt(max(float(offset @ (well.P @ offset)), 0.0)) + cell.size(well.P))
        return best

    def _keep(self, cell: Cell, home: int, weight: FloatArray) -> bool:
        """Prove an ellipsoid somewhat larger than a cell, and keep it for the runs that follow."""
        column = np.sqrt(np.maximum(np.einsum("ij,ij->j", cell.G, weight @ cell.G), 1e-300))
        own = math.sqrt(max(float(np.sum(weight * cell.S)), 1e-300))
        total = own + float(column.sum())
        scaled = cell.G * np.sqrt(total / column)
        shape = (total / own) * cell.S + scaled @ scaled.T
        shape[np.diag_indices_from(shape)] += 1e-8 * float(np.trace(shape)) / len(shape)
        shape = 0.5 * (shape + shape.T)
        none = np.zeros((len(cell.c), 0))
        # Along the slowest direction it may be much longer: that is where time is saved.
        slow = self.slow[home]
        along = float(slow @ (cell.c - self.homes[home].x)) * slow
        for factor, length in ((2.0, 0.3), (1.2, 0.1)):
            S = factor**2 * (shape + length**2 * np.outer(along, along))
            now = Cell(cell.c, none, S)
            for step in range(self.n_steps):
                if self._home(now, step) == home:
                    try:
                        P = np.asarray(np.linalg.inv(S), dtype=np.float64)
                    except np.linalg.LinAlgError:
                        return False
                    self.tiles.insert(0, (home, Well(cell.c, 0.0, S, P, weight)))
                    del self.tiles[_TILES:]
                    return True
                now, w = self.proved.step(now, weight)
                self.steps += 1
                if not float(w.max()) < _WIDE or self.late:
                    break
        return False
