//! See `cli/tests/fuzz/targets.rs`, where the target is.
#![no_main]

#[path = "../../cli/tests/fuzz/targets.rs"]
#[allow(dead_code, unused_imports, reason = "each program has one target")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let at = std::env::temp_dir().join(format!("dacapo-fuzz-{}.db", std::process::id()));
    targets::store(bytes, &at);
});
