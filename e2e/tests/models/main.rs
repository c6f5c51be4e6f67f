//! A real coding agent in pods, with models behind the gateway. The agents of the other adapters run in `cargo xtask test agents`.

mod attacks;
mod budgets;
mod drafts;
mod ends;
mod feature;
mod limits;
mod providers;
mod request_log;
mod resume;
mod sentence;
