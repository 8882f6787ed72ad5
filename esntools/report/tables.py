"""The tables of a report, as words and numbers ready to print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from esntools.study.findings import Study, Verdict
from esntools.study.sentences import number

__all__ = ["Table", "audit_text", "bounds_table", "report_tables"]


@final
@dataclass(frozen=True)
class Table:
    """Column heads, rows of text, a caption, and which columns are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numeric: tuple[int, ...] = ()


def _complex(value: complex, digits: int = 4) -> str:
    """Return a multiplier; a conjugate pair is written once, with ±."""
    if not math.isfinite(abs(value)):
        return "not found"
    real = f"{value.real:.{digits}f}".replace("-", "−")
    if abs(value.imag) < 0.5 * 10**-digits:
        return real
    return f"{real} ± {abs(value.imag):.{digits}f} i"


def _vector(values: Any, digits: int = 4) -> str:
    if values is None:
        return "none"
    row = [number(float(v), digits) for v in np.atleast_1d(values)]
    return row[0] if len(row) == 1 else "(" + ", ".join(row) + ")"


def _matches_table(study: Study) -> Table | None:
    if not study.matches:
        return None
    rows = []
    for match in study.matches:
        first = True
        for true, found in zip(match.true_multipliers, match.found_multipliers):
            if true.imag < 0.0:
                continue
            rows.append(
                (
                    _vector(match.true_output) if first else "",
                    (_vector(match.found_output) if match.point is not None else "not found")
                    if first
                    else "",
                    _complex(complex(true)),
                    _complex(complex(found)),
                    number(abs(complex(found - true)), 2) if math.isfinite(abs(found)) else "",
                )
            )
            first = False
    head = ("true at", "learned at", "true multiplier exp(λ dt)", "learned multiplier", "difference")
    caption = "Equilibria of the true system and fixed points of the closed loop, side by side."
    return Table(head, tuple(rows), caption, (0, 1, 2, 3, 4))


def _fixed_point_tables(study: Study) -> tuple[Table, ...]:
    tables = []
    for name, points in study.fixed_points.items():
        rows = []
        for i, p in enumerate(list(points)[:40]):
            leading = [v for v in p.eigenvalues[:4] if v.imag >= 0.0][:2]
            kind = (
                "attracts" if p.stable else f"{p.n_unstable} unstable direction" + "s" * (p.n_unstable != 1)
            )
            rows.append(
                (
                    str(i), _vector(p.output, 3) if p.output is not None else _vector(p.x[:4], 3), kind,
                    ", ".join(_complex(complex(v), 3) for v in leading), number(p.residual, 2),
                )
            )  # fmt: skip
        has_output = any(p.output is not None for p in points)
        more = f" The first 40 of {len(points)}." if len(points) > 40 else ""
        caption = f"Fixed points at {name}.{more}" if rows else f"No fixed point was found at {name}."
        head = ("", "output" if has_output else "state", "kind", "leading multipliers", "residual")
        tables.append(Table(head, tuple(rows), caption, (3, 4)))
    return tuple(tables)


def audit_text(study: Study) -> str:
    """Return what the index sum says about fixed points that the search may have missed."""
    parts = [
        f"at {name} the audit {points.audit} (sum {points.index_sum}; {points.audit_reason})"
        for name, points in study.fixed_points.items()
    ]
    if not parts:
        return ""
    return (
        "Fixed points are searched for, so some may be missed. The signs of det(I − DG) over all fixed "
        "points of a bounded map add up to 1, which shows most omissions: " + "; ".join(parts) + "."
    )


def _exponents_table(study: Study) -> Table | None:
    spectrum = study.lyapunov
    if spectrum is None:
        return None
    rows = []
    for i, value in enumerate(spectrum.exponents):
        low, high = spectrum.interval[i]
        published = study.published_exponents[i] if i < len(study.published_exponents) else None
        rows.append(
            (
                f"λ{i + 1}", f"{number(float(value), 4)} ± {number(0.5 * float(high - low), 2)}",
                "" if published is None else number(published, 5),
            )
        )  # fmt: skip
    unit = "per unit of time" if spectrum.unit == "1/time" else "per step"
    caption = (
        f"Leading Lyapunov exponents of the closed loop, {unit}, with the half-width of the 95 % interval, "
        f"from {spectrum.n_steps:,} steps in {spectrum.n_batches} batches."
    )
    return Table(("", "network", "published"), tuple(rows), caption, (1, 2))


