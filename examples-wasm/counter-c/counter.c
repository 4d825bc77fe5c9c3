// The smallest guest, in C: a number, one command and one query.
//
//     {"add":{"by":5}}   ->  {"value":5}
//     {"get":{}}         ->  {"value":5}
//
// The state is in the module's memory, as in any program. It can be replicated because `apply` is a function of the state
// and the command alone. The exports are those of the world `service`. The build generates `service.h` and `service.c`
// from `wit` with wit-bindgen.

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "service.h"
#include "text.h"

#define CHUNK_BYTES (1u << 20)

// The state.
static int64_t value;

static void put_value(struct text *out) {
  char number[32];
  snprintf(number, sizeof number, "%" PRId64, value);
  text_put(out, "{\"value\":");
  text_put(out, number);
  text_put(out, "}");
}

// Executes one command and appends its reply, or its refusal, to `out`. A refused command changes nothing.
static bool apply(struct span command, struct text *out) {
  int64_t by;
  if (!json_message(command, "command", "add", "by", &by, out)) return false;
  int64_t sum;
  if (__builtin_add_overflow(value, by, &sum)) {
    char message[128];
    snprintf(message, sizeof message, "%" PRId64 " + %" PRId64 " does not fit into 64 bits; the value did not change", value, by);
    refuse(out, "overflow", message, (struct span){"by", 2});
    return false;
  }
  value = sum;
  put_value(out);
  return true;
}

// The state machine. Every guest exports it.

void exports_oarlock_state_machine_machine_apply(
    exports_oarlock_state_machine_machine_moment_t *at, exports_oarlock_state_machine_machine_batch_t *commands,
    exports_oarlock_state_machine_machine_outcomes_t *ret) {
  (void)at;
  size_t count = commands->ends.len;
  uint8_t *verdicts = allocated(count);
  uint32_t *ends = allocated(count * sizeof *ends);
  struct text out = {0};
  uint32_t start = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t end = commands->ends.ptr[i];
    struct span command = {(const char *)commands->data.ptr + start, end - start};
    verdicts[i] = apply(command, &out) ? OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED
                                       : OARLOCK_STATE_MACHINE_TYPES_VERDICT_REJECTED;
    ends[i] = (uint32_t)out.length;
    start = end;
  }
  oarlock_state_machine_types_batch_free(commands);
  ret->verdicts = (oarlock_state_machine_types_list_verdict_t){verdicts, count};
  ret->data = (service_list_u8_t){(uint8_t *)out.bytes, out.length};
  ret->ends = (service_list_u32_t){ends, count};
}

bool exports_oarlock_state_machine_machine_snapshot(
    exports_oarlock_state_machine_machine_borrow_sink_t to, service_string_t *err) {
  (void)err;
  uint8_t state[8];
  for (int i = 0; i < 8; i++) state[i] = (uint8_t)((uint64_t)value >> (8 * i));
  service_list_u8_t chunk = {state, sizeof state};
  oarlock_state_machine_streams_method_sink_write(to, &chunk);
  oarlock_state_machine_streams_sink_drop_borrow(to);
  return true;
}

bool exports_oarlock_state_machine_machine_restore(
    uint32_t written_by, exports_oarlock_state_machine_machine_borrow_source_t from, service_string_t *err) {
  (void)written_by;
  struct text state = {0};
  for (;;) {
    service_list_u8_t chunk;
    oarlock_state_machine_streams_method_source_read(from, CHUNK_BYTES, &chunk);
    bool ended = chunk.len == 0;
    text_put_span(&state, (struct span){(const char *)chunk.ptr, chunk.len});
    service_list_u8_free(&chunk);
    if (ended) break;
  }
  oarlock_state_machine_streams_source_drop_borrow(from);
  bool complete = state.length == 8;
  if (complete) {
    uint64_t read = 0;
    for (int i = 0; i < 8; i++) read |= (uint64_t)(uint8_t)state.bytes[i] << (8 * i);
    value = (int64_t)read;
  } else {
    char message[96];
    snprintf(message, sizeof message, "the state of a counter has 8 bytes, the snapshot has %zu", state.length);
    service_string_dup(err, message);
  }
  text_free(&state);
  return complete;
}

// Queries. They change nothing and are not in the log.

bool exports_oarlock_state_machine_queries_query(
    exports_oarlock_state_machine_queries_moment_t *at, service_list_u8_t *request, service_list_u8_t *ret,
    service_list_u8_t *err) {
  (void)at;
  struct text out = {0};
  struct span query = {(const char *)request->ptr, request->len};
  bool known = json_message(query, "query", "get", NULL, NULL, &out);
  if (known) put_value(&out);
  service_list_u8_free(request);
  *(known ? ret : err) = (service_list_u8_t){(uint8_t *)out.bytes, out.length};
  return known;
}

// Timers. A counter never requests a wake-up.

void exports_oarlock_state_machine_timers_wake(exports_oarlock_state_machine_timers_moment_t *at) { (void)at; }

// The description of the guest.

void exports_oarlock_state_machine_about_describe(exports_oarlock_state_machine_about_description_t *ret) {
  service_string_dup(&ret->name, "counter");
  ret->version = 1;
  service_string_dup(&ret->codec, "json");
  service_string_dup(&ret->schema, "");
}

// The layout of the state. Change it together with the bytes of a snapshot, and raise the version.

void exports_oarlock_state_machine_layout_fingerprint(service_string_t *ret) {
  service_string_dup(ret, "i64-little-endian");
}
