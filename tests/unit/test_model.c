// SPDX-License-Identifier: MIT
// The decoder against reference values (transformers in float64) and against itself.
#include "family_kit.h"

#include "ops/reference.h"

// All sequences of the case in one batch; mask 0: every position.
static size_t pack_all(struct reference *r, struct packer *p, int trained)
{
    const json_t *sequences = json_object_get(r->json, "sequences");
    size_t total = 0, wanted = 0;
    for (size_t i = 0; i < json_array_size(sequences); i++)
        total += json_array_size(json_object_get(json_array_get(sequences, i), "tokens"));
    CHECK(packer_init(p, &r->arena, total, json_array_size(sequences), &e) == 0);
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *s = json_array_get(sequences, i);
        uint32_t *token;
        uint8_t *mask;
        size_t n = load_tokens(json_object_get(s, "tokens"), &token);
        load_mask(json_object_get(s, "mask"), &mask);
        wanted += packer_add(
            p, &(struct sequence){.token = token, .mask = trained ? mask : NULL, .n = n});
        free(token);
        free(mask);
    }
    return wanted;
}

static void check_scores(struct reference *r)
{
    struct packer p;
    struct batch b;
    size_t wanted = pack_all(r, &p, 0);
    packer_batch(&p, &b);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0);
    float *logp = calloc(wanted, sizeof *logp), *entropy = calloc(wanted, sizeof *entropy);
    struct head_result out = {.logp = logp, .entropy = entropy};
    CHECK(head_score(&r->device, r->model, r->decoder.hidden, p.target, wanted, NULL, &out, &e) ==
          0);
    const json_t *sequences = json_object_get(r->json, "sequences");
    double limit = tolerance(number_at(r->json, "fp32_noise", "logprob"));
    double limit_entropy = tolerance(number_at(r->json, "fp32_noise", "entropy"));
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *s = json_array_get(sequences, i);
        const json_t *expected = json_object_get(s, "logprob");
        for (size_t t = 0; t < json_array_size(expected); t++, at++) {
            CHECK_NEAR(logp[at], json_number_value(json_array_get(expected, t)), limit);
            CHECK_NEAR(entropy[at],
                       json_number_value(json_array_get(json_object_get(s, "entropy"), t)),
                       limit_entropy);
        }
    }
    CHECK(at == wanted);
    free(logp);
    free(entropy);
}

static void check_logits(struct reference *r)
{
    const struct safetensors_entry *t = safetensors_find(&r->expected, "logits");
    const float *expected = (const float *)safetensors_data(&r->expected, t);
    const json_t *s = json_array_get(json_object_get(r->json, "sequences"), 0);
    uint32_t *token;
    size_t n = load_tokens(json_object_get(s, "tokens"), &token), vocab = r->model->config.vocab;
    struct packer p;
    struct batch b;
    CHECK(packer_init(&p, &r->arena, n + 1, 1, &e) == 0);
    packer_add(&p, &(struct sequence){.token = token,
                                      .n = n + 1,
                                      .beyond = 1}); // one more, so that the last row is wanted too
    packer_batch(&p, &b);
    float *logits = calloc(n * vocab, sizeof *logits);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0);
    CHECK(head_logits(&r->device, r->model, r->decoder.hidden, n, logits, &e) == 0);
    double worst = 0, limit = tolerance(number_at(r->json, "fp32_noise", "logits"));
    for (size_t i = 0; i < n * vocab; i++)
        worst = fmax(worst, fabs(logits[i] - expected[i]));
    CHECK_NEAR(worst, 0, limit);
    printf("# %s: logits off by %.2g (allowed %.2g)\n", r->path, worst, limit);
    free(token);
    free(logits);
}

static int mean_nll(void *arg, size_t first, size_t n, const float *logp, float *c, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        c[i] = -1.0f / (float)*(size_t *)arg;
    return 0;
}

static void check_gradients(struct reference *r)
{
    struct packer p;
    struct batch b;
    size_t wanted = pack_all(r, &p, 1);
    packer_batch(&p, &b);
    CHECK(model_train(r->model, &e) == 0);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 1, &e) == 0);
    float *logp = calloc(wanted, sizeof *logp);
    float *dhidden = calloc(wanted * r->model->config.end_width, sizeof *dhidden);
    struct head_result out = {.logp = logp};
    CHECK(head_train(&r->device, r->model, r->decoder.hidden, p.target, wanted, NULL, &out,
                     mean_nll, &wanted, dhidden, &e) == 0);
    CHECK(decoder_backward(&r->decoder, &b, dhidden, &e) == 0);
    double loss = 0, squares = 0;
    for (size_t i = 0; i < wanted; i++)
        loss -= logp[i] / (double)wanted;
    CHECK_NEAR(loss, number_at(r->json, "mean_nll", NULL), 2e-5);
    size_t compared = 0;
    double worst = 0, limit = 20 * number_at(r->json, "fp32_noise", "grad_max");
    for (size_t i = 0; i < r->model->n_parameters; i++) {
        const struct parameter *q = &r->model->parameter[i];
        char name[300];
        snprintf(name, sizeof name, "grad.%s", q->name);
        const struct safetensors_entry *t = safetensors_find(&r->expected, name);
        CHECK(t != NULL);
        if (!t)
            continue;
        const float *expected = (const float *)safetensors_data(&r->expected, t);
        const float *got = r->model->gradient + q->offset;
        for (size_t k = 0; k < q->rows * q->cols; k++) {
            worst = fmax(worst, fabs(got[k] - expected[k]));
            squares += (double)got[k] * got[k];
        }
        compared++;
    }
    CHECK(compared == r->model->n_parameters);
    CHECK_NEAR(worst, 0, fmax(limit, 1e-6));
    CHECK_NEAR(sqrt(squares), number_at(r->json, "grad_norm", NULL), 1e-4);
    printf("# %s: %zu gradients off by %.2g (allowed %.2g)\n", r->path, compared, worst, limit);
    free(logp);
    free(dhidden);
}

