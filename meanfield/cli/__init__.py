"""The command line."""

from ._cite import Cite as Cite
from ._common import constructed as constructed
from ._converge import Converge as Converge
from ._demo import Demo as Demo
from ._diagnose import Diagnose as Diagnose
from ._escape import Escape as Escape
from ._escape import compare as compare
from ._escape import growth as growth
from ._reproduce import Reproduce as Reproduce
from ._simulate import Simulate as Simulate
from ._spectrum import Spectrum as Spectrum
