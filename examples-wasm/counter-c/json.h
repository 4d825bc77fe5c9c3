// A JSON reader for messages such as {"add":{"by":5}}, and refusals in the shape of all example guests.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

// Appends {"error":{"code":…,"message":…,"field":…}}. Omits the field if `field.start` is NULL. `message` must not need
// escapes. `field` is the content of a JSON string.
void refuse(struct text *out, const char *code, const char *message, struct span field);

// Reads the message {"<name>":{"<field>":<number>}}, or {"<name>":{}} if `field` is NULL. Returns false for any other
// text, and appends a refusal with the code bad_<what> to `out`. A name written with escapes does not match.
bool json_message(struct span text, const char *what, const char *name, const char *field, int64_t *number,
                  struct text *out);
