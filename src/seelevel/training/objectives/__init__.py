"""Objectives: one pure function and one file each, `objective(policy, reference, ladders, settings) -> (loss, logs)`."""

OBJECTIVES = {
    "mdpo": "seelevel.training.objectives.mdpo:mdpo",
    "dpo": "seelevel.training.objectives.dpo:dpo",
    "sft": "seelevel.training.objectives.sft:sft",
}
