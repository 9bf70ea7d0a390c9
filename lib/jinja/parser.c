// SPDX-License-Identifier: MIT
// Tokens to tree: jinja2's grammar with loop controls and transformers' {% generation %}. Names are
// interned; filters and tests are looked up here, so that a typing error is found before rendering.
#include "jinja/internal.h"

#include <string.h>

struct parser {
    struct template *t;
    struct sandbox *m;
    const struct token *at;
    unsigned depth;
    int in_loop;                 // {% break %} and {% continue %} may stand here
    int conditional;             // unknown filters are an error when they are reached, as in jinja2
    const struct token *unknown; // the name of a filter or test there is not
    int unknown_test;
    int uses[3]; // caller, kwargs, varargs were read (since the macro began)
};

static _Noreturn void fail_at(struct parser *p, const char *what)
{
    p->m->line = p->at->line;
    const char *end = p->at->type == T_PRINT_END   ? "end of print statement"
                      : p->at->type == T_BLOCK_END ? "end of statement block"
                      : p->at->type == T_END       ? "end of template"
                                                   : NULL;
    if (end)
        sandbox_fail(p->m, "%s, got '%s'", what, end);
    sandbox_fail(p->m, "%s, got '%.*s'", what, (int)(p->at->n > 60 ? 60 : p->at->n), p->at->s);
}

static int is_op(const struct parser *p, enum operator op)
{
    return p->at->type == T_OPERATOR && p->at->op == op;
}

static int is_word(const struct token *t, const char *word)
{
    return t->type == T_NAME && strlen(word) == t->n && memcmp(t->s, word, t->n) == 0;
}

static int at_word(const struct parser *p, const char *word)
{
    return is_word(p->at, word);
}

static const struct token *next(struct parser *p)
{
    const struct token *t = p->at;
    if (t->type != T_END)
        p->at++;
    p->m->line = t->line;
    return t;
}

static int skip_op(struct parser *p, enum operator op)
{
    if (!is_op(p, op))
        return 0;
    next(p);
    return 1;
}

static int skip_word(struct parser *p, const char *word)
{
    if (!at_word(p, word))
        return 0;
    next(p);
    return 1;
}

static void expect_op(struct parser *p, enum operator op, const char *text)
{
    if (!skip_op(p, op)) {
        char what[40] = "expected token '";
        strcat(strcat(what, text), "'");
        fail_at(p, what);
    }
}

static const struct token *expect_name(struct parser *p)
{
    if (p->at->type != T_NAME)
        fail_at(p, "expected token 'name'");
    return next(p);
}

static void enter(struct parser *p)
{
    if (++p->depth > TEMPLATE_TREE_DEPTH)
        sandbox_fail(p->m, "nested more than %d deep", (int)TEMPLATE_TREE_DEPTH);
}

static void leave(struct parser *p)
{
    p->depth--;
}

static uint32_t intern(struct template *t, const char *s, size_t n)
{
    for (size_t i = 0; i < t->n_names; i++)
        if (t->name[i].n == n && memcmp(t->name[i].s, s, n) == 0)
            return (uint32_t)i;
    if (t->n_names == t->names_capacity) {
        if (t->n_names >= 20000)
            sandbox_fail(&t->sandbox, "more than 20000 names");
        size_t more = t->names_capacity ? 2 * t->names_capacity : 32;
        struct name *grown = sandbox_get(&t->sandbox, more, sizeof *grown);
        if (t->n_names)
            memcpy(grown, t->name, t->n_names * sizeof *grown);
        t->name = grown;
        t->names_capacity = more;
    }
    t->name[t->n_names] = (struct name){s, n};
    return (uint32_t)t->n_names++;
}

static struct node *node_new(struct parser *p, enum node_kind kind)
{
    struct node *n = sandbox_get(p->m, 1, sizeof *n);
    n->kind = kind;
    n->line = p->at->line;
    n->depth = 1;
    return n;
}

// Every child is hung in by this, so that a tree can be walked without fear for the stack: chains
// like 1+1+1+... grow to the left without nesting in the parser.
static struct node *child(struct parser *p, struct node *parent, struct node *c)
{
    if (c && c->depth >= parent->depth)
        parent->depth = c->depth + 1;
    if (parent->depth > 4 * TEMPLATE_TREE_DEPTH)
        sandbox_fail(p->m, "an expression of more than %d parts in a chain",
                     4 * (int)TEMPLATE_TREE_DEPTH);
    return c;
}

