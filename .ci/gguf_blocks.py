#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/fixtures/gguf: what the gguf Python package reads in GGUF files.

    python3 .ci/gguf_blocks.py tests/fixtures/gguf

Needs gguf (0.19) and numpy. blocks.txt: `unpack TYPE BLOCKS VALUES`, random blocks and the fp32
values that gguf.quants makes of them; `pack TYPE VALUES BLOCKS`, the other way; numbers as the
hexadecimal bytes of the file. small.gguf: a key of each kind, and a tensor or two. names.txt:
`tensors ARCHITECTURE NAME...` of those in lib/exchange/architecture.c, {bid} the layer, and
`keys KEY...`.
"""
import os
import re
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

# Bytes at which fp16 numbers stand in a block: these are drawn as numbers, since most random bits
# are huge or no number.
HALVES = {T.F16: [0], T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
          T.IQ4_NL: [0], T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
          T.Q6_K: [208]}


def blocks(rng, kind, n):
    size = GGML_QUANT_SIZES[kind][1]
    out = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in HALVES.get(kind, []):
        numbers = (rng.standard_normal(n) * 0.01).astype(np.float16)
        out[:, at:at + 2] = numbers.view(np.uint8).reshape(n, 2)
    return out


def write_blocks(path):
    rng = np.random.default_rng(1)
    with open(path, "w", encoding="utf-8") as f:
        for kind in [T.F32, T.F16, T.BF16, *[k for k in HALVES if k != T.F16]]:
            values, size = GGML_QUANT_SIZES[kind]
            data = blocks(rng, kind, 3 if values > 1 else 32).reshape(1, -1)
            if kind in (T.F32, T.BF16):  # not a number, or infinite: others
                data[:, size - 1::size] &= 0xbf
            out = dequantize(data.view(np.float32) if kind == T.F32 else
                             data.view(np.float16) if kind == T.F16 else data, kind)
            f.write(f"unpack {kind.name} {data.tobytes().hex()} "
                    f"{out.astype('<f4').tobytes().hex()}\n")
        for kind in (T.F16, T.BF16, T.Q8_0):
            values = rng.standard_normal((1, 96)).astype(np.float32)
            values[0, 32:64] *= 1e-3
            values[0, 64:] = 0
            f.write(f"pack {kind.name} {values.tobytes().hex()} "
                    f"{quantize(values, kind).tobytes().hex()}\n")


def write_small(path):
    rng = np.random.default_rng(2)
    w = gguf.GGUFWriter(path, "test")
    w.add_uint8("t.u8", 200)
    w.add_int8("t.i8", -3)
    w.add_uint16("t.u16", 60000)
    w.add_int16("t.i16", -300)
    w.add_uint32("t.u32", 4000000000)
    w.add_int32("t.i32", -70000)
    w.add_uint64("t.u64", 1 << 40)
    w.add_int64("t.i64", -(1 << 40))
    w.add_float32("t.f32", 0.1)
    w.add_float64("t.f64", 0.1)
    w.add_bool("t.bool", True)
    w.add_string("t.text", "grüß")
    w.add_array("t.texts", ["a", "", "bc"])
    w.add_array("t.ints", [1, -2, 3])
    w.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    w.add_tensor("b", quantize(rng.standard_normal((2, 64)).astype(np.float32), T.Q8_0),
                 raw_dtype=T.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_names(path):
    keys = [v for group in (gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope)
            for v in vars(group).values() if isinstance(v, str) and v.startswith("{arch}.")]
    with open("lib/exchange/architecture.c", encoding="utf-8") as f:
        ours = re.findall(r'\.name = "([^"]+)"', f.read())
    with open(path, "w", encoding="utf-8") as f:
        f.write("keys " + " ".join(sorted(k.removeprefix("{arch}.") for k in keys)) + "\n")
        for arch, tensors in gguf.MODEL_TENSORS.items():
            names = [gguf.TENSOR_NAMES[t] for t in tensors]
            if gguf.MODEL_ARCH_NAMES[arch] in ours:
                f.write(f"tensors {gguf.MODEL_ARCH_NAMES[arch]} {' '.join(names)}\n")


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    write_blocks(os.path.join(folder, "blocks.txt"))
    write_small(os.path.join(folder, "small.gguf"))
    write_names(os.path.join(folder, "names.txt"))


if __name__ == "__main__":
    main()
