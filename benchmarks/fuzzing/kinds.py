"""Every kind of input that is tried."""

from fuzzing import arrays, checkpoints, commands, gates, images, latents, places, prompts, runs

KINDS = tuple(
    kind
    for part in (checkpoints, latents, arrays, images, prompts, gates, runs, places, commands)
    for kind in part.KINDS
)
