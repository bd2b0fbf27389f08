"""Messages are written in the form that the chat template takes."""

from pathlib import Path

import pytest

from seelevel.errors import InputError
from seelevel.models.chat_template import Forms, RefusedConversationError, end_of_answer, forms_of, render
from seelevel.models.processor import load_processor
from tests.training.tiny import TEMPLATE, make_processor

pytestmark = pytest.mark.unit

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "<image>\nWhat is it?"}
ANSWER = {"role": "assistant", "content": "A cup."}
MORE = {"role": "user", "content": "Where?"}

PARTS = (
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
)
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    f"[{{{{ m['role'] }}}}]{PARTS}<|end|>{{% endfor %}}"
)
DROPS_SYSTEM = f"{{% for m in messages if m['role'] != 'system' %}}[{{{{ m['role'] }}}}]{PARTS}<|end|>{{% endfor %}}"
TEXT = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}<|end|>{% endfor %}"
JOINED = "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] }}<|end|>{% endfor %}"
FIRST_PART = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'][0]['text'] }}<|end|>{% endfor %}"
NO_SYSTEM_WITH_PICTURES = (
    "{% for m in messages if m['content'] is not string %}{% for c in m['content'] if c['type'] == 'image' %}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn with images') }}{% endif %}"
    f"{{% endfor %}}{{% endfor %}}{{% for m in messages %}}[{{{{ m['role'] }}}}]{PARTS}<|end|>{{% endfor %}}"
)


def shown(template, *messages):
    return render(list(messages), make_processor(template))


@pytest.mark.parametrize("template", [REFUSES_SYSTEM, DROPS_SYSTEM, NO_SYSTEM_WITH_PICTURES])
def test_a_refused_or_dropped_system_turn_begins_the_user_turn_and_it_is_said(template, capsys, monkeypatch):
    monkeypatch.setattr("seelevel.models.chat_template._SAID", set())
    text = shown(template, SYSTEM, USER, ANSWER)
    assert text.startswith("[user]<image>Be brief.\n\nWhat is it?<|end|>[assistant]A cup.")
    shown(template, SYSTEM, USER, ANSWER)
    assert capsys.readouterr().err.count("takes no system turn") == 1


def test_a_system_turn_that_the_template_takes_is_left_alone(capsys):
    assert shown(TEMPLATE, SYSTEM, USER).startswith("<|system|>\nBe brief.<|end|>\n<|user|>\n<image>\nWhat is it?")
    assert "system" not in capsys.readouterr().err


def test_a_system_turn_without_a_user_turn_after_it_is_refused():
    with pytest.raises(RefusedConversationError, match="no user turn after it"):
        shown(DROPS_SYSTEM, USER, ANSWER, SYSTEM)


def test_user_turns_in_a_row_become_one_if_the_template_wants_them_to_alternate():
    assert "What is it?\n\nWhere?<|end|>" in shown(REFUSES_SYSTEM, USER, MORE)
    assert "What is it?<|end|>[user]Where?" in shown(DROPS_SYSTEM, USER, MORE)


def test_a_conversation_that_the_template_refuses_is_an_error_of_the_conversation():
    with pytest.raises(RefusedConversationError, match="must alternate"):
        shown(REFUSES_SYSTEM, USER, ANSWER, ANSWER)


@pytest.mark.parametrize("template", [TEXT, JOINED])
def test_a_template_that_takes_texts_gets_texts_with_the_picture_s_mark(template):
    assert shown(template, SYSTEM, USER, ANSWER) == (
        "[system]Be brief.<|end|>[user]<image>\nWhat is it?<|end|>[assistant]A cup.<|end|>"
    )


def test_a_template_that_reads_one_part_gets_the_mark_in_it():
    assert forms_of(make_processor(FIRST_PART)).user == "marks"
    assert shown(FIRST_PART, USER, ANSWER).startswith("[user]<image>\nWhat is it?<|end|>[assistant]A cup.")


def test_the_day_that_a_template_is_told_never_changes():
    dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}|{{ strftime_now(\"%Y\") }}|{% endif %}"
    assert shown(dated + TEMPLATE, USER).startswith("26 Jul 2024|2024|")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ today() }}" + TEMPLATE, "'today' is undefined"),
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "does not show the user's text"),
        ("{% for m in messages %}{% if", "unexpected"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line_with_the_remedy(template, reason):
    with pytest.raises(InputError, match=reason) as caught:
        shown(template, USER)
    assert "chat_template.jinja" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tokenizer_s_template_is_used_if_the_processor_has_none():
    processor = make_processor(None)
    processor.tokenizer.chat_template = TEMPLATE
    assert render([USER], processor) == "<|user|>\n<image>\nWhat is it?<|end|>\n"


def test_the_template_called_default_is_used_if_there_are_several():
    processor = make_processor(None)
    processor.chat_template = {"default": TEMPLATE, "tool_use": "{{ raise_exception('no') }}"}
    assert render([USER], processor) == "<|user|>\n<image>\nWhat is it?<|end|>\n"


def test_the_end_of_an_answer_is_the_special_token_after_it():
    assert end_of_answer(make_processor()) == "<|end|>"
    assert end_of_answer(make_processor("{% for m in messages %}" + PARTS + "{% endfor %}")) == ""


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    processor = make_processor()
    processor.tokenizer.eos_token = None
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(InputError, match=r"no eos_token.*tokenizer_config\.json"):
        load_processor(str(tmp_path))


def test_the_template_in_the_docs_writes_the_turns_of_llava():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    template = page.partition("```jinja\n")[2].partition("\n```")[0]
    assert forms_of(make_processor(template)) == Forms("parts", "parts", "parts", False)
    assert render([SYSTEM, USER, ANSWER, MORE], make_processor(template), answer_next=True) == (
        "Be brief. USER: <image>\nWhat is it? ASSISTANT: A cup.</s>USER: Where? ASSISTANT:"
    )
