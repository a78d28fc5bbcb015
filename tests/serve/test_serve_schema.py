"""The OpenAPI of the service, tried with generated calls: none of them is a fault of ours."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from pollice.runs.asking import Asker
from pollice.serve.http import create_app
from pollice.serve.keys import Keys
from pollice.serve.models import Asked, Service, Trained
from serving import Lettered
from tiny import tiny_causal

EXAMPLES = int(os.environ.get("POLLICE_SERVE_EXAMPLES", "500"))
"""Over all routes together."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tiny_causal(tmp_path_factory.mktemp("causal") / "tiny", "gemma3")
    contents = {
        "letters": Trained(predictor=Lettered()),
        "tiny": Asked(asker=Asker(str(folder), options={"max_tokens": 64})),
    }
    service = Service(contents)
    service.start()
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service, keys=Keys()))
    service.close()


def test_a_route_is_found(schema: schemathesis.BaseSchema) -> None:
    assert len(list(schema.get_all_operations())) > 12


operations = schemathesis.pytest.from_fixture("schema")


@operations.parametrize()
@settings(
    max_examples=max(1, EXAMPLES // 17),
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_call_is_a_fault_of_the_service(case: schemathesis.Case) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text
