"""Systems: against an independent integrator, closed-form equilibria, and the invariants of each flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from esntools.errors import InvalidInputError
from esntools.maps import Map
from esntools.systems import (
    SYSTEMS,
    SystemMap,
    henon,
    hyperchaotic_rossler,
    ikeda,
    logistic,
    lorenz63,
    lorenz96,
    mackey_glass,
    rossler,
    standard_map,
    system,
)


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
        (lambda: lorenz96(3), "n: 3"),
        (lambda: ikeda(1.0), "u: 1.0"),
        (lambda: lorenz63().as_map(-0.1), "dt: -0.1"),
        (lambda: henon().as_map(0.5), "time step is 1"),
        (lambda: lorenz63().as_map(max_step=0.1), "max_step: 0.1"),
        (lambda: mackey_glass().as_map(max_step=0.0), "max_step: 0.0"),
        (lambda: mackey_glass().as_map(np.pi), "ratio of whole numbers"),
        (lambda: mackey_glass().as_map(max_step=1e-4), "170000 points"),
        (lambda: henon().as_map().step([1.0]), "x: shape"),
        (lambda: henon().as_map().step([1.0, 2.0], [1.0]), "no inputs"),
        (lambda: henon().as_map().jacobian([[1.0, 2.0]]), "x: a batch"),
        (lambda: henon().as_map().jacobian_vector([1.0, 2.0], [1.0]), "V: shape"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_input(call, place: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=place):
        call()


# -- systems as maps ---------------------------------------------------------------------------------------


def differences(found: SystemMap, x: np.ndarray) -> np.ndarray:
    """Central differences of sixth order."""
    scale = np.maximum(1.0, np.abs(x)) * 1e-3
    columns = []
    for j in range(len(x)):
        e = np.zeros(len(x))
        e[j] = scale[j]
        terms = [
            w * (found.step(x + k * e) - found.step(x - k * e))
            for k, w in ((1, 0.75), (2, -0.15), (3, 1 / 60))
        ]
        columns.append(sum(terms) / scale[j])
    return np.array(columns).T


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_the_map_moves_as_the_trajectory_does(name: str) -> None:
    found = system(name)
    as_map = found.as_map()
    assert isinstance(as_map, Map)
    x, V = as_map.x0, np.random.default_rng(0).normal(size=(as_map.n_units, 2))
    after, moved = as_map.tangent(x, V)
    np.testing.assert_allclose(after, as_map.step(x), rtol=1e-14, atol=1e-13)
    J = as_map.jacobian(x)
    np.testing.assert_allclose(moved, J @ V, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(as_map.jacobian_vector(x, V[:, 0]), moved[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(J, differences(as_map, x), atol=2e-9 * np.max(np.abs(J)))
    batch = np.array([[x, after], [after, x]])
    np.testing.assert_array_equal(as_map.step(batch)[1, 1], as_map.step(x))
    if found.kind == "delay":
        # Both are of fourth order; the trajectory's steps are five times shorter.
        m = as_map.n_units - 1
        path = found.trajectory(m + 101, found.parameters["tau"] / m)[:, 0]
        np.testing.assert_allclose(as_map.step(path[: m + 1]), path[10 : m + 11], atol=1e-7)
        end = found.trajectory(2, 34.0)[1, 0]
        coarse, fine = (
            abs(found.as_map(17.0, max_step=17.0 / (m // skip)).step(path[: m + 1 : skip])[-1] - end)
            for skip in (5, 1)
        )
        assert fine < coarse / 5.0**3
    else:
        path = found.trajectory(4, transient=0.0, x0=x)
        for before, next_ in itertools.pairwise(path):
            np.testing.assert_allclose(as_map.step(before), next_, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("make", "field"), [(lorenz63, lorenz_field), (rossler, rossler_field)])
def test_the_tangent_of_a_flow_against_dop853(make, field) -> None:  # type: ignore[no-untyped-def]
    """The variational equation written out, by another integrator."""
    found = make()
    slopes = {
        "lorenz63": lambda x, y, z: [[-10.0, 10.0, 0.0], [28.0 - z, -1.0, -x], [y, x, -8.0 / 3.0]],
        "rossler": lambda x, y, z: [[0.0, -1.0, -1.0], [1.0, 0.2, 0.0], [z, 0.0, x - 5.7]],
    }[found.name]

    def both(t: float, s: np.ndarray) -> np.ndarray:
        return np.concatenate([field(t, s[:3]), (np.array(slopes(*s[:3])) @ s[3:].reshape(3, 3)).ravel()])

    x = found.as_map().x0
    start = np.concatenate([x, np.eye(3).ravel()])
    for dt in (0.05, 1.0):
        wanted = solve_ivp(both, (0.0, dt), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        after, J = found.as_map(dt).tangent(x, np.eye(3))
        np.testing.assert_allclose(after, wanted[:3], atol=1e-9)
        np.testing.assert_allclose(J, wanted[3:].reshape(3, 3), atol=1e-9)


def test_determinants_are_those_of_the_equations() -> None:
    """Known answer: the divergence of a flow, and the constant determinants of the maps."""
    for found, dt, wanted in (
        (lorenz63(), 0.1, np.exp(-0.1 * (11.0 + 8.0 / 3.0))),
        (lorenz96(7), 0.2, np.exp(-1.4)),
        (henon(), 1.0, -0.3),
        (ikeda(), 1.0, 0.81),
        (standard_map(), 1.0, 1.0),
    ):
        as_map = found.as_map(dt)
        x = as_map.x0
        for _ in range(5):
            assert np.linalg.det(as_map.jacobian(x)) == pytest.approx(wanted, rel=1e-11)
            x = as_map.step(x)


def test_equilibria_are_fixed_points_of_the_map() -> None:
    for found in (
        lorenz63(), rossler(), hyperchaotic_rossler(), lorenz96(6),
        logistic(3.7), henon(), ikeda(), standard_map(),
    ):  # fmt: skip
        as_map = found.as_map(0.1 if found.kind == "flow" else 1.0)
        assert found.equilibria()
        for point in found.equilibria():
            np.testing.assert_allclose(as_map.step(point.state), point.state, atol=1e-11)
            mu = np.linalg.eigvals(as_map.jacobian(point.state))
            wanted = np.exp(0.1 * point.eigenvalues) if found.kind == "flow" else point.eigenvalues
            distance = np.abs(mu[:, None] - wanted[None])
            assert max(distance.min(axis=0).max(), distance.min(axis=1).max()) < 1e-7 * np.abs(wanted).max()


def test_orbits_known_in_closed_form() -> None:
    """Known answer: the 3-cycle of the logistic map where it is born, at r = 1 + sqrt 8."""
    as_map = logistic(1.0 + 8.0**0.5).as_map()
    x = np.array([0.1599288])
    for wanted in (0.5143553, 0.9563178, 0.1599288):
        x = as_map.step(x)
        assert x[0] == pytest.approx(wanted, abs=1e-6)
    # At r = 4, x = sin^2 a goes to sin^2 2a.
    a = np.linspace(0.0, np.pi, 50)[:, None]
    np.testing.assert_allclose(logistic().as_map().step(np.sin(a) ** 2), np.sin(2.0 * a) ** 2, atol=1e-15)


def test_the_history_of_an_equilibrium_stays_and_its_roots_are_multipliers() -> None:
    """Known answer: Lambert's W gives the characteristic roots of the delay equation."""
    found = mackey_glass()
    as_map = found.as_map()
    for point in found.equilibria():
        history = np.full(as_map.n_units, point.state[0])
        np.testing.assert_allclose(as_map.step(history), history, atol=1e-15)
        mu = np.linalg.eigvals(as_map.jacobian(history))
        for root in point.eigenvalues[:4]:
            assert np.min(np.abs(mu - np.exp(root))) < 1e-7


