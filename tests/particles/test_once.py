"""Programs that run once: the same numbers, alone and within other programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from particles import _once
from particles.internal import compiled_once


@pytest.fixture(autouse=True)
def nobody_else_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users find it: the quick pass of the tests says itself how to compile."""
    monkeypatch.setattr(_once, "_is_short", lambda: True)


def cube(x: jax.Array) -> jax.Array:
    return jnp.sum(x**3)


X = np.linspace(-1.0, 1.5, 7)


def test_alone_it_gives_what_the_function_gives() -> None:
    once = compiled_once(cube)
    np.testing.assert_allclose(once(X), np.sum(X**3), rtol=1e-14)
    assert once.__name__ == "cube"


def test_another_program_may_call_it() -> None:
    """The compiler takes options for whole programs only, also where no argument is traced."""
    once = compiled_once(cube)
    np.testing.assert_allclose(jax.jit(once)(X), np.sum(X**3), rtol=1e-14)
    np.testing.assert_allclose(jax.jit(lambda: 2 * once(X))(), 2 * np.sum(X**3), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(once)(jnp.asarray(X)), 3 * X**2, rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(once)(X[:, None]), X**3, rtol=1e-14)
    assert jax.eval_shape(once, X).shape == ()


def test_draws_are_those_of_the_plain_program(precision: str) -> None:
    draw = compiled_once(jax.random.normal, static_argnums=1)
    plain = jax.random.normal(jax.random.key(3), (50, 3))
    np.testing.assert_allclose(
        draw(jax.random.key(3), (50, 3)), plain, rtol=16 * jnp.finfo(precision).eps
    )
    assert plain.dtype == precision


def test_who_sets_xla_flags_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    _once._is_short.cache_clear()
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert not _once._is_short()
    _once._is_short.cache_clear()
    monkeypatch.setenv("XLA_FLAGS", "")
    assert _once._is_short()
    _once._is_short.cache_clear()
