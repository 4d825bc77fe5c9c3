// Growing text, and borrowed pieces of text.
#pragma once

#include <stddef.h>

// A borrowed piece of a text, without a terminating NUL.
struct span {
  const char *start;
  size_t length;
};

// A text that grows. `{0}` is empty.
struct text {
  char *bytes;
  size_t length, capacity;
};

// Allocates memory. Traps if there is none left; the host then undoes the command.
void *allocated(size_t bytes);

void text_put(struct text *to, const char *more);
void text_put_span(struct text *to, struct span more);
void text_free(struct text *text);
