"""Mean-field particle simulation of Wasserstein gradient flows: the dynamics and the front door."""

from ._checkpoints import Checkpoints as Checkpoints
from ._claims import Claim as Claim
from ._components import component as component
from ._config import Config as Config
from ._config import load_config as load_config
from ._config import save_config as save_config
from ._flow import FlowState as FlowState
from ._flow import GradientFlow as GradientFlow
from ._flow import Observation as Observation
from ._outcome import Outcome as Outcome
from ._records import Statistic as Statistic
from ._run import FlowFailed as FlowFailed
from ._run import Run as Run
from ._run import simulate as simulate
from ._schedules import Schedule as Schedule
from ._schedules import at as at
from ._schedules import every as every
from ._schedules import log_spaced as log_spaced
from ._schemes import Scheme as Scheme
from ._schemes import scheme_from as scheme_from
from ._stability import stable_step as stable_step
