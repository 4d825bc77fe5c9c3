;; A guest whose commands are single letters, for tests of failures that other guests never cause.
;; The table of commands is in the module `testing`. The state is `value` and `pad`; a snapshot contains both, then `pad` zeros.
(module
  (import "oarlock:state-machine/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "oarlock:state-machine/host@0.1.0" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "oarlock:state-machine/host@0.1.0" "wake-at" (func $wake_at (param i64)))
  (import "oarlock:state-machine/host@0.1.0" "complete" (func $complete (param i64 i32 i32 i32)))
  (import "oarlock:state-machine/host@0.1.0" "memory-pressure" (func $memory_pressure (result i32)))
  (import "oarlock:state-machine/host@0.1.0" "reply-limit" (func $reply_limit (result i64)))
  (import "oarlock:state-machine/callers@0.1.0" "caller-of" (func $caller_of (param i32 i32)))
  (import "oarlock:state-machine/streams@0.1.0" "[method]sink.write" (func $write (param i32 i32 i32)))
  (import "oarlock:state-machine/streams@0.1.0" "[method]source.read" (func $read (param i32 i32 i32)))
  (import "oarlock:state-machine/streams@0.1.0" "[resource-drop]sink" (func $drop_sink (param i32)))
  (import "oarlock:state-machine/streams@0.1.0" "[resource-drop]source" (func $drop_source (param i32)))

  ;; 0: value, 8: pad, 32: results, 64: caller, 96: position in the batch, 128: texts; the heap starts at 262144, and the memory before it is zeros.
  (memory (export "memory") 5)
  (data (i32.const 128) "scripted" "bytes" "t" "the snapshot is of another length")
  (table $table 1 funcref)
  (global $top (mut i32) (i32.const 262144))
  ;; How the next outcomes are made invalid; 0: they are valid.
  (global $wrong (mut i32) (i32.const 0))

  ;; Allocates on the heap. Grows the memory if needed, and traps if that fails.
  (func $take (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))
      unreachable)
    (local.get $at))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (call $take (local.get $size)))

  ;; Frees all memory of a call, after the host has read the results.
  (func $done (global.set $top (i32.const 262144)))

  (func $overflow (param $depth i32) (result i32)
    (i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1)))))

  (func $spin (loop $again (br $again)))

  (func $emit_often (param $times i32)
    (block $end (loop $again
      (br_if $end (i32.eqz (local.get $times)))
      (call $emit (i32.const 141) (i32.const 1) (i32.const 141) (i32.const 1))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br $again))))

  ;; Appends a reply to those before it.
  (func $reply (param $from i32) (param $length i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (block $fits
      (br_if $fits (i32.le_u (i32.add (local.get $at) (local.get $length)) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $length) (i32.const 16))))))
      unreachable)
    (global.set $top (i32.add (local.get $at) (local.get $length)))
    (memory.copy (local.get $at) (local.get $from) (local.get $length)))

  ;; Replies with the name of the caller, and name and first value of its first scope.
  (func $reply_caller
    (local $top i32) (local $scope i32)
    (local.set $top (global.get $top))
    (call $caller_of (i32.load (i32.const 96)) (i32.const 64))
    ;; The replies must stay in one piece: they overwrite the texts, which come after them, from the first one on.
    (global.set $top (local.get $top))
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return)))
    (call $reply (i32.load (i32.const 68)) (i32.load (i32.const 72)))
    (if (i32.eqz (i32.load (i32.const 80))) (then (return)))
    (local.set $scope (i32.load (i32.const 76)))
    (i32.store (i32.const 84) (i32.load (local.get $scope)))
    (i32.store (i32.const 88) (i32.load offset=4 (local.get $scope)))
    (local.set $scope (i32.load offset=8 (local.get $scope)))
    (i32.store (i32.const 76) (i32.load (local.get $scope)))
    (i32.store (i32.const 80) (i32.load offset=4 (local.get $scope)))
    (call $reply (i32.load (i32.const 84)) (i32.load (i32.const 88)))
    (call $reply (i32.load (i32.const 76)) (i32.load (i32.const 80))))

  ;; Executes one command and returns its verdict.
  (func $run (param $at i32) (param $length i32) (result i32)
    (local $op i32) (local $rest i32) (local $size i32)
    (local.set $op (i32.load8_u (local.get $at)))
    (local.set $rest (i32.add (local.get $at) (i32.const 1)))
    (local.set $size (i32.sub (local.get $length) (i32.const 1)))
    (if (i32.eq (local.get $op) (i32.const 97)) (then ;; a
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
      (call $reply (i32.const 0) (i32.const 8)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 114)) (then ;; r
      (call $reply (local.get $rest) (local.get $size)) (return (i32.const 1))))
    (if (i32.eq (local.get $op) (i32.const 100)) (then ;; d
      (call $reply (local.get $rest) (local.get $size)) (return (i32.const 2))))
    (if (i32.eq (local.get $op) (i32.const 99)) (then ;; c
      (call $complete (i64.load (local.get $rest)) (i32.const 1)
        (i32.add (local.get $rest) (i32.const 8)) (i32.sub (local.get $size) (i32.const 8)))
      (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 120)) (then ;; x
      (call $complete (i64.load (local.get $rest)) (i32.const 0)
        (i32.add (local.get $rest) (i32.const 8)) (i32.sub (local.get $size) (i32.const 8)))
      (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 101)) (then ;; e
      (call $emit (i32.const 141) (i32.const 1) (local.get $rest) (local.get $size))
      (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 107)) (then ;; k
      (call $emit_often (i32.load (local.get $rest))) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 108)) (then ;; l
      (call $log (i32.const 4) (local.get $rest) (local.get $size)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 119)) (then ;; w
      (call $wake_at (i64.load (local.get $rest))) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 116)) (then unreachable)) ;; t
    (if (i32.eq (local.get $op) (i32.const 117)) (then ;; u
      (call $log (i32.const 4) (local.get $rest) (local.get $size)) unreachable))
    (if (i32.eq (local.get $op) (i32.const 118)) (then (call $spin))) ;; v
    (if (i32.eq (local.get $op) (i32.const 115)) (then ;; s
      (return (call $overflow (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 103)) (then ;; g
      (i32.store (i32.const 24) (memory.grow (i32.load (local.get $rest))))
      (call $reply (i32.const 24) (i32.const 4)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 109)) (then ;; m
      (i32.store8 (i32.const 24) (call $memory_pressure))
      (call $reply (i32.const 24) (i32.const 1)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 110)) (then ;; n
      (i64.store (i32.const 24) (call $reply_limit))
      (call $reply (i32.const 24) (i32.const 8)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 102)) (then ;; f
      (call $reply_caller) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 98)) (then ;; b
      (i32.store (i32.const 24) (table.grow $table (ref.null func) (i32.load (local.get $rest))))
      (call $reply (i32.const 24) (i32.const 4)) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 122)) (then ;; z
      (call $reply (i32.const 512) (i32.load (local.get $rest))) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 112)) (then ;; p
      (i64.store (i32.const 8) (i64.extend_i32_u (i32.load (local.get $rest)))) (return (i32.const 0))))
    (if (i32.eq (local.get $op) (i32.const 111)) (then ;; o
      (global.set $wrong (i32.load8_u (local.get $rest))) (return (i32.const 0))))
    unreachable)

  (func (export "oarlock:state-machine/machine@0.1.0#apply")
    (param $index i64) (param $time i64) (param $data i32) (param $bytes i32) (param $ends i32) (param $count i32)
    (result i32)
    (local $verdicts i32) (local $offsets i32) (local $replies i32) (local $n i32) (local $start i32) (local $end i32)
    (local.set $verdicts (call $take (local.get $count)))
    (local.set $offsets (call $take (i32.shl (local.get $count) (i32.const 2))))
    (local.set $replies (call $take (i32.const 0)))
    (block $finished (loop $next
      (br_if $finished (i32.eq (local.get $n) (local.get $count)))
      (local.set $end (i32.load (i32.add (local.get $ends) (i32.shl (local.get $n) (i32.const 2)))))
      (i32.store (i32.const 96) (local.get $n))
      (i32.store8 (i32.add (local.get $verdicts) (local.get $n))
        (call $run (i32.add (local.get $data) (local.get $start)) (i32.sub (local.get $end) (local.get $start))))
      (i32.store (i32.add (local.get $offsets) (i32.shl (local.get $n) (i32.const 2)))
        (i32.sub (global.get $top) (local.get $replies)))
      (local.set $start (local.get $end))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 32) (local.get $verdicts))
    (i32.store (i32.const 36) (local.get $count))
    (i32.store (i32.const 40) (local.get $replies))
    (i32.store (i32.const 44) (i32.sub (global.get $top) (local.get $replies)))
    (i32.store (i32.const 48) (local.get $offsets))
    (i32.store (i32.const 52) (local.get $count))
    (if (i32.eq (global.get $wrong) (i32.const 49)) (then (i32.store (i32.const 36) (i32.const 0)))) ;; no verdicts
    (if (i32.eq (global.get $wrong) (i32.const 50)) (then (i32.store (i32.const 52) (i32.const 0)))) ;; no offsets
    (if (i32.eq (global.get $wrong) (i32.const 51)) (then ;; past the end
      (i32.store (local.get $offsets) (i32.const 99999))))
    (if (i32.eq (global.get $wrong) (i32.const 52)) (then ;; a byte too much
      (i32.store (i32.const 44) (i32.add (i32.const 1) (i32.load (i32.const 44))))))
    (if (i32.eq (global.get $wrong) (i32.const 53)) (then ;; an unknown verdict
      (i32.store8 (local.get $verdicts) (i32.const 9))))
    (if (i32.eq (global.get $wrong) (i32.const 54)) (then ;; outside of memory
      (i32.store (i32.const 40) (i32.const -16)) (i32.store (i32.const 44) (i32.const 8))))
    (call $done)
    (i32.const 32))

  (func (export "oarlock:state-machine/machine@0.1.0#snapshot") (param $sink i32) (result i32)
    (local $left i32) (local $now i32)
    (call $write (local.get $sink) (i32.const 0) (i32.const 16))
    (local.set $left (i32.load (i32.const 8)))
    (block $end (loop $again
      (br_if $end (i32.eqz (local.get $left)))
      (local.set $now (i32.const 131072))
      (if (i32.lt_u (local.get $left) (local.get $now)) (then (local.set $now (local.get $left))))
      (call $write (local.get $sink) (i32.const 512) (local.get $now))
      (local.set $left (i32.sub (local.get $left) (local.get $now)))
      (br $again)))
    (call $drop_sink (local.get $sink))
    (i32.store8 (i32.const 32) (i32.const 0))
    (i32.const 32))

  (func (export "oarlock:state-machine/machine@0.1.0#restore") (param $by i32) (param $source i32) (result i32)
    (local $total i32)
    (call $read (local.get $source) (i32.const 16) (i32.const 48))
    (if (i32.eq (i32.load (i32.const 52)) (i32.const 16)) (then
      (memory.copy (i32.const 0) (i32.load (i32.const 48)) (i32.const 16))))
    (block $end (loop $again
      (call $read (local.get $source) (i32.const 65536) (i32.const 48))
      (call $done)
      (br_if $end (i32.eqz (i32.load (i32.const 52))))
      (local.set $total (i32.add (local.get $total) (i32.load (i32.const 52))))
      (br $again)))
    (call $drop_source (local.get $source))
    (i32.store8 (i32.const 32) (i32.ne (local.get $total) (i32.load (i32.const 8))))
    (i32.store (i32.const 36) (i32.const 142))
    (i32.store (i32.const 40) (i32.const 33))
    (i32.const 32))

  (func (export "oarlock:state-machine/queries@0.1.0#query")
    (param $index i64) (param $time i64) (param $at i32) (param $length i32) (result i32)
    (local $op i32)
    (local.set $op (i32.load8_u (local.get $at)))
    (i32.store8 (i32.const 32) (i32.const 0))
    (i32.store (i32.const 36) (i32.const 0))
    (i32.store (i32.const 40) (i32.const 8))
    (if (i32.eq (local.get $op) (i32.const 116)) (then unreachable)) ;; t
    (if (i32.eq (local.get $op) (i32.const 118)) (then (call $spin))) ;; v
    (if (i32.eq (local.get $op) (i32.const 115)) (then (drop (call $overflow (i32.const 0))))) ;; s
    (if (i32.eq (local.get $op) (i32.const 114)) (then ;; r
      (i32.store8 (i32.const 32) (i32.const 1))
      (i32.store (i32.const 36) (local.get $at)) (i32.store (i32.const 40) (local.get $length))))
    (if (i32.eq (local.get $op) (i32.const 101)) (then ;; e
      (call $emit (i32.const 141) (i32.const 1) (local.get $at) (local.get $length))
      (call $wake_at (i64.const 1))))
    (if (i32.eq (local.get $op) (i32.const 102)) (then ;; f
      (i32.store (i32.const 96) (i32.const 0))
      (i32.store (i32.const 36) (global.get $top))
      (call $reply_caller)
      (i32.store (i32.const 40) (i32.sub (global.get $top) (i32.load (i32.const 36))))))
    (if (i32.eq (local.get $op) (i32.const 122)) (then ;; z
      (i32.store (i32.const 36) (i32.const 512))
      (i32.store (i32.const 40) (i32.load (i32.add (local.get $at) (i32.const 1))))))
    (call $done)
    (i32.const 32))

  (func (export "oarlock:state-machine/timers@0.1.0#wake") (param $index i64) (param $time i64)
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 100))))

  (func (export "oarlock:state-machine/layout@0.1.0#fingerprint") (result i32) (i32.store (i32.const 32) (i32.const 128)) (i32.store (i32.const 36) (i32.const 8)) (i32.const 32))

  (func (export "oarlock:state-machine/about@0.1.0#describe") (result i32)
    (i32.store (i32.const 32) (i32.const 128))
    (i32.store (i32.const 36) (i32.const 8))
    (i32.store (i32.const 40) (i32.const 3))
    (i32.store (i32.const 44) (i32.const 136))
    (i32.store (i32.const 48) (i32.const 5))
    (i32.store (i32.const 52) (i32.const 0))
    (i32.store (i32.const 56) (i32.const 0))
    (i32.const 32)))
