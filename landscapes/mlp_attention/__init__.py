"""An MLP layer followed by linear attention: the attention landscape of KS24."""

from .._warnings import DependentFeaturesWarning as DependentFeaturesWarning
from .._warnings import SingularWarning as SingularWarning
from ._batch import MLPAttentionBatch as MLPAttentionBatch
from ._feature_space import NearestCritical as NearestCritical
from ._feature_space import feature_correlations as feature_correlations
from ._feature_space import feature_space as feature_space
from ._feature_space import nearest_critical as nearest_critical
from ._gaussian import GaussianAttentionLandscape as GaussianAttentionLandscape
from ._in_context import InContextError as InContextError
from ._in_context import in_context_error as in_context_error
from ._in_context import predict_in_context as predict_in_context
from ._landscape import MLPAttentionLandscape as MLPAttentionLandscape
from ._landscape import output_signal as output_signal
from ._landscape import teach as teach
from ._saddles import saddle_ensemble as saddle_ensemble
from ._theory import benign_threshold as benign_threshold
from ._theory import canonical_correlations as canonical_correlations
from ._theory import eigen_features as eigen_features
from ._theory import feature_loadings as feature_loadings
from ._theory import feature_spectrum as feature_spectrum
from ._theory import learned_fractions as learned_fractions
from ._theory import missing_features as missing_features
from ._theory import missing_name as missing_name
from ._theory import saddle_index as saddle_index
from ._theory import saddle_level as saddle_level
from ._theory import saddle_levels as saddle_levels
