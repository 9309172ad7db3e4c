"""Energies of pairs: charges, tokens, diffusion, and distances to a target sample."""

from ._attraction import AttractionRepulsionLandscape as AttractionRepulsionLandscape
from ._blob import BlobLandscape as BlobLandscape
from ._blob import NarrowKernelWarning as NarrowKernelWarning
from ._chemotaxis import ChemotaxisLandscape as ChemotaxisLandscape
from ._diffusion_laws import Barenblatt as Barenblatt
from ._diffusion_laws import heat_variance as heat_variance
from ._energy_distance import EnergyDistanceLandscape as EnergyDistanceLandscape
from ._gas import RieszGasLandscape as RieszGasLandscape
from ._gas import hermite_points as hermite_points
from ._sphere_grid import sphere_grid as sphere_grid
from ._tokens import TokenLandscape as TokenLandscape
from ._tokens import equal_angles as equal_angles
from ._tokens import merging_time as merging_time
from ._tokens import orthogonal_cosine as orthogonal_cosine
