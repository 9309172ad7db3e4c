"""Arithmetic modulo p, against loops over pairs and against what Fourier analysis says."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close

from landscapes import Landscape, ModularArithmeticLandscape, Observable
from landscapes.modular_arithmetic import (
    ModularNeuron,
    constructed_measure,
    frequency_growth,
    frequency_level,
    inverse_participation,
    modular_start,
    neurons_needed,
    template_magnitudes,
)
from particles import Ensemble, InvalidInput
from particles.internal import to_device
from saddle_analysis import HessianOperator, criticality_report

P = 5
TEMPLATE = np.array([0.3, 1.0, -0.2, 0.5, 0.1])
KEY = jax.random.key(0)
ANSWERS = {
    "addition": lambda a, b: a + b,
    "subtraction": lambda a, b: a - b,
    "quadratic": lambda a, b: a**2 + a * b + b**2,
}


def neurons(size: int = 4, p: int = P, seed: int = 1) -> Ensemble:
    rng = np.random.default_rng(seed)
    parts = ModularNeuron(*(to_device(rng.normal(size=(size, p))) for _ in range(3)))
    return Ensemble(parts, to_device(rng.uniform(0.2, 1, size)))


@eqx.filter_jit
def observed(
    landscape: ModularArithmeticLandscape, mu: Ensemble
) -> tuple[jax.Array, dict[str, Observable]]:
    """The value and the observables."""
    return landscape.value(mu), landscape.observables(landscape.moments(mu))


@eqx.filter_jit
def value_velocity_and_shares(
    landscape: ModularArithmeticLandscape, mu: Ensemble
) -> tuple[jax.Array, ModularNeuron, jax.Array]:
    return *landscape.value_and_velocity(mu), landscape.learned_fraction(landscape.moments(mu))


def padded(mu: Ensemble, size: int) -> Ensemble:
    """The same measure on more particles, those of no weight at zero: one shape for many."""
    more = size - mu.size
    particles = jax.tree.map(
        lambda leaf: to_device(np.pad(leaf, ((0, more), (0, 0)))), mu.particles
    )
    return Ensemble(particles, to_device(np.pad(mu.probabilities, (0, more))))


def by_hand(mu: Ensemble, target: str, activation: str, template: np.ndarray) -> np.ndarray:
    """Outputs minus targets of all pairs, written out."""
    u, v, w = (np.asarray(part) for part in mu.particles)
    weights = np.asarray(mu.probabilities)
    found = np.zeros((P, P, P))
    for a, b in itertools.product(range(P), repeat=2):
        for share, ui, vi, wi in zip(weights, u, v, w, strict=True):
            s = sum(ui[n] * template[(n - a) % P] + vi[n] * template[(n - b) % P] for n in range(P))
            found[a, b] += share * wi * (s**2 if activation == "quadratic" else max(s, 0)) / (2 * P)
        answer = ANSWERS[target](a, b) % P
        found[a, b] -= [template[(q - answer) % P] for q in range(P)]
    return found


@pytest.mark.parametrize("target", list(ANSWERS))
@pytest.mark.parametrize("activation", ["quadratic", "relu"])
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["one-hot", "template"])
def test_losses_of_both_sets_by_hand(target: str, activation: str, template) -> None:
    landscape = ModularArithmeticLandscape.of_fraction(
        P, 0.5, key=KEY, template=template, target=target, activation=activation
    )
    mu = neurons()
    wrong = by_hand(mu, target, activation, np.eye(P)[0] if template is None else template)
    losses = np.mean(wrong**2, axis=2)
    train = np.asarray(landscape.training, bool)
    assert train.sum() == round(0.5 * P * P)
    value, seen = observed(landscape, mu)
    close(value, losses[train].mean())
    close(seen["train_loss"].value, losses[train].mean())
    close(seen["test_loss"].value, losses[~train].mean())


def test_cross_entropy_and_accuracy_by_hand() -> None:
    landscape = ModularArithmeticLandscape.of_fraction(P, 0.4, key=KEY, loss="cross-entropy")
    mu = neurons()
    outputs = by_hand(mu, "addition", "quadratic", np.eye(P)[0])
    outputs += np.eye(P)[np.add.outer(np.arange(P), np.arange(P)) % P]
    train = np.asarray(landscape.training, bool)
    losses, right = np.zeros((P, P)), np.zeros((P, P))
    for a, b in itertools.product(range(P), repeat=2):
        chances = np.exp(outputs[a, b]) / np.exp(outputs[a, b]).sum()
        losses[a, b] = -np.log(chances[(a + b) % P])
        right[a, b] = np.argmax(outputs[a, b]) == (a + b) % P
    value, seen = observed(landscape, mu)
    close(value, losses[train].mean())
    close(seen["test_accuracy"].value, right[~train].mean())
    close(seen["train_accuracy"].value, right[train].mean())


@pytest.mark.parametrize("activation", ["quadratic", "relu"])
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["one-hot", "template"])
def test_matrix_products_are_the_plain_sums(precision: str, activation: str, template) -> None:
    landscape = ModularArithmeticLandscape(P, activation=activation, template=template)
    mu = neurons()
    dual = to_device(np.random.default_rng(4).normal(size=(P, P, P)))
    for found, plain in zip(*both_ways(landscape, mu, dual), strict=True):
        close(found, plain)


@eqx.filter_jit
def both_ways(landscape: Landscape, mu: Ensemble, dual: jax.Array) -> tuple:
    """Moments and pairings by the landscape's products, and as any landscape has them."""
    particles, weights = mu.particles, mu.probabilities
    return (
        (landscape.moments(mu), landscape.pairing(particles, dual)),
        (
            Landscape.feature_sum(landscape, particles, weights),
            Landscape.pairing(landscape, particles, dual),
        ),
    )


