"""Training: what is chosen, what is reported, what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from naive_training import ridge_by_lstsq, valid_steps

from esntools.errors import EsntoolsWarning, FileFormatError, InvalidInputError
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import drive, forecast
from esntools.systems import lorenz63
from esntools.tasks import flip_flop
from esntools.training import Fit, fit, selection, valid_prediction_time
from esntools.training.search import BOX, Hyperparameters, horizon_weights, propose, window_errors
from esntools.training.segments import mean_period, pieces_of

LORENZ = {
    "spectral_radius": 0.3, "leak_rate": 0.4, "input_scaling": 2.0, "bias_scaling": 1.0,
    "dt": 0.05, "lyapunov_exponent": 0.9056,
}  # fmt: skip


@cache
def lorenz_series(n: int = 4000) -> np.ndarray:
    return lorenz63().trajectory(n)[:, 0]


@cache
def lorenz_fit() -> Fit:
    return fit(lorenz_series(), n_units=150, rng=1, **LORENZ)


# -- the answer ----------------------------------------------------------------------------------------------


def test_lorenz_is_forecast() -> None:
    found = lorenz_fit()
    assert found.vpt_lyapunov is not None
    assert len(found.vpt_steps) >= 50
    assert found.vpt_lyapunov.mean() > 4.0
    assert found.one_step_nrmse < 1e-3
    np.testing.assert_allclose(found.vpt_lyapunov, found.vpt_steps * 0.05 * 0.9056)
    run = found.forecast(2000)
    assert run.left_range_at is None
    assert np.std(run.outputs) == pytest.approx(np.std(lorenz_series()), rel=0.1)


def test_the_network_takes_data_units() -> None:
    """Weights by least squares on the network's own states, in data units, give the same readout."""
    y = 1000.0 + 50.0 * lorenz_series(1200)
    found = fit(y, n_units=20, ridge=1e-6, holdout=200, washout=100, rng=3, **{**LORENZ, "dt": None})
    assert found.refitted
    states = drive(found.network, y[:, None]).states[100:-1]
    weights, intercept = ridge_by_lstsq(np.hstack([states, states**2]), y[101:, None], 1e-6)
    expected = states @ weights[:, :20].T + states**2 @ weights[:, 20:].T + intercept
    np.testing.assert_allclose(found.network.output(states), expected, rtol=1e-9)
    assert found.x_last == pytest.approx(drive(found.network, y[:, None]).last_state)
    assert found.y_last == pytest.approx(y[-1:])
    assert found.n_train == 1099
    assert (found.y_range[0][0], found.y_range[1][0]) == (y.min(), y.max())


def test_rescaling_the_series_rescales_the_forecast() -> None:
    a = fit(lorenz_series(), n_units=60, ridge=1e-8, rng=5, **LORENZ)
    b = fit(-3.0 + 4.0 * lorenz_series(), n_units=60, ridge=1e-8, rng=5, **LORENZ)
    np.testing.assert_allclose(b.forecast(30).outputs, -3.0 + 4.0 * a.forecast(30).outputs, rtol=1e-4)
    assert b.one_step_nrmse == pytest.approx(a.one_step_nrmse, rel=1e-4)


def test_a_fit_is_a_function_of_its_seed() -> None:
    series = lorenz_series()[:600]
    a, b, c = (fit(series, n_units=30, n_candidates=4, rng=seed) for seed in (2, 2, 3))
    assert a.network == b.network
    assert a.hyperparameters == b.hyperparameters
    assert a.network != c.network


def test_given_settings_are_kept_and_the_rest_is_searched() -> None:
    found = fit(lorenz_series()[:800], n_units=40, spectral_radius=0.25, leak_rate=0.5, n_candidates=6, rng=0)
    assert found.hyperparameters["spectral_radius"] == 0.25
    assert found.hyperparameters["leak_rate"] == 0.5
    assert len(found.trials) == 6
    assert len({trial.hyperparameters.input_scaling for trial in found.trials}) == 6
    assert found.network.spectral_radius() == pytest.approx(0.25, rel=1e-9)
    assert found.network.uniform_leak_rate == 0.5
    best = min(trial.score for trial in found.trials)
    assert found.hyperparameters["input_scaling"] in {
        trial.hyperparameters.input_scaling for trial in found.trials if trial.score <= sorted(
            t.score for t in found.trials)[2]
    }  # fmt: skip
    assert best < 1.0


