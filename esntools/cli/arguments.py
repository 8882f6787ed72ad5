"""What can be asked on the command line: commands, options, and how a wrong one is refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from esntools.cli.values import (
    at_least_one_or_all,
    box,
    duration,
    name_or_number,
    number,
    number_or_all,
    run_lengths,
    vector,
)
from esntools.errors import nearest_name

__all__ = ["Misuse", "make_parser", "parse"]

_EPILOG: Final = """\
exit codes:
    0  done; verify: proved; check: valid
    1  the answer is "refuted" (verify), "invalid" (check), "different" (compare) or "it errs" (diagnose)
    2  misuse: one line says the place, the value, the rule and the remedy
    3  could not decide: inconclusive (verify), beyond the checker (check), nothing found or not all
       proved (fixed-points and the other commands that search)
    4  proved (verify) or valid (check) under an assumption that the certificate names
   70  a defect of esntools; --debug shows where
  130  interrupted; no file is left half-written

Results go to files, or as JSON (a forecast as CSV) to standard output; words and progress go to
standard error. `esntools COMMAND --help` tells the options of a command.
"""


class Misuse(Exception):
    """The command line is wrong; the message is one line."""


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line and knows the nearest name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        # argparse: "argument --steps: ..."; ours: "forecast --steps: ...".
        command = self.prog.removeprefix("esntools").strip()
        choice = re.match(r"(.*): invalid choice: '?([^']*)'? \(choose from (.*)\)", message)
        if choice:
            near = nearest_name(choice.group(2), re.findall(r"[\w-]+", choice.group(3)))
            message = f"{choice.group(1)}: {choice.group(2)!r}; not a choice; {near}"
        message = re.sub(r"^argument ", "", message)
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            word = unknown.group(1).partition("=")[0]
            message = f"{word}: not understood"
            if not word.startswith("-"):
                message += "; one word too many; a path with blanks needs quotes"
            else:
                options = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
                message += "; " + nearest_name(word, options)
        group = re.match(r"one of the arguments (.*) is required", message)
        if group:
            message = f"options: missing; one of {', '.join(group.group(1).split())} is required"
        twice = re.match(r"(.*): not allowed with argument (.*)", message)
        if twice:
            message = f"{twice.group(1)}: given with {twice.group(2)}; only one of them may stand; choose one"
        message = re.sub(
            r": expected (one|at least one) argument$",
            f": without a value; must have one; see esntools {command} --help",
            message,
        )
        missing = re.match(r"the following arguments are required: (.*)", message)
        if missing:
            message = f"{missing.group(1)}: missing; required; see esntools {command} --help".replace(
                "  ", " "
            )
        raise Misuse(f"{command} {message}".strip() if command else message)


# -- the commands --------------------------------------------------------------------------------------------


def _data_options(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--column", action="append", metavar="NAME",
        help="column by name or position from 0; several times for a vector series; '*' for all",
    )  # fmt: skip
    data.add_argument("--time-column", metavar="NAME", help="column of times (default: found by its name)")
    data.add_argument("--dt", type=number(above=0), metavar="DT", help="time step (default: from the data)")


def _fit_options(parser: argparse.ArgumentParser) -> None:
    fit = parser.add_argument_group("network (what is left out is chosen by closed-loop validation)")
    for name, type_, text in (
        ("n-units", number(1, whole=True), "number of units"),
        ("spectral-radius", number(above=0), "spectral radius of W"),
        ("leak-rate", number(high=1, above=0), "leak rate a"),
        ("input-scaling", number(above=0), "scale of W_in"),
        ("bias-scaling", number(0), "scale of b"),
        ("connectivity", number(high=1, above=0), "density of W"),
        ("ridge", number(0), "ridge penalty, relative to the mean of the Gram diagonal"),
        ("washout", number(0, whole=True), "steps dropped before training"),
        ("candidates", number(1, whole=True), "how many settings are tried"),
        ("n-train", number(20, whole=True), "train on the first steps only"),
        ("lyapunov-exponent", number(above=0), "known largest exponent, for Lyapunov times"),
    ):
        fit.add_argument(f"--{name}", type=type_, metavar="X", help=text)
    fit.add_argument("--linear-readout", action="store_true", help="read out x alone, without its squares")


def _seed_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=number(0, whole=True), metavar="N", help="seed of the random numbers (default: 0)"
    )


def _output_option(parser: argparse.ArgumentParser, what: str, **options: Any) -> None:
    parser.add_argument("-o", "--output", metavar="PATH", help=what, **options)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="esntools",
        description="Fit an echo state network to a series, verify it, explain it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    common = _Parser(add_help=False)
    common.add_argument("--quiet", "-q", action="store_true", help="no progress and no summary")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, text: str, source: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common]
        )
        if source:
            command.add_argument("source", metavar="SOURCE", help=source)
        return command

    zoo = "a name in the zoo, or a folder with model.toml"
    data = f"a data file (CSV, TSV, Parquet, npy, npz), {zoo}"
    model = "a model file written by fit"

    fit = add("fit", "fit a network to a series and write the model file", data)
    _data_options(fit)
    fit.add_argument(
        "--input", action="append", metavar="NAME", help="column that drives the network as input u"
    )
    fit.add_argument(
        "--task", choices=["forecast", "observe", "map"], help="what is learnt (default: forecast)"
    )
    _fit_options(fit)
    _seed_option(fit)
    _output_option(fit, "model file (default: model.npz)", default="model.npz")

    forecast = add("forecast", "continue the series from where the training data ended, as CSV", model)
    forecast.add_argument(
        "--steps", type=number(1, whole=True), default=500, metavar="N", help="default: 500"
    )
    _output_option(forecast, "CSV file (default: standard output)")

    verify = add(
        "verify", "prove or refute the echo state property, with a certificate", f"{model}, or {zoo}"
    )
    verify.epilog = (
        "The verdict is about every input of the class, uniformly. That almost every input of a random "
        "process decides the state is another property, about which nothing is claimed."
    )
    _input_options(verify, closed_loop=True)
    verify.add_argument(
        "--budget", type=duration, metavar="TIME", default=60.0,
        help="time to search: seconds, or with a unit, as 90, 60s, 2m, 1h (default: 60s; 0 tries nothing)",
    )  # fmt: skip
    verify.add_argument(
        "--epsilon", type=number(above=0), metavar="E", default=1e-6,
        help="the proved washout is when states agree to this (default: 1e-6)",
    )  # fmt: skip
    verify.add_argument(
        "--repair", metavar="PATH", help="write a network that is proved, with W or the leak made smaller"
    )
    verify.add_argument(
        "--proof", metavar="PATH", help="write what the certificate proves, and why (.tex or .txt)"
    )
    _output_option(verify, "certificate (default: JSON on standard output)")

    check = add("check", "verify a certificate again by independent code")
    check.add_argument("source", metavar="CERTIFICATE", help="a certificate written by verify")

    _dynamics_commands(add, model, zoo)

    _excitable_commands(add, model, zoo)

    report = add("report", "fit, verify and explain, as one report", f"{data}; or {model}")
    report.add_argument(
        "--task", metavar="TASK",
        help="what a network in a model file was trained for: flip-flop:K, or a graph file as of diagnose",
    )  # fmt: skip
    _data_options(report)
    _fit_options(report)
    _seed_option(report)
    _output_option(report, "folder (default: reports/NAME)")

    add("models", "list the zoo, as JSON")
    return parser


def _starts_option(parser: argparse.ArgumentParser, default: int, what: str = "starting points") -> None:
    parser.add_argument(
        "--starts", type=number(1, whole=True), default=default, metavar="N",
        help=f"{what} (default: {default})",
    )  # fmt: skip


def _plot_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plot", metavar="PATH", help="draw it too (.svg, .pdf, .png)")


def _held_options(parser: argparse.ArgumentParser) -> None:
    at = parser.add_mutually_exclusive_group()
    at.add_argument("--closed-loop", action="store_true", help="of the network fed with its own output")
    at.add_argument("--input", type=vector, metavar="U,..", help="at this constant input (default: zero)")


def _dynamics_commands(add: Callable[..., argparse.ArgumentParser], model: str, zoo: str) -> None:
    json = "JSON file (default: standard output)"
    network = f"{model}, or {zoo}"

    fixed = add("fixed-points", "find the fixed points, their eigenvalues and the index sum", network)
    _held_options(fixed)
    how = fixed.add_mutually_exclusive_group()
    how.add_argument("--certify", action="store_true", help="prove each point that is found")
    how.add_argument(
        "--complete", action="store_true",
        help="prove that there is no other (few units, or a recurrence of low rank)",
    )  # fmt: skip
    fixed.add_argument(
        "--budget", type=duration, metavar="TIME", help="of --complete: 90, 60s, 2m, 1h (default: about 30s)"
    )
    _starts_option(fixed, 256)
    _seed_option(fixed)
    _output_option(fixed, json)

    orbits = add(
        "orbits", "find the periodic orbits of one period, their multipliers and the index sum", network
    )
    orbits.add_argument(
        "--period",
        type=number(1, whole=True),
        metavar="P",
        required=True,
        help="minimal period, in steps",
    )
    _held_options(orbits)
    _starts_option(orbits, 128)
    _seed_option(orbits)
    _output_option(orbits, json)

    change = add("bifurcations", "follow fixed points and orbits as a parameter changes", network)
    change.add_argument(
        "--parameter", choices=["gain", "bias", "leak-rate", "input"], default="gain",
        help="what changes: W is multiplied, b or u is added to, or every leak rate is set (default: gain)",
    )  # fmt: skip
    change.add_argument("--from", dest="start", type=number(), metavar="A", required=True, help="first value")
    change.add_argument("--to", dest="stop", type=number(), metavar="B", required=True, help="last value")
    change.add_argument(
        "--direction",
        type=vector,
        metavar="D,..",
        help="along which b or u changes (default: all alike)",
    )
    _held_options(change)
    change.add_argument(
        "--max-period", type=number(1, whole=True), default=4, metavar="P",
        help="follow doubled orbits up to this period (default: 4)",
    )  # fmt: skip
    _plot_option(change)
    _seed_option(change)
    _output_option(change, json)

    lyapunov = add("lyapunov", "estimate Lyapunov exponents with error bars", model)
    along = lyapunov.add_mutually_exclusive_group()
    along.add_argument("--closed-loop", action="store_true", help="of the closed loop (default)")
    along.add_argument("--signal", metavar="FILE", help="conditional exponents along this input series")
    lyapunov.add_argument("--column", action="append", metavar="NAME", help="columns of --signal")
    lyapunov.add_argument(
        "--exponents", type=at_least_one_or_all, default=3, metavar="N", help="how many, or all (default: 3)"
    )
    lyapunov.add_argument(
        "--steps", type=number(100, whole=True), default=20000, metavar="N", help="default: 20000"
    )
    _plot_option(lyapunov)
    _seed_option(lyapunov)
    _output_option(lyapunov, json)

    basins = add("basins", "find the attractors that random states reach, and their shares", network)
    _held_options(basins)
    _starts_option(basins, 1000, "random states")
    basins.add_argument(
        "--steps", type=number(1, whole=True), default=2000, metavar="N",
        help="within which a state normally arrives (default: 2000)",
    )  # fmt: skip
    basins.add_argument(
        "--resolution", type=number(2, 2000, whole=True), default=100, metavar="N",
        help="points along each side of the picture (default: 100)",
    )  # fmt: skip
    _plot_option(basins)
    _seed_option(basins)
    _output_option(basins, json)

    echo = add("echo-index", "count the responses that an input supports, with what is proved of it", network)
    _input_options(echo, closed_loop=False)
    echo.add_argument(
        "--runs",
        type=run_lengths,
        metavar="LO:HI",
        help="runs of one symbol last LO to HI steps (or LO:)",
    )
    echo.add_argument(
        "--dwell-times", action="store_true",
        help="how long the symbol with several responses must hold after runs of the others",
    )  # fmt: skip
    _starts_option(echo, 256, "random states")
    echo.add_argument(
        "--past", type=number(64, whole=True), default=4096, metavar="N", help="longest past (default: 4096)"
    )
    echo.add_argument("--budget", type=duration, metavar="TIME", default=60.0, help="default: 60s")
    _plot_option(echo)
    _seed_option(echo)
    _output_option(echo, json)

    compare = add("compare", "tell whether a learned attractor is the true one")
    compare.add_argument("source", metavar="TRUE", help=f"the true series: a data file, or {zoo}")
    compare.add_argument(
        "learned", metavar="LEARNED", help=f"a data file, or {model}, which then runs freely"
    )
    _data_options(compare)
    _plot_option(compare)
    _seed_option(compare)
    _output_option(compare, json)


def _excitable_commands(add: Callable[..., argparse.ArgumentParser], model: str, zoo: str) -> None:
    ena = add("ena", "extract the excitable network attractor as a graph", f"{model}, or {zoo}")
    ena.add_argument(
        "--metric", action="append", choices=["input", "state", "range", "subspace"],
        help="what a threshold measures: the amplitude of a pulse (default), a kick of the state, one that "
        "stays in its range, one in the directions that inputs cause; may be given several times, the first "
        "for the edges",
    )  # fmt: skip
    ena.add_argument(
        "--amplitude-cut", type=number_or_all, metavar="G",
        help="edges are thresholds up to this, or all (default: up to the largest gap between thresholds)",
    )  # fmt: skip
    ena.add_argument("--certify", action="store_true", help="prove lower bounds of the thresholds too")
    ena.add_argument(
        "--budget", type=duration, metavar="TIME", help="of --certify: 90, 60s, 2m (default: 120s)"
    )
    ena.add_argument("--input", type=vector, metavar="U,..", help="input between pulses (default: zero)")
    ena.add_argument(
        "--amplitude", type=number(above=0), metavar="G", help="amplitude of a unit pulse (default: 1)"
    )
    ena.add_argument(
        "--max-amplitude", type=number(above=0), metavar="G", help="largest pulse tried (default: 4)"
    )
    ena.add_argument(
        "--pulse-length", type=number(1, whole=True), metavar="N", help="steps a pulse lasts (default: 1)"
    )
    _plot_option(ena)
    _seed_option(ena)
    _output_option(ena, "graph file: .graphml, .gexf, .json or .dot (default: JSON on standard output)")

    diagnose = add(
        "diagnose", "say why a network errs at a task, and which errors come from what", f"{model}, or {zoo}"
    )
    diagnose.add_argument(
        "--task", metavar="TASK",
        help="flip-flop:K, or a graph file (default: that of the zoo's model). Edges carry a 'symbol'; "
        "nodes may carry an 'output' (a number or a list), and the graph 'inputs' (from symbols to lists). "
        "Without outputs, output k is 1 at node k, in the file's order; without inputs, line k carries "
        "symbol k, in sorted order",
    )  # fmt: skip
    diagnose.add_argument(
        "--signal",
        metavar="FILE",
        help="input of the run, zero or pulses of the task (default: random pulses)",
    )
    diagnose.add_argument("--column", action="append", metavar="NAME", help="columns of --signal")
    diagnose.add_argument("--time-column", metavar="NAME", help="column of times of --signal")
    diagnose.add_argument(
        "--steps",
        type=number(10, whole=True),
        metavar="N",
        help="length of the run with --task (default: 4000)",
    )
    diagnose.add_argument(
        "--pulse-probability", type=number(high=1, above=0), metavar="P", help="with --task (default: 0.02)"
    )
    diagnose.add_argument(
        "--noise",
        type=number(above=0),
        metavar="S",
        help="standard deviation of noise on every unit, to hold against thresholds",
    )
    diagnose.add_argument(
        "--grace", type=number(0, whole=True), default=0, metavar="N",
        help="steps from a pulse on in which the output is not judged (default: 0)",
    )  # fmt: skip
    diagnose.add_argument(
        "--n-train",
        type=number(20, whole=True),
        metavar="N",
        help="train a task of the zoo on the first steps only",
    )
    _plot_option(diagnose)
    _seed_option(diagnose)
    _output_option(diagnose, "JSON file (default: standard output)")

    design = add("design", "build a network whose excitable network attractor is a given graph")
    design.add_argument("source", metavar="GRAPH", help="a graph file: .graphml, .gexf, .json or .dot")
    design.add_argument(
        "--threshold", type=name_or_number, metavar="X",
        help="of every edge, or the name of the edge attribute that has it (default: threshold)",
    )  # fmt: skip
    design.add_argument(
        "--metric", choices=["input", "state", "drive"], help="what thresholds measure (default: input)"
    )
    design.add_argument(
        "--leak-rate", type=number(high=1, above=0), metavar="A", help="at most 0.5 (default: 0.25)"
    )
    design.add_argument("--activation", choices=["tanh", "logistic"], default="tanh", help="default: tanh")
    design.add_argument(
        "--padding",
        type=number(0, whole=True),
        default=0,
        metavar="N",
        help="further units that only follow (default: 0)",
    )
    design.add_argument("--shuffle", action="store_true", help="put the units into a random order")
    _seed_option(design)
    _output_option(design, "model file (default: model.npz)", default="model.npz")


def _input_options(parser: argparse.ArgumentParser, *, closed_loop: bool) -> None:
    what = parser.add_argument_group("inputs: what is asked about (one of)")
    one = what.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--inputs", type=box, metavar="LO:HI", help="every input that stays in the box, as -1:1 or -1:1,0:2"
    )
    one.add_argument("--zero", action="store_true", help="no input")
    one.add_argument("--constant", type=vector, metavar="U,..", help="one constant input")
    if closed_loop:
        one.add_argument("--any", action="store_true", help="every input, input weight and bias")
    one.add_argument("--signal", metavar="FILE", help="one recorded input series")
    if closed_loop:
        one.add_argument("--closed-loop", action="store_true", help="the network fed with its own output")
    else:
        one.add_argument(
            "--symbol", type=vector, action="append", metavar="U,..",
            help="inputs that take this value or that of another --symbol, in any order",
        )  # fmt: skip
    what.add_argument("--column", action="append", metavar="NAME", help="columns of --signal")
    what.add_argument("--time-column", metavar="NAME", help="column of times of --signal")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a command line, or raise `Misuse`."""
    parser = make_parser()
    commands = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    first = next((word for word in arguments if not word.startswith("-")), None)
    if first is not None and first not in commands:
        raise Misuse(f"{first}: no such command; {nearest_name(first, commands)}")
    options, unknown = parser.parse_known_args(arguments)
    if getattr(options, "budget", None) is not None and not getattr(options, "complete", True):
        raise Misuse("fixed-points --budget: given without --complete, whose time it limits")
    if getattr(options, "signal", "") is None:
        for name in ("column", "time_column"):
            if getattr(options, name, None):
                option = name.replace("_", "-")
                raise Misuse(f"{first} --{option}: given without --signal; it names a column of that file")
    if unknown:
        (commands[first] if first else parser).error(f"unrecognized arguments: {unknown[0]}")
    return options
