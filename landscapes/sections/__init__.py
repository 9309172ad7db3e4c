"""Sections of any landscape: lines, planes, paths, the first variation, the optimality gap."""

from ._directions import Plane as Plane
from ._directions import coordinate_directions as coordinate_directions
from ._directions import principal_directions as principal_directions
from ._directions import principal_plane as principal_plane
from ._field import first_variation_field as first_variation_field
from ._gap import OptimalityGap as OptimalityGap
from ._gap import optimality_gap as optimality_gap
from ._interpolation import Barrier as Barrier
from ._interpolation import barrier as barrier
from ._interpolation import displacement_path as displacement_path
from ._interpolation import interpolate as interpolate
from ._sections import DisplacementSection as DisplacementSection
from ._sections import Expansion as Expansion
from ._sections import MixtureSection as MixtureSection
from ._sections import Section as Section
from ._sections import section_expansions as section_expansions
from ._sections import section_values as section_values
from ._slices import loss_lines as loss_lines
from ._slices import loss_plane as loss_plane
