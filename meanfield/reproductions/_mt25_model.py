"""The one-head model of MT25: its landscape, start, closed equations, and recorded weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from landscapes import MergedLinearAttentionLandscape
from landscapes.linear_attention import (
    ExactDynamics,
    MergedHead,
    PopulationMoments,
    PromptDistribution,
    exact_dynamics,
)
from particles import Ensemble

from ..flows import AbstractFlow, FlowState
from ..runs import Statistic

EIGENVALUES, LENGTH, SOURCE = (0.5, 0.25, 0.15, 0.1), 8, "MT25; theory 5"
DIM = len(EIGENVALUES)
VALUE, QUERY = 0.3, 0.02  # start: p, and the diagonal of W_Q
TIME = "time (learning rate × steps)"


def solution(times: np.ndarray) -> ExactDynamics:
    """The closed equations from the start."""
    return exact_dynamics(times, EIGENVALUES, LENGTH, VALUE, QUERY)


def queries_of(run: xarray.Dataset) -> np.ndarray:
    """W_Q of every record and seed."""
    weights = run["weights"].values
    return weights[..., 1:].reshape(*weights.shape[:-1], DIM, DIM)


def landscape() -> MergedLinearAttentionLandscape:
    """One head on the population of prompts."""
    return MergedLinearAttentionLandscape(
        PopulationMoments(PromptDistribution(EIGENVALUES, LENGTH))
    )


def start() -> Ensemble:
    """Value p and a multiple of the identity as W_Q."""
    return Ensemble(MergedHead(v=jnp.full(1, VALUE), u=QUERY * jnp.eye(DIM)[None]))


def _flat(flow: AbstractFlow, state: FlowState) -> jax.Array:
    """The weights p and W_Q in one vector."""
    v, u = state.ensemble.particles
    return jnp.concatenate([v, u.ravel()])


WEIGHTS = Statistic("weights", _flat, dims=("weight",))


def as_weights(exact: ExactDynamics) -> np.ndarray:
    """The solution of the closed equations as `WEIGHTS` records it."""
    full = exact.u[:, :, None] * np.eye(DIM)
    return np.column_stack([exact.p, full.reshape(len(exact.p), -1)])


def reads_of(run: xarray.Dataset) -> np.ndarray:
    """What the model reads of every direction, p u_d, of every record."""
    weights = run["weights"].values
    return weights[:, :1] * weights[:, 1 :: DIM + 1]
