"""A fold without loss in the auto-encoder's place, so that what is in a latent can be measured as an ECG."""

from einops import rearrange

FOLD = 8


def encode(signals):
    return rearrange(signals, "b l (t f) -> b (l f) t", f=FOLD)


def decoded(latent):
    return rearrange(latent.float(), "(l f) t -> l (t f)", f=FOLD).numpy()
