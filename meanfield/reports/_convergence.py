"""The result of an N → ∞ study: exponents as claims, figures, and the data."""

from __future__ import annotations

from ..results import Claim, Panel, Result
from ..studies import CONFIDENCE, MEASURES, Convergence


def exponent_claims(found: Convergence) -> list[Claim]:
    """The predicted exponents against the fitted ones, by intervals that hold together.

    With several claims each interval is wider (Bonferroni), so that all of them hold at once with
    95 % where theory is right. An exponent that the data cannot resolve fails its claim.

    Args:
        found: of `convergence_study`.
    """
    claimed = [m for m in MEASURES if m.statement and m.name in found.exponents]
    together = 1 - (1 - CONFIDENCE) / max(len(claimed), 1)
    claims = []
    for measure in claimed:
        assert measure.order is not None
        fit = found.exponents[measure.name]
        half = fit.half_width(together)
        claims.append(
            Claim.equal(
                f"{measure.statement}, within its interval ({together:.0%}: 95 % for all claims)",
                "theory 7",
                measure.order,
                fit.exponent,
                absolute=half if half >= 0 else 0.0,
            )
        )
    return claims


def convergence_result(found: Convergence, title: str = "N → ∞") -> Result:
    """Claims, figures, the table of exponents, and the data of a study.

    Args:
        found: of `convergence_study`.
        title: heading.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from landscapes import RegressionLandscape, neuron_start
        >>> from meanfield import GradientFlow, convergence_study
        >>> x = jnp.linspace(-1, 1, 8)[:, None]
        >>> landscape = RegressionLandscape(x, jnp.sin(3 * x))
        >>> found = convergence_study(
        ...     GradientFlow(landscape, scheme="euler"),
        ...     lambda key, size: neuron_start(key, landscape, size),
        ...     key=jax.random.key(0),
        ...     horizon=0.5,
        ...     dt=0.1,
        ...     sizes=[8, 16, 32, 64],
        ...     seeds=4,
        ...     transport=0,
        ... )
        >>> result = convergence_result(found)
        >>> len(result.claims), [figure.name for figure in result.figures]
        (4, ['errors', 'fan'])
    """
    from .. import plots

    result = Result(title)
    result.trajectory(found.data)
    result.claim(*exponent_claims(found))
    reference, horizon = found.data.attrs["reference"], found.data.attrs["horizon"]
    result.text(
        f"Reference ensembles of {reference} particles, horizon {horizon:g}. Each is split into "
        "blocks that run on their own, so that the fluctuation cancels in the bias."
    )
    limit = found.limit()
    result.text(
        f"**L(μ_T) = {limit}** at T = {horizon:g}, extrapolated to N = ∞ at dt = "
        f"{found.data.attrs['dt']:g} ({limit.shares})."
    )
    result.text(_table(found))
    for concern in found.concerns:
        result.text(f"**No limit:** {concern}")
    fits = found.exponents.items()
    result.summary["exponents"] = {name: [fit.exponent, fit.low, fit.high] for name, fit in fits}
    result.summary["limit"] = {"value": limit.value, "error": limit.error} | dict(limit.parts)
    result.summary["concerns"] = found.concerns
    result.figure(
        "errors",
        "Errors against N at the horizon, and their exponents along the run. Dashed: the slopes "
        "and exponents of theory.",
        lambda ax: plots.plot_errors(ax, found),
        lambda ax: plots.plot_exponents(ax, found),
    )
    panels: list[Panel] = [lambda ax: plots.plot_fan(ax, found)]
    if found.data.attrs["transport"]:
        panels.append(lambda ax: plots.plot_distances(ax, found))
    result.figure("fan", "Single ensembles around their references, and distances.", *panels)
    return result


def _table(found: Convergence) -> str:
    """Every exponent beside theory's, or why there is none."""
    rows = ["| measure | theory | fitted |", "|---|---|---|"]
    for measure in MEASURES:
        if measure.name in found.exponents:
            said = found.exponents[measure.name].statement
            rows.append(f"| {measure.name} | {measure.order:g} | {said} |")
    return "\n".join(rows)
