-- The record: each revision, transition, attempt, result and approval, with an entry in the audit log and an outgoing event for each.
--
-- The comment of each table says who writes it and who reads it. The operator writes through `Recorder` (store/src/recorder.rs) before it
-- acts in Kubernetes; the server writes what pods deliver.
--
-- Rules for every migration, checked by tests/catalogue.rs and tests/additions.rs:
-- * Each table has a tenant_id and enabled, forced row-level security with USING and WITH CHECK.
-- * The roles of the programs own nothing and hold only the rights granted below.
-- * A migration only adds, so that the previous release still works during an upgrade and after a rollback.

-- `enact_app` has the rights of server and gateway. The operator's login is a member of `enact_operator` too, which alone may claim and
-- erase records, and write what the operator decides. If the operator has no login of its own, the shared one is a member of both.
--
-- Roles belong to the server, not to this database: the migration of another database can create a role at the same moment.
do $$
declare
    role text;
begin
    foreach role in array array['enact_app', 'enact_operator'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = role) then
            begin
                execute format('create role %I nologin nosuperuser nobypassrls nocreatedb nocreaterole', role);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        if exists (select from pg_catalog.pg_roles where rolname = role and (rolsuper or rolbypassrls)) then
            raise exception 'role % bypasses row-level security', role
                using hint = format('Run: alter role %I nosuperuser nobypassrls', role);
        end if;
    end loop;
end
$$;

create domain enact.tenant as text constraint tenant_length check (octet_length(value) between 1 and 253);
create domain enact.uid as text constraint uid_length check (octet_length(value) between 1 and 128);
create domain enact.name as text constraint name_length check (octet_length(value) between 1 and 253);
create domain enact.namespace as text constraint namespace_length check (octet_length(value) <= 253);

create table enact.tenants (
    tenant_id     enact.tenant primary key,
    uid           enact.uid not null,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    successor_uid enact.uid,
    successor_at  timestamptz,
    erased        jsonb not null default '{}' check (jsonb_typeof(erased) = 'object')
);
comment on table enact.tenants is
    'Every tenant that ever existed, with the UID of the Tenant that its rows belong to. Written by claim_record, keep_record and '
    'erase_former only, which the tenant controller calls before it sets up the first namespace of a Tenant. See '
    'docs/adr/0021-names-of-tenants.md.';
comment on column enact.tenants.successor_uid is
    'UID of a newer Tenant with this name, for which the rows of the former one are erased.';
comment on column enact.tenants.successor_at is
    'When the operator saw that newer Tenant while no namespace belonged to the name; null before that.';
comment on column enact.tenants.erased is
    'What is erased so far: the number of rows by table, and the usage by month before the erasure.';

create table enact.contents (
    tenant_id enact.tenant not null,
    digest    text not null,
    -- Bytes: a digest is one of bytes, and text cannot hold every document.
    content   bytea not null check (octet_length(content) <= 4194304),
    primary key (tenant_id, digest),
    constraint contents_digest_is_of_content check (digest = 'sha256:' || encode(sha256(content), 'hex'))
);
comment on table enact.contents is
    'Contents of documents, each once per tenant. Written by the operator with a revision, and by the server when a document pod delivers '
    'a document. Read by the operator (approved contents, delivered documents) and by the server (diff, rollback, edit). The operator '
    'deletes those in unused_contents that no object in Kubernetes names.';

create table enact.document_deliveries (
    tenant_id    enact.tenant not null,
    pod_uid      enact.uid not null,
    digest       text not null check (octet_length(digest) between 1 and 128),
    delivered_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, pod_uid)
);
create index document_deliveries_by_time on enact.document_deliveries (tenant_id, delivered_at);
comment on table enact.document_deliveries is
    'The document that each document pod delivered: the server accepts no other one from it, so that no agent fills the record. Written and '
    'read by the server, which deletes rows after seven days, when no document pod runs any more.';

