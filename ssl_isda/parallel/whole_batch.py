"""Layers that look beyond one image, made to act on the whole batch of all processes.

BatchNorm's statistics are those of all parts; a dropout mask is drawn for the whole batch, from which
a process takes its rows. A pass is then the same, to rounding, on any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_isda.parallel import distributed

Network = TypeVar("Network", bound=nn.Module)
_STREAMS: ContextVar[tuple[int, ...] | None] = ContextVar("streams", default=None)


def act_on_whole_batch(network: Network, *, synchronize_batchnorm: bool) -> Network:
    """Exchange the network's dropout and, if asked, BatchNorm layers; its state stays what it is."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, WholeBatchDropout(child.p))
            elif isinstance(child, nn.Dropout2d):
                setattr(module, name, WholeBatchDropout2d(child.p))
            elif isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)) and synchronize_batchnorm:
                setattr(module, name, _synchronized(child))
    return network


def _synchronized(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    twin: nn.Module
    if layer.weight.is_cuda:
        twin = nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    else:
        twin = WholeBatchNorm(layer.num_features, layer.eps, layer.momentum)
        twin.weight, twin.bias = layer.weight, layer.bias
        twin._buffers.update(layer._buffers)
    if hasattr(layer, "act"):  # timm's BatchNorms end with dropout and an activation
        twin.drop, twin.act = layer.drop, layer.act
        twin.register_forward_hook(_activated)
    return twin


def _activated(layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
    """A hook finds the parts in the layer itself, so that a copy of the layer has its own."""
    activated: Tensor = layer.act(layer.drop(output))  # type: ignore[operator]
    return activated


@contextmanager
def streams(*lengths: int) -> Iterator[None]:
    """Within the block a batch is several streams laid end to end, of which a process has these parts."""
    token = _STREAMS.set(lengths)
    try:
        yield
    finally:
        _STREAMS.reset(token)


def _rows(num_images: int, device: torch.device) -> Tensor:
    """Where this process's images stand in the whole batch."""
    rows, first = [], 0
    for length in _STREAMS.get() or (num_images,):
        begin = first + distributed.rank() * length
        rows.append(torch.arange(begin, begin + length, device=device))
        first += length * distributed.num_processes()
    return torch.cat(rows)


def uniform_for_each_image(batch: Tensor) -> Tensor:
    """A number from U(0, 1) for each image of ``batch``, (n, ...) to (n, 1, ...): the one that a single
    process would draw for it. The generator is torch's global one, as dropout's is."""
    drawn = torch.rand(distributed.whole(batch.shape)[0], device=batch.device)
    if distributed.num_processes() > 1:
        drawn = drawn.index_select(0, _rows(len(batch), batch.device))
    return drawn.to(batch.dtype).view(-1, *[1] * (batch.ndim - 1))


class WholeBatchDropout(nn.Dropout):
    """Dropout whose mask is the one that a single process would draw for all images."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        in_order = input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last)
        ones = torch.ones(
            distributed.whole(input.shape), dtype=input.dtype, device=input.device
        ).contiguous(memory_format=torch.channels_last if in_order else torch.contiguous_format)
        mask = F.dropout(ones, self.p).index_select(0, _rows(len(input), input.device))
        return input * mask


class WholeBatchDropout2d(nn.Dropout2d):
    """Dropout of whole maps, whose mask is the one that a single process would draw for all images."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape."""
        if not self.training or self.p == 0:
            return input
        shape = (*distributed.whole(input.shape)[:2], 1, 1)
        ones = torch.ones(shape, dtype=input.dtype, device=input.device)
        mask = F.dropout2d(ones, self.p).index_select(0, _rows(len(input), input.device))
        return input * mask


class WholeBatchNorm(_BatchNorm):
    """BatchNorm by the statistics of all processes' images, on a CPU (PyTorch has it for GPUs)."""

    def forward(self, input: Tensor) -> Tensor:
        r"""(n, c), or (n, c, h, w), to the same shape, normalized by mean and variance of each channel.

        Of R processes with equally many images, r with mean mu_r and biased variance v_r:

        .. math:: \mu = \frac1R \sum_r \mu_r, \qquad
            v = \frac1R \sum_r \big(v_r + (\mu_r - \mu)^2\big), \qquad
            y = \gamma \frac{x - \mu}{\sqrt{v + \epsilon}} + \beta

        In evaluation mode as PyTorch's does; frozen running statistics are left alone. Computed
        in fp32 or wider and given back in the type of ``input``. One message forward, one backward.

        Raises
        ------
        ProcessLost
            Another process has ended.

        Source: Ioffe & Szegedy, Batch Normalization, ICML 2015, Alg. 1, over all processes.
        """
        if not self.training:
            return super().forward(input)
        pixels = [dim for dim in range(input.ndim) if dim != 1]
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        own_mean = wide.mean(pixels)
        own_variance = (wide - _spread(own_mean, input)).square().mean(pixels)
        means, variances = _Gathered.apply(torch.stack([own_mean, own_variance])).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), input)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized = (wide - _spread(mean, input)) * _spread(scale, input) + _spread(
            self.bias, input
        )
        return normalized.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """PyTorch's evaluation asks; any number of dimensions will do."""

    def _follow(self, mean: Tensor, variance: Tensor, input: Tensor) -> None:
        """Running statistics, of which the variance is the unbiased one."""
        n = distributed.num_processes() * input.numel() // input.shape[1]
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        self.num_batches_tracked += 1


def _spread(channels: Tensor, batch: Tensor) -> Tensor:
    """One number a channel, to be combined with (n, channels, ...)."""
    return channels.view(1, -1, *[1] * (batch.ndim - 2))


class _Gathered(torch.autograd.Function):
    """The tensors of all processes, (processes, ...); the derivative is summed over their losses."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return distributed.gathered(value.unsqueeze(0))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return distributed.total(grads[0])[distributed.rank()]
