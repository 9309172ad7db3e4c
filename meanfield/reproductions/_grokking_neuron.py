"""One small neuron with one frequency along the flow, and what it conserves."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landscapes import ModularArithmeticLandscape
from landscapes.modular_arithmetic import FrequencyGrowth, ModularNeuron, frequency_growth
from particles import Ensemble

from .. import plots
from ..flows import AbstractFlow, FlowState, GradientFlow
from ..results import Claim, Result
from ..runs import Statistic, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REDUCTION = "One frequency of one neuron"
P, FREQUENCY, SCALE = 7, 2, 0.02
MAGNITUDES = (0.5, 1.0, 0.75)  # of the template's frequencies 1, 2, 3
NEURON = np.array([1.0, 0.7, 1.3, 0.9])  # α_u, α_v, β over `SCALE`, and Δ
CONSERVED = "α_u² − β²", "α_v² − β²", "α_u α_v β sin Δ"


class Followed(NamedTuple):
    """One small neuron along the flow of the landscape, and by the reduced equations.

    Args:
        times: flow times.
        states: α_u, α_v, β, Δ, shape `(times, 4)`.
        solved: the same by `FrequencyGrowth`.
    """

    times: np.ndarray
    states: np.ndarray
    solved: np.ndarray


def small_template() -> np.ndarray:
    """The template of p = 7 with three different frequencies."""
    turns = 2 * np.pi * np.outer(np.arange(1, len(MAGNITUDES) + 1), np.arange(P)) / P
    return np.asarray(MAGNITUDES) @ np.cos(turns)


def one_neuron(*, progress: bool = False) -> Followed:
    """A neuron with the strongest frequency alone, small, until it has grown several times."""
    template, turn = small_template(), 2 * np.pi * FREQUENCY * np.arange(P) / P
    landscape = ModularArithmeticLandscape(P, template=template)
    growth = frequency_growth(P, FREQUENCY, template)
    start = np.append(SCALE * NEURON[:3], NEURON[3])
    phases = np.array([NEURON[3], 0.0, 0.0])
    waves = [a * np.cos(turn + f) for a, f in zip(start[:3], phases, strict=True)]
    run = simulate(
        GradientFlow(landscape, scheme="adaptive"),
        Ensemble(ModularNeuron(*(jnp.asarray(wave)[None] for wave in waves))),
        horizon=0.8 * growth.blow_up(SCALE),
        dt=1.0,
        statistics=[Statistic("parts", _parts_of, dims=("part", "residue"))],
        progress=progress,
        label="one neuron",
    ).trajectory
    components = run["parts"].values @ np.exp(-1j * turn) * 2 / P
    angles = np.angle(components)
    gap = np.angle(np.exp(1j * (angles[:, 0] + angles[:, 1] - angles[:, 2])))
    times = run["time"].values
    states = np.column_stack([np.abs(components), gap])
    return Followed(times, states, growth.solve(start, times))


def _parts_of(flow: AbstractFlow, state: FlowState) -> jax.Array:
    """Weights u, v, w of the first neuron."""
    return jnp.stack([part[0] for part in state.ensemble.particles])


def reduction(found: Followed) -> Result:
    """What the reduction to one frequency conserves, along the flow of the landscape."""
    result = Result(REDUCTION)
    conserved = FrequencyGrowth.conserved(found.states)
    start = conserved[0]
    scale = np.array([found.states[0, 0] ** 2] * 2 + [start[2]])
    drift = np.abs((conserved - start) / scale).max(axis=0)
    result.claim(
        *[
            Claim.equal(f"{name}: largest change, relative", "theory 10", 0.0, one, absolute=0.02)
            for name, one in zip(CONSERVED, drift, strict=True)
        ],
        Claim.equal(
            "growth of β against that of the reduced equations",
            "theory 10",
            found.solved[-1, 2] / found.solved[0, 2],
            found.states[-1, 2] / found.states[0, 2],
            relative=0.02,
        ),
    )
    result.text(
        f"One neuron of amplitude {SCALE:g} beside the zero predictor, p = {P}. With u and v one "
        "vector, as in KMCK25, α² − 2β² and α²β sin Δ are conserved instead."
    )
    result.figure(
        "neuron",
        "Amplitudes and phase of one neuron along the flow, and by the reduced equations.",
        functools.partial(draw_amplitudes, found=found),
        functools.partial(draw_conserved, found=found),
    )
    return result


def draw_amplitudes(ax: Axes, found: Followed) -> None:
    """The three amplitudes and the phase against time."""
    names = "α_u", "α_v", "β"
    shown = {name: (found.times, found.states[:, i] / SCALE) for i, name in enumerate(names)} | {
        "Δ (radians)": (found.times, found.states[:, 3])
    }
    theory = {name: (found.times, found.solved[:, i] / SCALE) for i, name in enumerate(names)} | {
        "Δ": (found.times, found.solved[:, 3])
    }
    plots.plot_courses(ax, shown, theory, theory_label="reduced equations")
    ax.set(xlabel="flow time t", ylabel=f"amplitude / {SCALE:g}, phase", title="One neuron")


def draw_conserved(ax: Axes, found: Followed) -> None:
    """The three conserved quantities against time, in units of the start."""
    conserved = FrequencyGrowth.conserved(found.states)
    plots.plot_courses(
        ax,
        {
            name: (found.times, conserved[:, i] / conserved[0, i])
            for i, name in enumerate(CONSERVED)
        },
        {"conserved": (found.times, np.ones_like(found.times))},
        theory_label="theory: constant",
    )
    ax.set(
        xlabel="flow time t", ylabel="over its start", title="Conserved quantities", ylim=(0.9, 1.1)
    )
