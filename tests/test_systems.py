"""Systems: against an independent integrator, closed-form equilibria, and the invariants of each flow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from esntools.errors import InvalidInputError
from esntools.systems import SYSTEMS, henon, lorenz63, mackey_glass, rossler, system


def lorenz_field(_t: float, s: np.ndarray) -> list[float]:
    x, y, z = s
    return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]


def rossler_field(_t: float, s: np.ndarray) -> list[float]:
    x, y, z = s
    return [-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)]


@pytest.mark.parametrize(
    ("make", "field", "x0", "span"),
    [(lorenz63, lorenz_field, [1.0, 1.0, 1.0], 8.0), (rossler, rossler_field, [1.0, 2.0, 0.5], 40.0)],
)
def test_flow_against_dop853(make, field, x0, span) -> None:  # type: ignore[no-untyped-def]
    times = np.linspace(0.0, span, 33)
    reference = solve_ivp(field, (0.0, span), x0, method="DOP853", rtol=1e-13, atol=1e-13, t_eval=times).y.T
    found = make().trajectory(33, span / 32, transient=0.0, x0=x0)
    np.testing.assert_allclose(found, reference, atol=1e-8)


def test_the_sampling_interval_does_not_change_the_orbit() -> None:
    fine = lorenz63().trajectory(401, 0.01, transient=0.0, x0=[1.0, 1.0, 1.0])
    coarse = lorenz63().trajectory(5, 1.0, transient=0.0, x0=[1.0, 1.0, 1.0])
    np.testing.assert_allclose(coarse, fine[::100], atol=1e-9)


def test_lorenz_equilibria_and_eigenvalues() -> None:
    origin, plus, minus = lorenz63().equilibria()
    np.testing.assert_allclose(plus.state, [8.485281374, 8.485281374, 27.0], atol=1e-8)
    np.testing.assert_allclose(minus.state, [-8.485281374, -8.485281374, 27.0], atol=1e-8)
    np.testing.assert_allclose(origin.eigenvalues, [11.8277, -8 / 3, -22.8277], atol=1e-4)
    for point in (plus, minus):
        np.testing.assert_allclose(
            point.eigenvalues, [0.0940 + 10.1945j, 0.0940 - 10.1945j, -13.8546], atol=1e-4
        )


@pytest.mark.parametrize("name", ["lorenz63", "rossler", "mackey-glass"])
def test_an_equilibrium_stays(name: str) -> None:
    found = system(name)
    for point in found.equilibria():
        path = found.trajectory(3, 0.5, transient=0.0, x0=point.state)
        np.testing.assert_allclose(path, np.tile(point.state, (3, 1)), atol=1e-9)


def test_henon_fixed_points_and_determinant() -> None:
    found = henon()
    for point in found.equilibria():
        after = found.trajectory(2, transient=0.0, x0=point.state)[1]
        np.testing.assert_allclose(after, point.state, atol=1e-14)
        np.testing.assert_allclose(np.prod(point.eigenvalues), -0.3, atol=1e-12)
    x = found.trajectory(1000)
    np.testing.assert_allclose(x[1:, 0], 1.0 - 1.4 * x[:-1, 0] ** 2 + x[:-1, 1], atol=1e-14)
    assert found.lyapunov_exponents[0] + found.lyapunov_exponents[1] == pytest.approx(np.log(0.3), abs=2e-5)


def test_lorenz_exponents_sum_to_the_divergence() -> None:
    assert sum(lorenz63().lyapunov_exponents) == pytest.approx(-(10.0 + 1.0 + 8.0 / 3.0), abs=1e-4)


def test_rossler_eigenvalues_sum_to_the_trace() -> None:
    for point in rossler().equilibria():
        assert np.sum(point.eigenvalues).real == pytest.approx(0.2 + point.state[0] - 5.7, abs=1e-10)
        assert np.sum(point.eigenvalues).imag == pytest.approx(0.0, abs=1e-10)


def test_mackey_glass_against_the_method_of_steps() -> None:
    # On [0, tau] the delayed term is constant: x(t) = p/g + (x0 - p/g) exp(-g t).
    found = mackey_glass().trajectory(18, 1.0, transient=0.0, x0=[1.2])[:, 0]
    production = 0.2 * 1.2 / (1.0 + 1.2**10)
    t = np.arange(18.0)
    exact = production / 0.1 + (1.2 - production / 0.1) * np.exp(-0.1 * t)
    np.testing.assert_allclose(found, exact, atol=1e-10)

    # Beyond it the delayed term is that solution: a quadrature over [tau, 2 tau].
    def field(s: float, x: np.ndarray) -> np.ndarray:
        past = production / 0.1 + (1.2 - production / 0.1) * np.exp(-0.1 * (s - 17.0))
        return 0.2 * past / (1.0 + past**10) - 0.1 * x

    later = solve_ivp(field, (17.0, 34.0), [exact[17]], rtol=1e-12, atol=1e-12, method="DOP853").y[0, -1]
    assert mackey_glass().trajectory(2, 34.0, transient=0.0, x0=[1.2])[1, 0] == pytest.approx(later, abs=1e-9)


def test_mackey_glass_characteristic_roots() -> None:
    for point in mackey_glass().equilibria():
        x = point.state[0]
        slope = 0.2 * (1.0 - 9.0 * x**10) / (1.0 + x**10) ** 2
        roots = point.eigenvalues
        np.testing.assert_allclose(roots, -0.1 + slope * np.exp(-17.0 * roots), atol=1e-10)
        assert np.all(np.diff(roots.real) < 1e-9)


def test_seeds_give_different_stretches_and_repeat() -> None:
    a, b, c = (lorenz63().trajectory(50, rng=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1.0


def test_statistics_of_the_lorenz_attractor() -> None:
    x = lorenz63().trajectory(20_000)
    assert np.abs(x[:, 0]).max() < 21.0
    assert x[:, 2].mean() == pytest.approx(23.55, abs=0.1)
    # x^2 and y^2 average as the flow demands: d(z)/dt = 0 on average gives <xy> = beta <z>.
    assert np.mean(x[:, 0] * x[:, 1]) == pytest.approx(8.0 / 3.0 * x[:, 2].mean(), rel=5e-3)


def test_unknown_parameters_have_no_stored_exponents() -> None:
    assert lorenz63(rho=24.0).lyapunov_exponent is None
    assert lorenz63(rho=24.0).lyapunov_time is None
    assert mackey_glass(30.0).lyapunov_exponents == ()
    assert lorenz63().lyapunov_time == pytest.approx(1.0 / 0.9056)
    assert [system(name).name for name in SYSTEMS] == list(SYSTEMS)
    assert len(lorenz63(rho=0.5).equilibria()) == 1


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: lorenz63().trajectory(0), "n_steps"),
        (lambda: lorenz63().trajectory(10, -0.1), "dt"),
        (lambda: lorenz63().trajectory(10, transient=-1.0), "transient"),
        (lambda: lorenz63().trajectory(10, x0=[1.0]), "x0"),
        (lambda: henon().trajectory(10, 0.5), "dt"),
        (lambda: henon().trajectory(100, x0=[5.0, 5.0]), "unbounded"),
        (lambda: mackey_glass(0.0), "tau"),
        (lambda: system("lorentz63"), "did you mean 'lorenz63'"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_input(call, place: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=place):
        call()
