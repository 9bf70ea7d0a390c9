// SPDX-License-Identifier: MIT
// Model directories: what a file may claim, and what comes back when a model is saved.
#include "model_kit.h"

#include <sys/stat.h>

static void put(int at, const char *name, const void *data, size_t n)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    close(fd);
}

// A file with this header and so many bytes of data; `claim` (not 0) replaces the header's size.
static void put_tensors(int at, const char *name, const char *header, size_t data, uint64_t claim)
{
    size_t n = strlen(header);
    unsigned char *file = calloc(8 + n + data, 1);
    uint64_t size = claim ? claim : n;
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)(size >> (8 * i));
    memcpy(file + 8, header, n);
    put(at, name, file, 8 + n + data);
    free(file);
}

static void refuses(int at, const char *header, size_t data, uint64_t claim, const char *reason)
{
    struct safetensors s;
    put_tensors(at, "x", header, data, claim);
    if (safetensors_open(&s, at, "x", &e) == 0) {
        printf("# taken: %s\n", header);
        CHECK(!"refused");
        safetensors_close(&s);
        return;
    }
    if (!strstr(e.text, reason) || strncmp(e.text, "x:", 2) != 0 || e.status != STATUS_FAILED) {
        printf("# said `%s`, not `%s`\n", e.text, reason);
        CHECK(!"said so");
    }
}

#define T(name, dtype, shape, a, b)                                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" a "," b "]}"

