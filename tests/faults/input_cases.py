"""Malformed inputs of the command line: words, and what the sentence must name."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One malformed input.

    Args:
        words: of the command line, or the name of a case of the Python boundary.
        needles: all of these must be in the message.
    """

    words: str
    needles: tuple[str, ...]

    @property
    def name(self) -> str:
        """For the table."""
        return self.words[:90]


SMALL = "--problem.samples 16 --problem.dim 2 --problem.spectrum 1.0 --problem.teacher-neurons 2"
RUN = "--particles 4 --horizon 0.2 --dt 0.1 --quiet"
SIM = f"simulate {SMALL} {RUN}"
REG = f"simulate --problem regression {SMALL} {RUN}"
LIN = f"simulate --problem linear-attention {RUN}"
SOFT = f"simulate --problem softmax-attention {RUN}"
STUDY = f"converge --problem regression {SMALL} --quiet"
SAD = "spectrum --problem linear-attention --start saddle --particles 4 --quiet"


def _cases(command: str, *rows: tuple[str, ...]) -> list[Case]:
    return [Case(f"{command} {options}".strip(), needles) for options, *needles in rows]  # pyright: ignore


OPTIONS = [
    *_cases(
        SIM,
        ("--particles 0", "particles is 0", "at least 1"),
        ("--particles -3", "particles is -3"),
        ("--particles 100000000000000000000", "particles"),
        ("--particles 1000000000000", "GB"),
        ("--seed -1", "seed is -1"),
        ("--seed 9223372036854775808", "seed"),
        ("--seed 1000000000000000000000000000000", "seed"),
        ("--dt 0", "dt is 0"),
        ("--dt -0.1", "dt is -0.1"),
        ("--dt nan", "dt is nan"),
        ("--dt inf", "dt is inf"),
        ("--dt 1e-300 --flow.scheme euler", "dt is 1e-300", "steps"),
        ("--dt 5 --flow.scheme euler", "dt is 5", "horizon"),
        ("--horizon 0", "horizon is 0"),
        ("--horizon -1", "horizon is -1"),
        ("--horizon nan", "horizon is nan"),
        ("--horizon inf", "horizon is inf"),
        ("--every -1", "every is -1"),
        ("--every nan", "every is nan"),
        ("--snapshots -1", "snapshots"),
        ("--snapshots nan", "snapshots"),
        ("--snapshots 9", "9", "never reaches"),
        ("--checkpoint-steps 0", "checkpoint_steps is 0"),
        ("--devices -1", "devices is -1"),
        ("--devices 99", "devices is 99"),
        ("--precision float16", "precision"),
        ("--flow.scheme rk4", "scheme"),
        ("--flow.scheme euler --flow.rtol 1e-6", "flow.rtol is 1e-06", "'euler'"),
        ("--flow.scheme heun --flow.atol 1e-6", "flow.atol"),
        ("--flow.rtol -1", "flow.rtol is -1"),
        ("--flow.rtol nan", "flow.rtol is nan"),
        ("--flow.chunk -1", "flow.chunk is -1"),
        ("--flow.confinement -1", "flow.confinement is -1"),
        ("--flow.temperature -1", "flow.temperature is -1"),
        ("--flow.temperature 0.1", "adaptive", "fixed"),
        ("--flow.birth-death -1", "flow.birth_death is -1"),
        ("--flow.resample-below 2", "flow.resample_below is 2"),
        ("--flow.batch-size -4", "flow.batch_size is -4"),
        ("--flow.ratio 0", "flow.ratio is 0"),
        ("--flow.ratio -1", "flow.ratio is -1"),
        ("--flow.ratio soon", "ratio"),
        ("--flow accelerated --flow.damping -1", "flow.damping is -1"),
        ("--flow momentum", "flow is 'momentum'", "accelerated"),
        ("--start nowhere", "start is 'nowhere'", "gaussian"),
        ("--start file", "start.file is empty"),
        ("--start.file a.npz", "file"),
        ("--start.missing 1", "missing"),
        ("--start saddle --start.missing 0 0", "missing is [0, 0]", "once"),
        ("--start saddle --start.missing 7", "7"),
        ("--start saddle --start.missing -1", "missing"),
        ("--start saddle --start.distance -1", "start.distance is -1"),
        ("--start neurons --start.scale-a 1e300", "start.scale_a is"),
        ("--start neurons --start.scale-w -1", "start.scale_w is -1"),
        ("--start neurons --start.output-mean nan", "start.output_mean is nan"),
        ("--start gaussian --start.scale -1", "start.scale is -1"),
        ("--start sphere --start.radius 0", "start.radius is 0"),
        ("--start uniform --start.scale inf", "start.scale is inf"),
        ("--problem vision", "problem is 'vision'", "regression"),
        ("--problem no_module:thing", "no_module"),
        ("--problem json:nothing", "nothing"),
        ("--problem json:JSONDecodeError", "JSONDecodeError"),
        ("--problem :", "problem is ':'"),
        ("--problem.samples 0", "problem.samples is 0"),
        ("--problem.dim 0", "problem.dim is 0"),
        ("--problem.spectrum", "spectrum"),
        ("--problem.spectrum 0.0", "problem.spectrum"),
        ("--problem.spectrum 1.0 -0.5", "problem.spectrum"),
        ("--problem.spectrum 1.0 nan", "problem.spectrum"),
        ("--problem.teacher-neurons 0", "problem.teacher_neurons is 0"),
        ("--problem.spectrum 1 1 1", "teacher_neurons is 2", "3"),
        ("--problem.symmetric 9", "9"),
        ("--problem.ridge -1", "problem.ridge is -1"),
        ("--problem.context-length 0", "problem.context_length is 0"),
        ("--problem.activation swish", "activation"),
        ("--out .", "current folder"),
        ("--out=", "current folder"),
        ("--out /dev/null/x", "/dev/null"),
        ("--out spoiled/run", "out"),
        ("--resume nowhere", "nowhere"),
        ("--distributed auto", "out is missing"),
        ("--distributed here --out d", "distributed is 'here'"),
        ("missing.toml", "missing.toml"),
        ("--no-such-option 1", "no-such-option"),
    ),
    *_cases(
        REG,
        ("--start saddle", "saddle", "regression"),
        ("--flow.ratio 0.1", "fast variables"),
        ("--problem.ridge 1", "ridge"),
    ),
    *_cases(
        LIN,
        ("--start neurons", "neurons", "linear-attention"),
        ("--problem.eigenvalues", "eigenvalues"),
        ("--problem.eigenvalues -1.0", "problem.eigenvalues"),
        ("--problem.rank 2", "problem.rank is 2"),
        ("--problem.rank 0", "problem.rank is 0"),
        ("--problem.prompts -1", "problem.prompts is -1"),
        ("--problem.context-length 0", "problem.context_length is 0"),
        ("--problem.task-eigenvalues 1.0", "task_eigenvalues"),
        ("--start saddle --start.missing 0", "missing is [0]", "origin"),
    ),
    *_cases(
        SOFT,
        ("--problem.features 1", "problem.features is 1"),
        ("--problem.dominant 2", "problem.dominant is 2"),
        ("--problem.length 0", "problem.length is 0"),
        ("--problem.length inf", "infinite"),
        ("--problem.length 2.5", "2.5"),
        ("--flow.birth-death nan", "flow.birth_death is nan"),
    ),
]

