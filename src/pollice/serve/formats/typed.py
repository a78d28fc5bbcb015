"""What the two formats of typed questions share: texts of their values, and how sure an answer is.

Knows nothing about either format.
"""

import asyncio
import json
from collections.abc import Sequence, Sized
from typing import Any

from pollice.runs.asking import NO_YES, TypedQuestion
from pollice.serve.limits import Limits
from pollice.serve.models import ServedModel, Service
from pollice.serve.refusals import Refused, check_characters, invalid
from pollice.serve.worker import Answer


def text_of(value: Any) -> str:
    """Return a text as it is, nothing for None, and any other JSON value as compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def statement(instructions: str) -> TypedQuestion:
    """Return the question whether a statement is true."""
    return TypedQuestion(options=NO_YES, instructions=instructions, is_statement=True)


def truth(answer: Answer) -> float:
    """Return the probability that a statement is true."""
    names = [name.casefold() for name in answer.label_names]
    return answer.probabilities[names.index("yes" if "yes" in names else "true")]


def share_of(answer: Answer, options: Sequence[str]) -> list[float]:
    """Return the probabilities of options, in their order."""
    shares = dict(zip(answer.label_names, answer.probabilities, strict=True))
    return [shares[option] for option in options]


def expected_level(shares: Sequence[float]) -> float:
    """Return the mean level, where levels count from 0."""
    return sum(level * share for level, share in enumerate(shares)) / sum(shares)


def confidence(shares: Sequence[float]) -> float:
    """Return how sure an answer is: 0 where all options are as probable, 1 where one is certain."""
    even = 1 / len(shares)
    return min(1.0, max(0.0, (max(shares) - even) / (1 - even)))


def check_count(questions: Sized, limits: Limits) -> None:
    """Refuse more questions than a call may have.

    Raises:
        Refused: there are more.
    """
    if len(questions) > limits.questions:
        raise Refused(
            413,
            f"Expected at most {limits.questions} questions in a call, but found "
            f"{len(questions):,}: ask them in several calls.",
            "too_large",
        )


def check_question(question: TypedQuestion, limits: Limits) -> None:
    """Refuse a question that is too large, or whose options are not different.

    Raises:
        Refused: with what is wrong.
    """
    options = question.options
    if len(options) > limits.options:
        raise invalid(
            f"Expected at most {limits.options} options, but found {len(options):,}: name fewer."
        )
    if len(set(options)) < len(options):
        raise invalid("Expected different options, but one comes twice: name each once.")
    if not all(option.strip() for option in options):
        raise invalid("Expected options with a name, but one is empty: name it.")
    said = (question.instructions, *options, *(meaning for _, meaning in question.descriptions))
    check_characters(said)
    longest = max(map(len, said))
    if longest > limits.instructions:
        raise invalid(
            f"Expected instructions, options and descriptions of at most {limits.instructions:,} "
            f"characters, but one has {longest:,}: write it more shortly."
        )


async def answers_of(
    service: Service, model: ServedModel, asked: Sequence[TypedQuestion], text: str
) -> list[Answer | Refused]:
    """Ask a model several questions about one text; one that it cannot answer is refused alone.

    Raises:
        Refused: the service cannot answer at all now, or the text is too long.
    """

    async def ask(question: TypedQuestion) -> Answer | Refused:
        try:
            judge = model.content.judge_of(question)
        except Refused as refused:
            return refused
        (answer,) = await service.judge(model, judge, [text])
        return answer

    answers = await asyncio.gather(*map(ask, asked))
    for answer in answers:
        if isinstance(answer, Refused) and answer.status >= 500:
            raise answer
    return answers
