"""A state and the frame of its perturbations, moved on together step by step."""

from __future__ import annotations

import math
from typing import Final, Protocol

import numpy as np
import scipy.linalg

from esntools._typing import FloatArray
from esntools.lyapunov import loops
from esntools.maps import Map

__all__ = ["AUDIT_ALL", "LONGEST", "SPREAD", "SPREAD_OF_ALL", "Mapped", "Stepped", "Tangent"]

# Between two reorthonormalisations the columns may come to differ in length by this factor (as a logarithm):
# the smaller loses that many digits to the larger. An estimate: single stretches spread further.
SPREAD: Final = math.log(1e4)
# The sum of all exponents is to agree with the determinant to nearly all digits.
SPREAD_OF_ALL: Final = math.log(20.0)
LONGEST: Final = 50
# Beyond this many units the sum rule is checked at the beginning of each block only, where a determinant
# takes a decomposition.
AUDIT_ALL: Final = 32
# Up to so many numbers in a frame the compiled decomposition is faster than LAPACK's.
_SMALL_FRAME: Final = 4000


class Tangent(Protocol):
    """What the estimate of a spectrum asks for.

    `audited` and `log_det` add up, over the steps at which the sum rule is checked, the growth of the whole
    frame and log |det DG|; both stay 0 where the frame is not square.
    """

    x: FloatArray
    audited: float
    log_det: float

    def settle(self, first: int, last: int) -> None:
        """Advance the state alone by the steps first ... last - 1."""

    def start(self, Q: FloatArray) -> None:
        """Take Q, with orthonormal columns, for the frame."""

    def grow(self, first: int, last: int) -> FloatArray:
        """Advance state and frame; return the logarithms of the diagonal of R over all these steps."""


class Stepped:
    """A frame that is moved step by step, and made orthonormal when its columns have drifted apart."""

    def __init__(self, *, audit: bool, audit_all: bool) -> None:
        self.audit, self.audit_all = audit, audit_all
        self.spread = SPREAD_OF_ALL if audit else SPREAD
        self.audited = self.log_det = 0.0
        self.pace = np.array([1.0, 0.0])

    def push(self, k: int, audit: bool = False) -> float:
        """Do step k; with `audit` return log |det DG|."""
        raise NotImplementedError

    def orthonormalise(self) -> FloatArray:
        """Replace the frame by its orthonormal factor; return the logarithms of the diagonal of R."""
        raise NotImplementedError

    def grow(self, first: int, last: int) -> FloatArray:
        growth = np.zeros(self.n_columns)
        audit = self.audit
        i = first
        with np.errstate(over="ignore", invalid="ignore"):
            while i < last:
                stretch = min(int(self.pace[0]), last - i)
                log_det = 0.0
                for k in range(i, i + stretch):
                    log_det += self.push(k, audit)
                logs = self.orthonormalise()
                growth += logs
                if audit:
                    self.log_det += log_det
                    self.audited += float(logs.sum())
                    audit = self.audit_all
                i += stretch
                loops.next_pace(logs, stretch, self.pace, self.spread, LONGEST)
        return growth

    @property
    def n_columns(self) -> int:
        raise NotImplementedError

    @property
    def frame(self) -> FloatArray:
        """The frame's columns; writing to it changes the frame."""
        raise NotImplementedError


class Mapped(Stepped):
    """Any system with a step and a Jacobian-vector product."""

    def __init__(self, system: Map, u: FloatArray | None, x: FloatArray, *, audit: bool) -> None:
        super().__init__(audit=audit, audit_all=system.n_units <= AUDIT_ALL)
        self.system, self.u, self.x = system, u, x
        self.X = np.zeros((len(x), 0))
        # One evaluation for both, where the system offers it.
        self.together = getattr(system, "tangent", None)

    def settle(self, first: int, last: int) -> None:
        for k in range(first, last):
            self.x = self.system.step(self.x, None if self.u is None else self.u[k])

    def start(self, Q: FloatArray) -> None:
        self.X = np.ascontiguousarray(Q)
        self.pace = np.array([1.0, 0.0])

    def push(self, k: int, audit: bool = False) -> float:
        u = None if self.u is None else self.u[k]
        log_det = 0.0
        if self.together is not None:
            x, X = self.together(self.x, np.eye(len(self.x)) if audit else self.X, u)
        else:
            x = self.system.step(self.x, u)
            X = self.system.jacobian(self.x, u) if audit else self.system.jacobian_vector(self.x, self.X, u)
        if audit:
            log_det = float(np.linalg.slogdet(X)[1])
            X = X @ self.X
        self.x = x
        self.X = np.ascontiguousarray(X)
        return log_det

    def orthonormalise(self) -> FloatArray:
        logs = np.empty(self.X.shape[1])
        if self.X.size <= _SMALL_FRAME:
            loops.orthonormalise(self.X, 0, self.X.shape[1], logs)
            return logs
        Q, R = scipy.linalg.qr(self.X, mode="economic", check_finite=False)
        self.X = np.ascontiguousarray(Q)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.abs(np.diag(R))))

    @property
    def n_columns(self) -> int:
        return int(self.X.shape[1])

    @property
    def frame(self) -> FloatArray:
        return self.X
