// SPDX-License-Identifier: MIT
// Sampling: distributions after the processors, greedy paths, independence of company, and the
// sign of the dense reward's expectation.
#include "family_kit.h"
#include "sampling_kit.h"

static struct sampling plain(void)
{
    return (struct sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1};
}

static struct sampling read_settings(const json_t *j)
{
    struct sampling s = plain();
    int64_t k = 0;
    CHECK(json_get_real(j, "temperature", &s.temperature, "row", &e) >= 0);
    CHECK(json_get_int(j, "top_k", &k, "row", &e) >= 0);
    CHECK(json_get_real(j, "top_p", &s.top_p, "row", &e) >= 0);
    CHECK(json_get_real(j, "min_p", &s.min_p, "row", &e) >= 0);
    CHECK(json_get_real(j, "repetition_penalty", &s.repetition_penalty, "row", &e) >= 0);
    s.top_k = (size_t)k;
    return s;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void processors(void)
{
    NEED(SHARED "/golden/sampling/sampling.json");
    json_t *j = json_parse_file(AT_FDCWD, SHARED "/golden/sampling/sampling.json", 1 << 24, &e);
    struct sampling_work w;
    struct arena arena;
    uint32_t *history;
    size_t n_history = load_tokens(json_object_get(j, "history"), &history);
    arena_init(&arena);
    const json_t *rows = json_object_get(j, "rows"), *logits = json_object_get(j, "logits");
    size_t vocab = (size_t)number_at(j, "vocab", NULL);
    CHECK(json_array_size(rows) == 80 && sampling_work_init(&w, vocab, &arena, &e) == 0);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *z =
            json_object_get(logits, json_string_value(json_object_get(row, "logits")));
        struct sampling s = read_settings(json_object_get(row, "settings"));
        float values[64];
        double got[64], want[64];
        size_t kept = 0;
        for (size_t t = 0; t < vocab; t++)
            values[t] = (float)element(z, t);
        sampling_distribution(&s, values, vocab, history, n_history, &w, got);
        for (size_t t = 0; t < vocab; t++) {
            want[t] = element(json_object_get(row, "probability"), t);
            kept += got[t] > 0;
        }
        CHECK(kept == (size_t)number_at(row, "kept", NULL));
        if (json_is_true(json_object_get(row, "tie_at_cut"))) {
            // which of the equal ones stay is free; the values are not
            qsort(got, vocab, sizeof *got, by_value);
            qsort(want, vocab, sizeof *want, by_value);
        }
        for (size_t t = 0; t < vocab; t++)
            CHECK_NEAR(got[t], want[t], 2e-6);
    }
    free(history);
    arena_release(&arena);
    json_decref(j);
}

// What is drawn follows the distribution: chi-square, and nothing that was removed ever comes.
static void draws_follow_the_distribution(void)
{
    enum { VOCAB = 40, DRAWS = 20000 };
    float z[VOCAB];
    double p[VOCAB];
    size_t count[VOCAB];
    struct rng rng;
    struct device d;
    struct sampling_work w;
    struct arena arena;
    static const uint32_t history[] = {3, 5, 5, 9};
    arena_init(&arena);
    CHECK(device_open(&d, "cpu", PRODUCTS_FP32, &e) == 0 &&
          sampling_work_init(&w, VOCAB, &arena, &e) == 0);
    rng_init(&rng, 4, RNG_TEST, 0, 0);
    for (int i = 0; i < VOCAB; i++)
        z[i] = (float)rng_normal(&rng);
    struct sampling cases[5] = {plain(), plain(), plain(), plain(), plain()};
    cases[1].temperature = 0.6, cases[1].top_k = 10;
    cases[2].top_p = 0.7;
    cases[3].min_p = 0.2, cases[3].repetition_penalty = 1.7;
    cases[4].temperature = 2, cases[4].top_k = 25, cases[4].top_p = 0.9, cases[4].min_p = 0.02;
    for (int k = 0; k < 5; k++) {
        size_t kept = 0;
        double chi = 0;
        memset(count, 0, sizeof count);
        CHECK(sampling_is_plain(&cases[k]) == (k == 0));
        sampling_distribution(&cases[k], z, VOCAB, history, 4, &w, p);
        for (int i = 0; i < DRAWS; i++) {
            uint32_t token;
            float logp;
            CHECK(sampling_draw(&d, &cases[k], z, VOCAB, history, 4, &w, &rng, &token, &logp, &e) ==
                  0);
            count[token]++;
            CHECK_NEAR((double)logp, log(p[token]), 1e-5);
        }
        for (int i = 0; i < VOCAB; i++) {
            double expected = p[i] * DRAWS;
            kept += p[i] > 0;
            CHECK(p[i] > 0 || !count[i]);
            if (p[i] > 0)
                chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
        }
        // mean kept - 1, variance twice that: five deviations
        CHECK(chi < (double)kept - 1 + 5 * sqrt(2 * (double)kept));
    }
    struct sampling greedy = plain();
    greedy.temperature = 0;
    uint32_t token, best = 0;
    float logp;
    for (uint32_t i = 1; i < VOCAB; i++)
        best = z[i] > z[best] ? i : best;
    CHECK(sampling_draw(&d, &greedy, z, VOCAB, history, 4, &w, &rng, &token, &logp, &e) == 0);
    CHECK(token == best && logp == 0);
    z[7] = NAN;
    CHECK(sampling_draw(&d, &cases[0], z, VOCAB, history, 4, &w, &rng, &token, &logp, &e) < 0);
    CHECK(sampling_draw(&d, &greedy, z, VOCAB, history, 4, &w, &rng, &token, &logp, &e) < 0);
    device_release(&d);
    arena_release(&arena);
}

