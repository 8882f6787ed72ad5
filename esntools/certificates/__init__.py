"""Verdicts on the echo state property that can be checked without trusting us."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esntools.certificates.certify import certify_esp as certify_esp
    from esntools.certificates.documents import CheckResult as CheckResult
    from esntools.certificates.documents import check_certificate as check_certificate
    from esntools.certificates.sectors import BoundReached as BoundReached
    from esntools.certificates.verdicts import Certified as Certified
    from esntools.certificates.verdicts import Inconclusive as Inconclusive
    from esntools.certificates.verdicts import Refuted as Refuted
    from esntools.certificates.verdicts import Verdict as Verdict

__all__ = [
    "BoundReached",
    "Certified",
    "CheckResult",
    "Inconclusive",
    "Refuted",
    "Verdict",
    "certify_esp",
    "check_certificate",
]

# Loaded on first use, so that `python -m esntools.certificates.check` finds the checker not yet imported.
_HOMES = {
    "BoundReached": "sectors",
    "certify_esp": "certify",
    "CheckResult": "documents",
    "check_certificate": "documents",
    "Certified": "verdicts",
    "Inconclusive": "verdicts",
    "Refuted": "verdicts",
    "Verdict": "verdicts",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