static void reference_case(const char *path)
{
    struct reference r = {0};
    if (reference_open(&r, path) < 0) {
        CHECK(!"opened");
        return;
    }
    check_logits(&r);
    check_scores(&r);
    check_gradients(&r);
    reference_close(&r);
}

// The whole forward pass in double and in the plainest loops, from the model's description alone:
// the mean negative log-likelihood of all trained tokens with the weights w (laid out as the
// model's masters).
struct plain {
    const struct model *m;
    const double *w;
    double temperature; // 0: 1
};

// A tensor of the model in those weights.
struct view {
    const double *w;             // NULL: not there
    size_t rows, cols, row, col; // how far apart rows and columns are
};

static struct view view_of(const struct plain *p, const struct tensor *t)
{
    if (!t->data)
        return (struct view){0};
    size_t pitch = tensor_pitch(t);
    return (struct view){.w = p->w + ((const float *)t->data - p->m->master),
                         .rows = t->rows,
                         .cols = t->cols,
                         .row = t->transposed ? 1 : pitch,
                         .col = t->transposed ? pitch : 1};
}

static struct view once(const struct plain *p, enum tensor_role role)
{
    return view_of(p, &p->m->globals[role]);
}

static struct view of_layer(const struct plain *p, size_t l, enum tensor_role role)
{
    return view_of(p, &p->m->layer[l][role]);
}

static double *zeros(size_t n)
{
    return calloc(n, sizeof(double));
}

// y [n, w.rows] = x w^T + bias
static void plain_linear(double *y, const double *x, size_t n, struct view w, struct view bias)
{
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < w.rows; o++) {
            double sum = bias.w ? bias.w[o] : 0;
            for (size_t k = 0; k < w.cols; k++)
                sum += x[i * w.cols + k] * w.w[o * w.row + k * w.col];
            y[i * w.rows + o] = sum;
        }
}

// A norm: the tensors may be missing though it is there.
struct plain_norm {
    struct view weight, bias;
    int there;
};

static struct plain_norm norm_of_layer(const struct plain *p, size_t l, enum tensor_role role)
{
    return (struct plain_norm){of_layer(p, l, role), of_layer(p, l, role + 1),
                               p->m->config.has[role]};
}

static struct plain_norm norm_once(const struct plain *p, enum tensor_role role)
{
    return (struct plain_norm){once(p, role), once(p, role + 1), p->m->config.has[role]};
}

// Rows `pitch` apart, in place.
static void plain_norm(const struct model_config *c, double *x, size_t n, size_t pitch,
                       size_t width, struct plain_norm norm)
{
    for (size_t i = 0; i < n && norm.there; i++) {
        double *row = x + i * pitch, mean = 0, squares = 0;
        for (size_t k = 0; k < width && c->norm_centred; k++)
            mean += row[k] / (double)width;
        for (size_t k = 0; k < width; k++)
            squares += (row[k] - mean) * (row[k] - mean) / (double)width;
        for (size_t k = 0; k < width; k++)
            row[k] = (row[k] - mean) / sqrt(squares + (double)c->norm_eps) *
                         (norm.weight.w ? (double)c->norm_offset + norm.weight.w[k] : 1) +
                     (norm.bias.w ? norm.bias.w[k] : 0);
    }
}

static void plain_norm_rows(const struct model_config *c, double *x, size_t n,
                            struct plain_norm norm)
{
    plain_norm(c, x, n, c->hidden, c->hidden, norm);
}

static double plain_activation(enum activation kind, double x)
{
    double out;
    reference_activate(kind, &out, &x, NULL, 1);
    return out;
}

static void plain_rotate(const struct model_config *c, const struct rope_config *r, double *x,
                         size_t n, size_t heads, size_t length)
{
    float f[ROPE_DIMS_MAX / 2];
    size_t half = r->dims / 2;
    config_rope_frequencies(c, r, length, f);
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < heads; h++)
            for (size_t k = 0; k < half; k++) {
                double *head = x + (i * heads + h) * c->head_dim,
                       angle = (c->rope_reversed ? -1 : 1) * (double)i * (double)f[k];
                double *a = head + (c->rope_interleaved ? 2 * k : k), was = *a;
                double *b = c->rope_interleaved ? a + 1 : a + half;
                double cosine = cos(angle) * r->attention_factor;
                double sine = sin(angle) * r->attention_factor;
                *a = was * cosine - *b * sine;
                *b = *b * cosine + was * sine;
            }
}

// What ALiBi adds to the raw score of head h with key j.
static double plain_bias(const struct plain *p, size_t h, size_t j)
{
    return p->m->config.alibi ? (double)p->m->key_bias[h * p->m->key_bias_positions + j] : 0;
}

static double plain_score(const struct plain *p, size_t l, const double *q, const double *k,
                          size_t h, size_t j)
{
    const struct model_config *c = &p->m->config;
    double score = plain_bias(p, h, j), softcap = (double)c->score_softcap;
    for (size_t d = 0; d < c->head_dim; d++)
        score += q[d] * k[d];
    score *= (double)c->layer[l].scale;
    return softcap > 0 ? softcap * tanh(score / softcap) : score;
}

