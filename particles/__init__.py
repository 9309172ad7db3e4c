"""The measure: weighted ensembles of particles, starting measures, streaming sums, storage."""

from . import internal as internal
from ._ensemble import Ensemble as Ensemble
from ._entropy import entropy as entropy
from ._errors import InvalidInput as InvalidInput
from ._errors import NotConvergedWarning as NotConvergedWarning
from ._mesh import particle_mesh as particle_mesh
from ._placement import drawn_on as drawn_on
from ._placement import gathered as gathered
from ._placement import placed as placed
from ._points import Points as Points
from ._points import UnbalancedWarning as UnbalancedWarning
from ._starts import gaussian as gaussian
from ._starts import restrict as restrict
from ._starts import sphere as sphere
from ._starts import uniform as uniform
from ._storage import load_ensemble as load_ensemble
from ._storage import save_ensemble as save_ensemble
from ._tensors import HalfPrecisionWarning as HalfPrecisionWarning
from ._tensors import read_tensors as read_tensors
from ._transport import Coupling as Coupling
from ._transport import optimal_coupling as optimal_coupling
from ._transport import self_transport as self_transport
from ._transport import sinkhorn_divergence as sinkhorn_divergence
from ._transport import sliced_wasserstein as sliced_wasserstein
from ._transport import wasserstein as wasserstein
