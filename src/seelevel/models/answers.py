"""How prompts become a model's text, and its tokens an answer: the same with transformers and with vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seelevel.ladder import IMAGE_MARK, unmarked
from seelevel.models.base import Completion, Prompt
from seelevel.models.chat_template import RefusedConversationError, end_of_answer, render
from seelevel.models.thinking import set_apart
from seelevel.progress import say
from seelevel.thoughts import split_thought


class Answers:
    """Reads and writes for one model's processor. `turn_end`: the token that its chat template writes after an answer,
    in a set; empty if it writes none."""

    def __init__(self, processor: Any, name: str) -> None:
        self.processor, self.name = processor, name
        tokenizer = processor.tokenizer
        self._special = sorted(set(tokenizer.all_special_tokens) - {IMAGE_MARK, ""})
        turn = end_of_answer(processor)
        self.turn_end: set[int] = {tokenizer.convert_tokens_to_ids(turn)} if turn else set()

    def rendered(self, prompt: Prompt) -> str:
        """A prompt as text. Raises `RefusedConversationError` for a special token in it or if refused."""
        texts = [message["content"] for message in prompt.messages]
        token = next((token for token in self._special if any(token in text for text in texts)), "")
        if token:
            raise RefusedConversationError(f"the prompt holds '{token}', a special token of {self.name}")
        return render(prompt.messages, self.processor, answer_next=True)

    def all_rendered(self, prompts: Sequence[Prompt]) -> tuple[dict[int, str], dict[int, Completion]]:
        """The prompts' texts by their places, and completions that say why for those that are not answered."""
        texts: dict[int, str] = {}
        refused: dict[int, Completion] = {}
        for i, prompt in enumerate(prompts):
            try:
                texts[i] = self.rendered(prompt)
            except RefusedConversationError as reason:
                refused[i] = Completion("", 0, False, str(reason))
        self.report(refused, len(prompts))
        return texts, refused

    def report(self, refused: dict[int, Completion], prompts: int) -> None:
        """One line about prompts that are not answered."""
        if refused:
            first = next(iter(refused.values())).note
            say(f"{len(refused)} of {prompts} prompts are not answered, the first because {first}")

    def adds_special(self, text: str) -> bool:
        """Whether the tokenizer adds the tokens of the beginning to a prompt: not if its text has them."""
        bos = self.processor.tokenizer.bos_token
        return not (bos and text.startswith(bos))

    def completion(self, tokens: Sequence[int], ended: bool, opened: str) -> Completion:
        """The answer in token ids, without those of its end. `opened`: the mark that began a thought at the end of the
        prompt, or ''."""
        decode, mark = self.processor.tokenizer.decode, getattr(self.processor, "image_token", None) or IMAGE_MARK
        text = decode(tokens, skip_special_tokens=True)
        whole = opened + decode(tokens, skip_special_tokens=False)
        if split_thought(whole).marked:  # in some families the marks of thoughts are special tokens
            text = whole
        completion = set_apart(Completion(text, len(tokens) + ended, ended))
        # A picture's mark in an answer would stand for a picture that does not exist.
        clean = [unmarked(part, mark, *self._special).strip() for part in (completion.text, completion.reasoning)]
        return replace(completion, text=clean[0], reasoning=clean[1])
