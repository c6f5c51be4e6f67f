//! The token with which an agent authenticates.

use enact_domain::digest::Digest;
use http::{HeaderMap, Uri, header};

use crate::denial::{Denial, DenialKind};

/// Largest token that is accepted, in bytes; those of Kubernetes have about a thousand.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// Headers in which clients send their key: Anthropic's and Google's. All others send Authorization.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-goog-api-key"];

/// A pod's token. It is sent only to the API server, and it has no `Debug`, so that no log can contain it.
pub struct Token(String);

impl Token {
    /// Reads the token of a request, which is where the client would send the key of a provider.
    ///
    /// # Errors
    /// When there is none, there are several different ones, or it cannot be a token.
    pub fn of(headers: &HeaderMap, uri: &Uri) -> Result<Self, Denial> {
        let mut found = Vec::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            let value = value.to_str().map_err(|_| malformed())?;
            let (scheme, token) = value.split_once(' ').ok_or_else(malformed)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(malformed());
            }
            found.push(token.trim());
        }
        for value in KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)) {
            found.push(value.to_str().map_err(|_| malformed())?.trim());
        }
        found.extend(uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("key=")));
        // Some clients send the same key twice, in different headers.
        found.dedup();
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
        match found.as_slice() {
            [token] if !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(fits) => {
                Ok(Self((*token).to_owned()))
            }
            _ => Err(malformed()),
        }
    }

    /// Returns the token for a TokenReview.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the digest, for caches that must not hold the token.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_bytes(self.0.as_bytes())
    }
}

fn malformed() -> Denial {
    let why = "send the gateway token of the pod, as `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or the query parameter `key`";
    Denial::new(DenialKind::TokenRefused, why)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn token(headers: &[(&'static str, &str)], uri: &str) -> Option<String> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut map = HeaderMap::new();
        map.extend(headers.iter().map(header));
        Token::of(&map, &uri.parse().unwrap()).ok().map(|token| token.0)
    }

    #[test]
    fn is_where_a_provider_expects_its_key() {
        assert_eq!(token(&[("authorization", "Bearer abc.d")], "/"), Some("abc.d".into()));
        assert_eq!(token(&[("x-api-key", "abc")], "/"), Some("abc".into()));
        assert_eq!(token(&[("x-goog-api-key", "abc")], "/?alt=sse"), Some("abc".into()));
        assert_eq!(token(&[], "/?alt=sse&key=abc"), Some("abc".into()));
        assert_eq!(token(&[("authorization", "Bearer abc"), ("x-api-key", "abc")], "/"), Some("abc".into()));
    }

    #[test]
    fn rejects_what_cannot_be_a_token() {
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for headers in [
            &[][..],
            &[("authorization", "Basic abc")],
            &[("authorization", "Bearer ")],
            &[("authorization", "abc")],
            &[("x-api-key", "a b")],
            &[("x-api-key", "a"), ("x-goog-api-key", "b")],
            &[("x-api-key", long.as_str())],
        ] {
            assert_eq!(token(headers, "/"), None, "{headers:?}");
        }
    }
}
