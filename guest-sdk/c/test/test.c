// Tests of `oarlock.c`, without WebAssembly:
//
//     cc -std=c17 -I test -I . -fsanitize=address,undefined test/test.c oarlock.c -o oarlock-test && ./oarlock-test
//
// The guest is a mailbox: who takes from an empty one waits. It is replaced by a restored copy of itself after each entry.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oarlock.h"
#include "service.h"

#define START_MS 1577836800000u
#define CHECK(condition) \
  ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n%s\n", __FILE__, __LINE__, #condition, seen), exit(1)))

// A host in memory. `seen` has what happened since the last look, as text.

static uint64_t wake_ms, index_ = 0, now_ms = START_MS;
static char seen[1 << 20];
static struct buffer snapshot;
static size_t read_at;

static void note(const char *format, uint64_t number, const uint8_t *bytes, size_t length) {
  size_t at = strlen(seen);
  at += (size_t)snprintf(seen + at, sizeof seen - at, format, number);
  snprintf(seen + at, sizeof seen - at, "%.*s;", (int)length, (const char *)bytes);
}

void oarlock_state_machine_host_emit(service_string_t *topic, service_list_u8_t *payload) {
  note("", 0, topic->ptr, topic->len);
  seen[strlen(seen) - 1] = ' ';
  note("", 0, payload->ptr, payload->len);
}
void oarlock_state_machine_host_wake_at(uint64_t time_ms) { wake_ms = time_ms; }
void oarlock_state_machine_host_complete(uint64_t token, bool accepted, service_list_u8_t *reply) {
  note(accepted ? "%" PRIu64 " ok " : "%" PRIu64 " no ", token, reply->ptr, reply->len);
}

// The first command of a batch is of ann, with the rooms a and b. Others have no caller.
bool oarlock_state_machine_callers_caller_of(uint32_t command, oarlock_state_machine_callers_caller_t *ret) {
  if (command != 0) return false;
  service_string_t *rooms = allocated(2 * sizeof *rooms);
  service_string_dup(&rooms[0], "a");
  service_string_dup(&rooms[1], "b");
  oarlock_state_machine_callers_scope_t *scope = allocated(sizeof *scope);
  service_string_dup(&scope->name, "rooms");
  scope->values = (service_list_string_t){rooms, 2};
  service_string_dup(&ret->name, "ann");
  ret->scopes = (oarlock_state_machine_callers_list_scope_t){scope, 1};
  return true;
}
void oarlock_state_machine_callers_caller_free(oarlock_state_machine_callers_caller_t *caller) {
  oarlock_state_machine_callers_scope_t *scope = caller->scopes.ptr;
  for (size_t i = 0; i < scope->values.len; i++) free(scope->values.ptr[i].ptr);
  free(scope->values.ptr), free(scope->name.ptr), free(scope), free(caller->name.ptr);
}
void oarlock_state_machine_types_batch_free(exports_oarlock_state_machine_machine_batch_t *batch) { (void)batch; }
void oarlock_state_machine_streams_method_sink_write(int sink, service_list_u8_t *chunk) {
  (void)sink;
  buffer_put(&snapshot, chunk->ptr, chunk->len);
}
void oarlock_state_machine_streams_sink_drop_borrow(int sink) { (void)sink; }
void oarlock_state_machine_streams_method_source_read(int source, uint32_t most, service_list_u8_t *chunk) {
  (void)source;
  size_t rest = snapshot.length - read_at;
  chunk->len = rest < most ? rest : most;
  chunk->ptr = allocated(chunk->len);
  if (chunk->len > 0) memcpy(chunk->ptr, snapshot.at + read_at, chunk->len);
  read_at += chunk->len;
}
void oarlock_state_machine_streams_source_drop_borrow(int source) { (void)source; }
void service_list_u8_free(service_list_u8_t *list) { free(list->ptr); }
void service_string_dup(service_string_t *to, const char *text) {
  to->len = strlen(text);
  to->ptr = allocated(to->len);
  memcpy(to->ptr, text, to->len);
}

