//! Ticks and answers change what they say and nothing else. The first two lines of the input are question and answer.
#![no_main]

use enact_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::edits(bytes));
