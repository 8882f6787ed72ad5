"""`esntools verify` and `esntools check`: the verdict, what it means, how it was reached, what to change."""

from __future__ import annotations

import json
import math
import textwrap
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from esntools.cli.console import ASSUMED, DONE, NO, UNDECIDED, ProgressLine
from esntools.cli.sources import check_writable, count_inputs, emit, read_network, read_signal
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools.certificates import BoundReached, Certified, Inconclusive, Refuted, Repair
    from esntools.inputs import InputClass
    from esntools.network import EchoStateNetwork

__all__ = ["asked_inputs", "check_command", "say_paragraph", "verify_command"]

_HEAD: Final = ("rung", "factor", "proves", "up to gain", "none above", "seconds")


def asked_inputs(options: Namespace, network: EchoStateNetwork) -> InputClass:
    """Return the class of inputs that the options name."""
    from esntools.inputs import AnyInput, Constant, InputBox, InputSignal, Zero

    n = network.n_inputs
    if getattr(options, "any", False):
        return AnyInput()
    if options.zero or getattr(options, "closed_loop", False):
        return Zero()
    if options.signal is not None:
        u = read_signal(options, n).values
        return InputSignal(u if u.ndim == 2 else u[:, None])
    if options.constant is not None:
        count_inputs("--constant", len(options.constant), n)
        return Constant(options.constant * (n if len(options.constant) == 1 else 1))
    low, high = options.inputs
    count_inputs("--inputs", len(low), n)
    repeat = n if len(low) == 1 else 1
    return InputBox(low * repeat, high * repeat)


def say_paragraph(progress: ProgressLine, text: str) -> None:
    """Say a paragraph in lines that a terminal holds."""
    for line in textwrap.wrap(text, 100, subsequent_indent="    ", break_on_hyphens=False):
        progress.say(line)


# -- words ---------------------------------------------------------------------------------------------------


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def _gains(bound: BoundReached, best: dict[str, float]) -> bool:
    """Whether a rung gets farther on the states that the inputs leave than on all."""
    name, on, _ = bound.name.partition(" on ")
    return not on or bound.value < 0.995 * best.get(name, math.inf)


