"""Which levels are visited: the formulas of the papers, and what every spacing promises."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgtwin.diffusion import Flow, cosine, linear, scaled_linear, zero_terminal_snr
from ecgtwin.diffusion.levels import at_indices, karras, leading, linspace, respace, trailing, uniform_logsnr

SPACINGS = [trailing, leading, linspace, karras, uniform_logsnr]


def indices(levels):
    return [level.t for level in levels]


def test_table_2_of_lin_2024():
    """1000 levels, 10 steps; the paper counts from 1."""
    schedule = linear(1000)
    assert indices(leading(schedule, 10)) == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0, -1]
    assert indices(leading(schedule, 10, offset=1)) == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1, -1]
    assert indices(linspace(schedule, 10)) == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0, -1]
    assert indices(trailing(schedule, 10)) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99, -1]


def test_karras_is_equation_5():
    schedule = scaled_linear()
    levels = karras(schedule, 12, rho=7)
    high, low = (schedule.level(i).sigma / schedule.level(i).alpha for i in (999, 0))
    for k, level in enumerate(levels[:-1]):
        wanted = (high ** (1 / 7) + k / 11 * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        assert level.sigma / level.alpha == pytest.approx(wanted, rel=1e-9)


def test_uniform_log_snr_is_uniform():
    values = [level.logsnr for level in uniform_logsnr(cosine(200), 9, noisiest=190)[:-1]]
    gaps = [b - a for a, b in zip(values, values[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * 8)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(SPACINGS), st.integers(40, 400), st.integers(1, 40), st.booleans())
def test_what_every_spacing_promises(spacing, length, steps, straight):
    path = Flow(length) if straight else linear(length)
    if straight and spacing in (karras, uniform_logsnr):
        levels = spacing(path, steps, noisiest=length - 1)
    else:
        levels = spacing(path, steps)
    assert len(levels) == steps + 1
    assert levels[-1] == path.level(path.clean)
    assert all(b.logsnr > a.logsnr for a, b in zip(levels, levels[1:], strict=False))
    if spacing in (trailing, linspace):
        assert levels[0] == path.level(path.noisiest)


def test_trailing_meets_zero_terminal_snr_and_log_snr_cannot():
    schedule = zero_terminal_snr(linear())
    assert trailing(schedule, 7)[0].alpha == 0
    for spacing in (karras, uniform_logsnr):
        with pytest.raises(ValueError, match="pure noise.*noisiest=…"):
            spacing(schedule, 7)
        assert spacing(schedule, 7, noisiest=998)[0].t == pytest.approx(998)


def test_hand_picked_levels():
    """Ten steps that were optimised for Stable Diffusion 1.5
    (arXiv 2404.14507), here for eleven levels of its schedule."""
    schedule = scaled_linear()
    picked = at_indices(schedule, [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0])
    assert indices(picked) == [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0, -1]
    same = respace(schedule, picked, 11)
    assert indices(same) == pytest.approx(indices(picked))
    more = respace(schedule, picked, 21)
    assert indices(more)[::2][:-1] == pytest.approx(indices(picked)[:-2])
    assert more[1].logsnr == pytest.approx((picked[0].logsnr + picked[1].logsnr) / 2)
    assert at_indices(schedule, [999.0, 10.5, -1])[-1].sigma == 0  # fractions, and the clean end only once


def test_bad_requests_are_refused():
    schedule = linear(100)
    for spacing in SPACINGS:
        with pytest.raises(ValueError, match="at least 1"):
            spacing(schedule, 0)
    for spacing in (trailing, leading, linspace):
        with pytest.raises(ValueError, match="at most 100"):
            spacing(schedule, 101)
    with pytest.raises(ValueError, match="strictly falling"):
        at_indices(schedule, [5, 7])
    with pytest.raises(ValueError, match="strictly falling"):
        at_indices(schedule, [])
    with pytest.raises(ValueError, match="no finite log-SNR"):
        respace(schedule, trailing(zero_terminal_snr(schedule), 5), 9)


def test_as_many_steps_as_levels_visits_them_all():
    schedule = linear(60)
    for spacing in (trailing, leading, linspace):
        assert indices(spacing(schedule, 60)) == [float(i) for i in range(59, -2, -1)]
    assert math.isinf(trailing(schedule, 60)[-1].logsnr)