def test_the_ridge_is_the_best_of_its_path() -> None:
    path = lorenz_fit().ridge_path
    assert len(path) > 20
    assert lorenz_fit().ridge in [trial.ridge for trial in path]
    chosen = next(trial for trial in path if trial.ridge == lorenz_fit().ridge)
    assert chosen.window_score <= 1.3 * min(trial.window_score for trial in path)
    assert all(0.0 <= trial.window_score <= 1.0 and trial.loo_error > 0.0 for trial in path)
    # The leave-one-out error grows with the penalty once the penalty dominates.
    assert path[-1].loo_error > 100.0 * path[0].loo_error


def test_refitting_uses_every_row_and_changes_no_judgement() -> None:
    apart, again = (fit(lorenz_series()[:1000], n_units=30, refit=r, rng=0, **LORENZ) for r in (False, True))
    assert (apart.refitted, again.refitted) == (False, True)
    assert (apart.n_train, again.n_train) == (899 - 179, 899)
    assert apart.one_step_nrmse == again.one_step_nrmse
    np.testing.assert_array_equal(apart.vpt_steps, again.vpt_steps)
    assert apart.network != again.network


def test_a_given_ridge_is_kept() -> None:
    found = fit(lorenz_series()[:1000], n_units=30, ridge=1e-7, rng=0, **LORENZ)
    assert found.ridge == 1e-7
    assert len(found.ridge_path) == 1


def test_squares_can_be_left_out() -> None:
    found = fit(lorenz_series()[:1000], n_units=30, squares=False, rng=0, **LORENZ)
    assert found.network.readout is not None
    assert found.network.readout.is_affine
    assert not lorenz_fit().network.readout.is_affine  # type: ignore[union-attr]


def test_several_columns() -> None:
    found = fit(lorenz63().trajectory(1500), n_units=80, rng=0, **LORENZ)
    assert (found.network.n_inputs, found.network.n_outputs) == (3, 3)
    assert found.vpt_lyapunov is not None
    assert found.vpt_lyapunov.mean() > 1.0
    assert found.forecast(7).outputs.shape == (7, 3)


@pytest.mark.filterwarnings("ignore:fitted to")
@pytest.mark.parametrize("n", [60, 200])
def test_short_series(n: int) -> None:
    t = np.arange(n)
    ahead = np.arange(n, n + 8)
    truth = np.sin(0.4 * ahead) + 0.5 * np.cos(0.15 * ahead)
    errors = []
    for seed in range(8):
        found = fit(np.sin(0.4 * t) + 0.5 * np.cos(0.15 * t), n_candidates=8, rng=seed, n_units=50)
        assert found.refitted or found.notes
        assert len(found.vpt_steps) >= 1
        errors.append(np.abs(found.forecast(8).outputs[:, 0] - truth).max())
    assert np.median(errors) < (0.3 if n == 60 else 0.02)


def test_observe_reconstructs_a_hidden_coordinate() -> None:
    x = lorenz63().trajectory(4000)
    found = fit(x[:, 2], x[:, 0], task="observe", n_units=100, rng=0, **LORENZ)
    assert found.holdout_nrmse < 0.02
    assert (found.network.n_inputs, found.network.W_fb) == (1, None)
    outputs = drive(found.network, x[:, :1]).outputs[500:, 0]
    assert np.sqrt(np.mean((outputs - x[500:, 2]) ** 2)) / x[:, 2].std() < 0.02
    with pytest.raises(InvalidInputError, match="closed_loop"):
        found.forecast(3)


def test_flip_flop_has_four_stable_states() -> None:
    task = flip_flop(2, 4000, rng=0)
    found = fit(task.y, task.u, task="map", n_units=100, ridge=1e-4, washout=100, rng=0)
    network = found.network
    assert network.W_fb is not None
    assert network.readout is not None
    assert network.readout.is_affine
    assert found.holdout_nrmse < 0.3
    starts = np.random.default_rng(1).uniform(-1, 1, (100, 100))
    x = drive(network, np.zeros((2000, 100, 2)), starts).last_state
    assert np.abs(network.step(x, np.zeros((100, 2))) - x).max() < 1e-9
    held = {tuple(np.sign(row)) for row in network.output(x)}
    assert held == {tuple(row) for row in task.states}
    assert len(np.unique(x.round(6), axis=0)) == 4


# -- the climate, noise, a refit that diverges ----------------------------------------------------------


