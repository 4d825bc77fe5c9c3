// Just enough of JSON for messages such as {"add":{"by":5}}, and refusals in the shape of all example guests.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

// Adds {"error":{"code":…,"message":…,"field":…}}, without the field where `field` is empty. The message needs no
// escapes; the field is the inside of a JSON string.
void refuse(struct text *out, const char *code, const char *message, struct span field);

// Reads the message {"<name>":{"<field>":<number>}}, or {"<name>":{}} where `field` is NULL. False: it is something
// else, and `out` says what, with the code bad_<what>. A name that is written with escapes counts as another one.
bool json_message(struct span text, const char *what, const char *name, const char *field, int64_t *number,
                  struct text *out);