static void list_add(struct parser *p, struct node *parent, struct node_list *l, struct node *c)
{
    if (l->n == l->capacity) {
        size_t more = l->capacity ? 2 * l->capacity : 4;
        struct node **grown = sandbox_get(p->m, more, sizeof *grown);
        if (l->n)
            memcpy(grown, l->at, l->n * sizeof *grown);
        l->at = grown;
        l->capacity = more;
    }
    l->at[l->n++] = child(p, parent, c);
}

// ---- expressions --------------------------------------------------------------------------------

static struct node *parse_expression(struct parser *p);
static struct node *parse_or(struct parser *p);
static struct node *parse_unary(struct parser *p, int with_filter);
static struct node *parse_postfix(struct parser *p, struct node *n);

static struct node *constant(struct parser *p, struct value v)
{
    struct node *n = node_new(p, N_CONST);
    n->constant = v;
    return n;
}

enum {
    TUPLE_CONDITIONAL = 1,
    TUPLE_PARENTHESES = 2,
    TUPLE_UNTIL_IN = 4,
    TUPLE_UNTIL_RECURSIVE = 8
};

static int tuple_ends(struct parser *p, int flags)
{
    return p->at->type == T_PRINT_END || p->at->type == T_BLOCK_END || is_op(p, OP_RPAREN) ||
           ((flags & TUPLE_UNTIL_IN) && at_word(p, "in")) ||
           ((flags & TUPLE_UNTIL_RECURSIVE) && at_word(p, "recursive"));
}

static struct node *parse_tuple(struct parser *p, int flags)
{
    struct node *tuple = node_new(p, N_TUPLE), *first = NULL;
    int is_tuple = 0;
    while (1) {
        if (first)
            expect_op(p, OP_COMMA, ",");
        if (tuple_ends(p, flags))
            break;
        struct node *item = flags & TUPLE_CONDITIONAL ? parse_expression(p) : parse_or(p);
        first = first ? first : item;
        list_add(p, tuple, &tuple->list, item);
        if (!is_op(p, OP_COMMA))
            break;
        is_tuple = 1;
    }
    if (is_tuple)
        return tuple;
    if (!first && !(flags & TUPLE_PARENTHESES))
        fail_at(p, "Expected an expression");
    return first ? first : tuple;
}

static struct node *parse_list(struct parser *p)
{
    struct node *n = node_new(p, N_LIST);
    next(p);
    while (!is_op(p, OP_RBRACKET)) {
        if (n->list.n)
            expect_op(p, OP_COMMA, ",");
        if (is_op(p, OP_RBRACKET))
            break;
        list_add(p, n, &n->list, parse_expression(p));
    }
    next(p);
    return n;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *n = node_new(p, N_DICT);
    next(p);
    while (!is_op(p, OP_RBRACE)) {
        if (n->list.n)
            expect_op(p, OP_COMMA, ",");
        if (is_op(p, OP_RBRACE))
            break;
        list_add(p, n, &n->list, parse_expression(p));
        expect_op(p, OP_COLON, ":");
        list_add(p, n, &n->list, parse_expression(p));
    }
    next(p);
    return n;
}

static struct node *parse_strings(struct parser *p)
{
    struct node *n = constant(p, next(p)->value);
    while (p->at->type == T_STRING) { // neighbours are joined
        struct value more = next(p)->value;
        char *s = sandbox_get(p->m, n->constant.n + more.n + 1, 1);
        memcpy(s, n->constant.s, n->constant.n);
        memcpy(s + n->constant.n, more.s, more.n);
        n->constant = value_string(s, n->constant.n + more.n);
    }
    return n;
}

static struct node *parse_name(struct parser *p)
{
    struct node *n = node_new(p, N_CONST);
    const struct token *t = next(p);
    if (is_word(t, "true") || is_word(t, "True")) {
        n->constant = value_bool(1);
    } else if (is_word(t, "false") || is_word(t, "False")) {
        n->constant = value_bool(0);
    } else if (is_word(t, "none") || is_word(t, "None")) {
        n->constant = value_none();
    } else {
        n->kind = N_NAME;
        n->name = intern(p->t, t->s, t->n);
        p->uses[0] |= n->name == p->t->caller;
        p->uses[1] |= n->name == p->t->kwargs;
        p->uses[2] |= n->name == p->t->varargs;
    }
    return n;
}

static struct node *parse_primary(struct parser *p)
{
    struct node *n = NULL;
    enter(p);
    if (p->at->type == T_NAME) {
        n = parse_name(p);
    } else if (p->at->type == T_STRING) {
        n = parse_strings(p);
    } else if (p->at->type == T_INT || p->at->type == T_FLOAT) {
        n = constant(p, p->at->value);
        next(p);
    } else if (skip_op(p, OP_LPAREN)) {
        n = parse_tuple(p, TUPLE_CONDITIONAL | TUPLE_PARENTHESES);
        expect_op(p, OP_RPAREN, ")");
    } else if (is_op(p, OP_LBRACKET)) {
        n = parse_list(p);
    } else if (is_op(p, OP_LBRACE)) {
        n = parse_dict(p);
    } else {
        fail_at(p, "expected an expression");
    }
    leave(p);
    return n;
}

