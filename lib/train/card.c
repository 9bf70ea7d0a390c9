// SPDX-License-Identifier: MIT
#include "train/card.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/place.h"
#include "loss/loss.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char card_name[] = "README.md", base_name[] = "README-base.md";

// An argument as a shell reads it.
static int add_argument(struct buffer *b, const char *text, struct err *e)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./,:=+@%";
    if (*text && strspn(text, plain) == strlen(text))
        return buffer_printf(b, e, " %s", text);
    int result = buffer_string(b, " '", e);
    for (; *text && result == 0; text++)
        // A line break would end the literal text.
        result = *text == '\''   ? buffer_string(b, "'\\''", e)
                 : *text == '\n' ? buffer_string(b, "'$'\\n''", e)
                                 : buffer_append(b, text, 1, e);
    return result == 0 ? buffer_string(b, "'", e) : -1;
}

static int add_command(struct buffer *b, const json_t *line, struct err *e)
{
    const char *program = json_string_value(json_object_get(line, "program"));
    const json_t *args = json_object_get(line, "args");
    int result = buffer_printf(b, e, "    %s", program ? program : "?");
    for (size_t i = 0; i < json_array_size(args) && result == 0; i++) {
        const char *text = json_string_value(json_array_get(args, i));
        result = text ? add_argument(b, text, e) : 0;
    }
    return result == 0 ? buffer_string(b, "\n", e) : -1;
}

static int add_setting(struct buffer *b, const char *name, const json_t *value, struct err *e)
{
    if (json_is_string(value))
        return buffer_printf(b, e, "| %s | `%s` |\n", name, json_string_value(value));
    char *text = json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9), e);
    if (!text)
        return err_memory(e, 0, "a model card");
    int result = buffer_printf(b, e, "| %s | `%s` |\n", name, text);
    free(text);
    return result;
}

// Parameters that the loss has not are in the settings too.
static int is_of_loss(const char *name, const struct loss_kind *loss)
{
    for (int i = 0; loss && i < LOSS_PARAMETERS; i++)
        if (!strcmp(name, loss_parameter_specs[i].name))
            return loss->takes[i].help != NULL;
    return 1;
}

// Fingerprints are in the table's head or mean nothing to a reader; nor does what is off.
static int is_shown(const char *name, const json_t *value, const struct loss_kind *loss)
{
    static const char *const fingerprints[] = {"model", "data", "eval-data"};
    const char *text = json_string_value(value);
    for (size_t i = 0; i < sizeof fingerprints / sizeof *fingerprints; i++)
        if (!strcmp(name, fingerprints[i]))
            return 0;
    if (!strcmp(name, "ema"))
        return json_number_value(value) > 0;
    if (!strcmp(name, "temperature"))
        return json_number_value(value) != 1;
    return is_of_loss(name, loss) && !(text && !*text);
}

// By the name of its option. A loss that can be had in one way alone has no option for that.
static int add_per(struct buffer *b, const json_t *by_sequence, const struct loss_kind *loss,
                   struct err *e)
{
    if (!json_integer_value(by_sequence) || !loss || !loss->pointwise)
        return 0;
    return buffer_string(b, "| per | `sequence` |\n", e);
}

static int add_table(struct buffer *b, const struct card *c, int has_base, struct err *e)
{
    const char *name, *loss_name = json_string_value(json_object_get(c->settings, "loss"));
    const struct loss_kind *loss = loss_name ? loss_find(loss_name) : NULL;
    json_t *value;
    if (buffer_printf(
            b, e,
            "| | |\n|---|---|\n| made by | `%s` of densepath |\n"
            "| base model | `%s`%s |\n| updates done | %lld |\n| trained tokens | %llu |\n",
            c->program, c->base, has_base ? ", see [README-base.md](README-base.md)" : "",
            (long long)c->updates, (unsigned long long)c->num_tokens) < 0)
        return -1;
    if (isfinite(c->loss) &&
        buffer_printf(b, e, "| loss of the last update | %.6g |\n", c->loss) < 0)
        return -1;
    if (*c->chosen && buffer_printf(b, e, "| chosen | %s |\n", c->chosen) < 0)
        return -1;
    json_object_foreach((json_t *)c->settings, name, value)
    {
        if (!strcmp(name, "per-sequence")
                ? add_per(b, value, loss, e) < 0
                : is_shown(name, value, loss) && add_setting(b, name, value, e) < 0)
            return -1;
    }
    return 0;
}

static int write_text(struct buffer *b, const struct card *c, int has_base, struct err *e)
{
    int result = buffer_printf(b, e,
                               "---\nlibrary_name: transformers\ntags:\n- densepath\n---\n"
                               "# A model trained with %s\n\n",
                               c->program);
    if (result == 0)
        result = add_table(b, c, has_base, e);
    if (result == 0)
        result = buffer_string(b,
                               "\nData and model were made by these commands, the oldest first "
                               "(`densepath.json` has the\nfingerprints of their models):\n\n",
                               e);
    for (size_t i = 0; i < json_array_size(c->history) && result == 0; i++)
        result = add_command(b, json_array_get(c->history, i), e);
    return result;
}

// 1: the base's card is there, under a name of its own; 0: it has none; -1.
static int keep_base(int at, struct err *e)
{
    struct stat st;
    if (fstatat(at, base_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT && renameat(at, card_name, at, base_name) == 0)
        return 1;
    return errno == ENOENT ? 0 : place_errno(e, at, base_name);
}

int card_write(int at, const struct card *c, struct err *e)
{
    struct buffer b;
    buffer_init(&b, 0);
    int has_base = keep_base(at, e), result = has_base < 0 ? -1 : 0;
    if (result == 0)
        result = write_text(&b, c, has_base, e);
    // A new file: the old one may be shared with the base by a hard link.
    if (result == 0 && unlinkat(at, card_name, 0) < 0 && errno != ENOENT)
        result = err_errno(e, card_name);
    if (result == 0)
        result = io_write_file(at, card_name, b.data, b.size, e);
    buffer_release(&b);
    return result;
}
