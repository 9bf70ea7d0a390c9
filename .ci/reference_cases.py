#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/fixtures/reference: small models with what transformers computes with them.

    python3 .ci/reference_cases.py tests/fixtures/reference [NAME...]
    python3 .ci/reference_cases.py --variant 1 OUT [NAME...]    other shapes and seeds, not kept

Needs transformers and torch, on the CPU. A case is a folder: `model` as transformers saves it,
case.json and expected.safetensors in the form that tests/fidelity/models and tests/unit/model_kit.h
read. Expected values are those of float64, with the float32 steps of transformers lifted; beside
each stands how far transformers itself is off in float32. Cases of BF16 also say how far it is off
with products of bf16: float32 weights under PyTorch's autocast, logits widened before the softmax.
"""
import argparse
import json
import math
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, CONFIG_MAPPING

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

LENGTHS, PROMPTS, NEW_TOKENS, STEPS = (17, 1, 9, 2), (3, 8), 8, 3
LONGER = (17, 1, 64, 49, 64)  # enough numbers that sizes of errors can be compared
ADAMW = dict(lr=0.01, beta1=0.9, beta2=0.95, weight_decay=0.1, max_grad_norm=1.0, steps=STEPS)
EPS = {"adamw_large_eps": 1e-3, "adamw": 1e-8}
MARGIN = 1e-3  # of the best token before the second in greedy text, that no rounding decides it

SIZES = dict(vocab_size=18, hidden_size=8, intermediate_size=10, num_hidden_layers=2,
             num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=64,
             bos_token_id=0, eos_token_id=2, pad_token_id=1, tie_word_embeddings=False)
MIXED = ["sliding_attention", "full_attention"]
VISION = dict(hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
              image_size=8, patch_size=4)


def rope(theta, kind="default", **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


def sized(*without, **more):
    return {k: v for k, v in dict(SIZES, **more).items() if k not in without}


OPT = sized("intermediate_size", "num_key_value_heads", "head_dim", ffn_dim=10,
            tie_word_embeddings=True)
GEMMA3 = sized(sliding_window=5, query_pre_attn_scalar=12, layer_types=MIXED,
               tie_word_embeddings=True, rope_parameters={
                   "full_attention": rope(1e6, "linear", factor=8.0),
                   "sliding_attention": rope(1e4)})
MINISTRAL3 = sized(rope_parameters=rope(
    1e4, "yarn", factor=4.0, original_max_position_embeddings=6, beta_fast=4.0, beta_slow=1.0,
    mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3))
WIDER = sized(vocab_size=64, hidden_size=32, intermediate_size=48, num_attention_heads=4,
              num_key_value_heads=2)
CASES = {
    "arcee": ("arcee", sized(mlp_bias=True, rope_parameters=rope(
        1e4, "yarn", factor=4.0, original_max_position_embeddings=16))),
    "cohere2": ("cohere2", sized(sliding_window=5, layer_types=MIXED, logit_scale=0.6,
                                 tie_word_embeddings=True)),
    "ernie4_5": ("ernie4_5", sized(use_bias=True, rope_parameters=rope(1e4))),
    "exaone4": ("exaone4", sized(sliding_window=5, layer_types=MIXED, rope_parameters=rope(
        1e4, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16))),
    "gemma3": ("gemma3", dict(text_config=GEMMA3, vision_config=VISION, eos_token_id=[2, 3],
                              mm_tokens_per_image=4, image_token_index=17,
                              tie_word_embeddings=True)),
    "glm": ("glm", sized(attention_bias=True)),
    "glm4": ("glm4", sized(attention_bias=True)),
    "gpt2-bf16": ("gpt2", dict(vocab_size=64, n_embd=32, n_inner=48, n_layer=2, n_head=4,
                               n_positions=64, bos_token_id=0, eos_token_id=2)),
    "granitemoehybrid": ("granitemoehybrid", sized(
        "head_dim", hidden_size=16, shared_intermediate_size=10, num_local_experts=0,
        layer_types=["full_attention"] * 2, mamba_n_heads=4, position_embedding_type="rope",
        embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.3,
        logits_scaling=1.5, tie_word_embeddings=True)),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", sized(tie_word_embeddings=True, rope_parameters=rope(
        1e4, "dynamic", alpha=40.0, factor=1.0))),
    "llama-bf16": ("llama", WIDER),
    "ministral": ("ministral", sized(sliding_window=5, layer_types=MIXED)),
    "ministral3": ("ministral3", MINISTRAL3),
    "mistral3": ("mistral3", dict(
        text_config=dict(MINISTRAL3, model_type="ministral3"), image_token_index=17,
        vision_config=dict(VISION, model_type="pixtral", head_dim=4), spatial_merge_size=1,
        tie_word_embeddings=False)),
    "nanochat": ("nanochat", sized("head_dim", hidden_size=16, final_logit_softcapping=3.0)),
    "nemotron": ("nemotron", sized(mlp_bias=True, rope_parameters=rope(
        1e4, partial_rotary_factor=0.5))),
    "olmo": ("olmo", sized("head_dim", hidden_size=16, clip_qkv=0.8)),
    "olmo3": ("olmo3", sized("head_dim", hidden_size=16, sliding_window=5, layer_types=MIXED,
                             rope_parameters={
                                 "full_attention": rope(5e5, "yarn", factor=4.0,
                                                        original_max_position_embeddings=16,
                                                        attention_factor=1.2),
                                 "sliding_attention": rope(1e4)})),
    "opt": ("opt", OPT),
    "opt-350m": ("opt", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=12)),
    "opt-galactica": ("opt", dict(OPT, enable_bias=False, layer_norm_elementwise_affine=False,
                                  activation_function="gelu")),
    "seed_oss": ("seed_oss", sized(attention_bias=True, attention_out_bias=True)),
}
BF16 = ("gpt2-bf16", "llama-bf16")
SWITCHES = ("attention_bias", "attention_out_bias", "mlp_bias", "use_bias", "enable_bias",
            "tie_word_embeddings")
BY_TYPE = {  # switches that a family reads and no case above flips
    "arcee": ("attention_bias",), "cohere2": ("attention_bias",), "gemma3_text": (),
    "granitemoehybrid": ("attention_bias",), "hunyuan_v1_dense": ("attention_bias",),
    "nanochat": ("attention_bias",), "nemotron": ("attention_bias",), "olmo": ("attention_bias",),
    "olmo3": ("attention_bias",), "seed_oss": ("mlp_bias",)}


def vary(kind, config, variant):
    """Another shape: 1 is larger, 2 has a key head for each query head and the other switches."""
    c = dict(config)
    if "text_config" in c:
        inner = c["text_config"]
        c["text_config"] = vary(inner.get("model_type", "gemma3_text"), inner, variant)
        if variant == 2 and "model_type" in inner:  # the outer key counts
            c["tie_word_embeddings"] = c["text_config"]["tie_word_embeddings"] = True
        else:
            c["text_config"]["tie_word_embeddings"] = c["tie_word_embeddings"]
        return c
    heads = 4 if variant == 1 else 3
    c.update(num_attention_heads=heads, vocab_size=96 if variant == 1 else 61,
             num_hidden_layers=4 if variant == 1 else 3)
    c["hidden_size"] = 48 if variant == 1 else 24
    if kind == "granitemoehybrid":
        c["mamba_n_heads"] = 1
    for key in ("intermediate_size", "ffn_dim", "shared_intermediate_size"):
        if key in c:
            c[key] = 80 if variant == 1 else 20
    if "num_key_value_heads" in c:
        c["num_key_value_heads"] = 2 if variant == 1 else heads
    if "head_dim" in c:
        c["head_dim"] = 16 if variant == 1 else 12
    if "word_embed_proj_dim" in c:
        c["word_embed_proj_dim"] = 20
    elif kind == "opt":
        c["word_embed_proj_dim"] = c["hidden_size"]
    if "layer_types" in c:
        kinds = c["layer_types"] if variant == 1 else c["layer_types"][::-1]
        c["layer_types"] = [kinds[i % 2] for i in range(c["num_hidden_layers"])]
    if "sliding_window" in c:
        c["sliding_window"] = 9 if variant == 1 else 3
    if variant == 2:
        for key in SWITCHES:
            if key in c or key in BY_TYPE.get(kind, ()):
                c[key] = not c.get(key, False)
        if kind == "granitemoehybrid":
            c["position_embedding_type"] = None
        if kind == "olmo":
            c["clip_qkv"] = None
        if kind == "nanochat":
            c["final_logit_softcapping"] = None
    return c


class Lifted(TorchFunctionMode):
    """Whatever asks for float32 gets float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            return args[0].double()
        lift = lambda v: torch.float64 if v is torch.float32 else v
        return func(*map(lift, args), **{k: lift(v) for k, v in (kwargs or {}).items()})


