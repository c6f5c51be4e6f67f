//! Analysis of real documents.
use enact_domain::{analysis, speckit};
use std::path::{Path, PathBuf};

fn files(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/work/shared/corpus/dev");
    let mut open = vec![root.to_path_buf()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(d) = open.pop() {
        for e in std::fs::read_dir(d).unwrap() {
            let e = e.unwrap();
            if e.file_type().unwrap().is_dir() {
                open.push(e.path());
            } else if e.file_name() == name {
                found.push(e.path());
            }
        }
    }
    found.sort();
    found
}
fn show(kind: &str, short: &str, source: &str, findings: &[analysis::Finding]) {
    let lines: Vec<&str> = source.lines().collect();
    for f in findings {
        println!(
            "{kind}\t{}\t{}\t{short}:{}\t{}\t{}\t{}\t|| {}",
            f.code,
            f.severity,
            f.line,
            f.location,
            f.summary,
            f.excerpt,
            lines.get((f.line as usize).wrapping_sub(1)).unwrap_or(&"")
        );
    }
}
#[test]
fn dump() {
    let root = Path::new("/work/shared/corpus/dev");
    let mut sketches = Vec::new();
    for path in files("spec.md") {
        let parsed = speckit::spec::parse(&std::fs::read(&path).unwrap());
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
        show("F", &short, &parsed.model.source, &report.findings);
        for q in analysis::questions(&parsed, &report) {
            println!("Q\t{short}:{}\t{}\t{}\t{:?}\t{:?}", q.line, q.location, q.text, q.options, q.origin);
        }
        let repo = path.strip_prefix(root).unwrap().components().next().unwrap().as_os_str().to_owned();
        for c in files("constitution.md").into_iter().filter(|c| c.strip_prefix(root).unwrap().starts_with(&repo)) {
            let con = speckit::constitution::parse(&std::fs::read(&c).unwrap());
            show("X", &short, &parsed.model.source, &analysis::against_constitution(&parsed.model, &con.model));
        }
        let sketch = analysis::Sketch::of(&parsed.model);
        for (r, s, other) in &sketches {
            if *r == repo {
                for sh in analysis::overlap(&sketch, s) {
                    println!("O\t{short}\t{other}\t{sh:?}");
                }
            }
        }
        let tasks = path.with_file_name("tasks.md");
        if tasks.exists() {
            let t = speckit::tasks::parse(&std::fs::read(&tasks).unwrap()).model;
            let details: Vec<String> = t
                .tasks
                .iter()
                .map(|t| t.details.iter().map(|d| d.text.clone()).collect::<Vec<_>>().join("\n"))
                .collect();
            let st: Vec<String> = t
                .tasks
                .iter()
                .map(|k| {
                    let mut v: Vec<String> = k.stories.iter().map(|s| s.to_string()).collect();
                    if let Some(speckit::tasks::PhaseKind::Story(s)) = t.phases.get(k.phase).map(|p| &p.kind) {
                        v.push(s.to_string());
                    }
                    v.join(" ")
                })
                .collect();
            let texts: Vec<_> = t
                .tasks
                .iter()
                .zip(details.iter().zip(&st))
                .map(|(t, (d, s))| analysis::TaskText { id: t.id.as_str(), title: &t.title, text: d, story: Some(s) })
                .collect();
            let c = analysis::coverage(&parsed.model, &texts);
            println!(
                "C\t{short}\treq {}/{}\tstories {}/{}\tsc {}/{} tasks {}",
                c.requirements.iter().filter(|c| !c.tasks.is_empty()).count(),
                c.requirements.len(),
                c.stories.iter().filter(|c| !c.tasks.is_empty()).count(),
                c.stories.len(),
                c.criteria.iter().filter(|c| !c.tasks.is_empty()).count(),
                c.criteria.len(),
                texts.len()
            );
            show("T", &short, &parsed.model.source, &c.findings);
        }
        sketches.push((repo, sketch, short));
    }
    for path in files("constitution.md") {
        let parsed = speckit::constitution::parse(&std::fs::read(&path).unwrap());
        let report = analysis::constitution(&parsed);
        let short = path.strip_prefix(root).unwrap().display().to_string();
        println!(
            "DOCC\t{short}\t{:?}\t{}\t{}",
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
        show("P", &short, &parsed.model.source, &report.findings);
    }
}
