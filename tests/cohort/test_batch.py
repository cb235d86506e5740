"""Many pairs: what is finished stays, what fails is told, whatever is killed."""

import csv
import json
import shutil
import subprocess
import sys
import time

import pytest

from coincide.cli.main import main
from coincide.files.write import write_image
from coincide.synthetic.phantoms import textured

PAIRS = 6
OPTIONS = ("--preset", "rigid", "--report", "False")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Small images of two dimensions and their labels."""
    place = tmp_path_factory.mktemp("images of 脑")
    for number in range(PAIRS + 1):
        phantom = textured((24, 22), seed=number, spacing=2.0)
        write_image(phantom.image, place / f"s{number}.nii.gz")
        write_image(phantom.labels, place / f"l{number}.nii.gz")
    return place


@pytest.fixture(scope="module")
def listed(images):
    """The list of all pairs, beside their images."""
    lines = [f"s0.nii.gz,s{n}.nii.gz,l0.nii.gz,l{n}.nii.gz\n" for n in range(1, PAIRS + 1)]
    path = images / "pairs.csv"
    path.write_text("fixed,moving,fixed_labels,moving_labels\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def finished(listed, tmp_path_factory):
    """What became of them."""
    out = tmp_path_factory.mktemp("finished") / "out"
    main(command(listed, out, *OPTIONS))
    return out


@pytest.fixture
def table(listed, tmp_path):
    """A list of pairs beside a copy of the images."""
    return shutil.copytree(listed.parent, tmp_path / "in") / listed.name


@pytest.fixture
def out(finished, tmp_path):
    """A copy of the finished batch."""
    return shutil.copytree(finished, tmp_path / "out")


def command(table, out, *more):
    return ("batch", str(table), "--out", str(out), "--jobs", "2", "--page", "False", *more)


def scores(out):
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def values(out):
    """What must come out the same again."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in scores(out).values()]


def written(out):
    """When every pair was finished."""
    return {p.parent.name: (p.stat().st_mtime_ns, p.read_text()) for p in out.glob("*/pair.json")}


