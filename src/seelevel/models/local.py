"""Any image-text-to-text model of `transformers` as a `Generator`, from a folder or a hub name."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from collections.abc import Generator as Pieces
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    TextIteratorStreamer,
)

from seelevel.errors import InputError, reason_of
from seelevel.fingerprints import digest
from seelevel.images import model_picture
from seelevel.ladder import IMAGE_MARK, unmarked
from seelevel.models.adapters import put_on
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.chat_template import RefusedConversationError, end_of_answer, render
from seelevel.models.decoding import Choice, Repetition
from seelevel.models.folders import adapter_base, check_hub_index, check_model_folder, is_hub_name
from seelevel.models.loading import load_weights
from seelevel.models.processor import load_config, load_processor
from seelevel.models.thinking import set_apart
from seelevel.progress import say
from seelevel.store import batched
from seelevel.thoughts import opening, split_thought

DType = Literal["auto", "float32", "bfloat16", "float16", "float64"]
# Prompts at once, by parameters: small models are limited by the overhead of a step, large ones by memory.
BATCHES = ((20e6, 128), (1e9, 32), (10e9, 16), (float("inf"), 8))


class LocalModel:
    """A model and its processor in memory. `batch_size` may be set; it changes answers only up to floating-point
    rounding."""

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        self.model, self.processor, self._name = model.eval(), processor, name
        self.parameters = sum(p.numel() for p in model.parameters())
        self.batch_size = next(size for limit, size in BATCHES if self.parameters <= limit)
        tokenizer = processor.tokenizer
        self._special = sorted(set(tokenizer.all_special_tokens) - {IMAGE_MARK, ""})
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token will do
        turn = end_of_answer(processor)
        self._turn_end = {tokenizer.convert_tokens_to_ids(turn)} if turn else set()

    @classmethod
    def load(
        cls,
        name_or_path: str,
        dtype: DType = "auto",
        device: str = "auto",
        adapter: str | None = None,
        trust_remote_code: bool = False,
        quantized: Callable[[Any], Any] | None = None,
    ) -> LocalModel:
        """Load a model from a folder or by its hub name.

        An adapter's folder is loaded onto the base model that it names; `adapter` puts an adapter onto any model.
        quantized: makes transformers' settings for quantisation from the configuration.
        dtype 'auto': as stored on CUDA, else float32. device 'auto': CUDA, else Apple's GPU, else the CPU. Only
        safetensors are read. Raises `InputError` for a folder without weights, a name that cannot be downloaded, a
        model of another kind, or a processor that needs a package that is missing.
        """
        base = name_or_path
        if Path(name_or_path).is_dir():
            adapted = adapter_base(Path(name_or_path))
            if adapted is not None:
                base, adapter = adapted, name_or_path
        if Path(base).is_dir():
            check_model_folder(Path(base))
        elif not is_hub_name(base):
            raise InputError(f"model folder {base} does not exist; check the path")
        else:
            check_hub_index(base)
        place = _device(device)
        config = load_config(base, trust_remote_code)
        processor = load_processor(base, trust_remote_code)
        model = load_weights(base, config, _dtype(dtype, place, config), place, trust_remote_code, quantized)
        if adapter is not None:
            model = put_on(model, Path(adapter))
        return cls(model, processor, name_or_path)

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> str:
        """One line: kind, size, number format, device, batch."""
        kind, first = type(self.model).__name__, next(self.model.parameters())
        dtype = str(first.dtype).removeprefix("torch.")
        size = f"{self.parameters / 1e6:.1f}M parameters"
        return f"{self.name}: {kind}, {size}, {dtype} on {first.device}, {self.batch_size} prompts at once"

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order; the same prompts and sampling in one call give the same answers.

        A prompt's draws depend on the seed and its place in the call, not on the batch. Prompts with the same number of
        pictures and of similar length are answered together, `batch_size` at a time. The repetition penalty counts the
        prompt's tokens, as in transformers, but not the padding. A prompt that contains a special token of the model is
        not answered, and its completion says so: an end of turn would end the turn.
        """
        completions: dict[int, Completion] = {}
        texts: dict[int, str] = {}
        for i, prompt in enumerate(prompts):
            try:
                texts[i] = self._rendered(prompt)
            except RefusedConversationError as reason:
                completions[i] = Completion("", 0, False, str(reason))
        if completions:
            first = next(iter(completions.values())).note
            say(f"{len(completions)} of {len(prompts)} prompts are not answered, the first because {first}")
        order = sorted(texts, key=lambda i: (len(prompts[i].images), len(texts[i]), texts[i], i))
        for count in sorted({len(prompt.images) for prompt in prompts}):
            same_count = [i for i in order if len(prompts[i].images) == count]
            for batch in batched(same_count, self.batch_size):
                inputs = self._inputs([texts[i] for i in batch], [prompts[i].images for i in batch])
                of_samples = any(prompts[i].sample is not None for i in batch)
                answers = self._answer(inputs, sampling, batch, [opening(texts[i]) for i in batch], of_samples)
                completions.update(zip(batch, answers, strict=True))
        return [completions[i] for i in range(len(prompts))]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
        """The answer of `generate` piece by piece, within the context, and whether it ended by itself.

        Closing the iterator stops the model. Raises `InputError` for a prompt with a special token, for one that
        leaves no room for an answer, and for beam search, which cannot stream.
        """
        if sampling.num_beams > 1:
            raise InputError("beam search cannot stream an answer; set num_beams: 1")
        inputs = self._inputs([self._rendered(prompt)], [prompt.images])
        length = inputs["input_ids"].shape[1]
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context is not None:
            if length >= context:
                raise InputError(
                    f"the conversation has {length} tokens, the model's context {context}; start a new one"
                )
            sampling = sampling.model_copy(update={"max_new_tokens": min(sampling.max_new_tokens, context - length)})
        pieces = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop, ended, errors = threading.Event(), list[bool](), list[BaseException]()

        def answer() -> None:
            try:
                with torch.inference_mode():
                    out, _ = self._generate(inputs, sampling, [0], streamer=pieces, stopping_criteria=[Stopping(stop)])
                ended.append(int(out[0, -1]) in self._ends)
            except BaseException as error:  # raised where the pieces are read
                errors.append(error)
            finally:
                pieces.end()

        thread = threading.Thread(target=answer, name="answer", daemon=True)
        thread.start()
        try:
            yield from (piece for piece in pieces if piece)
        finally:
            stop.set()
            thread.join()
        if errors:
            raise errors[0]
        return ended[0]

    def _rendered(self, prompt: Prompt) -> str:
        """A prompt as text. Raises `RefusedConversationError` for a special token in it or if refused."""
        texts = [message["content"] for message in prompt.messages]
        token = next((token for token in self._special if any(token in text for text in texts)), "")
        if token:
            raise RefusedConversationError(f"the prompt holds '{token}', a special token of {self.name}")
        return render(prompt.messages, self.processor, answer_next=True)

    def _inputs(self, texts: list[str], images: list[list[str]]) -> Any:
        """The processor's tensors for prompts with the same number of pictures."""
        bos = self.processor.tokenizer.bos_token
        options: dict[str, Any] = {"add_special_tokens": not (bos and texts[0].startswith(bos))}
        if images[0]:
            pictures = {path: model_picture(path) for paths in images for path in paths}  # samples show the same ones
            options["images"] = [[pictures[path] for path in paths] for paths in images]
        inputs = self.processor(text=texts, padding=True, return_tensors="pt", **options)
        first = next(self.model.parameters())
        return inputs.to(first.device, dtype=first.dtype)

    def _answer(
        self, inputs: Any, sampling: Sampling, places: Sequence[int], openings: Sequence[str], logprobs: bool
    ) -> list[Completion]:
        out, choice = self._generate(inputs, sampling, places, logprobs)
        length = inputs["input_ids"].shape[1]
        if out.shape[1] >= length and torch.equal(out[:, :length], inputs["input_ids"]):
            out = out[:, length:]  # decoders repeat the prompt, encoder-decoders do not
        ends = set(self._ends)
        answers = [self._completion(row, ends, opened) for row, opened in zip(out.tolist(), openings, strict=True)]
        if choice is None:
            return answers
        means = choice.means([answer.tokens for answer in answers])
        # A mean over thoughts too is not the answer's.
        return [
            replace(answer, logprob=None if answer.reasoning else mean)
            for answer, mean in zip(answers, means, strict=True)
        ]

    def _generate(
        self, inputs: Any, sampling: Sampling, places: Sequence[int], logprobs: bool = False, **more: Any
    ) -> tuple[Tensor, Choice | None]:
        """Token ids, one row per prompt, and how they were chosen; None for beams, and for the likeliest tokens unless
        their `logprobs` are wanted. `places`: of the prompts in the call, which change the random draws.

        Raises `InputError` for generation settings of the model that transformers reads only now, and refuses.
        """
        try:
            return self._generated(inputs, sampling, places, logprobs, **more)
        except (TypeError, ValueError) as error:
            if "generation" not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts:
                raise  # not about settings
            reason = reason_of(error)
            raise InputError(f"model {self.name} cannot answer ({reason}); see its generation_config.json") from error

    def _generated(
        self, inputs: Any, sampling: Sampling, places: Sequence[int], logprobs: bool, **more: Any
    ) -> tuple[Tensor, Choice | None]:
        tokenizer, ends = self.processor.tokenizer, self._ends
        settings = GenerationConfig(
            do_sample=False,  # `Choice` draws
            num_beams=sampling.num_beams,
            max_new_tokens=sampling.max_new_tokens,
            repetition_penalty=1.0,  # replaced by our own processor below, which ignores the padding
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        processors: list[LogitsProcessor] = []
        if sampling.repetition_penalty != 1.0:
            padding = inputs["attention_mask"] == 0
            processors.append(Repetition(sampling.repetition_penalty, padding, sampling.num_beams))
        choice = None
        if sampling.num_beams == 1 and (logprobs or sampling.temperature > 0):
            seeds = [int(digest(sampling.seed, place), 16) % 2**63 for place in places]
            choice = Choice(sampling, processors, seeds)
            processors = [choice]
        listed = LogitsProcessorList(processors)
        out: Tensor = self.model.generate(**inputs, generation_config=settings, logits_processor=listed, **more)
        return out, choice

    @property
    def _ends(self) -> list[int]:
        """The tokens that end an answer: those of the generation settings, else the tokenizer's, and the one that the
        chat template writes after an answer, which some models' settings forget. Raises `InputError` for an entry
        that is not a token's number."""
        ends = self.model.generation_config.eos_token_id
        if ends is None:
            ends = self.processor.tokenizer.eos_token_id
        listed = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]
        if any(not isinstance(end, int) for end in listed):
            raise InputError(
                f"model {self.name} cannot answer (eos_token_id {listed!r:.60} is not a token's number); see its "
                "generation_config.json"
            )
        return sorted({*listed} | self._turn_end)

    def _completion(self, row: list[int], ends: set[int], opened: str) -> Completion:
        """The answer in token ids. `opened`: the mark that began a thought at the end of the prompt, or ''."""
        stop = next((n for n, token in enumerate(row) if token in ends), None)
        answer = row if stop is None else row[:stop]
        decode, mark = self.processor.tokenizer.decode, getattr(self.processor, "image_token", None) or IMAGE_MARK
        text = decode(answer, skip_special_tokens=True)
        whole = opened + decode(answer, skip_special_tokens=False)
        if split_thought(whole).marked:  # in some families the marks of thoughts are special tokens
            text = whole
        completion = set_apart(Completion(text, len(answer) + (stop is not None), stop is not None))
        # A picture's mark in an answer would stand for a picture that does not exist.
        clean = [unmarked(part, mark, *self._special).strip() for part in (completion.text, completion.reasoning)]
        return replace(completion, text=clean[0], reasoning=clean[1])


class Stopping(StoppingCriteria):
    """Stops a generation when its reader has closed the iterator."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.full((len(input_ids),), self._stop.is_set(), device=input_ids.device)


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(name: DType, device: torch.device, config: Any) -> torch.dtype:
    if name != "auto":
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    stored = getattr(config, "dtype", None)
    return stored if device.type == "cuda" and isinstance(stored, torch.dtype) else torch.float32
