//! Notifications of deliveries, from the server to the leading operator, and what the operator reads then.
//!
//! A lost notification only delays an attempt until its pod ends.

use enact_domain::assignment::Report;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::listener::Listener;
use crate::session::Session;
use crate::store::Store;

pub(crate) const CHANNEL: &str = "enact_delivery";

/// Notice that the record has something new about an attempt: a verified result, or something that contradicts one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryNotice {
    pub plan_uid: String,
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt.
    pub attempt: u32,
}

/// A listener for deliveries.
pub type DeliveryListener = Listener<DeliveryNotice>;

/// What the record has about the result of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedDelivery {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt.
    pub number: u32,
    /// The verified report that its pod delivered, if it counts.
    pub report: Option<Report>,
    /// What contradicts the result of the attempt, for people.
    pub contradiction: Option<String>,
}

impl Store {
    /// Returns a listener for deliveries.
    pub fn delivery_listener(&self) -> DeliveryListener {
        Listener::new(self, CHANNEL, "attempts end when their pods do")
    }

    /// Returns what the record has about the results of these attempts: the UIDs of their subjects, and their numbers.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn deliveries(
        &self,
        tenant: &str,
        attempts: &[(String, u32)],
    ) -> Result<Vec<RecordedDelivery>, StoreError> {
        let (subjects, numbers): (Vec<&str>, Vec<i64>) =
            attempts.iter().map(|(subject, number)| (subject.as_str(), i64::from(*number))).unzip();
        let rows = self
            .transaction("read deliveries", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select a.subject_uid as "subject_uid!", a.number, r.report as "report?", a.contradiction
                    from unnest($2::text[], $3::bigint[]) as t (subject_uid, number)
                    join enact.attempts a on a.tenant_id = $1 and a.subject_uid = t.subject_uid and a.number = t.number
                    left join enact.results r
                        on r.tenant_id = a.tenant_id and r.subject_uid = a.subject_uid and r.number = a.number and not r.stale
                            and r.verified and r.pod_uid = a.pod_uid"#,
                    tenant,
                    &subjects as &[&str],
                    &numbers,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecordedDelivery {
                    subject_uid: row.subject_uid,
                    number: row.number.unsigned_abs(),
                    report: row
                        .report
                        .map(serde_json::from_value)
                        .transpose()
                        .map_err(StoreError::unreadable("the report of an attempt"))?,
                    contradiction: row.contradiction,
                })
            })
            .collect()
    }
}
