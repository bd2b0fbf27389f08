"""`lmms-eval --model seelevel`: any model that this package loads, asked by the harness."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms

from seelevel.errors import InputError, ServerError
from seelevel.harness.requests import LEFT_TO_PROCESSOR, before, prompt_of, sampling_of
from seelevel.models import load_generator
from seelevel.models.base import DEFAULT_API, Sampling
from seelevel.models.thinking import complete
from seelevel.naming import named_generator
from seelevel.progress import Progress, say
from seelevel.registry import nearest
from seelevel.store import batched

CHUNK = 256
"""Requests whose pictures are on the disk at once; as many as `evaluate` asks in one call."""
ARGUMENTS = ("pretrained", "condition", "max_new_tokens", "seed")


class Seelevel(lmms):
    """`--model_args pretrained=MODEL`: a folder, an adapter's folder, a hub name, `world:s`, a server's model.

    condition: for a model trained on conditions. max_new_tokens, seed: for tasks that do not set them.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "",
        condition: str = "top",
        max_new_tokens: int = 512,
        seed: int = 0,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        with _plain_errors():
            if unknown:
                name = next(iter(unknown))
                raise InputError(f"--model_args {name}: unknown; {nearest(name, ARGUMENTS)}")
            if not pretrained:
                raise InputError("--model_args: name the model, pretrained=FOLDER or pretrained=world:s")
            if device not in (None, "", "auto", "cuda"):
                raise InputError(f"--device {device}: the device is chosen for you; set CUDA_VISIBLE_DEVICES instead")
            self.accelerator = Accelerator()  # sets this process's device
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
            defaults = {"max_new_tokens": max_new_tokens, "seed": seed}
            self.default, _ = sampling_of(defaults, Sampling(), "--model_args")
            reference = replace(named_generator(str(pretrained), DEFAULT_API), condition=str(condition))
            self.generator = load_generator(reference, _count(batch_size))
        say(self.generator.describe())

    @property
    def device(self) -> Any:
        return self.accelerator.device

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """The answers in the requests' order, each up to the first text of `until`."""
        with _plain_errors(), Progress("lmms-eval", total=len(requests), unit="requests") as bar:
            groups: dict[tuple[Sampling, tuple[str, ...]], list[int]] = {}
            for place, request in enumerate(requests):
                _, _, arguments, _, task, _ = request.args
                decoding = sampling_of(arguments, self.default, f"task {task}: generation_kwargs")
                groups.setdefault(decoding, []).append(place)
            for name in LEFT_TO_PROCESSOR:
                if any(name in request.args[2] for request in requests):
                    say(f"lmms-eval: {name} is left to the model's processor")
            results: dict[int, GenerationResult] = {}
            for (sampling, stops), places in groups.items():
                for number, chunk in enumerate(batched(places, CHUNK)):
                    seeded = sampling.model_copy(update={"seed": (sampling.seed + number) % 2**32})
                    answers = self._answer([requests[place] for place in chunk], seeded, stops)
                    results.update(zip(chunk, answers, strict=True))
                    bar.advance(len(chunk))
        return [results[place] for place in range(len(requests))]

    def _answer(self, requests: Sequence[Instance], sampling: Sampling, stops: Sequence[str]) -> list[GenerationResult]:
        with TemporaryDirectory(prefix="seelevel-harness-") as folder:
            prompts = []
            for request in requests:
                _, messages_of, _, doc_id, task, split = request.args
                doc = self.task_dict[task][split][doc_id]
                prompts.append(prompt_of(messages_of(doc), Path(folder), f"task {task}, doc {doc_id}"))
            completions = complete(self.generator, prompts, sampling)
        if silent := [c.note for c in completions if c.note and not c.text]:
            say(f"lmms-eval: {len(silent)} of {len(prompts)} answers are empty, the first because {silent[0]:.200}")
        return [
            GenerationResult(before(completion.text, stops), TokenCounts(output_tokens=completion.tokens))
            for completion in completions
        ]

    def loglikelihood(self, requests: Sequence[Instance]) -> Any:
        """Refused: a generator of this package writes answers and does not score given ones."""
        return _refused(requests, "log-likelihoods of given texts")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> Any:
        return _refused(requests, "tasks of several rounds")


def _refused(requests: Sequence[Instance], what: str) -> Any:
    with _plain_errors():
        task = requests[0].task_name if requests else ""
        raise InputError(f"task {task}: {what} cannot be had from --model seelevel; choose a generate_until task")


def _count(batch_size: int | str | None) -> int | None:
    """Prompts at once; None for `auto`, which leaves it to the model."""
    if batch_size is None or str(batch_size).startswith("auto"):
        return None
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise InputError(f"--batch_size {batch_size}: it is a number from 1, or auto")
    return int(batch_size)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """End lmms-eval's command with one line for what is wrong; without it, a traceback is printed and the exit code is
    0. A caller in Python gets the error itself."""
    try:
        yield
    except (InputError, ServerError) as error:
        if not _is_command():
            raise
        say(f"seelevel: {' '.join(str(error).split())}")
        sys.exit(2 if isinstance(error, InputError) else 1)


def _is_command() -> bool:
    main = getattr(sys.modules["__main__"], "__spec__", None)
    return "lmms_eval.__main__" in sys.modules or (main is not None and main.name == "lmms_eval.__main__")
