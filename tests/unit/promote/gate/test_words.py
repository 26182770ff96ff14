"""The gate's words."""

import pytest
from markdown_it import MarkdownIt

from promote.contract import Reason, Verdict
from promote.evidence.picture import interval_plot
from promote.gate.words import bullets, difference, explanation, sentence, table
from retrain.contract import Comparison, Interval

DIGEST = "sha256:" + "0" * 64


def a_comparison(
    estimate=0.013, lower=0.006, upper=0.019, *, metric="log_loss", where="all rows", rows=52310
) -> Comparison:
    return Comparison(
        metric=metric,
        where=where,
        champion=0.437,
        challenger=0.424,
        improvement=Interval(estimate=estimate, lower=lower, upper=upper, confidence=0.95),
        rows=rows,
        groups=7,
        effective_groups=6.8,
    )


def a_verdict(*comparisons: Comparison, outcome="promote", champion=7) -> Verdict:
    return Verdict(
        outcome=outcome,
        kind="change",
        model="flight-delay",
        challenger=8,
        champion=champion,
        snapshot_id=DIGEST,
        policy_digest=DIGEST,
        comparisons=comparisons,
        reasons=(
            Reason(rule="change", outcome="pass", sentence="Log loss improves: better."),
            Reason(rule="slice origin", outcome="block", sentence="worse where `origin = JFK`."),
        ),
    )


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ((0.013, 0.006, 0.019), "log loss improves by 0.013 [0.006, 0.019]"),
        ((-0.013, -0.019, -0.006), "log loss worsens by 0.013 [0.006, 0.019]"),
        ((0.013, -0.006, 0.032), "log loss improves by 0.013 [-0.006, 0.032]"),
        ((0.00012, 0.0001, 0.00014), "log loss improves by 0.00012 [0.00010, 0.00014]"),
        ((0, 0, 0), "log loss is the same"),
        ((-0.00001, -0.02, 0.02), "log loss worsens by 0.000 [-0.020, 0.020]"),
    ],
)
def test_a_difference_is_said_with_the_decimals_that_its_interval_deserves(interval, says):
    assert difference(a_comparison(*interval)) == says


def test_the_sentence_names_both_versions_and_the_deciding_reason():
    assert (
        sentence(a_verdict())
        == "flight-delay v8 against v7 (change): promote. Log loss improves: better."
    )
    assert "against the constant" in sentence(a_verdict(champion=None))
    assert "keep the champion" in sentence(a_verdict(outcome="keep"))


def test_the_table_has_whole_metrics_first_then_slices_that_got_worse_first():
    found = table(
        a_verdict(
            a_comparison(),
            a_comparison(-0.001, -0.002, 0, metric="roc_auc"),
            a_comparison(0.02, 0.01, 0.03, where="origin = JFK"),
            a_comparison(-0.02, -0.03, -0.01, where="origin = LGA"),
        )
    )
    assert [line.split(" | ")[0] for line in found.splitlines()[2:]] == [
        "| all rows",
        "| all rows",
        "| `origin = LGA`",
        "| `origin = JFK`",
    ]
    assert "[0.006, 0.019]" in found
    assert "52,310" in found


def test_a_verdict_without_figures_has_no_table():
    assert table(a_verdict()) == ""
    assert "Holm" not in explanation(a_verdict())


@pytest.mark.parametrize(
    "value", ["a|b", "`x`", "@acme/all", "<b>x</b>", "line\nbreak", "[x](http://evil)", "x" * 500]
)
def test_values_from_the_data_stay_text_in_markdown(value):
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(table(a_verdict(a_comparison(where=f"origin = {value}"))))
    )
    assert html.count("<tr>") == 2
    assert html.count("<td>") == 9
    assert "<b>" not in html
    assert "href" not in html
    assert "<code>origin = " in html


def test_an_explanation_has_the_deciding_reason_once_and_the_figures_last():
    parts = explanation(a_verdict(a_comparison())).strip().split("\n\n")
    assert parts[0] == sentence(a_verdict())
    assert parts[1] == "- ✗ **slice origin**: worse where `origin = JFK`."
    assert "Holm" in parts[2]
    assert parts[3] == table(a_verdict(a_comparison()))


def test_reasons_keep_their_order_and_blocks_stand_out():
    assert bullets(a_verdict().reasons).splitlines() == [
        "- ✓ change: Log loss improves: better.",
        "- ✗ **slice origin**: worse where `origin = JFK`.",
    ]


@pytest.mark.parametrize(
    "where", ["origin = JFK", "origin = $x$ $", "origin = żółć 雪 \x07", "origin = " + "x" * 500]
)
def test_the_picture_can_be_drawn_whatever_the_values_are(where):
    assert interval_plot(a_verdict(a_comparison(), a_comparison(where=where))).startswith(
        b"\x89PNG"
    )


def test_the_picture_of_a_verdict_without_figures_says_so():
    assert interval_plot(a_verdict()).startswith(b"\x89PNG")


def test_the_picture_is_the_same_bytes_again():
    assert interval_plot(a_verdict(a_comparison())) == interval_plot(a_verdict(a_comparison()))
