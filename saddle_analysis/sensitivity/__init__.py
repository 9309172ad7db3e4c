"""How curvature depends on the samples, on parameters and on the timescale ratio."""

from ._held_out import HeldOut as HeldOut
from ._held_out import held_out_curvature as held_out_curvature
from ._samples import Measurement as Measurement
from ._samples import measure as measure
from ._samples import parameter_sensitivity as parameter_sensitivity
from ._samples import sample_sensitivity as sample_sensitivity
from ._threshold import TimescaleThreshold as TimescaleThreshold
from ._threshold import timescale_threshold as timescale_threshold
from ._timescales import timescale_sensitivity as timescale_sensitivity
from ._verdict import Verdict as Verdict
from ._verdict import verdict as verdict