static void plain_attention(const struct plain *p, size_t l, double *out, const double *q,
                            const double *k, const double *v, size_t n)
{
    const struct model_config *c = &p->m->config;
    size_t dim = c->head_dim, window = c->layer[l].window;
    double *weight = zeros(n);
    memset(out, 0, n * c->heads * dim * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < c->heads; h++) {
            size_t kv = h / (c->heads / c->kv_heads),
                   first = window && i >= window ? i + 1 - window : 0;
            const double *row = q + (i * c->heads + h) * dim;
            double sum = 0;
            for (size_t j = first; j <= i; j++)
                sum += weight[j] =
                    exp(plain_score(p, l, row, k + (j * c->kv_heads + kv) * dim, h, j));
            for (size_t j = first; j <= i; j++)
                for (size_t d = 0; d < dim; d++)
                    out[(i * c->heads + h) * dim + d] +=
                        weight[j] / sum * v[(j * c->kv_heads + kv) * dim + d];
        }
    free(weight);
}

// Norms of the heads of queries (key = 0) or keys.
static void plain_head_norm(const struct plain *p, size_t l, double *x, size_t n, int key)
{
    const struct model_config *c = &p->m->config;
    struct plain_norm norm = norm_of_layer(p, l, key ? ROLE_KEY_NORM : ROLE_QUERY_NORM);
    size_t heads = key ? c->kv_heads : c->heads, dim = c->head_dim;
    if (c->head_norm == HEAD_NORM_WIDE)
        plain_norm(c, x, n, heads * dim, heads * dim, norm);
    for (size_t h = 0; h < heads && c->head_norm != HEAD_NORM_WIDE; h++) {
        if (c->head_norm == HEAD_NORM_EACH)
            norm.weight =
                view_of(p, &p->m->head_norm[l * (c->heads + c->kv_heads) + key * c->heads + h]);
        if (c->head_norm != HEAD_NORM_NONE)
            plain_norm(c, x + h * dim, n, heads * dim, dim, norm);
    }
}

static void plain_clip(const struct model_config *c, double *x, size_t n)
{
    if (c->clip_qkv > 0)
        reference_clamp(x, (double)c->clip_qkv, n);
}

static void plain_project(const struct plain *p, size_t l, const double *x, size_t n, double *q,
                          double *k, double *v)
{
    const struct model_config *c = &p->m->config;
    if (c->fusion != FUSION_GROUPS) {
        plain_linear(q, x, n, of_layer(p, l, ROLE_QUERY), of_layer(p, l, ROLE_QUERY_BIAS));
        plain_linear(k, x, n, of_layer(p, l, ROLE_KEY), of_layer(p, l, ROLE_KEY_BIAS));
        plain_linear(v, x, n, of_layer(p, l, ROLE_VALUE), of_layer(p, l, ROLE_VALUE_BIAS));
        return;
    }
    size_t queries = c->heads / c->kv_heads * c->head_dim, d = c->head_dim;
    size_t group = queries + 2 * d, width = c->kv_heads * group;
    double *fused = zeros(n * width);
    plain_linear(fused, x, n, of_layer(p, l, ROLE_QKV), of_layer(p, l, ROLE_QKV_BIAS));
    for (size_t i = 0; i < n * c->kv_heads; i++) {
        memcpy(q + i * queries, fused + i * group, queries * sizeof *q);
        memcpy(k + i * d, fused + i * group + queries, d * sizeof *k);
        memcpy(v + i * d, fused + i * group + queries + d, d * sizeof *v);
    }
    free(fused);
}

static void plain_scale(const struct model_config *c, double *q, size_t n)
{
    size_t width = c->heads * c->head_dim;
    for (size_t i = 0; i < n && c->query_period > 0; i++) {
        double behind = floor((double)i / c->query_period);
        for (size_t k = 0; k < width; k++)
            q[i * width + k] *= (double)(float)(1 + c->query_beta * log1p(behind));
    }
}

// What attention (or the MLP) adds to the residual stream, from the normed rows x.
static double *plain_attend(const struct plain *p, size_t l, const double *x, size_t n,
                            size_t length)
{
    const struct model_config *c = &p->m->config;
    double *q = zeros(n * c->heads * c->head_dim), *o = zeros(n * c->heads * c->head_dim);
    double *k = zeros(n * c->kv_heads * c->head_dim), *v = zeros(n * c->kv_heads * c->head_dim);
    double *y = zeros(n * c->hidden);
    plain_project(p, l, x, n, q, k, v);
    plain_clip(c, q, n * c->heads * c->head_dim);
    plain_clip(c, k, n * c->kv_heads * c->head_dim);
    plain_clip(c, v, n * c->kv_heads * c->head_dim);
    for (int step = 0; step < 2; step++)
        if (step == c->head_norm_late) {
            plain_head_norm(p, l, q, n, 0);
            plain_head_norm(p, l, k, n, 1);
        } else if (c->layer[l].rope >= 0) {
            plain_scale(c, q, n);
            plain_rotate(c, &c->rope[c->layer[l].rope], q, n, c->heads, length);
            plain_rotate(c, &c->rope[c->layer[l].rope], k, n, c->kv_heads, length);
        }
    plain_attention(p, l, o, q, k, v, n);
    plain_linear(y, o, n, of_layer(p, l, ROLE_ATTENTION_OUT),
                 of_layer(p, l, ROLE_ATTENTION_OUT_BIAS));
    if (!c->norm_sums)
        plain_norm_rows(c, y, n, norm_of_layer(p, l, ROLE_ATTENTION_POST_NORM));
    free(q), free(k), free(v), free(o);
    return y;
}

