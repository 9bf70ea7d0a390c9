# SPDX-License-Identifier: MIT
"""Drives other programs for tests/bench/engine.sh, and for nothing else: what users build, test or
run needs no Python. Run by the Python that PEERS_PYTHON names.

    peers.py torch                                        version, where torch and transformers are
    peers.py llama                                        that of llama.cpp's bindings, where they are
    peers.py train MODEL fp32|bf16 eager|compiled LENGTH COUNT UPDATES THREADS
    peers.py score MODEL fp32|bf16 eager|compiled LENGTH COUNT THREADS
    peers.py gguf MODEL FILE F32|BF16                     a Llama's weights as llama.cpp reads them
    peers.py logits FILE LENGTH COUNT THREADS             llama.cpp, the logits of every token

train, score and logits print the seconds of one round: COUNT sequences of LENGTH tokens that count,
the least of some after the first. bf16 is autocast over fp32 weights in training, the weights' own
type in scoring. Training is forward, backward, clipping and AdamW in one kernel. MODEL is a directory
that `model init` made; weights of a GGUF are not turned for llama.cpp's rotation, so that its numbers are
no model's: only its time is of use.
"""
import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
LOGITS_ROWS = 256  # of a chunk in scoring
ROUNDS = 3


def least(once, rounds):
    times = []
    for _ in range(rounds + 1):  # the first compiles and allocates
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    print(min(times[1:]))


def open_model(path, threads, dtype="float32"):
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    return torch, AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))


def train(path, dtype, how, length, count, updates, threads):
    torch, model = open_model(path, threads)
    model.eval()  # no dropout
    ids = torch.randint(5, model.config.vocab_size, (count, length + 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def loss_of(ids):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            return model(input_ids=ids, labels=ids, use_cache=False).loss

    forward = torch.compile(loss_of) if how == "compiled" else loss_of

    def update():
        optimizer.zero_grad(set_to_none=True)
        forward(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    least(update, updates)


def score(path, dtype, how, length, count, threads):
    torch, model = open_model(path, threads, "bfloat16" if dtype == "bf16" else "float32")
    model.eval()
    ids = torch.randint(5, model.config.vocab_size, (count, length + 1))

    def logprob(ids):
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        rows, targets = hidden.flatten(0, 1), ids[:, 1:].flatten()
        parts = []
        for h, t in zip(rows.split(LOGITS_ROWS), targets.split(LOGITS_ROWS)):
            full = torch.log_softmax(model.lm_head(h).float(), -1)
            parts.append(full.gather(1, t[:, None])[:, 0])
        return torch.cat(parts)

    forward = torch.compile(logprob) if how == "compiled" else logprob

    def all_of_them():
        with torch.no_grad():
            for part in ids.split(4):
                forward(part)

    least(all_of_them, ROUNDS)


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def name_in_gguf(name):
    name = name.removeprefix("model.").removesuffix(".weight")
    if name.startswith("layers."):
        _, layer, part = name.split(".", 2)
        return f"blk.{layer}.{NAMES[part]}.weight"
    return {"embed_tokens": "token_embd.weight", "norm": "output_norm.weight",
            "lm_head": "output.weight"}[name]


def write_gguf(path, file, kind):
    import gguf
    from safetensors.numpy import load_file
    with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    assert c["model_type"] == "llama", "only a Llama is written"
    w = gguf.GGUFWriter(file, "llama")
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_rope_dimension_count(c["hidden_size"] // c["num_attention_heads"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("none")
    narrow = gguf.GGMLQuantizationType.BF16
    for name, values in load_file(os.path.join(path, "model.safetensors")).items():
        if kind == "BF16" and values.ndim > 1:
            w.add_tensor(name_in_gguf(name), gguf.quants.quantize(values, narrow), raw_dtype=narrow)
        else:
            w.add_tensor(name_in_gguf(name), values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def logits(file, length, count, threads):
    import llama_cpp as ll
    ll.llama_backend_init()
    quiet = ll.llama_log_callback(lambda level, text, data: None)
    ll.llama_log_set(quiet, None)
    model = ll.llama_model_load_from_file(file.encode(), ll.llama_model_default_params())
    at_once = 4
    p = ll.llama_context_default_params()
    p.n_ctx, p.n_batch, p.n_seq_max = at_once * length, at_once * length, at_once
    p.n_threads = p.n_threads_batch = threads
    context = ll.llama_init_from_model(model, p)
    assert model and context, "llama.cpp does not open " + file
    batch = ll.llama_batch_init(at_once * length, 0, 1)
    batch.n_tokens = at_once * length
    for i in range(at_once * length):
        batch.token[i], batch.pos[i] = 5 + i * 7919 % 1000, i % length
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, i // length, 1

    def all_of_them():
        for _ in range(count // at_once):
            ll.llama_memory_clear(ll.llama_get_memory(context), True)
            assert ll.llama_decode(context, batch) == 0
            ll.llama_synchronize(context)

    least(all_of_them, ROUNDS)


def versions(*names):
    print(", ".join(f"{n} {__import__(n).__version__.split('+')[0]}" for n in names))


def main(command, *args):
    if command == "torch":
        versions("torch", "transformers")
    elif command == "llama":
        versions("llama_cpp")
    else:
        do = {"train": train, "score": score, "gguf": write_gguf, "logits": logits}[command]
        do(*(int(a) if a.isdigit() else a for a in args))


main(*sys.argv[1:])
