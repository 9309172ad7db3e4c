"""Single-index targets in high dimension: particles know one angle to the hidden direction."""

from ._landscape import IndexNeuron as IndexNeuron
from ._landscape import SharedLinkLandscape as SharedLinkLandscape
from ._landscape import SingleIndexLandscape as SingleIndexLandscape
from ._landscape import overlap_angles as overlap_angles
from ._theory import escape_time as escape_time
from ._theory import linear_time as linear_time
from ._theory import plateau_levels as plateau_levels
