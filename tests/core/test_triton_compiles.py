"""The kernels in machine code for GPUs that are not here: what the interpreter cannot see."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tupe_plugin.core import triton_attention_launch as launch
from tupe_plugin.core.triton_attention_launch import arguments, run, strided

pytestmark = pytest.mark.slow
ARCHITECTURE = 80  # the oldest with bfloat16
SHARED_MEMORY = 99 * 1024  # bytes that a block can have on every card from sm_80 on


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What is launched is compiled and kept here instead."""
    triton = pytest.importorskip("triton", reason="the package triton is not installed (286 MB)")
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import JITFunction

    target = GPUTarget("cuda", ARCHITECTURE, 32)
    driver = SimpleNamespace(
        get_current_target=lambda: target,
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    found: dict[str, Any] = {}
    of_triton = JITFunction.run

    def compile_only(self: Any, *args: Any, warmup: bool, **options: Any) -> None:
        found[self.fn.__name__] = of_triton(self, *args, warmup=True, **options)

    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(launch, "why_not_triton", lambda *_: None)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    # As `set_active` does; `reset_active` would look for a GPU.
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    return found


def test_kernels_compile_without_atomics_and_fit_into_shared_memory(
    compiled: dict[str, Any],
) -> None:
    batch, heads, seq, head_dim, dtype = 2, 12, 512, 64, torch.bfloat16

    def empty(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    query, key, value = empty(batch, seq, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    bias, padding = empty(heads, seq, seq), empty(batch, seq, dtype=torch.bool)
    seed = empty(1, dtype=torch.int64)
    call = arguments(query, key, value, bias, padding, True, seed, dropout_p=0.1, scale=0.1)
    rows = empty(batch, heads, seq, dtype=torch.float32)
    run("forward", call, over="queries", **strided(out=query), logsumexp=rows)
    call |= {**strided(out_gradient=query), "logsumexp": rows, "deltas": rows}
    own = strided(out=query, query_gradient=query)
    run("gradient_of_queries", call, over="queries", **own)
    own = strided(key_gradient=key, value_gradient=value)
    run("gradient_of_keys_and_values", call, over="keys", **own)
    order = {name: empty(batch, dtype=torch.int32) for name in ("by_length", "longer")}
    run("gradient_of_bias", call, over="bias", bias_gradient=bias, sentences=batch, **order)

    assert len(compiled) == 4
    for name, kernel in compiled.items():
        assert kernel.metadata.shared <= SHARED_MEMORY, name
        assert re.search(r"\b(atom|red)\.", kernel.asm["ptx"]) is None, name
