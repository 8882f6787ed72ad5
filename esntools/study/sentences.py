"""The words of a study: numbers as a reader wants them, inputs in words, five sentences of findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero

if TYPE_CHECKING:
    from esntools.study.findings import Study, Verdict

__all__ = ["describe_inputs", "near", "number", "summary_lines", "verdict_sentence"]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as a reader wants it: `digits` significant ones, a true minus sign.

    >>> number(-0.0001234), number(12345.6), number(0.5), number(None), number(1e-9)
    ('−0.000123', '12,346', '0.5', 'not known', '1e−09')
    """
    if value is None or math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "unbounded"
    if value == int(value) and abs(value) < 1e7:
        text = f"{int(value):,}"
    elif 10 ** (digits - 1) <= abs(value) < 1e7:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "−")


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def near(value: float, scale: float) -> str:
    """Return a value with as many decimals as matter at this scale."""
    decimals = 4 - (math.floor(math.log10(scale)) if scale > 0.0 else 0)
    return number(round(value, decimals) + 0.0, 6)


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def describe_inputs(inputs: InputClass) -> str:
    """Return the inputs that a claim quantifies over, in words.

    >>> describe_inputs(InputBox(-1, 2))
    'every input sequence with values in [−1, 2]'
    """
    match inputs:
        case Zero():
            return "zero input"
        case Constant():
            return f"the constant input ({', '.join(number(c) for c in inputs.c)})"
        case InputBox():
            box = " × ".join(f"[{number(a)}, {number(b)}]" for a, b in zip(inputs.low, inputs.high))
            return f"every input sequence with values in {box}"
        case InputSignal():
            return f"this one recorded input of {len(inputs.u):,} steps"
        case InputAlphabet():
            return f"every sequence over {len(inputs.symbols)} input symbols"
        case AnyInput():
            return "every input, every input weight and every bias"


# -- five sentences ------------------------------------------------------------------------------------------


def _not_done(study: Study, step: str, otherwise: str) -> str:
    reason = study.not_done.get(step)
    return f"{otherwise}: not done" + (f" ({reason})." if reason else ".")


def _forecast_line(study: Study) -> str:
    fit = study.fit
    if fit is None:
        return _not_done(study, "fit", "Training")
    values = f"{_plural(fit.n_train, 'value')} of {study.source['series']}"
    head = f"Trained on {values}, {study.network.n_units} units"
    if len(study.vpt_steps) == 0:
        error = number(fit.one_step_nrmse)
        return f"{head} predict the next value with an error of {error} standard deviations."
    in_lyapunov = study.vpt_lyapunov
    times = study.vpt_steps if in_lyapunov is None else in_lyapunov
    unit = "steps" if in_lyapunov is None else "Lyapunov times"
    threshold = study.windows[0].threshold if study.windows else 0.4
    return (
        f"{head} forecast {number(float(times.mean()))} {unit} ahead on average before the error passes "
        f"{threshold:g} standard deviations ({_plural(len(times), 'test window')}, worst tenth "
        f"{number(float(np.quantile(times, 0.1)))})."
    )


def _climate_line(study: Study) -> str:
    climate = study.climate
    if climate is None:
        return _not_done(study, "climate", "Comparison of a free run with the data")
    if not climate.stayed_in_range:
        return f"Left to run freely, it leaves the range of the data after {len(climate.free_run):,} steps."
    verb = "keeps" if climate.agrees else "does not keep"
    return (
        f"Left to run freely, it {verb} the climate of the data: histogram distance "
        f"{number(climate.histogram_distance, 2)} (between the data's own halves "
        f"{number(climate.histogram_yardstick, 2)}), spectrum distance "
        f"{number(climate.spectrum_distance, 2)} ({number(climate.spectrum_yardstick, 2)})."
    )


def _verdict_line(study: Study) -> str:
    if not study.verdicts:
        return _not_done(study, "verify", "Verification")
    return " ".join(verdict_sentence(v) for v in study.verdicts)


def verdict_sentence(verdict: Verdict) -> str:
    """Return the verdict as one sentence that names the inputs and the network's state."""
    who = "The closed loop" if verdict.key == "closed loop" else "The network"
    inputs = describe_inputs(verdict.inputs)
    at = "at" if isinstance(verdict.inputs, Zero) else "for"
    where = "" if verdict.key == "closed loop" else f" {at} {inputs}"
    match verdict.result.verdict:
        case "proved":
            rate = getattr(verdict.result, "rate", None)
            by = "" if rate is None else f", forgetting its start by a factor {number(rate)} per step"
            return f"{who} is proved to have the echo state property{where}{by}."
        case "refuted":
            return f"{who} is proved not to have the echo state property{where}."
        case _:
            return (
                f"Whether {who.lower()} has the echo state property{where} is left open by every bound tried."
            )