def stopped(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code, " ".join(capsys.readouterr().err.split())


def test_every_pair_gets_a_folder_and_a_row(table, tmp_path, capsys):
    out = tmp_path / "out"
    main(("batch", str(table), "--out", str(out), "--jobs", "2", "--preset", "rigid"))
    said = capsys.readouterr()
    assert f"wrote {PAIRS} of {PAIRS} pairs" in said.out
    assert f"[{PAIRS}/{PAIRS}]" in said.err
    assert "left" in said.err
    found = scores(out)
    assert list(found) == [f"s{n}_to_s0" for n in range(1, PAIRS + 1)]
    for name, row in found.items():
        whole = json.loads((out / name / "scores.json").read_text())
        assert row["status"] == "done"
        assert float(row["overlap.mean_dice"]) == whole["overlap"]["mean_dice"]
        assert float(row["regularity.folding_percent"]) == 0
        assert float(row["seconds"]) > 0
        assert (out / name / "report.html").exists()
    assert {p.name for p in out.iterdir()} == {*found, "scores.csv", "report.html", ".lock"}
    page = (out / "report.html").read_text("utf-8")
    assert all(f"s{n}.nii.gz → s0.nii.gz" in page for n in range(1, PAIRS + 1))


def test_what_is_finished_is_kept_and_what_changed_is_done_again(table, out, capsys):
    before = written(out)
    shutil.copy(table.parent / "s6.nii.gz", table.parent / "s2.nii.gz")
    text = table.read_text().splitlines()
    text = [text[0] + ",preset", *(line + "," for line in text[1:])]
    text[1] += "affine"
    table.write_text("\n".join(text))
    main(command(table, out, *OPTIONS))
    said, after = capsys.readouterr().err, written(out)
    assert {n for n in after if after[n] != before[n]} == {"s1_to_s0", "s2_to_s0"}
    assert "s1_to_s0: changed since it was done: preset; done again" in said
    assert "s2_to_s0: changed since it was done: moving; done again" in said
    assert said.count(": kept") == PAIRS - 2
    assert 'preset = "affine"' in (out / "s1_to_s0" / "settings.toml").read_text()


def test_results_are_kept_where_the_images_have_moved(table, out, tmp_path):
    before = written(out)
    elsewhere = tmp_path / "elsewhere"
    table.parent.rename(elsewhere)
    main(command(elsewhere / "pairs.csv", out, *OPTIONS))
    assert written(out) == before


def test_a_failed_pair_stops_no_other_and_is_tried_again(table, tmp_path, capsys):
    out = tmp_path / "out"
    kept = (table.parent / "s3.nii.gz").read_bytes()
    (table.parent / "s3.nii.gz").write_bytes(b"no image")
    (table.parent / "l5.nii.gz").rename(table.parent / "hidden")
    code, said = stopped(capsys, *command(table, out, *OPTIONS))
    assert code == 1
    assert "2 of 6 pairs failed (s3_to_s0, s5_to_s0); see" in said
    found = scores(out)
    assert [row["status"] for row in found.values()].count("done") == PAIRS - 2
    assert found["s3_to_s0"]["status"] == found["s5_to_s0"]["status"] == "failed"
    assert "s3.nii.gz" in found["s3_to_s0"]["error"]
    assert "there is no file" in (out / "failed" / "s5_to_s0.txt").read_text()
    assert not (out / "s3_to_s0").exists()
    (table.parent / "s3.nii.gz").write_bytes(kept)
    (table.parent / "hidden").rename(table.parent / "l5.nii.gz")
    before = written(out)
    main(command(table, out, *OPTIONS))
    after = written(out)
    assert {n for n in after if after[n] != before.get(n)} == {"s3_to_s0", "s5_to_s0"}
    assert not (out / "failed").exists()


def test_a_failure_of_a_pair_that_was_done_before_says_what_its_folder_holds(table, out, capsys):
    (table.parent / "s3.nii.gz").write_bytes(b"no image")
    assert stopped(capsys, *command(table, out, *OPTIONS))[0] == 1
    said = (out / "failed" / "s3_to_s0.txt").read_text()
    assert said.startswith("its folder holds the result of earlier files or options")
    assert scores(out)["s3_to_s0"]["status"] == "failed"


def test_a_folder_of_another_origin_is_not_replaced(table, tmp_path, capsys):
    mine = tmp_path / "out" / "s1_to_s0"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    code, _ = stopped(capsys, *command(table, tmp_path / "out", *OPTIONS))
    assert code == 1
    assert (mine / "thesis.txt").read_text() == "mine"
    assert "move it away" in scores(tmp_path / "out")["s1_to_s0"]["error"]


def test_killed_twice_and_started_again_all_is_there_and_nothing_twice(table, finished, tmp_path):
    out = tmp_path / "out"
    program = [sys.executable, "-c", "from coincide.cli.main import main; main()"]
    program += command(table, out, *OPTIONS)
    seen: dict[str, tuple] = {}
    for least in (1, 3):
        process = subprocess.Popen(program, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 240
        while len(written(out)) < least and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.kill()
        process.wait()
        found = written(out)
        assert least <= len(found) < PAIRS, "killed in the midst of it"
        assert seen.items() <= found.items()
        seen = found
    assert (out / ".unfinished").exists()
    subprocess.run(program, check=True, capture_output=True)
    assert seen.items() <= written(out).items()
    assert values(out) == values(finished)
    assert {p.name for p in out.iterdir()} == {*scores(out), "scores.csv", ".lock"}


def test_two_batches_do_not_write_to_one_folder(table, tmp_path, capsys):
    out = tmp_path / "out"
    program = [sys.executable, "-c", "from coincide.cli.main import main; main()"]
    first = subprocess.Popen([*program, *command(table, out, *OPTIONS)], stderr=subprocess.PIPE)
    try:
        while not (out / ".unfinished").exists():
            assert first.poll() is None
            time.sleep(0.01)
        code, said = stopped(capsys, *command(table, out, *OPTIONS))
    finally:
        first.kill()
        first.communicate()
    assert code == 1
    assert "another batch is writing to" in said


def test_a_pair_may_repeat_settings_and_begin_where_another_ended(table, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copy(finished / "s1_to_s0" / "transform.h5", table.parent / "start.h5")
    shutil.copy(finished / "s2_to_s0" / "settings.toml", table.parent / "mine.toml")
    table.write_text(
        "name;fixed;moving;initial;settings\n"
        "a;s0.nii.gz;s1.nii.gz;start.h5;\n"
        "b;s0.nii.gz;s1.nii.gz;header;\n"
        "c;s0.nii.gz;s2.nii.gz;;mine.toml\n"
    )
    main(command(table, out, "--report", "False"))
    records = {n: json.loads((out / n / "pair.json").read_text()) for n in "abc"}
    assert records["a"]["inputs"]["initial"]["file"] == str((table.parent / "start.h5").resolve())
    assert records["b"]["options"]["initial"] == "header"
    assert records["c"]["inputs"]["settings"]["file"].endswith("mine.toml")
    assert scores(out)["c"]["status"] == "done"


def test_threads_are_the_cores_divided_by_the_jobs(monkeypatch):
    from coincide.cohort import processes

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(processes, "cores", lambda: 16)
    made = processes.Processes("a:b", jobs=5)
    assert made.environment["OMP_NUM_THREADS"] == made.environment["NUMBA_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert processes.Processes("a:b", jobs=5).environment["OMP_NUM_THREADS"] == "7"