// Draws all samples of some prompts.
struct draw {
    struct request *request[16];
    size_t n;
};

static void draw_all(struct reference *r, const struct generate_options *o, uint32_t *const *prompt,
                     const size_t *n_prompt, size_t n, size_t samples, struct draw *out)
{
    struct generator *g = generator_open(r->model, NULL, &r->device, o, &e);
    CHECK(g != NULL);
    out->n = 0;
    for (size_t i = 0; i < n; i++)
        CHECK(generator_add(g, prompt[i], n_prompt[i], samples, 1000 + i, NULL, &e) == 0);
    while (generator_pending(g)) {
        if (generator_step(g, &e) < 0) {
            CHECK(!"a step");
            break;
        }
        while (out->n < 16 && generator_take(g, &out->request[out->n]))
            out->n++;
    }
    CHECK(out->n == n);
    generator_close(g);
}

static void free_draw(struct draw *d)
{
    for (size_t i = 0; i < d->n; i++)
        request_free(d->request[i]);
}

static void check_greedy(struct reference *r)
{
    const json_t *greedy = json_object_get(r->json, "greedy");
    size_t n = json_array_size(greedy);
    uint32_t *prompt[16] = {0};
    size_t n_prompt[16] = {0};
    struct draw d;
    struct generate_options o = {.sampling = plain(), .max_new_tokens = n ? 0 : 1, .slots = 3};
    o.sampling.temperature = 0;
    o.stop = r->model->config.eos;
    o.n_stop = r->model->config.n_eos;
    for (size_t i = 0; i < n; i++) {
        const json_t *g = json_array_get(greedy, i);
        size_t length = json_array_size(json_object_get(g, "tokens"));
        n_prompt[i] = load_tokens(json_object_get(g, "prompt"), &prompt[i]);
        o.max_new_tokens = length > o.max_new_tokens ? length : o.max_new_tokens;
    }
    draw_all(r, &o, prompt, n_prompt, n, 1, &d);
    for (size_t i = 0; i < d.n; i++) {
        const json_t *g = json_array_get(greedy, i), *tokens = json_object_get(g, "tokens");
        const struct generated *s = &d.request[i]->sample[0];
        CHECK(s->n == json_array_size(tokens));
        for (size_t t = 0; t < s->n && t < json_array_size(tokens); t++) {
            CHECK(s->token[t] == (uint32_t)element(tokens, t));
            CHECK_NEAR((double)s->logp[t], element(json_object_get(g, "logprob"), t),
                       fmax(1e-4, tolerance(number_at(r->json, "fp32_noise", "logprob"))));
            CHECK(s->sampled[t] == 0);
        }
        int stopped = s->n && is_eos(&r->model->config, s->token[s->n - 1]);
        CHECK((s->finish == FINISH_STOP) == stopped);
    }
    for (size_t i = 0; i < n; i++)
        free(prompt[i]);
    free_draw(&d);
}

static void greedy_fixture(void)
{
    struct reference r;
    CHECK(reference_open_fixture(&r) == 0);
    check_greedy(&r);
    reference_close(&r);
}

