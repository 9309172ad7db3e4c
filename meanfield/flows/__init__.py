"""Flows: what moves an ensemble, one step at a time."""

from ._accelerated import AcceleratedFlow as AcceleratedFlow
from ._base import AbstractFlow as AbstractFlow
from ._base import Balance as Balance
from ._damping import AbstractDamping as AbstractDamping
from ._damping import ConstantDamping as ConstantDamping
from ._damping import NesterovDamping as NesterovDamping
from ._free_energy import free_energy as free_energy
from ._gradient import GradientFlow as GradientFlow
from ._jumps import Diffusion as Diffusion
from ._jumps import Jump as Jump
from ._jumps import Projection as Projection
from ._jumps import Resampling as Resampling
from ._noise import SharedNoise as SharedNoise
from ._noise import whole_key as whole_key
from ._proximal import Proximal as Proximal
from ._scheme import AbstractScheme as AbstractScheme
from ._scheme import Field as Field
from ._scheme_flow import AbstractSchemeFlow as AbstractSchemeFlow
from ._scheme_flow import require_step as require_step
from ._schemes import Scheme as Scheme
from ._schemes import scheme_from as scheme_from
from ._state import FlowState as FlowState
from ._state import Observation as Observation
