//! How a forge proves that a push comes from it: by a secret that both sides know.

use k8s_openapi::api::core::v1::Secret;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use warp::http::HeaderMap;

use crate::problem::{Kind, Problem};

/// Shortest secret that proves anything, in bytes.
const MIN_SECRET_BYTES: usize = 16;
/// Headers with `sha256=` and the HMAC of the body in hexadecimal digits, the surer first: GitHub, Gitea and Forgejo send the first, and a
/// weaker one besides; Bitbucket sends the second.
const SIGNED: [&str; 2] = ["x-hub-signature-256", "x-hub-signature"];
/// The header in which GitLab sends the secret itself.
const TOKEN: &str = "x-gitlab-token";

/// What a request brings as proof.
#[derive(Debug)]
pub enum Proof {
    /// HMAC-SHA256 of the body.
    Signature(Vec<u8>),
    /// The secret itself.
    Token(Vec<u8>),
}

impl Proof {
    /// The proof that a request's headers bring.
    ///
    /// # Errors
    /// When they bring none.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signature = |name: &&str| text(name)?.strip_prefix("sha256=").and_then(bytes).map(Self::Signature);
        let token = || headers.get(TOKEN).map(|value| Self::Token(value.as_bytes().to_vec()));
        SIGNED.iter().find_map(signature).or_else(token).ok_or_else(|| {
            let why = "send X-Hub-Signature-256 (`sha256=` and the HMAC of the body) or X-Gitlab-Token: set the secret in the forge's webhook";
            Problem::new(Kind::TokenRefused, why)
        })
    }

    /// Whether whoever made it for `body` knows one of these secrets. It takes the same time whichever part is wrong.
    pub fn holds(&self, secrets: &[Vec<u8>], body: &[u8]) -> bool {
        secrets.iter().any(|secret| {
            let key = Key::new(HMAC_SHA256, secret);
            match self {
                Self::Signature(signature) => verify(&key, body, signature).is_ok(),
                Self::Token(token) => verify(&key, token, sign(&key, secret).as_ref()).is_ok(),
            }
        })
    }
}

/// The secrets that prove something: each value of `secret` that is long enough. A line's end after it is none of it.
pub fn secrets(secret: Secret) -> Vec<Vec<u8>> {
    let values = secret.data.unwrap_or_default().into_values().map(|value| value.0.trim_ascii_end().to_vec());
    values.filter(|value| value.len() >= MIN_SECRET_BYTES).collect()
}

/// The bytes that an even number of hexadecimal digits writes.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use warp::http::{HeaderName, HeaderValue};

    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    /// From GitHub's "Validating webhook deliveries".
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn proof(headers: &[(&'static str, &str)]) -> Result<Proof, Problem> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        Proof::of(&headers.iter().map(header).collect())
    }

    fn known(values: &[&str]) -> Vec<Vec<u8>> {
        let data = values.iter().enumerate().map(|(n, value)| (n.to_string(), ByteString(value.as_bytes().to_vec())));
        secrets(Secret { data: Some(data.collect()), ..Secret::default() })
    }

    #[test]
    fn each_forge_proves_it_in_its_own_way() {
        let weak = ("x-hub-signature", "sha1=0000000000000000000000000000000000000000");
        for headers in [
            &[("x-hub-signature-256", SIGNATURE)][..],
            &[weak, ("x-hub-signature-256", SIGNATURE)],
            &[("x-hub-signature", SIGNATURE)],
            &[("x-gitlab-token", SECRET)],
        ] {
            let proof = proof(headers).unwrap();
            assert!(proof.holds(&known(&["another, for a while", SECRET]), BODY), "{headers:?}");
            assert!(proof.holds(&known(&[&format!("{SECRET}\n")]), BODY), "a file's last line ends");
            assert!(!proof.holds(&known(&["another, for a while"]), BODY), "{headers:?}");
            assert!(!proof.holds(&[], BODY), "{headers:?}");
        }
        assert!(!proof(&[("x-hub-signature-256", SIGNATURE)]).unwrap().holds(&known(&[SECRET]), b"Hello, World?"));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        for none in [
            &[][..],
            &[("x-hub-signature", "sha1=0000000000000000000000000000000000000000")],
            &[("x-hub-signature-256", "757107ea")],
            &[("x-hub-signature-256", "sha256=7")],
            &[("x-hub-signature-256", "sha256=zz")],
            &[("authorization", "Bearer x")],
        ] {
            assert_eq!(proof(none).unwrap_err().kind, Kind::TokenRefused, "{none:?}");
        }
        for short in ["sha256=", "sha256=75"] {
            assert!(!proof(&[("x-hub-signature-256", short)]).unwrap().holds(&known(&[SECRET]), BODY));
        }
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(known(&["", "\n", "short", "fifteen bytes ."]).is_empty());
        assert_eq!(known(&["sixteen bytes .."]).len(), 1);
    }
}