def load(folder, wrapped):
    auto = AutoModelForImageTextToText if wrapped else AutoModelForCausalLM
    return auto.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def fill(model, kind, seed):
    """Weights far from uniform attention and logits; as float32 draws, in order of names."""
    rng = torch.Generator().manual_seed(seed)
    around = 0.0 if kind in ("gemma3", "nemotron") else 1.0
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            n = torch.randn(p.shape, generator=rng)
            if p.ndim < 2:
                norm = "norm" in name or ".ln_" in name
                p.copy_(around + 0.2 * n if norm and name.endswith("weight") else 0.1 * n)
            elif "embed" in name or ".wte." in name or ".wpe." in name:
                p.copy_(n * (0.5 if around else 0.2))
            else:
                p.copy_(n * (1.2 / math.sqrt(p.shape[0 if kind == "gpt2" else 1])))


def texts(vocab, seed, lengths):
    rng = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randint(3, vocab, (n,), generator=rng).tolist()
    sequences = []
    for n in lengths:
        mask = [int(i >= max(1, 2 * n // 5) and i % 7 != 4) for i in range(n)]
        sequences.append({"tokens": draw(n), "mask": mask})
    return sequences, [draw(n) for n in PROMPTS]


def logits_of(model, tokens):
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.float() if logits.dtype is torch.bfloat16 else logits


def scores(model, tokens):
    full = torch.log_softmax(logits_of(model, tokens)[:-1], -1)
    logp = full.gather(1, torch.tensor(tokens[1:], dtype=torch.long)[:, None])[:, 0]
    return logp, -(full.exp() * full).sum(-1)


def loss_of(model, sequences):
    total, n = 0.0, 0
    for s in sequences:
        if len(s["tokens"]) > 1:
            mask = torch.tensor(s["mask"][1:])
            total = total - (scores(model, s["tokens"])[0] * mask).sum()
            n += int(mask.sum())
    return total / n


def trained(model):
    """The text model's parameters by their name in the file."""
    out = {}
    for name, p in model.named_parameters():
        if "vision_tower" in name or "multi_modal_projector" in name:
            continue
        if name.startswith("model.language_model."):
            name = "language_model.model." + name[len("model.language_model."):]
        elif name == "lm_head.weight" and hasattr(model.model, "language_model"):
            name = "language_model.lm_head.weight"
        out[name] = p
    return out


def step_thrice(model, sequences, eps):
    params = trained(model)
    groups = [{"params": [p for p in params.values() if (p.ndim >= 2) == matrices],
               "weight_decay": ADAMW["weight_decay"] if matrices else 0.0} for matrices in (1, 0)]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=ADAMW["lr"], eps=eps,
                                  betas=(ADAMW["beta1"], ADAMW["beta2"]))
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, sequences)
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(),
                                                    ADAMW["max_grad_norm"]).item())
        optimizer.step()
    losses.append(loss_of(model, sequences).item())
    return {"losses": losses, "norms": norms,
            "parameters": {n: p.detach().clone() for n, p in params.items()}}