def autoregression(n: int, seed: int) -> np.ndarray:
    e = np.random.default_rng(seed).normal(size=n)
    y = np.zeros(n)
    for k in range(2, n):
        y[k] = 1.5 * y[k - 1] - 0.8 * y[k - 2] + e[k]
    return y


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_noisy_series_is_forecast_as_well_as_its_noise_allows(seed: int) -> None:
    y = autoregression(300, seed)
    found = fit(y, n_candidates=12, n_draws=2, rng=0)
    assert found.network.n_units < 150
    rows = y[-int(0.2 * (299 - found.washout)) :]
    before = y[-len(rows) - 2 : -1]
    ideal = np.sqrt(np.mean((rows - 1.5 * before[1:] + 0.8 * before[:-1]) ** 2)) / y.std()
    assert found.one_step_nrmse < 1.25 * ideal
    assert found.forecast(300).left_range_at is None


def test_a_penalty_whose_long_runs_stray_costs_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lorenz_fit()
    monkeypatch.setattr(
        selection, "_strays", lambda space, driven, q, penalties, among: np.where(penalties < 1e-12, 1.0, 0.0)
    )
    found = fit(lorenz_series(), n_units=150, rng=1, **LORENZ)
    assert plain.ridge < 1e-12 <= found.ridge


def test_a_refit_that_diverges_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, True, False])
    monkeypatch.setattr(selection, "stays", lambda *_: next(answers))
    monkeypatch.setattr("esntools.training.problem.stays", lambda *_: next(answers))
    series = lorenz_series()[:1000]
    with pytest.warns(EsntoolsWarning, match="without the held-out rows is kept"):
        found = fit(series, n_units=30, rng=0, **LORENZ)
    assert not found.refitted
    assert len(found.notes) == 1
    monkeypatch.undo()
    assert found.network == fit(series, n_units=30, refit=False, rng=0, **LORENZ).network


def test_names_are_kept(tmp_path: Path) -> None:
    y = lorenz63().trajectory(400)[:, :2]
    found = fit(y, n_units=10, n_candidates=0, names=["x", "y"], rng=0)
    found.save(tmp_path / "m.npz")
    assert found.names == Fit.load(tmp_path / "m.npz").names == ("x", "y")
    assert fit(y[:, 0], n_units=10, n_candidates=0, names="x", rng=0).names == ("x",)
    with pytest.raises(InvalidInputError, match="one text for each of the 2 columns"):
        fit(y, names=["x"])


# -- gaps and several series ------------------------------------------------------------------------------


def test_gaps_split_and_are_reported() -> None:
    y = lorenz_series(3000).copy()
    y[1000] = np.nan
    y[1020:1030] = np.nan
    with pytest.warns(EsntoolsWarning, match=r"11 of 3000 rows have a gap.*1 stretches with 19 rows"):
        found = fit(y, n_units=40, washout=50, rng=0, **LORENZ)
    assert found.n_dropped == 30
    assert found.n_train <= 3000 - 30 - 2 * 50 - 2
    assert found.one_step_nrmse < 0.05


def test_many_gaps_shorten_the_default_washout() -> None:
    y = lorenz_series(3000).copy()
    y[::150] = np.nan
    with pytest.warns(EsntoolsWarning, match="20 of 3000 rows"):
        found = fit(y, n_units=40, rng=0, **LORENZ)
    assert found.washout == 14
    assert found.one_step_nrmse < 0.1


@pytest.mark.parametrize("n", [20, 23, 40])
def test_the_shortest_series_that_is_accepted(n: int) -> None:
    found = fit(np.sin(0.7 * np.arange(n)), n_units=5, n_candidates=4, rng=0)
    assert found.washout == 10
    assert np.isfinite(found.forecast(3).outputs).all()
    assert np.isfinite([found.one_step_nrmse, found.holdout_nrmse]).all()


def test_several_series_of_any_length() -> None:
    parts = [lorenz63().trajectory(n, rng=n)[:, 0] for n in (500, 900, 700)]
    found = fit(parts, n_units=60, washout=60, rng=0, **LORENZ)
    np.testing.assert_allclose(found.y_last, parts[-1][-1:])
    np.testing.assert_allclose(found.x_last, drive(found.network, parts[-1][:, None]).last_state)
    # Three washouts, three last rows without a successor.
    assert found.n_train == 2100 - 3 * 61


