"""Verdicts on the echo state property that can be checked without trusting us."""

from esntools.certificates.bounds import BoundReached
from esntools.certificates.certify import certify_esp
from esntools.certificates.documents import CheckResult, check_certificate
from esntools.certificates.verdicts import Certified, Inconclusive, Refuted, Verdict

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
