//! Words in the languages in which people write Spec Kit documents, where several documents need them: English, French, German, Spanish,
//! Italian, Portuguese, Russian, Japanese, Korean and Chinese. Words of one document are in a table beside its parser.
//!
//! All words are in lower case.

use aho_corasick::{AhoCorasick, Input};

/// A table of words in lower case, which are searched in one pass over a text.
pub(super) struct Table(Option<AhoCorasick>);

impl Table {
    pub(super) fn new(words: &[&str]) -> Self {
        // It cannot be built only if it has too many words.
        Self(AhoCorasick::new(words).ok())
    }

    /// Returns whether a lower-case text contains one of the words anywhere.
    pub(super) fn is_in(&self, lower: &str) -> bool {
        self.0.as_ref().is_some_and(|words| words.is_match(lower))
    }

    /// Returns whether a lower-case text contains one of the words, as [`contains`] does.
    pub(super) fn begins_in(&self, lower: &str) -> bool {
        self.accepts(lower, |_, _| true)
    }

    /// Returns whether a lower-case text contains one of the words, as [`contains`] does, and the word and the text behind it are accepted.
    pub(super) fn accepts(&self, lower: &str, accepted: impl Fn(&str, &str) -> bool) -> bool {
        let Some(words) = &self.0 else { return false };
        // A word that is part of a longer one can hide another one that is not, so that all of them are searched.
        words.find_overlapping_iter(Input::new(lower)).any(|found| {
            let word = &lower[found.range()];
            let spaced = word.chars().next().is_some_and(|c| u32::from(c) < 0x2E80);
            let begins = !spaced || !lower[..found.start()].ends_with(char::is_alphanumeric);
            begins && accepted(word, &lower[found.end()..])
        })
    }
}

/// Words before the number of a user story.
pub(super) const STORY: [&str; 28] = [
    "قصة المستخدم",
    "user story",
    "user stories",
    "story",
    "histoire utilisateur",
    "récit utilisateur",
    "scénario utilisateur",
    "anwendergeschichte",
    "benutzergeschichte",
    "nutzergeschichte",
    "historia de usuario",
    "historia de usuário",
    "história de usuário",
    "história do usuário",
    "história do utilizador",
    "storia utente",
    "caso d'uso",
    "пользовательская история",
    "история пользователя",
    "сценарий пользователя",
    "ユーザーストーリー",
    "ユーザストーリー",
    "사용자 스토리",
    "사용자스토리",
    "유저 스토리",
    "用户故事",
    "使用者故事",
    "用戶故事",
];

/// Labels of the test of one story without the others.
pub(super) const INDEPENDENT_TEST: [&str; 49] = [
    "اختبار مستقل",
    "independent test",
    "independent tests",
    "independent testing",
    "independent test criteria",
    "independent verification",
    "test indépendant",
    "tests indépendants",
    "vérification indépendante",
    "test autonome",
    "unabhängiger test",
    "unabhängige prüfung",
    "unabhängige tests",
    "eigenständiger test",
    "prueba independiente",
    "pruebas independientes",
    "test independiente",
    "verificación independiente",
    "test indipendente",
    "verifica indipendente",
    "prova indipendente",
    "teste independente",
    "testes independentes",
    "verificação independente",
    "независимый тест",
    "независимая проверка",
    "независимое тестирование",
    "самостоятельная проверка",
    "独立テスト",
    "独立したテスト",
    "独立検証",
    "独立した検証",
    "単独テスト",
    "独立テスト方法",
    "독립 테스트",
    "독립테스트",
    "독립적 테스트",
    "독립적인 테스트",
    "독립 검증",
    "독립 테스트 방법",
    "独立测试",
    "獨立測試",
    "独立验证",
    "獨立驗證",
    "独立测试方法",
    "獨立測試方法",
    "独立测试标准",
    "獨立測試標準",
    "独立可测试",
];

/// Returns whether a text in lower case contains the label of an independent test.
pub(crate) fn names_independent_test(lower: &str) -> bool {
    INDEPENDENT_TEST.iter().any(|label| lower.contains(label))
}

/// Returns the text after a word for a user story at the start of `lower`, which is in lower case.
pub(super) fn after_story(lower: &str) -> Option<&str> {
    let longest = STORY.iter().filter(|word| lower.starts_with(**word)).max_by_key(|word| word.len())?;
    Some(&lower[longest.len()..])
}

/// Returns whether a lower-case text contains a word: a Latin or Cyrillic word as a whole or at the beginning of a longer one, others
/// anywhere.
pub(super) fn contains(lower: &str, word: &str) -> bool {
    let spaced = word.chars().next().is_some_and(|c| u32::from(c) < 0x2E80);
    lower.match_indices(word).any(|(at, _)| !spaced || !lower[..at].ends_with(char::is_alphanumeric))
}
