// SPDX-License-Identifier: MIT
#include "exchange/layout.h"

#include <string.h>

int layout_of(struct layout *l, const struct model_config *c, const struct architecture *a,
              enum tensor_role role, size_t layer)
{
    size_t rows, cols;
    *l = (struct layout){.config = c, .a = a, .role = role};
    l->n_dims = family_shape(c, role, &rows, &cols);
    if (!l->n_dims || !architecture_tensor(a, role, layer, l->name))
        return -1;
    l->rows = rows;
    l->cols = cols;
    if (family_is_turned(c, role)) {
        l->rows = cols;
        l->cols = rows;
    }
    if (c->head_norm == HEAD_NORM_EACH && family_is_per_head(c->family, role)) {
        l->n_dims = 2;
        l->rows = role == ROLE_KEY_NORM ? c->kv_heads : c->heads;
    }
    return 0;
}

static int is_rotated(const struct layout *l)
{
    return l->a->permuted && (l->role == ROLE_QUERY || l->role == ROLE_KEY ||
                              l->role == ROLE_QUERY_BIAS || l->role == ROLE_KEY_BIAS);
}

static int is_grouped(const struct layout *l)
{
    return l->config->fusion == FUSION_GROUPS && (l->role == ROLE_QKV || l->role == ROLE_QKV_BIAS);
}

static float shift(const struct layout *l)
{
    return family_is_norm(l->role) ? l->config->norm_offset : 0;
}

int layout_is_plain(const struct layout *l)
{
    return !is_rotated(l) && !is_grouped(l) && shift(l) == 0 &&
           !family_is_turned(l->config, l->role);
}

// Rows of a group: its query heads, its key head, its value head. In the file all query heads come
// first, then all key heads.
static size_t grouped_row(const struct model_config *c, size_t row)
{
    size_t dim = c->head_dim, queries = c->heads / c->kv_heads;
    size_t group = row / dim / (queries + 2), head = row / dim % (queries + 2);
    size_t before = head < queries    ? group * queries + head
                    : head == queries ? c->heads + group
                                      : c->heads + c->kv_heads + group;
    return before * dim + row % dim;
}

// Where our row lies in the file.
static size_t file_row(const struct layout *l, size_t row)
{
    size_t dim = l->config->head_dim, i = row % dim;
    if (is_grouped(l))
        return grouped_row(l->config, row);
    if (is_rotated(l))
        return row - i + 2 * (i % (dim / 2)) + i / (dim / 2);
    return row;
}

// Where our value lies in the file.
static size_t file_place(const struct layout *l, size_t at)
{
    if (family_is_turned(l->config, l->role))
        return at % l->rows * l->cols + at / l->rows;
    if (l->n_dims == 1)
        return file_row(l, at);
    return file_row(l, at / l->cols) * l->cols + at % l->cols;
}

void layout_from_file(const struct layout *l, float *to, const float *from)
{
    float offset = shift(l);
    for (size_t i = 0; i < l->rows * l->cols; i++)
        to[i] = from[file_place(l, i)] - offset;
}

void layout_to_file(const struct layout *l, float *to, const float *from)
{
    float offset = shift(l);
    for (size_t i = 0; i < l->rows * l->cols; i++)
        to[file_place(l, i)] = from[i] + offset;
}
