"""Reports: results as a page, claims, figures and data in a folder."""

from ._convergence import convergence_result as convergence_result
from ._convergence import exponent_claims as exponent_claims
from ._diagnosis import diagnose as diagnose
from ._diagnosis import write_diagnosis as write_diagnosis
from ._escapes import escape_result as escape_result
from ._escapes import growth_result as growth_result
from ._report import Report as Report
from ._report import owner_of as owner_of
from ._report import require_own_folder as require_own_folder
from ._saddle_claims import saddle_claims as saddle_claims
from ._subject import DiagnosisOptions as DiagnosisOptions
from ._subject import Subject as Subject
