"""The attention landscape on which commands place saddles: drawn samples of a drawn teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from landscapes import MLPAttentionLandscape, Neuron, canonical_form, draw_inputs
from landscapes.mlp_attention import saddle_ensemble, teach
from particles import Ensemble, gaussian


class Setting(NamedTuple):
    """A realisable problem.

    Args:
        landscape: on the training samples.
        fresh: the same task on four times as many fresh samples.
        positions: the teacher's input weights, of which saddles are made.
        key: for further draws.
    """

    landscape: MLPAttentionLandscape
    fresh: MLPAttentionLandscape
    positions: Array
    key: Array

    def saddle(self, missing: Sequence[int], size: int) -> Ensemble:
        """The exact critical point that misses the given features, with N = `size` particles."""
        return saddle_ensemble(self.key, self.landscape, self.positions, missing, size, spread=0.3)


def realisable(
    seed: int, *, dim: int, samples: int, teacher_neurons: int, spectrum: Sequence[float]
) -> Setting:
    """A teacher of tanh neurons in canonical form, on normal inputs."""
    keys = jax.random.split(jax.random.key(seed), 4)
    dtype = jnp.result_type(float)
    struct = Neuron(
        a=jax.ShapeDtypeStruct((len(spectrum),), dtype), w=jax.ShapeDtypeStruct((dim,), dtype)
    )
    teacher = gaussian(keys[0], teacher_neurons, struct, scale=Neuron(a=1.0, w=0.5))
    x = draw_inputs(keys[1], samples, dim)
    f, transform = canonical_form(teach(teacher, x), spectrum)
    x_fresh = draw_inputs(keys[2], 4 * samples, dim)
    return Setting(
        MLPAttentionLandscape(x, f),
        MLPAttentionLandscape(x_fresh, teach(teacher, x_fresh) @ transform),
        teacher.particles.w,
        keys[3],
    )
