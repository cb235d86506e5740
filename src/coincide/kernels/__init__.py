"""Kernels: the hot loops of the package, one folder each.

| file of a folder | what it holds |
|---|---|
| `__init__.py` | the interface: what is computed, from what, with which gradients |
| `torch.py` | it in torch operations: what the others must agree with, and the way on any device |
| `numba.py`, `loops.py` | it for the CPU: tensors made into arrays, and compiled loops on them |
| `triton.py` | it for CUDA, compiled by Triton; where asked for |

`backend` decides which of them answers a call. A folder without `torch.py` has loops alone; what
it is given is copied to the CPU, and no gradient comes back.

The files of a folder are modules of their own, so an interface must not `import torch`: the name
would come to mean the folder's `torch.py` as soon as that is loaded. It takes what it needs by
`from torch import ...`.
"""
