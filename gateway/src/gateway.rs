//! The gateway: sends the requests of agents to providers, in order, and records what they use.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use enact_crds::convert;
use enact_crds::identity::AgentPod;
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Scope, Tokens};
use enact_service::http::Counted;
use enact_service::pace::Pace;
use enact_service::shares::Shares;
use enact_store::{ModelRequest, Opened, Outcome, Refusal};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use uuid::Builder;

use crate::breaker::{Blocked, Breakers, PauseCause};
use crate::budget::{Budgets, Claim};
use crate::denial::{Denial, DenialKind};
use crate::identity::Identifier;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::limits::{Holder, Limited as LimitedHolder, Limiter, SettledOnDrop, lower, or_default};
use crate::memory::{Held, Memory, counted};
use crate::metering::{Metering, Reservation};
use crate::metrics::Metrics;
use crate::providers::{Candidate, Catalogue, select};
use crate::relay::{Body, Relay, RelayLimits, full};
use crate::request_log::RequestLogs;
use crate::target::{self, Action};
use crate::ticket::Ticket;
use crate::upstream::Upstream;
use crate::verdict::{Verdict, conclude, judge, seconds};
use crate::waiting::{AttemptKey, Waiting};
use crate::wire::document::Document;
use crate::wire::usage::{Form, UsageReader};
use crate::wire::{Format, Requested};

/// Largest error of a provider that is read, in bytes, and the time limit for it.
const ERROR_BYTES: usize = 64 << 10;
const ERROR_PATIENCE: Duration = Duration::from_secs(10);

/// Operations of one tenant at once in Postgres, beside the batches. Agents can cause one with each request, and all tenants share the
/// connections.
pub const LEDGER_SLOTS: usize = 2;

/// Time limits and sizes, which tests replace.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time for the body of a request to arrive.
    pub body: Duration,
    /// Least rate at which it must arrive.
    pub pace: Pace,
    /// Longest wait for the head of a provider's answer. Without a stream, it is the time of the whole answer.
    pub head: Duration,
    /// Longest time that an agent may try without an answer, because providers or limits allow no request. Then its attempt ends.
    pub limited: Duration,
    pub relay: RelayLimits,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            body: Duration::from_mins(1),
            pace: Pace { grace: Duration::from_secs(10), bytes_per_second: 256 << 10 },
            head: Duration::from_mins(10),
            limited: Duration::from_mins(2),
            relay: RelayLimits::default(),
        }
    }
}

/// Limits of the installation: of a tenant that has none of its own, of every agent, and of every attempt.
#[derive(Clone, Debug, Default)]
pub struct CommonLimits {
    pub tenant: enact_crds::provider::RateLimits,
    pub agent: enact_crds::provider::RateLimits,
    pub attempt: enact_crds::provider::RateLimits,
}

/// Everything that requests share.
pub struct Gateway {
    pub identifier: Identifier,
    pub catalogue: Catalogue,
    pub keys: Keys,
    pub upstream: Upstream,
    pub ledger: Arc<dyn Ledger>,
    /// Slots of each tenant for operations of `ledger` that are not made in batches.
    pub ledger_slots: Shares<String>,
    pub metering: Metering,
    pub request_logs: RequestLogs,
    pub budgets: Budgets,
    pub limiter: Arc<Limiter>,
    pub common_limits: CommonLimits,
    pub breakers: Breakers,
    pub waiting: Waiting,
    pub metrics: Metrics,
    pub patience: Patience,
    /// Memory for parts of answers that wait for their clients.
    pub parts: Memory,
    /// Memory for what is held of answers to read their usage. Parts wait for memory, so they must not wait for this.
    pub readings: Memory,
    /// The tasks that pass answers on.
    pub relays: TaskTracker,
}

/// A request of an agent to a model.
pub struct Call {
    pub pod: Arc<AgentPod>,
    pub format: Format,
    pub action: Action,
    pub requested: Requested,
    pub model: String,
    pub stream: bool,
    pub headers: HeaderMap,
    pub query: Option<String>,
    pub body: Bytes,
    /// The memory of the body, until a provider has it.
    pub memory: Arc<Held>,
}

/// The outcome of one candidate.
enum Outcomes {
    /// The client gets this denial; another provider would not help.
    Denied(Denial),
    /// The next candidate is tried.
    Next(Denial),
}

