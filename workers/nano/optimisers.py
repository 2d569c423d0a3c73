"""What makes the steps of the training: Muon for matrices and kernels inside the model, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from workers.nano.heads import Heads

RATE, MATRIX_RATE = 1.5e-3, 2e-3
DECAY = 0.01
ITERATION, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
OUTSIDE = ("embed_tokens", "lm_head", "gate.weight", "patch_embed", "pos_embed", "position_embedding", "rel_pos")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for it: a processor that has not takes three times as long as with float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal, of matrices and of kernels (out, in, height, width) as matrices (out,
    in * height * width); source: https://kellerjordan.github.io/posts/muon/.

    `torch.optim.Muon` does the same for matrices, one at a time and always in bfloat16: where a processor has no
    instructions for that, it takes as long as all else in a step. This one takes those of one shape together.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, momentum: float = 0.95) -> None:
        super().__init__([{"params": list(parameters), "highest": MATRIX_RATE}], {"lr": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            updates: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gathered = self.state[parameter].setdefault("gathered", torch.zeros_like(parameter))
                gathered.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(gathered, group["momentum"]).flatten(1)
                updates[tuple(update.shape)].append((parameter, update))
            for shape, own in updates.items():
                rate = group["lr"] * 0.2 * max(shape) ** 0.5  # with it steps are as large as those of AdamW
                steps = orthogonal(torch.stack([update for _, update in own]))
                for (parameter, _), made in zip(own, steps, strict=True):
                    parameter.mul_(1 - group["lr"] * DECAY).add_(made.view_as(parameter), alpha=-rate)
        return loss


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (n, rows, columns) with all singular values brought near 1, by five Newton-Schulz iterations."""
    known = matrices.bfloat16() if multiplies_bfloat16(matrices.device) else matrices
    is_tall = known.shape[1] > known.shape[2]
    known = known.mT if is_tall else known
    known = known / known.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    once, thrice, five_times = ITERATION
    for _ in range(ITERATIONS):
        gram = known @ known.mT
        known = torch.baddbmm(known, torch.baddbmm(gram, gram, gram, beta=thrice, alpha=five_times), known, beta=once)
    return (known.mT if is_tall else known).to(matrices.dtype)


def optimisers(model: Any, heads: Heads) -> list[torch.optim.Optimizer]:
    """Those of a model in training and of its heads; "highest" in their groups is the rate that is not exceeded."""
    matrices: list[nn.Parameter] = []
    others = list(heads.parameters())
    for name, parameter in model.named_parameters():
        inside = not any(part in name for part in OUTSIDE)
        (matrices if inside and parameter.ndim in (2, 4) else others).append(parameter)
    rest = [{"params": others, "highest": RATE}]
    return [Muon(matrices), torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=DECAY)]
