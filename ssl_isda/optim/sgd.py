"""SGD that starts without PyTorch's compiler."""

from __future__ import annotations

import inspect
from typing import final

import torch


@final
class SGD(torch.optim.SGD):
    """``torch.optim.SGD``, the same in everything but that it leaves ``torch._dynamo`` unloaded.

    PyTorch wraps these methods to keep an optimizer out of compiled graphs, and the first call of a
    wrapper loads the compiler: about half of what a start costs after ``import torch``. What is
    compiled here are networks alone (``compile_networks``), so the plain methods do.
    """

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.SGD.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.SGD.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
