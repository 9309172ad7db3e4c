"""Disks that are full, or turn read-only, at random moments; given room again, the run goes on."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .processes import Child, forked
from .setups import Setup, Undisturbed, differences
from .tally import Context, Tally

ROOM = "size=64m"


def run(context: Context) -> None:
    """Disks of their own where one may be mounted; limits on the size of files elsewhere."""
    tally = context.tally
    faults = [_limited]
    if not context.sample and _can_mount(context.folder):
        faults = [_small, _filled, _read_only, _limited]
    number = 0
    while context.time_left or number < len(faults):
        setup = context.choice(context.setups)
        folder = context.folder / f"disk-{number:04d}"
        folder.mkdir()
        faults[number % len(faults)](context, tally, setup, context.undisturbed, folder)
        number += 1


def _small(context: Context, tally: Tally, setup: Setup, whole: Undisturbed, folder: Path) -> None:
    """A disk that is too small from the beginning."""
    size = int(10 ** context.rng.uniform(4.2, 6.3))
    with _disk(folder, f"size={size}") as disk:
        child = forked(context.server, folder, setup.words(folder, disk / "out"),
                       devices=setup.devices, programs="shared")  # fmt: skip
        child.wait()
        _mount(disk, f"remount,{ROOM}")
        _judge(context, tally, setup, whole, folder, disk / "out", child, "small disk")


def _filled(context: Context, tally: Tally, setup: Setup, whole: Undisturbed, folder: Path) -> None:
    """Somebody else fills the disk while the run is on its way."""
    with _disk(folder, "size=8m") as disk:
        child = _under_way(context, setup, whole, folder, disk / "out")
        with contextlib.suppress(OSError), (disk / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(4096))
                ballast.flush()
        child.wait()
        (disk / "ballast").unlink()
        _mount(disk, f"remount,{ROOM}")
        _judge(context, tally, setup, whole, folder, disk / "out", child, "disk filled")


def _read_only(
    context: Context, tally: Tally, setup: Setup, whole: Undisturbed, folder: Path
) -> None:
    """The disk turns read-only while the run is on its way."""
    with _disk(folder, ROOM) as disk:
        child = _under_way(context, setup, whole, folder, disk / "out")
        while child.running and not _mount(disk, "remount,ro"):
            time.sleep(0.002)  # a file is open just now
        child.wait()
        _mount(disk, f"remount,rw,{ROOM}")
        _judge(context, tally, setup, whole, folder, disk / "out", child, "read-only")


def _limited(
    context: Context, tally: Tally, setup: Setup, whole: Undisturbed, folder: Path
) -> None:
    """No file may grow beyond a size."""
    size = int(10 ** context.rng.uniform(2.6, 4.8))  # the words of the end fit in
    words = setup.words(folder, folder / "out")
    child = forked(context.server, folder, words, devices=setup.devices, programs="shared",
                   prelude=["limited_files", size])  # fmt: skip
    child.wait()
    _judge(context, tally, setup, whole, folder, folder / "out", child, "file size limit")


def _under_way(
    context: Context, setup: Setup, whole: Undisturbed, folder: Path, out: Path
) -> Child:
    _, seconds = whole.of(setup)
    words = setup.words(folder, out)
    child = forked(context.server, folder, words, devices=setup.devices, programs="shared")
    deadline = time.monotonic() + context.rng.uniform(0, seconds)
    while child.running and time.monotonic() < deadline:
        time.sleep(0.005)
    return child


def _judge(
    context: Context,
    tally: Tally,
    setup: Setup,
    whole: Undisturbed,
    folder: Path,
    out: Path,
    child: Child,
    fault: str,
) -> None:
    """One sentence at the end; then, with room again, on to the same numbers."""
    kind = f"{setup.name}, {fault}"
    if child.code not in (0, 1, 2):
        tally.count(kind, "wrong", f"exit code {child.code}: {child.last_words} ({folder})")
        return
    if child.code and (
        "Traceback" in child.errors or not child.last_words.startswith("meanfield:")
    ):
        tally.count(kind, "wrong", f"no sentence: {child.last_words} ({child.stderr})")
        return
    again = forked(
        context.server,
        folder,
        setup.going_on(folder, out),
        devices=setup.devices,
        programs="shared",
    )
    if again.wait() != 0:
        tally.count(kind, "lost", f"does not go on: {again.last_words} ({again.stderr})")
        return
    found = differences(whole.of(setup)[0], out)
    tally.count(kind, "wrong" if found else "survived", f"{found} ({folder})")


def _mount(disk: Path, options: str) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if options.startswith("remount"):
        words = ["mount", "-o", options, str(disk)]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def _disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk in memory of its own; what is on it is gone afterwards."""
    disk = folder / "disk"
    disk.mkdir()
    if not _mount(disk, options):
        raise RuntimeError(f"no disk could be mounted on {disk}.")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


def _can_mount(folder: Path) -> bool:
    try:
        with _disk(folder, "size=64k"):
            return True
    except RuntimeError:
        return False
    finally:
        with contextlib.suppress(OSError):
            (folder / "disk").rmdir()
