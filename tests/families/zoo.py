"""Tiny random models of the vision-language families that transformers knows, with inputs made by hand."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from tests.families import gemmas, grids, hybrids, llavas, mropes, others
from tests.families.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family for module in (llavas, mropes, gemmas, hybrids, grids, others) for family in module.FAMILIES
}

# Names of the mapping that the zoo leaves out, and why.
ENCODER_DECODER = "Encoder-decoder: the answer has a row and a cache of its own."
ALWAYS_READS = "Its forward pass asks for the picture every time, so the cache alone cannot continue a row."
UNBUILDABLE: dict[str, str] = {
    "blip": "Its forward pass takes no cache.",
    "blip-2": ALWAYS_READS,
    "diffusion_gemma": "Denoises blocks of the answer: no next-token log-probs.",
    "evolla": "Reads proteins, not pictures.",
    "florence2": ENCODER_DECODER,
    "git": "Puts the picture's features before the row, so its logits are longer than the ids.",
    "glmga": "Another name of glm46v.",
    "idefics": ALWAYS_READS,
    "instructblip": ALWAYS_READS,
    "instructblipvideo": ALWAYS_READS,
    "mistral4": "Text only.",
    "pi0": "Predicts actions, not tokens.",
    "pix2struct": ENCODER_DECODER,
    "pp_chart2table": "Another name of got_ocr2.",
    "pp_formulanet": ENCODER_DECODER,
    "shieldgemma2": "Another name of gemma3.",
    "t5gemma2": ENCODER_DECODER,
    "udop": ENCODER_DECODER,
    "vision-encoder-decoder": ENCODER_DECODER,
}

# What a family needs when a row continues from its cache, and where the result differs.
DELTA_RULE = "GatedDeltaNet computes in float32 and in chunks: another split of the row rounds differently (1e-6)."
INDEXER = "Its indexer keeps keys of its own in the cache. Tied scores are broken by rounding: hence eight heads."
ROUTER = "Its router computes in float32 (1e-7)."
NOTES: dict[str, str] = {
    "qwen3_5": DELTA_RULE,
    "qwen3_5_moe": DELTA_RULE,
    "qwen4_exp": DELTA_RULE,
    "minicpmv4_6": DELTA_RULE,
    "minicpmv4_7": DELTA_RULE,
    "minicpm_ocr": DELTA_RULE,
    "nemotron_h_omni": "Mamba2 computes in float32 (1e-7).",
    "glm5_next": f"Its linear attention computes in float32 (1e-6). {INDEXER}",
    "mistral_large4": INDEXER,
    "dots3_note": f"{ROUTER} {INDEXER} Here rounding changes one choice, and one log-prob moves by 0.02, also in "
    "`rows`; the comparison before training may take that for a fault.",
    "glm4v_moe": ROUTER,
    "kimi_k25": ROUTER,
    "muse_spark": ROUTER,
    "step3p7": ROUTER,
    "inkling2": "Its router computes in float32 and refuses float64 weights.",
    "paligemma2": "Softcapping rules SDPA out; eager attention takes the softmax in float32 (1e-7).",
    "molmo2": "In train mode it asks for mm_token_type_ids in the second pass too, and ignores them there.",
    "mllama": "The second pass needs the rows of the cross-attention mask that belong to its tokens.",
    "hunyuan_vl": "One axis of its positions counts the pictures of the whole batch: a row depends on those before it.",
    "minimax_m3_vl": "Blocks of keys start at column 0, so padding on the left moves them.",
    "llama4": "The temperature of layers without RoPE follows the column, padding included (from 8,192 columns on).",
    "inkling_mm_model": "The scale of long rows follows the column, padding included.",
    "emu3": "In train mode the tower's batch norms mix the pictures of a batch, and keep running means.",
    "unlimited_ocr": "Its window holds for tokens after the first pass alone: a whole row knows no window.",
    "exaone4_5": "Has the attribute rope_deltas, but never sets it: positions are plain.",
    "kosmos-2": "Asks for image_embeds in the second pass, and ignores them. Its mask overflows in float64.",
    "paligemma": "Token types are 0 in the prompt and 1 in the answer; positions start at 1.",
    "mistral3-ministral": "Queries are scaled by their position, so a padded row needs position_ids.",
}

COMMON = [
    "llava",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_5",
    "internvl",
    "gemma3",
    "smolvlm",
    "llava_onevision",
]
"""Families in which everything is tested every time; the others take part in the slow tests."""

CHOOSES = {"dots3_note", "mistral_large4"}
"""Families in which rounding may change which tokens are attended to, and so the log-probs of single tokens."""

# How training on a shared prefix goes in a family, where it is not as in most.
ONE_PREFIX = {
    "minimax_m3_vl": "its indexer counts padding into its blocks",
    "llama4": "it scales attention by the column of a token, padding included (from the 8,192nd on)",
    "inkling_mm_model": "it scales attention by the column of a token, padding included",
}
"""Families whose prefixes of a pass must be equally long, and why."""
BOTH_WAYS = "it sees a prompt in both directions, so a longer history changes the beginning"
NO_HISTORY = {"paligemma": BOTH_WAYS, "paligemma2": BOTH_WAYS}
"""Families whose rounds of an interaction cannot share a prefix, and why."""
REFUSED = {
    "hunyuan_vl": "in a batch of rows with pictures its positions are those of the first picture, whatever the layout",
    "mllama": "its cross-attention needs a mask for each token, which training does not make",
    "kosmos-2": "it asks for a picture in every pass",
}
"""Families that cannot be trained, and why."""
ROWS = {"inkling2": "answers move by a rounding with the text of others, and nobody has found out why"}
"""Families that train in rows, and why."""


def build(name: str, seed: int = 0) -> Any:
    """The model, in float64 (float32 if the family has no float64), in train mode.

    Noise of 0.1 is added to all parameters: fresh models are almost linear, and gates that start at zero hide faults.
    The type is set before the weights are made: a later `.double()` drops the imaginary part of Llama 4's positions.
    """
    family = FAMILIES[name]
    dtype = torch.float64 if family.float64 else torch.float32
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(family.config(), dtype=dtype, experts_implementation="eager")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.train()