static double *plain_mlp(const struct plain *p, size_t l, const double *x, size_t n)
{
    const struct model_config *c = &p->m->config;
    struct view gate = of_layer(p, l, ROLE_GATE);
    double *g = zeros(n * c->intermediate), *u = zeros(n * c->intermediate);
    double *y = zeros(n * c->hidden);
    plain_linear(u, x, n, of_layer(p, l, ROLE_UP), of_layer(p, l, ROLE_UP_BIAS));
    if (gate.w)
        plain_linear(g, x, n, gate, of_layer(p, l, ROLE_GATE_BIAS));
    for (size_t i = 0; i < n * c->intermediate; i++)
        u[i] = gate.w ? plain_activation(c->activation, g[i]) * u[i]
                      : plain_activation(c->activation, u[i]);
    plain_linear(y, u, n, of_layer(p, l, ROLE_DOWN), of_layer(p, l, ROLE_DOWN_BIAS));
    if (!c->norm_sums)
        plain_norm_rows(c, y, n, norm_of_layer(p, l, ROLE_MLP_POST_NORM));
    free(g), free(u);
    return y;
}

static double *plain_copy(const double *x, size_t n)
{
    double *y = zeros(n);
    memcpy(y, x, n * sizeof *y);
    return y;
}

static void plain_add(const struct plain *p, size_t l, double *x, double *y, size_t n,
                      enum tensor_role post_norm)
{
    const struct model_config *c = &p->m->config;
    for (size_t i = 0; i < n * c->hidden; i++)
        x[i] += (double)c->residual_scale * y[i];
    if (c->norm_sums)
        plain_norm_rows(c, x, n, norm_of_layer(p, l, post_norm));
    free(y);
}

static void plain_layer(const struct plain *p, size_t l, double *x, size_t n, size_t length)
{
    const struct model_config *c = &p->m->config;
    double *normed = plain_copy(x, n * c->hidden), *second;
    plain_norm_rows(c, normed, n, norm_of_layer(p, l, ROLE_ATTENTION_NORM));
    double *added = plain_attend(p, l, normed, n, length);
    if (!c->parallel)
        plain_add(p, l, x, added, n, ROLE_ATTENTION_POST_NORM);
    int shared = c->parallel && !c->has[ROLE_MLP_NORM];
    second = plain_copy(shared ? normed : x, n * c->hidden);
    plain_norm_rows(c, second, n, norm_of_layer(p, l, ROLE_MLP_NORM));
    if (c->parallel)
        plain_add(p, l, x, added, n, ROLE_ATTENTION_POST_NORM);
    plain_add(p, l, x, plain_mlp(p, l, second, n), n, ROLE_MLP_POST_NORM);
    free(normed), free(second);
}

// The rows that go into the first layer, [n, hidden].
static double *plain_enter(const struct plain *p, const struct sequence *s, size_t n)
{
    const struct model_config *c = &p->m->config;
    struct view table = once(p, ROLE_EMBEDDING), positions = once(p, ROLE_POSITIONS);
    struct view in = once(p, ROLE_PROJECT_IN);
    double *x = zeros(n * c->hidden), *e = zeros(n * table.cols);
    for (size_t i = 0; i < n * table.cols; i++)
        e[i] = table.w[s->token[i / table.cols] * table.row + i % table.cols] *
               (double)c->embedding_scale;
    if (in.w)
        plain_linear(x, e, n, in, (struct view){0});
    else
        memcpy(x, e, n * c->hidden * sizeof *x);
    for (size_t i = 0; i < n * c->hidden && positions.w; i++)
        x[i] += positions.w[(i / c->hidden + c->position_offset) * positions.row + i % c->hidden];
    plain_norm_rows(c, x, n, norm_once(p, ROLE_EMBEDDING_NORM));
    free(e);
    return x;
}

// logp [n - 1] of the tokens after the first.
static void plain_logp(const struct plain *p, const struct sequence *s, double *logp)
{
    const struct model_config *c = &p->m->config;
    size_t n = s->n - 1;
    double *x = plain_enter(p, s, n), *logits = zeros(n * c->vocab),
           softcap = (double)c->logit_softcap;
    struct view out = once(p, ROLE_PROJECT_OUT);
    for (size_t l = 0; l < c->layers; l++)
        plain_layer(p, l, x, n, s->n);
    plain_norm_rows(c, x, n, norm_once(p, ROLE_FINAL_NORM));
    if (out.w) {
        double *wide = x;
        x = zeros(n * out.rows);
        plain_linear(x, wide, n, out, (struct view){0});
        free(wide);
    }
    plain_linear(logits, x, n, once(p, ROLE_HEAD), once(p, ROLE_HEAD_BIAS));
    for (size_t i = 0; i < n; i++) {
        double *z = logits + i * c->vocab, sum = 0;
        for (size_t k = 0; k < c->vocab; k++) {
            z[k] *= (double)c->logit_scale;
            z[k] = softcap > 0 ? softcap * tanh(z[k] / softcap) : z[k];
            z[k] /= p->temperature > 0 ? p->temperature : 1;
            sum += exp(z[k]);
        }
        logp[i] = z[s->token[i + 1]] - log(sum);
    }
    free(x), free(logits);
}