def greedy(model, prompt):
    config = model.generation_config
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)).long(),
                         do_sample=False, max_new_tokens=NEW_TOKENS, output_logits=True,
                         return_dict_in_generate=True, pad_token_id=0)
    tokens = out.sequences[0, len(prompt):].tolist()
    steps = torch.stack([z[0].double() for z in out.logits])
    best = steps.topk(2).values
    stops = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return {"prompt": prompt, "tokens": tokens, "margin": (best[:, 0] - best[:, 1]).tolist(),
            "logprob": [lp[t].item() for lp, t in zip(steps.log_softmax(-1), tokens)],
            "stopped_by_eos": tokens[-1] in stops}


def evaluate(open_model, sequences, prompts, kinds):
    model = open_model()
    out = {"logits": [], "logprob": [], "entropy": []}
    with torch.no_grad():
        for s in sequences:
            logp, entropy = scores(model, s["tokens"])
            out["logits"].append(logits_of(model, s["tokens"]))
            out["logprob"].append(logp)
            out["entropy"].append(entropy)
        out["greedy"] = [greedy(model, p) for p in prompts]
    loss = loss_of(model, sequences)
    params = trained(model)
    grads = torch.autograd.grad(loss, list(params.values()))
    out["loss"], out["grad"] = loss.item(), dict(zip(params, grads))
    out["norm"] = math.sqrt(sum((g.double() ** 2).sum().item() for g in grads))
    for kind in kinds:
        out[kind] = step_thrice(open_model(), sequences, EPS[kind])
    return out


