#!/bin/sh
# Updates the descriptions of queries in .sqlx/ from the migrations, on a temporary database.
# Needs psql, and ENACT_TEST_DATABASE_URL as for the tests.
set -eu
cd "$(dirname "$0")"
server=${ENACT_TEST_DATABASE_URL:?"is not set: run cargo xtask postgres up and set it to the URL that it prints"}
name=enact_prepare_$$
trap 'psql "$server" -qc "drop database if exists $name with (force)"' EXIT
psql "$server" -qc "create database $name"
DATABASE_URL=${server%/*}/$name
psql "$DATABASE_URL" -q -c 'create schema enact' -c 'create table enact.migrations (version bigint, success boolean)'
for migration in migrations/*.sql; do
    psql "$DATABASE_URL" -q -v ON_ERROR_STOP=1 -f "$migration"
done
rm -f .sqlx/*.json
touch src/lib.rs
export DATABASE_URL SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$PWD/.sqlx"
cargo check -p enact-store
