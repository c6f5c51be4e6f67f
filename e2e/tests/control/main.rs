//! How a plan is carried out: what starts when, what becomes of attempts that fail or are lost, what people ask of a plan on its way, and
//! what agents are given.

mod agents;
mod ends;
mod order;
