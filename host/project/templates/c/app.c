// The exports of the world `service`, around the functions of `state_machine.c`. There is nothing to change here.
//
// The build generates `service.h` and `service.c` from `wit` with wit-bindgen.

#include "json.h"
#include "service.h"
#include "state_machine.h"
#include "text.h"

#define CHUNK_BYTES (1u << 20)

// The state machine. Every guest exports it.

void exports_oarlock_state_machine_machine_apply(
    exports_oarlock_state_machine_machine_moment_t *at, exports_oarlock_state_machine_machine_batch_t *commands,
    exports_oarlock_state_machine_machine_outcomes_t *ret) {
  size_t count = commands->ends.len;
  uint8_t *verdicts = allocated(count);
  uint32_t *ends = allocated(count * sizeof *ends);
  struct text out = {0};
  uint32_t start = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t end = commands->ends.ptr[i];
    struct span command = {(const char *)commands->data.ptr + start, end - start};
    verdicts[i] = apply(at->time_ms, command, &out) ? OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED
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
  struct text state = {0};
  write_state(&state);
  for (size_t start = 0; start < state.length; start += CHUNK_BYTES) {
    size_t left = state.length - start;
    service_list_u8_t chunk = {(uint8_t *)state.bytes + start, left < CHUNK_BYTES ? left : CHUNK_BYTES};
    oarlock_state_machine_streams_method_sink_write(to, &chunk);
  }
  text_free(&state);
  oarlock_state_machine_streams_sink_drop_borrow(to);
  return true;
}

bool exports_oarlock_state_machine_machine_restore(
    uint32_t written_by, exports_oarlock_state_machine_machine_borrow_source_t from, service_string_t *err) {
  struct text state = {0}, error = {0};
  for (;;) {
    service_list_u8_t chunk;
    oarlock_state_machine_streams_method_source_read(from, CHUNK_BYTES, &chunk);
    bool ended = chunk.len == 0;
    text_put_span(&state, (struct span){(const char *)chunk.ptr, chunk.len});
    service_list_u8_free(&chunk);
    if (ended) break;
  }
  oarlock_state_machine_streams_source_drop_borrow(from);
  bool is_valid = read_state(written_by, (struct span){state.bytes, state.length}, &error);
  if (!is_valid) *err = (service_string_t){(uint8_t *)error.bytes, error.length};
  text_free(&state);
  return is_valid;
}

// Queries. They change nothing and are not in the log.

bool exports_oarlock_state_machine_queries_query(
    exports_oarlock_state_machine_queries_moment_t *at, service_list_u8_t *request, service_list_u8_t *ret,
    service_list_u8_t *err) {
  struct text out = {0};
  struct span text = {(const char *)request->ptr, request->len};
  bool is_known = query(at->time_ms, text, &out);
  service_list_u8_free(request);
  *(is_known ? ret : err) = (service_list_u8_t){(uint8_t *)out.bytes, out.length};
  return is_known;
}

// Timers.

void exports_oarlock_state_machine_timers_wake(exports_oarlock_state_machine_timers_moment_t *at) { wake(at->time_ms); }

// The description of the guest.

void exports_oarlock_state_machine_about_describe(exports_oarlock_state_machine_about_description_t *ret) {
  service_string_dup(&ret->name, GUEST_NAME);
  ret->version = GUEST_VERSION;
  service_string_dup(&ret->codec, "json");
  service_string_dup(&ret->schema, "");
}

// The layout of the state.

void exports_oarlock_state_machine_layout_fingerprint(service_string_t *ret) { service_string_dup(ret, GUEST_LAYOUT); }
