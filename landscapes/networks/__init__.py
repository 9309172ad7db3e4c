"""Two-layer networks: neurons as particles, plain regression, samples and their redraws (CB18)."""

from ._activations import ACTIVATIONS as ACTIVATIONS
from ._activations import Activation as Activation
from ._activations import activation_from as activation_from
from ._fresh import GaussianRegressionBatch as GaussianRegressionBatch
from ._gaussian_regression import GaussianRegressionLandscape as GaussianRegressionLandscape
from ._gaussian_regression import Truncation as Truncation
from ._gaussian_regression import neuron_gram as neuron_gram
from ._gaussian_regression import truncation as truncation
from ._hermite import HermiteExpansion as HermiteExpansion
from ._hermite import hermite_expansion as hermite_expansion
from ._modes import HermiteModes as HermiteModes
from ._modes import hidden_layer as hidden_layer
from ._neurons import Neuron as Neuron
from ._neurons import NeuronLandscape as NeuronLandscape
from ._neurons import network_output as network_output
from ._neurons import samples_of as samples_of
from ._redraws import Redraw as Redraw
from ._redraws import bootstrap as bootstrap
from ._redraws import fresh_samples as fresh_samples
from ._regression import RegressionLandscape as RegressionLandscape
from ._samples import canonical_form as canonical_form
from ._samples import checked_samples as checked_samples
from ._samples import draw_inputs as draw_inputs
from ._starts import neuron_start as neuron_start
from ._tensors import neurons_from as neurons_from
from ._tensors import with_constant as with_constant
