"""Team: the processes that train one network, each on a device of its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Team:
    """One process alone, which is its own leader.

    Args:
        device: A torch device.
    """

    rank, size = 0, 1

    def __init__(self, device: str):
        self.device = torch.device(device)

    def mean(self, learned: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Give what is learned the mean gradient of all processes; the mean of their losses."""
        del learned
        return loss.detach()

    def told(self, number: float) -> float:
        """What the leader says, for all."""
        return number


class Several(Team):
    """Processes that Lightning Fabric has started and connects.

    The first call starts the others, which run the program that has made this call once more, from
    its beginning; all of them go on from here.

    Args:
        device: `cpu`, or `cuda` for as many GPUs.
        size: How many processes.

    Raises:
        ValueError: if Lightning Fabric is not installed, or there are not so many devices.
    """

    def __init__(self, device: str, size: int):
        try:
            from lightning_fabric import Fabric
        except ImportError as missing:
            raise ValueError(
                f"training on {size} devices takes lightning-fabric; install it by "
                "pip install 'coincide[training]'"
            ) from missing
        if device not in ("cpu", "cuda"):
            raise ValueError(
                f"several devices are counted from the first: device is cpu or cuda, not {device}"
            )
        if device == "cuda" and torch.cuda.device_count() < size:
            raise ValueError(
                f"{size} GPUs were asked for, and there are {torch.cuda.device_count()}"
            )
        self.fabric: Any = Fabric(accelerator=device, devices=size, strategy="ddp")
        self.fabric.launch()
        super().__init__(str(self.fabric.device))
        self.rank, self.size = self.fabric.global_rank, self.fabric.world_size

    def mean(self, learned: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Give what is learned the mean gradient of all processes; the mean of their losses."""
        made = [p.grad for p in learned if p.grad is not None]
        flat = torch.cat([loss.detach().reshape(1).to(made[0]), *(g.reshape(-1) for g in made)])
        flat = self.fabric.all_reduce(flat, reduce_op="mean")
        first, *rest = flat.split([1, *(g.numel() for g in made)])
        for gradient, mean in zip(made, rest, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return first[0]

    def told(self, number: float) -> float:
        """What the leader says, for all."""
        return float(self.fabric.broadcast(number))


def assembled(device: str, size: int) -> Team:
    """Who trains: this process alone, or as many as there shall be."""
    return Team(device) if size == 1 else Several(device, size)