static double plain_nll(const struct plain *p, const struct sequence *s)
{
    double *logp = zeros(s->n), nll = 0;
    if (s->n > 1)
        plain_logp(p, s, logp);
    for (size_t i = 1; i < s->n; i++)
        nll -= !s->mask || s->mask[i] ? logp[i - 1] : 0;
    free(logp);
    return nll;
}

static double plain_loss(const struct plain *p, const struct examples *x)
{
    double sum = 0;
    for (size_t i = 0; i < x->n; i++)
        sum += plain_nll(p, &x->example[i].sequence);
    return sum / (double)x->trained;
}

static double *masters(const struct model *m)
{
    double *w = zeros(m->n_flat);
    for (size_t i = 0; i < m->n_flat; i++)
        w[i] = (double)m->master[i];
    return w;
}

// Central differences of the double forward pass against the fp32 gradient: some elements of each
// tensor, and each tensor as a whole along a direction of signs. `limit`: of one element.
static void check_differences(struct model *m, struct examples *x, double temperature, double limit)
{
    double *w = masters(m), h = 1e-5;
    struct plain p = {m, w, temperature};
    struct rng rng;
    rng_init(&rng, 1, RNG_TEST, 0, 0);
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *q = &m->parameter[i];
        size_t size = q->rows * q->cols;
        for (int k = 0; k < 6; k++) {
            size_t at = q->offset + rng_below(&rng, size);
            double was = w[at];
            w[at] = was + h;
            double up = plain_loss(&p, x);
            w[at] = was - h;
            double down = plain_loss(&p, x);
            w[at] = was;
            CHECK_NEAR((double)m->gradient[at], (up - down) / (2 * h), limit);
        }
        double along = 0, sides[2];
        double *sign = calloc(size, sizeof *sign);
        for (size_t k = 0; k < size; k++) {
            sign[k] = rng_u32(&rng) & 1 ? h : -h;
            along += (double)m->gradient[q->offset + k] * sign[k] / h;
        }
        for (int side = 0; side < 2; side++) {
            for (size_t k = 0; k < size; k++)
                w[q->offset + k] += side ? -2 * sign[k] : sign[k];
            sides[side] = plain_loss(&p, x);
        }
        for (size_t k = 0; k < size; k++)
            w[q->offset + k] = (double)m->master[q->offset + k];
        CHECK_NEAR(along, (sides[0] - sides[1]) / (2 * h), 7 * limit);
        free(sign);
    }
    free(w);
}

static void check_plain_loss(struct reference *r, struct examples *x)
{
    double *w = masters(r->model);
    struct plain p = {r->model, w, 1};
    CHECK_NEAR(plain_loss(&p, x), number_at(r->json, "mean_nll", NULL), 1e-7); // eps is an fp32
    free(w);
}

// The model of the tree: values computed elsewhere in double, gradients by differences.
static void matches_fixture(void)
{
    struct reference r;
    if (reference_open_fixture(&r) < 0) {
        CHECK(!"opened");
        return;
    }
    struct examples x = load_examples(json_object_get(r.json, "sequences"));
    for (size_t i = 0; i < x.n; i++) {
        const struct sequence *s = &x.example[i].sequence;
        const json_t *want = json_array_get(json_object_get(r.json, "sequences"), i);
        float logp[64], entropy[64];
        CHECK(score_one(&r, s->token, s->n, logp, entropy) == 0);
        for (size_t t = 0; t + 1 < s->n; t++) {
            CHECK_NEAR(logp[t], element(json_object_get(want, "logprob"), t), 5e-6);
            CHECK_NEAR(entropy[t], element(json_object_get(want, "entropy"), t), 5e-6);
        }
    }
    struct trainer t;
    struct trainer_options o = trainer_defaults;
    struct loss loss;
    struct token_objective objective;
    struct step_report report;
    o.learning_rate = 0;
    o.scheduler = SCHEDULE_CONSTANT;
    CHECK(loss_init(&loss, NULL, &e) == 0);
    CHECK(trainer_init(&t, r.model, &r.device, &o, 0, &e) == 0);
    token_objective_init(&objective, &loss, r.model, &r.device, &o);
    CHECK(trainer_step(&t, x.example, x.n, &objective.objective, &report, &e) == 0);
    CHECK(report.trained == (size_t)number_at(r.json, "n_trained", NULL));
    CHECK_NEAR(report.loss, number_at(r.json, "mean_nll", NULL), 1e-6);
    check_plain_loss(&r, &x);
    check_differences(r.model, &x, 1, 3e-6);
    token_objective_release(&objective);
    trainer_release(&t);
    free_examples(&x);
    reference_close(&r);
}

// Sequences of the small models; the first two begin alike.
static const uint32_t small_tokens[4][24] = {
    {1, 5, 9, 14, 30, 7, 7, 3, 22, 36, 11, 4, 8, 19, 21, 2, 33, 6, 10, 17, 25, 12, 28, 5},
    {1, 5, 9, 14, 30, 7, 7, 3, 22, 36, 11, 4, 8, 19, 21, 2, 33, 13, 18, 0, 31},
    {1, 20, 21, 22, 23, 24, 3},
    {9, 8}};
static const size_t small_lengths[4] = {24, 21, 7, 2};

static struct sequence small_sequence(size_t i)
{
    return (struct sequence){.token = small_tokens[i], .n = small_lengths[i]};
}

