"""`pollice.predict`: texts in a list give a predictions table, a data frame gives a data frame.

Knows nothing about files.
"""

from collections.abc import Sequence
from typing import Any, overload

import narwhals as nw

from pollice.data.cleaning import clean_html
from pollice.data.columns import ReadOptions, find_columns
from pollice.data.formats.frames import FRAME, read_frame
from pollice.data.formats.streamed import strings_of
from pollice.predictions import predict as plain
from pollice.predictions.answers import Answer, AnswerCache, OutputColumns, answer_texts
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions
from pollice.system.progress import in_chunks, stage


@overload
def predict(predictor: Predictor, texts: Sequence[str], **options: Any) -> Predictions: ...


@overload
def predict(predictor: Predictor, texts: Any, **options: Any) -> Any: ...


def predict(predictor: Predictor, texts: Any, **options: Any) -> Any:
    """Judge every text; an empty one has no answer.

    Args:
        predictor: What judges.
        texts: Strings, or a table of pandas, polars or Arrow.
        options: For strings ``ids`` and ``gold``, as in the predictions table; for a table
            ``text_column`` (found by its usual names where it is not given) and ``keep_html``.

    Returns:
        For strings, `Predictions` in their order. For a table, one of the same kind with the same
        rows, all columns, and added ones: label, probability, probability:LABEL, tokens,
        truncated and status. A column of the table with such a name is kept as input:NAME.

    Raises:
        DataError: the table has no column of texts.
    """
    if isinstance(texts, Sequence):
        return plain.predict(predictor, texts, **options)
    return _predict_frame(predictor, texts, **options)


def _predict_frame(
    predictor: Predictor, table: Any, *, text_column: str | None = None, keep_html: bool = False
) -> Any:
    found: list[str] = []

    def choose(names: Sequence[str]) -> Sequence[str]:
        options = ReadOptions(text_column=text_column)
        columns = find_columns(FRAME, names, options, labelled=False)
        found[:] = names
        return [columns["text"]]

    (values,) = read_frame(table, choose).values.values()
    cleaned = [text or "" for text in strings_of(FRAME, values)]
    texts = cleaned if keep_html else list(map(clean_html, cleaned))
    columns = OutputColumns(
        given=tuple(found),
        label_names=tuple(predictor.label_names),
        own_id=True,
        with_gold=False,
    )
    cache, answers = AnswerCache[Answer](), []
    with stage("judging", total=len(texts)) as advance:
        for chunk in in_chunks(texts, advance):
            answers += answer_texts(predictor, chunk, {}, cache, lambda judged: judged.predicted)
    joined = columns.join(dict.fromkeys(found), [], None, answers, {})
    frame = nw.from_native(table, eager_only=True)
    kinds: dict[str, Any] = {"label": nw.String, "tokens": nw.Int64}
    kinds |= {"truncated": nw.Boolean, "status": nw.String}
    added = [
        nw.new_series(name, joined[name], kinds.get(name, nw.Float64), backend=frame.implementation)
        for name in columns.answered
    ]
    renamed = {name: shown for name, shown in columns.kept.items() if name != shown}
    return frame.rename(renamed).with_columns(*added).to_native()
