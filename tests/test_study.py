"""Studies: known answers come out, an analysis may fail alone, a mistake of ours does not hide."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace as Namespace
from typing import Any

import numpy as np
import pytest
from study_cases import SETTINGS, henon_series, henon_study, switching_study

from esntools._typing import no_progress
from esntools.certificates import certify_esp
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.inputs import AnyInput, InputAlphabet, InputBox, Zero
from esntools.network import EchoStateNetwork, Readout
from esntools.spec import ReportSpec, StudySpec
from esntools.study import Verdict, certified_range, pulse_paths, run_study
from esntools.study import series as study_module
from esntools.study.dynamics import prove_points
from esntools.study.findings import study_document
from esntools.study.sentences import describe_inputs, number, verdict_sentence
from esntools.study.steps import Steps, chosen_seed, input_class, with_options
from esntools.symbolic import derive
from esntools.zoo import load


def test_henon_forecasts_climate_and_exponent() -> None:
    study = henon_study()
    assert not study.not_done
    assert len(study.vpt_steps) == 12
    assert study.vpt_steps.mean() > 8.0
    assert study.climate is not None
    assert study.climate.agrees
    assert study.lyapunov is not None
    assert study.lyapunov.exponents[0] == pytest.approx(0.419, abs=0.08)


def test_henon_fixed_points_and_multipliers_are_the_true_ones() -> None:
    inner = next(m for m in henon_study().matches if m.true_output[0] > 0)
    assert inner.found_output is not None
    assert inner.found_output[0] == pytest.approx(0.6313545, abs=1e-3)
    assert abs(inner.found_multipliers[0] - inner.true_multipliers[0]) < 0.05


def test_windows_are_unseen_values_and_end_where_the_error_passes() -> None:
    study, x = henon_study(), henon_series().values
    for window in study.windows:
        assert window.start >= SETTINGS.fit.n_train
        n = len(window.truth)
        np.testing.assert_array_equal(window.truth[:, 0], x[window.start : window.start + n])
        k = int(window.valid_steps)
        assert np.all(window.error[:k] <= window.threshold)
        assert k == n or not window.error[k] <= window.threshold
    median = study.windows[0].valid_steps
    assert np.mean(study.vpt_steps < median) <= 0.5
    assert np.mean(study.vpt_steps > median) <= 0.5


@pytest.mark.slow
@pytest.mark.ci
def test_settings_of_the_report_and_a_given_exponent_are_honoured() -> None:
    settings = replace(
        SETTINGS, fit=replace(SETTINGS.fit, n_units=20), report=ReportSpec(plot_steps=33, embedding_delay=5),
        explain=replace(SETTINGS.explain, n_starts=8, lyapunov_steps=100),
    )  # fmt: skip
    study = run_study(henon_series(1400), settings=settings, lyapunov_exponent=0.419)
    assert study.plot_steps == 33
    assert study.climate is not None
    assert study.climate.lag == 5
    assert study.vpt_lyapunov is not None
    np.testing.assert_allclose(study.vpt_lyapunov, 0.419 * study.vpt_steps)
    assert "Lyapunov times" in study.summary_lines[0]
    assert study.published_exponents == ()


@pytest.mark.slow
@pytest.mark.ci
def test_the_edges_of_the_certified_range_are_certificates() -> None:
    network = EchoStateNetwork([[0.5, 0.2], [0.0, 0.4]], W_in=[[1.0], [0.5]])
    found = certified_range(network, InputBox(-1, 1), derivation=derive(network), seconds=30.0)
    assert found.proved is not None
    edge = certify_esp(network.scaled(found.proved), InputBox(-1, 1))
    assert edge.verdict == "proved"
    assert found.searched
    for gain in found.refuted:
        assert gain > found.proved
        assert certify_esp(network.scaled(gain), InputBox(-1, 1)).verdict == "refuted"
    # The spectral radius 0.5 makes 2 the place where the origin loses its stability.
    assert 1.8 < found.proved <= 2.0 < found.refuted[0] < 2.2


def test_feedback_is_folded_into_what_is_scaled() -> None:
    readout = Readout([[1.0, 0.0]])
    network = EchoStateNetwork(0.2 * np.eye(2), W_fb=[[0.3], [0.0]], readout=readout)
    found = certified_range(network, Zero(), seconds=30.0)
    assert found.network == network.folded()
    assert found.proved is not None
    assert 1.9 < found.proved <= 2.0


@pytest.mark.slow
@pytest.mark.ci
def test_a_study_is_a_function_of_its_seed() -> None:
    quick = replace(SETTINGS, explain=replace(SETTINGS.explain, lyapunov_steps=200, n_starts=8))
    quick = replace(quick, fit=replace(SETTINGS.fit, n_units=20))
    series = henon_series(1400)

    def numbers(seed: int) -> str:
        document = study_document(run_study(series, settings=quick, rng=seed))
        # The search for certified edges ends by the clock.
        timed = ("seconds", "certified_gains")
        return json.dumps({k: v for k, v in document.items() if k not in timed}, sort_keys=True)

    first = numbers(5)
    assert numbers(5) == first
    assert numbers(6) != first


def test_switching_network_is_refuted_and_its_fixed_points_are_the_published_ones() -> None:
    study = switching_study()
    assert [v.result.verdict for v in study.verdicts] == ["refuted"]
    at_a = sorted(float(p.x[1]) for p in study.fixed_points["input A"])
    np.testing.assert_allclose(
        at_a, [-0.9135820965863708, -0.06679949844294614, 0.9332809526378179], atol=1e-12
    )
    (only,) = study.fixed_points["input B"]
    np.testing.assert_allclose(only.x, [-0.4369774072580215, -0.9761346724242937], atol=1e-12)


@pytest.mark.parametrize("make", [henon_study, switching_study])
def test_five_sentences_with_numbers(make: Any) -> None:
    lines = make().summary_lines
    assert len(lines) == 5
    for line in lines:
        assert line.endswith(".")
        assert "nan" not in line.lower()
        assert "None" not in line
    assert sum(any(c.isdigit() for c in line) for line in lines) >= 4


def test_document_is_json_and_holds_the_numbers() -> None:
    document = json.loads(json.dumps(study_document(henon_study()), allow_nan=False))
    assert document["format"] == "esntools-study"
    assert document["network"]["content_hash"] == henon_study().network.content_hash
    assert document["valid_prediction_time"]["steps"] == henon_study().vpt_steps.tolist()
    assert document["equilibria"][0]["true_multipliers"][0][1] == 0.0


@pytest.mark.slow
@pytest.mark.ci
def test_a_refused_step_is_a_reason_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise InvalidInputError("here", "this", "must be otherwise")

    monkeypatch.setattr(study_module, "lyapunov_spectrum", refuse)
    quick = replace(SETTINGS, explain=replace(SETTINGS.explain, n_starts=8))
    study = run_study(henon_series(1400), settings=quick)
    assert study.not_done == {"lyapunov": "here: this; must be otherwise"}
    assert study.lyapunov is None
    assert study.graph is not None
    assert "not done (here: this; must be otherwise)" in study.summary_lines[4]


def test_a_mistake_of_ours_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise TypeError("a mistake")

    monkeypatch.setattr(study_module, "compare_climate", broken)
    with pytest.raises(TypeError, match="a mistake"):
        run_study(henon_series(1400), settings=SETTINGS)


def test_what_is_proved_and_compared_beyond_the_searches() -> None:
    study = switching_study()
    assert [(p.n_proved, p.complete) for p in study.proved_points.values()] == [
        (3, True),
        (3, True),
        (1, True),
    ]
    assert study.echo_index is not None
    assert study.echo_index.almost_sure == 1
    assert study.dwell_times is not None
    assert study.dwell_times.longest == 26
    document = study_document(study)
    assert document["fixed_points"]["input A"]["complete"] is True
    assert document["dwell_times"]["shortest"][:4] == [1, 1, 2, 2]
    series = henon_study()
    assert series.comparison is not None
    assert series.comparison.measures["density missed"].agrees is True
    (points,) = series.proved_points.values()
    assert points.n_proved == points.n_found == len(series.fixed_points["the closed loop"])
    assert points.sentence.startswith("All are proved to exist, within ")


@pytest.mark.slow
@pytest.mark.ci
def test_too_few_values_held_back_is_said() -> None:
    settings = replace(SETTINGS, explain=replace(SETTINGS.explain, n_starts=8, lyapunov_steps=100))
    study = run_study(henon_series(1220), settings=settings)
    assert "20 values are held back" in study.not_done["forecast"]
    assert "predicts the next value" in study.summary_lines[0]


def test_steps_time_and_order_the_progress() -> None:
    seen: list[float] = []
    steps = Steps(lambda label, fraction: seen.append(fraction))
    assert steps.run("fit", lambda p: p("half", 0.5) or 7) == 7
    assert steps.run("graph", lambda p: 1, needs=None) is None
    assert steps.not_done["graph"].startswith("an earlier step")
    assert seen == sorted(seen)
    assert set(steps.timings) == {"fit"}


@pytest.mark.slow
@pytest.mark.ci
def test_progress_is_monotone_and_ends_at_one() -> None:
    seen: list[float] = []
    run_study(load("switching-2neuron"), progress=lambda label, fraction: seen.append(fraction))
    assert all(0.0 <= f <= 1.0 for f in seen)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_input_classes_of_study_toml() -> None:
    data = np.array([[1.0], [np.nan], [3.0]])
    box = input_class("data", data, None, 1)
    assert isinstance(box, InputBox)
    assert (box.low[0], box.high[0]) == (1.0, 3.0)
    two = input_class("-1:1", None, None, 2)
    assert isinstance(two, InputBox)
    assert two.high.tolist() == [1.0, 1.0]
    assert isinstance(input_class("-1:1,0:2", None, None, 2), InputBox)
    assert isinstance(input_class("zero", None, None, 1), Zero)
    assert isinstance(input_class("any", None, None, 1), AnyInput)
    assert isinstance(input_class("symbols", None, np.eye(2), 2), InputAlphabet)
    for bad in ("symbols", "nonsense", "1;2", "1:2:3"):
        with pytest.raises(InvalidInputError, match=r"verify.inputs"):
            input_class(bad, None, None, 1)


def test_options_replace_settings_and_unknown_ones_are_refused() -> None:
    settings, given = with_options(StudySpec(), {"n_units": 77, "dt": 0.5})
    assert settings.fit.n_units == 77
    assert given == {"dt": 0.5}
    with pytest.raises(InvalidInputError, match="spectral_radius"):
        with_options(StudySpec(), {"spectral_raduis": 0.9})
    with pytest.raises(InvalidInputError, match="not fitted"):
        run_study(load("switching-2neuron"), n_units=10)


def test_seed_comes_from_rng_or_settings() -> None:
    assert chosen_seed(None, 4) == 4
    assert chosen_seed(9, 4) == 9
    assert chosen_seed(np.random.default_rng(0), 4) == chosen_seed(np.random.default_rng(0), 4)


def test_pulse_paths_start_and_end_at_stable_states() -> None:
    study = switching_study()
    assert study.graph is not None
    nodes = [np.array(data["x"]) for _, data in study.graph.nodes(data=True)]
    moves = sum(r not in (i, -1) for i, row in enumerate(study.graph.graph["pulse_table"]) for r in row)
    paths = pulse_paths(study.graph, study.network, n_steps=300)
    assert len(paths) == moves > 0
    for path in paths:
        start, end = (min(np.linalg.norm(x - path[k]) for x in nodes) for k in (0, -1))
        assert start == 0.0
        assert end < 1e-9


@pytest.mark.slow
def test_flip_flop_of_two_bits_has_four_states_and_no_proof() -> None:
    study = run_study(load("flipflop-2bit"))
    assert study.graph is not None
    assert study.graph.number_of_nodes() == 4
    assert study.diagnosis is not None
    assert not [f for f in study.diagnosis.faults if f.kind in ("missing state", "wrong edge")]
    assert study.plane is not None
    assert {v.result.verdict for v in study.verdicts} == {"refuted"}
    assert study.task_run is not None
    assert study.task_run.error_rate < 0.1


@pytest.mark.slow
def test_lorenz_from_x_alone() -> None:
    study = run_study(load("lorenz63"))
    assert study.vpt_lyapunov is not None
    assert study.vpt_lyapunov.mean() >= 9.0
    assert len(study.matches) == 3
    for match in study.matches:
        assert match.found_output is not None
        assert abs(match.found_output[0] - match.true_output[0]) < 0.02
        assert abs(match.found_multipliers[0] - match.true_multipliers[0]) < 0.02
    assert study.lyapunov is not None
    assert study.lyapunov.exponents[0] == pytest.approx(0.9056, abs=0.06)
    assert study.verdicts[0].result.verdict == "proved"


def test_a_refuted_closed_loop_of_chaos_reads_well() -> None:
    study = henon_study()
    result = Namespace(verdict="refuted", bounds=())
    closed = Verdict("closed loop", "?", study.network, Zero(), result)  # type: ignore[arg-type]
    line = verdict_sentence(closed, study)
    assert line.endswith("remember where it started, which is what a model of chaos must do.")
    driven = Verdict("driven", "?", study.network, InputBox(-1.5, 2), result, True)  # type: ignore[arg-type]
    assert "some input within the range of the data, [−1.5, 2]" in verdict_sentence(driven, study)
    # Beside an unstable response copies are driven apart, and may come together again.
    result.strength = "unstable response"
    for verdict in (closed, driven):
        line = verdict_sentence(verdict, study)
        assert line.startswith("It is refuted that it")
        assert "nearby states can be driven apart" in line
        assert "proved to remember" not in line


def test_a_rest_state_that_behaves_otherwise_is_not_called_learned() -> None:
    study = henon_study()
    assert "are the true ones to within" in study.summary_lines[3]
    inner = next(m for m in study.matches if m.true_output[0] > 0)
    assert inner.point is not None
    # A larger multiplier beside the one that was paired.
    wild = replace(inner.point, eigenvalues=np.array([5.5, *inner.point.eigenvalues]))
    line = replace(study, matches=(replace(inner, point=wild),)).summary_lines[3]
    assert "is not the true one: deviations change by the factor 5.5 per step instead of 1.92" in line
    # The leading multiplier alone does not make a rest state the true one.
    assert "is left in" not in study.summary_lines[3]
    more = replace(inner.point, n_unstable=inner.point.n_unstable + 2)
    line = replace(study, matches=(replace(inner, point=more),)).summary_lines[3]
    assert f"is left in {more.n_unstable} directions, the true one in {more.n_unstable - 2}" in line


def test_numbers_and_inputs_in_words() -> None:
    assert number(1234567.0) == "1,234,567"
    assert number(float("inf")) == "unbounded"
    assert number(-12.3456, 3) == "−12.3"
    assert describe_inputs(Zero()) == "zero input"
    assert describe_inputs(InputBox([0, 1], [1, 2])) == "every input sequence with values in [0, 1] × [1, 2]"
    assert describe_inputs(InputAlphabet(np.eye(2))) == "every sequence over 2 input symbols"
    assert (
        describe_inputs(InputAlphabet([[0.0], [1.0]])) == "every sequence over 1 input symbol and zero input"
    )


def test_the_range_of_a_large_network_ends_where_the_inequality_of_lurie_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("esntools.study.contraction._SEARCHED", 5)
    rng = np.random.default_rng(2)
    W = rng.normal(size=(12, 12))
    network = EchoStateNetwork(0.9 * W / np.abs(np.linalg.eigvals(W)).max())
    verdict = certify_esp(network, AnyInput(), bracket=False)
    found = certified_range(network, AnyInput(), verdict=verdict, seconds=60.0)
    assert not found.searched
    best = max(b.critical_gain or 0.0 for b in verdict.bounds if b.name.startswith("incremental-lurie"))
    assert best > 1.02 * max(b.critical_gain or 0.0 for b in verdict.bounds if b.name == "spectral-norm")
    if verdict.verdict == "inconclusive":
        assert found.proved == pytest.approx(0.99 * best)
        assert found.proved_by == "incremental-lurie"


def test_points_are_proved_one_by_one_and_each_counts_once() -> None:
    """A search that lists one point twice and misses another has the right number, and no proof."""
    network = EchoStateNetwork([[2.0]])
    found = find_fixed_points(network, rng=0)
    whole = prove_points(network, None, found, no_progress)
    assert (whole.n_proved, whole.complete) == (3, True)
    assert 0.0 < whole.radius < 1e-12
    twice = replace(found, points=(found.points[0], found.points[0], found.points[2]))
    proved = prove_points(network, None, twice, no_progress)
    assert (proved.n_found, proved.n_proved, proved.complete) == (3, 2, False)
