//! `targets::spec` under the fuzzer.

#![no_main]
#![allow(dead_code, clippy::expect_used, reason = "the file of targets is shared, and a target that fails panics")]

#[path = "../../tests/it/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::spec(data));
