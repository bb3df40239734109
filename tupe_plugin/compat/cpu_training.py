"""fairseq takes for granted that half precision and several workers mean CUDA."""

from __future__ import annotations

import functools
import threading
from typing import Any

from .module_view import ModuleView


def wrap_cpu_models_without_device_ids(distributed_fairseq_model: Any) -> None:
    """`ValueError: DistributedDataParallel device_ids ... only works with single-device ... GPU`.

    Where: fairseq/models/distributed_fairseq_model.py:60.
    When: several workers train on CPU (`torchrun --nproc_per_node 2`, gloo).
    Fix: a module whose parameters are on the CPU is wrapped without device ids.
    Upstream: https://github.com/facebookresearch/fairseq/issues/2879
    """
    original = distributed_fairseq_model.DistributedDataParallel

    class DistributedDataParallel(original):  # type: ignore[misc, valid-type]
        def __init__(
            self, module: Any, device_ids: Any = None, output_device: Any = None, **options: Any
        ) -> None:
            if _on_cpu(module.parameters()):
                device_ids = output_device = None
            super().__init__(module, device_ids=device_ids, output_device=output_device, **options)

    distributed_fairseq_model.DistributedDataParallel = DistributedDataParallel


def flatten_fp16_parameters_on_cpu(fp16_optimizer: Any) -> None:
    """`AssertionError: Torch not compiled with CUDA enabled` from `--fp16`.

    Where: fairseq/optim/fp16_optimizer.py:38 asks for the current CUDA device. With a GPU in the
    machine and `--cpu` it is worse: the flat copy is filed under GPU 0, where lines 113 and 158 do
    not find it again (they look under the parameters' own device), and nothing is trained.
    When: `--fp16` without `--memory-efficient-fp16` on CPU.
    Fix: the device of parameters on the CPU has no index, and that, `None`, is where the flat copy
    is filed. The checkpoint has the same form as on a GPU.
    Upstream: https://github.com/facebookresearch/fairseq/issues/5296 (the message, with `--cpu`)
    """
    import torch

    mixin = fp16_optimizer._FP16OptimizerMixin
    original = mixin.build_fp32_params.__func__
    without_device = ModuleView(torch, cuda=ModuleView(torch.cuda, current_device=lambda: None))

    @functools.wraps(original)
    def build_fp32_params(cls: Any, args: Any, params: Any, flatten: bool = True) -> Any:
        params = list(params)
        if not (flatten and _on_cpu(params)):
            return original(cls, args, params, flatten=flatten)
        seen_by_fairseq = fp16_optimizer.torch
        fp16_optimizer.torch = without_device
        try:
            return original(cls, args, params, flatten=True)
        finally:
            fp16_optimizer.torch = seen_by_fairseq

    mixin.build_fp32_params = classmethod(build_fp32_params)


def survive_overflow_on_cpu(trainer: Any) -> None:
    """`AssertionError: Torch not compiled with CUDA enabled` at the first overflow of `--fp16`.

    Where: fairseq/trainer.py:992, `torch.tensor(0.0).cuda()`, a stand-in for the gradient's norm.
    When: `--fp16` on CPU; its loss scale overflows now and then by design.
    Fix: without CUDA that tensor stays where it is.
    """
    import torch

    def tensor(*args: Any, **options: Any) -> Any:
        value = torch.tensor(*args, **options)
        if not torch.cuda.is_available():
            value.cuda = lambda *_, **__: value  # type: ignore[method-assign]
        return value

    trainer.torch = ModuleView(torch, tensor=tensor)


def autocast_on_the_device_in_use(fairseq_task: Any) -> None:
    """`--amp` on CPU trains in float32 without a word; on a GPU it warns at every start.

    Where: fairseq/tasks/fairseq_task.py:514, `torch.cuda.amp.autocast(...)`.
    When: on CPU it has no effect; torch >= 2.4 deprecates that name.
    Fix: today's `torch.amp.autocast`, for the device that the model is on, in the precision that
    is torch's default there: float16 on CUDA, bfloat16 on CPU (which needs no loss scale).
    """
    import torch

    class DeviceOfModel(threading.local):
        name = "cuda"

    device = DeviceOfModel()
    original = fairseq_task.FairseqTask.train_step

    @functools.wraps(original)
    def train_step(self: Any, sample: Any, model: Any, *rest: Any, **named: Any) -> Any:
        device.name = next(model.parameters()).device.type
        return original(self, sample, model, *rest, **named)

    def autocast(enabled: bool = True) -> Any:
        return torch.amp.autocast(device.name, enabled=enabled)

    fairseq_task.FairseqTask.train_step = train_step
    amp = ModuleView(torch.cuda.amp, autocast=autocast)
    fairseq_task.torch = ModuleView(torch, cuda=ModuleView(torch.cuda, amp=amp))


def scale_gradients_on_the_device_in_use(amp_optimizer: Any) -> None:
    """`torch.cuda.amp.GradScaler is enabled, but CUDA is not available`, and a deprecation.

    Where: fairseq/optim/amp_optimizer.py:26.
    When: `--amp` on CPU; torch >= 2.4 deprecates that name.
    Fix: today's `torch.amp.GradScaler`, switched off where there is no CUDA: bfloat16 has the
    range of float32 and needs no loss scale.
    """
    import torch

    def grad_scaler(**options: Any) -> Any:
        if torch.cuda.is_available():
            return torch.amp.GradScaler("cuda", **options)
        return torch.amp.GradScaler("cpu", enabled=False)

    amp = ModuleView(torch.cuda.amp, GradScaler=grad_scaler)
    amp_optimizer.torch = ModuleView(torch, cuda=ModuleView(torch.cuda, amp=amp))


def _on_cpu(parameters: Any) -> bool:
    return all(parameter.device.type == "cpu" for parameter in parameters)
