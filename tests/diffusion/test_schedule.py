"""Schedules against the formulas of their papers; levels and indices against each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.diffusion import Flow, Schedule, cosine, linear, scaled_linear, sigmoid, zero_terminal_snr
from ecgtwin.diffusion.schedule import from_beta

MAKERS = [linear, scaled_linear, cosine, sigmoid]


def beta(schedule: Schedule) -> torch.Tensor:
    before = torch.cat([torch.ones(1, dtype=torch.float64), schedule.alpha_bar[:-1]])
    return 1 - schedule.alpha_bar / before


def test_linear_is_ho_2020():
    found = beta(linear(1000))
    wanted = torch.tensor([1e-4 + k / 999 * (0.02 - 1e-4) for k in range(1000)], dtype=torch.float64)
    assert torch.allclose(found, wanted, atol=1e-12)


def test_scaled_linear_is_latent_diffusion():
    found = beta(scaled_linear(1000)).sqrt()
    assert found[0].item() == pytest.approx(math.sqrt(0.00085)) and found[-1].item() == pytest.approx(math.sqrt(0.012))
    assert torch.allclose(found.diff(), found.diff()[0].expand(999), atol=1e-12)


@pytest.mark.parametrize("length", [10, 100, 1000])
def test_cosine_is_nichol_2021(length):
    def f(u):
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = cosine(length)
    for i in range(length - 1):  # the last beta is held at 0.999
        assert schedule.alpha_bar[i].item() == pytest.approx(f((i + 1) / length) / f(0), rel=1e-9)
    assert beta(schedule)[-1].item() == pytest.approx(0.999)


def test_sigmoid_is_chen_2023():
    schedule = sigmoid(100, start=-3, end=3, tau=0.9)

    def logistic(x):
        return 1 / (1 + math.exp(-x / 0.9))

    for i in range(98):
        wanted = (logistic(3) - logistic((i + 1) / 100 * 6 - 3)) / (logistic(3) - logistic(-3))
        assert schedule.alpha_bar[i].item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("length", [40, 250, 1000, 4000])
def test_any_length_has_the_same_ends(make, length):
    schedule = make(length)
    assert schedule.length == length and schedule.noisiest == length - 1
    assert schedule.alpha_bar[-1] < 0.01 and schedule.alpha_bar[0] > 0.9
    if make in (linear, scaled_linear):
        assert schedule.alpha_bar[-1].log().item() == pytest.approx(make(1000).alpha_bar[-1].log().item(), rel=0.35)


@pytest.mark.parametrize("make", MAKERS)
def test_zero_terminal_snr_is_lin_2024(make):
    old = make(100)
    new = zero_terminal_snr(old)
    assert new.alpha_bar[-1] == 0 and new.alpha_bar[0].item() == pytest.approx(old.alpha_bar[0].item(), abs=1e-15)
    a, b = old.alpha_bar.sqrt(), new.alpha_bar.sqrt()
    assert torch.allclose((a - a[-1]) / (a[0] - a[-1]), b / b[0], atol=1e-12)  # shifted and stretched, nothing else
    last = new.level(99)
    assert (last.alpha, last.sigma, last.logsnr) == (0.0, 1.0, -math.inf)
    assert new.level_at(-math.inf) == last


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MAKERS), st.integers(2, 300), st.booleans(), st.floats(0, 1))
def test_index_and_log_snr_are_inverses(make, length, zero, part):
    try:
        schedule = make(length)
    except ValueError:
        return  # betas of a few linear steps pass 1: refused, as the test below shows
    schedule = zero_terminal_snr(schedule) if zero else schedule
    index = -1 + part * length
    level = schedule.level(index)
    again = schedule.level_at(level.logsnr)
    assert again.t == pytest.approx(index, abs=1e-6 * length)
    assert again.alpha == pytest.approx(level.alpha, abs=1e-12) and again.sigma == pytest.approx(level.sigma, abs=1e-12)
    assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 5), st.floats(0, 1))
def test_flow_index_and_log_snr_are_inverses(shift, part):
    flow = Flow(1000, shift)
    level = flow.level(1000 * part)
    assert level.alpha + level.sigma == pytest.approx(1)
    assert flow.level_at(level.logsnr).t == pytest.approx(1000 * part, abs=1e-6)


def test_shifted_flow_is_esser_2024():
    flow = Flow(1000, shift=3.0)
    assert flow.level(500).sigma == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))
    assert flow.level(1000).alpha == 0 and flow.level(0).sigma == 0


def test_integer_indices_are_the_table_itself():
    schedule = cosine(50)
    alpha, sigma = schedule.alpha_sigma(torch.arange(-1, 50))
    assert alpha.dtype == torch.float32 and (alpha[0], sigma[0]) == (1, 0)
    for i in range(-1, 50):
        level = schedule.level(i)
        assert (alpha[i + 1].item(), sigma[i + 1].item()) == pytest.approx((level.alpha, level.sigma), abs=1e-7)
        assert i == -1 or level.alpha == math.sqrt(schedule.alpha_bar[i].item())


def test_levels_between_indices_lie_between():
    schedule = linear(40)
    values = [schedule.level(-1 + k / 7).logsnr for k in range(1, 7 * 40)]
    assert all(a > b for a, b in zip(values, values[1:], strict=False))


def test_flow_alpha_sigma_takes_fractions():
    alpha, sigma = Flow(1000).alpha_sigma(torch.tensor([0.0, 250.5, 1000.0]))
    assert torch.allclose(sigma, torch.tensor([0.0, 0.2505, 1.0])) and torch.allclose(alpha, 1 - sigma)


@pytest.mark.parametrize(
    "table, message",
    [
        (torch.tensor([0.9, 0.5]), "float64"),
        (torch.tensor([0.9, 0.95], dtype=torch.float64), "strictly decreasing"),
        (torch.tensor([1.0, 0.5], dtype=torch.float64), "strictly decreasing inside"),
        (torch.tensor([0.5, 0.0, -0.1], dtype=torch.float64), "only the last may be 0"),
        (torch.tensor([0.5, math.nan], dtype=torch.float64), "strictly decreasing"),
        (torch.zeros(0, dtype=torch.float64), "non-empty"),
    ],
)
def test_bad_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        Schedule(table)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="each must be inside"):
        linear(10)  # the last beta would be 2
    with pytest.raises(ValueError, match="at least one level"):
        cosine(0)
    with pytest.raises(ValueError, match=r"-1 \(clean\) to 99"):
        cosine(100).level(100)
    with pytest.raises(ValueError, match="indices run from -2"):
        cosine(100).alpha_sigma(torch.tensor([-2, 5]))
    with pytest.raises(ValueError, match="takes integers"):
        cosine(100).alpha_sigma(torch.tensor([0.5]))
    with pytest.raises(ValueError, match="noisier than this schedule"):
        linear().level_at(-30.0)
    with pytest.raises(ValueError, match="two or more"):
        zero_terminal_snr(from_beta(torch.tensor([0.1])))
    with pytest.raises(ValueError, match="positive"):
        Flow(0)


def test_the_table_cannot_be_changed_from_outside():
    mine = torch.tensor([0.9, 0.5], dtype=torch.float64)
    schedule = Schedule(mine)
    mine[0] = 0.1
    assert schedule.alpha_bar[0] == 0.9