// The guest.

static uint64_t waiting[100];
static uint32_t waiting_count;
static char item[64];

const struct guest_description guest_description = {"mailbox", 1, "mailbox-c:1", "text", ""};

static struct bytes text(const char *content) { return (struct bytes){(const uint8_t *)content, strlen(content)}; }

bool guest_apply(struct cx *cx, struct bytes command, struct buffer *out) {
  char line[512] = {0}, name[16] = {0}, id[400] = {0};
  memcpy(line, command.at, command.length < sizeof line ? command.length : sizeof line - 1);
  unsigned long number = 0;
  sscanf(line, "%15s %399s %lu", name, id, &number);
  uint64_t now = cx_time_ms(cx), given = strtoull(id, NULL, 10);
  buffer_text(out, "done");
  if (strcmp(name, "take") == 0) {
    if (item[0] != 0) {
      out->length -= 4;
      buffer_text(out, item);
      item[0] = 0;
      return true;
    }
    uint64_t token = cx_defer(cx, now + given);
    if (token == 0) return false;
    waiting[waiting_count++] = token;
    out->length -= 4;
    buffer_text(out, "nothing");
  } else if (strcmp(name, "put") == 0) {
    if (waiting_count == 0) {
      strncpy(item, id, sizeof item - 1);
      return true;
    }
    CHECK(cx_complete(cx, waiting[0], true, text(id)));
    memmove(waiting, waiting + 1, --waiting_count * sizeof *waiting);
  } else if (strcmp(name, "close") == 0) {
    while (waiting_count > 0) CHECK(cx_complete(cx, waiting[--waiting_count], false, text("closed")));
  } else if (strcmp(name, "both") == 0) {
    uint64_t token = cx_defer(cx, now);
    CHECK(cx_defer(cx, now + 1) == token);
    CHECK(cx_complete(cx, token, true, text(id)) && !cx_complete(cx, token, true, text(id)));
  } else if (strcmp(name, "complete") == 0) {
    return cx_complete(cx, given, true, text("completed"));
  } else if (strcmp(name, "set") == 0) {
    return cx_set_timer(cx, id, now + number);
  } else if (strcmp(name, "cancel") == 0) {
    return cx_cancel_timer(cx, id);
  } else if (strcmp(name, "enter") == 0) {
    struct caller caller;
    out->length -= 4;
    if (!cx_caller(cx, &caller)) return true;
    buffer_text(out, caller.name);
    bool may = caller_may_use(&caller, "rooms", id) && caller_may_use(&caller, "floors", id);
    caller_free(&caller);
    CHECK(caller.name == NULL && caller.scope_count == 0);
    return may;
  } else if (strcmp(name, "wake") == 0) {
    cx_wake_at(cx, now + given);
  } else if (strcmp(name, "refuse") == 0) {
    cx_defer(cx, now + 5);
    CHECK(cx_set_timer(cx, "refused", now + 5) && cx_set_timer(cx, "refused", now + 6));
    CHECK(cx_set_timer(cx, "a", now + 7));
    cx_wake_at(cx, now + 5);
    cx_cancel_timer(cx, "a");
    cx_complete(cx, given, true, text("refused"));
    cx_emit(cx, "refused", text(""));
    return false;
  }
  return true;
}

bool guest_query(uint64_t time_ms, struct bytes query, struct buffer *out) {
  (void)time_ms, (void)query;
  struct caller caller;
  CHECK(query_caller(&caller));
  buffer_text(out, caller.name);
  caller_free(&caller);
  return true;
}

void guest_on_timer(struct cx *cx, const char *id) {
  struct caller caller;
  CHECK(!cx_caller(cx, &caller));
  char payload[512];
  snprintf(payload, sizeof payload, "%s %" PRIu64, id, cx_time_ms(cx) - START_MS);
  cx_emit(cx, "timer", text(payload));
  if (strncmp(id, "again", 5) == 0) CHECK(cx_set_timer(cx, id, cx_time_ms(cx)));
  if (strncmp(id, "cancel-", 7) == 0) CHECK(cx_cancel_timer(cx, id + 7));
}

