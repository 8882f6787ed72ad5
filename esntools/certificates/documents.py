"""The certificate as a document: what FORMAT.md describes, written and checked.

Nothing here decides anything. A document is built from a candidate witness (floating-point numbers, read as
the dyadic rationals that they are); `check_certificate` hands it to the independent checker.
"""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from esntools import files
from esntools._typing import Document, FloatArray
from esntools.certificates import check
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

if TYPE_CHECKING:
    from esntools.certificates.sectors import Candidate

__all__ = [
    "FORMAT",
    "VERSION",
    "CheckResult",
    "array_section",
    "check_certificate",
    "checked_budget",
    "claim_section",
    "local_document",
    "network_section",
    "proved_document",
    "refuted_document",
    "slopes_section",
    "witness_section",
]

FORMAT: Final = "esntools-certificate"
VERSION: Final = 2

_VERDICTS: Final = ("proved", "refuted", "local")
#: Characters of arrays, times the steps to follow, above which a check with a deadline runs in a process of
#: its own, which can be ended; below it takes about a second.
_LARGE: Final = 1_000_000


@final
@dataclass(frozen=True)
class CheckResult:
    """What the independent checker says about a certificate.

    Attributes
    ----------
    valid : bool
        Whether the document proves what it claims.
    verdict : str
        ``"proved"``, ``"refuted"`` or ``"local"`` when valid, else ``"invalid"`` or ``"undecided"`` (another
        format version, unknown activation, too large, out of time).
    reason : str
        One sentence: what is established, or what is wrong.
    seconds : float
        How long the check took.
    assumption : str or None
        What a valid certificate assumes about an activation that the checker does not know.
    """

    valid: bool
    verdict: str
    reason: str
    seconds: float
    assumption: str | None = None


def checked_budget(budget: object) -> None:
    """Refuse what is neither None nor a number of seconds.

    >>> checked_budget(None), checked_budget(2.5)
    (None, None)
    """
    if budget is not None and not (isinstance(budget, int | float | np.number) and budget >= 0):
        raise InvalidInputError(
            "budget", repr(budget), "must be a number of seconds, at least 0", "30.0 is half a minute"
        )


