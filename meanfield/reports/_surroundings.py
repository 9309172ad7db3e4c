"""What surrounds an ensemble: slices, a plane, the first-variation field, the way to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from landscapes import (
    AbstractLandscape,
    first_variation_field,
    interpolate,
    loss_lines,
    loss_plane,
    optimality_gap,
    principal_directions,
    principal_plane,
)
from particles import Ensemble
from particles.internal import difference
from saddle_analysis import CriticalityReport, along, displaced, isotropic

from ..problems import require_ranges
from ..results import Claim, Result
from ..runs import Progress
from ._options import DiagnosisOptions, History, moved

if TYPE_CHECKING:
    import xarray

FIELD_STEP = 0.1  # of what the slices reach: how far from a critical point its field is looked at
TERMS = """\
- *Slice*: the loss when all particles move along one vector field; the distance is the root mean \
square over particles of how far they went, in units of a particle.
- *First variation δL/δμ(θ)*: how the loss changes when a little mass is added at θ, less its \
mean; mass helps where it is negative, and particles move down its slope.
- *Optimality gap*: the most negative first variation found anywhere. Where the risk is convex it \
bounds how far the loss can fall; elsewhere it is only the best direction.
- *Paths between two ensembles*: *displacement* moves particles to their partners in optimal \
transport, *straight* to the particle of the same number, *mixture* moves mass and no particles. A \
*barrier* is the height above the chord between the ends.
"""


@dataclass(frozen=True)
class _Point:
    """An ensemble, what is known of it, and how closely to look."""

    landscape: AbstractLandscape
    ensemble: Ensemble
    found: CriticalityReport
    options: DiagnosisOptions
    key: Key[Array, ""]

    @property
    def eigenvectors(self) -> dict[str, PyTree]:
        """The first two by name."""
        return {f"eigenvector {j + 1}": u for j, u in enumerate(self.found.smallest.fields[:2])}

    @property
    def random(self) -> PyTree:
        """A random unit field."""
        return isotropic(self.key, self.landscape, self.ensemble, 1.0)


def surroundings_result(
    landscape: AbstractLandscape,
    ensemble: Ensemble,
    found: CriticalityReport,
    options: DiagnosisOptions | None = None,
    *,
    history: History | None = None,
    other: Ensemble | None = None,
    key: Key[Array, ""] | None = None,
    progress: bool = False,
) -> Result:
    """Figures, data and claims about the neighbourhood of an ensemble.

    Args:
        landscape: any landscape.
        ensemble: on it.
        found: its classification, from `criticality_result`.
        options: how closely to look.
        history: flow times and ensembles that led there.
        other: a second ensemble, to look at the way between.
        key: of the random direction, and of the descents of the optimality gap; by default a
            fixed one.
        progress: show a bar.

    Raises:
        InvalidInput: an ensemble of another landscape, or an option out of range.
    """
    options = DiagnosisOptions() if options is None else options
    require_ranges(options)
    for one in (ensemble,) if other is None else (ensemble, other):
        landscape.require_fit(one)
    history = moved(history)
    key = jax.random.key(0) if key is None else key
    point = _Point(landscape, ensemble, found, options, key)
    result = Result("Surroundings")
    result.text(TERMS)
    with Progress("surroundings", 0, 5, progress) as bar:
        bar.update(0, "slices")
        reach = _slices(result, point)
        bar.update(1, "plane")
        _plane(result, point, reach, history)
        bar.update(2, "first variation")
        _field(result, point, reach)
        bar.update(3, "optimality gap")
        _gap(result, point)
        bar.update(4, "paths")
        _paths(result, point, history, other)
    return result


def _slices(result: Result, point: _Point) -> float:
    """Along eigenvectors, the steepest descent and a random field; returns how far they reach."""
    from .. import plots

    landscape, ensemble, found = point.landscape, point.ensemble, point.found
    fields = point.eigenvectors
    if found.kind == "not critical":
        fields["descent"] = jax.tree.map(jnp.negative, landscape.first_order(ensemble).gradient)
    fields["random"] = point.random
    lines = loss_lines(landscape, ensemble, fields, points=point.options.points)
    result.dataset("slices", lines)
    result.claim(*_line_claims(point, fields))
    result.figure(
        "slices",
        "Loss along unit directions in the space of measures. Dashed: the parabola that gradient "
        "and Wasserstein Hessian predict.",
        lambda ax: plots.plot_lines(ax, lines),
        width=8.0,
    )
    return float(lines["distance"].max())


def _line_claims(point: _Point, fields: dict[str, PyTree]) -> list[Claim]:
    """Curvature along the first eigenvector, slope along the steepest descent, by differences."""
    found = point.found
    lowest = float(found.smallest.values[0])
    _, (curvature, noise) = _by_differences(point, fields["eigenvector 1"], lowest)
    # Lines are of unit L²(μ) length, eigenvectors of unit length in the metric of the flow.
    stretch = float(point.ensemble.norm(fields["eigenvector 1"])) ** -2
    claims = [
        Claim.equal(
            "second difference of the loss along the first eigenvector is its eigenvalue"
            + (", over its squared L²(μ) norm" if point.landscape.mobile else ""),
            "theory 1",
            lowest * stretch,
            curvature,
            relative=1e-3,
            absolute=noise + stretch * float(found.smallest.residuals[0]),
        )
    ]
    if "descent" in fields:
        largest = float(found.largest.values[-1])
        (slope, noise), _ = _by_differences(point, fields["descent"], largest)
        claims.append(
            Claim.equal(
                "slope of the loss along the unit field of steepest descent is −‖∇δL/δμ‖",
                "theory 1",
                -found.gradient_norm,
                slope,
                relative=1e-3,
                absolute=noise,
            )
        )
    return claims


def _by_differences(
    point: _Point, field: PyTree, curvature: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Slope and curvature of the loss along a field from five losses, each with its round-off.

    The step is a small part of the length over which a curvature of this size changes the loss
    by as much as it is, chosen so that round-off and truncation (of fourth order) balance.
    """
    landscape, ensemble = point.landscape, point.ensemble
    precision = float(jnp.finfo(jax.tree.leaves(ensemble.particles)[0].dtype).eps)
    size = float(ensemble.norm(ensemble.particles)) or 1.0
    value = abs(float(point.found.value))
    length = min(size, (value / abs(curvature)) ** 0.5 if curvature and value else size)
    step = precision ** (1 / 6) * length
    line = loss_lines(landscape, ensemble, {"line": field}, extent=2 * step, points=5)
    losses = line["loss"].values[0].astype(float)
    slope = float(losses @ np.array([1, -8, 0, 8, -1])) / (12 * step)
    bent = float(losses @ np.array([-1, 16, -30, 16, -1])) / (12 * step**2)
    round_off = 20 * precision * float(np.abs(losses).max())
    return (slope, round_off / step), (bent, round_off / step**2)


