//! Law: the constitutions that bind a document, and their rules as one list.
//!
//! What names a constitution is bound by it, by what that inherits from, and by what the tenant's `constitutionRef` names, with what that
//! inherits from in turn. The walk and the building are functions of what they are given; [`of`] gives them the caches.

use std::sync::Arc;

use enact_crds::Constitution;
use enact_crds::common::NamespacedRef;
use enact_crds::convert;
use enact_crds::document::{Finding, Severity};
use enact_domain::analysis::Category;
use enact_domain::condition::{Progress, READY};
use enact_domain::digest::Digest;
use enact_domain::rules::{Budget, Document, Outcome, Program, Rule, RuleError, Scope, Strength, inherit};
use kube::ResourceExt as _;

use super::findings::own;
use super::library::{ConstitutionText, Library};
use super::obstacle::Obstacle;
use crate::context::{Context, lookup};
use crate::error::Error;
use crate::references::Target;

/// Most constitutions that inherit from each other.
const MAX_DEPTH: usize = 16;

/// A constitution, as the walk sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Article {
    /// Where it is.
    pub at: NamespacedRef,
    /// What it names as its parent.
    pub parent: Option<NamespacedRef>,
    /// Its own rules.
    pub rules: Vec<Rule>,
    /// Digest of its document, when it is in force.
    pub in_force: Option<Digest>,
}

impl Article {
    /// A constitution as the API has it.
    pub fn of(constitution: &Constitution) -> Self {
        let namespace = constitution.namespace().unwrap_or_default();
        let status = constitution.status.as_ref();
        let is_current = status.and_then(|s| s.observed_generation) == constitution.metadata.generation;
        let ready = status.is_some_and(|s| s.conditions.iter().any(|c| c.type_ == READY && c.status == "True"));
        let digest = status.and_then(|s| s.digest.clone()).map(Into::into);
        Self {
            parent: constitution.spec.parent_ref.as_ref().map(|r| at(&namespace, &r.name)),
            rules: constitution.spec.rules.iter().map(convert::rule).collect(),
            in_force: digest.filter(|_| ready && is_current),
            at: at(&namespace, &constitution.name_any()),
        }
    }
}

/// A reference.
pub fn at(namespace: &str, name: &str) -> NamespacedRef {
    NamespacedRef { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Why a chain of constitutions cannot be followed to its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// There is no such constitution; who names it.
    Missing(NamespacedRef, String),
    /// They inherit from each other: the chain up to where it comes back.
    Circular(Vec<NamespacedRef>),
    /// There are too many.
    TooMany,
}

/// The constitutions that bind something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// The nearest first.
    pub articles: Vec<Article>,
    /// Everything that was asked for, also what is not there.
    pub asked: Vec<NamespacedRef>,
    /// Why it ends early.
    pub broken: Option<Broken>,
}

/// Follows constitutions: from `first`, named by `named_by`, through parents, then from what the tenant of each namespace on the way names,
/// beginning with `home`. `own` is the constitution whose chain it is, if it is one's: it is no part of it.
pub fn follow(
    own: Option<&NamespacedRef>,
    (first, named_by): (Option<NamespacedRef>, &str),
    home: &str,
    find: &dyn Fn(&NamespacedRef) -> Option<Article>,
    root: &dyn Fn(&str) -> Option<NamespacedRef>,
) -> Chain {
    let mut chain = Chain::default();
    let mut path: Vec<NamespacedRef> = own.into_iter().cloned().collect();
    let mut homes = vec![home.to_owned()];
    let mut next = first.map(|first| (first, named_by.to_owned()));
    let mut looked = 0;
    loop {
        let Some((here, by)) = next.take() else {
            let Some(namespace) = homes.get(looked) else { return chain };
            next = root(namespace).map(|r| (r, "the Tenant's spec.constitutionRef".to_owned()));
            path.clear();
            looked += 1;
            continue;
        };
        if path.contains(&here) {
            path.push(here);
            return Chain { broken: Some(Broken::Circular(path)), ..chain };
        }
        if own == Some(&here) || chain.articles.iter().any(|a| a.at == here) {
            continue;
        }
        if chain.articles.len() == MAX_DEPTH {
            return Chain { broken: Some(Broken::TooMany), ..chain };
        }
        chain.asked.push(here.clone());
        let Some(article) = find(&here) else {
            return Chain { broken: Some(Broken::Missing(here, by)), ..chain };
        };
        path.push(here.clone());
        if !homes.contains(&here.namespace) {
            homes.push(here.namespace.clone());
        }
        next = article.parent.clone().map(|p| (p, format!("spec.parentRef of Constitution {}", shown(&here))));
        chain.articles.push(article);
    }
}

