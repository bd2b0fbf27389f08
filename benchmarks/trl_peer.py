"""TRL's DPOTrainer on the K(K−1)/2 pairs of a ladder: its own collator, forward passes and loss.

`trl` keeps the trainer's defaults, activation checkpointing among them; `trl-stored` keeps activations in place of
computing them again. All pairs of a ladder are one batch. The optimiser step around it is the one all peers take.
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from datasets import Image as Picture
from datasets import Sequence as Listed
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from benchmarks.peers import BETA, LEARNING_RATE, Peer, Task
from seelevel.ladder import IMAGE_MARK, Ladder


class TrlPeer(Peer):
    """DPOTrainer as it comes."""

    checkpointing = True

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        disable_progress_bars()
        pairs = [row for ladder in task.ladders for row in pair_rows(ladder)]
        self.pairs_per_ladder = len(pairs) // len(task.ladders)
        data = Dataset.from_list(pairs).cast_column("images", Listed(Picture()))
        self.folder = tempfile.TemporaryDirectory(prefix="trl-")
        low = task.shape.dtype == torch.bfloat16
        self.trainer = DPOTrainer(
            model=self.policy,
            ref_model=self.reference,
            args=DPOConfig(
                output_dir=self.folder.name,
                per_device_train_batch_size=self.pairs_per_ladder,
                gradient_accumulation_steps=len(task.ladders),
                gradient_checkpointing=self.checkpointing,
                beta=BETA,
                learning_rate=LEARNING_RATE,
                max_length=None,
                bf16=low,
                use_cpu=task.device.type == "cpu",
                dataloader_pin_memory=False,
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=data,
            processing_class=self.processor,
            optimizers=(self.optimiser, torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda _: 1.0)),
        )
        if self.checkpointing:  # what the trainer does when its training begins
            self.trainer.model.activation_checkpointing_enable({"use_reentrant": False})
        self.trainer.current_gradient_accumulation_steps = len(task.ladders)

    def make_reference(self, base: Any) -> Any:
        return copy.deepcopy(base).requires_grad_(False)

    def collated(self, ladder: int) -> Any:
        """The pairs of one ladder as the trainer's collator gives them."""
        first = ladder * self.pairs_per_ladder
        data = self.trainer.train_dataset
        return self.trainer.data_collator([data[n] for n in range(first, first + self.pairs_per_ladder)])

    def tokens(self) -> int:
        return sum(int(self.collated(n)["attention_mask"].sum()) for n in range(len(self.task.ladders)))

    def logprobs(self) -> list[Tensor]:
        found = []
        for number, ladder in enumerate(self.task.ladders):
            inputs = self.trainer._prepare_inputs(self.collated(number))
            sides = self.trainer.compute_ref_log_probs(self.trainer.model, inputs)  # of the model it is given
            sums = torch.zeros(len(ladder.responses), device=self.task.device)
            for (better, worse), chosen, rejected in zip(ladder.pairs("all"), *sides, strict=True):
                sums[better], sums[worse] = chosen.float(), rejected.float()
            found.append(sums)
        return found

    def backward(self) -> float:
        total = 0.0
        for inputs in self.trainer.get_train_dataloader():
            total += float(self.trainer.training_step(self.trainer.model, inputs))
        return total


class TrlStoredPeer(TrlPeer):
    """DPOTrainer without activation checkpointing: more memory, a pass less."""

    checkpointing = False


def pair_rows(ladder: Ladder) -> list[dict[str, Any]]:
    """Every pair of a ladder as a record of TRL's conversational preference format."""
    prompt = [{"role": m["role"], "content": m["content"].replace(f"{IMAGE_MARK}\n", "")} for m in ladder.prompt]
    return [
        {
            "images": [image.path for image in ladder.images],
            "prompt": prompt,
            "chosen": [dict(m) for m in ladder.responses[better].messages],
            "rejected": [dict(m) for m in ladder.responses[worse].messages],
        }
        for better, worse in ladder.pairs("all")
    ]
