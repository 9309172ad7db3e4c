"""Linear attention against attention token by token, sampled prompts and full-batch descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close
from linear_attention_cases import (
    HEADS,
    brute_gradient,
    brute_loss,
    distribution,
    heads,
    landscape,
    on_data,
    sequences,
)

from landscapes import Landscape
from landscapes.linear_attention import (
    Convention,
    PopulationMoments,
    PromptDistribution,
    data_moments,
    head_start,
    in_context_optimum,
)
from meanfield import GradientFlow, simulate
from particles import restrict
from particles.internal import to_device

THEORY, ZSLS25, TOKENS = Convention(), Convention(False, "none"), Convention(True, "tokens", False)
CASES = [
    ("merged", "useful", THEORY),
    ("separate", "useful", ZSLS25),
    ("merged", "full", TOKENS),
    ("separate", "full", THEORY),
    ("separate", "full", ZSLS25),
]
every_kind = pytest.mark.parametrize("kind", ["merged", "separate"])
every_block = pytest.mark.parametrize("blocks", ["useful", "full"])


@pytest.mark.parametrize(("kind", "blocks", "convention"), CASES)
def test_the_loss_and_its_gradient_are_those_of_attention_token_by_token(kind, blocks, convention):
    x, y = sequences()
    ls = on_data(kind, blocks, convention)
    mu = heads(ls)
    loss, slope = brute_gradient(mu.particles, x, y, convention)
    value, velocity = ls.value_and_velocity(mu)
    close(value, loss, 10)
    close(jax.tree.map(lambda leaf: -np.asarray(leaf) / HEADS, velocity), slope, 20)


def test_the_landscape_in_either_precision(precision):
    ls = on_data("separate", "full", Convention())
    mu = heads(ls)
    assert ls.value(mu).dtype == precision
    close(ls.value(mu), brute_loss(mu.particles, *sequences(), Convention()), 10)


@every_kind
def test_heads_are_averaged_or_summed(kind):
    """An average over N heads is 1/N of the sum; its flow is −N times the gradient too."""
    averaged = on_data(kind, "useful", Convention(), heads=1)
    mu, (x, y) = heads(averaged), sequences()
    loss, slope = brute_gradient(mu.particles, x, y, Convention(), 1 / HEADS)
    value, velocity = averaged.value_and_velocity(mu)
    close(value, loss)
    close(jax.tree.map(lambda leaf: -np.asarray(leaf) / HEADS, velocity), slope)


@every_kind
@every_block
def test_feature_sums_and_predictions(kind, blocks):
    ls = on_data(kind, blocks, Convention(True, "tokens"))
    mu, (x, y) = heads(ls), sequences()
    weights = to_device(np.full(HEADS, 1 / HEADS))
    sums = (ls.feature_sum, lambda *measure: Landscape.feature_sum(ls, *measure))
    close(*jax.jit(lambda *measure: [one(*measure) for one in sums])(mu.particles, weights), 10)
    labels, predicted = np.asarray(y), np.asarray(ls.predict(mu, x, y))
    close(ls.value(mu), 0.5 * np.mean((labels[:, -1] - predicted) ** 2), 10)
    labels = np.concatenate([labels[:, :-1], np.full((len(labels), 1), 7.0)], axis=1)
    close(ls.predict(mu, x, to_device(labels)), predicted)


@every_block
def test_descent_on_the_moments_is_descent_on_the_data_step_for_step(blocks):
    """ZSLS25's setting, small: every loss and the last weights, to round-off."""
    convention = Convention(half=False, divide="none")
    x, y = sequences(60)
    ls = landscape("separate", data_moments(x, y, blocks=blocks, convention=convention))
    start, rate, steps = head_start(jax.random.key(1), ls, HEADS, scale=0.4), 1e-2, 150
    flow = GradientFlow(ls, scheme="euler")
    run = simulate(flow, start, horizon=steps * rate / HEADS, dt=rate / HEADS, record=by_step)

    def step(weights, _):
        loss, slope = brute_gradient(weights, x, y, convention)
        return jax.tree.map(lambda w, g: w - rate * g, weights, slope), loss

    descent = jax.jit(lambda weights: jax.lax.scan(step, weights, length=steps))
    weights, losses = descent(start.particles)
    measured = run.trajectory["loss"].values[:-1]
    assert measured.size == steps
    losses = np.asarray(losses)
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(measured, losses, rtol=1e-12)
    close(run.ensemble.particles, weights, 20)


def by_step(start, end):
    return np.arange(151) * 1e-2 / HEADS


