"""Peers: other registration packages from PyPI, side by side with Coincide on the same pairs.

- python benchmarks/peers.py install greedy ants
- python benchmarks/peers.py run --cases hcp-aligned --peers greedy coincide --repeats 3
- python benchmarks/peers.py report --page docs/benchmarks.md
"""

import argparse
import json
import os
import sys
from pathlib import Path

from cases import named
from catalogue import ENVIRONMENTS, PEERS, peer
from environments import HOME, install
from pairs import case, makers
from runs import Plan, record, run

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> None:
    """The program."""
    given = parser().parse_args(arguments)
    if given.do == "install":
        for environment in given.environments or ENVIRONMENTS:
            install(environment, given.home)
    elif given.do == "run":
        compare(given)
    else:
        from page import write

        write(given.out, given.page)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    doing = top.add_subparsers(dest="do", required=True)
    data = os.environ.get("COINCIDE_DATA") or ROOT.parent / "shared" / "data"

    one = doing.add_parser("install", help="make the environments of the peers")
    one.add_argument("environments", nargs="*", help=f"some of {', '.join(ENVIRONMENTS)}; or all")
    one.add_argument("--home", type=Path, default=HOME, help="where the environments are")

    two = doing.add_parser("run", help="register; what is finished is not repeated")
    two.add_argument("--cases", nargs="+", required=True, help="groups, or cases such as lung/1")
    two.add_argument("--peers", nargs="+", default=["coincide", *PEERS])
    two.add_argument("--repeats", type=int, default=3)
    two.add_argument("--threads", type=int, default=2)
    two.add_argument("--limit", type=float, default=3600.0, help="longest run, seconds")
    two.add_argument("--data", type=Path, default=Path(data), help="folder of real images")
    two.add_argument("--home", type=Path, default=HOME, help="where the environments are")

    three = doing.add_parser("report", help="write results.csv, a page and its pictures")
    three.add_argument("--page", type=Path, required=True, help="Markdown; pictures go beside it")
    for each in (two, three):
        each.add_argument("--out", type=Path, default=Path("bench"), help="folder of the results")
    return top


def compare(given: argparse.Namespace) -> None:
    """Round after round, every case by every peer, so that a slow hour hits all alike."""
    plan = Plan(given.out, given.home, given.threads, given.limit)
    names = named(given.cases, list(makers()))
    for name in given.peers:
        peer(name)  # say at once which are not known
    pairs = [case(name, given.data, given.out / "cases") for name in names]
    failed = set()
    for repeat in range(1, given.repeats + 1):
        for pair in pairs:
            for name in given.peers:
                if (name, pair.name) in failed or finished(given.out, name, pair.name, repeat):
                    continue
                row = run(plan, pair, name, repeat)
                if row["failed"]:
                    failed.add((name, pair.name))
                print(line(row), flush=True)


def finished(out: Path, name: str, case: str, repeat: int) -> bool:
    """Whether a run need not be repeated; one that failed is tried again."""
    path = record(out, name, case, repeat)
    return path.exists() and not json.loads(path.read_text("utf-8"))["failed"]


def line(row: dict) -> str:
    """One run, for the terminal."""
    start = f"{row['case']} {row['peer']} {row['repeat']}:"
    if row["failed"]:
        return f"{start} failed: {row['failed']}"
    scores = ", ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
    return f"{start} {row['seconds']:.1f} s, {row['peak']:.1f} GB, {scores}"


if __name__ == "__main__":
    main(sys.argv[1:])
