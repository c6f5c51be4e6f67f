-- The record: every revision, decision, attempt, approval and usage figure, with an audit entry and an outgoing event for each.
--
-- Rules that every migration keeps, and that tests/catalogue.rs checks:
-- * each table has a tenant_id, and row-level security that is enabled and forced, with USING and WITH CHECK;
-- * the application's roles own nothing, and hold only what is granted at the end;
-- * a migration only adds, so that the release before it goes on working during an upgrade and after a rollback.

-- Roles belong to the whole server, not to this database: another database's migration may create it at the same moment.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'enact_app') then
        begin
            create role enact_app nologin nosuperuser nobypassrls nocreatedb nocreaterole;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'enact_app' and (rolsuper or rolbypassrls)) then
        raise exception 'role enact_app would bypass row-level security'
            using hint = 'Run: alter role enact_app nosuperuser nobypassrls';
    end if;
end
$$;

create domain enact.tenant as text constraint tenant_length check (octet_length(value) between 1 and 253);
create domain enact.uid as text constraint uid_length check (octet_length(value) between 1 and 128);
create domain enact.name as text constraint name_length check (octet_length(value) between 1 and 253);
create domain enact.namespace as text constraint namespace_length check (octet_length(value) <= 253);

create table enact.tenants (
    tenant_id  enact.tenant primary key,
    uid        enact.uid not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
comment on table enact.tenants is 'The tenants that were ever known.';

-- Content is bytes, since a digest is of bytes, and text cannot hold all that a document can.
create table enact.contents (
    tenant_id enact.tenant not null,
    digest    text not null,
    content   bytea not null check (octet_length(content) <= 4194304),
    primary key (tenant_id, digest),
    constraint contents_digest_is_of_content check (digest = 'sha256:' || encode(sha256(content), 'hex'))
);
comment on table enact.contents is 'Contents of documents, each once for a tenant.';

create table enact.revisions (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    digest      text not null,
    kind        text not null,
    namespace   enact.namespace not null,
    name        enact.name not null,
    version     text check (octet_length(version) <= 256),
    actor       text not null,
    revised_at  timestamptz not null,
    primary key (tenant_id, subject_uid, digest),
    foreign key (tenant_id, digest) references enact.contents (tenant_id, digest)
);
comment on table enact.revisions is 'Which document had which content since when.';

create table enact.plans (
    tenant_id enact.tenant not null,
    plan_uid  enact.uid not null,
    namespace enact.namespace not null,
    name      enact.name not null,
    state     text not null,
    reason    text not null,
    message   text not null,
    state_at  timestamptz not null,
    primary key (tenant_id, plan_uid)
);
comment on table enact.plans is 'Plans and the newest state of each.';

create table enact.tasks (
    tenant_id enact.tenant not null,
    task_uid  enact.uid not null,
    plan_uid  enact.uid not null,
    task_id   enact.name not null,
    namespace enact.namespace not null,
    name      enact.name not null,
    state     text not null,
    reason    text not null,
    message   text not null,
    state_at  timestamptz not null,
    primary key (tenant_id, task_uid)
);
create index tasks_of_plan on enact.tasks (tenant_id, plan_uid);
comment on table enact.tasks is 'Tasks and the newest state of each.';

create table enact.decisions (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    key         text not null check (octet_length(key) between 1 and 256),
    kind        text not null,
    state       text not null check (octet_length(state) between 1 and 128),
    reason      text not null,
    message     text not null,
    actor       text not null,
    decided_at  timestamptz not null,
    primary key (tenant_id, subject_uid, key)
);
comment on table enact.decisions is 'What the controllers decided about a subject: each state that it came into, and why.';

create table enact.attempts (
    tenant_id       enact.tenant not null,
    subject_uid     enact.uid not null,
    number          integer not null check (number > 0),
    plan_uid        enact.uid not null,
    kind            text not null,
    namespace       enact.namespace not null,
    name            enact.name not null,
    pod             text,
    agent           text,
    started_at      timestamptz,
    work_started_at timestamptz,
    finished_at     timestamptz,
    failure         text check (octet_length(failure) between 1 and 64),
    report          jsonb,
    primary key (tenant_id, subject_uid, number),
    check ((finished_at is null) = (report is null)),
    check (failure is null or finished_at is not null)
);
create index attempts_of_plan on enact.attempts (tenant_id, plan_uid);
comment on table enact.attempts is 'Attempts at tasks and integrations, written before their pods are created; an end is written once.';

create table enact.results (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    number      integer not null check (number > 0),
    plan_uid    enact.uid not null,
    namespace   enact.namespace not null,
    pod_uid     enact.uid not null,
    report      jsonb not null,
    transcript  text not null check (octet_length(transcript) <= 4194304),
    gates       jsonb not null,
    duration_ms bigint not null check (duration_ms >= 0),
    stale       boolean not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, subject_uid, number)
);
create index results_of_plan on enact.results (tenant_id, plan_uid);
comment on table enact.results is 'What pods delivered. A stale one came from an attempt that no longer counted: evidence, nothing more.';

