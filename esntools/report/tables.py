"""The tables of a report, as words and numbers ready to print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from esntools.study.findings import Study, Verdict
from esntools.study.sentences import in_data_range, near, number, with_error

__all__ = ["Table", "audit_text", "bounds_table", "report_tables", "vector_text"]


_ROWS: Final = 12


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


def vector_text(values: Any, digits: int = 4) -> str:
    """Return a number, or a vector in brackets."""
    if values is None:
        return "none"
    row = [number(float(v), digits) for v in np.atleast_1d(values)]
    return row[0] if len(row) == 1 else "(" + ", ".join(row) + ")"


def _near(values: Any, scale: float) -> str:
    row = [near(float(v), scale) for v in np.atleast_1d(values)]
    return row[0] if len(row) == 1 else "(" + ", ".join(row) + ")"


def _matches_table(study: Study) -> Table | None:
    if not study.matches:
        return None
    rows = []
    scale = max(float(np.abs(m.true_output).max()) for m in study.matches) or 1.0
    for match in study.matches:
        first = True
        unseen = "" if in_data_range(study, match.true_output) else " (never seen)"
        for true, found in zip(match.true_multipliers, match.found_multipliers):
            if true.imag < 0.0:
                continue
            rows.append(
                (
                    _near(match.true_output, scale) + unseen if first else "",
                    (_near(match.found_output, scale) if match.point is not None else "not found")
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
    if any("never seen" in row[0] for row in rows):
        caption += " One outside the range of the data cannot be learned from them."
    return Table(head, tuple(rows), caption, (0, 1, 2, 3, 4))


def _fixed_point_tables(study: Study) -> tuple[Table, ...]:
    tables = []
    for name, points in study.fixed_points.items():
        # Where the many unstable ones lie says little; those that attract are all shown.
        order = sorted(range(len(points)), key=lambda i: (not points.points[i].stable, i))
        shown = order[: max(_ROWS, min(40, len(points.stable)))]
        has_output = any(p.output is not None for p in points)
        values = [points.points[i].output if has_output else points.points[i].x[:4] for i in order]
        scale = max((float(np.abs(v).max()) for v in values if v is not None and len(v)), default=1.0) or 1.0
        rows = []
        for i in shown:
            p = points.points[i]
            leading = [v for v in p.eigenvalues[:4] if v.imag >= 0.0][:2]
            where = p.output if p.output is not None else p.x[:4]
            rows.append(
                (
                    str(i), _near(where, 10.0 * scale),
                    "attracts" if p.stable else f"leaves in {p.n_unstable}",
                    ", ".join(_complex(complex(v), 3) for v in leading), number(p.residual, 2),
                )
            )  # fmt: skip
        of = "of" if name == "the closed loop" else "at"
        n = len(points)
        caption = f"Fixed points {of} {name}: {n}, of which {len(points.stable)} attract."
        proved = study.proved_points.get(name)
        if proved is not None and proved.sentence:
            caption += f" {proved.sentence}"
        if n > len(shown):
            caption += f" The {n - len(shown)} not shown are unstable; report.json has them."
        if not rows:
            caption = f"No fixed point was found {of} {name}."
        head = ("", "output" if has_output else "state", "directions", "leading multipliers", "residual")
        tables.append(Table(head, tuple(rows), caption, (3, 4)))
    return tuple(tables)


def audit_text(study: Study) -> str:
    """Return what the index sum says about fixed points that the search may have missed."""
    # Conditions that were audited alike share a clause.
    clauses: dict[str, list[str]] = {}
    for name, points in study.fixed_points.items():
        if name in study.proved_points and study.proved_points[name].complete:
            continue
        said = f"the audit {points.audit} (sum {points.index_sum}; {points.audit_reason})"
        clauses.setdefault(said, []).append(("of " if name == "the closed loop" else "at ") + name)
    parts = [f"{', '.join(names)} {said}" for said, names in clauses.items()]
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
    rows: list[tuple[str, ...]] = []
    for i, value in enumerate(spectrum.exponents):
        low, high = spectrum.interval[i]
        row: tuple[str, ...] = (f"λ{i + 1}", with_error(float(value), 0.5 * float(high - low)))
        if study.published_exponents:
            known = i < len(study.published_exponents)
            row += (number(study.published_exponents[i], 5) if known else "",)
        rows.append(row)
    unit = "per unit of time" if spectrum.unit == "1/time" else "per step"
    caption = (
        f"Leading Lyapunov exponents of the closed loop, {unit}, with the half-width of the 95 % interval, "
        f"from {spectrum.n_steps:,} steps in {spectrum.n_batches} batches."
    )
    head = ("", "network", "reference") if study.published_exponents else ("", "network")
    return Table(head, tuple(rows), caption, tuple(range(1, len(head))))


def _comparison_table(study: Study) -> Table | None:
    comparison = study.comparison
    if comparison is None or not comparison.measures:
        return None
    names = {
        "density missed": "where the data go and the network does not (nats)",
        "density invented": "where the network goes and the data do not (nats)",
        "spectrum": "power spectrum (Hellinger)",
        "dimension": "correlation dimension",
        "exponent": "leading Lyapunov exponent",
        "holes": "number of holes",
    }
    words = {True: "agrees", False: "differs", None: "undecided"}
    rows = []
    for name, m in comparison.measures.items():
        values = tuple("" if v is None else number(v, 3) for v in (m.true, m.learned))
        far = tuple("" if v is None else number(v, 2) for v in (m.distance, m.allowed))
        rows.append((names.get(name, name), *values, *far, words[m.agrees]))
    caption = "Allowed is twice what the two halves of the data differ by, and a margin."
    return Table(("", "data", "network", "distance", "allowed", ""), tuple(rows), caption, (1, 2, 3, 4))


def _climate_table(study: Study) -> Table | None:
    climate = study.climate
    if climate is None:
        return None
    rows = (
        (
            "which values (histogram)",
            number(climate.histogram_distance, 2),
            number(climate.histogram_yardstick, 2),
        ),
        (
            "at which rhythm (spectrum)",
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
        ("ridge penalty", number(fit.ridge, 2), "how much large readout weights cost (relative)"),
        ("values trained on", number(fit.n_train), f"after a washout of {fit.washout} steps"),
        ("one-step error", number(fit.one_step_nrmse), "on values held out, in standard deviations"),
    ]
    return Table(("chosen", "", "what it is"), tuple(rows), "", (1,))


_NAMES: Final = {
    "components": "a norm for each strongly connected component",
    "perron-weights": "weighted maximum norm (Perron)",
    "spectral-norm": "Euclidean norm (spectral)",
    "diagonal-schur": "scaled Euclidean norm (diagonal Schur)",
    "incremental-lurie": "full quadratic norm (Lur’e)",
    "incremental-lurie, balanced": "full quadratic norm (Lur’e), balanced",
    "incremental-lurie, optimal": "full quadratic norm (Lur’e), optimal multipliers",
    "common-quadratic": "one quadratic norm for all vertices of the slopes",
    "zero-input-multipliers": "multipliers for odd activations, zero input only",
}
_REGIONS: Final = {
    " on the invariant box": ", for these inputs",
    " on chords to the fixed point": ", on chords to the fixed point",
}


def bounds_table(verdict: Verdict) -> Table | None:
    """Return how far each bound got on the question of one verdict."""
    bounds = verdict.result.bounds
    network, note = verdict.network, ""
    if network.W_fb is not None and network.readout is not None and network.readout.is_affine:
        network, note = network.folded(), " with the feedback folded in"
    radius = network.spectral_radius()
    best = {b.name: b.value for b in bounds}
    rows = []
    for b in bounds:
        name, region = b.name, ""
        for suffix, words in _REGIONS.items():
            if name.endswith(suffix):
                name, region = name.removesuffix(suffix), words
        # On the box of states that the inputs allow a bound is only worth a row where it gains something.
        if region and not b.proves and not b.value < 0.999 * best.get(name, math.inf):
            continue
        gain = "" if b.critical_gain is None else number(b.critical_gain * radius)
        dual = "" if b.dual is None or not math.isfinite(b.dual) else number(b.dual * radius)
        factor = number(b.value) if math.isfinite(b.value) else "none"
        rows.append((_NAMES.get(name, name) + region, factor, "yes" if b.proves else "no", gain, dual))
    if not rows:
        return None
    head = ("norm", "factor", "proves", "below 1 up to radius", "never above")
    caption = (
        f"The norms tried, in this order, up to the first that proves; a factor below 1 proves. The spectral "
        f"radius of W{note} is {number(radius)}; the last two columns, in floating point, are the one up to "
        "which the factor stays below 1, and one above which no norm of this kind exists."
    )
    return Table(head, tuple(rows), caption, (1, 3, 4))


def _irrelevant(name: str, kind: str) -> bool:
    """Whether a setting plays no part in a study of this kind."""
    part, _, rest = name.partition(".")
    if kind == "network":
        return part in ("fit", "forecast") or name in ("verify.closed_loop", "report.plot_steps")
    if kind == "task" and part == "forecast":
        return True
    pulses = ("pulse_amplitude", "pulse_length", "max_amplitude", "relax_steps")
    chaos = ("n_exponents", "lyapunov_steps", "embedding_delay")
    return rest in (pulses if kind == "series" else chaos)


def _flat(settings: Mapping[str, Any], kind: str, prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, kind, f"{prefix}{name}.")
        elif (
            value is not None
            and name not in ("format", "version")
            and not _irrelevant(f"{prefix}{name}", kind)
        ):
            shown = number(float(value)) if isinstance(value, float) else str(value)
            rows.append((f"{prefix}{name}", shown))
    return rows


def _origin(source: Mapping[str, Any]) -> str:
    if "zoo" in source:
        return f"the zoo: {source['zoo']}"
    return str(source["network"] if "network" in source else source["file"])


def report_tables(study: Study, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return every table by name; None where the study has nothing to put in it."""
    settings = [*_flat(study.settings["study"], study.kind), ("seed", str(study.settings["seed"]))]
    source = [
        ("data", str(study.source["series"])),
        ("from", _origin(study.source)),
    ]
    if study.source.get("n_steps"):
        source.append(("length", f"{study.source['n_steps']:,} steps"))
    if study.dt is not None:
        source.append(("sampling interval dt", number(study.dt)))
    source += [
        ("SHA-256 of the data", study.source["sha256"]),
        ("hash of the network", study.network.content_hash),
    ]
    timings = [f"{name} {value:.1f}" for name, value in study.timings.items() if value >= 0.05]
    timings.append(f"together {sum(study.timings.values()):.1f}")
    return {
        "fit": _fit_table(study),
        "climate": _climate_table(study),
        "matches": _matches_table(study),
        "fixed_points": _fixed_point_tables(study),
        "exponents": _exponents_table(study),
        "comparison": _comparison_table(study),
        "source": Table(("", ""), tuple(source)),
        "settings": Table(("setting", "value"), tuple(settings)),
        "timings": ", ".join(timings),
        "versions": ", ".join(f"{name} {value}" for name, value in study.settings["versions"].items()),
        "files": Table(("file", "what it is"), tuple(names)),
    }
