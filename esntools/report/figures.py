"""The figures of a report: which there are, what they say, and their SVG, fit to share one page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from esntools.certificates.verdicts import Certified
from esntools.plotting import (
    plot_attractor,
    plot_attractor_comparison,
    plot_contraction,
    plot_diagnosis,
    plot_dwell_times,
    plot_echo_index,
    plot_eigenvalues,
    plot_forecast,
    plot_forgetting,
    plot_graph,
    plot_lyapunov,
    plot_phase_graph,
    plot_return_map,
    plot_ridge,
    plot_spectrum,
    plot_task,
    plot_vpt,
)
from esntools.plotting.graphs import LABELLED
from esntools.study.findings import Study
from esntools.study.sentences import near, number

__all__ = ["ReportFigure", "report_figures", "to_svg"]

_SETTINGS: Final = {"svg.fonttype": "path", "path.simplify": True, "path.simplify_threshold": 0.15}


@final
@dataclass(frozen=True)
class ReportFigure:
    """One figure: its key (file name and anchor), title, caption, and SVG source."""

    key: str
    title: str
    caption: str
    svg: str


def to_svg(ax: Axes, key: str, description: str = "") -> str:
    """Return the figure of `ax` as an SVG element that can share a page with others.

    Every id starts with `key`, nothing depends on the date or on a counter, and the same axes give the
    same text on every run.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    buffer = io.StringIO()
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": f"esntools-{key}"}):
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None},
            dpi=200,
            bbox_inches="tight",
            pad_inches=0.04,
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'\bhref="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    # Three decimals of a point are a third of a micrometre.
    text = re.sub(r"(\d+\.\d{3})\d+", r"\1", text)
    words = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)


def _vpt_values(study: Study) -> tuple[Any, str]:
    in_lyapunov = study.vpt_lyapunov
    return (study.vpt_steps, "steps") if in_lyapunov is None else (in_lyapunov, "Lyapunov times")


def _point_name(output: Any, scale: float) -> str:
    return "at " + ", ".join(near(float(v), 100.0 * scale) for v in np.atleast_1d(output))


def _of(name: str) -> str:
    return f"of {name}" if name == "the closed loop" else f"at {name}"


def _eigenvalue_figure(study: Study) -> Axes | None:
    found = [m for m in study.matches if m.point is not None]
    if found:
        scale = max(float(np.abs(m.true_output).max()) for m in found) or 1.0
        sets = {
            _point_name(m.found_output, scale): m.point.eigenvalues[:8] for m in found if m.point is not None
        }
        reference = np.concatenate([np.ravel(m.true_multipliers) for m in study.matches])
        return plot_eigenvalues(sets, reference=reference)
    for name, points in study.fixed_points.items():
        if 0 < len(points) <= 8:
            # The leading ones: the hundreds near zero only hide them.
            return plot_eigenvalues(
                {f"point {i} {_of(name)}": p.eigenvalues[:12] for i, p in enumerate(points)}
            )
        if len(points):
            return plot_eigenvalues(
                {f"fixed points {_of(name)}": np.concatenate([p.eigenvalues[:6] for p in points])}
            )
    return None


def _plans(study: Study) -> Iterator[tuple[str, str, str, Callable[[], Axes | None]]]:
    """Yield key, title, caption and how to draw, for every figure that this study has."""
    if study.windows:
        window = study.windows[0]
        yield (
            "forecast", "A typical forecast",
            f"The window with the median valid prediction time of {len(study.vpt_steps)}. Above, what "
            "happened (thick, pale) and what the network said without seeing it (dashed). Below, the error "
            "in standard deviations of the series; the forecast counts as valid until it passes "
            f"{window.threshold:g}. "
            + ("No forecast can keep its error below the growth e^(λ₁ t) that chaos forces on it "
               "(dash-dotted)." if window.lyapunov_time is not None else ""),
            lambda: plot_forecast(window, n_steps=study.plot_steps),
        )  # fmt: skip
    if len(study.vpt_steps):
        values, unit = _vpt_values(study)
        yield (
            "vpt", "Valid prediction time",
            "How long forecasts stay valid, over all test windows (one tick each).",
            lambda: plot_vpt(values, unit=unit),
        )  # fmt: skip
    if study.fit is not None and len(study.fit.ridge_path) > 1:
        fit = study.fit
        yield (
            "ridge", "How the penalty was chosen",
            "The error of the next step (above) always prefers a small penalty; free runs (below) decide.",
            lambda: plot_ridge(fit),
        )  # fmt: skip
    climate = study.climate
    if climate is not None:
        yield (
            "attractor", "The attractor, true beside learned",
            "Each series against itself a little earlier: the data on the left, the network's own free run "
            "on the right, on equal axes.",
            lambda: plot_attractor(climate),
        )  # fmt: skip
        if min(len(climate.maxima_data), len(climate.maxima_free_run)) >= 3:
            yield (
                "return-map", "Return map",
                "Each local maximum of the series against the one before: data (discs), network (crosses).",
                lambda: plot_return_map(climate),
            )  # fmt: skip
        yield (
            "spectrum", "Power spectrum",
            "How the variance is spread over frequencies (Welch's estimate): data and network.",
            lambda: plot_spectrum(climate),
        )  # fmt: skip
    run = study.task_run
    if run is not None and study.kind == "task":
        yield (
            "task", "The test run",
            "Pulses (bars), the target (thick, pale) and the output of the network (dashed), one panel for "
            "each line, on inputs that it was not trained on.",
            lambda: plot_task(run, n_steps=study.plot_steps),
        )  # fmt: skip
    driven = [v for v in study.verdicts if v.key != "closed loop" and v.result.bounds]
    if driven:
        last = driven[-1]
        yield (
            "contraction", "What is proved at which spectral radius",
            _contraction_caption(study),
            lambda: plot_contraction(
                last.result, last.network, derivation=study.derivation, certified=study.certified
            ),
        )  # fmt: skip
    if study.evidence is not None:
        yield (
            "forgetting", "Forgetting along the input", _forgetting_caption(study),
            lambda: _forgetting_figure(study),
        )  # fmt: skip
    if any(len(points) for points in study.fixed_points.values()):
        yield (
            "eigenvalues", "Multipliers of the fixed points",
            "The leading ones in the complex plane, against the unit circle; filled marks are outside it. "
            + ("Large open squares: those of the true system." if study.matches else ""),
            lambda: _eigenvalue_figure(study),
        )  # fmt: skip
    yield from _dynamics_plans(study)
    yield from _graph_plans(study)


