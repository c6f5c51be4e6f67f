-- History: every revision of a document in order, so that content that comes back is a revision of its own, with who, when and why;
-- and the findings of its analysis.

create table enact.history (
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
create index history_by_content on enact.history (tenant_id, subject_uid, digest);
comment on table enact.history is 'The revisions of each document in order. An object that was deleted and made anew is another subject.';
comment on column enact.history.number is 'Counts from 1 for each subject.';
comment on column enact.history.position is 'Counts from 1 for each kind, namespace and name, over all subjects that bore them.';

-- What is recorded already: the owner too is held to row-level security while it is forced.
alter table enact.revisions no force row level security;
insert into enact.history
    (tenant_id, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, revised_at)
select tenant_id, subject_uid, row_number() over (partition by tenant_id, subject_uid order by revised_at, digest),
       kind, namespace, name,
       row_number() over (partition by tenant_id, kind, namespace, name order by revised_at, subject_uid, digest),
       digest, version, left(actor, 256), 'Source', revised_at
from enact.revisions;
alter table enact.revisions force row level security;

-- The release before knows `revisions` only, and may still write during an upgrade or after a rollback.
create function enact.revision_to_history() returns trigger language plpgsql set search_path = enact, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('enact.history/' || new.tenant_id, 0));
    insert into enact.history
        (tenant_id, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, revised_at)
    select new.tenant_id, new.subject_uid,
           (select coalesce(max(number), 0) + 1 from enact.history
                where tenant_id = new.tenant_id and subject_uid = new.subject_uid),
           new.kind, new.namespace, new.name,
           (select coalesce(max(position), 0) + 1 from enact.history
                where tenant_id = new.tenant_id and kind = new.kind and namespace = new.namespace and name = new.name),
           new.digest, new.version, left(new.actor, 256), 'Source', new.revised_at
    where not exists (select from enact.history
                      where tenant_id = new.tenant_id and subject_uid = new.subject_uid and digest = new.digest);
    return null;
end
$$;
create trigger to_history after insert on enact.revisions for each row execute function enact.revision_to_history();

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
comment on table enact.findings is 'What the analysis of a revision found; total also counts the findings that were too many to be kept.';

do $$
declare
    name text;
begin
    foreach name in array array['history', 'findings']
    loop
        execute format('alter table enact.%I enable row level security, force row level security', name);
        execute format('create policy tenant on enact.%I '
                       'using (tenant_id = (select current_setting(''enact.tenant'', true))) '
                       'with check (tenant_id = (select current_setting(''enact.tenant'', true)))', name);
        execute format('grant select, insert on enact.%I to enact_app', name);
    end loop;
end
$$;