impl Gateway {
    /// Sends a request to the first provider that answers it.
    ///
    /// # Errors
    /// When no provider answers, or the request is refused.
    pub async fn forward(&self, call: &Call) -> Result<Response<Body>, Denial> {
        let models = match self.catalogue.models(&call.pod, now()) {
            Ok(models) => models,
            Err(denial) => {
                self.record_refusal(&call.pod, &denial).await;
                return Err(denial);
            }
        };
        let candidates = select(models, call.format.api(), &call.model)?;
        let document = Document::parse(&call.body)?;
        let mut denials = Vec::new();
        for candidate in &candidates {
            match self.attempt(call, &document, candidate).await {
                Ok(answer) => {
                    self.waiting.answered(&attempt_key(&call.pod));
                    return Ok(answer);
                }
                Err(Outcomes::Denied(denial)) => {
                    self.record_refusal(&call.pod, &denial).await;
                    return Err(denial);
                }
                Err(Outcomes::Next(denial)) => denials.push(denial),
            }
        }
        let denial = conclude(denials);
        self.record_refusal(&call.pod, &denial).await;
        Err(denial)
    }

    /// Sends a request to one provider.
    async fn attempt(
        &self,
        call: &Call,
        document: &Document<'_>,
        candidate: &Candidate,
    ) -> Result<Response<Body>, Outcomes> {
        let (provider, id) = (&candidate.provider, candidate.provider.id());
        self.breakers
            .check(&candidate.circuit, &candidate.model)
            .map_err(|blocked| Outcomes::Next(is_blocked(&id, blocked)))?;
        let key = match &provider.key {
            Some(key) => Some(self.keys.get(&provider.namespace, key).await.map_err(Outcomes::Next)?),
            None => None,
        };
        let request = prepare(call, document, candidate, key.as_deref())?;
        let limited = self.limits(call, candidate);
        let tokens = call.requested.estimate(call.body.len());
        self.limiter.take(&call.pod.attempt.tenant, &limited, tokens.total()).map_err(|reached| {
            let denial = Denial::new(DenialKind::RateLimited, reached.to_string());
            Outcomes::Next(denial.retry_after(seconds(reached.wait)))
        })?;
        if call.action == Action::CountTokens {
            // It uses no tokens, and is in progress until it is answered or the client has left.
            let _settled = SettledOnDrop::new(&self.limiter, &call.pod.attempt.tenant, &limited, tokens.total());
            return self.count_tokens(candidate, request, key.as_deref()).await;
        }
        let estimate = Charge { tokens, cost_micro_usd: candidate.pricing.cost(&tokens) };
        // Far from all limits, the reservation is made while the provider works; else it decides whether the provider gets the request.
        let claim = self.budgets.claim(&call.pod, &estimate, now());
        let is_far = claim.is_far;
        let (mut ticket, reservation) = self.open(call, candidate, estimate, limited, claim);
        let tenant = &call.pod.attempt.tenant;
        ticket.recording = self
            .catalogue
            .request_logging(tenant)
            .and_then(|logging| self.request_logs.begin(tenant, &logging, &call.body, key.clone(), now()));
        let reservation = if is_far {
            Some(reservation)
        } else {
            if let Err(denial) = reserved(reservation).await {
                ticket.refused();
                return Err(Outcomes::Denied(denial));
            }
            None
        };
        ticket.is_sent = true;
        let sent = timeout(self.patience.head, self.upstream.send(provider, request)).await;
        // Nothing of the answer passes before the reservation is committed: else a gateway that dies here would leave no record of it.
        if let Some(reservation) = reservation
            && let Err(denial) = reserved(reservation).await
        {
            let (tokens, outcome) = discarded(&sent, tokens);
            ticket.settle(tokens, outcome);
            return Err(Outcomes::Denied(denial));
        }
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            // The provider may have read the request, but has not answered: providers do not charge for this.
            Ok(Err(why)) => return Err(self.failed(&mut ticket, candidate, Tokens::default(), &why)),
            // It may still work on the answer, and charge for it.
            Err(_) => return Err(self.failed(&mut ticket, candidate, tokens, "it did not answer in time")),
        };
        ticket.first_byte = Some(ticket.begun.elapsed());
        ticket.status = answer.status().as_u16();
        if !answer.status().is_success() {
            ticket.settle(Tokens::default(), Outcome::Failed);
            return self.refused(candidate, answer, key.as_deref()).await;
        }
        self.succeeded(candidate, call.format, &ticket);
        Ok(self.relay(call, answer, ticket))
    }

    /// Returns the limits that apply to a request.
    fn limits(&self, call: &Call, candidate: &Candidate) -> Vec<LimitedHolder> {
        let (namespace, name) = call.pod.agent.clone();
        let tenant = call.pod.attempt.tenant.clone();
        let of_tenant = or_default(&self.catalogue.tenant_limits(&tenant), &self.common_limits.tenant);
        let of_agent = lower(&self.catalogue.agent_limits(&namespace, &name), &self.common_limits.agent);
        let (task, number) = attempt_key(&call.pod);
        let mut limited = vec![
            (Holder::Tenant(tenant), of_tenant),
            (Holder::Agent(namespace, name), of_agent),
            (Holder::Attempt(task, number), self.common_limits.attempt.clone()),
        ];
        limited.extend(candidate.provider.limits.clone().map(|limits| (Holder::Key(candidate.provider.id()), limits)));
        limited
    }

    /// Begins to record a request.
    fn open(
        &self,
        call: &Call,
        candidate: &Candidate,
        estimate: Charge,
        limited: Vec<LimitedHolder>,
        claim: Claim,
    ) -> (Ticket, Reservation) {
        let (pod, at) = (&call.pod, now());
        // Version 7: IDs grow with time, so that new rows are next to each other in the index.
        let id = Builder::from_unix_timestamp_millis(at.0.unsigned_abs(), &rand::random()).into_uuid();
        if estimate.cost_micro_usd.is_none() {
            tracing::warn!(
                model = candidate.model,
                provider = candidate.provider.id(),
                "the price of a model is not known"
            );
        }
        let request = ModelRequest {
            id,
            at,
            namespace: pod.attempt.namespace.clone(),
            plan: pod.plan.clone(),
            plan_uid: pod.attempt.plan_uid.clone(),
            task: pod.task.clone(),
            task_uid: pod.attempt.subject_uid.clone(),
            attempt: pod.attempt.attempt,
            agent: pod.agent_id(),
            provider: candidate.provider.id(),
            model: candidate.model.clone(),
            estimate,
        };
        let tenant = pod.attempt.tenant.clone();
        let reservation = self.metering.open(&tenant, request, claim);
        let ticket = Ticket {
            metering: self.metering.clone(),
            metrics: self.metrics.clone(),
            limiter: Arc::clone(&self.limiter),
            tenant,
            limited,
            id,
            pricing: candidate.pricing.clone(),
            estimate,
            begun: Instant::now(),
            first_byte: None,
            status: 0,
            recording: None,
            request_logs: self.request_logs.clone(),
            is_sent: false,
            is_settled: false,
        };
        (ticket, reservation)
    }

    /// Passes an answer on to the client.
    fn relay(&self, call: &Call, answer: Response<Incoming>, mut ticket: Ticket) -> Response<Body> {
        let (parts, incoming) = answer.into_parts();
        let form = form(&parts.headers);
        if let Some(recording) = &mut ticket.recording {
            recording.answered(form);
        }
        let [memory, reading] = [&self.parts, &self.readings].map(|memory| memory.share(&ticket.tenant));
        let relay = Relay {
            incoming,
            reader: UsageReader::new(call.format, form, reading.buffer()),
            hides_usage: call.format == Format::Chat && form == Form::Events && !call.requested.wants_usage,
            ticket,
            memory,
            limits: self.patience.relay,
            counted: Counted::new(&self.metrics.streams),
        };
        let (body, task) = relay.start();
        self.relays.spawn(task);
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = target::answer_headers(&parts.headers);
        response
    }

    /// Asks a provider for the number of tokens of a request, which is not metered.
    async fn count_tokens(
        &self,
        candidate: &Candidate,
        request: http::Request<http_body_util::Full<Bytes>>,
        key: Option<&SecretString>,
    ) -> Result<Response<Body>, Outcomes> {
        let id = candidate.provider.id();
        let unavailable = |why: &str| {
            tracing::info!(provider = id, why, "a provider did not count tokens");
            let why = format!("the model provider {id} does not answer");
            Outcomes::Next(Denial::new(DenialKind::ProviderUnavailable, why))
        };
        let sent = timeout(ERROR_PATIENCE, self.upstream.send(&candidate.provider, request)).await;
        let answer = sent.map_err(|_| unavailable("timeout"))?.map_err(|why| unavailable(&why))?;
        if !answer.status().is_success() {
            return self.refused(candidate, answer, key).await;
        }
        let (parts, incoming) = answer.into_parts();
        let body = read_error(incoming).await;
        let mut response = Response::new(full(redacted(&body, key)));
        *response.headers_mut() = target::answer_headers(&parts.headers);
        Ok(response)
    }

    /// Interprets the error of a provider.
    async fn refused(
        &self,
        candidate: &Candidate,
        answer: Response<Incoming>,
        key: Option<&SecretString>,
    ) -> Result<Response<Body>, Outcomes> {
        let (parts, incoming) = answer.into_parts();
        let (body, id) = (read_error(incoming).await, candidate.provider.id());
        let outcome = |outcome: &str| self.metrics.upstream.with_label_values(&[outcome]).inc();
        match judge(&id, parts.status, &parts.headers, &body, now()) {
            Verdict::Client => {
                outcome("rejected");
                self.breakers.succeeded(&candidate.circuit);
                let mut response = Response::new(full(redacted(&body, key)));
                *response.status_mut() = parts.status;
                *response.headers_mut() = target::answer_headers(&parts.headers);
                Ok(response)
            }
            Verdict::Other { denial, pause, is_failure } => {
                outcome(denial.kind.as_str());
                tracing::info!(
                    provider = id,
                    status = parts.status.as_u16(),
                    reason = denial.kind.as_str(),
                    "a provider gave no answer"
                );
                if denial.kind == DenialKind::CredentialRejected {
                    self.keys.refused(&candidate.provider.namespace);
                }
                if let Some(pause) = pause {
                    let is_quota = denial.kind == DenialKind::ProviderQuota;
                    let cause = if is_quota { PauseCause::Quota(denial.reset_at) } else { PauseCause::Limit };
                    self.breakers.pause(&candidate.circuit, &candidate.model, pause, cause);
                }
                if is_failure {
                    self.count_failure(candidate);
                }
                Err(Outcomes::Next(denial))
            }
        }
    }

    /// Notes that a provider could not be reached, or broke the connection.
    fn failed(&self, ticket: &mut Ticket, candidate: &Candidate, used: Tokens, why: &str) -> Outcomes {
        let id = candidate.provider.id();
        ticket.settle(used, Outcome::Failed);
        tracing::warn!(provider = id, why, "a provider cannot be reached");
        self.metrics.upstream.with_label_values(&[DenialKind::ProviderUnavailable.as_str()]).inc();
        self.count_failure(candidate);
        let why = format!("the model provider {id} cannot be reached");
        Outcomes::Next(Denial::new(DenialKind::ProviderUnavailable, why))
    }

    fn count_failure(&self, candidate: &Candidate) {
        if self.breakers.failed(&candidate.circuit) {
            self.metrics.circuit_openings.inc();
            tracing::warn!(
                circuit = candidate.circuit,
                "a provider fails again and again; it gets no requests for a while"
            );
        }
    }

    fn succeeded(&self, candidate: &Candidate, format: Format, ticket: &Ticket) {
        self.breakers.succeeded(&candidate.circuit);
        self.metrics.upstream.with_label_values(&["answered"]).inc();
        let first_byte = ticket.first_byte.unwrap_or_default().as_secs_f64();
        self.metrics.first_byte.with_label_values(&[format.as_str()]).observe(first_byte);
    }

    /// Waits until the tenant may use Postgres, apart from the batches.
    pub async fn ledger_slot(&self, tenant: &str) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.ledger_slots.semaphore(tenant).acquire_owned().await.ok()
    }

    /// Records why an attempt cannot continue, so that its runner stops the agent.
    async fn record_refusal(&self, pod: &AgentPod, denial: &Denial) {
        let waits = || {
            let (task, number) = attempt_key(pod);
            // An attempt with requests in progress gets answers to these.
            !self.limiter.is_running(&Holder::Attempt(task.clone(), number))
                && self.waiting.refused((task, number), self.patience.limited)
        };
        let ends = denial.kind.ends_attempt() || (denial.kind == DenialKind::RateLimited && waits());
        if !ends {
            return;
        }
        let mut message = denial.message.clone();
        if denial.kind == DenialKind::RateLimited {
            message += &format!("; the agent got no answer for {} s", self.patience.limited.as_secs());
        }
        let refusal = Refusal { reason: denial.kind.as_str().to_owned(), message, reset_at: denial.reset_at };
        let attempt = &pod.attempt;
        let _slot = self.ledger_slot(&attempt.tenant).await;
        let recorded = self.ledger.record_refusal(&attempt.tenant, &attempt.subject_uid, attempt.attempt, &refusal);
        if let Err(error) = recorded.await {
            // The agent's next request is refused again, and recorded.
            tracing::warn!(%error, reason = refusal.reason, "cannot record why an attempt cannot continue");
        }
    }
}

