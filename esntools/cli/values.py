"""Values on the command line: how a number, a time, a vector or a box is written, and refused."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence

__all__ = [
    "at_least_one_or_all", "box", "duration", "join_negative", "name_or_number", "number", "number_or_all",
    "run_lengths", "vector",
]  # fmt: skip


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None, whole: bool = False
) -> Callable[[str], float]:
    """Return a converter for argparse that checks a range."""
    kind = "a whole number" if whole else "a number"
    if above is not None:
        kind += f" above {above:g}"
    if low is not None:
        kind += f" from {low:g}"
    if high is not None:
        kind += f", at most {high:g}"

    def convert(text: str) -> float:
        try:
            value: float = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        inside = (low is None or value >= low) and (above is None or value > above)
        if not (inside and (high is None or value <= high) and abs(value) < math.inf):
            raise argparse.ArgumentTypeError(f"{text!r}; must be {kind}")
        return value

    return convert


def duration(text: str) -> float:
    """Return the seconds that ``90``, ``60s``, ``2m`` or ``1.5h`` says."""
    said = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(s|m|h|)\s*", text)
    if said is None:
        raise argparse.ArgumentTypeError(f"{text!r}; must be seconds from 0, or a time as 60s, 2m or 1h")
    return float(said[1]) * {"s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}[said[2]]


def vector(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(abs(v) < math.inf for v in values):
        raise argparse.ArgumentTypeError(f"{text!r}; must be numbers separated by commas, as 0.5,-1")
    return values


def box(text: str) -> tuple[list[float], list[float]]:
    """Return the ends of ``LO:HI`` or ``LO:HI,LO:HI``."""
    low, high = [], []
    for part in text.split(","):
        try:
            a, b = (float(end) for end in part.split(":"))
        except ValueError:
            a, b = math.nan, math.nan
        if not (a <= b and abs(a) < math.inf and abs(b) < math.inf):
            raise argparse.ArgumentTypeError(
                f"{text!r}; must be LO:HI with LO <= HI, one for all inputs or one each, as -1:1,0:2"
            )
        low.append(a)
        high.append(b)
    return low, high


def run_lengths(text: str) -> tuple[int, int | None]:
    """Return the limits of ``LO:HI``, ``LO:`` or ``N`` (exactly N) steps."""
    said = re.fullmatch(r"(\d+)(:(\d*))?", text.strip())
    low = int(said[1]) if said else 0
    high = None if said is None or said[3] == "" else int(said[3] or low)
    if low < 1 or (high is not None and high < low):
        raise argparse.ArgumentTypeError(f"{text!r}; must be LO:HI, LO: or N, whole numbers of steps from 1")
    return low, high


def at_least_one_or_all(text: str) -> int | str:
    """Return a whole number from 1, or the word all."""
    if text == "all":
        return text
    try:
        return int(number(1, whole=True)(text))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}; must be a whole number from 1, or all") from None


def number_or_all(text: str) -> float:
    """Return a positive number, or infinity for the word all."""
    if text == "all":
        return math.inf
    try:
        return number(above=0)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r}; must be a number above 0, or all") from None


def name_or_number(text: str) -> float | str:
    """Return a positive number, or the text where it is none."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; must be a number above 0, or a name")
    return value


def join_negative(arguments: Sequence[str]) -> list[str]:
    """Write ``--inputs -1:1`` as ``--inputs=-1:1``, which argparse would take for an option."""
    joined: list[str] = []
    for word in arguments:
        value = re.match(r"-(\d|\.|inf|nan)", word) and joined and re.fullmatch(r"--[a-z-]+|-o", joined[-1])
        if value and joined[-1] != "-o":
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined
