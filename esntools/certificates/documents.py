"""The certificate as a document: what FORMAT.md describes, written and checked.

Nothing here decides anything. A document is built from a candidate witness (floating-point numbers, read as
the dyadic rationals that they are); `check_certificate` hands it to the independent checker.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from esntools import files
from esntools._typing import Document, FloatArray
from esntools.certificates import check
from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

__all__ = [
    "FORMAT",
    "VERSION",
    "CheckResult",
    "array_section",
    "check_certificate",
    "claim_section",
    "network_section",
    "proved_document",
    "refuted_document",
]

FORMAT: Final = "esntools-certificate"
VERSION: Final = 1


@final
@dataclass(frozen=True)
class CheckResult:
    """What the independent checker says about a certificate.

    Attributes
    ----------
    valid : bool
        Whether the document proves what it claims.
    verdict : str
        ``"proved"`` or ``"refuted"`` when valid, else ``"invalid"`` or ``"undecided"`` (newer format version,
        unknown activation, too large).
    reason : str
        One sentence: what is established, or what is wrong.
    seconds : float
        How long the check took.
    """

    valid: bool
    verdict: str
    reason: str
    seconds: float


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


def _document(
    network: EchoStateNetwork, verdict: str, theorem: str, notes: Document, **sections: Any
) -> Document:
    return {
        "format": FORMAT,
        "version": VERSION,
        "verdict": verdict,
        "theorem": theorem,
        "source": check.THEOREMS[theorem][1],
        "network": network_section(network),
        **sections,
        "notes": {"about": "Nothing in these notes is verified.", **files.provenance(), **notes},
    }


def proved_document(
    network: EchoStateNetwork,
    theorem: str,
    inputs: InputClass,
    *,
    rate: float,
    slopes: tuple[FloatArray, FloatArray],
    box_steps: int | None,
    witness: Mapping[str, FloatArray],
    notes: Document,
) -> Document:
    """Return the document that claims contraction by `rate` per step.

    Parameters
    ----------
    box_steps : int or None
        How often the box of states was propagated to find `slopes`; None for slopes of the whole line.
    """
    n = network.n_units
    low, high = (np.broadcast_to(s, (n,)) for s in slopes)
    return _document(
        network, "proved", theorem, notes,
        claim={
            "inputs": claim_section(AnyInput() if box_steps is None else inputs),
            "states": "all" if box_steps is None else "box",
            "rate": float(rate).hex(),
        },
        slopes={
            "range": "global" if box_steps is None else "box",
            "steps": 0 if box_steps is None else box_steps,
            "low": array_section(low),
            "high": array_section(high),
        },
        witness={name: array_section(array) for name, array in witness.items()},
    )  # fmt: skip


def refuted_document(
    network: EchoStateNetwork, theorem: str, inputs: InputClass, *, witness: Document, notes: Document
) -> Document:
    """Return the document that claims that states are not forgotten under some admissible constant input."""
    return _document(
        network, "refuted", theorem, notes, claim={"inputs": claim_section(inputs)}, witness=witness
    )  # fmt: skip


def check_certificate(document_or_path: Document | str | Path) -> CheckResult:
    """Check a certificate with the independent checker, which recomputes everything exactly.

    Parameters
    ----------
    document_or_path : dict, str or Path
        A certificate, or the JSON file that holds one.

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
    try:
        if isinstance(document_or_path, dict):
            document = document_or_path
        else:
            document = _read(Path(document_or_path))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidInputError(
                "certificate", "not an esntools certificate", f"the key 'format' must be {FORMAT!r}"
            )
        reason = check.check(document)
    except check.Invalid as error:
        return CheckResult(False, "invalid", str(error), time.perf_counter() - start)
    except check.Undecided as error:
        return CheckResult(False, "undecided", str(error), time.perf_counter() - start)
    return CheckResult(True, str(document["verdict"]), reason, time.perf_counter() - start)


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
        raise InvalidInputError(str(path), "not JSON", "a certificate is a JSON file") from None
