"""What a method's work takes in memory: bytes of each part, from a checkpoint's anatomy.

Knows nothing about budgets, and loads nothing. Formulas are for tensors that live at the peak;
what is measured and not derived is a named constant beside the machine it was measured on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pollice.method import Work

if TYPE_CHECKING:
    from pollice.models.pretrained.architecture import Anatomy, Form

MIB = 2**20

CPU_LIBRARIES = 510 * MIB
"""Python, torch, transformers and scikit-learn, imported: torch 2.13 for CPU, transformers 5.23."""
CORE_LIBRARIES = 250 * MIB
"""Python, NumPy, pyarrow and scikit-learn alone."""
CUDA_CONTEXT = 480 * MIB
"""What CUDA and its libraries take on a GPU before the first tensor."""

CHARACTERS_PER_TOKEN = 4.0  # English, in WordPiece and in byte-pair vocabularies alike
_CHARACTERS_PER_WORD = 5.6

# Measured with torch 2.13 and glibc on x86: blocks of other sizes that were freed, and stay.
_KEPT_BLOCKS = 200 * MIB
_LEFT_BETWEEN = 1.15  # what is kept for the backward pass has another size in every pass
_LEFT_BY_ADAPTERS = 2.1  # in float32: the thin matrices' results break up what was freed
_WORKSPACE = 2.3  # products and attention need somewhat more than their results again
# Beyond the tensors of training in bfloat16: oneDNN compiles for each shape, so for each length.
_KERNELS, _KERNELS_UP_TO = 250 * MIB, 256
# A tokenizer's memory for each byte of tokenizer.json, two copies, and what reading it leaves.
_TOKENIZER_FIXED, _TOKENIZER_SHARE = 15 * MIB, 10
_ENCODER_JSON, _SMALL_JSON, _LARGE_JSON = 15, 72, 110  # bytes of tokenizer.json for each word
_MANY_WORDS = 100_000
_QUESTION, _HYPOTHESIS = 48, 16  # the tokens around a text, about
_CUDA_ROUNDING = 1.1  # blocks that CUDA's allocator keeps besides those in use

Parts = dict[str, int]
"""Bytes by the part's name, in the order of `PARTS`."""

PARTS = (
    "libraries",
    "data",
    "tokenizer",
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "label logits",
    "prefix",
    "loading",
)


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The texts that are learned from, as far as memory is concerned."""

    rows: int
    characters: int
    """Of all texts."""
    longest: int
    """The tokens of the longest text, estimated from its characters."""
    labels: int = 2

    @classmethod
    def of(cls, texts: Sequence[str], labels: int) -> "Lengths":
        """Return the lengths of texts; no tokenizer is loaded."""
        longest = max((len(text) for text in texts), default=0)
        return cls(
            rows=len(texts),
            characters=sum(map(len, texts)),
            longest=max(1, round(longest / CHARACTERS_PER_TOKEN)),
            labels=labels,
        )


ANY_TEXTS = Lengths(rows=10_000, characters=10_000_000, longest=1_000_000)
"""Where no texts are named: many, and all longer than anything reads."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One method with its options, on its texts and its device."""

    work: Work
    options: Mapping[str, Any]
    lengths: Lengths
    cuda: bool
    number_bytes: int
    """Of a number in products: 2 in bfloat16, 4 in float32."""
    anatomy: "Anatomy | None" = None
    """None: no checkpoint is loaded."""
    libraries: int = CPU_LIBRARIES

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option's value, or the default where the method has none of that name."""
        value = self.options.get(name)
        return default if value is None else value

    @property
    def text_tokens(self) -> int:
        """The tokens of the longest text, cut."""
        return int(min(self.lengths.longest + 2, self.option("max_tokens", 512)))


