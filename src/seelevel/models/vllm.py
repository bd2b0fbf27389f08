"""A model in vLLM's offline engine, in this process, as a `Generator`. Not run on GPUs yet.

Prompts become text as with transformers, by the model's chat template, and answers are read in the same way. vLLM's
signatures are those of version 0.33.0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.fingerprints import digest
from seelevel.images import model_picture
from seelevel.models.answers import Answers
from seelevel.models.backend import BackendSettings
from seelevel.models.base import MANY, Completion, Prompt, Sampling
from seelevel.models.blame import blamed
from seelevel.models.config_file import read_json
from seelevel.models.folders import adapter_base, check_hub_index, check_model_folder, is_hub_name
from seelevel.models.processor import load_processor
from seelevel.models.weights import ADAPTER, safetensors_header, weight_files
from seelevel.thoughts import opening

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks of LoRA that vLLM makes room for."""
OF_PICTURES = re.compile(r"\.(vision\w*|visual|image\w*|multi_modal_projector|mm_projector|connector|mlp1)\.")
"""Layers for pictures, in the names of an adapter's weights. vLLM leaves their adapters out."""


def check_installed() -> None:
    """Raise `InputError` if vLLM is not installed."""
    if find_spec("vllm") is None:
        raise InputError("backend vllm needs one more package, and a GPU: pip install vllm")


@dataclass(frozen=True)
class _Request:
    """A prompt's text and the places of its answers in the call: several if they are samples of one prompt."""

    text: str
    images: tuple[str, ...]
    places: list[int]
    sampled: bool