static void add_named(struct parser *p, struct node *parent, struct call_node *c, struct value name,
                      struct node *value)
{
    if (c->n_named == c->named_capacity) {
        size_t more = c->named_capacity ? 2 * c->named_capacity : 4;
        struct named_node *grown = sandbox_get(p->m, more, sizeof *grown);
        if (c->n_named)
            memcpy(grown, c->named, c->n_named * sizeof *grown);
        c->named = grown;
        c->named_capacity = more;
    }
    c->named[c->n_named++] = (struct named_node){name, child(p, parent, value)};
}

static void parse_arguments(struct parser *p, struct node *parent)
{
    struct call_node *c = parent->call;
    int first = 1;
    expect_op(p, OP_LPAREN, "(");
    while (!is_op(p, OP_RPAREN)) {
        if (!first) {
            expect_op(p, OP_COMMA, ",");
            if (is_op(p, OP_RPAREN))
                break;
        }
        first = 0;
        if (is_op(p, OP_MUL) && !c->star && !c->star_star) {
            next(p);
            c->star = child(p, parent, parse_expression(p));
        } else if (is_op(p, OP_POW) && !c->star_star) {
            next(p);
            c->star_star = child(p, parent, parse_expression(p));
        } else if (p->at->type == T_NAME && p->at[1].type == T_OPERATOR &&
                   p->at[1].op == OP_ASSIGN && !c->star_star) {
            const struct token *name = next(p);
            next(p);
            add_named(p, parent, c, value_string(name->s, name->n), parse_expression(p));
        } else {
            if (c->n_named || c->star || c->star_star)
                fail_at(p, "invalid syntax for function call expression");
            list_add(p, parent, &c->positional, parse_expression(p));
        }
    }
    next(p);
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *n = node_new(p, N_CALL);
    n->a = child(p, n, callee);
    n->call = sandbox_get(p->m, 1, sizeof *n->call);
    parse_arguments(p, n);
    return n;
}

static struct node *parse_subscript_part(struct parser *p, struct node *object)
{
    struct node *bound[3] = {NULL, NULL, NULL};
    if (!is_op(p, OP_COLON)) {
        bound[0] = parse_expression(p);
        if (!is_op(p, OP_COLON))
            return bound[0];
    }
    struct node *n = node_new(p, N_SLICE);
    for (int i = 1; i < 3 && skip_op(p, OP_COLON); i++)
        if (!is_op(p, OP_RBRACKET) && !is_op(p, OP_COMMA) && !is_op(p, OP_COLON))
            bound[i] = parse_expression(p);
    list_add(p, n, &n->list, object);
    for (int i = 0; i < 3; i++)
        list_add(p, n, &n->list, bound[i]);
    return n;
}

static struct node *parse_item(struct parser *p, struct node *object)
{
    struct node *n = node_new(p, N_ITEM), *tuple = node_new(p, N_TUPLE);
    while (!is_op(p, OP_RBRACKET)) {
        if (tuple->list.n)
            expect_op(p, OP_COMMA, ",");
        list_add(p, tuple, &tuple->list, parse_subscript_part(p, object));
    }
    next(p);
    struct node *only = tuple->list.n == 1 ? tuple->list.at[0] : NULL;
    if (only && only->kind == N_SLICE && only->list.at[0] == object)
        return only;
    for (size_t i = 0; i < tuple->list.n; i++)
        if (tuple->list.at[i]->kind == N_SLICE && tuple->list.at[i]->list.at[0] == object)
            fail_at(p, "slices in several dimensions are not supported");
    n->a = child(p, n, object);
    n->b = child(p, n, only ? only : tuple);
    return n;
}

static struct node *parse_dot(struct parser *p, struct node *object)
{
    struct node *n = node_new(p, N_ATTR);
    const struct token *t = next(p);
    n->a = child(p, n, object);
    if (t->type == T_NAME) {
        n->constant = value_string(t->s, t->n);
    } else if (t->type == T_INT) {
        n->kind = N_ITEM;
        n->b = child(p, n, constant(p, t->value));
    } else {
        p->at = t;
        fail_at(p, "expected name or number");
    }
    return n;
}

