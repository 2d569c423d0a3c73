"""What makes the steps of nano's training."""

from __future__ import annotations

import pytest
import torch

from workers.nano.architecture import new_model
from workers.nano.heads import Heads
from workers.nano.optimisers import MATRIX_RATE, Muon, multiplies_bfloat16, optimisers, orthogonal


def random_matrix(*shape: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(shape, generator=torch.manual_seed(0)))


def muon(parameter: torch.nn.Parameter, rate: float) -> Muon:
    ours = Muon([parameter])
    ours.param_groups[0]["lr"] = rate
    return ours


def test_each_parameter_belongs_to_one_optimiser() -> None:
    model, heads = new_model(0), Heads()
    groups = [group for optimiser in optimisers(model, heads) for group in optimiser.param_groups]
    owned = [parameter.data_ptr() for group in groups for parameter in group["params"]]
    assert len(owned) == len(set(owned))
    assert set(owned) == {parameter.data_ptr() for parameter in [*model.parameters(), *heads.parameters()]}


@pytest.mark.parametrize("shape", [(24, 36), (36, 24)])
def test_matrices_are_optimised_as_pytorch_does(shape: tuple[int, int]) -> None:
    own = random_matrix(*shape)
    other = torch.nn.Parameter(own.detach().clone())
    theirs = torch.optim.Muon([other], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    ours = muon(own, 0.1)
    before = own.detach().clone()
    for _ in range(3):
        for parameter, optimiser in ((own, ours), (other, theirs)):
            optimiser.zero_grad()
            (parameter**3).sum().backward()
            optimiser.step()
    assert float((own.detach() - before).norm()) > 1
    torch.testing.assert_close(own, other, atol=0.01, rtol=0.01)  # bfloat16 there, float32 here


def test_kernels_are_optimised_as_the_matrices_they_are() -> None:
    kernel = random_matrix(6, 4, 3, 3)
    matrix = torch.nn.Parameter(kernel.detach().flatten(1).clone())
    before = kernel.detach().clone()
    for parameter in (kernel, matrix):
        (parameter**3).sum().backward()
        muon(parameter, MATRIX_RATE).step()
    assert (kernel != before).all()
    torch.testing.assert_close(kernel.flatten(1), matrix)


@pytest.mark.parametrize("shape", [(3, 20, 32), (3, 32, 20)])
def test_all_directions_of_a_step_are_alike(shape: tuple[int, int, int]) -> None:
    made = orthogonal(torch.randn(shape, generator=torch.manual_seed(0)) * 100)
    sizes = torch.linalg.svdvals(made)
    assert 0.5 < float(sizes.min()) < float(sizes.max()) < 1.5


def test_a_step_can_ask_for_its_gradients() -> None:
    asked, before = random_matrix(4, 6), random_matrix(4, 6)

    def loss() -> torch.Tensor:
        found = (asked**3).sum()
        found.backward()
        return found

    assert float(muon(asked, 0.1).step(loss)) == float((before**3).sum())
    assert (asked != before).all()


def test_what_has_no_gradient_stays_as_it_is() -> None:
    matrix = random_matrix(4, 6)
    before = matrix.detach().clone()
    muon(matrix, 0.1).step()
    assert (matrix == before).all()


@pytest.mark.parametrize(
    ("has", "expected"), [({"avx512_f": True}, False), ({"avx512_bf16": True}, True), ({"bf16": True}, True)]
)
def test_bfloat16_is_only_for_processors_that_have_it(
    has: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: has)
    assert multiplies_bfloat16(torch.device("cpu")) == expected
