//! Every parser reads every input: no panic, spans inside the document, and the document itself unchanged.
#![no_main]

use enact_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| checks::document(bytes));
