"""The network of a super-resolution stage: what it is told moves its answer, and its folder gives it back."""

import json

import pytest
import torch

from ecgtwin.nets.cascade import SuperResolution, filled, read, save

SIZE = {"width": 16, "widths": (8, 8), "heads": 2, "groups": 4}


def network(dims: int, *, trained: bool = True) -> SuperResolution:
    torch.manual_seed(0)
    made = SuperResolution(2, 3, dims=dims, **SIZE)
    if trained:
        for p in made.parameters():
            if not p.abs().sum():
                torch.nn.init.normal_(p, std=0.2)
    return made


@pytest.mark.parametrize("dims", [1, 2])
def test_it_starts_at_zero_and_reads_sample_coarse_level_and_strength(dims):
    shape = (4, *[8] * dims)
    x, coarse = torch.randn(shape[0], 2, *shape[1:]), torch.randn(shape[0], 3, *shape[1:])
    t, strength = torch.full((4,), 300.0), torch.full((4,), 0.1)
    assert not network(dims, trained=False)(x, t, (coarse, strength)).any()
    made = network(dims)
    plain = made(x, t, (coarse, strength))
    assert plain.shape == x.shape
    for changed in (
        made(x + 1, t, (coarse, strength)),
        made(x, t + 50, (coarse, strength)),
        made(x, t, (coarse + 1, strength)),
        made(x, t, (coarse, strength + 0.1)),
    ):
        assert not torch.allclose(changed, plain, atol=1e-4)
    plain.square().sum().backward()
    assert all(p.grad is not None for p in made.parameters())


def test_a_folder_gives_it_back_and_another_one_is_refused(tmp_path):
    made, config = network(1), {"any": 1}
    told, tensors = read(save(made, config, tmp_path / "full"))
    assert told == config and all(torch.equal(v, tensors[k]) for k, v in made.state_dict().items())
    half = read(save(made, config, tmp_path / "half", half=True))[1]
    assert all(v.dtype == torch.float32 for v in half.values())
    again = filled(network(1, trained=False), tensors, tmp_path)
    assert torch.equal(again.unet.head.weight, made.unet.head.weight)
    with pytest.raises(FileNotFoundError, match="no upsampler"):
        read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="do not fit"):
        filled(network(2), tensors, tmp_path / "full")
    (tmp_path / "full" / "config.json").write_text(json.dumps({"format": 7, "cascade": {}}))
    with pytest.raises(ValueError, match="format 7"):
        read(tmp_path / "full")
    (tmp_path / "half" / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        read(tmp_path / "half")
