// SPDX-License-Identifier: MIT
#include "train/budget.h"
#include "train/trainer.h"

#include <stdio.h>

static size_t bytes_with(const struct budget_job *job, size_t kept)
{
    struct work_bytes work = trainer_work_bytes(job->device, job->model, &job->size, kept);
    return job->weights + work_bytes_sum(work_bytes_add(work, job->beside));
}

struct budget budget_find(const struct budget_job *job, size_t room)
{
    size_t layers = job->model->config.layers;
    struct budget b = {.layers = layers, .kept = layers};
    while ((b.bytes = bytes_with(job, b.kept)) > room && b.kept > 1)
        b.kept--;
    b.fits = b.bytes <= room;
    return b;
}

void budget_text(const struct budget *b, char out[BUDGET_TEXT])
{
    int n = snprintf(out, BUDGET_TEXT, "%zu of %zu layer%s kept", b->kept, b->layers,
                     b->layers == 1 ? "" : "s");
    if (b->kept < b->layers)
        snprintf(out + n, BUDGET_TEXT - (size_t)n, ", %zu recomputed", b->layers - b->kept);
}
