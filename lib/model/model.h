// SPDX-License-Identifier: MIT
// A Hugging Face model directory in memory. Weights stay in the mapped files, in the files' types,
// until model_train gives every parameter an fp32 master and a gradient.
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/memory.h"
#include "base/named_number.h"
#include "model/family.h"
#include "model/kept.h"
#include "model/rope.h"
#include "model/safetensors.h"
#include "ops/ops.h"

struct parameter {
    char *name; // in the checkpoint
    enum tensor_role role;
    int layer; // -1: once a model
    int head;  // of a norm with a tensor a head; -1: not such
    int n_dims;
    size_t rows, cols;
    size_t offset; // of its fp32 values in master and gradient
    const struct safetensors_entry *entry;
    const struct safetensors *file;
};

struct model {
    char *path;    // for messages
    int directory; // descriptor: stays the same directory even if a trainer swaps the name
    struct file_mark config_mark; // of the config.json that was read
    struct buffer config_text;    // and its bytes
    struct kept kept;             // the files beside the weights, once model_keep read them
    struct model_config config;
    const struct family *family;
    struct safetensors *shard;
    char **shard_name;
    size_t n_shards;
    struct tensor globals[ROLE_LAYER_FIRST];
    struct tensor positions; // those rows of ROLE_POSITIONS that stand for positions
    struct tensor (
        *layer)[ROLE_COUNT]; // [layers]; only the layer roles; parts of fused tensors too
    // With HEAD_NORM_EACH: [layers][heads of queries, then of keys]
    struct tensor *head_norm;
    struct parameter *parameter; // every tensor once; a tied head is its embedding
    size_t n_parameters;
    size_t n_values; // numbers in all parameters
    size_t n_flat;   // length of master and gradient (parameters are padded to 16)
    // Tensors of the files that the decoder does not use, in order of shard and place.
    const struct safetensors_entry **unused;
    size_t n_unused;
    const struct safetensors_entry *tied_head; // a copy of the embedding that the file has as well
    // In whose memory the tensors and all that follows lie: the host's, or that of the device on
    // which the model was placed, where it is another.
    struct device *device;
    char *copy; // of the weights, where the device cannot read the maps; else NULL
    size_t copy_bytes;
    float *master;   // NULL until model_train
    float *gradient; // [n_flat]
    struct rope_tables rope;
    float *key_bias; // [heads][key_bias_positions] ALiBi
    size_t key_bias_positions;
    int sketched; // of a configuration alone: sketch.h
};

// Opens DIR, reads config.json and maps the weights; checks every name, shape and type. A language
// model is expected: a reward model is refused. A tensor that config.json has no place for and that
// looks like a weight of the decoder or of an adapter is refused, others are counted in n_unused.
// Where a tensor stands in two shards, that counts which the index names. As transformers
// does, a head that config.json calls tied but that differs from the embedding is not tied.
struct model *model_open(const char *path, struct err *e);
// The same from a directory's descriptor, which the model takes over, also on failure.
struct model *model_open_at(int directory, const char *path, struct err *e);
struct model *model_open_reward(const char *path, struct err *e); // the other way round
struct model *model_open_any(const char *path, struct err *e);    // whatever its head
// A language model from the text "DIR:NUMBER" of an option.
struct model *model_open_weighted(const char *text, const struct named_form *form, double *number,
                                  struct err *e);
