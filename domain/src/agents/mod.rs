//! Coding agents: programs that are run without a person, with a prompt, and that report what they do as a stream of events.
//!
//! An adapter is data ([`definition::AdapterDefinition`]): how to start the program, what it prints, and what its end means. The built-in
//! ones are the files below `adapters/`, which [`builtin`] lists; an Agent with the adapter `Custom` has its own. The runner does the I/O;
//! everything else is here.

pub mod builtin;
pub mod checkpoint;
pub mod classify;
pub mod definition;
pub mod events;
pub mod fence;
pub mod health;
pub mod mcp;
pub mod message;
pub mod needs;
pub mod probe;
pub mod prompt;
pub mod render;
pub mod run;
pub mod selection;
pub mod stream;
mod template;
