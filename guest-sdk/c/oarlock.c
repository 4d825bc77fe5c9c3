// See `oarlock.h`. `service.h` is what wit-bindgen makes of the WIT.

#include "oarlock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

// Limits. Those of timers are lower than in Rust, because the arrays here move when one is added.
#define MAX_TIMERS 100000u
#define MAX_ID_BYTES 256u
#define MAX_WAITING 100000u
#define MAX_KEPT_BYTES (16u << 20)
#define MAX_KEPT_REPLY_BYTES (64u << 10)
#define FIRINGS_PER_WAKE 256u
#define MAX_WAKE_EFFECTS 256u
#define MAX_WAKE_BYTES (256u << 10)
#define CHUNK_BYTES (1u << 20)
#define MAGIC "OARLOCKC\1\0\0\0"
#define MAGIC_BYTES 12u

// In the order in which they fire if times are equal.
enum due_kind { DUE_WAKE, DUE_TIMER, DUE_DEADLINE };

struct timer {
  char *id;
  uint64_t at_ms;
};

struct waiter {
  uint64_t token, deadline_ms;
  uint8_t *reply;
  size_t length;
};

// `id` is that of the timer.
struct due {
  uint64_t at_ms;
  enum due_kind kind;
  char *id;
  uint64_t token;
};

enum wake_code { WAKE_NONE, WAKE_AT, WAKE_UNKNOWN };

struct wake {
  enum wake_code code;
  uint64_t at_ms;
};

// Sorted: timers by id, waiters by token, due by time.
struct runtime {
  struct wake wake;
  uint8_t overdue_batches;
  uint64_t last_token;
  struct timer *timers;
  size_t timer_count, timer_capacity;
  struct waiter *waiters;
  size_t waiter_count, waiter_capacity;
  struct due *due;
  size_t due_count, due_capacity;
  size_t kept_bytes;
};

static struct runtime state;

enum change_kind { CHANGE_WAKE, CHANGE_TIMER, CHANGE_TOKEN, CHANGE_WAITER };

// What a refused command must undo, with what was there before.
struct change {
  enum change_kind kind;
  struct wake wake;
  char *id;
  bool was_set;
  uint64_t number;
  struct waiter waiter;
};

// An event if it has a topic, otherwise a late reply.
struct effect {
  char *topic;
  uint64_t token;
  bool accepted;
  struct buffer bytes;
};

struct cx {
  uint64_t index, time_ms;
  bool is_command;
  // Its position in the batch.
  uint32_t number;
  uint64_t deferred, deadline_ms;
  bool is_complete;
  struct change *changes;
  size_t change_count, change_capacity;
  struct effect *effects;
  size_t effect_count, effect_capacity;
};

void *allocated(size_t length) {
  void *memory = malloc(length == 0 ? 1 : length);
  if (memory == NULL) abort();
  return memory;
}

static void *copied(const void *from, size_t length) {
  void *to = allocated(length);
  if (length > 0) memcpy(to, from, length);
  return to;
}

static char *copied_text(const char *text) { return copied(text, strlen(text) + 1); }

// Makes room for one more item of this size at a position of an array.
static void *inserted(void *items, size_t *count, size_t *capacity, size_t at, size_t size) {
  if (*count == *capacity) {
    *capacity = 2 * *capacity + 16;
    items = realloc(items, *capacity * size);
    if (items == NULL) abort();
  }
  char *place = (char *)items + at * size;
  memmove(place + size, place, (*count - at) * size);
  *count += 1;
  return items;
}

static void removed(void *items, size_t *count, size_t at, size_t size) {
  char *place = (char *)items + at * size;
  *count -= 1;
  memmove(place, place + size, (*count - at) * size);
}

// A text of the bindings. It has no zero byte: the host has none in names and scopes.
static char *text_of(const service_string_t *from) {
  char *text = allocated(from->len + 1);
  if (from->len > 0) memcpy(text, from->ptr, from->len);
  text[from->len] = 0;
  return text;
}