// After a pass: it held no more than was told, but for the blocks of its sequences that are filled
// in part, and what was told is not far from it.
static void check_work(const struct reference *r, const struct batch *b, int save)
{
    size_t kept = save ? r->model->config.layers - r->decoder.remade : 0;
    size_t told = decoder_work_bytes(r->model, b->n, b->n_wanted, kept);
    size_t blocks =
        2 * (kept ? kept : 1) * b->n_segments * decoder_block_elements(r->model) * sizeof(float);
    struct arena_mark held = arena_mark(&r->decoder.arena);
    CHECK(held.used_before + held.used <= told + blocks);
    CHECK(2 * (held.used_before + held.used) + 16384 >= told);
}

// Hidden states of sequences first .. first+n-1 in one batch, [n_wanted, hidden]; to be freed.
static float *states_of(struct reference *r, size_t first, size_t n, size_t share, int save)
{
    struct packer p;
    struct batch b;
    arena_clear(&r->arena);
    CHECK(packer_init(&p, &r->arena, 100, 4, &e) == 0);
    p.share = share;
    for (size_t i = first; i < first + n; i++) {
        struct sequence s = small_sequence(i);
        packer_add(&p, &s);
    }
    packer_batch(&p, &b);
    size_t size = b.n_wanted * r->model->config.end_width;
    float *out = calloc(size, sizeof *out);
    if (decoder_forward(&r->decoder, &b, NULL, save, &e) == 0)
        memcpy(out, r->decoder.hidden, size * sizeof *out);
    else
        CHECK(!"forward");
    check_work(r, &b, save);
    return out;
}

static void same_bits(const float *a, const float *b, size_t n)
{
    CHECK(memcmp(a, b, n * sizeof *a) == 0);
}

// Packed, shared, kept for the way back, with any number of threads: the same bits as alone.
static void check_company(struct reference *r)
{
    size_t width = r->model->config.end_width, at = 0;
    size_t share = rope_same_up_to(&r->model->config);
    float *packed = states_of(r, 0, 4, 0, 0), *shared = states_of(r, 0, 4, share, 0);
    float *saved = states_of(r, 0, 4, 0, 1);
    size_t rows = 23 + 20 + 6 + 1;
    same_bits(packed, shared, rows * width);
    same_bits(packed, saved, rows * width);
    for (int threads = 1; threads <= 3; threads += 2) {
        CHECK(threads_set(threads, &e) == 0);
        float *again = states_of(r, 0, 4, 0, 0);
        same_bits(packed, again, rows * width);
        free(again);
    }
    CHECK(threads_set(2, &e) == 0);
    for (size_t i = 0; i < 4; i++) {
        float *alone = states_of(r, i, 1, 0, 0);
        same_bits(packed + at * width, alone, (small_lengths[i] - 1) * width);
        at += small_lengths[i] - 1;
        free(alone);
    }
    free(packed);
    free(shared);
    free(saved);
}

// A part of sequence 0 through a cache, wanting its last row; its `reach` is that of the whole.
static void feed(struct reference *r, const struct kv_cache *cache, size_t past, size_t n,
                 size_t reach)
{
    static const uint32_t block[2] = {1, 0};
    struct segment s = {.length = n, .past = past, .block = block, .reach = reach};
    uint32_t position[24], wanted = (uint32_t)n - 1;
    for (size_t i = 0; i < n; i++)
        position[i] = (uint32_t)(past + i);
    struct batch b = {.n = n,
                      .token = small_tokens[0] + past,
                      .position = position,
                      .segment = &s,
                      .n_segments = 1,
                      .wanted = &wanted,
                      .n_wanted = 1};
    CHECK(decoder_forward(&r->decoder, &b, cache, 0, &e) == 0);
}

// Token after token through the KV cache.
static void check_cache(struct reference *r)
{
    size_t stride = 2 * decoder_block_elements(r->model), width = r->model->config.end_width;
    size_t layers = r->model->config.layers, n = small_lengths[0];
    struct kv_cache cache = {calloc(layers * stride, sizeof(float)),
                             calloc(layers * stride, sizeof(float)), stride};
    float *whole = states_of(r, 0, 1, 0, 0);
    feed(r, &cache, 0, 5, n);
    same_bits(r->decoder.hidden, whole + 4 * width, width);
    for (size_t t = 5; t + 1 < n; t++) {
        feed(r, &cache, t, 1, n);
        same_bits(r->decoder.hidden, whole + t * width, width);
    }
    free(whole);
    free(cache.k);
    free(cache.v);
}

// Forward, loss and way back of sequences first .. first+n-1: adds to the gradients.
static void add_gradients(struct reference *r, size_t first, size_t n, size_t trained, float *logp)
{
    struct packer p;
    struct batch b;
    arena_clear(&r->arena);
    CHECK(packer_init(&p, &r->arena, 100, 4, &e) == 0);
    for (size_t i = first; i < first + n; i++) {
        struct sequence s = small_sequence(i);
        packer_add(&p, &s);
    }
    packer_batch(&p, &b);
    struct head_result out = {.logp = logp};
    float *dhidden = calloc(b.n_wanted * r->model->config.end_width, sizeof *dhidden);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 1, &e) == 0);
    CHECK(head_train(&r->device, r->model, r->decoder.hidden, p.target, b.n_wanted, NULL, &out,
                     mean_nll, &trained, dhidden, &e) == 0);
    CHECK(decoder_backward(&r->decoder, &b, dhidden, &e) == 0);
    check_work(r, &b, 1);
    free(dhidden);
}

