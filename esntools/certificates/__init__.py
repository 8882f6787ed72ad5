"""Verdicts on the echo state property that can be checked without trusting us."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esntools.certificates.attracting import EchoIndexBound as EchoIndexBound
    from esntools.certificates.attracting import certify_echo_index as certify_echo_index
    from esntools.certificates.certify import certify_esp as certify_esp
    from esntools.certificates.documents import CheckResult as CheckResult
    from esntools.certificates.documents import check_certificate as check_certificate
    from esntools.certificates.large_input import LargeInputThreshold as LargeInputThreshold
    from esntools.certificates.large_input import find_large_input_threshold as find_large_input_threshold
    from esntools.certificates.repair import certify_repair as certify_repair
    from esntools.certificates.sectors import BoundReached as BoundReached
    from esntools.certificates.tube import NoTube as NoTube
    from esntools.certificates.tube import Tube as Tube
    from esntools.certificates.tube import certify_tube as certify_tube
    from esntools.certificates.verdicts import Certified as Certified
    from esntools.certificates.verdicts import Inconclusive as Inconclusive
    from esntools.certificates.verdicts import Refuted as Refuted
    from esntools.certificates.verdicts import Repair as Repair
    from esntools.certificates.verdicts import Verdict as Verdict
    from esntools.certificates.verdicts import Washout as Washout

# Loaded on first use, so that `python -m esntools.certificates.check` finds the checker not yet imported.
_HOMES = {
    "BoundReached": "sectors",
    "Certified": "verdicts",
    "CheckResult": "documents",
    "EchoIndexBound": "attracting",
    "Inconclusive": "verdicts",
    "LargeInputThreshold": "large_input",
    "NoTube": "tube",
    "Refuted": "verdicts",
    "Repair": "verdicts",
    "Tube": "tube",
    "Verdict": "verdicts",
    "Washout": "verdicts",
    "certify_echo_index": "attracting",
    "certify_esp": "certify",
    "certify_repair": "repair",
    "certify_tube": "tube",
    "check_certificate": "documents",
    "find_large_input_threshold": "large_input",
}

__all__ = [
    "BoundReached",
    "Certified",
    "CheckResult",
    "EchoIndexBound",
    "Inconclusive",
    "LargeInputThreshold",
    "NoTube",
    "Refuted",
    "Repair",
    "Tube",
    "Verdict",
    "Washout",
    "certify_echo_index",
    "certify_esp",
    "certify_repair",
    "certify_tube",
    "check_certificate",
    "find_large_input_threshold",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