static struct node *parse_postfix(struct parser *p, struct node *n)
{
    while (1) {
        if (skip_op(p, OP_DOT))
            n = parse_dot(p, n);
        else if (skip_op(p, OP_LBRACKET))
            n = parse_item(p, n);
        else if (is_op(p, OP_LPAREN))
            n = parse_call(p, n);
        else
            return n;
    }
}

// "name", or "name.name", which no filter or test is called.
static const struct function *find_function(struct parser *p, const struct token *name, int test)
{
    const struct function *f = test ? test_find(name->s, name->n) : filter_find(name->s, name->n);
    while (skip_op(p, OP_DOT)) {
        expect_name(p);
        f = NULL;
    }
    if (!f && !p->conditional && !p->unknown) {
        p->unknown = name;
        p->unknown_test = test;
    }
    return f;
}

static void check_unknown(struct parser *p)
{
    if (!p->unknown)
        return;
    p->m->line = p->unknown->line;
    sandbox_fail(p->m, "No %s named '%.*s'.", p->unknown_test ? "test" : "filter",
                 (int)(p->unknown->n > 100 ? 100 : p->unknown->n), p->unknown->s);
}

// "name(args)" after a '|' or a block tag; `value` NULL: the text of a block.
static struct node *parse_filter(struct parser *p, struct node *value)
{
    struct node *n = node_new(p, N_FILTER);
    const struct token *name = expect_name(p);
    n->a = child(p, n, value);
    n->constant = value_string(name->s, name->n);
    n->function = find_function(p, name, 0);
    n->call = sandbox_get(p->m, 1, sizeof *n->call);
    if (is_op(p, OP_LPAREN))
        parse_arguments(p, n);
    return n;
}

static int test_argument_follows(struct parser *p)
{
    if (p->at->type == T_NAME)
        return !at_word(p, "else") && !at_word(p, "or") && !at_word(p, "and");
    return p->at->type == T_STRING || p->at->type == T_INT || p->at->type == T_FLOAT ||
           is_op(p, OP_LBRACKET) || is_op(p, OP_LBRACE);
}

static struct node *parse_test(struct parser *p, struct node *value)
{
    int negated = skip_word(p, "not");
    struct node *n = node_new(p, N_TEST);
    const struct token *name = expect_name(p);
    n->a = child(p, n, value);
    n->constant = value_string(name->s, name->n);
    n->function = find_function(p, name, 1);
    n->call = sandbox_get(p->m, 1, sizeof *n->call);
    if (is_op(p, OP_LPAREN)) {
        parse_arguments(p, n);
    } else if (test_argument_follows(p)) {
        if (at_word(p, "is"))
            fail_at(p, "You cannot chain multiple tests with is");
        struct node *argument = parse_primary(p);
        list_add(p, n, &n->call->positional, parse_postfix(p, argument));
    }
    if (!negated)
        return n;
    struct node *not = node_new(p, N_NOT);
    not ->a = child(p, not, n);
    return not ;
}

static struct node *parse_filters(struct parser *p, struct node *n)
{
    while (1) {
        if (skip_op(p, OP_PIPE))
            n = parse_filter(p, n);
        else if (skip_word(p, "is"))
            n = parse_test(p, n);
        else if (is_op(p, OP_LPAREN))
            n = parse_call(p, n);
        else
            return n;
    }
}

static struct node *parse_unary(struct parser *p, int with_filter)
{
    struct node *n;
    enter(p);
    if (is_op(p, OP_SUB) || is_op(p, OP_ADD)) {
        n = node_new(p, is_op(p, OP_SUB) ? N_NEG : N_POS);
        next(p);
        n->a = child(p, n, parse_unary(p, 0));
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filter)
        n = parse_filters(p, n);
    leave(p);
    return n;
}

static struct node *binary(struct parser *p, enum operator op, struct node *left,
                           struct node *right)
{
    struct node *n = node_new(p, N_BINARY);
    n->op = op;
    n->a = child(p, n, left);
    n->b = child(p, n, right);
    return n;
}

static struct node *parse_power(struct parser *p)
{
    struct node *n = parse_unary(p, 1);
    while (skip_op(p, OP_POW))
        n = binary(p, OP_POW, n, parse_unary(p, 1));
    return n;
}

static struct node *parse_product(struct parser *p)
{
    struct node *n = parse_power(p);
    while (is_op(p, OP_MUL) || is_op(p, OP_DIV) || is_op(p, OP_FLOORDIV) || is_op(p, OP_MOD)) {
        enum operator op = next(p)->op;
        n = binary(p, op, n, parse_power(p));
    }
    return n;
}

static struct node *parse_concat(struct parser *p)
{
    struct node *first = parse_product(p);
    if (!is_op(p, OP_TILDE))
        return first;
    struct node *n = node_new(p, N_CONCAT);
    list_add(p, n, &n->list, first);
    while (skip_op(p, OP_TILDE))
        list_add(p, n, &n->list, parse_product(p));
    return n;
}

