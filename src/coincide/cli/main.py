"""The `coincide` command."""

import contextlib
import difflib
import gc
import inspect as introspect
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version

import tyro

from coincide.cli.batch import batch
from coincide.cli.convert import convert
from coincide.cli.demo import demo
from coincide.cli.evaluate import evaluate
from coincide.cli.features import features
from coincide.cli.inspect import inspect
from coincide.cli.register import register
from coincide.cli.report import report
from coincide.cli.threads import limit_threads
from coincide.cli.train import train
from coincide.cli.warmup import warmup
from coincide.cli.warp import warp
from coincide.kernels.memory import keep_memory
from coincide.optimisers.progress import QUIET

COMMANDS = {
    "register": register,
    "batch": batch,
    "warp": warp,
    "evaluate": evaluate,
    "report": report,
    "features": features,
    "train": train,
    "convert": convert,
    "inspect": inspect,
    "demo": demo,
    "warmup": warmup,
}
EVERYWHERE = "With every command: --quiet (only errors and notes), --threads N, --help."
HELP = """\
usage: coincide COMMAND ... [--quiet] [--threads N]

Bring medical images of the same anatomy into one coordinate system.

commands:
{commands}

  coincide register t1.nii.gz t2.nii.gz --out t2_on_t1      any two contrasts, no settings needed

options:
  -h, --help     this page; after a command, all options of that command
  --version      print the version and stop
  --quiet        print no progress and no results, only errors and notes (to standard error)
  --threads N    use N processor cores; without it: all, or OMP_NUM_THREADS
  --tyro-print-completion {{bash,zsh,tcsh}}
                 print a script that completes commands and options in your shell

exit codes:
  0    the result was written and read back
  1    the input cannot be used, or something cannot be written; the message says what would work
  2    the command line is wrong
  3    a defect of the program; please report it
  4    register --strict: the two images do not agree better than by chance
  130  stopped by Ctrl-C; nothing half-written was left
  141  whoever read the output closed it (a broken pipe)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; see `HELP`."""
    keep_memory()
    gc.freeze()  # nothing imported becomes garbage, so neither the run nor its end looks there
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _told
            _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # so that a broken pipe is seen here
    except BrokenPipeError:
        # whatever Python still flushes at its end goes nowhere, instead of failing again
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, TypeError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"coincide: {error}", file=sys.stderr)
        sys.exit(1)
    except MemoryError:
        print(
            "coincide: not enough memory; crop the images or give --preset affine", file=sys.stderr
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("coincide: stopped; nothing half-written was left", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        print("coincide: this is a defect of the program; please report it", file=sys.stderr)
        sys.exit(3)


def _told(message: Warning | str, *_: object) -> None:
    """A warning as a note among the others."""
    print(f"note: {message}", file=sys.stderr)


def overview() -> str:
    """What `coincide --help` prints."""
    first = {name: (introspect.getdoc(f) or "").split("\n\n")[0] for name, f in COMMANDS.items()}
    lines = [f"  {name:<10} {' '.join(text.split())}" for name, text in first.items()]
    return HELP.format(commands="\n".join(lines))


def _run(arguments: list[str]) -> None:
    if any(word.startswith(("--tyro-print", "--tyro-write")) for word in arguments):
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="coincide", args=arguments)
        return
    arguments, quiet, threads = _everywhere(arguments)
    if not arguments:
        _wrong("a command is needed")
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(overview(), end="")
        sys.exit(0)
    if name == "--version":
        print(f"coincide {version('coincide')}")
        sys.exit(0)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        _wrong(f"there is no command {name!r}; {hint}known: {', '.join(COMMANDS)}")
    limit_threads(threads)
    command = COMMANDS[name]
    told = QUIET.set(quiet)
    silent = quiet and "--json" not in rest and "--help" not in rest
    try:
        with contextlib.ExitStack() as stack:
            if silent:
                nowhere = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            tyro.cli(
                command,
                prog=f"coincide {name}",
                description=f"{introspect.getdoc(command)}\n\n{EVERYWHERE}",
                args=rest,
            )
    finally:
        QUIET.reset(told)


def _everywhere(arguments: list[str]) -> tuple[list[str], bool, int | None]:
    """The arguments without those that every command takes, and what these said."""
    rest, quiet, threads = [], False, None
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--quiet":
            quiet = True
        elif name == "--threads":
            value = value if equals else next(words, "")
            if not value.isdigit() or int(value) < 1:
                _wrong(f"--threads takes a number from 1, not {value!r}")
            threads = int(value)
        else:
            rest.append(word)
    return rest, quiet, threads


def _wrong(message: str) -> None:
    print(f"coincide: {message}; see coincide --help", file=sys.stderr)
    sys.exit(2)