/// A reference, for a person.
pub fn shown(at: &NamespacedRef) -> String {
    format!("{}/{}", at.namespace, at.name)
}

impl Chain {
    /// What keeps everything below it waiting, if anything does.
    pub fn obstacle(&self) -> Option<Obstacle> {
        const WAITING: &str = "WaitingForConstitution";
        match &self.broken {
            Some(Broken::Missing(what, by)) => {
                let message = format!("{by}: there is no Constitution {}; create it", shown(what));
                return Some(Obstacle::new(Progress::Reconciling, WAITING, message));
            }
            Some(Broken::Circular(path)) => {
                let path: Vec<String> = path.iter().map(shown).collect();
                let message = format!(
                    "constitutions inherit from each other: {}; remove spec.parentRef from one of them",
                    path.join(" -> ")
                );
                return Some(Obstacle::new(Progress::Stalled, "CircularInheritance", message));
            }
            Some(Broken::TooMany) => {
                let message =
                    format!("more than {MAX_DEPTH} constitutions inherit from each other; make fewer of them");
                return Some(Obstacle::new(Progress::Stalled, "CircularInheritance", message));
            }
            None => {}
        }
        let waits = self.articles.iter().find(|a| a.in_force.is_none())?;
        let message = format!(
            "Constitution {} is not in force; see `kubectl describe constitution {} -n {}`",
            shown(&waits.at),
            waits.at.name,
            waits.at.namespace
        );
        Some(Obstacle::new(Progress::Reconciling, WAITING, message))
    }

    /// The rules of all of them, the farthest first.
    ///
    /// # Errors
    /// Why one of them breaks what it inherits; it is told so itself, and is not in force for long.
    pub fn rules(&self) -> Result<Vec<Rule>, Obstacle> {
        self.articles.iter().rev().try_fold(Vec::new(), |known, article| {
            inherit(&known, &article.rules).map_err(|loosened| {
                let why = loosened.first().map(ToString::to_string).unwrap_or_default();
                let message = format!("Constitution {} loosens what it inherits: {why}", shown(&article.at));
                Obstacle::new(Progress::Reconciling, "WaitingForConstitution", message)
            })
        })
    }

    /// What to watch.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.asked.iter().map(|at| Target::new::<Constitution>(&at.namespace, &at.name))
    }
}

/// The chain of something in a namespace, as the caches have it.
pub fn chain(
    ctx: &Context,
    namespace: &str,
    own: Option<&NamespacedRef>,
    first: Option<NamespacedRef>,
    named_by: &str,
) -> Chain {
    let find = |at: &NamespacedRef| {
        let found = lookup(&ctx.caches.constitutions, &at.namespace, &at.name)?;
        found.metadata.deletion_timestamp.is_none().then(|| Article::of(&found))
    };
    let root = |namespace: &str| ctx.tenant(&ctx.tenant_of(namespace)?.tenant)?.spec.constitution_ref.clone();
    follow(own, (first, named_by), namespace, &find, &root)
}

/// What binds a document.
#[derive(Clone, Debug, Default)]
pub struct Law {
    /// The texts of the constitutions, the nearest first.
    pub texts: Vec<Arc<ConstitutionText>>,
    /// Their rules.
    pub programs: Arc<Vec<Program>>,
    /// Names all of it.
    pub key: Option<Digest>,
}

