#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints lib/model/config_read_keys.h: which keys of config.json the classes of transformers read.

    python3 .ci/config_read_keys.py | clang-format --assume-filename=lib/model/x.h >keys
    mv keys lib/model/config_read_keys.h
    python3 .ci/config_read_keys.py --defaults >tests/fixtures/config_defaults.json

and, for the tests, what an absent key means to them. Needs transformers, whose version it notes. A key counts as read if the family's configuration
class declares or takes it, or its configuration or modelling code names it as one; what all
families share is in a row of its own. A name too many does no harm: it is refused as before.
"""
import dataclasses
import inspect
import json
import os
import re
import sys
import textwrap

import transformers
from transformers import CONFIG_MAPPING, PretrainedConfig

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", "model")
ROOT = os.path.dirname(transformers.__file__)
SHARED = ["masking_utils.py", "cache_utils.py", "modeling_layers.py", "modeling_rope_utils.py",
          "modeling_flash_attention_utils.py", "integrations/sdpa_attention.py",
          "integrations/eager_paged.py"]
# That version 4 reads for all families, and what says how weights are compressed.
BEFORE = {"add_cross_attention", "compression_config", "cross_attention_hidden_size",
          "pruned_heads", "quantization_config", "tie_encoder_decoder"}
NAME = r'"([a-z_][a-z_0-9]*)"'


def families():
    with open(os.path.join(MODEL, "family.c"), encoding="utf-8") as source:
        return sorted(set(re.findall(r'\.model_type = "([a-z0-9_]+)"', source.read())))


def text(path):
    with open(path, encoding="utf-8") as source:
        return source.read()


def named_in(source):
    """Attributes of a configuration, and keys of the file that its class takes by name."""
    return set(re.findall(r'\b(?:config|text_config)\.([a-z_][a-z_0-9]*)\b(?!\()', source)
               + re.findall(r'[gs]etattr\(\s*(?:self\.)?(?:\w*config|self),\s*' + NAME, source)
               + re.findall(r'hasattr\(\s*(?:self\.)?(?:\w*config|self),\s*' + NAME, source)
               + re.findall(r'kwargs\.(?:get|pop|setdefault)\(\s*' + NAME, source)
               + re.findall(r'kwargs\[' + NAME, source))


def code_of(module):
    """The configuration and modelling files beside a configuration class, and what they import."""
    folder = os.path.dirname(sys.modules[module].__file__)
    files = [os.path.join(folder, f) for f in sorted(os.listdir(folder))
             if re.fullmatch(r"(configuration|modeling)_\w+\.py", f)]
    code = "".join(map(text, files))
    for other in sorted(set(re.findall(r"from \.\.(\w+)\.modeling_\w+ import", code))):
        path = os.path.join(os.path.dirname(folder), other, f"modeling_{other}.py")
        code += text(path) if os.path.exists(path) else ""
    return code


def fields(cls):
    return {f.name for f in dataclasses.fields(cls)} | set(inspect.signature(cls).parameters)


def rope_keys(sources):
    keys = set()
    for source in sources:
        keys |= set(re.findall(r'rope_(?:parameters|scaling)\w*(?:\[layer_type\])?'
                               r'(?:\[|\.get\(|\.pop\(|\.setdefault\()\s*' + NAME, source))
        for found in re.findall(r'(?:required|optional)_keys = \{([^}]*)\}', source):
            keys |= set(re.findall(NAME, found))
    return keys


def row(name, keys):
    words = textwrap.wrap(" ".join(sorted(keys)), 90)
    lines = [f'     "{line} "' for line in words[:-1]] + [f'     "{words[-1]}"']
    return f'    {{"{name}",\n' + "\n".join(lines) + "},"


def plain(value):
    return value is None or isinstance(value, (bool, int, float, str, list))


def defaults(family):
    """What the class declares, and the rotary positions of an empty configuration."""
    cls = CONFIG_MAPPING[family]
    shared = {f.name for f in dataclasses.fields(PretrainedConfig)} - {"tie_word_embeddings"}
    out = {f.name: f.default for f in dataclasses.fields(cls)
           if f.name not in shared and plain(f.default)}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):  # some are lists made anew
        out[key] = getattr(cls(), key)
    rope = getattr(cls(), "rope_parameters", None)
    return dict(sorted(out.items()), **({"rope_parameters": rope} if rope else {}))


def print_defaults():
    rows = [f' "{family}": {json.dumps(defaults(family))}' for family in families()]
    print("{\n" + ",\n".join(rows) + "\n}")


def main():
    if sys.argv[1:] == ["--defaults"]:
        print_defaults()
        return
    shared = [text(os.path.join(ROOT, f)) for f in SHARED if os.path.exists(os.path.join(ROOT, f))]
    base = text(os.path.join(ROOT, "configuration_utils.py"))
    begin = base.index("def __post_init__")
    common = fields(PretrainedConfig) | named_in("".join(shared))
    common |= named_in(base[begin:base.index("    @property", begin)])
    common = (common | BEFORE) - {"self", "kwargs", "args"}
    rows, sources = [], shared
    for family in families():
        cls = CONFIG_MAPPING[family]
        code = code_of(cls.__module__)
        keys = fields(cls) | named_in(code) | set(cls.attribute_map) | set(cls.attribute_map.values())
        rows.append(row(family, keys - common - {"self", "kwargs", "args"}))
        sources = sources + [code]
    print("// SPDX-License-Identifier: MIT")
    print(f"// Keys of config.json that transformers {transformers.__version__} reads. Written by "
          ".ci/config_read_keys.py.")
    print("#ifndef MODEL_CONFIG_READ_KEYS_H\n#define MODEL_CONFIG_READ_KEYS_H\n")
    print("static const struct read_keys {")
    print("    const char *family, *keys; // in order, with a blank between")
    print("} read_keys[] = {")
    print(row("*", common))
    print(row("rope", rope_keys(sources)))
    print("\n".join(rows))
    print("};\n\n#endif")


main()
