//! The check and the score of a proposal: by the same steps that a tasks.md of a person passes.

use enact_crds::compile;
use enact_crds::plan::UnreadTasks;
use enact_domain::analysis::Category;
use enact_domain::planning::{self, Input, Score};

use super::evaluate::evaluate;
use super::observed::{Documents, Observed};
use super::validate::content_of;
use crate::documents::effective_constitution::EffectiveConstitution;
use crate::documents::findings::len;
use crate::documents::texts::SpecificationText;

/// What planners plan.
#[derive(Clone, Copy)]
pub struct Assignment<'a> {
    pub observed: &'a Observed,
    pub documents: &'a Documents,
    /// The approved specification.
    pub specification: &'a SpecificationText,
    pub constitution: &'a EffectiveConstitution,
}

/// A proposal that can be chosen.
pub struct Usable {
    /// Number of its tasks.
    pub tasks: u32,
    pub score: Score,
}

impl Assignment<'_> {
    /// Checks a proposal and computes its score.
    ///
    /// # Errors
    /// The reason why it cannot be chosen, for the planner.
    pub fn examine(&self, document: &[u8]) -> Result<Usable, String> {
        // Whatever the plan allows a person: a planner can write the line again.
        let parsed = compile::parse(document, UnreadTasks::Refuse);
        let open = compile::open_tasks(&parsed);
        let specification = &self.specification.parsed.model;
        let coverage = compile::coverage(specification, &open);
        planning::check(&parsed, &coverage)?;
        let predecessor = self.documents.predecessor().map_err(|missing| missing.message)?;
        let content =
            content_of(self.observed, Some(document), predecessor).map_err(|refused| refused.readiness.message)?;
        let evaluation = evaluate(self.observed, self.documents, Some(self.constitution), &content, None);
        if let Some(violation) = &evaluation.violation {
            return Err(violation.message.clone());
        }
        // None of them is of severity MUST.
        let violated = evaluation.findings.iter().filter(|f| f.category == Category::Constitution.as_str()).count();
        let score = planning::score(&Input {
            specification,
            file: &parsed.model,
            graph: &content.compiled.graph,
            coverage: &coverage,
            violated_rules: len(violated),
        });
        Ok(Usable { tasks: len(content.compiled.tasks.len()), score })
    }
}
