// SPDX-License-Identifier: MIT
// What the files of this room share; nobody outside includes this.
//
//   lexer.c   source -> tokens (whitespace control happens here)
//   parser.c  tokens -> tree, names interned, filters and tests resolved
//   names.c   which names a scope declares
//   value.c   values: truth, comparison, iteration, printing as Python prints
//   string.c  Python's str: methods, case, white space, code points
//   format.c  numbers as text, '%' formatting, str.format, tojson, strftime
//   filter.c  filters and tests
//   object.c  attributes, methods of lists and dicts, global functions, calls
//   eval.c    expressions and statements
//   prefix.c  the same chat cut short after each message, without beginning anew
//
// Failure leaves by longjmp: all that a parse or a rendering owns stands in one arena, which the
// public functions release, so nothing needs unwinding on the way out.
#ifndef JINJA_INTERNAL_H
#define JINJA_INTERNAL_H

#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "jinja/template.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdint.h>

// What a hostile template may use at most.
enum {
    TEMPLATE_TREE_DEPTH = 200,   // of the parsed tree
    TEMPLATE_DEPTH = 1600,       // of evaluation: nested nodes, macro calls, values in values
    TEMPLATE_RANGE = 100000,     // jinja2's own limit for range()
    TEMPLATE_OUTPUT = 64 << 20,  // bytes of text in one piece
    TEMPLATE_MEMORY = 256 << 20, // bytes of values
};
// Nodes evaluated, items visited, 64-byte pieces handled. (Fuzzing sets it lower: more runs.)
#ifndef TEMPLATE_STEPS
#define TEMPLATE_STEPS (20 * 1000 * 1000)
#endif

__extension__ typedef __int128 int128;

// ---- memory and the way out ---------------------------------------------------------------------

struct sandbox {
    struct arena arena;
    char *at;
    size_t left;
    size_t used, limit;
    jmp_buf failure;
    struct err *e;
    const char *name; // of the template
    unsigned line;    // where we are
};
void sandbox_init(struct sandbox *m, const char *name, size_t limit, struct err *e);
void sandbox_release(struct sandbox *m);
void *sandbox_get(struct sandbox *m, size_t count, size_t size); // zeroed, 16-byte aligned
char *sandbox_copy(struct sandbox *m, const char *s, size_t n);  // with a NUL
_Noreturn void sandbox_fail(struct sandbox *m, const char *format, ...) ERR_PRINTF(2, 3);
_Noreturn void sandbox_fail_text(struct sandbox *m, const char *s,
                                 size_t n); // the text as it stands

// ---- values -------------------------------------------------------------------------------------

enum kind {
    V_ABSENT,  // nothing was looked up or passed yet
    V_MISSING, // a variable that is declared and not set
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_WIDE, // an int of the data beyond V_INT, which can be shown, and compared with its like
    V_FLOAT,
    V_STRING,
    V_BYTES,
    V_LIST,
    V_TUPLE,
    V_DICT,
    V_VIEW, // keys(), values(), items() of a dict
    V_RANGE,
    V_ITERATOR, // what Python answers with a generator or an iterator: consumed once
    V_NAMESPACE,
    V_FUNCTION, // global function or type
    V_METHOD,   // bound to its object
    V_MACRO,
    V_LOOP,
    V_CYCLER,
    V_JOINER,
};

// Text inside {% generation %}, by its place in a string that a macro or a block captured.
struct marks {
    struct mark {
        size_t start, end;
    } * mark;
    size_t n, capacity;
    int placed; // it reached the output
    struct marks *next;
};

struct value {
    uint8_t kind;
    uint8_t markup; // strings: markupsafe.Markup; views: which
    struct marks *marks;
    union {
        int128 i; // V_BOOL, V_INT
        double f;
        struct {
            const char *s; // valid UTF-8, not terminated; V_WIDE: digits
            size_t n;
        };
        struct undefined *undefined;
        struct list *list;
        struct dict *dict;
        struct range *range;
        struct iterator *iterator;
        const struct function *function;
        struct method *method;
        struct macro *macro;
        struct loop *loop;
        struct cycler *cycler;
    };
};