static bool caller_of(uint32_t command, struct caller *to) {
  oarlock_state_machine_callers_caller_t from;
  if (!oarlock_state_machine_callers_caller_of(command, &from)) return false;
  size_t count = from.scopes.len;
  *to = (struct caller){text_of(&from.name), allocated(count * sizeof *to->scopes), count};
  for (size_t i = 0; i < count; i++) {
    const oarlock_state_machine_callers_scope_t *scope = &from.scopes.ptr[i];
    size_t values = scope->values.len;
    to->scopes[i] = (struct caller_scope){text_of(&scope->name), allocated(values * sizeof(char *)), values};
    for (size_t j = 0; j < values; j++) to->scopes[i].values[j] = text_of(&scope->values.ptr[j]);
  }
  oarlock_state_machine_callers_caller_free(&from);
  return true;
}

bool cx_caller(const struct cx *cx, struct caller *caller) {
  return cx->is_command && caller_of(cx->number, caller);
}

bool query_caller(struct caller *caller) { return caller_of(0, caller); }

bool caller_may_use(const struct caller *caller, const char *scope, const char *value) {
  for (size_t i = 0; i < caller->scope_count; i++) {
    const struct caller_scope *of = &caller->scopes[i];
    if (strcmp(of->name, scope) != 0) continue;
    for (size_t j = 0; j < of->count; j++) {
      if (strcmp(of->values[j], value) == 0) return true;
    }
    return false;
  }
  return true;
}

void caller_free(struct caller *caller) {
  for (size_t i = 0; i < caller->scope_count; i++) {
    struct caller_scope *scope = &caller->scopes[i];
    for (size_t j = 0; j < scope->count; j++) free(scope->values[j]);
    free(scope->values);
    free(scope->name);
  }
  free(caller->scopes);
  free(caller->name);
  *caller = (struct caller){0};
}

void buffer_put(struct buffer *to, const void *more, size_t length) {
  if (length > to->capacity - to->length) {
    size_t capacity = 2 * to->capacity + length;
    uint8_t *at = realloc(to->at, capacity);
    if (at == NULL) abort();
    to->at = at;
    to->capacity = capacity;
  }
  if (length > 0) memcpy(to->at + to->length, more, length);
  to->length += length;
}

void buffer_text(struct buffer *to, const char *text) { buffer_put(to, text, strlen(text)); }

void buffer_free(struct buffer *buffer) {
  free(buffer->at);
  *buffer = (struct buffer){0};
}

// Reports a bug of the guest and traps.
static _Noreturn void trap(const char *message) {
  fprintf(stderr, "%s\n", message);
  abort();
}

// The position of the first timer whose id is not smaller.
static size_t timer_place(const struct runtime *runtime, const char *id, bool *found) {
  size_t low = 0, high = runtime->timer_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (strcmp(runtime->timers[middle].id, id) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *found = low < runtime->timer_count && strcmp(runtime->timers[low].id, id) == 0;
  return low;
}

static size_t waiter_place(const struct runtime *runtime, uint64_t token, bool *found) {
  size_t low = 0, high = runtime->waiter_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (runtime->waiters[middle].token < token)
      low = middle + 1;
    else
      high = middle;
  }
  *found = low < runtime->waiter_count && runtime->waiters[low].token == token;
  return low;
}

static int compared(const struct due *one, const struct due *other) {
  if (one->at_ms != other->at_ms) return one->at_ms < other->at_ms ? -1 : 1;
  if (one->kind != other->kind) return one->kind < other->kind ? -1 : 1;
  if (one->kind == DUE_TIMER) return strcmp(one->id, other->id);
  return one->token < other->token ? -1 : one->token > other->token;
}

