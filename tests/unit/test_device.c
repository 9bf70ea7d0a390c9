// SPDX-License-Identifier: MIT
// What is above the operations knows no memory but the host's: scoring, training, sampling and
// saving on a device whose memory the host cannot touch give the bits of the CPU.
#include "family_kit.h"
#include "fence_kit.h"

#include "infer/exact_terms.h"
#include "infer/reward_scorer.h"
#include "infer/scorer.h"
#include "infer/states.h"
#include "train/checkpoint.h"
#include "train/reward_objective.h"

enum { LENGTH = 41, SEQUENCES = 4, TOP = 3 };

// The models of a test: the family's, and another with its vocabulary; what is written goes to
// `out`.
struct setting {
    char model[100], other[100];
    enum products products;
    struct scratch out;
};

// What a run found, byte for byte.
static void keep(struct buffer *b, const void *data, size_t size)
{
    CHECK(buffer_append(b, data, size, &e) == 0);
}

static uint32_t token[SEQUENCES][LENGTH];
static uint8_t mask[SEQUENCES][LENGTH];
static struct sequence sequence[SEQUENCES];

// The second begins as the first does, beyond a block of keys; the third is short.
static void make_sequences(void)
{
    struct rng rng;
    rng_init(&rng, 5, RNG_TEST, 0, 0);
    for (size_t i = 0; i < SEQUENCES; i++) {
        for (size_t t = 0; t < LENGTH; t++) {
            token[i][t] = i == 1 && t < 35 ? token[0][t] : (uint32_t)rng_below(&rng, 37);
            mask[i][t] = t >= 4 && rng_below(&rng, 4) != 0;
        }
        mask[i][5] = 1;
        sequence[i] =
            (struct sequence){.token = token[i], .mask = mask[i], .n = i == 2 ? 7 : LENGTH};
    }
}

static size_t wanted(void)
{
    size_t n = 0;
    for (size_t i = 0; i < SEQUENCES; i++)
        n += sequence_wanted(&sequence[i]);
    return n;
}

static void score(const struct setting *s, struct device *d, float temperature, int company,
                  struct buffer *found)
{
    struct model *m = model_open(s->model, &e), *other = model_open(s->other, &e);
    struct scorer scorer;
    size_t n = wanted(), where;
    float value[7][SEQUENCES * LENGTH], top_logp[SEQUENCES * LENGTH * TOP];
    uint32_t best[SEQUENCES * LENGTH], top[SEQUENCES * LENGTH * TOP];
    struct head_result out = {.logp = value[0],
                              .entropy = value[1],
                              .best = best,
                              .logit = value[2],
                              .value = value[3],
                              .k = TOP,
                              .top = top,
                              .top_logp = top_logp,
                              .temperature = temperature};
    CHECK(m && other);
    memset(value, 0, sizeof value);
    scorer_init(&scorer, m, d);
    if (company) {
        out.kl = value[4];
        out.reverse = value[5];
        CHECK(scorer_contrast(&scorer, other, 0.3, &e) == 0);
        CHECK(scorer_reference(&scorer, other, &e) == 0);
    }
    CHECK(scorer_run(&scorer, sequence, SEQUENCES, &out, &where, &e) == 0);
    scorer_release(&scorer);
    for (int i = 0; i < 7; i++)
        keep(found, value[i], n * sizeof(float));
    keep(found, best, n * sizeof *best);
    keep(found, top, n * TOP * sizeof *top);
    keep(found, top_logp, n * TOP * sizeof *top_logp);
    model_close(m);
    model_close(other);
}

struct visit {
    struct buffer *found;
    size_t width;
};

static void visit(void *arg, size_t sequence_of, size_t t, const float *state)
{
    const struct visit *v = arg;
    keep(v->found, state, v->width * sizeof *state);
}

static void scoring(const struct setting *s, struct device *d, struct buffer *found)
{
    score(s, d, 0, 0, found);
    score(s, d, 1.3f, 1, found);
    struct model *m = model_open(s->model, &e);
    struct states states;
    struct visit v = {found, m->config.end_width};
    size_t where;
    states_init(&states, m, d);
    CHECK(states_run(&states, sequence, SEQUENCES, visit, &v, &where, &e) == 0);
    states_release(&states);
    model_close(m);
}

