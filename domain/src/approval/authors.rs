//! The authors of a content, whom four eyes exclude from its approval.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{ANNOTATION_AUTHOR, ANNOTATION_CO_AUTHORS};

/// Most users in the annotation. Beyond, it names everybody.
const MAX: usize = 32;
/// The name that stands for everybody.
const EVERYBODY: &str = "*";

/// The users who changed a content since it was last approved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authors(BTreeSet<String>);

impl Authors {
    /// Reads them from the annotations of an object: the author, and the users who changed the content before. A list that cannot be read
    /// names everybody.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let others: BTreeSet<String> = annotations.get(ANNOTATION_CO_AUTHORS).map_or_else(BTreeSet::new, |text| {
            serde_json::from_str(text).unwrap_or_else(|_| BTreeSet::from([EVERYBODY.to_owned()]))
        });
        Self(others).with(annotations.get(ANNOTATION_AUTHOR).map(String::as_str))
    }

    /// Returns these and further users.
    #[must_use]
    pub fn with<'a>(mut self, users: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.extend(users.into_iter().map(str::to_owned));
        self
    }

    /// Returns whether a user is one of them.
    pub fn contains(&self, user: &str) -> bool {
        self.0.contains(user) || self.0.contains(EVERYBODY)
    }

    /// Returns the annotation with the users other than `author`; none if there are no others.
    pub fn co_authors(&self, author: &str) -> Option<String> {
        let mut others: Vec<&str> = self.0.iter().map(String::as_str).filter(|user| *user != author).collect();
        if others.len() > MAX || others.contains(&EVERYBODY) {
            others = vec![EVERYBODY];
        }
        // Texts can always be written as JSON.
        (!others.is_empty()).then(|| serde_json::to_string(&others).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(author: &str, others: &str) -> Authors {
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Authors::of(&[named(ANNOTATION_AUTHOR, author), named(ANNOTATION_CO_AUTHORS, others)].into())
    }

    #[test]
    fn an_object_without_the_list_has_one_author() {
        let authors = Authors::of(&[(ANNOTATION_AUTHOR.to_owned(), "bob".to_owned())].into());
        assert_eq!(authors, Authors::default().with(["bob"]));
        assert_eq!(authors.co_authors("bob"), None);
        assert_eq!(authors.co_authors("eve").as_deref(), Some(r#"["bob"]"#));
        assert!(!Authors::of(&BTreeMap::new()).contains("bob"));
    }

    #[test]
    fn the_list_is_kept() {
        let authors = read("bob", r#"["eve","ann"]"#);
        assert!(["ann", "bob", "eve"].iter().all(|user| authors.contains(user)) && !authors.contains("cem"));
        assert_eq!(authors.co_authors("bob").as_deref(), Some(r#"["ann","eve"]"#));
        assert_eq!(authors.co_authors("eve").as_deref(), Some(r#"["ann","bob"]"#), "who was the author still counts");
    }

    #[test]
    fn too_many_are_everybody() {
        let users: Vec<String> = (0..=MAX).map(|i| format!("user-{i:02}")).collect();
        let authors = Authors::default().with(users.iter().map(String::as_str));
        let listed = authors.co_authors("user-00").unwrap();
        assert!(!read("user-00", &listed).contains("ann"));
        let everybody = authors.co_authors("ann").unwrap();
        assert_eq!(everybody, r#"["*"]"#);
        let after = read("ann", &everybody);
        assert!(after.contains("bob"));
        assert_eq!(after.co_authors("bob").as_deref(), Some(r#"["*"]"#), "nobody leaves the list");
        assert!(read("ann", "[").contains("bob"), "nobody knows who is on it");
    }
}
