"""The benchmark for CUDA runs from end to end on the CPU, and what it builds at full size is DeepSeek-OCR."""

from __future__ import annotations

import torch

from tests.benchmarks import engine_cuda


def test_the_benchmark_for_cuda_runs_with_a_small_model() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = engine_cuda.findings(torch.device("cpu"), tiny=True)
    torch.set_num_threads(threads)
    assert len(found) == 12
    assert all(finding.value > 0 for finding in found)


def test_the_full_size_model_has_the_published_size() -> None:
    model = engine_cuda.full_model(torch.device("meta"))
    assert round(sum(weight.nbytes for weight in model.parameters()) / 1e9, 2) == 6.67
    assert round(engine_cuda.bytes_per_step(model, 128, 0) / 1e9, 2) == 5.54  # every expert is hit