static struct node *parse_sum(struct parser *p)
{
    struct node *n = parse_concat(p);
    while (is_op(p, OP_ADD) || is_op(p, OP_SUB)) {
        enum operator op = next(p)->op;
        n = binary(p, op, n, parse_concat(p));
    }
    return n;
}

static enum operator comparison(struct parser *p)
{
    if (p->at->type == T_OPERATOR && p->at->op >= OP_EQ && p->at->op <= OP_GE)
        return next(p)->op;
    if (skip_word(p, "in"))
        return OP_IN;
    if (at_word(p, "not") && is_word(p->at + 1, "in")) {
        next(p);
        next(p);
        return OP_NOT_IN;
    }
    return OP_NONE;
}

static struct node *parse_compare(struct parser *p)
{
    struct node *first = parse_sum(p), *n = NULL;
    enum operator op;
    while ((op = comparison(p))) {
        struct node *part = node_new(p, N_COMPARE); // carries the operator and its right side
        part->op = op;
        part->a = child(p, part, parse_sum(p));
        if (!n) {
            n = node_new(p, N_COMPARE);
            n->a = child(p, n, first);
        }
        list_add(p, n, &n->list, part);
    }
    return n ? n : first;
}

static struct node *parse_not(struct parser *p)
{
    if (!at_word(p, "not"))
        return parse_compare(p);
    enter(p);
    struct node *n = node_new(p, N_NOT);
    next(p);
    n->a = child(p, n, parse_not(p));
    leave(p);
    return n;
}

static struct node *parse_and(struct parser *p)
{
    struct node *left = parse_not(p);
    while (at_word(p, "and")) {
        struct node *n = node_new(p, N_AND);
        next(p);
        n->a = child(p, n, left);
        n->b = child(p, n, parse_not(p));
        left = n;
    }
    return left;
}

static struct node *parse_or(struct parser *p)
{
    struct node *left = parse_and(p);
    while (at_word(p, "or")) {
        struct node *n = node_new(p, N_OR);
        next(p);
        n->a = child(p, n, left);
        n->b = child(p, n, parse_and(p));
        left = n;
    }
    return left;
}

static struct node *parse_expression(struct parser *p)
{
    enter(p);
    const struct token *unknown = p->unknown;
    struct node *value = parse_or(p);
    while (at_word(p, "if")) {
        struct node *n = node_new(p, N_IF_EXPR);
        next(p);
        p->unknown = unknown; // what stands in a conditional expression counts when it is reached
        p->conditional++;
        n->a = child(p, n, value);
        n->b = child(p, n, parse_or(p));
        if (skip_word(p, "else"))
            n->c = child(p, n, parse_expression(p));
        p->conditional--;
        value = n;
    }
    leave(p);
    return value;
}

// ---- targets ------------------------------------------------------------------------------------

static struct node *parse_target_name(struct parser *p)
{
    const struct token *t = expect_name(p);
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (is_word(t, constants[i]))
            sandbox_fail(p->m, "can't assign to '%s'", constants[i]);
    struct node *n = node_new(p, N_TARGET_NAME);
    n->name = intern(p->t, t->s, t->n);
    return n;
}

static struct node *parse_target(struct parser *p, int until, int attributes);

static struct node *parse_target_one(struct parser *p, int attributes)
{
    if (skip_op(p, OP_LPAREN)) {
        enter(p);
        struct node *n = parse_target(p, 0, attributes);
        expect_op(p, OP_RPAREN, ")");
        leave(p);
        return n;
    }
    if (p->at->type != T_NAME)
        fail_at(p, "expected the name of a variable");
    struct node *n = parse_target_name(p);
    if (attributes && skip_op(p, OP_DOT)) {
        const struct token *t = expect_name(p);
        n->kind = N_TARGET_ATTR;
        n->constant = value_string(t->s, t->n);
    }
    return n;
}

static struct node *parse_target(struct parser *p, int until, int attributes)
{
    struct node *tuple = node_new(p, N_TARGET_TUPLE), *first = NULL;
    int is_tuple = 0;
    while (1) {
        if (first)
            expect_op(p, OP_COMMA, ",");
        if (tuple_ends(p, until))
            break;
        struct node *item = parse_target_one(p, attributes);
        first = first ? first : item;
        list_add(p, tuple, &tuple->list, item);
        if (!is_op(p, OP_COMMA))
            break;
        is_tuple = 1;
    }
    if (!first)
        fail_at(p, "Expected an expression");
    return is_tuple ? tuple : first;
}

