"""How long an explanation takes, and whether a sentence that was planted is found first.

    .venv/bin/python benchmarks/explaining.py

Two predictors: MiniLM, fine-tuned for a few steps (only its speed is measured), and gemma-3-270m
asked for negative or positive, which needs no labels.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path

from pollice import Dataset, Predictor, SplitOptions, create_method, read_dataset, split
from pollice.predictions.explain import explain

ROWS = 64
ROUNDS = 5
LABELS = ("negative", "positive")
SENTENCES = 7
NEUTRAL = (
    "The hotel is in the third street behind the station.",
    "We arrived on a Tuesday at about four o'clock.",
    "Breakfast is between seven and ten.",
    "The room is on the second floor and has two windows.",
    "There is a lift beside the stairs.",
    "The key is a plastic card.",
    "A bus stops in front of the door every twenty minutes.",
    "The desk at the entrance is open until eleven.",
    "The walls are white and the carpet is grey.",
    "There are two chairs and a table in the room.",
    "Our booking was for three nights.",
    "The towels lie on a shelf in the bathroom.",
    "The museum is four streets away.",
    "Guests can park behind the building.",
    "A map of the town hangs in the corridor.",
    "We paid by card when we left.",
    "The television stands opposite the bed.",
    "The dining room is on the ground floor.",
    "There is a supermarket on the other side of the road.",
    "The house was built in 1974.",
)
PLANTED = (
    "The food was terrible.",
    "I loved every minute of it.",
    "It was the worst stay of my life.",
    "Everything was simply wonderful.",
    "The staff were rude and lazy.",
    "It was a fantastic experience.",
    "The bathroom was disgusting.",
    "The view was absolutely beautiful.",
    "We were deeply disappointed.",
    "I can recommend it with all my heart.",
    "What an awful, dirty place.",
    "The service was excellent.",
    "I hated the noise.",
    "It was the best holiday we ever had.",
    "Never again, it was horrible.",
    "We were delighted with everything.",
    "It is a waste of money.",
    "The dinner was delicious.",
    "The bed was painfully uncomfortable.",
    "A great place with lovely people.",
)


def text_of_words(words: int) -> str:
    """Return neutral sentences of so many words, one opinion in the middle."""
    sentences = [*NEUTRAL[:10], PLANTED[2], *NEUTRAL[10:], *NEUTRAL]
    return " ".join(" ".join(sentences).split()[:words])


def planted_texts() -> list[tuple[str, str]]:
    """Return texts of neutral sentences, each with the opinion that was put into it."""
    draw = random.Random(0)
    texts = []
    for opinion in PLANTED:
        sentences = draw.sample(NEUTRAL, SENTENCES)
        sentences.insert(draw.randrange(SENTENCES + 1), opinion)
        texts.append((" ".join(sentences), opinion))
    return texts


def measure_seconds(name: str, predictor: Predictor) -> None:
    """Print how long an explanation of 200 words takes."""
    import torch  # not before pollice, which sets its caches

    text = text_of_words(200)
    explain(predictor, text)
    seconds, worked = [], []
    for _ in range(ROUNDS):
        begun, begun_work = time.perf_counter(), time.process_time()
        explain(predictor, text)
        seconds.append(time.perf_counter() - begun)
        worked.append(time.process_time() - begun_work)
    load = Path("/proc/loadavg").read_text(encoding="utf-8").split()[0]
    print(
        f"{name}: {statistics.median(seconds):.2f} s of {len(text.split())} words "
        f"({min(seconds):.2f} to {max(seconds):.2f}; {statistics.median(worked):.2f} s of the "
        f"processor; {torch.get_num_threads()} threads, "
        f"load {load})",
        flush=True,
    )


def count_found(predictor: Predictor) -> None:
    """Print how often the planted sentence has the greatest weight."""
    found = 0
    for text, opinion in planted_texts():
        sentences = explain(predictor, text).sentences
        first = max(sentences, key=lambda piece: abs(piece.weight))
        shown = text[first.start : first.end]
        found += shown == opinion
        if shown != opinion:
            print(f"  {opinion!r} was planted, {shown!r} was first", flush=True)
    print(f"found first: {found} of {len(PLANTED)}", flush=True)


def main() -> None:
    """Measure both."""
    dataset = read_dataset("rotten-tomatoes")
    parts = split(dataset, SplitOptions(train_rows=ROWS, validation_rows=ROWS, test_rows=ROWS))
    nothing = Dataset(ids=(), texts=(), labels=(), label_names=LABELS)
    with tempfile.TemporaryDirectory() as folder:
        tuned = create_method("finetune", {"checkpoint": "minilm", "epochs": 1})
        fitted = tuned.fit(parts.train, parts.validation, workdir=Path(folder))
        measure_seconds("finetune minilm", fitted)
    with tempfile.TemporaryDirectory() as folder:
        prompt = create_method("prompt", {"checkpoint": "gemma-3-270m"})
        texts = Dataset(
            ids=parts.train.ids,
            texts=parts.train.texts,
            labels=LABELS[:1] * ROWS,  # none of them is read: only the texts are
            label_names=LABELS,
        )
        asked = prompt.fit(texts, nothing, workdir=Path(folder))
        measure_seconds("prompt gemma-3-270m", asked)
        count_found(asked)


if __name__ == "__main__":
    main()
