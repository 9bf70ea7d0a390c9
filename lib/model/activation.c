// SPDX-License-Identifier: MIT
#include "model/activation.h"

#include <string.h>

static const struct {
    const char *name;
    enum activation kind;
} activations[] = {
    {"silu", ACTIVATION_SILU},
    {"gelu", ACTIVATION_GELU},
    {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
    {"quick_gelu", ACTIVATION_GELU_QUICK},
    {"relu", ACTIVATION_RELU},
    {"relu2", ACTIVATION_RELU_SQUARED},
    {"swish", ACTIVATION_SILU},
    {"gelu_python", ACTIVATION_GELU},
    {"gelu_new", ACTIVATION_GELU_TANH},
    {"gelu_fast", ACTIVATION_GELU_TANH},
    {"gelu_accurate", ACTIVATION_GELU_TANH},
    {"gelu_python_tanh", ACTIVATION_GELU_TANH},
};

int activation_find(const char *name, enum activation *out)
{
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].name, name)) {
            *out = activations[i].kind;
            return 0;
        }
    return -1;
}

const char *activation_name(enum activation kind)
{
    size_t i = 0;
    while (activations[i].kind != kind)
        i++;
    return activations[i].name;
}
