"""What studies and reproductions return: claims, figures, and where the theory comes from."""

from ._claims import Claim as Claim
from ._claims import plain as plain
