import os
import subprocess
import sys

import pytest
from interpreted import VARIABLE

pytestmark = pytest.mark.triton

# The interpreter takes what the compiler refuses; compiling needs no GPU.
COMPILE = """
from importlib import import_module
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton import JITFunction, compile
from coincide.kernels.triton_launch import SIZES

KINDS = {"offsets": "*i32", "tables": "*fp64", **dict.fromkeys(SIZES, "i32")}
CONSTANTS = {"BLOCK": 256, "DIM": 3, "COPIES": 32}
for room in ("warp", "update", "smooth", "lncc", "mind", "histogram"):
    module = import_module(f"coincide.kernels.{room}.triton")
    for name, kernel in vars(module).items():
        if not isinstance(kernel, JITFunction) or not kernel.do_not_specialize:
            continue
        types, constants = {}, {}
        for p in kernel.params:
            types[p.name] = "constexpr" if p.is_constexpr else KINDS.get(p.name, "*fp32")
            if p.is_constexpr:
                constants[(p.num,)] = CONSTANTS.get(p.name, True)
        source = ASTSource(fn=kernel, signature=types, constexprs=constants)
        compiled = compile(source, target=GPUTarget("cuda", 90, 32))
        print(room, name, len(compiled.asm["cubin"]))
"""


def test_every_kernel_compiles_for_an_h100():
    pytest.importorskip("triton", exc_type=ImportError)
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    sizes = {tuple(line.split()[:2]): int(line.split()[2]) for line in done.stdout.splitlines()}
    assert len(sizes) == 18
    assert min(sizes.values()) > 1000