struct undefined {
    const char *hint;  // the whole message, or NULL
    struct value name; // V_ABSENT: none
    const char *type;  // of the object that lacks it; NULL: a variable
    int security;
};

struct list {
    size_t n;
    struct value *item;
    const json_t *json; // not read yet
    int open;           // shown to the template as the beginning of something longer: prefix.c
    size_t offset;      // open: of its first item in the whole
};

struct entry {
    struct value key, value;
    uint64_t hash;
};
struct dict {
    size_t n, capacity;
    struct entry *entry;
    uint32_t *index; // open addressing, entry + 1; NULL while the dict is small
    size_t index_size;
    const json_t *json; // not read yet
    const json_t *from; // what it was read from
};

struct range {
    int128 start, stop, step;
    int64_t n;
};

struct render;
struct iterator {
    int (*next)(struct render *r, struct iterator *it, struct value *out); // 1, or 0 at the end
    struct value source;
    int64_t at, end;
    struct iterator *inner;
    void *state;
    const char *type;
};

// Arguments of a call, evaluated.
struct arguments {
    struct value *at;
    size_t n;
    struct keyword {
        struct value name; // a string
        struct value value;
    } * keyword;
    size_t n_keywords;
};

// A filter, test, global function or method: `parameters` names what it takes, blank between; the
// arguments come bound to these places, V_ABSENT where none was given. "*" takes all as they are.
struct function {
    const char *name;
    const char *parameters;
    int required; // how many of them must be given (the object itself does not count)
    struct value (*call)(struct render *r, struct value self, struct value *a,
                         struct arguments *all);
};

struct method {
    struct value self;
    const struct function *function;
};

struct loop {
    struct iterator *iterator;
    struct value iterable;
    struct value after, current, before, changed; // V_ABSENT: none
    int64_t index0, length, depth0;
    const struct node *recursive; // NULL: not recursive
    struct scope *scope;          // that the loop statement stands in
};

struct cycler {
    struct value *item;
    size_t n, at;
    int used; // joiner
};

struct macro {
    const struct node *node;
    struct scope *scope; // where it was defined
    struct value *defaults;
};

// ---- the tree -----------------------------------------------------------------------------------

enum node_kind {
    // expressions
    N_CONST,
    N_NAME,
    N_TUPLE,
    N_LIST,
    N_DICT,   // list: key, value, key, value ...
    N_ATTR,   // a.name
    N_ITEM,   // a[b]
    N_SLICE,  // list: object, start, stop, step (NULL: not given)
    N_CALL,   // a(args)
    N_FILTER, // a|name(args); a NULL: the text of a block
    N_TEST,
    N_NOT,
    N_NEG,
    N_POS,
    N_AND,
    N_OR,
    N_COMPARE, // a op b, then list of further operands with `op` in each
    N_BINARY,
    N_CONCAT,
    N_IF_EXPR, // a if b else c
    // statements
    N_DATA,
    N_PRINT, // a
    N_FOR,   // a: target, b: iterable, c: test, list: body, other: else
    N_IF,    // a, list, other (an elif is an N_IF alone in other)
    N_SET,   // a: target, b: value
    N_SET_BLOCK,
    N_MACRO,
    N_CALL_BLOCK, // a: the call, list: body, parameters as a macro
    N_FILTER_BLOCK,
    N_WITH, // targets, values
    N_GENERATION,
    N_BREAK,
    N_CONTINUE,
    N_BLOCK, // {% block %}, rendered in its place
    // targets
    N_TARGET_NAME,
    N_TARGET_ATTR, // name.attribute of a namespace
    N_TARGET_TUPLE,
};

enum operator{
    OP_NONE,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN,
    // the lexer's further signs
    OP_TILDE,
    OP_LBRACKET,
    OP_RBRACKET,
    OP_LPAREN,
    OP_RPAREN,
    OP_LBRACE,
    OP_RBRACE,
    OP_ASSIGN,
    OP_DOT,
    OP_COLON,
    OP_PIPE,
    OP_COMMA,
    OP_SEMICOLON,
};

