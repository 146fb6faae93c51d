"""What every runtime promises; the same tests for this machine and for a container."""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from harness.artefacts import ArtefactStore
from harness.records import Limits, Status
from harness.runtime.local import LocalRuntime
from harness.runtime.logs import LIMIT_BYTES
from harness.workloads.api.emit import read_events

from .conftest import Bench

# starts children that write a heartbeat for ever: one in the group, one that has left it
CHILDREN = """
import subprocess, sys, time
beat = "import time\\nwhile True:\\n open('beat', 'a').write('x'); time.sleep(0.02)"
for leaves in (False, True):
    subprocess.Popen([sys.executable, "-c", beat], start_new_session=leaves)
while not __import__("os").path.exists("beat"):
    time.sleep(0.01)
"""


def is_beating(run_dir: Path) -> bool:
    before = (run_dir / "beat").stat().st_size
    time.sleep(0.2)
    return (run_dir / "beat").stat().st_size > before


def test_a_workload_runs_to_its_end(bench: Bench) -> None:
    launch = bench.launch(value=2.5)
    outcome = bench.runtime.run(launch)
    assert (outcome.status, outcome.exit_code, outcome.cause) == (Status.FINISHED, 0, "")
    assert (outcome.runtime, outcome.device, outcome.log_tail) == (bench.runtime.name, "", ())
    assert outcome.usage.wall_s > 0
    assert outcome.started_at.endswith("+00:00")
    events = read_events(launch.run_dir / "events.jsonl")
    assert [event.kind for event in events] == ["started", "measured", "finished"]
    assert events[1].payload["value"] == 2.5


def test_the_folder_holds_the_run_and_nothing_else(bench: Bench) -> None:
    launch = bench.launch()
    bench.runtime.run(launch)
    found = {path.name for path in launch.run_dir.iterdir()}
    assert found == {"spec.json", "events.jsonl", "stdout.log", "stderr.log"}
    assert {path.stat().st_uid for path in launch.run_dir.iterdir()} == {os.getuid()}
    assert launch.run_dir.stat().st_uid == os.getuid()


# as a compiler does: what it finds it says, and what it does not find it makes
COMPILER = """
import os, pathlib
for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT"):
    kernel = pathlib.Path(os.environ[name], "kernel")
    print(name, kernel.exists())
    kernel.parent.mkdir(parents=True, exist_ok=True)
    kernel.touch()
"""


def test_compiled_kernels_are_kept_for_the_next_run(bench: Bench) -> None:
    found = []
    for _ in range(2):
        launch = replace(bench.launch(COMPILER), compiled_dir=bench.folder.parent / "compiled")
        assert bench.runtime.run(launch).status is Status.FINISHED
        said = (launch.run_dir / "stdout.log").read_text(encoding="utf-8")
        found.append([line.split()[1] for line in said.splitlines()])
    assert found == [["False"] * 3, ["True"] * 3]


def test_steps_are_kept_for_the_next_run(bench: Bench) -> None:
    store = ArtefactStore(bench.folder.parent / "store" / ".artefacts")
    store.make_folder()
    made = []
    for steps in (2, 3):
        launch = replace(bench.launch(steps=steps), artefacts_dir=store.root)
        assert bench.runtime.run(launch).status is Status.FINISHED
        events = read_events(launch.run_dir / "events.jsonl")
        stored = [dict(each.payload) for each in events if each.kind == "stored"]
        made.append([each["made_now"] for each in stored])
        assert [each["name"] for each in stored] == [f"walk-{n + 1}" for n in range(steps)]
    assert made == [[True, True], [False, False, True]]
    assert len(store.keys()) == 3
    for key in store.keys():  # noqa: SIM118 - no mapping
        assert store.find(key) is not None
    assert store.unfinished() == []


@pytest.mark.parametrize("code", [1, 2, 5, 255])
def test_an_exit_code_is_a_failure_with_the_last_words(bench: Bench, code: int) -> None:
    outcome, _ = bench.run(f"import sys; print('no such layer', file=sys.stderr); sys.exit({code})")
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, code)
    assert outcome.cause == f"exit code {code}: no such layer"
    assert outcome.log_tail == ("no such layer",)


def test_the_exit_code_for_infrastructure_blames_the_machine(bench: Bench) -> None:
    outcome, _ = bench.run("raise SystemExit(3)")
    assert outcome.status is Status.HOST_FAILED