def _plane(result: Result, point: _Point, reach: float, history: History | None) -> None:
    """A plane: that of the trajectory where there is one, else of two eigenvectors."""
    from .. import plots

    path, extent, fields = None, reach, point.eigenvectors
    if history is not None and len(history[1]) > 2:
        plane = principal_plane(history[1])
        if len(plane.fields) == 2:
            path, fields = plane.path, plane.fields
            extent = _reach(path[:, 0]), _reach(path[:, 1])
    if len(fields) < 2:
        fields["random"] = point.random
    data = loss_plane(
        point.landscape, point.ensemble, fields, extent=extent, points=point.options.points
    )
    if history is not None and path is not None:
        data = data.assign(path=(("time", "axis"), path, {"units": "particle"}))
        data = data.assign_coords(time=("time", list(history[0]), {"units": "flow time"}))
    result.dataset("plane", data)
    what = (
        f"the plane of {' and '.join(fields)}, as far as the slices go"
        if path is None
        else "the plane in which the run moved most, with the run on it"
    )
    result.figure(
        "plane",
        f"Loss on {what}. White: its contours. Dashed: the same levels of the quadratic "
        "prediction; the two agree where the Hessian tells all.",
        lambda ax: plots.plot_plane(ax, data, path),
        width=7.0,
    )


