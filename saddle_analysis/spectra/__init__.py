"""Spectra of symmetric operators: eigenpairs with residuals, Morse index, density, null space."""

from ._budget import Budget as Budget
from ._budget import Progress as Progress
from ._budget import ProgressCallback as ProgressCallback
from ._density import SpectralDensity as SpectralDensity
from ._density import spectral_density as spectral_density
from ._eigen import Eigenpairs as Eigenpairs
from ._eigen import extreme_eigenpairs as extreme_eigenpairs
from ._eigen import smallest_eigenpair as smallest_eigenpair
from ._low_rank import InteractionSpectrum as InteractionSpectrum
from ._low_rank import interaction_spectrum as interaction_spectrum
from ._morse import MorseIndex as MorseIndex
from ._morse import morse_index as morse_index
from ._morse import negative_eigenpairs as negative_eigenpairs
from ._morse import unstable_eigenpairs as unstable_eigenpairs
from ._null_space import NullDirection as NullDirection
from ._null_space import probe_null_space as probe_null_space
from ._operators import HessianOperator as HessianOperator
from ._precision import require_resolved as require_resolved
from ._precision import resolved_residual as resolved_residual
from ._precision import resolved_threshold as resolved_threshold
from ._ritz import gram_matrix as gram_matrix
from ._ritz import projected as projected
from ._ritz import ritz_values as ritz_values
from ._ritz import stacked as stacked
from ._symmetric import MatrixOperator as MatrixOperator
from ._symmetric import SymmetricOperator as SymmetricOperator
