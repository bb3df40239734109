"""A training step with adversarial noise, out of any plain criterion of fairseq.

The criterion computes the loss of each pass; `core/adversarial.py` decides which passes there are.
"""

from typing import Any

import torch

from ..core.adversarial import Pass, Passes
from ..core.bounds import flag
from ..core.divergence import Divergence, kl_divergence, squared_difference
from ..core.perturbation import Noise
from ..core.rdrop import twice
from ..core.replayed_randomness import ReplayedRandomness
from ._adversarial_methods import make_adversary
from ._adversarial_options import AdversarialConfig, make_site, settings_of
from ._answering_model import AnsweringModel
from ._doubled_batch import PlainLoss, doubled_batch_loss
from ._quiet_term import QuietTerm


class AdversarialStep:
    """Turns a plain criterion's training step into an adversarial one.

    Raises:
        ValueError: an option is out of bounds, or does not go with another.
    """

    def __init__(self, cfg: AdversarialConfig, *, regression: bool) -> None:
        self._settings = settings_of(cfg)
        self._alpha = cfg.rdrop_alpha
        self._copies = 2 if cfg.rdrop_alpha else 1
        self._rdrop_divergence: Divergence = squared_difference if regression else kl_divergence
        self._adversary = make_adversary(
            str(cfg.adv_method),
            self._settings,
            regression=regression,
            wrap=self._for_each_copy,
        )

        self._quiet_term = _quiet_term(str(cfg.adv_method), self._settings)

    def before_validation(self) -> None:
        """Say so if the noise changes nothing."""
        if self._quiet_term is not None:
            self._quiet_term.look()

    def loss(
        self, plain: PlainLoss, model: Any, sample: dict[str, Any]
    ) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        """What the criterion `plain` would return, with the adversarial loss."""
        bare = _unwrapped(model)
        site = make_site(self._settings, bare)
        tokens = sample["net_input"]["src_tokens"]
        if self._copies == 2:
            tokens = twice(tokens)
        randomness = ReplayedRandomness(tokens.device)
        reported: list[tuple[Any, dict[str, Any]]] = []

        def run(through: Any, noise: Noise | None) -> Pass:
            predictions: list[torch.Tensor] = []

            def answer(**arguments: Any) -> tuple[torch.Tensor, Any]:
                with site.entering(noise):
                    prediction, extra = through(**arguments)
                wide = torch.promote_types(prediction.dtype, torch.float32)
                predictions.append(prediction.to(wide))
                return predictions[0], extra

            with randomness.replay():
                loss, *report = self._plain(plain, AnsweringModel(bare, answer), sample)
            reported.append((report[0], report[1]))
            return Pass(predictions[0], loss)

        loss = self._adversary(
            Passes(inner=lambda noise: run(bare, noise), last=lambda noise: run(model, noise)),
            site.space(tokens),
            randomness.separate_generator(),
        )
        sample_size, log = reported[0]
        terms = {"adversarial_loss": loss.adversarial.data}
        if loss.task is not None:
            terms["task_loss"] = loss.task.data
            if self._quiet_term is not None:
                self._quiet_term.note(loss.total, loss.task)
        # A masked-LM batch without a masked token predicts all tokens, and none of them counts.
        total = loss.total * (sample_size > 0)
        return total, sample_size, {**log, "loss": total.data, **terms}

    def _for_each_copy(self, divergence: Divergence) -> Divergence:
        """Averaged over R-Drop's copies of the batch, as the plain losses are."""
        return lambda p, q: divergence(p, q) / self._copies

    def _plain(
        self, plain: PlainLoss, model: Any, sample: dict[str, Any]
    ) -> tuple[torch.Tensor, Any, dict[str, Any]]:
        if not self._alpha:
            return plain(model, sample)
        return doubled_batch_loss(
            plain, model, sample, alpha=self._alpha, divergence=self._rdrop_divergence
        )


def _quiet_term(method: str, settings: dict[str, Any]) -> QuietTerm | None:
    """None at radius or weight 0, which is plain training, and is meant to be."""
    if not settings["epsilon"] or not settings.get("weight", 1.0):
        return None
    raising = [
        flag(f"adv_{name}") for name in ("epsilon", "step_size", "weight") if name in settings
    ]
    return QuietTerm(
        f"--adv-method {method} with --adv-epsilon {settings['epsilon']:g}",
        f"raise {' or '.join(raising)}",
    )


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without the wrappers that reduce gradients over workers."""
    while "module" in model._modules:
        model = model._modules["module"]  # type: ignore[assignment]
    return model
