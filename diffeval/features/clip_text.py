"""The text half of an open_clip network: prompts of any length to its features."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from diffeval.diffusion.sampling import full_precision
from diffeval.errors import DiffevalError
from diffeval.features.extractor import Texts

# Texts per network call.
BATCH = {"cpu": 64, "mps": 128, "cuda": 512}


class TextTower:
    """Embeds texts; the network is made when the first one comes.

    Nothing behind the end token reaches it (attention looks backwards), so a batch is cut to its longest text: most
    prompts have a dozen tokens, and the context has 77. Texts are sorted by length for that, and returned in order.

    Args:
        make: open_clip's network, with its weights.
        device: where it runs.
    """

    def __init__(self, make: Callable[[], Any], device: torch.device) -> None:
        self._make, self._device, self._network = make, device, None

    def __call__(self, texts: Sequence[str]) -> Texts:
        """Projected features of the end token, not brought to unit length, and which texts were cut.

        What is longer than the context is cut with the end token kept, as open_clip does it.

        Raises:
            DiffevalError: if a feature is not finite.
        """
        network = self._network = self._network or self._make().to(self._device).eval().requires_grad_(False)
        tokens, cut = tokenize(texts, int(network.context_length))
        lengths = (tokens.argmax(dim=1) + 1).numpy()
        order = np.argsort(lengths, kind="stable")
        size = BATCH.get(self._device.type, 64)
        features = torch.empty(len(texts), 0)
        for rows in (order[start : start + size] for start in range(0, len(order), size)):
            found = _forward(network, tokens[rows, : int(lengths[rows].max())].to(self._device))
            if not features.shape[1]:
                features = torch.empty(len(texts), found.shape[1])
            features[rows] = found.float().cpu()
        if not bool(torch.isfinite(features).all()):
            raise DiffevalError("extractor: clip's text tower gives NaN or infinity; look at its weights file")
        return Texts(features.numpy(), cut)


def tokenize(texts: Sequence[str], context: int) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens [k, context], and whether each text was too long for it and lost its end."""
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=context)
    # The words for start and end, written out in a text, are these tokens themselves, and end it.
    ends = {tokenizer.sot_token_id, tokenizer.eot_token_id}
    words = [tokenizer.encode(text) for text in texts]
    cut = np.array([len(one) + 2 > context or not ends.isdisjoint(one) for one in words], dtype=bool)
    found: torch.Tensor = tokenizer(list(texts))
    return found, cut


@torch.inference_mode()
def _forward(network: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What ``encode_text`` computes, with the context as short as the tokens are."""
    length = tokens.shape[1]
    mask = torch.full((length, length), float("-inf"), device=tokens.device).triu_(1)
    with full_precision():
        x = network.token_embedding(tokens) + network.positional_embedding[:length]
        x = network.ln_final(network.transformer(x, attn_mask=mask))
        # The end token has the highest number.
        pooled = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)]
        projection = network.text_projection
        found: torch.Tensor = projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
    return found