// ---- statements ---------------------------------------------------------------------------------

struct ends {
    const char *tag[4];
};
static void parse_body(struct parser *p, struct node *parent, struct node_list *out,
                       const struct ends *ends);

static void block_end(struct parser *p)
{
    if (p->at->type != T_BLOCK_END)
        fail_at(p, "expected token 'end of statement block'");
    next(p);
}

// The rest of this tag, and the body up to one of `ends`, whose name is the next token.
static void parse_until(struct parser *p, struct node *parent, struct node_list *out,
                        struct ends ends)
{
    check_unknown(p);
    skip_op(p, OP_COLON);
    block_end(p);
    enter(p);
    parse_body(p, parent, out, &ends);
    leave(p);
}

static void check_loop_target(struct parser *p, const struct node *target)
{
    if (target->kind == N_TARGET_NAME && target->name == p->t->loop)
        sandbox_fail(p->m, "Can't assign to special loop variable in for-loop target");
    for (size_t i = 0; i < target->list.n; i++)
        check_loop_target(p, target->list.at[i]);
}

static struct node *parse_for(struct parser *p)
{
    struct node *n = node_new(p, N_FOR);
    int conditional = p->conditional, in_loop = p->in_loop;
    n->a = child(p, n, parse_target(p, TUPLE_UNTIL_IN, 0));
    check_loop_target(p, n->a);
    if (!skip_word(p, "in"))
        fail_at(p, "expected token 'in'");
    n->b = child(p, n, parse_tuple(p, TUPLE_UNTIL_RECURSIVE));
    if (skip_word(p, "if"))
        n->c = child(p, n, parse_expression(p));
    n->recursive = skip_word(p, "recursive");
    p->conditional = 0;
    p->in_loop = 1;
    parse_until(p, n, &n->list, (struct ends){{"endfor", "else"}});
    p->in_loop = in_loop && !n->recursive;
    if (at_word(p, "else")) {
        next(p);
        parse_until(p, n, &n->other, (struct ends){{"endfor"}});
    }
    next(p);
    p->conditional = conditional;
    p->in_loop = in_loop;
    return n;
}

static struct node *parse_if(struct parser *p)
{
    struct node *first = node_new(p, N_IF), *n = first;
    const struct ends ends = {{"elif", "else", "endif"}};
    p->conditional++;
    while (1) {
        n->a = child(p, n, parse_tuple(p, 0));
        parse_until(p, n, &n->list, ends);
        if (!skip_word(p, "elif"))
            break;
        // A long chain of elifs is a list, not a tower.
        struct node *branch = node_new(p, N_IF);
        list_add(p, first, &first->values, branch);
        n = branch;
    }
    for (size_t i = 0; i < first->values.n; i++)
        child(p, first, first->values.at[i]);
    if (skip_word(p, "else"))
        parse_until(p, first, &first->other, (struct ends){{"endif"}});
    next(p);
    p->conditional--;
    return first;
}

static struct node *parse_set(struct parser *p)
{
    struct node *n = node_new(p, N_SET);
    n->a = child(p, n, parse_target(p, 0, 1));
    if (skip_op(p, OP_ASSIGN)) {
        n->b = child(p, n, parse_tuple(p, TUPLE_CONDITIONAL));
        return n;
    }
    n->kind = N_SET_BLOCK;
    struct node *filter = NULL;
    while (skip_op(p, OP_PIPE))
        filter = parse_filter(p, filter);
    n->b = child(p, n, filter);
    int conditional = p->conditional;
    p->conditional = 0;
    parse_until(p, n, &n->list, (struct ends){{"endset"}});
    p->conditional = conditional;
    next(p);
    return n;
}

static void parse_signature(struct parser *p, struct node *n)
{
    struct macro_node *m = n->macro;
    expect_op(p, OP_LPAREN, "(");
    while (!is_op(p, OP_RPAREN)) {
        if (m->n)
            expect_op(p, OP_COMMA, ",");
        struct node *name = parse_target_name(p);
        if (m->n == m->capacity) {
            size_t more = m->capacity ? 2 * m->capacity : 8;
            uint32_t *parameter = sandbox_get(p->m, more, sizeof *parameter);
            struct node **defaults = sandbox_get(p->m, more, sizeof *defaults);
            if (m->n) {
                memcpy(parameter, m->parameter, m->n * sizeof *parameter);
                memcpy(defaults, m->defaults, m->n * sizeof *defaults);
            }
            m->parameter = parameter;
            m->defaults = defaults;
            m->capacity = more;
        }
        for (size_t i = 0; i < m->n; i++)
            if (m->parameter[i] == name->name)
                sandbox_fail(p->m, "duplicate argument in the definition of a macro");
        m->parameter[m->n] = name->name;
        m->explicit_caller |= name->name == p->t->caller;
        if (skip_op(p, OP_ASSIGN))
            m->defaults[m->n] = child(p, n, parse_expression(p));
        else if (m->n && m->defaults[m->n - 1])
            fail_at(p, "non-default argument follows default argument");
        m->n++;
    }
    next(p);
}

