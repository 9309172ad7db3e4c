"""Where numbers come from: versions, precision, machine, and how the flow was set up."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from ..flows import AbstractFlow


def provenance(flow: AbstractFlow | None = None) -> dict[str, Any]:
    """What a reader needs to trust or repeat a result; plain values for file attributes."""
    record = {
        "meanfield_flows": _version("meanfield-flows"),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "float64": int(jnp.result_type(float) == jnp.float64),
        "matmul_precision": "highest",
    }
    if flow is not None:
        record |= {"landscape": type(flow.landscape).__name__} | flow.describe()
        record |= {} if flow.chunk is None else {"chunk": flow.chunk}
    return record


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
