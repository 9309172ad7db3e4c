"""The variants of the stress test act on the programs that a run takes, whole or over a mesh."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from faults import variants
from faults.processes import Server, forked
from faults.stress import VARIANTS

from landscapes import RegressionLandscape, neuron_start
from meanfield import GradientFlow, simulate
from meanfield.runs import _compiled
from particles import gathered, particle_mesh, placed


@pytest.mark.parametrize("variant", sorted({*VARIANTS} - {"synchronous"}))
def test_a_run_takes_them(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variants.PROGRAMS:
        monkeypatch.setattr(_compiled, name, getattr(_compiled, name))  # put back afterwards
    x = jax.random.normal(jax.random.key(0), (6, 2))
    landscape = RegressionLandscape(x, jnp.tanh(x[:, :1]))
    mu = neuron_start(jax.random.key(1), landscape, 4)
    flow, starts = GradientFlow(landscape, scheme="euler"), (mu, placed(mu, particle_mesh(2)))
    seen = variants.use(variant)
    runs = [simulate(flow, start, horizon=0.2, dt=0.1) for start in starts]
    assert all(seen[name] > 0 for name in variants.PROGRAMS)
    assert (seen["given away"] > 0) == (variant == "plain")
    one, two = (gathered(run.ensemble).particles for run in runs)
    np.testing.assert_allclose(one.w, two.w, atol=1e-12)


def test_no_other_program_takes_steps() -> None:
    """What else the loop compiles neither steps nor takes memory that is given away."""
    source = Path(_compiled.__file__ or "").read_text()
    stepping = {part.split("(")[0].strip() for part in source.split("\ndef ")[1:]
                if "flow.advance(" in part}  # fmt: skip
    assert stepping == set(variants.PROGRAMS)
    assert source.count("donate=") == 1


def test_whether_a_call_returns_before_its_program_ends(server: Server, tmp_path: Path) -> None:
    found = {}
    for variant in ("plain", "synchronous"):
        child = forked(server, tmp_path, [variant], target="faults.variants:show_dispatch")
        assert child.wait() == 0, child.errors
        found[variant] = child.stdout.read_text().strip()
    assert found == {"plain": "False", "synchronous": "True"}