struct node_list {
    struct node **at;
    size_t n, capacity;
};

struct call_node {
    struct node_list positional;
    struct named_node {
        struct value name;
        struct node *node;
    } * named;
    size_t n_named, named_capacity;
    struct node *star, *star_star;
};

struct macro_node {
    uint32_t *parameter; // names
    struct node **defaults;
    size_t n, capacity;
    int uses_caller, uses_kwargs, uses_varargs, explicit_caller;
};

struct node {
    enum node_kind kind;
    enum operator op;
    unsigned line;
    unsigned depth;
    uint32_t name;      // names, targets, attributes, macros
    uint32_t attribute; // N_TARGET_ATTR
    int recursive;
    struct node *a, *b, *c;
    struct node_list list, other;
    struct node_list values; // N_WITH
    struct value constant;   // also the text of N_DATA and the name of an attribute
    const struct function *function;
    struct call_node *call;
    struct macro_node *macro;
    uint32_t *shadow; // names that a scope declares before they are set
    size_t n_shadow;
};

struct name {
    const char *s;
    size_t n;
};

struct template
{
    struct sandbox sandbox;
    struct node_list body;
    struct name *name;
    size_t n_names, names_capacity;
    uint32_t *shadow;
    size_t n_shadow;
    uint32_t caller, kwargs, varargs, loop; // names every template knows
    int marks_generation;
};

// ---- lexer and parser ---------------------------------------------------------------------------

enum token_type {
    T_DATA,
    T_PRINT_BEGIN,
    T_PRINT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OPERATOR,
    T_END,
};
struct token {
    enum token_type type;
    enum operator op;
    unsigned line;
    const char *s; // as written
    size_t n;
    struct value value;
};
struct token_array {
    struct token *at;
    size_t n, capacity;
};
void template_lex(struct sandbox *m, const char *source, size_t size, struct token_array *out);
void template_build(struct template *t, const char *source, size_t size);
void template_declare(struct template *t); // fills in what each scope shadows

// ---- rendering ----------------------------------------------------------------------------------

struct binding {
    uint32_t name;
    struct value value;
};
struct scope {
    struct scope *parent;
    struct binding *binding;
    uint32_t n, capacity;
};

// Text that grows inside the arena.
struct text {
    struct render *r;
    char *s;
    size_t n, capacity;
    struct marks *marks; // generation blocks in it
};

// Where a body is: what follows the statement that runs.
struct body_frame {
    const struct node_list *body;
    size_t next;
    struct scope *scope;
    struct body_frame *outer;
};

struct render {
    struct sandbox sandbox;
    const struct template *t;
    const json_t *context;
    struct value *root; // by name: variables of the top level and of the context
    struct text *out;
    uint64_t steps;
    unsigned depth;
    struct marks *captured;   // all marks of strings
    struct value now;         // what strftime_now reads
    struct body_frame *frame; // the innermost body
    struct prober *prober;    // NULL: only the whole is wanted
    struct item_list *items;  // NULL: nobody asks where loops came to what
    const struct text *whole; // what is rendered, where `items` stand
    int at_item;              // inside a loop that is noted there
};

_Noreturn void render_fail(struct render *r, const char *format, ...) ERR_PRINTF(2, 3);
void render_steps(struct render *r, uint64_t n);
void render_bytes(struct render *r, size_t n); // work that is proportional to n bytes
void render_enter(struct render *r);           // one level deeper
static inline void render_leave(struct render *r)
{
    r->depth--;
}

struct text text_new(struct render *r);
void text_add(struct text *t, const char *s, size_t n);
void text_string(struct text *t, const char *s);
void text_code(struct text *t, uint32_t code);
void text_pad(struct text *t, char c, size_t n);
void text_printf(struct text *t, const char *format, ...) ERR_PRINTF(2, 3);
void text_mark(struct text *t, size_t start, size_t end);
struct value text_value(struct text *t);

