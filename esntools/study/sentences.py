"""The words of a study: numbers as a reader wants them, inputs in words, five sentences of findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from esntools._typing import FloatArray
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero

if TYPE_CHECKING:
    from esntools.fixed_points import EquilibriumMatch
    from esntools.study.findings import Study, Verdict

__all__ = [
    "describe_inputs",
    "in_data_range",
    "is_chaotic",
    "near",
    "number",
    "summary_lines",
    "verdict_sentence",
    "with_error",
]


#: How far leading multipliers may lie apart for a learned rest state to count as the true one.
_ALIKE: Final = 0.1


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
    if n == 1:
        return f"1 {word}"
    return f"{n:,} {word.removesuffix('um')}{'a' if word.endswith('um') else 's'}"


def with_error(value: float, half_width: float) -> str:
    """Return a value and its error, both to the second digit of the error.

    >>> with_error(0.90571, 0.0331), with_error(-1.4e-06, 9.5e-05), with_error(3.0, 0.0)
    ('0.906 ± 0.033', '−0.000001 ± 0.000095', '3 ± 0')
    """
    if not (math.isfinite(value) and math.isfinite(half_width) and half_width > 0.0):
        return f"{number(value)} ± {number(half_width, 2)}"
    decimals = max(0, 1 - math.floor(math.log10(half_width)))
    if decimals > 9:
        return f"{number(value)} ± {number(half_width, 2)}"
    return f"{round(value, decimals) + 0.0:.{decimals}f} ± {half_width:.{decimals}f}".replace("-", "−")


def describe_inputs(inputs: InputClass, *, from_data: bool = False) -> str:
    """Return the inputs that a claim quantifies over, in words; `from_data`: the box is the data's range.

    >>> describe_inputs(InputBox(-1, 2))
    'every input sequence with values in [−1, 2]'
    >>> describe_inputs(InputBox(-1, 2), from_data=True)
    'every input within the range of the data, [−1, 2]'
    """
    match inputs:
        case Zero():
            return "zero input"
        case Constant():
            return f"the constant input ({', '.join(number(c) for c in inputs.c)})"
        case InputBox():
            edges = [f"[{number(a)}, {number(b)}]" for a, b in zip(inputs.low, inputs.high)]
            same = len(edges) > 1 and len(set(edges)) == 1
            box = f"{edges[0]} on each of {len(edges)} lines" if same else " × ".join(edges)
            if from_data:
                return f"every input within the range of the data, {box}"
            return f"every input sequence with values in {box}"
        case InputSignal():
            return f"this one recorded input of {len(inputs.u):,} steps"
        case InputAlphabet():
            pulses = int(np.any(inputs.symbols, axis=1).sum())
            rest = " and zero input" if 0 < pulses < len(inputs.symbols) else ""
            return f"every sequence over {_plural(pulses or 1, 'input symbol')}{rest}"
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
    head = (
        f"A network of {study.network.n_units} units, trained on {_plural(fit.n_train, 'value')} of "
        f"{study.source['series']}"
    )
    if len(study.vpt_steps) == 0:
        error = number(fit.one_step_nrmse, 2)
        return f"{head}, predicts the next value with an error of {error} standard deviations."
    in_lyapunov, steps = study.vpt_lyapunov, study.vpt_steps
    times = steps if in_lyapunov is None else in_lyapunov
    unit = "steps" if in_lyapunov is None else "Lyapunov times"
    threshold = study.windows[0].threshold if study.windows else 0.4
    clock = ""
    if study.dt is not None and study.dt != 1.0:
        clock = f" ({number(float(steps.mean()) * study.dt)} units of time)"
    elif in_lyapunov is not None:
        clock = f" ({number(float(steps.mean()))} steps)"
    return (
        f"{head}, forecasts {number(float(times.mean()))} {unit}{clock} ahead on average, and "
        f"{number(float(np.quantile(times, 0.1)))} in the worst tenth of {len(times)} tests on unseen "
        f"values, before it is off by {threshold:g} standard deviations."
    )


def _climate_line(study: Study) -> str:
    climate = study.climate
    if climate is None:
        return _not_done(study, "climate", "Comparison of a free run with the data")
    n = len(climate.free_run)
    if not climate.stayed_in_range:
        return f"Running freely, it leaves the range of the data after {n:,} steps: no model of its climate."
    verb = "keeps" if climate.agrees else "does not keep"
    return (
        f"Running freely for {n:,} steps, it {verb} the climate of the data: on a scale from 0 (equal) to 1, "
        f"the distribution of its values is {number(climate.histogram_distance, 2)} away and its spectrum "
        f"{number(climate.spectrum_distance, 2)}, where two halves of the data are "
        f"{number(climate.histogram_yardstick, 2)} and {number(climate.spectrum_yardstick, 2)} apart."
    )


def _verdict_line(study: Study) -> str:
    if not study.verdicts:
        return _not_done(study, "verify", "Verification")
    return " ".join(verdict_sentence(v, study) for v in study.verdicts)


def is_chaotic(study: Study) -> bool:
    """Whether the leading Lyapunov exponent is positive beyond its error."""
    return study.lyapunov is not None and bool(study.lyapunov.interval[0, 0] > 0.0)


def _may_meet_again(verdict: Verdict) -> bool:
    """Whether states are known only to be driven apart, not to stay apart."""
    return getattr(verdict.result, "strength", None) == "unstable response"


def verdict_sentence(verdict: Verdict, study: Study) -> str:
    """Return the verdict as one sentence that names the inputs."""
    if verdict.key == "closed loop":
        return _closed_loop_sentence(verdict, study)
    word, inputs = verdict.result.verdict, verdict.inputs_in_words
    at = "at" if isinstance(verdict.inputs, Zero) else "under"
    if word == "proved":
        rate = getattr(verdict.result, "rate", None)
        by = "" if rate is None else f": differences shrink at least by the factor {number(rate)} per step"
        return f"It is proved to forget where it started (echo state property) {at} {inputs}{by}."
    if word == "refuted" and _may_meet_again(verdict):
        return (
            f"It is refuted that it forgets where it started (echo state property) {at} {inputs}: nearby "
            "states can be driven apart, though they may meet again."
        )
    if word == "refuted":
        some = inputs.replace("every", "some", 1)
        memory = ", as a memory must" if study.kind == "task" and isinstance(verdict.inputs, Zero) else ""
        return f"It is proved to remember where it started (no echo state property) {at} {some}{memory}."
    return f"It is not decided whether it forgets where it started (echo state property) {at} {inputs}."


def _closed_loop_sentence(verdict: Verdict, study: Study) -> str:
    chaotic = is_chaotic(study)
    match verdict.result.verdict:
        case "proved":
            return "Its closed loop is proved to fall to one rest state, so it models nothing that moves."
        case "refuted" if _may_meet_again(verdict):
            why = ", as a model of chaos must do" if chaotic else ""
            return (
                "It is refuted that its closed loop forgets where it started: nearby states can be driven "
                f"apart{why}."
            )
        case "refuted":
            why = ", which is what a model of chaos must do" if chaotic else ""
            return f"Its closed loop is proved to remember where it started{why}."
        case _:
            if chaotic:
                return "That its closed loop remembers, as chaos must, is measured but not proved."
            return "Whether its closed loop forgets too is not decided."


def in_data_range(study: Study, output: FloatArray) -> bool:
    """Whether an equilibrium lies where the data are, so that the network can have learned it."""
    if study.fit is None:
        return True
    low, high = (np.atleast_1d(v) for v in study.fit.y_range)
    return bool(low[0] <= float(np.ravel(output)[0]) <= high[0])


def _fixed_point_line(study: Study) -> str:
    if study.matches:
        return _equilibria_line(study)
    if not study.fixed_points:
        return _not_done(study, "fixed points", "Search for fixed points")
    parts = []
    for name, points in study.fixed_points.items():
        n, stable = len(points), len(points.stable)
        kind = "stable" if n == stable == 1 else f"{stable} of them stable"
        at = "" if name == "the closed loop" else f" at {name}"
        parts.append(f"{_plural(n, 'fixed point')} ({kind}){at}")
    who = "Its closed loop" if "the closed loop" in study.fixed_points else "It"
    return f"{who} has {_listed(parts)}."


def _equilibria_line(study: Study) -> str:
    seen = [m for m in study.matches if in_data_range(study, m.true_output)]
    found = [(m, *_leading(m)) for m in seen if m.point is not None]
    if not found:
        return "No fixed point of the closed loop was found near the true system's equilibria."
    scale = max(abs(float(m.true_output[0])) for m in study.matches)

    def pair(m: EquilibriumMatch) -> str:
        there = 0.0 if m.found_output is None else float(m.found_output[0])
        return f"{near(there, scale)} (true {near(float(m.true_output[0]), scale)})"

    alike = [(m, abs(ours - true)) for m, ours, true in found if abs(ours - true) <= _ALIKE]
    other = [(m, ours, true) for m, ours, true in found if abs(ours - true) > _ALIKE]
    parts = []
    if alike:
        worst = number(max(gap for _, gap in alike), 2)
        parts.append(
            f"It has rest states where the true system has, at {_listed([pair(m) for m, _ in alike])}, and "
            "the leading factors by which deviations grow or shrink there are the true ones to within "
            f"{worst}"
        )
    parts += [
        f"{'its' if alike else 'Its'} rest state at {pair(m)} is not the true one: deviations change by the "
        f"factor {number(abs(ours))} per step instead of {number(abs(true))}"
        for m, ours, true in other
    ]
    for m, _, _ in found:
        ours, true = _ways_out(m)
        if ours != true:
            there = near(0.0 if m.found_output is None else float(m.found_output[0]), scale)
            parts.append(
                f"the one at {there} is left in {_plural(ours, 'direction')}, the true one in {true}"
            )
    missing = len(seen) - len(found)
    if missing:
        parts.append(f"{_plural(missing, 'equilibrium')} of the true system {_has(missing)} none")
    n_points = len(study.fixed_points.get("the closed loop", ()))
    extra = n_points - sum(m.point is not None for m in study.matches)
    if extra > 0:
        parts.append(f"{_plural(extra, 'further fixed point')} {_has(extra)} no true counterpart")
    return "; ".join(parts) + "."


def _leading(match: EquilibriumMatch) -> tuple[complex, complex]:
    """Return the largest multiplier of the learned point and of the true one, of a pair the upper one."""
    largest = []
    learned = match.found_multipliers if match.point is None else match.point.eigenvalues
    for values in (learned, match.true_multipliers):
        value = complex(values[int(np.argmax(np.abs(values)))])
        largest.append(complex(value.real, abs(value.imag)))
    return largest[0], largest[1]


def _ways_out(match: EquilibriumMatch) -> tuple[int, int]:
    """Return the number of unstable directions of the learned point and of the true one."""
    true = int(np.sum(np.abs(match.true_multipliers) > 1.0))
    return (true if match.point is None else int(match.point.n_unstable)), true


def _has(n: int) -> str:
    return "has" if n == 1 else "have"


def _exponent_line(study: Study) -> str:
    spectrum = study.lyapunov
    if spectrum is None:
        return _not_done(study, "lyapunov", "Lyapunov exponents")
    unit = "per unit of time" if spectrum.unit == "1/time" else "per step"
    low, high = (float(v) for v in spectrum.interval[0])
    known = study.published_exponents[0] if study.published_exponents else None
    published = "" if known is None else f" (reference: {number(known, 4)})"
    if low > 0.0:
        meaning = "so it is chaotic"
    elif high < 0.0:
        meaning = "so it settles"
    else:
        meaning = "so chaos cannot be told from regular motion"
    rate = with_error(float(spectrum.exponents[0]), 0.5 * (high - low))
    return (
        f"Running freely, nearby states part at the rate {rate} {unit}{published}, its leading Lyapunov "
        f"exponent, {meaning}."
    )


def _graph_line(study: Study) -> str:
    graph = study.graph
    if graph is None:
        return _not_done(study, "graph", "The graph of transitions")
    thresholds = [d["threshold"] for _, _, d in graph.edges(data=True) if d.get("threshold") is not None]
    at_unit = sum(1 for _, _, d in graph.edges(data=True) if d.get("at_unit"))
    if not thresholds and graph.graph.get("kind") == "excitable network":
        return (
            f"It has {_plural(graph.number_of_nodes(), 'attractor')} at zero input, and no single pulse "
            f"up to amplitude {number(graph.graph['max_amplitude'])} moves it from one to another."
        )
    if not thresholds:
        return (
            f"Its graph has {_plural(graph.number_of_nodes(), 'node')} and "
            f"{_plural(graph.number_of_edges(), 'edge')}."
        )
    return (
        f"Its {_plural(graph.number_of_nodes(), 'attractor')} are joined by {_plural(at_unit, 'move')} "
        f"that {_pulse(study)} makes; the easiest is made by {number(100.0 * min(thresholds), 2)} % of it."
    )


def _pulse(study: Study) -> str:
    length = int(study.graph.graph.get("pulse_length", 1)) if study.graph is not None else 1
    what = "a pulse of the task" if study.targets is not None else "an input symbol"
    if study.targets is None and "network" in study.source:
        what = "a unit pulse"
    return what if length == 1 else f"{what}, held for {length} steps,"


def _task_line(study: Study) -> str:
    run = study.task_run
    if run is None:
        return _not_done(study, "task", "The test run")
    new = " that it was not trained on" if study.kind == "task" else " of its task"
    return (
        f"On {len(run.u):,} steps{new}, a network of {_plural(study.network.n_units, 'unit')} gives the "
        f"right answer {100 * (1 - run.error_rate):.4g} % of the time (its output is off by "
        f"{number(run.nrmse, 2)} standard deviations)."
    )


def _automaton_line(study: Study) -> str:
    found = study.diagnosis
    if found is None:
        return _not_done(study, "diagnosis", "Comparison with the task's states")
    wanted, n, names = found.task.n_states, len(found.graph), found.task.names
    text = f"The task asks for {_plural(wanted, 'state')} and the network has {_plural(n, 'attractor')}"
    twice = [names[s] for s, held in enumerate(found.learned.holders) if len(held) > 1]
    if twice:
        text += f": {_listed(twice[:4])} {'is' if len(twice) == 1 else 'are each'} held by more than one"
    if found.missing:
        lost = [names[s] for s in found.missing[:4]]
        text += f"{' and' if twice else ':'} {_listed(lost)} by none"
    table = found.learned.table
    wrong = sum(
        found.learned.state_of(int(table[k, p])) != found.task.transitions[found.learned.stands_for[k], p]
        for k, p in np.ndindex(table.shape)
    )
    if wrong == 0 and table.size:
        return text + "; every single pulse leads where the task wants."
    return text + f"; {wrong} of {table.size} pulses from an attractor lead where the task does not want."


def _cause_line(study: Study) -> str:
    """Say what the errors of the test run come from; of a run without errors, how easily it moves."""
    found = study.diagnosis
    if found is None or not (found.segments or found.faults):
        return _graph_line(study)
    if not found.segments:
        return (
            "No answer of the test run was wrong, but the network has "
            f"{_plural(len(found.faults), 'fault')}; the first: {found.faults[0].text}."
        )
    n = len(found.segments)
    parts = [f"{kind} ({count})" for kind, (count, _) in found.causes.items()]
    text = f"Wrong answers come in {n} stretch{'es' * (n != 1)}"
    if found.n_not_attributed == n:
        return text + ", and no cause was found for any."
    text += f", put down to: {_listed(parts)}"
    worst = max(found.faults, key=lambda f: f.n_segments, default=None)
    return text + (f". The worst: {worst.text}." if worst is not None and worst.n_segments else ".")


def _network_line(study: Study) -> str:
    network = study.network
    return (
        f"The network has {_plural(network.n_units, 'unit')}, {_plural(network.n_inputs, 'input')} and a "
        f"matrix W of spectral radius {number(network.spectral_radius())}."
    )


def _audit_line(study: Study) -> str:
    if not study.fixed_points:
        return _not_done(study, "fixed points", "The audit of the search")
    audits = {points.audit for points in study.fixed_points.values()}
    test = "The test for missed fixed points (their indices must add up to 1)"
    if len(audits) == 1:
        return f"{test}: {audits.pop()} at each of {len(study.fixed_points)} inputs."
    parts = [f"{points.audit} at {name}" for name, points in study.fixed_points.items()]
    return f"{test}: {_listed(parts)}."


def summary_lines(study: Study) -> tuple[str, ...]:
    """Return five plain sentences: what the study found, with its numbers, or why there is none."""
    of_task = (_task_line, _automaton_line, _cause_line, _fixed_point_line, _verdict_line)
    of_network = (_network_line, _verdict_line, _fixed_point_line, _audit_line, _graph_line)
    lines = {
        "series": (_forecast_line, _climate_line, _verdict_line, _fixed_point_line, _exponent_line),
        "task": of_task,
        "network": of_network if study.diagnosis is None else of_task,
    }[study.kind]
    return tuple(line(study) for line in lines)