def parts(case: Case) -> Parts:
    """Return the bytes that a method's work takes at its peak, by part.

    On a GPU they are the GPU's; on CPU those of the whole process.
    """
    work = {
        "count_words": _counting_words,
        "encode": _encoding,
        "pair": _pairing,
        "prompt": _prompting,
        "train_encoder": _training_encoder,
        "train_causal": _training_causal,
    }[case.work]
    found = {"libraries": CUDA_CONTEXT if case.cuda else case.libraries, **work(case)}
    if case.anatomy is not None and not case.cuda:
        found["tokenizer"] = _tokenizer(case)
    if not case.cuda:
        found["data"] = 2 * case.lengths.characters
    return {name: found[name] for name in PARTS if found.get(name)}


def total(found: Parts) -> int:
    """Return the bytes of all parts together."""
    return sum(found.values())


def _counting_words(case: Case) -> Parts:
    """TF-IDF of n-grams and logistic regression.

    Different words grow as Heaps' law says; the exponent and the constants are those of 200 to
    8,000 IMDB reviews. A term takes its string, two entries of a dict, and the 25 vectors of
    L-BFGS, for every label beyond two again.
    """
    words = case.lengths.characters / _CHARACTERS_PER_WORD
    growth = words**0.75
    different = [growth, 12.3 * growth] + [0.8 * words] * case.option("ngrams", 2)
    terms = sum(min(words, count) for count in different[: case.option("ngrams", 2)])
    vectors = 200 * (case.lengths.labels if case.lengths.labels > 2 else 1)
    entries = words * case.option("ngrams", 2)
    return {"weights": round(terms * (400 + vectors)), "activations": round(entries * 16)}


def _tokenizer(case: Case) -> int:
    anatomy = _known(case)
    merges = _LARGE_JSON if anatomy.vocabulary > _MANY_WORDS else _SMALL_JSON
    size = anatomy.vocabulary * (merges if anatomy.causal else _ENCODER_JSON)
    more = 1.35 if case.work == "train_causal" else 1  # one to train with, one to judge with
    return round(more * (_TOKENIZER_FIXED + _TOKENIZER_SHARE * size))


def _known(case: Case) -> "Anatomy":
    assert case.anatomy is not None
    return case.anatomy


def _form(case: Case) -> "Form":
    """Return how the weights that do not learn are held."""
    if case.option("weights") == "nf4":
        return "nf4"
    if case.option("dtype") == "int8":
        return "int8"
    return "bf16" if case.number_bytes == 2 else "fp32"


def _unpacked(case: Case) -> int:
    """Return what the largest matrix takes while it is unpacked for a product."""
    anatomy = _known(case)
    return 2 * anatomy.width * anatomy.feed_forward if _form(case) == "nf4" else 0


def _rounded(case: Case, live: int) -> int:
    """Return what tensors take with the blocks that the allocator keeps besides those in use."""
    return round(live * _CUDA_ROUNDING) if case.cuda else live + _KEPT_BLOCKS


def _kept_for_backward(case: Case, kept: int) -> int:
    """Return what the tensors that the backward pass reads take, with the room between them."""
    if case.cuda:
        return _rounded(case, kept)
    shapes = min(1, case.text_tokens / _KERNELS_UP_TO) if case.number_bytes == 2 else 0
    kernels = round(shapes * _KERNELS)
    adapters = case.work == "train_encoder" and case.option(
        "lora_rank"
    )  # lora's were measured apart
    thin = case.number_bytes == 4 and adapters
    left = _LEFT_BY_ADAPTERS if thin else _LEFT_BETWEEN
    return _rounded(case, round(left * kept)) + kernels


def _reading_parts(case: Case, tokens: int, keys: int = 0) -> Parts:
    """Weights, activations and loading of a model that only reads.

    ``keys``: how many scores each query has in memory; 0 where a fused kernel keeps none.
    """
    anatomy = _known(case)
    live = tokens * _live_bytes(anatomy, case.number_bytes, keys)
    return {
        "weights": anatomy.weight_bytes(_form(case)) + _unpacked(case),
        "activations": _rounded(case, round(_WORKSPACE * live)),
        "loading": _loading(case, live),
    }