create table enact.revisions (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    number      integer not null check (number > 0),
    kind        text not null,
    namespace   enact.namespace not null,
    name        enact.name not null,
    position    bigint not null check (position > 0),
    digest      text not null,
    version     text check (octet_length(version) <= 256),
    actor       text not null check (octet_length(actor) <= 1024),
    reason      text not null check (octet_length(reason) <= 1024),
    commit      text check (octet_length(commit) between 1 and 128),
    revised_at  timestamptz not null,
    primary key (tenant_id, subject_uid, number),
    unique (tenant_id, kind, namespace, name, position),
    foreign key (tenant_id, digest) references enact.contents (tenant_id, digest)
);
-- In this order, it also serves the check that no revision refers to a content that is deleted.
create index revisions_by_content on enact.revisions (tenant_id, digest, subject_uid);
comment on table enact.revisions is
    'Revisions of each document in order. Content that returns is a revision of its own. Written by the operator when a document or a '
    'started Plan has new content. Read by the server (history, diff, rollback, related documents).';
comment on column enact.revisions.number is 'Counts from 1 for each object. An object that is deleted and created again is another object.';
comment on column enact.revisions.position is 'Counts from 1 for each kind, namespace and name, over all objects that had this name.';

create table enact.findings (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    digest      text not null check (octet_length(digest) between 1 and 128),
    analyser    text not null check (octet_length(analyser) between 1 and 64),
    findings    jsonb not null check (jsonb_typeof(findings) = 'array'),
    total       integer not null check (total >= jsonb_array_length(findings)),
    found_at    timestamptz not null,
    primary key (tenant_id, subject_uid, digest, analyser)
);
comment on table enact.findings is
    'Findings of the analysis of a revision. Written by the operator after each analysis. Read by the server.';
comment on column enact.findings.total is 'Number of all findings, those included that are too many to be stored.';

create table enact.plans (
    tenant_id  enact.tenant not null,
    plan_uid   enact.uid not null,
    namespace  enact.namespace not null,
    name       enact.name not null,
    state      text not null,
    reason     text not null,
    message    text not null,
    state_at   timestamptz not null,
    deleted_at timestamptz,
    primary key (tenant_id, plan_uid)
);
comment on table enact.plans is
    'Plans with their latest state; the audit log has the earlier ones. Written by the operator at each transition of a Plan. '
    'Read by the server (why agents were selected), and by the operator, which looks for plans that were deleted while it did not run.';
comment on column enact.plans.deleted_at is 'When the Plan was deleted. Its state stays the last one before that.';

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
comment on table enact.tasks is
    'Tasks with their latest state; the audit log has the earlier ones. Written by the operator when a Task ends or is opened again. '
    'Read by the server (what became of the plans of decisions).';

create table enact.attempts (
    tenant_id      enact.tenant not null,
    subject_uid    enact.uid not null,
    number         integer not null check (number > 0),
    plan_uid       enact.uid not null,
    kind           text not null,
    namespace      enact.namespace not null,
    name           enact.name not null,
    pod            text,
    pod_uid        enact.uid,
    start_key      text check (start_key ~ '^sha256:[0-9a-f]{64}$'),
    agent          text,
    started_at     timestamptz,
    pod_created_at timestamptz,
    finished_at    timestamptz,
    failure        text check (octet_length(failure) between 1 and 64),
    report         jsonb,
    runner_key     text check (runner_key ~ '^sha256:[0-9a-f]{64}$'),
    capabilities   text[] check (cardinality(capabilities) <= 64),
    selection      jsonb,
    contestants    integer not null default 1 check (contestants between 1 and 9),
    lost_to        integer check (lost_to > 0 and lost_to <> number),
    contradiction  text check (octet_length(contradiction) between 1 and 1024),
    primary key (tenant_id, subject_uid, number),
    check ((finished_at is null) = (report is null)),
    check (failure is null or finished_at is not null)
);
create index attempts_of_plan on enact.attempts (tenant_id, plan_uid);
-- Only finished attempts: those that run have no result yet, and an attempt is indexed once.
create index attempts_of_agent on enact.attempts (tenant_id, namespace, agent, finished_at) where finished_at is not null;
comment on table enact.attempts is
    'Attempts at tasks and integrations. Written by the operator before it creates the pod, and once when the attempt ends. Read by the '
    'operator after a restart, so that it starts no attempt twice, and for history and health of agents; by the server''s delivery to reject stale '
    'results, and by the server for people (why an agent was selected).';
comment on column enact.attempts.capabilities is
    'The needs of the task that its agent declares; the result counts for them. Null if the agent declares no capability and was not '
    'selected from a pool.';
