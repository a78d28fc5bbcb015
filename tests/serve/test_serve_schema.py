"""The OpenAPI of the service, tried with generated calls: none of them is a fault of ours."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from pollice.runs.asking import Asker
from pollice.serve.http import create_app
from pollice.serve.keys import Keys
from pollice.serve.models import Asked, Service, Trained
from serving import Lettered
from tiny import tiny_causal

EXAMPLES = int(os.environ.get("POLLICE_SERVE_EXAMPLES", "500"))
"""Over all routes together."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tiny_causal(tmp_path_factory.mktemp("causal") / "tiny", "gemma3")
    contents: dict[str, Trained | Asked] = {
        "letters": Trained(predictor=Lettered()),
        "tiny": Asked(asker=Asker(str(folder), options={"max_tokens": 64})),
    }
    service = Service(contents)
    service.start()
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service, keys=Keys()))
    service.close()


def test_no_call_is_a_fault_of_the_service(schema: schemathesis.BaseSchema) -> None:
    """With `POLLICE_SERVE_EXAMPLES=5000` it tries so many."""
    found: Any = schema.get_all_operations()  # each is a result that may be an error
    operations = [operation.ok() for operation in found]
    assert len(operations) > 12
    tried = 0
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES // len(operations) + 1,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def call(case: Any) -> None:
            nonlocal tried
            tried += 1
            answer = case.call()
            assert answer.status_code < 500, answer.text

        call()
    assert tried > EXAMPLES / 4  # a route without parameters has one example
