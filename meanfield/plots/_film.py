"""A film of a run: particles, loss and curvature, moving together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from particles import Ensemble
from particles.internal import coordinates

from ._runs import plot_loss
from ._theme import INK, MEASURED, QUIET, SECOND, SMALL, signed_log

if TYPE_CHECKING:
    import xarray
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Form = Literal["gif", "html", "png"]
MOST_TRAILS = 400  # particles whose way is drawn behind them
TRAIL = 12  # frames that a way reaches back


@dataclass(frozen=True)
class Film:
    """What a film shows, frame by frame.

    Args:
        trajectory: of the run; its loss is drawn.
        times: flow time of each frame.
        ensembles: one for each frame.
        levels: critical levels of the loss, by name.
        potential: first variation of an ensemble at positions, for particles on a line: they are
            drawn on it. `None` draws positions alone.
        curvature: over `time`, lowest and top eigenvalue `curvature` (over `end`); `None` for none.
    """

    trajectory: xarray.Dataset
    times: np.ndarray
    ensembles: Sequence[Ensemble]
    levels: Mapping[str, float] = field(default_factory=dict)
    potential: Callable[[Ensemble, np.ndarray], np.ndarray] | None = None
    curvature: xarray.Dataset | None = None

    def save(
        self,
        folder: Path,
        form: Form = "gif",
        *,
        fps: int = 12,
        dpi: int = 80,
        progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write `film.gif`, `film.html` (one file, with controls) or `film/0000.png` and so on.

        Args:
            folder: where to; it must exist.
            form: of the file.
            fps: frames in a second.
            dpi: dots per inch of a frame, which is 10 × 5 inches.
            progress: called with the number of frames drawn and their total.

        Returns:
            The file, or the folder of images.
        """
        from matplotlib.animation import FuncAnimation, HTMLWriter, PillowWriter
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(10, 5), layout="constrained", dpi=dpi)
        FigureCanvasAgg(canvas)
        update = self._stage(canvas)
        total = len(self.times)
        if form == "png":
            path = folder / "film"
            path.mkdir(exist_ok=True)
            for frame in range(total):
                update(frame)
                canvas.savefig(path / f"{frame:04d}.png", dpi=dpi)
                if progress is not None:
                    progress(frame + 1, total)
            return path
        path = folder / f"film.{form}"
        film = FuncAnimation(canvas, update, frames=total, blit=False)
        writer = PillowWriter(fps=fps) if form == "gif" else HTMLWriter(fps=fps, embed_frames=True)
        film.save(path, writer=writer, dpi=dpi, progress_callback=_counted(progress))
        return path

    def _stage(self, canvas: Canvas) -> Callable[[int], list[Artist]]:
        """Draw what stands still; returns what moves the rest to a frame."""
        grid = canvas.add_gridspec(2 if self.curvature is not None else 1, 2, width_ratios=(1.1, 1))
        moves = [self._particles(canvas.add_subplot(grid[:, 0]))]
        moves.append(self._loss(canvas.add_subplot(grid[0, 1])))
        if self.curvature is not None:
            moves.append(self._curvature(canvas.add_subplot(grid[1, 1]), self.curvature))

        def update(frame: int) -> list[Artist]:
            for move in moves:
                move(frame)
            return []

        return update

    def _particles(self, ax: Axes) -> Callable[[int], None]:
        clouds = np.stack([np.asarray(coordinates(ensemble)) for ensemble in self.ensembles])
        on_line = clouds.shape[2] == 1
        points, labels = _plane(clouds)
        span = [_span(points[..., axis]) for axis in range(points.shape[2])]
        ax.set(xlabel=labels[0], xlim=span[0])
        if on_line and self.potential is not None:
            return self._on_potential(ax, points[..., 0], self.potential)
        if on_line:  # nothing to draw them against: their weights
            heights = np.stack([np.asarray(e.probabilities) for e in self.ensembles])
            points = np.stack([points[..., 0], heights], axis=-1)
            ax.set(ylabel="weight", ylim=(0, 1.1 * heights.max()))
        else:
            ax.set(ylabel=labels[1], ylim=span[1])
        shown = slice(0, MOST_TRAILS)
        trails = ax.plot(*points[:1, shown].transpose(2, 0, 1), color=MEASURED, lw=0.6, alpha=0.35)
        dots = ax.plot(*points[0].T, "o", ms=4, color=MEASURED, mec="white", mew=0.4)[0]

        def move(frame: int) -> None:
            begin = max(0, frame - TRAIL)
            way = points[begin : frame + 1, shown]
            for index, trail in enumerate(trails):
                trail.set_data(way[:, index, 0], way[:, index, 1])
            dots.set_data(points[frame, :, 0], points[frame, :, 1])
            ax.set_title(self._title(frame))

        return move

    def _on_potential(
        self,
        ax: Axes,
        points: Float[np.ndarray, "frames particles"],
        potential: Callable[[Ensemble, np.ndarray], np.ndarray],
    ) -> Callable[[int], None]:
        line = np.linspace(*_span(points), 201)
        curves = np.stack([potential(ensemble, line) for ensemble in self.ensembles])
        curve = ax.plot(line, curves[0], color=SECOND, lw=1.5, label="first variation V")[0]
        dots = ax.plot([], [], "o", ms=6, color=MEASURED, alpha=0.6, label="particles")[0]
        ax.axhline(0, color=QUIET, lw=0.8)
        ax.set(ylim=_span(curves), ylabel="first variation V(θ)")
        ax.legend(loc="upper right", fontsize=SMALL)

        def move(frame: int) -> None:
            curve.set_ydata(curves[frame])
            dots.set_data(points[frame], np.interp(points[frame], line, curves[frame]))
            ax.set_title(self._title(frame))

        return move

    def _loss(self, ax: Axes) -> Callable[[int], None]:
        plot_loss(ax, self.trajectory, self.levels)
        heights = np.interp(self.times, self.trajectory["time"], self.trajectory["loss"])
        now = ax.plot([], [], "o", ms=8, color=INK, zorder=5)[0]

        def move(frame: int) -> None:
            now.set_data([self.times[frame]], [heights[frame]])

        return move

    def _curvature(self, ax: Axes, data: xarray.Dataset) -> Callable[[int], None]:
        values, times = data["curvature"].values, data["time"].values
        ends = ((0, MEASURED, "lowest eigenvalue"), (1, SECOND, "top eigenvalue"))
        for end, colour, name in ends:
            ax.plot(times, values[:, end], color=colour, label=name)
        ax.axhline(0, color=QUIET, lw=1)
        sizes = np.abs(values[np.abs(values) > 0])
        if sizes.size:
            signed_log(ax, max(float(np.quantile(sizes, 0.1)), 1e-3 * float(sizes.max())))
            # The margins of the linear axis are none on this one.
            ax.set_ylim(min(2 * values.min(), -sizes.min()), max(2 * values.max(), sizes.min()))
        ax.set(xlabel="flow time t", ylabel="curvature (1 / time)", title="Wasserstein Hessian")
        ax.legend(loc="center right", fontsize=SMALL)
        now = ax.axvline(times[0], color=INK, lw=1)

        def move(frame: int) -> None:
            now.set_xdata([self.times[frame]] * 2)

        return move

    def _title(self, frame: int) -> str:
        return f"N = {self.ensembles[0].size} particles, t = {self.times[frame]:.3g}"


def _plane(
    clouds: Float[np.ndarray, "frames particles parameters"],
) -> tuple[np.ndarray, list[str]]:
    """Positions to draw: all of one or two parameters, else the two that vary most."""
    parameters = clouds.shape[2]
    if parameters <= 2:
        return clouds, [f"parameter {1 + index}" for index in range(parameters)]
    rows = clouds.reshape(-1, parameters)
    rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    leading = vectors[:, ::-1][:, :2]
    leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), [0, 1]])
    total = max(float(values.sum()), np.finfo(float).tiny)
    shares = [100 * float(value) / total for value in values[::-1][:2]]
    names = ("first", "second")
    labels = [
        f"{name} principal coordinate ({share:.0f} % of the variance)"
        for name, share in zip(names, shares, strict=True)
    ]
    return (rows @ leading).reshape(*clouds.shape[:2], 2), labels


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _counted(progress: Callable[[int, int], object] | None) -> Callable[[int, int], object] | None:
    return None if progress is None else lambda index, total: progress(index + 1, total)