comment on column enact.attempts.selection is 'The evaluation of the pool that the agent was selected from. Null if there was none.';
comment on column enact.attempts.pod_uid is
    'UID of the pod, which the API server returned to the operator. Only this pod registers a runner and delivers a result.';
comment on column enact.attempts.start_key is
    'What the operator puts into the pod, so that it recognises it if it stops before pod_uid is recorded.';
comment on column enact.attempts.runner_key is
    'Digest of the key that the runner of the attempt registered with the server before it started the agent. Only a result with this key '
    'is accepted: the agent can read the token of the pod, but not the memory of the runner.';
comment on column enact.attempts.contestants is
    'Number of contestants of the task; 1 without a contest. Attempts whose numbers differ by a multiple of it are of one contestant, and a '
    'newer one replaces an older one.';
comment on column enact.attempts.lost_to is
    'The attempt that won the contest in which this one passed and lost. What a lost attempt used is discarded.';
comment on column enact.attempts.contradiction is
    'What first contradicted the result of the attempt, for people. The audit log has each contradiction (ResultContradicted), with the '
    'report that was sent or left.';
comment on column enact.attempts.report is 'The final report, with the tokens and the cost that the agent reported.';

-- Which attempts have discarded work: those that failed, those that lost a contest, and those that a later attempt of the same contestant
-- replaced. An attempt that ended for one of `continued_reasons` shares the fate of the one that continues its work. A function in one
-- statement, so that Postgres inlines it; the windows have the columns that callers filter by, so that it reads only their attempts.
create function enact.discarded_attempts(continued_reasons text[])
    returns table (tenant_id enact.tenant, plan_uid enact.uid, namespace enact.namespace, subject_uid enact.uid, number integer,
                   discarded boolean)
    language sql stable parallel safe
as $$
    select tenant_id, plan_uid, namespace, subject_uid, number,
           coalesce(min(number) filter (where not continued) over rest < max(number) over whole
                        or (not last_value(continued) over whole and last_value(failed) over whole),
                    false)
    from (
        select a.tenant_id, a.plan_uid, a.namespace, a.subject_uid, a.number, a.number % a.contestants as series,
               a.failure is not null or a.lost_to is not null as failed,
               coalesce(a.report ->> 'reason' = any (continued_reasons), false) as continued
        from enact.attempts a
    ) result
    window whole as (partition by tenant_id, plan_uid, namespace, subject_uid, series order by number
                     rows between unbounded preceding and unbounded following),
           rest as (partition by tenant_id, plan_uid, namespace, subject_uid, series order by number
                    rows between current row and unbounded following)
$$;

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
    verified    boolean not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, subject_uid, number)
);
create index results_of_plan on enact.results (tenant_id, plan_uid);
comment on table enact.results is
    'Results that pods delivered, the first one of each attempt. Written by the server. The operator reads the report of an attempt that '
    'has no recorded end; the server reads transcripts and gates for people (`kubectl enact logs`).';
comment on column enact.results.verified is
    'Whether only the runner can have sent it: it came with the key that the runner had registered, or from an integration, whose agents'' '
    'code has no token.';
comment on column enact.results.stale is 'Whether the attempt no longer counted when the result arrived. A stale result is evidence only.';

create table enact.checkpoints (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    contestant  integer not null check (contestant > 0),
    number      integer not null check (number > 0),
    content     jsonb not null check (octet_length(content::text) <= 32768),
    archive     bytea check (octet_length(archive) <= 4194304),
    bundle      bytea check (octet_length(bundle) <= 4194304),
    saved_at    timestamptz not null default clock_timestamp(),
    primary key (tenant_id, subject_uid, contestant)
);
create index checkpoints_by_time on enact.checkpoints (tenant_id, saved_at);
comment on table enact.checkpoints is
    'What the last attempt at a task left for the next one: its unfinished work, and the session of its agent. Written by the server for the '
    'runner of the attempt, and read by it for the runner of the next one. Deleted when the task succeeds, or after 30 days.';
comment on column enact.checkpoints.contestant is 'The contestant of the task whose attempts continue from it; 1 without a contest.';
comment on column enact.checkpoints.number is 'The attempt that left it.';
comment on column enact.checkpoints.archive is 'The packed files of the session. They can contain anything that the agent read or wrote.';
comment on column enact.checkpoints.bundle is 'The commits of the work as a Git bundle, if they could not be pushed.';

