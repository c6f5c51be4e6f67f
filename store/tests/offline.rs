//! The checked-in descriptions of queries match the migrations. The crate is built with them, without a database.
//!
//! `store/README.md` says how to update them.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Column, Either, Executor, SqlSafeStr, Statement, TypeInfo};
use support::Database;

#[tokio::test]
async fn descriptions_match_the_migrations() {
    let database = Database::migrated().await;
    let mut connection = database.operator().await;
    let mut described = 0;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx")).unwrap() {
        let path = file.unwrap().path();
        let data: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let query = data["query"].as_str().unwrap().to_owned();
        let statement = (&mut connection)
            .prepare(AssertSqlSafe(query).into_sql_str())
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The descriptions write an array as `TextArray`, and Postgres as `TEXT[]`.
        let name = |name: &str| name.replace("[]", "Array").to_uppercase();
        let columns: Vec<Value> =
            statement.columns().iter().map(|column| json!([column.name(), name(column.type_info().name())])).collect();
        let expected: Vec<Value> = data["describe"]["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| json!([column["name"], column["type_info"].as_str().unwrap().to_uppercase()]))
            .collect();
        assert_eq!(columns, expected, "columns of {}", path.display());
        let Some(Either::Left(parameters)) = statement.parameters() else { panic!("{}", path.display()) };
        let expected = data["describe"]["parameters"]["Left"].as_array().unwrap();
        assert_eq!(parameters.len(), expected.len(), "parameters of {}", path.display());
        for (parameter, expected) in parameters.iter().zip(expected) {
            // Domains are described by their structure, which only the migrations define.
            if let Some(expected) = expected.as_str() {
                assert_eq!(name(parameter.name()), expected.to_uppercase());
            }
        }
        described += 1;
    }
    assert!(described > 10, "{described} descriptions");
}
