"""Flows: what moves an ensemble, one step at a time."""

from ._gradient import GradientFlow as GradientFlow
from ._gradient import require_step as require_step
from ._jumps import free_energy as free_energy
from ._jumps import resampled as resampled
from ._schemes import Scheme as Scheme
from ._schemes import scheme_from as scheme_from
from ._state import FlowState as FlowState
from ._state import Observation as Observation
