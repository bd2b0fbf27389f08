"""Which tokens of a conversation are scored, one by one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from seelevel.errors import InputError
from seelevel.images import open_image
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.chat_template import chat_messages, render
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder, tokenise
from seelevel.training.prepare import special_token_in
from tests.real_processors.families import FAMILIES as REAL
from tests.training.tiny import TEMPLATE, make_ladder, make_picture, make_processor, make_tokenizer

pytestmark = pytest.mark.unit

LLAVA = (
    "{% for m in messages %}{{ m['role'] | upper }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@cache
def processor(template: str = TEMPLATE) -> Any:
    return make_processor(template)


def scored(ladder: Ladder, template: str = TEMPLATE) -> list[list[tuple[int, str]]]:
    """(round, text) of every scored token, a list a response."""
    tokens = tokenise(ladder, processor(template), ImageReader(processor(template)))
    decode = processor(template).tokenizer.decode
    return [
        [(int(r), decode([t])) for t, r in zip(ids, rounds, strict=True) if r != NOT_SCORED]
        for ids, rounds in zip(tokens.tokens, tokens.rounds, strict=True)
    ]


def answers(*texts: str, picture: str = "") -> Ladder:
    """A ladder of one-round answers."""
    prompt: list[Message] = [{"role": "user", "content": "<image>\nWhat is there?" if picture else "What is there?"}]
    responses = [Response([{"role": "assistant", "content": text}], n) for n, text in enumerate(texts)]
    return Ladder("one", [Image(picture)] if picture else [], prompt, responses)


def packed(ladder: Ladder) -> TokenisedLadder:
    return tokenise(ladder, processor(), ImageReader(processor()))


def test_every_scored_token_of_a_two_round_conversation_is_an_answers_or_its_end_of_turn(tmp_path: Path) -> None:
    messages: list[Message] = [
        {"role": "assistant", "content": "Yes, there is."},
        {"role": "user", "content": "What colour is the bicycle?"},
        {"role": "assistant", "content": "The bicycle is blue"},
    ]
    prompt: list[Message] = [{"role": "user", "content": "<image>\nIs there a boat?"}]
    ladder = Ladder("rounds", [Image(make_picture(tmp_path, 1))], prompt, [Response(messages, 0)])
    expected = [(0, "Yes"), (0, ","), (0, " there"), (0, " is"), (0, "."), (0, "<|end|>")]
    expected += [(1, "The"), (1, " bicycle"), (1, " is"), (1, " blue"), (1, "<|end|>")]
    assert scored(ladder) == [expected]


def test_answers_in_the_prompts_history_are_not_scored() -> None:
    history: list[Message] = [
        {"role": "user", "content": "Is there a boat?"},
        {"role": "assistant", "content": "No, there is not."},
        {"role": "user", "content": "Is there a tree?"},
    ]
    ladder = Ladder("history", [], history, [Response([{"role": "assistant", "content": "Yes"}], 0)])
    assert scored(ladder) == [[(0, "Yes"), (0, "<|end|>")]]


def test_a_template_without_an_end_of_turn_gets_the_end_of_sequence_token_after_the_last_answer() -> None:
    assert scored(answers("Yes, there is."), LLAVA) == [
        [(0, " "), (0, "Yes"), (0, ","), (0, " there"), (0, " is"), (0, "."), (0, "<|end|>")]
    ]


def test_every_byte_of_a_letter_that_is_several_tokens_is_scored() -> None:
    [tokens] = scored(answers("né 猫"))
    assert len(tokens) == len("né 猫".encode()) + 1  # none of these letters was seen in training: a byte, a token


def test_an_empty_answer_scores_its_end_of_turn() -> None:
    assert scored(answers("")) == [[(0, "<|end|>")]]


def test_a_template_that_rewrites_earlier_turns_is_refused_with_the_ladders_name() -> None:
    rewriting = (
        "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}{{ m['role'] }}: "
        "{{ m['content'][0]['text'] }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    messages: list[Message] = [
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "There"},
    ]
    ladder = Ladder("two rounds", [], [{"role": "user", "content": "Is there?"}], [Response(messages, 0)])
    with pytest.raises(InputError, match=r"ladder two rounds: the chat template .* rewrites earlier turns"):
        scored(ladder, rewriting)


THINKING = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think></think>\n{% endif %}"
    "{% for c in m['content'] %}{{ c['text'] }}{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n<think>"
    "{% if enable_thinking is false %}</think>\n{% endif %}{% endif %}"
)
"""It thinks unless it is told not to, and leaves the thoughts of earlier answers out, as Qwen3.5's."""


