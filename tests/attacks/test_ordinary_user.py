"""What a sandbox keeps for the next rollout where the harness is run by an ordinary user.

There a command's user owns the sandbox's own folders: it could give them default rights that lock
the next rollout out, or attributes and flags that carry notes to it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.attacks.commands import ATTACKS, Aim
from tests.contract.conftest import bubblewrap

PLAYS = """
import tempfile
from pathlib import Path
from harness.sandbox.bubblewrap import Bubblewrap
from tests.attacks.commands import ATTACKS, Aim
from tests.attacks.play import machine, play, unused
with tempfile.TemporaryDirectory() as folder, machine(Path(folder)) as target:
    before = unused(Bubblewrap().make)
    for attack in ATTACKS:
        if attack.aim is Aim.STATE:
            with Bubblewrap().make() as sandbox:
                found = play(attack, sandbox, target, before)
            print(attack.name, "held" if found.held else found)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every attack of `test_commands` is one then")
def test_a_sandbox_of_an_ordinary_user_is_new_after_a_reset(project_root: Path) -> None:
    bubblewrap()  # or skip
    user = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"]
    python = [*user, "/usr/bin/python3", "-B", "-c"]
    if subprocess.run(
        [*python, "import harness.records"], check=False, cwd=project_root
    ).returncode:
        pytest.skip("another user cannot read this checkout, or has no Python 3.11")
    played = subprocess.run(
        [*python, PLAYS], check=True, cwd=project_root, capture_output=True, text=True
    )
    wanted = [f"{each.name} held" for each in ATTACKS if each.aim is Aim.STATE]
    assert played.stdout.splitlines() == wanted
