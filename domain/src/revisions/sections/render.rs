//! A difference as text.

use super::model::{DiffLine, Hunk, Mark, SectionChange, SectionKind, Style};

/// Writes differences for people, with a line end at the end.
///
/// Terminal control characters are not removed; a caller that writes to a terminal must remove them.
pub fn render(changes: &[SectionChange], style: Style) -> String {
    if changes.is_empty() {
        return "no section differs\n".to_owned();
    }
    let parts: Vec<String> = changes.iter().map(|change| section(change, style)).collect();
    parts.join("\n")
}

fn section(change: &SectionChange, style: Style) -> String {
    let path = |titles: &[String]| match titles {
        [] => "before the first heading".to_owned(),
        titles => titles.join(" > "),
    };
    let (mark, line) = match change.kind {
        SectionKind::Added => ('+', format!("new, line {}", change.line)),
        SectionKind::Removed => ('-', format!("removed, line {} of the old document", change.line)),
        SectionKind::Changed => ('~', format!("changed, line {}", change.line)),
        SectionKind::Moved => ('>', format!("moved, line {}", change.line)),
    };
    let mut text = format!("{mark} {} ({line})\n", path(&change.path));
    if let Some(from) = &change.from {
        text.push_str(&format!("  was: {}\n", path(from)));
    }
    for (index, hunk) in change.hunks.iter().enumerate() {
        if index > 0 {
            text.push_str("  ...\n");
        }
        write_hunk(hunk, style, &mut text);
    }
    text
}

fn write_hunk(hunk: &Hunk, style: Style, text: &mut String) {
    for line in &hunk.lines {
        let mark = match line.mark {
            Mark::Kept => "    ",
            Mark::Removed => "  - ",
            Mark::Added => "  + ",
        };
        let empty = line.pieces.iter().all(|piece| piece.text.is_empty());
        text.push_str(if empty { mark.trim_end() } else { mark });
        write_line(line, style, text);
        text.push('\n');
    }
}

fn write_line(line: &DiffLine, style: Style, text: &mut String) {
    for piece in &line.pieces {
        let (open, close) = match (style, piece.changed, line.mark) {
            (Style::Words, true, Mark::Removed) => ("[-", "-]"),
            (Style::Words, true, Mark::Added) => ("{+", "+}"),
            _ => ("", ""),
        };
        text.extend([open, &piece.text, close]);
    }
}
