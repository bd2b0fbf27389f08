"""A throwaway LLaVA: a tokenizer trained on the spot, random weights, pictures of noise. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pictures
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.notes import RoundOf
from seelevel.training.packing import Batch

CORPUS = [
    "There is a red cup on the table in the kitchen.",
    "Two small dogs and a large tree are in the park.",
    "Describe the picture. What colour is the bicycle? Is there a boat?",
    "Yes, there is. No, there is not. The bicycle is blue; I see three birds.",
    "user assistant system Answer as well as you can.",
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SIDE, PATCH = 28, 7


def make_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=True)
    special = ["<pad>", "<|end|>", "<image>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        CORPUS * 4, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<pad>", extra_special_tokens={"image_token": "<image>"}
    )


def make_processor(template: str = TEMPLATE) -> LlavaProcessor:
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        pictures,
        make_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def make_model(
    processor: LlavaProcessor,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    text: type[PretrainedConfig] = LlamaConfig,
    **changes: Any,
) -> Any:
    """`text`, `changes`: another language model, other keys of its configuration."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=text(
            vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None, **sizes | changes,
        ),
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        image_seq_length=(SIDE // PATCH) ** 2,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config).to(dtype).eval()


def save_model(folder: Path, seed: int = 0) -> Path:
    processor = make_processor()
    make_model(processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_picture(folder: Path, seed: int) -> str:
    path = folder / f"picture-{seed}.png"
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Pictures.fromarray(pixels).save(path)
    return str(path)


ANSWERS = [
    "There is a red cup on the table.",
    "Two small dogs are in the park, I see three birds.",
    "Yes, there is.",
    "The bicycle is blue; there is not a boat in the kitchen.",
    "No, there is not.",
    "I see a large tree.",
]


def make_ladder(
    folder: Path, seed: int, k: int = 3, rounds: int = 1, conditions: bool = False, pictures: int = 1
) -> Ladder:
    """A ladder of K answers of one or several rounds; levels 0..K-1."""
    images = [Image(make_picture(folder, seed * 10 + n)) for n in range(pictures)]
    prompt: list[Message] = [{"role": "user", "content": "<image>\n" * pictures + "Describe the picture."}]
    responses = []
    for level in range(k):
        messages: list[Message] = []
        for number in range(rounds):
            if number:
                messages.append({"role": "user", "content": CORPUS[(level + number) % 4]})
            messages.append({"role": "assistant", "content": ANSWERS[(seed + 2 * level + number) % len(ANSWERS)]})
        condition = f"Answer {'well' if level == 0 else 'as you can'}." if conditions else ""
        responses.append(Response(messages, level, condition=condition))
    return Ladder(f"tiny-{seed}", images, prompt, responses)


def make_interaction(folder: Path, seed: int, k: int = 2, rounds: int = 3, conditions: bool = True) -> list[Ladder]:
    """An interaction as the stage `feedback` writes it: a ladder of K first answers, and one of each later answer."""
    first = make_ladder(folder, seed, k, conditions=conditions)
    ladders, history = [first], [*first.prompt, first.responses[-1].messages[0]]
    for number in range(1, rounds):
        history = [*history, {"role": "user", "content": CORPUS[number % len(CORPUS)]}]
        answer: Message = {"role": "assistant", "content": ANSWERS[(seed + number + 2) % len(ANSWERS)]}
        condition = f"Answer {number} well." if conditions else ""
        place = RoundOf(first.id, number)
        response = Response([answer], 0, condition=condition)
        ladders.append(Ladder(f"{first.id}#{number}", first.images, list(history), [response], round_of=place))
        history = [*history, answer]
    return ladders


def in_float64(batch: Batch) -> Batch:
    """A batch with its pictures in float64, as a model of that format computes on."""
    return with_pictures(batch, lambda value: value.double() if value.is_floating_point() else value)


def with_pictures(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """A batch with other pictures."""
    changed = [replace(s, images={name: change(value) for name, value in s.images.items()}) for s in batch.segments]
    return replace(batch, segments=tuple(changed))


def conversations(batch: Batch) -> list[list[list[tuple[int, bool]]]]:
    """Each ladder's responses as the model reads them: the tokens up to the last scored one, and whether each is
    scored, by the batch alone."""
    rows: list[list[list[int]]] = []
    for segment in batch.segments:
        begun = [rows[segment.parent][row] for row in segment.owner.tolist()] or [[] for _ in segment.mask]
        own = [ids[used == 1].tolist() for ids, used in zip(segment.input_ids, segment.mask, strict=True)]
        rows.append([before + tokens for before, tokens in zip(begun, own, strict=True)])
    longest: dict[tuple[int, int], list[int]] = {}
    scored: dict[tuple[int, int], set[int]] = {}
    for segment, begun in zip(batch.segments, rows, strict=True):
        for source, target in zip(segment.source.tolist(), segment.target.tolist(), strict=True):
            row, column = divmod(source, segment.mask.shape[1])
            seen = begun[row][: len(begun[row]) - int(segment.mask[row, column + 1 :].sum())]
            name = int(batch.ladder[target]), int(batch.response[target])
            longest[name] = max(longest.get(name, []), [*seen, int(batch.tokens[target])], key=len)
            scored.setdefault(name, set()).add(len(seen))
    return [
        [[(token, place in scored[n, k]) for place, token in enumerate(longest[n, k])] for k in range(size)]
        for n, size in enumerate(batch.sizes)
    ]
