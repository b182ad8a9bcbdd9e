"""Where to compute."""

import torch

from .errors import InputError

__all__ = ["torch_device"]


def torch_device(name: str | torch.device) -> torch.device:
    """A device that works here.

    Arguments:
        name: Such as `cpu`, `cuda` or `cuda:1`.

    Raises:
        InputError: if torch does not know it, or cannot use it on this machine.
    """
    try:
        found = torch.device(name)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"device: expected one that torch can use here, got {name!r} ({reason})") from None
    return found
