"""What studies and reproductions return: claims, figures, and where the theory comes from."""

from ._claims import Claim as Claim
from ._claims import claims_table as claims_table
from ._claims import plain as plain
from ._critical_point import CriticalPoint as CriticalPoint
from ._estimate import Estimate as Estimate
from ._references import Reference as Reference
from ._references import cite as cite
from ._references import references as references
from ._references import references_in as references_in
from ._result import Figure as Figure
from ._result import Panel as Panel
from ._result import Result as Result
