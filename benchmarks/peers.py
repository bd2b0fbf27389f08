"""The ways to train on one ladder that are compared. All start from ladders and end in updated weights.

Every peer holds the same policy and the same reference (which differ, so that the loss says something), trains the
same weights with the same optimiser, and is asked for its log-probabilities, loss and gradient before it is timed.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.functional import logsigmoid

from benchmarks.shapes import Shape, make_model, make_processor
from seelevel.ladder import Ladder
from seelevel.registry import choose
from seelevel.training.compiling import compile_layers
from seelevel.training.loading import freeze_vision, skip_adapter_input_cast
from seelevel.training.logprobs import token_logprobs
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.packing import Batch, collate
from seelevel.training.packing.inputs import segment_inputs
from seelevel.training.packing.passes import recompute_layers
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import Layout, TrainSettings

BETA = 0.1
OBJECTIVE = {"name": "mdpo", "beta": BETA, "penalty": "none", "pairs": "all"}
LEARNING_RATE = 5e-5
PERTURBATION = 0.1
"""Standard deviation of what is added to the policy's trained weights, as a share of each tensor's own."""
LINEAR = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
PEERS = {
    "trl": "benchmarks.trl_peer:TrlPeer",
    "trl-stored": "benchmarks.trl_peer:TrlStoredPeer",
    "rows-full": "benchmarks.peers:RowsFullPeer",
    "rows": "benchmarks.peers:RowsPeer",
    "shared": "benchmarks.peers:SharedPeer",
    "shared-4": "benchmarks.peers:SharedFourPeer",
    "shared-1": "benchmarks.peers:SharedOnePeer",
    "shared-cached": "benchmarks.peers:SharedCachedPeer",
    "shared-compiled": "benchmarks.peers:SharedCompiledPeer",
}


@dataclass(frozen=True)
class Task:
    """What every peer is given: a model's shape, ladders for one optimiser step, so many of them in one forward pass
    (TRL's trainer takes one at a time), a device."""

    shape: Shape
    ladders: Sequence[Ladder]
    device: torch.device
    checkpointing: bool = False
    together: int = 1

    def passes(self) -> list[Sequence[Ladder]]:
        """The ladders of each forward pass."""
        return [self.ladders[n : n + self.together] for n in range(0, len(self.ladders), self.together)]


class Peer(ABC):
    """One way to train. `policy` is trained, `reference` is not; with LoRA they are one model."""

    cached = False
    """Whether the reference's log-probs are at hand, so that a step spends nothing on them."""
    answers: int | None = None
    """The most answers whose activations are kept at a time; None for all."""
    compiled = False
    """Whether the decoder's layers are compiled."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.processor = make_processor(task.shape)
        base = make_model(task.shape, task.device).requires_grad_(True)
        freeze_vision(base)
        self.reference = self.make_reference(base)
        self.policy = _with_adapters(base, task.shape.lora) if task.shape.lora else base
        _perturb(self.policy)
        if self.compiled:
            compile_layers(self.policy)
        if task.checkpointing:
            recompute_layers(self.policy)
        self.trained = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, lr=LEARNING_RATE, weight_decay=0.0, fused=True)

    def make_reference(self, base: Any) -> Any:
        """The frozen model: the base itself under adapters, else a copy."""
        return None if self.task.shape.lora else copy.deepcopy(base).requires_grad_(False)

    @abstractmethod
    def tokens(self) -> int:
        """Tokens that one policy pass over all ladders pushes through the language model, padding left out."""

    @abstractmethod
    def logprobs(self) -> list[Tensor]:
        """The policy's summed log-probability of every response, [K] a ladder."""

    @abstractmethod
    def backward(self) -> float:
        """Reference pass, policy pass, backward pass over all ladders: gradients are there; returns the mean loss."""

    def step(self) -> float:
        """One whole optimiser step."""
        self.optimiser.zero_grad()
        loss = self.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        return loss

    def gradient(self) -> tuple[Tensor, float]:
        """The gradient of `backward` as one vector, and the loss."""
        self.optimiser.zero_grad()
        loss = self.backward()
        vector = torch.cat([p.grad.float().flatten() for p in self.trained if p.grad is not None])
        self.optimiser.zero_grad()
        return vector, loss

    @contextlib.contextmanager
    def frozen(self) -> Iterator[Any]:
        """The reference, as a model to call without gradients."""
        with torch.no_grad(), self.autocast():
            if self.reference is not None:
                yield self.reference
            else:
                with self.policy.disable_adapter():
                    yield self.policy

    def autocast(self) -> Any:
        """Adapters are kept in float32 beside a bfloat16 base; their products are taken in bfloat16."""
        low = self.task.shape.dtype == torch.bfloat16
        return torch.autocast(self.task.device.type, torch.bfloat16) if low else contextlib.nullcontext()

    def packed(self, layout: Layout) -> Iterator[Batch]:
        """A batch a forward pass, the pictures read anew: part of every step, as nothing is trained on twice."""
        images = ImageReader(self.processor)
        for ladders in self.task.passes():
            tokenised = [tokenise(ladder, self.processor, images) for ladder in ladders]
            yield collate(tokenised, images, layout, self.answers).to(self.task.device)


class PackedPeer(Peer):
    """Our code: logits of scored tokens alone, MDPO without penalty over all pairs."""

    layout: Layout

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if task.shape.dtype == torch.bfloat16:
            skip_adapter_input_cast(self.policy)
        self.settings = TrainSettings.model_validate({"objective": OBJECTIVE}).objective
        self.objective = choose("objective", self.settings.name, OBJECTIVES)
        self.kept: list[Any] = []
        if self.cached:
            self.kept = [self.reference_logprobs(batch) for batch in self.batches()]

    def batches(self) -> Iterator[Batch]:
        return self.packed(self.layout)

    def tokens(self) -> int:
        return sum(int(segment.mask.sum()) for batch in self.batches() for segment in batch.segments)

    @torch.no_grad()
    def logprobs(self) -> list[Tensor]:
        with self.autocast():
            return [k for batch in self.batches() for k in token_logprobs(self.policy, batch).per_response(0.0)]

    def reference_logprobs(self, batch: Batch) -> Any:
        with self.frozen() as model:
            return token_logprobs(model, batch)

    def backward(self) -> float:
        total = 0.0
        for number, (batch, ladders) in enumerate(zip(self.batches(), self.task.passes(), strict=True)):
            reference = self.kept[number] if self.cached else self.reference_logprobs(batch)
            self.policy.train()
            with self.autocast():
                policy = token_logprobs(self.policy, batch)
            loss, _ = self.objective(policy, reference, ladders, self.settings)
            loss = loss * len(ladders) / len(self.task.ladders)
            loss.backward()
            total += float(loss.detach())
        return total


class SharedPeer(PackedPeer):
    """Each prefix once; the reference is computed in every step."""

    layout = "shared"


class SharedFourPeer(SharedPeer):
    """The same with the answers in groups of four, of which one is kept for the backward pass at a time."""

    answers = 4


class SharedOnePeer(SharedPeer):
    """The same with the answers one by one."""

    answers = 1


class SharedCachedPeer(SharedPeer):
    """All answers at once with the reference's log-probs at hand, as from a cache."""

    cached = True


class SharedCompiledPeer(SharedPeer):
    """The same with compiled layers."""

    compiled = True


class RowsPeer(PackedPeer):
    """The same code with one row a response."""

    layout = "rows"


class RowsFullPeer(Peer):
    """AMP's way: K rows, each with picture and prompt, and logits of the whole vocabulary at every position."""

    def batches(self) -> Iterator[Batch]:
        return self.packed("rows")

    def tokens(self) -> int:
        return sum(int(segment.mask.sum()) for batch in self.batches() for segment in batch.segments)

    @torch.no_grad()
    def logprobs(self) -> list[Tensor]:
        with self.autocast():
            return [k for batch in self.batches() for k in self.sums(self.policy, batch).split(batch.sizes)]

    def sums(self, model: Any, batch: Batch) -> Tensor:
        [rows] = batch.segments
        out = model(**segment_inputs(model, rows, None), use_cache=False)
        labels = rows.input_ids[:, 1:]
        scored = torch.zeros_like(rows.input_ids, dtype=torch.bool)
        scored.view(-1)[rows.source] = True
        chosen = out.logits[:, :-1].float().log_softmax(-1).gather(2, labels[:, :, None]).squeeze(2)
        return (chosen * scored[:, :-1]).sum(1)

    def backward(self) -> float:
        total = 0.0
        for batch, ladders in zip(self.batches(), self.task.passes(), strict=True):
            with self.frozen() as model:
                reference = self.sums(model, batch)
            self.policy.train()
            with self.autocast():
                ratios = self.sums(self.policy, batch) - reference
            losses = []
            for r, ladder in zip(ratios.split(batch.sizes), ladders, strict=True):
                better, worse = (torch.tensor(part, device=r.device) for part in zip(*ladder.pairs("all"), strict=True))
                losses.append(-logsigmoid(BETA * (r[better] - r[worse])).mean())
            loss = torch.stack(losses).sum() / len(self.task.ladders)
            loss.backward()
            total += float(loss.detach())
        return total


def _with_adapters(model: Any, rank: int) -> Any:
    config = LoraConfig(r=rank, lora_alpha=16, target_modules=rf".*language_model.*\.({LINEAR})", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


@torch.no_grad()
def _perturb(model: Any) -> None:
    """Move the trained weights a little off the reference; adapters, which start at zero, off zero."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.requires_grad and parameter.dim() > 1:
            noise = torch.Generator(parameter.device).manual_seed(number)
            scale = PERTURBATION * (0.02 if "lora_B" in name else float(parameter.float().std()))
            drawn = torch.randn(parameter.shape, generator=noise, device=parameter.device, dtype=torch.float32)
            parameter.add_((drawn * scale).to(parameter.dtype))