static void headers_that_lie(void)
{
    struct scratch d;
    scratch_make(&d);
    int at = d.fd;
    static const uint64_t sizes[] = {100,      1000,       1u << 31,   UINT32_MAX,
                                     1u << 30, 1ULL << 40, 1ULL << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        refuses(at, "{}", 10, sizes[i], "impossible header size");
    refuses(at, "{" T("a", "F32", "[536870912]", "0", "2147483648") "}", 1024, 0,
            "beyond the end"); // 2 GiB in 1 KiB
    refuses(at, "{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12, 0,
            "overlap");
    refuses(at, "{" T("a", "F32", "[3]", "0", "12") "," T("b", "F32", "[1]", "4", "8") "}", 12, 0,
            "overlap");
    refuses(at, "{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "0", "8") "}", 12, 0,
            "overlap");
    refuses(at, "{" T("a", "F32", "[2]", "8", "16") "}", 12, 0, "beyond the end");
    refuses(at, "{" T("a", "F32", "[2]", "8", "0") "}", 12, 0, "impossible data_offsets");
    refuses(at, "{" T("a", "F32", "[2]", "-8", "0") "}", 12, 0, "impossible data_offsets");
    refuses(at, "{" T("a", "F32", "[0]", "9223372036854775807", "9223372036854775807") "}", 12, 0,
            "beyond the end");
    refuses(at, "{" T("a", "F32", "[3]", "0", "8") "}", 12, 0, "do not fit");
    refuses(at, "{" T("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 12, 0,
            "impossible shape");
    refuses(at, "{" T("a", "F32", "[4611686018427387904]", "0", "0") "}", 12, 0,
            "impossible shape");
    refuses(at, "{" T("a", "F64", "[2305843009213693952]", "0", "0") "}", 12, 0,
            "impossible shape");
    refuses(at, "{" T("a", "F32", "[-1]", "0", "4") "}", 12, 0, "impossible shape");
    refuses(at, "{" T("a", "F32", "[1.0]", "0", "4") "}", 12, 0, "impossible shape");
    refuses(at, "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 12, 0, "too many dim");
    refuses(at, "{" T("a", "F32", "4", "0", "4") "}", 12, 0, "missing");
    refuses(at, "{" T("a", "F33", "[1]", "0", "4") "}", 12, 0, "unknown dtype");
    refuses(at, "{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 12, 0,
            "duplicate");
    refuses(at, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 12, 0, "missing");
    refuses(at, "{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 12, 0, "missing");
    refuses(at, "{\"a\":7}", 12, 0, "missing");
    refuses(at, "{\"a\":[]}", 12, 0, "missing");
    refuses(at, "{" T("a", "F32", "[2]", "0", "8") "}", 9, 0, "behind the last");
    refuses(at, "{}", 1, 0, "behind the last");
    refuses(at, "{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[1]", "12", "16") "}", 16, 0,
            "tensor `b`: bytes that belong to no tensor");
    refuses(at, "{" T("a", "F32", "[2]", "4", "12") "}", 12, 0, "bytes that belong to no tensor");
    refuses(at, "{" T("a", "F32", "[0]", "4", "4") "," T("b", "F32", "[2]", "0", "8") "}", 8, 0,
            "overlap");
    refuses(at, " {" T("a", "F32", "[2]", "0", "8") "}", 8, 0, "does not begin with {");
    refuses(at, "{\"__metadata__\":{\"a\":1}}", 0, 0, "more than texts");
    refuses(at, "{\"__metadata__\":[]}", 0, 0, "no JSON object");
    refuses(at, "{\"__metadata__\":{},\"__metadata__\":{}}", 0, 0, "duplicate");
    refuses(at, "{\"a\\u0000b\":{}}", 0, 0, "NUL");
    static const char *const broken[] = {
        "{\"a\"",     "{\"a\":{}", "{\"a\":{]",     "{\"a\":{\"}",   "{\"a", "{\"a\\",       "{,}",
        "{\"a\" {}}", "{a:{}}",    "{\"a\\q\":{}}", "{\"a\":{'b'}}", "{}}",  "{\"\xff\":{}}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        refuses(at, broken[i], 0, 0, "");
    refuses(at, "{" T("a", "F32", "[0]", "0", "0") ",}", 0, 0, "not valid JSON");
    refuses(at, "[]", 12, 0, "");
    refuses(at, "7", 12, 0, "");
    refuses(at, "GGUF", 12, 0, "not valid JSON");
    refuses(at, "{\"a\":", 12, 0, "not valid JSON");
    refuses(at, "{} trailing", 12, 0, "not valid JSON");
    refuses(at, "{\"\xff\":1}", 12, 0, "not valid JSON");
    char *deep = malloc(100001);
    memset(deep, '[', 100000);
    deep[100000] = 0;
    refuses(at, deep, 12, 0, "not valid JSON");
    free(deep);
    put(at, "x", "", 0);
    struct safetensors s;
    CHECK(safetensors_open(&s, at, "x", &e) < 0 && strstr(e.text, "too short"));
    put(at, "x", "\1\0\0\0\0\0\0", 7);
    CHECK(safetensors_open(&s, at, "x", &e) < 0 && strstr(e.text, "too short"));
    CHECK(safetensors_open(&s, at, "absent", &e) < 0 && strstr(e.text, "absent: "));
    CHECK(safetensors_open(&s, at, ".", &e) < 0);
    scratch_remove(&d);
}

static void headers_that_do_not(void)
{
    struct scratch d;
    struct safetensors s;
    scratch_make(&d);
    put_tensors(d.fd, "x",
                "{" T("b", "F32", "[2]", "8", "16") "," T("a", "I64", "[1,1]", "0", "8") "," T(
                    "empty", "BF16", "[0,5]", "8",
                    "8") "," T("scalar", "U8", "[]", "16",
                               "17") ",\"__metadata__\":{\"format\":\"pt\"}}   ",
                17, 0);
    CHECK(safetensors_open(&s, d.fd, "x", &e) == 0);
    CHECK(s.n == 4 && json_object_size(s.metadata) == 1);
    const struct safetensors_entry *t = safetensors_find(&s, "b");
    CHECK(t && t->offset == 8 && t->bytes == 8 && t->known && t->dtype == DTYPE_F32);
    t = safetensors_find(&s, "a");
    CHECK(t && !t->known && t->n_dims == 2);
    CHECK(safetensors_find(&s, "c") == NULL);
    safetensors_close(&s);
    put_tensors(d.fd, "x", "{}", 0, 0);
    CHECK(safetensors_open(&s, d.fd, "x", &e) == 0 && s.n == 0);
    safetensors_close(&s);
    scratch_remove(&d);
}

// A copy of the model of the tree whose config.json has been changed: KEY becomes VALUE (JSON; NULL
// removes it).
static void copy_model(const struct scratch *d, const char *key, const char *value)
{
    int from = open(FIXTURE, O_RDONLY | O_DIRECTORY);
    CHECK(io_copy_file(from, "config.json", d->fd, "config.json", &e) == 0);
    CHECK(io_copy_file(from, "generation_config.json", d->fd, "generation_config.json", &e) == 0);
    CHECK(io_copy_file(from, "model.safetensors", d->fd, "model.safetensors", &e) == 0);
    close(from);
    if (!key)
        return;
    json_t *config = json_parse_file(d->fd, "config.json", 1 << 20, &e);
    if (value)
        json_object_set_new(config, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(config, key);
    char *text = json_dumps(config, 0);
    put(d->fd, "config.json", text, strlen(text));
    free(text);
    json_decref(config);
}

// A header may declare any number of empty tensors: what it costs is bounded by its size.
static void empty_tensors_are_cheap(void)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP("needs the plain build");
#endif
    enum { TENSORS = 100000, EACH = 64 };
    struct scratch d;
    struct safetensors s;
    scratch_make(&d);
    char *header = malloc((size_t)TENSORS * EACH + 2), *at = header;
    *at++ = '{';
    for (int i = 0; i < TENSORS; i++)
        at += sprintf(at, "%s\"%05x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i ? "," : "", i);
    strcpy(at, "}");
    put_tensors(d.fd, "x", header, 0, 0);
    long budget = (long)(10 * strlen(header) / 1024); // KiB
    free(header);
    fflush(stdout);
    pid_t child = fork(); // whose peak is not that of the tests before
    if (child == 0) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        int right = safetensors_open(&s, d.fd, "x", &e) == 0 && s.n == TENSORS &&
                    safetensors_find(&s, "00abc") && !safetensors_find(&s, "abcde0");
        getrusage(RUSAGE_SELF, &after);
        _exit(!right ? 1 : after.ru_maxrss - before.ru_maxrss > budget ? 2 : 0);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
          WEXITSTATUS(status) == 0);
    scratch_remove(&d);
}

static void configs_are_checked(void)
{
    static const struct {
        const char *key, *value, *reason;
    } cases[] = {
        {"model_type", "\"llaama\"", "`model_type`"},
        {"model_type", "\"bert\"", "smollm3"},
        {"model_type", NULL, "`model_type`"},
        {"model_type", "7", "`model_type`"},
        {"hidden_act", "\"gelu_10\"", "`hidden_act`"},
        {"rope_parameters", "{\"rope_type\":\"proportional\",\"factor\":2}", "`rope_type`"},
        {"rope_scaling", "{\"type\":\"su\",\"factor\":2}", "`rope_type`"},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":0}", "`factor`"},
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":\"2\"}", "`factor`"},
        {"quantization_config", "{\"bits\":4}", "`quantization_config`"},
        {"partial_rotary_factor", "0.5", "`partial_rotary_factor`"},
        {"vocab_size", "41", "embed_tokens"},
        {"vocab_size", "0", "`vocab_size`"},
        {"vocab_size", "-5", "`vocab_size`"},
        {"vocab_size", "4e1", "`vocab_size`"},
        {"vocab_size", "1000000000000", "`vocab_size`"},
        {"vocab_size", NULL, "`vocab_size`"},
        {"hidden_size", "24", "embed_tokens"},
        {"hidden_size", "null", "`hidden_size`"},
        {"hidden_size", "4294967297", "`hidden_size`"},
        {"num_hidden_layers", "3", "model.layers.2."},
        {"num_hidden_layers", "100000", "`num_hidden_layers`"},
        {"num_attention_heads", "8", "q_proj"},
        {"num_attention_heads", "3", "`num_attention_heads`"},
        {"num_key_value_heads", "4", "k_proj"},
        {"num_key_value_heads", "3", "`num_key_value_heads`"},
        {"head_dim", "7", "even"},
        {"head_dim", "8", "q_proj"},
        {"head_dim", "1000000", "`head_dim`"},
        {"intermediate_size", "29", "_proj"},
        {"max_position_embeddings", "0", "`max_position_embeddings`"},
        {"attention_bias", "\"yes\"", "`attention_bias`"},
        {"tie_word_embeddings", "1", "`tie_word_embeddings`"},
        {"rms_norm_eps", "\"small\"", "`rms_norm_eps`"},
        {"eos_token_id", "\"x\"", "`eos_token_id`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scratch d;
        scratch_make(&d);
        copy_model(&d, cases[i].key, cases[i].value);
        if (!strcmp(cases[i].key, "eos_token_id"))
            unlinkat(d.fd, "generation_config.json", 0);
        struct model *m = model_open(d.path, &e);
        if (m || !strstr(e.text, cases[i].reason) || !strstr(e.text, d.path)) {
            printf("# %s = %s: %s\n", cases[i].key, cases[i].value, m ? "taken" : e.text);
            CHECK(!"refused by name");
        }
        model_close(m);
        scratch_remove(&d);
    }
}

static void linear_scaling_divides_frequencies(void)
{
    struct scratch d;
    float plain[3], scaled[3];
    scratch_make(&d);
    copy_model(&d, NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m != NULL);
    config_rope_frequencies(&m->config, &m->config.rope[0], 1, plain);
    model_close(m);
    copy_model(&d, "rope_scaling", "{\"type\":\"linear\",\"factor\":2.5}");
    m = model_open(d.path, &e);
    CHECK(m && m->config.rope[0].type == ROPE_LINEAR);
    if (m)
        config_rope_frequencies(&m->config, &m->config.rope[0], 1, scaled);
    for (int k = 0; m && k < 3; k++) {
        CHECK_NEAR((double)plain[k], pow(10000, -2.0 * k / 6), 1e-7);
        CHECK_NEAR((double)scaled[k], (double)plain[k] / 2.5, 1e-7);
    }
    model_close(m);
    scratch_remove(&d);
}

static void defaults_of_configs(void)
{
    struct scratch d;
    scratch_make(&d);
    copy_model(&d, "head_dim", "6");
    struct model *m = model_open(d.path, &e);
    CHECK(m && m->config.n_eos == 2 && m->config.eos[1] == 39);
    CHECK(m && m->n_unused == 0 && m->config.rope[0].theta == 10000);
    model_close(m);
    static const char ids[] = "{\"eos_token_id\":[2,3,400,-1]}";
    put(d.fd, "generation_config.json", ids, sizeof ids - 1);
    m = model_open(d.path, &e);
    CHECK(m && m->config.n_eos == 2 && is_eos(&m->config, 3)); // no token 400 here
    model_close(m);
    unlinkat(d.fd, "generation_config.json", 0);
    m = model_open(d.path, &e);
    CHECK(m && m->config.n_eos == 1 && m->config.eos[0] == 2);
    model_close(m);
    unlinkat(d.fd, "model.safetensors", 0);
    CHECK(model_open(d.path, &e) == NULL && strstr(e.text, "model.safetensors"));
    unlinkat(d.fd, "config.json", 0);
    CHECK(model_open(d.path, &e) == NULL && strstr(e.text, "config.json"));
    put(d.fd, "config.json", "{", 1);
    CHECK(model_open(d.path, &e) == NULL && strstr(e.text, "config.json:1"));
    put(d.fd, "config.json", "[]", 2);
    CHECK(model_open(d.path, &e) == NULL && strstr(e.text, "config.json"));
    scratch_remove(&d);
}

static void same_file(int a, const char *name_a, int b, const char *name_b)
{
    struct buffer x, y;
    buffer_init(&x, 1 << 24);
    buffer_init(&y, 1 << 24);
    int fa = openat(a, name_a, O_RDONLY), fb = openat(b, name_b, O_RDONLY);
    CHECK(fa >= 0 && fb >= 0);
    CHECK(io_read_fd(fa, name_a, &x, &e) == 0 && io_read_fd(fb, name_b, &y, &e) == 0);
    CHECK(x.size == y.size && memcmp(x.data, y.data, x.size) == 0);
    close(fa);
    close(fb);
    buffer_release(&x);
    buffer_release(&y);
}

// Whatever the type, saving what was read gives the same bytes, through the masters too.
static void saving_keeps_bytes(void)
{
    static const char *const types[] = {NULL, "fp32", "bf16", "fp16"};
    for (size_t k = 0; k < 4; k++)
        for (int trained = 0; trained < 2; trained++) {
            struct scratch first, again;
            scratch_make(&first);
            scratch_make(&again);
            struct model *m = model_open(FIXTURE, &e);
            CHECK(m && model_save(m, first.fd, types[k], &e) == 0);
            model_close(m);
            m = model_open(first.path, &e);
            CHECK(m != NULL);
            if (m && trained)
                CHECK(model_train(m, &e) == 0);
            CHECK(m && model_save(m, again.fd, NULL, &e) == 0);
            same_file(first.fd, "model.safetensors", again.fd, "model.safetensors");
            same_file(first.fd, "config.json", again.fd, "config.json");
            same_file(first.fd, "generation_config.json", again.fd, "generation_config.json");
            if (!types[k]) {
                int at = open(FIXTURE, O_RDONLY | O_DIRECTORY);
                same_file(first.fd, "model.safetensors", at, "model.safetensors");
                close(at);
            }
            if (k > 1 && m)
                CHECK(m->config.dtype == (k == 2 ? DTYPE_BF16 : DTYPE_F16));
            model_close(m);
            scratch_remove(&first);
            scratch_remove(&again);
        }
    struct model *m = model_open(FIXTURE, &e);
    struct scratch d;
    scratch_make(&d);
    CHECK(model_save(m, d.fd, "int4", &e) < 0 && e.status == STATUS_USAGE);
    model_close(m);
    scratch_remove(&d);
}

// bf16 and fp16 values on the way through: the nearest value, ties to even, overflow to infinity.
static void narrow_types_round_to_nearest(void)
{
    static const float from[] = {1.0f, 1.00390625f, 1.01171875f, 65504.0f, 65520.0f, 1e-8f, -0.0f};
    uint16_t to[7];
    dtype_from_f32(to, from, DTYPE_BF16, 7);
    CHECK(to[0] == 0x3f80 && to[1] == 0x3f80 && to[2] == 0x3f82 && to[6] == 0x8000);
    dtype_from_f32(to, from, DTYPE_F16, 7);
    CHECK(to[0] == 0x3c00 && to[3] == 0x7bff && to[4] == 0x7c00 && to[5] == 0 && to[6] == 0x8000);
    uint16_t all[65536];
    float *wide = malloc(sizeof(float) * 65536);
    uint16_t *narrow = malloc(sizeof all);
    for (int k = 0; k < 2; k++) {
        enum dtype type = k ? DTYPE_F16 : DTYPE_BF16;
        int lost = 0;
        for (size_t i = 0; i < 65536; i++)
            all[i] = (uint16_t)i;
        dtype_to_f32(wide, all, type, 65536);
        dtype_from_f32(narrow, wide, type, 65536);
        for (size_t i = 0; i < 65536; i++)
            lost += narrow[i] != all[i] && !isnan((double)wide[i]);
        CHECK(lost == 0);
    }
    free(wide);
    free(narrow);
}

// A tensor more, unknown to the decoder and of a type that is not computed with: it is kept.
static void extra_tensors_are_kept(void)
{
    struct scratch d, to;
    scratch_make(&d);
    scratch_make(&to);
    copy_model(&d, NULL, NULL);
    struct safetensors s;
    CHECK(safetensors_open(&s, d.fd, "model.safetensors", &e) == 0);
    struct safetensors_entry *entry = calloc(s.n + 2, sizeof *entry);
    entry[0] = (struct safetensors_entry){
        .name = "counts", .type = "I64", .n_dims = 1, .dim = {3}, .bytes = 24};
    for (size_t i = 0; i < s.n; i++)
        entry[i + 1] = s.entry[i];
    entry[s.n + 1] =
        (struct safetensors_entry){.name = "model.layers.0.self_attn.rotary_emb.inv_freq",
                                   .type = "F32",
                                   .n_dims = 1,
                                   .dim = {2},
                                   .bytes = 8};
    size_t size;
    char *header = safetensors_header(entry, s.n + 2, s.metadata, &size, &e);
    CHECK(header != NULL);
    int fd = openat(d.fd, "with", O_WRONLY | O_CREAT, 0666);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)size >> (8 * i));
    size_t body = 0;
    for (size_t i = 0; i < s.n; i++)
        body += s.entry[i].bytes;
    CHECK(write(fd, prefix, 8) == 8 && write(fd, header, size) == (ssize_t)size &&
          write(fd, "three eight byte numbers", 24) == 24 &&
          write(fd, s.map + 8 + s.header_size, body) == (ssize_t)body &&
          write(fd, "\0\0\0\0\0\0\200?", 8) == 8);
    close(fd);
    free(header);
    free(entry);
    safetensors_close(&s);
    CHECK(renameat(d.fd, "with", d.fd, "model.safetensors") == 0);
    struct model *m = model_open(d.path, &e);
    CHECK(m && m->n_unused == 2 && model_train(m, &e) == 0);
    CHECK(m && model_save(m, to.fd, NULL, &e) == 0);
    same_file(d.fd, "model.safetensors", to.fd, "model.safetensors");
    // Another type for the weights: the integers stay what they are.
    CHECK(m && model_save(m, to.fd, "bf16", &e) == 0);
    model_close(m);
    CHECK(safetensors_open(&s, to.fd, "model.safetensors", &e) == 0);
    const struct safetensors_entry *t = safetensors_find(&s, "counts");
    CHECK(t && !strcmp(t->type, "I64") && !memcmp(safetensors_data(&s, t), "three", 5));
    t = safetensors_find(&s, "model.layers.0.self_attn.rotary_emb.inv_freq");
    CHECK(t && !strcmp(t->type, "BF16"));
    safetensors_close(&s);
    scratch_remove(&d);
    scratch_remove(&to);
}

