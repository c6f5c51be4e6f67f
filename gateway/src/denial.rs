//! Why a request gets no answer of a provider.

use std::fmt::Write as _;

use enact_domain::time::Millis;
use http::StatusCode;
use strum::{IntoStaticStr, VariantArray};

/// Why a request is refused or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
pub enum DenialKind {
    /// The request has an unexpected form.
    InvalidRequest,
    /// The body is larger than allowed.
    TooLarge,
    /// The token is missing or not accepted.
    TokenRefused,
    /// The path does not exist, or the Agent's models have another API.
    NotFound,
    /// The Agent does not list the model, or its provider does not allow it.
    ModelNotAllowed,
    /// The Agent's models, or the URLs that serve them, are not those that were approved.
    ModelsChanged,
    /// A budget is used up.
    BudgetExceeded,
    /// A provider does not accept its key, or the key is missing.
    CredentialRejected,
    /// A provider or a limit of Enact allows no request at the moment.
    RateLimited,
    /// The quota of every provider is used up.
    ProviderQuota,
    /// Every provider fails.
    ProviderUnavailable,
    /// The gateway has too many requests in progress.
    Busy,
    /// Postgres or the API server does not answer.
    Unavailable,
    /// The request, or the answer of a provider, did not arrive in time.
    Timeout,
}

impl DenialKind {
    /// Returns the name in errors, metrics and refusals.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the status. Clients retry after 429 and 5xx, and stop after 400 and 403.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TokenRefused => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::ModelNotAllowed | Self::ModelsChanged | Self::BudgetExceeded | Self::CredentialRejected => {
                StatusCode::FORBIDDEN
            }
            Self::RateLimited | Self::ProviderQuota => StatusCode::TOO_MANY_REQUESTS,
            Self::ProviderUnavailable => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns whether the same request can succeed soon.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::RateLimited | Self::ProviderUnavailable | Self::Busy | Self::Unavailable | Self::Timeout)
    }

    /// Returns whether the attempt cannot continue, so that the runner must stop the agent. It also stops after requests that were
    /// [`RateLimited`](Self::RateLimited) for long.
    pub fn ends_attempt(self) -> bool {
        matches!(self, Self::ModelsChanged | Self::BudgetExceeded | Self::CredentialRejected | Self::ProviderQuota)
    }
}

/// A request without an answer of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub kind: DenialKind,
    /// What is wrong, and what can be done about it. Agents see it, so it contains nothing that they may not know.
    pub message: String,
    /// Seconds after which a retry can succeed.
    pub retry_after: Option<u32>,
    /// Time at which the quota is renewed, when it is known.
    pub reset_at: Option<Millis>,
}

impl Denial {
    pub fn new(kind: DenialKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, reset_at: None }
    }

    /// Returns the denial while the quota of a provider is used up. `reset_at` is the time of the reset, if it is known.
    pub fn quota_used_up(provider: &str, reset_at: Option<Millis>) -> Self {
        let message = format!("the quota of the model provider {provider} is used up");
        Self { reset_at, ..Self::new(DenialKind::ProviderQuota, message) }
    }

    /// Sets the seconds after which a retry can succeed.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns the text for people and agents: the kind and the message.
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}", self.kind.as_str(), self.message);
        if let Some(seconds) = self.retry_after {
            let _ = write!(text, " (retry after {seconds} s)");
        }
        text
    }
}
