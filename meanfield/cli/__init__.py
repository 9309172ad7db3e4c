"""The command line."""

from ._main import COMMANDS as COMMANDS
from ._main import main as main