// The gradients of all sequences: any threads the same bits, any split the same sums.
static void check_splits(struct reference *r, size_t trained, float *logp)
{
    struct model *m = r->model;
    float *first = malloc(m->n_flat * sizeof *first);
    for (int threads = 1; threads <= 2; threads++) {
        CHECK(threads_set(threads, &e) == 0);
        CHECK(model_clear_gradient(m, &e) == 0);
        add_gradients(r, 0, 4, trained, logp);
        if (threads == 1)
            memcpy(first, m->gradient, m->n_flat * sizeof *first);
        same_bits(first, m->gradient, m->n_flat);
    }
    // However many layers are computed again on the way back.
    for (size_t remade = 1; remade < m->config.layers; remade++) {
        r->decoder.remade = remade;
        CHECK(model_clear_gradient(m, &e) == 0);
        add_gradients(r, 0, 4, trained, logp);
        same_bits(first, m->gradient, m->n_flat);
    }
    r->decoder.remade = 0;
    CHECK(model_clear_gradient(m, &e) == 0);
    for (size_t i = 0; i < 4; i++)
        add_gradients(r, i, 1, trained, NULL);
    double worst = 0;
    for (size_t i = 0; i < m->n_flat; i++)
        worst = fmax(worst, fabs((double)first[i] - (double)m->gradient[i]) /
                                fmax(1, fabs((double)first[i])));
    CHECK_NEAR(worst, 0, 2e-5);
    free(first);
}

static void check_against_plain(struct reference *r, const float *logp)
{
    double *w = masters(r->model), want[32], worst = 0;
    struct plain p = {r->model, w, 1};
    for (size_t i = 0; i < 4; i++) {
        struct sequence s = small_sequence(i);
        plain_logp(&p, &s, want);
        for (size_t t = 0; t + 1 < s.n; t++)
            worst = fmax(worst, fabs((double)*logp++ - want[t]));
    }
    CHECK_NEAR(worst, 0, 2e-5);
    free(w);
}

// What the last row gives to all rows of its sequence is a distribution.
static void check_last_attention(struct reference *r)
{
    struct packer p;
    struct batch b;
    arena_clear(&r->arena);
    CHECK(packer_init(&p, &r->arena, 100, 4, &e) == 0);
    p.after = 1;
    for (size_t i = 0; i < 4; i++) {
        struct sequence s = small_sequence(i);
        packer_add(&p, &s);
    }
    packer_batch(&p, &b);
    float *weight = calloc(b.n, sizeof *weight);
    size_t window = r->model->config.layer[r->model->config.layers - 1].window;
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0 &&
          decoder_last_attention(&r->decoder, &b, weight, &e) == 0);
    for (size_t i = 0; i < 4; i++) {
        double sum = 0;
        for (size_t t = 0; t < small_lengths[i]; t++) {
            float given = weight[b.segment[i].start + t];
            int seen = !window || small_lengths[i] - 1 - t < window;
            CHECK(seen ? given > 0 : given == 0);
            sum += (double)given;
        }
        CHECK_NEAR(sum, 1, 1e-5);
    }
    free(weight);
}

static void check_family(const struct small_family *f)
{
    struct reference r;
    struct scratch s;
    if (small_open(&r, &s, f) == 0) {
        float logp[64];
        struct trainer_example example[2] = {{.sequence = small_sequence(2)},
                                             {.sequence = small_sequence(1)}};
        struct examples x = {example, 2, 0};
        example[1].sequence.n = 14; // long enough for all windows and lengths
        check_company(&r);
        check_cache(&r);
        check_splits(&r, 50, logp);
        check_against_plain(&r, logp);
        check_last_attention(&r);
        // Gradients of sequences 2 and the beginning of 1.
        struct packer p;
        struct batch b;
        arena_clear(&r.arena);
        CHECK(packer_init(&p, &r.arena, 100, 2, &e) == 0);
        for (size_t i = 0; i < 2; i++)
            x.trained += packer_add(&p, &example[i].sequence);
        packer_batch(&p, &b);
        struct head_result out = {.temperature = 0.8f};
        float *dhidden = calloc(b.n_wanted * r.model->config.end_width, sizeof *dhidden);
        CHECK(model_clear_gradient(r.model, &e) == 0);
        CHECK(decoder_forward(&r.decoder, &b, NULL, 1, &e) == 0 &&
              head_train(&r.device, r.model, r.decoder.hidden, p.target, b.n_wanted, NULL, &out,
                         mean_nll, &x.trained, dhidden, &e) == 0 &&
              decoder_backward(&r.decoder, &b, dhidden, &e) == 0);
        check_differences(r.model, &x, (double)out.temperature, 2e-5);
        free(dhidden);
    }
    small_close(&r, &s);
}

// Limits of the headers that only our own code can break.
static void limits_are_defended(void)
{
    struct reference r;
    struct scratch s;
    struct packer p;
    struct batch b;
    struct sequence x = small_sequence(1);
    if (small_open(&r, &s, &small_families[0]) == 0) {
        size_t k = r.model->config.vocab + 1;
        uint32_t *top = calloc(2 * x.n * k, sizeof *top);
        float *logp = calloc(2 * x.n * k, sizeof *logp);
        struct head_result out = {.k = k, .top = top, .top_logp = logp};
        CHECK(packer_init(&p, &r.arena, x.n, 1, &e) == 0 && packer_add(&p, &x));
        CHECK_DIES(packer_add(&p, &x));
        packer_batch(&p, &b);
        CHECK(decoder_forward(&r.decoder, &b, NULL, 0, &e) == 0);
        CHECK_DIES(MAY_FAIL(decoder_backward(&r.decoder, &b, r.decoder.hidden, &e) < 0));
        CHECK_DIES(MAY_FAIL(head_score(&r.device, r.model, r.decoder.hidden, p.target, b.n_wanted,
                                       NULL, &out, &e) < 0));
        free(top);
        free(logp);
    }
    small_close(&r, &s);
}

