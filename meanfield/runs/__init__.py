"""The loop around a flow: records, schedules, checkpoints, stops."""

from ._batches import map_batch as map_batch
from ._batches import members as members
from ._checkpoints import Checkpoints as Checkpoints
from ._checkpoints import DamagedCheckpointWarning as DamagedCheckpointWarning
from ._components import component as component
from ._first import StartWarning as StartWarning
from ._hosts import join as join
from ._hosts import speaks as speaks
from ._outcome import Outcome as Outcome
from ._progress import Progress as Progress
from ._progress import shown_on as shown_on
from ._provenance import provenance as provenance
from ._records import Statistic as Statistic
from ._run import FlowFailed as FlowFailed
from ._run import LostSeedsWarning as LostSeedsWarning
from ._run import Run as Run
from ._run import RunInterrupted as RunInterrupted
from ._run import simulate as simulate
from ._schedules import Schedule as Schedule
from ._schedules import at as at
from ._schedules import every as every
from ._schedules import log_spaced as log_spaced
from ._snapshots import snapshots as snapshots
from ._stability import stable_step as stable_step