// Cuts the model into two files with an index.
static void shard_model(const struct scratch *d)
{
    struct safetensors s;
    copy_model(d, NULL, NULL);
    CHECK(safetensors_open(&s, d->fd, "model.safetensors", &e) == 0);
    json_t *map = json_object();
    size_t half = s.n / 2;
    for (size_t part = 0; part < 2; part++) {
        size_t first = part ? half : 0, n = part ? s.n - half : half, size;
        struct safetensors_entry *entry = calloc(n, sizeof *entry);
        char name[64];
        snprintf(name, sizeof name, "model-0000%zu-of-00002.safetensors", part + 1);
        memcpy(entry, s.entry + first, n * sizeof *entry);
        for (size_t i = 0; i < n; i++)
            json_object_set_new(map, entry[i].name, json_string(name));
        char *header = safetensors_header(entry, n, s.metadata, &size, &e);
        int fd = openat(d->fd, name, O_WRONLY | O_CREAT, 0666);
        unsigned char prefix[8];
        for (int i = 0; i < 8; i++)
            prefix[i] = (unsigned char)((uint64_t)size >> (8 * i));
        CHECK(write(fd, prefix, 8) == 8 && write(fd, header, size) == (ssize_t)size);
        for (size_t i = 0; i < n; i++)
            CHECK(write(fd, safetensors_data(&s, &s.entry[first + i]), entry[i].bytes) ==
                  (ssize_t)entry[i].bytes);
        close(fd);
        free(header);
        free(entry);
    }
    safetensors_close(&s);
    unlinkat(d->fd, "model.safetensors", 0);
    json_t *index = json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 33600, "weight_map", map);
    char *text = json_dumps(index, 0);
    put(d->fd, "model.safetensors.index.json", text, strlen(text));
    free(text);
    json_decref(index);
}

