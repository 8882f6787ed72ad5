"""The look of every plot: sizes, colours and marks that survive a printer and a photocopier.

Nothing here touches pyplot or rcParams; every size and colour is passed explicitly, so a user's own
settings stay as they are and a plot looks alike everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "LABEL", "PALE", "RED", "TICK", "new_axes", "panels", "style"]

# After Okabe and Ito's palette, distinct to colour-blind readers; the red is darker than theirs so that it
# stands out from PALE in greyscale too. Colour is never the only mark of a difference.
INK: Final = "#1a1a1a"
GREY: Final = "#8c8c8c"
PALE: Final = "#bdbdbd"
BLUE: Final = "#0072B2"
RED: Final = "#B03A06"

#: Font sizes in points at the figure's own width (one journal column is 3.4 inches).
LABEL: Final = 9.0
TICK: Final = 8.0


def new_axes(ax: Axes | None, size: tuple[float, float] = (3.4, 2.5)) -> Axes:
    """Return `ax`, or axes on a new figure of `size` inches that belongs to no global state."""
    if ax is not None:
        return ax
    return Figure(figsize=size, layout="constrained").add_subplot()


def style(ax: Axes, *, x: str = "", y: str = "", title: str = "", box: bool = False) -> None:
    """Set labels and sizes; two spines unless `box`."""
    ax.tick_params(labelsize=TICK, width=0.6, length=3, colors=INK)
    for side, spine in ax.spines.items():
        spine.set_linewidth(0.6)
        spine.set_color(INK)
        spine.set_visible(box or side in ("left", "bottom"))
    ax.set_xlabel(x, fontsize=LABEL, color=INK)
    ax.set_ylabel(y, fontsize=LABEL, color=INK)
    if title:
        ax.set_title(title, fontsize=LABEL, color=INK, loc="left", pad=4)


def panels(ax: Axes, boxes: Sequence[tuple[float, float, float, float]]) -> list[Axes]:
    """Divide `ax` into inset axes (left, bottom, width, height in its units) and hide `ax` itself."""
    ax.set_axis_off()
    return [ax.inset_axes(box) for box in boxes]


def key(ax: Axes, **options: Any) -> None:
    """Put the line samples above the axes, where they cover no data."""
    ax.legend(
        fontsize=TICK, frameon=False, borderaxespad=0.1, columnspacing=1.2, handletextpad=0.5, labelcolor=INK,
        **{"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncol": 2, "handlelength": 2.2, **options},
    )  # fmt: skip
