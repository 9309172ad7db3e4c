"""Reproductions: called from Python, in parts at small sizes, and through the command."""

import dataclasses
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import meanfield
from results import written

from landscapes.mlp_attention import saddle_index
from meanfield import Claim, Result, reproduce
from meanfield.problems import option_table
from meanfield.reproductions import REPRODUCTIONS, Reproduction
from meanfield.reproductions import _ks24 as ks24
from meanfield.reproductions import _ks24_timescales as ks24_timescales
from particles import InvalidInput


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_options_have_defaults_and_say_what_they_do(name: str) -> None:
    reproduction = REPRODUCTIONS[name]
    assert reproduction.name == name
    assert len(set(reproduction.titles)) == len(reproduction.titles) > 1
    assert dataclasses.is_dataclass(reproduction.options)
    reproduction.configured()
    for row in option_table(reproduction.options):
        assert row.text
        assert row.default != "required"


def whole(name: str, folder: Path, **options: Any) -> Result:
    """All parts of a reproduction at a small size, once its claims hold and it is written."""
    found = written(reproduce(name, particles=12, samples=48, teachers=2, **options), folder)
    reproduction = REPRODUCTIONS[name]
    headings = [f"## {title}" for title in reproduction.titles]
    assert [entry for entry in found.body if entry in headings] == headings
    assert found.title == reproduction.title
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::landscapes.NoLimitWarning")  # of few neurons
def test_the_attention_landscape(tmp_path: Path) -> None:
    found = whole("ks24", tmp_path, seeds=1)
    points, rest = found.claims[:24], found.claims[24:]
    assert [claim.relation for claim in points] == ["=", "is", "="] * 8
    assert [claim.predicted for claim in points[2::3]] == [
        saddle_index(ks24.SPECTRUM, missing) for missing in ks24.MISSING_SETS
    ]
    assert [claim.found for claim in points[1::3]] == ["local minimum"] + ["strict saddle"] * 7
    rates = [claim.statement for claim in rest if claim.statement.startswith("growth rate")]
    assert len(rates) == 7
    assert rates[2].endswith("missing {3}")
    assert found.data["trajectory"].sizes["seed"] == 2
    assert any("Łojasiewicz exponent" in str(entry) for entry in found.body)
    over_teachers = [claim for claim in rest if "median of 2 teachers" in claim.statement]
    assert len(over_teachers) == len(ks24_timescales.RATIOS) + 2


@pytest.mark.slow
def test_escape_from_one_saddle(tmp_path: Path) -> None:
    """The order of perturbations, the linear theory, and the flow that perturbs itself."""
    found = whole("yks25", tmp_path, seeds=4)
    assert [claim.relation for claim in found.claims] == ["<", "<", "<", "=", "=", "=", "=", "<"]
    assert set(found.data) == {"trajectory"} | {
        f"escapes-{kind}" for kind in ("none", "isotropic", "hessian-guided", "eigenvector")
    }
    assert "escape(s)" in str(found.body)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^name is 'ks25'; the reproductions are ks24, yks25"):
        reproduce("ks25")
    with pytest.raises(InvalidInput, match=r"^features is no option of ks24; its options are seed"):
        reproduce("ks24", features=3)
    with pytest.raises(InvalidInput, match=r"^seeds is 0; it must be at least 1"):
        reproduce("ks24", seeds=0)
    with pytest.raises(InvalidInput, match=r"^features is 4; it must be at least 5"):
        reproduce("hcl23-balanced", features=4)


# --- the command, with parts that take no time ---------------------------------------------------


def quick(options: ks24.KS24Options, progress: bool) -> Iterator[Result]:
    for index, title in enumerate(("One", "Two")):
        result = Result(title)
        result.claim(Claim.equal(title, "KS24", options.seeds, options.seeds + index))
        result.figure(title, title, lambda ax: ax.plot([0, 1]))
        yield result


def failing(options: ks24.KS24Options, progress: bool) -> Iterator[Result]:
    yield next(quick(options, progress))
    raise RuntimeError("out of luck")


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ks24", "yks25"):
        stand_in = Reproduction(name, f"{name} in short", ks24.KS24Options, quick, ("One", "Two"))
        monkeypatch.setitem(REPRODUCTIONS, name, stand_in)  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("stand_ins")
def test_the_command_writes_each_reproduction_and_an_index(tmp_path: Path) -> None:
    ran = meanfield("reproduce", "yks25", "ks24", "--seeds", 3, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.stderr
    assert ran.stderr.splitlines() == [
        "yks25 1/2: One", "yks25 2/2: Two", "ks24 1/2: One", "ks24 2/2: Two",
    ]  # fmt: skip
    claims = json.loads(ran.stdout)["claims"]
    assert [claim["measured"] for claim in claims] == [3.0, 4.0, 3.0, 4.0]
    for name in ("ks24", "yks25"):
        assert {"One.png", "Two.png", "report.md", "claims.json"} <= {
            path.name for path in (tmp_path / name).iterdir()
        }
        config = tomllib.loads((tmp_path / name / "config.toml").read_text())
        assert config["reproduce"] == {
            "names": [name], "seed": 0, "teachers": 8, "seeds": 3, "particles": 72,
            "samples": 512,
        }  # fmt: skip
    index = (tmp_path / "report.md").read_text()
    assert "[ks24](ks24/report.md)" in index
    assert "2 of 4 claims hold." in index


@pytest.mark.usefixtures("stand_ins")
def test_a_configuration_repeats_a_reproduction(tmp_path: Path) -> None:
    meanfield("reproduce", "ks24", "--seeds", 5, "--out", tmp_path / "first", "--quiet")
    config = tmp_path / "first" / "ks24" / "config.toml"
    out = tmp_path / "second"
    ran = meanfield("reproduce", "--config", config, "--out", out, "--quiet", "--json")
    assert ran.code == 0, ran.stderr
    assert (out / "ks24" / "config.toml").read_text() == config.read_text()
    assert [claim["predicted"] for claim in json.loads(ran.stdout)["claims"]] == [5.0, 5.0]


def test_what_was_found_before_a_failure_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Reproduction("ks24", "broken", ks24.KS24Options, failing, ("One", "Two"))
    monkeypatch.setitem(REPRODUCTIONS, "ks24", broken)  # pyright: ignore[reportArgumentType]
    ran = meanfield("reproduce", "ks24", "--out", tmp_path, "--quiet")
    assert ran.code == 1
    assert ran.sentence == "meanfield: out of luck"
    assert "1 of 1 claims hold." in (tmp_path / "ks24" / "report.md").read_text()


def test_an_option_that_would_not_act_is_refused(tmp_path: Path) -> None:
    out = ["--out", tmp_path / "never"]
    refused = meanfield("reproduce", "hcl23-balanced", "ks24", "--features", 5, *out)
    assert refused.code == 2
    assert refused.sentence.startswith("meanfield: features is no option of ks24; its options are")
    refused = meanfield("reproduce", "--particles", 5, *out)
    assert "particles is no option of zsls25-merged" in refused.sentence
    refused = meanfield("reproduce", "ks24", "--samples", 0, *out)
    assert refused.sentence == "meanfield: samples is 0; it must be at least 1."
    assert not (tmp_path / "never").exists()
    unknown = meanfield("reproduce", "ks25", *out)
    assert unknown.code == 2
    assert "hcl23-imbalanced" in unknown.stderr
