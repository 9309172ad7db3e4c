"""From a configuration to a landscape, a start and a flow."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from landscapes import (
    Confined,
    MLPAttentionLandscape,
    Neuron,
    NeuronLandscape,
    RegressionLandscape,
    canonical_form,
    draw_inputs,
    neuron_start,
)
from landscapes.mlp_attention import saddle_ensemble, teach
from particles import (
    Ensemble,
    InvalidInput,
    gaussian,
    load_ensemble,
    particle_mesh,
    placed,
    sphere,
    uniform,
)
from saddle_analysis import HessianOperator, along, displaced, smallest_eigenpair

from ..flows import GradientFlow, scheme_from
from ._config import Config, FlowConfig, LandscapeConfig, StartConfig


class Problem(NamedTuple):
    """A landscape, and the input weights its drawn targets are made of (`None` for given data)."""

    landscape: NeuronLandscape
    positions: Float[Array, "neurons inputs"] | None


def build_landscape(key: Key[Array, ""], config: LandscapeConfig) -> Problem:
    """The configured landscape, on given data or on drawn samples of a drawn teacher.

    Raises:
        InvalidInput: the data file lacks `x` or `f`, or any argument is out of range.
    """
    positions = None
    if config.data:
        x, f = load_data(config.data)
    else:
        if config.teacher_neurons < len(config.spectrum):
            raise InvalidInput(
                f"landscape.teacher_neurons is {config.teacher_neurons}; it must be at least the "
                f"{len(config.spectrum)} entries of the spectrum."
            )
        key_inputs, key_teacher = jax.random.split(key)
        x = draw_inputs(
            key_inputs,
            config.samples,
            config.dim,
            config.distribution,
            symmetric=config.symmetric,
        )
        struct = Neuron(
            a=jax.ShapeDtypeStruct((len(config.spectrum),), x.dtype),
            w=jax.ShapeDtypeStruct((config.dim,), x.dtype),
        )
        teacher = gaussian(key_teacher, config.teacher_neurons, struct, scale=Neuron(a=1.0, w=0.5))
        f, _ = canonical_form(teach(teacher, x, config.activation), config.spectrum)
        positions = teacher.particles.w
    if config.kind == "regression":
        return Problem(RegressionLandscape(x, f, config.activation), positions)
    landscape = MLPAttentionLandscape(
        x, f, config.activation, ridge=config.ridge, context_length=config.context_length
    )
    return Problem(landscape, positions)


def load_data(path: str | os.PathLike) -> tuple[Array, Array]:
    """Arrays `x` (samples × inputs) and `f` (samples × features) of an `.npz` file.

    Raises:
        InvalidInput: not an `.npz`, or one of the two arrays is missing or not numeric.
        FileNotFoundError: there is no such file.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream) as file:
            arrays = {name: file[name] for name in file.files if name in ("x", "f")}
            names = sorted(file.files)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"data {path} is not an .npz file of plain named arrays.") from error
    if len(arrays) < 2:
        raise InvalidInput(
            f"data {path} has the arrays {names}; it must have x (samples × inputs) and f "
            "(samples × features)."
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise InvalidInput(f"data {path}: {name} has dtype {array.dtype}; give real numbers.")
    dtype = jnp.result_type(float)
    return jnp.asarray(arrays["x"], dtype), jnp.asarray(arrays["f"], dtype)


def build_start(key: Key[Array, ""], config: StartConfig, problem: Problem) -> Ensemble:
    """The configured ensemble.

    Raises:
        InvalidInput: a saddle on a landscape that has no exact construction, or any argument is
            out of range.
    """
    landscape, size = problem.landscape, config.particles
    if size < 1:
        raise InvalidInput(f"start.particles is {size}; an ensemble needs at least one.")
    inputs = landscape.x.shape[1]
    scale = Neuron(a=config.scale_a, w=config.scale_w / inputs**0.5)
    match config.kind:
        case "neurons":
            return neuron_start(
                key,
                landscape,
                size,
                output_mean=config.output_mean,
                scale_a=config.scale_a,
                scale_w=config.scale_w,
            )
        case "gaussian":
            return gaussian(key, size, landscape.particle, scale=scale)
        case "sphere":
            radius = Neuron(a=config.scale_a, w=config.scale_w)
            return sphere(key, size, landscape.particle, radius=radius)
        case "uniform":
            low = Neuron(a=-scale.a, w=-scale.w)
            return uniform(key, size, landscape.particle, low=low, high=scale)
        case "file" if not config.file:
            raise InvalidInput("start.file is empty, but start.kind is 'file'; name an .npz.")
        case "file":
            return load_ensemble(config.file, like=landscape.particle)
        case "saddle":
            return _near_saddle(key, config, problem)


def _near_saddle(key: Array, config: StartConfig, problem: Problem) -> Ensemble:
    if not isinstance(problem.landscape, MLPAttentionLandscape) or problem.positions is None:
        raise InvalidInput(
            "start.kind is 'saddle', which needs the attention landscape on drawn samples: the "
            "exact construction uses the teacher's neurons."
        )
    saddle = saddle_ensemble(
        key, problem.landscape, problem.positions, config.missing, config.particles
    )
    if config.distance == 0 or not config.missing:
        return saddle
    unstable = smallest_eigenpair(HessianOperator(problem.landscape, saddle)).fields[0]
    return displaced(saddle, along(saddle, unstable, config.distance))


def build_flow(config: FlowConfig, landscape: NeuronLandscape) -> GradientFlow:
    """The configured flow.

    Raises:
        InvalidInput: unknown scheme, or a ratio, tolerance or chunk out of range.
    """
    ratios = {"limit": None, "frozen": math.inf}
    ratio = ratios[config.ratio] if isinstance(config.ratio, str) else config.ratio
    if isinstance(landscape, RegressionLandscape) and ratio is not None:
        raise InvalidInput(
            f"flow.ratio is {config.ratio!r}, but the regression landscape has no fast variables; "
            "leave it at 'limit'."
        )
    return GradientFlow(
        Confined(landscape, config.confinement) if config.confinement else landscape,
        scheme=scheme_from(config.scheme, rtol=config.rtol, atol=config.atol),
        ratio=ratio,
        temperature=config.temperature or None,
        birth_death=config.birth_death or None,
        resample_below=config.resample_below or None,
        batch_size=config.batch_size or None,
        chunk=config.chunk or None,
    )


def build(config: Config) -> tuple[Problem, Ensemble, GradientFlow]:
    """Landscape, start and flow of a configuration; equal seeds give equal draws."""
    key_start = jax.random.split(jax.random.key(config.seed))[1]
    problem = build_landscape(landscape_key(config.seed), config.landscape)
    start = build_start(key_start, config.start, problem)
    if config.devices != 1:
        start = placed(start, particle_mesh(config.devices or None))
    return problem, start, build_flow(config.flow, problem.landscape)


def run_key(seed: int) -> Key[Array, ""]:
    """The key a run with this seed draws its noise and batches from."""
    return jax.random.fold_in(jax.random.key(seed), 2)


def landscape_key(seed: int) -> Key[Array, ""]:
    """The key a run with this seed draws its landscape from."""
    return jax.random.split(jax.random.key(seed))[0]
