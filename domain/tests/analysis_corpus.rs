//! Analysis of real documents.
use enact_domain::{analysis, speckit};
use std::path::{Path, PathBuf};

#[test]
fn dump() {
    let root = Path::new("/work/shared/corpus/dev");
    let mut open = vec![root.to_path_buf()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(d) = open.pop() {
        for e in std::fs::read_dir(d).unwrap() {
            let e = e.unwrap();
            if e.file_type().unwrap().is_dir() {
                open.push(e.path());
            } else if e.file_name() == "spec.md" {
                found.push(e.path());
            }
        }
    }
    found.sort();
    for path in found {
        let parsed = speckit::spec::parse(&std::fs::read(&path).unwrap());
        let lines: Vec<&str> = parsed.model.source.lines().collect();
        let report = analysis::specification(&parsed);
        let short = path.strip_prefix(root).unwrap().display().to_string();
        println!(
            "DOC\t{short}\t{:?}\t{}\t{}",
            report.counts,
            report.quality.score,
            report
                .quality
                .parts
                .iter()
                .map(|p| format!("{} {} ({})", p.name, p.score, p.explanation))
                .collect::<Vec<_>>()
                .join(" / ")
        );
        for f in &report.findings {
            println!(
                "F\t{}\t{}\t{short}:{}\t{}\t{}\t{}\t|| {}",
                f.code,
                f.severity,
                f.line,
                f.location,
                f.summary,
                f.excerpt,
                lines.get(f.line as usize - 1).unwrap_or(&"")
            );
        }
    }
}
