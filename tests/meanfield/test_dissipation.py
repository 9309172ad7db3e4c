"""dL/dt = −‖∇δL/δμ‖² − ‖∇_fast R‖²/ε, pointwise and integrated along the flow."""

import numpy as np
import pytest
from flow_cases import smooth_attention
from helpers import attention_matrix, cloud, regression

from meanfield import GradientFlow, every, simulate

RATIOS = [None, 0.5]


def recorded(landscape, scheme: str, ratio: float | None, dt: float, interval: float, **options):
    flow = GradientFlow(landscape, scheme=scheme, ratio=ratio)
    start = cloud(weighted=True)
    return simulate(flow, start, horizon=1.0, dt=dt, record=every(interval), **options).trajectory


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("scheme", "order"), [("euler", 1), ("heun", 2)])
def test_energy_lost_is_energy_dissipated_up_to_the_order(
    scheme: str, order: int, ratio: float | None
) -> None:
    landscape = regression() if ratio is None else smooth_attention()
    defects = []
    for dt in (0.02, 0.01):
        seen = recorded(landscape, scheme, ratio, dt, 1.0)
        lost = float(seen.loss[0] - seen.loss[-1])
        defects.append(abs(lost - float(seen.dissipated[-1])))
    assert lost > 0.005
    assert np.log2(defects[0] / defects[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("ratio", RATIOS)
def test_dissipation_rate_is_the_slope_of_the_loss(ratio: float | None) -> None:
    fast = None if ratio is None else attention_matrix()  # far from equilibrium
    seen = recorded(smooth_attention(), "heun", ratio, 0.005, 0.005, fast=fast)
    # Central differences of fourth order; Heun's flow differs by dt² from the true one.
    loss = seen.loss.to_numpy()
    slope = (loss[:-4] - 8 * loss[1:-3] + 8 * loss[3:-1] - loss[4:]) / (12 * 0.005)
    np.testing.assert_allclose(-slope, seen.dissipation_rate[2:-2], rtol=1e-4)
    if ratio is None:
        np.testing.assert_allclose(seen.gradient_norm**2, seen.dissipation_rate, rtol=1e-12)
    else:
        assert (seen.gradient_norm**2 < seen.dissipation_rate).all()
