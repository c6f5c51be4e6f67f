-- Search: the items of documents, found by their words. What is found by meaning is in `search_embeddings`, which exists where pgvector
-- does: vectors.sql makes it.
--
-- There is no index over words or vectors of several tenants: a search reads the tenant's own items, so that neither its result nor its
-- time depends on anybody else's. docs/adr/0007-exact-search-per-tenant.md weighs this.

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
    -- Pairs of characters from scripts that put no spaces between words.
    pairs       text not null,
    -- As it is written in any language, and by its stem for English.
    words       tsvector not null generated always as (
        strip(to_tsvector('pg_catalog.simple', item || ' ' || text || ' ' || pairs) || to_tsvector('pg_catalog.english', text))
    ) stored,
    primary key (tenant_id, subject_uid, ordinal)
);
create index search_items_by_text on enact.search_items (tenant_id, digest);
comment on table enact.search_items is 'Principles, requirements, criteria, stories, decisions and tasks, as they stand now.';

alter table enact.search_items enable row level security, force row level security;
create policy tenant on enact.search_items
    using (tenant_id = (select current_setting('enact.tenant', true)))
    with check (tenant_id = (select current_setting('enact.tenant', true)));
grant select, insert, delete on enact.search_items to enact_app;
