"""Pair interactions: gases of charges, and distances to a target sample."""

from ._energy_distance import EnergyDistanceLandscape as EnergyDistanceLandscape
from ._gas import RieszGasLandscape as RieszGasLandscape
from ._gas import hermite_points as hermite_points