// Three prompts, the first shorter than a block of keys, while samples are in flight; fewer slots
// than samples.
static void draw(const struct setting *s, struct device *d, const struct generate_options *o,
                 size_t n_prompt, const uint32_t *prompt, struct buffer *found)
{
    struct model *m = model_open(s->model, &e), *other = model_open(s->other, &e);
    struct generator *g = generator_open(m, o->contrast != 0 ? other : NULL, d, o, &e);
    struct request *r;
    CHECK(g != NULL);
    for (size_t i = 0; i < 3; i++) {
        CHECK(generator_add(g, prompt, i == 0 ? 3 : n_prompt, 3, 70 + i, NULL, &e) == 0);
        CHECK(generator_step(g, &e) == 0);
    }
    while (generator_pending(g))
        if (generator_step(g, &e) < 0) {
            CHECK(!"a step");
            break;
        }
    while (generator_take(g, &r)) {
        for (size_t i = 0; i < r->n_samples; i++) {
            const struct generated *x = &r->sample[i];
            keep(found, x->token, x->n * sizeof *x->token);
            keep(found, x->logp, x->n * sizeof *x->logp);
            keep(found, x->sampled, x->n * sizeof *x->sampled);
        }
        request_free(r);
    }
    generator_close(g);
    model_close(m);
    model_close(other);
}

static void drawing(const struct setting *s, struct device *d, struct buffer *found)
{
    struct generate_options o = {
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
        .max_new_tokens = 6,
        .slots = 4,
        .seed = 3};
    draw(s, d, &o, 21, token[0], found);
    o.contrast = 0.4;
    o.sampling.top_k = 9;
    o.sampling.repetition_penalty = 1.2;
    draw(s, d, &o, 21, token[0], found);
}

// The cache grows while samples are in flight.
static void long_drawing(const struct setting *s, struct device *d, struct buffer *found)
{
    static uint32_t prompt[1300];
    struct generate_options o = {
        .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
        .max_new_tokens = 6,
        .slots = 2};
    for (size_t t = 0; t < 1300; t++)
        prompt[t] = token[0][t % LENGTH];
    draw(s, d, &o, 1300, prompt, found);
}

// A trainer and what it trains with.
struct bench {
    struct model *model;
    struct trainer trainer;
    struct loss loss;
    struct token_objective objective;
    struct exact_terms exact;
};

static void bench_open(struct bench *b, const struct setting *s, struct device *d,
                       const struct trainer_options *o, const char *loss, int terms)
{
    char kl[120], back[120];
    snprintf(kl, sizeof kl, "%s:0.2", s->other);
    snprintf(back, sizeof back, "%s:0.1", s->model);
    memset(b, 0, sizeof *b);
    b->model = model_open(s->model, &e);
    CHECK(b->model && loss_init(&b->loss, loss, &e) == 0);
    if (trainer_init(&b->trainer, b->model, d, o, 100, &e) < 0)
        printf("# %s\n", e.text);
    token_objective_init(&b->objective, &b->loss, b->model, d, o);
    b->objective.entropy = 1;
    if (!terms)
        return;
    CHECK(exact_terms_open(&b->exact, kl, back, 0.3, b->model, d, &e) == 0);
    b->objective.exact = &b->exact;
}

static void bench_close(struct bench *b)
{
    token_objective_release(&b->objective);
    exact_terms_release(&b->exact);
    trainer_release(&b->trainer);
    model_close(b->model);
}

static void train(struct bench *b, int steps, struct buffer *found)
{
    struct trainer_example example[SEQUENCES] = {{.weight = NULL}};
    struct step_report report;
    for (size_t i = 0; i < SEQUENCES; i++)
        example[i].sequence = sequence[i];
    for (int i = 0; i < steps; i++) {
        int result =
            trainer_step(&b->trainer, example, SEQUENCES, &b->objective.objective, &report, &e);
        if (result < 0)
            printf("# %s\n", e.text);
        CHECK(result == 0);
        report.seconds = 0;
        keep(found, &report, sizeof report);
    }
}

