"""Verdicts on the echo state property that can be checked without trusting us: proved, refuted, inconclusive."""

from esntools.certificates.bounds import BoundReached
from esntools.certificates.certify import Certified, Inconclusive, Refuted, Verdict, certify_esp
from esntools.certificates.documents import CheckResult, check_certificate

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
