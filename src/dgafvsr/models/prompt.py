"""The constant prompt: SD-x4's denoiser attends to text, and the method always gives it the empty one.

There is no classifier-free guidance, so the embedding of '' is computed once and is the same for every frame and step.
transformers is imported here and only for layouts that need it (extra `sdx4`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import ModelError
from dgafvsr.models.offload import runs_on

__all__ = ["embed_prompt", "load_text_parts"]


def load_text_parts(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """(text encoder, tokenizer) of a model folder.

    Raises:
        ModelError: transformers is not installed, or a part is missing or damaged.
    """
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise ModelError(
            f"{folder} needs a text encoder, and transformers is not installed",
            remedy="pip install 'dgafvsr[sdx4]'",
        ) from error
    for name, file in (("text_encoder", "model.safetensors"), ("tokenizer", "tokenizer_config.json")):
        if not (folder / name / file).is_file():
            raise ModelError(f"The model folder {folder} lacks the file {name}/{file}")
    try:
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=dtype, use_safetensors=True, local_files_only=True
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # transformers raises its own and Rust's errors for damaged files
        raise ModelError(f"The text encoder of {folder} cannot be read", got=error) from error
    return encoder.eval().requires_grad_(False), tokenizer


@torch.no_grad()
def embed_prompt(text_encoder: Any, tokenizer: Any, prompt: str = "") -> Tensor:
    """Embedding of a prompt: 1 L D, padded to the tokenizer's full length as SD-x4 was trained."""
    tokens = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return text_encoder(tokens.input_ids.to(runs_on(text_encoder)))[0]
