//! Documents: asked about, held against rules, decided on and remembered, by people with certificates of their own.

mod amended;
mod answered;
mod approved;
mod asked;
mod bad;
mod bound;
mod edited;
mod example;
mod overlapping;
mod remembered;
mod ruled;
mod searched;
mod stale;
mod texts;
