"""A damaged checkpoint is one warning and nothing else on the standard error of a process.

Threads of the store report there, whatever a test that runs inside a process would see.
"""

from pathlib import Path

import pytest
from faults.processes import Server, forked

RUN = """
import sys, warnings
from pathlib import Path

import jax.numpy as jnp

from landscapes import Neuron, RegressionLandscape
from meanfield import Checkpoints, GradientFlow, simulate
from particles import Ensemble

warnings.simplefilter("always")
x = jnp.linspace(-1, 1, 8)[:, None]
flow = GradientFlow(RegressionLandscape(x, jnp.sin(3 * x)), scheme="euler")
mu = Ensemble(Neuron(a=jnp.ones((3, 1)), w=jnp.array([[0.5], [1.0], [2.0]])))
checkpoints = Checkpoints(Path("run"), 2)
whole = simulate(flow, mu, horizon=0.4, dt=0.1, checkpoints=checkpoints)
for place in sys.argv[1:]:
    file = Path("run/4") / place
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))
again = Checkpoints(Path("run"), 2)
run = simulate(flow, mu, horizon=0.4, dt=0.1, checkpoints=again, resume=True)
assert (run.ensemble.particles.w == whole.ensemble.particles.w).all()
print(run.message)
"""


@pytest.mark.parametrize("place", ["state/manifest.ocdbt", "tape/manifest.ocdbt"])
def test_one_warning_and_nothing_else(place: str, tmp_path: Path, server: Server) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    ran = forked(server, tmp_path, [script, place], target="faults.processes:script")
    assert ran.wait() == 0, ran.errors
    assert ran.stdout.read_text("utf-8").strip() == "the run reached the horizon at t = 0.4."
    lines = [line for line in ran.errors.splitlines() if "Warning" in line]
    assert len(lines) == 1
    assert "the checkpoint of step 4 in run is damaged (its arrays cannot be read" in lines[0]
    assert "Traceback" not in ran.errors
    assert "tensorstore_spec" not in ran.errors