def _base64(array: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode()


def array_section(array: Any) -> Document:
    """Return the JSON form of a vector, a matrix or a sparse matrix: exact, canonical.

    Four-byte floats are used when they hold every number exactly.

    >>> array_section(np.array([0.5, 1.0]))
    {'shape': [2], 'type': 'f4', 'data': 'AAAAPwAAgD8='}
    """
    if not isinstance(array, np.ndarray):
        coordinates = array.tocoo()
        rows, columns, data = coordinates.row, coordinates.col, coordinates.data
        kept = np.flatnonzero(data != 0.0)
        kept = kept[np.lexsort((columns[kept], rows[kept]))]
        return {
            "shape": [int(n) for n in array.shape],
            "type": "f8",
            "data": _base64(data[kept], "<f8"),
            "rows": _base64(rows[kept], "<i4"),
            "columns": _base64(columns[kept], "<i4"),
        }
    array = np.asarray(array, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        short = bool(np.all(array.astype(np.float32).astype(np.float64) == array))
    kind = "f4" if short else "f8"
    return {"shape": [int(n) for n in array.shape], "type": kind, "data": _base64(array, f"<{kind}")}


def network_section(network: EchoStateNetwork) -> Document:
    """Return the network as a certificate embeds it: every weight exactly, and the content hash."""
    # A readout without outputs is none.
    readout = network.readout if network.n_outputs else None

    def optional(array: FloatArray | None) -> Document | None:
        return None if array is None else array_section(array)

    return {
        "hash": network.content_hash,
        "activation": network.activation.expression,
        "n_units": network.n_units,
        "n_inputs": network.n_inputs,
        "n_outputs": network.n_outputs,
        "W": array_section(network.W),
        "W_in": array_section(network.W_in),
        "W_fb": optional(network.W_fb),
        "b": array_section(network.b),
        "leak_rate": array_section(network.leak_rate),
        "W_out": optional(None if readout is None else readout.W_out),
        "W_sq": optional(None if readout is None else readout.W_sq),
        "b_out": optional(None if readout is None else readout.b_out),
    }


def claim_section(inputs: InputClass) -> Document:
    """Return the input class of a claim; a recorded series is claimed through its smallest box."""
    match inputs:
        case AnyInput():
            return {"kind": "any"}
        case Zero():
            return {"kind": "zero"}
        case Constant():
            return {"kind": "constant", "value": array_section(inputs.c)}
        case InputBox():
            return {"kind": "box", "low": array_section(inputs.low), "high": array_section(inputs.high)}
        case InputAlphabet():
            return {"kind": "alphabet", "symbols": array_section(inputs.symbols)}
        case InputSignal():
            return claim_section(inputs.hull())
    raise InvalidInputError(
        "inputs",
        type(inputs).__name__,
        "must be an input class",
        "see esntools.inputs: InputBox, AnyInput, ...",
    )


def slopes_section(
    range_: str,
    low: FloatArray,
    high: FloatArray,
    *,
    steps: int | None = None,
    ball: Document | None = None,
    centre: FloatArray | None = None,
    fine: FloatArray | None = None,
    radius: float | None = None,
) -> Document:
    """Return bounds of slopes with the region where they hold (FORMAT.md, sections 3.4 and 7.1).

    >>> sorted(slopes_section("box", np.zeros(2), np.ones(2), steps=3))
    ['high', 'low', 'range', 'steps']
    """
    more = {"steps": steps, "ball": ball, "centre": centre, "fine": fine, "radius": radius}
    given = {name: witness_section(value) for name, value in more.items() if value is not None}
    return {"range": range_, **given, "low": array_section(low), "high": array_section(high)}


def witness_section(witness: Any) -> Any:
    """Return the JSON form of a witness: arrays encoded, floats in hexadecimal, the rest as it is.

    Arrays of integers become lists of integers; mappings and sequences are gone through.

    >>> witness_section({"blocks": [{"units": np.array([0, 2]), "rate": 0.5}]})
    {'blocks': [{'units': [0, 2], 'rate': '0x1.0000000000000p-1'}]}
    """
    if isinstance(witness, Mapping):
        return {name: witness_section(value) for name, value in witness.items()}
    if isinstance(witness, list | tuple):
        return [witness_section(value) for value in witness]
    if isinstance(witness, np.ndarray) and np.issubdtype(witness.dtype, np.integer):
        return witness.tolist()
    if isinstance(witness, np.integer):
        return int(witness)
    if isinstance(witness, float | np.floating):
        return float(witness).hex()
    if isinstance(witness, np.ndarray) or hasattr(witness, "tocoo"):
        return array_section(witness)
    return witness


def _document(
    network: EchoStateNetwork,
    verdict: str,
    theorem: str,
    notes: Document,
    assumes: Document | None = None,
    **sections: Any,
) -> Document:
    return {
        "format": FORMAT,
        "version": VERSION,
        "verdict": verdict,
        "theorem": theorem,
        "source": check.THEOREMS[theorem][1],
        "network": network_section(network),
        "assumes": assumes,
        **sections,
        "notes": {"about": "Nothing in these notes is verified.", **files.provenance(), **notes},
    }


def proved_document(
    network: EchoStateNetwork,
    candidate: Candidate,
    inputs: InputClass,
    slopes: Document,
    *,
    states: str,
    washout: Document | None = None,
    notes: Document,
    assumes: Document | None = None,
) -> Document:
    """Return the document that claims contraction at the candidate's rate.

    Parameters
    ----------
    candidate : Candidate
        Theorem, rate and witness.
    inputs : InputClass
        The class claimed; for slopes on the line it must be `AnyInput`.
    slopes : dict
        From `slopes_section`.
    states : str
        ``"all"`` or ``"box"``.
    washout : dict, optional
        Spread, epsilon and steps, as FORMAT.md has them.
    assumes : dict, optional
        Bounds of the slopes of an activation that the checker does not know.
    """
    return _document(
        network, "proved", candidate.theorem, notes, assumes,
        claim={
            "inputs": claim_section(inputs),
            "states": states,
            "rate": float(candidate.rate).hex(),
            "washout": washout,
        },
        slopes=slopes,
        witness=witness_section(candidate.witness),
    )  # fmt: skip


def refuted_document(
    network: EchoStateNetwork, theorem: str, inputs: InputClass, *, witness: Document, notes: Document
) -> Document:
    """Return the document that claims that states are not forgotten under some input of the class."""
    return _document(
        network, "refuted", theorem, notes, claim={"inputs": claim_section(inputs)},
        witness=witness_section(witness),
    )  # fmt: skip


def local_document(
    network: EchoStateNetwork, theorem: str, *, claim: Document, witness: Document, notes: Document
) -> Document:
    """Return the document that claims something about some states only."""
    return _document(
        network, "local", theorem, notes, claim=witness_section(claim), witness=witness_section(witness)
    )  # fmt: skip


def check_certificate(
    document_or_path: Document | str | Path, *, deadline: float | None = None
) -> CheckResult:
    """Check a certificate with the independent checker, which recomputes everything exactly.

    Parameters
    ----------
    document_or_path : dict, str or Path
        A certificate, or the JSON file that holds one. A certificate whose network is in another file must
        be given by its path.
    deadline : float, optional
        A value of `time.perf_counter`. A certificate of a large network is then checked in a process of its
        own, which is ended at that time; the verdict is ``"undecided"``.

    Raises
    ------
    InvalidInputError
        When the file cannot be read or is not an esntools certificate at all.

    Examples
    --------
    >>> from esntools.certificates.certify import certify_esp
    >>> from esntools.inputs import AnyInput
    >>> from esntools.network import EchoStateNetwork
    >>> document = certify_esp(EchoStateNetwork([[0.5]]), AnyInput()).document
    >>> check_certificate(document).valid
    True
    """
    start = time.perf_counter()
    folder = None
    if not isinstance(document_or_path, (dict, str, Path)):
        raise InvalidInputError(
            "certificate", type(document_or_path).__name__, "must be a document or the path of one",
            "of a verdict, pass verdict.document",
        )  # fmt: skip
    try:
        if isinstance(document_or_path, dict):
            document = document_or_path
        else:
            document, folder = _read(Path(document_or_path)), Path(document_or_path).parent
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidInputError(
                "certificate", "not an esntools certificate", f"the key 'format' must be {FORMAT!r}"
            )
        if deadline is not None and deadline < math.inf and _effort(document) >= _LARGE:
            path = None if folder is None else Path(document_or_path)  # type: ignore[arg-type]
            return _apart(document, path, deadline, start)
        result = check.check(document, folder)
    except check.Invalid as error:
        return CheckResult(False, "invalid", str(error), time.perf_counter() - start)
    except (check.Undecided, MemoryError) as error:
        reason = str(error) or "out of memory"
        return CheckResult(False, "undecided", reason, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return CheckResult(True, str(document["verdict"]), result.sentence, seconds, result.assumption)


def _effort(document: Document) -> float:
    """Estimate the work of a check, in characters of arrays."""
    size = float(_size(document, _LARGE))
    slopes, claim, network = (document.get(name) for name in ("slopes", "claim", "network"))
    inputs = claim.get("inputs") if isinstance(claim, dict) else None
    if isinstance(slopes, dict):
        steps = slopes.get("steps")
        size *= 1.0 + (min(steps, 1000) / 20.0 if isinstance(steps, int) else 0.0)
        size *= 5.0 if slopes.get("range") == "secant" else 1.0
    if isinstance(inputs, dict) and isinstance(inputs.get("values"), dict):
        shape = inputs["values"].get("shape")
        size *= 1.0 + (
            shape[0] / 10.0 if isinstance(shape, list) and shape and isinstance(shape[0], int) else 0.0
        )
    if document.get("theorem") == "common-quadratic" and isinstance(network, dict):
        units = network.get("n_units")
        size += 400.0 * 2.0**units if isinstance(units, int) and 0 < units <= 16 else 0.0
    return size


def _size(node: Any, enough: int) -> int:
    """Count the characters of a document's arrays, up to about `enough`."""
    if isinstance(node, str):
        return len(node)
    total = 0
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        total += _size(child, enough - total)
        if total >= enough:
            break
    return total


def _apart(document: Document, path: Path | None, deadline: float, start: float) -> CheckResult:
    """Run the checker as a program of its own and end it at the deadline."""

    def ended(verdict: str, reason: str) -> CheckResult:
        return CheckResult(verdict in _VERDICTS, verdict, reason, time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "certificate.json"
            path.write_text(json.dumps(document), encoding="utf-8")
        left = deadline - time.perf_counter()
        if left <= 0.0:
            return ended("undecided", "out of time")
        try:
            run = subprocess.run(
                [sys.executable, check.__file__, str(path)], capture_output=True, text=True, check=False,
                timeout=min(left, 1e6), env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ended("undecided", "out of time")
    _, _, reason = run.stdout.strip().partition(": ")
    if run.returncode == 1:
        return ended("invalid", reason)
    if run.returncode not in (0, 4):
        return ended("undecided", reason or "the checker ended without an answer")
    result = ended(str(document["verdict"]), reason)
    if run.returncode == 0:
        return result
    return replace(result, assumption=reason.partition(", assuming that ")[2])


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > check.MAX_BYTES:
            raise check.Invalid(f"larger than {check.MAX_BYTES} bytes")
        return check.parse(path.read_bytes().decode())
    except OSError as error:
        raise InvalidInputError(
            str(path), error.strerror or str(error), "a readable file is needed"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise InvalidInputError(
            str(path), "not JSON", "a certificate is a JSON file",
            "where it was cut off in copying, take the original or verify again",
        ) from None  # fmt: skip
