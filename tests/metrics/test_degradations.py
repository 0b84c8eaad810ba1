import numpy as np
import pytest

from ecgtwin.metrics.degradations import LADDER, misranked, through_100_hz


def test_what_100_hz_can_carry_comes_back_and_each_rung_keeps_the_shape():
    rate, t = 102.4, np.arange(1024) / 102.4
    x = np.sin(2 * np.pi * np.array([1.0, 10, 25])[None, :, None] * t).astype(np.float32)
    back = through_100_hz(x, rate)[..., 100:-100]
    np.testing.assert_allclose(back, x[..., 100:-100], atol=0.02)
    for make in LADDER.values():
        assert make(x, rate).shape == x.shape
    blurred = LADDER["8 Hz blur"](x, rate)[..., 100:-100]
    assert blurred[0, 0].std() == pytest.approx(x[0, 0].std(), rel=0.05) and blurred[0, 2].std() < 0.01
    np.testing.assert_array_equal(LADDER["time-reversed"](LADDER["time-reversed"](x, rate), rate), x)


def test_what_a_metric_gets_wrong_on_the_ladder_is_named():
    right = dict(zip(LADDER, (0.0, 1, 2, 3, 4), strict=True))
    assert misranked(right) == [] and misranked({"twin": 9.0, **right}) == [] and misranked({"real": 1.0}) == []
    assert misranked(right | {"8 Hz blur": 1.5}) == ["ranks 8 Hz blur before +0.05 mV noise"]
    assert misranked(right | {"100 Hz round trip": 0.01}) == ["does not tell 100 Hz round trip from real"]
    falling = {k: -v for k, v in right.items()}
    assert misranked(falling, worse_is_more=False) == [] and len(misranked(falling)) == 4