create table enact.approvals (
    tenant_id    enact.tenant not null,
    approval_uid enact.uid not null,
    namespace    enact.namespace not null,
    name         enact.name not null,
    about_kind   text not null,
    about_name   enact.name not null,
    digest       text not null check (octet_length(digest) between 1 and 128),
    approved     boolean not null,
    actor        text not null,
    comment      text not null,
    decided_at   timestamptz not null,
    primary key (tenant_id, approval_uid)
);
create index approvals_about on enact.approvals (tenant_id, namespace, about_kind, about_name);
comment on table enact.approvals is 'What people decided, on which content.';

create table enact.usage (
    tenant_id      enact.tenant not null,
    subject_uid    enact.uid not null,
    number         integer not null check (number > 0),
    plan_uid       enact.uid not null,
    agent          text,
    input_tokens   bigint not null check (input_tokens >= 0),
    output_tokens  bigint not null check (output_tokens >= 0),
    cost_micro_usd bigint not null check (cost_micro_usd >= 0),
    used_at        timestamptz not null,
    primary key (tenant_id, subject_uid, number)
);
create index usage_of_plan on enact.usage (tenant_id, plan_uid);
comment on table enact.usage is 'What each finished attempt used.';

-- The unique constraint is what makes recording idempotent: whatever is known here already is not written anywhere again.
create table enact.audit (
    tenant_id   enact.tenant not null,
    id          bigint generated always as identity,
    at          timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    actor       text not null check (octet_length(actor) <= 1024),
    event       text not null,
    key         text not null check (octet_length(key) <= 256),
    kind        text not null,
    namespace   enact.namespace not null,
    name        enact.name,
    subject_uid enact.uid not null,
    plan_uid    enact.uid,
    details     jsonb not null,
    primary key (tenant_id, id),
    unique (tenant_id, subject_uid, event, key)
);
create index audit_of_plan on enact.audit (tenant_id, plan_uid) where plan_uid is not null;
comment on table enact.audit is 'Who did what when; only ever added to.';

-- Ids are handed out before commit, so a reader that remembers the last id skips transactions that commit late. It reads up to
-- pg_snapshot_xmin(pg_current_snapshot()) in the order of (xid, id) instead.
create table enact.outbox (
    tenant_id   enact.tenant not null,
    id          bigint generated always as identity,
    xid         xid8 not null default pg_current_xact_id(),
    at          timestamptz not null,
    actor       text not null,
    event       text not null,
    kind        text not null,
    namespace   enact.namespace not null,
    name        enact.name,
    subject_uid enact.uid not null,
    plan_uid    enact.uid,
    payload     jsonb not null,
    primary key (tenant_id, id)
);
create index outbox_in_order on enact.outbox (xid, id);
comment on table enact.outbox is 'Events to send, written in the transaction of what they tell about.';

-- The subquery makes current_setting an InitPlan: called once for a statement, not once for a row. Without a tenant it gives null
-- or the empty string, which is nobody's id.
do $$
declare
    name text;
begin
    foreach name in array array['tenants', 'contents', 'revisions', 'plans', 'tasks', 'decisions', 'attempts', 'results',
                                'approvals', 'usage', 'audit', 'outbox']
    loop
        execute format('alter table enact.%I enable row level security, force row level security', name);
        execute format('create policy tenant on enact.%I '
                       'using (tenant_id = (select current_setting(''enact.tenant'', true))) '
                       'with check (tenant_id = (select current_setting(''enact.tenant'', true)))', name);
    end loop;
end
$$;

grant usage on schema enact to enact_app;
grant select on enact.migrations to enact_app;
grant select, insert on all tables in schema enact to enact_app;
revoke insert on enact.migrations from enact_app;
revoke select on enact.outbox from enact_app;
grant update on enact.tenants, enact.plans, enact.tasks, enact.attempts to enact_app;
