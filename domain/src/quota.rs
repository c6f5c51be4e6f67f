//! Refusals of a ResourceQuota: whether the request can fit later, and what a person can do.

use crate::condition::Readiness;

/// The resource of a quota that counts Tasks. Those of finished plans count too.
const TASKS: &str = "count/tasks.enact.dev";
/// The resources of the quota of a Tenant, with the field of its spec that sets each.
const FIELDS: [(&str, &str); 5] = [
    ("pods", "pods"),
    ("requests.cpu", "cpu"),
    ("limits.memory", "memory"),
    (TASKS, "tasks"),
    ("count/plans.enact.dev", "plans"),
];

/// A request that a quota refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Name of the ResourceQuota.
    pub quota: String,
    /// The resources that do not suffice.
    pub shortages: Vec<Shortage>,
}

/// A resource of which a quota has too little. Amounts are Kubernetes quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub resource: String,
    pub requested: String,
    pub used: String,
    pub limit: String,
}

/// Parses the message of the API server; none if it is not the refusal of a quota with amounts.
pub fn parse(message: &str) -> Option<Exceeded> {
    let (_, rest) = message.split_once("exceeded quota: ")?;
    let (quota, rest) = rest.split_once(", requested: ")?;
    let (requested, rest) = rest.split_once(", used: ")?;
    let (used, limits) = rest.split_once(", limited: ")?;
    let amount = |list: &str, resource: &str| {
        list.split(',').find_map(|entry| Some(entry.trim().strip_prefix(resource)?.strip_prefix('=')?.to_owned()))
    };
    let shortage = |entry: &str| {
        let (resource, requested) = entry.trim().split_once('=')?;
        Some(Shortage {
            resource: resource.to_owned(),
            requested: requested.to_owned(),
            used: amount(used, resource)?,
            limit: amount(limits, resource)?,
        })
    };
    let shortages: Vec<Shortage> = requested.split(',').filter_map(shortage).collect();
    (!shortages.is_empty()).then(|| Exceeded { quota: quota.to_owned(), shortages })
}

/// Returns the readiness of a plan for which a quota refused `request`, such as `create Pod shop-t001-1`. `tasks` is the number of tasks of
/// the plan.
pub fn readiness(exceeded: &Exceeded, request: &str, tenant: &str, tasks: usize) -> Readiness {
    let Exceeded { quota, shortages } = exceeded;
    if let Some(shortage) = shortages.iter().find(|shortage| shortage.is_forever(tasks)) {
        let Shortage { resource, limit, .. } = shortage;
        let (wanted, remedy) = if resource == TASKS {
            (format!("the plan has {tasks} tasks"), "split the plan")
        } else {
            (format!("it requests {} of {resource}", shortage.requested), "lower the resources of the task or agent")
        };
        let message = format!(
            "cannot {request}, and never can: {wanted}, and the quota {quota} allows {limit} of {resource} in all; {remedy}, or {}",
            raise(resource, tenant)
        );
        return Readiness::stalled("QuotaTooSmall", message);
    }
    let used: Vec<String> = shortages
        .iter()
        .map(|s| format!("{} of {} {} are used, and it requests {}", s.used, s.limit, s.resource, s.requested))
        .collect();
    let full = format!("cannot {request} now: the quota {quota} is used up: {}", used.join("; "));
    let resource = shortages.first().map_or("", |shortage| shortage.resource.as_str());
    if shortages.iter().any(|shortage| shortage.resource == TASKS) {
        let raise = raise(TASKS, tenant);
        let message = format!(
            "{full}; the Tasks of finished plans count too: delete finished plans (`kubectl delete plan NAME`), or {raise}"
        );
        return Readiness::stalled("TaskQuotaExceeded", message);
    }
    let raise = raise(resource, tenant);
    Readiness::reconciling(
        "QuotaExceeded",
        format!("{full}; it continues when other pods end; for more at once, {raise}"),
    )
}