static size_t due_place(const struct runtime *runtime, const struct due *due) {
  size_t low = 0, high = runtime->due_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (compared(&runtime->due[middle], due) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void add_due(struct runtime *runtime, struct due due) {
  size_t at = due_place(runtime, &due);
  runtime->due = inserted(runtime->due, &runtime->due_count, &runtime->due_capacity, at, sizeof due);
  runtime->due[at] = due;
}

static void remove_due(struct runtime *runtime, struct due due) {
  removed(runtime->due, &runtime->due_count, due_place(runtime, &due), sizeof due);
}

static bool take_timer(struct runtime *runtime, const char *id, uint64_t *at_ms) {
  bool found;
  size_t at = timer_place(runtime, id, &found);
  if (!found) return false;
  struct timer timer = runtime->timers[at];
  remove_due(runtime, (struct due){timer.at_ms, DUE_TIMER, timer.id, 0});
  removed(runtime->timers, &runtime->timer_count, at, sizeof timer);
  free(timer.id);
  *at_ms = timer.at_ms;
  return true;
}

static void put_timer(struct runtime *runtime, const char *id, uint64_t at_ms) {
  char *copy = copied_text(id);
  uint64_t before;
  take_timer(runtime, copy, &before);
  bool found;
  size_t at = timer_place(runtime, copy, &found);
  runtime->timers =
      inserted(runtime->timers, &runtime->timer_count, &runtime->timer_capacity, at, sizeof(struct timer));
  runtime->timers[at] = (struct timer){copy, at_ms};
  add_due(runtime, (struct due){at_ms, DUE_TIMER, copy, 0});
}

static bool take_waiter(struct runtime *runtime, uint64_t token, struct waiter *taken) {
  bool found;
  size_t at = waiter_place(runtime, token, &found);
  if (!found) return false;
  *taken = runtime->waiters[at];
  remove_due(runtime, (struct due){taken->deadline_ms, DUE_DEADLINE, NULL, token});
  removed(runtime->waiters, &runtime->waiter_count, at, sizeof *taken);
  runtime->kept_bytes -= taken->length;
  return true;
}

static void put_waiter(struct runtime *runtime, struct waiter waiter) {
  bool found;
  size_t at = waiter_place(runtime, waiter.token, &found);
  runtime->waiters =
      inserted(runtime->waiters, &runtime->waiter_count, &runtime->waiter_capacity, at, sizeof waiter);
  runtime->waiters[at] = waiter;
  runtime->kept_bytes += waiter.length;
  add_due(runtime, (struct due){waiter.deadline_ms, DUE_DEADLINE, NULL, waiter.token});
}

static void clear(struct runtime *runtime) {
  for (size_t i = 0; i < runtime->timer_count; i++) free(runtime->timers[i].id);
  for (size_t i = 0; i < runtime->waiter_count; i++) free(runtime->waiters[i].reply);
  free(runtime->timers);
  free(runtime->waiters);
  free(runtime->due);
  *runtime = (struct runtime){0};
}

// The functions of a context.

uint64_t cx_index(const struct cx *cx) { return cx->index; }
uint64_t cx_time_ms(const struct cx *cx) { return cx->time_ms; }

static struct change *changed(struct cx *cx, enum change_kind kind) {
  size_t at = cx->change_count;
  cx->changes = inserted(cx->changes, &cx->change_count, &cx->change_capacity, at, sizeof(struct change));
  cx->changes[at] = (struct change){.kind = kind};
  return &cx->changes[at];
}

static void add_effect(struct cx *cx, struct effect effect, struct bytes bytes) {
  buffer_put(&effect.bytes, bytes.at, bytes.length);
  size_t at = cx->effect_count;
  cx->effects = inserted(cx->effects, &cx->effect_count, &cx->effect_capacity, at, sizeof effect);
  cx->effects[at] = effect;
}

void cx_emit(struct cx *cx, const char *topic, struct bytes payload) {
  add_effect(cx, (struct effect){.topic = copied_text(topic)}, payload);
}

void cx_wake_at(struct cx *cx, uint64_t time_ms) {
  changed(cx, CHANGE_WAKE)->wake = state.wake;
  state.wake = (struct wake){time_ms == 0 ? WAKE_NONE : WAKE_AT, time_ms};
}

bool cx_timer_ms(const struct cx *cx, const char *id, uint64_t *at_ms) {
  (void)cx;
  bool found;
  size_t at = timer_place(&state, id, &found);
  if (found) *at_ms = state.timers[at].at_ms;
  return found;
}

static void change_timer(struct cx *cx, const char *id, bool was_set, uint64_t before) {
  struct change *change = changed(cx, CHANGE_TIMER);
  change->id = copied_text(id);
  change->was_set = was_set;
  change->number = before;
}

bool cx_set_timer(struct cx *cx, const char *id, uint64_t at_ms) {
  uint64_t before = 0;
  bool was_set = cx_timer_ms(cx, id, &before);
  if (!was_set && (strlen(id) > MAX_ID_BYTES || state.timer_count >= MAX_TIMERS)) return false;
  change_timer(cx, id, was_set, before);
  put_timer(&state, id, at_ms);
  return true;
}

bool cx_cancel_timer(struct cx *cx, const char *id) {
  uint64_t before;
  if (!cx_timer_ms(cx, id, &before)) return false;
  change_timer(cx, id, true, before);
  return take_timer(&state, id, &before);
}

uint64_t cx_defer(struct cx *cx, uint64_t deadline_ms) {
  if (!cx->is_command) trap("`cx_defer` was called where there is no command; call it in `guest_apply`");
  if (cx->deferred == 0) {
    if (state.waiter_count >= MAX_WAITING || state.kept_bytes >= MAX_KEPT_BYTES) return 0;
    changed(cx, CHANGE_TOKEN)->number = state.last_token;
    uint64_t first = cx->index << 16;
    state.last_token = first > state.last_token ? first : state.last_token + 1;
    cx->deferred = state.last_token;
  }
  cx->deadline_ms = deadline_ms;
  return cx->deferred;
}

bool cx_is_waiting(const struct cx *cx, uint64_t token) {
  if (cx->deferred != 0 && token == cx->deferred) return !cx->is_complete;
  bool found;
  waiter_place(&state, token, &found);
  return found;
}

bool cx_complete(struct cx *cx, uint64_t token, bool accepted, struct bytes reply) {
  if (!cx_is_waiting(cx, token)) return false;
  if (token == cx->deferred) {
    cx->is_complete = true;
  } else {
    struct waiter taken;
    take_waiter(&state, token, &taken);
    changed(cx, CHANGE_WAITER)->waiter = taken;
  }
  add_effect(cx, (struct effect){.token = token, .accepted = accepted}, reply);
  return true;
}

static void undo(struct change *change) {
  uint64_t now;
  switch (change->kind) {
    case CHANGE_WAKE:
      state.wake = change->wake;
      break;
    case CHANGE_TIMER:
      if (change->was_set)
        put_timer(&state, change->id, change->number);
      else
        take_timer(&state, change->id, &now);
      break;
    case CHANGE_TOKEN:
      state.last_token = change->number;
      break;
    case CHANGE_WAITER:
      put_waiter(&state, change->waiter);
      change->waiter.reply = NULL;
      break;
  }
}

// Ends a call. Passes its effects to the host, or undoes its changes. Adds what it passed on to `count` and `bytes`.
static void finish(struct cx *cx, bool accepted, size_t *count, size_t *bytes) {
  for (size_t i = cx->change_count; !accepted && i > 0; i--) undo(&cx->changes[i - 1]);
  for (size_t i = 0; i < cx->change_count; i++) {
    free(cx->changes[i].id);
    free(cx->changes[i].waiter.reply);
  }
  for (size_t i = 0; i < cx->effect_count; i++) {
    struct effect *effect = &cx->effects[i];
    service_list_u8_t content = {effect->bytes.at, effect->bytes.length};
    if (accepted && effect->topic != NULL) {
      service_string_t topic = {(uint8_t *)effect->topic, strlen(effect->topic)};
      oarlock_state_machine_host_emit(&topic, &content);
    } else if (accepted) {
      oarlock_state_machine_host_complete(effect->token, effect->accepted, &content);
    }
    *count += 1;
    *bytes += effect->bytes.length;
    free(effect->topic);
    buffer_free(&effect->bytes);
  }
  free(cx->changes);
  free(cx->effects);
}

// The wake time of the host: 0 for none. Returns false if what the host has is right.
static bool slot(uint64_t *at_ms) {
  bool has_due = state.due_count > 0;
  uint64_t first = has_due ? state.due[0].at_ms : 0;
  if (has_due && first == 0) first = 1;
  *at_ms = first;
  if (state.wake.code == WAKE_UNKNOWN) {
    // The time of the host would be lost, so `guest_on_wake` is called too early and not too late.
    *at_ms = 1;
    return has_due;
  }
  if (state.wake.code == WAKE_AT && (!has_due || state.wake.at_ms < first)) *at_ms = state.wake.at_ms;
  return true;
}

static oarlock_state_machine_types_verdict_t apply_one(struct cx *cx, struct bytes command, struct buffer *out) {
  size_t start = out->length, count = 0, bytes = 0;
  bool accepted = guest_apply(cx, command, out);
  if (accepted && cx->deferred != 0) {
    size_t length = out->length - start;
    if (length > MAX_KEPT_REPLY_BYTES) trap("the reply of a deferred command at its deadline has more than 64 KiB");
    if (!cx->is_complete) {
      uint8_t *reply = copied(out->at + start, length);
      put_waiter(&state, (struct waiter){cx->deferred, cx->deadline_ms, reply, length});
    }
    out->length = start;
    for (int i = 0; i < 8; i++) {
      uint8_t byte = (uint8_t)(cx->deferred >> (8 * i));
      buffer_put(out, &byte, 1);
    }
  }
  bool is_deferred = accepted && cx->deferred != 0;
  finish(cx, accepted, &count, &bytes);
  if (is_deferred) return OARLOCK_STATE_MACHINE_TYPES_VERDICT_DEFERRED;
  return accepted ? OARLOCK_STATE_MACHINE_TYPES_VERDICT_ACCEPTED : OARLOCK_STATE_MACHINE_TYPES_VERDICT_REJECTED;
}

void exports_oarlock_state_machine_machine_apply(
    exports_oarlock_state_machine_machine_moment_t *at, exports_oarlock_state_machine_machine_batch_t *commands,
    exports_oarlock_state_machine_machine_outcomes_t *ret) {
  size_t count = commands->ends.len;
  uint8_t *verdicts = allocated(count);
  uint32_t *ends = allocated(count * sizeof *ends);
  struct buffer out = {0};
  uint64_t before, after;
  bool had_slot = slot(&before), any = false;
  uint32_t start = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t end = commands->ends.ptr[i];
    struct cx cx = {.index = at->index, .time_ms = at->time_ms, .is_command = true, .number = (uint32_t)i};
    verdicts[i] = apply_one(&cx, (struct bytes){commands->data.ptr + start, end - start}, &out);
    any |= verdicts[i] != OARLOCK_STATE_MACHINE_TYPES_VERDICT_REJECTED;
    ends[i] = (uint32_t)out.length;
    start = end;
  }
  if (any && slot(&after)) {
    // A wake-up is on its way, or it failed and the host does not repeat it.
    bool is_overdue = after != 0 && after <= at->time_ms;
    bool is_same = had_slot && before == after;
    if (is_overdue && is_same && state.overdue_batches < 255) state.overdue_batches++;
    if (is_overdue || !is_same) oarlock_state_machine_host_wake_at(after);
  }
  oarlock_state_machine_types_batch_free(commands);
  ret->verdicts = (oarlock_state_machine_types_list_verdict_t){verdicts, count};
  ret->data = (service_list_u8_t){out.at, out.length};
  ret->ends = (service_list_u32_t){ends, count};
}

// Whether it is still due: what fired before it may have changed it.
static bool is_due(const struct due *due) {
  if (due->kind == DUE_WAKE) {
    return state.wake.code == WAKE_UNKNOWN || (state.wake.code == WAKE_AT && state.wake.at_ms == due->at_ms);
  }
  bool found;
  if (due->kind == DUE_DEADLINE) {
    waiter_place(&state, due->token, &found);
    return found;
  }
  size_t at = timer_place(&state, due->id, &found);
  return found && state.timers[at].at_ms == due->at_ms;
}

static void fire(const struct due *due, struct cx *cx) {
  struct waiter taken;
  uint64_t at_ms;
  switch (due->kind) {
    case DUE_WAKE:
      state.wake = (struct wake){WAKE_NONE, 0};
      guest_on_wake(cx);
      break;
    case DUE_TIMER:
      take_timer(&state, due->id, &at_ms);
      guest_on_timer(cx, due->id);
      break;
    case DUE_DEADLINE:
      guest_on_deadline(cx, due->token);
      if (take_waiter(&state, due->token, &taken)) {
        add_effect(cx, (struct effect){.token = due->token, .accepted = true}, (struct bytes){taken.reply, taken.length});
        free(taken.reply);
      }
      break;
  }
}

void exports_oarlock_state_machine_timers_wake(exports_oarlock_state_machine_timers_moment_t *at) {
  // Copied, because what is set from now on waits for the next wake-up.
  unsigned fewer = state.overdue_batches > 3 ? state.overdue_batches - 3u : 0;
  size_t limit = FIRINGS_PER_WAKE >> (fewer < 8 ? fewer : 8), count = 0;
  struct due due[FIRINGS_PER_WAKE + 1];
  for (; count < limit && count < state.due_count && state.due[count].at_ms <= at->time_ms; count++) {
    due[count] = state.due[count];
    if (due[count].kind == DUE_TIMER) due[count].id = copied_text(due[count].id);
  }
  bool wakes = state.wake.code == WAKE_UNKNOWN || (state.wake.code == WAKE_AT && state.wake.at_ms <= at->time_ms);
  if (wakes) {
    struct due wake = {state.wake.code == WAKE_AT ? state.wake.at_ms : 0, DUE_WAKE, NULL, 0};
    size_t place = 0;
    while (place < count && compared(&due[place], &wake) < 0) place++;
    memmove(&due[place + 1], &due[place], (count - place) * sizeof *due);
    due[place] = wake;
    count++;
  }
  size_t effects = 0, bytes = 0;
  for (size_t i = 0; i < count; i++) {
    bool has_room = i < limit && effects < MAX_WAKE_EFFECTS && bytes < MAX_WAKE_BYTES;
    if (has_room && is_due(&due[i])) {
      struct cx cx = {.index = at->index, .time_ms = at->time_ms};
      fire(&due[i], &cx);
      finish(&cx, true, &effects, &bytes);
    }
    free(due[i].id);
  }
  state.overdue_batches = 0;
  uint64_t next;
  if (slot(&next) && next != 0) oarlock_state_machine_host_wake_at(next);
}

bool exports_oarlock_state_machine_queries_query(
    exports_oarlock_state_machine_queries_moment_t *at, service_list_u8_t *request, service_list_u8_t *ret,
    service_list_u8_t *err) {
  struct buffer out = {0};
  bool answered = guest_query(at->time_ms, (struct bytes){request->ptr, request->len}, &out);
  service_list_u8_free(request);
  *(answered ? ret : err) = (service_list_u8_t){out.at, out.length};
  return answered;
}

// Snapshots: the magic bytes, the length of the section, the section, the guest's state. Numbers are little-endian. The
// section is empty if there was never a timer, a deferred command or a wake time.

static void put_number(struct buffer *to, uint64_t number, int length) {
  for (int i = 0; i < length; i++) {
    uint8_t byte = (uint8_t)(number >> (8 * i));
    buffer_put(to, &byte, 1);
  }
}

static void write_section(struct buffer *to) {
  bool has_wake = state.wake.code != WAKE_NONE;
  if (!has_wake && state.overdue_batches == 0 && state.last_token == 0 && state.due_count == 0) return;
  put_number(to, state.wake.code, 1);
  put_number(to, state.wake.at_ms, 8);
  put_number(to, state.overdue_batches, 1);
  put_number(to, state.last_token, 8);
  put_number(to, state.timer_count, 4);
  for (size_t i = 0; i < state.timer_count; i++) {
    put_number(to, strlen(state.timers[i].id), 2);
    buffer_text(to, state.timers[i].id);
    put_number(to, state.timers[i].at_ms, 8);
  }
  put_number(to, state.waiter_count, 4);
  for (size_t i = 0; i < state.waiter_count; i++) {
    const struct waiter *waiter = &state.waiters[i];
    put_number(to, waiter->token, 8);
    put_number(to, waiter->deadline_ms, 8);
    put_number(to, waiter->length, 4);
    buffer_put(to, waiter->reply, waiter->length);
  }
}

bool exports_oarlock_state_machine_machine_snapshot(
    exports_oarlock_state_machine_machine_borrow_sink_t to, service_string_t *err) {
  (void)err;
  struct buffer section = {0}, snapshot = {0};
  write_section(&section);
  buffer_put(&snapshot, MAGIC, MAGIC_BYTES);
  put_number(&snapshot, section.length, 4);
  buffer_put(&snapshot, section.at, section.length);
  guest_write(&snapshot);
  for (size_t at = 0; at < snapshot.length; at += CHUNK_BYTES) {
    size_t rest = snapshot.length - at;
    service_list_u8_t chunk = {snapshot.at + at, rest < CHUNK_BYTES ? rest : CHUNK_BYTES};
    oarlock_state_machine_streams_method_sink_write(to, &chunk);
  }
  oarlock_state_machine_streams_sink_drop_borrow(to);
  buffer_free(&section);
  buffer_free(&snapshot);
  return true;
}

// Takes bytes from the front. NULL: there are fewer.
static const uint8_t *taken(struct bytes *from, size_t length) {
  if (from->at == NULL || length > from->length) {
    *from = (struct bytes){0};
    return NULL;
  }
  const uint8_t *at = from->at;
  *from = (struct bytes){at + length, from->length - length};
  return at;
}

// Takes a number. 0 if there are fewer bytes; then all that follows is missing as well.
static uint64_t taken_number(struct bytes *from, size_t length) {
  const uint8_t *at = taken(from, length);
  uint64_t number = 0;
  for (size_t i = 0; at != NULL && i < length; i++) number |= (uint64_t)at[i] << (8 * i);
  return number;
}

// Returns whether the section is intact.
static bool read_section(struct bytes from, struct runtime *to) {
  if (from.length == 0) return true;
  to->wake.code = (enum wake_code)taken_number(&from, 1);
  to->wake.at_ms = taken_number(&from, 8);
  to->overdue_batches = (uint8_t)taken_number(&from, 1);
  to->last_token = taken_number(&from, 8);
  for (uint64_t left = taken_number(&from, 4); left > 0 && from.at != NULL; left--) {
    size_t length = taken_number(&from, 2);
    const uint8_t *id = taken(&from, length);
    char text[MAX_ID_BYTES + 1] = {0};
    if (id == NULL || length > MAX_ID_BYTES) return false;
    memcpy(text, id, length);
    uint64_t at_ms = taken_number(&from, 8);
    if (from.at != NULL) put_timer(to, text, at_ms);
  }
  for (uint64_t left = taken_number(&from, 4); left > 0 && from.at != NULL; left--) {
    struct waiter waiter = {.token = taken_number(&from, 8), .deadline_ms = taken_number(&from, 8)};
    waiter.length = taken_number(&from, 4);
    const uint8_t *reply = taken(&from, waiter.length);
    bool found;
    waiter_place(to, waiter.token, &found);
    if (reply == NULL || found) return false;
    waiter.reply = copied(reply, waiter.length);
    put_waiter(to, waiter);
  }
  return from.at != NULL && from.length == 0 && to->wake.code <= WAKE_UNKNOWN;
}

// Returns what is wrong with a snapshot, or NULL.
static const char *read_snapshot(uint32_t written_by, struct bytes snapshot) {
  struct runtime restored = {0};
  struct bytes rest = snapshot;
  if (snapshot.length < MAGIC_BYTES || memcmp(snapshot.at, MAGIC, MAGIC_BYTES) != 0) {
    // From before this file was used: the host may have a wake time that is not known here.
    restored.wake.code = WAKE_UNKNOWN;
  } else {
    taken(&rest, MAGIC_BYTES);
    size_t length = taken_number(&rest, 4);
    const uint8_t *section = taken(&rest, length);
    if (section == NULL || !read_section((struct bytes){section, length}, &restored)) {
      clear(&restored);
      return "the timers and deferred commands of the snapshot cannot be read; fetch it again";
    }
  }
  const char *wrong = guest_read(written_by, rest);
  if (wrong != NULL) {
    clear(&restored);
    return wrong;
  }
  clear(&state);
  state = restored;
  return NULL;
}

bool exports_oarlock_state_machine_machine_restore(
    uint32_t written_by, exports_oarlock_state_machine_machine_borrow_source_t from, service_string_t *err) {
  struct buffer snapshot = {0};
  for (;;) {
    service_list_u8_t chunk;
    oarlock_state_machine_streams_method_source_read(from, CHUNK_BYTES, &chunk);
    bool ended = chunk.len == 0;
    buffer_put(&snapshot, chunk.ptr, chunk.len);
    service_list_u8_free(&chunk);
    if (ended) break;
  }
  oarlock_state_machine_streams_source_drop_borrow(from);
  const char *wrong = read_snapshot(written_by, (struct bytes){snapshot.at, snapshot.length});
  buffer_free(&snapshot);
  if (wrong != NULL) service_string_dup(err, wrong);
  return wrong == NULL;
}

void exports_oarlock_state_machine_about_describe(exports_oarlock_state_machine_about_description_t *ret) {
  service_string_dup(&ret->name, guest_description.name);
  ret->version = guest_description.version;
  service_string_dup(&ret->codec, guest_description.codec);
  service_string_dup(&ret->schema, guest_description.schema);
}

void exports_oarlock_state_machine_layout_fingerprint(service_string_t *ret) {
  service_string_dup(ret, guest_description.layout);
}
