"""A sample of the campaign of faults, with fixed choices: nothing wrong, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.campaign import campaign, figures, table
from faults.input_cases import COMMANDS, FILES, OPTIONS
from faults.page import FIGURES, PAGE, page
from faults.processes import Server, environment
from faults.python_cases import PYTHON
from faults.tally import Tally

#: Faults of each part at the least. The stress part compiles for minutes; what it does is a test in
#: meanfield/test_consistency.py.
LEAST = {"kills": 2, "disks": 1, "inputs": 40, "damage": 2, "twins": 1}


@pytest.mark.slow
def test_a_sample(tmp_path: Path, server: Server) -> None:
    tallies = campaign(
        0.0, 1, list(LEAST), tmp_path, least=LEAST, at_once=1, sample=True, server=server
    )
    assert all(tally.clean for tally in tallies), [tally.failures for tally in tallies]
    tried = {tally.part: tally.tried for tally in tallies}
    assert all(tried[part] >= least for part, least in LEAST.items()), tried


def test_there_are_enough_malformed_inputs() -> None:
    cases = [*OPTIONS, *COMMANDS, *FILES, *PYTHON]
    assert len(cases) >= 150
    assert len({case.words for case in cases}) == len(cases)
    assert all(case.needles for case in cases)
    commands = {case.words.split()[0] for case in cases}
    assert commands >= {"simulate", "converge", "escape", "spectrum", "diagnose", "demo", "cite"}


def test_what_is_wrong_or_lost_is_counted_and_shown(capsys) -> None:
    tally = Tally("kills")
    assert not tally.clean  # nothing was tried
    tally.count("one", "survived", times=3)
    assert tally.clean
    tally.count("two", "lost", "it is gone")
    assert not tally.clean
    assert "LOST: two: it is gone" in capsys.readouterr().out
    [found] = figures([tally], 1.0, 0)["parts"]
    assert (found["tried"], found["survived"], found["lost"]) == (4, 3, 1)
    assert table([tally]).splitlines()[1].split() == ["kills", "4", "3", "0", "1"]


def test_the_page_shows_the_figures() -> None:
    campaigns = json.loads(FIGURES.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(campaigns), "run make reliability"
    assert "/tmp" not in FIGURES.read_text("utf-8")
    part = {"part": "kills", "tried": 3, "survived": 2, "wrong": 0, "lost": 1, "kinds": {}}
    lost = {"kind": "SIGKILL", "verdict": "lost", "why": "it is gone"}
    text = page([*campaigns, campaigns[0] | {"parts": [part | {"failures": [lost]}]}])
    assert "- *SIGKILL*: it is gone" in text
    assert "| 259 | 258 | 0 | 1 |" in text


def test_the_program_explains_itself() -> None:
    words = [sys.executable, "-m", "faults.campaign", "--help"]
    shown = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert "--minutes" in shown.stdout