void guest_on_deadline(struct cx *cx, uint64_t token) {
  CHECK(cx_is_waiting(cx, token));
  CHECK(waiting_count > 0 && waiting[0] == token);
  memmove(waiting, waiting + 1, --waiting_count * sizeof *waiting);
  if (cx_time_ms(cx) % 2 == 1) CHECK(cx_complete(cx, token, true, text("odd")));
}

void guest_on_wake(struct cx *cx) { cx_emit(cx, "wake", text("")), (void)cx; }

void guest_write(struct buffer *state) {
  buffer_put(state, &waiting_count, sizeof waiting_count);
  buffer_put(state, waiting, waiting_count * sizeof *waiting);
  buffer_put(state, item, sizeof item);
}

const char *guest_read(uint32_t written_by, struct bytes state) {
  CHECK(written_by == 1);
  uint32_t count;
  if (state.length < sizeof count + sizeof item) return "too short";
  memcpy(&count, state.at, sizeof count);
  if (state.length != sizeof count + count * sizeof *waiting + sizeof item) return "another length";
  waiting_count = count;
  memcpy(waiting, state.at + sizeof count, count * sizeof *waiting);
  memcpy(item, state.at + state.length - sizeof item, sizeof item);
  return NULL;
}

// The tests.

static struct buffer written(void) {
  snapshot = (struct buffer){0};
  service_string_t error;
  CHECK(exports_oarlock_state_machine_machine_snapshot(0, &error));
  return snapshot;
}

static bool restored(struct buffer from) {
  snapshot = from;
  read_at = 0;
  service_string_t error = {0};
  bool done = exports_oarlock_state_machine_machine_restore(1, 0, &error);
  free(error.ptr);
  return done;
}

// `restore` frees the snapshot that it has read, so a copy is read.
static void restart(void) {
  struct buffer before = written(), copy = {0};
  buffer_put(&copy, before.at, before.length);
  CHECK(restored(copy));
  buffer_free(&copy);
  struct buffer after = written();
  CHECK(before.length == after.length && memcmp(before.at, after.at, before.length) == 0);
  buffer_free(&before);
  buffer_free(&after);
}

// Sends a command. Returns the verdict, and the token of a deferred one.
static int sent(const char *command, uint64_t *token) {
  exports_oarlock_state_machine_machine_moment_t at = {++index_, now_ms};
  uint32_t end = (uint32_t)strlen(command);
  exports_oarlock_state_machine_machine_batch_t batch = {{(uint8_t *)command, end}, {&end, 1}};
  exports_oarlock_state_machine_machine_outcomes_t outcomes;
  exports_oarlock_state_machine_machine_apply(&at, &batch, &outcomes);
  int verdict = outcomes.verdicts.ptr[0];
  if (verdict == OARLOCK_STATE_MACHINE_TYPES_VERDICT_DEFERRED) {
    CHECK(outcomes.data.len == 8);
    memcpy(token, outcomes.data.ptr, 8);
  }
  free(outcomes.verdicts.ptr), free(outcomes.data.ptr), free(outcomes.ends.ptr);
  restart();
  return verdict;
}

static bool accepted(const char *command) { return sent(command, NULL) == OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED; }

static uint64_t deferred(const char *command) {
  uint64_t token;
  CHECK(sent(command, &token) == OARLOCK_STATE_MACHINE_TYPES_VERDICT_DEFERRED);
  return token;
}

static void wake(void) {
  if (wake_ms > now_ms) now_ms = wake_ms;
  wake_ms = 0;
  exports_oarlock_state_machine_timers_moment_t at = {++index_, now_ms};
  exports_oarlock_state_machine_timers_wake(&at);
  restart();
}

