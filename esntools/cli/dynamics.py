"""Commands about one system at rest or in motion: fixed points, orbits, bifurcations, Lyapunov exponents."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from esntools._typing import Document
from esntools.cli.console import DONE, UNDECIDED, ProgressLine
from esntools.cli.sources import (
    check_writable,
    emit,
    held_network,
    load_fit,
    plain,
    read_network,
    read_signal,
    save_figure,
)
from esntools.cli.verify import say_paragraph
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools._typing import FloatArray
    from esntools.network import EchoStateNetwork

__all__ = [
    "PICTURES", "bifurcations_command", "counted", "fixed_points_command", "lyapunov_command",
    "orbits_command",
]  # fmt: skip

PICTURES = (".svg", ".pdf", ".png")


def _output(network: EchoStateNetwork, x: FloatArray) -> FloatArray | None:
    return None if network.readout is None else network.output(x)


def _at_output(output: FloatArray | None) -> str:
    return "" if output is None else " at output " + ", ".join(f"{v:.6g}" for v in output)


def counted(n: int, word: str) -> str:
    """Return the number with its noun."""
    return f"{n} {word}" if n == 1 else f"{n} {word}{'es' if word.endswith('ch') else 's'}"


def _kind(stable: bool | None, n_unstable: int | None, reason: str = "") -> str:
    if n_unstable is None:
        return f"of undecided stability ({reason})"
    return "stable" if stable else counted(n_unstable, "unstable direction")


# -- fixed points --------------------------------------------------------------------------------------------


def fixed_points_command(options: Namespace, progress: ProgressLine) -> int:
    check_writable(options.output)
    network, u, starts = held_network(options, options.starts)
    about: Document = {
        "network": network.content_hash,
        "closed_loop": options.closed_loop,
        "input": plain(u),
    }
    if options.complete:
        return _enumerated(options, network, u, about, progress)
    return _found(options, network, u, starts, about, progress)


def _found(
    options: Namespace, network: EchoStateNetwork, u: FloatArray | None, starts: FloatArray | None,
    about: Document, progress: ProgressLine,
) -> int:  # fmt: skip
    from esntools.fixed_points import find_fixed_points
    from esntools.fixed_points.certified import CertifiedFixedPoint, certify_fixed_point

    found = find_fixed_points(
        network, u, starts=starts, n_starts=options.starts, rng=options.seed or 0, progress=progress
    )
    points: list[Document] = [
        {
            "output": plain(point.output),
            "stable": bool(point.stable),
            "n_unstable": int(point.n_unstable),
            "index": int(point.index),
            "residual": plain(point.residual),
            "eigenvalues": plain(point.eigenvalues[:10]),
            "x": plain(point.x),
        }
        for point in found
    ]
    certified = []
    for k, (point, record) in enumerate(zip(found, points)):
        if options.certify:
            progress("certifying", k / len(points))
            proof = certify_fixed_point(network, point.x, u)
            certified.append(proof)
            record["certified"] = (
                _proved(proof)
                if isinstance(proof, CertifiedFixedPoint)
                else {"exists": None, "reason": proof.reason}
            )
    emit(
        {
            "format": "esntools-fixed-points",
            "version": 1,
            **about,
            "index_sum": found.index_sum,
            "audit": found.audit,
            "audit_reason": found.audit_reason,
            "n_starts": found.n_starts,
            "points": points,
        },
        options.output,
    )
    stable = sum(bool(point.stable) for point in found)
    number = counted(len(points), "fixed point")
    progress.say(f"{number}, {stable} stable; index sum {found.index_sum}, audit {found.audit}")
    for point in found:
        progress.say(
            f"  {_kind(point.stable, point.n_unstable)}{_at_output(point.output)}, "
            f"largest |eigenvalue| {abs(point.eigenvalues[0]):.6g}"
        )
    if options.certify:
        proved = [p for p in certified if isinstance(p, CertifiedFixedPoint)]
        radius = f", within {max(p.radius for p in proved):.2g} in every unit" if proved else ""
        progress.say(f"{len(proved)} of {len(points)} proved to exist{radius}")
        for reason in dict.fromkeys(p.reason for p in certified if p.reason):
            say_paragraph(progress, f"Not proved: {reason}")
        if len(proved) < len(points) or any(p.n_unstable is None for p in proved):
            return UNDECIDED
    return DONE if points else UNDECIDED


def _proved(point: Any) -> Document:
    """Return what is proved of one point."""
    return {
        "exists": True,
        "radius": plain(point.radius),
        "uniqueness_radius": plain(point.uniqueness_radius),
        "n_unstable": point.n_unstable,
        "stable": point.stable,
        "index": point.index,
        "reason": point.reason,
    }


def _enumerated(
    options: Namespace, network: EchoStateNetwork, u: FloatArray | None, about: Document,
    progress: ProgressLine,
) -> int:  # fmt: skip
    from esntools.fixed_points.enumeration import enumerate_fixed_points

    # Who gives a time wants it used: the default number of boxes would end the search before.
    limits = {} if options.budget is None else {"budget": options.budget, "max_boxes": 10**15}
    found = enumerate_fixed_points(network, u, progress=progress, **limits)
    outputs = [_output(network, point.x) for point in found]
    emit(
        {
            "format": "esntools-enumerated-fixed-points",
            "version": 1,
            **about,
            "complete": found.complete,
            "reason": found.reason,
            "method": found.method,
            "rank": found.rank,
            "n_boxes": found.n_boxes,
            "index_sum": found.index_sum,
            "points": [
                {"output": plain(y), **_proved(point), "x": plain(point.x)}
                for point, y in zip(found, outputs)
            ],
            "undecided": plain(found.undecided),
        },
        options.output,
    )
    if found.complete:
        what = f"{counted(len(found), 'fixed point')}, {len(found.stable)} stable; proved to be all"
    elif len(found):
        what = (
            f"{counted(len(found), 'fixed point')} proved, {len(found.stable)} stable; "
            f"others may be missing: {found.reason}"
        )
    else:
        what = f"no fixed point proved; there may be some: {found.reason}"
    progress.say(what)
    for point, y in zip(found, outputs):
        progress.say(f"  {_kind(point.stable, point.n_unstable, point.reason)}{_at_output(y)}")
    return DONE if found.complete else UNDECIDED


# -- orbits --------------------------------------------------------------------------------------------------


def orbits_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.orbits import find_periodic_orbits

    check_writable(options.output)
    network, u, starts = held_network(options, options.starts)
    found = find_periodic_orbits(
        network, options.period, u, starts=starts, n_starts=options.starts, rng=options.seed or 0,
        progress=progress,
    )  # fmt: skip
    emit(
        {
            "format": "esntools-orbits",
            "version": 1,
            "network": network.content_hash,
            "closed_loop": options.closed_loop,
            "input": plain(u),
            "period": found.period,
            "index_sum": found.index_sum,
            "audit": found.audit,
            "audit_reason": found.audit_reason,
            "n_starts": found.n_starts,
            "orbits": [
                {
                    "outputs": plain(_output(network, orbit.states)),
                    "stable": bool(orbit.stable),
                    "n_unstable": int(orbit.n_unstable),
                    "index": int(orbit.index),
                    "residual": plain(orbit.residual),
                    "multipliers": plain(orbit.multipliers[:10]),
                    "states": plain(orbit.states),
                }
                for orbit in found
            ],
            "shorter": [orbit.period for orbit in found.divisor_orbits],
        },
        options.output,
    )
    progress.say(
        f"{counted(len(found), 'orbit')} of period {found.period}, {sum(o.stable for o in found)} stable; "
        f"index sum {found.index_sum}, audit {found.audit}"
    )
    for orbit in found:
        largest = abs(orbit.multipliers[0])
        progress.say(f"  {_kind(orbit.stable, orbit.n_unstable)}, largest |multiplier| {largest:.6g}")
    return DONE if len(found) else UNDECIDED


# -- bifurcations --------------------------------------------------------------------------------------------


def bifurcations_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.bifurcations import find_bifurcations, one_neuron_diagram

    check_writable(options.output)
    check_writable(options.plot, PICTURES)
    network, u, _ = held_network(options)
    asked = {
        "parameter": options.parameter.replace("-", "_"),
        "start": options.start,
        "stop": options.stop,
        "direction": options.direction,
        "u": u,
    }
    diagram = find_bifurcations(
        network, **asked, max_period=options.max_period, rng=options.seed or 0, progress=progress
    )
    emit(
        {
            "format": "esntools-bifurcations",
            "version": 1,
            "network": network.content_hash,
            "closed_loop": options.closed_loop,
            "input": plain(u),
            "parameter": options.parameter,
            "from": options.start,
            "to": options.stop,
            "points": [
                {
                    "kind": point.kind,
                    "value": plain(point.value),
                    "period": point.period,
                    "criticality": point.criticality,
                    "multipliers": plain(point.multipliers),
                    "coefficient": plain(point.coefficient),
                    "located": bool(point.located),
                    "error": plain(point.error),
                    "outputs": plain(_output(network, point.states)),
                    "states": plain(point.states),
                    "note": point.note,
                }
                for point in diagram.points
            ],
            "branches": [
                {
                    "period": branch.period,
                    "values": plain(branch.values),
                    "n_unstable": plain(branch.n_unstable),
                    "leading": plain(branch.leading),
                    "ends": list(branch.ends),
                    # The states of a large network at every value are no text that anybody reads.
                    "outputs": plain(_output(network, branch.states)),
                    "states": plain(branch.states) if network.n_units <= 10 else None,
                }
                for branch in diagram
            ],
            "audit": [
                {
                    "value": plain(a.value),
                    "n_points": a.n_points,
                    "index_sum": plain(a.index_sum),
                    "verdict": a.verdict,
                }
                for a in diagram.audit
            ],
            "note": diagram.note,
        },
        options.output,
    )
    if options.plot is not None and len(diagram):
        from esntools.plotting import plot_bifurcations

        progress("drawing", 0.0)
        drawn: dict[str, Any] = {}
        if network.readout is not None:
            drawn["output"] = lambda states: network.output(states)[..., 0]
        if network.n_units == 1:
            drawn["closed_form"] = one_neuron_diagram(network, **asked)
        save_figure(plot_bifurcations(diagram, **drawn).figure, options.plot)
    verdicts = [a.verdict for a in diagram.audit]
    progress.say(
        f"{counted(len(diagram), 'branch')}, {counted(len(diagram.points), 'bifurcation')}; index sums: "
        f"{verdicts.count('passed')} of {len(verdicts)} audits passed"
    )
    for point in diagram.points:
        how = f", {point.criticality}" if point.criticality != "undecided" else ""
        of = f" of orbits of period {point.period}" if point.period > 1 else ""
        progress.say(f"  {point.kind}{of} at {options.parameter} {point.value:.10g}{how}")
    if diagram.note:
        progress.say(diagram.note)
    return DONE if len(diagram) else UNDECIDED


# -- Lyapunov exponents --------------------------------------------------------------------------------------


def lyapunov_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.lyapunov import conditional_lyapunov_spectrum, lyapunov_spectrum

    check_writable(options.output)
    check_writable(options.plot, PICTURES)
    common: dict[str, Any] = {"n_exponents": options.exponents, "progress": progress}
    if options.signal is not None:
        network = read_network(options.source)
        series = read_signal(options, network.n_inputs)
        u = series.values if series.values.ndim == 2 else series.values[:, None]
        result = conditional_lyapunov_spectrum(network, u, dt=series.dt, **common)
    else:
        fit = load_fit(options.source)
        if fit.task != "forecast":
            raise InvalidInputError(
                options.source, f"fitted for the task {fit.task!r}", "its closed loop is not defined",
                "give its input with --signal",
            )  # fmt: skip
        result = lyapunov_spectrum(
            fit.closed_loop, fit.x_last, n_steps=options.steps, dt=fit.dt, rng=options.seed or 0, **common
        )
    emit(
        {
            "format": "esntools-lyapunov",
            "version": 1,
            "kind": result.kind,
            "unit": result.unit,
            "dt": result.dt,
            "exponents": plain(result.exponents),
            "stderr": plain(result.stderr),
            "interval_95": plain(result.interval),
            "n_steps": result.n_steps,
            "kaplan_yorke": plain(result.kaplan_yorke),
            "kaplan_yorke_note": result.kaplan_yorke_note,
            "sum_rule_error": plain(result.sum_rule_error),
            "note": result.note,
        },
        options.output,
    )
    if options.plot is not None:
        from esntools.plotting import plot_lyapunov

        progress("drawing", 0.0)
        save_figure(plot_lyapunov(result).figure, options.plot)
    shown = 10
    for value, (low, high) in list(zip(result.exponents, result.interval))[:shown]:
        progress.say(f"{value:+.5g} {result.unit}, 95 % interval {low:+.5g} to {high:+.5g}")
    if len(result.exponents) > shown:
        progress.say(f"and {len(result.exponents) - shown} more, down to {result.exponents[-1]:+.5g}")
    if result.kaplan_yorke is not None and result.kind == "autonomous":
        progress.say(f"Kaplan-Yorke dimension {result.kaplan_yorke:.4g}")
    if result.note:
        progress.say(result.note)
    return DONE
