//! Bearer tokens of requests.

use enact_domain::digest::Digest;
use warp::http::{HeaderMap, HeaderName, header};

use crate::problem::{Problem, ProblemKind};

/// Largest token that is accepted, in bytes; those of Kubernetes have about a thousand.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// The header for a token through the API server's proxy, which consumes Authorization and forwards this header.
const PROXIED: HeaderName = HeaderName::from_static("x-enact-token");

/// A bearer token. It is sent only to the API server, and it has no `Debug`, so that no log can contain it.
pub struct Token(String);

impl Token {
    /// Reads the token of a request that came directly to the server.
    ///
    /// # Errors
    /// When there is not exactly one, or it cannot be a token.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (all.next(), all.next()) else {
            return Err(refused("send one header `Authorization: Bearer <token>` with the pod's token"));
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        Self::checked(token, "the header Authorization does not hold a bearer token")
    }

    /// Reads the token of a request that may have come through the API server's proxy.
    ///
    /// # Errors
    /// When there is not exactly one, or it cannot be a token.
    pub fn of_reader(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut all = headers.get_all(&PROXIED).iter();
        match (all.next(), all.next(), headers.contains_key(header::AUTHORIZATION)) {
            (None, _, true) => Self::of(headers),
            (Some(value), None, false) => {
                Self::checked(value.to_str().ok(), "the header X-Enact-Token does not hold a token")
            }
            _ => Err(refused(
                "send one token: as `Authorization: Bearer <token>`, or, through the API server's proxy, as `X-Enact-Token: <token>`",
            )),
        }
    }

    fn checked(token: Option<&str>, otherwise: &str) -> Result<Self, Problem> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
        match token {
            Some(token) if !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(fits) => {
                Ok(Self(token.to_owned()))
            }
            _ => Err(refused(otherwise)),
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

fn refused(why: &str) -> Problem {
    Problem::new(ProblemKind::TokenRefused, why)
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_reader_has_one_token_in_one_of_two_places() {
        for one in [&[("authorization", "Bearer abc")][..], &[("x-enact-token", "abc")]] {
            assert_eq!(Token::of_reader(&headers(one)).ok().map(|t| t.0), Some("abc".into()), "{one:?}");
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for not_one in [
            &[][..],
            &[("authorization", "Bearer abc"), ("x-enact-token", "abc")],
            &[("x-enact-token", "")],
            &[("x-enact-token", "a b")],
            &[("x-enact-token", long.as_str())],
            &[("authorization", "Basic abc")],
        ] {
            assert_eq!(Token::of_reader(&headers(not_one)).err().map(|p| p.kind), Some(ProblemKind::TokenRefused));
        }
        let mut two = headers(&[("x-enact-token", "abc")]);
        two.append(PROXIED, HeaderValue::from_static("def"));
        assert!(Token::of_reader(&two).is_err());
        assert!(Token::of(&headers(&[("x-enact-token", "abc")])).is_err(), "pods send Authorization");
    }

    #[test]
    fn tokens_are_one_header_of_plain_characters() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        assert_eq!(Token::of(&headers(&["Bearer abc.d-e_f"])).map(|token| token.0), Ok("abc.d-e_f".into()));
        assert_eq!(Token::of(&headers(&["bearer abc"])).map(|token| token.0), Ok("abc".into()));
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        for bad in [&[][..], &["Bearer a", "Bearer b"], &["Basic abc"], &["Bearer "], &["Bearer a b"], &[long.as_str()]]
        {
            assert_eq!(
                Token::of(&headers(bad)).map(|token| token.0).expect_err("refused").kind,
                ProblemKind::TokenRefused
            );
        }
    }
}
