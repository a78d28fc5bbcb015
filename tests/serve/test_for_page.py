import asyncio

import pytest

from pollice.serve.for_page import ServiceForPage
from pollice.serve.refusals import Refused
from serving import LABELS, Lettered, lettered_service


def test_answers_are_plain_values_and_a_text_that_fails_has_an_error() -> None:
    service = lettered_service()
    service.start()
    page = ServiceForPage(service)
    good, bad = asyncio.run(page.judge("letters", ["positive", "boom"]))
    service.close()
    assert page.names() == ["letters"]
    assert list(good["probabilities"].values()) == list(Lettered().predict_proba(["positive"])[0])
    assert (good["label"] in LABELS, good["truncated"], good["abstained"]) == (True, False, False)
    assert list(bad) == ["error"]


def test_a_text_is_explained_and_a_long_one_refused() -> None:
    page = ServiceForPage(lettered_service())
    found = asyncio.run(page.explain("letters", "It is positive. It is a film."))
    assert found.label == "positive"
    assert found.sentences[0].weight > found.sentences[1].weight
    with pytest.raises(Refused, match="at most 200,000 characters"):
        asyncio.run(page.explain("letters", "a" * 200_001))
