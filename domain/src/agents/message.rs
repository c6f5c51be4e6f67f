//! Messages of people to the agent of a task. They are a list in an annotation of the Task, the newest one last.

use serde::{Deserialize, Serialize};

/// Maximum number of messages in the annotation. A new one replaces the oldest.
pub const MAX_MESSAGES: usize = 8;
/// Maximum length of a text, in bytes. All messages of a task are a part of its assignment.
pub const MAX_MESSAGE_BYTES: usize = 2 << 10;
/// Largest id of a message. No task gets as many.
const MAX_ID: u64 = 1 << 32;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// Number of the message: 1 for the first one to the task, and one more for each that follows.
    pub id: u64,
    pub text: String,
    /// The user who sent it. The webhook sets it; clients cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Time at which the webhook admitted it, as in RFC 3339. The webhook sets it; clients cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Reads the annotation. An empty text has no message.
///
/// # Errors
/// The first problem, for a person.
pub fn parse(annotation: &str) -> Result<Vec<Message>, String> {
    if annotation.trim().is_empty() {
        return Ok(Vec::new());
    }
    let messages: Vec<Message> =
        serde_json::from_str(annotation).map_err(|error| format!("it is not a list of messages: {error}"))?;
    if messages.len() > MAX_MESSAGES {
        return Err(format!("it has {} messages, and at most {MAX_MESSAGES} are kept", messages.len()));
    }
    let mut last = 0;
    for Message { id, text, .. } in &messages {
        if *id <= last {
            return Err("the ids of messages must grow, from 1".into());
        }
        if *id > MAX_ID {
            return Err(format!("the ids of messages are numbers up to {MAX_ID}"));
        }
        if text.trim().is_empty() || text.len() > MAX_MESSAGE_BYTES {
            return Err(format!("message {id} must have 1 to {MAX_MESSAGE_BYTES} bytes of text"));
        }
        last = *id;
    }
    Ok(messages)
}

/// Writes the annotation.
pub fn format(messages: &[Message]) -> String {
    // A list of texts and numbers can always be written as JSON.
    serde_json::to_string(messages).unwrap_or_default()
}

/// Returns the messages with one more, which has the next id and no author yet.
///
/// # Errors
/// If the text is empty or too long.
pub fn with_next(mut messages: Vec<Message>, text: &str) -> Result<Vec<Message>, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_MESSAGE_BYTES {
        return Err(format!("a message must have 1 to {MAX_MESSAGE_BYTES} bytes, and this one has {}", text.len()));
    }
    let id = last_id(&messages).saturating_add(1);
    messages.push(Message { id, text: text.to_owned(), by: None, at: None });
    let excess = messages.len().saturating_sub(MAX_MESSAGES);
    messages.drain(..excess);
    Ok(messages)
}

/// Returns the messages as `user` may write them at the time `at`: a message that `old` has keeps its author, and a new one is by the user.
pub fn stamped(new: &[Message], old: &[Message], user: &str, at: &str) -> Vec<Message> {
    let stamp = |message: &Message| {
        let known = old.iter().find(|known| known.id == message.id && known.text == message.text);
        let (by, at) = known.map_or((Some(user.to_owned()), Some(at.to_owned())), |k| (k.by.clone(), k.at.clone()));
        Message { by, at, ..message.clone() }
    };
    new.iter().map(stamp).collect()
}

/// Checks that a change only adds messages and removes old ones, so that no message is changed and no id is used again or left out: after
/// the largest one there could be no more messages.
///
/// # Errors
/// The first problem, for a person.
pub fn check_change(new: &[Message], old: &[Message]) -> Result<(), String> {
    if last_id(new) < last_id(old) {
        return Err("the newest message must stay".into());
    }
    let changed = |message: &&Message| {
        let known = old.iter().find(|known| known.id == message.id);
        known.map_or(message.id <= last_id(old), |known| known.text != message.text)
    };
    if let Some(message) = new.iter().find(changed) {
        return Err(format!("message {} was sent and cannot be changed; send another one", message.id));
    }
    let added = new.iter().map(|message| message.id).filter(|id| *id > last_id(old));
    match added.zip(last_id(old).saturating_add(1)..).find(|(id, next)| id != next) {
        Some((id, next)) => Err(format!("message {id} must have the id {next}, which is the next one")),
        None => Ok(()),
    }
}

/// Returns the id of the newest message; 0 if there is none.
pub fn last_id(messages: &[Message]) -> u64 {
    messages.last().map_or(0, |message| message.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u64, text: &str, by: Option<&str>) -> Message {
        Message { id, text: text.into(), by: by.map(str::to_owned), at: by.map(|_| "2026-12-01T10:00:00Z".into()) }
    }

    #[test]
    fn malformed_annotations_are_refused() {
        for (annotation, part) in [
            ("{}", "not a list"),
            (r#"[{"id":0,"text":"a"}]"#, "must grow"),
            (r#"[{"id":2,"text":"a"},{"id":2,"text":"b"}]"#, "must grow"),
            (r#"[{"id":1,"text":" "}]"#, "1 to 2048 bytes"),
            (r#"[{"id":18446744073709551615,"text":"a"}]"#, "up to 4294967296"),
            (r#"[{"id":1,"text":"a","role":"system"}]"#, "not a list"),
        ] {
            assert!(parse(annotation).unwrap_err().contains(part), "{annotation}");
        }
        let many: Vec<Message> = (1..=9).map(|id| message(id, "a", None)).collect();
        assert!(parse(&format(&many)).unwrap_err().contains("at most 8"));
        assert_eq!(parse(&format(&many[1..])).unwrap(), many[1..]);
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn a_new_message_replaces_the_oldest() {
        let mut messages = Vec::new();
        for number in 1..=10 {
            messages = with_next(messages, &format!(" text {number}\n")).unwrap();
        }
        assert_eq!((messages.len(), messages[0].id, messages[7].text.as_str()), (8, 3, "text 10"));
        assert!(with_next(Vec::new(), "  ").is_err() && with_next(Vec::new(), &"x".repeat(2049)).is_err());
    }

    #[test]
    fn authors_cannot_be_chosen() {
        let old = [message(1, "one", Some("bob"))];
        let forged = [message(1, "one", Some("ann")), message(2, "two", Some("boss"))];
        let stamped = stamped(&forged, &old, "ann", "2026-12-01T10:00:00Z");
        assert_eq!(stamped, [message(1, "one", Some("bob")), message(2, "two", Some("ann"))]);
    }

    #[test]
    fn sent_messages_do_not_change() {
        let old = [message(3, "three", Some("bob")), message(4, "four", Some("bob"))];
        let check = |new: &[Message]| check_change(new, &old);
        assert_eq!(check(&old), Ok(()));
        assert_eq!(check(&[old[1].clone(), message(5, "five", None)]), Ok(()));
        let left_out = [old[1].clone(), message(4_294_967_296, "last", None)];
        assert!(check(&left_out).unwrap_err().contains("must have the id 5"), "no message could follow");
        assert!(check(&[message(5, "five", None), message(7, "seven", None)]).unwrap_err().contains("id 6"));
        assert!(check(&[message(4, "other", None)]).unwrap_err().contains("message 4"));
        assert!(check(&[message(2, "two", None), old[1].clone()]).unwrap_err().contains("message 2"));
        assert!(check(&old[..1]).unwrap_err().contains("newest"));
        assert!(check(&[]).unwrap_err().contains("newest"));
    }
}
