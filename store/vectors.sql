-- The table of embeddings, where pgvector is there or can be made. Run after the migrations, each time: whoever installs pgvector
-- later needs no more than the next start.
do $$
declare
    home text;
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
    select extnamespace::regnamespace::text into home from pg_catalog.pg_extension where extname = 'vector';
    if home is null or to_regclass('enact.search_embeddings') is not null then
        return;
    end if;
    -- A text has one embedding: that of another model takes its place.
    execute format(
        'create table enact.search_embeddings (
            tenant_id  enact.tenant not null,
            digest     text not null,
            model      text not null check (octet_length(model) between 1 and 256),
            dimensions integer not null,
            embedding  %s.vector not null,
            primary key (tenant_id, digest),
            check (dimensions = %s.vector_dims(embedding))
        )', home, home);
    comment on table enact.search_embeddings is 'What the texts of items mean, as vectors of length 1.';
    alter table enact.search_embeddings enable row level security, force row level security;
    create policy tenant on enact.search_embeddings
        using (tenant_id = (select current_setting('enact.tenant', true)))
        with check (tenant_id = (select current_setting('enact.tenant', true)));
    grant select, insert, update, delete on enact.search_embeddings to enact_app;
end
$$
