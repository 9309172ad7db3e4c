"""Configurations: through TOML and back, and one sentence for everything that is wrong."""

import math
from pathlib import Path

import pytest

from meanfield import load_config, save_config
from meanfield.problems import Config, FlowConfig, LandscapeConfig, RecordConfig, StartConfig
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
            float64=False,
            landscape=LandscapeConfig(
                data="sämple.npz", spectrum=(1.0, 1e-3), symmetric=(0, 2), context_length=12.5
            ),
            start=StartConfig(kind="saddle", missing=(0, 1), file='a "b"\n.npz'),
            flow=FlowConfig(scheme="heun", ratio=0.01),
            record=RecordConfig(every=0.25, snapshots=(1.0, 2.5)),
        ),
        Config(flow=FlowConfig(ratio="frozen")),
        Config(flow=FlowConfig(ratio=math.inf)),
    ],
    ids=["defaults", "everything", "frozen", "infinite ratio"],
)
def test_round_trip(config: Config, tmp_path: Path) -> None:
    save_config(tmp_path / "config.toml", config)
    again = load_config(tmp_path / "config.toml")
    assert again == config
    assert type(again.landscape.spectrum) is tuple


def test_every_key_is_optional_and_integers_are_numbers(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config()
    config = load(tmp_path, "[flow]\nhorizon = 3\nratio = 2\n[landscape]\nspectrum = [2, 1]\n")
    assert config.flow == FlowConfig(horizon=3.0, ratio=2.0)
    assert all(type(v) is float for v in (config.flow.horizon, *config.landscape.spectrum))
    assert load(tmp_path, "[landscape]\ncontext_length = inf\n") == Config()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "sead = 1",
            "the unknown key sead; allowed there: ['devices', 'float64', 'flow', 'landscape', ",
        ),
        ("[flow]\ndtt = 1.0", "the unknown key flow.dtt; allowed there: ['atol', 'batch_size', "),
        ("[flows]\n", "the unknown key flows; allowed there"),
        ("seed = 1.5", "seed is 1.5; it must be a whole number."),
        ("seed = true", "seed is True; it must be a whole number."),
        ("seed = '1'", "seed is '1'; it must be a whole number."),
        ("float64 = 1", "float64 is 1; it must be true or false."),
        ("flow = 3", "flow is 3; it must be a table."),
        ("[flow]\ndt = true", "flow.dt is True; it must be a number."),
        ("[flow]\ndt = '0.1'", "flow.dt is '0.1'; it must be a number."),
        (
            "[flow]\nscheme = 'rk4'",
            "flow.scheme is 'rk4'; it must be one of ['euler', 'heun', 'bosh3', 'tsit5', "
            "'adaptive'].",
        ),
        (
            "[flow]\nratio = 'fast'",
            "flow.ratio is 'fast'; it must be a number or one of ['limit', 'frozen'].",
        ),
        ("[start]\nfile = 3", "start.file is 3; it must be text."),
        ("[start]\nmissing = 2", "start.missing is 2; it must be a list, each entry a whole "),
        ("[start]\nmissing = [0.5]", "start.missing is 0.5; it must be a whole number."),
        ("[landscape]\nspectrum = [1, 'a']", "landscape.spectrum is 'a'; it must be a number."),
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")