def test_a_piece_boundary_is_never_crossed() -> None:
    t = np.arange(300)
    low, high = np.sin(0.3 * t), 50.0 + np.sin(0.3 * t)
    with pytest.warns(EsntoolsWarning, match="1 of 601 rows"):
        split = pieces_of(np.concatenate([low, [np.nan], high]), least=20, least_reason="r")
    assert [len(piece) for piece in split.y] == [300, 300]
    assert split.n_dropped == 1


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(500, np.nan), "y: all NaN"),
        (np.zeros(0), "y: no rows"),
        (np.full(500, 7.25), "y: constant at 7.25"),
        (np.full(500, 0.1) * 3.0, "y: constant"),
        (np.r_[np.arange(300.0), np.inf], r"y\[300, 0\]: inf; .*finite or NaN"),
        (np.arange(19.0), r"washout \+ 10"),
        (["a", "b"], "real numbers"),
        (3.0, r"shape \(\)"),
        (np.zeros((3, 3, 3)), r"shape \(3, 3, 3\)"),
        ([np.arange(50.0), np.zeros((50, 2))], r"y\[1\]: 2 columns"),
    ],
)
def test_bad_series(y, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=message):
        fit(y, n_units=10, n_candidates=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spectral_radius": -0.1}, "spectral_radius: -0.1"),
        ({"spectral_radius": float("nan")}, "spectral_radius: nan"),
        ({"spectral_radius": "big"}, "spectral_radius: 'big'"),
        ({"leak_rate": 0.0}, "leak_rate: 0.0"),
        ({"leak_rate": 1.5}, "leak_rate: 1.5"),
        ({"input_scaling": 0.0}, "input_scaling: 0.0"),
        ({"bias_scaling": -1.0}, "bias_scaling"),
        ({"connectivity": 0.0}, "connectivity"),
        ({"ridge": -1e-3}, "ridge: -0.001"),
        ({"ridge": float("inf")}, "ridge: inf"),
        ({"n_units": 0}, "n_units: 0"),
        ({"n_units": 2.5}, "n_units: 2.5"),
        ({"washout": -1}, "washout: -1"),
        ({"washout": 95}, r"at least 105 steps \(washout \+ 10\)"),
        ({"holdout": 99}, "holdout: 99; leaves too few"),
        ({"dt": 0.0}, "dt: 0.0"),
        ({"lyapunov_exponent": -1.0}, "lyapunov_exponent"),
        ({"feedback_noise": -1.0}, "feedback_noise"),
        ({"n_candidates": -1}, "n_candidates"),
        ({"n_draws": 0}, "n_draws"),
        ({"task": "forcast"}, "did you mean 'forecast'"),
        ({"spectral_raduis": 0.9}, "did you mean 'spectral_radius'"),
        ({"u": np.zeros(100)}, "task='observe'"),
        ({"task": "observe"}, "u: None"),
        ({"task": "observe", "u": np.zeros(99)}, "u: 99 steps; u and y must be equally long"),
    ],
)
def test_bad_options(options, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=message):
        fit(np.sin(np.arange(100.0)), **{"n_candidates": 0, **options})


# -- progress, interruption, files ------------------------------------------------------------------------


def test_progress_rises_and_an_interrupt_passes_through() -> None:
    seen: list[tuple[str, float]] = []
    fit(
        lorenz_series()[:600], n_units=20, n_candidates=4, rng=0,
        progress=lambda label, fraction: seen.append((label, fraction)),
    )  # fmt: skip
    assert all(0.0 <= fraction <= 1.0 for _, fraction in seen)
    assert seen[0][0] == "searching the reservoir's settings"
    assert seen[-1] == ("judging on held-out data", 1.0)

    def interrupt(label: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(lorenz_series()[:600], n_units=20, n_candidates=4, rng=0, progress=interrupt)


def test_a_fit_comes_back_from_its_file(tmp_path: Path) -> None:
    found = lorenz_fit()
    path = tmp_path / "model.npz"
    found.save(path)
    again = Fit.load(path)
    assert again.network == found.network
    np.testing.assert_array_equal(again.forecast(50).outputs, found.forecast(50).outputs)
    np.testing.assert_array_equal(again.vpt_steps, found.vpt_steps)
    for name in (
        "task",
        "hyperparameters",
        "ridge",
        "ridge_path",
        "washout",
        "n_train",
        "dt",
        "one_step_nrmse",
    ):
        assert getattr(again, name) == getattr(found, name)
    assert EchoStateNetwork.load(path) == found.network
    found.network.save(tmp_path / "network.npz")
    with pytest.raises(FileFormatError, match="without a fit"):
        Fit.load(tmp_path / "network.npz")
    # An infinite condition number survives the trip through JSON.
    replace(found, condition=float("inf")).save(path)
    assert Fit.load(path).condition == float("inf")


# -- the judge -----------------------------------------------------------------------------------------------


def test_valid_prediction_time_is_that_of_single_runs() -> None:
    found, series = lorenz_fit(), lorenz_series()
    starts = np.arange(600, 3000, 400)
    times = valid_prediction_time(found.closed_loop, series, starts=starts, synchronise=500, n_steps=300)
    sigma = series.std()
    for start, time in zip(starts, times):
        x = drive(found.network, series[start - 500 : start, None]).last_state
        expected = valid_steps(found.closed_loop, x, series[start : start + 300, None], 0.4 * sigma)
        assert time == expected
    assert times.min() > 10
    whole = valid_prediction_time(found.closed_loop, series, starts=[3990], synchronise=500, threshold=10.0)
    assert whole.tolist() == [10.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": [100]}, "starts"),
        ({"starts": [3990], "n_steps": 50}, "starts"),
        ({"synchronise": 0}, "sync"),
    ],
)
def test_valid_prediction_time_refuses(change, message: str) -> None:  # type: ignore[no-untyped-def]
    arguments = {"starts": [1000], "synchronise": 500, **change}
    with pytest.raises(InvalidInputError, match=message):
        valid_prediction_time(lorenz_fit().closed_loop, lorenz_series(), **arguments)
    with pytest.raises(InvalidInputError, match="closed loop"):
        valid_prediction_time(lorenz_fit().network, lorenz_series(), starts=[1000], synchronise=10)


