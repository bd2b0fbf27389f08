"""What training reads is what the family's processor makes of the whole conversation."""

from __future__ import annotations

import pytest
import torch

from seelevel.images import open_image
from seelevel.ladder import Image, Ladder, Response
from seelevel.models import load_model
from seelevel.models.chat_template import render
from seelevel.notes import RoundOf
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import pack
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, tokenise
from tests.families.zoo import FAMILIES as ZOO
from tests.real_processors.families import FAMILIES, TORCHVISION, make_photograph

pytestmark = [
    pytest.mark.real_processor,
    pytest.mark.skipif(not TORCHVISION, reason="the families' processors need torchvision: make test-families"),
]
ANSWERS = [("There is a red cup.", "No, there is not."), ("Two small dogs.", "I see a large tree.")]


@pytest.fixture(scope="module", params=FAMILIES)
def case(request, tmp_path_factory):
    """A family, its model with its processor, and a ladder of two answers in two rounds about two pictures."""
    folder = tmp_path_factory.mktemp(request.param)
    loaded = load_model(str(FAMILIES[request.param].save(folder / "model")))
    pictures = [
        Image(make_photograph(folder / "wide.png", 120, 70, seed=1)),
        Image(make_photograph(folder / "high.jpg", 60, 130, seed=2)),
    ]
    responses = [
        Response(
            [
                {"role": "assistant", "content": first},
                {"role": "user", "content": "Is there a boat?"},
                {"role": "assistant", "content": second},
            ],
            level,
        )
        for level, (first, second) in enumerate(ANSWERS)
    ]
    prompt = [{"role": "user", "content": "<image>\n<image>\nDescribe the picture."}]
    return FAMILIES[request.param], loaded, Ladder("talk", pictures, prompt, responses)


def whole(family, processor, ladder, response):
    """The processor's call on a conversation with the end of its last answer, as transformers documents it."""
    text = render([*ladder.prompt, *response.messages], processor)
    text = text if family.closes else text.rstrip() + family.end
    bos = processor.tokenizer.bos_token
    return processor(
        text=[text],
        images=[[open_image(image.path) for image in ladder.images]],
        add_special_tokens=not (bos and text.startswith(bos)),
        return_tensors="pt",
    )


def test_tokens_and_pictures_are_those_of_the_processor(case):
    family, loaded, ladder = case
    reader = ImageReader(loaded.processor)
    tokens = tokenise(ladder, loaded.processor, reader)
    for response, ids in zip(ladder.responses, tokens.tokens, strict=True):
        expected = whole(family, loaded.processor, ladder, response)
        assert ids.tolist() == expected["input_ids"][0].tolist()
    pictures = reader.read(tuple(image.path for image in ladder.images))
    text = {"input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"}
    assert pictures.keys() == expected.keys() - text
    assert all(torch.equal(value, expected[name]) for name, value in pictures.items())


def test_each_answer_is_scored_with_its_end_of_turn_and_nothing_else(case):
    family, loaded, ladder = case
    tokens = tokenise(ladder, loaded.processor, ImageReader(loaded.processor))
    for expected, ids, rounds in zip(ANSWERS, tokens.tokens, tokens.rounds, strict=True):
        texts = [loaded.processor.tokenizer.decode(ids[rounds == number]) for number in range(rounds.max() + 1)]
        first = expected[0] + family.end if family.closes else expected[0]
        assert [text.strip() for text in texts] == [first, expected[1] + family.end]


@pytest.mark.parametrize("layout", ["shared", "rows"])
def test_log_probs_are_those_of_the_processors_inputs(case, layout):
    family, loaded, ladder = case
    model = loaded.model.double()
    tokens = tokenise(ladder, loaded.processor, ImageReader(loaded.processor))
    expected = []
    with torch.no_grad():
        for response, rounds in zip(ladder.responses, tokens.rounds, strict=True):
            inputs = whole(family, loaded.processor, ladder, response).to(dtype=torch.float64)
            scores = model(**inputs, use_cache=False).logits[0, :-1].log_softmax(-1)
            of_tokens = scores.gather(1, inputs["input_ids"][0, 1:, None])[:, 0]
            expected.append(of_tokens[torch.from_numpy(rounds[1:] != NOT_SCORED)])
        values = token_logprobs(model, pack([ladder], loaded.processor, layout)).values
    assert (values - torch.cat(expected)).abs().max() < ZOO[family.name].tolerance


def test_rounds_that_share_a_history_have_the_log_probs_of_rows(case):
    """Also where the template leaves earlier thoughts out, so that a history differs from the round that it was."""
    family, loaded, talk = case
    firsts = [Response(response.messages[:1], response.level) for response in talk.responses]
    lasts = [Response(response.messages[2:], response.level) for response in talk.responses]
    history = [*talk.prompt, *talk.responses[0].messages[:2]]
    ladders = [
        Ladder("talk", talk.images, talk.prompt, firsts),
        Ladder("talk#1", talk.images, history, lasts, round_of=RoundOf("talk", 1)),
    ]
    with torch.no_grad():
        batches = [pack(ladders, loaded.processor, layout) for layout in ("shared", "rows")]
        shared, rows = (token_logprobs(loaded.model.double(), batch).values for batch in batches)
    assert (shared - rows).abs().max() < ZOO[family.name].tolerance
