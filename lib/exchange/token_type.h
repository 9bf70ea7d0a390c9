// SPDX-License-Identifier: MIT
// What a token is, as the key tokenizer.ggml.token_type of a GGUF file has it.
#ifndef EXCHANGE_TOKEN_TYPE_H
#define EXCHANGE_TOKEN_TYPE_H

enum exchange_token {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE,
};

#endif
