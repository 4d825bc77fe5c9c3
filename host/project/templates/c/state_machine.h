// The state machine: what `app.c` calls.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

// Name of the guest, version of its state, and the layout of the state. Change the layout whenever the bytes of `write_state`
// change their meaning, raise the version then, and convert the state of older versions in `read_state`. Then
// `oarlock upgrade` replaces the module while the cluster serves clients.
extern const char GUEST_NAME[];
extern const uint32_t GUEST_VERSION;
extern const char GUEST_LAYOUT[];

// Executes one command and appends its reply, or its refusal, to `out`. Returns whether it was accepted. A refused command
// changes nothing. `time_ms` is the replicated time.
bool apply(uint64_t time_ms, struct span command, struct text *out);

// Evaluates a query and appends its response, or its refusal, to `out`. Returns whether it was accepted. Changes nothing.
bool query(uint64_t time_ms, struct span query, struct text *out);

// Called when the time of `oarlock_state_machine_host_wake_at` has passed.
void wake(uint64_t time_ms);

// Appends the complete state, for a snapshot. Equal states must have equal bytes.
void write_state(struct text *out);

// Replaces the state with the bytes of `write_state`, which version `written_by` of this guest wrote. If they are invalid,
// returns false and appends the reason to `error`.
bool read_state(uint32_t written_by, struct span state, struct text *error);
