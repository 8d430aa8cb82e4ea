;; A WASI without a world: what a plugin's standard library finds where it looks for an operating system.
;;
;; Compilers that target wasip1 (Go, Rust's std, wasi-libc) import functions of `wasi_snapshot_preview1`. This module
;; answers them from constants and two counters, so that their modules become components which import nothing: equal
;; input gives equal output, whatever machine, day or directory it runs in.
;;
;; It imports nothing but the memory of the module it is linked to, and what it remembers is two numbers. A function that
;; does not stand here is refused when the component is made, by its name.
;;
;; Errors are WASI's numbers: 0 is success, 8 a bad descriptor, 58 not supported, 70 a descriptor that cannot seek.
(module
  (import "env" "memory" (memory 0))

  ;; Nanoseconds. The clock starts at one second, because programs take zero for "not set", and every look at it
  ;; advances it, because programs wait for time to pass and divide by what has passed.
  (global $now (mut i64) (i64.const 1000000000))
  (global $tick i64 (i64.const 1000))

  ;; The state of the random numbers. Any start but zero does; this one has about as many ones as zeros.
  (global $random (mut i64) (i64.const 0x5eed0f4a11a7e01d))

  ;; No arguments, no environment: two counts of nothing, and nothing to copy.
  (func (export "args_get") (param $pointers i32) (param $texts i32) (result i32)
    (i32.const 0))
  (func (export "args_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (call $none (local.get $count) (local.get $bytes)))
  (func (export "environ_get") (param $pointers i32) (param $texts i32) (result i32)
    (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (call $none (local.get $count) (local.get $bytes)))
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))

  ;; One clock, by whatever id: a second one could drift from it.
  (func (export "clock_time_get") (param $id i32) (param $precision i64) (param $time i32) (result i32)
    (i64.store (local.get $time) (global.get $now))
    (global.set $now (i64.add (global.get $now) (global.get $tick)))
    (i32.const 0))
  (func (export "clock_res_get") (param $id i32) (param $resolution i32) (result i32)
    (i64.store (local.get $resolution) (global.get $tick))
    (i32.const 0))

  ;; The same bytes in every instance: hash tables are seeded, nothing is secret.
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (i32.store8 (local.get $at) (call $random_byte))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.const 0))
  ;; One step of Marsaglia's xorshift over 64 bits.
  (func $random_byte (result i32)
    (local $x i64)
    (local.set $x (global.get $random))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $random (local.get $x))
    (i32.wrap_i64 (local.get $x)))

  ;; Writing succeeds and goes nowhere: a forgotten print must not make a fault of a score. The answer is how many bytes
  ;; the buffers hold, each an address and a length.
  (func (export "fd_write") (param $fd i32) (param $buffers i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $buffers))))
        (local.set $buffers (i32.add (local.get $buffers) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; Reading finds the end of the file.
  (func (export "fd_read") (param $fd i32) (param $buffers i32) (param $count i32) (param $read i32) (result i32)
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))
  (func (export "fd_seek") (param $fd i32) (param $offset i64) (param $whence i32) (param $position i32) (result i32)
    (i32.const 70))
  (func (export "fd_close") (param $fd i32) (result i32)
    (i32.const 0))

  ;; Every descriptor is a character device, like a terminal: what is printed is not worth buffering, and is not a file.
  ;; Kind, flags, rights, inherited rights: 24 bytes, of which only the first is not zero.
  (func (export "fd_fdstat_get") (param $fd i32) (param $status i32) (result i32)
    (i64.store (local.get $status) (i64.const 2))
    (i64.store offset=8 (local.get $status) (i64.const 0))
    (i64.store offset=16 (local.get $status) (i64.const 0))
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param $flags i32) (result i32)
    (i32.const 0))

  ;; No directory is open, so there is no path that could be.
  (func (export "fd_prestat_get") (param $fd i32) (param $directory i32) (result i32)
    (i32.const 8))
  (func (export "fd_prestat_dir_name") (param $fd i32) (param $name i32) (param $length i32) (result i32)
    (i32.const 8))

  ;; Nothing ever happens here that one could wait for.
  (func (export "poll_oneoff") (param $waits i32) (param $events i32) (param $count i32) (param $happened i32) (result i32)
    (i32.store (local.get $happened) (i32.const 0))
    (i32.const 58))
  (func (export "sched_yield") (result i32)
    (i32.const 0))

  ;; There is no process to leave: the call ends as a fault, with whatever status.
  (func (export "proc_exit") (param $status i32)
    (unreachable)))