static void advance(uint64_t by_ms) {
  uint64_t end = now_ms + by_ms;
  while (wake_ms != 0 && wake_ms <= end) wake();
  now_ms = end;
}

// Whether this happened since the last look. `format` has the tokens.
static bool saw(const char *format, uint64_t one, uint64_t other) {
  char expected[512];
  snprintf(expected, sizeof expected, format, one, other);
  bool same = strcmp(seen, expected) == 0;
  if (!same) fprintf(stderr, "expected %s\n", expected);
  if (same) seen[0] = 0;
  return same;
}

static void a_deferred_command_gets_its_reply_from_a_later_one(void) {
  uint64_t first = deferred("take 100"), second = deferred("take 100");
  CHECK(first < second && accepted("put a"));
  CHECK(saw("%" PRIu64 " ok a;", first, 0));
  CHECK(accepted("close"));
  CHECK(saw("%" PRIu64 " no closed;", second, 0) && wake_ms == 0);
}

static void at_the_deadline_the_kept_reply_is_sent_or_another(void) {
  now_ms += now_ms % 2;
  uint64_t first = deferred("take 100");
  advance(1);
  uint64_t second = deferred("take 100"), index = index_;
  advance(98);
  CHECK(index == index_ && saw("", 0, 0));
  advance(2);
  CHECK(saw("%" PRIu64 " ok nothing;%" PRIu64 " ok odd;", first, second) && index_ == index + 2);
}

static void a_command_can_complete_itself_and_no_other_twice(void) {
  uint64_t token = deferred("both x");
  CHECK(saw("%" PRIu64 " ok x;", token, 0) && wake_ms == 0);
  char command[64];
  snprintf(command, sizeof command, "complete %" PRIu64, token);
  CHECK(!accepted(command) && !accepted("complete 0") && !accepted("complete 123456789") && saw("", 0, 0));
}

static void a_refused_command_leaves_nothing(void) {
  now_ms += now_ms % 2;
  uint64_t token = deferred("take 100");
  CHECK(accepted("set a 50"));
  uint64_t wake_before = wake_ms;
  struct buffer before = written();
  char command[64];
  snprintf(command, sizeof command, "refuse %" PRIu64, token);
  CHECK(!accepted(command));
  struct buffer after = written();
  CHECK(before.length == after.length && memcmp(before.at, after.at, before.length) == 0);
  CHECK(saw("", 0, 0) && wake_ms == wake_before);
  buffer_free(&before), buffer_free(&after);
  advance(99);
  seen[0] = 0;
  advance(1);
  CHECK(saw("%" PRIu64 " ok nothing;", token, 0));
}

static void timers_fire_in_order_and_never_early(void) {
  uint64_t start = now_ms - START_MS;
  CHECK(accepted("set b 20") && accepted("set late 30") && accepted("set a 20") && accepted("set moved 1"));
  CHECK(accepted("set gone 5") && accepted("set moved 25") && accepted("cancel gone") && !accepted("cancel gone"));
  advance(19);
  CHECK(saw("", 0, 0));
  advance(4);
  CHECK(saw("timer a %" PRIu64 ";timer b %" PRIu64 ";", start + 20, start + 20));
  advance(80);
  CHECK(saw("timer moved %" PRIu64 ";timer late %" PRIu64 ";", start + 25, start + 30));
}

static void one_can_cancel_another_and_one_that_is_set_again_waits(void) {
  uint64_t at = now_ms - START_MS + 10;
  CHECK(accepted("set cancel-x 10") && accepted("set x 10") && accepted("set again 10"));
  wake();
  CHECK(saw("timer again %" PRIu64 ";timer cancel-x %" PRIu64 ";", at, at));
  wake();
  CHECK(saw("timer again %" PRIu64 ";", at, 0) && accepted("cancel again") && wake_ms == 0);
}

