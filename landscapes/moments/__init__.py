"""Matching of moments: convex risks of a few means, on which Langevin dynamics is known sharply."""

from ._gibbs import Equilibrium as Equilibrium
from ._gibbs import equilibrium as equilibrium
from ._landscape import FourierLandscape as FourierLandscape
from ._landscape import MeanLandscape as MeanLandscape
from ._landscape import MomentLandscape as MomentLandscape
from ._spikes import Spike as Spike
from ._spikes import SpikeLandscape as SpikeLandscape
