"""The command line as it runs: a command is found and called, an error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from esntools.cli.arguments import Misuse, parse
from esntools.cli.console import BROKEN_PIPE, DONE, INTERNAL, INTERRUPTED, MISUSE, ProgressLine, open_streams
from esntools.cli.values import join_negative
from esntools.errors import EsntoolsError, EsntoolsWarning

__all__ = ["main"]


def _one_line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was left half-written"
    if isinstance(error, MemoryError):
        return "memory: not enough; the work must fit into it; try fewer units, steps or rows"
    if isinstance(error, OSError) and error.filename is not None and not isinstance(error, EsntoolsError):
        return f"{error.filename}: {error.strerror or error}; must be accessible"
    if isinstance(error, OSError) and not isinstance(error, EsntoolsError):
        # Every file that is opened has a name; without one it is a stream that was open before.
        return f"standard output: {error.strerror or error}; must take what is written"
    return " ".join(str(error).split()) or type(error).__name__


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    return MISUSE if isinstance(error, (EsntoolsError, OSError, MemoryError, Misuse)) else INTERNAL


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    open_streams()
    arguments = join_negative(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    progress = ProgressLine(quiet="--quiet" in arguments or "-q" in arguments)

    def show_warning(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, EsntoolsWarning):
            progress.clear()
            sys.stderr.write(f"esntools: warning: {' '.join(str(message).split())}\n")

    try:
        with warnings.catch_warnings():
            # A library's remark about itself is no business of the person who asked.
            warnings.simplefilter("default" if debug else "ignore")
            warnings.simplefilter("always", EsntoolsWarning)
            if not debug:
                warnings.showwarning = show_warning
            code = _run(arguments, progress)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Python would complain again at exit when it flushes what cannot be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else MISUSE
    except (Exception, KeyboardInterrupt) as error:
        code = _exit_code(error)
        progress.clear()
        if debug:
            traceback.print_exc()
        line = _one_line(error)
        if code == INTERNAL:
            line = f"{type(error).__name__}: {line}; this is a defect of esntools; --debug shows where"
        sys.stderr.write(f"esntools: {line}\n")
        return code


def _run(arguments: list[str], progress: ProgressLine) -> int:
    options = parse(arguments)
    if options.version:
        from esntools import __version__

        sys.stdout.write(f"esntools {__version__}\n")
        return DONE
    if options.command is None:
        raise Misuse("COMMAND: missing; say what to do; see esntools --help")
    from esntools.cli import commands
    from esntools.cli.sources import check_outputs_are_not_inputs

    check_outputs_are_not_inputs(options)
    return commands.COMMANDS[options.command](options, progress)


if __name__ == "__main__":
    sys.exit(main())
