"""A GPU: what tuning and prompting models of 2 and 7 billion weights take, and how fast tuning is.

One command, under 8 minutes, that needs no network: the checkpoints have the published shapes and
random weights, since neither memory nor speed depends on their values. Each job runs in a process
of its own. With --dry-run everything is tiny and on the CPU, to see that it works.
"""

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rounds import Json, add_usual, answer_child, machine, markdown, run_child, write_json
from shapes import opinions, write_checkpoint

from pollice.system.measuring import measured

GIB, MIB = 2**30, 2**20
TOKENS = 512
REPORT = {
    "recipe": "report",
    "epochs": 1,
    "judge_before": False,
    "calibration_texts": 0,
    "patience": None,
}
"""The report's arguments: NF4, rank 64 on queries and values, 4 rows a step, 512 tokens."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One thing to measure, and the most memory that it may take."""

    what: str
    kind: str
    """tune, score, or peer: which function does it."""
    checkpoint: str
    most_gib: float | None
    options: Mapping[str, Any] = field(default_factory=dict)


JOBS = (
    Job(
        what="QLoRA, the report's arguments",
        kind="tune",
        checkpoint="mistral-7b-instruct",
        most_gib=8,
        options={**REPORT, "recompute": True, "batch_tokens": 2400},
    ),
    Job(
        what="plain SFTTrainer, the report's arguments",
        kind="peer",
        checkpoint="mistral-7b-instruct",
        most_gib=None,
    ),
    Job(
        what="LoRA on bfloat16",
        kind="tune",
        checkpoint="gemma-2b",
        most_gib=6,
        options={
            **REPORT,
            "weights": "bfloat16",
            "lora_rank": 16,
            "recompute": True,
            "batch_tokens": 600,
        },
    ),
    Job(
        what="one-shot and few-shot",
        kind="score",
        checkpoint="gemma-2b",
        most_gib=15,
        options={"four_bit": False},
    ),
    Job(
        what="QLoRA",
        kind="tune",
        checkpoint="gemma-7b",
        most_gib=15,
        options={**REPORT, "recompute": True, "batch_tokens": 1200},
    ),
    Job(
        what="one-shot and few-shot, NF4",
        kind="score",
        checkpoint="gemma-7b",
        most_gib=15,
        options={"four_bit": True},
    ),
)


# What a child process does.


