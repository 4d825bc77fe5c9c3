// A mailbox in C: who takes from an empty one waits, and reminders arrive as items. It uses `guest-sdk/c/oarlock.c` for
// deferred replies and timers. Commands and replies are plain text:
//
//     put TEXT          ->  ok                   the first who waits gets the text
//     take WAIT_MS      ->  the oldest text; after WAIT_MS milliseconds without one: nothing
//     remind IN_MS TEXT ->  ok                   puts the text in IN_MS milliseconds; a text has one such time
//     forget TEXT       ->  ok, or refused: there is no such reminder
//     count  (query)    ->  number of texts, and of those who wait
//
// A text has at most 200 bytes.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oarlock.h"

#define MAX_TEXTS 10000u
#define MAX_TEXT_BYTES 200u
#define MAX_MS 86400000u

const struct guest_description guest_description = {"mailbox", 1, "mailbox-c:1", "text", ""};

// The state: two queues. Their first elements are at 0.
static char *texts[MAX_TEXTS];
static uint32_t text_count;
static uint64_t waiting[MAX_TEXTS];
static uint32_t waiting_count;

static struct bytes borrowed(const char *text) { return (struct bytes){(const uint8_t *)text, strlen(text)}; }

static bool refuse(struct buffer *out, const char *reason) {
  buffer_text(out, reason);
  return false;
}

// Gives a text to the first who waits, or keeps it. Returns whether there was room.
static bool put(struct cx *cx, const char *text) {
  if (waiting_count > 0) {
    uint64_t token = waiting[0];
    memmove(waiting, waiting + 1, --waiting_count * sizeof *waiting);
    cx_complete(cx, token, true, borrowed(text));
    return true;
  }
  if (text_count == MAX_TEXTS) return false;
  char *copy = allocated(strlen(text) + 1);
  strcpy(copy, text);
  texts[text_count++] = copy;
  return true;
}

static bool take(struct cx *cx, uint64_t wait_ms, struct buffer *out) {
  if (text_count > 0) {
    buffer_text(out, texts[0]);
    free(texts[0]);
    memmove(texts, texts + 1, --text_count * sizeof *texts);
    return true;
  }
  if (waiting_count == MAX_TEXTS) return refuse(out, "too many wait; try again later");
  uint64_t token = cx_defer(cx, cx_time_ms(cx) + wait_ms);
  if (token == 0) return refuse(out, "too many wait; try again later");
  waiting[waiting_count++] = token;
  // The reply at the deadline.
  buffer_text(out, "nothing");
  return true;
}

// Reads a number and the space after it. Returns the rest, or NULL.
static const char *number_of(const char *text, uint64_t *number) {
  char *end;
  if (*text < '0' || *text > '9') return NULL;
  *number = strtoull(text, &end, 10);
  if (*number > MAX_MS) return NULL;
  return *end == ' ' ? end + 1 : *end == 0 ? end : NULL;
}

bool guest_apply(struct cx *cx, struct bytes command, struct buffer *out) {
  char line[MAX_TEXT_BYTES + 32] = {0};
  if (command.length >= sizeof line || memchr(command.at, 0, command.length) != NULL) {
    return refuse(out, "a text has at most 200 bytes, none of them zero");
  }
  if (command.length > 0) memcpy(line, command.at, command.length);
  uint64_t ms;
  const char *rest;
  if (strncmp(line, "take ", 5) == 0 && (rest = number_of(line + 5, &ms)) != NULL && *rest == 0) {
    return take(cx, ms, out);
  }
  bool done;
  if (strncmp(line, "put ", 4) == 0 && strlen(line + 4) <= MAX_TEXT_BYTES) {
    done = put(cx, line + 4);
    if (!done) return refuse(out, "the mailbox is full; take texts first");
  } else if (strncmp(line, "remind ", 7) == 0 && (rest = number_of(line + 7, &ms)) != NULL &&
             strlen(rest) <= MAX_TEXT_BYTES) {
    if (!cx_set_timer(cx, rest, cx_time_ms(cx) + ms)) return refuse(out, "too many reminders; try again later");
  } else if (strncmp(line, "forget ", 7) == 0) {
    if (!cx_cancel_timer(cx, line + 7)) return refuse(out, "there is no such reminder");
  } else {
    return refuse(out, "commands are: put TEXT, take WAIT_MS, remind IN_MS TEXT, forget TEXT");
  }
  buffer_text(out, "ok");
  return true;
}

bool guest_query(uint64_t time_ms, struct bytes query, struct buffer *out) {
  (void)time_ms;
  if (query.length != 5 || memcmp(query.at, "count", 5) != 0) return refuse(out, "the query is: count");
  char counts[64];
  snprintf(counts, sizeof counts, "%" PRIu32 " %" PRIu32, text_count, waiting_count);
  buffer_text(out, counts);
  return true;
}

// A reminder that finds the mailbox full is lost; its event tells.
void guest_on_timer(struct cx *cx, const char *id) { cx_emit(cx, put(cx, id) ? "reminder" : "lost", borrowed(id)); }

void guest_on_deadline(struct cx *cx, uint64_t token) {
  (void)cx;
  uint32_t at = 0;
  while (at < waiting_count && waiting[at] != token) at++;
  if (at < waiting_count) memmove(waiting + at, waiting + at + 1, (--waiting_count - at) * sizeof *waiting);
}

void guest_on_wake(struct cx *cx) { (void)cx; }

// The tokens, each 8 bytes, after their number; then the texts, each with a zero at its end.
void guest_write(struct buffer *state) {
  buffer_put(state, &waiting_count, sizeof waiting_count);
  buffer_put(state, waiting, waiting_count * sizeof *waiting);
  for (uint32_t i = 0; i < text_count; i++) buffer_put(state, texts[i], strlen(texts[i]) + 1);
}

const char *guest_read(uint32_t written_by, struct bytes state) {
  (void)written_by;
  uint32_t count;
  if (state.length < sizeof count) return "the state of a mailbox has at least 4 bytes";
  memcpy(&count, state.at, sizeof count);
  size_t start = sizeof count + (size_t)count * sizeof *waiting;
  bool is_whole = count <= MAX_TEXTS && state.length >= start && (state.length == start || state.at[state.length - 1] == 0);
  if (!is_whole) return "the state of the mailbox is incomplete; fetch the snapshot again";
  uint32_t zeros = 0;
  for (size_t i = start; i < state.length; i++) zeros += state.at[i] == 0;
  if (zeros > MAX_TEXTS) return "the mailbox has too many texts";
  while (text_count > 0) free(texts[--text_count]);
  waiting_count = count;
  memcpy(waiting, state.at + sizeof count, count * sizeof *waiting);
  for (size_t at = start; at < state.length; at += strlen(texts[text_count - 1]) + 1) {
    const char *text = (const char *)state.at + at;
    texts[text_count] = allocated(strlen(text) + 1);
    strcpy(texts[text_count++], text);
  }
  return NULL;
}
