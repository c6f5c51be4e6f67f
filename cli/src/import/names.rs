//! Names of objects, derived from names of directories.

use enact_domain::digest::Digest;
use enact_domain::names::slug;

/// Longest name of a Plan. The names of its Tasks are this name and the ID of the task.
const MAX_NAME: usize = 52;
/// Number of hex digits that keep a shortened name unique.
const HASH_LEN: usize = 8;

/// Returns the name for the objects of a feature, derived from its directory.
///
/// `001-photo-albums` becomes `f001-photo-albums`: the number distinguishes the names of features, and the name of a Plan must start with a
/// letter. A name that is shortened, or that loses characters outside ASCII, ends with a digest of the name of the directory.
pub fn of_feature(directory: &str) -> String {
    let slug = slug(directory);
    let name = if slug.starts_with(|c: char| c.is_ascii_lowercase()) { slug } else { format!("f{slug}") };
    if directory.is_ascii() && name.len() <= MAX_NAME && name.len() > 1 {
        return name;
    }
    // Two long or non-ASCII names could become the same name without the digest.
    let digest = Digest::of_bytes(directory.as_bytes());
    let hash = digest.short().get(..HASH_LEN).unwrap_or_default();
    let head = name.get(..name.len().min(MAX_NAME - HASH_LEN - 1)).unwrap_or_default().trim_end_matches('-');
    format!("{head}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use enact_domain::names::is_label;
    use proptest::prelude::*;

    #[test]
    fn keeps_names_readable() {
        assert_eq!(of_feature("001-photo-albums"), "f001-photo-albums");
        assert_eq!(of_feature("20260107-142530-Login_Page"), "f20260107-142530-login-page");
        assert_eq!(of_feature("shop"), "shop");
    }

    #[test]
    fn keeps_shortened_names_unique() {
        assert_ne!(of_feature("003-用户登录"), of_feature("003-用户注册"));
        let long = "a-very-long-name-of-a-feature-that-somebody-thought-of";
        assert_ne!(of_feature(&format!("{long}-1")), of_feature(&format!("{long}-2")));
    }

    proptest! {
        #[test]
        fn names_are_valid_for_a_plan(directory in "\\PC{0,100}") {
            let name = of_feature(&directory);
            prop_assert!(is_label(&name) && name.len() <= MAX_NAME, "{name}");
            prop_assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
    }
}
