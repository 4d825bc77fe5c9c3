// A counter: a number, one command and one query.
//
//     {"add":{"by":5}}   ->  {"value":5}
//     {"get":{}}         ->  {"value":5}
//
// The state is in the module's memory, as in any program. It can be replicated because `apply` is a function of the state,
// the command and `time_ms` alone.

#include "state_machine.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"

const char GUEST_NAME[] = "{{name}}";
const uint32_t GUEST_VERSION = 1;
const char GUEST_LAYOUT[] = "{{name}}-c:1";

// The state.
static int64_t value;

static void put_value(struct text *out) {
  char number[32];
  snprintf(number, sizeof number, "%" PRId64, value);
  text_put(out, "{\"value\":");
  text_put(out, number);
  text_put(out, "}");
}

bool apply(uint64_t time_ms, struct span command, struct text *out) {
  (void)time_ms;
  int64_t by;
  if (!json_message(command, "command", "add", "by", &by, out)) return false;
  // Check first, change after: a refused command must not change the state.
  int64_t sum;
  if (__builtin_add_overflow(value, by, &sum)) {
    refuse(out, "overflow", "the sum is too large", (struct span){"by", 2});
    return false;
  }
  value = sum;
  put_value(out);
  return true;
}

bool query(uint64_t time_ms, struct span query, struct text *out) {
  (void)time_ms;
  if (!json_message(query, "query", "get", NULL, NULL, out)) return false;
  put_value(out);
  return true;
}

// A counter never requests a wake-up.
void wake(uint64_t time_ms) { (void)time_ms; }

void write_state(struct text *out) {
  char state[8];
  for (int i = 0; i < 8; i++) state[i] = (char)(uint8_t)((uint64_t)value >> (8 * i));
  text_put_span(out, (struct span){state, sizeof state});
}

bool read_state(uint32_t written_by, struct span state, struct text *error) {
  (void)written_by;
  if (state.length != 8) {
    text_put(error, "the state of a counter has 8 bytes");
    return false;
  }
  uint64_t read = 0;
  for (int i = 0; i < 8; i++) read |= (uint64_t)(uint8_t)state.start[i] << (8 * i);
  value = (int64_t)read;
  return true;
}
