"""What a step costs: operations, traffic, memory, and the time that a device needs at least."""

from ._chunks import calibrated_chunk as calibrated_chunk
from ._cost import Cost as Cost
from ._cost import StepCost as StepCost
from ._cost import compiled_cost as compiled_cost
from ._cost import evaluation as evaluation
from ._cost import evaluations_of as evaluations_of
from ._cost import sized as sized
from ._cost import step_cost as step_cost
from ._cost import total_of as total_of
from ._devices import ACCELERATORS as ACCELERATORS
from ._devices import Device as Device
from ._devices import Times as Times
from ._devices import best_seconds as best_seconds
from ._devices import device_named as device_named
from ._devices import devices_needed as devices_needed
from ._devices import times_on as times_on
from ._kernels import Kernel as Kernel
from ._kernels import kernels_of as kernels_of
