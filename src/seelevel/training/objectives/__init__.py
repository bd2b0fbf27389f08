"""Objectives: `objective(policy, reference, ladders, settings) -> (loss, logs)`, one pure function and one file each.

`loss` is the mean over the ladders with a signal, however a batch is split. `logs` (`logs.Logs`) holds means, each over
the ladders for which it is defined, and how many ladders are in the loss (`ladders`) or not (`without_pair`).
"""

OBJECTIVES = {
    "mdpo": "seelevel.training.objectives.mdpo:mdpo",
    "dpo": "seelevel.training.objectives.dpo:dpo",
    "kwise": "seelevel.training.objectives.kwise:kwise",
    "pro": "seelevel.training.objectives.pro:pro",
    "ddpo": "seelevel.training.objectives.ddpo:ddpo",
    "grpo": "seelevel.training.objectives.grpo:grpo",
    "mpo": "seelevel.training.objectives.mpo:mpo",
    "copo": "seelevel.training.objectives.copo:copo",
    "ancpo": "seelevel.training.objectives.ancpo:ancpo",
    "symmpo": "seelevel.training.objectives.symmpo:symmpo",
    "sft": "seelevel.training.objectives.sft:sft",
    "conditional": "seelevel.training.objectives.conditional:conditional",
}