static void shards(void)
{
    static const char *const files[] = {"model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors",
                                        "model.safetensors.index.json", "config.json"};
    struct scratch d, to;
    scratch_make(&d);
    scratch_make(&to);
    shard_model(&d);
    struct model *m = model_open(d.path, &e), *whole = model_open(FIXTURE, &e);
    CHECK(m && m->n_shards == 2 && whole && m->n_values == whole->n_values);
    for (size_t i = 0; m && i < m->n_parameters; i++) {
        size_t n = m->parameter[i].rows * m->parameter[i].cols;
        float *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
        CHECK(model_values(m, i, a, &e) == 0 && model_values(whole, i, b, &e) == 0);
        CHECK(memcmp(a, b, n * sizeof *a) == 0);
        free(a);
        free(b);
    }
    CHECK(m && model_train(m, &e) == 0 && model_save(m, to.fd, NULL, &e) == 0);
    for (int i = 0; i < 4; i++)
        same_file(d.fd, files[i], to.fd, files[i]);
    CHECK(!io_exists(to.fd, "model.safetensors"));
    // As a reward model: the same tensors in the same shards, but for the head.
    struct scratch reward;
    scratch_make(&reward);
    CHECK(whole && m && model_save_as_reward(m, reward.fd, -1, &e) == 0);
    struct model *r = model_open_reward(reward.path, &e);
    CHECK(r && r->n_shards == 2 && r->n_unused == 0 && r->n_parameters == m->n_parameters);
    CHECK(r && r->n_values == m->n_values - (40 - 1) * 20);
    model_close(r);
    scratch_remove(&reward);
    model_close(m);
    model_close(whole);
    unlinkat(d.fd, files[1], 0);
    CHECK(model_open(d.path, &e) == NULL && strstr(e.text, files[1]));
    static const char *const lies[] = {
        "{\"weight_map\":{\"a\":\"../model.safetensors\"}}",
        "{\"weight_map\":{\"a\":7}}",
        "{}",
        "{\"weight_map\":{}}",
        "[]",
        "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}}"};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put(d.fd, files[2], lies[i], strlen(lies[i]));
        m = model_open(d.path, &e);
        CHECK(m == NULL && strstr(e.text, d.path));
        model_close(m);
    }
    scratch_remove(&d);
    scratch_remove(&to);
}

