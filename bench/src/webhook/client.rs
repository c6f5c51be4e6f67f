//! The API server's side of admission: sends reviews to the running webhook over TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::task::JoinSet;

/// The name of the installation's webhook configuration.
const CONFIGURATION: &str = "enact";
const PODS: &str = "app.kubernetes.io/component=webhook";

/// A connection pool to the only pod of the webhook, which trusts what the API server trusts.
#[derive(Clone)]
pub struct Webhook(Client);

/// A request with its body, and what the answer must be.
pub enum Call {
    /// A review that the webhook admits, as JSON.
    Review(Vec<u8>),
    /// A request to a path that the webhook does not have: the cost of client, TLS and HTTP alone.
    Unknown,
}

/// An answer.
pub struct Answer {
    pub seconds: f64,
    /// Whether the webhook had no time for the document of the review, and left it to the operator.
    pub is_unparsed: bool,
}

impl Webhook {
    /// Finds the webhook in the cluster.
    ///
    /// # Errors
    /// If it is not installed, or has not exactly one pod.
    pub async fn find(cluster: &Client) -> Result<Self> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.clone());
        let configuration = configurations.get(CONFIGURATION).await.context("is Enact installed?")?;
        let first = configuration.webhooks.into_iter().flatten().next().context("the configuration has no webhook")?;
        let service = first.client_config.service.context("the webhook has no Service")?;
        let bundle = first.client_config.ca_bundle.context("the webhook is not trusted yet")?;
        let trusted: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&bundle.0).collect();
        let trusted = trusted.context("the caBundle of the webhook cannot be read")?;

        let pods: Api<Pod> = Api::namespaced(cluster.clone(), &service.namespace);
        let pods = pods.list(&ListParams::default().labels(PODS)).await?;
        let addresses: Vec<String> = pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| pod.status?.pod_ip)
            .collect();
        let [address] = addresses.as_slice() else {
            bail!("the webhook has {} pods; install it with webhook.replicas=1", addresses.len())
        };
        let mut config = Config::new(format!("https://{address}:9443").parse()?);
        config.root_cert = Some(trusted.iter().map(|certificate| certificate.to_vec()).collect());
        config.tls_server_name = Some(format!("{}.{}.svc", service.name, service.namespace));
        // A request that is sent again would count twice.
        config.default_retry = false;
        Ok(Self(Client::try_from(config)?))
    }

    /// Sends a request and checks the answer.
    ///
    /// # Errors
    /// If the webhook does not answer, or not as expected.
    pub async fn send(&self, call: &Call) -> Result<Answer> {
        let (request, status) = match call {
            Call::Review(review) => {
                let request = http::Request::post("/validate?timeout=10s").header("content-type", "application/json");
                (request.body(Body::from(review.clone()))?, http::StatusCode::OK)
            }
            Call::Unknown => (http::Request::get("/unknown").body(Body::empty())?, http::StatusCode::NOT_FOUND),
        };
        let began = Instant::now();
        let response = self.0.send(request).await.context("the webhook does not answer")?;
        let answered = response.status();
        let answer = response.into_body().collect_bytes().await?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(answered == status, "the webhook answers {answered}: {}", String::from_utf8_lossy(&answer));
        let mut is_unparsed = false;
        if matches!(call, Call::Review(_)) {
            let answer: Value = serde_json::from_slice(&answer)?;
            ensure!(answer["response"]["allowed"] == true, "the webhook refuses the review: {answer}");
            is_unparsed = answer["response"]["warnings"].to_string().contains("could not be checked in time");
        }
        Ok(Answer { seconds, is_unparsed })
    }

    /// Sends a request `rate` times a second for some seconds, whether or not earlier ones are answered, and returns all answers.
    ///
    /// # Errors
    /// If one of them fails, or this program is too slow for the rate.
    pub async fn at_rate(&self, call: &Arc<Call>, rate: u32, seconds: u32) -> Result<Vec<Answer>> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut sent = JoinSet::new();
        let began = Instant::now();
        for _ in 0..rate * seconds {
            ticks.tick().await;
            let (webhook, call) = (self.clone(), Arc::clone(call));
            sent.spawn(async move { webhook.send(&call).await });
        }
        let reached = f64::from(rate * seconds) / began.elapsed().as_secs_f64();
        ensure!(reached > 0.95 * f64::from(rate), "only {reached:.0} of {rate} requests a second were sent");
        sent.join_all().await.into_iter().collect()
    }
}
