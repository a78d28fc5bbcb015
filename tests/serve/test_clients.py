"""Each client that exists already, against the running server."""

import json
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
import tritonclient.http
from huggingface_hub import InferenceClient

from pollice.serve.models import Service, Trained
from serving import LABELS, Lettered, Running, lettered_service, served

GOOD = "positive opinions: it is positively splendid"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    contents = {
        "letters": Trained(predictor=Lettered()),
        "truth": Trained(predictor=Lettered(("false", "true"))),
    }
    with served(Service(contents)) as server:
        yield server


def own(text: str) -> list[float]:
    return list(map(float, Lettered().predict_proba([text])[0]))


def post(running: Running, path: str, body: object) -> httpx.Response:
    return httpx.post(running.url + path, json=body, timeout=20)


def test_a_text_gives_a_list_of_labels_as_text_embeddings_inference_does(running: Running) -> None:
    answer = post(running, "/predict", {"inputs": GOOD})
    assert answer.status_code == 200
    found = {row["label"]: row["score"] for row in answer.json()}
    assert [found[name] for name in LABELS] == own(GOOD)
    assert [row["score"] for row in answer.json()] == sorted(found.values(), reverse=True)
    assert answer.headers["x-truncated"] == "false"
    assert answer.headers["x-abstained"] == "false"


def test_a_list_of_two_texts_is_a_pair_and_a_list_of_lists_is_a_batch(running: Running) -> None:
    pair = post(running, "/predict", {"inputs": ["a title", GOOD]}).json()
    assert {row["label"] for row in pair} == set(LABELS)
    assert pair == post(running, "/predict", {"inputs": f"a title\n{GOOD}"}).json()
    batch = post(running, "/predict", {"inputs": [["a title"], [GOOD], ["a title", GOOD]]}).json()
    assert len(batch) == 3
    assert batch[2] == pair


def test_raw_scores_are_logarithms(running: Running) -> None:
    plain = post(running, "/predict", {"inputs": GOOD}).json()
    raw = post(running, "/predict", {"inputs": GOOD, "raw_scores": True}).json()
    assert np.exp([row["score"] for row in raw]) == pytest.approx([row["score"] for row in plain])


def test_a_cut_text_is_said_or_refused_where_truncate_is_false(running: Running) -> None:
    long = "word " * 100
    assert post(running, "/predict", {"inputs": long}).headers["x-truncated"] == "true"
    refused = post(running, "/predict", {"inputs": long, "truncate": False})
    assert refused.status_code == 413
    assert refused.json() == {
        "error": "Expected texts that are read whole, since truncate is false, but text 0 is too "
        "long: cut it, or let it be cut.",
        "error_type": "Validation",
    }


def test_info_describes_the_classifier(running: Running) -> None:
    info = httpx.get(f"{running.url}/info").json()
    assert info["model_id"] == "letters"
    assert info["model_type"]["classifier"]["id2label"] == dict(zip("012", LABELS, strict=True))