create table enact.approvals (
    tenant_id    enact.tenant not null,
    approval_uid enact.uid not null,
    namespace    enact.namespace not null,
    name         enact.name not null,
    subject_kind text not null,
    subject_name enact.name not null,
    digest       text not null check (octet_length(digest) between 1 and 128),
    approved     boolean not null,
    actor        text not null,
    comment      text not null,
    decided_at   timestamptz not null,
    primary key (tenant_id, approval_uid)
);
create index approvals_of_subject on enact.approvals (tenant_id, namespace, subject_kind, subject_name);
comment on table enact.approvals is
    'Decisions of people on one content of a subject. Written by the operator when it sees an Approval. Read by the server with the '
    'revisions of the subject.';

-- The unique constraint makes recording idempotent: a record with a known key is written to no table again.
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
-- Serves unused_contents and the reads of proposals, which ask for both events.
create index audit_of_proposals on enact.audit (tenant_id, namespace, name) where event in ('Proposal', 'Judgement');
comment on table enact.audit is
    'The audit log: who did what and when. Rows are only added. Written by the operator with each record and by the server with each '
    'result. Both recognise in it what is recorded already. The server reads in it which proposals a plan has. Auditors read it by SQL '
    'until REST and the export exist.';
comment on column enact.audit.key is 'Distinguishes the events of one type of one object, such as the number of an attempt.';

create table enact.decisions (
    tenant_id            enact.tenant not null,
    id                   bigint generated always as identity,
    plan_uid             enact.uid not null,
    choice_key           text not null check (octet_length(choice_key) between 1 and 256),
    number               integer not null check (number > 0),
    namespace            enact.namespace not null,
    plan                 enact.name not null,
    specification        enact.name not null,
    specification_digest text not null check (octet_length(specification_digest) between 1 and 128),
    proposal             text not null check (octet_length(proposal) between 1 and 128),
    agent                enact.name not null,
    actor                text not null check (octet_length(actor) <= 1024),
    question             text not null check (octet_length(question) between 1 and 1024),
    question_key         text not null check (octet_length(question_key) between 1 and 1024),
    choice               text not null check (octet_length(choice) between 1 and 16384),
    rationale            text not null check (octet_length(rationale) <= 16384),
    consequences         text not null check (octet_length(consequences) <= 16384),
    alternatives         jsonb not null check (jsonb_typeof(alternatives) = 'array'),
    decided_at           timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, plan_uid, choice_key, number)
);
create index decisions_of_question on enact.decisions (tenant_id, namespace, question_key, decided_at);
comment on table enact.decisions is
    'Decisions of the proposals that were chosen for plans. Rows are only added; which decision is in force follows from later rows and from '
    'the audit log. Written by the operator with the choice. Read by the operator (contradictions of later proposals) and by the server.';
comment on column enact.decisions.choice_key is 'Key of the choice in the audit log (ProposalChosen).';
comment on column enact.decisions.number is 'Position in the proposal, from 1.';
comment on column enact.decisions.actor is 'Who chose the proposal: a user, or the system if its score decided.';
comment on column enact.decisions.question_key is 'The words of the question, by which decisions about the same question are found.';

-- Postgres assigns ids before the commit, so a reader that remembers the last id skips transactions that commit late. It must read rows
-- with xid < pg_snapshot_xmin(pg_current_snapshot()) in the order of (xid, id) instead.
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
    queued_at   timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id)
);
create index outbox_in_order on enact.outbox (xid, id);
comment on table enact.outbox is
    'Outgoing events, each written in the transaction of its entry in the audit log. Not read yet; event streams and live updates send '
    'them. The operator deletes them after seven days, whether they are sent or not: who was away for longer reads the audit log.';

create view enact.unused_contents with (security_invoker) as
select c.tenant_id, c.digest
from enact.contents c
where not exists (select from enact.revisions r where r.tenant_id = c.tenant_id and r.digest = c.digest)
    and not exists (select from enact.document_deliveries d
                    where d.tenant_id = c.tenant_id and d.digest = c.digest and d.delivered_at >= now() - interval '7 days')
    and not exists (select from enact.audit a
                    where a.tenant_id = c.tenant_id and a.event in ('Proposal', 'Judgement') and a.details ->> 'digest' = c.digest);
