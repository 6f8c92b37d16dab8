"""Every kind of input that is tried."""

from fuzzing import arrays, checkpoints, commands, gates, images, prompts, runs

KINDS = tuple(kind for part in (checkpoints, arrays, images, prompts, gates, runs, commands) for kind in part.KINDS)
