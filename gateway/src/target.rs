//! The request to a provider: its URL, headers and key.

use bytes::Bytes;
use enact_crds::provider::Api;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

use crate::denial::{Denial, DenialKind};
use crate::providers::{Candidate, Provider};
use crate::wire::Format;

/// Headers of clients that providers get. All others stay here: they could carry the pod's token, or name an account.
const REQUEST_HEADERS: [&str; 5] = ["accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent"];
/// Headers of providers that clients get.
const ANSWER_HEADERS: [&str; 7] = [
    "cache-control",
    "content-type",
    "openai-processing-ms",
    "request-id",
    "retry-after",
    "x-request-id",
    "x-should-retry",
];
/// Query parameters that providers get.
const PARAMETERS: [&str; 2] = ["alt=sse", "beta=true"];
/// Version of Anthropic's API for clients that name none.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
/// Characters of a model's name that are escaped in a path: all except letters, digits and these.
const MODEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a request asks a model for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Generate,
    /// The number of tokens of a request. Providers do not charge for it.
    CountTokens,
}

/// Returns the URL for a request. The client decides only its query parameters, from a list.
pub fn url(candidate: &Candidate, format: Format, action: Action, stream: bool, query: Option<&str>) -> String {
    let base = &candidate.provider.base_url;
    let model = utf8_percent_encode(&candidate.model, MODEL);
    let url = match (format, action) {
        (Format::Anthropic, Action::Generate) => versioned(base, "v1", "messages"),
        (Format::Anthropic, Action::CountTokens) => versioned(base, "v1", "messages/count_tokens"),
        (Format::Chat, _) => versioned(base, "v1", "chat/completions"),
        (Format::Responses, _) => versioned(base, "v1", "responses"),
        (Format::Gemini, Action::CountTokens) => versioned(base, "v1beta", &format!("models/{model}:countTokens")),
        (Format::Gemini, Action::Generate) if stream => {
            versioned(base, "v1beta", &format!("models/{model}:streamGenerateContent"))
        }
        (Format::Gemini, Action::Generate) => versioned(base, "v1beta", &format!("models/{model}:generateContent")),
    };
    let parameters: Vec<&str> = query.into_iter().flat_map(|query| query.split('&')).collect();
    let kept: Vec<&str> = PARAMETERS.into_iter().filter(|known| parameters.contains(known)).collect();
    if kept.is_empty() { url } else { format!("{url}?{}", kept.join("&")) }
}

/// Joins a base URL and a path of the API. Some base URLs end with a version, as for OpenAI's own libraries, or with the name of a front end that
/// has none, as those of Gemini and Vertex AI; others do not.
fn versioned(base: &str, version: &str, path: &str) -> String {
    let last = base.rsplit('/').next().unwrap_or_default();
    let is_version = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if (is_version && !last.contains('.')) || matches!(last, "openai" | "openapi") {
        return format!("{base}/{path}");
    }
    format!("{base}/{version}/{path}")
}

