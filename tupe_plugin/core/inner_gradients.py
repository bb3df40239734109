"""Gradients of inner passes: the noise's now, the parameters' for the trainer's one backward.

    loss = sum_t c_t L_t + c_K L_K,     g_t = c_t dL_t/dtheta  for the inner passes t < K
    grad loss = sum_t g_t + c_K dL_K/dtheta

Adversarial training needs the slope of an inner loss along its noise, and later the same loss's
slope along the parameters.  One backward gives both, and frees the pass's graph; the g_t wait here
as constants.  The trainer goes backward through the last pass and :meth:`KeptGradients.term`, a
zero with gradient sum_t g_t.  So its loss scale applies to all of them, several workers reduce
once, and no more than one graph is in memory.

Source: FreeLB (arXiv 1909.11764), algorithm 1, line 7, which adds the inner gradients up in
``grad``; there the loss scale and the all-reduce are the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .perturbation import Noise, NoiseSpace

CARRIED_WELL = 128.0
"""Largest gradient at the prediction of an inner backward; fairseq's first loss scale."""


class KeptGradients:
    """The sum of g_t so far.

    Args:
        parameters: that train; a pass need not use all of them.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = tuple(parameters)
        self._sums: list[Tensor | None] = [None] * len(self._parameters)

    def backward(
        self, loss: Tensor, prediction: Tensor, noise: Noise = (), space: NoiseSpace | None = None
    ) -> Noise:
        """Keep ``loss``'s gradient with respect to the parameters; give the noise's, its direction.

        Args:
            loss: scalar, c_t L_t.  Its graph is freed.
            prediction: ``(rows, classes)``, through which the loss depends on everything.
            noise: leaves that require a gradient, or none.
            space: of the noise; 0 is given where it does not allow noise.
        """
        gradients, factor = _scaled_gradients(loss, prediction, (*noise, *self._parameters))
        of_noise, of_parameters = gradients[: len(noise)], gradients[len(noise) :]
        for index, gradient in enumerate(of_parameters):
            if gradient is not None:
                self._add(index, gradient, factor)
        return () if space is None else allowed(of_noise, space)

    def term(self, like: Tensor) -> Tensor:
        """0, with the sum of the kept gradients; added to the loss that the trainer sees.

        Args:
            like: that loss; type and device are taken from it.
        """
        used = [
            (parameter, kept)
            for parameter, kept in zip(self._parameters, self._sums, strict=True)
            if kept is not None
        ]
        if not used:
            return like.new_zeros(())
        parameters, kept = zip(*used, strict=True)
        return _ZeroWithGradient.apply(like.new_zeros(()), kept, *parameters)

    def _add(self, index: int, gradient: Tensor, factor: Tensor) -> None:
        # In float32: of half-precision parameters the unscaled gradients would underflow.
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32)) / factor
        before = self._sums[index]
        self._sums[index] = wide if before is None else before.add_(wide)


class _ZeroWithGradient(torch.autograd.Function):
    """sum <theta, g> - its value: 0, whose gradient with respect to theta is the constant g."""

    @staticmethod
    def forward(ctx: Any, zero: Tensor, kept: tuple[Tensor, ...], *parameters: Tensor) -> Tensor:
        ctx.kept = kept
        ctx.dtypes = [parameter.dtype for parameter in parameters]
        return zero.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (scale,) = gradients
        pairs = zip(ctx.kept, ctx.dtypes, strict=True)
        return (None, None, *((kept * scale).to(dtype) for kept, dtype in pairs))


def noise_gradient(objective: Tensor, prediction: Tensor, noise: Noise, space: NoiseSpace) -> Noise:
    """Direction in which noise raises ``objective``: its gradient, but for a factor.

    No gradient of a parameter is computed.

    Args:
        objective: scalar.  Its graph is freed.
        prediction: ``(rows, classes)``, through which the objective depends on the noise.
        noise: leaves that require a gradient.
        space: 0 is given where it does not allow noise.
    """
    gradients, _ = _scaled_gradients(objective, prediction, noise)
    return allowed(gradients, space)


def allowed(gradients: Sequence[Tensor | None], space: NoiseSpace) -> Noise:
    """Gradients of noise, 0 where there may be none, and in a layer that the pass left out.

    Raises:
        ValueError: noise on words had no way to the prediction.
    """
    # Of words (batch, seq, embed): there is always a way.  Layers may all be dropped.
    if gradients[0] is None and space.allowed[0].dim() == 3:
        raise ValueError(
            "the noise does not reach the prediction: predict with the model that the site was "
            "made from, on token ids and not on embeddings"
        )
    return tuple(
        torch.zeros(mask.shape, dtype=space.dtype, device=mask.device)
        if gradient is None
        else gradient.masked_fill(~mask, 0.0)
        for gradient, mask in zip(gradients, space.allowed, strict=True)
    )


def _scaled_gradients(
    objective: Tensor, prediction: Tensor, inputs: Sequence[Tensor]
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    """Gradients times a factor, and the factor.

    The gradient is scaled where it enters the model, in float32, to a size that a half-precision
    backward carries without under- or overflow; by a power of two, which changes nothing else.
    """
    factors: list[Tensor] = []

    def carry_well(gradient: Tensor) -> Tensor:
        factor = torch.exp2(torch.floor(torch.log2(CARRIED_WELL / gradient.abs().amax())))
        factors.append(torch.where(factor.isfinite() & (factor > 0), factor, 1.0))
        return gradient * factors[-1]

    scaling = prediction.register_hook(carry_well)
    try:
        gradients = torch.autograd.grad(objective, inputs, allow_unused=True)
    finally:
        scaling.remove()
    return gradients, factors[0] if factors else prediction.new_ones(())
