//! Tasks: their objects, the pods of their attempts, and their status.

pub mod build;
pub mod contest;
pub mod pod;
pub mod status;
pub mod template;