def _fixed_point_line(study: Study) -> str:
    if study.matches:
        found = [m for m in study.matches if m.point is not None]
        if not found:
            return "No fixed point of the closed loop was found near the system's equilibria."
        scale = max(abs(float(m.true_output[0])) for m in study.matches)
        extra = len(study.fixed_points.get("the closed loop", ())) - len(found)
        more = f" ({_plural(extra, 'further one')} without a counterpart)" if extra > 0 else ""
        pairs = _listed(
            [
                f"{near(float(m.found_output[0]), scale)} (true {near(float(m.true_output[0]), scale)})"
                for m in found
                if m.found_output is not None
            ]
        )
        worst = max(abs(complex(m.found_multipliers[0] - m.true_multipliers[0])) for m in found)
        return (
            f"Its closed loop has fixed points at {pairs}{more}; their leading multipliers differ from the "
            f"true exp(λ dt) by at most {number(worst, 2)}."
        )
    if not study.fixed_points:
        return _not_done(study, "fixed points", "Search for fixed points")
    parts = []
    for name, points in study.fixed_points.items():
        n_stable = len(points.stable)
        parts.append(f"{_plural(len(points), 'fixed point')} ({n_stable} stable) at {name}")
    return f"Found: {_listed(parts)}."


def _exponent_line(study: Study) -> str:
    spectrum = study.lyapunov
    if spectrum is None:
        return _not_done(study, "lyapunov", "Lyapunov exponents")
    unit = "per time unit" if spectrum.unit == "1/time" else "per step"
    half = 0.5 * float(spectrum.interval[0, 1] - spectrum.interval[0, 0])
    published = f", published {number(study.published_exponents[0], 4)}" if study.published_exponents else ""
    return (
        f"Its leading Lyapunov exponent is {number(float(spectrum.exponents[0]))} ± {number(half, 2)} {unit}"
        f"{published}: {'chaos' if spectrum.interval[0, 0] > 0 else 'no proof of chaos'}."
    )


def _graph_line(study: Study) -> str:
    graph = study.graph
    if graph is None:
        return _not_done(study, "graph", "The graph of transitions")
    thresholds = [d["threshold"] for _, _, d in graph.edges(data=True) if d.get("threshold") is not None]
    at_unit = sum(1 for _, _, d in graph.edges(data=True) if d.get("at_unit"))
    if not thresholds and graph.graph.get("kind") == "excitable network":
        return (
            f"It has {_plural(graph.number_of_nodes(), 'stable state')} at zero input, and no single pulse "
            f"up to amplitude {number(graph.graph['max_amplitude'])} moves it from one to another."
        )
    if not thresholds:
        return (
            f"Its graph has {_plural(graph.number_of_nodes(), 'node')} and "
            f"{_plural(graph.number_of_edges(), 'edge')}."
        )
    return (
        f"Its {_plural(graph.number_of_nodes(), 'stable state')} are joined by {_plural(at_unit, 'move')} "
        f"that a unit pulse makes; the easiest needs an amplitude of {number(min(thresholds), 2)}."
    )


def _task_line(study: Study) -> str:
    run = study.task_run
    if run is None:
        return _not_done(study, "task", "The test run")
    return (
        f"On {len(run.u):,} steps that it was not trained on, {study.network.n_units} units hold the right "
        f"sign {100 * (1 - run.error_rate):.4g} % of the time (error {number(run.nrmse, 2)} standard "
        "deviations)."
    )


def _automaton_line(study: Study) -> str:
    if study.graph is None or study.targets is None:
        return _not_done(study, "graph", "Comparison with the task's states")
    n, wanted = study.graph.number_of_nodes(), len(study.targets)
    wrong = len(study.wrong_transitions)
    return (
        f"The task asks for {_plural(wanted, 'state')} and the network has {n}; "
        + ("every pulse leads where the task wants." if wrong == 0
           else f"{_plural(wrong, 'pulse')} from a state lead where the task does not want.")
    )  # fmt: skip


def _network_line(study: Study) -> str:
    network = study.network
    return (
        f"The network has {_plural(network.n_units, 'unit')}, {_plural(network.n_inputs, 'input')} and a "
        f"matrix W of spectral radius {number(network.spectral_radius())}."
    )


def _audit_line(study: Study) -> str:
    parts = [f"at {name} {points.audit}" for name, points in study.fixed_points.items()]
    if not parts:
        return _not_done(study, "fixed points", "The audit of the search")
    return f"The audit that looks for missed fixed points (index sum 1): {_listed(parts)}."


def summary_lines(study: Study) -> tuple[str, ...]:
    """Return five plain sentences: what the study found, with its numbers, or why there is none."""
    lines = {
        "series": (_forecast_line, _climate_line, _verdict_line, _fixed_point_line, _exponent_line),
        "task": (_task_line, _automaton_line, _graph_line, _fixed_point_line, _verdict_line),
        "network": (_network_line, _verdict_line, _fixed_point_line, _audit_line, _graph_line),
    }[study.kind]
    return tuple(line(study) for line in lines)