def _field(result: Result, point: _Point, reach: float) -> None:
    """The first variation in parameter space, along what the first eigenvector moves."""
    from .. import plots

    landscape, ensemble = point.landscape, point.ensemble
    unstable = point.found.smallest.fields[0]
    step = FIELD_STEP * reach
    where, said = ensemble, "First variation at the ensemble"
    if point.found.kind != "not critical":
        # At a critical point of full support the field is zero: look at what an instability grows.
        where = displaced(ensemble, along(ensemble, unstable, step))
        said = f"First variation after a step of {step:.2g} along eigenvector 1"
    directions = principal_directions(ensemble, unstable, name="eigenvector 1:")
    numbers = sum(leaf.size for leaf in jax.tree.leaves(ensemble.particles)) // ensemble.size
    if len(directions) < min(2, numbers):
        directions |= _spread(point)
    field = first_variation_field(landscape, where, directions, points=point.options.points)
    result.dataset("field", field)
    result.figure(
        "field",
        "Where mass would lower the loss (blue), and the velocity it drives, in the plane of one "
        "particle along which the first eigenvector moves most of them. Arrows show the direction; "
        "their length grows as the square root of the speed."
        if len(directions) == 2
        else "Where mass would lower the loss: a particle is one number.",
        lambda ax: plots.plot_field(ax, field, said),
        width=7.5,
    )


def _spread(point: _Point) -> dict[str, PyTree]:
    """The direction in which the particles differ most; a random one where all are equal."""
    ensemble = point.ensemble
    first = ensemble.first(1).particles
    moved = difference(ensemble.particles, first)
    if float(ensemble.norm(moved)) > 0:
        return principal_directions(ensemble, count=1)
    field = isotropic(point.key, point.landscape, ensemble, 1.0)
    return principal_directions(ensemble, field, count=1, name="random")


def _gap(result: Result, point: _Point) -> None:
    """The optimality gap, as a bound where it is one."""
    gap = optimality_gap(point.key, point.landscape, point.ensemble)
    result.text(gap.sentence)
    result.summary |= {
        "gap": gap.gap,
        "gap_is_bound": gap.bound,
        "share_to_move": gap.share,
        "value_after": gap.value_after,
    }
    if gap.bound:
        result.claim(
            Claim.equal(
                "what moving mass to the best particle gains is at most the gap (excess)",
                "theory 1; CB18",
                0.0,
                max(0.0, gap.value - gap.value_after - gap.gap),
                absolute=1e-6 * max(gap.gap, 1e-12),
            )
        )


def _paths(result: Result, point: _Point, history: History | None, other: Ensemble | None) -> None:
    """Paths to the other ensemble, or from the start of the run."""
    from .. import plots

    if other is not None:
        mu, nu, names = point.ensemble, other, ("the ensemble", "the other")
    elif history is not None:
        mu, nu, names = history[1][0], point.ensemble, ("the start", "the end of the run")
    else:
        return
    points = 2 * (point.options.points // 2) + 1
    paths = interpolate(point.landscape, mu, nu, points=points)
    result.dataset("paths", paths)
    result.claim(*_path_claims(point.landscape.convex, paths))
    barriers = zip(paths["kind"].values.tolist(), paths["barrier"].values.tolist(), strict=True)
    result.summary["barriers"] = dict(barriers)
    exact = (
        ""
        if paths.attrs["exact_coupling"]
        else " The coupling is entropic, so the displacement path only comes near its ends."
    )
    result.figure(
        "paths",
        f"Loss between {names[0]} and {names[1]}, and the convexity of each path.{exact}",
        lambda ax: plots.plot_interpolation(ax, paths, names),
        lambda ax: plots.plot_convexity(ax, paths),
    )


def _path_claims(convex: bool, paths: xarray.Dataset) -> list[Claim]:
    """Second differences on the predicted curvature; convexity of the mixture."""
    claims = []
    for row, kind in enumerate(paths["kind"].values.tolist()):
        bent, measured = (paths[name].values[row] for name in ("curvature", "second_difference"))
        # A second difference averages the curvature over its three points (error of fourth order).
        predicted = (bent[:-2] + 10 * bent[1:-1] + bent[2:]) / 12
        most = float(np.abs(bent).max()) or 1.0
        claims.append(
            Claim.equal(
                f"second differences on the {kind} path are the predicted curvature: largest "
                "deviation over largest curvature",
                "theory 1",
                0.0,
                float(np.abs(measured[1:-1] - predicted).max()) / most,
                absolute=0.02,
            )
        )
        if kind == "mixture" and convex:
            claims.append(
                Claim.equal(
                    "the mixture path is convex: most negative curvature over largest",
                    "CB18; theory 1",
                    0.0,
                    max(0.0, -float(bent.min())) / most,
                    absolute=1e-6,
                )
            )
    return claims


def _reach(column: np.ndarray) -> tuple[float, float]:
    low, high = float(min(column.min(), 0.0)), float(max(column.max(), 0.0))
    margin = 0.25 * (high - low) or 1.0
    return low - margin, high + margin