static int has_parameter(const struct macro_node *m, uint32_t name)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->parameter[i] == name)
            return 1;
    return 0;
}

// The body of a macro or of a call block, which is a function of its own: what it reads of caller,
// kwargs and varargs decides what it accepts.
static void parse_function_body(struct parser *p, struct node *n, const char *end)
{
    struct macro_node *m = n->macro;
    int uses[3], conditional = p->conditional, in_loop = p->in_loop;
    memcpy(uses, p->uses, sizeof uses);
    memset(p->uses, 0, sizeof p->uses);
    p->conditional = p->in_loop = 0;
    parse_until(p, n, &n->list, (struct ends){{end}});
    next(p);
    m->uses_caller = p->uses[0];
    m->uses_kwargs = p->uses[1] && !has_parameter(m, p->t->kwargs);
    m->uses_varargs = p->uses[2] && !has_parameter(m, p->t->varargs);
    if (m->uses_caller && m->explicit_caller)
        for (size_t i = 0; i < m->n; i++)
            if (m->parameter[i] == p->t->caller && !m->defaults[i])
                sandbox_fail(p->m, "When defining macros or call blocks the special \"caller\" "
                                   "argument must be omitted or be given a default.");
    p->conditional = conditional;
    p->in_loop = in_loop;
    for (int i = 0; i < 3; i++)
        p->uses[i] |= uses[i];
}

static struct node *parse_macro(struct parser *p)
{
    struct node *n = node_new(p, N_MACRO);
    n->macro = sandbox_get(p->m, 1, sizeof *n->macro);
    n->name = parse_target_name(p)->name;
    parse_signature(p, n);
    parse_function_body(p, n, "endmacro");
    return n;
}

static struct node *parse_call_block(struct parser *p)
{
    struct node *n = node_new(p, N_CALL_BLOCK);
    n->macro = sandbox_get(p->m, 1, sizeof *n->macro);
    if (is_op(p, OP_LPAREN))
        parse_signature(p, n);
    n->a = child(p, n, parse_expression(p));
    if (n->a->kind != N_CALL)
        sandbox_fail(p->m, "expected call");
    parse_function_body(p, n, "endcall");
    return n;
}

static struct node *parse_generation(struct parser *p)
{
    struct node *n = node_new(p, N_GENERATION);
    n->macro = sandbox_get(p->m, 1, sizeof *n->macro);
    p->t->marks_generation = 1;
    parse_function_body(p, n, "endgeneration");
    return n;
}

static struct node *parse_filter_block(struct parser *p)
{
    struct node *n = node_new(p, N_FILTER_BLOCK);
    struct node *filter = parse_filter(p, NULL);
    while (skip_op(p, OP_PIPE))
        filter = parse_filter(p, filter);
    n->b = child(p, n, filter);
    int conditional = p->conditional;
    p->conditional = 0;
    parse_until(p, n, &n->list, (struct ends){{"endfilter"}});
    p->conditional = conditional;
    next(p);
    return n;
}

static struct node *parse_with(struct parser *p)
{
    struct node *n = node_new(p, N_WITH);
    while (p->at->type != T_BLOCK_END) {
        if (n->values.n)
            expect_op(p, OP_COMMA, ",");
        list_add(p, n, &n->values, parse_target(p, 0, 0));
        expect_op(p, OP_ASSIGN, "=");
        list_add(p, n, &n->values, parse_expression(p));
    }
    int conditional = p->conditional;
    p->conditional = 0;
    parse_until(p, n, &n->list, (struct ends){{"endwith"}});
    p->conditional = conditional;
    next(p);
    return n;
}

static struct node *parse_block(struct parser *p)
{
    struct node *n = node_new(p, N_BLOCK);
    const struct token *name = expect_name(p);
    n->name = intern(p->t, name->s, name->n);
    if (at_word(p, "scoped") || at_word(p, "required"))
        fail_at(p, "scoped and required blocks are not supported");
    int conditional = p->conditional, in_loop = p->in_loop;
    p->conditional = p->in_loop = 0;
    parse_until(p, n, &n->list, (struct ends){{"endblock"}});
    p->conditional = conditional;
    p->in_loop = in_loop;
    next(p);
    if (p->at->type == T_NAME && intern(p->t, p->at->s, p->at->n) == n->name)
        next(p);
    return n;
}

