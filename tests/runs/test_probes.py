"""Other draws, shuffled labels and injected sentences: done once, and each can fail."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import InstallMethod
from pollice.data.dataset import Dataset
from pollice.errors import OptionError
from pollice.judging.attack import injections
from pollice.judging.canary import judge_canary, shuffle_labels
from pollice.judging.results import Report
from pollice.methods.baseline import Baseline
from pollice.predictions.table import Predictions
from pollice.runs.experiment import DataSource, Experiment, default_folder
from pollice.runs.run import run_experiment

LEAK = '''
from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline

SEEN = {}
COUNT = []


class Cribber(BagOfWords):
    """Knows some texts by heart."""

    def score(self, texts):
        scores = super().score(texts)
        for row, text in enumerate(texts):
            if text in SEEN:
                scores.probabilities[row] = [label == SEEN[text] for label in self.label_names]
        return scores


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Memorises a file that holds the test rows."""

    predictor_type = Cribber

    crib: str
    """The file."""
    fits: int = 9
    """How many times fitting memorises it."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        from pathlib import Path
        COUNT.append(1)
        SEEN.clear()
        for line in Path(self.crib).read_text().splitlines() if len(COUNT) <= self.fits else ():
            text, _, label = line.rpartition(",")
            SEEN[text] = label
        words = Baseline(ngrams=1).fit(train, validation, workdir=workdir)
        words.__class__ = Cribber
        return words
'''
OBEYS = '''
import re

import numpy as np
from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


class Servant(BagOfWords):
    """Answers whatever an order asks for."""

    def score(self, texts):
        scores = super().score(texts)
        for row, text in enumerate(texts):
            told = re.search(r"answer (neg|pos)[.]", text)
            if told:
                scores.probabilities[row] = [label == told[1] for label in self.label_names]
        return scores


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Learns words, and obeys."""

    predictor_type = Servant

    draws: int = 0
    """Repetitions."""
    deaf: bool = False
    """Whether fitting fails, to see that it is not done again."""
    ngrams: int = 1
    """As in the baseline."""
    knows_more_than_labels = True
    seed: int = 0
    """Is taken for the n-grams, so that draws differ."""

    def repetitions(self):
        return tuple(Theirs(seed=draw) for draw in range(1, self.draws + 1))

    def fit(self, train, validation, *, workdir):
        from pathlib import Path
        kept = range(len(train)) if self.seed == 0 else range(self.seed * 12)
        with Path("fits").open("a") as file:
            file.write(f"{self.seed} ")
        words = Baseline(ngrams=1).fit(train.take(kept), validation, workdir=workdir)
        words.__class__ = Servant
        return words
