-- Creates the table of embeddings if pgvector is installed or can be installed. `migrate` runs it after the migrations, each time: after
-- somebody installs pgvector, the next start creates the table.
do $$
declare
    vector_schema text;
begin
    perform pg_advisory_xact_lock(hashtext('enact.vectors'));
    if not exists (select from pg_catalog.pg_extension where extname = 'vector')
        and exists (select from pg_catalog.pg_available_extensions where name = 'vector') then
        begin
            create extension vector with schema enact;
        exception when insufficient_privilege then
            null;
        end;
    end if;
    select extnamespace::regnamespace::text into vector_schema from pg_catalog.pg_extension where extname = 'vector';
    if vector_schema is null or to_regclass('enact.search_embeddings') is not null then
        return;
    end if;
    -- A text has one embedding: an embedding of another model replaces it.
    execute format(
        'create table enact.search_embeddings (
            tenant_id  enact.tenant not null,
            digest     text not null,
            model      text not null check (octet_length(model) between 1 and 256),
            dimensions integer not null,
            embedding  %s.vector not null,
            primary key (tenant_id, digest),
            check (dimensions = %s.vector_dims(embedding))
        )', vector_schema, vector_schema);
    comment on table enact.search_embeddings is
        'Embeddings of the texts of search items, as vectors of length 1. Written by the operator after it indexes a document. Read by '
        'the same queries as search_items.';
    alter table enact.search_embeddings enable row level security, force row level security;
    create policy tenant on enact.search_embeddings
        using (tenant_id = (select current_setting('enact.tenant', true)))
        with check (tenant_id = (select current_setting('enact.tenant', true)));
    grant select on enact.search_embeddings to enact_app;
    grant insert, update, delete on enact.search_embeddings to enact_operator;
end
$$
