"""The planner: which ways it looks at in which order, which it takes, and how it refuses."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.errors import MemoryPlanError, OptionError
from pollice.memory import planner
from pollice.memory.footprint import (
    CORE_LIBRARIES,
    CPU_LIBRARIES,
    MIB,
    Footprint,
    Lengths,
    PlannedMethod,
)
from pollice.memory.planner import Candidate, MemoryPlan, check_plan, plan_memory, read_size, table
from pollice.method import NO_EFFECT, OPTIONS, Method, options_without_effect
from pollice.methods import create_method, method_names
from pollice.predictions.predictor import Predictor
from pollice.system.measuring import resident_bytes
from tiny import tiny_encoder

LONG = Lengths(rows=1000, characters=1_000_000, longest=1000)
GIB = 2**30
CPU = {"device": "cpu", "dtype": "bfloat16"}


def planned(name: str, budget: int | None, *, exact: bool = True, **options: Any) -> MemoryPlan:
    method = create_method(name, {**({} if name == "baseline" else CPU), **options})
    plan = plan_memory(method, LONG, budget, exact=exact)
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("15GiB", 15 * GIB),
        ("15G", 15 * GIB),
        ("1.5 gib", 3 * GIB // 2),
        ("15GB", 15_000_000_000),
        ("800MiB", 800 * MIB),
        ("64K", 65536),
        ("1024", 1024),
        ("1024B", 1024),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "15 apples", "GiB", "-1G", "0", "1GiBi"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(
        OptionError,
        match=rf"^Expected a size such as 15GiB or 800MiB for --memory, but found {text!r}\.$",
    ):
        read_size(text)


def test_what_fits_as_asked_is_left_alone() -> None:
    plan = planned("finetune", 16 * GIB)
    assert plan.chosen is plan.candidates[0]
    assert plan.chosen.changes == {}


def test_smaller_micro_batches_come_before_all_else_and_the_first_that_fits_is_taken() -> None:
    options: dict[str, Any] = {"micro_batch_tokens": 8192}
    asked, half, quarter, *_ = planned("finetune", 16 * GIB, **options).candidates
    assert half.changes == {"micro_batch_tokens": 4096}
    assert quarter.changes == {"micro_batch_tokens": 2048}
    assert asked.bytes > half.bytes > quarter.bytes
    taken = planned("finetune", quarter.bytes + 20 * MIB, **options).chosen
    assert taken is not None
    assert taken.changes == quarter.changes
    assert taken.exact


def test_steps_come_in_order_each_on_top_of_the_last() -> None:
    options: dict[str, Any] = {"device": "cuda", "checkpoint": "gemma-2b"}
    options |= {"batch_size": 16, "batch_tokens": 1024}
    plan = planned("lora", 64 * GIB, **options)
    assert [one.step for one in plan.candidates] == [
        "as asked",
        "smaller micro-batch",
        "smaller micro-batch",
        "recomputation",
        "8-bit optimizer",
        "4-bit weights",
        "optimizer offloaded",
    ]
    assert [one.exact for one in plan.candidates] == [True] * 4 + [False] * 3
    assert plan.candidates[-1].changes == {
        "batch_tokens": 256,
        "recompute": True,
        "optimizer_bits": 8,
        "weights": "nf4",
        "paged_optimizer": True,
    }
    sizes = [one.bytes for one in plan.candidates]
    assert sizes == sorted(sizes, reverse=True)


def test_four_bits_are_for_gpus() -> None:
    assert "4-bit weights" not in {one.step for one in planned("lora", GIB).candidates}


def test_what_is_set_already_is_no_step() -> None:
    options: dict[str, Any] = {"recompute": True, "weights": "nf4", "device": "cuda"}
    steps = {one.step for one in planned("lora", GIB, **options).candidates}
    assert not {"recomputation", "4-bit weights"} & steps
    adapted = {one.step for one in planned("finetune", GIB, lora_rank=2).candidates}
    assert not {"LoRA", "frozen embeddings"} & adapted


def test_embeddings_are_frozen_before_an_adapter_is_tried() -> None:
    steps = [one.step for one in planned("finetune", GIB).candidates]
    assert steps.index("frozen embeddings") + 1 == steps.index("LoRA")


def test_a_run_takes_no_way_that_changes_its_numbers() -> None:
    plan = planned("finetune", 16 * GIB)
    lora = plan.candidates[-2]
    assert lora.step == "LoRA"
    allowed = planned("finetune", lora.bytes + 20 * MIB, exact=False).chosen
    assert allowed is not None
    assert allowed.step == "LoRA"
    assert planned("finetune", lora.bytes + 20 * MIB).chosen is None


def test_the_trainer_accumulates_instead() -> None:
    changes = [one.changes for one in planned("trainer", GIB).candidates]
    assert changes[:3] == [
        {},
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 4},
    ]


def test_micro_batches_go_down_to_one_text_and_no_further() -> None:
    assert planned("features", GIB).candidates[-1].changes == {"batch_tokens": 512}


def test_a_baseline_has_one_way_and_needs_no_checkpoint() -> None:
    plan = planned("baseline", GIB)
    assert [one.step for one in plan.candidates] == ["as asked"]
    assert set(plan.candidates[0].parts) == {"libraries", "data", "weights", "activations"}


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Unplanned(Method):
    """A method of someone else's, which says nothing of its memory."""

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        raise NotImplementedError