// As in transformers, the padding token's embedding gets no gradient where it was read.
static void padding_learns_nothing(void)
{
    struct reference r;
    struct scratch s;
    if (small_open(&r, &s, &small_families[0]) == 0) {
        const struct tensor *table = &r.model->globals[ROLE_EMBEDDING];
        size_t width = table->cols, size = table->rows * width, row = 7 * width;
        float *free_one = malloc(size * sizeof *free_one);
        CHECK(r.model->config.padding == -1);
        add_gradients(&r, 0, 4, 50, NULL);
        memcpy(free_one, table->grad, size * sizeof *free_one);
        CHECK(model_clear_gradient(r.model, &e) == 0);
        r.model->config.padding = 7;
        add_gradients(&r, 0, 4, 50, NULL);
        for (size_t i = 0; i < size; i++)
            CHECK(i / width == 7 ? table->grad[i] == 0 : table->grad[i] == free_one[i]);
        CHECK(free_one[row] != 0);
        free(free_one);
    }
    small_close(&r, &s);
}

static void soft_rewards_telescope(void)
{
    struct reference r;
    if (reference_open_fixture(&r) < 0) {
        CHECK(!"opened");
        return;
    }
    struct examples x = load_examples(json_object_get(r.json, "sequences"));
    for (size_t i = 0; i < x.n; i++)
        check_soft_rewards(&r, x.example[i].sequence.token, x.example[i].sequence.n);
    free_examples(&x);
    reference_close(&r);
}

static void soft_rewards_telescope_on_reference_samples(void)
{
    NEED(SHARED "/golden/methods/methods.json");
    json_t *j = json_parse_file(AT_FDCWD, SHARED "/golden/methods/methods.json", 64 << 20, &e);
    struct reference r = {0};
    CHECK(j && reference_open_model(&r, SHARED "/golden/methods/sft") == 0);
    const json_t *samples = json_object_get(j, "samples");
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const json_t *s = json_array_get(samples, i);
        uint32_t *token;
        size_t n = load_tokens(json_object_get(s, "tokens"), &token);
        size_t n_prompt = (size_t)number_at(s, "n_prompt", NULL);
        check_soft_rewards(&r, token, n);
        float *z = logits_of(&r, token, n);
        size_t vocab = r.model->config.vocab;
        double sum = 0;
        for (size_t t = n_prompt - 1; t < n; t++) {
            double v = log_sum_exp(z + t * vocab, vocab);
            CHECK_NEAR(v, element(json_object_get(s, "v_sft"), t + 1 - n_prompt), 1e-4);
            if (t + 1 < n)
                sum +=
                    (double)z[t * vocab + token[t + 1]] - log_sum_exp(z + (t + 1) * vocab, vocab);
        }
        CHECK_NEAR(sum,
                   element(json_object_get(json_object_get(j, "theory"), "sum_soft_reward"), i),
                   3e-4);
        free(z);
        free(token);
    }
    json_decref(j);
    reference_close(&r);
}

// Item 5: the sum of the dense reward is the log of the likelihood ratio, and the difference of
// the two models' soft rewards but for the potentials at the ends.
static void dense_rewards_sum_to_the_ratio(void)
{
    NEED(SHARED "/golden/methods/methods.json");
    json_t *j = json_parse_file(AT_FDCWD, SHARED "/golden/methods/methods.json", 64 << 20, &e);
    struct reference a = {0}, b = {0};
    CHECK(j && reference_open_model(&a, SHARED "/golden/methods/sft") == 0 &&
          reference_open_model(&b, SHARED "/golden/methods/half") == 0);
    const json_t *samples = json_object_get(j, "samples");
    for (size_t i = 0; i < json_array_size(samples); i++) {
        uint32_t *token;
        size_t n = load_tokens(json_object_get(json_array_get(samples, i), "tokens"), &token);
        struct reference *both[2] = {&a, &b};
        double ratio = 0, soft = 0;
        for (int k = 0; k < 2; k++) {
            size_t vocab = both[k]->model->config.vocab;
            float *z = logits_of(both[k], token, n), *logp = calloc(n, sizeof *logp);
            CHECK(score_one(both[k], token, n, logp, NULL) == 0);
            double sign = k ? -1 : 1;
            for (size_t t = 0; t + 1 < n; t++) {
                ratio += sign * (double)logp[t];
                soft += sign * ((double)z[t * vocab + token[t + 1]] -
                                log_sum_exp(z + (t + 1) * vocab, vocab));
            }
            soft += sign * (log_sum_exp(z + (n - 1) * vocab, vocab) - log_sum_exp(z, vocab));
            free(z);
            free(logp);
        }
        CHECK_NEAR(ratio, soft, 5e-4);
        free(token);
    }
    json_decref(j);
    reference_close(&a);
    reference_close(&b);
}

int main(void)
{
    CHECK(threads_set(2, &e) == 0);
    RUN(matches_fixture);
    each_family("agrees", check_family);
    RUN(padding_learns_nothing);
    RUN(limits_are_defended);
    each_golden("matches", reference_case);
    RUN(soft_rewards_telescope);
    RUN(soft_rewards_telescope_on_reference_samples);
    RUN(dense_rewards_sum_to_the_ratio);
    return test_end();
}
