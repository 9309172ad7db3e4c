"""What recorded curves say: growth, escape times, plateaus, stages, power laws."""

from ._crossing import crossing as crossing
from ._escape import EscapeScaling as EscapeScaling
from ._escape import escape_scaling as escape_scaling
from ._escape import escape_time as escape_time
from ._growth import GrowthFit as GrowthFit
from ._growth import fit_growth as fit_growth
from ._line import Line as Line
from ._line import fit_line as fit_line
from ._line import student_quantile as student_quantile
from ._lojasiewicz import LojasiewiczFit as LojasiewiczFit
from ._lojasiewicz import fit_lojasiewicz as fit_lojasiewicz
from ._plateaus import Drop as Drop
from ._plateaus import Plateau as Plateau
from ._plateaus import Plateaus as Plateaus
from ._plateaus import find_plateaus as find_plateaus
from ._power_law import PowerLaw as PowerLaw
from ._power_law import fit_power_law as fit_power_law
from ._stages import QueryStages as QueryStages
from ._stages import Stage as Stage
from ._stages import find_stages as find_stages
