// SPDX-License-Identifier: MIT
// The host's memory as that of a device.
#ifndef OPS_HOST_H
#define OPS_HOST_H

#include "ops/device.h"

// Unified. Large pieces take room as they are touched.
extern const struct memory memory_host;
// That memory without operations: where a model is before it is placed.
extern struct device device_host;

#endif
