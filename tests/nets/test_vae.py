import pytest
import torch

from ecgtwin.nets.vae import VAE, Posterior, kl_per_sample, reconstruction_error


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("stem", [1, 2, 4])
def test_shapes_and_gradients(dims, stem):
    network = VAE(3, 2, (8, 16), dims=dims, blocks=1, middle=1, stem=stem, groups=4)
    size = [32] * dims
    x = torch.randn(2, 3, *size)
    y, posterior = network(x, torch.randn(2, 2, *[32 // network.factor] * dims))
    assert y.shape == x.shape
    assert posterior.mean.shape == (2, 2, *[32 // (4 * stem)] * dims)
    (reconstruction_error(x, y) + kl_per_sample(posterior)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_kl_is_torchs():
    posterior = Posterior(torch.randn(2, 3, 4), torch.randn(2, 3, 4))
    q = torch.distributions.Normal(posterior.mean, (0.5 * posterior.logvar).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl(), expected)


def test_huber_error_is_squared_where_small_and_linear_where_large():
    x, y = torch.zeros(1, 1, 2), torch.tensor([[[0.1, 10.0]]])
    assert reconstruction_error(x, y).item() == pytest.approx(100.01, rel=1e-5)
    assert reconstruction_error(x, y, 1.0).item() == pytest.approx(0.01 + 2 * (10 - 0.5), rel=1e-5)


def test_rows_do_not_see_each_other():
    network = VAE(2, 2, (8,), blocks=1, middle=1, stem=2, groups=4).eval()
    x = torch.randn(3, 2, 32)
    torch.testing.assert_close(network(x)[0][1:2], network(x[1:2])[0], atol=1e-5, rtol=1e-5)


def test_a_wrong_length_says_what_is_expected():
    with pytest.raises(ValueError, match="divisible by 4"):
        VAE(2, 2, (8,), blocks=1, middle=1, stem=2, groups=4).encode(torch.randn(1, 2, 30))


@pytest.mark.parametrize("stem", [1, 4])
def test_encodings_in_bfloat16_are_those_in_float32(stem):
    """Within 3 %: the strided stem with its eight leads is what some CPUs get wrong in bfloat16."""
    torch.manual_seed(0)
    network = VAE(8, 8, (192,), blocks=1, middle=2, stem=stem, groups=16).eval()
    x = torch.randn(4, 8, 256)
    with torch.no_grad():
        exact = network.encode(x).mean
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network.encode(x).mean
    assert (rough - exact).norm() / exact.norm() < 0.03
