"""A local model's samples: of the right probabilities, the same in every batch, with their log-probs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopPLogitsWarper

from seelevel.images import open_image
from seelevel.models import load_model
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.chat_template import render
from seelevel.models.decoding import Choice, inverted
from seelevel.models.local import LocalModel
from tests.training.tiny import make_picture, save_model

WARM = Sampling(max_new_tokens=12, temperature=1.3, seed=3)


@pytest.mark.unit
class TestDraws:
    def test_tokens_are_drawn_as_often_as_they_are_likely(self) -> None:
        probabilities = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.3])
        even = (torch.arange(10_000, dtype=torch.float64) / 10_000)[:, None]
        drawn = inverted(probabilities.log().expand(10_000, 5), even)
        counts = torch.bincount(drawn[:, 0], minlength=5) / 10_000
        assert torch.allclose(counts, probabilities, atol=2e-4)

    def test_unlikely_tokens_keep_their_share(self) -> None:
        """A third of the mass on 100,000 tokens, each of which would add nothing to a sum in float32."""
        logits = torch.full((1, 100_001), -20.0)
        logits[0, 0] = torch.tensor(2e5).log() - 20
        even = (torch.arange(300, dtype=torch.float64) / 300)[:, None]
        drawn = inverted(logits.expand(300, -1), even)
        assert int((drawn > 0).sum()) in (99, 100)

    def test_the_tokens_that_may_be_drawn_are_those_of_transformers(self) -> None:
        logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
        ids = torch.zeros(1, 1, dtype=torch.long)
        for more, warper in (({"top_p": 0.6}, TopPLogitsWarper(0.6)), ({"min_p": 0.2}, MinPLogitsWarper(0.2))):
            kept = warper(ids, TemperatureLogitsWarper(1.5)(ids, logits))
            allowed = {int(n) for n in kept[0].isfinite().nonzero()}
            sampling = Sampling(max_new_tokens=1, temperature=1.5, **more)
            choice = Choice(sampling, [], range(600))
            drawn = set(choice(ids, logits.expand(600, -1)).argmax(dim=-1).tolist())
            assert drawn == allowed and 2 < len(allowed) < 40

    def test_the_log_prob_is_that_of_the_logits_as_they_came(self) -> None:
        logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
        choice = Choice(Sampling(temperature=0.3, top_p=0.5, max_new_tokens=1), [], range(4))
        chosen = choice(torch.zeros(4, 1, dtype=torch.long), logits).argmax(dim=-1)
        plain = logits.log_softmax(dim=-1)[range(4), chosen]
        assert choice.means([1, 1, 1, 0])[:3] == pytest.approx(plain[:3].tolist())
        assert choice.means([1, 1, 1, 0])[3] is None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    return load_model(str(save_model(tmp_path_factory.mktemp("models") / "tiny")))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[Prompt]:
    """Four samples each of prompts of other lengths, with none, one and two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    pictures = [make_picture(folder, seed) for seed in range(3)]
    asked = [
        ("Is there a boat?", pictures[:1]),
        ("Describe the picture. " * 6, pictures[1:2]),
        ("Two small dogs and a large tree.", []),
        ("What colour is the bicycle?", pictures[1:]),
    ]
    made = [Prompt([{"role": "user", "content": "<image>\n" * len(images) + text}], images) for text, images in asked]
    return [replace(prompt, sample=n) for prompt in made for n in range(4)]


def answers(model: LocalModel, prompts: list[Prompt], batch_size: int, **changes: Any) -> list[Completion]:
    before, model.batch_size = model.batch_size, batch_size
    try:
        return model.generate(prompts, WARM.model_copy(update=changes))
    finally:
        model.batch_size = before


def test_samples_are_the_same_in_every_batch(model: LocalModel, prompts: list[Prompt]) -> None:
    whole = answers(model, prompts, 128)
    assert len({completion.text for completion in whole}) == len(prompts)
    for size in (1, 3):
        assert answers(model, prompts, size) == whole
    assert answers(model, prompts, 128, seed=4) != whole


def test_samples_move_nobodys_random_numbers(model: LocalModel, prompts: list[Prompt]) -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    answers(model, prompts[:4], 4)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "changes", [{}, {"top_p": 0.7, "repetition_penalty": 1.3}, {"min_p": 0.1}, {"temperature": 0.0}]
)
def test_log_probs_are_those_of_a_plain_forward_pass(
    model: LocalModel, prompts: list[Prompt], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each row alone, without padding and cache, over its tokens up to the end."""
    rows: list[list[int]] = []
    generate = model.model.generate

    def spied(**inputs: Any) -> Any:
        out = generate(**inputs)
        rows.append(out[0, inputs["input_ids"].shape[1] :].tolist())
        return out

    monkeypatch.setattr(model.model, "generate", spied)
    for prompt in prompts[::3]:
        (alone,) = answers(model, [prompt], 1, **changes)
        row = rows.pop()[: alone.tokens]
        text = render(prompt.messages, model.processor, answer_next=True)
        pictures = {"images": [open_image(path) for path in prompt.images]} if prompt.images else {}
        inputs = model.processor(text=[text], return_tensors="pt", **pictures)
        ids = torch.cat([inputs["input_ids"], torch.tensor([row])], dim=1)
        images = {"pixel_values": inputs["pixel_values"]} if prompt.images else {}
        with torch.inference_mode():
            logprobs = model.model(input_ids=ids, **images).logits[0].double().log_softmax(dim=-1)
        given = logprobs[-len(row) - 1 : -1].gather(1, torch.tensor(row)[:, None])
        assert alone.logprob == pytest.approx(float(given.mean()), abs=1e-5)


def test_log_probs_do_not_depend_on_the_batch(model: LocalModel, prompts: list[Prompt]) -> None:
    together = [completion.logprob for completion in answers(model, prompts, 128)]
    assert [completion.logprob for completion in answers(model, prompts, 1)] == pytest.approx(together, abs=1e-5)


def test_beams_have_no_log_prob(model: LocalModel, prompts: list[Prompt]) -> None:
    (found,) = model.generate(prompts[:1], Sampling(max_new_tokens=4, num_beams=2))
    assert found.logprob is None


def test_the_likeliest_answer_alone_has_no_log_prob(model: LocalModel, prompts: list[Prompt]) -> None:
    (wanted,) = answers(model, prompts[:1], 1, temperature=0.0)
    (found,) = answers(model, [replace(prompts[0], sample=None)], 1, temperature=0.0)
    assert found == wanted
    assert found.logprob is None and wanted.logprob is not None


def test_an_early_end_ends_the_mean(model: LocalModel, prompts: list[Prompt], tmp_path: Path) -> None:
    """The rows beside go on; what is written after the end counts for nothing."""
    whole = answers(model, prompts[:4], 4)
    ends = model.model.generation_config.eos_token_id
    try:
        model.model.generation_config.eos_token_id = list(range(6, 40))
        early = answers(model, prompts[:4], 4)
        alone = [answers(model, prompts[:4], 1)[n].logprob for n in range(4)]
    finally:
        model.model.generation_config.eos_token_id = ends
    assert any(completion.tokens < 12 for completion in early)
    assert [completion.logprob for completion in early] == pytest.approx(alone, abs=1e-5)
    assert whole != early