/// The law that a chain of constitutions makes.
///
/// # Errors
/// When the record cannot be read. Inside, why there is none yet.
pub async fn of(ctx: &Context, chain: &Chain) -> Result<Result<Law, Obstacle>, Error> {
    if let Some(obstacle) = chain.obstacle() {
        return Ok(Err(obstacle));
    }
    let rules = match chain.rules() {
        Ok(rules) => rules,
        Err(obstacle) => return Ok(Err(obstacle)),
    };
    let programs = match ctx.library.programs(&rules) {
        Ok(programs) => programs,
        Err(errors) => return Ok(Err(invalid(Progress::Reconciling, "WaitingForConstitution", &errors))),
    };
    let mut texts = Vec::with_capacity(chain.articles.len());
    for article in &chain.articles {
        let Some(digest) = &article.in_force else { continue };
        let tenant = ctx.tenant_of(&article.at.namespace).map(|m| m.tenant).unwrap_or_default();
        let Some(text) = Library::constitution_of(ctx, &tenant, digest).await? else {
            let message = format!("the document of Constitution {} is not in the record yet", shown(&article.at));
            return Ok(Err(Obstacle::new(Progress::Reconciling, "WaitingForConstitution", message)));
        };
        texts.push(text);
    }
    let key = (!texts.is_empty()).then(|| {
        let digests: Vec<&str> = texts.iter().map(|t| t.digest.as_str()).collect();
        let rules: Vec<String> = rules.iter().map(|r| format!("{r:?}")).collect();
        Digest::of_bytes(format!("{}\n{}", digests.join("\n"), rules.join("\n")).as_bytes())
    });
    Ok(Ok(Law { texts, programs, key }))
}

/// What is wrong with rules, all of it.
pub fn invalid(progress: Progress, reason: &'static str, errors: &[RuleError]) -> Obstacle {
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Obstacle::new(progress, reason, told.join("; "))
}

/// What a document breaks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Every rule that it does not keep.
    pub findings: Vec<Finding>,
    /// The first one that it must keep.
    pub obstacle: Option<Obstacle>,
}

impl Judgement {
    /// Adds what another document breaks.
    pub fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.obstacle = self.obstacle.take().or(other.obstacle);
    }
}

/// Judges a document, which findings and messages call `name`, by the rules that are for its kind. All that is judged of one object shares
/// a budget; a rule that has cost too much is told once, and not asked again.
pub fn judge(programs: &[Program], scope: Scope, document: &Document, name: &str, budget: &mut Budget) -> Judgement {
    let mut judgement = Judgement::default();
    let mut broken = 0_usize;
    for program in programs.iter().filter(|p| p.rule().scope == scope) {
        if budget.has_refused(program) {
            continue;
        }
        let rule = program.rule();
        let (code, message, items) = match program.evaluate_within(document, budget) {
            Outcome::Holds => continue,
            Outcome::Violated { message, items } => ("RuleBroken", message, items),
            Outcome::Failed { why } => {
                ("RuleFailed", format!("{}: it cannot be told: {why}", rule.message), Vec::new())
            }
        };
        let must = rule.strength == Strength::Must;
        let principle = rule.principle.as_ref().map(|p| format!(" of principle \"{p}\"")).unwrap_or_default();
        let named = if items.is_empty() { String::new() } else { format!(": {}", items.join(", ")) };
        let message = format!("{name} does not keep rule {}{principle}: {message}{named}", rule.name);
        let remedy = "change what breaks it, or amend the constitution that has the rule";
        let severity = if must { Severity::Critical } else { Severity::Medium };
        let about = format!("{name}/{}/{}", rule.name, items.join(","));
        let finding = Finding {
            line: 1,
            location: items.join(", "),
            message: message.clone(),
            remedy: remedy.to_owned(),
            ..own(Category::Constitution, code, severity, &about)
        };
        judgement.findings.push(finding);
        if must {
            broken += 1;
            judgement.obstacle.get_or_insert(Obstacle::new(
                Progress::Stalled,
                "ConstitutionViolated",
                format!("{message}; {remedy}"),
            ));
        }
    }
    if let Some(obstacle) = judgement.obstacle.as_mut().filter(|_| broken > 1) {
        obstacle.message = format!("{} (and {} more rules, see status.topFindings)", obstacle.message, broken - 1);
    }
    judgement
}

#[cfg(test)]
mod tests;
