"""The perturbed flow and the escape study, where everything is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from landscapes import Landscape
from meanfield import GradientFlow, Outcome, escape_study, simulate_perturbed
from meanfield.studies import UnusablePerturbationWarning
from particles import Ensemble, InvalidInput
from saddle_analysis import PERTURBATIONS, HessianOperator, isotropic, unstable_eigenpairs

RATE = 3.0


class DoubleWell(Landscape):
    """L(μ) = ∫ V dμ with V = −½·3·x² + ¾·x⁴ + ½·y²: a saddle at 0, minima at x = ±1."""

    def features(self, particle: Array) -> Array:
        x, y = particle
        return -0.5 * RATE * x**2 + 0.25 * RATE * x**4 + 0.5 * y**2

    def risk(self, moments: Array, fast: None = None) -> Array:
        return moments


class Bowl(Landscape):
    """L(μ) = ∫ ½|θ|² dμ: nothing to escape from."""

    def features(self, particle: Array) -> Array:
        return 0.5 * jnp.sum(particle**2)

    def risk(self, moments: Array, fast: None = None) -> Array:
        return moments


@pytest.fixture
def saddle() -> Ensemble:
    return Ensemble(jnp.zeros((6, 2)))


@pytest.mark.parametrize("kind", ["isotropic", "hessian-guided", "eigenvector"])
def test_perturbations_have_the_asked_norm(saddle: Ensemble, kind: str) -> None:
    # A potential has no interaction: guided noise needs one, so it is taken of a coupled landscape.
    class Coupled(DoubleWell):
        def risk(self, moments: Array, fast: None = None) -> Array:
            return jnp.sum(moments) + jnp.sum(moments**2)

        def features(self, particle: Array) -> Array:
            return jnp.stack([DoubleWell.features(self, particle), jnp.sum(particle)])

    field = PERTURBATIONS[kind](jax.random.key(0), Coupled(), saddle, 0.02)
    assert float(saddle.norm(field)) == pytest.approx(0.02, rel=1e-12)


def test_no_perturbation_moves_nothing(saddle: Ensemble) -> None:
    field = PERTURBATIONS["none"](jax.random.key(0), DoubleWell(), saddle, 0.02)
    assert float(saddle.norm(field)) == 0.0


def test_every_unstable_copy_is_found(saddle: Ensemble) -> None:
    pairs = unstable_eigenpairs(HessianOperator(DoubleWell(), saddle))
    assert pairs.values == pytest.approx([-RATE] * 6, abs=1e-7)


def test_escape_times_follow_the_closed_form(saddle: Ensemble) -> None:
    flow = GradientFlow(DoubleWell(), scheme="adaptive")
    pairs = unstable_eigenpairs(HessianOperator(flow.landscape, saddle))
    near = saddle.with_particles(saddle.particles + jnp.array([1e-6, 0.0]))
    # The saddle's loss is zero, so the level to fall to is set by hand through an offset.
    lifted = GradientFlow(_Lifted(), scheme="adaptive")
    study = escape_study(
        lifted,
        saddle,
        pairs,
        key=jax.random.key(1),
        perturbations={n: PERTURBATIONS[n] for n in ("none", "isotropic", "eigenvector")},
        norm=1e-3,
        seeds=4,
        horizon=8.0,
        dt=0.01,
        start=near,
        fall=1e-4,
    )
    studies = study.runs
    assert not study.left_out
    for study in studies:
        # ½·3·c²·e^{6t} = 1e-4, c the L² norm of the x components.
        exact = np.log(2e-4 / (RATE * study.overlaps**2)) / (2 * RATE)
        assert study.times == pytest.approx(exact, abs=0.02)
        assert study.predicted == pytest.approx(exact, abs=0.005)
    assert studies[0].times[0] > np.median(studies[1].times) > studies[2].times[0]
    assert studies[0].times.shape == (1,)


class PhaseRetrieval(Landscape):
    """L(μ) = ½⟨(∫(w·x)² dμ − c (w₀·x)²)²⟩: at the origin all features have gradient zero."""

    x: Array
    f: Array

    def features(self, particle: Array) -> Array:
        return (self.x @ particle) ** 2

    def risk(self, moments: Array, fast: None = None) -> Array:
        return 0.5 * jnp.mean((moments - self.f) ** 2)


def test_an_unusable_perturbation_is_left_out_and_said_so() -> None:
    x = jax.random.normal(jax.random.key(0), (40, 3))
    landscape = PhaseRetrieval(x, 2.0 * x[:, 0] ** 2)
    origin = Ensemble(jnp.zeros((5, 3)))
    flow = GradientFlow(landscape, scheme="adaptive")
    pairs = unstable_eigenpairs(HessianOperator(landscape, origin))
    exact = np.linalg.eigvalsh(-2 * np.asarray(x.T @ (landscape.f[:, None] * x)) / 40)
    assert pairs.values[0] == pytest.approx(exact[0], rel=1e-9)
    with pytest.warns(UnusablePerturbationWarning, match="interaction operator is zero"):
        study = escape_study(
            flow,
            origin,
            pairs,
            key=jax.random.key(1),
            norm=1e-3,
            seeds=2,
            horizon=1.0,
            dt=0.01,
        )
    assert [run.kind for run in study.runs] == ["none", "isotropic", "eigenvector"]
    assert list(study.left_out) == ["hessian-guided"]
    assert "the Hessian is zero" not in study.left_out["hessian-guided"]
    for run in study.runs[1:]:
        assert run.times == pytest.approx(run.predicted, rel=0.05)
    assert np.isnan(study.runs[0].predicted).all()  # the origin itself stays


class _Lifted(DoubleWell):
    def risk(self, moments: Array, fast: None = None) -> Array:
        return 1.0 + moments


def test_perturbed_flow_leaves_the_saddle_and_stops_at_the_minimum(saddle: Ensemble) -> None:
    run = simulate_perturbed(
        GradientFlow(DoubleWell(), scheme="adaptive"),
        saddle,
        key=jax.random.key(2),
        horizon=80.0,
        dt=0.01,
        perturbation=isotropic,
        tolerance=1e-4,
        norm=1e-2,
        window=6.0,
        threshold=0.01,
    )
    assert [event.what for event in run.events][:2] == ["perturbed", "escaped"]
    assert run.events[-1].what == "stationary"
    assert run.outcome is Outcome.STOPPED
    assert "second-order stationary" in run.message
    assert np.abs(np.asarray(run.ensemble.particles)[:, 0]) == pytest.approx(1.0, abs=1e-3)
    assert float(run.trajectory.loss[-1]) == pytest.approx(-0.25 * RATE, abs=1e-6)
    assert np.all(np.diff(run.trajectory.time.values) >= 0)


def test_perturbed_flow_without_a_way_down_keeps_the_ensemble() -> None:
    start = Ensemble(jnp.zeros((4, 2)))
    run = simulate_perturbed(
        GradientFlow(Bowl()),
        start,
        key=jax.random.key(0),
        horizon=50.0,
        dt=0.1,
        perturbation=isotropic,
        window=2.0,
    )
    assert run.events[-1].what == "stationary"
    assert float(jnp.abs(run.ensemble.particles).max()) == 0.0


def test_same_key_same_history(saddle: Ensemble) -> None:
    def go() -> list[float]:
        run = simulate_perturbed(
            GradientFlow(DoubleWell()),
            saddle,
            key=jax.random.key(5),
            horizon=4.0,
            dt=0.05,
            perturbation=isotropic,
            window=2.0,
        )
        return run.trajectory.loss.values.tolist()

    assert go() == go()


@pytest.mark.parametrize("name", ["tolerance", "norm", "window", "threshold"])
def test_settings_must_be_positive(saddle: Ensemble, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is -1"):
        simulate_perturbed(
            GradientFlow(DoubleWell()),
            saddle,
            key=jax.random.key(0),
            horizon=1.0,
            dt=0.1,
            **{name: -1},
        )


def test_no_seeds_are_refused(saddle: Ensemble) -> None:
    flow = GradientFlow(DoubleWell())
    with pytest.raises(InvalidInput, match="seeds is 0"):
        escape_study(
            flow,
            saddle,
            unstable_eigenpairs(HessianOperator(flow.landscape, saddle)),
            key=jax.random.key(0),
            norm=1.0,
            seeds=0,
            horizon=1.0,
            dt=0.1,
        )
