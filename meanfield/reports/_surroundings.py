"""What surrounds an ensemble: slices, a plane, the first-variation field, the way to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from landscapes import (
    first_variation_field,
    interpolate,
    loss_lines,
    loss_plane,
    optimality_gap,
    principal_directions,
    principal_plane,
)
from saddle_analysis import CriticalityReport, along, displaced, isotropic

from ..results import Claim
from ..runs import Progress
from ._report import Report
from ._subject import DiagnosisOptions, Subject

if TYPE_CHECKING:
    import xarray

#: How far to go before looking at the field of a critical point, relative to the ensemble's norm.
FIELD_STEP = 1e-2


def what_surrounds_me(
    report: Report,
    subject: Subject,
    found: CriticalityReport,
    options: DiagnosisOptions,
    stage: Callable[..., Progress],
) -> None:
    """Figures, data and claims about the neighbourhood."""
    report.text("## What surrounds me?")
    parts = (lines_through, plane_through, field_around, gap_from, way_to_other)
    with stage("what surrounds me", 0, len(parts)) as bar:
        for done, part in enumerate(parts):
            bar.update(done, part.__name__.replace("_", " "))
            part(report, subject, found, options)


def lines_through(
    report: Report, subject: Subject, found: CriticalityReport, options: DiagnosisOptions
) -> None:
    """Slices along eigenvectors, the velocity and a random field; their curvature as a claim."""
    from .. import plots

    landscape, ensemble = subject.landscape, subject.ensemble
    fields = eigenvector_names(found)
    if found.gradient_norm > options.tolerance:
        fields["velocity"] = landscape.velocity(ensemble)
    fields["random"] = isotropic(jax.random.key(options.seed), ensemble, 1.0)
    lines = loss_lines(landscape, ensemble, fields, points=options.points)
    report.dataset("slices", lines)
    report.claim(*_line_claims(subject, found, fields))
    report.figure(
        "slices",
        "Loss along unit directions in the space of measures. Dashed: the parabola that gradient "
        "and Wasserstein Hessian predict.",
        lambda ax: plots.plot_lines(ax, lines),
        width=8.0,
    )


def eigenvector_names(found: CriticalityReport) -> dict[str, PyTree]:
    """The first two eigenvectors by name."""
    return {f"eigenvector {j + 1}": field for j, field in enumerate(found.smallest.fields[:2])}


def _line_claims(
    subject: Subject, found: CriticalityReport, fields: dict[str, PyTree]
) -> list[Claim]:
    """Curvature along the first eigenvector and slope along the velocity, by differences."""
    lowest = float(found.smallest.values[0])
    _, (curvature, noise) = _by_differences(subject, fields["eigenvector 1"], lowest)
    claims = [
        Claim.equal(
            "second difference of the loss along the first eigenvector is its eigenvalue",
            "theory 1",
            lowest,
            curvature,
            relative=1e-3,
            absolute=noise + float(found.smallest.residuals[0]),
        )
    ]
    if "velocity" in fields:
        largest = float(found.largest.values[-1])
        (slope, noise), _ = _by_differences(subject, fields["velocity"], largest)
        claims.append(
            Claim.equal(
                "slope of the loss along the unit velocity is −‖∇δL/δμ‖",
                "theory 1",
                -found.gradient_norm,
                slope,
                relative=1e-3,
                absolute=noise,
            )
        )
    return claims


def _by_differences(
    subject: Subject, field: PyTree, curvature: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Slope and curvature of the loss along a field from five losses, each with its round-off.

    The step is a small part of the length over which a curvature of this size changes the loss
    by as much as it is, chosen so that round-off and truncation (of fourth order) balance.
    """
    landscape, ensemble = subject.landscape, subject.ensemble
    precision = float(jnp.finfo(jax.tree.leaves(ensemble.particles)[0].dtype).eps)
    size = float(ensemble.norm(ensemble.particles)) or 1.0
    value = abs(float(landscape.value(ensemble)))
    length = min(size, (value / abs(curvature)) ** 0.5 if curvature and value else size)
    step = precision ** (1 / 6) * length
    line = loss_lines(landscape, ensemble, {"line": field}, extent=2 * step, points=5)
    losses = line["loss"].values[0].astype(float)
    slope = float(losses @ np.array([1, -8, 0, 8, -1])) / (12 * step)
    bent = float(losses @ np.array([-1, 16, -30, 16, -1])) / (12 * step**2)
    round_off = 20 * precision * float(np.abs(losses).max())
    return (slope, round_off / step), (bent, round_off / step**2)