def test_the_client_of_hugging_face(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests are offline, which this client takes for this machine's own addresses too.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for url in (running.url, f"{running.url}/models/letters"):
        found = InferenceClient(model=url).text_classification(GOOD, top_k=2)
        assert [round(row.score, 9) for row in found] == [
            round(share, 9) for share in sorted(own(GOOD), reverse=True)[:2]
        ]
        assert found[0].label in LABELS


def test_the_client_of_triton_with_binary_and_with_json_tensors(running: Running) -> None:
    client = tritonclient.http.InferenceServerClient(running.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("letters")
    assert client.get_model_metadata("letters")["parameters"] == {"labels": list(LABELS)}
    texts = [GOOD, "ünïcödé ☃", ""]
    for binary in (True, False):
        tensor = tritonclient.http.InferInput("text", [3], "BYTES")
        values = np.array([text.encode() for text in texts] if binary else texts, dtype=object)
        tensor.set_data_from_numpy(values, binary_data=binary)
        asked = [
            tritonclient.http.InferRequestedOutput(name, binary_data=binary)
            for name in ("probabilities", "label", "truncated")
        ]
        result = client.infer("letters", [tensor], outputs=asked, request_id="7")
        assert result.as_numpy("probabilities") == pytest.approx(
            np.array([own(text) for text in texts])
        )
        assert result.as_numpy("truncated").tolist() == [False] * 3
        assert result.get_response()["id"] == "7"
        labels = [one.decode() if binary else one for one in result.as_numpy("label").tolist()]
        assert set(labels) <= set(LABELS)
    with pytest.raises(tritonclient.utils.InferenceServerException, match="one of the models"):
        client.get_model_metadata("absent")
    client.close()


def test_a_shape_that_does_not_fit_the_data_is_refused(running: Running) -> None:
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["one"]}
    refused = post(running, "/v2/models/letters/infer", {"inputs": [tensor]})
    assert refused.status_code == 422
    assert refused.json() == {
        "error": "Expected as many texts as the shape of the input tensor says, but found others: "
        "make shape, size and data agree."
    }


def openai_client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


def test_the_client_of_openai_gets_answers_in_order_and_refusals(running: Running) -> None:
    with openai_client(running) as client:
        decision = client.decisions.create(
            model="letters",
            input=[{"role": "user", "content": [{"type": "input_text", "text": GOOD}]}],
            questions=[
                {
                    "type": "choice",
                    "name": "mood",
                    "instructions": "Which mood?",
                    "choices": [{"value": name} for name in reversed(LABELS)],
                },
                {"type": "predicate", "instructions": "It is good."},
                {
                    "type": "score",
                    "instructions": "How good?",
                    "levels": [{"label": name} for name in LABELS],
                },
            ],
        )
    choice, refusal, score = decision.answers
    assert choice.type == "choice"
    assert choice.name == "mood"
    assert [row.value for row in choice.probabilities] == list(reversed(LABELS))
    assert [row.probability for row in reversed(choice.probabilities)] == own(GOOD)
    assert choice.choice == LABELS[int(np.argmax(own(GOOD)))]
    assert refusal.type == "refusal"
    assert score.type == "score"
    assert score.score == pytest.approx(float(np.dot(own(GOOD), [0, 1, 2])))
    assert [row.value for row in score.probabilities] == [0, 1, 2]
    assert decision.model == "letters"
    assert decision.usage.input_tokens == 2 * len(GOOD.split())


def test_a_refusal_says_why(running: Running) -> None:
    asked = {"type": "choice", "instructions": "?", "choices": [{"value": "a"}, {"value": "b"}]}
    body = {"model": "letters", "input": GOOD, "questions": [asked]}
    answer = post(running, "/v1/decisions", body).json()["answers"][0]
    assert answer == {
        "type": "refusal",
        "name": None,
        "reason": "Expected a choice among the labels that this model was trained for (negative, "
        "neutral, positive), but the options are others: ask for these labels, or ask a causal "
        "checkpoint.",
    }


def test_booleans_are_values_of_their_own(running: Running) -> None:
    choices = [{"value": True}, {"value": False}]
    with openai_client(running) as client:
        decision = client.decisions.create(
            model="truth",
            input=GOOD,
            questions=[
                {"type": "choice", "instructions": "?", "choices": choices},  # type: ignore[typeddict-item]
                {"type": "predicate", "instructions": "It is so."},
            ],
        )
    choice, predicate = decision.answers
    assert choice.type == "choice"
    assert [row.value for row in choice.probabilities] == [True, False]
    assert predicate.type == "predicate"
    assert predicate.probability == choice.probabilities[0].probability


def test_an_unknown_model_is_an_error_of_the_client(running: Running) -> None:
    with openai_client(running) as client, pytest.raises(openai.NotFoundError) as raised:
        client.decisions.create(
            model="leters",
            input="a",
            questions=[{"type": "predicate", "instructions": "so"}],
        )
    assert raised.value.body == {
        "message": "Expected one of the models letters, truth, but 'leters' is none of them: name "
        "one of them. Did you mean 'letters'?",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_model",
    }


def test_system_one_gives_an_answer_under_each_name(running: Running) -> None:
    state = {"title": "A film", "review": GOOD}
    questions = {
        "mood": {"type": "choice", "criteria": dict.fromkeys(LABELS)},
        "level": {"type": "score", "instructions": "How good?", "criteria": list(LABELS)},
    }
    body = {"model": "letters", "state": state, "questions": questions}
    found = post(running, "/v1/systemone", body).json()
    shares = own(json.dumps(state, ensure_ascii=False))
    assert found["answers"]["mood"]["probabilities"] == dict(zip(LABELS, shares, strict=True))
    assert found["answers"]["level"]["score"] == pytest.approx(shares[1] + 2 * shares[2])
    assert found["answers"]["level"]["probabilities"] == dict(zip("012", shares, strict=True))
    assert 0 <= found["answers"]["mood"]["confidence"] <= 1
    assert found["usage"]["output_tokens"] == 0
    noul = {"ok": {"type": "noul", "instructions": "It is so.", "criteria": {"true": "good"}}}
    asked = {"model": "truth", "state": GOOD, "questions": noul}
    assert 0 < post(running, "/v1/systemone", asked).json()["answers"]["ok"]["noul"] < 1


def test_system_one_answers_all_questions_or_none(running: Running) -> None:
    questions = {"other": {"type": "choice", "criteria": {"a": "x", "b": "y"}}}
    refused = post(running, "/v1/systemone", {"state": GOOD, "questions": questions})
    assert refused.status_code == 422
    assert refused.json()["detail"]["message"].startswith("Expected a choice among the labels")
    assert refused.json()["detail"]["error_type"] == "unknown"


def test_an_unsure_answer_abstains() -> None:
    asked = {
        "type": "choice",
        "instructions": "?",
        "choices": [{"value": name} for name in LABELS],
    }
    with served(lettered_service(abstain_below=0.9)) as running:
        assert post(running, "/predict", {"inputs": GOOD}).headers["x-abstained"] == "true"
        body = {"model": "letters", "input": GOOD, "questions": [asked]}
        answer = post(running, "/v1/decisions", body).json()["answers"][0]
        assert (answer["type"], answer["abstained"]) == ("refusal", True)