static void keep_values(const struct model *m, struct buffer *found)
{
    for (size_t i = 0; i < m->n_parameters; i++) {
        size_t n = m->parameter[i].rows * m->parameter[i].cols;
        float *x = calloc(n, sizeof *x);
        CHECK(model_values(m, i, x, &e) == 0);
        keep(found, x, n * sizeof *x);
        free(x);
    }
}

static void keep_file(const struct setting *s, const char *name, struct buffer *found)
{
    struct buffer file;
    int fd = openat(s->out.fd, name, O_RDONLY | O_CLOEXEC);
    buffer_init(&file, 0);
    CHECK(fd >= 0 && io_read_fd(fd, name, &file, &e) == 0);
    keep(found, file.data, file.size);
    buffer_release(&file);
    close(fd);
}

static struct trainer_options training_options(int optim)
{
    struct trainer_options o = trainer_defaults;
    o.optim = optim;
    o.learning_rate = 1e-2;
    o.weight_decay = 0.1;
    o.max_grad_norm = 0.2;
    o.ema = 0.7;
    o.micro_batch_tokens = 50;
    return o;
}

static void one_step(const struct setting *s, struct device *d, struct buffer *found)
{
    struct trainer_options o = training_options(OPTIMIZER_ADAMW);
    struct bench b;
    o.micro_batch_tokens = 1000;
    bench_open(&b, s, d, &o, "nll", 0);
    train(&b, 1, found);
    keep_values(b.model, found);
    bench_close(&b);
}

// Steps, a state, a step more; and again from the state.
static void training(const struct setting *s, struct device *d, struct buffer *found)
{
    struct trainer_options o = training_options(OPTIMIZER_ADAMW);
    json_t *settings = json_pack("{s:i}", "a", 1), *then;
    struct bench b;
    for (int round = 0; round < 2; round++) {
        bench_open(&b, s, d, &o, "nll", 1);
        if (round == 0) {
            train(&b, 2, found);
            CHECK(checkpoint_save(s->out.fd, "state", &b.trainer, settings, &e) == 0);
            keep_file(s, "state", found);
        } else {
            CHECK(checkpoint_load(s->out.fd, "state", &b.trainer, &then, &e) == 0);
            json_decref(then);
        }
        train(&b, 1, found);
        keep_values(b.model, found);
        CHECK(model_save(b.model, s->out.fd, round ? "bf16" : NULL, &e) == 0);
        keep_file(s, "model.safetensors", found);
        bench_close(&b);
    }
    json_decref(settings);
}

// The other optimizers, losses by token and by sequence, a temperature.
static void other_training(const struct setting *s, struct device *d, struct buffer *found)
{
    for (int optim = OPTIMIZER_RMSPROP; optim <= OPTIMIZER_SGD; optim++) {
        struct trainer_options o = training_options(optim);
        struct bench b;
        o.temperature = 1.4;
        bench_open(&b, s, d, &o, optim == OPTIMIZER_SGD ? "dft" : "nll", 0);
        train(&b, 2, found);
        keep_values(b.model, found);
        bench_close(&b);
    }
}

static void rewards(const struct setting *s, struct device *d, struct buffer *found)
{
    static const struct bradley_terry loss = {LEVEL_SEQUENCE, PAD_HOLD, REDUCTION_PAIRS};
    struct model *base = model_open(s->model, &e);
    struct scratch folder;
    scratch_make(&folder);
    CHECK(model_save_as_reward(base, folder.fd, 35, &e) == 0);
    model_close(base);
    struct trainer_options o = training_options(OPTIMIZER_ADAMW);
    struct trainer_example example[SEQUENCES] = {{.weight = NULL}};
    struct trainer t;
    struct reward_objective objective;
    struct reward_scorer scorer;
    struct step_report report;
    struct model *m = model_open_reward(folder.path, &e);
    size_t n = wanted(), where;
    float reward[SEQUENCES * LENGTH], attention[SEQUENCES * LENGTH];
    CHECK(m && trainer_init(&t, m, d, &o, 100, &e) == 0);
    reward_objective_init(&objective, &loss);
    for (size_t i = 0; i < SEQUENCES; i++)
        example[i].sequence = sequence[i];
    for (int i = 0; i < 2; i++) {
        CHECK(trainer_step(&t, example, SEQUENCES, &objective.objective, &report, &e) == 0);
        report.seconds = 0;
        keep(found, &report, sizeof report);
    }
    reward_scorer_init(&scorer, m, d);
    CHECK(reward_scorer_run(&scorer, sequence, SEQUENCES, reward, attention, &where, &e) == 0);
    keep(found, reward, n * sizeof *reward);
    keep(found, attention, n * sizeof *attention);
    keep_values(m, found);
    reward_scorer_release(&scorer);
    reward_objective_release(&objective);
    trainer_release(&t);
    model_close(m);
    scratch_remove(&folder);
}

