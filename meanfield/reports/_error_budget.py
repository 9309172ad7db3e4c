"""The result of an error budget: the loss with its error, and what each part was measured by."""

from __future__ import annotations

from ..results import Result
from ..studies import ErrorBudget

MEASURED_BY = {
    "particles": "two halves of N/2 particles, {splits} times: chance (95 %) and bias of order 1/N",
    "samples": "two halves of M/2 samples, {splits} times: chance (95 %) and bias of order 1/M",
    "step": "the step halved, or a tenth of the tolerances",
    "round-off": "the same run in the other precision",
}


def budget_result(found: ErrorBudget, title: str = "The error of the final loss") -> Result:
    """The loss in a sentence, a table of what its error is made of, and a figure.

    Args:
        found: of `error_budget`.
        title: heading.
    """
    from .. import plots

    result = Result(title)
    estimate = found.estimate
    result.text(
        f"**L(μ_T) = {estimate}** for all particles"
        f"{'' if found.sample_halves is None else ' and samples'}, dt → 0 and exact numbers. "
        f"Measured in {found.seconds:.3g} s."
    )
    rows = ["| cause | error | measured by |", "|---|---|---|"]
    for name, part in estimate.parts.items():
        how = MEASURED_BY[name].format(splits=len(found.particle_halves))
        rows.append(f"| {name} | {part:.1e} | {how} |")
    result.text("\n".join(rows))
    result.summary["final_loss"] = {
        "value": estimate.value,
        "error": estimate.error,
        "parts": dict(estimate.parts),
    }
    result.figure(
        "errors",
        "What the error of the final loss is made of. The parts add up.",
        lambda ax: plots.plot_budget(ax, found),
    )
    return result
