"""The System One format: POST /v1/systemone, with questions of type noul, choice and score.

As its compatibility specification (1.0 draft, github.com/typesafe-ai) has it, with the field
``state`` of the present service; ``document``, the draft's name for it, is taken too. Knows nothing
about keys, limits of bodies, or other formats.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

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
from pollice.serve.refusals import Refused
from pollice.serve.responses import json_response, service_of
from pollice.serve.worker import Answer

router = APIRouter(tags=["System One"])

Instruction = str | list[Any] | dict[str, Any]
"""A text, or structured data, which is read as compact JSON."""


class NoulCriteria(BaseModel):
    """What true and false mean."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    true: Instruction | None = None
    false: Instruction | None = None


class Noul(BaseModel):
    """Whether something is so."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["noul"]
    instructions: Instruction | None = None
    criteria: NoulCriteria | None = None


class Choice(BaseModel):
    """Which label fits."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["choice"]
    instructions: Instruction | None = None
    criteria: Annotated[dict[str, Instruction | None], Field(min_length=2)]


class Score(BaseModel):
    """Which level of an ordered rubric fits; levels count from 0."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["score"]
    instructions: Instruction | None = None
    criteria: Annotated[
        list[Instruction],
        Field(min_length=2, validation_alias=AliasChoices("criteria", "levels")),
    ]


Question = Annotated[Noul | Choice | Score, Field(discriminator="type")]


class SystemOneRequest(BaseModel):
    """What /v1/systemone takes."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    state: Annotated[Instruction, Field(validation_alias=AliasChoices("state", "document"))]
    questions: Annotated[dict[str, Question], Field(min_length=1)]


@router.post("/v1/systemone")
async def answer_questions(call: SystemOneRequest, request: Request) -> Response:
    """Answer every typed question about one state, or none of them."""
    service = service_of(request)
    model = service.find(call.model)
    check_count(call.questions, service.limits)
    asked = {name: _typed(question) for name, question in call.questions.items()}
    for typed in asked.values():
        check_question(typed, service.limits)
    found = await answers_of(service, model, list(asked.values()), text_of(call.state))
    answers: dict[str, Any] = {}
    tokens = 0
    for (name, typed), answer in zip(asked.items(), found, strict=True):
        if isinstance(answer, Refused):
            raise answer
        tokens += answer.tokens
        answers[name] = _answer(service, call.questions[name], typed, answer)
    usage = {"input_tokens": tokens, "output_tokens": 0}
    return json_response({"model": model.name, "answers": answers, "usage": usage})


def error_body(refused: Refused) -> dict[str, Any]:
    """Return an error in this format."""
    kinds = {401: "authentication_error", 504: "timeout", 413: "tokens_exceeded"}
    kind = kinds.get(refused.status, "unknown")
    return {"detail": {"message": refused.message, "error_type": kind}}


def _typed(question: Noul | Choice | Score) -> TypedQuestion:
    instructions = text_of(question.instructions)
    match question:
        case Noul():
            return statement(_with_criteria(instructions, question.criteria))
        case Choice():
            given = {name: text_of(meaning) for name, meaning in question.criteria.items()}
            return TypedQuestion(
                options=tuple(given),
                instructions=instructions,
                descriptions=tuple((name, said) for name, said in given.items() if said),
            )
        case Score():
            levels = tuple(text_of(level) for level in question.criteria)
            return TypedQuestion(options=levels, instructions=instructions)


def _with_criteria(instructions: str, criteria: NoulCriteria | None) -> str:
    if criteria is None:
        return instructions
    named = (("Yes", text_of(criteria.true)), ("No", text_of(criteria.false)))
    meanings = [f"{word} means: {said}." for word, said in named if said]
    return " ".join([instructions, *meanings]).strip()


def _answer(
    service: Service, question: Noul | Choice | Score, typed: TypedQuestion, answer: Answer
) -> dict[str, Any]:
    # Answers may have more fields than the format names: these two are ours.
    said: dict[str, Any] = {"type": question.type, "truncated": answer.truncated}
    said["abstained"] = service.abstains(answer)
    if isinstance(question, Noul):
        return said | {"noul": truth(answer)}
    shares = share_of(answer, typed.options)
    said["confidence"] = confidence(shares)
    if isinstance(question, Score):
        return said | {
            "score": expected_level(shares),
            "probabilities": {str(level): share for level, share in enumerate(shares)},
            "legend": {str(level): text_of(name) for level, name in enumerate(question.criteria)},
        }
    return said | {
        "choice": typed.options[shares.index(max(shares))],
        "probabilities": dict(zip(typed.options, shares, strict=True)),
    }
