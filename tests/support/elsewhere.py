"""Tensors that say they are on a GPU, where there is none: who mixes devices is found out.

The numbers lie in host memory and are computed there, so results can be compared. What a GPU would
refuse is refused: operations on tensors of both places, and numpy() of what is elsewhere.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
# Operations that take tensors of both places on a real GPU as well.
COPIES = ("aten._to_copy", "aten.copy_")
# Of what is elsewhere, with indices or lengths in host memory.
INDEXED = ("aten.index.", "aten.index_put", "aten._index_put_impl", "aten._pack_padded_sequence")
# A number may be in host memory, but for these.
JOINING = ("aten.cat", "aten.stack")
# Composed of others in C++, which make their results where the numbers really are.
COMPOSED = ("pad_sequence", "_pad_packed_sequence")


class MixedDevices(RuntimeError):
    """An operation that a GPU would refuse."""


class Elsewhere(Tensor):
    """A tensor that says it is on a GPU."""

    here: Tensor
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        """Take a tensor in host memory."""
        made = Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), dtype=here.dtype, device="cpu"
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """Compute with the numbers; what comes out is elsewhere as well."""
        kwargs, name = kwargs or {}, str(func)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        # Formulas of derivatives make their zeros in C++ too.
        if torch._C._current_autograd_node() is None and not name.startswith(COPIES):
            checked = [args[0], *args[2:]] if name.startswith(INDEXED) else tensors
            _check_one_place(name, checked)
        if name.startswith("aten._pack_padded_sequence") and isinstance(args[1], Elsewhere):
            raise MixedDevices(f"{name}: lengths that are elsewhere")
        with _disable_current_modes():
            found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        if name.startswith("aten._local_scalar_dense"):
            return found
        if name.startswith("aten._pack_padded_sequence"):
            return Elsewhere(found[0]), found[1]
        # What an operation in place returns is what it was given.
        given = {id(x.here): x for x in tensors if isinstance(x, Elsewhere)}
        given |= {id(x): x for x in tensors if not isinstance(x, Elsewhere)}
        return tree_map(lambda x: given.get(id(x)) if id(x) in given else _there(x), found)


def _check_one_place(name: str, values: list[Any]) -> None:
    tensors = [x for x in tree_leaves(values) if isinstance(x, Tensor)]
    for x in tensors:
        if not isinstance(x, Elsewhere) and (x.dim() or name.startswith(JOINING)):
            shapes = [(type(each).__name__, tuple(each.shape)) for each in tensors]
            raise MixedDevices(f"{name}: {shapes}")


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, there):
        """Copy to the other place."""
        copied = _here(tensor).clone()
        return Elsewhere(copied) if there else copied

    @staticmethod
    def backward(ctx, gradient):
        """Copy back: a leaf may be in either place."""
        return gradient, None


class Placing(TorchFunctionMode):
    """Inside, a device `cuda` is where `Elsewhere` tensors are."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Put the results of functions that are told a device where they belong."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "__get__":
            return func(*args, **kwargs)
        own = isinstance(args[0], Elsewhere) if args else False
        if name in ("cpu", "cuda"):
            return _move(args[0], name == "cuda")
        if name == "numpy" and own:
            raise MixedDevices("numpy() of a tensor that is elsewhere")
        if name in ("tolist", "item", "__format__") and own:
            return func(args[0].here, *args[1:], **kwargs)
        if name == "one_hot":
            return _move(func(_here(args[0]), *args[1:], **kwargs), own)
        device, rest = kwargs.pop("device", None), list(args)
        if name == "to":
            named = [x for x in rest[1:] if isinstance(x, str | torch.device)]
            device = named[0] if named else device
            rest = [rest[0], *(x for x in rest[1:] if not isinstance(x, str | torch.device))]
            kwargs.pop("non_blocking", None)
            found = func(*rest, **kwargs) if len(rest) > 1 or kwargs else rest[0]
        else:
            found = func(*rest, **kwargs)
        if name in COMPOSED:
            some = any(isinstance(x, Elsewhere) for x in tree_leaves(args))
            first, *more = found if isinstance(found, tuple) else (found,)
            moved = _move(first, some)
            return (moved, *more) if isinstance(found, tuple) else moved
        if device is None:
            return found
        return _move(found, torch.device(device).type == "cuda")


def move(module: nn.Module) -> nn.Module:
    """Move a module's weights elsewhere, in place."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                moved = nn.Parameter(Elsewhere(weight.data), weight.requires_grad)
                part._parameters[name] = moved
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Elsewhere(buffer)
        if isinstance(part, nn.RNNBase):
            part._flat_weights = [getattr(part, name) for name in part._flat_weights_names]
    return module


def _move(value: Any, there: bool) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, Elsewhere) == there:
        return value
    if value.requires_grad:
        return _Moved.apply(value, there)
    return Elsewhere(value) if there else value.here


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


def _there(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) else value