// The index decides where two files have a tensor; it names the right file, and all tensors.
static void indexes(void)
{
    static const char name[] = "model.safetensors.index.json", norm[] = "model.norm.weight";
    struct scratch d, to;
    scratch_make(&d);
    scratch_make(&to);
    shard_model(&d);
    put_tensors(d.fd, "more.safetensors",
                "{" T("counts", "I64", "[1]", "0", "8") "," T("model.norm.weight", "F32", "[20]",
                                                              "8", "88") "}",
                88, 0);
    json_t *index = json_parse_file(d.fd, name, 1 << 20, &e);
    json_t *map = json_object_get(index, "weight_map");
    const char *first = json_string_value(json_object_get(map, "model.embed_tokens.weight"));
    char *own = strdup(json_string_value(json_object_get(map, norm)));
    const struct {
        const char *counts, *norm, *refused; // where the index has them
        float value;
    } cases[] = {{"more.safetensors", own, NULL, 1},
                 {"more.safetensors", "more.safetensors", NULL, 0},
                 {"more.safetensors", NULL, "tensor `model.norm.weight` of ", 0},
                 {"more.safetensors",
                  strcmp(own, first) ? first : "model-00002-of-00002.safetensors",
                  "tensor `model.norm.weight`: it is not in ", 0},
                 {own, "more.safetensors", "tensor `counts`: it is not in ", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_object_set_new(map, "counts", json_string(cases[i].counts));
        json_object_del(map, norm);
        if (cases[i].norm)
            json_object_set_new(map, norm, json_string(cases[i].norm));
        char *text = json_dumps(index, 0);
        put(d.fd, name, text, strlen(text));
        free(text);
        struct model *m = model_open(d.path, &e);
        if (cases[i].refused) {
            CHECK(!m && strstr(e.text, cases[i].refused) && strstr(e.text, name));
            model_close(m);
            continue;
        }
        CHECK(m && m->n_shards == 3 && m->n_unused == 2);
        CHECK(m && *(const float *)m->globals[ROLE_FINAL_NORM].data == cases[i].value);
        // Trained, both have the new value.
        CHECK(m && model_train(m, &e) == 0);
        for (size_t k = 0; m && k < m->n_parameters; k++)
            if (m->parameter[k].role == ROLE_FINAL_NORM)
                m->master[m->parameter[k].offset] = 7;
        CHECK(m && model_save(m, to.fd, NULL, &e) == 0);
        model_close(m);
        const char *files[] = {own, "more.safetensors"};
        for (int k = 0; k < 2; k++) {
            struct safetensors s;
            CHECK(safetensors_open(&s, to.fd, files[k], &e) == 0);
            const struct safetensors_entry *t = safetensors_find(&s, norm);
            float value = 0;
            if (t)
                memcpy(&value, safetensors_data(&s, t), sizeof value);
            CHECK(value == 7);
            safetensors_close(&s);
        }
    }
    free(own);
    json_decref(index);
    scratch_remove(&d);
    scratch_remove(&to);
}

// The same model with its data moved by `shift` bytes, as a header of any length does.
static void shift_data(const struct scratch *from, const struct scratch *to, size_t shift)
{
    struct buffer b;
    uint64_t header;
    buffer_init(&b, 1 << 24);
    CHECK(io_read_regular(from->fd, "model.safetensors", &b, &e) == 0);
    memcpy(&header, b.data, 8);
    char *file = malloc(b.size + shift);
    uint64_t longer = header + shift;
    memcpy(file, &longer, 8);
    memcpy(file + 8, b.data + 8, header);
    memset(file + 8 + header, ' ', shift);
    memcpy(file + 8 + longer, b.data + 8 + header, b.size - 8 - header);
    put(to->fd, "model.safetensors", file, b.size + shift);
    CHECK(io_copy_file(from->fd, "config.json", to->fd, "config.json", &e) == 0);
    free(file);
    buffer_release(&b);
}

// Data may begin anywhere; where they do makes no difference.
static void data_at_odd_offsets(void)
{
    static const char *const types[] = {NULL, "bf16", "fp16"};
    for (size_t i = 0; i < 3; i++)
        for (size_t shift = 1; shift < 5; shift++) {
            struct scratch plain, odd, back;
            scratch_make(&plain);
            scratch_make(&odd);
            scratch_make(&back);
            struct model *m = model_open(FIXTURE, &e);
            CHECK(m && model_save(m, plain.fd, types[i], &e) == 0);
            model_close(m);
            shift_data(&plain, &odd, shift);
            struct model *a = model_open(plain.path, &e), *b = model_open(odd.path, &e);
            CHECK(a && b && a->n_values == b->n_values);
            for (size_t k = 0; a && b && k < a->n_parameters; k++) {
                const struct safetensors_entry *x = a->parameter[k].entry,
                                               *y = b->parameter[k].entry;
                const void *p = safetensors_data(a->parameter[k].file, x);
                const void *q = safetensors_data(b->parameter[k].file, y);
                CHECK((uintptr_t)q % dtype_size(y->dtype) == 0 && !memcmp(p, q, x->bytes));
                CHECK((y->copy != NULL) == (shift % dtype_size(y->dtype) != 0));
            }
            CHECK(b && model_train(b, &e) == 0 && model_save(b, back.fd, NULL, &e) == 0);
            same_file(odd.fd, "model.safetensors", back.fd, "model.safetensors");
            model_close(a);
            model_close(b);
            scratch_remove(&plain);
            scratch_remove(&odd);
            scratch_remove(&back);
        }
}

// A change in place is noticed, a name that goes or comes is none.
static void files_that_change(void)
{
    static const char name[] = "model.safetensors";
    struct scratch d, to;
    scratch_make(&d);
    scratch_make(&to);
    copy_model(&d, NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m && mapped_unchanged(&e) == 0 && model_keep(m, &e) == 0);
    CHECK(renameat(d.fd, name, d.fd, "old.safetensors") == 0 && mapped_unchanged(&e) == 0);
    CHECK(unlinkat(d.fd, "config.json", 0) == 0 &&
          unlinkat(d.fd, "generation_config.json", 0) == 0);
    CHECK(m && model_save(m, to.fd, NULL, &e) == 0 && io_exists(to.fd, "config.json") &&
          io_exists(to.fd, "generation_config.json"));
    int fd = openat(d.fd, "old.safetensors", O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "x", 1, 8 + 5000) == 1);
    CHECK(mapped_unchanged(&e) < 0 && strstr(e.text, d.path) &&
          strstr(e.text, "/model.safetensors changed while it was read"));
    CHECK(m && model_save(m, to.fd, NULL, &e) < 0 && strstr(e.text, "changed while"));
    CHECK(m && model_train(m, &e) < 0 && strstr(e.text, "changed while"));
    close(fd);
    model_close(m);
    CHECK(mapped_unchanged(&e) == 0);
    scratch_remove(&d);
    scratch_remove(&to);
}

