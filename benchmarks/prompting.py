"""Label scoring: pollice against lm-evaluation-harness and two pipelines of transformers.

The same checkpoint, texts, examples, question and data type for everybody. What is compared and
how is in README.md.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matrices import gigaflops, operations
from questions import Asked, asked, cut_text, same_tokens
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

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import read_config

Answers = list[list[float | None]]
"""For each text and label what its word scores: a logarithm of a likelihood, or None if unsaid."""
Read = Callable[[Sequence[str]], Answers]

BATCH_TOKENS = 2048
MATRICES = "matrix products"

_TORCH_NAMES = {"bf16": "bfloat16", "fp32": "float32"}


def contenders(examples: int) -> list[Contender]:
    """Return everybody, the reference first; the harness at its default batch and at a larger."""
    larger = 8 if examples == 0 else 4
    harness = [
        Contender(
            name=f"lm-eval, batch {size}",
            kind="lm_eval",
            options={"batch_size": size},
            needs="lm_eval",
        )
        for size in (1, larger)
    ]
    return [
        Contender(name="pollice, one question", kind="pollice", options={}),
        Contender(name="pollice, as it comes", kind="pollice", options={"all_questions": True}),
        *harness,
        Contender(name="decision pipeline", kind="decision", options={}),
        Contender(name="text-generation pipeline", kind="generation", options={}),
    ]


# What a child process does.


def pollice_reader(job: Json) -> Read:
    """Encoding, the prompt's prefix and the texts are all timed; the model is loaded."""
    import torch

    from pollice.models.causal.scoring import CausalScorer
    from pollice.models.pretrained.weights import load_causal

    tokenizer = TextTokenizer(_folder(job))
    device = torch.device("cpu")
    model = load_causal(_folder(job), dtype=getattr(torch, job["dtype"]), device=device)
    given = asked(job)

    def read(texts: Sequence[str]) -> Answers:
        scorer = CausalScorer(model, given.pieces(tokenizer), batch_tokens=BATCH_TOKENS)
        scores = scorer.score(tokenizer.encode_texts(texts)).log_probabilities
        answers: Answers = scores.mean(axis=1).tolist()
        return answers

    return read


def lm_eval_reader(job: Json) -> Read:
    """Both words of a text are two requests with one context, which the harness computes once."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=str(_folder(job)),
        dtype=job["dtype"],
        device="cpu",
        batch_size=job["batch_size"],
        add_bos_token=True,
    )
    given = asked(job)

    def read(texts: Sequence[str]) -> Answers:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(prompt, word), idx=0)
            for prompt in given.prompts(texts)
            for word in given.words
        ]
        scored = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
        each = len(given.words)
        return [scored[start : start + each] for start in range(0, len(scored), each)]

    return read


def decision_reader(job: Json) -> Read:
    """The label words as the options' single tokens, and our prompt as its template."""
    from transformers import pipeline
    from transformers.decision import DecisionConfig

    given = asked(job)
    config = DecisionConfig(
        labels={"choice": list(given.words)},
        chat_template="{{ bos_token }}{{ question.instructions }}{{ state }}" + given.ending,
    )
    decide = pipeline(
        "decision", model=str(_folder(job)), dtype=job["dtype"], decision_config=config
    )
    options = dict.fromkeys(given.label_names)
    question = {"type": "choice", "instructions": given.lead, "criteria": options}

    def read(texts: Sequence[str]) -> Answers:
        answers = [decide({"state": text, "questions": {"label": question}}) for text in texts]
        return [
            [math.log(answer["label"]["probabilities"][name]) for name in given.label_names]
            for answer in answers
        ]

    return read


def generation_reader(job: Json) -> Read:
    """One new token, the likeliest; it answers where it is a label's word."""
    from transformers import pipeline

    generate = pipeline("text-generation", model=str(_folder(job)), dtype=job["dtype"])
    given = asked(job)

    def read(texts: Sequence[str]) -> Answers:
        said = [
            generate(prompt, max_new_tokens=1, do_sample=False, return_full_text=False)
            for prompt in given.prompts(texts)
        ]
        words = [answer[0]["generated_text"].strip() for answer in said]
        return [[0.0 if word == one.strip() else None for one in given.words] for word in words]

    return read


