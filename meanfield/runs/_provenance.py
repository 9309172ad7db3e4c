"""Where numbers come from: versions, precision, machine, and how the flow was set up."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from ..flows import GradientFlow


def provenance(flow: GradientFlow | None = None) -> dict[str, Any]:
    """What a reader needs to trust or repeat a result; plain values for file attributes."""
    record = {
        "meanfield_flows": _version("meanfield-flows"),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "float64": int(jnp.result_type(float) == jnp.float64),
        "matmul_precision": "highest",
    }
    if flow is not None:
        ratio = flow.ratio
        record |= {
            "landscape": type(flow.landscape).__name__,
            "scheme": type(flow.scheme.solver).__name__,
            "adaptive": int(flow.scheme.adaptive),
            "timescale_ratio": "limit" if ratio is None else ratio,
        }
        options = ("temperature", "birth_death", "resample_below", "batch_size")
        given = {name: getattr(flow, name) for name in options}
        record |= {name: float(value) for name, value in given.items() if value is not None}
    return record


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