// What is trained no longer depends on the files, but for tensors that are not computed with.
static void trained_models_depend_on_no_file(void)
{
    struct scratch d, to;
    scratch_make(&d);
    scratch_make(&to);
    copy_model(&d, NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m && model_train(m, &e) == 0);
    int fd = openat(d.fd, "model.safetensors", O_WRONLY);
    CHECK(fd >= 0 && ftruncate(fd, 100) == 0);
    put(d.fd, "config.json", "{}", 2);
    CHECK(m && mapped_unchanged(&e) == 0 && model_save(m, to.fd, NULL, &e) == 0);
    int at = open(FIXTURE, O_RDONLY | O_DIRECTORY);
    same_file(to.fd, "model.safetensors", at, "model.safetensors");
    same_file(to.fd, "config.json", at, "config.json");
    close(at);
    close(fd);
    model_close(m);
    scratch_remove(&d);
    scratch_remove(&to);
}

// The file cut anywhere is refused; changed anywhere it is refused or opens, and nothing else.
static void spoiled_files(void)
{
    struct scratch d;
    scratch_make(&d);
    copy_model(&d, NULL, NULL);
    struct buffer b;
    buffer_init(&b, 1 << 20);
    int fd = openat(d.fd, "model.safetensors", O_RDONLY);
    CHECK(io_read_fd(fd, "model.safetensors", &b, &e) == 0);
    close(fd);
    uint64_t header = 0;
    memcpy(&header, b.data, 8); // tests run on little-endian machines
    for (size_t n = 0; n < b.size; n += n < 64 ? 1 : 97) {
        put(d.fd, "model.safetensors", b.data, n);
        struct model *m = model_open(d.path, &e);
        CHECK(m == NULL && strstr(e.text, "model.safetensors"));
        model_close(m);
    }
    size_t taken = 0;
    for (size_t i = 0; i < 8 + header; i++) {
        char was = b.data[i];
        b.data[i] = (char)(was ^ (1 << (i % 8)));
        put(d.fd, "model.safetensors", b.data, b.size);
        struct model *m = model_open(d.path, &e);
        if (m) {
            // what was taken must be fit to compute with
            CHECK(model_train(m, &e) == 0);
            taken++;
        }
        model_close(m);
        b.data[i] = was;
    }
    CHECK(taken < header / 4);
    buffer_release(&b);
    scratch_remove(&d);
}

int main(void)
{
    RUN(headers_that_lie);
    RUN(headers_that_do_not);
    RUN(empty_tensors_are_cheap);
    RUN(configs_are_checked);
    RUN(linear_scaling_divides_frequencies);
    RUN(defaults_of_configs);
    RUN(saving_keeps_bytes);
    RUN(narrow_types_round_to_nearest);
    RUN(extra_tensors_are_kept);
    RUN(shards);
    RUN(indexes);
    RUN(data_at_odd_offsets);
    RUN(files_that_change);
    RUN(trained_models_depend_on_no_file);
    RUN(spoiled_files);
    return test_end();
}
