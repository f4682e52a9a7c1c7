//! See `cli/tests/fuzz/targets.rs`, where the target is.
#![no_main]

#[path = "../../cli/tests/fuzz/targets.rs"]
#[allow(dead_code, unused_imports, reason = "each program has one target")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::token(bytes));