def test_every_answer_is_scored_if_earlier_thoughts_are_left_out() -> None:
    messages: list[Message] = [
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "There"},
    ]
    ladder = Ladder("two rounds", [], [{"role": "user", "content": "Is there?"}], [Response(messages, 0)])
    assert scored(ladder, THINKING) == [[(0, "Yes"), (0, "<|end|>"), (1, "There"), (1, "<|end|>")]]


def test_a_model_that_may_think_first_is_told_not_to() -> None:
    head = render([{"role": "user", "content": "Where?"}], processor(THINKING), answer_next=True)
    assert head == "<|user|>\nWhere?<|end|>\n<|assistant|>\n<think></think>\n"


def test_an_answer_is_not_looked_for_in_its_roles_name() -> None:
    ignoring = "{% for m in messages %}{{ m['role'] }}: {{ m['content'][0]['text'] }}<|end|>{% endfor %}"
    assert scored(answers("a"), ignoring) == [[(0, " a"), (0, "<|end|>")]]


def test_line_breaks_around_a_picture_join_those_of_the_text(tmp_path: Path) -> None:
    whole = REAL["gemma3"].processor(REAL["gemma3"].tokenizer(), REAL["gemma3"].full_template)
    files = [make_picture(tmp_path, seed) for seed in (1, 2)]
    question: Message = {"role": "user", "content": "<image>\n<image>\nDescribe the picture."}
    answer: Message = {"role": "assistant", "content": "A cup."}
    ladder = Ladder("g", [Image(file) for file in files], [question], [Response([answer], 0)])
    tokens = tokenise(ladder, whole, ImageReader(whole))
    expected = whole(text=[render([question, answer], whole).removeprefix("<bos>")], images=[[*map(open_image, files)]])
    assert tokens.tokens[0].tolist() == expected["input_ids"][0]
    assert "\n\n\n" in [whole.tokenizer.decode([token]) for token in tokens.tokens[0]]
    text = [whole.tokenizer.decode([t]) for t, r in zip(tokens.tokens[0], tokens.rounds[0], strict=True) if r >= 0]
    assert "".join(text) == "A cup.<end_of_turn>"


def test_an_answer_that_holds_the_picture_token_is_refused_with_the_ladders_name() -> None:
    with pytest.raises(InputError, match="ladder one: an answer contains the picture token <image>"):
        scored(answers("I see <image>"))


def test_tokens_are_the_processors_own_of_the_whole_conversation(tmp_path: Path) -> None:
    ladder = make_ladder(tmp_path, 3, k=3, rounds=2, conditions=True, pictures=2)
    for response, ids in zip(ladder.responses, packed(ladder).tokens, strict=True):
        text = "<image>\n<image>\nDescribe the picture.\n" + response.condition
        whole = render([{"role": "user", "content": text}, *response.messages], processor())
        pictures = [open_image(image.path) for image in ladder.images]
        expected = processor()(text=[whole], images=[pictures], return_tensors="np")["input_ids"][0]
        assert ids.tolist() == expected.tolist()


def test_conversations_part_at_the_first_answer_token_when_answers_begin_alike() -> None:
    ladder = packed(answers("There is a dog.", "There is a cup."))
    first = int(np.flatnonzero(ladder.rounds[0] != NOT_SCORED)[0])
    assert ladder.branch == first


