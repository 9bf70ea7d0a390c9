// SPDX-License-Identifier: MIT
// Options of the programs that render chats.
#ifndef BIN_CHAT_H
#define BIN_CHAT_H

#include "base/option.h"

#define OPTION_CHAT_TEMPLATE(v)                                                                    \
    OPT_TEXT(0, "chat-template", v, "FILE", "use this chat template in place of the model's")
#define OPTION_NOW(v)                                                                              \
    OPT_TEXT(0, "now", v, "YYYY-MM-DDTHH:MM:SS",                                                   \
             "the time that a chat template sees; without it, a template that asks for the time "  \
             "fails")

#endif