def _live_bytes(anatomy: "Anatomy", number_bytes: int, keys: int) -> int:
    """Return the bytes of a token in the largest step of a layer, while nothing is kept."""
    width = anatomy.width
    queries = anatomy.heads * anatomy.head_size
    shared = anatomy.key_value_heads * anatomy.head_size
    attention = 2 * width + 2 * queries + 2 * shared + 2 * anatomy.heads * keys
    halves = 3 if anatomy.gated else 2
    feed_forward = 2 * width + halves * anatomy.feed_forward
    upcast = 8 * width if anatomy.norm == "RMSNorm" else 0
    return number_bytes * max(attention, feed_forward) + upcast


def _loading(case: Case, live: int) -> int:
    """Return what loading takes beyond what reading takes later.

    A file of another data type lies mapped beside the converted weights until all are there.
    """
    anatomy = _known(case)
    if case.cuda or anatomy.stored_bytes == case.number_bytes:
        return 0
    stored = anatomy.stored_bytes * anatomy.parameters
    return max(0, stored - _KEPT_BLOCKS - round(_WORKSPACE * live))


def _batch(case: Case, around: int = 0) -> int:
    """Return the tokens of the largest batch: rows of like length, the longest first."""
    longest = case.text_tokens + around
    rows = max(1, case.option("batch_tokens", 2048) // longest)
    return int(min(rows, case.lengths.rows) * longest)


def _encoding(case: Case) -> Parts:
    return _reading_parts(case, _batch(case))


def _pairing(case: Case) -> Parts:
    """A text and a hypothesis."""
    return _reading_parts(case, _batch(case, _HYPOTHESIS))


def _prompting(case: Case) -> Parts:
    """Texts behind a shared prefix, with the endings of the questions."""
    anatomy = _known(case)
    prefix = case.option("shots", 0) * (case.option("example_tokens", 128) + _QUESTION)
    keys = prefix + _QUESTION + case.text_tokens
    found = _reading_parts(case, _batch(case, _QUESTION), keys)
    found["prefix"] = prefix * (anatomy.key_value_bytes or 0) * case.number_bytes // 2
    return found


def _micro_batch(case: Case) -> int:
    """Return the tokens that go through the model at once in training."""
    longest = case.text_tokens
    rows = min(case.option("batch_size", 16), case.lengths.rows)
    rows = -(-rows // case.option("gradient_accumulation_steps", 1))
    limit = case.option("micro_batch_tokens", rows * longest)
    return int(min(rows, max(1, limit // longest)) * longest)


def _training_encoder(case: Case) -> Parts:
    """All weights in float32 under AdamW, products in the data type asked for.

    The best epoch's weights are kept beside those that learn, and under mixed precision so is a
    copy of the matrices in bfloat16.
    """
    anatomy, trained = _known(case), _trained_parameters(case)
    mixed = case.number_bytes == 2
    copies = 4 * trained + (2 * anatomy.linear_parameters if mixed else 0)
    dropout = case.options.get("attention_dropout")  # none: the checkpoint's own, rarely 0
    keys = case.text_tokens if dropout != 0 else 0
    kept = _micro_batch(case) * _kept_bytes(anatomy, case.number_bytes, keys)
    return {
        "weights": 4 * anatomy.parameters + copies,
        "gradients": 4 * trained,
        "optimizer": _moments(case, trained, embeddings=trained == anatomy.parameters),
        "activations": _kept_for_backward(case, kept),
    }


def _moments(case: Case, trained: int, *, embeddings: bool = False) -> int:
    """Return AdamW's state on the device; in 8 bits embeddings, where they learn, stay in 32."""
    if case.option("paged_optimizer", False) and case.cuda:
        return 0
    if case.option("optimizer_bits", 32) == 32:
        return 8 * trained
    whole = _known(case).embedding_parameters if embeddings else 0
    return 2 * (trained - whole) + 8 * whole


def _trained_parameters(case: Case) -> int:
    anatomy, rank = _known(case), case.option("lora_rank")
    if rank:
        return int(rank * (anatomy.linear_outputs + _linear_inputs(anatomy)))
    frozen = case.option("frozen_layers", 0)
    if not frozen:
        return anatomy.parameters
    learning: float = 1 - frozen / anatomy.layers
    return round(anatomy.linear_parameters * learning)


def _linear_inputs(anatomy: "Anatomy") -> int:
    """Return the columns of the layers' matrices: width everywhere but after queries and gate."""
    queries = anatomy.heads * anatomy.head_size
    inward = 5 if anatomy.gated else 4
    return anatomy.layers * (inward * anatomy.width + queries + anatomy.feed_forward)


def _kept_bytes(anatomy: "Anatomy", number_bytes: int, keys: int) -> int:
    """Return the bytes of a token that an encoder's forward pass keeps for the backward one.

    For each layer in float32: the inputs of queries, feed-forward and both norms, queries, keys,
    values and what attention returns, twice since the heads are put together again; the
    feed-forward part before and after its activation; a byte a number for two dropout masks.
    Under mixed precision each matrix keeps its own copy of its input, norms keep float32.
    ``keys``: how many scores of each head are kept, under dropout: as scores, as weights and
    dropped, all in float32; 0 under a fused kernel.
    """
    width, feed_forward = anatomy.width, anatomy.feed_forward
    halves = 3 if anatomy.gated else 2
    if number_bytes == 2:
        per_layer = 28 * width + 2 * halves * feed_forward
    else:
        per_layer = 34 * width + 4 * halves * feed_forward
    return int(anatomy.layers * (per_layer + 12 * anatomy.heads * keys))


def _training_causal(case: Case) -> Parts:
    """Frozen weights with adapters that learn in float32; a loss on the label's word alone."""
    anatomy, adapters = _known(case), _adapter_parameters(case)
    sequence = case.text_tokens + _QUESTION
    asked = case.option("batch_size", 16)
    passes = min(asked, -(-asked * sequence // case.option("batch_tokens", 1024)))
    rows = -(-min(asked, case.lengths.rows) // passes)
    kept = rows * sequence * _kept_causal(case)
    return {
        "weights": anatomy.weight_bytes(_form(case)) + _unpacked(case) + 4 * adapters,
        "gradients": 4 * adapters,
        "optimizer": _moments(case, adapters),
        "activations": _kept_for_backward(case, kept),
        "label logits": 3 * 4 * rows * anatomy.vocabulary,
    }


def _adapter_parameters(case: Case) -> int:
    """Return what two thin matrices beside each adapted one have."""
    anatomy, rank = _known(case), case.option("lora_rank", 16)
    if case.option("targets", "all") == "all":
        return int(rank * (anatomy.linear_outputs + _linear_inputs(anatomy)))
    queries = anatomy.heads * anatomy.head_size
    shared = anatomy.key_value_heads * anatomy.head_size
    return int(rank * anatomy.layers * (2 * anatomy.width + queries + shared))


def _kept_causal(case: Case) -> int:
    """Return the bytes of a token that a decoder with adapters keeps for the backward pass.

    For each layer: norms in float32; what every adapter reads, with its dropout mask; queries,
    keys and values for every head, and what attention returns; three halves of the feed-forward
    part and their product. With recomputation: each layer's input, and one layer's whole with its
    gradients.
    """
    anatomy, size = _known(case), case.number_bytes
    queries = anatomy.heads * anatomy.head_size
    norms = 4 * 4 * anatomy.width
    if case.option("targets", "all") == "all":
        read = 5 * anatomy.width + queries + anatomy.feed_forward
    else:
        read = 2 * anatomy.width
    attention, feed_forward = 4 * size * queries, 4 * size * anatomy.feed_forward
    layer = norms + (size + 1) * read + attention + feed_forward
    if case.option("recompute", False):
        return int(2 * layer + anatomy.layers * size * anatomy.width)
    return int(anatomy.layers * layer)
