// SPDX-License-Identifier: MIT
// A place to compute, and its memory. Weights, activations, gradients, moments, keys and values lie
// in the device's memory, which only its operations (ops.h) and its memory calls touch; lists
// (tokens, positions, targets) and results that the host reads (log-probabilities, rewards) lie in
// the host's. Where both are one, as on the CPU, nothing is copied between them.
#ifndef OPS_DEVICE_H
#define OPS_DEVICE_H

#include "base/error.h"
#include "base/memory.h"
#include "ops/tensor.h"

struct device;
struct ops;

// Work is done in the order of the calls; `get` waits for it, and behind `put` the host's array may
// change. Calls that return an int return 0, or -1 with *e filled.
struct memory {
    int unified; // the host may read and write it
    // 64-byte aligned, its content unknown; NULL: there is no more.
    void *(*alloc)(struct device *d, size_t bytes);
    void (*free)(struct device *d, void *p, size_t bytes); // NULL is fine
    int (*put)(struct device *d, void *to, const void *host, size_t bytes, struct err *e);
    int (*get)(struct device *d, void *host, const void *from, size_t bytes, struct err *e);
    int (*copy)(struct device *d, void *to, const void *from, size_t bytes, struct err *e);
    int (*zero)(struct device *d, void *p, size_t bytes, struct err *e);
};

// What the operands of products with weights, forward and backward, are rounded to; fp32: not at
// all. Sums are fp32; attention, norms and all else know no other type. In the order of
// option_dtypes (base/option.h).
enum products { PRODUCTS_FP32, PRODUCTS_BF16 };

// The backend and its work space, which grows to its final size in the first step and is reused
// from then on.
struct device {
    const struct ops *ops;
    const struct memory *memory;
    struct arena scratch; // device memory
    struct arena host;    // host memory, for what goes to the device or comes from it
    const void *backend;  // the backend's own
    enum products products;
    // What keys and values are stored as: DTYPE_F32 from device_open on, or DTYPE_BF16, set before
    // the first pass: rounded, and half the memory. Such a device has no way back.
    enum dtype kv;
};

// name: "cpu", or NULL for it.
MUST_CHECK int device_open(struct device *d, const char *name, enum products products,
                           struct err *e);
void device_release(struct device *d);

// An arena of device memory; to be released before the device.
void device_arena_init(struct arena *a, struct device *d);

// What crosses from host to device and back. Each does nothing where memory is unified. `pointer`
// is the address of a pointer variable of any type, which changes; where it holds NULL, it stays.
//
// From a list of the host to the copy in `arena` (of device memory) that operations read.
MUST_CHECK int device_list(struct device *d, struct arena *arena, void *pointer, size_t bytes,
                           struct err *e);
// From an array of the host to room in the scratch space that operations write.
MUST_CHECK int device_result(struct device *d, void *pointer, size_t bytes, struct err *e);
// From device memory to a copy in the host's work space.
MUST_CHECK int device_view(struct device *d, void *pointer, size_t bytes, struct err *e);
// Between an array of the host and what device_result gave for it: there, and back.
MUST_CHECK int device_send(struct device *d, void *to, const void *host, size_t bytes,
                           struct err *e);
MUST_CHECK int device_fetch(struct device *d, void *host, const void *from, size_t bytes,
                            struct err *e);

#endif
