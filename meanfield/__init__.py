"""Mean-field particle simulation of Wasserstein gradient flows: the dynamics and the front door."""

from .flows import GradientFlow as GradientFlow
from .flows import free_energy as free_energy
from .problems import load_config as load_config
from .problems import save_config as save_config
from .reports import diagnose as diagnose
from .results import Claim as Claim
from .runs import Checkpoints as Checkpoints
from .runs import FlowFailed as FlowFailed
from .runs import Outcome as Outcome
from .runs import Run as Run
from .runs import Schedule as Schedule
from .runs import Statistic as Statistic
from .runs import at as at
from .runs import component as component
from .runs import every as every
from .runs import log_spaced as log_spaced
from .runs import simulate as simulate
from .runs import snapshots as snapshots
from .runs import stable_step as stable_step
from .studies import convergence_study as convergence_study
from .studies import descent_study as descent_study
from .studies import escape_study as escape_study
from .studies import simulate_perturbed as simulate_perturbed
from .studies import unstable_pairs as unstable_pairs