static void greedy_reference(const char *path)
{
    struct reference r;
    if (reference_open(&r, path) < 0) {
        CHECK(!"opened");
        return;
    }
    check_greedy(&r);
    reference_close(&r);
}

static int same_sample(const struct generated *a, const struct generated *b)
{
    return a->n == b->n && a->finish == b->finish && !memcmp(a->token, b->token, a->n * 4) &&
           !memcmp(a->logp, b->logp, a->n * 4) && !memcmp(a->sampled, b->sampled, a->n * 4);
}

static const uint32_t prompt_tokens[4][7] = {
    {1, 5, 9}, {1, 5, 9, 14, 30, 7, 7}, {1}, {1, 20, 21, 22, 23}};
static const size_t prompt_lengths[4] = {3, 7, 1, 5};

// Bit for bit the same samples: any number of slots and threads, alone or in company, at once or
// in parts; and the same log-probabilities as scoring gives.
static void samples_depend_on_nothing_else(void)
{
    static const size_t slots[] = {1, 2, 5, 64};
    struct reference r;
    CHECK(reference_open_fixture(&r) == 0);
    uint32_t *prompt[4];
    for (int i = 0; i < 4; i++)
        prompt[i] = (uint32_t *)prompt_tokens[i];
    struct generate_options o = {
        .sampling = plain(), .max_new_tokens = 40, .slots = 128, .seed = 9};
    o.sampling.top_p = 0.95;
    o.stop = r.model->config.eos;
    o.n_stop = r.model->config.n_eos;
    struct draw all, d;
    draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &all);
    for (int k = 0; k < 4; k++)
        for (int threads = 1; threads <= 3; threads++) {
            CHECK(threads_set(threads, &e) == 0);
            o.slots = slots[k];
            draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &d);
            for (size_t i = 0; i < 24; i++)
                CHECK(same_sample(&all.request[i / 6]->sample[i % 6],
                                  &d.request[i / 6]->sample[i % 6]));
            free_draw(&d);
        }
    CHECK(threads_set(2, &e) == 0);
    o.first_sample = 4;
    draw_all(&r, &o, prompt, prompt_lengths, 1, 2, &d);
    for (size_t i = 0; i < 2; i++)
        CHECK(same_sample(&all.request[0]->sample[4 + i], &d.request[0]->sample[i]));
    free_draw(&d);
    size_t stopped = 0, different = 0;
    for (size_t i = 0; i < 24; i++) {
        const struct request *q = all.request[i / 6];
        const struct generated *s = &q->sample[i % 6];
        uint32_t token[64];
        float logp[64];
        memcpy(token, q->prompt, q->n_prompt * 4);
        memcpy(token + q->n_prompt, s->token, s->n * 4);
        CHECK(score_one(&r, token, q->n_prompt + s->n, logp, NULL) == 0);
        CHECK(memcmp(logp + q->n_prompt - 1, s->logp, s->n * sizeof *logp) == 0);
        stopped += s->finish == FINISH_STOP;
        different += !same_sample(s, &all.request[0]->sample[0]);
    }
    CHECK(stopped > 0 && stopped < 24 && different >= 22);
    free_draw(&all);
    o.first_sample = 0;
    o.seed = 10;
    draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &d);
    draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &all);
    CHECK(same_sample(&d.request[0]->sample[0], &all.request[0]->sample[0]));
    free_draw(&all);
    o.seed = 9;
    draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &all);
    CHECK(!same_sample(&d.request[0]->sample[0], &all.request[0]->sample[0]));
    free_draw(&d);
    free_draw(&all);
    reference_close(&r);
}

