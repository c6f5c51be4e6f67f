//! Content digests. An approval is bound to a digest, and a revision is stored by its digest.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256 of a canonical content, written `sha256:<64 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest of raw bytes (a document as it was written).
    pub fn of_bytes(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(content))))
    }

    /// Returns the digest of a value's canonical JSON: object keys sorted, no white space.
    ///
    /// `serde_json::Value` keeps its objects sorted (its `preserve_order` feature is off), so a round trip through it is canonical.
    ///
    /// # Errors
    /// If the value cannot be written as JSON (a map with keys that are not strings).
    pub fn of_json<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        let canonical = serde_json::to_value(value)?;
        Ok(Self::of_bytes(canonical.to_string().as_bytes()))
    }

    /// Returns the whole text, with its `sha256:` prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is a complete and well-formed digest. A digest from outside may be any text.
    pub fn is_valid(&self) -> bool {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        self.0.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
    }

    /// Returns the first twelve hex digits: enough for a person to tell two contents apart.
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Digest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vector() {
        // FIPS 180-2, the one-block message "abc".
        let digest = Digest::of_bytes(b"abc");
        assert_eq!(digest.as_str(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.short(), "ba7816bf8f01");
    }

    #[test]
    fn order_of_keys_does_not_count() -> Result<(), serde_json::Error> {
        let a: serde_json::Value = serde_json::from_str(r#"{"b":1,"a":{"y":2,"x":3}}"#)?;
        let b: serde_json::Value = serde_json::from_str(r#"{ "a": {"x":3, "y":2}, "b": 1 }"#)?;
        assert_eq!(Digest::of_json(&a)?, Digest::of_json(&b)?);
        Ok(())
    }
}