def ladder_table(result: Certified | Refuted | Inconclusive) -> list[str]:
    """Return the ladder as aligned lines: what was tried, then what was not and why."""
    best = {b.name: b.value for b in result.bounds}
    shown = [b for b in result.bounds if b.proves or _gains(b, best)]
    rows = [
        (
            b.name, _number(b.value) or "no bound", "yes" if b.proves else "no", _number(b.critical_gain),
            _number(b.dual), f"{b.seconds:.2f}",
        )
        for b in shown
    ]  # fmt: skip
    if not rows and not result.skipped:
        return []
    lines = ["The ladder: a rung proves when its factor is below 1; gains are multiples of W."]
    if rows:
        widths = [max(len(row[k]) for row in [_HEAD, *rows]) for k in range(len(_HEAD))]
        for row in [_HEAD, *rows]:
            cells = [
                cell.ljust(w) if k in (0, 2) else cell.rjust(w)
                for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
    lines += [f"  {s.name}: not tried; {s.reason}" for s in result.skipped]
    return lines


def _bracket(result: Certified | Refuted | Inconclusive, network: EchoStateNetwork) -> str:
    """Return the edges of what is certified, in gain and in spectral radius."""
    proved, refuted = result.proved_gain, result.refuted_gain
    known = proved is not None and not (proved == 1.0 and result.verdict == "proved")
    if not known and (refuted is None or refuted == 1.0):
        return ""
    radius = network.spectral_radius()

    def edge(gain: float) -> str:
        return f"{gain * radius:.4g} (W times {gain:.4g})"

    parts = []
    if proved is not None:
        parts.append(f"certified up to {edge(proved)}")
    if refuted is not None:
        parts.append(f"refuted at {edge(refuted)}")
    between = "; open between" if len(parts) == 2 else ""
    return f"Bracket, in spectral radius: {', '.join(parts)}{between}."


def _write_repair(
    options: Namespace, result: Certified | Refuted | Inconclusive, repairs: tuple[Repair, ...],
    network: EchoStateNetwork, progress: ProgressLine,
) -> None:  # fmt: skip
    path = options.repair
    if result.verdict == "proved":
        progress.say(f"{path}: not written; nothing needs repair")
        return
    if not repairs:
        why = "the network has feedback" if network.W_fb is not None else "none was found in the time given"
        progress.say(f"{path}: not written; no repair: {why}")
        return
    repair = repairs[0]
    repair.network.save(path)
    progress.say(f"{path}: the repaired network, {repair.sentence}; the checker has agreed")
    if repair.network.readout is not None:
        progress.say("  its readout was made for the other weights; fit it again")


def _write_proof(
    path: str, document: dict[str, Any] | None, network: EchoStateNetwork, progress: ProgressLine
) -> None:
    from esntools.files import write_text
    from esntools.symbolic import proof_page

    if document is None or document.get("format") != "esntools-certificate":
        progress.say(f"{path}: not written; nothing is proved or refuted")
        return
    page = proof_page(document, network)
    write_text(Path(path), page.latex() if path.lower().endswith(".tex") else page.text())
    progress.say(f"{path}: what is certified, and why")


def verify_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.certificates.certify import certify_esp
    from esntools.certificates.verdicts import Certified, Inconclusive, meaning
    from esntools.study.evidence import estimate_forgetting

    check_writable(options.output)
    check_writable(options.repair, (".npz",))
    check_writable(options.proof, (".tex", ".txt"))
    network = read_network(options.source)
    if options.closed_loop:
        network = network.closed_loop()
    inputs = asked_inputs(options, network)
    result = certify_esp(
        network, inputs, budget=options.budget, bracket=True, epsilon=options.epsilon, progress=progress
    )
    repairs = () if isinstance(result, Certified) else result.repairs
    # Written before the words: who waits for the file should not wait for the evidence.
    if options.output is None:
        emit(result.document, None)
    else:
        result.save(options.output)
    means, means_not = meaning(result)
    say_paragraph(progress, result.sentence)
    say_paragraph(progress, f"It means: {means}")
    say_paragraph(progress, f"It does not mean: {means_not}")
    for line in ladder_table(result):
        progress.say(line)
    say_paragraph(progress, _bracket(result, network))
    for repair in repairs:
        say_paragraph(progress, f"Repair: {repair.sentence}.")
    local = result.local if isinstance(result, Inconclusive) else None
    if isinstance(result, Certified) and result.washout is not None and result.signal_washout is not None:
        say_paragraph(
            progress,
            f"Washout: {result.washout.steps} steps for every series within its range, "
            f"{result.signal_washout.steps} for this one (states agree to {result.washout.epsilon:g}).",
        )
    if local is not None:
        say_paragraph(progress, f"Certified, but only locally: {local.sentence.removeprefix('Proved: ')}")
    if options.budget > 0.0:
        evidence = estimate_forgetting(network, inputs)
        say_paragraph(progress, f"Evidence (simulated, not proved): {evidence.sentence}.")
    if options.repair is not None:
        _write_repair(options, result, repairs, network, progress)
    if options.proof is not None:
        shown = result.document if local is None else local.document
        _write_proof(options.proof, shown, network, progress)
    if options.output is not None and result.verdict != "inconclusive":
        progress.say(f"certificate: {options.output}; verify it with esntools check {options.output}")
        if isinstance(result, Certified) and result.local is not None:
            _save_local(result.local.document, Path(options.output).with_suffix(".local.json"), progress)
    elif options.output is not None:
        progress.say(f"the bounds reached: {options.output} (not a certificate)")
        if local is not None and local.document is not None:
            _save_local(local.document, Path(options.output).with_suffix(".local.json"), progress)
    if getattr(result, "assumption", None) is not None:
        return ASSUMED
    return {"proved": DONE, "refuted": NO}.get(result.verdict, UNDECIDED)


def _save_local(document: dict[str, object], path: Path, progress: ProgressLine) -> None:
    from esntools.files import is_special, write_json

    if is_special(path):
        return
    write_json(path, document)
    progress.say(f"local certificate: {path}; verify it with esntools check {path}")


# -- check ---------------------------------------------------------------------------------------------------


def _is_inconclusive(path: Path) -> bool:
    document = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(document, dict) and document.get("format") == "esntools-inconclusive"


def check_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.certificates import check_certificate

    path = Path(options.source)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InvalidInputError(str(path), what, "must be a certificate written by esntools verify")
    try:
        result = check_certificate(path)
    except InvalidInputError as error:
        if error.place != "certificate":
            raise
        if _is_inconclusive(path):
            raise InvalidInputError(
                str(path), "the bounds of an inconclusive verification",
                "only a proof or a refutation can be checked", "ask again: other inputs or a smaller radius",
            ) from None  # fmt: skip
        raise InvalidInputError(str(path), error.value, error.rule, error.remedy) from None
    assumption = getattr(result, "assumption", None)
    emit(
        {
            "certificate": str(path),
            "valid": result.valid,
            "verdict": result.verdict,
            "assumption": assumption,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
        },
        None,
    )
    word = "valid" if result.valid else "invalid"
    if result.verdict == "undecided":
        word = "not decided"
    progress.say(f"{word}{' under an assumption' if assumption else ''}: {result.reason}")
    if result.valid:
        return ASSUMED if assumption else DONE
    return UNDECIDED if result.verdict == "undecided" else NO