/// Returns the request for a provider: with its model and key, and without its own tools, if it does not allow them.
fn prepare(
    call: &Call,
    document: &Document<'_>,
    candidate: &Candidate,
    key: Option<&SecretString>,
) -> Result<http::Request<http_body_util::Full<Bytes>>, Outcomes> {
    let provider = &candidate.provider;
    let body = match &call.requested.hosted {
        Some(hosted) if !provider.hosted_tools => {
            let kept = hosted.remove(document, &provider.id()).map_err(Outcomes::Denied)?;
            call.format.rewrite(&Document::parse(&kept).map_err(Outcomes::Denied)?, &candidate.model)
        }
        _ => call.format.rewrite(document, &candidate.model),
    };
    let url = target::url(candidate, call.format, call.action, call.stream, call.query.as_deref());
    target::request(provider, &url, &call.headers, key, counted(body, &call.memory)).map_err(Outcomes::Next)
}

fn attempt_key(pod: &AgentPod) -> AttemptKey {
    (pod.attempt.subject_uid.clone(), pod.attempt.attempt)
}

/// Waits for a reservation.
async fn reserved(reservation: Reservation) -> Result<(), Denial> {
    match reservation.committed().await? {
        Opened::Accepted | Opened::Duplicate => Ok(()),
        Opened::Refused { scope, balance } => Err(Denial::new(DenialKind::BudgetExceeded, exceeded(&scope, &balance))),
    }
}

