"""The implicit family beside compositive and B-splines: one table a part, one process a row.

    python benchmarks/implicit.py timings
    python benchmarks/implicit.py lung --rows "siren, preset idir" "cycle, preset cycle"
    python benchmarks/implicit.py starts --list

`COINCIDE_DATA` or `--data` names the folder of real images. Rows run one after the other with one
thread; seconds are those of the processor, of the fit alone, GB the peak of the process at its end.
"""

import argparse
import importlib
import json
import os
from pathlib import Path

from implicit_rows import Folders, alone, table

PARTS = ("timings", "starts", "qc", "lung", "warps", "brains", "cardiac", "series")


def main(given: list[str] | None = None) -> None:
    """Print the table of a part."""
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    read.add_argument("part", choices=PARTS)
    read.add_argument("--rows", nargs="*", help="which; without, all but the long")
    read.add_argument("--data", type=Path, default=os.environ.get("COINCIDE_DATA"))
    read.add_argument("--work", type=Path, default=Path("benchmark"))
    read.add_argument("--list", action="store_true", help="the rows there are, and stop")
    read.add_argument("--alone", action="store_true", help="one row in this process, as JSON")
    asked = read.parse_args(given)
    part = importlib.import_module(f"implicit_{asked.part}")
    usual = [row for row in part.ROWS if row not in getattr(part, "LONG", ())]
    wanted = asked.rows or usual
    unknown = [row for row in wanted if row not in part.ROWS]
    if unknown:
        read.error(f"{asked.part} has no row {unknown[0]!r}; it has: {', '.join(part.ROWS)}")
    if asked.list:
        print("\n".join(part.ROWS))
        return
    if asked.data is None:
        read.error("say where the images are: --data FOLDER, or COINCIDE_DATA")
    folders = Folders(Path(asked.data), asked.work)
    if asked.alone:
        print(json.dumps(part.ROWS[wanted[0]](folders)))
        return
    found = {}
    for row in wanted:
        found[row] = alone(asked.part, row, folders)
        print(row, json.dumps(found[row]), flush=True)
    print(table(part.told(found)))


if __name__ == "__main__":
    main()