typedef void scenario(const struct setting *s, struct device *d, struct buffer *found);

// The same bytes on both devices.
static void compare(const struct setting *s, scenario *run)
{
    struct device cpu, *fenced;
    struct buffer want, found;
    buffer_init(&want, 0);
    buffer_init(&found, 0);
    CHECK(device_open(&cpu, "cpu", s->products, &e) == 0);
    run(s, &cpu, &want);
    device_release(&cpu);
    if (!(fenced = fence_open(s->products, &e))) {
        CHECK(!"opened");
        return;
    }
    run(s, fenced, &found);
    fence_close();
    CHECK(want.size > 0 && found.size == want.size);
    CHECK(found.size != want.size || !memcmp(found.data, want.data, want.size));
    buffer_release(&want);
    buffer_release(&found);
}

// Saves the family's model, its weights in half precision where `half`.
static void save_family(const char *name, const char *to, int half)
{
    size_t i = 0;
    while (strcmp(small_families[i].name, name) != 0)
        i++;
    struct reference r;
    struct scratch s;
    int fd = -1;
    if (small_open(&r, &s, &small_families[i]) == 0) {
        CHECK(mkdir(to, 0777) == 0);
        fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(model_save(r.model, fd, half ? "bf16" : NULL, &e) == 0);
    }
    close(fd);
    small_close(&r, &s);
}

static void on_family(const char *name, int half, scenario *const *run, size_t n)
{
    struct scratch folder;
    struct setting s;
    scratch_make(&folder);
    scratch_make(&s.out);
    snprintf(s.model, sizeof s.model, "%s/model", folder.path);
    snprintf(s.other, sizeof s.other, "%s/other", folder.path);
    save_family(name, s.model, half);
    save_family("llama_bias", s.other, !half);
    s.products = half ? PRODUCTS_BF16 : PRODUCTS_FP32;
    for (size_t i = 0; i < n; i++)
        compare(&s, run[i]);
    scratch_remove(&s.out);
    scratch_remove(&folder);
}

static void check_family(const struct small_family *f)
{
    static scenario *const runs[] = {scoring, one_step};
    on_family(f->name, (f - small_families) % 2, runs, 2);
}

static void drawing_of_bf16_keys(const struct setting *s, struct device *d, struct buffer *found)
{
    d->kv = DTYPE_BF16;
    drawing(s, d, found);
}

static void samples(void)
{
    static scenario *const rounded[] = {drawing_of_bf16_keys};
    on_family("llama_longrope", 0, rounded, 1);
    static scenario *const runs[] = {drawing};
    on_family("llama_longrope", 1, runs, 1);
    on_family("phi3_longrope", 1, runs, 1);
    on_family("falcon_alibi", 0, runs, 1);
}

static void runs_and_states(void)
{
    static scenario *const runs[] = {training};
    on_family("gpt2", 1, runs, 1);
    on_family("gemma2", 0, runs, 1);
}

static void optimizers_and_losses(void)
{
    static scenario *const runs[] = {other_training};
    on_family("gemma2", 1, runs, 1);
}

static void reward_heads(void)
{
    static scenario *const runs[] = {rewards};
    on_family("qwen3", 0, runs, 1);
}

static void caches_that_grow(void)
{
    static scenario *const runs[] = {long_drawing};
    on_family("falcon_alibi", 0, runs, 1);
}

int main(void)
{
    make_sequences();
    RUN(samples);
    RUN(caches_that_grow);
    RUN(runs_and_states);
    RUN(optimizers_and_losses);
    RUN(reward_heads);
    each_family("fenced", check_family);
    return test_end();
}
