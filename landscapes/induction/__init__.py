"""The induction circuit: in-context learning that emerges at once in two layers of attention."""

from ._landscape import CausalInductionLandscape as CausalInductionLandscape
from ._landscape import Circuit as Circuit
from ._landscape import InductionLandscape as InductionLandscape
from ._landscape import InductionMoments as InductionMoments
from ._landscape import circuit_start as circuit_start
from ._landscape import circuits as circuits
from ._markov import MarkovHead as MarkovHead
from ._markov import MarkovInductionLandscape as MarkovInductionLandscape
from ._markov import draw_chains as draw_chains
from ._markov import markov_head_start as markov_head_start
from ._theory import escape_curvature as escape_curvature
from ._theory import plateau_level as plateau_level
from ._theory import plateau_readout as plateau_readout
