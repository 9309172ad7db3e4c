"""Configurations: through TOML and back, and one sentence for everything that is wrong."""

import math
from pathlib import Path

import pytest

from meanfield import Config
from meanfield.cli import COMMANDS
from meanfield.problems import COMMANDS as KNOWN_COMMANDS
from meanfield.problems import (
    Accelerated,
    Attention,
    FileStart,
    Gradient,
    LinearAttention,
    NeuronsStart,
    Regression,
    RunOptions,
    SaddleStart,
    SoftmaxAttention,
    load_config,
    option_table,
    require_ranges,
    save_config,
)
from particles import InvalidInput


def load(tmp_path: Path, text: str | bytes) -> Config:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(file)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(
            seed=7,
            particles=12,
            precision="float32",
            devices=0,
            problem=Attention(
                data="sämple.npz", spectrum=(1.0, 1e-3), symmetric=(0, 2), context_length=12.5
            ),
            start=SaddleStart(missing=(0, 1)),
            flow=Gradient(scheme="heun", ratio=0.01),
            run=RunOptions(every=0.25, snapshots=(1.0, 2.5)),
        ),
        Config(problem=Regression(dim=3), start=NeuronsStart(scale_a=2.0)),
        Config(problem=LinearAttention(parameters="separate", rank=2), flow=Accelerated()),
        Config(problem=SoftmaxAttention(length=math.inf, prompts=0)),
        Config(start=FileStart(file='a "b"\n.npz'), flow=Gradient(ratio="frozen")),
        Config(flow=Gradient(ratio=2.0, rtol=1e-3)),
    ],
    ids=["defaults", "everything", "regression", "separate", "softmax", "file", "ratio"],
)
def test_round_trip(config: Config, tmp_path: Path) -> None:
    save_config(tmp_path / "config.toml", config)
    assert load_config(tmp_path / "config.toml") == config


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Attention(data="d.npz").data == str(tmp_path / "d.npz")
    assert FileStart(file="mu.npz").file == str(tmp_path / "mu.npz")


def test_every_key_is_optional_and_integers_are_numbers(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config()
    assert load(tmp_path, "[problem]\ncontext_length = inf\n") == Config()
    config = load(tmp_path, "[run]\nhorizon = 3\n[flow]\nratio = 2\n[problem]\nspectrum = [2, 1]\n")
    assert (config.run.horizon, config.flow.ratio) == (3.0, 2.0)
    assert all(type(v) is float for v in (config.run.horizon, *config.problem.spectrum))


def test_what_other_commands_wrote_for_themselves_is_passed_over(tmp_path: Path) -> None:
    text = "command = 'escape'\nseed = 2\n[escape]\nseeds = 3\n[converge]\nlargest = 9\n"
    assert load(tmp_path, text) == Config(seed=2)
    assert set(COMMANDS) - {"problems", "cite"} == KNOWN_COMMANDS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sead = 1", "the unknown key sead; allowed there: ['animate', 'command', 'converge', "),
        ("[flow]\ndtt = 1.0", "the unknown key flow.dtt; allowed there: ['atol', 'batch_size', "),
        ("[flows]\n", "the unknown key flows; allowed there"),
        ("seed = 1.5", "seed is 1.5; it must be a whole number"),
        ("seed = true", "seed is True; it must be a whole number"),
        ("seed = '1'", "seed is '1'; it must be a whole number"),
        ("precision = 'half'", "precision is 'half'; it must be one of ['float64', 'float32']."),
        ("flow = 3", "flow is 3; it must be a table."),
        ("run = 3", "run is 3; it must be a table."),
        ("[run]\ndt = true", "run.dt is True; it must be a number"),
        ("[run]\ndt = '0.1'", "run.dt is '0.1'; it must be a number"),
        (
            "[flow]\nscheme = 'rk4'",
            "flow.scheme is 'rk4'; it must be one of ['euler', 'heun', 'bosh3', 'tsit5', "
            "'jko', 'adaptive'].",
        ),
        ("[flow]\nratio = 'fast'", "flow.ratio is 'fast'; it must be a number, above 0 "),
        ("[start]\nkind = 'file'\nfile = 3", "start.file is 3; it must be text."),
        ("[start]\nmissing = [2]", "the unknown key start.missing; allowed there: ['points']"),
        ("[start]\nkind = 'saddle'\nmissing = 2", "start.missing is 2; it must be a list"),
        ("[start]\nkind = 'saddle'\nmissing = [0.5]", "start.missing is 0.5; it must be a whole"),
        ("[problem]\nspectrum = [1, 'a']", "problem.spectrum is 'a'; it must be a number"),
        ("[problem]\nkind = 'regression'\nridge = 1.0", "the unknown key problem.ridge"),
        ("[problem]\nkind = 3", "problem.kind is 3; it must be text."),
        ("seed =", "is not valid TOML: Invalid value (at end of document)"),
        ("seed = 1\nseed = 2", "is not valid TOML: "),
        (b"seed = '\xff'", "is not valid TOML: "),
    ],
)
def test_what_is_wrong_is_said(text: str | bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        load(tmp_path, text)
    message = str(error.value)
    assert message.startswith("config ")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("phase", "problem is 'phase'; choose one of ['attention', 'regression', "),
        ("nowhere:make", "problem 'nowhere:make' cannot be loaded: No module named 'nowhere'"),
        ("math:make", "problem 'math:make' cannot be loaded: module 'math' has no attribute"),
        ("math:pi", "problem 'math:pi' is 3.14"),
        ("pathlib:Path", "it must be a frozen dataclass with a method `build`, or a function."),
    ],
)
def test_kinds_that_do_not_exist(kind: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        load(tmp_path, f"[problem]\nkind = {kind!r}\n")
    assert sentence in str(error.value)


def test_code_runs_only_where_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "config.toml").write_text("[problem]\nkind = 'trap:make'\n")
    with pytest.raises(InvalidInput, match="add --trust to run it"):
        load_config(tmp_path / "config.toml", trust=False)
    with pytest.raises(SystemExit, match="it ran"):
        load_config(tmp_path / "config.toml")