// With keys and values stored as bf16 too: the same bits in any slots and threads, those of a
// scorer that rounds as well, and not those of one that does not.
static void bf16_caches_draw_what_is_scored(void)
{
    static const size_t slots[] = {1, 2, 5};
    struct reference r;
    CHECK(reference_open_fixture(&r) == 0);
    uint32_t *prompt[4];
    for (int i = 0; i < 4; i++)
        prompt[i] = (uint32_t *)prompt_tokens[i];
    struct generate_options o = {.sampling = plain(), .max_new_tokens = 40, .slots = 64, .seed = 9};
    struct draw all, d;
    size_t exact = generator_bytes(&r.device, r.model, 5, 47).cache;
    r.device.kv = DTYPE_BF16;
    CHECK(generator_bytes(&r.device, r.model, 5, 47).cache == exact / 2);
    draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &all);
    for (int k = 0; k < 3; k++) {
        CHECK(threads_set(1 + k, &e) == 0);
        o.slots = slots[k];
        draw_all(&r, &o, prompt, prompt_lengths, 4, 6, &d);
        for (size_t i = 0; i < 24; i++)
            CHECK(
                same_sample(&all.request[i / 6]->sample[i % 6], &d.request[i / 6]->sample[i % 6]));
        free_draw(&d);
    }
    CHECK(threads_set(2, &e) == 0);
    size_t apart = 0;
    for (size_t i = 0; i < 24; i++) {
        const struct request *q = all.request[i / 6];
        const struct generated *s = &q->sample[i % 6];
        uint32_t token[64];
        float logp[64];
        memcpy(token, q->prompt, q->n_prompt * 4);
        memcpy(token + q->n_prompt, s->token, s->n * 4);
        CHECK(score_one(&r, token, q->n_prompt + s->n, logp, NULL) == 0);
        CHECK(memcmp(logp + q->n_prompt - 1, s->logp, s->n * sizeof *logp) == 0);
        r.device.kv = DTYPE_F32;
        CHECK(score_one(&r, token, q->n_prompt + s->n, logp, NULL) == 0);
        apart += memcmp(logp + q->n_prompt - 1, s->logp, s->n * sizeof *logp) != 0;
        r.device.kv = DTYPE_BF16;
    }
    CHECK(apart > 20);
    free_draw(&all);
    reference_close(&r);
}

// What goes through the model, counted at its entry.
static size_t tokens_embedded;

static int counted_embed(struct device *d, float *out, const struct tensor *table,
                         const uint32_t *token, size_t n, float factor, int add, struct err *err)
{
    tokens_embedded += n;
    return ops_cpu.embed(d, out, table, token, n, factor, add, err);
}

// A prompt is computed once for all its samples, those that find no slot at first included: when
// they start, its last token alone goes in again. And a slot that became free is used in the next
// step.
static void prompts_are_computed_once(void)
{
    enum { SAMPLES = 7, NEW = 10 };
    static const size_t slots[] = {1, 2, 3, 6, 7, 64};
    struct reference r;
    struct ops counting = ops_cpu;
    counting.embed = counted_embed;
    CHECK(reference_open_fixture(&r) == 0);
    r.device.ops = &counting;
    uint32_t prompt[40];
    for (uint32_t i = 0; i < 40; i++)
        prompt[i] = 1 + i * 7 % 38;
    for (size_t k = 0; k < sizeof slots / sizeof *slots; k++) {
        struct generate_options o = {
            .sampling = plain(), .max_new_tokens = NEW, .slots = slots[k], .seed = 9};
        struct generator *g = generator_open(r.model, NULL, &r.device, &o, &e);
        struct request *request = NULL;
        size_t steps = 0, waves = (SAMPLES + slots[k] - 1) / slots[k];
        tokens_embedded = 0;
        CHECK(g && generator_add(g, prompt, 40, SAMPLES, 1, NULL, &e) == 0);
        for (; generator_pending(g) && steps < 1000; steps++)
            CHECK(generator_step(g, &e) == 0);
        CHECK(steps == waves * NEW);
        CHECK(tokens_embedded == 40 + SAMPLES * (NEW - 1) + waves - 1);
        CHECK(generator_take(g, &request) == 1);
        request_free(request);
        generator_close(g);
    }
    reference_close(&r);
}

// Log-probability of token[n] after the n before it, which are the whole sequence.
static float logp_after(struct reference *r, const uint32_t *token, size_t n)
{
    struct packer p;
    struct batch b;
    uint8_t mask[64] = {0};
    float logp = NAN;
    struct head_result out = {.logp = &logp};
    arena_clear(&r->arena);
    CHECK(packer_init(&p, &r->arena, n + 1, 1, &e) == 0);
    mask[n] = 1;
    CHECK(packer_add(
              &p, &(struct sequence){.token = token, .mask = mask, .n = n + 1, .beyond = 1}) == 1);
    packer_batch(&p, &b);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0 &&
          head_score(&r->device, r->model, r->decoder.hidden, p.target, 1, NULL, &out, &e) == 0);
    return logp;
}