comment on view enact.unused_contents is
    'Contents that no revision, no proposal, no judgement and no delivery of the last seven days refers to. Read by the operator. A document '
    'that was delivered can be in the status of an object before, or without, a revision.';

-- A search reads only the items of its tenant: no index holds words or vectors of several tenants, so another tenant affects neither the
-- result nor the time of a search. See docs/adr/0007-exact-search-per-tenant.md. vectors.sql creates the table of embeddings.
create table enact.search_items (
    tenant_id   enact.tenant not null,
    subject_uid enact.uid not null,
    ordinal     integer not null check (ordinal > 0),
    kind        text not null,
    namespace   enact.namespace not null,
    name        enact.name not null,
    item        text not null check (octet_length(item) <= 128),
    item_kind   text not null,
    line        integer not null check (line >= 0),
    text        text not null check (octet_length(text) <= 8192),
    digest      text not null,
    -- Bigrams of characters of scripts that do not separate words by spaces.
    bigrams     text not null,
    -- Each word as it is written, for every language, and its stem for English.
    words       tsvector not null generated always as (
        strip(to_tsvector('pg_catalog.simple', item || ' ' || text || ' ' || bigrams) || to_tsvector('pg_catalog.english', text))
    ) stored,
    primary key (tenant_id, subject_uid, ordinal)
);
create index search_items_by_text on enact.search_items (tenant_id, digest);
comment on table enact.search_items is
    'Principles, requirements, criteria, stories, decisions and tasks of the current documents. The operator replaces the items of a '
    'document at each revision. Read by the server (search, related documents) and by the operator (related specifications).';

create table enact.model_requests (
    tenant_id           enact.tenant not null,
    request_id          uuid not null,
    requested_at        timestamptz not null,
    namespace           enact.namespace not null,
    -- Empty for a request that belongs to no plan or task.
    plan                text not null check (octet_length(plan) <= 253),
    plan_uid            text not null check (octet_length(plan_uid) <= 128),
    task                text not null check (octet_length(task) <= 253),
    task_uid            text not null check (octet_length(task_uid) <= 128),
    attempt             integer not null check (attempt >= 0),
    agent               text not null check (octet_length(agent) <= 512),
    provider            text not null check (octet_length(provider) <= 512),
    model               text not null check (octet_length(model) <= 256),
    input_tokens        bigint not null check (input_tokens >= 0),
    cached_input_tokens bigint not null check (cached_input_tokens >= 0),
    cache_write_tokens  bigint not null check (cache_write_tokens >= 0),
    output_tokens       bigint not null check (output_tokens >= 0),
    reasoning_tokens    bigint not null check (reasoning_tokens >= 0),
    cache_write_hour_tokens bigint not null default 0 check (cache_write_hour_tokens between 0 and cache_write_tokens),
    cost_micro_usd      bigint check (cost_micro_usd >= 0),
    outcome             text check (octet_length(outcome) between 1 and 64),
    self_reported       boolean not null,
    http_status         integer,
    first_byte_ms       bigint,
    duration_ms         bigint,
    primary key (tenant_id, request_id)
);
create index model_requests_by_time on enact.model_requests (tenant_id, requested_at);
create index model_requests_of_plan on enact.model_requests (tenant_id, plan_uid);
create index model_requests_open on enact.model_requests (tenant_id, requested_at) where outcome is null;
comment on table enact.model_requests is
    'Usage records: each model request of an agent. Written by the gateway when a request starts and again when it ends, and by the operator '
    'for agents that report their own usage. Read by the server (usage).';
comment on column enact.model_requests.outcome is 'How the request ended; null while it runs.';
comment on column enact.model_requests.output_tokens is
    'The tokens and the cost are estimates that the budgets reserve while the request runs, and afterwards what it used.';
comment on column enact.model_requests.cache_write_hour_tokens is 'The part of cache_write_tokens that the provider keeps for an hour.';
comment on column enact.model_requests.cost_micro_usd is 'Null if the price of the model is unknown.';

