//! Audited transitions a second, by the store's own writer, with row-level security and without it.

use std::time::Instant;

use anyhow::{Result, ensure};
use enact_domain::record::{ACTOR, Event, Kind, Record, Subject, TaskRef};
use enact_domain::time::Millis;
use enact_store::{Recorder, Store, StoreError};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::database::Database;
use crate::figures::{Figure, Figures};

/// Callers that write at the same time, each for a task of its own, as the operator does in a wide plan.
const CALLERS: u32 = 256;
/// Transitions that each caller writes, one after the other.
const TRANSITIONS: u32 = 80;

/// The result of a repeat.
struct Load {
    transitions_a_second: f64,
    round_trips_a_record: f64,
}

/// Measures the record on a server on which it may create databases.
///
/// # Errors
/// If Postgres fails, or does not have all transitions afterwards.
pub async fn measure(server: &str, repeats: u32, figures: &mut Figures) -> Result<()> {
    let mut database = Database::new(server).await?;
    let measured = Box::pin(measure_in(&mut database, repeats, figures)).await;
    database.remove().await?;
    measured
}

async fn measure_in(database: &mut Database, repeats: u32, figures: &mut Figures) -> Result<()> {
    let stores = [("limited", database.store.clone()), ("bypassing", database.without_row_security().await?)];
    let mut loads: [Vec<Load>; 2] = Default::default();
    // The first repeat fills caches and does not count.
    for repeat in 0..=repeats {
        // Each is the first in turn, because the tables grow.
        let order = if repeat.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for which in order {
            let (name, store) = &stores[which];
            let load = write(store, &format!("{name}-{repeat}"), &mut database.owner).await?;
            if repeat > 0 {
                loads[which].push(load);
            }
        }
    }
    let rates = loads.each_ref().map(|loads| loads.iter().map(|load| load.transitions_a_second).collect::<Vec<f64>>());
    let [limited, bypassing] = rates;
    let shares =
        limited.iter().zip(&bypassing).map(|(limited, bypassing)| 100.0 * (1.0 - limited / bypassing)).collect();
    let trips = loads[0].iter().map(|load| load.round_trips_a_record).collect();
    figures.push(
        Figure::new("record: audited transitions", "/s", limited)
            .against("without row-level security", bypassing)
            .goal("≥ 5,000/s"),
    );
    figures.push(Figure::new("record: share of row-level security", "%", shares).goal("≤ 10 %"));
    figures.push(Figure::new("record: round trips a record, under load", "", trips).goal("≤ 0.1"));
    let [_, (_, bypassing)] = stores;
    bypassing.close().await;
    Ok(())
}

/// Writes the transitions of a tenant, and checks that the audit log has them.
async fn write(store: &Store, tenant: &str, owner: &mut PgConnection) -> Result<Load> {
    let (recorder, flusher) = Recorder::start(store.clone());
    let (began, before) = (Instant::now(), store.round_trips());
    let mut callers = JoinSet::new();
    for task in 0..CALLERS {
        let (recorder, tenant) = (recorder.clone(), tenant.to_owned());
        callers.spawn(async move {
            for number in 0..TRANSITIONS {
                recorder.record(vec![transition(&tenant, task, number)]).await?;
            }
            Ok::<(), StoreError>(())
        });
    }
    for ended in callers.join_all().await {
        ended?;
    }
    let (seconds, round_trips) = (began.elapsed().as_secs_f64(), store.round_trips() - before);
    flusher.close().await;
    let entries: i64 = sqlx::query_scalar("select count(*) from enact.audit where tenant_id = $1")
        .bind(tenant)
        .fetch_one(owner)
        .await?;
    let written = CALLERS * TRANSITIONS;
    ensure!(entries == i64::from(written), "the audit log has {entries} of {written} transitions");
    let round_trips = f64::from(u32::try_from(round_trips)?);
    Ok(Load {
        transitions_a_second: f64::from(written) / seconds,
        round_trips_a_record: round_trips / f64::from(written),
    })
}

/// Returns a transition of a task of the plan `wide`.
fn transition(tenant: &str, task: u32, number: u32) -> Record {
    let state = if number.is_multiple_of(2) { "Pending" } else { "Running" };
    Record {
        tenant: tenant.to_owned(),
        subject: Subject {
            kind: Kind::Task,
            namespace: "bench".to_owned(),
            name: format!("wide-t{task:05}"),
            uid: format!("6f2d3c1a-0000-4000-8000-{task:012}"),
        },
        at: Millis(1_800_000_000_000 + i64::from(number)),
        actor: ACTOR.to_owned(),
        event: Event::Transition {
            key: format!("{state}/{number}"),
            state: state.to_owned(),
            reason: "AttemptStarted".to_owned(),
            message: format!("attempt {number} runs as pod wide-t{task:05}-{number}"),
            task: Some(TaskRef {
                plan_uid: "0c8e1f62-0000-4000-8000-000000000001".to_owned(),
                id: format!("T{task:05}"),
            }),
        },
    }
}
