//! Documents: their questions, rules, approvals and history, used by people with certificates of their own.

mod amended;
mod answered;
mod approved;
mod asked;
mod bad;
mod bound;
mod edited;
mod example;
mod known;
mod overlapping;
mod planned;
mod remembered;
mod replanned;
mod ruled;
mod searched;
mod stale;
mod texts;
