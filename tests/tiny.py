"""Tiny random checkpoints with tokenizers of their own, and separable opinions: made offline."""

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

from pollice.data.dataset import Dataset
from pollice.models.causal.questions import default_template
from pollice.models.pretrained.devices import quiet

# In products this small, threads would only wait for each other.
torch.set_num_threads(1)
threadpool_limits(limits=1)

CAUSAL_FAMILIES = ("gemma", "gemma2", "gemma3", "mistral", "llama", "qwen2")
ENCODER_FAMILIES = ("bert", "distilbert", "roberta", "deberta-v2", "modernbert")
NLI_LABELS = ("contradiction", "neutral", "entailment")
WINDOW = 8
"""The sliding window of the families that have one."""

WORDS = {
    "negative": ("terrible", "awful", "boring", "dreadful", "bad"),
    "positive": ("wonderful", "great", "lovely", "superb", "good"),
    "mixed": ("ordinary", "uneven", "passable", "average", "plain"),
}
_FILLERS = ("the", "film", "was", "and", "story", "with", "actors", "it", "is", "a", "of", "in")
_CONTROL = {
    "gemma": ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
    "mistral": ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
    "llama": ("<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"),
    "qwen2": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
_GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_INST_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}"
    "{{ eos_token }}{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
_IM_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHAT_TEMPLATES = {
    "gemma": _GEMMA_CHAT,
    "gemma2": _GEMMA_CHAT,
    "gemma3": _GEMMA_CHAT,
    "mistral": _INST_CHAT,
    "llama": _IM_CHAT,
    "qwen2": _IM_CHAT,
}


def opinions(rows: int, label_names: Sequence[str] = ("negative", "positive")) -> Dataset:
    """Return rows whose label one word tells; each label as often as the next."""
    chance = random.Random(rows)
    labels = [label_names[row % len(label_names)] for row in range(rows)]
    texts = []
    for label in labels:
        words = [*chance.choices(WORDS[label], k=4), *chance.choices(_FILLERS, k=4)]
        chance.shuffle(words)
        texts.append(" ".join(words))
    return Dataset(
        ids=tuple(f"row{row}" for row in range(rows)),
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=tuple(label_names),
    )


def tiny_causal(folder: Path, family: str, *, chat: bool = False, context: int = 4096) -> Path:
    """Save a random causal language model of a family; with its chat template or without."""
    tokenizer = _CAUSAL_TOKENIZERS[family]()
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATES[family]
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    return _saved(folder, _causal_model(family, shape), tokenizer)


def _causal_model(family: str, shape: dict[str, Any]) -> PreTrainedModel:
    match family:
        case "gemma":
            return GemmaForCausalLM(GemmaConfig(**shape, num_key_value_heads=1, head_dim=16))
        case "gemma2":
            return Gemma2ForCausalLM(
                Gemma2Config(
                    **shape,
                    num_key_value_heads=2,
                    head_dim=16,
                    sliding_window=WINDOW,
                    query_pre_attn_scalar=16,
                    attn_logit_softcapping=2.0,
                    final_logit_softcapping=3.0,
                )
            )
        case "gemma3":
            layers = ["sliding_attention", "full_attention", "sliding_attention"]
            return Gemma3ForCausalLM(
                Gemma3TextConfig(
                    **{**shape, "num_hidden_layers": 3},
                    num_key_value_heads=1,
                    head_dim=16,
                    sliding_window=WINDOW,
                    query_pre_attn_scalar=16,
                    layer_types=layers,
                )
            )
        case "mistral":
            return MistralForCausalLM(
                MistralConfig(**shape, num_key_value_heads=2, sliding_window=WINDOW)
            )
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=2))
        case _:
            return Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=2))


def tiny_encoder(folder: Path, family: str, *, positions: int = 512) -> Path:
    """Save a random encoder of a family, without a classification head."""
    tokenizer = _ENCODER_TOKENIZERS[family]()
    torch.manual_seed(0)
    return _saved(folder, _encoder_model(family, tokenizer, positions), tokenizer)