create table enact.budgets (
    tenant_id               enact.tenant not null,
    -- The order of bytes is the order in which every transaction locks rows, so that transactions do not deadlock.
    scope                   text collate "C" not null check (octet_length(scope) between 1 and 768),
    limit_tokens            bigint check (limit_tokens >= 0),
    limit_cost_micro_usd    bigint check (limit_cost_micro_usd >= 0),
    spent_input             bigint not null default 0,
    spent_cached_input      bigint not null default 0,
    spent_cache_write       bigint not null default 0,
    spent_output            bigint not null default 0,
    spent_reasoning         bigint not null default 0,
    spent_cost_micro_usd    bigint not null default 0,
    unpriced_tokens         bigint not null default 0,
    reserved_input          bigint not null default 0,
    reserved_cached_input   bigint not null default 0,
    reserved_cache_write    bigint not null default 0,
    reserved_output         bigint not null default 0,
    reserved_cost_micro_usd bigint not null default 0,
    updated_at              timestamptz not null default clock_timestamp(),
    primary key (tenant_id, scope)
)
-- Each request updates its budgets twice. With free space in the pages, an update needs no entry in the index.
with (fillfactor = 50);
comment on table enact.budgets is
    'Limits, and what is spent and reserved, of each tenant and agent by month, and of each plan, task and attempt. The operator writes the '
    'limits. The gateway writes the rest in the transaction of the request. Read by the gateway (admission of requests), by the operator '
    '(before it starts attempts) and by the server (usage).';
comment on column enact.budgets.unpriced_tokens is 'The part of the spent tokens that has no known price and is not in the spent cost.';

create table enact.refusals (
    tenant_id  enact.tenant not null,
    task_uid   enact.uid not null,
    attempt    integer not null check (attempt >= 0),
    reason     text not null check (octet_length(reason) between 1 and 64),
    message    text not null check (octet_length(message) <= 32768),
    reset_at   timestamptz,
    refused_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, task_uid, attempt)
);
comment on table enact.refusals is
    'Why the gateway refuses further model requests of an attempt. Written by the gateway. Read by the gateway for the runner, which stops '
    'the agent, and by the operator.';
comment on column enact.refusals.reset_at is 'When requests can succeed again, if it is known.';

create table enact.request_logs (
    tenant_id     enact.tenant not null,
    request_id    uuid not null,
    expires_at    timestamptz not null,
    request       text not null check (octet_length(request) <= 1048576),
    request_bytes bigint not null check (request_bytes >= 0),
    answer        text not null check (octet_length(answer) <= 1048576),
    answer_bytes  bigint not null check (answer_bytes >= 0),
    primary key (tenant_id, request_id)
);
create index request_logs_by_expiry on enact.request_logs (tenant_id, expires_at);
comment on table enact.request_logs is
    'Texts of model requests and answers without credentials of known forms, for tenants with request logging. Written by the gateway, which '
    'also deletes them after their retention. Read by the server (requests).';
comment on column enact.request_logs.request_bytes is 'The size of the whole request, of which the text can be a part. The same for the answer.';

-- The subquery makes current_setting an InitPlan, which Postgres evaluates once per statement instead of once per row. Without a tenant it
-- returns null or the empty string; no row has such a tenant_id.
do $$
declare
    name text;
begin
    foreach name in array array['tenants', 'contents', 'document_deliveries', 'revisions', 'findings', 'plans', 'tasks', 'attempts',
                                'results', 'checkpoints', 'approvals', 'audit', 'outbox', 'search_items', 'model_requests', 'budgets',
                                'refusals', 'request_logs', 'decisions']
    loop
        execute format('alter table enact.%I enable row level security, force row level security', name);
        execute format('create policy tenant on enact.%I '
                       'using (tenant_id = (select current_setting(''enact.tenant'', true))) '
                       'with check (tenant_id = (select current_setting(''enact.tenant'', true)))', name);
    end loop;
end
$$;

