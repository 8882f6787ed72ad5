"""Verdicts on the echo state property that can be checked without trusting us: proved, refuted, inconclusive."""
