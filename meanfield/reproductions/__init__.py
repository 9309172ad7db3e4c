"""The headline results of the sources as claims."""

from ._base import Reproduction as Reproduction
from ._registry import REPRODUCTIONS as REPRODUCTIONS
from ._registry import reproduce as reproduce
from ._setting import Setting as Setting
from ._setting import realisable as realisable
