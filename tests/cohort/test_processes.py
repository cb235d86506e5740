"""Worker processes: crashes, kills and noise are told apart from answers."""

import os
import subprocess
import sys
import time

import pytest

from coincide.cohort.executor import Job
from coincide.cohort.processes import Processes

WORK = """
import os, sys, time, signal
seen = []

def main(arguments):
    what, *rest = arguments
    print("said", what)
    os.write(1, b"noise of a library\\n")
    if what == "crash":
        sys.stderr.flush()
        os.write(2, b"last words\\n")
        os._exit(7)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise RuntimeError("a defect")
    if what == "exit":
        sys.exit(4)
    if what == "sleep":
        for second in range(600):
            with open(rest[0], "a") as file:
                file.write(".")
            time.sleep(0.1)
    seen.append(what)
    print(len(seen))
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    (tmp_path / "some_work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def run(*jobs, at_once=2):
    with Processes("some_work:main", at_once) as executor:
        for number, job in enumerate(jobs):
            executor.submit(Job(str(number), job))
        return {done.job.name: done for done in executor.completed()}


def test_what_a_job_prints_comes_back_and_noise_does_not_disturb():
    found = run(*[("fine",)] * 5)
    assert {done.code for done in found.values()} == {0}
    assert all(done.text.startswith("said fine\n") for done in found.values())


def test_a_process_is_kept_for_the_next_job():
    found = run(("fine",), ("fine",), ("fine",), at_once=1)
    assert [done.text.split()[-1] for done in found.values()] == ["1", "2", "3"]


def test_a_job_that_fails_says_how():
    found = run(("raise",), ("exit",), ("fine",))
    assert (found["0"].code, found["1"].code, found["2"].code) == (3, 4, 0)
    assert found["0"].text.strip().endswith("RuntimeError: a defect")


def test_a_process_that_dies_takes_one_job_with_it():
    found = run(("fine",), ("crash",), ("fine",), ("fine",), at_once=1)
    assert [done.code for done in found.values()] == [0, None, 0, 0]
    assert found["1"].text.startswith("its process ended with code 7\n")
    assert found["1"].text.endswith("last words")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_process_that_the_system_kills_is_a_failed_job():
    found = run(("kill",), ("fine",), at_once=1)
    assert [done.code for done in found.values()] == [None, 0]
    assert "ended by SIGKILL, as systems do that run out of memory" in found["0"].text


def test_where_no_process_can_start_every_job_says_why():
    with Processes("no_such_module:main") as executor:
        executor.submit(Job("a", ()))
        (done,) = executor.completed()
    assert done.code is None
    assert "No module named 'no_such_module'" in done.text


def test_leaving_ends_what_is_under_way(place):
    begin = time.monotonic()
    with Processes("some_work:main", 2) as executor:
        for number in range(4):
            executor.submit(Job(str(number), ("sleep", str(place / f"beat{number}"))))
        while not (place / "beat0").exists():
            time.sleep(0.02)
    assert time.monotonic() - begin < 30
    assert not (place / "beat3").exists()


def test_the_workers_of_a_killed_program_end_too(place):
    beat = place / "beat"
    code = (
        "from coincide.cohort.executor import Job\n"
        "from coincide.cohort.processes import Processes\n"
        "with Processes('some_work:main') as executor:\n"
        f"    executor.submit(Job('a', ('sleep', {str(beat)!r})))\n"
        "    list(executor.completed())\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code])
    while not beat.exists():
        assert program.poll() is None
        time.sleep(0.02)
    program.kill()
    program.wait()
    time.sleep(2)
    ended = beat.stat().st_size
    time.sleep(1)
    assert beat.stat().st_size == ended


def test_at_least_one_job_runs_at_a_time():
    with pytest.raises(ValueError, match="at least one job"):
        Processes("a:b", 0)
