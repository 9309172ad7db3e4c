"""A wrapper forwards all that a landscape declares, and what is behind it stays reachable."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import attention, close, cloud, regression

from landscapes import (
    AbstractLandscape,
    Confined,
    Landscape,
    LandscapeWrapper,
    Observable,
    Sphere,
    StartWarning,
)
from landscapes.linear_attention import (
    MergedLinearAttentionLandscape,
    PopulationMoments,
    PromptDistribution,
    head_start,
)
from landscapes.mlp_attention import feature_space
from landscapes.networks import bootstrap, fresh_samples
from particles import Ensemble, InvalidInput


class Marked(Landscape):
    """Every declaration differs from the default of the base class."""

    scale: jax.Array
    convex = True
    mobile = True

    def mobility(self, particle, moments, potential):
        return 3 * jnp.ones_like(potential)

    def features(self, particle):
        return self.scale * particle

    def risk(self, moments, fast=None):
        return jnp.sum((moments - fast) ** 2)

    def solve_fast(self, moments):
        return 0.5 * moments

    def feature_sum(self, particles, weights):
        return self.scale * (weights @ particles) + 0.0

    def pairing(self, particles, dual):
        return 2 * self.scale * (particles @ dual)

    def particle_bytes(self, particle):
        return 17 * 2**18

    def concerns(self, ensemble):
        return [StartWarning("marked")]

    def observables(self, moments):
        return {"marked": Observable(moments[0], units="mark")}

    def minibatch(self, key, size):
        return Marked(self.scale * size)

    @property
    def manifold(self):
        return Sphere(2.0)

    @property
    def particle(self):
        return jax.ShapeDtypeStruct((2,), float)

    def require_fit(self, ensemble):
        raise InvalidInput("marked")

    def require_valid(self):
        if float(self.scale) < 0:
            raise InvalidInput("marked")


class Plain(LandscapeWrapper):
    inner: Landscape


MU = Ensemble(jnp.arange(80.0).reshape(40, 2))
THETA, MOMENTS, WEIGHTS = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]), jnp.ones(40) / 40
#: How to look at every public attribute of a landscape.
LOOKS: dict[str, Any] = {
    "convex": lambda one: one.convex,
    "pairwise": lambda one: one.pairwise,
    "mobile": lambda one: one.mobile,
    "mobility": lambda one: one.mobility(THETA, MOMENTS, MOMENTS[0]),
    "metric": lambda one: one.metric(MU),
    "particle": lambda one: one.particle,
    "unwrapped": lambda one: one.unwrapped,
    "manifold": lambda one: one.manifold.radius,
    "onto_manifold": lambda one: one.onto_manifold(MU),
    "features": lambda one: one.features(THETA),
    "risk": lambda one: one.risk(MOMENTS, THETA),
    "solve_fast": lambda one: one.solve_fast(MOMENTS),
    "feature_sum": lambda one: one.feature_sum(MU.particles, WEIGHTS),
    "pairing": lambda one: one.pairing(MU.particles, THETA),
    "particle_bytes": lambda one: one.particle_bytes(THETA),
    "concerns": lambda one: str(one.concerns(MU)),
    "observables": lambda one: one.observables(MOMENTS),
    "minibatch": lambda one: one.minibatch(jax.random.key(0), 3).unwrapped,
    "require_fit": lambda one: _refusal(lambda: one.require_fit(MU)),
    "require_valid": lambda one: _refusal(one.replace(scale=2.0).require_valid),
    "replace": lambda one: one.replace(scale=2.0).unwrapped,
    "energy": lambda one: one.energy(MOMENTS),
    "chunk": lambda one: one.chunk(MU),
    "moments": lambda one: one.moments(MU),
    "value": lambda one: one.value(MU),
    "velocity": lambda one: one.velocity(MU),
    "value_and_velocity": lambda one: one.value_and_velocity(MU),
    "value_and_slopes": lambda one: one.value_and_slopes(MOMENTS, THETA),
    "fast_velocity": lambda one: one.fast_velocity(MOMENTS, THETA),
    "gradient_field": lambda one: one.gradient_field(MU, THETA),
    "potential_and_gradient": lambda one: one.potential_and_gradient(MU, THETA),
    "first_variation": lambda one: one.first_variation(MU)(THETA),
    "fast_equilibrium": lambda one: one.fast_equilibrium(MU),
    "value_and_moments": lambda one: one.value_and_moments(MU),
    "first_order": lambda one: one.first_order(MU),
    "curvature": lambda one: one.curvature(MU)(MU.particles),
    "mixture": lambda one: one.mixture(MU, (MU,))(jnp.array([0.3])),
    "second_variation": lambda one: one.second_variation(MU)(THETA, MOMENTS),
}


def _refusal(call) -> str:
    try:
        call()
    except InvalidInput as error:
        return str(error)
    return ""


def test_every_public_attribute_is_looked_at() -> None:
    known = {*vars(Landscape), *vars(AbstractLandscape)}
    assert {name for name in known if not name.startswith("_")} == set(LOOKS)


@pytest.mark.parametrize("name", LOOKS)
def test_a_wrapper_forwards(name: str) -> None:
    bare = Marked(jnp.array(1.5))
    seen, wanted = LOOKS[name](Plain(bare)), LOOKS[name](bare)
    assert jax.tree.structure(seen) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(seen), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_confined_landscape_keeps_what_it_wraps() -> None:
    inner, mu = attention(ridge=0.1), cloud()
    landscape = Confined(Confined(inner, 0.3), 0.2)
    assert landscape.unwrapped is inner
    assert Confined(regression(), 0.3).convex
    assert not landscape.convex
    moments = landscape.moments(mu)
    seen = landscape.observables(moments)["learned_fraction"]
    assert seen.dims == ("feature",)
    close(seen.value, inner.observables(inner.moments(mu))["learned_fraction"].value)
    prompts = PopulationMoments(PromptDistribution([0.4, 0.6], 8))
    summed = MergedLinearAttentionLandscape(prompts, heads=3)
    with pytest.raises(InvalidInput, match="sums 3"):
        Confined(summed, 0.1).require_fit(head_start(jax.random.key(0), summed, 4))


def test_networks_are_found_behind_a_wrapper() -> None:
    inner, mu = attention(), cloud()
    landscape = Confined(inner, 0.3)
    redrawn = bootstrap(landscape)(jax.random.key(0), 9)
    assert redrawn.unwrapped.x.shape == (9, 3)
    assert isinstance(redrawn, Confined)
    fresh = fresh_samples(landscape, lambda x: x[:, :2])(jax.random.key(0), 9)
    assert fresh.unwrapped.f.shape == (9, 2)
    assert feature_space(landscape, [mu]).equals(feature_space(inner, [mu]))


# --- replace --------------------------------------------------------------------------------------


def test_replace_gives_the_landscape_with_other_numbers() -> None:
    mu = cloud()
    close(attention().replace(ridge=0.2).value(mu), attention(ridge=0.2).value(mu))
    confined = Confined(attention(), 0.3).replace(ridge=0.2, strength=0.5)
    close(confined.value(mu), Confined(attention(ridge=0.2), 0.5).value(mu))
    sweep = jax.vmap(lambda ridge: attention().replace(ridge=ridge).value(mu))
    close(sweep(jnp.array([0.2]))[0], attention(ridge=0.2).value(mu))


@pytest.mark.parametrize(
    ("landscape", "fields", "words"),
    [
        (attention(), {"rigde": 0.1}, "no field 'rigde' to replace"),
        (attention(), {"activation": jnp.tanh}, "no field 'activation'"),
        (attention(), {"ridge": -0.1}, "ridge is -0.1"),
        (attention(), {"ridge": jnp.nan}, "ridge"),
        (attention(), {"ridge": jnp.ones(2)}, "ridge has shape"),
        (attention(), {"inverse_context": 2.0}, "inverse_context is 2.0"),
        (regression(), {"x": jnp.ones((5, 3))}, "x has 5 samples and f has 24"),
        (Confined(regression(), 0.1), {"strength": -1.0}, "strength is -1.0"),
        (Confined(attention(), 0.1), {"ridge": -0.1}, "ridge is -0.1"),
    ],
)
def test_replace_refuses(landscape: Landscape, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        landscape.replace(**fields)
