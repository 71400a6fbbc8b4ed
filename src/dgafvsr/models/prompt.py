"""The constant prompt: SD-x4's denoiser attends to text, and the method always gives it the empty one.

There is no classifier-free guidance, so the embedding of '' is the same for every frame, step and call: `KeptEmbedding`
computes it once.
transformers is imported here and only for layouts that need it (extra `sdx4`).
"""

from __future__ import annotations

import itertools
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from dgafvsr.errors import ModelError
from dgafvsr.models.offload import is_offloaded, runs_on

__all__ = ["KeptEmbedding", "embed_prompt", "load_text_parts"]


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


def embed_prompt(text_encoder: Any, tokenizer: Any, prompt: str = "") -> Tensor:
    """Embedding of a prompt: 1 L D, padded to the tokenizer's full length as SD-x4 was trained."""
    return _embed(text_encoder, _tokens(tokenizer, prompt))


class KeptEmbedding:
    """`embed_prompt` that keeps its last embedding for as long as nothing that it was made of changes.

    That is: the prompt's tokens, the encoder, each of its weights, where they lie and how often they were written to
    (in ways that torch counts: not through `.data`), and the device that the embedding is for. Copies of it are empty.
    """

    def __init__(self) -> None:
        self._made_of: tuple[Any, ...] | None = None
        self._embedding: Tensor | None = None

    def __call__(self, text_encoder: Any, tokenizer: Any, device: torch.device, prompt: str = "") -> Tensor:
        """Embedding of a prompt, 1 L D on the device; not to be written to."""
        tokens = _tokens(tokenizer, prompt)
        if not _is_settled(text_encoder):
            self._made_of = self._embedding = None
            return _embed(text_encoder, tokens).to(device)
        made_of = (device, torch.is_inference_mode_enabled(), tokens.tolist(), *_identity(text_encoder))
        if self._embedding is None or self._made_of != made_of:
            self._embedding = _embed(text_encoder, tokens).to(device)
            self._made_of = made_of
        return self._embedding

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptEmbedding, ()  # references to storages must not be copied


def _tokens(tokenizer: Any, prompt: str) -> Tensor:
    tokens: Tensor = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens


@torch.no_grad()
def _embed(text_encoder: Any, tokens: Tensor) -> Tensor:
    embedding: Tensor = text_encoder(tokens.to(runs_on(text_encoder)))[0]
    return embedding


def _is_settled(encoder: nn.Module) -> bool:
    """Whether it gives the same every time, and changes of it would be noticed."""
    if any(module.training for module in encoder.modules()) or is_offloaded(encoder):
        return False
    return not any(weight.is_inference() for weight in _weights(encoder))


def _identity(encoder: nn.Module) -> tuple[Any, ...]:
    """Changes when the encoder or one of its weights becomes another one, is moved, or is written to.

    Weak references keep memory from being held, and addresses of what is gone from being taken for the same.
    """
    weights = tuple(
        (StorageWeakRef(weight.untyped_storage()), weight.storage_offset(), weight.stride(), weight.shape, weight.dtype)
        for weight in _weights(encoder)
    )
    return weakref.ref(encoder), weights, tuple((weight.device, weight._version) for weight in _weights(encoder))


def _weights(encoder: nn.Module) -> itertools.chain[Tensor]:
    return itertools.chain(encoder.parameters(), encoder.buffers())