def tiny_classifier(folder: Path) -> Path:
    """Save a random BERT with a classification head of two labels."""
    tokenizer = _wordpiece()
    torch.manual_seed(0)
    config = BertConfig(**_encoder_shape(tokenizer, 512))
    return _saved(folder, BertForSequenceClassification(config), tokenizer)


def tiny_entailment(
    folder: Path, family: str = "bert", labels: Sequence[str] = NLI_LABELS, *, positions: int = 512
) -> Path:
    """Save a random BERT or RoBERTa with a head of inference labels."""
    model, tokenizer = _entailment_model(family, labels, positions)
    return _saved(folder, model, tokenizer)


def taught_entailment(folder: Path) -> Path:
    """Save a BERT that has learned which label's hypothesis an opinion entails."""
    model, tokenizer = _entailment_model("bert", NLI_LABELS, 512)
    model.load_state_dict(_taught())
    return _written(folder, model, tokenizer)


@cache
def _taught() -> dict[str, torch.Tensor]:
    model, tokenizer = _entailment_model("bert", NLI_LABELS, 512)
    _draw_wide(model)
    rows = opinions(1200, tuple(WORDS))
    chance = random.Random(0)
    hypotheses = [chance.choice(tuple(WORDS)) for _ in rows.texts]
    inputs = tokenizer(
        list(rows.texts),
        [f"This text is {label}." for label in hypotheses],
        padding=True,
        return_tensors="pt",
    )
    told = torch.tensor([a == b for a, b in zip(hypotheses, rows.labels, strict=True)])
    codes = torch.where(told, NLI_LABELS.index("entailment"), 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for step in range(150):
        batch = torch.arange(step * 64, step * 64 + 64) % len(codes)
        fields = {name: column[batch] for name, column in inputs.items()}
        loss = model(**fields, labels=codes[batch]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict()


def _entailment_model(
    family: str, labels: Sequence[str], positions: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = _ENCODER_TOKENIZERS[family]()
    shape = _encoder_shape(tokenizer, positions)
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    shape |= {"id2label": dict(enumerate(labels))}
    shape |= {"label2id": {label: code for code, label in enumerate(labels)}}
    torch.manual_seed(0)
    if family == "bert":
        names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer.backend_tokenizer, model_input_names=names, **_BERT_ROLES
        )
        return BertForSequenceClassification(BertConfig(**shape)), tokenizer
    shape["max_position_embeddings"] = positions + tokenizer.pad_token_id + 1
    config = RobertaConfig(**shape, type_vocab_size=1)
    return RobertaForSequenceClassification(config), tokenizer


def _encoder_shape(tokenizer: PreTrainedTokenizerFast, positions: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": positions,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _encoder_model(
    family: str, tokenizer: PreTrainedTokenizerFast, positions: int
) -> PreTrainedModel:
    shape = _encoder_shape(tokenizer, positions)
    match family:
        case "bert":
            return BertModel(BertConfig(**shape))
        case "distilbert":
            return DistilBertModel(
                DistilBertConfig(
                    vocab_size=len(tokenizer),
                    dim=32,
                    hidden_dim=48,
                    n_layers=2,
                    n_heads=4,
                    max_position_embeddings=positions,
                )
            )
        case "roberta":
            shape["max_position_embeddings"] = positions + tokenizer.pad_token_id + 1
            return RobertaModel(RobertaConfig(**shape))
        case "deberta-v2":
            disentangled = {
                "relative_attention": True,
                "position_buckets": 16,
                "pos_att_type": ["p2c", "c2p"],
                "share_att_key": True,
                "norm_rel_ebd": "layer_norm",
                "position_biased_input": False,
            }
            return DebertaV2Model(DebertaV2Config(**{**shape, **disentangled}))
        case _:
            return ModernBertModel(
                ModernBertConfig(
                    **shape,
                    cls_token_id=tokenizer.cls_token_id,
                    sep_token_id=tokenizer.sep_token_id,
                    bos_token_id=tokenizer.cls_token_id,
                    eos_token_id=tokenizer.sep_token_id,
                    layer_types=["full_attention", "sliding_attention"],
                    local_attention=WINDOW,
                )
            )


def _saved(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Save both; matrices are drawn wide enough that attention and logits tell tokens apart."""
    _draw_wide(model)
    return _written(folder, model, tokenizer)


def _draw_wide(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.25)


def _written(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def _corpus() -> list[str]:
    questions = default_template(("negative", "positive")).questions
    asked = chain(*(words for question in questions for words in question.words.values()))
    words = " ".join([*_FILLERS, *chain(*WORDS.values()), *WORDS, *asked])
    return [words, *(f"{question.ask} {question.answer}" for question in questions)] * 4


def _byte_level(control: Sequence[str], **roles: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(control),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return _fast(tokenizer, **roles)


def _metaspace(control: Sequence[str], *, prepend: str, **roles: str) -> PreTrainedTokenizerFast:
    """Return a BPE in the manner of SentencePiece: spaces as "▁", unknown bytes as "<0x0A>"."""
    learned = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[*control, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    learned.train_from_iterator(_corpus(), trainer)
    bare = Tokenizer(learned.model)  # the bytes are words of its vocabulary, not control tokens
    bare.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    bare.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bare.add_special_tokens([AddedToken(token, special=True) for token in control])
    return _fast(bare, **roles)


def _words() -> list[str]:
    return sorted(set(re.findall("[a-z]+", " ".join(_corpus()).lower())))


def _wordpiece() -> PreTrainedTokenizerFast:
    """Return words and letters: the trainer of `tokenizers` gives other pieces on every run."""
    pieces = [*_CONTROL["bert"], *ascii_lowercase, *(f"##{one}" for one in ascii_lowercase)]
    vocabulary = {piece: code for code, piece in enumerate(dict.fromkeys([*pieces, *_words()]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _fast(tokenizer, **_BERT_ROLES)


def _unigram() -> PreTrainedTokenizerFast:
    """Return a Unigram tokenizer whose own vocabulary holds its control tokens."""
    scores = dict.fromkeys(_CONTROL["bert"], 0.0)
    scores |= dict.fromkeys(["▁", *ascii_lowercase], -6.0)
    scores |= {f"▁{word}": -8.0 for word in _words()}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return _fast(tokenizer, **_BERT_ROLES)


def _fast(tokenizer: Tokenizer, **roles: str) -> PreTrainedTokenizerFast:
    before = roles.get("cls_token") or roles.get("bos_token")
    after = roles.get("sep_token")
    if before:
        single = f"{before} $A {after}" if after else f"{before} $A"
        used = [token for token in (before, after) if token]
        pair = f"{single} $B:1 {after}:1" if after != "</s>" else f"{single} {after} $B {after}"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single,
            pair=pair if after else f"{single} $B",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in used],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


_BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def _gemma_tokenizer() -> PreTrainedTokenizerFast:
    roles = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    return _metaspace(_CONTROL["gemma"], prepend="never", unk_token="<unk>", **roles)


def _mistral_tokenizer() -> PreTrainedTokenizerFast:
    roles = {"bos_token": "<s>", "eos_token": "</s>"}
    return _metaspace(_CONTROL["mistral"], prepend="first", unk_token="<unk>", **roles)


def _llama_tokenizer() -> PreTrainedTokenizerFast:
    return _byte_level(
        _CONTROL["llama"], bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )


def _qwen_tokenizer() -> PreTrainedTokenizerFast:
    return _byte_level(_CONTROL["qwen2"], eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _roberta_tokenizer() -> PreTrainedTokenizerFast:
    return _byte_level(
        _CONTROL["roberta"],
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def _modernbert_tokenizer() -> PreTrainedTokenizerFast:
    return _byte_level(_CONTROL["bert"], **_BERT_ROLES)


_CAUSAL_TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gemma": _gemma_tokenizer,
    "gemma2": _gemma_tokenizer,
    "gemma3": _gemma_tokenizer,
    "mistral": _mistral_tokenizer,
    "llama": _llama_tokenizer,
    "qwen2": _qwen_tokenizer,
}
_ENCODER_TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": _wordpiece,
    "distilbert": _wordpiece,
    "roberta": _roberta_tokenizer,
    "deberta-v2": _unigram,
    "modernbert": _modernbert_tokenizer,
}
