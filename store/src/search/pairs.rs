//! Words of scripts that put no spaces between them.

/// All pairs of neighbours in each run of such characters, and a run of one as it is, with spaces between: Postgres takes a run for
/// one word, in which nobody finds a part.
pub(super) fn of(text: &str) -> String {
    let mut pairs = String::new();
    for run in text.split(|c| !is_joined(c)) {
        let mut neighbours = run.chars().zip(run.chars().skip(1)).peekable();
        if neighbours.peek().is_none() {
            pairs.extend(run.chars().flat_map(|alone| [' ', alone]));
        }
        pairs.extend(neighbours.flat_map(|(one, next)| [' ', one, next]));
    }
    pairs
}

/// Whether words of the character's script stand without spaces: Thai, Lao, Burmese, Khmer, Japanese, Chinese; and Korean, whose words
/// carry their endings.
fn is_joined(c: char) -> bool {
    matches!(c,
        '\u{0E01}'..='\u{0EFF}'
        | '\u{1000}'..='\u{109F}'
        | '\u{1780}'..='\u{17FF}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{30FF}'
        | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7AF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn runs_become_pairs() {
        assert_eq!(of("購物車 and カート"), " 購物 物車 カー ート");
        assert_eq!(of("a 車 b 物車"), " 車 物車");
        assert_eq!(of("車"), " 車");
        assert_eq!(of("plain words, naïve Größe"), "");
        assert_eq!(of(""), "");
    }

    #[test]
    fn pairs_grow_with_the_text() {
        for text in ["車".repeat(1_000), "\u{20000}".repeat(1_000), "車 ".repeat(1_000)] {
            assert!(of(&text).len() < 3 * text.len());
        }
    }
}
