//! Names of objects, made from the names of directories.

use enact_domain::digest::Digest;
use enact_domain::names::slug;

/// Longest name of a Plan, which leaves room for the ids of its tasks.
const MAX_NAME: usize = 52;
/// Hex digits that keep a shortened name unique.
const HASH_LEN: usize = 8;

/// The name of a feature's objects: its directory's name in the characters that Kubernetes allows.
///
/// `001-photo-albums` becomes `f001-photo-albums`: the number stays, since two features may otherwise share a name, and a Plan's name
/// begins with a letter. A name that had to be shortened, or that lost letters of other scripts, ends in a digest of the whole.
pub fn of_feature(directory: &str) -> String {
    let slug = slug(directory);
    let name = if slug.starts_with(|c: char| c.is_ascii_lowercase()) { slug } else { format!("f{slug}") };
    if directory.is_ascii() && name.len() <= MAX_NAME && name.len() > 1 {
        return name;
    }
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
    fn names_stay_readable() {
        assert_eq!(of_feature("001-photo-albums"), "f001-photo-albums");
        assert_eq!(of_feature("20260107-142530-Login_Page"), "f20260107-142530-login-page");
        assert_eq!(of_feature("shop"), "shop");
    }

    #[test]
    fn names_that_lose_something_stay_apart() {
        assert_ne!(of_feature("003-用户登录"), of_feature("003-用户注册"));
        let long = "a-very-long-name-of-a-feature-that-somebody-thought-of";
        assert_ne!(of_feature(&format!("{long}-1")), of_feature(&format!("{long}-2")));
    }

    proptest! {
        #[test]
        fn names_fit_a_plan(directory in "\\PC{0,100}") {
            let name = of_feature(&directory);
            prop_assert!(is_label(&name) && name.len() <= MAX_NAME, "{name}");
            prop_assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
    }
}
