//! Tasks: their objects, their pods, and what their attempts' ends make of their status.

pub mod build;
pub mod pod;
pub mod status;
