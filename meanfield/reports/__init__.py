"""Reports: results as a page, claims, figures and data in a folder."""

from ._convergence import convergence_result as convergence_result
from ._convergence import exponent_claims as exponent_claims
from ._criticality import critical_point_claims as critical_point_claims
from ._criticality import criticality_result as criticality_result
from ._criticality import density_result as density_result
from ._diagnosis import diagnose as diagnose
from ._escapes import escape_result as escape_result
from ._escapes import growth_result as growth_result
from ._film import FilmOptions as FilmOptions
from ._film import filmed as filmed
from ._levels import level_claims as level_claims
from ._levels import levels_result as levels_result
from ._options import CriticalityOptions as CriticalityOptions
from ._options import DiagnosisOptions as DiagnosisOptions
from ._options import History as History
from ._plan import PlanOptions as PlanOptions
from ._plan import plan_result as plan_result
from ._report import Report as Report
from ._report import owner_of as owner_of
from ._report import require_own_folder as require_own_folder
from ._report import undone_if_refused as undone_if_refused
from ._runs import energy_balance as energy_balance
from ._runs import run_result as run_result
from ._sensitivity import parameters_result as parameters_result
from ._sensitivity import sensitivity_result as sensitivity_result
from ._surroundings import surroundings_result as surroundings_result