/// Builds the request to a provider.
///
/// # Errors
/// When the URL or the key cannot be used.
pub fn request(
    provider: &Provider,
    url: &str,
    headers: &HeaderMap,
    key: Option<&SecretString>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Denial> {
    let invalid = |what: &str| {
        let why = format!(
            "the {what} of the model provider {} cannot be used; an owner of the provider must correct it",
            provider.id()
        );
        Denial::new(DenialKind::CredentialRejected, why)
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.parse().map_err(|_| invalid("URL"))?;
    let to = request.headers_mut();
    for name in REQUEST_HEADERS.map(HeaderName::from_static) {
        if let Some(value) = headers.get(&name) {
            to.insert(name, value.clone());
        }
    }
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A compressed answer would hide its usage.
    to.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (name, prefix) = match provider.api {
        Api::Anthropic => ("x-api-key", ""),
        Api::OpenAi => ("authorization", "Bearer "),
        Api::Gemini => ("x-goog-api-key", ""),
    };
    if provider.api == Api::Anthropic {
        let (version, value) = ANTHROPIC_VERSION;
        to.entry(version).or_insert(HeaderValue::from_static(value));
    }
    if let Some(key) = key {
        let mut value =
            HeaderValue::from_str(&format!("{prefix}{}", key.expose_secret())).map_err(|_| invalid("key"))?;
        // Hides the value in debug output of libraries.
        value.set_sensitive(true);
        to.insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// Returns the headers of a provider's answer that the client gets.
pub fn answer_headers(from: &HeaderMap) -> HeaderMap {
    let kept = ANSWER_HEADERS.map(HeaderName::from_static).into_iter();
    kept.filter_map(|name| Some((name.clone(), from.get(&name)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::providers::Pricing;

    fn candidate(api: Api, base: &str, model: &str) -> Candidate {
        let provider = Provider {
            namespace: "team".into(),
            name: "p".into(),
            api,
            base_url: base.into(),
            key: Some("k".into()),
            limits: None,
            hosted_tools: false,
            is_trusted: false,
        };
        let circuit = String::new();
        Candidate { provider: Arc::new(provider), circuit, model: model.into(), pricing: Pricing::default() }
    }

    #[test]
    fn urls_consist_of_base_path_and_known_parameters() {
        for (base, expected) in [
            ("https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions"),
            ("https://g.example/v1beta/openai", "https://g.example/v1beta/openai/chat/completions"),
            ("https://b.example/openai/v1", "https://b.example/openai/v1/chat/completions"),
            (
                "https://v.example/v1/projects/p/locations/l/endpoints/openapi",
                "https://v.example/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
            ),
            ("http://modelsim:8080/happy/run-1", "http://modelsim:8080/happy/run-1/v1/chat/completions"),
            ("https://v2.example", "https://v2.example/v1/chat/completions"),
        ] {
            let found = url(&candidate(Api::OpenAi, base, "m"), Format::Chat, Action::Generate, true, None);
            assert_eq!(found, expected);
        }
        let messages = candidate(Api::Anthropic, "https://a.example", "m");
        assert_eq!(
            url(&messages, Format::Anthropic, Action::CountTokens, false, Some("beta=true&key=secret&x=1")),
            "https://a.example/v1/messages/count_tokens?beta=true"
        );
    }

    #[test]
    fn a_model_name_stays_in_its_segment() {
        let hostile = candidate(Api::Gemini, "https://g.example", "../x?y#z:w/é");
        assert_eq!(
            url(&hostile, Format::Gemini, Action::Generate, true, Some("alt=sse&key=t")),
            "https://g.example/v1beta/models/..%2Fx%3Fy%23z%3Aw%2F%C3%A9:streamGenerateContent?alt=sse"
        );
    }

    #[test]
    fn the_providers_key_replaces_the_token() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer pod-token"),
            ("x-api-key", "pod-token"),
            ("x-goog-api-key", "pod-token"),
            ("cookie", "pod-token"),
            ("openai-organization", "other"),
            ("anthropic-beta", "tools"),
            ("accept-encoding", "gzip"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let key = SecretString::from("real-key");
        for (api, name, value) in [
            (Api::Anthropic, "x-api-key", "real-key"),
            (Api::OpenAi, "authorization", "Bearer real-key"),
            (Api::Gemini, "x-goog-api-key", "real-key"),
        ] {
            let provider = candidate(api, "https://x", "m").provider;
            let sent = request(&provider, "https://x/v1", &headers, Some(&key), Bytes::new()).unwrap();
            assert_eq!(sent.headers()[name], value);
            let all = format!("{:?}", sent.headers());
            assert!(!all.contains("pod-token") && !all.contains("real-key") && !all.contains("other"), "{all}");
            assert_eq!(sent.headers()["accept-encoding"], "identity");
            assert_eq!(sent.headers()["anthropic-beta"], "tools");
        }
        let provider = candidate(Api::OpenAi, "https://x", "m").provider;
        let bad = SecretString::from("line\nbreak");
        assert!(request(&provider, "https://x/v1", &headers, Some(&bad), Bytes::new()).is_err());
        let keyless = request(&provider, "https://x/v1", &headers, None, Bytes::new()).unwrap();
        assert_eq!(keyless.headers().get("authorization"), None);
    }
}