READERS: dict[str, Callable[[Json], Read]] = {
    "pollice": pollice_reader,
    "lm_eval": lm_eval_reader,
    "decision": decision_reader,
    "generation": generation_reader,
}


def work(job: Json) -> Json:
    """Do one contender's job, or measure the machine."""
    if job["kind"] == "matrices":
        return matrix_speeds(job)
    answers, facts = timed(READERS[job["kind"]](job), job["texts"])
    return {**facts, "answers": answers}


def matrix_speeds(job: Json) -> Json:
    """Measure products of the model's shapes in both data types."""
    import torch

    config = read_config(_folder(job))
    speeds = {
        short: gigaflops(config, getattr(torch, name)) for short, name in _TORCH_NAMES.items()
    }
    return {**speeds, "summary": _speed_line(speeds)}


def _speed_line(speeds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {speed:,.0f} GFLOP/s" for name, speed in speeds.items())


def _folder(job: Json) -> Any:
    return resolve_checkpoint(job["checkpoint"])


# What the parent does.


def jobs(arguments: argparse.Namespace) -> tuple[dict[str, Json], dict[int, Asked], Dataset]:
    """Return every job by its name, what is asked at each number of examples, and the rows."""
    tokenizer = TextTokenizer(resolve_checkpoint(arguments.checkpoint))
    data = read_dataset(arguments.data)
    most = max(arguments.examples)
    shown = balanced_rows(data, most, seed=arguments.seed)
    rows = balanced_rows(data, arguments.rows, seed=arguments.seed, skip=most)
    texts = [cut_text(tokenizer, text, arguments.max_tokens) for text in rows.texts]
    examples = [
        (cut_text(tokenizer, text, arguments.example_tokens), label)
        for text, label in zip(shown.texts, shown.labels, strict=True)
    ]
    shared = {"checkpoint": arguments.checkpoint, "dtype": _TORCH_NAMES[arguments.dtype]}
    all_jobs: dict[str, Json] = {MATRICES: {**shared, "name": MATRICES, "kind": "matrices"}}
    questions = {}
    for count in arguments.examples:
        given = {"label_names": data.label_names, "examples": examples[:count], "texts": texts}
        questions[count] = asked(given)
        for one in chosen(contenders(count), arguments.contenders):
            key = f"{count} examples, {one.name}"
            all_jobs[key] = {**shared, **given, **one.options, "name": one.name, "kind": one.kind}
    return all_jobs, questions, Dataset(**{**vars(rows), "texts": tuple(texts)})


def operations_each(job: Json, given: Asked, texts: Sequence[str]) -> float:
    """Return the operations that a row takes at the least, the way that this contender goes.

    Peers put whole prompts through the model, pollice its prefix once; padding is not counted,
    and neither is the vocabulary, which only the label words need.
    """
    tokenizer = TextTokenizer(_folder(job))
    config = read_config(_folder(job))
    pieces = asked(job).pieces(tokenizer)
    lengths = [len(tokens) for tokens in tokenizer.encode_texts(texts)]
    before = len(pieces.prefix)
    after = sum(len(ending.tokens) for ending in pieces.endings)
    if job["kind"] == "pollice":
        each = [operations(config, length + after, before=before) for length in lengths]
        return statistics.mean(each) + operations(config, before) / len(texts)
    return statistics.mean(operations(config, before + length + after) for length in lengths)


def agreement(answers: Answers, reference: Answers) -> dict[str, str]:
    """Return how many rows have the reference's winner, and how the margins go together."""
    same = sum(
        _winner(mine) is not None and _winner(mine) == _winner(theirs)
        for mine, theirs in zip(answers, reference, strict=True)
    )
    cells = {"same label": f"{same / len(reference):.3f}", "correlation": "-"}
    if len(reference[0]) == 2 and all(None not in scores for scores in answers):
        together = np.atleast_2d(np.corrcoef(_margins(answers), _margins(reference)))
        cells["correlation"] = f"{together[0, 1]:.5f}"
    return cells


def _winner(scores: Sequence[float | None]) -> int | None:
    said = [(score, label) for label, score in enumerate(scores) if score is not None]
    return max(said)[1] if said else None


def _margins(answers: Answers) -> list[float]:
    """Return the difference of the two labels' log-likelihoods."""
    return [float(second or 0) - float(first or 0) for first, second in answers]


def table(
    results: Mapping[str, Sequence[Json]], all_jobs: Mapping[str, Json], given: Asked, speed: float
) -> str:
    """Lay out the contenders at one number of examples."""
    reference = next(iter(results.values()))[0]["answers"]
    cells = []
    for row in summarize(results):
        job = all_jobs[row.name]
        gigas = operations_each(job, given, job["texts"]) / 1e9
        cells.append(
            {
                **speed_cells(row),
                "contender": job["name"],
                "GFLOP a row": f"{gigas:.1f}",
                "of matrix speed": f"{row.rate * gigas / speed:.0%}",
                **agreement(results[row.name][0]["answers"], reference),
            }
        )
    return markdown(cells)


def examples_ratio(rates: Mapping[int, Mapping[str, float]]) -> str:
    """Say how much of its rate without examples each contender keeps with the most of them.

    The harness is taken at the better of its batch sizes, each time.
    """
    fewest, most = min(rates), max(rates)
    fast, slow = (_best_by_kind(rates[count]) for count in (fewest, most))
    parts = [f"{name} {slow[name] / fast[name]:.0%}" for name in fast]
    return f"Rate at {most} examples as a share of the rate at {fewest}: {'; '.join(parts)}."


def _best_by_kind(rates: Mapping[str, float]) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, rate in rates.items():
        kind = name.split(", batch")[0]
        best[kind] = max(rate, best.get(kind, 0.0))
    return best


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.child:
        answer_child(arguments.child, work)
        return
    all_jobs, questions, rows = jobs(arguments)
    results = interleave(__file__, all_jobs, arguments.rounds)
    speeds = {
        name: statistics.median(one[name] for one in results[MATRICES]) for name in _TORCH_NAMES
    }
    tokenizer = TextTokenizer(resolve_checkpoint(arguments.checkpoint))
    print(machine([name for name in ("torch", "transformers", "lm-eval") if _used(name, all_jobs)]))
    print(
        f"{arguments.checkpoint}, {arguments.dtype}, {len(rows)} rows of {arguments.data} cut at "
        f"{arguments.max_tokens} tokens, {arguments.rounds} rounds. "
        f"Matrix products: {_speed_line(speeds)}."
    )
    rates: dict[int, dict[str, float]] = {}
    for count, given in questions.items():
        start = f"{count} examples, "
        part = {key: rounds for key, rounds in results.items() if key.startswith(start)}
        rates[count] = {row.name.removeprefix(start): row.rate for row in summarize(part)}
        same = same_tokens(given, rows.texts, tokenizer)
        print(f"\n{count} examples; {same} of {len(rows)} prompts are the same tokens for all\n")
        print(table(part, all_jobs, given, speeds[arguments.dtype]))
    if len(rates) > 1:
        print(f"\n{examples_ratio(rates)}")
    write_json(arguments.json, {"arguments": vars(arguments), "results": results})


def _used(package: str, all_jobs: Mapping[str, Json]) -> bool:
    return package != "lm-eval" or any(job["kind"] == "lm_eval" for job in all_jobs.values())


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="rotten-tomatoes", help="a file, a folder or a name")
    parser.add_argument("--checkpoint", default="gemma-3-270m", help="of a gated decoder")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--max-tokens", type=int, default=256, help="of a review")
    parser.add_argument("--example-tokens", type=int, default=128, help="of an example")
    parser.add_argument("--dtype", choices=sorted(_TORCH_NAMES), default="bf16")
    parser.add_argument("--contenders", nargs="*", default=[], help="words of their names; all")
    parser.add_argument("--seed", type=int, default=0, help="draws rows and examples")
    add_usual(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