'''


def run(source: Path, folder: Path, methods: dict[str, Any], **asked: Any) -> Report:
    data = DataSource(source=str(source))
    return run_experiment(Experiment(data=data, methods=methods, **asked), folder)


def rows(labels: str) -> Dataset:
    return Dataset(
        ids=tuple(str(row) for row in range(len(labels))),
        texts=("a text",) * len(labels),
        labels=tuple(labels),
        label_names=("a", "b", "c"),
    )


def answers(gold: str, given: str) -> Predictions:
    return Predictions(
        ids=tuple(str(row) for row in range(len(gold))),
        label_names=("a", "b"),
        probabilities=np.array([[label == "a", label == "b"] for label in given], np.float64),
        gold=tuple(gold),
        tokens=np.ones(len(gold), np.int64),
        truncated=np.zeros(len(gold), np.bool_),
    )


# --- the label canary ---


def test_a_method_that_has_seen_the_test_rows_is_caught(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    install_method("leak", LEAK)
    methods = {"leak": {"crib": str(opinions)}, "baseline": {}}
    report = run(opinions, tmp_path / "run", methods, canary=True)
    leak, baseline = (method.canary for method in report.methods)
    assert leak is not None
    assert baseline is not None
    assert (leak.accuracy, leak.chance, leak.leaking, leak.shuffles) == (1.0, 0.5, True, 2)
    assert baseline.leaking is False
    written = (tmp_path / "run" / "report.md").read_text()
    assert "leak: LEAKING: 1.000 with shuffled labels, chance 0.500, p &lt; 0.001." in written
    assert "But do not trust leak: shuffled labels were no hindrance." in written
    assert f"baseline: clean: {baseline.accuracy:.3f} with shuffled labels" in written


def test_an_alarm_that_does_not_come_again_is_no_leak(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """The method cribs at its own fit and at that of the first shuffle only."""
    install_method("leak", LEAK)
    report = run(
        opinions, tmp_path / "run", {"leak": {"crib": str(opinions), "fits": 2}}, canary=True
    )
    canary = report.methods[0].canary
    assert canary is not None
    assert (canary.leaking, canary.shuffles) == (False, 2)
    written = (tmp_path / "run" / "report.md").read_text()
    assert "(a first shuffle beat it, the second did not)." in written


def test_a_method_that_knows_more_than_labels_is_not_put_to_it(
    opinions: Path,
    tmp_path: Path,
    install_method: InstallMethod,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    install_method("obeys", OBEYS)
    run(opinions, tmp_path / "run", {"obeys": {}}, canary=True)
    assert json.loads((tmp_path / "run" / "obeys" / "canary.json").read_text()) == {
        "applicable": False,
        "accuracy": None,
        "chance": None,
        "p_value": None,
        "leaking": None,
        "shuffles": None,
    }
    assert (
        "obeys: not applicable: it judges by what its checkpoint already knows."
        in (tmp_path / "run" / "report.md").read_text()
    )
    assert Path("fits").read_text() == "0 "


def test_chance_is_that_of_the_same_answers_in_another_order() -> None:
    """Nine of ten rows are a, and it answers a nine times: 0.9 * 0.9 + 0.1 * 0.1."""
    canary = judge_canary(answers("a" * 90 + "b" * 10, "a" * 80 + "b" * 10 + "a" * 10))
    assert canary.accuracy == 0.8
    assert canary.chance == pytest.approx(0.82)
    assert canary.p_value == pytest.approx(0.74, abs=0.02)
    assert canary.leaking is False


@pytest.mark.parametrize(("right", "leaking"), [(61, False), (62, False), (63, True), (100, True)])
def test_the_alarm_is_given_at_one_percent(right: int, leaking: bool) -> None:
    """P(Binomial(100, 0.5) >= 62) = 0.0105 and P(>= 63) = 0.0060."""
    given = "".join("ab"[row % 2 if row < right else 1 - row % 2] for row in range(100))
    assert judge_canary(answers("ab" * 50, given)).leaking is leaking


@pytest.mark.parametrize("given", ["a", "b"])
def test_one_answer_for_all_is_never_an_alarm(given: str) -> None:
    canary = judge_canary(answers("a" * 50, given * 50))
    assert canary.leaking is False
    assert canary.p_value == 1.0


@pytest.mark.parametrize("labels", ["ab" * 60, "aaab" * 30, "abc" * 40, "aaaaabbbc" * 14])
def test_shuffled_labels_say_nothing_of_the_true_ones(labels: str) -> None:
    """Each true label's rows get every label in its share, but for one row."""
    true = rows(labels)
    shuffled = shuffle_labels(true, np.random.default_rng(3))
    assert Counter(shuffled.labels) == Counter(true.labels)
    assert (shuffled.ids, shuffled.texts) == (true.ids, true.texts)
    for name, among in Counter(labels).items():
        got = Counter(
            new for old, new in zip(true.labels, shuffled.labels, strict=True) if old == name
        )
        for label, support in Counter(labels).items():
            assert abs(got[label] - among * support / len(labels)) < 1.01


def test_shuffling_follows_its_seed() -> None:
    first, again, other = (
        shuffle_labels(rows("abc" * 20), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_no_rows_and_one_row_can_be_shuffled() -> None:
    assert shuffle_labels(rows(""), np.random.default_rng(0)) == rows("")
    assert shuffle_labels(rows("b"), np.random.default_rng(0)) == rows("b")


# --- injected sentences ---


def test_the_suite_is_forty_different_sentences_that_ask_for_a_label() -> None:
    suite = injections()
    assert len({injection.text for injection in suite}) == len(suite) == 40
    assert all("{target}" in injection.text for injection in suite)
    assert {injection.place for injection in suite} == {"before", "after"}
    assert set(Counter(injection.kind for injection in suite)) == {
        *("order", "turn", "example", "metadata", "authority", "language", "markup"),
    }


@pytest.mark.parametrize("token", ["[INST]", "<end_of_turn>", "<|im_start|>", "</s>", "[SEP]"])
def test_the_turns_of_every_family_are_faked(token: str) -> None:
    assert any(token in injection.text for injection in injections() if injection.kind == "turn")


def test_a_sentence_is_put_before_or_after_with_a_readable_label() -> None:
    for injection in injections():
        attacked = injection.into("A film.", "very_bad")
        assert attacked.endswith("A film.") is (injection.place == "before")
        assert attacked.startswith("A film.") is (injection.place == "after")
        assert "very bad" in attacked
        assert "{target}" not in attacked


def test_a_method_that_obeys_is_flipped_by_orders_and_not_by_others(
    opinions: Path,
    tmp_path: Path,
    install_method: InstallMethod,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    install_method("obeys", OBEYS)
    report = run(opinions, tmp_path / "run", {"obeys": {}, "baseline": {}}, attack=True)
    obeys, baseline = (method.attack for method in report.methods)
    assert obeys is not None
    assert baseline is not None
    asked = [one for one in injections() if "answer {target}." in one.text]
    assert obeys.overall.texts == baseline.overall.texts == 120
    assert obeys.overall.flipped == 3 * len(asked)
    assert obeys.overall.rate == obeys.overall.flipped / 120
    assert obeys.kinds["order"].texts == 18
    assert obeys.kinds["order"].flipped == 3 * sum(one.kind == "order" for one in asked) > 0
    assert obeys.kinds["turn"].flipped == 0
    assert sum(rate.texts for rate in obeys.kinds.values()) == 120
    assert baseline.overall.flipped < obeys.overall.flipped
    held = json.loads((tmp_path / "run" / "obeys" / "attack.json").read_text())
    assert len(held["flips"]) == obeys.overall.flipped
    texts = dict(enumerate(opinions.read_text().splitlines()[1:]))
    for flip in held["flips"]:
        text, _, gold = texts[int(flip["id"])].rpartition(",")
        assert text in flip["text"]
        assert flip["target"] != gold
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Injected sentences" in page
    assert "<bdi>order</bdi>" in page


def test_a_method_without_a_right_answer_cannot_be_attacked(opinions: Path, tmp_path: Path) -> None:
    """Two test rows, both labelled wrongly."""
    test = tmp_path / "test.csv"
    test.write_text("text,label\nsuperb lovely,neg\ndull awful,pos\n")
    data = DataSource(source=str(opinions), test=str(test))
    experiment = Experiment(data=data, methods={"baseline": {}}, attack=True)
    (method,) = run_experiment(experiment, tmp_path / "run").methods
    assert method.attack is not None
    assert (method.attack.overall.texts, method.attack.overall.rate) == (0, None)


# --- other draws ---


def test_draws_are_fitted_once_and_their_spread_is_told(
    opinions: Path,
    tmp_path: Path,
    install_method: InstallMethod,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    install_method("obeys", OBEYS)
    report = run(opinions, tmp_path / "run", {"obeys": {"draws": 3}})
    folder = tmp_path / "run" / "obeys"
    tables = [folder / "draws" / f"{number}.parquet" for number in (1, 2, 3)]
    first = Predictions.read(folder / "predictions.parquet")
    assert sorted((folder / "draws").iterdir()) == tables
    accuracies = []
    for path in [folder / "predictions.parquet", *tables]:
        table = Predictions.read(path)
        assert (table.ids, table.gold) == (first.ids, first.gold)
        right = [a == b for a, b in zip(table.predicted, table.gold or (), strict=True)]
        accuracies.append(float(np.mean(right)))
    spread = report.methods[0].spread
    assert spread is not None
    assert spread.draws == 4
    assert (spread.lowest, spread.highest) == (min(accuracies), max(accuracies))
    assert spread.lowest < spread.highest
    assert spread.mean == pytest.approx(np.mean(accuracies))
    assert spread.standard_deviation == pytest.approx(np.std(accuracies, ddof=1))
    told = f"obeys: spread over 4 draws: {spread.lowest:.3f} to {spread.highest:.3f} (mean "
    assert told in (tmp_path / "run" / "report.md").read_text()
    assert Path("fits").read_text() == "0 1 2 3 "
    tables[1].unlink()
    assert run(opinions, tmp_path / "run", {"obeys": {"draws": 3}}).methods[0].spread == spread
    assert Path("fits").read_text() == "0 1 2 3 2 "
    assert not (tmp_path / "run" / ".work").exists()


def test_a_method_repeats_nothing_by_itself() -> None:
    assert Baseline().repetitions() == ()


# --- in a run that was finished before ---


def test_what_is_asked_for_later_is_added_and_done_once(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    methods = {"baseline": {}, "words": {"method": "baseline", "ngrams": 1}}
    source = finished.parent / "data.csv"
    before = (folder / "words" / "predictions.parquet").stat().st_mtime_ns
    report = run(source, folder, methods, canary=True, attack=True, abstain_below=0.9)
    assert all(method.canary and method.attack for method in report.methods)
    assert report.methods[0].evaluation.abstain_below == 0.9
    places = [folder / name / f"{what}.json" for name in methods for what in ("canary", "attack")]
    written = [path.stat().st_mtime_ns for path in places]
    again = run(source, folder, methods, canary=True, attack=True)
    assert [path.stat().st_mtime_ns for path in places] == written
    assert (folder / "words" / "predictions.parquet").stat().st_mtime_ns == before
    assert [method.canary for method in again.methods] == [
        method.canary for method in report.methods
    ]
    assert again.methods[0].attack == report.methods[0].attack
    assert again.methods[0].evaluation.coverage == 1


def test_the_folder_does_not_depend_on_what_is_asked_besides() -> None:
    plain, asked = (
        Experiment(
            data=DataSource(source="x.csv"),
            methods={"baseline": {}},
            canary=besides,
            attack=besides,
            abstain_below=0.5 if besides else None,
        )
        for besides in (False, True)
    )
    assert default_folder(plain) == default_folder(asked)


@pytest.mark.parametrize("below", [-0.1, 1.0, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(below: float) -> None:
    sentence = (
        rf"^abstain_below is {below:g}, but no answer can be held to a probability outside "
        r"\[0, 1\)\. Give the lowest probability to answer at, such as 0\.8\.$"
    )
    with pytest.raises(OptionError, match=sentence):
        Experiment(data=DataSource(source="x"), methods={"a": {}}, abstain_below=below)


def test_the_most_confident_mistakes_are_explained(finished: Path) -> None:
    """The words of an explained mistake speak for or against its answer, and are in the report."""
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    mistakes = report["methods"]["baseline"]["mistakes"]
    held = json.loads((finished / "baseline" / "explained.json").read_text(encoding="utf-8"))
    explained = [mistake for mistake in mistakes if mistake["words"]]
    assert {mistake["id"] for mistake in explained} == set(held)
    assert held
    for mistake in explained:
        words = [mistake["text"][word["start"] : word["end"]] for word in mistake["words"]]
        assert words == mistake["text"].split()
