"""The `coincide` command."""

import gc
import sys
import traceback
from collections.abc import Sequence

import tyro

from coincide.cli.batch import batch
from coincide.cli.convert import convert
from coincide.cli.demo import demo
from coincide.cli.evaluate import evaluate
from coincide.cli.inspect import inspect
from coincide.cli.register import register
from coincide.cli.report import report
from coincide.cli.warmup import warmup
from coincide.cli.warp import warp
from coincide.kernels.memory import keep_memory

COMMANDS = {
    "register": register,
    "batch": batch,
    "warp": warp,
    "evaluate": evaluate,
    "report": report,
    "convert": convert,
    "inspect": inspect,
    "demo": demo,
    "warmup": warmup,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring medical images of the same anatomy into one coordinate system.

    Exit codes: 0 the result was written and read back; 1 the input cannot be used or something
    could not be written (the message says what, and what would work); 2 the command line is wrong.
    """
    keep_memory()
    gc.freeze()  # nothing imported becomes garbage, so neither the run nor its end looks there
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="coincide",
            description=main.__doc__,
            args=arguments,
            sort_subcommands=False,
        )
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
