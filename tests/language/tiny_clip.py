"""A CLIP of a few thousand weights, made from its configuration."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

LIMIT = 8


def word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """One word a token, <s> before and </s> after."""
    vocabulary = ["<pad>", "<s>", "<unk>", "</s>", *words]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def save_tiny_clip(out: Path, words: list[str], positions: int = LIMIT) -> Path:
    """A CLIP with so many text positions, one word a token, <s> before and </s> after; 12 dimensions."""
    tokenizer = word_tokenizer(words)
    tokenizer.save_pretrained(out)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **shape,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": positions,
        "eos_token_id": 3,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    vision = {**shape, "image_size": 8, "patch_size": 4}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(out)
    return out
