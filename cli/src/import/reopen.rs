//! Clears the boxes of ticked tasks in a tasks.md.

use enact_domain::speckit::Span;
use enact_domain::speckit::tasks::{self, TaskState};

/// Returns the document with the box of every ticked task cleared, and the number of these tasks. Nothing else changes: tasks that are
/// struck out stay struck out.
///
/// Returns none if the document is not text.
pub fn reopen(document: &[u8]) -> Option<(Vec<u8>, usize)> {
    let text = std::str::from_utf8(document).ok()?;
    let file = tasks::parse(document).model;
    let ticked = file.tasks.iter().filter(|task| task.state == TaskState::Done);
    let mut boxes: Vec<Span> = ticked.filter_map(|task| task.checkbox).collect();
    boxes.sort_by_key(|span| span.start);
    let mut open = String::with_capacity(text.len());
    let mut at = 0;
    // The spans are those of the parser, so only boxes that the operator also reads as ticked are cleared.
    for span in &boxes {
        open.push_str(text.get(at..span.start)?);
        open.push(' ');
        at = span.end;
    }
    open.push_str(text.get(at..)?);
    Some((open.into_bytes(), boxes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clears_ticked_boxes_only() {
        let text = "\u{feff}# Tasks: x\r\n\r\n## Phase 1: Setup [x]\r\n\r\n- [x] T001 One\r\n  - [x] a part of it\r\n- [X] T002 Two [x]\r\n\
                    - [✅] T003 Three\r\n- [-] T004 Four\r\n- [ ] T005 Five\r\n";
        let wanted =
            text.replace("- [x] T001", "- [ ] T001").replace("- [X] T002", "- [ ] T002").replace("[✅]", "[ ]");
        let (open, count) = reopen(text.as_bytes()).unwrap();
        assert_eq!((String::from_utf8(open.clone()).unwrap(), count), (wanted, 3));
        assert_eq!(reopen(&open), Some((open, 0)), "a second time there is nothing to clear");
        assert_eq!(reopen(b"\xff"), None);
    }
}
