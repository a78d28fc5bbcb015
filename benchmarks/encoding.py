"""Encoding texts: pollice against sentence-transformers and two pipelines of transformers.

The same checkpoint, texts and cut for everybody; each data type is a contender of its own. What
is compared and how is in README.md.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rounds import (
    Contender,
    Json,
    add_usual,
    answer_child,
    balanced_rows,
    chosen,
    interleave,
    machine,
    markdown,
    speed_cells,
    summarize,
    timed,
    write_json,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pollice.data.reading import read_dataset
from pollice.models.pretrained.sources import resolve_checkpoint

Vectors = NDArray[np.float32]
Read = Callable[[Sequence[str]], Any]
Finish = Callable[[Any], Vectors | None]
"""Makes vectors of what was read, after the clock has stopped."""

PEER_BATCH = 16

CONTENDERS = [
    Contender(name="pollice, fp32", kind="pollice", options={"dtype": "float32"}),
    Contender(name="pollice, bf16", kind="pollice", options={"dtype": "bfloat16"}),
    Contender(
        name="sentence-transformers, fp32",
        kind="sentence_transformers",
        options={"dtype": "float32"},
        needs="sentence_transformers",
    ),
    Contender(
        name="sentence-transformers, bf16",
        kind="sentence_transformers",
        options={"dtype": "bfloat16"},
        needs="sentence_transformers",
    ),
    Contender(
        name="feature-extraction pipeline, fp32", kind="features", options={"dtype": "float32"}
    ),
    Contender(
        name="text-classification pipeline, fp32",
        kind="classification",
        options={"dtype": "float32"},
    ),
]


# What a child process does.


def pollice_reader(job: Json) -> tuple[Read, Finish]:
    """The encoder of the method features; the head of a text is kept, as its peers do."""
    from pollice.models.encoder.vectors import TextEncoder
    from pollice.models.pretrained.options import ReadingOptions

    settings = ReadingOptions(
        max_tokens=job["max_tokens"],
        long_text="head",
        dtype=job["dtype"],
        device="cpu",
    )
    encoder = TextEncoder(_folder(job), settings, "mean")
    return lambda texts: encoder.encode(texts)[0], lambda vectors: vectors


def sentence_transformers_reader(job: Json) -> tuple[Read, Finish]:
    """Its own batches by length; the mean of the tokens, not scaled to length 1, like ours."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    words = Transformer(
        str(_folder(job)),
        model_kwargs={"dtype": getattr(torch, job["dtype"])},
        max_seq_length=job["max_tokens"],
    )
    pooling = Pooling(words.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[words, pooling], device="cpu")

    def read(texts: Sequence[str]) -> Any:
        return model.encode(
            list(texts),
            batch_size=PEER_BATCH,
            show_progress_bar=False,
            convert_to_numpy=False,
            convert_to_tensor=True,
        )

    return read, lambda vectors: vectors.float().numpy()


def features_reader(job: Json) -> tuple[Read, Finish]:
    """All tokens' vectors; their mean is taken after the clock has stopped, to its advantage."""
    from transformers import AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(_folder(job))
    kept = {"truncation": True, "max_length": job["max_tokens"]}
    extract = pipeline("feature-extraction", model=str(_folder(job)), dtype=job["dtype"])

    def read(texts: Sequence[str]) -> Any:
        return extract(
            list(texts), batch_size=PEER_BATCH, return_tensors=True, tokenize_kwargs=kept
        )

    def finish(states: Any) -> Vectors:
        lengths = [len(tokens) for tokens in tokenizer(job["texts"], **kept)["input_ids"]]
        means = [one[0, :length].mean(dim=0) for one, length in zip(states, lengths, strict=True)]
        return np.stack([mean.numpy() for mean in means])

    return read, finish


def classification_reader(job: Json) -> tuple[Read, Finish]:
    """A head that is new and says nothing: for its speed only."""
    import torch
    from transformers import AutoTokenizer, pipeline

    from pollice.models.pretrained.weights import load_classifier

    dtype = getattr(torch, job["dtype"])
    classify = pipeline(
        "text-classification",
        model=load_classifier(_folder(job), job["label_names"], new_head=True, dtype=dtype),
        tokenizer=AutoTokenizer.from_pretrained(_folder(job)),
    )
    kept = {"truncation": True, "max_length": job["max_tokens"]}
    return lambda texts: classify(list(texts), batch_size=PEER_BATCH, **kept), lambda _: None


READERS: dict[str, Callable[[Json], tuple[Read, Finish]]] = {
    "pollice": pollice_reader,
    "sentence_transformers": sentence_transformers_reader,
    "features": features_reader,
    "classification": classification_reader,
}


def work(job: Json) -> Json:
    """Do one contender's job."""
    read, finish = READERS[job["kind"]](job)
    given, facts = timed(read, job["texts"])
    vectors = finish(given)
    return {**facts, "vectors": None if vectors is None else vectors.tolist()}


def _folder(job: Json) -> Path:
    return resolve_checkpoint(job["checkpoint"])


# What the parent does.


def agreement(result: Json, reference: Json, labels: Sequence[str]) -> dict[str, str]:
    """Judge vectors by the reference's: their directions, and the labels that they lead to.

    A logistic regression is trained on the reference's vectors of the first half of the rows,
    and judges everybody's vectors of the second half.
    """
    if result["vectors"] is None:
        return {"same label": "-", "least cosine": "-"}
    theirs, ours = np.array(result["vectors"]), np.array(reference["vectors"])
    half = len(labels) // 2
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    head.fit(ours[:half], labels[:half])
    same = float(np.mean(head.predict(theirs[half:]) == head.predict(ours[half:])))
    norms = np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1)
    cosines = (theirs * ours).sum(axis=1) / norms
    return {"same label": f"{same:.3f}", "least cosine": f"{cosines.min():.5f}"}


def table(results: Mapping[str, Sequence[Json]], labels: Sequence[str]) -> str:
    """Lay out the contenders."""
    reference = next(iter(results.values()))[0]
    return markdown(
        [
            {**speed_cells(row), **agreement(results[row.name][0], reference, labels)}
            for row in summarize(results)
        ]
    )


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.child:
        answer_child(arguments.child, work)
        return
    rows = balanced_rows(read_dataset(arguments.data), arguments.rows, seed=arguments.seed)
    shared = {
        "checkpoint": arguments.checkpoint,
        "max_tokens": arguments.max_tokens,
        "label_names": rows.label_names,
        "texts": rows.texts,
    }
    jobs: dict[str, Json] = {
        one.name: {**shared, **one.options, "name": one.name, "kind": one.kind}
        for one in chosen(CONTENDERS, arguments.contenders)
    }
    results = interleave(__file__, jobs, arguments.rounds)
    peer = any(job["kind"] == "sentence_transformers" for job in jobs.values())
    print(machine(["torch", "transformers", *(["sentence-transformers"] if peer else [])]))
    print(
        f"{arguments.checkpoint}, {len(rows)} rows of {arguments.data} cut at "
        f"{arguments.max_tokens} tokens, {arguments.rounds} rounds\n"
    )
    print(table(results, rows.labels))
    write_json(arguments.json, {"arguments": vars(arguments), "results": results})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="rotten-tomatoes", help="a file, a folder or a name")
    parser.add_argument("--checkpoint", default="minilm", help="of an encoder")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--contenders", nargs="*", default=[], help="words of their names; all")
    parser.add_argument("--seed", type=int, default=0, help="draws the rows")
    add_usual(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