def test_death_by_a_signal_is_named(bench: Bench) -> None:
    outcome, _ = bench.run("import os; os.kill(os.getpid(), 11)")
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, 139)
    assert outcome.cause == "ended by SIGSEGV"


def test_a_traceback_ends_in_the_cause(bench: Bench) -> None:
    outcome, run_dir = bench.run("raise ValueError('heads do not divide width')")
    assert outcome.cause == "exit code 1: ValueError: heads do not divide width"
    assert "Traceback" in (run_dir / "stderr.log").read_text(encoding="utf-8")


def test_the_streams_are_kept_apart_and_in_unicode(bench: Bench) -> None:
    outcome, run_dir = bench.run("import sys; print('T²PO 漢字'); print('größer', file=sys.stderr)")
    assert outcome.status is Status.FINISHED
    assert (run_dir / "stdout.log").read_text(encoding="utf-8") == "T²PO 漢字\n"
    assert (run_dir / "stderr.log").read_text(encoding="utf-8") == "größer\n"


def test_a_log_flood_is_cut_and_says_so(bench: Bench) -> None:
    outcome, run_dir = bench.run(
        "print('first')\nfor n in range(20): print(('%d' % n) * 2**20)\nprint('last')"
    )
    assert outcome.status is Status.FINISHED
    kept = (run_dir / "stdout.log").read_text(encoding="utf-8")
    assert LIMIT_BYTES < len(kept) < LIMIT_BYTES + 2**17
    assert kept.startswith("first\n")
    assert kept.endswith("last\n")
    assert "[harness: the limit of 8388608 bytes is reached; " in kept


def test_a_run_that_takes_too_long_is_ended_with_its_children(bench: Bench) -> None:
    began = time.monotonic()
    outcome, run_dir = bench.run(CHILDREN + "time.sleep(60)", limits=Limits(timeout_s=2.0))
    assert outcome.status is Status.TIMED_OUT
    assert outcome.cause == "did not end within 2 s"
    assert time.monotonic() - began < 40
    assert not is_beating(run_dir)


def test_a_run_in_which_nothing_happens_has_stalled_and_is_ended(bench: Bench) -> None:
    program = CHILDREN.replace("'beat'", "'/tmp/beat'").replace('"beat"', '"/tmp/beat"')
    outcome, _ = bench.run(program + "time.sleep(60)", limits=Limits(stall_s=2.0))
    assert outcome.status is Status.STALLED
    assert outcome.cause == "wrote no event, line or file for 2 s (limits.stall_s)"


@pytest.mark.parametrize("sign", ["print('.', flush=True)", "open('journal', 'a').write('.')"])
def test_a_slow_run_that_shows_signs_of_life_is_left_alone(bench: Bench, sign: str) -> None:
    program = f"import time\nfor _ in range(12):\n {sign}; time.sleep(0.5)"
    outcome, _ = bench.run(program, limits=Limits(stall_s=5.0))
    assert outcome.status is Status.FINISHED


def test_children_do_not_outlive_a_run_that_ends_well(bench: Bench) -> None:
    outcome, run_dir = bench.run(CHILDREN)
    assert outcome.status is Status.FINISHED
    assert not is_beating(run_dir)


def test_a_run_that_ignores_sigterm_is_ended(bench: Bench) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    outcome, _ = bench.run(program, limits=Limits(timeout_s=1.0))
    assert outcome.status is Status.TIMED_OUT


def test_a_memory_budget_is_held(bench: Bench) -> None:
    program = (
        "import time\nkept = []\n"
        "for _ in range(60): kept.append(b'x' * (32 << 20)); time.sleep(0.05)"
    )
    outcome, _ = bench.run(program, limits=Limits(timeout_s=120.0, memory_gib=0.25))
    assert outcome.status is Status.OUT_OF_MEMORY
    assert outcome.cause == "used up its 0.25 GiB"


def test_a_run_is_ended_before_the_machine_has_no_memory_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.runtime, "_floor_gib", 1e6)  # more than any machine has
    outcome, _ = bench.run("import time; time.sleep(60)")
    assert outcome.status is Status.OUT_OF_MEMORY
    assert outcome.cause.endswith("below the floor of 1e+06 GiB")