def test_the_population_is_the_mean_of_drawn_prompts():
    """In units of the standard error, with a fixed task in some prompts."""
    options = {"fixed_task": [1.0, -2.0, 0.5], "fraction": 0.4}
    exact = landscape("merged", PopulationMoments(distribution(**options)))
    mu, (x, y) = heads(exact), sequences(50_000, seed=3, **options)
    losses = 0.5 * (np.asarray(y)[:, -1] - np.asarray(exact.predict(mu, x, y))) ** 2
    error, value = np.std(losses) / len(x) ** 0.5, float(exact.value(mu))
    assert abs(np.mean(losses) - value) < 4 * error
    plain = landscape("merged", PopulationMoments(distribution()))
    assert abs(float(plain.value(mu)) - value) > 10 * error


@every_kind
def test_minibatches_are_unbiased(kind):
    exact = landscape(kind, PopulationMoments(distribution(), Convention(True, "none")))
    mu = heads(exact)
    batches = jax.random.split(jax.random.key(5), 1000)

    def seen(one):
        value, velocity = one.value_and_velocity(mu)
        return value, velocity.v

    draw = jax.jit(jax.vmap(lambda key: seen(exact.minibatch(key, 16))))
    for drawn, truth in zip(draw(batches), seen(exact), strict=True):
        sample = np.asarray(drawn)
        error = np.std(sample, axis=0) / len(batches) ** 0.5
        assert (abs(np.mean(sample, axis=0) - np.asarray(truth)) < 4 * error).all()


def test_uninformative_prompts_have_noise_for_labels_but_not_for_the_query():
    x, y = sequences(4000, fixed_task=[1.0, 2.0, 3.0], fraction=1.0, uninformative=True)
    x, y = np.asarray(x), np.asarray(y)
    close(y[:, -1], x[:, -1] @ np.array([1.0, 2.0, 3.0]))
    noise = y[:, :-1]
    count = noise.size
    assert abs(np.mean(noise**2) - 1) < 4 * (2 / count) ** 0.5
    assert abs(np.mean(noise * x[:, :-1, 0])) < 4 / count**0.5


def test_the_extra_weights_stay_at_zero_on_the_population_only():
    """A finite data set pushes them from a zero start; twice the data push less."""
    pushed = []
    for count in (100, 10_000):
        prompts = data_moments(*sequences(count), blocks="full")
        ls = landscape("merged", prompts)
        mu = head_start(jax.random.key(1), ls, HEADS, scale=0.3)
        mask = ls.useful
        assert float(mu.norm(restrict(mu, mask).particles)) == float(mu.norm(mu.particles))
        velocity = ls.velocity(mu)
        extra = jax.tree.map(lambda leaf, keep: to_device(np.where(keep, 0, leaf)), velocity, mask)
        pushed.append(float(mu.norm(extra)))
    assert pushed[0] > 1e-3
    # Their expectation is zero: 100 times the data, a tenth of the push, up to chance.
    assert pushed[1] < 0.3 * pushed[0]


def test_observables_are_learned_fractions_and_test_losses():
    prompts = PopulationMoments(distribution(), Convention(True, "none"))
    other = data_moments(*sequences(), convention=Convention(False, "none"))
    ls = type(landscape("merged", prompts))(prompts, tests={"other": other})
    optimum = in_context_optimum(prompts.covariance, 4) / 4  # sums are not divided by N = 4
    seen = ls.observables(optimum)
    close(seen["learned_fraction"].value, np.ones(3))
    close(seen["other"].value, other.risk(optimum))
    values, vectors = np.linalg.eigh(prompts.covariance)
    top = vectors[:, -1:] @ vectors[:, -1:].T
    close(ls.observables(optimum @ top)["learned_fraction"].value, [1.0, 0.0, 0.0])
    assert values[-1] == pytest.approx(0.5)


def test_an_infinite_context_has_no_noise():
    infinite = PopulationMoments(PromptDistribution([0.5, 0.3], np.inf))
    close(infinite.risk(jnp.linalg.inv(infinite.covariance)), 0.0)


def test_full_blocks_hold_the_useful_ones():
    """With v_x = 0 and no weight on labels both losses agree."""
    x, y = sequences()
    full = landscape("merged", data_moments(x, y, blocks="full"))
    useful = landscape("merged", data_moments(x, y))
    mu = heads(useful)
    v, u = map(np.asarray, mu.particles)
    embedded = type(mu.particles)(
        v=to_device(np.pad(v[:, None], ((0, 0), (3, 0)))),
        u=to_device(np.pad(u, ((0, 0), (0, 1), (0, 0)))),
    )
    close(full.value(mu.with_particles(embedded)), useful.value(mu), 10)
    close(full.prompts.read_out(full.moments(mu.with_particles(embedded))), useful.moments(mu), 10)