def test_windows_are_the_closed_loops() -> None:
    """The batch over readouts and windows equals one closed loop at a time."""
    rng = np.random.default_rng(0)
    network = replace(lorenz_fit().network, readout=None, W_in=rng.normal(size=(150, 1)))
    weights = 0.05 * rng.normal(size=(3, 1, 300))
    intercepts = rng.normal(size=(3, 1))
    starts, truths = rng.uniform(-1, 1, (4, 150)), rng.normal(size=(25, 4, 1))
    for limit in (1.0, np.inf):
        found = window_errors(network, starts, truths, weights, intercepts, limit=limit)
        for r in range(3):
            readout = Readout(weights[r, :, :150], weights[r, :, 150:], intercepts[r])
            runs = forecast(replace(network, readout=readout).closed_loop(), starts, 25).outputs
            for w in range(4):
                error = np.abs(runs[:, w] - truths[:, w])[:, 0]
                over = np.flatnonzero(error >= limit)
                if len(over):
                    error[over[0] :] = limit
                np.testing.assert_allclose(found[r, w], error, atol=1e-9)


def test_horizon_weights_score_the_logarithm_of_time() -> None:
    weights = horizon_weights(1000, 20.0)
    assert weights.sum() == pytest.approx(1.0)
    scores = [weights[k:].sum() for k in (50, 100, 200, 400)]
    drops = -np.diff(scores)
    assert drops == pytest.approx(drops[0], rel=0.15)


def test_proposals_fill_the_box_and_keep_what_is_fixed() -> None:
    rng = np.random.default_rng(0)
    proposals = propose(64, {"bias_scaling": 5.0}, rng)
    for name, (low, high, _) in BOX.items():
        values = np.array([getattr(h, name) for h in proposals])
        if name == "bias_scaling":
            assert np.all(values == 5.0)
            continue
        assert low <= values.min() and values.max() <= min(high, 1.0 if name == "leak_rate" else np.inf)  # noqa: PT018
        assert len(np.unique(values)) > 40
    assert sum(h.leak_rate == 1.0 for h in proposals) in range(3, 14)
    centre = Hyperparameters(0.5, 1.0, 1.0, 0.3)
    near = propose(16, {}, rng, [centre])
    assert all(abs(h.spectral_radius - 0.5) <= 0.181 for h in near)


def test_mean_period() -> None:
    t = np.arange(2000)
    assert mean_period([np.sin(2 * np.pi * t / 40)[:, None]]) == pytest.approx(40.0, rel=0.02)
    assert mean_period([np.random.default_rng(0).normal(size=(2000, 1))]) == pytest.approx(4.0, rel=0.1)


@pytest.mark.slow
def test_lorenz_at_full_size() -> None:
    """Closing-note number: N = 500, 10^4 points."""
    series = lorenz63().trajectory(12_500)[:, 0]
    found = fit(series, n_units=500, rng=0, **LORENZ)
    assert found.vpt_lyapunov is not None
    assert found.vpt_lyapunov.mean() >= 9.0


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_values_that_would_overflow_the_weights_are_refused(factor: float) -> None:
    with pytest.raises(InvalidInputError, match=r"y: values of size .*; use another unit"):
        fit(factor * np.sin(np.arange(300.0)), n_units=20, n_candidates=1)