static struct node *parse_jump(struct parser *p, enum node_kind kind)
{
    if (!p->in_loop)
        sandbox_fail(p->m, "'%s' outside loop", kind == N_BREAK ? "break" : "continue");
    return node_new(p, kind);
}

static struct node *parse_print(struct parser *p)
{
    struct node *n = node_new(p, N_PRINT);
    n->a = child(p, n, parse_tuple(p, TUPLE_CONDITIONAL));
    return n;
}

static struct node *parse_print_statement(struct parser *p)
{
    struct node *n = node_new(p, N_TUPLE);
    while (p->at->type != T_BLOCK_END) {
        if (n->list.n)
            expect_op(p, OP_COMMA, ",");
        struct node *one = node_new(p, N_PRINT);
        one->a = child(p, one, parse_expression(p));
        list_add(p, n, &n->list, one);
    }
    struct node *all = node_new(p, N_IF); // a body that is always rendered
    all->a = child(p, all, constant(p, value_bool(1)));
    all->list = n->list;
    child(p, all, n);
    return all;
}

static struct node *parse_statement(struct parser *p)
{
    static const char *const files[] = {"include", "import", "from", "extends"};
    if (p->at->type != T_NAME)
        fail_at(p, "tag name expected");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (at_word(p, files[i]))
            sandbox_fail(p->m, "{%% %s %%} is refused: a chat template has no other files",
                         files[i]);
    if (skip_word(p, "for"))
        return parse_for(p);
    if (skip_word(p, "if"))
        return parse_if(p);
    if (skip_word(p, "set"))
        return parse_set(p);
    if (skip_word(p, "macro"))
        return parse_macro(p);
    if (skip_word(p, "call"))
        return parse_call_block(p);
    if (skip_word(p, "filter"))
        return parse_filter_block(p);
    if (skip_word(p, "with"))
        return parse_with(p);
    if (skip_word(p, "generation"))
        return parse_generation(p);
    if (skip_word(p, "break"))
        return parse_jump(p, N_BREAK);
    if (skip_word(p, "continue"))
        return parse_jump(p, N_CONTINUE);
    if (skip_word(p, "block"))
        return parse_block(p);
    if (skip_word(p, "print"))
        return parse_print_statement(p);
    if (at_word(p, "autoescape"))
        sandbox_fail(p->m, "{%% autoescape %%} is not supported");
    sandbox_fail(p->m, "Encountered unknown tag '%.*s'.", (int)(p->at->n > 60 ? 60 : p->at->n),
                 p->at->s);
}

static int ends_body(struct parser *p, const struct ends *ends)
{
    for (int i = 0; ends && i < 4 && ends->tag[i]; i++)
        if (at_word(p, ends->tag[i]))
            return 1;
    return 0;
}

static void parse_body(struct parser *p, struct node *parent, struct node_list *out,
                       const struct ends *ends)
{
    unsigned line = p->at->line;
    while (1) {
        if (p->at->type == T_END) {
            if (!ends)
                return;
            sandbox_fail(
                p->m, "Unexpected end of template: 'end' of the block of line %u is missing ('%s')",
                line, ends->tag[0]);
        }
        if (p->at->type == T_DATA) {
            struct node *n = node_new(p, N_DATA);
            n->constant = value_string(p->at->s, p->at->n);
            next(p);
            list_add(p, parent, out, n);
        } else if (p->at->type == T_PRINT_BEGIN) {
            next(p);
            list_add(p, parent, out, parse_print(p));
            if (p->at->type != T_PRINT_END)
                fail_at(p, "expected token 'end of print statement'");
            next(p);
        } else {
            next(p); // T_BLOCK_BEGIN
            if (ends_body(p, ends))
                return;
            p->m->line = p->at->line;
            struct node *n = parse_statement(p);
            list_add(p, parent, out, n);
            block_end(p);
        }
        check_unknown(p);
    }
}

void template_build(struct template *t, const char *source, size_t size)
{
    struct token_array tokens = {NULL, 0, 0};
    struct parser p = {.t = t, .m = &t->sandbox};
    t->caller = intern(t, "caller", 6);
    t->kwargs = intern(t, "kwargs", 6);
    t->varargs = intern(t, "varargs", 7);
    t->loop = intern(t, "loop", 4);
    template_lex(&t->sandbox, source, size, &tokens);
    p.at = tokens.at;
    struct node *root = sandbox_get(&t->sandbox, 1, sizeof *root);
    parse_body(&p, root, &root->list, NULL);
    t->body = root->list;
    template_declare(t);
}
