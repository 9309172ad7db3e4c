"""Bad input is refused at the boundary by one sentence that names the argument and the value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import attention, cloud, regression, samples

from landscapes import (
    MLPAttentionLandscape,
    Neuron,
    RegressionLandscape,
    canonical_form,
    draw_inputs,
    neuron_start,
)
from landscapes.mlp_attention import (
    benign_threshold,
    in_context_error,
    predict_in_context,
    saddle_ensemble,
    saddle_index,
    saddle_level,
    saddle_levels,
    teach,
)
from landscapes.networks import activation_from, network_output
from particles import Ensemble, InvalidInput, gaussian, restrict, sphere, uniform
from particles.internal import require_finite, stream_map, stream_sum

KEY = jax.random.key(0)
X, F = samples()
LIKE = {"a": jnp.zeros(2), "w": jnp.zeros(3)}
MU = cloud()
POSITIONS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))


def with_entry(array: np.ndarray, index: tuple, value: float) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


def realisable(**options) -> MLPAttentionLandscape:
    """Targets spanned by the first four of five neurons."""
    return MLPAttentionLandscape(X, np.tanh(X @ np.asarray(POSITIONS).T)[:, :2], **options)


REFUSED = {
    # particles
    r"^particles holds N = 0": lambda: Ensemble({"a": jnp.zeros((0, 2))}),
    r"^particles must have .*\(2,\), \(3,\)": lambda: Ensemble([jnp.zeros(2), jnp.zeros(3)]),
    r"^particles must have .*\(\)": lambda: Ensemble(jnp.zeros(())),
    r"^particles must have .*\[\]": lambda: Ensemble({}),
    r"^weights has shape \(2,\); it must be \(3,\)": lambda: Ensemble(jnp.ones(3), jnp.ones(2)),
    r"^weights lie between -1.0 and 2": lambda: Ensemble(jnp.ones(2), jnp.array([-1.0, 2])),
    r"^weights lie between 0.0 and 0": lambda: Ensemble(jnp.ones(2), jnp.zeros(2)),
    r"^weights lie between nan": lambda: Ensemble(jnp.ones(2), jnp.array([1.0, jnp.nan])),
    r"^weights lie between 1.0 and inf": lambda: Ensemble(jnp.ones(2), jnp.array([1.0, jnp.inf])),
    r"^count is 0; .* N = 7": lambda: MU.first(0),
    r"^count is 8; .* N = 7": lambda: MU.first(8),
    r"^size is 0": lambda: gaussian(KEY, 0, LIKE),
    r"^scale has structure": lambda: gaussian(KEY, 2, LIKE, scale={"a": 1.0}),
    r"^mean has structure": lambda: gaussian(KEY, 2, LIKE, mean={"b": 1.0}),
    r"^low has structure": lambda: uniform(KEY, 2, LIKE, low=[1.0]),
    r"^high has structure": lambda: uniform(KEY, 2, LIKE, high=[1.0]),
    r"^radius has structure": lambda: sphere(KEY, 2, LIKE, radius=(1.0, 2.0)),
    r"^mask has structure": lambda: restrict(MU, {"a": 1}),
    r"^chunk is 0": lambda: stream_sum(lambda p, w: w @ p, jnp.ones(3), None, 0),
    r"^chunk is -1": lambda: stream_map(lambda p: p, jnp.ones(3), -1),
    r"^f\[1, 0\] is inf": lambda: require_finite("f", with_entry(np.ones((2, 2)), (1, 0), np.inf)),
    r"^mu\.w\[0\] is nan": lambda: require_finite("mu", {"a": np.ones(2), "w": np.array([np.nan])}),
    # landscapes
    r"^chunk is 0;": lambda: regression().value(MU, chunk=0),
    r"^chunk is -2": lambda: network_output(MU, jnp.asarray(X), jnp.tanh, chunk=-2),
    r"^activation is 'swish'; choose one of \['cosine', 'erf'": lambda: activation_from("swish"),
    r"^activation is 'Tanh'": lambda: attention(activation="Tanh"),
    r"^x has shape \(24, 3\) and f has shape \(23, 2\)": lambda: MLPAttentionLandscape(X, F[1:]),
    r"^x has shape \(24,\)": lambda: RegressionLandscape(X[:, 0], F),
    r"^x has shape \(0, 3\)": lambda: RegressionLandscape(X[:0], F[:0]),
    r"^x\[2, 1\] is nan": lambda: RegressionLandscape(with_entry(X, (2, 1), np.nan), F),
    r"^f\[0, 1\] is -inf": lambda: MLPAttentionLandscape(X, with_entry(F, (0, 1), -np.inf)),
    r"^f has k = 4 target features but only M = 3": lambda: MLPAttentionLandscape(
        np.eye(3), np.ones((3, 4))
    ),
    r"^ridge is -0.1": lambda: attention(ridge=-0.1),
    r"^ridge is nan": lambda: attention(ridge=np.nan),
    r"^ridge is inf": lambda: attention(ridge=np.inf),
    r"^context_length is 0.5; it must be at least 1": lambda: attention(context_length=0.5),
    r"^context_length is nan": lambda: attention(context_length=np.nan),
    r"^ensemble holds particles of shapes": lambda: attention().require_fit(
        Ensemble(Neuron(a=jnp.ones((2, 2)), w=jnp.ones((2, 4))))
    ),
    r"^teacher has neurons of 3 inputs, but x has 2": lambda: teach(MU, jnp.ones((4, 2))),
    r"^teacher gives features of shape \(4,\)": lambda: teach(lambda x: x[0], jnp.ones((4, 2))),
    r"^teacher gives features of shape \(3, 2\)": lambda: teach(jnp.ones((3, 2)), jnp.ones((4, 2))),
    r"^distribution is 'cauchy'": lambda: draw_inputs(KEY, 4, 2, "cauchy"),
    r"^samples is 0 and dim is 2": lambda: draw_inputs(KEY, 0, 2),
    r"^symmetric is \[2\]; coordinates run from 0 to 1": lambda: draw_inputs(
        KEY, 4, 2, symmetric=[2]
    ),
    r"^symmetric is \[0, 0\]": lambda: draw_inputs(KEY, 4, 2, symmetric=[0, 0]),
    r"^samples is 6; with 2 symmetric .* multiple of 4": lambda: draw_inputs(
        KEY, 6, 2, symmetric=[0, 1]
    ),
    r"^spectrum is \[1.0, 0.0\]": lambda: canonical_form(jnp.asarray(F), [1.0, 0.0]),
    r"^spectrum is \[\]": lambda: canonical_form(jnp.asarray(F), []),
    r"^spectrum is \[nan\]": lambda: canonical_form(jnp.asarray(F), [np.nan]),
    r"^spectrum has 3 entries, but the targets span only 2": lambda: (
        MLPAttentionLandscape.from_teacher(
            KEY, lambda x: x[:2], samples=8, dim=3, spectrum=[1.0, 0.5, 0.2]
        )
    ),
    r"^spectrum has 1 .* span only 0": lambda: canonical_form(jnp.zeros((4, 2)), [1.0]),
    r"^size is -1": lambda: neuron_start(KEY, attention(), -1),
    r"^whiten is true, but 5 neurons": lambda: neuron_start(KEY, attention(), 5, whiten=True),
    r"^eigenvalues is \[0.0\]": lambda: benign_threshold([0.0]),
    r"^eigenvalues is \[\[1.0\]\]": lambda: saddle_level(np.array([[1.0]]), []),
    r"^eigenvalues is \[nan, 1.0\]": lambda: saddle_index([np.nan, 1.0], []),
    r"^eigenvalues has 17 positive": lambda: saddle_levels(np.ones(17)),
    r"^missing is \[3\]; features run from 0 to 1": lambda: saddle_level([1.0, 0.5], [3]),
    r"^missing is \[-1\]": lambda: saddle_index([1.0, 0.5], [-1]),
    r"^missing is \[2\]": lambda: saddle_ensemble(KEY, realisable(), POSITIONS, [2], 5),
    r"^landscape has a ridge or a finite": lambda: saddle_ensemble(
        KEY, realisable(ridge=0.1), POSITIONS, [], 5
    ),
    r"^landscape has a ridge or .* context_length": lambda: saddle_ensemble(
        KEY, realisable(context_length=9), POSITIONS, [], 5
    ),
    r"^size is 4; it must be at least the 5": lambda: saddle_ensemble(
        KEY, realisable(), POSITIONS, [], 4
    ),
    r"^positions do not span": lambda: saddle_ensemble(KEY, attention(), POSITIONS, [], 5),
    r"^positions span 3 dimensions; .* need 4": lambda: saddle_ensemble(
        KEY, realisable(), POSITIONS[:3], [0, 1], 5
    ),
    r"^positions has shape \(5, 2\)": lambda: saddle_ensemble(
        KEY, realisable(), POSITIONS[:, :2], [], 5
    ),
    r"^lengths is \[\]": lambda: in_context_error(KEY, attention(), MU, []),
    r"^lengths is \[0\]": lambda: in_context_error(KEY, attention(), MU, [0]),
    r"^lengths is \[1\] and prompts is 1": lambda: in_context_error(
        KEY, attention(), MU, [1], prompts=1
    ),
    r"^test has 24 inputs and 2 outputs; the landscape has 3 and 2": lambda: in_context_error(
        KEY, attention(), MU, [1], test=MLPAttentionLandscape(np.eye(24), F)
    ),
    r"^prompt_x has length 0": lambda: predict_in_context(
        attention(), MU, jnp.zeros((0, 3)), jnp.zeros(0), jnp.zeros(3)
    ),
}


@pytest.mark.parametrize(("message", "act"), REFUSED.items(), ids=list(REFUSED))
def test_refused(message, act):
    with pytest.raises(InvalidInput, match=message):
        act()


@pytest.mark.filterwarnings("ignore::landscapes.mlp_attention.DependentFeaturesWarning")
def test_dependent_targets_have_no_exact_saddles():
    landscape = MLPAttentionLandscape(X, np.tanh(X[:, :1] @ [[1, 1]]))
    with pytest.raises(InvalidInput, match=r"^landscape has dependent"):
        saddle_ensemble(KEY, landscape, POSITIONS, [], 5)


@pytest.mark.parametrize("rows", [3, 2**19 + 1])  # looked at on the host, and where they are
def test_the_first_number_that_is_not_finite_is_named(rows):
    good = jnp.zeros((rows, 2))
    require_finite("x", good)
    with pytest.raises(InvalidInput, match=rf"^x\.b\[{rows - 1}, 1\] is inf; all entries"):
        require_finite("x", {"a": good, "b": good.at[-1, 1].set(jnp.inf)})


def test_finite_data_whose_sum_overflows_are_accepted():
    require_finite("x", np.full(4, np.finfo(float).max))
    jax.jit(lambda x: require_finite("x", x))(np.array([np.nan]))  # traced values pass unseen
