"""The names of the parts of families, as their modules in transformers call them."""

from __future__ import annotations

from dataclasses import dataclass

ATTENTION = "q_proj k_proj v_proj o_proj"
MLP = "gate_proj up_proj down_proj"
DELTA = "in_proj_qkv in_proj_z in_proj_a in_proj_b out_proj"


@dataclass(frozen=True)
class Parts:
    """Beginnings of the names of weights, and names of the linear layers of all decoder layers together.

    `tower`, `projector`: of the weights; a weight of the projector may also begin as one of the tower.
    """

    tower: str = "model.vision_tower."
    projector: tuple[str, ...] = ("model.multi_modal_projector.",)
    decoder: str = "model.language_model."
    mixer: str = ATTENTION
    mlp: str = MLP
    experts: str = ""


NEXT = ("model.multi_modal_projector.", "model.image_newline")
MERGER, DEEP = ("model.visual.merger.",), ("model.visual.merger.", "model.visual.deepstack_merger_list.")
GLM = ("model.visual.merger.", "model.visual.downsample.")
GRANITE = ("model.layerwise_projectors.", "model.spatial_projectors.", "model.image_newline")
GEMMA4_MLP = f"{MLP} per_layer_input_gate per_layer_projection"
FUSED = "gate_up_proj down_proj"
SMOL = Parts("model.vision_model.", ("model.connector.",), "model.text_model.")

PARTS: dict[str, Parts] = {
    "llava": Parts(),
    "llava-pixtral": Parts(),
    "llava_next": Parts(projector=NEXT),
    "llava_next-granite": Parts(projector=NEXT),
    "llava_onevision": Parts(projector=NEXT),
    "internvl": Parts(),
    "internvl-qwen3": Parts(),
    "smolvlm": SMOL,
    "idefics3": SMOL,
    "mistral3": Parts(),
    "aya_vision": Parts(),
    "cohere2_vision": Parts(),
    "ovis2": Parts(projector=("model.visual_embeddings_table.",)),
    "granite4_vision": Parts(projector=GRANITE),
    "granite_docling": Parts("model.vision_model.", ("model.vision_model.connector.",), "model.text_model."),
    "qwen2_vl": Parts("model.visual.", MERGER),
    "qwen2_5_vl": Parts("model.visual.", MERGER),
    "qwen3_vl": Parts("model.visual.", DEEP),
    "qwen3_vl_moe": Parts("model.visual.", DEEP, mlp="", experts=FUSED),
    "qwen3_5": Parts("model.visual.", MERGER, mixer=f"{ATTENTION} {DELTA}"),
    "qwen3_5_moe": Parts("model.visual.", MERGER, mixer=f"{ATTENTION} {DELTA}", experts=FUSED),
    "glm4v": Parts("model.visual.", GLM, mlp=FUSED),
    "glm4v_moe": Parts("model.visual.", GLM, experts=FUSED),
    "gemma3": Parts(),
    "gemma4": Parts(projector=("model.embed_vision.",), mlp=GEMMA4_MLP),
    "gemma4-large": Parts(projector=("model.embed_vision.",), experts=FUSED),
    "paligemma": Parts(),
    "paligemma2": Parts(),
    "lfm2_vl": Parts(mixer="q_proj k_proj v_proj out_proj in_proj", mlp="w1 w2 w3"),
    "minicpmv4_6": Parts(projector=("model.merger.",), mixer=f"{ATTENTION} {DELTA}"),
    "molmo2": Parts(),
    "llama4": Parts("vision_model.", ("multi_modal_projector.",), "language_model.", experts=FUSED),
    "mllama": Parts("model.vision_model."),
}
