"""A stand-in for vLLM 0.33.0, which needs a GPU: its classes take the same arguments and no others. It answers with
the tokens of a text that depends on all that an answer of vLLM depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.lora.request import LoRARequest

LLM_TAKES = {
    "runner",
    "convert",
    "tokenizer",
    "tokenizer_mode",
    "skip_tokenizer_init",
    "trust_remote_code",
    "allowed_local_media_path",
    "allowed_media_domains",
    "tensor_parallel_size",
    "dtype",
    "quantization",
    "revision",
    "tokenizer_revision",
    "chat_template",
    "seed",
    "gpu_memory_utilization",
    "cpu_offload_gb",
    "enforce_eager",
    "hf_token",
    "hf_overrides",
    "mm_processor_kwargs",
    "kv_cache_memory_bytes",
    "compilation_config",
    "quantization_config",
    "logits_processors",
}
ENGINE_TAKES = {
    "download_dir",
    "load_format",
    "max_model_len",
    "enable_prefix_caching",
    "max_num_batched_tokens",
    "max_num_seqs",
    "max_logprobs",
    "logprobs_mode",
    "limit_mm_per_prompt",
    "mm_encoder_tp_mode",
    "enable_lora",
    "max_loras",
    "max_lora_rank",
    "enable_tower_connector_lora",
    "generation_config",
    "distributed_executor_backend",
    "pipeline_parallel_size",
}
"""Some of the arguments of `LLM` itself, and of `EngineArgs`, which get the rest."""
SAMPLING_TAKES = {
    "n",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "max_tokens",
    "min_tokens",
    "logprobs",
    "detokenize",
    "skip_special_tokens",
}
MADE: list[LLM] = []


class SamplingParams:
    def __init__(self, **given: Any) -> None:
        if unknown := sorted(set(given) - SAMPLING_TAKES):
            raise TypeError(f"Unexpected keyword argument {unknown[0]!r}")
        self.n, self.temperature = given.get("n", 1), given.get("temperature", 1.0)
        self.seed, self.logprobs = given.get("seed"), given.get("logprobs")
        self.max_tokens, self.stop_token_ids = given.get("max_tokens", 16), given.get("stop_token_ids")
        self.given = given
        if self.n > 1 and self.temperature < 1e-5:
            raise VLLMValidationError(f"n must be 1 when using greedy sampling, got {self.n}.")


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: Any
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str
    outputs: list[CompletionOutput]
    finished: bool = True


class LLM:
    """`calls` has what each call got."""

    def __init__(self, model: str, **given: Any) -> None:
        if unknown := sorted(set(given) - LLM_TAKES - ENGINE_TAKES):
            raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument {unknown[0]!r}")
        if given.get("max_model_len") == 1:
            raise ValueError("To serve at least one request, 2 tokens of KV cache are needed")
        from transformers import AutoTokenizer

        self.model, self.given, self.calls = model, given, list[list[str]]()
        self.parameters: list[SamplingParams] = []
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        MADE.append(self)

    def generate(
        self,
        prompts: Any,
        sampling_params: Any = None,
        *,
        use_tqdm: bool = True,
        lora_request: LoRARequest | None = None,
        priority: Any = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[RequestOutput]:
        assert len(prompts) == len(sampling_params)
        for prompt in prompts:
            assert set(prompt) <= {"prompt", "multi_modal_data"}
            if len(prompt["prompt"]) > 2000:
                raise VLLMValidationError("The decoder prompt is longer than the maximum model length")
        self.calls.append([prompt["prompt"] for prompt in prompts])
        self.parameters += sampling_params
        return [
            RequestOutput(str(n), prompt["prompt"], self._outputs(prompt, asked, lora_request))
            for n, (prompt, asked) in enumerate(zip(prompts, sampling_params, strict=True))
        ]

    def _outputs(self, prompt: Any, asked: SamplingParams, adapter: LoRARequest | None) -> list[CompletionOutput]:
        pictures = [picture.tobytes() for picture in prompt.get("multi_modal_data", {}).get("image", ())]
        outputs = []
        for index in range(asked.n):
            seed = None if asked.seed is None else asked.seed + index
            drawn = repr((self.model, prompt["prompt"], pictures, seed, adapter and adapter.lora_path))
            numbers = [int(letter, 16) for letter in hashlib.sha256(drawn.encode()).hexdigest()[:6]]
            words = self._tokenizer("".join(f" {number}" for number in numbers), add_special_tokens=False)["input_ids"]
            ended = len(words) < asked.max_tokens
            tokens = [*words, self._tokenizer.eos_token_id] if ended else words[: asked.max_tokens]
            logprob = None if asked.logprobs is None else -0.5 * len(tokens)
            outputs.append(CompletionOutput(index, "", tokens, logprob, None, "stop" if ended else "length"))
        return outputs[::-1]
