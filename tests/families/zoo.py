"""Tiny random models of the vision-language families that transformers knows, with inputs made by hand."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from tests.families import gemmas, grids, hybrids, llavas, mropes, others
from tests.families.family import Family

FAMILIES: dict[str, Family] = {family.name: family for family in [*llavas.FAMILIES, *mropes.FAMILIES, *grids.FAMILIES, *gemmas.FAMILIES, *hybrids.FAMILIES, *others.FAMILIES]}


def build(name: str, seed: int = 0) -> Any:
    """The model, in float64 (float32 if a kernel of the family has no float64), in train mode.

    Noise of 0.1 is added to all parameters: fresh models are almost linear, and gates that start at zero hide faults.
    """
    family = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(family.config(), experts_implementation="eager")
        model = model.to(torch.float64 if family.float64 else torch.float32).train()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model
