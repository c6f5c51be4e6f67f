//! Real documents of public projects, where they are at hand.

use enact_domain::speckit::{Diagnostic, constitution, plan, spec, tasks};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/dev");
    root.is_dir().then_some(root)
}

fn files(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path())
            } else if entry.file_name() == name {
                found.push(entry.path())
            }
        }
    }
    found.sort();
    found
}

#[test]
fn dump() {
    let Some(root) = corpus() else {
        println!("skipped: corpus not present");
        return;
    };
    let mut codes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut count = |kind: &'static str, d: &[Diagnostic]| {
        for x in d {
            *codes.entry((kind, x.code)).or_default() += 1;
        }
    };
    for f in files(&root, "tasks.md") {
        let p = tasks::parse(&std::fs::read(&f).unwrap());
        count("tasks", &p.diagnostics);
        let deps = p.model.dependencies();
        let edges: usize = deps.values().map(|d| d.len()).sum();
        let explicit: usize = p.model.tasks.iter().map(|t| t.depends_on.len()).sum();
        println!(
            "{} tasks={} phases={} explicit={} prec={} edges={}",
            f.strip_prefix(&root).unwrap().display(),
            p.model.tasks.len(),
            p.model.phases.len(),
            explicit,
            p.model.precedences.len(),
            edges
        );
        if std::env::var("V").is_ok() {
            for d in &p.diagnostics {
                println!("   D {} {d}", d.code);
            }
            for ph in &p.model.phases {
                println!("   P {:?} {:?} {:?}", ph.number, ph.kind, ph.title);
            }
            for pr in &p.model.precedences {
                println!("   R {:?}  | {}", pr, p.model.source.lines().nth(pr.line as usize - 1).unwrap());
            }
            for t in &p.model.tasks {
                for d in &t.depends_on {
                    println!(
                        "   E {} <- {} | {}",
                        t.id,
                        d.on,
                        p.model.source.lines().nth(d.line as usize - 1).unwrap()
                    );
                }
            }
        }
        // cycle check
        let mut done = std::collections::BTreeSet::new();
        let ids: Vec<_> = deps.keys().cloned().collect();
        loop {
            let before = done.len();
            for i in &ids {
                if !done.contains(i) && deps[i].iter().all(|d| done.contains(d)) {
                    done.insert(i.clone());
                }
            }
            if done.len() == before {
                break;
            }
        }
        if done.len() != ids.len() {
            println!("   CYCLE {:?}", ids.iter().filter(|i| !done.contains(i)).map(|i| i.as_str()).collect::<Vec<_>>());
        }
        let pos: std::collections::HashMap<_, _> =
            p.model.tasks.iter().enumerate().map(|(i, t)| (t.id.clone(), i)).collect();
        for t in &p.model.tasks {
            for d in &t.depends_on {
                if pos[&d.on] > pos[&t.id] {
                    println!(
                        "   BACK {} <- {} | {}",
                        t.id,
                        d.on,
                        p.model.source.lines().nth(d.line as usize - 1).unwrap()
                    );
                }
            }
        }
        if std::env::var("T").is_ok() {
            for t in &p.model.tasks {
                println!(
                    "   T {} {:?} P={} {:?} {:?} {:?} paths={:?} det={}\n      {}",
                    t.id,
                    t.also,
                    t.parallel,
                    t.stories,
                    t.tags,
                    t.state,
                    t.paths,
                    t.details.len(),
                    t.title
                );
            }
        }
    }
    for f in files(&root, "spec.md") {
        let p = spec::parse(&std::fs::read(&f).unwrap());
        count("spec", &p.diagnostics);
        let m = &p.model;
        println!(
            "{} stories={} ac={} fr={} sc={} edge={} ent={} ass={} q={} open={}",
            f.strip_prefix(&root).unwrap().display(),
            m.stories.len(),
            m.stories.iter().map(|s| s.scenarios.len()).sum::<usize>(),
            m.requirements.len(),
            m.success_criteria.len(),
            m.edge_cases.len(),
            m.entities.len(),
            m.assumptions.len(),
            m.clarifications.len(),
            m.open_questions.len()
        );
        if std::env::var("V").is_ok() {
            for d in &p.diagnostics {
                println!("   D {} {d}", d.code);
            }
            for s in &m.stories {
                println!("   S {} {:?} {} t={}", s.key, s.priority, s.title, s.independent_test.is_some());
            }
            for c in &m.clarifications {
                println!("   C {:?} {} => {}", c.session, c.question, c.answer);
            }
        }
    }
    for f in files(&root, "plan.md") {
        let p = plan::parse(&std::fs::read(&f).unwrap());
        count("plan", &p.diagnostics);
        let m = &p.model;
        println!(
            "{} ctx={} check={} dec={} cx={} branch={:?}",
            f.strip_prefix(&root).unwrap().display(),
            m.context.len(),
            m.constitution_check.is_some(),
            m.structure_decision.is_some(),
            m.complexity.len(),
            m.branch.as_ref().map(|b| &b.text)
        );
        if std::env::var("V").is_ok() {
            for d in &p.diagnostics {
                println!("   D {} {d}", d.code);
            }
        }
    }
    for f in files(&root, "constitution.md") {
        let p = constitution::parse(&std::fs::read(&f).unwrap());
        count("constitution", &p.diagnostics);
        let m = &p.model;
        println!(
            "{} v={:?} {:?} {:?} pr={} musts={}",
            f.strip_prefix(&root).unwrap().display(),
            m.version.as_ref().map(|v| &v.text),
            m.ratified.as_ref().map(|v| &v.text),
            m.last_amended.as_ref().map(|v| &v.text),
            m.principles.len(),
            m.principles.iter().map(|p| p.musts.len()).sum::<usize>()
        );
        if std::env::var("V").is_ok() {
            for d in &p.diagnostics {
                println!("   D {} {d}", d.code);
            }
            for p in &m.principles {
                println!("   P {:?} {} {}", p.number, p.name, p.musts.len());
            }
        }
    }
    println!("{codes:#?}");
}