def test_gradient_descent_is_the_flow() -> None:
    """N times the Euclidean gradient of the loss at equal weights."""
    landscape = ModularArithmeticLandscape.of_fraction(P, 0.6, key=KEY)
    mu = modular_start(KEY, landscape, 3)
    loss = lambda parts: landscape.value(mu.with_particles(parts))  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(mu.particles)
    close(landscape.velocity(mu), jax.tree.map(lambda g: -3 * np.asarray(g), gradient))


@pytest.mark.parametrize("p", [5, 7, 11])
def test_levels_of_all_or_many_frequency_sets(p: int) -> None:
    landscape = ModularArithmeticLandscape(p)
    count = (p - 1) // 2
    size = constructed_measure(landscape, range(1, count + 1), constant=True).size
    for learned in [(), (1,), (2,), (1, 2), tuple(range(1, count + 1))]:
        for constant in (True, False):
            if not learned and not constant:
                continue
            mu = padded(constructed_measure(landscape, learned, constant=constant), size)
            level = ((not constant) + 2 * (count - len(learned))) / p**2
            value, velocity, _ = value_velocity_and_shares(landscape, mu)
            assert abs(float(value) - level) < 1e-12
            assert abs(frequency_level(p, learned, constant=constant) - level) < 1e-12
            if constant:
                assert all(np.abs(part).max() < 1e-12 for part in velocity)


@pytest.mark.parametrize("target", ["addition", "subtraction"])
def test_constructions_on_a_template(target: str) -> None:
    landscape = ModularArithmeticLandscape(P, template=TEMPLATE, target=target)
    power = np.abs(np.fft.fft(TEMPLATE)) ** 2
    for learned in [(), (1,), (2,), (1, 2)]:
        value, velocity, shares = value_velocity_and_shares(
            landscape, constructed_measure(landscape, learned, 23)
        )
        missing = [k for k in range(P) if k and min(k, P - k) not in learned]
        level = power[missing].sum() / P**2  # Parseval
        assert abs(float(value) - level) < 1e-12
        assert abs(frequency_level(P, learned, template=TEMPLATE) - level) < 1e-12
        assert all(np.abs(part).max() < 1e-12 for part in velocity)
        close(shares, [float(k in learned) for k in np.asarray(landscape.order)])


