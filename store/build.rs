//! Rebuilds the crate when a migration is added: `sqlx::migrate!` only notices changes of those that it has seen.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
