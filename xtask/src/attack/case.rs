//! An attack as data: which threat it belongs to, what it tries, and how the suite finds out what stopped it.

use anyhow::Result;

use super::site::{Answer, Site, User};

/// Most characters of a reason in the report.
const MAX_REASON: usize = 140;

/// An attack.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// The name, which the threat model's page names too.
    pub(super) name: &'static str,
    /// The threat, by its id on that page.
    pub(super) threat: &'static str,
    /// What it tries, for the report.
    pub(super) tries: &'static str,
    /// Whether it takes seconds only, so that CI runs it.
    pub(super) fast: bool,
    pub(super) means: Means,
}

/// How an attack is made. Texts contain words such as `%own` that [`Site::fill`] replaces.
#[derive(Clone, Copy)]
pub(super) enum Means {
    /// Creates an object, as a dry run: what is admitted is not stored.
    Create(Request),
    /// Runs kubectl with these arguments, which contain `--dry-run=server` if they could change anything.
    Kubectl(Request),
    /// The script in the suite's pod tries it.
    Pod,
    /// Anything else.
    Code(fn(&Site) -> Result<Verdict>),
}

/// A request of a user that must be refused.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) user: User,
    /// The manifest, or the arguments with a space between them.
    pub(super) text: &'static str,
    /// Words that the refusal must have. `a|b` means one of them. Another refusal would not show that the attack is stopped.
    pub(super) stopped_by: &'static [&'static str],
}

/// The result of an attack, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stopped(String),
    NotStopped(String),
    /// It could not be tried.
    Skipped(String),
}

/// Describes an attack by an object that must not be admitted.
pub(super) const fn create(
    threat: &'static str,
    name: &'static str,
    tries: &'static str,
    user: User,
    text: &'static str,
    stopped_by: &'static [&'static str],
) -> Case {
    Case { name, threat, tries, fast: true, means: Means::Create(Request { user, text, stopped_by }) }
}

/// Describes an attack by kubectl.
pub(super) const fn kubectl(
    threat: &'static str,
    name: &'static str,
    tries: &'static str,
    user: User,
    text: &'static str,
    stopped_by: &'static [&'static str],
) -> Case {
    Case { name, threat, tries, fast: true, means: Means::Kubectl(Request { user, text, stopped_by }) }
}

/// Describes an attack by the suite's pod.
pub(super) const fn by_pod(threat: &'static str, name: &'static str, tries: &'static str) -> Case {
    Case { name, threat, tries, fast: true, means: Means::Pod }
}

/// Describes an attack by code.
pub(super) const fn code(
    threat: &'static str,
    name: &'static str,
    tries: &'static str,
    run: fn(&Site) -> Result<Verdict>,
) -> Case {
    Case { name, threat, tries, fast: true, means: Means::Code(run) }
}

impl Case {
    /// Leaves the attack out of the fast part.
    pub(super) const fn slow(mut self) -> Self {
        self.fast = false;
        self
    }

    /// Returns whether a text is in the name or in the id of the threat.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.name.contains(text) || self.threat.contains(text)
    }
}

impl Request {
    /// Makes the request, and judges the answer.
    pub(super) fn try_create(&self, site: &Site) -> Result<Verdict> {
        let args = ["create", "--dry-run=server", "--output=name", "--filename=-"];
        Ok(self.judge(site, &site.ask(self.user, &args, &site.fill(self.text))?))
    }

    /// Runs kubectl, and judges the answer.
    pub(super) fn try_kubectl(&self, site: &Site) -> Result<Verdict> {
        let text = site.fill(self.text);
        let args: Vec<&str> = text.split(' ').collect();
        Ok(self.judge(site, &site.ask(self.user, &args, "")?))
    }

    fn judge(&self, site: &Site, answer: &Answer) -> Verdict {
        let words: Vec<String> = self.stopped_by.iter().map(|word| site.fill(word)).collect();
        judge(&words, answer)
    }
}

fn judge(words: &[String], answer: &Answer) -> Verdict {
    if answer.accepted {
        return Verdict::NotStopped("it was accepted".to_owned());
    }
    let has = |text: &str, word: &str| word.split('|').any(|word| text.contains(word));
    if let Some(word) = words.iter().find(|word| !has(&answer.text, word)) {
        return Verdict::NotStopped(format!("refused, but not by `{word}`: {}", short(&answer.text)));
    }
    let first = words.first().map_or("", String::as_str);
    let line = answer.text.lines().find(|line| has(line, first)).unwrap_or(&answer.text);
    Verdict::Stopped(short(cause(line)))
}

/// Returns the cause in a line of kubectl, without what comes before it.
fn cause(line: &str) -> &str {
    let rest = ["denied the request: ", "denied request: ", "is forbidden: ", "is invalid: ", "\"STDIN\": "]
        .iter()
        .find_map(|prefix| line.split_once(prefix).map(|(_, rest)| rest));
    rest.unwrap_or(line)
}

/// Returns a text in one line, truncated.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Answer {
        Answer { accepted: false, text: text.to_owned() }
    }

    #[test]
    fn another_refusal_stops_no_attack() {
        let words = ["is immutable|cannot change".to_owned(), "spec".to_owned()];
        let said =
            "Error from server: admission webhook \"a\" denied the request: spec: a Task is immutable; change its Plan";
        let expected = "spec: a Task is immutable; change its Plan".to_owned();
        assert_eq!(judge(&words, &refused(said)), Verdict::Stopped(expected));
        assert!(matches!(judge(&words, &refused("spec: not found")), Verdict::NotStopped(_)));
        let accepted = Answer { accepted: true, text: "spec is immutable".to_owned() };
        assert!(matches!(judge(&words, &accepted), Verdict::NotStopped(_)));
    }

    #[test]
    fn reasons_are_one_short_line() {
        assert_eq!(short(" a\n  b "), "a b");
        assert_eq!(short(&"ä".repeat(1000)).chars().count(), MAX_REASON + 1);
    }
}
