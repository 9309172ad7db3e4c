"""Plumbing that other packages need: streaming, host copies, names of leaves. May change."""

from ._device import to_device as to_device
from ._ensemble import scaled as scaled
from ._mesh import to_host as to_host
from ._once import compiled_once as compiled_once
from ._pairs import stream_pairs as stream_pairs
from ._points import normal_points as normal_points
from ._points import require_points as require_points
from ._points import uniform_points as uniform_points
from ._streaming import ACCELERATOR_BUDGET as ACCELERATOR_BUDGET
from ._streaming import CPU_BUDGET as CPU_BUDGET
from ._streaming import chunk_for as chunk_for
from ._streaming import equal_weights as equal_weights
from ._streaming import stream_map as stream_map
from ._streaming import stream_sum as stream_sum
from ._tensors import picked as picked
from ._tensors import require_shape as require_shape
from ._transport import coordinates as coordinates
from ._tree import difference as difference
from ._tree import leaf_names as leaf_names
from ._tree import require_finite as require_finite
from ._tree import require_real as require_real
from ._tree import stacked as stacked