def noise_of_bf16(folder, sequences, exact):
    """How far autocast is off: log-probabilities together, each gradient against its length."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    with torch.no_grad():
        logp = [scores(model, s["tokens"])[0] for s in sequences]
    away = torch.cat([b.double() - a for a, b in zip(exact["logprob"], logp)])
    params = trained(model)
    grads = dict(zip(params, torch.autograd.grad(loss_of(model, sequences), list(params.values()))))
    apart = lambda names: math.sqrt(sum(((grads[n].double() - exact["grad"][n]) ** 2).sum()
                                        for n in names)
                                    / sum((exact["grad"][n] ** 2).sum() for n in names))
    return {"torch": torch.__version__.split("+")[0],
            "logprob": {"rms": rounded(away.pow(2).mean().sqrt().item()),
                        "max": rounded(away.abs().max().item())},
            "all_gradients": rounded(apart(params)),
            "gradients": {n: rounded(apart([n])) for n in params}}


def off(a, b):
    if isinstance(a, dict):
        return max(off(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return max((off(x, y) for x, y in zip(a, b)), default=0.0)
    if isinstance(a, float):
        return abs(a - b)
    return (a.double() - b.double()).abs().max().item() if a.numel() else 0.0


def rounded(x):
    return float(f"{x:.3g}")


def noise_of_steps(kind, exact, runs):
    spread = {n: [(p - r["parameters"][n].double()).abs() for r in runs]
              for n, p in exact["parameters"].items()}
    noise = {"loss": rounded(max(off(exact["losses"], r["losses"]) for r in runs)),
             "grad_norm": rounded(max(off(exact["norms"], r["norms"]) for r in runs)),
             "parameter_max": {n: rounded(max(d.max().item() for d in v))
                               for n, v in spread.items()}}
    if kind != "adamw_large_eps":  # there every element is compared
        noise.update({
            "parameter_rms": {n: rounded(max(d.pow(2).mean().sqrt().item() for d in v))
                              for n, v in spread.items()},
            "above_1e-5": {n: max(int((d > 1e-5).sum()) for d in v) for n, v in spread.items()}})
    return noise


def shortened(value):
    """Numbers to the digits that a comparison with float32 can see."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {k: shortened(v) for k, v in value.items()}
    return [shortened(v) for v in value] if isinstance(value, list) else value


def save_tensors(path, tensors):
    save_file({n: tensors[n].detach().float().contiguous().clone() for n in sorted(tensors)}, path)
    os.chmod(path, 0o644)


