"""Is the installed jax sound on the pattern this library lives on?

jax 0.10.2 silently miscompiles, on the CPU, a jitted matrix-vector product mapped over particles
and then summed (https://github.com/jax-ml/jax/issues/39103). `pyproject.toml` excludes the releases
known to be broken; this test catches a broken build whatever its version number.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.optimized


@pytest.mark.parametrize(("dtype", "count"), [("float64", 16_385), ("float32", 32_769)])
def test_mapped_matrix_vector_product_then_sum_is_right(dtype: str, count: int) -> None:
    index = np.arange(count, dtype=dtype)
    particles = jnp.stack([jnp.asarray(index), *2 * [jnp.zeros(count, dtype)]], axis=1)
    matrix = jnp.eye(3, dtype=dtype)

    @jax.jit
    def energies(particles: jax.Array) -> jax.Array:
        return jax.vmap(lambda particle: jnp.sum((matrix @ particle) ** 2))(particles)

    assert particles.dtype == dtype
    np.testing.assert_array_equal(energies(particles), index**2)
