//! A long run of the parsers on documents that were changed at random, without the tools that the targets in `fuzz/` need.
//!
//! `cargo run --release -p enact-domain --example fuzz -- 900` runs for 900 seconds and prints what it found; a second argument is the
//! seed. The documents are those of the corpus (`ENACT_CORPUS`) and of `tests/speckit_inputs`. A failing input is written to the folder
//! for temporary files.

#[path = "../tests/support/corpus.rs"]
mod corpus;
#[path = "../tests/speckit_checks/mod.rs"]
mod speckit_checks;
#[path = "../tests/support/stopwatch.rs"]
mod stopwatch;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use enact_domain::speckit::{checklist, constitution, data_model, plan, research, spec, tasks};
use stopwatch::Stopwatch;

/// Size of most documents. Some are larger, up to [`LARGE`].
const SMALL: usize = 8 << 10;
const LARGE: usize = 256 << 10;

/// A time that any document may take, and the time that each further byte of it may take, for all parsers and edits together.
const FLOOR: Duration = Duration::from_millis(150);
const PER_BYTE: Duration = Duration::from_micros(12);

/// Failing inputs after which the run ends.
const MAX_FAILURES: usize = 20;

/// Pseudo-random numbers, the same for the same seed (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap_or_default()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// The tokens of the dictionary of the fuzz targets.
fn dictionary() -> Vec<Vec<u8>> {
    let text = include_str!("../../fuzz/speckit.dict");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(token: &str) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), token.as_bytes());
    loop {
        rest = match rest {
            [] => return found,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digits = [*high, *low];
                let value = str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                found.push(value.expect("a token of the dictionary has valid escapes"));
                rest
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                found.push(*byte);
                rest
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speckit_inputs");
    let mut files = corpus::files(&inputs, |_| true);
    files.extend(corpus::root().map(|root| corpus::files(&root, |_| true)).unwrap_or_default());
    files.iter().filter_map(|path| fs::read(path).ok()).filter(|bytes| bytes.len() <= LARGE).collect()
}

/// Returns a range of whole lines, or of bytes.
fn piece(chance: &mut Chance, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = chance.below(bytes.len() + 1);
    let longest = 1 << chance.below(12);
    let end = (start + 1 + chance.below(longest)).min(bytes.len());
    if chance.below(3) == 0 {
        return start..end;
    }
    let line = |at: usize| bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let ending = bytes[end..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |len| end + len + 1);
    line(start)..ending
}

/// Changes a document in one place.
fn change(chance: &mut Chance, document: &mut Vec<u8>, seeds: &[Vec<u8>], tokens: &[Vec<u8>]) {
    let at = chance.below(document.len() + 1);
    match chance.below(10) {
        0 => {
            let cut = piece(chance, document);
            document.drain(cut);
        }
        1 => {
            let again = document[piece(chance, document)].to_vec();
            document.splice(at..at, again);
        }
        2 => {
            let other = chance.pick(seeds);
            let borrowed = other[piece(chance, other)].to_vec();
            document.splice(at..at, borrowed);
        }
        3 => {
            if let Some(byte) = document.get_mut(at) {
                *byte = u8::try_from(chance.below(256)).unwrap_or_default();
            }
        }
        4 => {
            let times = 1 << chance.below(10);
            let repeated = chance.pick(tokens).repeat(times);
            document.splice(at..at, repeated);
        }
        5 => {
            let swapped = piece(chance, document);
            let moved: Vec<u8> = document.drain(swapped).collect();
            let to = chance.below(document.len() + 1);
            document.splice(to..to, moved);
        }
        _ => {
            let token = chance.pick(tokens).clone();
            document.splice(at..at, token);
        }
    }
}

fn mutated(chance: &mut Chance, seeds: &[Vec<u8>], tokens: &[Vec<u8>]) -> Vec<u8> {
    let limit = if chance.below(64) == 0 { LARGE } else { SMALL };
    let seed = chance.pick(seeds);
    let mut document = seed.clone();
    if document.len() > limit {
        let from = chance.below(document.len() - limit);
        document = document[from..from + limit].to_vec();
    }
    for _ in 0..=chance.below(8) {
        change(chance, &mut document, seeds, tokens);
    }
    document.truncate(limit);
    if chance.below(16) == 0 {
        document = document.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    }
    // Most mutations of text must stay text, or nothing but the decoder is tested.
    if chance.below(32) > 0 {
        document = String::from_utf8_lossy(&document).into_owned().into_bytes();
    }
    document
}

/// Parses a document twice as each kind.
///
/// # Panics
///
/// If the two results differ.
fn repeatable(bytes: &[u8]) {
    assert_eq!(tasks::parse(bytes), tasks::parse(bytes));
    assert_eq!(spec::parse(bytes), spec::parse(bytes));
    assert_eq!(plan::parse(bytes), plan::parse(bytes));
    assert_eq!(constitution::parse(bytes), constitution::parse(bytes));
    assert_eq!(research::parse(bytes), research::parse(bytes));
    assert_eq!(checklist::parse(bytes), checklist::parse(bytes));
    assert_eq!(data_model::parse(bytes), data_model::parse(bytes));
}

/// Runs all checks on a document, and returns what failed.
fn run(bytes: &[u8]) -> Option<String> {
    let stopwatch = Stopwatch::start();
    let all = || {
        speckit_checks::document(bytes);
        repeatable(bytes);
        let edited = [b"Which way?\nInwards, 2 of them\n", bytes].concat();
        speckit_checks::edits(&edited);
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(all)) {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        return Some(text.unwrap_or("panic").to_owned());
    }
    let allowed = FLOOR + PER_BYTE * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let slow = |stopwatch: &Stopwatch| stopwatch.elapsed() > allowed;
    if !slow(&stopwatch) {
        return None;
    }
    // Only a document that is slow each time is slow.
    let again = (0..2).all(|_| {
        let stopwatch = Stopwatch::start();
        speckit_checks::document(bytes);
        repeatable(bytes);
        slow(&stopwatch)
    });
    again.then(|| format!("{} bytes take more than {allowed:?}", bytes.len()))
}

fn main() {
    let argument = |at: usize| std::env::args().nth(at).and_then(|text| text.parse::<u64>().ok());
    let duration = Duration::from_secs(argument(1).unwrap_or(60));
    let seed = argument(2).unwrap_or(1);
    let (seeds, tokens) = (seeds(), dictionary());
    println!("{} documents, {} tokens, seed {seed}, {} s", seeds.len(), tokens.len(), duration.as_secs());
    std::panic::set_hook(Box::new(|_| {}));
    let mut chance = Chance(seed);
    let begun = Instant::now();
    let (mut runs, mut bytes, mut failures) = (0_u64, 0_usize, 0);
    while begun.elapsed() < duration && failures < MAX_FAILURES {
        let document = mutated(&mut chance, &seeds, &tokens);
        runs += 1;
        bytes += document.len();
        if let Some(failure) = run(&document) {
            failures += 1;
            let path = std::env::temp_dir().join(format!("enact-fuzz-{seed}-{runs}"));
            let kept = fs::write(&path, &document).map_or_else(|e| e.to_string(), |()| path.display().to_string());
            println!("run {runs}: {failure}\n  input: {kept}");
        }
    }
    println!("{runs} runs, {} KiB, {failures} failures in {} s", bytes >> 10, begun.elapsed().as_secs());
    if failures > 0 {
        std::process::exit(1);
    }
}
