//! Bigrams of scripts that do not separate words by spaces.

/// Returns the bigrams of each run of characters of such scripts, and each run of one character, separated by spaces. Without them,
/// Postgres indexes a run as one word, and a search for a part of it finds nothing.
pub(super) fn of(text: &str) -> String {
    let mut bigrams = String::new();
    for run in text.split(|c| !is_unspaced(c)) {
        let mut neighbours = run.chars().zip(run.chars().skip(1)).peekable();
        if neighbours.peek().is_none() {
            bigrams.extend(run.chars().flat_map(|alone| [' ', alone]));
        }
        bigrams.extend(neighbours.flat_map(|(one, next)| [' ', one, next]));
    }
    bigrams
}

/// Returns whether the character's script does not separate words by spaces (Thai, Lao, Burmese, Khmer, Japanese, Chinese), or is Korean,
/// whose words include their endings.
fn is_unspaced(c: char) -> bool {
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
    fn runs_become_bigrams() {
        assert_eq!(of("購物車 and カート"), " 購物 物車 カー ート");
        assert_eq!(of("a 車 b 物車"), " 車 物車");
        assert_eq!(of("車"), " 車");
        assert_eq!(of("plain words, naïve Größe"), "");
        assert_eq!(of(""), "");
    }

    #[test]
    fn bigrams_grow_linearly() {
        for text in ["車".repeat(1_000), "\u{20000}".repeat(1_000), "車 ".repeat(1_000)] {
            assert!(of(&text).len() < 3 * text.len());
        }
    }
}