-- Returns the UID of the Tenant that the rows of this name belong to: `claimant`, if the name has no owner yet. Any other claimant becomes
-- the successor of the owner, and its wait begins with the first claim that says that no namespace belongs to the name (`vacant`).
--
-- A function of the schema's owner, as keep_record and erase_former: with the operator's login alone, the owner of a record cannot be
-- exchanged, and the beginning of a wait is neither dated back nor missing in the audit log. No other login may call them.
create function enact.claim_record(claimant text, vacant boolean, at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant constant text := current_setting('enact.tenant', true);
    seen   constant timestamptz := clock_timestamp();
    old    enact.tenants;
begin
    -- The names with a dot are those of audit logs of former tenants.
    if tenant like '%.%' then
        raise exception 'tenant % cannot be claimed: the name of a Tenant has no dot', tenant using errcode = 'check_violation';
    end if;
    insert into enact.tenants (tenant_id, uid, created_at, updated_at) values (tenant, claimant, at, at)
    on conflict (tenant_id) do nothing;
    -- Locks the row: claims of two operators come one after the other.
    select * into strict old from enact.tenants where tenant_id = tenant for update;
    if old.uid = claimant then
        return old.uid;
    end if;
    if vacant and (old.successor_at is null or old.successor_uid is distinct from claimant) then
        update enact.tenants set successor_uid = claimant, successor_at = seen where tenant_id = tenant;
        insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, details)
        values (tenant, seen, 'system:enact', 'RecordSuccessor', old.uid || '/' || extract(epoch from seen), 'Tenant', '', tenant, claimant,
                jsonb_build_object('formerUid', old.uid));
    elsif not coalesce(vacant, false) then
        update enact.tenants set successor_uid = claimant, successor_at = null where tenant_id = tenant;
    end if;
    return old.uid;
end
$$;
revoke all on function enact.claim_record from public;

