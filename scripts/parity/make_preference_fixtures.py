#!/usr/bin/env python3
"""Makes tests/fixtures/preference: what TRL, mDPO's and RLHF-V's code make of log-probabilities, with gradients by autograd.

How to run (only needed to remake the fixtures; the tests need no Python):

    git clone https://github.com/luka-group/mDPO && git clone https://github.com/thunlp/Muffin
    python3 -m venv .venv && .venv/bin/pip install torch==2.15.0 trl==1.16.0 transformers==5.24.0
    .venv/bin/python scripts/parity/make_preference_fixtures.py --mdpo mDPO --muffin Muffin
    python3 -m venv .old && .old/bin/pip install torch==2.15.0 trl==0.24.0 transformers==4.57.6
    .old/bin/python scripts/parity/make_preference_fixtures.py

The installed TRL decides which files are made. Everything is in float64; `Tensor.float`, which ORPO and the running moments
call, is replaced, so that they are as well.

- `trl.json` (TRL 1.16): `DPOTrainer._compute_loss`, `KTOTrainer._compute_loss`, `ORPOTrainer.get_batch_loss_metrics` and
  `CPOTrainer.get_batch_loss_metrics`, called as they are on a stand-in for `self`. The model is a function that returns the
  log-probabilities.
- `trl_0_24.json` (TRL 0.24): what later versions left out: label smoothing of `sigmoid`, the running mean of `bco_pair`, and
  `rpo_alpha`. `DPOTrainer.get_batch_loss_metrics` on such a stand-in.
- `mdpo.json`: `mDPOTrainer.dpo_loss`; the module is executed with stand-ins for the old TRL that it imports.
- `muffin.json`: `get_diff_ids` and the blocks of Python's `difflib` on 200 pairs of token lists, and
  `compute_weighted_logp` with `dpo_loss`; these two functions alone are executed, since their module imports a trainer.
"""

import argparse
import ast
import contextlib
import importlib.util
import json
import math
import platform
import random
import sys
import types
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torch.nn.functional as F
import trl

ROOT = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "preference"
torch.set_default_dtype(torch.float64)
ACCELERATOR = SimpleNamespace(
    device="cpu", use_distributed=False, gather=lambda x: x, gather_for_metrics=lambda x: x, is_main_process=True
)


@contextlib.contextmanager
def in_float64():
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        yield


def answer(rng, low, high, apart):
    """Sums of log-probabilities of one answer, and its length."""
    policy = -rng.uniform(low, high)
    return {"policy": policy, "reference": min(policy + rng.uniform(-apart, apart), -1e-3), "tokens": rng.randint(2, 40)}


def batches():
    rng = random.Random(11)
    ordinary = [{side: answer(rng, 5, 120, 15) for side in ("chosen", "rejected", "ablated")} for _ in range(6)]
    extreme = [{side: answer(rng, 1, 6000, 5000) for side in ("chosen", "rejected", "ablated")} for _ in range(5)]
    # 8 tokens: the sum over them is exact, so that rewards are zero
    equal = [{side: answer(rng, 5, 120, 0) | {"tokens": 8} for side in ("chosen", "rejected", "ablated")} for _ in range(4)]
    certain = [{side: answer(rng, 1e-3, 2, 0.5) for side in ("chosen", "rejected", "ablated")} for _ in range(4)]
    return {"ordinary": ordinary, "extreme": extreme, "equal": equal, "certain": certain}


def column(pairs, side, key):
    return torch.tensor([pair[side][key] for pair in pairs])


def leaves(pairs, sides=("chosen", "rejected")):
    return [column(pairs, side, "policy").requires_grad_() for side in sides]


def gradients(loss, inputs):
    loss.backward()
    return [(torch.zeros_like(x) if x.grad is None else x.grad).tolist() for x in inputs]


def averages(pairs, sums):
    return [x / column(pairs, side, "tokens") for x, side in zip(sums, ("chosen", "rejected"))]