class VllmModel:
    """A model, or an adapter on its base. vLLM batches by itself; `batch_size`: the most answers at once."""

    def __init__(self, name_or_path: str, settings: BackendSettings, batch_size: int | None = None) -> None:
        """Raises `InputError` if vLLM is not installed or does not load the model, for a folder without weights, and
        for an adapter of a kind that vLLM does not have."""
        check_installed()
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        base = (adapter_base(Path(name_or_path)) if Path(name_or_path).is_dir() else None) or name_or_path
        if Path(base).is_dir():
            check_model_folder(Path(base))
        elif not is_hub_name(base):
            raise InputError(f"model folder {base} does not exist; check the path")
        else:
            check_hub_index(base)
        self.name, self.settings, self._adapter, self._answered = name_or_path, settings, None, False
        self._answers = Answers(load_processor(base), name_or_path)
        options: dict[str, Any] = {} if batch_size is None else {"max_num_seqs": batch_size}
        if base != name_or_path:
            options |= {"enable_lora": True, "max_lora_rank": lora_rank(Path(name_or_path))}
            self._adapter = LoRARequest("adapter", 1, str(Path(name_or_path).resolve()))
        remedy = "see its lines above; set backend.memory or backend.max_length, or backend: transformers"
        with blamed(f"model {name_or_path}: vLLM does not load it", remedy):
            self._engine = LLM(
                base,
                load_format="safetensors",
                tensor_parallel_size=settings.gpus,
                gpu_memory_utilization=settings.memory,
                max_model_len=settings.max_length,
                limit_mm_per_prompt={"image": settings.pictures},
                enable_prefix_caching=settings.prefix_caching,
                **options,
            )

    def describe(self) -> str:
        gpus = f"{self.settings.gpus} GPU{'s' * (self.settings.gpus > 1)}"
        return f"{self.name}: vLLM, {gpus}, {self.settings.memory:.0%} of the memory"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order. The samples of a prompt are one request with as many answers.

        A prompt's draws depend on the seed and its place in the call; the last digits of logits depend on the batch,
        too. Prompts with a special token of the model and those that vLLM refuses, such as too long ones, are not
        answered, and their completions say so. Raises `InputError` for beams, for too many pictures, and if vLLM
        refuses many prompts before it has answered any.
        """
        if sampling.num_beams > 1:
            raise InputError("vLLM has no beam search; set num_beams: 1, or backend: transformers")
        most = max((len(prompt.images) for prompt in prompts), default=0)
        if most > self.settings.pictures:
            raise InputError(f"a prompt has {most} pictures; set backend.pictures: {most}")
        texts, completions = self._answers.all_rendered(prompts)
        refused: dict[int, Completion] = {}
        requests = _requests(prompts, texts, sampling)
        for request, outputs in self._asked(requests, sampling, refused):
            if len(outputs) != len(request.places):
                raise InputError(f"vLLM gave {len(outputs)} answers instead of {len(request.places)}; install 0.33.0")
            for place, output in zip(request.places, outputs, strict=True):
                completions[place] = self._completion(request, output)
        self._answered |= len(refused) < len(texts)
        if not self._answered and len(requests) >= MANY:
            first = next(iter(refused.values())).note
            raise InputError(
                f"{self.name} answers nothing: {first}; correct what it complains about, or set backend: transformers"
            )
        self._answers.report(refused, len(prompts))
        completions |= refused
        return [completions[i] for i in range(len(prompts))]

    def _asked(
        self, requests: Sequence[_Request], sampling: Sampling, refused: dict[int, Completion]
    ) -> list[tuple[_Request, list[Any]]]:
        """Each request with its outputs. vLLM refuses a whole call for one prompt, before it begins; then halves of the
        call are tried, down to that prompt."""
        from vllm.exceptions import VLLMClientError

        if not requests:
            return []
        prompts = [self._prompt(request) for request in requests]
        parameters = [self._parameters(request, sampling) for request in requests]
        try:
            outputs = self._engine.generate(
                prompts,
                parameters,
                use_tqdm=False,
                lora_request=self._adapter,
                tokenization_kwargs={"add_special_tokens": self._answers.adds_special(requests[0].text)},
            )
        except (ValueError, VLLMClientError) as error:
            if len(requests) == 1:
                note = f"vLLM refuses it: {' '.join(str(error).split())[:200]}"
                refused |= {place: Completion("", 0, False, note) for place in requests[0].places}
                return []
            half = len(requests) // 2
            return [p for part in (requests[:half], requests[half:]) for p in self._asked(part, sampling, refused)]
        return [
            (request, sorted(output.outputs, key=lambda o: o.index))
            for request, output in zip(requests, outputs, strict=True)
        ]

    def _prompt(self, request: _Request) -> dict[str, Any]:
        pictures = [model_picture(path) for path in request.images]
        return {"prompt": request.text, **({"multi_modal_data": {"image": pictures}} if pictures else {})}

    def _parameters(self, request: _Request, sampling: Sampling) -> Any:
        from vllm import SamplingParams

        # vLLM adds an answer's number to the seed of its request.
        seed = int(digest(sampling.seed, request.places[0]), 16) % 2**31 if sampling.temperature > 0 else None
        return SamplingParams(
            n=len(request.places),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_new_tokens,
            seed=seed,
            stop_token_ids=sorted(self._answers.turn_end),
            logprobs=0 if request.sampled else None,
            detokenize=False,
        )

    def _completion(self, request: _Request, output: Any) -> Completion:
        tokens, ended = list(output.token_ids), output.finish_reason == "stop"
        answer = self._answers.completion(tokens[:-1] if ended else tokens, ended, opening(request.text))
        if answer.reasoning or output.cumulative_logprob is None or not tokens:
            return answer
        return replace(answer, logprob=output.cumulative_logprob / len(tokens))


def _requests(prompts: Sequence[Prompt], texts: dict[int, str], sampling: Sampling) -> list[_Request]:
    """Samples of one prompt as one request, anything else as one each: greedy answers would all be the same."""
    requests: dict[object, _Request] = {}
    for i, text in texts.items():
        images, sampled = tuple(prompts[i].images), prompts[i].sample is not None
        key = (text, images) if sampled and sampling.temperature > 0 else i
        requests.setdefault(key, _Request(text, images, [], sampled)).places.append(i)
    return list(requests.values())


def lora_rank(folder: Path) -> int:
    """The smallest rank that vLLM has and that holds an adapter. Raises `InputError` for an adapter that vLLM refuses
    or would load in part."""
    config = read_json(folder / "adapter_config.json")
    rank, alpha = config.get("r", 0), config.get("lora_alpha")
    patterns = [("rank_pattern", rank), ("alpha_pattern", alpha)]
    uneven = [key for key, value in patterns if any(other != value for other in (config.get(key) or {}).values())]
    kind = str(config.get("peft_type", "LORA")).upper()
    weights = [name for file in weight_files(folder, ADAPTER) for name in safetensors_header(file)]
    reasons = {
        f"its kind is {kind}": kind != "LORA",
        "it is a DoRA": config.get("use_dora"),
        "it has whole layers, modules_to_save": config.get("modules_to_save"),
        "it has trained tokens, trainable_token_indices": config.get("trainable_token_indices"),
        "it changes experts, target_parameters": config.get("target_parameters"),
        f"its layers differ, {' and '.join(uneven)}": uneven,
        "it has biases": config.get("bias", "none") != "none" or config.get("lora_bias"),
        f"its rank is {rank}": not 0 < rank <= RANKS[-1],
        "it changes layers for pictures": any(OF_PICTURES.search(name) for name in weights),
    }
    if why := next((reason for reason, holds in reasons.items() if holds), None):
        raise InputError(
            f"adapter {folder}: vLLM does not load it ({why}); set backend: transformers, or `seelevel export` the run "
            "and name the merged model"
        )
    return next(size for size in RANKS if size >= rank)