def _climate_table(study: Study) -> Table | None:
    climate = study.climate
    if climate is None:
        return None
    rows = (
        (
            "where it goes (histogram)",
            number(climate.histogram_distance, 2),
            number(climate.histogram_yardstick, 2),
        ),
        (
            "how fast it moves (spectrum)",
            number(climate.spectrum_distance, 2),
            number(climate.spectrum_yardstick, 2),
        ),
    )
    caption = (
        f"A free run of {len(climate.free_run):,} steps against the data: Hellinger distances, 0 for equal "
        "and 1 for disjoint, with the same distance between the two halves of the data as a yardstick."
    )
    return Table(("", "network to data", "data's own halves"), rows, caption, (1, 2))


def _fit_table(study: Study) -> Table | None:
    fit = study.fit
    if fit is None:
        return None
    words = {
        "spectral_radius": ("spectral radius of W", "how strongly the units drive each other"),
        "leak_rate": ("leak rate a", "how much of the state is renewed at each step"),
        "input_scaling": ("input scaling", "how strongly the input drives the units"),
        "bias_scaling": ("bias scaling", "how far the units are moved off the middle of φ"),
        "feedback_noise": ("feedback noise", "noise on the output fed back in training"),
    }
    rows = [("units", number(study.network.n_units), "size of the state x")]
    for name, value in fit.hyperparameters.items():
        label, meaning = words.get(name, (name.replace("_", " "), ""))
        rows.append((label, number(float(value)), meaning))
    rows += [
        ("ridge penalty", f"{fit.ridge:.1e}", "how much large readout weights cost (relative)"),
        ("values trained on", number(fit.n_train), f"after a washout of {fit.washout} steps"),
        ("one-step error", number(fit.one_step_nrmse), "on values held out, in standard deviations"),
    ]
    return Table(("chosen", "", "what it is"), tuple(rows), "", (1,))


def _transitions_table(study: Study) -> Table | None:
    graph = study.graph
    if graph is None or study.kind == "series" or graph.number_of_edges() == 0:
        return None
    pulses = graph.graph["pulses"]
    edges = sorted(graph.edges(data=True), key=lambda e: (e[0], e[1]))[:60]
    rows = tuple(
        (
            f"{source} → {target}", _vector(pulses[data["pulse"]], 2), number(data.get("threshold"), 3),
            "yes" if data.get("at_unit") else "no",
        )
        for source, target, data in edges
    )  # fmt: skip
    head = ("move", "pulse", "smallest amplitude", "made by a unit pulse")
    return Table(head, rows, "Moves between stable states.", (2,))


def bounds_table(verdict: Verdict) -> Table | None:
    """Return how far each bound got on the question of one verdict."""
    bounds = verdict.result.bounds
    if not bounds:
        return None
    radius = verdict.network.spectral_radius()
    rows = tuple(
        (
            b.name, number(b.value), "yes" if b.proves else "no",
            "" if b.critical_gain is None else number(b.critical_gain * radius),
        )
        for b in bounds
    )  # fmt: skip
    head = ("bound", "value (proves below 1)", "proves", "proves up to spectral radius")
    caption = f"The bounds tried. The spectral radius of W is {number(radius)}."
    return Table(head, rows, caption, (1, 3))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif value is not None and name not in ("format", "version"):
            shown = number(float(value)) if isinstance(value, float) else str(value)
            rows.append((f"{prefix}{name}", shown))
    return rows


def report_tables(study: Study, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return every table by name; None where the study has nothing to put in it."""
    settings = [*_flat(study.settings["study"]), ("seed", str(study.settings["seed"]))]
    settings += [(f"version of {name}", value) for name, value in study.settings["versions"].items()]
    source = [
        ("data", str(study.source["series"])),
        ("from", f"the zoo: {study.source['zoo']}" if "zoo" in study.source else str(study.source["file"])),
    ]
    if study.source.get("n_steps"):
        source.append(("length", f"{study.source['n_steps']:,} steps"))
    if study.dt is not None:
        source.append(("sampling interval dt", number(study.dt)))
    source += [
        ("SHA-256 of the data", study.source["sha256"]),
        ("hash of the network", study.network.content_hash),
    ]
    timings = [(name, f"{value:.1f}") for name, value in study.timings.items()]
    timings.append(("together", f"{sum(study.timings.values()):.1f}"))
    return {
        "fit": _fit_table(study),
        "climate": _climate_table(study),
        "matches": _matches_table(study),
        "fixed_points": _fixed_point_tables(study),
        "exponents": _exponents_table(study),
        "transitions": _transitions_table(study),
        "source": Table(("", ""), tuple(source)),
        "settings": Table(("setting", "value"), tuple(settings)),
        "timings": Table(("step", "seconds"), tuple(timings), "", (1,)),
        "files": Table(("file", "what it is"), tuple(names)),
    }
