// A guest in C: timers, deferred replies, events, snapshots.
//
// Copy `oarlock.h` and `oarlock.c` next to your own files. They define the exports of the world `service`; you define the
// functions below that start with `guest_`. Timers and deferred commands are part of the state: they are in each snapshot,
// and a refused command leaves none. Times are milliseconds since 1970-01-01 UTC, as the log has them. The rules are those of
// the Rust SDK, `oarlock-guest`. The encoding of commands and replies is yours.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Borrowed bytes.
struct bytes {
  const uint8_t *at;
  size_t length;
};

// Bytes that grow. `{0}` is empty.
struct buffer {
  uint8_t *at;
  size_t length, capacity;
};

// Allocates memory. Traps if there is none left; the host then undoes the command.
void *allocated(size_t length);
void buffer_put(struct buffer *to, const void *more, size_t length);
void buffer_text(struct buffer *to, const char *text);
void buffer_free(struct buffer *buffer);

// What a guest can see and do besides changing its own state. Valid during one call.
struct cx;

uint64_t cx_index(const struct cx *cx);
uint64_t cx_time_ms(const struct cx *cx);

// The values of one scope of a token.
struct caller_scope {
  char *name, **values;
  size_t count;
};

// Who has sent a command or a query: the owner of a certificate or of a token. The name of a node's certificate is `node/` and
// the id of the node. Scopes are those of `oarlock token create NAME --scope queues=a,b`. `{0}` is none.
struct caller {
  char *name;
  struct caller_scope *scopes;
  size_t scope_count;
};

// Who has sent this command. Equal on every node. Free it with `caller_free`. False: the nodes don't authenticate (no
// `--certs-dir`), there is no command, or the cluster is at level 0.
bool cx_caller(const struct cx *cx, struct caller *caller);

// The same for a query, in `guest_query`.
bool query_caller(struct caller *caller);

// Whether the caller is not limited in the scope, or the value is in it.
bool caller_may_use(const struct caller *caller, const char *scope, const char *value);

void caller_free(struct caller *caller);

// Publishes an event when the command is accepted. Clients read it at `GET /v1/events`.
void cx_emit(struct cx *cx, const char *topic, struct bytes payload);

// Requests a call of `guest_on_wake` at or after this time. There is one such time; 0 clears it.
void cx_wake_at(struct cx *cx, uint64_t time_ms);

// Sets the timer `id`, or replaces it: `guest_on_timer` is called once, at or after this time, never before it. Timers fire in
// the order of their times, and of their ids if the times are equal. False, and nothing happens: 100,000 timers are set, or
// the id is longer than 256 bytes. Then refuse the command.
bool cx_set_timer(struct cx *cx, const char *id, uint64_t at_ms);

// Cancels a timer. Returns whether it was set.
bool cx_cancel_timer(struct cx *cx, const char *id);

// The time at which a timer fires. Returns whether it is set.
bool cx_timer_ms(const struct cx *cx, const char *id, uint64_t *at_ms);

// Defers the reply to this command. Returns a token, for `cx_complete` in this command or a later one, or 0 if too many
// commands wait; then refuse the command. What `guest_apply` writes is the reply at the deadline, if nothing completed the
// command before. Traps where there is no command.
uint64_t cx_defer(struct cx *cx, uint64_t deadline_ms);

// Whether a deferred command has no reply yet.
bool cx_is_waiting(const struct cx *cx, uint64_t token);

// Completes a deferred command with a reply, or with a refusal. False, and nothing happens, if it does not wait.
bool cx_complete(struct cx *cx, uint64_t token, bool accepted, struct bytes reply);

// The description of the guest. Change `layout` whenever the bytes of `guest_write` change their meaning, and raise the
// version then.
struct guest_description {
  const char *name;
  uint32_t version;
  const char *layout, *codec, *schema;
};
extern const struct guest_description guest_description;

// Executes a command and writes its reply. Returns false and writes the refusal if it refuses; then the state is unchanged.
bool guest_apply(struct cx *cx, struct bytes command, struct buffer *out);

// Evaluates a query and writes the response. Returns false and writes the refusal if it refuses. Changes nothing.
bool guest_query(uint64_t time_ms, struct bytes query, struct buffer *out);

// A timer is due. It is no longer set.
void guest_on_timer(struct cx *cx, const char *id);

// The deadline of a deferred command has passed. Its reply is sent next, unless it is completed here.
void guest_on_deadline(struct cx *cx, uint64_t token);

// The time of `cx_wake_at` is reached.
void guest_on_wake(struct cx *cx);

// Writes the state, for a snapshot: equal bytes for equal states.
void guest_write(struct buffer *state);

// Replaces the state by bytes that `guest_write` of this version of the guest wrote; it is 0 if it is unknown. Returns what is
// wrong with them, or NULL; then the state is unchanged. Never called for a snapshot whose timers and deferred commands are
// not intact.
const char *guest_read(uint32_t written_by, struct bytes state);
