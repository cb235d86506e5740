"""coincide batch."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from tyro.conf import FlagConversionOff, Positional, arg

from coincide.cli.evaluate import finished
from coincide.cli.register import RegisterOptions
from coincide.cohort.batch import Progress
from coincide.cohort.batch import batch as run
from coincide.cohort.folder import CohortFolder
from coincide.cohort.processes import Processes
from coincide.cohort.row import read_rows
from coincide.cohort.table import Table
from coincide.registration import Registration
from coincide.report.page import write_report

OPTIONS = tuple(f.name for f in fields(RegisterOptions) if f.name != "out")
KINDS = ("_mask", "_exclude", "_labels", "_points", "label_names", "label_map")
FILES = tuple(name for name in OPTIONS if name in ("fixed", "moving") or name.endswith(KINDS))
PERHAPS = ("initial", "preset", "settings")  # the name of a file, or something else
KNOWN = (*OPTIONS, "settings", "report")
ENTRY = "coincide.cli.main:main"

if TYPE_CHECKING:
    Shared = RegisterOptions
else:
    # what register takes, whatever that is, but nothing by its place: the places are the table's
    Shared = make_dataclass(
        "Shared",
        [
            (
                f.name,
                str | None if f.name in ("fixed", "moving") else f.type,
                field(default=f.default),
            )
            for f in fields(RegisterOptions)
            if f.name != "out"
        ],
        frozen=True,
        namespace={"__doc__": RegisterOptions.__doc__, "__module__": __name__},
    )


def batch(
    pairs: Positional[Path],
    out: Path,
    options: Annotated[Shared, arg(name="")],
    jobs: int = 1,
    report: FlagConversionOff[bool] = True,
    page: FlagConversionOff[bool] = True,
) -> None:
    """Register many pairs, each into a folder of its own, and show them on one page.

    PAIRS is a CSV file. Its columns are `fixed`, `moving`, perhaps `name`, and any other option of
    `register`; paths are relative to the file. Options given here hold for all pairs that do not
    say otherwise.

    What is finished is not done again, unless the content of its files or its options have changed.
    A pair that fails does not stop the others; its error is in failed/ and in scores.csv. The batch
    may be stopped at any time, even killed, and started again with the same command.

        coincide batch pairs.csv --out cohort --jobs 4 --preset brain-mr

    Args:
        pairs: The table of pairs.
        out: Folder for a folder of each pair, scores.csv, report.html and failed/.
        options: Of all pairs that do not say otherwise.
        jobs: How many pairs at once. Each is a process with cores/jobs threads and memory of its
            own; for small images give the number of cores.
        report: Whether to write report.html for each pair.
        page: Whether to write report.html over all pairs.
    """
    shared = {k: str(v) for k, v in asdict(options).items() if v is not None}
    if not report:
        shared["report"] = "False"
    rows = read_rows(pairs, known=KNOWN, files=FILES, perhaps=PERHAPS, shared=shared)
    folder = CohortFolder(out)
    with folder.opened():
        with watched(len(rows)) as watch, Processes(ENTRY, min(jobs, len(rows))) as executor:
            table = run(rows, folder, executor, watch=watch)
        if page:
            _page(table, folder)
    failed = table.named("failed")
    print(f"wrote {len(rows) - len(failed)} of {len(rows)} pairs to {out}, scores in scores.csv")
    if failed:
        shown = ", ".join(failed[:5]) + (", …" if len(failed) > 5 else "")
        raise ValueError(
            f"{len(failed)} of {len(rows)} pairs failed ({shown}); see {out / 'failed'}"
        )


@contextmanager
def watched(total: int) -> Iterator[Callable[[Progress], None]]:
    """Show pairs as they end: a bar on a terminal, else a line each."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda progress: print(line(progress), file=sys.stderr, flush=True)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("pairs", total=total, left="")

        def watch(progress: Progress) -> None:
            left = "" if progress.left is None else f"about {duration(progress.left)} left"
            bar.update(task, completed=progress.ended, left=left)
            if progress.event in ("changed", "failed", "note") or progress.text[:4] == "made":
                console.print(line(progress), markup=False, highlight=False)

        yield watch


def line(progress: Progress) -> str:
    """What is said of a pair, such as `[3/20] a_to_b: done, 2.1 s; about 1 min left`."""
    joined = " " if progress.event == "changed" else ", "
    said = f"{progress.name}: " + joined.join(filter(None, (progress.event, progress.text)))
    left = "" if not progress.left else f"; about {duration(progress.left)} left"
    return f"[{progress.ended}/{progress.total}] {said}{left}"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Folders(Sequence[Registration]):
    """Finished pairs, read when the page comes to them: the memory of one, however many."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = folders

    def __len__(self) -> int:
        return len(self.folders)

    @overload
    def __getitem__(self, index: int) -> Registration: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Registration]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Folders(self.folders[index])
        return finished(self.folders[index])


def _page(table: Table, folder: CohortFolder) -> None:
    """The page over all pairs that are done; those whose images have moved away are named."""
    shown = []
    for name in table.named("done"):
        record = folder.record(name) or {}
        files = [one["file"] for one in record.get("inputs", {}).values()]
        if all(Path(file).exists() for file in files):
            shown.append(name)
        else:
            print(f"note: {name} is not on the page, as its images have moved", file=sys.stderr)
    if shown:
        write_report(
            _Folders([folder.path / name for name in shown]),
            folder.path / "report.html",
            scores=[folder.scores(name) for name in shown],
        )
