//! Authentication of Git hosts, by a secret that the webhook and a Secret of the namespace share.

use k8s_openapi::api::core::v1::Secret;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use warp::http::HeaderMap;

use crate::problem::{Problem, ProblemKind};

/// Shortest secret that is accepted, in bytes.
const MIN_SECRET_BYTES: usize = 16;
/// Headers with `sha256=` and the HMAC of the body in hexadecimal digits, the preferred one first. GitHub, Gitea and Forgejo send the first
/// header, and a weaker signature in the second one. Bitbucket sends only the second one.
const SIGNED: [&str; 2] = ["x-hub-signature-256", "x-hub-signature"];
/// The header in which GitLab sends the secret itself.
const TOKEN: &str = "x-gitlab-token";

/// The signature or token of a request.
#[derive(Debug)]
pub enum PushAuth {
    /// HMAC-SHA256 of the body.
    Signature(Vec<u8>),
    /// Value of the header, which must be the secret itself.
    Token(Vec<u8>),
}

impl PushAuth {
    /// Reads the signature or token from the headers of a request.
    ///
    /// # Errors
    /// When they have neither.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signature = |name: &&str| Some(Self::Signature(hex::decode(text(name)?.strip_prefix("sha256=")?).ok()?));
        let token = || headers.get(TOKEN).map(|value| Self::Token(value.as_bytes().to_vec()));
        SIGNED.iter().find_map(signature).or_else(token).ok_or_else(|| {
            let why = "send X-Hub-Signature-256 (`sha256=` and the HMAC of the body) or X-Gitlab-Token: set the secret in the webhook of the Git host";
            Problem::new(ProblemKind::TokenRefused, why)
        })
    }

    /// Returns whether one of these secrets signed `body`. The comparison takes constant time.
    pub fn holds(&self, secrets: &[Vec<u8>], body: &[u8]) -> bool {
        secrets.iter().any(|secret| {
            let key = Key::new(HMAC_SHA256, secret);
            match self {
                Self::Signature(signature) => verify(&key, body, signature).is_ok(),
                // `ring` compares HMACs in constant time. Equal HMACs under this key mean that the token is the secret.
                Self::Token(token) => verify(&key, token, sign(&key, secret).as_ref()).is_ok(),
            }
        })
    }
}

/// Returns each value of `secret` that is long enough, without the line break of a file at its end.
pub fn secrets(secret: Secret) -> Vec<Vec<u8>> {
    let values = secret.data.unwrap_or_default().into_values().map(|value| value.0.trim_ascii_end().to_vec());
    values.filter(|value| value.len() >= MIN_SECRET_BYTES).collect()
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

    fn auth(headers: &[(&'static str, &str)]) -> Result<PushAuth, Problem> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        PushAuth::of(&headers.iter().map(header).collect())
    }

    fn known(values: &[&str]) -> Vec<Vec<u8>> {
        let data = values.iter().enumerate().map(|(n, value)| (n.to_string(), ByteString(value.as_bytes().to_vec())));
        secrets(Secret { data: Some(data.collect()), ..Secret::default() })
    }

    #[test]
    fn accepts_the_headers_of_each_git_host() {
        let weak = ("x-hub-signature", "sha1=0000000000000000000000000000000000000000");
        for headers in [
            &[("x-hub-signature-256", SIGNATURE)][..],
            &[weak, ("x-hub-signature-256", SIGNATURE)],
            &[("x-hub-signature", SIGNATURE)],
            &[("x-gitlab-token", SECRET)],
        ] {
            let auth = auth(headers).unwrap();
            assert!(auth.holds(&known(&["another, for a while", SECRET]), BODY), "{headers:?}");
            assert!(auth.holds(&known(&[&format!("{SECRET}\n")]), BODY), "a file's last line ends");
            assert!(!auth.holds(&known(&["another, for a while"]), BODY), "{headers:?}");
            assert!(!auth.holds(&[], BODY), "{headers:?}");
        }
        assert!(!auth(&[("x-hub-signature-256", SIGNATURE)]).unwrap().holds(&known(&[SECRET]), b"Hello, World?"));
    }

    #[test]
    fn rejects_other_headers() {
        for none in [
            &[][..],
            &[("x-hub-signature", "sha1=0000000000000000000000000000000000000000")],
            &[("x-hub-signature-256", "757107ea")],
            &[("x-hub-signature-256", "sha256=7")],
            &[("x-hub-signature-256", "sha256=zz")],
            &[("authorization", "Bearer x")],
        ] {
            assert_eq!(auth(none).unwrap_err().kind, ProblemKind::TokenRefused, "{none:?}");
        }
        for short in ["sha256=", "sha256=75"] {
            assert!(!auth(&[("x-hub-signature-256", short)]).unwrap().holds(&known(&[SECRET]), BODY));
        }
    }

    #[test]
    fn ignores_short_secrets() {
        assert!(known(&["", "\n", "short", "fifteen bytes ."]).is_empty());
        assert_eq!(known(&["sixteen bytes .."]).len(), 1);
    }
}