def test_saddles_are_degenerate_and_descend_at_third_order() -> None:
    landscape = ModularArithmeticLandscape(P)
    saddle = constructed_measure(landscape, [1])
    operator = HessianOperator(landscape, saddle)
    values = np.linalg.eigvalsh(np.asarray(operator.dense()))
    assert values.min() > -1e-12
    assert values.max() > 1e-3
    missing = np.cos(2 * np.pi * 2 * np.arange(P) / P)
    moved = np.ones((saddle.size, 1))
    moved[-1] = 0  # the constant neuron stays
    field = ModularNeuron(*(jnp.asarray(moved * missing) for _ in range(3)))

    def change(step: float) -> float:
        there = jax.tree.map(lambda x, d: x + step * d, saddle.particles, field)
        return float(landscape.value(saddle.with_particles(there)))

    # The odd part: V = −(p/2) g step³ of nine neurons in ten.
    step = 1e-3
    third = (change(step) - change(-step)) / (2 * step**3)
    np.testing.assert_allclose(third, -0.9 * P / 2 * frequency_growth(P, 2).rate, rtol=1e-4)
    report = criticality_report(landscape, saddle)
    assert (report.kind, report.index) == ("degenerate saddle", 0)
    assert report.descent_order == 3


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["one-hot", "template"])
def test_one_frequency_along_the_flow(template) -> None:
    """The velocity of the landscape, on one small neuron, is that of amplitudes and phases."""
    landscape = ModularArithmeticLandscape(P, template=template)
    growth, k = frequency_growth(P, 2, template), 2
    turn = 2 * np.pi * k * np.arange(P) / P
    amplitudes, phases = np.array([1.0, 0.7, 1.3]) * 1e-3, np.array([0.4, 0.9, -0.3])
    parts = [a * np.cos(turn + f) for a, f in zip(amplitudes, phases, strict=True)]
    mu = Ensemble(ModularNeuron(*(jnp.asarray(part)[None] for part in parts)))
    offset = float(np.angle(landscape.phasors()[k]))
    wave = np.exp(-1j * turn) * 2 / P
    velocity = np.array([np.asarray(part)[0] @ wave for part in landscape.velocity(mu)])
    turned = velocity * np.exp(-1j * phases)
    state = np.append(amplitudes, phases[0] + phases[1] - phases[2] - offset)
    predicted = growth.velocity(state)
    turning = np.imag(turned) / amplitudes
    np.testing.assert_allclose(np.real(turned), predicted[:3], rtol=1e-6)
    np.testing.assert_allclose(turning[0] + turning[1] - turning[2], predicted[3], rtol=1e-6)


def test_conserved_quantities_and_hyperbolic_growth() -> None:
    growth = frequency_growth(7, 1)
    start = np.array([1.0, 0.6, 0.8, 0.9])
    path = growth.solve(start, np.linspace(0, 0.5 * growth.blow_up(1.0), 9))
    np.testing.assert_allclose(
        growth.conserved(path), np.tile(growth.conserved(start), (9, 1)), rtol=1e-8
    )
    assert path[-1, 2] > path[0, 2]
    times = np.linspace(0, 0.9 * growth.blow_up(0.5), 5)
    np.testing.assert_allclose(
        growth.solve([0.5, 0.5, 0.5, 0], times)[:, 0], 1 / (2 - growth.rate * times), rtol=1e-8
    )


def test_participation_and_magnitudes() -> None:
    flat = to_device(np.eye(7)[:1])
    close(inverse_participation([flat]), [1 / 7])
    close(template_magnitudes(np.eye(7)[0]), [2 / 7] * 3)
    draws = to_device(np.random.default_rng(0).normal(size=(4000, 101)))
    # 51 independent powers, 50 of them doubled: about 2/p in the mean.
    assert abs(np.asarray(inverse_participation([draws])).mean() * 101 - 2) < 0.1


def constructed(**options):
    size = options.pop("size", None)
    frequencies = options.pop("frequencies", [1])
    return constructed_measure(
        ModularArithmeticLandscape(options.pop("p", P), **options), frequencies, size
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ModularArithmeticLandscape(2), "p is 2; the modulus must be at least 3"),
        (lambda: constructed(p=9), "p is 9; the theory of frequencies needs an odd prime"),
        (lambda: frequency_level(4, []), "p is 4; the theory of frequencies"),
        (
            lambda: ModularArithmeticLandscape.of_fraction(P, 0.01, key=KEY),
            "fraction is 0.01; it must be at most 1 and leave at least one of the 25 pairs",
        ),
        (lambda: ModularArithmeticLandscape.of_fraction(P, 1.5, key=KEY), "fraction is 1.5"),
        (lambda: ModularArithmeticLandscape(P, training=np.zeros((P, P), bool)), "0 pairs"),
        (lambda: ModularArithmeticLandscape(P, template=np.zeros(P)), "template is zero"),
        (lambda: ModularArithmeticLandscape(P, template=np.ones(4)), r"template has shape \(4,\)"),
        (
            lambda: ModularArithmeticLandscape(P, template=TEMPLATE, loss="cross-entropy"),
            "loss is 'cross-entropy', but a template is given",
        ),
        (lambda: ModularArithmeticLandscape(P, target="product"), "target is 'product'"),
        (lambda: constructed(template=np.ones(P)), "magnitude zero at frequency 1"),
        (lambda: constructed(frequencies=[3]), "frequency 3 is not among 1 … 2"),
        (lambda: constructed(size=9), "size is 9, but frequencies .1. need 10"),
        (lambda: constructed(activation="relu"), "landscape has activation 'relu'"),
        (lambda: constructed(target="quadratic"), "target 'quadratic'"),
        (lambda: modular_start(KEY, ModularArithmeticLandscape(P), 3, scale=-1), "scale is -1"),
    ],
)
def test_refusals(make, sentence: str) -> None:
    assert neurons_needed(1) == 10
    with pytest.raises(InvalidInput, match=sentence):
        make()
