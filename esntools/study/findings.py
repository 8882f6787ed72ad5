"""What a study found, as one value and as a JSON document."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.climate import Climate, ForecastWindow
from esntools.inputs import InputClass
from esntools.network import EchoStateNetwork
from esntools.study.sentences import describe_inputs, summary_lines

if TYPE_CHECKING:
    import networkx

    from esntools.attractors import AttractorComparison
    from esntools.certificates import Certified, Inconclusive, Refuted
    from esntools.echo_index import DwellTimes, EchoIndex
    from esntools.excitable.diagnosis import Diagnosis
    from esntools.fixed_points import EquilibriumMatch, FixedPoints
    from esntools.lyapunov import LyapunovSpectrum
    from esntools.study.contraction import CertifiedRange
    from esntools.study.dynamics import ProvedPoints
    from esntools.study.evidence import Evidence
    from esntools.study.phase import PhasePlane
    from esntools.symbolic import Derivation
    from esntools.training import Fit

__all__ = ["Study", "TaskRun", "Verdict", "study_document"]

STUDY_FORMAT: Final = "esntools-study"
STUDY_VERSION: Final = 1


@final
@dataclass(frozen=True, eq=False)
class TaskRun:
    """A trained network doing its task on inputs that it was not trained on.

    Parameters
    ----------
    u : ndarray, shape (n_steps, n_inputs)
    target, output : ndarray, shape (n_steps, n_outputs)
    error_rate : float
        Share of steps at which the output is nearest to the target of a wrong state.
    nrmse : float
        Root-mean-square error in standard deviations of the target.
    """

    u: FloatArray
    target: FloatArray
    output: FloatArray
    error_rate: float
    nrmse: float


@final
@dataclass(frozen=True, eq=False)
class Verdict:
    """One question about the echo state property and its answer.

    Parameters
    ----------
    key : str
        ``"driven"``, ``"closed loop"``, ``"zero input"`` or the like; names the certificate's file.
    question : str
        The question in words.
    network : EchoStateNetwork
        The network that it is about.
    inputs : InputClass
        The inputs that it quantifies over.
    result : Certified, Refuted or Inconclusive
    from_data : bool
        Whether the inputs are the box around the data.
    """

    key: str
    question: str
    network: EchoStateNetwork
    inputs: InputClass
    result: Certified | Refuted | Inconclusive
    from_data: bool = False

    @property
    def inputs_in_words(self) -> str:
        """The inputs that it quantifies over."""
        return describe_inputs(self.inputs, from_data=self.from_data)


@final
@dataclass(frozen=True, eq=False)
class Study:
    """Everything that one study found. An analysis that was not done is None or empty and has a reason.

    Parameters
    ----------
    name, title, summary : str
        What was studied.
    kind : str
        ``"series"``, ``"task"`` or ``"network"``.
    settings : dict
        How: every option and seed, JSON-able.
    source : dict
        From what: name, length, sampling interval, SHA-256 of the data, references.
    network : EchoStateNetwork
        The network; for a fit, open loop.
    closed_loop : EchoStateNetwork, optional
        The autonomous network that forecasts.
    fit : Fit, optional
    vpt_steps : ndarray, shape (n_windows,)
        Valid prediction time of every test window, in steps.
    windows : tuple of ForecastWindow
        A typical window (median), the worst tenth, the best.
    climate : Climate, optional
    task_run : TaskRun, optional
    targets : ndarray, shape (n_targets, n_outputs), optional
        The outputs that a task asks the network to hold.
    verdicts : tuple of Verdict
    derivation : Derivation, optional
        The Jacobian and the norm bounds of `network`, symbolically.
    certified : CertifiedRange, optional
        How far the recurrent weights can grow with a certificate, for the last question that is not about
        the closed loop.
    evidence : Evidence, optional
        Trajectories of `network` under its own data (or one input of the class) from several starts.
    fixed_points : mapping of str to FixedPoints
        By condition: ``"closed loop"``, ``"zero input"``, ``"input A"``, ...
    matches : tuple of EquilibriumMatch
        True equilibria of the system beside the fixed points of the closed loop.
    lyapunov : LyapunovSpectrum, optional
        Of the closed loop.
    published_exponents : tuple of float
        Of the true system, in 1/time.
    comparison : AttractorComparison, optional
        Of the free run with the data.
    proved_points : mapping of str to ProvedPoints
        What is proved of the points in `fixed_points`.
    echo_index : EchoIndex, optional
        Of a network under independent symbols.
    dwell_times : DwellTimes, optional
        How long a symbol must hold for all responses to survive.
    known_exponent : float, optional
        The leading exponent in 1/time, published or given by the user: the unit of Lyapunov times.
    graph : networkx.DiGraph, optional
        The excitable network, or the visits between neighbourhoods of fixed points.
    paths : tuple of ndarray, shape (n_steps, n_units) each
        Orbits along the edges of an excitable network.
    plane : PhasePlane, optional
        A surface of state space with the basins of the excitable network.
    diagnosis : Diagnosis, optional
        The learned automaton against the task's, and the causes of the errors of the test run.
    not_done : mapping of str to str
        Analysis and the reason why it was not done.
    timings : mapping of str to float
        Seconds by analysis.
    """

    name: str
    title: str
    summary: str
    kind: str
    settings: Document
    source: Document
    network: EchoStateNetwork
    closed_loop: EchoStateNetwork | None = None
    fit: Fit | None = None
    vpt_steps: FloatArray = field(default_factory=lambda: np.zeros(0))
    windows: tuple[ForecastWindow, ...] = ()
    climate: Climate | None = None
    task_run: TaskRun | None = None
    targets: FloatArray | None = None
    verdicts: tuple[Verdict, ...] = ()
    derivation: Derivation | None = None
    certified: CertifiedRange | None = None
    evidence: Evidence | None = None
    fixed_points: dict[str, FixedPoints] = field(default_factory=dict)
    matches: tuple[EquilibriumMatch, ...] = ()
    lyapunov: LyapunovSpectrum | None = None
    published_exponents: tuple[float, ...] = ()
    comparison: AttractorComparison | None = None
    proved_points: dict[str, ProvedPoints] = field(default_factory=dict)
    echo_index: EchoIndex | None = None
    dwell_times: DwellTimes | None = None
    known_exponent: float | None = None
    graph: networkx.DiGraph | None = None
    paths: tuple[FloatArray, ...] = ()
    plane: PhasePlane | None = None
    diagnosis: Diagnosis | None = None
    not_done: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def dt(self) -> float | None:
        """Sampling interval of the series, None where it has none."""
        dt = self.source.get("dt")
        return None if dt is None else float(dt)

    @property
    def vpt_lyapunov(self) -> FloatArray | None:
        """Valid prediction times in Lyapunov times of the true system, None where its exponent is unknown."""
        if self.dt is None or self.known_exponent is None or self.known_exponent <= 0.0:
            return None
        return self.vpt_steps * self.dt * self.known_exponent

    @property
    def plot_steps(self) -> int:
        """How many steps of a series a figure shows."""
        return int(self.settings["study"]["report"]["plot_steps"])

    @property
    def summary_lines(self) -> tuple[str, ...]:
        """Five plain sentences: what was found, in numbers."""
        return summary_lines(self)


# -- the document --------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Return `value` with arrays as lists, complex as [re, im], and NaN as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _verdict_document(verdict: Verdict) -> Document:
    result = verdict.result
    washout = getattr(result, "washout", None)
    return {
        "key": verdict.key,
        "question": verdict.question,
        "inputs": verdict.inputs_in_words,
        "verdict": result.verdict,
        "method": result.method,
        "sentence": result.sentence,
        "proved_gain": result.proved_gain,
        "refuted_gain": result.refuted_gain,
        "washout": None if washout is None else washout.steps,
        "strength": getattr(result, "strength", None),
        "network_hash": result.network_hash,
        "bounds": [
            {"name": b.name, "value": b.value, "proves": b.proves, "critical_gain": b.critical_gain}
            for b in result.bounds
        ],
    }


def study_document(study: Study) -> Document:
    """Return the study as a JSON-able document (format ``esntools-study``); complex numbers are [re, im]."""
    document: Document = {
        "format": STUDY_FORMAT,
        "version": STUDY_VERSION,
        "name": study.name,
        "title": study.title,
        "kind": study.kind,
        "summary": list(study.summary_lines),
        "source": study.source,
        "settings": study.settings,
        "network": {
            "n_units": study.network.n_units,
            "n_inputs": study.network.n_inputs,
            "n_outputs": study.network.n_outputs,
            "spectral_radius": study.network.spectral_radius(),
            "content_hash": study.network.content_hash,
        },
        "not_done": study.not_done,
        "seconds": {name: round(value, 3) for name, value in study.timings.items()},
    }
    fit = study.fit
    if fit is not None:
        document["fit"] = {
            "hyperparameters": fit.hyperparameters,
            "ridge": fit.ridge,
            "n_train": fit.n_train,
            "washout": fit.washout,
            "one_step_nrmse": fit.one_step_nrmse,
            "holdout_nrmse": fit.holdout_nrmse,
        }
    if len(study.vpt_steps):
        document["valid_prediction_time"] = {
            "steps": study.vpt_steps,
            "lyapunov_times": study.vpt_lyapunov,
        }
    climate = study.climate
    if climate is not None:
        names = ("histogram_distance", "histogram_yardstick", "spectrum_distance", "spectrum_yardstick")
        document["climate"] = {name: getattr(climate, name) for name in names} | {
            "agrees": climate.agrees,
            "stayed_in_range": climate.stayed_in_range,
            "n_steps": len(climate.free_run),
        }
    if study.task_run is not None:
        document["task"] = {
            "error_rate": study.task_run.error_rate,
            "nrmse": study.task_run.nrmse,
            "n_steps": len(study.task_run.u),
        }
    if study.certified is not None:
        document["certified_gains"] = {
            "proved": study.certified.proved,
            "proved_by": study.certified.proved_by,
            "refuted": list(study.certified.refuted),
            "refuted_by": list(study.certified.refuted_by),
            "spectral_radius": study.certified.network.spectral_radius(),
        }
    if study.evidence is not None:
        document["evidence"] = {
            "input": study.evidence.input_words,
            "conditional_exponent": study.evidence.exponent,
            "empirical_echo_index": study.evidence.n_responses,
        }
    document["verdicts"] = [_verdict_document(v) for v in study.verdicts]
    document["fixed_points"] = {
        name: {
            "index_sum": points.index_sum,
            "audit": points.audit,
            "points": [
                {"output": p.output, "residual": p.residual, "stable": p.stable, "n_unstable": p.n_unstable,
                 "leading_multipliers": p.eigenvalues[:6]}
                for p in points
            ],
        }
        for name, points in study.fixed_points.items()
    }  # fmt: skip
    for name, proved in study.proved_points.items():
        document["fixed_points"][name] |= {
            "n_proved": proved.n_proved,
            "complete": proved.complete,
            "proved_within": proved.radius,
        }
    document["equilibria"] = [
        {"true_output": m.true_output, "found_output": m.found_output, "true_multipliers": m.true_multipliers,
         "found_multipliers": m.found_multipliers}
        for m in study.matches
    ]  # fmt: skip
    if study.lyapunov is not None:
        document["lyapunov"] = {
            "exponents": study.lyapunov.exponents,
            "interval": study.lyapunov.interval,
            "unit": study.lyapunov.unit,
            "published": study.published_exponents,
        }
    if study.comparison is not None:
        document["attractor_comparison"] = {
            "verdict": study.comparison.verdict,
            "reasons": list(study.comparison.reasons),
            "measures": {
                name: {"distance": m.distance, "allowed": m.allowed, "agrees": m.agrees}
                for name, m in study.comparison.measures.items()
            },
        }
    if study.echo_index is not None:
        index = study.echo_index
        document["echo_index"] = {
            "lower": index.lower,
            "upper": index.upper,
            "almost_sure": index.almost_sure,
            "estimate": index.estimate,
            "verdict": index.verdict,
            "sentence": index.sentence,
        }
    if study.dwell_times is not None:
        document["dwell_times"] = {
            "shortest": list(study.dwell_times.shortest),
            "longest": study.dwell_times.longest,
        }
    if study.graph is not None:
        document["graph"] = {
            "nodes": study.graph.number_of_nodes(),
            "edges": study.graph.number_of_edges(),
            "note": study.graph.graph.get("note", ""),
        }
    if study.diagnosis is not None:
        document["diagnosis"] = study.diagnosis.document()
    plain: Document = _plain(document)
    return plain
