# %% [markdown]
# # Which digits does the attention landscape learn first?
#
# Real input: the 1,797 handwritten digits that ship with scikit-learn. The 64 pixels are the
# inputs x, the ten centred one-hot digits are the target features f. The saddle levels come from
# the data's own second moment of f; the run reports which feature was learned when.
#
# Run it with `python examples/digits.py` (needs scikit-learn); it prints where the report is. The
# same from a shell: `meanfield simulate examples/digits.toml --data runs/digits.npz`.

# %%
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from meanfield.cli import main

HERE = Path(__file__).parent
DATA = Path("runs/digits.npz")


def write_data(path: Path) -> Path:
    """Pixels standardised as a whole, digits as centred one-hot columns."""
    digits = load_digits()
    x = (digits.data - digits.data.mean()) / digits.data.std()
    f = np.eye(10)[digits.target]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=x / np.sqrt(x.shape[1]), f=f - f.mean(axis=0))
    return path


# %% [markdown]
# The ten centred one-hot columns sum to zero, so only nine features are independent; the landscape
# warns and goes on with the nine eigen-features.

# %%
if __name__ == "__main__":
    data = write_data(DATA)
    sys.exit(main(["simulate", str(HERE / "digits.toml"), "--data", str(data), *sys.argv[1:]]))
