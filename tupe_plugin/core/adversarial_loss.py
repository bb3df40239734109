"""One adversarial step of any model: how to predict, and the loss of a given prediction.

    loss = adversarial_loss(adversary, site, predict, loss, tokens=tokens, parameters=...)
    loss.total.backward()

``adversarial.py`` decides which passes there are and ``noise_sites.py`` where their noise enters;
here they become passes of the user's model, which draw the same dropout masks
(``replayed_randomness.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from .adversarial import AdversarialLoss, Adversary, Pass, Passes
from .noise_sites import NoiseSite
from .perturbation import Noise
from .reduction import summands, wide
from .replayed_randomness import ReplayedRandomness


def adversarial_loss(
    adversary: Adversary,
    site: NoiseSite,
    predict: Callable[[], Tensor],
    loss: Callable[[Tensor], Tensor],
    *,
    tokens: Tensor,
    parameters: Iterable[Tensor],
    reduction: str = "mean",
    last: Callable[[], Tensor] | None = None,
    growth: float = 1.0,
) -> AdversarialLoss:
    """The loss of a batch with adversarial noise; go backward through its ``total`` once.

    Args:
        adversary: the method, of ``adversarial.py``.
        site: where its noise enters the model.
        predict: a pass of the batch through the model: ``(rows, classes)``.
        loss: of a prediction, a number.
        tokens: the batch as the model sees it, ``(batch, seq)``.
        parameters: of the model, heads included; those that train get their gradient.
        reduction: whether ``loss`` is the ``mean`` over the rows or the ``sum``; so is the result.
        last: the last pass, if another: a wrapper for several workers, such as
            ``DistributedDataParallel``, prepares its all-reduce in each pass, so ``predict`` must
            go around it and ``last`` through it.
        growth: share of its size that the noise has at this step, 0 to 1; such as the share of the
            warm-up that is over.

    Raises:
        ValueError: ``reduction`` is neither, ``growth`` is out of bounds, nothing trains, the site
            takes sizes in another unit than the method has them, or has no way to the prediction.
    """
    if not 0 <= growth <= 1:
        raise ValueError(f"growth={growth}: give a number from 0 to 1")
    trained = tuple(p for p in parameters if p.requires_grad)
    if not trained:
        raise ValueError("parameters: none of them trains; give model.parameters()")
    randomness, factor = ReplayedRandomness(tokens.device), 1
    space = site.space(tokens)._replace(growth=growth)
    of_site = "absolute" if space.unit is None else "relative"
    if adversary.unit not in (None, of_site):
        raise ValueError(
            f"the method's sizes are {adversary.unit} and the site's {of_site}: make both with the "
            "same settings"
        )

    def run(predict: Callable[[], Tensor], noise: Noise | None) -> Pass:
        nonlocal factor
        entering = site.entering(None if noise is None else space.in_model(noise))
        with randomness.replay(), entering:
            prediction = wide(predict())
        factor = summands(prediction, reduction)
        return Pass(prediction, _times(loss(prediction), factor))

    made = adversary(
        Passes(
            inner=lambda noise: run(predict, noise),
            last=lambda noise: run(last or predict, noise),
            parameters=trained,
        ),
        space,
        randomness.separate_generator(),
    )
    task = None if made.task is None else _times(made.task, 1 / factor)
    return AdversarialLoss(
        _times(made.total, 1 / factor), task, _times(made.adversarial, 1 / factor)
    )


def _times(value: Tensor, factor: float) -> Tensor:
    return value if factor == 1 else value * factor