impl Shortage {
    /// Returns whether the request exceeds the quota even when nothing else is used.
    fn is_forever(&self, tasks: usize) -> bool {
        let Some(limit) = quantity(&self.limit) else { return false };
        let wanted = if self.resource == TASKS {
            u128::try_from(tasks).ok().and_then(|tasks| tasks.checked_mul(1000))
        } else {
            quantity(&self.requested)
        };
        wanted.is_some_and(|wanted| wanted > limit)
    }
}

fn raise(resource: &str, tenant: &str) -> String {
    match FIELDS.iter().find(|(name, _)| *name == resource) {
        Some((_, field)) => format!("raise spec.quota.{field} of Tenant {tenant}"),
        None => format!("raise {resource} in the ResourceQuota"),
    }
}

/// Parses a quantity in thousandths; none if it is not a quantity that a Tenant may contain.
pub fn quantity(text: &str) -> Option<u128> {
    const SUFFIXES: [(&str, u128); 9] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("", 1),
    ];
    if let Some(thousandths) = text.strip_suffix('m') {
        return thousandths.parse().ok();
    }
    let (number, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 12 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled: u128 = format!("{whole}{fraction}").parse().ok()?;
    // The API server rounds fractions of a thousandth up.
    Some(scaled.checked_mul(*factor)?.checked_mul(1000)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Progress;

    fn of(message: &str, tasks: usize) -> (Progress, String, String) {
        let exceeded = parse(message).expect("a refusal with amounts");
        let Readiness { progress, reason, message } = readiness(&exceeded, "create Pod p-t001-1", "acme", tasks);
        (progress, reason.into_owned(), message)
    }

    #[test]
    fn a_full_quota_is_waited_for() {
        let message = "pods \"p-t001-1\" is forbidden: exceeded quota: enact-tenant, requested: limits.memory=256Mi,pods=1, \
                       used: limits.memory=512Mi,pods=1, limited: limits.memory=512Mi,pods=1";
        let (progress, reason, message) = of(message, 4);
        assert_eq!((progress, reason.as_str()), (Progress::Reconciling, "QuotaExceeded"));
        assert!(message.contains("512Mi of 512Mi limits.memory are used, and it requests 256Mi"), "{message}");
        assert!(
            message.contains("1 of 1 pods are used") && message.contains("spec.quota.memory of Tenant acme"),
            "{message}"
        );
    }

    #[test]
    fn a_request_that_can_never_fit_is_stalled() {
        let message = "forbidden: exceeded quota: enact-tenant, requested: limits.memory=2Gi, used: limits.memory=0, \
                       limited: limits.memory=512Mi";
        let (progress, reason, message) = of(message, 1);
        assert_eq!((progress, reason.as_str()), (Progress::Stalled, "QuotaTooSmall"));
        assert!(message.contains("it requests 2Gi of limits.memory") && message.contains("allows 512Mi"), "{message}");
        assert!(message.contains("raise spec.quota.memory of Tenant acme"), "{message}");
    }

    #[test]
    fn finished_plans_fill_the_quota_of_tasks() {
        let message = "tasks.enact.dev \"many-t004\" is forbidden: exceeded quota: enact-tenant, requested: \
                       count/tasks.enact.dev=1, used: count/tasks.enact.dev=8, limited: count/tasks.enact.dev=8";
        let (progress, reason, text) = of(message, 6);
        assert_eq!((progress, reason.as_str()), (Progress::Stalled, "TaskQuotaExceeded"));
        assert!(text.contains("delete finished plans") && text.contains("spec.quota.tasks of Tenant acme"), "{text}");
        let (_, reason, text) = of(message, 9);
        assert_eq!(reason, "QuotaTooSmall");
        assert!(text.contains("the plan has 9 tasks") && text.contains("split the plan"), "{text}");
    }

    #[test]
    fn other_messages_are_not_parsed() {
        assert_eq!(parse("pods is forbidden: exceeded quota: enact-tenant, limited: pods=0"), None);
        assert_eq!(parse("pods is forbidden: violates PodSecurity"), None);
        assert_eq!(parse("exceeded quota: q, requested: a, used: b, limited: c"), None);
    }
}
