"""The page and the comparison, on a small report made by hand."""

import re

import numpy as np
import pytest

from ecgtwin.evaluation import compare, page
from ecgtwin.evaluation.figures import Figure, Section, Table, averaged, bare, histogram
from ecgtwin.evaluation.page_plots import bar, reach
from ecgtwin.evaluation.suite import PARTS, chosen_parts
from ecgtwin.metrics.bootstrap import Estimate
from ecgtwin.metrics.identity import POINTS


def report(shift: float = 0.0, digest: str = "d") -> dict:
    rng = np.random.default_rng(0)
    error = np.abs(rng.normal(5, 1, 40)) + shift
    found = [
        averaged(
            "heart rate error",
            "/min",
            "less",
            "Mean of <all>.",
            {"twin": error, "real": error / 2},
            np.arange(40),
            drawn=True,
        ),
        Figure(
            "coverage, learned",
            "",
            "more",
            "Depends on n.",
            {"twin": bare(0.8), "real": bare(np.nan)},
            40,
            note="Not <so>.",
        ),
    ]
    table = Table("By <state>", "Medians.", ("uV",), {"AF": [None], "b": [3.5]})
    wave = np.zeros(8 * POINTS, int).tolist()
    curves = dict.fromkeys(("reference", "truth", "made"), wave)
    overlay = {"group": "worst", "own": "a", "wanted": "b", "uv": 9.0, "uv_copy": 8.0, "beats": curves}
    data = {"split": "validation", "training": 9, "held_out": 40, "patients": 40, "digest": digest}
    quality = {"statement_auroc_validation": 0.9, "identity": {"rank1": 0.5, "eer": 0.1, "gallery": 40}, "text": {}}
    return {
        "format": 1,
        "name": "my <model>",
        "maker": "twin",
        "suite": "quick",
        "seconds": 1.0,
        "overlays": [overlay],
        "facts": {"data": data, "judges": {}, "judge_quality": quality, "seed": 0},
        "sections": [Section("All", found, [table]).plain()],
    }


def test_the_page_stands_alone_and_escapes_what_it_shows():
    text = page.page(report())
    assert not re.search(r"<script|<link|<img|https?://|url\(|@import", text)
    assert "my &lt;model&gt;" in text and "<model>" not in text and "Mean of &lt;all&gt;." in text
    assert text.count("<svg") == 5 and "worst" in text and "By &lt;state&gt;" in text and "Not &lt;so&gt;." in text
    assert "<polyline points='6.0,96.0" in text or text.count("<polyline") >= 26  # two rows drawn, 24 curves of beats


def test_the_text_has_every_row_and_numbers_that_are_missing_stay_missing():
    text = page.text(report())
    assert "heart rate error (/min): twin" in text and "coverage, learned: twin 0.8, real – [Not <so>.]" in text
    assert "by <state>: uV" in text and "AF: –" in text and "b: 3.5" in text


def test_paired_differences_are_sure_where_unpaired_ones_are_not():
    found = compare.compare(report(), report(0.5))
    assert [d.figure for d in found] == ["heart rate error"]
    d = found[0]
    assert d.difference.value == pytest.approx(0.5, abs=1e-3) and d.difference.low > 0.49 and d.verdict == "worse"
    assert compare.compare(report(), report())[0].verdict == "no difference seen"
    assert "worse" in compare.text(found)


def test_the_same_figure_in_two_sections_is_compared_with_its_like_and_shown_once_in_short():
    twice = [report(), report(0.5)]
    for r in twice:
        few = averaged("heart rate error", "/min", "less", "Of few.", {"twin": np.full(5, 9.0)}, np.arange(5))
        r["sections"].append(Section("Few", [few]).plain())
    found = compare.compare(*twice)
    assert [d.section for d in found] == ["All", "Few"] and found[0].difference.value > 0.4
    assert found[1].verdict == "no difference seen" and "Few" in compare.text(found)
    assert "<b>9" not in page.headline(twice[0]) and "<b>4.9" in page.headline(twice[0])


def test_values_far_beyond_real_ones_leave_the_scale_to_the_others():
    rows = {"real": (1.0, 0.5, 1.5), "twin": (2.0, 1.0, 3.0), "blur": (400.0, 300.0, 500.0)}
    low, high = reach(rows, "twin")
    assert (low, high) == (0, 9) and reach({"a": (-1.0, None, None), "b": (4.0, None, None)}, "twin") == (-1, 4)
    assert "<circle" in bar(rows["twin"], low, high, "twin", "twin")
    assert "<circle" not in bar(rows["blur"], low, high, "blur", "twin")


def test_figures_of_whole_sets_are_set_beside_each_other_unpaired():
    reports = [report(), report()]
    for r, value in zip(reports, (0.5, 0.9), strict=True):
        rows = {"twin": Estimate(value, value - 0.1, value + 0.1)}
        r["sections"].append(Section("Sets", [Figure("told apart", "AUROC", "less", "Of all.", rows, 40)]).plain())
    (found,) = compare.wholes(*reports)
    assert found.figure == "told apart" and found.apart and not compare.wholes(reports[0], reports[0])[0].apart
    assert re.search(r"told apart +0.5 \(0.4 to 0.6\) +0.9 \(0.8 to 1\) +apart", compare.text([], [found]))


def test_other_questions_are_not_compared():
    with pytest.raises(ValueError, match="same store and split"):
        compare.compare(report(), report(digest="e"))
    other = report() | {"suite": "full"}
    with pytest.raises(ValueError, match="seed or suite"):
        compare.compare(report(), other)


def test_parts_are_shown_in_the_suites_order_and_unknown_ones_are_refused():
    assert chosen_parts("privacy, realism") == ("realism", "privacy") and chosen_parts(None) == tuple(PARTS)
    with pytest.raises(ValueError, match="part 'speed' of the suite: expected some of realism"):
        chosen_parts("speed")


def test_what_lies_far_off_counts_in_the_outermost_bins():
    found = histogram({"real": np.r_[np.linspace(0, 1, 198), -50.0, 50.0], "none": np.full(3, np.nan)}, bins=4)
    assert found["edges"][0] == pytest.approx(0, abs=0.02) and found["edges"][-1] == pytest.approx(1, abs=0.02)
    assert found["shares"]["real"] == pytest.approx([0.25] * 4, abs=0.011) and found["shares"]["none"] == [0] * 4
    assert histogram({"none": np.full(3, np.nan)})["edges"] == []
