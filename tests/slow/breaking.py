"""An objective from outside that runs out of memory in the second process's third loss."""

import os

import torch

from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_logs, pair_index
from seelevel.training.objectives.ratios import change, summed
from seelevel.training.objectives.settings import Objective

CALLS = []


class Breaking(Objective):
    """The mean of r_j − r_i over pairs, r = log π − log π_ref."""

    def compute_loss(self, policy, reference, ladders):
        CALLS.append(1)
        if os.environ.get("RANK") == "1" and len(CALLS) == 3:
            raise torch.OutOfMemoryError("no memory for this test")
        r = summed(change(policy, reference), self.round_weight)
        index = pair_index(ladders, "all", r)
        return index.mean(r[index.worse] - r[index.better]), Logs(
            best_logs(policy, reference, ladders), index.ladders, index.without
        )
