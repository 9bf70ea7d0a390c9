// SPDX-License-Identifier: MIT
#include "tokenize/sentencepiece_config.h"

#include <limits.h>
#include <string.h>

#include "base/json.h"

static const char file_name[] = "tokenizer_config.json";

int sentencepiece_settings_read(struct sentencepiece_settings *s, const struct sentencepiece *m,
                                const json_t *config, struct err *e)
{
    const char *class = "";
    int legacy = 1;
    *s = (struct sentencepiece_settings){.add_bos = 1, .prefix = 1};
    if (json_get_string(config, "tokenizer_class", &class, file_name, e) < 0)
        return -1;
    if (!strncmp(class, "T5Tokenizer", 11)) { // has no such keys: it always ends a text
        s->add_bos = 0;
        s->add_eos = 1;
    }
    if (json_get_bool(config, "add_bos_token", &s->add_bos, file_name, e) < 0 ||
        json_get_bool(config, "add_eos_token", &s->add_eos, file_name, e) < 0 ||
        json_get_bool(config, "add_prefix_space", &s->prefix, file_name, e) < 0 ||
        json_get_bool(config, "legacy", &legacy, file_name, e) < 0)
        return -1;
    s->prefix &= m->dummy_prefix;
    s->prefix_once = !legacy;
    return 0;
}

static int add(json_t *list, json_t *step)
{
    return json_array_append_new(list, step); // takes NULL as a failure
}

json_t *sentencepiece_decoder(const struct sentencepiece *m, const struct sentencepiece_settings *s,
                              struct err *e)
{
    json_t *list = json_array();
    const char *blank = m->escapes ? "\xE2\x96\x81" : " ";
    int strips = m->extra_spaces_go ? INT_MAX : s->prefix, bad = 0; // a text begins with no blank
    if (m->byte_fallback)
        bad |= add(list, json_pack("{s:s}", "type", "ByteFallback"));
    bad |= add(list, json_pack("{s:s}", "type", "Fuse"));
    // Before marks become blanks: what stands for the unknown may begin with a blank, which stays.
    if (strips)
        bad |= add(list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", blank,
                                   "start", strips, "stop", 0));
    if (m->escapes)
        bad |= add(list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String",
                                   blank, "content", " "));
    json_t *out = bad ? NULL : json_pack("{s:s, s:O}", "type", "Sequence", "decoders", list);
    json_decref(list);
    if (!out)
        err_memory(e, 1024, "a decoder");
    return out;
}