// Constructors.
struct value value_none(void);
struct value value_bool(int b);
struct value value_int(int128 i);
struct value value_float(double f);
struct value value_string(const char *s, size_t n); // kept by reference
struct value value_cstring(const char *s);
struct value value_undefined(struct render *r, struct value name, const char *type);
struct value value_undefined_hint(struct render *r, const char *hint);
struct value value_list(struct render *r, enum kind kind, size_t n); // items to be filled
struct value value_dict(struct render *r);
struct value value_iterator(struct render *r, struct iterator it);
struct value value_json(struct render *r, const json_t *json);
struct value *list_items(struct render *r, struct list *l);
struct dict *dict_read(struct render *r, struct dict *d);
void dict_set(struct render *r, struct dict *d, struct value key, struct value v);
struct value *dict_get(struct render *r, struct dict *d, struct value key); // NULL: none
struct value *dict_get_string(struct render *r, struct dict *d, const char *s, size_t n);
// A growing list.
struct items {
    struct render *r;
    struct value *at;
    size_t n, capacity;
};
void items_add(struct items *i, struct value v);
struct value items_value(struct items *i, enum kind kind);

const char *type_name(struct value v);   // Python's
const char *type_object(struct value v); // as jinja2 calls it: "dict object"
int value_truth(struct render *r, struct value v);
int value_is_number(struct value v);
double value_double(struct value v);
int value_equal(struct render *r, struct value a, struct value b);
int value_same(struct value a, struct value b); // `is`
int value_compare(struct render *r, enum operator op, struct value a, struct value b);
int value_contains(struct render *r, struct value container, struct value item);
int64_t value_length(struct render *r, struct value v);
int value_has_length(struct value v, int64_t *n, struct render *r);
int value_iterable(struct value v);
struct iterator *value_iterate(struct render *r, struct value v);
int iterator_next(struct render *r, struct iterator *it, struct value *out);
struct value value_to_list(struct render *r, struct value v);
int64_t value_index(struct render *r, struct value v, const char *what); // a whole number
_Noreturn void fail_undefined(struct render *r, struct value v);

void print_string(struct text *t, struct value v);         // str(v)
void print_repr(struct text *t, struct value v);           // repr(v)
struct value value_str(struct render *r, struct value v);  // str(v) without Markup
struct value value_soft(struct render *r, struct value v); // strings as they are, others str(v)
struct value value_repr(struct render *r, struct value v);
struct value value_ascii(struct render *r, struct value v);  // ascii(v)
struct value value_escape(struct render *r, struct value v); // markupsafe.escape

struct value value_binary(struct render *r, enum operator op, struct value a, struct value b);
struct value value_negate(struct render *r, struct value v, int positive);
struct value value_slice(struct render *r, struct value v, struct value start, struct value stop,
                         struct value step);
struct value value_item(struct render *r, struct value v, struct value key);
struct value value_attribute(struct render *r, struct value v, const char *s, size_t n);
struct value value_call(struct render *r, struct value callee, struct arguments *args);
struct value function_call(struct render *r, const struct function *f, struct value self,
                           struct arguments *args, const char *what);

// Strings (string.c). All count code points.
const char *string_skip_space(const char *s, const char *end);
int unicode_printable(uint32_t code);
int unicode_word(uint32_t code); // \w
int unicode_name_start(uint32_t code);
int unicode_name_part(uint32_t code);         // of what is \w
int unicode_digit(uint32_t code, int *value); // Nd
int64_t bytes_find(const char *s, size_t n, const char *find, size_t m, size_t from); // -1
struct value string_upper(struct render *r, struct value s);
struct value string_lower(struct render *r, struct value s);
struct value string_title_word(struct render *r, struct value s); // first up, rest down (titlecase)
struct value string_filter_title(struct render *r, struct value v);
struct value string_strip(struct render *r, struct value v, struct value chars, int left,
                          int right);
struct value string_replace(struct render *r, struct value v, struct value old, struct value new,
                            int64_t count);