void model_close(struct model *m); // NULL is fine; before the device that it was placed on
// Puts the model where the device can read it: where memory is unified it stays in the maps, else
// the weights are copied. To be called before model_train; the decoder does it otherwise. A model
// is of one device.
MUST_CHECK int model_place(struct model *m, struct device *d, struct err *e);
// Reads the files beside the weights into memory: model_save writes these. Fails if config.json is
// no longer the one that was read. Early: what is saved in the end must be what was there then.
MUST_CHECK int model_keep(struct model *m, struct err *e);
// After model_keep: the model is saved with this chat template, a string. 1 when that is not its
// own already, else 0.
MUST_CHECK int model_set_template(struct model *m, const json_t *source, struct err *e);
// Fails where two models that must count the same tokens do not.
MUST_CHECK int model_same_vocabulary(const struct model *a, const struct model *b, struct err *e);
// fp32 masters and zeroed gradients, and model_keep; maps or copy are no longer used for computing,
// and fails if the maps changed before.
MUST_CHECK int model_train(struct model *m, struct err *e);
MUST_CHECK int model_clear_gradient(struct model *m, struct err *e);
// Zeros, a number for each weight: [n_flat] of the memory of the model's device, to be given back
// by model_free. NULL: memory is out, named by `what`, or a stop was requested.
float *model_zeros(const struct model *m, const char *what, struct err *e);
void model_free(const struct model *m, float *zeros); // NULL is fine
// Copies such numbers.
MUST_CHECK int model_copy(const struct model *m, float *to, const float *from, struct err *e);
// The values of parameter i as fp32: into `out` [rows * cols] of the host.
MUST_CHECK int model_values(const struct model *m, size_t i, float *out, struct err *e);
// XXH3 of config.json, the headers and 4 KiB of every 64 KiB of the weights.
MUST_CHECK int model_fingerprint(const struct model *m, char out[24], struct err *e);
// Makes sure that a sequence of so many positions can be computed: refuses one beyond the learned
// positions, and lets the ALiBi table reach it.
MUST_CHECK int model_reach(struct model *m, size_t positions, struct err *e);
// Most positions that a sequence may have.
size_t model_positions(const struct model *m);

// Writes the model into the directory `to`: shards with the layout of those that were read, the
// values of the masters where there are any, and a copy of every other file that holds no weights,
// as model_keep found it. Fails if a file that the result depends on changed since it was opened.
// save_dtype: NULL keeps each tensor's type; or "fp32", "bf16", "fp16".
MUST_CHECK int model_save(const struct model *m, int to, const char *save_dtype, struct err *e);
// Whether model_save knows the type (NULL does).
MUST_CHECK int model_check_dtype(const char *save_dtype, struct err *e);
// Bytes of its weights as model_save writes them.
size_t model_file_bytes(const struct model *m, const char *save_dtype);
// Writes the language model `m` into the directory `to` as a reward model: the vocabulary's head is
// left out, a head of one number is added with weights 0, config.json says so. `pad`: id of the
// token that fills batches in transformers, where config.json has none; -1: unknown.
MUST_CHECK int model_save_as_reward(const struct model *m, int to, int64_t pad, struct err *e);
// n_flat of what that writes.
size_t model_reward_weights(const struct model *m);
// Whether it can.
MUST_CHECK int model_check_as_reward(const struct model *m, struct err *e);
// model init: fills DIR `to` (which has config.json) with fresh weights: N(0, initializer_range^2),
// norms 1, biases 0; refused where the disk has no room for them.
MUST_CHECK int model_init(const char *config_directory, int to, uint64_t seed,
                          const char *save_dtype, struct err *e);
// A tensor of a model that is written: its name and shape in the file; rows = 1 for vectors.
struct model_tensor {
    const char *name;
    enum tensor_role role;
    size_t layer, head;
    int n_dims;
    size_t rows, cols;
};
// Where its values come from: fill puts them into `out` [rows * cols], or fails. check (NULL: none)
// is asked for every tensor before the first is filled.
struct model_source {
    void *from;
    int (*check)(void *from, const struct model_tensor *t, struct err *e);
    int (*fill)(void *from, const struct model_tensor *t, float *out, struct err *e);
};
// Writes model.safetensors of a model with that configuration, in the type that it declares, into
// the directory `to`; refused where the disk has no room for it.
MUST_CHECK int model_write(const struct model_config *c, int to, const struct model_source *source,
                           struct err *e);
// Writes the safetensors file of a model with that configuration, in the type that it declares:
// with `filled` any numbers of the right size, otherwise a hole in their place. fd: an empty file.
MUST_CHECK int model_write_sketch(const struct model_config *c, int fd, const char *where,
                                  int filled, struct err *e);

#endif
