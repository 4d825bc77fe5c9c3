// What `oarlock.c` needs of the bindings, for tests without WebAssembly.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *ptr;
  size_t len;
} service_string_t, service_list_u8_t, oarlock_state_machine_types_list_verdict_t;
typedef struct {
  uint32_t *ptr;
  size_t len;
} service_list_u32_t;
typedef struct {
  service_string_t *ptr;
  size_t len;
} service_list_string_t;
typedef struct {
  service_string_t name;
  service_list_string_t values;
} oarlock_state_machine_callers_scope_t;
typedef struct {
  oarlock_state_machine_callers_scope_t *ptr;
  size_t len;
} oarlock_state_machine_callers_list_scope_t;
typedef struct {
  service_string_t name;
  oarlock_state_machine_callers_list_scope_t scopes;
} oarlock_state_machine_callers_caller_t;
typedef struct {
  uint64_t index, time_ms;
} exports_oarlock_state_machine_machine_moment_t, exports_oarlock_state_machine_queries_moment_t,
    exports_oarlock_state_machine_timers_moment_t;
typedef struct {
  service_list_u8_t data;
  service_list_u32_t ends;
} exports_oarlock_state_machine_machine_batch_t;
typedef struct {
  oarlock_state_machine_types_list_verdict_t verdicts;
  service_list_u8_t data;
  service_list_u32_t ends;
} exports_oarlock_state_machine_machine_outcomes_t;
typedef struct {
  service_string_t name;
  uint32_t version;
  service_string_t codec, schema;
} exports_oarlock_state_machine_about_description_t;
typedef int exports_oarlock_state_machine_machine_borrow_sink_t, exports_oarlock_state_machine_machine_borrow_source_t;
typedef uint8_t oarlock_state_machine_types_verdict_t;

#define OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED 0
#define OARLOCK_STATE_MACHINE_TYPES_VERDICT_REJECTED 1
#define OARLOCK_STATE_MACHINE_TYPES_VERDICT_DEFERRED 2

void oarlock_state_machine_host_emit(service_string_t *topic, service_list_u8_t *payload);
void oarlock_state_machine_host_wake_at(uint64_t time_ms);
void oarlock_state_machine_host_complete(uint64_t token, bool accepted, service_list_u8_t *reply);
bool oarlock_state_machine_callers_caller_of(uint32_t command, oarlock_state_machine_callers_caller_t *ret);
void oarlock_state_machine_callers_caller_free(oarlock_state_machine_callers_caller_t *caller);
void oarlock_state_machine_types_batch_free(exports_oarlock_state_machine_machine_batch_t *batch);
void oarlock_state_machine_streams_method_sink_write(int sink, service_list_u8_t *chunk);
void oarlock_state_machine_streams_sink_drop_borrow(int sink);
void oarlock_state_machine_streams_method_source_read(int source, uint32_t most, service_list_u8_t *chunk);
void oarlock_state_machine_streams_source_drop_borrow(int source);
void service_list_u8_free(service_list_u8_t *list);
void service_string_dup(service_string_t *to, const char *text);

void exports_oarlock_state_machine_machine_apply(
    exports_oarlock_state_machine_machine_moment_t *at, exports_oarlock_state_machine_machine_batch_t *commands,
    exports_oarlock_state_machine_machine_outcomes_t *ret);
bool exports_oarlock_state_machine_machine_snapshot(int to, service_string_t *err);
bool exports_oarlock_state_machine_machine_restore(uint32_t written_by, int from, service_string_t *err);
void exports_oarlock_state_machine_timers_wake(exports_oarlock_state_machine_timers_moment_t *at);
bool exports_oarlock_state_machine_queries_query(
    exports_oarlock_state_machine_queries_moment_t *at, service_list_u8_t *request, service_list_u8_t *ret,
    service_list_u8_t *err);
