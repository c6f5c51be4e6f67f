//! Execution of plans: the order of starts, failed and lost attempts, users' requests to a running plan, and the environment of
//! agents.

mod agents;
mod attach;
mod ends;
mod order;
mod pool;
mod warm;
