#include "text.h"

#include <stdlib.h>
#include <string.h>

void *allocated(size_t bytes) {
  void *memory = malloc(bytes == 0 ? 1 : bytes);
  if (memory == NULL) abort();
  return memory;
}

void text_put_span(struct text *to, struct span more) {
  if (more.length == 0) return;
  if (more.length > to->capacity - to->length) {
    size_t capacity = 2 * to->capacity + more.length;
    char *bytes = realloc(to->bytes, capacity);
    if (bytes == NULL) abort();
    to->bytes = bytes;
    to->capacity = capacity;
  }
  memcpy(to->bytes + to->length, more.start, more.length);
  to->length += more.length;
}

void text_put(struct text *to, const char *more) { text_put_span(to, (struct span){more, strlen(more)}); }

void text_free(struct text *text) {
  free(text->bytes);
  *text = (struct text){0};
}
