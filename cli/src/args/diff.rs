//! The arguments of `diff`.

use clap::Args;

use super::parse::{PlanOrTask, SubjectName, plan_or_task, revision, subject};

/// Compare two revisions of a document or attempts at a task, or show what the last attempt at a task changed
///
/// For PLAN/TASKID, the command shows the changes of the last attempt at the task, finished or not. It needs Git and access to the repository.
///
/// With --attempts, the command compares what the record has of the attempts: result, gates, measurements, tokens, cost, duration and commit.
/// The work itself is in Git: the command prints how to compare it there.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact diff spec/shop\n  kubectl enact diff spec/shop 2 3\n  kubectl enact diff shop/T004\n  kubectl enact diff shop/T004 --attempts 1,3"
)]
pub struct Diff {
    /// constitution/NAME, specification/NAME or plan/NAME; or PLAN/TASKID
    #[arg(value_name = "KIND/NAME", value_parser = compared)]
    pub subject: Compared,
    /// Older revision: a number, the start of a digest, `approved` or `present` [default: the revision that was approved last]
    #[arg(value_name = "OLD", value_parser = revision)]
    pub from: Option<String>,
    /// Newer revision [default: the current content]
    #[arg(value_name = "NEW", value_parser = revision)]
    pub to: Option<String>,
    /// Numbers of the attempts to compare, 2 to 9 of them
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', conflicts_with_all = ["from", "to"])]
    pub attempts: Vec<u32>,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Document(SubjectName),
    /// The work of a task of a plan.
    Task {
        plan: String,
        /// ID of the task.
        id: String,
    },
}

fn compared(text: &str) -> Result<Compared, String> {
    match (subject(text), plan_or_task(text)) {
        (Ok(subject), _) => Ok(Compared::Document(subject)),
        (Err(_), Ok(PlanOrTask { plan, task: Some(id) })) => Ok(Compared::Task { plan, id }),
        (Err(why), _) => Err(format!("{why}, or PLAN/TASKID")),
    }
}

#[cfg(test)]
mod tests {
    use enact_crds::approval::SubjectKind;

    use super::*;

    #[test]
    fn names_a_document_or_a_task() {
        let plan = |kind| Ok(Compared::Document(SubjectName { kind, name: "shop".into() }));
        assert_eq!(compared("plan/shop"), plan(Some(SubjectKind::Plan)));
        assert_eq!(compared("shop"), plan(None));
        let task = Compared::Task { plan: "shop".into(), id: "T004".into() };
        assert_eq!(compared("shop/T004"), Ok(task));
        for wrong in ["shop/", "Shop/T004", "task/shop-t004"] {
            assert!(compared(wrong).unwrap_err().contains("PLAN/TASKID"), "{wrong}");
        }
    }
}
