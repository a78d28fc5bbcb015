"""OpenAI's decisions: POST /v1/decisions, with questions of type predicate, choice and score.

Knows nothing about keys, limits of bodies, or other formats.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StrictBool, StrictStr

from pollice.runs.asking import TypedQuestion
from pollice.serve.formats.typed import (
    answers_of,
    check_count,
    check_question,
    confidence,
    expected_level,
    share_of,
    statement,
    text_of,
    truth,
)
from pollice.serve.models import Service
from pollice.serve.refusals import Refused, invalid
from pollice.serve.responses import json_response, service_of
from pollice.serve.worker import Answer

router = APIRouter(tags=["decisions"])

Text = str | list[dict[str, Any]]
"""A text, or parts of type input_text, output_text and input_json."""


class Predicate(BaseModel):
    """How likely a statement is true."""

    type: Literal["predicate"]
    instructions: Text
    name: str | None = None


class Option(BaseModel):
    """One of the options of a choice."""

    value: StrictStr | StrictBool
    description: str | None = None


class Choice(BaseModel):
    """Which option fits."""

    type: Literal["choice"]
    instructions: Text
    choices: Annotated[list[Option], Field(min_length=2)]
    name: str | None = None


class Level(BaseModel):
    """One of the levels of a score."""

    label: str
    description: str | None = None


class Score(BaseModel):
    """Which of some ordered levels fits; they count from 0."""

    type: Literal["score"]
    instructions: Text
    levels: Annotated[list[Level], Field(min_length=2)]
    name: str | None = None


Question = Annotated[Predicate | Choice | Score, Field(discriminator="type")]


class DecisionRequest(BaseModel):
    """What /v1/decisions takes; what is not named here is taken and ignored."""

    model: str
    input: str | list[dict[str, Any]]
    questions: Annotated[list[Question], Field(min_length=1)]


@router.post("/v1/decisions")
async def decide(call: DecisionRequest, request: Request) -> Response:
    """Answer typed questions about one text, in their order."""
    service = service_of(request)
    model = service.find(call.model)
    check_count(call.questions, service.limits)
    text = input_text(call.input)
    asked = [_typed(question) for question in call.questions]
    for typed in asked:
        check_question(typed, service.limits)
    found = await answers_of(service, model, asked, text)
    answers = [
        _answer(service, question, typed, answer)
        for question, typed, answer in zip(call.questions, asked, found, strict=True)
    ]
    given = [answer for answer in found if isinstance(answer, Answer)]
    content = {"model": model.name, "answers": answers, "usage": _usage(given)}
    cut = any(answer.truncated for answer in given)
    return json_response(content, headers={"X-Truncated": "true" if cut else "false"})


def error_body(refused: Refused) -> dict[str, Any]:
    """Return an error in this format."""
    types = {401: "authentication_error", 429: "rate_limit_error"}
    usual = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refused.message,
            "type": types.get(refused.status, usual),
            "param": None,
            "code": refused.kind,
        }
    }


def input_text(given: str | list[dict[str, Any]]) -> str:
    """Return one text of a conversation: its messages, each after who said it.

    Raises:
        Refused: it holds what is no text, such as an image.
    """
    if isinstance(given, str):
        return given
    said = [(str(item.get("role", item.get("type", ""))), _said(item)) for item in given]
    if len(said) == 1:
        return said[0][1]
    return "\n".join(f"{who}: {text}" for who, text in said)


def _said(item: dict[str, Any]) -> str:
    match item.get("type", "message"):
        case "message":
            return _content(item.get("content"))
        case "function_call":
            return f"{text_of(item.get('name'))}({text_of(item.get('arguments'))})"
        case "custom_tool_call":
            return f"{text_of(item.get('name'))}({text_of(item.get('input'))})"
        case "function_call_output" | "custom_tool_call_output":
            return _content(item.get("output"))
    raise invalid(
        "Expected messages, function calls or their outputs in input, but one item is of another "
        "type: leave it out."
    )


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise invalid("Expected a text or a list of parts as content, but found neither: send one.")
    return "\n".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, dict):
        for kind, field in (
            ("input_text", "text"),
            ("output_text", "text"),
            ("refusal", "refusal"),
        ):
            if part.get("type") == kind and isinstance(part.get(field), str):
                return str(part[field])
        if part.get("type") == "input_json":
            return text_of({key: value for key, value in part.items() if key != "type"})
    raise invalid(
        "Expected parts of type input_text, output_text or input_json, but one is of another type: "
        "only text can be judged."
    )


def _typed(question: Predicate | Choice | Score) -> TypedQuestion:
    said = question.instructions
    instructions = said if isinstance(said, str) else _content(said)
    match question:
        case Predicate():
            return statement(instructions)
        case Choice():
            names = _names(question.choices)
            meanings = [choice.description for choice in question.choices]
        case Score():
            names = [level.label for level in question.levels]
            meanings = [level.description for level in question.levels]
    return TypedQuestion(
        options=tuple(names),
        instructions=instructions,
        descriptions=tuple(
            (name, meaning) for name, meaning in zip(names, meanings, strict=True) if meaning
        ),
    )


def _names(choices: Sequence[Option]) -> list[str]:
    """Return the options as words: a boolean and the text of the same name stay apart."""
    texts = [choice.value for choice in choices if isinstance(choice.value, str)]
    names = []
    for choice in choices:
        name = choice.value if isinstance(choice.value, str) else str(choice.value).lower()
        names.append(f"{name} (boolean)" if choice.value is not name and name in texts else name)
    return names


def _answer(
    service: Service,
    question: Predicate | Choice | Score,
    typed: TypedQuestion,
    answer: Answer | Refused,
) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {"type": "refusal", "name": question.name, "reason": answer.message}
    if service.abstains(answer):
        reason = "The most probable option is too improbable: the answer abstains."
        return {"type": "refusal", "name": question.name, "reason": reason, "abstained": True}
    said: dict[str, Any] = {"type": question.type, "name": question.name}
    said["truncated"] = answer.truncated
    if isinstance(question, Predicate):
        return said | {"probability": truth(answer)}
    shares = share_of(answer, typed.options)
    said["confidence"] = confidence(shares)
    if isinstance(question, Score):
        rows = enumerate(zip(typed.options, shares, strict=True))
        return said | {
            "score": expected_level(shares),
            "probabilities": [
                {"label": label, "value": level, "probability": share}
                for level, (label, share) in rows
            ],
        }
    values = [choice.value for choice in question.choices]
    return said | {
        "choice": values[shares.index(max(shares))],
        "probabilities": [
            {"value": value, "probability": share}
            for value, share in zip(values, shares, strict=True)
        ],
    }


def _usage(answers: Sequence[Answer]) -> dict[str, Any]:
    tokens = sum(answer.tokens for answer in answers)
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }
