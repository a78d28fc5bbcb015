from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from hostile_report import hostile_report
from pollice.judging.results import Mistake, Report
from pollice.predictions.pieces import Piece
from pollice.report import to_html
from pollice.report.html import matrix, options, shown_text, split_text
from report_samples import (
    five_methods,
    method_report,
    predictions,
    probed_methods,
    report_of,
    scale_methods,
    simple_report,
    training_log,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}
SIX = ("anger", "fear", "joy", "love", "sadness", "surprise")


class Page(HTMLParser):
    """Reads a page as a browser would, and fails on a tag that is closed wrongly."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.words = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs if (tag, name) != ("a", "href")}
        self.links += [value or "" for name, value in attrs if (tag, name) == ("a", "href")]
        self.anchors += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def one_method() -> Report:
    return simple_report({"only": 0.8})


def six_labels() -> Report:
    return simple_report({"a": 0.8, "b": 0.6}, labels=SIX)


def twelve_methods() -> Report:
    return simple_report({f"method-{n}": 0.6 + n / 40 for n in range(12)})


def no_learning() -> Report:
    return simple_report({"same": 0.5, "same-2": 0.5}, rows=20)


REPORTS = [
    scale_methods,
    probed_methods,
    five_methods,
    one_method,
    six_labels,
    twelve_methods,
    no_learning,
    hostile_report,
]


@pytest.mark.parametrize("make", REPORTS)
def test_tags_are_balanced(make: Callable[[], Report]) -> None:
    page = Page(to_html(make()))
    assert page.open == []
    assert page.tags["html"] == page.tags["main"] == 1


@pytest.mark.parametrize("make", REPORTS)
def test_nothing_is_fetched_and_nothing_runs(make: Callable[[], Report]) -> None:
    page = Page(to_html(make()))
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "onerror", "onclick", "onload"} & page.attributes
    assert all(link.startswith("#") for link in page.links)


def test_an_ordinary_page_names_no_address() -> None:
    document = to_html(five_methods())
    assert not [
        part for part in ("http://", "https://", "src=", "url(", "@import") if part in document
    ]
    assert "default-src 'none'" in document


def test_hostile_text_is_shown_as_text() -> None:
    document = to_html(hostile_report())
    document.encode("utf-8")
    page = Page(document)
    assert "<script>alert(1)</script>" in page.words
    assert "{{ 7*7 }}" in page.words
    assert not {"\x00", "\x1b", "\u202e"} & set(document)


def test_every_table_has_a_caption_and_every_plot_a_title() -> None:
    page = Page(to_html(five_methods()))
    assert page.tags["table"] == page.tags["caption"]
    assert page.tags["title"] >= page.tags["svg"] - 1  # the scale below the intervals is decoration


def test_headline_intervals_and_majority_are_on_the_page() -> None:
    report = five_methods()
    words = Page(to_html(report)).words
    assert f"Best: finetune, accuracy {report.best.evaluation.accuracy:.3f} [" in words
    assert report.data.test_ids_sha256 in words
    assert "finetune cannot be told from features" in " ".join(words.split())


def test_learning_curves_only_where_a_method_trains() -> None:
    assert "How training went" in to_html(five_methods())
    assert "How training went" not in to_html(one_method())


def test_the_truncation_table_stands_only_where_rows_were_cut() -> None:
    assert "too long to read whole" in to_html(five_methods())
    assert "too long to read whole" not in to_html(one_method())


def test_a_method_alone_has_no_pairs() -> None:
    assert "Which differences are real" not in to_html(one_method())


def test_many_pairs_are_folded_away() -> None:
    assert "55 more pairs, without method-11" in to_html(twelve_methods())


def test_a_training_log_with_holes_is_drawn() -> None:
    table = predictions(0.8)
    holes = (*training_log(), {"step": 121, "loss": float("nan"), "grad_norm": None})
    report = report_of([method_report("m", table, training=holes)], {"m": table})
    assert "Loss by step" in to_html(report)


def test_a_confusion_matrix_has_no_answer_only_where_rows_have_none() -> None:
    table = predictions(0.8)
    assert matrix(method_report("m", table)).answers == ("negative", "positive")
    table.probabilities[:3] = float("nan")
    answered = matrix(method_report("m", table))
    assert answered.answers == ("negative", "positive", "no answer")
    assert [cells[-1].rows for _, cells in answered.rows] == ["2", "1"]


def test_option_values_are_written_plainly() -> None:
    method = method_report("m", predictions(0.8), options={"epochs": 3, "name": "x", "off": None})
    assert options(method) == {"epochs": "3", "name": "x", "off": "null"}


def test_a_long_text_is_parted_between_words() -> None:
    text = "word " * 200
    shown, rest = split_text(text)
    assert len(shown) <= 600
    assert f"{shown} {rest}" == text
    assert split_text("x" * 1000) == ("x" * 600, "x" * 400)
    assert split_text("short") == ("short", "")


@pytest.mark.parametrize("make", REPORTS)
def test_the_table_of_contents_leads_to_every_section(make: Callable[[], Report]) -> None:
    page = Page(to_html(make()))
    assert [link.removeprefix("#") for link in page.links] == page.anchors
    assert page.tags["section"] == len(page.anchors) == len(set(page.anchors))


def test_the_first_screen_says_what_the_names_are_and_what_to_use() -> None:
    words = " ".join(Page(to_html(five_methods())).words.split())
    first, _, _ = words.partition("A row is a method, the most accurate first")
    assert "finetune: an encoder, all weights trained; checkpoint minilm; 4,000 labels" in first
    assert "Labels of the test rowsnegative 250 (50 %), positive 250 (50 %)" in first
    assert "Most accurate: finetune, accuracy 0." in first
    assert "Without labels: prompt, accuracy 0." in first
    assert "Cheapest within the noise: features, accuracy 0." in first


def test_a_prompt_is_shown_in_full() -> None:
    table = predictions(0.8)
    asked = ["{text}\nIn one word: [good | <b>bad</b>]"]
    report = report_of([method_report("p", table, facts={"asked": asked})], {"p": table})
    document = to_html(report)
    assert '<pre dir="auto">{text}\nIn one word: [good | &lt;b&gt;bad&lt;/b&gt;]</pre>' in document


def test_the_words_of_a_mistake_are_shaded_and_none_is_lost() -> None:
    text = "<b>dull</b> but " + "fine " * 300
    words = (Piece(start=3, end=7, weight=2.0), Piece(start=12, end=15, weight=-1.0))
    mistake = Mistake(id="1", text=text, gold="a", predicted="b", probability=0.9, words=words)
    shown, rest = shown_text(mistake)
    assert "".join(part.text for part in shown) == split_text(text)[0]
    assert "".join(part.text for part in rest) == split_text(text)[1]
    assert [part.sign for part in shown if part.sign] == ["+++", "--"]
    table = predictions(0.8)
    document = to_html(report_of([method_report("m", table, mistakes=(mistake,))], {"m": table}))
    assert '<mark class="for-3">dull<sup>+++</sup></mark>' in document
    assert "<b>dull" not in document