def test_a_method_that_does_not_say_what_it_takes_is_not_planned() -> None:
    assert plan_memory(Unplanned(), LONG, 1) is None


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Foreign(Unplanned, PlannedMethod):
    """A method of someone else's that is planned: a tenth of a text at once, if need be."""

    share: int = 1
    """Takes less memory, and changes the results."""
    recompute: bool = Field(default=False, json_schema_extra=NO_EFFECT)
    """Takes less memory."""
    weights: tuple[str, ...] = ()
    """What goes by the name of an option that the planner knows, and is something else."""

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        size = 1000 // self.share - 100 * self.recompute
        return Footprint.of_gpu({"activations": size * MIB})

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        return {"share": 2 * self.share} if self.share < 4 else {}


def test_a_foreign_method_is_planned_by_what_it_says_of_itself() -> None:
    """Whether a way is exact says the mark on each option; a value that is refused is no way."""
    plan = plan_memory(Foreign(), LONG, 700 * MIB, exact=False)
    assert plan is not None
    assert [(one.changes, one.exact, one.bytes // MIB - 480) for one in plan.candidates] == [
        ({}, True, 1000),
        ({"share": 2}, False, 500),
        ({"share": 4}, False, 250),
        ({"share": 4, "recompute": True}, False, 150),
    ]


def test_a_step_that_is_marked_is_exact() -> None:
    plan = plan_memory(Foreign(share=4), LONG, GIB)
    assert plan is not None
    assert [(one.changes, one.exact) for one in plan.candidates] == [
        ({}, True),
        ({"recompute": True}, True),
    ]


def test_options_that_a_method_refuses_together_are_no_way() -> None:
    """An adapter cannot be merged into 4-bit weights."""
    steps = [one.step for one in planned("lora", GIB, device="cuda", merge=True).candidates]
    assert "4-bit weights" not in steps
    assert steps[-2:] == ["8-bit optimizer", "optimizer offloaded"]


@pytest.mark.parametrize("name", [name for name in method_names() if name != "nli"])
def test_smaller_micro_batches_leave_the_numbers(name: str) -> None:
    method = create_method(name, {})
    assert isinstance(method, PlannedMethod)
    assert options_without_effect(type(method)).issuperset(method.halve_batch(LONG))


def test_without_a_budget_it_is_what_is_free() -> None:
    plan = planned("features", None)
    assert not plan.budget.given
    assert 0 < plan.budget.bytes < 2**50
    assert plan.budget.said.endswith("of memory (free now, less 10%)")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand")
def test_an_absent_gpu_needs_a_budget() -> None:
    with pytest.raises(
        MemoryPlanError,
        match=r"^device is 'cuda', but no CUDA GPU is at hand that says how much memory it has\. "
        r"Name the GPU's memory, such as --memory 15GiB\.$",
    ):
        planned("features", None, device="cuda")


def test_a_folder_is_planned_too(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "bert", "bert")
    tiny, real = (
        planned("finetune", 64 * GIB, checkpoint=name).candidates[0]
        for name in (str(folder), "minilm")
    )
    assert tiny.parts["weights"] < real.parts["weights"]


def of(**sizes: int) -> dict[str, int]:
    return {"libraries": 500 * MIB, **{name: size * MIB for name, size in sizes.items()}}


def plan_of(budget: int, *, given: bool, chosen: bool = False) -> MemoryPlan:
    candidates = (
        Candidate(step="as asked", changes={}, parts=of(weights=300), exact=True),
        Candidate(
            step="smaller micro-batch",
            changes={"batch_tokens": 512},
            parts=of(weights=200),
            exact=True,
        ),
        Candidate(
            step="LoRA",
            changes={"batch_tokens": 512, "lora_rank": 8},
            parts=of(weights=100),
            exact=False,
        ),
    )
    return MemoryPlan(
        method="finetune",
        budget=planner.Budget(bytes=budget * MIB, cuda=False, given=given),
        candidates=candidates,
        chosen=candidates[1] if chosen else None,
    )


def refused(plan: MemoryPlan, sentence: str) -> None:
    whole = re.escape(f"{sentence}\n\n{table(plan)}")
    with pytest.raises(MemoryPlanError, match=f"^{whole}$"):
        check_plan(plan, "mine")


def test_a_refusal_says_what_would_fit_and_shows_the_table() -> None:
    refused(
        plan_of(200, given=True),
        "mine needs 600 MiB at least, but may use 200 MiB of memory (as --memory says). Allow it "
        "--memory 600MiB, lower max_tokens, or use a smaller checkpoint.",
    )
    refused(
        plan_of(300, given=False),
        "mine needs 600 MiB at least, but may use 300 MiB of memory (free now, less 10%). Free "
        "some memory, lower max_tokens, or use a smaller checkpoint.",
    )
    refused(
        plan_of(650, given=True),
        "mine needs 700 MiB at least to give the numbers of its options, but may use 650 MiB of "
        "memory (as --memory says). With others it fits: --set mine.batch_tokens=512 --set "
        "mine.lora_rank=8.",
    )


def test_the_table_shows_every_way_and_the_parts_of_the_one_taken() -> None:
    assert table(plan_of(700, given=True, chosen=True)) == (
        "way                  options                        MiB\n"
        "as asked                                            800  too much\n"
        "smaller micro-batch  batch_tokens=512               700  taken\n"
        "LoRA                 batch_tokens=512, lora_rank=8  600  fits\n"
        "\n"
        "MiB        as asked  taken\n"
        "libraries       500    500\n"
        "weights         300    200\n"
        "in all          800    700"
    )


def test_the_json_says_which_way_is_taken() -> None:
    content = planner.to_json(plan_of(700, given=True, chosen=True))
    assert [way["taken"] for way in content["ways"]] == [False, True, False]
    assert content["ways"][1]["bytes"] == 700 * MIB
    assert content["budget"] == {"bytes": 700 * MIB, "cuda": False, "given": True}


def test_a_plan_without_a_checkpoint_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from pollice.memory.footprint import ANY_TEXTS\n"
        "from pollice.memory.planner import plan_memory\n"
        "from pollice.methods import create_method\n"
        "assert plan_memory(create_method('baseline', {}), ANY_TEXTS)\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_a_plan_counts_what_the_process_holds_already() -> None:
    found = planned("features", GIB).candidates[0].parts["libraries"]
    assert found >= max(CPU_LIBRARIES, 0.9 * (resident_bytes() - 2 * LONG.characters))
    assert planned("baseline", GIB).candidates[0].parts["libraries"] >= CORE_LIBRARIES