def _graph_plans(study: Study) -> Iterator[tuple[str, str, str, Callable[[], Axes | None]]]:
    graph, found = study.graph, study.diagnosis
    if graph is None or not graph.number_of_nodes():
        return
    if study.kind == "series":
        if graph.number_of_edges():
            yield (
                "graph", "Visits",
                "Nodes are neighbourhoods of fixed points with the output there; the number on an arrow is "
                "the share of departures that go that way." + _omitted(study),
                lambda: plot_graph(graph),
            )  # fmt: skip
        return
    extra = () if found is None else found.extra
    names = (
        None if found is None else [found.task.names[found.learned.state_of(k)] for k in range(len(graph))]
    )
    yield (
        "graph", "The excitable network", _excitable_caption(graph, found) + _held(graph),
        lambda: plot_graph(
            graph, targets=study.targets, spurious=None if found is None else extra, names=names,
            twins=() if found is None else found.twins,
            guilty=None if found is None else found.guilty_edges,
        ),
    )  # fmt: skip
    if all("x" in data for _, data in graph.nodes(data=True)):
        plane = study.plane
        yield (
            "phase", "The same in phase space", _phase_caption(study),
            lambda: plot_phase_graph(
                graph, study.network, plane=plane, paths=study.paths[:40], spurious=extra
            ),
        )  # fmt: skip
    if found is not None and found.segments:
        yield (
            "diagnosis", "Where it errs",
            "The test run, wrong stretches in red and numbered as in the list below; then one of each of the "
            "commonest causes from near, with the pulses (arrows) and, in red, the one with which it began.",
            lambda: _errors_figure(found),
        )  # fmt: skip


def _dynamics_plans(study: Study) -> Iterator[tuple[str, str, str, Callable[[], Axes | None]]]:
    spectrum, comparison, index, table = (
        study.lyapunov, study.comparison, study.echo_index, study.dwell_times
    )  # fmt: skip
    if spectrum is not None:
        yield (
            "lyapunov", "How the exponents settle",
            "Left, the estimates from the first steps up to each time; bars at the right end are 95 % "
            "intervals. Right, all that were computed (filled: positive)"
            + ("." if spectrum.kaplan_yorke is None else ", and the Kaplan–Yorke dimension that they give."),
            lambda: plot_lyapunov(spectrum),
        )  # fmt: skip
    if comparison is not None and comparison.measures:
        yield (
            "comparison", "Two attractors side by side",
            "Above, the points compared: data and free run. Below, correlation sums (their slope is the "
            "dimension) and how long each hole lives as the points grow together; long lives are real holes.",
            lambda: plot_attractor_comparison(comparison),
        )  # fmt: skip
    if index is not None and index.responses:
        yield (
            "echo-index", "Responses to one input",
            "Under one realisation of the symbols: every response, the distance of other starts from it, and "
            "which states go to it from time 0.",
            lambda: plot_echo_index(index),
        )  # fmt: skip
    if table is not None:
        yield (
            "dwell-times", "How long a symbol must hold",
            "The least length of runs of the holding symbol that keeps every response alive, against the "
            "longest run of the others; proved in both directions.",
            lambda: plot_dwell_times(table),
        )  # fmt: skip


def _contraction_caption(study: Study) -> str:
    caption = (
        "The first row is what certificates say when W is scaled to a spectral radius: green is proved, and "
        "the certificate at its right edge holds for every smaller radius too. "
    )
    found = study.certified
    if found is not None and found.refuted:
        caption += "Each cross is a certified refutation, hatched from the first to the last. "
    elif found is not None and not found.searched:
        caption += "Refutations were not searched for at this size. "
    return caption + (
        "What is neither is open. Below, each bar is one norm: it contracts up to its right end, and cannot "
        "where hatched (both in floating point). "
    )


