//! Ticks and answers change only the intended text. The first two lines of the input are the question and the answer.
#![no_main]

use enact_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::edits(bytes));
