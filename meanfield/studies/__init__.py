"""Studies of many runs: N to infinity, escapes, perturbed flows, descent."""

from ._convergence import Convergence as Convergence
from ._convergence import Draw as Draw
from ._convergence import convergence_study as convergence_study
from ._descent import Descent as Descent
from ._descent import descent_study as descent_study
from ._descent import gradient_noise as gradient_noise
from ._escapes import Escapes as Escapes
from ._escapes import EscapeStudy as EscapeStudy
from ._escapes import UnusablePerturbationWarning as UnusablePerturbationWarning
from ._escapes import escape_study as escape_study
from ._exponents import CONFIDENCE as CONFIDENCE
from ._exponents import fit_exponent as fit_exponent
from ._measures import MEASURE as MEASURE
from ._measures import MEASURES as MEASURES
from ._measures import Measure as Measure
from ._perturbed import Event as Event
from ._perturbed import PerturbedRun as PerturbedRun
from ._perturbed import simulate_perturbed as simulate_perturbed
from ._softmax import SoftmaxGrowth as SoftmaxGrowth
from ._softmax import SoftmaxImbalance as SoftmaxImbalance
from ._softmax import SoftmaxTail as SoftmaxTail
from ._softmax import softmax_growth_study as softmax_growth_study
from ._softmax import softmax_imbalance_study as softmax_imbalance_study
from ._softmax import softmax_tail_study as softmax_tail_study
from ._softmax import zero_head as zero_head
