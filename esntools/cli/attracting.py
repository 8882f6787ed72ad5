"""Commands about what attracts: basins, the echo index, and whether a learned attractor is the true one."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from esntools._typing import Document
from esntools.cli.console import DONE, NO, UNDECIDED, ProgressLine
from esntools.cli.dynamics import PICTURES, counted
from esntools.cli.sources import (
    check_writable,
    count_inputs,
    emit,
    fit_of,
    held_network,
    naming,
    plain,
    read,
    read_network,
    save_figure,
    zoo_model,
)
from esntools.cli.verify import asked_inputs, say_paragraph
from esntools.errors import InvalidInputError

if TYPE_CHECKING:
    from esntools._typing import FloatArray
    from esntools.basins import Basins
    from esntools.echo_index import DwellTimes, EchoIndex
    from esntools.echo_index.laws import EchoInput
    from esntools.network import EchoStateNetwork
    from esntools.series import Series

__all__ = ["basins_command", "compare_command", "echo_index_command"]


# -- basins --------------------------------------------------------------------------------------------------


def basins_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.basins import basins

    check_writable(options.output)
    check_writable(options.plot, PICTURES)
    network, u, _ = held_network(options)
    if options.plot is not None and network.n_units < 2:
        raise InvalidInputError(
            "--plot", "a network of one unit", "a picture needs a plane of states", "leave it out"
        )
    found = basins(
        network, u, n_starts=options.starts, n_steps=options.steps, rng=options.seed or 0, progress=progress
    )
    outputs = [None if network.readout is None else network.output(a.states) for a in found.attractors]
    emit(
        {
            "format": "esntools-basins",
            "version": 1,
            "network": network.content_hash,
            "closed_loop": options.closed_loop,
            "input": plain(u),
            "n_starts": len(found.labels),
            "attractors": [
                {
                    "kind": a.kind,
                    "period": a.period,
                    "share": plain(share),
                    "share_interval_95": plain(interval),
                    "exponent": plain(a.exponent),
                    "exponent_interval_95": plain(a.exponent_interval),
                    "mean": plain(a.mean),
                    "mean_output": None if y is None else plain(y.mean(axis=0)),
                    # A point, a cycle; of a stretch of a chaotic run nobody needs every state.
                    "states": plain(a.states) if a.is_point else None,
                }
                for a, share, interval, y in zip(found.attractors, found.shares, found.intervals, outputs)
            ],
            "escaped": found.escaped,
            "undecided": found.undecided,
            "missed": found.missed,
            "note": found.note,
        },
        options.output,
    )
    if options.plot is not None and found.attractors:
        from esntools.basins import basin_picture
        from esntools.plotting import plot_basins

        plane, extent = _plane(network, u, found)
        picture = basin_picture(
            network, u, plane=plane, extent=extent, resolution=options.resolution, n_steps=options.steps,
            rng=options.seed or 0, progress=progress,
        )  # fmt: skip
        save_figure(plot_basins(picture).figure, options.plot)
    progress.say(
        f"{counted(len(found.attractors), 'attractor')} reached from {len(found.labels)} random starts"
    )
    for a, share, (low, high), y in zip(found.attractors, found.shares, found.intervals, outputs):
        kind = f"cycle of {a.period}" if (a.period or 1) > 1 else a.kind
        at = "" if y is None else " at mean output " + ", ".join(f"{v:.6g}" for v in y.mean(axis=0))
        progress.say(f"  {kind}{at}: {share:.1%} of the starts, 95 % interval {low:.1%} to {high:.1%}")
    for name, share in (("escaped", found.escaped), ("undecided", found.undecided)):
        if share:
            progress.say(f"  {name}: {share:.1%}")
    progress.say(f"a basin with a share above {found.missed:.2g} would have been seen with probability 95 %")
    if found.note:
        say_paragraph(progress, found.note)
    return DONE if found.attractors else UNDECIDED


def _plane(
    network: EchoStateNetwork, u: FloatArray | None, found: Basins
) -> tuple[tuple[FloatArray, FloatArray, FloatArray] | None, tuple[float, float, float, float] | None]:
    """Return a plane through the attractors, and how far it is drawn.

    Where they leave a direction open it is the one that a few steps from random starts contract least.
    """
    if network.n_units == 2 and network.activation.bounded:
        return None, None
    states = found.starts[:200]
    for _ in range(3):
        states = network.step(states, u)
    ends = np.concatenate([a.states[-200:] for a in found.attractors])
    origin = np.mean([a.mean for a in found.attractors], axis=0)
    # The attractors decide; what is small beside them only breaks ties.
    rows = np.concatenate([ends - origin, 1e-6 * (states - origin)])
    _, _, axes = np.linalg.svd(rows, full_matrices=False)
    e1, e2 = (v * np.sign(v[np.argmax(np.abs(v))]) for v in axes[:2])
    across = np.column_stack([e1, e2])
    reach = 1.25 * float(np.max(np.abs((ends - origin) @ across)))
    if reach <= 1e-6:
        reach = float(np.max(np.abs((states - origin) @ across)))
    reach = max(reach, 1e-3)
    return (origin, e1, e2), (-reach, reach, -reach, reach)


# -- the echo index ------------------------------------------------------------------------------------------


def _echo_inputs(options: Namespace, network: EchoStateNetwork) -> EchoInput:
    from esntools.echo_index import SwitchingInput
    from esntools.inputs import InputAlphabet

    if options.symbol is None:
        if options.runs is not None:
            raise InvalidInputError("--runs", "given without --symbol", "it limits the runs of symbols")
        return cast("EchoInput", asked_inputs(options, network))
    n = network.n_inputs
    for symbol in options.symbol:
        count_inputs("--symbol", len(symbol), n)
    symbols = [symbol * (n if len(symbol) == 1 else 1) for symbol in options.symbol]
    if options.runs is None:
        return InputAlphabet(symbols)
    low, high = options.runs
    if len(symbols) < 2:
        raise InvalidInputError("--runs", "with one --symbol", "runs are of several", "give another --symbol")
    return SwitchingInput(symbols, min_length=low, max_length=high)


def echo_index_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.echo_index import dwell_time_table, estimate_echo_index

    check_writable(options.output)
    check_writable(options.plot, PICTURES)
    if options.dwell_times and (options.symbol is None or len(options.symbol) < 2):
        raise InvalidInputError(
            "--dwell-times", "without symbols to switch between", "needs at least two",
            "add --symbol U,.. for each",
        )  # fmt: skip
    network = read_network(options.source)
    inputs = _echo_inputs(options, network)
    index = estimate_echo_index(
        network, inputs, n_starts=options.starts, max_past=options.past, budget=options.budget,
        rng=options.seed or 0, progress=progress,
    )  # fmt: skip
    table: DwellTimes | None = None
    if options.dwell_times:
        symbols = np.array([np.broadcast_to(s, (network.n_inputs,)) for s in options.symbol])
        table = dwell_time_table(network, symbols, progress=progress)
    emit(_index_document(network, index, table), options.output)
    if options.plot is not None:
        from esntools.plotting import plot_echo_index

        progress("drawing", 0.0)
        save_figure(plot_echo_index(index).figure, options.plot)
    say_paragraph(progress, index.sentence)
    for response in index.responses:
        kind = "attracting" if response.attracting else "not seen to attract"
        low, high = response.interval
        progress.say(
            f"  {kind}: exponent {response.exponent:+.4g} per step ({low:+.4g} to {high:+.4g}), "
            f"reached from {response.share:.1%} of the starts"
        )
    if index.boundary is not None:
        i, j = index.boundary.between
        progress.say(f"  between {i} and {j}: exponent {index.boundary.exponents[0]:+.4g} per step")
    for proof in index.proofs:
        # The sentence has said it already where it rests on one proof.
        if proof in index.sentence:
            continue
        say_paragraph(progress, f"Proof: {proof}")
    if table is not None:
        say_paragraph(progress, table.sentence)
    if index.note:
        say_paragraph(progress, index.note)
    if options.output is not None:
        _save_certificates(index, options.output, progress)
    return DONE if index.estimate is not None else UNDECIDED


def _index_document(network: EchoStateNetwork, index: EchoIndex, table: DwellTimes | None) -> Document:
    now = int(np.searchsorted(index.times, 0))
    return {
        "format": "esntools-echo-index",
        "version": 1,
        "network": network.content_hash,
        "verdict": index.verdict,
        "sentence": index.sentence,
        "lower": index.lower,
        "upper": index.upper,
        "almost_sure": index.almost_sure,
        "estimate": index.estimate,
        "responses": [
            {
                "exponent": plain(r.exponent),
                "interval_95": plain(r.interval),
                "attracting": bool(r.attracting),
                "share": plain(r.share),
                "share_interval_95": plain(r.share_interval),
                "state_now": plain(r.states[now]),
            }
            for r in index.responses
        ],
        "boundary": None if index.boundary is None else {
            "between": plain(index.boundary.between),
            "exponents": plain(index.boundary.exponents),
            "intervals_95": plain(index.boundary.intervals),
        },
        "counts": [{"past": int(past), "responses": int(count)} for past, count in index.counts],
        "stable": bool(index.stable),
        "n_random": index.n_random,
        "missed_measure": plain(index.missed_measure),
        "proofs": list(index.proofs),
        "dwell_times": None if table is None else {
            "lengths": plain(table.lengths),
            "shortest": plain(table.shortest),
            "status": list(table.status),
            "longest": table.longest,
            "hold": table.hold,
            "reason": table.reason,
        },
        "note": index.note,
    }  # fmt: skip


def _save_certificates(index: EchoIndex, path: str, progress: ProgressLine) -> None:
    from esntools.files import is_special, write_json

    if is_special(Path(path)):
        return
    for k, document in enumerate(index.documents, start=1):
        number = str(k) if len(index.documents) > 1 else ""
        certificate = Path(path).with_suffix(f".certificate{number}.json")
        write_json(certificate, document)
        progress.say(f"certificate: {certificate}; verify it with esntools check {certificate}")


# -- comparison ----------------------------------------------------------------------------------------------


def compare_command(options: Namespace, progress: ProgressLine) -> int:
    from esntools.attractors import compare_attractors

    check_writable(options.output)
    check_writable(options.plot, PICTURES)
    series = _series(options, options.source)
    true, dt = series.values, options.dt or series.dt
    fit = fit_of(options.learned)
    if fit is not None:
        # As long as the true series; of that, more than this says no more.
        learned = fit.forecast(min(len(true), 20000)).outputs
    else:
        learned = _series(options, options.learned).values
    with naming(options.source, "true"), naming(options.learned, "learned"):
        result = compare_attractors(true, learned, dt=dt, rng=options.seed or 0, progress=progress)
    emit(
        {
            "format": "esntools-attractor-comparison",
            "version": 1,
            "verdict": result.verdict,
            "reasons": list(result.reasons),
            "measures": {
                name: {
                    "distance": plain(m.distance),
                    "allowed": plain(m.allowed),
                    "true": plain(m.true),
                    "learned": plain(m.learned),
                    "agrees": None if m.agrees is None else bool(m.agrees),
                    "note": m.note,
                }
                for name, m in result.measures.items()
            },
            "embedding": None if result.embedding is None else {
                "lag": int(result.embedding.lag), "dimension": int(result.embedding.dimension),
            },
        },
        options.output,
    )  # fmt: skip
    if options.plot is not None:
        from esntools.plotting import plot_attractor_comparison

        progress("drawing", 0.0)
        save_figure(plot_attractor_comparison(result).figure, options.plot)
    progress.say(result.verdict)
    for m in result.measures.values():
        word = {True: "agrees", False: "differs", None: "undecided"}[m.agrees]
        values = "" if m.true is None or m.learned is None else f", {m.learned:.4g} for {m.true:.4g}"
        far = "" if m.distance is None else f" by {m.distance:.3g} of {m.allowed:.3g} allowed"
        why = f" ({m.note})" if m.agrees is None and m.note else ""
        progress.say(f"  {m.name}: {word}{far}{values}{why}")
    for reason in result.reasons:
        if reason.partition(":")[0] not in result.measures:
            progress.say(f"  {reason}")
    return {"equivalent": DONE, "different": NO}.get(result.verdict, UNDECIDED)


def _series(options: Namespace, source: str) -> Series:
    """Return a series of a file or of the zoo, without gaps."""
    model = zoo_model(source)
    if model is None:
        series = read(options, source, options.column)
    else:
        series = model.series()
    if series.n_missing:
        raise InvalidInputError(
            f"{source}: {series.name}", f"{series.n_missing} values missing", "an orbit has no gaps",
            "give an unbroken part",
        )  # fmt: skip
    return series
