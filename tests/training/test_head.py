"""The chunked head gives what the model's own logits give, values and gradients, and is never silently wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from seelevel.training import head as head_module
from seelevel.training import logprobs
from seelevel.training.head import head_logprobs, is_witness, output_head, without_head
from seelevel.training.logprobs import from_logits, token_logprobs
from seelevel.training.packing import Batch, pack
from tests.training.tiny import in_float64, make_ladder, make_model, make_processor


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture
def batch(processor: Any, tmp_path: Path) -> Batch:
    return in_float64(pack([make_ladder(tmp_path, 0, k=3), make_ladder(tmp_path, 1, k=2, rounds=2)], processor))


def model_of(kind: str, processor: Any) -> Any:
    model = make_model(processor, dtype=torch.float64)
    if kind == "tied":
        model.lm_head.weight = model.get_input_embeddings().weight
    if kind == "bias":
        model.lm_head = nn.Linear(32, len(processor.tokenizer), dtype=torch.float64)
    if kind == "lora":
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|down_proj)", init_lora_weights=False)
        model = get_peft_model(model, config).to(torch.float64)
    return model


def gradients(model: Any, values: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (values * torch.linspace(-1, 1, len(values), dtype=values.dtype)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kept", [0, 1 << 25])
@pytest.mark.parametrize("rows", [1, 7, 10_000])
@pytest.mark.parametrize("kind", ["full", "tied", "bias", "lora"])
def test_log_probs_and_every_gradient_are_those_of_the_whole_logits(
    processor: Any, batch: Batch, monkeypatch: pytest.MonkeyPatch, kind: str, rows: int, kept: int
) -> None:
    model = model_of(kind, processor)
    plain = from_logits(model, batch)
    expected = gradients(model, plain)
    monkeypatch.setattr(head_module, "HEAD_CHUNK", rows * len(processor.tokenizer))
    monkeypatch.setattr(head_module, "HEAD_KEPT", kept)
    monkeypatch.setattr(logprobs, "from_logits", None)  # so that nothing falls back unseen
    chunked = token_logprobs(model, batch).values
    assert torch.allclose(chunked, plain, rtol=1e-9, atol=0)
    found = gradients(model, chunked)
    assert found.keys() == expected.keys()
    assert ("lm_head.weight" in found) is (kind in ("full", "bias"))
    total = torch.stack([g.norm() for g in expected.values()]).norm()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-15 * total, name


@pytest.mark.parametrize("kept", [0, 1 << 25])
def test_the_heads_own_derivatives_are_right(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(head_module, "HEAD_KEPT", kept)
    torch.manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (7, 3), (7,))
    )
    tokens, frozen = torch.tensor([0, 6, 3, 3, 1]), (weight.detach(), bias.detach())
    for rows in (1, 2, 5):
        assert torch.autograd.gradcheck(
            lambda h, w, b, r=rows: head_logprobs(h, w, b, tokens, r), (hidden, weight, bias)
        )
        assert torch.autograd.gradcheck(lambda h, r=rows: head_logprobs(h, *frozen, tokens, r), (hidden,))


@pytest.mark.parametrize("trained", [True, False])
def test_no_tensor_of_tokens_by_vocabulary_exists_forward_or_backward(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "HEAD_KEPT", 0)
    count, vocabulary, rows = 64, 512, 8
    hidden = torch.randn(count, 4, requires_grad=True)
    weight = torch.randn(vocabulary, 4, requires_grad=trained)
    tokens = torch.randint(0, vocabulary, (count,))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(
                [largest, *(o.numel() for o in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(o))]
            )
            return out

    with Watch():
        head_logprobs(hidden, weight, None, tokens, rows).sum().backward()
    assert largest == rows * vocabulary


class Capped(nn.Module):
    """A model that caps its logits, as Gemma does."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.config, self.dtype = inner, inner.config, inner.dtype

    def get_output_embeddings(self) -> Any:
        return self.inner.lm_head

    def forward(self, **inputs: Any) -> Any:
        out = self.inner(**inputs)
        out.logits = 30.0 * torch.tanh(out.logits / 30.0)
        return out


def test_a_model_that_caps_its_logits_is_found_out_and_its_own_are_used(
    processor: Any, batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Capped(make_model(processor, dtype=torch.float64))
    with torch.no_grad():
        # logits so small that the cap hardly shows in them
        model.inner.lm_head.weight *= 1e-3
        expected = from_logits(model, batch)
        for _ in range(2):
            assert torch.equal(token_logprobs(model, batch).values, expected)
    assert capsys.readouterr().err.count("Capped changes its logits after its head") == 1


@pytest.mark.parametrize(
    "change", [lambda x: x * 0.5, lambda x: x + 1, lambda x: x.index_fill(-1, torch.tensor(3), -9)]
)
def test_a_scale_a_shift_or_a_mask_of_one_token_shows_in_the_witness(change: Any) -> None:
    head = nn.Linear(4, 9)
    hidden = torch.randn(1, 3, 4)
    with without_head(head) as kept:
        logits = head(hidden)
    assert kept == [hidden]
    assert is_witness(head, logits) and not is_witness(head, change(logits))
    assert head(torch.randn(1, 3, 4)).shape == (1, 3, 9)  # and afterwards it is a head again


def test_bfloat16_log_probs_are_as_near_as_the_models_own(processor: Any, batch: Batch) -> None:
    exact = token_logprobs(make_model(processor, dtype=torch.float64), batch).values
    model = make_model(processor, dtype=torch.float32).to(torch.bfloat16)
    own, chunked = from_logits(model, batch), token_logprobs(model, batch).values
    assert chunked.dtype == own.dtype == torch.float32
    assert (chunked - exact).abs().max() <= 1.5 * (own - exact).abs().max()


def test_a_head_under_an_adapter_is_left_to_the_model(processor: Any) -> None:
    model = make_model(processor)
    assert output_head(model) is model.lm_head
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["lm_head"]))
    assert output_head(adapted) is None