def make(name, out, variant, seed):
    kind, config = CASES[name]
    config = vary(kind, config, variant) if variant else config
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    saved = os.path.join(folder, "model")
    made = CONFIG_MAPPING[kind](**config)
    wrapped = "text_config" in config
    text = config["text_config"] if wrapped else config
    auto = AutoModelForImageTextToText if wrapped else AutoModelForCausalLM
    model = auto.from_config(made, attn_implementation="eager", dtype=torch.float32).eval()
    fill(model, kind, seed)
    stored = torch.float32 if variant == 1 or name in BF16 else torch.float16 if kind == "opt" else torch.bfloat16
    model.to(stored).save_pretrained(saved)
    os.chmod(os.path.join(saved, "model.safetensors"), 0o644)
    file = load_file(os.path.join(saved, "model.safetensors"))
    for n, p in trained(model).items():
        assert n in file and torch.equal(file[n], p), n

    sequences, prompts = texts(text["vocab_size"], seed, LONGER if name in BF16 else LENGTHS)
    kinds = ["adamw_large_eps"] + (["adamw"] if variant else [])
    narrow = lambda: load(saved, wrapped)

    def shaken(by):  # another correct float32 program: half a unit in the last place off
        model = narrow()
        rng = torch.Generator().manual_seed(by)
        with torch.no_grad():
            for _, p in sorted(model.named_parameters()):
                p.mul_(1 + 6e-8 * torch.randn(p.shape, generator=rng))
        return model

    with Lifted():
        a = evaluate(lambda: narrow().double(), sequences, prompts, kinds)
    if min(min(g["margin"]) for g in a["greedy"]) < MARGIN:
        return False
    b = evaluate(narrow, sequences, prompts, kinds)
    noise = {"grad_max": rounded(off(a["grad"], b["grad"])),
             "grad_norm": rounded(off(a["norm"], b["norm"]))}
    for key in ("logits", "logprob", "entropy", "loss"):
        noise[key] = rounded(off(a[key], b[key]))
    right = [(z[:-1].argmax(-1) == torch.tensor(s["tokens"][1:]))[m.bool()]
             for z, s in zip(a["logits"], sequences)
             for m in [torch.tensor(s["mask"][1:])] if len(m)]
    case = {"case": name, "model_type": kind, "transformers": transformers.__version__,
            "seed": seed, "logits_of_sequence": 0,
            "sequences": [dict(s, logprob=lp.tolist(), entropy=h.tolist())
                          for s, lp, h in zip(sequences, a["logprob"], a["entropy"])],
            "n_trained": sum(len(r) for r in right), "mean_nll": a["loss"], "grad_norm": a["norm"],
            "mean_token_accuracy": torch.cat(right).double().mean().item(), "greedy": a["greedy"]}
    tensors = {"logits": a["logits"][0], **{"grad." + n: g for n, g in a["grad"].items()}}
    for kind in kinds:
        runs = [b[kind]] + [step_thrice(shaken(i), sequences, EPS[kind]) for i in (1, 2, 3)]
        noise[kind] = noise_of_steps(kind, a[kind], runs)
        case[kind] = dict(ADAMW, eps=EPS[kind], losses=a[kind]["losses"],
                          grad_norms=a[kind]["norms"])
        tensors.update({f"{kind}.{n}": p for n, p in a[kind]["parameters"].items()})
    case["fp32_noise"] = noise
    if name in BF16:
        case["bf16_noise"] = noise_of_bf16(saved, sequences, a)
    save_tensors(os.path.join(folder, "expected.safetensors"), tensors)
    with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(shortened(v))}"
                                    for k, v in case.items())
                + "\n}\n")
    print(f"{name:18} seed {seed}  loss {a['loss']:.3f}  logits {a['logits'][0].std():.2f} "
          f"+- {noise['logits']:.1e}  gradients {noise['grad_max']:.1e}  "
          f"text {[len(g['tokens']) for g in a['greedy']]}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--variant", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("out")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    for name in args.names or CASES:
        seed = 1000 * args.variant + sum(map(ord, name))
        while not make(name, args.out, args.variant, seed):
            seed += 1


main()
