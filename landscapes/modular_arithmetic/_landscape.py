"""The landscape of arithmetic modulo p: two-layer networks on pairs of residues (GRO23, KMCK25)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from particles import Ensemble, InvalidInput, Points, gaussian
from particles.internal import to_device

from .._base import Landscape
from .._observables import Observable
from ._fourier import (
    Numbers,
    checked_modulus,
    checked_template,
    is_odd_prime,
    template_phasors,
)
from ._theory import frequency_order

TARGETS = ("addition", "subtraction", "quadratic")
ACTIVATIONS = ("quadratic", "relu")
LOSSES = ("squared", "cross-entropy")


class ModularNeuron(NamedTuple):
    """One neuron, or the neurons of an ensemble.

    Args:
        u: weights on the first number; last axis p.
        v: weights on the second number; last axis p.
        w: output weights; last axis p.
    """

    u: Array
    v: Array
    w: Array


class ModularArithmeticLandscape(Landscape):
    """Loss of a two-layer network that maps two residues to a third, on part of all pairs.

    A residue a is encoded by the shifted template x^a_n = x_{n−a} (one-hot by default). A particle
    θ = (u, v, w) ∈ R^{3p} is a neuron,

        Φ(θ)_{ab} = w σ(⟨u, x^a⟩ + ⟨v, x^b⟩) / D,   D = 2p,

    for all p² pairs, and the risk is the mean over the training pairs of the squared error
    (1/p)‖m_ab − x^c‖², c the answer, or of the cross-entropy of the answer under the softmax of m.
    With one-hot residues this is Gromov's model at width N, whose rate η per step is a flow step
    of η/N. (theory.md, section 10; GRO23, KMCK25)

    Args:
        p: modulus.
        training: which pairs (a, b) are trained on, shape `(p, p)`; all by default.
        template: x, shape `(p,)`; one-hot by default.
        target: answer: `addition` a + b, `subtraction` a − b, `quadratic` a² + ab + b².
        activation: σ, `quadratic` s² or `relu`.
        loss: `squared` or `cross-entropy`.

    Raises:
        InvalidInput: p below 3, no training pair, shapes that do not fit, an unknown name, or
            cross-entropy with a template.

    Example:
        >>> import jax.numpy as jnp
        >>> landscape = ModularArithmeticLandscape(5)
        >>> zero = Ensemble(ModularNeuron(*jnp.zeros((3, 1, 5))))
        >>> round(float(landscape.value(zero)), 6)  # 1/p
        0.2
    """

    template: Float[Array, " p"]
    training: Float[Array, "p p"]
    answers: Int[Array, "p p"]
    order: Int[Array, " frequencies"]
    target: str = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    loss: str = eqx.field(static=True)
    one_hot: bool = eqx.field(static=True)
    complete: bool = eqx.field(static=True)
    convex: ClassVar[bool] = True

    def __init__(
        self,
        p: int,
        *,
        training: Bool[np.ndarray, "p p"] | None = None,
        template: Numbers | None = None,
        target: str = "addition",
        activation: str = "quadratic",
        loss: str = "squared",
    ):
        p = checked_modulus(p)
        x = checked_template(p, template)
        mask = np.ones((p, p), bool) if training is None else np.asarray(training, bool)
        if mask.shape != (p, p) or not mask.any():
            raise InvalidInput(
                f"training has shape {mask.shape} and {int(mask.sum())} pairs; it must be "
                f"({p}, {p}) with at least one pair to train on."
            )
        _require_choice("target", target, TARGETS)
        _require_choice("activation", activation, ACTIVATIONS)
        _require_choice("loss", loss, LOSSES)
        if loss == "cross-entropy" and template is not None:
            raise InvalidInput(
                "loss is 'cross-entropy', but a template is given; its outputs are no classes: "
                "leave the template out, or choose 'squared'."
            )
        self.template = to_device(x)
        self.training = to_device(mask, self.template.dtype)
        a, b = np.arange(p)[:, None], np.arange(p)[None]
        answers = {"addition": a + b, "subtraction": a - b, "quadratic": a * a + a * b + b * b}
        self.answers = to_device(answers[target] % p)
        self.order = to_device(frequency_order(x))
        self.target, self.activation, self.loss = target, activation, loss
        self.one_hot, self.complete = template is None, bool(mask.all())

    @classmethod
    def of_fraction(
        cls,
        p: int,
        fraction: float,
        *,
        key: Key[Array, ""],
        template: Numbers | None = None,
        target: str = "addition",
        activation: str = "quadratic",
        loss: str = "squared",
    ) -> ModularArithmeticLandscape:
        """The landscape trained on a random share of all pairs, drawn without replacement.

        Args:
            p: modulus.
            fraction: share of the p² pairs, in (0, 1]; rounded to whole pairs.
            key: draws the pairs.
            template: see the class.
            target: see the class.
            activation: see the class.
            loss: see the class.

        Raises:
            InvalidInput: a fraction without a training pair or above one, or what the class
                refuses.

        Example:
            >>> half = ModularArithmeticLandscape.of_fraction(5, 0.4, key=jax.random.key(0))
            >>> int(half.training.sum())
            10
        """
        p = checked_modulus(p)
        count = round(fraction * p * p) if 0 < fraction <= 1 else 0
        if count < 1:
            raise InvalidInput(
                f"fraction is {fraction}; it must be at most 1 and leave at least one of the "
                f"{p * p} pairs to train on."
            )
        mask = np.zeros(p * p, bool)
        mask[np.asarray(jax.random.permutation(key, p * p))[:count]] = True
        return cls(
            p,
            training=mask.reshape(p, p),
            template=template,
            target=target,
            activation=activation,
            loss=loss,
        )

    @property
    def p(self) -> int:
        """The modulus."""
        return self.template.shape[0]

    @property
    def constructible(self) -> bool:
        """Whether `constructed_measure` can build a measure for any set of frequencies."""
        linear = self.target in ("addition", "subtraction")
        return linear and self.activation == "quadratic" and is_odd_prime(self.p)

    @property
    def particle(self) -> ModularNeuron:
        """Shapes and dtypes of one neuron."""
        one: Any = jax.ShapeDtypeStruct((self.p,), self.template.dtype)
        return ModularNeuron(one, one, one)

    def features(self, particle: ModularNeuron) -> Float[Array, "p p p"]:
        """Φ(θ), axes (a, b, output)."""
        return self._activity(particle)[:, :, None] * particle.w

    def feature_sum(
        self, particles: ModularNeuron, weights: Float[Array, " particles"]
    ) -> Float[Array, "p p p"]:
        """The same sum as one matrix product of activities and output weights."""
        activity = jax.vmap(self._activity)(particles)
        return jnp.einsum("iab,iq->abq", activity, weights[:, None] * particles.w)

    def pairing(
        self, particles: ModularNeuron, dual: Float[Array, "p p p"]
    ) -> Float[Array, " particles"]:
        """⟨dual, Φ(θ_i)⟩ of every neuron."""
        activity = jax.vmap(self._activity)(particles)
        return jnp.sum(jnp.einsum("iab,abq->iq", activity, dual) * particles.w, axis=1)

    def particle_bytes(self, particle: PyTree) -> int:
        """Memory of one neuron's activity on all pairs, in both passes."""
        return 4 * self.training.size * self.template.dtype.itemsize

    def risk(self, moments: Float[Array, "p p p"], fast: None = None) -> Float[Array, ""]:
        """Mean loss of the training pairs."""
        return self._mean(self.pair_losses(moments), self.training)

    def pair_losses(self, moments: Float[Array, "p p p"]) -> Float[Array, "p p"]:
        """The loss of every pair, trained on or not."""
        if self.loss == "cross-entropy":
            right = jnp.take_along_axis(moments, self.answers[:, :, None], axis=2)[:, :, 0]
            return jax.nn.logsumexp(moments, axis=2) - right
        return jnp.mean((moments - self.targets()) ** 2, axis=2)

    def targets(self) -> Float[Array, "p p p"]:
        """x^c of every pair: what the network should answer."""
        return self._shifts()[self.answers]

    def correct(self, moments: Float[Array, "p p p"]) -> Bool[Array, "p p"]:
        """Whether the answer of every pair is the residue whose code lies nearest."""
        scores = moments if self.one_hot else moments @ self._shifts().T
        return jnp.argmax(scores, axis=2) == self.answers

    def learned_fraction(self, moments: Float[Array, "p p p"]) -> Float[Array, " frequencies"]:
        """Share of each frequency of the target that the predictor has, over all pairs.

        In the order of `frequency_order`: strongest frequency first. Exact for addition and
        subtraction, where frequencies do not mix; zero where the template lacks one.
        """
        wanted = jnp.fft.fft(self.targets(), axis=2)
        found = jnp.fft.fft(moments, axis=2)
        shared = jnp.sum(jnp.real(found * jnp.conj(wanted)), axis=(0, 1))
        total = jnp.sum(jnp.abs(wanted) ** 2, axis=(0, 1))
        present = total > 1e-10 * jnp.sum(total)
        return (jnp.where(present, shared, 0) / jnp.where(present, total, 1))[self.order]

    def observables(self, moments: Float[Array, "p p p"]) -> dict[str, Observable]:
        """`train_loss`, `train_accuracy`, those of the test pairs, and `learned_fraction`."""
        losses, right = self.pair_losses(moments), self.correct(moments).astype(moments.dtype)
        sets = {"train": self.training}
        if not self.complete:
            sets["test"] = 1 - self.training
        found = {}
        for name, mask in sets.items():
            found[f"{name}_loss"] = Observable(self._mean(losses, mask))
            found[f"{name}_accuracy"] = Observable(self._mean(right, mask))
        if self.p % 2 and self.target != "quadratic":
            found["learned_fraction"] = Observable(self.learned_fraction(moments), ("feature",))
        return found

    def phasors(self) -> np.ndarray:
        """m_k e^{iψ_k} of the template, k = 0 … (p−1)/2."""
        return template_phasors(np.asarray(self.template))

    def _shifts(self) -> Float[Array, "p p"]:
        """x^a in row a."""
        n = np.arange(self.p)
        return self.template[(n[None] - n[:, None]) % self.p]

    def _activity(self, particle: ModularNeuron) -> Float[Array, "p p"]:
        """σ(⟨u, x^a⟩ + ⟨v, x^b⟩) / D."""
        u, v = particle.u, particle.v
        if not self.one_hot:
            u, v = self._shifts() @ u, self._shifts() @ v
        s = u[:, None] + v[None]
        return (s * s if self.activation == "quadratic" else jax.nn.relu(s)) / (2 * self.p)

    @staticmethod
    def _mean(values: Array, mask: Array) -> Array:
        return jnp.sum(values * mask) / jnp.sum(mask)


def modular_start(
    key: Key[Array, ""],
    landscape: ModularArithmeticLandscape,
    size: int,
    *,
    scale: float = 1.0,
    points: Points = "random",
) -> Ensemble:
    """Neurons with normal weights of standard deviation `scale`.

    One is Gromov's start. The predictor is zero in the mean, and its N → ∞ limit moves.

    Args:
        key: random key.
        landscape: gives the shapes.
        size: number of neurons N.
        scale: standard deviation of every weight.
        points: how neurons are drawn, as in `particles.gaussian`.

    Raises:
        InvalidInput: `size` is below one or does not suit `points`, or a negative scale.

    Example:
        >>> mu = modular_start(jax.random.key(0), ModularArithmeticLandscape(5), 4)
        >>> mu.particles.u.shape
        (4, 5)
    """
    if not scale >= 0:
        raise InvalidInput(f"scale is {scale}; it must not be negative.")
    return gaussian(key, size, landscape.particle, scale=scale, points=points)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name} is {value!r}; choose one of {list(choices)}.")
