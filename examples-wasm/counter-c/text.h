// Text that grows, and pieces of text that belong to somebody else.
#pragma once

#include <stddef.h>

// A piece of a text, without a NUL at its end.
struct span {
  const char *start;
  size_t length;
};

// A text that grows. `{0}` is an empty one.
struct text {
  char *bytes;
  size_t length, capacity;
};

// So many bytes, or a trap: where there is no memory left, the host undoes the command.
void *allocated(size_t bytes);

void text_put(struct text *to, const char *more);
void text_put_span(struct text *to, struct span more);
void text_free(struct text *text);
