"""What a command says while it runs, and how it ends: progress and words on standard error, exit codes."""

from __future__ import annotations

import errno
import io
import sys
import time
from typing import Final

__all__ = ["ProgressLine", "open_streams"]

DONE: Final = 0
NO: Final = 1
MISUSE: Final = 2
UNDECIDED: Final = 3
ASSUMED: Final = 4
INTERNAL: Final = 70
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class _ClosedOutput(io.TextIOBase):
    """Standard output that somebody closed: what is written there must not be lost in silence."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "is closed", "standard output")


def open_streams() -> None:
    """Put something in the place of standard streams that were closed, which Python leaves as None."""
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = io.StringIO()


class ProgressLine:
    """Progress on standard error: one line rewritten on a terminal, else a plain line now and then."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._label = ""
        self._last = 0.0
        self._width = 0

    def __call__(self, label: str, fraction: float) -> None:
        if self._quiet:
            return
        now = time.monotonic()
        if self._terminal:
            if now - self._last < 0.1 and fraction < 1.0 and label == self._label:
                return
            text = f"{label} {100 * fraction:3.0f} %"
            sys.stderr.write("\r" + text.ljust(self._width))
            sys.stderr.flush()
            self._width = len(text)
        elif label != self._label or now - self._last >= 20.0:
            # The first of a label always, so that a log tells what was done; then one every 20 s.
            sys.stderr.write(f"{label}\n" if label != self._label else f"{label} {100 * fraction:.0f} %\n")
            sys.stderr.flush()
        else:
            return
        self._label, self._last = label, now

    def clear(self) -> None:
        """Take the line off the terminal, so that words can follow."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0

    def say(self, text: str) -> None:
        """Write one line of words."""
        if not self._quiet:
            self.clear()
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
