"""A sentence-transformers model of a few thousand weights, made from its configuration."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from tests.language.tiny_clip import LIMIT, word_tokenizer


def save_tiny_sentence_model(out: Path, words: list[str], limit: int = LIMIT, prompt: str = "") -> Path:
    """A BERT with mean pooling that reads `limit` tokens, one word a token; 12 dimensions."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    torch.manual_seed(0)
    bert = out / "bert"
    tokenizer = word_tokenizer(words)
    tokenizer.save_pretrained(bert)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=12,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=4 * limit,
            pad_token_id=0,
        )
    ).save_pretrained(bert)
    reader = Transformer(str(bert), max_seq_length=limit)
    prompts = {"prompts": {"all": prompt}, "default_prompt_name": "all"} if prompt else {}
    model = SentenceTransformer(modules=[reader, Pooling(12, pooling_mode="mean")], **prompts, device="cpu")
    model.save_pretrained(str(out / "model"), create_model_card=False)
    return out / "model"