def test_conversations_part_earlier_where_a_merge_crosses_the_boundary() -> None:
    # The prompt ends in 'th'; one answer goes on 'ere', and 'there' is one token that begins in the prompt.
    glued = "{% for m in messages %}{{ m['content'][0]['text'] }}{% if m['role'] == 'user' %} th{% endif %}{% endfor %}"
    ladder = answers("ere is", " cup")
    assert scored(ladder, glued)[0] == [(0, " there"), (0, " is"), (0, "<|end|>")]
    tokens = tokenise(ladder, processor(glued), ImageReader(processor(glued)))
    decode = processor().tokenizer.decode
    assert decode(tokens.tokens[0][: tokens.branch]) == "What is there?"
    assert decode(tokens.tokens[1]).startswith("What is there? th cup")


def test_conditions_end_the_user_turn_and_move_the_branch_before_them() -> None:
    plain = answers("Yes", "No")
    conditioned = Ladder(
        "c", [], plain.prompt, [Response(r.messages, r.level, condition=f"Be {r.level}.") for r in plain.responses]
    )
    tokens = packed(conditioned)
    text = processor().tokenizer.decode(tokens.tokens[1])
    assert text == "<|user|>\nWhat is there?\nBe 1.<|end|>\n<|assistant|>\nNo<|end|>\n"
    shared = processor().tokenizer.decode(tokens.tokens[0][: tokens.branch])
    assert shared.startswith("<|user|>\nWhat is there?\nBe")
    assert "<|end|>" not in shared


def test_the_line_break_after_a_picture_mark_belongs_to_the_file_format() -> None:
    assert chat_messages([{"role": "user", "content": "<image>\nWhat?"}]) == [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
    ]
    assert chat_messages([{"role": "user", "content": "What?\n<image>"}]) == [
        {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image"}]}
    ]


def test_a_picture_is_read_once_for_all_ladders_that_show_it(tmp_path: Path) -> None:
    reader = ImageReader(processor())
    path = make_picture(tmp_path, 5)
    first = reader.read((path,))
    Path(path).unlink()
    assert reader.read((path,)) is first
    assert len(tokenise(answers("Yes", picture=path), processor(), reader).image_spans[0]) == 1


def test_a_picture_that_changes_before_it_is_read_again_is_named(tmp_path: Path) -> None:
    reader = ImageReader(processor(), budget=0)
    path = Path(make_picture(tmp_path, 1))
    reader.read((str(path),))
    reader.read((str(path),))
    Path(make_picture(tmp_path, 2)).replace(path)
    with pytest.raises(InputError, match=rf"picture {path}: changed while training"):
        reader.read((str(path),))


def test_a_special_token_in_an_answer_is_seen_before_it_is_learnt(tmp_path):
    ladder = make_ladder(tmp_path, 0)
    answer = ladder.responses[-1]
    poisoned = replace(answer, messages=[{"role": "assistant", "content": "A cat </s> a dog."}, *answer.messages[1:]])
    assert special_token_in(replace(ladder, responses=[*ladder.responses[:-1], poisoned]), ["</s>", "<pad>"]) == "</s>"
    assert special_token_in(ladder, ["</s>", "<pad>"]) == ""


def test_pictures_that_need_a_mask_for_each_token_are_refused(tmp_path: Path) -> None:
    whole = processor()

    class Masked:
        """A processor as Mllama's: it makes a cross-attention mask of the text."""

        tokenizer, image_token = whole.tokenizer, whole.image_token

        def __call__(self, **inputs: Any) -> dict[str, Any]:
            return {**whole(**inputs), "cross_attention_mask": np.ones((1, 1, 1, 4))}

    with pytest.raises(InputError, match="Masked makes a mask for each token"):
        ImageReader(Masked()).read((make_picture(tmp_path, 1),))


def test_a_processor_that_adds_text_to_the_conversation_is_refused(tmp_path: Path) -> None:
    """PaliGemma's writes a line break at the end, wherever its pictures stand."""
    pictures = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    pictures.image_seq_length = 4
    tokenizer = make_tokenizer()
    tokenizer.bos_token = "<|system|>"
    with pytest.raises(InputError, match="PaliGemmaProcessor does not turn a picture into a run of special tokens"):
        ImageReader(PaliGemmaProcessor(pictures, tokenizer)).read((make_picture(tmp_path, 1),))
