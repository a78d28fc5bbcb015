"""Labels for many texts: a model judges some of them, and a student learns to label the rest.

Knows nothing about prompts, and nothing about files.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pollice.data.dataset import TextTable
from pollice.errors import counted
from pollice.methods import REGISTRY
from pollice.models.parts import MethodSource, Part
from pollice.models.teaching import Taught, judge_texts, teach
from pollice.predictions.predict import predict
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions

TAUGHT_TEXTS = 3000
"""So many texts the model judges itself."""
LARGE = 10_000
"""From so many rows on, the fast way is worth naming."""
_STUDENT = "baseline"


@dataclass(frozen=True, kw_only=True)
class FastAnswers:
    """Answers of a model and of its student."""

    predictions: Predictions
    by_student: frozenset[int]
    """The rows that the student answered."""
    taught: Taught

    def sentence(self, teacher: str) -> str:
        """Return how many rows each answered, how fast, and how well they agree."""
        judged, rows = self.taught.judged, len(self.by_student)
        return (
            f"Fast: {teacher} judged {counted(len(judged.texts), 'text')} at "
            f"{judged.rows_per_second:,.1f} rows/s, and a student ({self.taught.student.method}) "
            f"that learned from them labelled {counted(rows, 'row')} at "
            f"{self.taught.rows_per_second:,.0f} rows/s. The two agree on "
            f"{self.taught.agreement:.1%} of {len(self.taught.held_out):,} texts that the student "
            "did not learn from."
        )


def judge_fast(
    teacher: Predictor, method: str, table: TextTable, texts: int, seed: int
) -> FastAnswers:
    """Let a predictor judge some different texts, and its student all others.

    Args:
        teacher: The predictor.
        method: The name of its method.
        table: All texts.
        texts: How many the predictor judges.
        seed: Draws them.
    """
    different = [text for text in dict.fromkeys(table.texts) if text.strip()]
    draw = np.random.default_rng(seed).permutation(len(different))[:texts]
    names = teacher.label_names
    part = Part(method=method, predictor=teacher)
    judged = judge_texts(part, [different[row] for row in draw], names)
    source = MethodSource(method=REGISTRY.create(_STUDENT, {"seed": seed}))
    with tempfile.TemporaryDirectory() as workdir:
        taught = teach(source, judged, names, Path(workdir), seed)
    predictions = predict(
        taught.student.predictor, table.texts, ids=table.ids, description="labelling"
    )
    return _with_answers(predictions, table.texts, taught)


def _with_answers(predictions: Predictions, texts: Sequence[str], taught: Taught) -> FastAnswers:
    """Put the teacher's answers in the place of the student's, where it has given some."""
    place = {text: number for number, text in enumerate(taught.judged.texts)}
    probabilities = predictions.probabilities.copy()
    asked = [row for row, text in enumerate(texts) if text in place]
    probabilities[asked] = taught.judged.probabilities[[place[texts[row]] for row in asked]]
    return FastAnswers(
        predictions=Predictions(
            ids=predictions.ids,
            label_names=predictions.label_names,
            probabilities=probabilities,
            gold=None,
            tokens=predictions.tokens,
            truncated=predictions.truncated,
            variants={},
        ),
        by_student=frozenset(range(len(texts))) - frozenset(asked),
        taught=taught,
    )
