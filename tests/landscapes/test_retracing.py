"""What may change without compiling again: every number, but not shapes and functions."""

import jax.numpy as jnp
import numpy as np
from helpers import attention, attention_matrix, cloud
from jax import monitoring

from particles import Ensemble

compiled = []
monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
)


def compilations(run) -> int:
    before = len(compiled)
    run()
    return len(compiled) - before


def test_numbers_never_compile_again():
    tanh = lambda z: jnp.tanh(z)  # noqa: E731  (the user's own: the landscapes share it by identity)
    prompts = attention(activation=tanh, ridge=0.1, context_length=9)  # infinite ones: fewer terms
    landscape, mu, fast = prompts, cloud(), attention_matrix()
    particle = mu.first(1).particles._replace(a=mu.particles.a[0], w=mu.particles.w[0])
    structures = {
        "plain": lambda ls, mu, fast: ls.value_and_velocity(mu),
        "fast": lambda ls, mu, fast: ls.value_and_velocity(mu, fast),
        "chunk": lambda ls, mu, fast: ls.value_and_velocity(mu, chunk=3),
        "variation": lambda ls, mu, fast: ls.first_variation(mu)(particle),
        "second": lambda ls, mu, fast: ls.second_variation(mu)(particle, particle),
    }
    weights = Ensemble(mu.particles, np.arange(1.0, 8.0)).weights
    changes = [
        (landscape, cloud(5), fast),
        (attention(activation=tanh, ridge=0.3, context_length=9), mu, fast),
        (attention(activation=tanh, ridge=0.1, context_length=5), mu, 2 * fast),
        (attention(4, activation=tanh, context_length=17), cloud(8), -fast),
    ]
    for name, run in structures.items():
        assert compilations(lambda: run(landscape, mu, fast)) > 0, name  # noqa: B023
        again = [compilations(lambda: run(*change)) for change in changes]  # noqa: B023
        assert again == [0] * len(changes), name
    weighted = cloud(weighted=True)
    assert compilations(lambda: landscape.value_and_velocity(weighted)) > 0
    other = Ensemble(mu.particles, weights)
    assert compilations(lambda: landscape.value_and_velocity(other)) == 0