// What a sample's tokens had is what each prefix gives by itself, bit for bit; where angles depend
// on the length and old keys stay as they were, that ends at the original length.
static void check_family(const struct small_family *f)
{
    struct reference r;
    struct scratch s;
    if (small_open(&r, &s, f) == 0) {
        const struct model_config *c = &r.model->config;
        uint32_t *prompt[4], token[64];
        struct draw all;
        size_t same = c->rope_restart ? SIZE_MAX : rope_same_up_to(c), apart = 0;
        for (int i = 0; i < 4; i++)
            prompt[i] = (uint32_t *)prompt_tokens[i];
        struct generate_options o = {
            .sampling = plain(), .max_new_tokens = 17, .slots = 5, .seed = 9};
        draw_all(&r, &o, prompt, prompt_lengths, 4, 2, &all);
        for (size_t i = 0; i < 8; i++) {
            const struct request *q = all.request[i / 2];
            const struct generated *g = &q->sample[i % 2];
            CHECK(g->n == 17);
            memcpy(token, q->prompt, q->n_prompt * 4);
            memcpy(token + q->n_prompt, g->token, g->n * 4);
            for (size_t t = q->n_prompt; t < q->n_prompt + g->n; t++) {
                float want = logp_after(&r, token, t), got = g->logp[t - q->n_prompt];
                CHECK(t > same || memcmp(&want, &got, sizeof want) == 0);
                apart += t > same && want != got;
            }
        }
        CHECK((apart > 0) == (same < SIZE_MAX));
        free_draw(&all);
    }
    small_close(&r, &s);
}

// Samples of a prompt whose blocks they share, until they start again beyond the original length:
// what they had then is theirs, and it comes back; there are more samples than blocks.
static void restarts_leave_the_prompt(void)
{
    enum { PROMPT = 17, NEW = 5, SAMPLES = 500 };
    static const struct small_family f = {
        "phi3_restart",
        "'model_type':'phi3','pad_token_id':0,'original_max_position_embeddings':18,"
        "'rope_scaling':{'type':'longrope','short_factor':[1.0,1.1,1.3,1.5],"
        "'long_factor':[1.2,2.0,3.5,5.0]}"};
    struct reference r;
    struct scratch s;
    struct draw d;
    uint32_t token[PROMPT + NEW], *prompt[1] = {token};
    size_t n_prompt = PROMPT;
    for (uint32_t t = 0; t < PROMPT; t++)
        token[t] = 1 + t * 7 % 30;
    if (small_open(&r, &s, &f) == 0) {
        struct generate_options o = {
            .sampling = plain(), .max_new_tokens = NEW, .slots = 2, .seed = 9};
        draw_all(&r, &o, prompt, &n_prompt, 1, SAMPLES, &d);
        for (size_t i = 0; i < SAMPLES; i += i < 4 ? 1 : 99) {
            const struct generated *g = &d.request[0]->sample[i];
            memcpy(token + PROMPT, g->token, NEW * sizeof *token);
            for (size_t t = 0; t < NEW; t++) {
                float want = logp_after(&r, token, PROMPT + t);
                CHECK(memcmp(&want, &g->logp[t], sizeof want) == 0);
            }
        }
        free_draw(&d);
    }
    small_close(&r, &s);
}

// A long prompt comes while others are in flight: the cache grows, and nothing else changes.
static void caches_grow(void)
{
    enum { LONG = 3000 };
    struct reference r;
    CHECK(reference_open_fixture(&r) == 0);
    uint32_t *prompt[2] = {(uint32_t *)prompt_tokens[1], calloc(LONG, sizeof(uint32_t))};
    size_t n_prompt[2] = {prompt_lengths[1], LONG};
    for (size_t t = 0; t < LONG; t++)
        prompt[1][t] = (uint32_t)(3 + t % 20);
    struct generate_options o = {.sampling = plain(), .max_new_tokens = 30, .slots = 4, .seed = 9};
    struct draw alone;
    draw_all(&r, &o, prompt, n_prompt, 2, 3, &alone);
    struct generator *g = generator_open(r.model, NULL, &r.device, &o, &e);
    struct request *q[2] = {0};
    CHECK(g && generator_add(g, prompt[0], n_prompt[0], 3, 1000, NULL, &e) == 0);
    for (int i = 0; i < 9; i++)
        CHECK(generator_step(g, &e) == 0);
    CHECK(generator_add(g, prompt[1], n_prompt[1], 3, 1001, NULL, &e) == 0);
    while (generator_pending(g) && generator_step(g, &e) == 0)
        continue;
    for (int i = 0; i < 2; i++) {
        CHECK(generator_take(g, &q[i]));
        for (size_t k = 0; q[i] && k < 3; k++)
            CHECK(same_sample(&q[i]->sample[k], &alone.request[i]->sample[k]));
        request_free(q[i]);
    }
    generator_close(g);
    free_draw(&alone);
    free(prompt[1]);
    reference_close(&r);
}