def test_a_function_is_a_kind_by_its_signature(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def make(key, dim: int = 3, name: str = 'x'):\n    'Mine.'\n"
        "def bare(key, dim):\n    pass\n"
    )
    config = load(tmp_path, "[problem]\nkind = 'mine:make'\ndim = 5\n")
    assert (config.problem.dim, config.problem.name) == (5, "x")
    save_config(tmp_path / "again.toml", config)
    assert load_config(tmp_path / "again.toml").problem == config.problem
    with pytest.raises(InvalidInput, match=r"the unknown key problem\.size"):
        load(tmp_path, "[problem]\nkind = 'mine:make'\nsize = 5\n")
    with pytest.raises(InvalidInput, match="its argument dim needs an annotation and a default"):
        load(tmp_path, "[problem]\nkind = 'mine:bare'\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (Config(seed=-1), "seed is -1; it must be at least 0."),
        (Config(seed=2**63), "seed is 9223372036854775808; it must be at most 9.22e+18."),
        (Config(particles=0), "particles is 0; it must be "),
        (Config(particles=10**20), "particles is 100000000000000000000; it must be "),
        (Config(run=RunOptions(horizon=math.inf)), "run.horizon is inf; it must be above 0"),
        (Config(run=RunOptions(dt=math.nan)), "run.dt is nan; it must be above 0"),
        (Config(run=RunOptions(every=-1.0)), "run.every is -1.0; it must be "),
        (Config(run=RunOptions(snapshots=(1.0, -2.0))), "run.snapshots is (1.0, -2.0); it must"),
        (Config(run=RunOptions(checkpoint_steps=0)), "run.checkpoint_steps is 0; it must be "),
        (Config(problem=Attention(spectrum=(1.0, -0.5))), "problem.spectrum is (1.0, -0.5)"),
        (Config(problem=Attention(context_length=0.5)), "problem.context_length is 0.5"),
        (
            Config(problem=SoftmaxAttention(features=1)),
            "problem.features is 1; it must be at least 2",
        ),
        (Config(start=NeuronsStart(scale_w=-1.0)), "start.scale_w is -1.0; it must be above 0"),
        (Config(start=NeuronsStart(scale_a=1e300)), "start.scale_a is 1e+300; it must be "),
        (Config(flow=Gradient(ratio=-1.0)), "flow.ratio is -1.0; it must be above 0"),
        (
            Config(flow=Gradient(resample_below=1.5)),
            "flow.resample_below is 1.5; it must be at ",
        ),
    ],
)
def test_ranges(config: Config, sentence: str) -> None:
    with pytest.raises(InvalidInput) as error:
        require_ranges(config)
    assert str(error.value).startswith(sentence)


def test_every_option_of_every_kind_is_explained() -> None:
    from meanfield.problems import REGISTRIES

    for registry in REGISTRIES.values():
        for cls in registry.kinds.values():
            for row in option_table(cls):
                assert row.text, (cls, row)
                assert row.kind, (cls, row)