@pytest.mark.filterwarnings("error")
def test_a_state_that_escapes_goes_to_infinity() -> None:
    as_map = henon().as_map()
    x = np.array([[5.0, 5.0], [0.1, 0.1]])
    for _ in range(60):
        x = as_map.step(x)
    assert np.all(np.isinf(x[0]))
    assert np.all(np.abs(x[1]) < 2.0)
    # With z < 0, x' = -z and z' = z x give x'' = x x': a pole in finite time.
    far = rossler().as_map(5.0).step([[10.0, 0.0, -10.0], [-9.0, 0.0, 0.0]])
    assert np.all(np.isinf(far[0]))
    assert np.all(np.isfinite(far[1]))
    assert np.all(np.isinf(rossler().as_map().step(far[0])))


def exponents(found: SystemMap, k: int, n_steps: int, transient: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of the exponents from the means of 20 stretches; QR at every step."""
    x, Q = found.x0, np.linalg.qr(np.random.default_rng(1).normal(size=(found.n_units, k)))[0]
    logs = np.empty((n_steps, k))
    for step in range(-transient, n_steps):
        x, Q = found.tangent(x, Q)
        Q, R = np.linalg.qr(Q)
        if step >= 0:
            logs[step] = np.log(np.abs(np.diag(R))) / found.dt
    means = logs.reshape(20, -1, k).mean(axis=1)
    return means.mean(axis=0), means.std(axis=0, ddof=1) / 20**0.5


def test_exponents_of_short_runs_keep_the_sum() -> None:
    mean, _ = exponents(lorenz63().as_map(0.05), 3, 1000, 100)
    assert mean.sum() == pytest.approx(-(11.0 + 8.0 / 3.0), abs=1e-10)
    mean, _ = exponents(henon().as_map(), 2, 1000, 100)
    assert mean.sum() == pytest.approx(np.log(0.3), abs=1e-12)
    mean, _ = exponents(logistic().as_map(), 1, 20_000, 100)
    assert mean[0] == pytest.approx(np.log(2.0), abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dt", "k", "n_steps", "wanted", "systematic"),
    [
        # Known answers 1, 3 and 4 of the literature, and what the systems store.
        pytest.param("lorenz63", 0.05, 3, 60_000, (0.9056, 0.0, -14.572), 3e-4, marks=pytest.mark.ci),
        pytest.param("rossler", 0.1, 3, 60_000, (0.0714, 0.0, -5.394), 3e-4, marks=pytest.mark.ci),
        pytest.param("henon", 1.0, 2, 100_000, (0.41922, -1.62319), 1e-4, marks=pytest.mark.ci),
        ("ikeda", 1.0, 2, 60_000, (0.5074, -0.7181), 2e-4),
        ("hyperchaotic-rossler", 0.1, 3, 60_000, (0.112, 0.022, 0.0), 1e-3),
        ("mackey-glass", 1.0, 3, 60_000, (0.0052, 0.0, -0.0388), 2e-4),
        # No islands are known at k = 8; ln(k / 2) is the mean over the whole torus.
        ("standard", 1.0, 2, 60_000, (np.log(4.0), -np.log(4.0)), 0.03),
    ],
)
def test_known_exponents(name: str, dt: float, k: int, n_steps: int, wanted, systematic: float) -> None:  # type: ignore[no-untyped-def]
    mean, error = exponents(system(name).as_map(dt), k, n_steps, 1000)
    assert np.all(np.abs(mean - wanted) < 4.0 * error + systematic)
    assert np.all(error < 0.05 * np.max(np.abs(wanted)))