static void generators_check_what_they_get(void)
{
    struct reference r;
    struct scratch s;
    const struct small_family *learned = small_families;
    while (strcmp(learned->name, "gpt2"))
        learned++;
    if (small_open(&r, &s, learned) < 0)
        return;
    struct generate_options o = {.sampling = plain(), .max_new_tokens = 200, .slots = 4};
    struct generator *g = generator_open(r.model, NULL, &r.device, &o, &e);
    static const uint32_t beyond[] = {1, 40}, good[] = {1, 5};
    uint32_t long_one[65] = {0};
    CHECK(generator_add(g, beyond, 2, 1, 0, NULL, &e) < 0);
    CHECK(generator_add(g, good, 0, 1, 0, NULL, &e) < 0);
    CHECK(generator_add(g, long_one, 65, 1, 0, NULL, &e) < 0);
    // The model's last learned position ends a sample.
    CHECK(generator_add(g, good, 2, 3, 0, NULL, &e) == 0);
    while (generator_pending(g) && generator_step(g, &e) == 0)
        continue;
    struct request *q = NULL;
    CHECK(generator_pending(g) == 0 && generator_take(g, &q));
    for (size_t i = 0; q && i < 3; i++)
        CHECK(q->sample[i].finish == FINISH_LENGTH && q->sample[i].n <= 63 && q->sample[i].n >= 62);
    request_free(q);
    generator_close(g);
    small_close(&r, &s);
}

// Contrast 0 is the model itself; a model against itself too; otherwise z + a (z - z_ref).
static void contrast_moves_the_distribution(void)
{
    NEED(SHARED "/golden/methods/methods.json");
    struct reference sft = {0}, half = {0};
    CHECK(reference_open_model(&sft, SHARED "/golden/methods/sft") == 0 &&
          reference_open_model(&half, SHARED "/golden/methods/half") == 0);
    struct generate_options o = {
        .sampling = plain(), .max_new_tokens = 10, .slots = 8, .contrast = 0.5};
    struct generator *g = generator_open(sft.model, half.model, &sft.device, &o, &e);
    static const uint32_t prompt[] = {1, 5, 9};
    CHECK(g && generator_add(g, prompt, 3, 4, 7, NULL, &e) == 0);
    while (generator_pending(g) && generator_step(g, &e) == 0)
        continue;
    struct request *q = NULL;
    CHECK(generator_take(g, &q));
    size_t vocab = sft.model->config.vocab;
    for (size_t i = 0; q && i < 4; i++) {
        const struct generated *s = &q->sample[i];
        uint32_t token[16];
        memcpy(token, prompt, sizeof prompt);
        memcpy(token + 3, s->token, s->n * 4);
        float *a = logits_of(&sft, token, 3 + s->n), *b = logits_of(&half, token, 3 + s->n);
        for (size_t t = 0; t < s->n; t++) {
            const float *za = a + (2 + t) * vocab, *zb = b + (2 + t) * vocab;
            float mixed[1024];
            for (size_t k = 0; k < vocab; k++)
                mixed[k] = za[k] + 0.5f * (za[k] - zb[k]);
            CHECK_NEAR((double)s->sampled[t],
                       (double)mixed[s->token[t]] - log_sum_exp(mixed, vocab), 1e-4);
            CHECK_NEAR((double)s->logp[t], (double)za[s->token[t]] - log_sum_exp(za, vocab), 1e-4);
        }
        free(a);
        free(b);
    }
    request_free(q);
    generator_close(g);
    reference_close(&sft);
    reference_close(&half);
}

