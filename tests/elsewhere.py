"""A pretend accelerator: tensors that say they are elsewhere, keep their values on the CPU, and refuse to meet others.

What a GPU would refuse is refused here: an operation on tensors of two devices (scalars without dimensions and indices
on the CPU excepted), a random generator of another device, NumPy's view of a tensor that is not on the CPU. The device is
called 'meta', the one of torch's own that needs no hardware; a tensor of that device without values is an error too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["NAME", "elsewhere"]

NAME = "meta"
COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
INDEXING = {
    torch.ops.aten.index.Tensor: (0,),  # which arguments must be on one device: not the indices
    torch.ops.aten.index_put.default: (0, 2),
    torch.ops.aten.index_put_.default: (0, 2),
    torch.ops.aten._index_put_impl_.default: (0, 2),
}


class Elsewhere(Tensor):
    """A tensor on the pretend device; its values are those of `here`."""

    here: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset(), "dtype": values.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, values.shape, device=NAME, **layout)
        tensor.here = values
        return tensor

    def tolist(self) -> list:
        return self.here.tolist()

    @classmethod
    def __torch_dispatch__(cls, op: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        return _run(op, args, kwargs or {})


def _is_elsewhere(device: object) -> bool:
    return device is not None and torch.device(device).type == NAME


def _refuse_mixtures(op: Callable, args: tuple, kwargs: dict) -> None:
    meeting = [args[i] for i in INDEXING.get(op, ()) if i < len(args)] if op in INDEXING else (args, kwargs)
    tensors = [x for x in tree_flatten(meeting)[0] if isinstance(x, Tensor)]
    away = [x for x in tensors if isinstance(x, Elsewhere)]
    local = [x for x in tensors if not isinstance(x, Elsewhere)]
    if any(x.device.type == NAME for x in local):
        raise RuntimeError(f"{op}: a tensor without values on the pretend device")
    written = op._schema.is_mutable and tensors and not isinstance(tensors[0], Elsewhere)
    away += [x for x in tree_flatten(args[1:2])[0] if isinstance(x, Elsewhere)] if op in INDEXING else []
    if away and (written or any(x.dim() for x in local)):
        raise RuntimeError(f"{op}: expected all tensors on one device, got {NAME} and cpu")
    generator = kwargs.get("generator")
    if isinstance(generator, torch.Generator) and (away or _is_elsewhere(kwargs.get("device"))):
        raise RuntimeError(f"{op}: expected a generator of device {NAME}, got one of {generator.device}")


def _run(op: Callable, args: tuple, kwargs: dict) -> object:
    """An operation on values, its results where they would be."""
    if op not in COPIES:
        _refuse_mixtures(op, args, kwargs)
    flat = tree_flatten((args, kwargs))[0]
    wrapped = {id(x.here): x for x in flat if isinstance(x, Elsewhere)}
    named = kwargs.get("device")
    away = bool(wrapped) if named is None else _is_elsewhere(named)
    if op == torch.ops.aten.copy_.default:
        away = isinstance(args[0], Elsewhere)
    kwargs = kwargs | ({"device": torch.device("cpu")} if _is_elsewhere(named) else {})
    values = op(*tree_map(_values, args), **tree_map(_values, kwargs))
    return tree_map(lambda x: _place(x, wrapped, away), values)


def _values(x: object) -> object:
    return x.here if isinstance(x, Elsewhere) else x


def _place(x: object, wrapped: dict[int, Elsewhere], away: bool) -> object:
    if not isinstance(x, Tensor):
        return x
    if id(x) in wrapped:  # changed in place
        assert wrapped[id(x)].shape == x.shape
        return wrapped[id(x)]
    return Elsewhere(x) if away else x


class _Factories(TorchFunctionMode):
    """`torch.tensor` copies its data to a device below what a dispatch mode sees; here it does so above."""

    def __torch_function__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and _is_elsewhere(kwargs.get("device")):
            device = kwargs.pop("device")
            return function(*args, **kwargs).to(device)
        return function(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, seen: list[Callable]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, op: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        result = _run(op, args, kwargs or {})
        if any(isinstance(x, Elsewhere) for x in tree_flatten((args, kwargs, result))[0]):
            self.seen.append(op)
        return result


@contextmanager
def elsewhere() -> Iterator[list[Callable]]:
    """The pretend device exists inside; yields a list that collects the operations that ran on it."""
    seen: list[Callable] = []
    with _Factories(), _Operations(seen):
        yield seen