/// Returns what to book for a request that was sent although its reservation was not made. The provider charges for an answer that nobody
/// gets, and reports its usage only at the end.
fn discarded(sent: &Result<Result<Response<Incoming>, String>, Elapsed>, estimate: Tokens) -> (Tokens, Outcome) {
    let is_charged = match sent {
        Ok(Ok(answer)) => answer.status().is_success(),
        Ok(Err(_)) => false,
        Err(_) => true,
    };
    if is_charged { (estimate, Outcome::Estimated) } else { (Tokens::default(), Outcome::Failed) }
}

/// Describes a budget that does not allow a request.
fn exceeded(scope: &Scope, balance: &Balance) -> String {
    let mut text = format!("the budget of the {} does not allow another request:", scope.kind());
    if let Some(limit) = balance.limit.tokens {
        text += &format!(" {} of {limit} tokens are used or reserved;", balance.used_tokens());
    }
    if let Some(limit) = balance.limit.cost_micro_usd {
        let [used, limit] = [balance.used_cost(), limit].map(convert::usd);
        text += &format!(" {used} of {limit} USD are used or reserved;");
    }
    text + " the budget must be raised before the work can continue"
}

fn is_blocked(id: &str, blocked: Blocked) -> Denial {
    let (kind, why, wait) = match blocked {
        Blocked::Paused(wait, PauseCause::Quota(reset_at)) => {
            return Denial::quota_used_up(id, reset_at).retry_after(seconds(wait));
        }
        Blocked::Paused(wait, PauseCause::Limit) => (DenialKind::RateLimited, "asked for a pause", wait),
        Blocked::Open(wait) => (DenialKind::ProviderUnavailable, "has failed several times", wait),
    };
    Denial::new(kind, format!("the model provider {id} {why}")).retry_after(seconds(wait))
}