// Item 6: under samples of A the mean of sum(lp_A - lp_B) is KL(A || B) >= 0, under samples of B it
// is -KL(B || A) <= 0; each with an interval, and the KL by its exact sum over the vocabulary.
static void check_sign(struct reference *from, struct reference *a, struct reference *b,
                       double sign)
{
    enum { SAMPLES = 600, LENGTH = 8 };
    struct generate_options o = {
        .sampling = plain(), .max_new_tokens = LENGTH, .slots = 128, .seed = 3};
    struct generator *g = generator_open(from->model, NULL, &from->device, &o, &e);
    static const uint32_t prompt[] = {1, 5, 9};
    CHECK(g && generator_add(g, prompt, 3, SAMPLES, 7, NULL, &e) == 0);
    while (generator_pending(g) && generator_step(g, &e) == 0)
        continue;
    struct request *q = NULL;
    CHECK(generator_take(g, &q));
    size_t vocab = a->model->config.vocab;
    double sum = 0, squares = 0, exact = 0, exact_squares = 0;
    for (size_t i = 0; q && i < SAMPLES; i++) {
        const struct generated *s = &q->sample[i];
        uint32_t token[3 + LENGTH];
        memcpy(token, prompt, sizeof prompt);
        memcpy(token + 3, s->token, s->n * 4);
        float *za = logits_of(a, token, 2 + s->n), *zb = logits_of(b, token, 2 + s->n);
        double reward = 0, kl = 0;
        for (size_t t = 0; t < s->n; t++) {
            const float *x = za + (2 + t) * vocab, *y = zb + (2 + t) * vocab;
            double lx = log_sum_exp(x, vocab), ly = log_sum_exp(y, vocab);
            const float *own = sign > 0 ? x : y;
            double lo = sign > 0 ? lx : ly;
            for (size_t k = 0; k < vocab; k++)
                kl += exp((double)own[k] - lo) * (((double)x[k] - lx) - ((double)y[k] - ly));
            reward += ((double)x[s->token[t]] - lx) - ((double)y[s->token[t]] - ly);
        }
        sum += reward;
        squares += reward * reward;
        exact += kl;
        exact_squares += (reward - kl) * (reward - kl);
        free(za);
        free(zb);
    }
    double mean = sum / SAMPLES, error = sqrt((squares / SAMPLES - mean * mean) / SAMPLES);
    double paired = sqrt(exact_squares / SAMPLES / SAMPLES);
    printf("# mean of the summed reward %.3f +- %.3f, exact %.3f\n", mean, error, exact / SAMPLES);
    CHECK(sign * exact > 0);
    CHECK(sign * (mean + sign * 4 * error) > 0);
    CHECK_NEAR(mean, exact / SAMPLES, 4 * paired);
    request_free(q);
    generator_close(g);
}

static void rewards_have_the_right_sign(void)
{
    struct reference a, b;
    CHECK(reference_open_fixture(&a) == 0 && reference_open_fixture(&b) == 0);
    // B: every weight of A moved a little
    CHECK(model_train(b.model, &e) == 0);
    struct rng rng;
    rng_init(&rng, 2, RNG_TEST, 0, 0);
    for (size_t i = 0; i < b.model->n_flat; i++)
        b.model->master[i] *= 1 + 0.1f * (float)rng_normal(&rng);
    check_sign(&a, &a, &b, 1);
    check_sign(&b, &a, &b, -1);
    reference_close(&a);
    reference_close(&b);
}

static void rewards_have_the_right_sign_for_reference_models(void)
{
    NEED(SHARED "/golden/methods/methods.json");
    struct reference a = {0}, b = {0};
    CHECK(reference_open_model(&a, SHARED "/golden/methods/sft") == 0 &&
          reference_open_model(&b, SHARED "/golden/methods/half") == 0);
    check_sign(&a, &a, &b, 1);
    check_sign(&b, &a, &b, -1);
    reference_close(&a);
    reference_close(&b);
}

int main(void)
{
    CHECK(threads_set(2, &e) == 0);
    RUN(processors);
    RUN(draws_follow_the_distribution);
    RUN(greedy_fixture);
    each_golden("greedy", greedy_reference);
    RUN(samples_depend_on_nothing_else);
    RUN(bf16_caches_draw_what_is_scored);
    RUN(prompts_are_computed_once);
    each_family("samples", check_family);
    RUN(restarts_leave_the_prompt);
    RUN(caches_grow);
    RUN(generators_check_what_they_get);
    RUN(contrast_moves_the_distribution);
    RUN(rewards_have_the_right_sign);
    RUN(rewards_have_the_right_sign_for_reference_models);
    return test_end();
}