def chosen_nll(pairs, chosen):
    return -chosen.sum() / column(pairs, "chosen", "tokens").sum()


# TRL 1.16


def spread(sums, tokens):
    """Per-token log-probabilities `[answers, longest]` with these sums, and the mask of the tokens."""
    mask = torch.arange(int(tokens.max()))[None, :] < tokens[:, None]
    return (sums / tokens)[:, None] * mask, mask.long()


def model_of(per_token):
    zeros = torch.zeros_like(per_token)
    outputs = SimpleNamespace(log_probs=per_token, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    return mock.Mock(training=True, side_effect=lambda **_: outputs)


def stand_in(model, **settings):
    common = dict(aux_loss_enabled=False, precompute_ref_logps=True, accelerator=ACCELERATOR, use_weighting=False)
    common |= dict(f_divergence_type="reverse_kl", ld_alpha=None, _total_train_tokens=0, _tp_size=1)
    return SimpleNamespace(model=model, _metrics=defaultdict(lambda: defaultdict(list)), **common, **settings)


def with_prompt(mask):
    """The mask with one token of prompt in front, as `completion_mask` has it before it is shifted."""
    return F.pad(mask, (1, 0))


def shown(metrics):
    wanted = ("rewards/", "logps/", "nll_loss", "log_odds", "kl")
    single = {key: value[-1] if isinstance(value, list) else value for key, value in metrics.items()}
    return {key: value for key, value in single.items() if key.startswith(wanted)}


def dpo_case(batch, pairs, beta, terms, smoothing=0.0):
    from trl import DPOTrainer

    chosen, rejected = leaves(pairs)
    tokens = torch.cat([column(pairs, side, "tokens") for side in ("chosen", "rejected")])
    per_token, mask = spread(torch.cat([chosen, rejected]), tokens)
    model, completion = model_of(per_token), with_prompt(mask)
    trainer = stand_in(model, beta=beta, loss_types=[kind for kind, _ in terms], loss_weights=[weight for _, weight in terms])
    trainer.label_smoothing, trainer.args = smoothing, SimpleNamespace(discopop_tau=0.05)
    inputs = {"input_ids": torch.zeros_like(completion), "attention_mask": torch.ones_like(completion)}
    inputs |= {"completion_mask": completion}
    inputs |= {f"ref_{side}_logps": column(pairs, side, "reference") for side in ("chosen", "rejected")}
    loss = DPOTrainer._compute_loss(trainer, model, inputs, False)
    return case(batch, beta, terms, smoothing, loss, [chosen, rejected], trainer._metrics["train"])


def case(batch, beta, terms, smoothing, loss, inputs, metrics, **more):
    grads = gradients(loss, inputs)
    out = {"batch": batch, "beta": beta, "terms": terms, "label_smoothing": smoothing, "loss": loss.item()}
    return out | {"chosen": grads[0], "rejected": grads[1], "metrics": shown(metrics)} | more


DPO = ["sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"]
DPO += ["discopop", "sft", "sigmoid_norm"]
SMOOTHED = ["exo_pair", "robust", "aot", "aot_unpaired"]
MPO = [("sigmoid", 0.8), ("bco_pair", 0.2), ("sft", 1.0)]


def dpo_cases(name, pairs):
    for beta in (0.1, 0.4):
        yield from (dpo_case(name, pairs, beta, [(kind, 1.0)]) for kind in DPO)
    yield from (dpo_case(name, pairs, 0.1, [(kind, 1.0)], 0.1) for kind in SMOOTHED)
    yield dpo_case(name, pairs, 0.1, [("exo_pair", 1.0)], 1e-3)
    yield dpo_case(name, pairs, 0.1, MPO)


def reference_free(name, pairs):
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    yield free_case(ORPOTrainer, "odds_ratio_loss", name, pairs, 0.1, "orpo", 0.0, 1.0)
    for smoothing in (0.0, 0.1):
        yield free_case(CPOTrainer, "cpo_loss", name, pairs, 2.0, "simpo", smoothing, 0.0)
        yield free_case(CPOTrainer, "cpo_loss", name, pairs, 0.1, "cpo", smoothing, 0.7)


def free_case(trainer_class, method, name, pairs, beta, kind, smoothing, sft):
    sums = leaves(pairs)
    inputs = sums if kind == "cpo" else averages(pairs, sums)
    nothing = torch.zeros(1)
    trainer = SimpleNamespace(accelerator=ACCELERATOR, aux_loss_enabled=False, beta=beta, label_smoothing=smoothing)
    trainer.alpha, trainer.cpo_alpha, trainer.simpo_gamma = 0.0, sft, 1.0
    trainer.loss_type = {"cpo": "sigmoid", "simpo": "simpo", "orpo": None}[kind]
    trainer.concatenated_forward = lambda *_: (*inputs, nothing, nothing, chosen_nll(pairs, sums[0]))
    setattr(trainer, method, partial(getattr(trainer_class, method), trainer))
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        loss, metrics = trainer_class.get_batch_loss_metrics(trainer, None, {})
    terms = [(kind, 1.0)] + ([("sft", sft)] if sft else [])
    metrics = {key: float(value) for key, value in metrics.items()}
    return case(name, beta, terms, smoothing, loss, sums, metrics, simpo_gamma=1.0)


def kto_case(name, pairs, weights, kl_apart):
    """Both answers of each pair as single answers; `kl_apart` shifts the reference of the mismatched ones."""
    from trl import KTOTrainer

    chosen, rejected = leaves(pairs)
    tokens = torch.cat([column(pairs, side, "tokens") for side in ("chosen", "rejected")])
    per_token, mask = spread(torch.cat([chosen, rejected]), tokens)
    model, completion = model_of(per_token), with_prompt(mask)
    mismatched = [column(pairs, "ablated", "policy"), column(pairs, "ablated", "reference") + kl_apart]
    trainer = stand_in(model, beta=0.1, loss_type="kto", calculate_KL=True)
    trainer.desirable_weight, trainer.undesirable_weight = weights
    trainer._compute_kl_logps = lambda *_: mismatched[0]
    label = torch.tensor([True] * len(pairs) + [False] * len(pairs))
    inputs = {"input_ids": torch.zeros_like(completion), "attention_mask": torch.ones_like(completion)}
    inputs |= {"completion_mask": completion, "label": label, "ref_KL_logps": mismatched[1]}
    inputs |= {"ref_logps": torch.cat([column(pairs, side, "reference") for side in ("chosen", "rejected")])}
    loss = KTOTrainer._compute_loss(trainer, model, inputs, False)
    kl = {"mismatched": [x.tolist() for x in mismatched], "weights": weights}
    return case(name, 0.1, [("kto", 1.0)], 0.0, loss, [chosen, rejected], trainer._metrics["train"], **kl)


def trl_file():
    made = batches()
    cases = [one for name, pairs in made.items() for one in dpo_cases(name, pairs)]
    # `discopop` of TRL overflows at large negative margins
    cases = [one for one in cases if math.isfinite(one["loss"])]
    cases += [one for name, pairs in made.items() for one in reference_free(name, pairs)]
    kto = [((1.0, 1.0), 0.0), ((1.0, 1.0), -20.0), ((1.3, 0.8), -20.0), ((1.3, 0.8), 50.0)]
    cases += [kto_case(name, pairs, *setting) for name, pairs in made.items() for setting in kto]
    return {"batches": made, "cases": cases}


# TRL 0.24


def old_case(name, pairs, terms, smoothing, rpo_alpha, running):
    from trl.trainer.dpo_trainer import DPOTrainer, FDivergenceType

    chosen, rejected = leaves(pairs)
    sides = dict(mean_chosen_logits=torch.zeros(1), mean_rejected_logits=torch.zeros(1))
    output = dict(chosen_logps=chosen, rejected_logps=rejected, nll_loss=chosen_nll(pairs, chosen), **sides)
    trainer = SimpleNamespace(accelerator=ACCELERATOR, beta=0.1, label_smoothing=smoothing, running=running)
    trainer.reference_free, trainer.aux_loss_enabled, trainer.use_weighting = False, False, False
    trainer.f_divergence_type = FDivergenceType.REVERSE_KL
    trainer.loss_type, trainer.loss_weights = [kind for kind, _ in terms], [weight for _, weight in terms]
    trainer.args = SimpleNamespace(use_liger_loss=False, rpo_alpha=rpo_alpha)
    trainer.concatenated_forward = lambda *_: output
    trainer.dpo_loss = partial(DPOTrainer.dpo_loss, trainer)
    batch = {f"ref_{side}_logps": column(pairs, side, "reference") for side in ("chosen", "rejected")}
    loss, _ = DPOTrainer.get_batch_loss_metrics(trainer, None, batch)
    terms = terms + ([("sft", rpo_alpha)] if rpo_alpha else [])
    return case(name, 0.1, terms, smoothing, loss, [chosen, rejected], {}, delta=running.mean)


def old_file():
    from trl.trainer.utils import RunningMoments

    made = batches()
    cases, steps = [], []
    with in_float64():
        for name, pairs in made.items():
            for smoothing, rpo_alpha in ((0.1, None), (0.4, None), (0.0, 1.0), (0.1, 0.3)):
                running = RunningMoments(ACCELERATOR)
                cases.append(old_case(name, pairs, [("sigmoid", 1.0)], smoothing, rpo_alpha, running))
        for terms in ([("bco_pair", 1.0)], MPO):
            running = RunningMoments(ACCELERATOR)
            halves = [("ordinary", made["ordinary"][at : at + 2]) for at in (0, 2, 4)]
            steps.append([old_case(name, pairs, terms, 0.0, None, running) for name, pairs in halves])
    return {"batches": made, "cases": cases, "running": steps}


# mDPO and RLHF-V


def mdpo_file(checkout):
    modules = {name: types.ModuleType(name) for name in ("trl", "trl.trainer", "trl.trainer.utils")}
    modules["trl.trainer"].DPOTrainer, modules["trl.trainer.utils"].pad_to_length = object, None
    with mock.patch.dict(sys.modules, modules):
        trainer_class = load("mdpo_trainer", checkout / "mdpo_trainer.py").mDPOTrainer
    made, cases = batches(), []
    sides = ("chosen", "rejected", "ablated")
    for name, pairs in made.items():
        inputs = leaves(pairs, sides)
        references = [column(pairs, side, "reference") for side in sides]
        losses, *rewards = trainer_class.dpo_loss(SimpleNamespace(beta=0.1), *inputs, *references)
        out = {"batch": name, "beta": 0.1, "losses": losses.tolist(), "rewards": [x.tolist() for x in rewards]}
        cases.append(out | dict(zip(sides, gradients(losses.mean(), inputs))))
    return {"batches": made, "cases": cases}


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def edited(rng, tokens, vocabulary):
    """The list with some spans left out, put in or changed."""
    out = list(tokens)
    for _ in range(rng.randint(0, 5)):
        at, length = rng.randint(0, len(out)), rng.randint(0, 6)
        out[at : at + length] = [rng.randrange(vocabulary) for _ in range(rng.randint(0, 6))]
    return out


def token_lists(rng, index):
    """Every tenth pair is so long that `difflib` leaves out frequent tokens, every eighth has nothing to do with each other."""
    vocabulary = rng.choice([2, 5, 30, 1000])
    rejected = [rng.randrange(vocabulary) for _ in range(rng.randint(200, 260) if index % 20 == 0 else rng.randint(0, 30))]
    if index % 8 == 5:
        return rejected, [rng.randrange(vocabulary) for _ in range(rng.randint(0, 30))]
    return rejected, edited(rng, rejected, vocabulary)


def diff_case(diff_lib, rng, index):
    rejected, chosen = token_lists(rng, index)
    min_match = rng.choice([1, 3, 3, 3, 5])
    rejected_changed, chosen_changed = diff_lib.get_diff_ids(rejected, chosen, min_match)
    blocks = diff_lib.difflib.SequenceMatcher(None, rejected, chosen).get_matching_blocks()
    out = {"min_match": min_match, "blocks": " ".join(f"{a} {b} {size}" for a, b, size in blocks)}
    lists = dict(rejected=rejected, chosen=chosen, rejected_changed=rejected_changed, chosen_changed=chosen_changed)
    return out | {key: " ".join(map(str, value)) for key, value in lists.items()}


def functions(path, names):
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    for node in tree.body:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
    space = {"torch": torch, "F": F}
    exec(compile(tree, str(path), "exec"), space)
    return [space[name] for name in names]


def dense_case(weighted_logp, dpo_loss, rng, average):
    """One pair of token rows: log-probabilities, weights, and the gradient of each policy log-probability."""
    lengths = [rng.randint(3, 12) for _ in range(2)]
    policy = [torch.tensor([[-rng.uniform(0, 6) for _ in range(n)]]).requires_grad_() for n in lengths]
    reference = [torch.tensor([[-rng.uniform(0, 6) for _ in range(n)]]) for n in lengths]
    weights = [torch.tensor([[rng.choice([1.0, 5.0]) for _ in range(n)]]) for n in lengths]
    labels = [torch.zeros(1, n + 1, dtype=torch.long) for n in lengths]
    sums = [
        [weighted_logp(logps, label, weight, average) for logps, label, weight in zip(rows, labels, weights)]
        for rows in (policy, reference)
    ]
    losses, *_ = dpo_loss(*sums[0], *sums[1], beta=0.5)
    rows = {"policy": policy, "reference": reference, "weights": weights}
    out = {key: [x.tolist()[0] for x in value] for key, value in rows.items()}
    grads = [grad[0] for grad in gradients(losses.mean(), policy)]
    return out | {"beta": 0.5, "average": average, "loss": losses.item(), "gradients": grads}


def muffin_file(checkout):
    diff_lib = load("diff_lib", checkout / "utils" / "diff_lib.py")
    weighted = functions(checkout / "muffin" / "train" / "trainers.py", ["compute_weighted_logp", "dpo_loss"])
    rng = random.Random(5)
    diffs = [diff_case(diff_lib, rng, index) for index in range(200)]
    return {"diffs": diffs, "dense": [dense_case(*weighted, rng, average) for average in (False, True) for _ in range(4)]}


def write(name, content, **versions):
    made_with = {"python": platform.python_version(), "torch": torch.__version__} | versions
    lines = []
    for key, value in content.items():
        items = value.items() if isinstance(value, dict) else enumerate(value)
        items = [(f"{json.dumps(k)}: " if isinstance(value, dict) else "") + json.dumps(v) for k, v in items]
        opened, closed = "{}" if isinstance(value, dict) else "[]"
        lines.append(f"{json.dumps(key)}: {opened}\n" + ",\n".join(items) + f"\n{closed}")
    head = f'"made_with": {json.dumps(made_with)}'
    (ROOT / name).write_text("{\n" + ",\n".join([head, *lines]) + "\n}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mdpo", type=Path)
    parser.add_argument("--muffin", type=Path)
    arguments = parser.parse_args()
    ROOT.mkdir(parents=True, exist_ok=True)
    if trl.__version__.startswith("0."):
        write("trl_0_24.json", old_file(), trl=trl.__version__)
        return
    write("trl.json", trl_file(), trl=trl.__version__)
    if arguments.mdpo:
        write("mdpo.json", mdpo_file(arguments.mdpo), repository="github.com/luka-group/mDPO at 2221bb3")
    if arguments.muffin:
        write("muffin.json", muffin_file(arguments.muffin), repository="github.com/thunlp/Muffin at 85d72b4")


if __name__ == "__main__":
    main()
