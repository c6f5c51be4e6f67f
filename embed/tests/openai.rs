//! An OpenAI-compatible endpoint, simulated by a server on loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;

use enact_embed::{EmbedError, Embedder, EmbedderKind, Settings};
use serde_json::{Value, json};

fn settings(url: Option<String>) -> Settings {
    Settings {
        kind: EmbedderKind::Openai,
        embed_model_dir: PathBuf::from("/nowhere"),
        embed_url: url,
        embed_model: Some("tiny".into()),
        embed_key_file: None,
    }
}

/// A received request.
struct ReceivedRequest {
    path: String,
    key: Option<String>,
    body: Value,
}

/// Starts a server that answers each request with status, headers and body of `answer`; returns its URL and the requests.
fn endpoint(
    answer: impl Fn(&Value) -> (u16, &'static str, String) + Send + 'static,
) -> (String, mpsc::Receiver<ReceivedRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream);
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let header = |name: &str| {
                head.iter().find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    key.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            };
            let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let (status, headers, text) = answer(&body);
            let path = head[0].split(' ').nth(1).unwrap().to_owned();
            let key = header("authorization");
            let length = text.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{text}");
            // Sent before the answer, so that a test that has the answer finds it. The test may ignore the requests.
            let _ = sender.send(ReceivedRequest { path, key, body });
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, requests)
}

/// Returns the length of each text as a vector, in another order than that of the request.
fn lengths(body: &Value) -> (u16, &'static str, String) {
    let entries = body["input"].as_array().unwrap().iter().enumerate().rev().map(|(index, text)| {
        json!({ "index": index, "object": "embedding", "embedding": [text.as_str().unwrap().len(), 1] })
    });
    (200, "", json!({ "data": entries.collect::<Value>(), "model": "tiny" }).to_string())
}

async fn refusal(answer: (u16, &'static str, &'static str)) -> EmbedError {
    let (url, _asked) = endpoint(move |_| (answer.0, answer.1, answer.2.to_owned()));
    Embedder::new(&settings(Some(url))).embed(vec!["a text".into(), "another".into()]).await.expect_err(answer.2)
}

#[tokio::test]
async fn vectors_have_the_order_of_the_texts() {
    let (url, asked) = endpoint(lengths);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "secret-canary\n").unwrap();
    let embedder = Embedder::new(&Settings { embed_key_file: Some(key), ..settings(Some(url)) });
    assert_eq!(embedder.model(), Some("tiny"));
    let texts: Vec<String> = (1..=100).map(|length| "x".repeat(length)).collect();
    let vectors = embedder.embed(texts).await.unwrap();
    let expected: Vec<Vec<f32>> = (1_u8..=100).map(|length| vec![f32::from(length), 1.0]).collect();
    assert_eq!(vectors, expected);
    let requests: Vec<ReceivedRequest> = asked.try_iter().collect();
    assert_eq!(requests.iter().map(|r| r.body["input"].as_array().unwrap().len()).collect::<Vec<_>>(), [64, 36]);
    assert_eq!(
        (requests[0].path.as_str(), requests[0].key.as_deref()),
        ("/v1/embeddings", Some("Bearer secret-canary"))
    );
    assert_eq!((&requests[0].body["model"], &requests[0].body["encoding_format"]), (&json!("tiny"), &json!("float")));
    assert!(!format!("{embedder:?} {}", embedder.describe()).contains("secret-canary"));
    assert_eq!(embedder.embed(Vec::new()).await.unwrap(), [[0.0; 0]; 0]);
}

#[tokio::test]
async fn long_texts_are_truncated_and_split() {
    let (url, asked) = endpoint(lengths);
    let texts = vec!["ü".repeat(10 << 10); 20];
    let vectors = Embedder::new(&settings(Some(url))).embed(texts).await.unwrap();
    assert_eq!(vectors, vec![vec![8192.0, 1.0]; 20]);
    assert_eq!(asked.try_iter().count(), 2);
}

#[tokio::test]
async fn retries_a_busy_endpoint() {
    let tries = std::sync::atomic::AtomicU32::new(0);
    let (url, _asked) = endpoint(move |body| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => (429, "retry-after: 0\r\n", String::new()),
        1 => (503, "retry-after: 0\r\n", String::new()),
        _ => lengths(body),
    });
    assert_eq!(Embedder::new(&settings(Some(url))).embed(vec!["abc".into()]).await.unwrap(), [[3.0, 1.0]]);

    let busy = refusal((500, "retry-after: 0\r\n", "")).await;
    assert!(busy.is_transient() && busy.to_string().contains("answered 500"), "{busy}");
}

#[tokio::test]
async fn rejects_invalid_answers() {
    for (status, headers, body, said) in [
        (401, "", "your key is secret-canary", "answered 401"),
        (302, "location: http://127.0.0.1:1/\r\n", "", "answered 302"),
        (200, "", "", "did not return a list of embeddings"),
        (200, "", "{\"data\": [[[[[[", "did not return a list of embeddings"),
        (200, "", r#"{"data": []}"#, "returned no embedding for text 0 of 2"),
        (200, "", r#"{"data": [{"index": 0, "embedding": [1]}]}"#, "no embedding for text 1 of 2"),
        (200, "", r#"{"data": [{"index": 7, "embedding": [1]}]}"#, "unexpected embedding for text 7"),
        (200, "", r#"{"data": [{"index": 0, "embedding": [0, 0]}]}"#, "unusable embedding for text 0"),
        (200, "", r#"{"data": [{"index": 0, "embedding": []}]}"#, "unusable embedding for text 0"),
        (200, "", r#"{"data": [{"index": 0, "embedding": [1e39]}]}"#, "unusable embedding for text 0"),
        (
            200,
            "",
            r#"{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}"#,
            "different numbers of dimensions",
        ),
    ] {
        let error = refusal((status, headers, body)).await;
        let message = error.to_string();
        assert!(!error.is_transient() && message.contains(said), "{body}: {message}");
        assert!(!message.contains("secret-canary") && !message.contains("a text"), "{message}");
    }
}

#[tokio::test]
async fn incomplete_settings_leave_search_by_words() {
    let none = |settings: &Settings, why: &str| {
        let embedder = Embedder::new(settings);
        assert_eq!(embedder.model(), None);
        let description = embedder.describe();
        assert!(description.starts_with("search uses words only: ") && description.contains(why), "{description}");
        embedder
    };
    none(&settings(None), "needs --embed-url");
    for (url, why) in [
        ("", "is not a URL"),
        ("ftp://x/", "must begin with http"),
        ("https://user:secret-canary@x/", "must not contain a user or password"),
    ] {
        none(&settings(Some(url.into())), why);
    }
    none(&Settings { embed_model: None, ..settings(Some("http://x".into())) }, "needs --embed-model");
    none(&Settings { kind: EmbedderKind::None, ..settings(None) }, "--embedder is none");
    let embedder = none(&Settings { kind: EmbedderKind::Minilm, ..settings(None) }, "");
    assert_eq!(embedder.embed(vec!["text".into()]).await.unwrap(), [[0.0; 0]; 0]);
    let gone = Settings { embed_key_file: Some("/nowhere/key".into()), ..settings(Some("http://127.0.0.1:1".into())) };
    let error = Embedder::new(&gone).embed(vec!["text".into()]).await.expect_err("the key file does not exist");
    assert!(error.to_string().contains("cannot be used without its key: /nowhere/key"), "{error}");
}