def tune(job: Json) -> Json:
    """Tune with the method lora; the rate is the median of its steps after the second."""
    from pollice.memory.footprint import Lengths
    from pollice.memory.planner import plan_memory
    from pollice.methods import create_method

    options = {**job["options"], "checkpoint": job["folder"]}
    if job["tiny"]:
        options |= {"weights": "float32", "max_tokens": 64, "batch_tokens": 256}
    method = create_method("lora", options)
    rows = opinions(24 if job["tiny"] else 48, 64 if job["tiny"] else TOKENS)
    plan = plan_memory(method, Lengths.of(rows.texts, 2), 2**60)
    with tempfile.TemporaryDirectory() as workdir, measured() as meter:
        method.fit(rows, rows.take(range(2)), workdir=Path(workdir))
        log = (Path(workdir) / "training.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [line for line in map(json.loads, log) if "tokens_per_second" in line]
    return {
        "rate": statistics.median(line["tokens_per_second"] for line in steps[2:]),
        "peak": _peak(meter),
        "planned": plan.candidates[0].bytes if plan else None,
    }


def score(job: Json) -> Json:
    """Score texts behind one example, then behind eight, as the method prompt does."""
    from pollice.models.causal.prompts import Example, assemble
    from pollice.models.causal.questions import default_template
    from pollice.models.causal.scoring import CausalScorer
    from pollice.models.pretrained.options import ReadingOptions
    from pollice.models.pretrained.tokenizer import TextTokenizer
    from pollice.models.pretrained.weights import load_language_model

    tokens = 32 if job["tiny"] else 256
    rows = opinions(16 if job["tiny"] else 64, tokens)
    tokenizer = TextTokenizer(Path(job["folder"]))
    encoded = tokenizer.encode_texts(rows.texts)
    shown = [
        Example(tokens=tuple(text[: tokens // 2]), label=label)
        for text, label in zip(encoded, rows.labels, strict=True)
    ]
    four_bit = job["options"]["four_bit"] and not job["tiny"]
    settings = ReadingOptions(max_tokens=tokens, dtype="float32" if job["tiny"] else "auto")
    rates = []
    with measured() as meter:
        model = load_language_model(Path(job["folder"]), settings, four_bit=four_bit)
        for shots in (1, 8):
            template = default_template(rows.label_names)
            pieces = assemble(template, rows.label_names, tokenizer, shown[:shots])
            scorer = CausalScorer(model, pieces, batch_tokens=2048)
            scorer.score(encoded[:8])
            start = time.perf_counter()
            scorer.score(encoded)
            rates.append(sum(map(len, encoded)) / (time.perf_counter() - start))
    return {"rate": rates[-1], "rate_one_shot": rates[0], "peak": _peak(meter), "planned": None}


def peer(job: Json) -> Json:
    """Tune with SFTTrainer as the report did: 4 passes of 1 row a step, a loss on every token."""
    import torch
    from datasets import Dataset as Table
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    tokens, tiny = (64, True) if job["tiny"] else (TOKENS, False)
    rows = opinions(16 if tiny else 32, tokens)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    loading = {} if tiny else {"quantization_config": quantization, "device_map": {"": 0}}
    kind: Any = AutoModelForCausalLM
    tokenizer: Any = AutoTokenizer.from_pretrained(job["folder"])
    with tempfile.TemporaryDirectory() as output, measured() as meter:
        arguments = SFTConfig(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=4,
            optim="adamw_torch" if tiny else "paged_adamw_32bit",
            learning_rate=2e-4,
            weight_decay=0.001,
            max_grad_norm=0.3,
            warmup_steps=0.03,
            lr_scheduler_type="cosine",
            bf16=not tiny,
            use_cpu=tiny,
            max_length=tokens,
            packing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model=kind.from_pretrained(job["folder"], dtype=torch.bfloat16, **loading),
            args=arguments,
            train_dataset=Table.from_dict({"text": list(rows.texts)}),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=64,
                lora_alpha=16,
                lora_dropout=0.1,
                target_modules=["q_proj", "v_proj"],
                task_type="CAUSAL_LM",
            ),
        )
        moments = _follow(trainer)
        trainer.train()
    seconds = [end - start for start, end in itertools.pairwise(moments[1:])]
    return {"rate": 4 * tokens / statistics.median(seconds), "peak": _peak(meter), "planned": None}


def _follow(trainer: Any) -> list[float]:
    """Return a list that gets the moment at which each step ends."""
    import torch
    from transformers import TrainerCallback

    moments: list[float] = []

    class _Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            moments.append(time.perf_counter())

    trainer.add_callback(_Clock())
    return moments


def _peak(meter: Any) -> float:
    """Return the peak in bytes: of the GPU with what CUDA itself takes, or of the process."""
    from pollice.memory.footprint import CUDA_CONTEXT

    device = meter.peak_device_memory_mib
    return float(meter.peak_memory_mib * MIB if device is None else device * MIB + CUDA_CONTEXT)


def work(job: Json) -> Json:
    """Do one job."""
    start = time.perf_counter()
    result = {"tune": tune, "score": score, "peer": peer}[job["kind"]](job)
    result["seconds"] = time.perf_counter() - start
    rate, peak = result["rate"], result["peak"] / GIB
    return {**result, "summary": f"{rate:,.0f} tokens/s, {peak:.1f} GiB"}


# The run.


def measure(jobs: list[Job], home: Path, *, tiny: bool) -> Iterator[tuple[Job, Json]]:
    """Yield every job with its result; a checkpoint is deleted after the last job that reads it."""
    for number, job in enumerate(jobs):
        folder = home / job.checkpoint
        if not folder.exists():
            write_checkpoint(job.checkpoint, folder, tiny=tiny)
        task = {**vars(job), "name": job.what, "folder": str(folder), "tiny": tiny}
        try:
            result = run_child(__file__, task)
        except SystemExit as error:  # the others are measured all the same
            result = {"failed": str(error), "summary": f"failed: {str(error)[-400:]}"}
        print(f"{job.checkpoint}, {job.what}: {result['summary']}", file=sys.stderr, flush=True)
        if job.checkpoint not in {later.checkpoint for later in jobs[number + 1 :]}:
            shutil.rmtree(folder)
        yield job, result


def cells(job: Job, result: Json) -> dict[str, str]:
    """Return a line of the table."""
    lacking = {"tokens/s": "failed", "peak GiB": "", "planned GiB": "", "met": "no", "s": ""}
    most = "" if job.most_gib is None else f"{job.most_gib:g}"
    line = {"checkpoint": job.checkpoint, "what": job.what, "at most GiB": most}
    if "failed" in result:
        return line | lacking
    peak, planned = result["peak"] / GIB, result["planned"]
    return line | {
        "tokens/s": f"{result['rate']:,.0f}",
        "peak GiB": f"{peak:.2f}",
        "planned GiB": f"{planned / GIB:.2f}" if planned else "",
        "met": "" if job.most_gib is None else "yes" if peak <= job.most_gib else "no",
        "s": f"{result['seconds']:.0f}",
    }


def ratio(results: list[tuple[Job, Json]]) -> str:
    """Return how many times as fast tuning is as the peer on the same checkpoint and arguments."""
    rates = {job.kind: result.get("rate") for job, result in reversed(results)}
    ours, theirs = rates.get("tune"), rates.get("peer")
    if not ours or not theirs:
        return "No ratio: a job failed."
    return f"lora is {ours / theirs:.2f} times as fast as plain SFTTrainer (to be met: 2)."


def _room() -> str | None:
    """Return the folder in memory where it has room for the largest checkpoint."""
    place = Path("/dev/shm")
    if place.is_dir() and shutil.disk_usage(place).free > 24 * GIB:
        return str(place)
    return None


def main() -> None:
    """Run the jobs and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument("--jobs", nargs="*", default=[], help="only those that hold a word")
    parser.add_argument("--folder", help="where the checkpoints are written for a while (18 GB)")
    add_usual(parser)
    given = parser.parse_args()
    if given.child:
        answer_child(given.child, work)
        return
    named = [(job, f"{job.checkpoint} {job.what}") for job in JOBS]
    jobs = [job for job, name in named if not given.jobs or any(w in name for w in given.jobs)]
    with tempfile.TemporaryDirectory(dir=given.folder or _room()) as home:
        results = list(measure(jobs, Path(home), tiny=given.dry_run))
    print(machine(("torch", "transformers", "peft", "trl")))
    print(f"\n{markdown([cells(job, result) for job, result in results])}\n\n{ratio(results)}")
    write_json(given.json, {f"{job.checkpoint}, {job.what}": one for job, one in results})


if __name__ == "__main__":
    main()