-- Gives the rows of this name to its successor with the UID `successor`, if they belong to the Tenant with the UID `former`.
create function enact.keep_record(successor text, former text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update enact.tenants
    set uid = successor, updated_at = clock_timestamp(), successor_uid = null, successor_at = null, erased = '{}'
    where tenant_id = current_setting('enact.tenant', true) and uid = former and successor_uid = successor
$$;
revoke all on function enact.keep_record from public;

-- Erases a part of what the former Tenant of this name left, at most `batch` rows, and returns their number. Returns 0 when nothing is left:
-- the record then belongs to the Tenant with the UID `successor`. Returns null while it must not erase, since `successor` is not the newer
-- Tenant that was seen, or was seen less than three minutes ago: requests and reconciles that began before the namespaces left the tenant
-- end in that time. The record of the tenant `default` is that of the installation, and is never erased.
--
-- A function of the schema's owner, so that the operator can erase the record of a tenant in this case only. Entries of the audit log
-- are not erased: they move to the tenant `<name>.<UID>`, which no Tenant can be named, so that no program reads them for anybody.
create function enact.erase_former(successor text, batch integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant    constant text := current_setting('enact.tenant', true);
    former    enact.tenants;
    archive   text;
    done      jsonb;
    erasing   text;
    gone      bigint;
    remaining bigint := batch;
    entries   enact.audit[];
begin
    -- With an empty batch, nothing would be erased, and the record would pass to the successor.
    if batch is null or batch < 1 then
        raise exception 'batch must be at least 1' using errcode = 'invalid_parameter_value';
    end if;
    -- Locks the row: two operators at once erase one after the other.
    select * into former from enact.tenants
    where tenant_id = tenant and tenant_id <> 'default' and successor_uid = successor
        and successor_at <= clock_timestamp() - interval '3 minutes' for update;
    if not found then
        return null;
    end if;
    archive := tenant || '.' || former.uid;
    done := former.erased;
    if done = '{}' then
        done := jsonb_build_object('rows', '{}'::jsonb, 'usage', coalesce((
            select jsonb_object_agg(substr(scope, 8), jsonb_build_object(
                'tokens', spent_input + spent_cached_input + spent_cache_write + spent_output + spent_reasoning,
                'costMicroUsd', spent_cost_micro_usd))
            from enact.budgets where tenant_id = tenant and scope like 'tenant/%'
        ), '{}'));
    end if;
    -- Revisions refer to contents.
    foreach erasing in array array['search_embeddings', 'search_items', 'request_logs', 'results', 'checkpoints', 'findings', 'revisions',
                                   'contents', 'document_deliveries', 'approvals', 'refusals', 'model_requests', 'budgets', 'attempts',
                                   'tasks', 'plans', 'outbox', 'decisions']
    loop
        exit when remaining <= 0;
        -- The table of embeddings does not exist on every database.
        continue when to_regclass('enact.' || erasing) is null;
        execute format('delete from enact.%1$I where tenant_id = $1 and ctid = any(array('
                       'select ctid from enact.%1$I where tenant_id = $1 limit $2))', erasing) using tenant, remaining;
        get diagnostics gone = row_count;
        remaining := remaining - gone;
        if gone > 0 then
            done := jsonb_set(done, array['rows', erasing], to_jsonb(coalesce((done #>> array['rows', erasing])::bigint, 0) + gone));
        end if;
    end loop;
    if remaining > 0 then
        with moved as (
            delete from enact.audit a where tenant_id = tenant
                and ctid = any(array(select ctid from enact.audit where tenant_id = tenant limit remaining))
            returning a as entry
        )
        select array_agg(entry), count(*) into entries, gone from moved;
        remaining := remaining - gone;
        -- Row-level security admits rows of one tenant at a time.
        perform set_config('enact.tenant', archive, true);
        insert into enact.audit
            (tenant_id, id, at, recorded_at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
        overriding system value
        select archive, id, at, recorded_at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details
        from unnest(entries);
        perform set_config('enact.tenant', tenant, true);
    end if;
    if remaining < batch then
        update enact.tenants set erased = done where tenant_id = tenant;
        return batch - remaining;
    end if;
    update enact.tenants
    set uid = successor, created_at = former.successor_at, updated_at = clock_timestamp(), successor_uid = null, successor_at = null,
        erased = '{}'
    where tenant_id = tenant;
    insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, details)
    values (tenant, clock_timestamp(), 'system:enact', 'RecordErased', former.uid, 'Tenant', '', tenant, successor,
            jsonb_build_object('formerUid', former.uid, 'auditLog', archive));
    perform set_config('enact.tenant', archive, true);
    insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, details)
    values (archive, clock_timestamp(), 'system:enact', 'RecordErased', successor, 'Tenant', '', tenant, former.uid,
            done || jsonb_build_object('successorUid', successor, 'successorSeenAt', former.successor_at));
    perform set_config('enact.tenant', tenant, true);
    return 0;
end
$$;
revoke all on function enact.erase_former from public;

grant usage on schema enact to enact_app, enact_operator;
grant select on all tables in schema enact to enact_app;
revoke select on enact.outbox from enact_app;
grant insert on enact.contents, enact.document_deliveries, enact.results, enact.checkpoints, enact.audit, enact.outbox,
    enact.model_requests, enact.budgets, enact.refusals, enact.request_logs to enact_app;
grant update on enact.checkpoints, enact.model_requests, enact.budgets, enact.refusals to enact_app;
grant update (runner_key, contradiction) on enact.attempts to enact_app;
grant delete on enact.document_deliveries, enact.checkpoints, enact.request_logs to enact_app;

-- What only the operator does. Its login has the rights above as well.
grant insert on enact.revisions, enact.findings, enact.plans, enact.tasks, enact.attempts, enact.approvals, enact.search_items,
    enact.decisions to enact_operator;
grant update on enact.plans, enact.tasks, enact.attempts to enact_operator;
grant delete on enact.search_items, enact.contents to enact_operator;
grant select, delete on enact.outbox to enact_operator;
grant execute on function enact.claim_record, enact.keep_record, enact.erase_former to enact_operator;

-- Server and gateway add entries about what pods deliver, and none about what the operator and people do. An entry names an attempt that the
-- operator has recorded, and its pod.
create policy deliveries on enact.audit as restrictive for insert to enact_app with check (
    (select pg_has_role(current_user, 'enact_operator', 'member'))
    or exists (
        select from enact.attempts a
        where a.tenant_id = audit.tenant_id and a.subject_uid = audit.subject_uid
            and audit.actor = 'pod:' || audit.namespace || '/' || a.pod_uid
            and (audit.event = 'ResultDelivered' and audit.key = a.number::text
                 or audit.event = 'ResultContradicted' and audit.key in (a.number || '/forged', a.number || '/second'))
    )
);
create policy deliveries on enact.outbox as restrictive for insert to enact_app with check (
    (select pg_has_role(current_user, 'enact_operator', 'member'))
    or exists (
        select from enact.attempts a
        where a.tenant_id = outbox.tenant_id and a.subject_uid = outbox.subject_uid
            and outbox.actor = 'pod:' || outbox.namespace || '/' || a.pod_uid
            and outbox.event in ('ResultDelivered', 'ResultContradicted')
    )
);
