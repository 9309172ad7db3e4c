"""Problems: landscapes with what commands need to know of them, and their options."""

from ._build import Problem as Problem
from ._build import build as build
from ._build import build_landscape as build_landscape
from ._build import landscape_key as landscape_key
from ._build import load_data as load_data
from ._build import run_key as run_key
from ._config import Config as Config
from ._config import FlowConfig as FlowConfig
from ._config import LandscapeConfig as LandscapeConfig
from ._config import RecordConfig as RecordConfig
from ._config import StartConfig as StartConfig
from ._config import fill as fill
from ._config import load_config as load_config
from ._config import save_config as save_config
from ._settings import Setting as Setting
from ._settings import realisable as realisable
