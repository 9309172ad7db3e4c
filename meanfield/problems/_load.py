"""From a configuration to a problem, a start and a flow."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from landscapes import AbstractLandscape
from particles import Ensemble, InvalidInput, gaussian, particle_mesh, placed

from ..flows import AbstractFlow
from ._config import REGISTRIES, Config, load_config
from ._options import require_ranges
from ._problem import Draw, Problem
from ._starts import particle_of

COPIES = 3  # ensemble, velocity and one stage of the scheme: what the smallest run holds


class Loaded(NamedTuple):
    """What a configuration describes."""

    problem: Problem
    start: Ensemble
    flow: AbstractFlow


def load(config: Config | str | os.PathLike, *, trust: bool = True) -> Loaded:
    """Problem, start and flow of a configuration; equal seeds give equal draws.

    Args:
        config: a `Config`, or a TOML file.
        trust: whether a file may name code of its own (`kind = "package.module:Name"`).

    Raises:
        InvalidInput: an option that is unknown, out of range or without effect, or JAX in another
            precision than the configuration asks for.
        FileNotFoundError: there is no such file.

    Example:
        >>> from meanfield import Config, load, simulate
        >>> from meanfield.problems import Regression
        >>> config = Config(particles=8, precision="float32", problem=Regression(samples=16))
        >>> problem, start, flow = load(config)
        >>> start.size, simulate(flow, start, horizon=0.1, dt=0.05).outcome.name
        (8, 'HORIZON')
    """
    if not isinstance(config, Config):
        config = load_config(config, trust=trust)
    require_ranges(config)
    require_precision(config.precision)
    problem = build_problem(config.problem, config.seed)
    flow = build_flow(config.flow, problem)
    start = draw_start(config.start, problem, config.seed, config.particles)
    if config.devices != 1:
        start = placed(start, particle_mesh(config.devices or None))
    return Loaded(problem, start, flow)


def build_problem(options: Any, seed: int) -> Problem:
    """The problem that a seed draws: the same in every command.

    Raises:
        InvalidInput: an option out of range, or options that build no problem.
    """
    require_ranges(options, "problem.")
    name = REGISTRIES["problem"].name_of(options)
    built = options.build(problem_key(seed))
    if isinstance(built, AbstractLandscape):
        built = _plain_problem(built, name)
    if not isinstance(built, Problem):
        raise InvalidInput(
            f"problem {name!r} builds {type(built).__name__}; it must give a Problem or a "
            "Landscape."
        )
    return dataclasses.replace(built, name=name)


def _plain_problem(landscape: AbstractLandscape, name: str) -> Problem:
    """A landscape alone: normal starts, where it knows the shape of a particle."""
    problem = Problem(landscape, lambda key, size: gaussian(key, size, like), name=name)
    like = particle_of(problem)
    return problem


def build_flow(options: Any, problem: Problem) -> AbstractFlow:
    """The flow on a problem's landscape.

    Raises:
        InvalidInput: options that do not fit together, or not the landscape.
    """
    require_ranges(options, "flow.")
    return options.build(problem.landscape)


def start_law(options: Any, problem: Problem, seed: int) -> Draw:
    """The law of starts: draws N particles from a key.

    Raises:
        InvalidInput: a start that this problem does not have.
    """
    require_ranges(options, "start.")
    return options.build(problem, jax.random.fold_in(jax.random.key(seed), 4))


def draw_start(options: Any, problem: Problem, seed: int, size: int) -> Ensemble:
    """The start that a seed draws.

    Raises:
        InvalidInput: as `start_law`, or more particles than the memory of this machine holds.
    """
    require_memory(problem, size)
    return start_law(options, problem, seed)(start_key(seed), size)


def require_memory(problem: Problem, size: int) -> None:
    """Refuse, before anything is drawn, what cannot fit.

    Raises:
        InvalidInput: says what is needed and what there is.
    """
    if problem.landscape.particle is None:
        return
    leaves = jax.tree.leaves(problem.landscape.particle)
    needed = COPIES * size * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    try:
        present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return
    if needed > present and jax.default_backend() == "cpu":
        raise InvalidInput(
            f"particles is {size}: the ensemble, its velocity and one stage need "
            f"{needed / 1e9:.3g} GB, and this machine has {present / 1e9:.3g} GB; take fewer."
        )


def require_precision(precision: str) -> None:
    """Refuse a precision that JAX is not set to.

    Raises:
        InvalidInput: says how to set it.
    """
    present = str(jnp.result_type(float))
    if present != precision:
        on = precision == "float64"
        raise InvalidInput(
            f"precision is {precision!r}, but JAX computes in {present}; call "
            f"jax.config.update('jax_enable_x64', {on}) first, or choose {present!r}."
        )


# One seed gives the same problem, start and noise in every command.


def problem_key(seed: int) -> Key[Array, ""]:
    """The key that problems are drawn from."""
    return jax.random.key(seed)


def start_key(seed: int) -> Key[Array, ""]:
    """The key that starts are drawn from."""
    return jax.random.fold_in(jax.random.key(seed), 1)


def run_key(seed: int) -> Key[Array, ""]:
    """The key that noise and batches of a run are drawn from."""
    return jax.random.fold_in(jax.random.key(seed), 2)


def study_key(seed: int) -> Key[Array, ""]:
    """The key of whatever a study draws besides."""
    return jax.random.fold_in(jax.random.key(seed), 3)
