"""All commands on every kind of problem, the user's own too: they run, or say what is missing."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from commands import Outcome, meanfield

ROOT = Path(__file__).parents[2]
NETWORK = ["--problem.dim", "3", "--problem.samples", "32", "--problem.spectrum", "1.0", "0.5"]
OWN = "own_problem:covariance"
KINDS = {
    "attention": [*NETWORK, "--problem.teacher-neurons", "6"],
    "regression": [*NETWORK, "--problem.teacher-neurons", "6"],
    "linear-attention": ["--problem.eigenvalues", "1.0", "0.5"],
    "softmax-attention": ["--problem.features", "3", "--problem.prompts", "32"],
    "multi-head-softmax": [],
    "modular-arithmetic": ["--problem.p", "5", "--problem.fraction", "1.0"],
    "induction": [],
    "markov-induction": ["--problem.chains", "16", "--problem.length", "8"],
    "riesz-gas": [],
    "energy-distance": ["--problem.samples", "16"],
    "diffusion": [],
    "attraction-repulsion": [],
    "keller-segel": ["--problem.width", "1"],
    "tokens": ["--problem.beta", "1"],
    "fourier-moments": [],
    "single-index": ["--problem.ratio", "0.2"],
    "spikes": ["--problem.masses", "0.5", "--problem.orders", "1"],
    OWN: ["--problem.dim", "2", "--problem.samples", "64"],
}
FOLDERS = ("run", "diagnosis")
SIMULATED_AGAIN = ("attention", "spikes", OWN)


@pytest.fixture(autouse=True)
def beside_the_own_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's file lies in the current folder, outside the packages."""
    shutil.copy(ROOT / "examples" / "own_problem.py", tmp_path)
    monkeypatch.chdir(tmp_path)


def run(command: str, kind: str, *options: object) -> Outcome:
    return meanfield(command, "--problem", kind, *KINDS[kind], *options, "--json", "--quiet")


def found(ran: Outcome) -> dict:
    assert ran.code == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_simulate_then_look_at_the_run(kind: str) -> None:
    particles = 40 if kind in ("attention", "regression") else 8
    short = ["--particles", particles, "--horizon", 0.5, "--dt", 0.05, "--flow.scheme", "heun"]
    result = found(run("simulate", kind, *short, "--out", "run"))
    assert result["outcome"] == "HORIZON"
    assert all(claim["holds"] for claim in result["claims"]), result["claims"]
    trust = ["--trust"] if kind == OWN else []
    if trust:
        refused = meanfield("spectrum", "run", "--out", "s")
        assert refused.code == 2
        assert "add --trust to run it" in refused.sentence
    options = ["--probes", 1, "--count", 2, "--out", "spectrum", "--json", "--quiet"]
    spectrum = found(meanfield("spectrum", "run", *trust, *options))
    assert spectrum["kind"] == "not critical"
    # Each number of samples is a few programs; test_diagnose draws three.
    options = ["--points", 5, "--replicates", 2, "--sizes", 1, "--count", 1, "--out", "diagnosis"]
    diagnosis = found(meanfield("diagnose", "run", *trust, *options, "--json", "--quiet"))
    assert diagnosis["value"] == spectrum["value"]
    # Every command reads what any command wrote: here the landscape of the diagnosed run, which
    # every problem hands on whole; then the same run starts from it.
    made, handed = (tomllib.loads(Path(out, "config.toml").read_text()) for out in FOLDERS)
    for name in ("seed", "particles", "problem", "start"):
        assert handed[name] == made[name]
    if kind not in SIMULATED_AGAIN:
        return
    again = found(
        meanfield("simulate", "diagnosis/config.toml", *short, "--out", "again", "--json")
    )
    assert again["claims"] == result["claims"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_converge(kind: str) -> None:
    sizes = ["--smallest", 8, "--largest", 16, "--seeds", 2, "--times", 2, "--transport", 0]
    ran = run("converge", kind, *sizes, "--horizon", 0.6, "--dt", 0.1, "--out", "study")
    assert {"coupling", "moments"} <= set(found(ran)["exponents"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["attention", "linear-attention", "induction", OWN])
def test_escape(kind: str) -> None:
    particles = 24 if kind == "attention" else 4
    result = found(run("escape", kind, "--particles", particles, "--seeds", 3, "--out", "e"))
    growth = result["claims"][0]
    assert "growth rate" in growth["statement"]
    assert growth["holds"], growth


@pytest.mark.parametrize("kind", ["regression", "softmax-attention", "markov-induction"])
def test_what_a_kind_lacks_is_said(kind: str) -> None:
    refused = run("escape", kind, "--out", "e")
    assert refused.code == 2
    assert f"problem {kind!r} has no `saddle`, which meanfield escape needs" in refused.sentence
    assert "function saddle(key, size, missing)" in refused.sentence
    assert not Path("e").exists()


def test_a_configuration_names_the_own_problem(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        f"particles = 4\n[problem]\nkind = '{OWN}'\ndim = 2\n[run]\nhorizon = 0.2\ndt = 0.1\n"
        "[flow]\nscheme = 'euler'\n"
    )
    ran = meanfield("simulate", "c.toml", "--out", "run", "--json", "--quiet")
    assert found(ran)["outcome"] == "HORIZON"
    assert "own_problem:covariance" in Path("run/config.toml").read_text()


@pytest.mark.parametrize("command", ["spectrum", "diagnose", "escape", "converge", "demo"])
def test_no_command_writes_into_the_folder_of_another(command: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    before = "command = 'simulate'\nparticles = 24\n[problem]\nsamples = 32\ndim = 4\n"
    (tmp_path / "run" / "config.toml").write_text(before)
    source = ["run/config.toml"] if command in ("escape", "converge", "demo") else []
    refused = meanfield(command, *source, "--out", "run", "--quiet")
    assert refused.code == 2
    assert "holds the results of `meanfield simulate`" in refused.sentence
    assert (tmp_path / "run" / "config.toml").read_text() == before
    assert len(list((tmp_path / "run").iterdir())) == 1