struct value string_center(struct render *r, struct value s, int64_t width);
struct value string_lines(struct render *r, struct value v, int keep_ends); // a list
struct value string_rsplit_blank_once(struct render *r, struct value s);
int string_is_lower(struct value s);
int string_is_upper(struct value s);
const struct function *string_method(const char *s, size_t n);

// Numbers and formats (format.c).
void print_float(struct text *t, double f);
void print_int(struct text *t, int128 i);
int parse_int(const char *s, size_t n, int base, int128 *out); // as int(text, base); 0 or -1
int parse_float(const char *s, size_t n, double *out);         // as float(text)
struct value format_percent(struct render *r, struct value format, struct value args);
struct value format_braces(struct render *r, struct value format, struct arguments *args);
struct json_style {
    int indent; // -1: none
    const char *indent_text;
    size_t indent_size;
    int ensure_ascii, sort_keys;
    struct value item_separator, key_separator;
};
void print_json(struct text *t, struct value v, const struct json_style *style);
struct value format_time(struct render *r, struct value format);

// Filters and tests (filter.c).
const struct function *filter_find(const char *s, size_t n);
const struct function *test_find(const char *s, size_t n);

// Globals, methods of other types (object.c).
struct value global_find(const char *s, size_t n); // V_ABSENT: none

// Evaluation (eval.c).
struct value macro_call(struct render *r, struct macro *macro, struct arguments *args);
struct value loop_call(struct render *r, struct loop *loop, struct value iterable);
struct value loop_attribute(struct render *r, struct loop *loop, const char *s, size_t n);
void render_body(struct render *r);
enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };
enum flow exec(struct render *r, struct scope *scope, const struct node *n);
// The rest of a loop, from the next item on; `any`: an iteration came to its end.
enum flow loop_rest(struct render *r, struct scope *scope, const struct node *n, struct loop *loop,
                    struct scope *body, int any);

// Prefixes (prefix.c). An open list is the one that is cut short, or what follows its first items.
// `needs` is the number of items from which on a shorter list would have shown the template all
// that it has seen so far; whoever looks at an open list in another way than through these
// functions has seen its end.
enum { PROBED_LISTS = 8, PROBED_LOOPS = 8, PROBED_NAMESPACES = 16 };
struct prober {
    const struct template_prefixes *how;
    size_t needs;
    int running; // a prefix is being rendered
    int counts;  // the first time through: only what each loop needs is noted
    int off;     // something was made whose state is not kept
    struct scope *root;
    struct list *list[PROBED_LISTS]; // the open ones
    size_t n_lists;
    struct dict *space[PROBED_NAMESPACES];
    size_t n_spaces;
    size_t starts[PROBED_LOOPS]; // `needs` where each loop begins
    size_t n_loops;              // begun
    size_t n_counted;            // the first time through
    size_t spent;                // bytes for prefixes
};
// A loop over an open list.
struct probed_loop {
    struct list *list; // NULL: it is none
    size_t index;      // among such loops
    int resumes;       // what follows it can be run for a prefix
    uint64_t state;    // of all that outlives an iteration
    size_t settled;    // iterations after which it was another
};
void probe_seen(struct render *r, size_t needs);
struct list *probe_list(struct render *r, struct value v); // the open list that v is, or NULL
// The context's variable `json` as `v`: is it what is cut short?
void probe_context(struct render *r, const json_t *json, struct value v);
void probe_namespace(struct render *r, struct dict *d);
void probe_item(struct render *r, struct list *l, struct value key);
// l[start:] as an open list; 0: not one of these.
int probe_slice(struct render *r, struct list *l, const struct value part[3], struct value *out);
void probe_loop_begin(struct render *r, struct probed_loop *l, struct scope *scope,
                      struct loop *loop);
void probe_loop_item(struct render *r, struct probed_loop *l, struct scope *scope,
                     const struct node *n, struct loop *loop, struct scope *body, int any);
void probe_loop_end(struct render *r, struct probed_loop *l, const struct node *n,
                    struct loop *loop, int broken);
void probe_loop_seen(struct render *r, struct loop *loop, int ahead);

#endif
