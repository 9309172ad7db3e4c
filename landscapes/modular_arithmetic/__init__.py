"""Two-layer networks that learn arithmetic modulo p, their neurons as particles (GRO23, KMCK25)."""

from ._constructions import constructed_measure as constructed_measure
from ._constructions import neurons_needed as neurons_needed
from ._fourier import inverse_participation as inverse_participation
from ._fourier import template_magnitudes as template_magnitudes
from ._landscape import ModularArithmeticLandscape as ModularArithmeticLandscape
from ._landscape import ModularNeuron as ModularNeuron
from ._landscape import modular_start as modular_start
from ._theory import FrequencyGrowth as FrequencyGrowth
from ._theory import frequency_growth as frequency_growth
from ._theory import frequency_level as frequency_level
from ._theory import frequency_order as frequency_order