static void the_wake_time_and_timers_do_not_replace_each_other(void) {
  uint64_t start = now_ms - START_MS;
  CHECK(accepted("wake 30") && accepted("set a 20") && accepted("set b 40"));
  advance(100);
  CHECK(saw("timer a %" PRIu64 ";wake ;timer b %" PRIu64 ";", start + 20, start + 40));
}

static void a_storm_takes_several_wake_ups_and_fewer_fire_if_they_seem_to_fail(void) {
  char command[512];
  for (int i = 0; i < 600; i++) {
    snprintf(command, sizeof command, "set %04d 10", i);
    CHECK(accepted(command));
  }
  uint64_t index = index_;
  advance(10);
  CHECK(index_ == index + 3 && wake_ms == 0);
  seen[0] = 0;
  CHECK(accepted("set a 10") && accepted("set b 10"));
  now_ms += 20;
  for (int i = 0; i < 12; i++) {
    wake_ms = 0;
    CHECK(accepted("put x") && accepted("take 0") && wake_ms != 0);
  }
  index = index_;
  advance(0);
  CHECK(index_ == index + 2 && strncmp(seen, "timer a ", 8) == 0);
  seen[0] = 0;
  memset(command, 0, sizeof command);
  memset(command, 'x', 4 + 257);
  memcpy(command, "set ", 4);
  CHECK(!accepted(command));
}

static void snapshots_from_before_and_broken_ones(void) {
  struct buffer whole = written(), before = {0};
  guest_write(&before);
  for (size_t length = 0; length < whole.length; length++) {
    struct buffer part = {0};
    buffer_put(&part, whole.at, length);
    // Only the state alone, as a guest without this file wrote it, may be shorter.
    CHECK(!restored(part));
    buffer_free(&part);
  }
  CHECK(restored(before));
  buffer_free(&before), buffer_free(&whole);
  wake_ms = 0;
  CHECK(accepted("put x") && wake_ms == 0);
  uint64_t start = now_ms;
  CHECK(accepted("set a 50") && wake_ms == 1);
  wake();
  CHECK(saw("wake ;", 0, 0) && wake_ms == start + 50);
}

static void commands_and_queries_have_callers(void) {
  CHECK(accepted("enter a") && accepted("enter b") && !accepted("enter c"));
  exports_oarlock_state_machine_machine_moment_t at = {++index_, now_ms};
  uint32_t ends[] = {7, 14};
  exports_oarlock_state_machine_machine_batch_t batch = {{(uint8_t *)"enter aenter c", 14}, {ends, 2}};
  exports_oarlock_state_machine_machine_outcomes_t outcomes;
  exports_oarlock_state_machine_machine_apply(&at, &batch, &outcomes);
  CHECK(outcomes.data.len == 3 && memcmp(outcomes.data.ptr, "ann", 3) == 0);
  CHECK(outcomes.verdicts.ptr[1] == OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED);
  free(outcomes.verdicts.ptr), free(outcomes.data.ptr), free(outcomes.ends.ptr);
  exports_oarlock_state_machine_queries_moment_t query_at = {index_, now_ms};
  service_list_u8_t request = {allocated(1), 0}, response, refusal;
  CHECK(exports_oarlock_state_machine_queries_query(&query_at, &request, &response, &refusal));
  CHECK(response.len == 3 && memcmp(response.ptr, "ann", 3) == 0);
  free(response.ptr);
}

int main(void) {
  a_deferred_command_gets_its_reply_from_a_later_one();
  at_the_deadline_the_kept_reply_is_sent_or_another();
  a_command_can_complete_itself_and_no_other_twice();
  a_refused_command_leaves_nothing();
  timers_fire_in_order_and_never_early();
  one_can_cancel_another_and_one_that_is_set_again_waits();
  the_wake_time_and_timers_do_not_replace_each_other();
  a_storm_takes_several_wake_ups_and_fewer_fire_if_they_seem_to_fail();
  commands_and_queries_have_callers();
  snapshots_from_before_and_broken_ones();
  puts("ok");
  return 0;
}