def test_secrets_stay_outside_unless_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "NGC_API_KEY", "DB_PASSWORD", "SOMETHING_ELSE"):
        monkeypatch.setenv(name, "from the shell")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    launch = bench.launch(program, env={"HF_TOKEN": "named"})
    bench.runtime.run(launch)
    seen = json.loads((launch.run_dir / "stdout.log").read_text(encoding="utf-8"))
    assert seen["HF_TOKEN"] == "named"
    assert seen["OMP_NUM_THREADS"] == "3"
    assert "from the shell" not in seen.values()


def test_a_run_sees_the_same_python_settings_everywhere(bench: Bench) -> None:
    _, run_dir = bench.run(
        "import os, sys, harness\n"
        "print(os.environ['PYTHONHASHSEED'], sys.flags.safe_path, sys.flags.utf8_mode)"
    )
    assert (run_dir / "stdout.log").read_text(encoding="utf-8") == "0 True 1\n"


def test_a_file_in_the_folder_never_stands_in_for_a_module(bench: Bench) -> None:
    launch = bench.launch()
    (launch.run_dir / "json.py").write_text("raise SystemExit('wrong module')", encoding="utf-8")
    assert bench.runtime.run(launch).status is Status.FINISHED


def test_the_working_folder_is_the_run_folder(bench: Bench) -> None:
    outcome, run_dir = bench.run("open('weights.bin', 'wb').write(bytes(1000))")
    assert outcome.status is Status.FINISHED
    left = (run_dir / "weights.bin").stat()
    assert (left.st_size, left.st_uid, stat.S_ISREG(left.st_mode)) == (1000, os.getuid(), True)


def test_a_link_left_behind_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    before = outside.stat().st_ctime_ns
    outcome, _ = bench.run(f"import os; os.symlink({str(outside)!r}, 'link')")
    assert outcome.status is Status.FINISHED
    assert outside.stat().st_ctime_ns == before


def test_evidence_is_shown(bench: Bench, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    (evidence / "table.csv").write_text("a,b\n", encoding="utf-8")
    program = (
        "import os, pathlib; folder = pathlib.Path(os.environ['HARNESS_EVIDENCE_DIR'])\n"
        "print((folder / 'table.csv').read_text(), end='')\n"
        "try: (folder / 'table.csv').write_text('other')\n"
        "except OSError as error: print(error.errno)"
    )
    launch = bench.launch(program, evidence_dir=evidence)
    assert bench.runtime.run(launch).status is Status.FINISHED
    said = (launch.run_dir / "stdout.log").read_text(encoding="utf-8")
    assert said == ("a,b\n30\n" if bench.isolates else "a,b\n")  # 30: read-only file system


def test_standard_input_gives_nothing_and_does_not_end(bench: Bench) -> None:
    program = "import select, sys; print(select.select([sys.stdin], [], [], 0.5)[0])"
    _, run_dir = bench.run(program)
    assert (run_dir / "stdout.log").read_text(encoding="utf-8") == "[]\n"


def test_runs_follow_one_another(bench: Bench) -> None:
    for value in (1.0, 2.0, 3.0):
        launch = bench.launch(value=value)
        assert bench.runtime.run(launch).status is Status.FINISHED
        assert bench.reaped(launch) == 0


def test_a_machine_that_can_has_no_problems(bench: Bench) -> None:
    assert list(bench.runtime.problems(bench.launch().spec)) == []


def test_what_the_machine_cannot_give_is_said_with_a_remedy(bench: Bench) -> None:
    spec = bench.launch(limits=Limits(memory_gib=1e6, gpus=99)).spec
    problems = list(bench.runtime.problems(spec))
    assert [("memory" in str(each), "GPU" in str(each)) for each in problems] == [
        (True, False),
        (False, True),
    ]
    assert all(each.remedy for each in problems)


def test_the_harness_costs_a_run_little(tmp_path: Path) -> None:
    runs = 10
    with LocalRuntime() as runtime:
        bench = Bench(runtime=runtime, image=None, folder=tmp_path)
        launches = [bench.launch("pass") for _ in range(runs)]
        costs_s = []
        for launch in launches:
            began = time.process_time()
            runtime.run(launch)
            costs_s.append(time.process_time() - began)
    # 2 ms seen; a sweep has hundreds of cells. On a busy machine single ones cost more.
    assert median(costs_s) < 0.010
