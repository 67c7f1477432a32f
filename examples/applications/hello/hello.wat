;; Answers each request with the value of GREETING, by CGI's rules: the request is in the environment, the answer on
;; standard output. wasmtime takes the text as it is.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 1024) "Content-Type: text/plain; charset=utf-8\n\n")  ;; 41 bytes
  (data (i32.const 1100) "GREETING=")                                     ;; 9 bytes
  (data (i32.const 1120) "hello")                                         ;; 5 bytes
  (data (i32.const 1130) "\n")

  ;; Write so many bytes from an address to standard output.
  (func $say (param $from i32) (param $count i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $count))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; Whether the text at an address begins with GREETING= .
  (func $is_greeting (param $at i32) (result i32)
    (local $n i32)
    (loop $next
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $n)))
                  (i32.load8_u (i32.add (i32.const 1100) (local.get $n))))
        (then (return (i32.const 0))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 9))))
    (i32.const 1))

  (func $length (param $at i32) (result i32)
    (local $n i32)
    (block $end
      (loop $next
        (br_if $end (i32.eqz (i32.load8_u (i32.add (local.get $at) (local.get $n)))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))
    (local.get $n))

  (func (export "_start")
    (local $n i32) (local $count i32) (local $at i32)
    (call $say (i32.const 1024) (i32.const 41))
    (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
    (local.set $count (i32.load (i32.const 16)))
    ;; more than fits is more than is looked at: pointers from 4096 on, texts from 65536 on
    (if (i32.or (i32.gt_u (local.get $count) (i32.const 1000)) (i32.gt_u (i32.load (i32.const 20)) (i32.const 190000)))
      (then (call $say (i32.const 1120) (i32.const 5)) (return)))
    (drop (call $environ_get (i32.const 4096) (i32.const 65536)))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $n) (local.get $count)))
        (local.set $at (i32.load (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 4)))))
        (if (call $is_greeting (local.get $at))
          (then
            (call $say (i32.add (local.get $at) (i32.const 9)) (i32.sub (call $length (local.get $at)) (i32.const 9)))
            (call $say (i32.const 1130) (i32.const 1))
            (return)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))
    (call $say (i32.const 1120) (i32.const 5))))