def plane_through(
    report: Report, subject: Subject, found: CriticalityReport, options: DiagnosisOptions
) -> None:
    """A plane: that of the trajectory where there is one, else of two eigenvectors."""
    from .. import plots

    times, ensembles = subject.way
    path, extent, fields = None, None, eigenvector_names(found)
    if len(ensembles) > 2:
        plane = principal_plane(ensembles)
        if len(plane.fields) == 2:
            path, fields = plane.path, plane.fields
            extent = _reach(path[:, 0]), _reach(path[:, 1])
    if len(fields) < 2:
        fields["random"] = isotropic(jax.random.key(options.seed), subject.ensemble, 1.0)
    data = loss_plane(
        subject.landscape,
        subject.ensemble,
        fields,
        extent=extent,
        points=max(9, options.points // 2 + 1),
    )
    if path is not None:
        data = data.assign(path=(("time", "axis"), path, {"units": "particle"}))
        data = data.assign_coords(time=("time", times, {"units": "flow time"}))
    report.dataset("plane", data)
    report.figure(
        "plane",
        "Loss on the plane in which the run moved most, with the run on it."
        if path is not None
        else "Loss on the plane of the two smallest eigenvectors.",
        lambda ax: plots.plot_plane(ax, data, path),
        width=7.0,
    )


def field_around(
    report: Report, subject: Subject, found: CriticalityReport, options: DiagnosisOptions
) -> None:
    """The first variation in parameter space, along what the first eigenvector moves."""
    from .. import plots

    landscape, ensemble = subject.landscape, subject.ensemble
    unstable = found.smallest.fields[0]
    step = FIELD_STEP * (float(ensemble.norm(ensemble.particles)) or 1.0)
    where, said = ensemble, "First variation at the ensemble"
    if found.kind != "not critical":
        # At a critical point of full support the field is zero: look at what an instability grows.
        where = displaced(ensemble, along(ensemble, unstable, step))
        said = f"First variation {step:.2g} along eigenvector 1"
    directions = principal_directions(ensemble, unstable, name="eigenvector 1:")
    if len(directions) < 2:
        directions |= principal_directions(ensemble, count=1)
    field = first_variation_field(landscape, where, directions, points=options.points)
    report.dataset("field", field)
    report.figure(
        "field",
        "Where mass would lower the loss (blue), and the velocity it drives, in the plane of one "
        "particle along which the first eigenvector moves most of them.",
        lambda ax: plots.plot_field(ax, field, said),
        width=7.5,
    )


def gap_from(
    report: Report, subject: Subject, found: CriticalityReport, options: DiagnosisOptions
) -> None:
    """The optimality gap, as a bound where it is one."""
    gap = optimality_gap(jax.random.key(options.seed), subject.landscape, subject.ensemble)
    report.text(gap.sentence)
    report.summary |= {
        "gap": gap.gap,
        "gap_is_bound": gap.bound,
        "share_to_move": gap.share,
        "value_after": gap.value_after,
    }
    if gap.bound:
        report.claim(
            Claim.equal(
                "what moving mass to the best particle gains is at most the gap (excess)",
                "theory 1; CB18",
                0.0,
                max(0.0, gap.value - gap.value_after - gap.gap),
                absolute=1e-6 * max(gap.gap, 1e-12),
            )
        )


def way_to_other(
    report: Report, subject: Subject, found: CriticalityReport, options: DiagnosisOptions
) -> None:
    """Paths to the other ensemble, or from the start of the run."""
    from .. import plots

    _, ensembles = subject.way
    if subject.other is not None:
        mu, nu, names = subject.ensemble, subject.other, ("the ensemble", "the other")
    elif len(ensembles) > 1:
        mu, nu, names = ensembles[0], subject.ensemble, ("the start", "the end of the run")
    else:
        return
    paths = interpolate(subject.landscape, mu, nu, points=2 * (options.points // 2) + 1)
    report.dataset("paths", paths)
    report.claim(*_path_claims(subject, paths))
    report.summary |= {
        "barriers": dict(
            zip(paths["kind"].values.tolist(), paths["barrier"].values.tolist(), strict=True)
        ),
    }
    exact = (
        ""
        if paths.attrs["exact_coupling"]
        else (" The coupling is entropic, so the displacement path only comes near its ends.")
    )
    report.figure(
        "paths",
        f"Loss between {names[0]} and {names[1]}, and the convexity of each path.{exact}",
        lambda ax: plots.plot_interpolation(ax, paths, names),
        lambda ax: plots.plot_convexity(ax, paths),
    )


def _path_claims(subject: Subject, paths: xarray.Dataset) -> list[Claim]:
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
        if kind == "mixture" and subject.landscape.convex:
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