/// Returns the form of an answer.
fn form(headers: &HeaderMap) -> Form {
    let text = |name| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != b"identity" {
        return Form::Opaque;
    }
    if text(header::CONTENT_TYPE).starts_with(b"text/event-stream") { Form::Events } else { Form::Json }
}

/// Reads the beginning of an error.
async fn read_error(body: Incoming) -> Bytes {
    match timeout(ERROR_PATIENCE, Limited::new(body, ERROR_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    }
}

/// Returns the answer of a provider without its key, which a careless provider repeats.
fn redacted(body: &Bytes, key: Option<&SecretString>) -> Bytes {
    let Some(key) = key.map(|key| key.expose_secret().as_bytes()).filter(|key| !key.is_empty()) else {
        return body.clone();
    };
    let mut out = Vec::with_capacity(body.len());
    let mut rest = &body[..];
    while let Some(at) = memchr::memmem::find(rest, key) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"[redacted]");
        rest = &rest[at + key.len()..];
    }
    out.extend_from_slice(rest);
    out.into()
}

/// Returns the response for a denial, in the format of the client.
pub fn deny(format: Format, denial: &Denial) -> Response<Body> {
    let mut response = Response::new(full(format.error(denial)));
    *response.status_mut() = denial.kind.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Clients of Anthropic and OpenAI obey it, whatever the status.
    let retry = if denial.kind.is_temporary() { "true" } else { "false" };
    headers.insert("x-should-retry", HeaderValue::from_static(retry));
    if let Some(seconds) = denial.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Returns a response with a JSON value.
pub fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the present time.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
