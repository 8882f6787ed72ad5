"""How a study runs: steps that may fail alone, the inputs that study.toml names, what is written down."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import scipy.linalg

from esntools import files
from esntools._typing import Document, FloatArray, Progress, RandomState
from esntools.certificates import Verdict as CertifiedVerdict
from esntools.certificates import certify_esp
from esntools.errors import EsntoolsError, InvalidInputError, nearest_name
from esntools.inputs import AnyInput, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork
from esntools.series import Series
from esntools.spec import FitSpec, StudySpec
from esntools.study.contraction import CertifiedRange, certified_range
from esntools.study.evidence import Evidence, estimate_forgetting
from esntools.study.findings import Verdict
from esntools.study.sentences import describe_inputs
from esntools.symbolic import Derivation
from esntools.zoo import ZooModel

__all__ = [
    "SHARE",
    "Steps",
    "ask",
    "certified_of",
    "chosen_seed",
    "content_digest",
    "evidence_of",
    "input_class",
    "settings_document",
    "source_document",
    "with_options",
]

if TYPE_CHECKING:
    from esntools.study.tasks import GivenNetwork

T = TypeVar("T")

#: Seconds after which a verdict begins no new attempt, so that a report comes in time.
BUDGET: Final = 6.0
#: The same for the closed loop, whose counterexamples are the more costly to check.
CLOSED_LOOP_BUDGET: Final = 10.0
#: Seconds for the edges of the certified range, and for that of a large network, whose check takes several.
_RANGE_SECONDS: Final = 4.0
_LARGE_RANGE_SECONDS: Final = 15.0
_LARGE: Final = 200

#: How much of the progress bar each step takes.
SHARE: Final = {
    "fit": 0.35, "forecast": 0.05, "climate": 0.05, "task": 0.05, "verify": 0.1, "derivation": 0.05,
    "fixed points": 0.1, "proofs": 0.05, "lyapunov": 0.1, "comparison": 0.05, "echo index": 0.05,
    "graph": 0.05, "diagnosis": 0.03, "phase": 0.02,
}  # fmt: skip


@dataclass
class Steps:
    """Runs the steps, keeps their times, and turns a refused one into a reason."""

    progress: Progress
    done: float = 0.0
    shown: float = 0.0
    not_done: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def tell(self, label: str, fraction: float) -> None:
        """Report progress of the whole study; an analysis that starts over does not move it back."""
        self.shown = min(1.0, max(self.shown, fraction))
        self.progress(label, self.shown)

    def run(self, name: str, step: Callable[[Progress], T], *, needs: object = True) -> T | None:
        """Return step(progress), or None with the reason kept; None at once when `needs` is None."""
        share, base = SHARE[name.partition(":")[0]], self.done
        self.done = min(1.0, base + share)
        if needs is None:
            self.not_done.setdefault(name, "an earlier step that it needs was not done")
            return None

        def inner(label: str, fraction: float) -> None:
            self.tell(label or name, base + share * fraction)

        self.tell(name, base)
        start = time.perf_counter()
        try:
            return step(inner)
        except (EsntoolsError, np.linalg.LinAlgError, scipy.linalg.LinAlgError, MemoryError) as error:
            self.not_done[name] = str(error).removeprefix(f"{name}: ") or type(error).__name__
            return None
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start


def content_digest(*arrays: FloatArray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def chosen_seed(rng: RandomState, default: int) -> int:
    if rng is None:
        return default
    return int(rng) if isinstance(rng, int | np.integer) else int(rng.integers(2**31))


def with_options(settings: StudySpec, options: dict[str, Any]) -> tuple[StudySpec, dict[str, float]]:
    """Return the settings with these fit options in them, and those that describe the data (dt, exponent)."""
    known = {f.name for f in fields(FitSpec)}
    data = {"dt", "lyapunov_exponent"}
    for name in options:
        if name not in known | data:
            raise InvalidInputError(
                f"run_study({name}=...)", repr(options[name]), "there is no such option",
                nearest_name(name, known | data),
            )  # fmt: skip
    changed = {name: value for name, value in options.items() if name in known}
    given = {name: float(value) for name, value in options.items() if name in data}
    return replace(settings, fit=replace(settings.fit, **changed)), given


def input_class(text: str, data: FloatArray | None, symbols: FloatArray | None, n_inputs: int) -> InputClass:
    """Return the inputs that ``verify.inputs`` of study.toml names; one interval stands for every input."""
    match text:
        case "zero":
            return Zero()
        case "any":
            return AnyInput()
        case "data" if data is not None:
            return InputSignal(data[~np.isnan(data).any(axis=1)]).hull()
        case "symbols" if symbols is not None and symbols.size:
            return InputAlphabet(symbols)
    try:
        ends = [[float(end) for end in part.split(":")] for part in text.split(",")]
        low, high = zip(*ends, strict=True)
    except ValueError:
        raise InvalidInputError(
            "verify.inputs", repr(text),
            'must be "data", "symbols", "zero", "any", "closed-loop" or a box such as "-1:1"',
        ) from None  # fmt: skip
    if len(low) == 1:
        low, high = low * n_inputs, high * n_inputs
    return InputBox(low, high)


def ask(
    steps: Steps,
    questions: list[tuple[str, EchoStateNetwork, InputClass]],
    candidates: tuple[FloatArray, ...] = (),
    *,
    from_data: bool = False,
) -> tuple[Verdict, ...]:
    """Ask for a verdict on each (key, network, inputs); `candidates` are states near fixed points.

    `from_data` says that the inputs of a driven network are the box around its data.
    """

    def answer(network: EchoStateNetwork, inputs: InputClass) -> Callable[[Progress], CertifiedVerdict]:
        closed = network.n_inputs == 0
        near, budget = (candidates, CLOSED_LOOP_BUDGET) if closed else ((), BUDGET)
        return lambda p: certify_esp(network, inputs, candidates=near, budget=budget, progress=p)

    verdicts = []
    for key, network, inputs in questions:
        name = "verify" if len(questions) == 1 else f"verify: {key}"
        done = steps.done
        result = steps.run(name, answer(network, inputs))
        steps.done = done + SHARE["verify"] / len(questions)
        if result is not None:
            closed = key == "closed loop"
            data = from_data and not closed
            about = "" if closed else f" under {describe_inputs(inputs, from_data=data)}"
            question = f"Does the {'closed loop' if closed else 'network'} forget where it started{about}?"
            verdicts.append(Verdict(key, question, network, inputs, result, data))
    return tuple(verdicts)


def certified_of(
    steps: Steps, verdicts: tuple[Verdict, ...], derivation: Derivation | None
) -> CertifiedRange | None:
    """Return the certified range for the last question that is not about the closed loop."""
    driven = [v for v in verdicts if v.key != "closed loop" and v.result.bounds]
    if not driven:
        return None
    v = driven[-1]
    seconds = _RANGE_SECONDS if v.network.n_units <= _LARGE else _LARGE_RANGE_SECONDS
    return steps.run(
        "derivation: certified range",
        lambda p: certified_range(
            v.network, v.inputs, verdict=v.result, derivation=derivation, seconds=seconds, progress=p
        ),
    )


def evidence_of(
    steps: Steps, verdicts: tuple[Verdict, ...], data: FloatArray | None = None
) -> Evidence | None:
    """Return trajectories under the data, or under one input of the last question that is not closed-loop."""
    driven = [v for v in verdicts if v.key != "closed loop"]
    if not driven:
        return None
    v = driven[-1]
    inputs = v.inputs
    if data is not None:
        # An unbroken part: a gap has no input.
        whole = np.isnan(data).any(axis=1)
        end = int(np.argmax(whole)) if whole.any() else len(data)
        if end < 50:
            return None
        inputs = InputSignal(data[:end])
    return steps.run("verify: evidence", lambda p: estimate_forgetting(v.network, inputs, progress=p))


def source_document(source: ZooModel | Series | GivenNetwork, **facts: Any) -> Document:
    if isinstance(source, ZooModel):
        about = source.to_document()
        return {"zoo": source.name, "references": about["references"], **facts}
    if isinstance(source, Series):
        return {"file": source.source, "references": [], **facts}
    return {"network": source.file, "task": source.task_name, "references": [], **facts}


def settings_document(settings: StudySpec, seed: int, source: ZooModel | Series | GivenNetwork) -> Document:
    command = f"esntools report {source.name}"
    if isinstance(source, Series):
        command = f"esntools report {source.source} --column {source.name}"
    elif not isinstance(source, ZooModel):
        command = f"esntools report {source.file}" + (
            f" --task {source.task_name}" if source.task_name else ""
        )
    return {"seed": seed, "study": asdict(settings), "command": command, **files.provenance()}
