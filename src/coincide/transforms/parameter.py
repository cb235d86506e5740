"""Parameter: what a transform keeps of a tensor that it is given."""

from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
COMPUTED = "_computed"  # names of the tensors that a module holds with their graph


def set_parameter(transform: nn.Module, name: str, values: Tensor) -> None:
    """Give a transform a tensor that it can be trained through, or that can be optimised.

    What was computed, as by a network, is kept with its graph, so that gradients flow on to where
    it came from; anything else becomes a parameter of the transform. Under `torch.no_grad()`, as
    everywhere in torch, there is no graph to keep.

    Args:
        transform: Which receives it.
        name: Of the attribute.
        values: Any floating-point tensor.
    """
    if has_graph(values):
        # A buffer, not a plain attribute: it follows `.to(device)` and is in the state_dict, and
        # both leave the graph alone.
        transform.register_buffer(name, values)
        transform.__dict__.setdefault(COMPUTED, set()).add(name)
    else:
        setattr(transform, name, nn.Parameter(values.detach()))


def has_graph(values: Tensor) -> bool:
    """Whether a gradient would flow on from here to what the tensor was computed from."""
    return torch.is_grad_enabled() and values.grad_fn is not None


def laid_out(values: Tensor) -> Tensor:
    """The tensor to lay parameters out anew from, as on a finer grid.

    A parameter is started afresh from its values, since it is the new one that is optimised; what
    has a graph keeps it, as nothing else could be trained.
    """
    return values if has_graph(values) else values.detach()


def frozen_like(made: M, source: nn.Module) -> M:
    """`made`, whose parameters are frozen where those of the same name in `source` are.

    A parameter under a name that the source does not have is frozen if the whole source is. A
    source without any parameter, such as a part that lies on no grid yet, says nothing, and
    neither does one that was computed.
    """
    known = dict(source.named_parameters())
    if not known or any(held.requires_grad for held in source.buffers()):
        return made
    free = any(held.requires_grad for held in known.values())
    for name, parameter in made.named_parameters():
        if not (known[name].requires_grad if name in known else free):
            parameter.requires_grad_(False)
    return made


def released(transform: nn.Module) -> None:
    """Let go of every graph: what was computed becomes a parameter of the same values."""
    for module in transform.modules():
        computed = module.__dict__.pop(COMPUTED, set())
        for name, held in list(module.named_buffers(recurse=False)):
            if name in computed:
                delattr(module, name)
                setattr(module, name, nn.Parameter(held.detach()))
            elif held.grad_fn is not None:
                setattr(module, name, held.detach())