COMMANDS = [
    *_cases(
        STUDY,
        ("--start.points sobol", "start.points is 'sobol'", "i.i.d."),
        ("--seeds 1", "seeds is 1"),
        ("--smallest 0", "smallest is 0"),
        ("--smallest 64 --largest 32", "smallest is 64"),
        ("--transport -1", "transport is -1"),
        ("--horizon 0", "horizon is 0"),
        ("--dt 0", "dt is 0"),
        ("--dt 5 --smallest 4 --largest 8 --seeds 2", "dt is 5"),
        ("--start file", "i.i.d."),
        ("--flow.scheme euler --flow.temperature 0.1 --smallest 4 --largest 8", "random"),
        ("--resume nowhere", "nowhere"),
    ),
    *_cases(
        f"escape {SMALL} --quiet",
        ("--particles 0", "particles is 0"),
        ("--seeds 0", "seeds is 0"),
        ("--norm -1", "norm is -1"),
        ("--offset nan", "offset is nan"),
        ("--missing 9", "9"),
        ("--missing 0 0", "once"),
        ("--saddle nowhere.npz", "nowhere.npz"),
        ("--saddle junk.npz", "junk.npz"),
        ("--saddle junk.npz --missing 0", "missing", "saddle"),
    ),
    *_cases(
        SAD,
        ("--probes -1", "probes is -1"),
        ("--count 0", "count is 0"),
        ("--tolerance -1", "tolerance is -1"),
        ("--time-limit -1", "time_limit is -1"),
    ),
    *_cases(
        "",
        ("spectrum nowhere", "nowhere", "no such file"),
        ("spectrum empty", "empty", "config.toml"),
        ("spectrum junk.npz", "junk.npz", "named arrays"),
        (f"spectrum junk.npz --problem regression {SMALL}", "junk.npz"),
        (f"diagnose junk.npz --problem regression {SMALL}", "junk.npz"),
        (f"diagnose objects.npz --problem regression {SMALL}", "objects.npz"),
        (f"spectrum text.npz --problem regression {SMALL}", "text.npz"),
        ("diagnose broken", "trajectory.nc"),
        ("diagnose nowhere", "nowhere"),
        ("diagnose --points 0", "points is 0"),
        ("diagnose --replicates -1", "replicates is -1"),
        ("demo --problem regression", "attention"),
        ("demo --distance 2", "distance is 2"),
        ("demo --prompts 0", "prompts is 0"),
        ("demo --missing 9", "9"),
        ("cite NOBODY99", "NOBODY99"),
        ("problems nothing", "nothing"),
        ("reproduce nothing", "nothing"),
        ("reproduce ks24 --samples 0", "samples is 0"),
        ("reproduce ks24 --seed -1", "seed is -1"),
        ("fly", "'fly' is no command"),
        ("escape --problem softmax-attention --quiet", "softmax-attention", "saddle"),
    ),
]

FILES = [
    Case(f"simulate --data {name}.npz {RUN}", (f"{name}.npz", *needles))
    for name, *needles in (
        ("nowhere",),
        ("junk",),
        ("text",),
        ("objects",),
        ("strings", "x"),
        ("complex", "complex128", "real"),
        ("empty_arrays", "x"),
        ("one_sample",),
        ("zero", "zero everywhere"),
        ("zero_column", "column 1", "zero everywhere"),
        ("twins", "equal"),
        ("nan", "nan"),
        ("infinite", "inf"),
        ("lengths", "x", "f"),
        ("cube", "x"),
        ("no_f", "['x']"),
        ("truncated",),
    )
] + [
    Case(f"simulate {name}.toml --quiet", tuple(needles))
    for name, *needles in (
        ("not_toml", "not valid TOML"),
        ("binary", "not valid TOML"),
        ("unknown", "unknown key wings"),
        ("kind_number", "problem.kind is 3"),
        ("text_dt", "run.dt is 'fast'"),
        ("list_problem", "problem is [1]"),
        ("true_particles", "particles is True"),
    )
]