def _proved_driven(study: Study) -> Certified | None:
    """Return the proof whose rate and washout hold along the input of the evidence."""
    driven = [v.result for v in study.verdicts if v.key != "closed loop"]
    return driven[-1] if driven and isinstance(driven[-1], Certified) else None


def _forgetting_figure(study: Study) -> Axes:
    assert study.evidence is not None
    proof = _proved_driven(study)
    if proof is None or proof.washout is None:
        return plot_forgetting(study.evidence.distances)
    return plot_forgetting(
        study.evidence.distances, rate=proof.rate, steps=proof.washout.steps, epsilon=proof.washout.epsilon,
        start=proof.box_steps or 0,
    )  # fmt: skip


def _forgetting_caption(study: Study) -> str:
    evidence = study.evidence
    assert evidence is not None
    caption = (
        f"The network driven by {evidence.input_words}, started {evidence.distances.shape[1] + 1} times: how "
        "far each trajectory is from the first, in the unit where they differ most. "
    )
    proof = _proved_driven(study)
    if proof is not None and proof.washout is not None:
        caption += (
            f"The black line is the proved bound, for any two starts: from step {proof.washout.steps} on "
            f"they agree to {proof.washout.epsilon:g}. "
        )
    else:
        caption += "This is simulated; no bound is proved here. The dotted line is at 1e-6. "
    if evidence.exponent is not None:
        caption += (
            "The slope to expect, the largest conditional Lyapunov exponent, is "
            f"{number(evidence.exponent)} per step (estimated)."
        )
    return caption


def _errors_figure(found: Any) -> Axes:
    """Draw the diagnosis without its last panel, the graph, which has been shown already and larger."""
    ax = plot_diagnosis(found)
    ax.child_axes[-1].remove()
    figure = ax.get_figure(root=True)
    assert figure is not None
    children: list[Any] = list(ax.child_axes)
    # A box follows its axes until it is frozen.
    boxes = [panel.get_axes_locator()(panel, None).frozen() for panel in children]
    low, high = min(box.y0 for box in boxes) - 0.07, max(box.y1 for box in boxes) + 0.06
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height * (high - low))
    ax.set_position((0.0, 0.0, 1.0, 1.0))
    for panel, box in zip(children, boxes):
        panel.set_axes_locator(None)
        panel.set_position((box.x0, (box.y0 - low) / (high - low), box.width, box.height / (high - low)))
    return ax


def _excitable_caption(graph: Any, found: Any) -> str:
    pulses = graph.graph.get("metric", "input") == "input"
    crowded = graph.number_of_edges() > LABELLED
    looks = "thicker: easier; "
    if pulses:
        looks += "dashed: a unit pulse does not make it; "
    elif crowded:
        looks += "dashed: more than three times the easiest from there; "
    looks += "red with !: " + ("it makes errors" if found is not None else "less than half the median")
    text = "Nodes are attractors with the output that they hold"
    if found is not None:
        text += " and the state of the task that they stand for; red squares are those that it does not need"
    if not pulses:
        return f"{text}; the number on an arrow is the smallest kick that makes the move ({looks})."
    text += f"; the number on an arrow is the smallest amplitude of any pulse that makes the move ({looks})."
    # The two differ where the easiest pulse, at amplitude 1, leads on to somewhere else.
    return text + " The table of moves has, for each pulse, its own."


def _phase_caption(study: Study) -> str:
    plane = study.plane
    orbits = "the orbits (grey) that unit pulses set off"
    if plane is None:
        return f"Stable states (circles), unstable fixed points (crosses), and {orbits}."
    text = (
        f"A plane that holds {100 * plane.variance:.0f} % of the variance of the attractors and of the "
        "switches between them. Attractors, saddles (crosses) with their unstable manifolds (broken lines), "
        f"and {orbits}."
    )
    if plane.labels is None:
        return text
    return text + (
        " Shades are basins and thin lines their boundaries, on a surface through all attractors and "
        "saddles; a pulse errs when it does not carry the state over the right line."
    )


def _held(graph: Any) -> str:
    length = int(graph.graph.get("pulse_length", 1))
    return "" if length == 1 else f" Every pulse is held for {length} steps."


def _omitted(study: Study) -> str:
    known = sum(m.point is not None for m in study.matches)
    extra = len(study.fixed_points.get("the closed loop", ())) - known
    if known < 2 or extra <= 0:
        return ""
    which = (
        "fixed point without a true counterpart is"
        if extra == 1
        else ("fixed points without a true counterpart are")
    )
    return f" The {extra} {which} left out."


def report_figures(study: Study) -> tuple[ReportFigure, ...]:
    """Return every figure that the study has results for."""
    figures = []
    for key, title, caption, draw in _plans(study):
        ax = draw()
        if ax is not None:
            figures.append(ReportFigure(key, title, caption.strip(), to_svg(ax, key, title)))
    return tuple(figures)
